"""The inside of a mouth of somebody else, fitted to a portrait: their teeth and tongue, its lips, its light, its place.

A style is often made of another person. Their lips and skin are no business of the portrait's, but what is between
their lips can be seen in its mouth: the upper teeth end where the portrait's own would, the lower ones go with its
lower lip, black and white are those of the portrait's own inside, and nothing is sharper than the picture. Beyond what
a reference shows its mouth proxy goes on. Lips are never drawn from here.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.render.field import Grid, upsample
from engine.render.fill import smoothstep
from engine.render.head import Frame
from engine.render.lips import Lips
from engine.render.mouth import CHIN, LUMINANCE, MouthInterior, measure_blur, to_linear, to_srgb
from engine.render.patch import covered
from engine.render.pattern import BEHIND, FINE, OPEN, SIZE, SPAN, STEP, Pattern, depth, seen, shown

Array = NDArray[np.floating]
Bytes = NDArray[np.uint8]

LOWER_LIP = [65, 66, 67]
JAW_OPENS = [*range(4, 13), *range(55, 60), *LOWER_LIP]  # landmarks that go down with the jaw
HALVES = 0.3  # of a reference's opening: within so much about its middle its two rows of teeth part
CHIN_SHARE = 0.7  # of the chin's way to the side that the lower teeth go, as in `mouth.py`
REACH, CLEAR = 4, 0.5  # light that falls by so much of its range over so many px of FINE to either side: teeth end
MIDDLE = 0.16  # of the mouth's width to either side: where the edge of the incisors is looked for
EDGE = 2.0  # px of FINE: a reference's rim that its lips have blurred into
BRIGHT, DARK = 95, 8  # percentiles of the light in an inside: its teeth and its cavity


class Insides:
    """Reference frames' mouths for the inside of one portrait's. `draw` brings them onto a frame's landmarks."""

    def __init__(self, patterns: Sequence[Pattern], interior: MouthInterior) -> None:
        """`interior`: the portrait's own inside of the mouth, whose place and light are taken over. Nothing of the
        patterns is known in a drawing, whose inside is drawn, and where they show no upper teeth, by which the rest is
        placed."""
        self.patterns = list(patterns)
        self.openings = [pattern.opening for pattern in self.patterns]
        self.points = [pattern.in_square for pattern in self.patterns]
        self.slits = [Lips.slit(points) for points in self.points]
        self.interior = interior
        self.edge = incisal_edge(self.patterns)
        self.colours = matched(self.patterns, interior)

    def draw(self, landmarks: Array, edge: Array, size: int = SIZE) -> Bytes:
        """(n, size, size, 4) uint8 for landmarks (68, 2) px of the frame's square of SIZE: RGB and how far it is known,
        only between the lips. `edge` (2,): where in that square the middle of the portrait's upper incisal edge is."""
        made = np.zeros((len(self.patterns), size, size, 4), np.uint8)
        slit = Lips.slit(landmarks)
        if self.edge is None or self.interior.drawn or slit.gap < 1.0:
            return made
        grid = Grid.of_pixels(0, 0, SIZE, SIZE, STEP)
        nodes = grid.nodes()
        heights = slit.heights(nodes)
        behind = upsample(smoothstep((depth(heights) - BEHIND[0]) / (BEHIND[1] - BEHIND[0])), STEP, SIZE, SIZE)
        opened = covered(upsample(heights, STEP, SIZE, SIZE), 1.0)
        above = (self.edge + 0.5) * (SIZE / FINE) - 0.5 - edge
        for index, (own, there, colours) in enumerate(zip(self.points, self.slits, self.colours, strict=True)):
            below = np.array([CHIN_SHARE * (own - landmarks)[CHIN, 0].mean(), (own - landmarks)[LOWER_LIP, 1].mean()])
            known, pixels = [], []
            for row, half in ((nodes + above, -1), (nodes + below, 1)):
                at = there.heights(row)
                side = smoothstep(0.5 + half * (depth(at) - 0.5) / HALVES)  # the other row of teeth stays where it is
                known.append(upsample(covered(at, 3.0, grown=-1.0) * side, STEP, SIZE, SIZE))
                pixels.append(seen(colours, row, size).astype(np.float32))
            far = [known[0] * (1.0 - behind), known[1] * behind]
            whole = far[0] + far[1]
            share = cv2.resize(far[1] / np.maximum(whole, 1e-3), (size, size))[..., None]
            made[index, ..., :3] = np.rint(pixels[0] + (pixels[1] - pixels[0]) * share)
            whole = np.clip(255 * shown(self.openings[index], slit.gap) * opened * whole, 0, 255).astype(np.uint8)
            made[index, ..., 3] = cv2.resize(whole, (size, size))
        return made


def incisal_edge(patterns: Sequence[Pattern]) -> Array | None:
    """(2,) px of a square of FINE: the middle of the upper incisal edge of the person the patterns show, as the widest
    mouth has it that shows the edge; None where none does."""
    found = [(pattern.opening, y) for pattern in patterns if (y := _seen_edge(pattern)) is not None]
    return np.array([(FINE - 1) / 2, max(found)[1]]) if found else None


