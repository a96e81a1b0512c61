"""A stranger's inside of the mouth in a portrait: its lips stay, teeth end where its own would, in its own light."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.face import find, image, points
from engine.job import DubRequest, Engine, RenderRequest, style_of
from engine.render import pattern
from engine.render.inside import Insides, incisal_edge
from engine.render.pattern import FINE, SIZE, Pattern, facial_map, inverse, placed, square_of
from engine.render.renderer import Renderer
from engine.take import Landmarks

SOURCE = Path(__file__).resolve().parents[2] / "demo" / "source"


@pytest.fixture(scope="module")
def renderer(portrait: Path) -> Renderer:
    picture = image.load(portrait)
    return Renderer(picture, find.find(picture), torch.device("cpu"))


def opened(renderer: Renderer, by: float) -> np.ndarray:
    moved = renderer.landmarks.copy()
    moved[[55, 56, 57, 58, 59, 65, 66, 67, 7, 8, 9], 1] += by * renderer.shape.frame.unit
    return moved


def in_square(landmarks: np.ndarray) -> np.ndarray:
    return placed(landmarks[:, :2], inverse(square_of(landmarks)))


@pytest.fixture(scope="module")
def strangers(renderer: Renderer) -> list[Pattern]:
    """Mouths of somebody in dim blue light, whose lips are another colour and whose mouth is 8 px of FINE lower."""
    made = []
    for by in (0.02, 0.1, 0.25):
        points_ = renderer.reached(opened(renderer, by))
        frame = renderer.render(points_)
        affine = square_of(points_, FINE)
        at = placed(points_[:, :2], inverse(affine))
        rgb = pattern.cut(frame, affine, FINE).astype(np.float32)
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
    edge = incisal_edge(strangers)
    assert edge is not None
    wide = renderer.reached(opened(renderer, 0.25))
    at = in_square(wide)
    *_, drawn = Insides(strangers, renderer.interior).draw(at, FINE)
    known = drawn[..., 3] > 128
    assert known.sum() > 300
    own = pattern.cut(renderer.render(wide), square_of(wide, FINE), FINE).astype(int)
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
    assert not Insides(shut, renderer.interior).draw(wide).any()
    picture = image.load(SOURCE / "cartoon.png")
    drawing = Renderer(
        picture, points.face_at(picture, points.read(SOURCE / "cartoon_points.json")), torch.device("cpu")
    )
    assert drawing.interior.drawn
    assert not Insides(strangers, drawing.interior).draw(in_square(opened(drawing, 0.2))).any()
    assert Insides(strangers, renderer.interior).draw(wide)[..., 3].max() > 200


def test_teeth_go_with_the_skull(renderer: Renderer, strangers: list[Pattern]) -> None:
    """Where the upper teeth are does not depend on how far the mouth is open."""
    insides = Insides(strangers, renderer.interior)
    less, more = (insides.draw(in_square(renderer.reached(opened(renderer, by))))[-1] for by in (0.16, 0.22))
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
    kept = pattern.load(worn / "patterns.safetensors")
    assert len(kept) == 4 and not any(one.lips for one in kept) and not told
    edited = Landmarks.load(worn / "landmarks.npz")
    edited.landmarks[3, 57, 1] += 4
    edited.save(tmp_path / "edited.npz")
    request = RenderRequest(tmp_path / "edited.npz", portrait, tmp_path / "again", take=worn, preview=False)
    again = engine.render(request)
    assert (again.rendered, again.reused) == (1, 11)
    assert not (dub("none", dumb) / "patterns.safetensors").exists()
    assert told == ["The frames of the style dumb show no upper teeth: the mouth's inside stays the portrait's."]
