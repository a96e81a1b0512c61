"""The Style-Aware Generator, style patterns and strangers' insides: bounds that hold whatever the weights say."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import engine.style.file as style_file
from engine.errors import InputError
from engine.face import find, image, points
from engine.job import Engine, style_of
from engine.render import pattern as patterns
from engine.render.finish import Finish
from engine.render.generator import SLOTS, StyleAwareGenerator, framed
from engine.render.inside import Insides, incisal_edge
from engine.render.pattern import (
    FINE,
    SIZE,
    Pattern,
    Patterns,
    cut,
    facial_map,
    inverse,
    placed,
    square_of,
    support,
)
from engine.render.renderer import Renderer
from engine.request import DubRequest, RenderRequest
from engine.take import Landmarks

SOURCE = Path(__file__).resolve().parents[2] / "demo" / "source"


@pytest.fixture(scope="module")
def renderer(portrait: Path) -> Renderer:
    picture = image.load(portrait)
    return Renderer(picture, find.find(picture), torch.device("cpu"))


def opened(renderer: Renderer, by: float) -> np.ndarray:
    """The portrait's landmarks with the lower lip and jaw `by` eye distances lower."""
    moved = renderer.landmarks.copy()
    moved[[55, 56, 57, 58, 59, 65, 66, 67, 7, 8, 9], 1] += by * renderer.shape.frame.unit
    return moved


def at_lips(at: np.ndarray) -> np.ndarray:
    """(128, 128) bool: lips and what is between them, of landmarks (68, 2) px of the square."""
    return np.asarray(facial_map(at)[..., :2].max(-1) > 128)


def in_square(landmarks: np.ndarray) -> np.ndarray:
    return placed(landmarks[:, :2], inverse(square_of(landmarks)))


def test_the_square_is_the_skulls_and_not_the_mouths(renderer: Renderer) -> None:
    still, wide = square_of(renderer.landmarks), square_of(opened(renderer, 0.3))
    assert wide == pytest.approx(still)
    assert in_square(renderer.landmarks)[48:68].min() > 10 and in_square(opened(renderer, 0.3))[:, 1].max() < 1.2 * SIZE