def _seen_edge(pattern: Pattern) -> float | None:
    """Px of FINE from the top at which light falls most steeply below a pattern's upper lip; None without a clear
    fall."""
    points = pattern.landmarks.astype(np.float64)
    light = np.sqrt(cv2.GaussianBlur(to_linear(pattern.pixels / np.float32(255)) @ LUMINANCE, (0, 0), 1.0))
    middle, reach = points[60:68, 0].mean(), MIDDLE * (points[64, 0] - points[60, 0])
    columns, tops = [], []
    for x in range(int(middle - reach), int(middle + reach) + 1):
        top = np.interp(x, points[60:65, 0], points[60:65, 1]) + 1
        bottom = np.interp(x, points[[60, 67, 66, 65, 64], 0], points[[60, 67, 66, 65, 64], 1]) - 1
        column = light[int(np.ceil(top)) : int(np.floor(bottom)) + 1, x] if 0 <= x < FINE else light[:0, 0]
        if len(column) > 2 * REACH + 2:
            columns.append(column)
            tops.append(int(np.ceil(top)))
    if not columns:
        return None
    count = max(map(len, columns))
    even = [np.interp(np.linspace(0, 1, count), np.linspace(0, 1, len(one)), one) for one in columns]
    profile = np.median(even, axis=0)
    low, high = np.percentile(profile, [5, 95])
    mean = np.convolve(profile, np.ones(REACH) / REACH, "valid")  # from a px on
    falls = (mean[: -REACH - 1] - mean[REACH + 1 :]) / max(high - low, 1e-3)
    steepest = int(np.argmax(falls))
    return float(np.median(tops) + steepest + REACH) if falls[steepest] >= CLEAR else None


def matched(patterns: Sequence[Pattern], interior: MouthInterior) -> list[Bytes]:
    """The patterns' pixels (FINE, FINE, 3) with black, white and blur of the portrait's own inside, in its colours."""
    shows = [pattern for pattern in patterns if pattern.opening > OPEN / 2]
    theirs = [_inside(pattern.pixels / np.float32(255), pattern.landmarks.astype(np.float64)) for pattern in shows]
    own = [_own_inside(pattern.opening, interior) for pattern in shows]
    if not shows or not sum(map(len, theirs)) or not sum(map(len, own)):
        return [pattern.pixels for pattern in patterns]
    black, white = _ends(np.concatenate(theirs))
    to_black, to_white = _ends(np.concatenate(own))
    black, white = interior.coloured(black), interior.coloured(white)
    unit = Frame.of(interior.source).unit
    made = []
    for pattern in patterns:
        linear = interior.coloured(to_linear(pattern.pixels / np.float32(255)))
        linear = (linear - black) * (to_white - to_black) / np.maximum(white - black, 0.01) + to_black
        softer = (interior.blur * FINE / (SPAN * unit)) ** 2 - measure_blur(pattern.pixels, _level(pattern)) ** 2
        if softer > 0.1:
            linear = cv2.GaussianBlur(linear, (0, 0), float(np.sqrt(softer)))
        made.append(np.rint(255 * to_srgb(linear.astype(np.float32))).astype(np.uint8))
    return made


def _level(pattern: Pattern) -> Array:
    """(68, 2) the pattern's landmarks kept within its square, which does not show the eyes."""
    return np.clip(pattern.landmarks, 0, FINE - 1)


def _inside(rgb: Array, points: Array) -> Array:
    """Linear RGB (N, 3) between the inner lips of a square (FINE, FINE, 3) in [0, 1] with landmarks (68, 2) px."""
    rows = np.stack(np.meshgrid(np.arange(FINE), np.arange(FINE)), axis=-1).astype(np.float32)
    within = covered(Lips.slit(points).heights(rows), 1.0, grown=-EDGE) > 0.5
    return to_linear(np.asarray(rgb, np.float32)[within])


def _own_inside(opening: float, interior: MouthInterior) -> Array:
    """Linear RGB (N, 3) of the portrait's own inside, its mouth opened so far in units of the face."""
    points = interior.source.astype(np.float32).copy()
    points[JAW_OPENS] += opening * Frame.of(interior.source).unit * interior.head.axes[:, 1]
    low, high = np.floor(points[60:, :2].min(0)).astype(int) - 2, np.ceil(points[60:, :2].max(0)).astype(int) + 3
    made = interior.layer(points, (int(low[0]), int(low[1]), int(high[0]), int(high[1])))
    return to_linear(np.ascontiguousarray(made[made[..., 3] > 0.95][:, :3]))


def _ends(linear: Array) -> tuple[Array, Array]:
    """(3,) each: the darkest and the brightest of an inside's linear RGB (N, 3)."""
    light = linear @ LUMINANCE
    dark, bright = np.percentile(light, [DARK, BRIGHT])
    return linear[light <= dark].mean(0), linear[light >= bright].mean(0)