def test_a_pattern_of_this_very_frame_is_this_frame(renderer: Renderer) -> None:
    pattern = Pattern.of(renderer.seen, renderer.landmarks)
    assert pattern.pixels.shape == (FINE, FINE, 3)
    (drawn,) = Patterns([pattern], pattern.skin).draw(in_square(renderer.landmarks))
    own = cv2.resize(pattern.pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    apart = np.abs(drawn[8:-8, 8:-8, :3].astype(int) - own[8:-8, 8:-8])
    assert apart.mean() < 3 and (drawn[..., 3] > 250).mean() > 0.98


def test_what_a_shut_reference_does_not_show_is_unknown(renderer: Renderer) -> None:
    shut = renderer.render(opened(renderer, -0.1))  # lips that overlap are shut
    pattern = Pattern.of(shut, find.find(image.Picture(shut, None, Path("shut"), "shut")).landmarks)
    wide = in_square(opened(renderer, 0.25))
    (drawn,) = Patterns([pattern], pattern.skin).draw(wide)
    between, rim = facial_map(wide)[..., 0], np.ones((5, 5), np.uint8)
    inside, outside = cv2.erode(between, rim) > 250, cv2.dilate(between, rim) == 0
    assert inside.sum() > 100
    assert drawn[inside, 3].max() < 30 and drawn[outside, 3].min() > 250
    (own,) = Patterns([Pattern.of(renderer.seen, renderer.landmarks)], pattern.skin).draw(in_square(renderer.landmarks))
    assert own[..., 3].mean() > 250


def test_colours_are_matched_to_the_portraits_skin(renderer: Renderer) -> None:
    pattern = Pattern.of((renderer.seen * np.array([0.6, 0.75, 0.9])).astype(np.uint8), renderer.landmarks)
    own = Pattern.of(renderer.seen, renderer.landmarks)
    (drawn,) = Patterns([pattern], own.skin).draw(in_square(renderer.landmarks))
    (wanted,) = Patterns([own], own.skin).draw(in_square(renderer.landmarks))
    assert np.abs(drawn[40:110, 20:108, :3].astype(int) - wanted[40:110, 20:108, :3]).mean() < 4


def test_whatever_the_weights_say_a_frame_is_a_mixture_of_what_is_known_there() -> None:
    """A first generator could add colours, and veiled wide open mouths with grey."""
    torch.manual_seed(3)
    network = StyleAwareGenerator(8)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(30.0)  # wild ones
    points = np.array([[64 + 30 * np.cos(i), 64 + 16 * np.sin(i)] for i in range(68)])
    where = torch.from_numpy(support(points))[None, None]
    shape = (1, 3, SIZE, SIZE)
    warped, patterns = torch.rand(shape), torch.rand(1, SLOTS, 4, SIZE, SIZE)
    patterns[:, 1] = 0.0  # absent
    with torch.inference_mode():
        shares = network(warped, torch.rand(shape), patterns, where, torch.rand(1, 1 + SLOTS))
    assert shares.min() >= -1e-5 and shares.sum(1).max() <= 1 + 1e-5 and float(shares.max()) > 0.2
    assert float(shares[:, 1].max()) == 0 and float((shares * (where == 0)).max()) == 0
    frame, candidates = framed(shares, warped, patterns), torch.cat([warped[:, None], patterns[:, [0, 2, 3], :3]], 1)
    assert (frame <= candidates.max(1).values + 1e-5).all() and (frame >= candidates.min(1).values - 1e-5).all()


def test_the_pattern_whose_mouth_is_nearest_is_seen_most(renderer: Renderer) -> None:
    """Once moved onto the frame's landmarks patterns look alike, but what was moved least is nearest to the truth."""
    mouths = [renderer.reached(opened(renderer, by)) for by in (0.0, 0.08, 0.16, 0.24)]
    patterns_ = [Pattern.of(renderer.render(points_), points_) for points_ in mouths]
    for turned in (False, True):
        listed = patterns_[::-1] if turned else patterns_
        worn = Finish(renderer.seen, renderer.landmarks, renderer.interior, listed)
        for number in (1, 2, 3):
            frame, at = renderer.render(mouths[number]), in_square(mouths[number])
            shares = worn._answer(frame, square_of(mouths[number]), at, worn.patterns.draw(at))  # type: ignore[call-arg]
            seen = shares[..., 3 - np.arange(4) if turned else np.arange(4)][at_lips(at)].mean(0)
            assert seen.argmax() == number and seen[number] > 1.3 * np.delete(seen, number).max(), (number, seen)


def test_lips_that_did_not_move_are_the_portraits_to_the_bit(renderer: Renderer) -> None:
    np.testing.assert_array_equal(renderer.render(renderer.landmarks), renderer.seen)


def test_only_the_mouth_is_touched_and_a_large_picture_stays_sharp(portrait: Path) -> None:
    whole = cv2.resize(cv2.imread(str(portrait)), (1536, 1536), interpolation=cv2.INTER_CUBIC)
    picture = image.Picture(np.ascontiguousarray(whole[..., ::-1]), None, Path("large"), "large")
    large = Renderer(picture, find.find(picture), torch.device("cpu"))
    wide = opened(large, 0.05)
    plain = large.render(wide)
    large.wear([Pattern.of(large.seen, large.landmarks)] * SLOTS)
    made = large.render(wide)
    changed = np.abs(plain.astype(int) - made).max(2) > 0
    mouth = wide[48:68, :2]
    low, high = mouth.min(0) - 0.3 * large.shape.frame.unit, mouth.max(0) + 0.3 * large.shape.frame.unit
    y, x = np.nonzero(changed)
    assert len(y) and x.min() > low[0] and x.max() < high[0] and y.min() > low[1] and y.max() < high[1]

    def detail(frame: np.ndarray) -> float:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)[changed.any(1)][:, changed.any(0)]
        return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean() / grey.mean())

    assert detail(made) > 0.6 * detail(plain)  # a pattern has 256 px


def test_the_styles_mouth_is_shown_kept_by_the_take_and_by_its_edits(
    portrait: Path, words: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    picture = cv2.imread(str(portrait))
    for number, light in enumerate((0.7, 0.8, 0.9, 1.0)):
        cv2.imwrite(str(folder / f"{number}.png"), picture * light)
    style = tmp_path / "style.safetensors"
    style_of(folder, "own", style)
    kept = style_file.load(style)
    assert kept.mouths.shape == (4, FINE, FINE, 3) and len(kept.patterns) == 4
    engine = Engine("cpu")

    def dub(name: str, mouth: str) -> Path:
        request = DubRequest(words, portrait, tmp_path / name, style, frames=12, preview=False, mouth=mouth)
        engine.dub(request)
        return tmp_path / name

    own, worn = dub("own", "own"), dub("worn", "style")
    assert (worn / "patterns.safetensors").exists() and not (own / "patterns.safetensors").exists()
    frames = [cv2.imread(str(take / "frames" / "000010.png")).astype(int) for take in (own, worn)]
    assert np.abs(frames[0] - frames[1]).max() > 10
    edited = Landmarks.load(worn / "landmarks.npz")
    edited.landmarks[3, 57, 1] += 4
    edited.save(tmp_path / "edited.npz")
    request = RenderRequest(tmp_path / "edited.npz", portrait, tmp_path / "again", take=worn, preview=False)
    again = engine.render(request)
    assert (again.rendered, again.reused) == (1, 11)
    with pytest.raises(InputError, match="There is no style"):
        engine.dub(DubRequest(words, portrait, tmp_path / "none", frames=2, preview=False, mouth="style"))
    with pytest.raises(InputError, match="keeps no pictures of a mouth"):
        engine.dub(DubRequest(words, portrait, tmp_path / "o", Path("opera"), frames=2, preview=False, mouth="style"))
    assert not (tmp_path / "none").exists() and not (tmp_path / "o").exists()


def own_edge(renderer: Renderer) -> np.ndarray:
    """Where in the square the portrait's upper teeth end."""
    return placed(renderer.interior.edge(renderer.landmarks)[:2], inverse(square_of(renderer.landmarks)))


@pytest.fixture(scope="module")
def strangers(renderer: Renderer) -> list[Pattern]:
    """Mouths of somebody in dim blue light, whose lips are another colour and whose mouth is 8 px of FINE lower."""
    made = []
    for by in (0.02, 0.1, 0.25):
        points_ = renderer.reached(opened(renderer, by))
        frame = renderer.render(points_)
        affine = square_of(points_, FINE)
        at = placed(points_[:, :2], inverse(affine))
        rgb = cut(frame, affine, FINE).astype(np.float32)
        lips = cv2.resize(facial_map(in_square(points_))[..., 1], (FINE, FINE))[..., None] / 255
        rgb = (rgb * [0.4, 0.5, 0.7] * (1 - lips) + lips * [90, 10, 90]).astype(np.uint8)
        lower = cv2.warpAffine(rgb, np.array([[1.0, 0, 0], [0, 1, 8]]), (FINE, FINE), borderMode=cv2.BORDER_REPLICATE)
        made.append(Pattern(lower, (at + [0, 8]).astype(np.float32), lips=False))
    return made


def test_lips_and_skin_stay_the_portraits(renderer: Renderer, strangers: list[Pattern]) -> None:
    for by in (0.05, 0.2):
        wide = opened(renderer, by)
        renderer.wear([])
        plain = renderer.render(wide)
        renderer.wear(strangers)
        made = renderer.render(wide)
        lips_too = [replace(one, lips=True) for one in strangers]
        renderer.wear(lips_too)
        worn = renderer.render(wide)
        renderer.wear([])
        mouth = renderer.mattes(wide)["mouth"]
        outside = cv2.dilate(mouth, np.ones((5, 5), np.uint8)) == 0

        def changed(frame: np.ndarray, plain: np.ndarray = plain, where: np.ndarray = outside) -> int:
            return int((np.abs(frame.astype(int) - plain)[where].max(-1) > 1).sum())

        assert changed(made) == 0 and (mouth > 128).sum() > 50
        assert changed(worn) > 200  # with the lips they are seen
    assert np.abs(made.astype(int) - plain).max() > 8


def test_teeth_come_to_the_portraits_place_and_light(renderer: Renderer, strangers: list[Pattern]) -> None:
    assert incisal_edge(strangers) is not None
    wide = renderer.reached(opened(renderer, 0.25))
    at = in_square(wide)
    *_, drawn = Insides(strangers, renderer.interior).draw(at, own_edge(renderer), FINE)
    known = drawn[..., 3] > 128
    assert known.sum() > 300
    own = cut(renderer.render(wide), square_of(wide, FINE), FINE).astype(int)
    apart = np.abs(drawn[..., :3].astype(int) - own)[known].mean()
    dim = np.abs(np.roll(strangers[-1].pixels, -8, 0).astype(int) - own)[known].mean()
    lower = np.abs(np.roll(drawn[..., :3], 8, 0).astype(int) - own)[known].mean()
    assert apart < 12 and apart < 0.6 * dim and apart < 0.6 * lower


def test_a_reference_without_upper_teeth_and_a_drawing_take_nothing(
    renderer: Renderer, strangers: list[Pattern]
) -> None:
    shut = [strangers[0]]
    assert incisal_edge(shut) is None
    wide = in_square(renderer.reached(opened(renderer, 0.2)))
    edge = own_edge(renderer)
    assert not Insides(shut, renderer.interior).draw(wide, edge).any()
    picture = image.load(SOURCE / "cartoon.png")
    drawing = Renderer(
        picture, points.face_at(picture, points.read(SOURCE / "cartoon_points.json")), torch.device("cpu")
    )
    assert drawing.interior.drawn
    assert not Insides(strangers, drawing.interior).draw(in_square(opened(drawing, 0.2)), edge).any()
    assert Insides(strangers, renderer.interior).draw(wide, edge)[..., 3].max() > 200


def test_teeth_go_with_the_skull(renderer: Renderer, strangers: list[Pattern]) -> None:
    """Where the upper teeth are does not depend on how far the mouth is open."""
    insides = Insides(strangers, renderer.interior)
    less, more = (
        insides.draw(in_square(renderer.reached(opened(renderer, by))), own_edge(renderer))[-1] for by in (0.16, 0.22)
    )
    both = (less[..., 3] > 200) & (more[..., 3] > 200)
    both[SIZE // 2 :] = False
    assert both.sum() > 30
    assert np.abs(less.astype(int) - more)[both][:, :3].mean() < 6


def test_a_take_keeps_the_inside_for_its_edits_and_says_when_there_is_none(
    portrait: Path, words: Path, tmp_path: Path, renderer: Renderer
) -> None:
    folder, shut = tmp_path / "frames", tmp_path / "shut"
    folder.mkdir()
    shut.mkdir()
    for number, by in enumerate((0.0, 0.08, 0.16, 0.25)):
        frame = renderer.render(opened(renderer, by)) * np.array([0.5, 0.7, 0.9])
        cv2.imwrite(str(folder / f"{number}.png"), frame[..., ::-1])
        cv2.imwrite(str(shut / f"{number}.png"), renderer.render(opened(renderer, -0.1))[..., ::-1])
    style, dumb = tmp_path / "style.safetensors", tmp_path / "dumb.safetensors"
    style_of(folder, "other", style)
    style_of(shut, "dumb", dumb)
    engine, told = Engine("cpu"), list[str]()

    def dub(name: str, style: Path) -> Path:
        request = DubRequest(words, portrait, tmp_path / name, style, frames=12, preview=False, mouth="inside")
        engine.dub(request, note=told.append)
        return tmp_path / name

    worn = dub("worn", style)
    kept = patterns.load(worn / "patterns.safetensors")
    assert len(kept) == 4 and not any(one.lips for one in kept) and not told
    edited = Landmarks.load(worn / "landmarks.npz")
    edited.landmarks[3, 57, 1] += 4
    edited.save(tmp_path / "edited.npz")
    request = RenderRequest(tmp_path / "edited.npz", portrait, tmp_path / "again", take=worn, preview=False)
    again = engine.render(request)
    assert (again.rendered, again.reused) == (1, 11)
    assert not (dub("none", dumb) / "patterns.safetensors").exists()
    assert told == ["The frames of the style dumb show no upper teeth: the mouth's inside stays the portrait's."]
    cartoon, hand = SOURCE / "cartoon.png", points.read(SOURCE / "cartoon_points.json")
    request = DubRequest(
        words, cartoon, tmp_path / "c", style, frames=2, preview=False, mouth="inside", points=[list(p) for p in hand]
    )
    engine.dub(request, note=told.append)
    assert told[1:] == ["cartoon.png is a drawing: the mouth's inside stays the portrait's."]
