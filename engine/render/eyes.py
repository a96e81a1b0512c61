"""The eyes: lids that come down over an eyeball which keeps its shape.

Three layers. The eyeball moves rigidly with the head and its iris looks where the gaze says (`iris.py`). The upper and
the lower lid are flaps of skin over it, each read from a texture that goes on as lid where the source picture shows the
eye, and cut where they meet. Lids of drawn eyes are shutters of one colour within the eye's line, with that line along
their edge: drawn eyes are too large for skin to be stretched over them.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.render.field import Grid, invert, upsample
from engine.render.fill import extend, smoothstep
from engine.render.flow import Flow
from engine.render.glasses import upper_rim
from engine.render.iris import Iris
from engine.render.lid import unfolded
from engine.render.mouth import LUMINANCE
from engine.render.patch import PATCH_PIXELS, Box, Slit, around, blend, covered, curve, flaps, mix, outside, upper_share
from engine.render.pose import Pose
from engine.render.texture import Pixels, Texture
from engine.scattered import interpolation

Array = NDArray[np.floating]

STRAY = 0.05  # of the unit: how far outside its contour a mesh may leave some of the eye
RIM = 0.025  # of the unit: how far below the mesh's lower contour the eye still shows
WIDEST = 1.3  # times the source's opening: more eyeball than that is not in the picture
SHUT = 0.06  # of the eye's width: what a mesh still measures between lids that are shut
FOLLOW = (0.6, 0.25)  # of the iris' way up or down: how far the upper and the lower lid come along
LINE = 0.08  # of the unit: how near the contour a drawn eye's line is looked for
INWARD = 0.025  # of the unit: how far within the contour that line may reach
BROW, ROOM = 0.085, 0.055  # of the unit: from a brow's landmarks to its lower edge; what a lid needs to come down
FOLD = 0.085  # of the unit: how much between brow and lid is left to stretch before lashes have any
LASHES = 0.035  # of the unit: how far above the lid's edge nothing is stretched
DOWN = 0.8  # of the way down at which a lid is all skin that the fold hid
LASH = 0.02, 0.4  # of the unit: as near the open eye's edge its lashes are looked for; the share of darkest px they are
LASH_LINE = 0.013, 0.036  # of the unit: how far the line of lashes along a lid's edge reaches up and down
LASH_ENDS = 0.6  # of the parabola over the eye's length: where this line is in full
LOOKS = 0.1  # of the iris' radius: from this shift on the eye is drawn from its layers
AHEAD = np.zeros(2)  # degrees: the gaze that the source has
MIDDLE = [3, 5]  # the landmarks between the corners, as places in a contour


class Side(NamedTuple):
    """One eye's points: mesh contours from corner to corner, and the landmarks on them."""

    upper: list[int]
    lower: list[int]
    upper_points: tuple[int, ...]
    lower_points: tuple[int, ...]
    brow: tuple[int, ...]  # landmarks
    iris: int  # its centre in the mesh; four points of its rim come after


SIDES = (
    Side(
        [33, 246, 161, 160, 159, 158, 157, 173, 133],
        [33, 7, 163, 144, 145, 153, 154, 155, 133],
        (36, 37, 38, 39),
        (36, 41, 40, 39),
        (17, 18, 19, 20, 21),
        468,
    ),
    Side(
        [362, 398, 384, 385, 386, 387, 388, 466, 263],
        [362, 382, 381, 380, 374, 373, 390, 249, 263],
        (42, 43, 44, 45),
        (42, 47, 46, 45),
        (22, 23, 24, 25, 26),
        473,
    ),
)


def along(contour: Array, points: Array) -> Array:
    """(N, 4): weights that carry values at four landmarks (4, 2) to the contour (N, 2) they lie on."""
    span = contour[-1] - contour[0]
    at, knots = contour @ span, points @ span
    return np.stack([np.interp(at, knots, row) for row in np.eye(len(points))], axis=-1)


def _largest(mask: NDArray[np.bool_]) -> int:
    """The label of the largest connected part of a mask, as OpenCV numbers them; 0 where there is none."""
    sizes = cv2.connectedComponentsWithStats(mask.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA]
    return 1 + int(np.argmax(sizes)) if len(sizes) else 0


class Eye:
    """One eye of one portrait. `draw` puts it into a warped frame."""

    def __init__(
        self,
        rgb: Pixels,
        landmarks: Array,
        mesh: Array,
        flow: Flow,
        side: Side,
        drawn: bool = False,
        glasses: bool = False,
    ) -> None:
        """`drawn`: the face is filled with even colours. `glasses`: and wears some."""
        self.side = side
        self.drawn = drawn
        self.unit = unit = flow.shape.frame.unit
        own = Slit.between(mesh[side.upper, :2], mesh[side.lower, :2])
        self.upper, self.lower = self._outline(mesh[side.upper, :2], mesh[side.lower, :2])
        wider = Slit.between(self.upper, self.lower)
        self.extra = ((wider.lower - wider.upper) - (own.lower - own.upper))[MIDDLE]
        self.width = float(np.linalg.norm(self.upper[-1] - self.upper[0]))
        self.depth = float(mesh[side.upper + side.lower, 2].mean())
        self.spread = (
            along(self.upper, landmarks[list(side.upper_points), :2]),
            along(self.lower, landmarks[list(side.lower_points), :2]),
        )
        self.bases = flow.upper(self.upper), flow.upper(self.lower)
        cut = Slit.between(self.upper, self.lower)
        self.shut = float(np.clip(SHUT * self.width / max(own.gap, 1e-3), 0.2, 0.5))
        at = (self.upper - self.upper[0]) @ cut.along
        pairs = (landmarks[list(side.upper_points[1:3]), :2] - self.upper[0]) @ cut.along
        self.pairs = np.stack([np.interp(at, pairs, row) for row in np.eye(2)], axis=-1)
        contour = np.concatenate([self.upper, self.lower])
        self.source_box = around(contour, 0.3 * unit, (0, 0, rgb.shape[1], rgb.shape[0]))
        self.grid = Grid.over(*self.source_box, step=max(0.75, unit / 60))
        nodes = self.grid.nodes()
        flat = nodes.reshape(-1, 2).astype(np.float64)
        self.field = flow.upper(nodes)
        count = len(self.upper)
        fixed, lashes = self._brow(landmarks[list(side.brow), :2], cut)
        if glasses:  # their rim does not come down with the lid
            rim = upper_rim(rgb, self.upper, unit)
            up = (rim - self.upper) / np.linalg.norm(rim - self.upper, axis=1, keepdims=True)
            fixed = np.concatenate([fixed, *(rim + k * unit * up for k in (0.0, 0.03, 0.06, 0.12))])
            lashes = self.upper + 0.2 * (lashes - self.upper)  # it may be right above them
        radius = np.full(2 * count + len(fixed), 0.3 * unit)
        held = interpolation(np.concatenate([self.upper, lashes, fixed]), radius, flat, 0.02)
        self.lids = (
            (held[:, :count] + held[:, count : 2 * count]).astype(np.float32),
            interpolation(self.lower, radius[:count], flat, 0.02).astype(np.float32),
        )
        self._prepare(rgb, mesh[side.iris : side.iris + 5, :2], glasses)

    def _outline(self, upper: Array, lower: Array) -> tuple[Array, Array]:
        """The mesh's contours a little larger: wet rim and corners, which it leaves out, must not move as lid. A drawn
        eye has none."""
        cut = Slit.between(upper, lower)
        at = np.clip((upper - upper[0]) @ cut.along / cut.length, 0, 1)[:, None]
        if self.drawn:
            self.rim = np.zeros_like(at)
            return upper.copy(), lower.copy()
        sideways = (2 * at - 1) ** 3 * 0.02 * self.unit * cut.along
        self.rim = RIM * self.unit * (0.4 + 0.6 * np.sin(np.pi * at))
        upper = upper + sideways - 0.008 * self.unit * np.sin(np.pi * at) * cut.below
        lower = lower + sideways + self.rim * cut.below
        middle = (upper + lower) / 2
        upper[[0, -1]] = lower[[0, -1]] = middle[[0, -1]]
        return upper, lower

    def _brow(self, brow: Array, cut: Slit) -> tuple[Array, Array]:
        """(15, 2) px that do not come down with the lid: the brow's lower edge (5, 2) and what is above. Where a brow
        sits on the lid itself only what leaves the lid room. And (9, 2) px above the lid that come down with it
        unstretched: its lashes."""
        at, rises = (self.upper - self.upper[0]) @ cut.along, self.upper @ cut.below
        along, high = (brow - self.upper[0]) @ cut.along, brow @ cut.below
        lid = np.interp(along, at, rises)
        edge = np.minimum(high + BROW * self.unit, lid - ROOM * self.unit)
        fixed = np.concatenate([brow + np.outer(edge - k * self.unit - high, cut.below) for k in (0.0, 0.05, 0.12)])
        order = np.argsort(along)
        between = rises - np.interp(at, along[order], edge[order])
        lashes = np.clip(between - FOLD * self.unit, 0.01 * self.unit, LASHES * self.unit)
        self.above = at, between, lashes
        return fixed, self.upper - np.outer(lashes, cut.below)

    def _prepare(self, rgb: Pixels, iris: Array, glasses: bool) -> None:
        """Textures: the upper lid as it is seen and as it is when it has come down, the lower lid, the eyeball, each
        continued where the others are; and the eyeball's iris, of which the mesh has the centre and four points around
        (5, 2) px."""
        x0, y0, x1, y1 = self.source_box
        self.corner = np.array([x0, y0], np.float32)
        own = np.ascontiguousarray(rgb[y0:y1, x0:x1])
        nodes = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)), axis=-1).astype(np.float32)
        cut = Slit.between(self.upper, self.lower)
        heights = cut.heights(nodes)
        above, between = heights[..., 0] + heights[..., 1] < 0, heights[..., 2] <= 0
        outline = np.concatenate([curve(self.upper, 33), curve(self.lower, 33)[::-1]])
        away = outside(outline, self.source_box, self.unit)
        soft = 0.01 * self.unit
        self.shut_lid: Texture | None = None
        self.lashes = np.full(3, np.inf, np.float32)
        if self.drawn:
            self.upper_lid = self.lower_lid = Texture(self._shutter(own, away), PATCH_PIXELS, self.drawn)
        else:
            lid = extend(own, (away > 0) & (above | ~between), soft)
            self.upper_lid = Texture(lid, PATCH_PIXELS, self.drawn)
            if not glasses:
                along = (nodes - self.upper[0]) @ cut.along
                room, lashes = (np.interp(along, self.above[0], values) for values in self.above[1:])
                shut = unfolded(lid, heights, along / cut.length, room, lashes, self.unit)
                self.shut_lid = None if shut is None else Texture(shut, PATCH_PIXELS, self.drawn)
            self.lower_lid = Texture(self._lower_lid(own, ~above | ~between, away), PATCH_PIXELS, self.drawn)
            self.lashes = self._lashes(own, heights)
        self.ball = Texture(extend(own, away < -0.5, soft), PATCH_PIXELS, self.drawn)
        self.texture = Texture(own, PATCH_PIXELS, self.drawn)
        radius = float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean())
        self.iris = Iris.of(own, away, iris[0] - self.corner, radius, self.width, PATCH_PIXELS, self.drawn)

    def _lower_lid(self, own: Pixels, side: NDArray[np.bool_], away: Array) -> Pixels:
        """The lower lid: its `side` of the picture, continued over the eye. `away`: px outside the eye.

        Pixels close to the eye that are brighter than the skin near by are white of the eye that the mesh left out.
        """
        soft = 0.01 * self.unit
        light = cv2.cvtColor(own, cv2.COLOR_RGB2GRAY)
        skin = cv2.cvtColor(extend(own, side & (away > STRAY * self.unit), soft), cv2.COLOR_RGB2GRAY)
        stray = (light > 1.08 * skin.astype(np.float32)) & (away < STRAY * self.unit)
        return extend(own, side & (away > 0) & ~stray, soft)

    def _lashes(self, own: Pixels, heights: Array) -> Array:
        """RGB (3,) of the upper lid's lashes: the darkest along the open eye's edge."""
        edge = own[(np.abs(heights[..., 0]) < LASH[0] * self.unit) & (heights[..., 2] <= 0)].astype(np.float32)
        if not len(edge):  # of a few px
            return self.lashes
        light = edge @ LUMINANCE
        return np.asarray(edge[light <= np.quantile(light, LASH[1])].mean(0))

    def _shutter(self, own: Pixels, away: Array) -> Pixels:
        """The drawn eye shut: all within its line is skin. `away`: px outside the eye. Measures the line, too."""
        ring, near = (away > 0.1 * self.unit) & (away < 0.22 * self.unit), np.abs(away) < LINE * self.unit
        self.line, self.thick = np.zeros(3, np.float32), 1.0
        inside = away < 0
        if not (ring.any() and near.any() and inside.any()):  # of a few px
            return extend(own, away > 0, 0.01 * self.unit)
        skin = np.median(own[ring], axis=0)
        light = own.astype(np.float32) @ LUMINANCE
        self.line = np.median(own[near & (light <= np.percentile(light[near], 5))], axis=0).astype(np.float32)
        # An iris that touches the line is no line: that reaches hardly further in than the contour.
        dark = near & (light < 0.5 * (self.line @ LUMINANCE + skin @ LUMINANCE)) & (away > -INWARD * self.unit)
        dark &= cv2.connectedComponents(dark.astype(np.uint8))[1] == _largest(dark)
        length = float(np.linalg.norm(np.diff(self.upper, axis=0), axis=1).sum()) * 2
        self.thick = float(np.clip(dark.sum() / length, 1.0, 0.08 * self.unit))
        parts = cv2.connectedComponents((~dark).astype(np.uint8), connectivity=4)[1]
        sizes = np.maximum(np.bincount(parts.ravel()), 1)
        held = np.bincount(parts[inside], minlength=len(sizes)) / sizes
        filled = np.isin(parts, np.flatnonzero(held > 0.5)) & ~dark  # what lies mostly inside, up to the line
        if filled.sum() < 0.4 * inside.sum():  # an eye that is all dark, or whose line is open
            filled, dark = inside, np.zeros_like(dark)
        grown = cv2.dilate(filled.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
        share = grown * (1.0 - cv2.GaussianBlur(dark.astype(np.float32), (0, 0), 0.7))
        shut = own + share[..., None] * (skin - own)
        return np.rint(shut).astype(np.uint8) if own.dtype == np.uint8 else shut.astype(np.float32)

    def contours(self, coefficients: Array, pose: Pose, gaze: Array = AHEAD) -> tuple[Array, Array, Array]:
        """Target contours of the lids (9, 2) px each, and how far they are open (9,), 1 as in the source."""
        residual = coefficients[4:72].astype(np.float64)
        head = pose.matrix[:, :2]
        lift, drop = residual[list(self.side.upper_points)], residual[list(self.side.lower_points)]
        if self.iris is not None and gaze.any():
            way = head[:, 1] * self.iris.shift(gaze)[1]
            inner = np.array([0.0, 1.0, 1.0, 0.0])[:, None]
            lift, drop = lift + FOLLOW[0] * inner * way, drop + FOLLOW[1] * inner * way
        upper = self.upper + self.bases[0][:, :4] @ coefficients[:4] + self.spread[0] @ lift
        lower = self.lower + self.bases[1][:, :4] @ coefficients[:4] + self.spread[1] @ drop
        gap_source = (self.lower - self.upper) @ head.T
        below = np.array([-head[1, 0], head[0, 0]]) / np.linalg.norm(head[:, 0])
        full = gap_source @ below
        gap = (lower - upper) @ below
        size = np.linalg.norm(head[:, 0])
        ratio = (gap[MIDDLE] - size * self.extra) / np.maximum(full[MIDDLE] - size * self.extra, 0.02 * self.width)
        shutting = np.maximum(ratio - self.shut, 0) / (1 - self.shut)
        ratio = self.pairs @ np.where(ratio < 1, shutting, np.minimum(ratio, WIDEST))
        lifted = lower - self.rim * np.maximum(1 - ratio, 0)[:, None] * below
        return upper + np.outer(gap - ratio * np.maximum(full, 0), below) + lifted - lower, lifted, ratio

    def draw(self, frame: Pixels, coefficients: Array, pose: Pose, limits: Box, gaze: Array = AHEAD) -> None:
        """Draw into `frame` (h, w, 3), the target's `limits`. `gaze`: degrees to the right and up from the source's."""
        upper, lower, opened_by = self.contours(coefficients, pose, gaze)
        here = self.upper + self.bases[0] @ coefficients, self.lower + self.bases[1] @ coefficients
        moves = (upper - here[0]), (lower - here[1])
        change = max(float(np.linalg.norm(move, axis=1).max()) for move in moves) / self.width
        parted = float(smoothstep(change / 0.08))
        looking = 0.0
        if self.iris is not None and gaze.any():
            looking = float(smoothstep(float(np.hypot(*self.iris.shift(gaze))) / (LOOKS * self.iris.radius)))
        box = around(np.concatenate([upper, lower, *here]), (0.12 if self.drawn else 0.24) * self.unit, limits)
        x0, y0, x1, y1 = box
        width, height = x1 - x0, y1 - y0
        if max(parted, looking) == 0.0 or min(width, height) < 4:
            return
        step = max(1, round(self.unit / 60))
        targets = Grid.of_pixels(x0, y0, width, height, step).nodes()
        shape = (self.grid.rows, self.grid.columns, 2)
        head = self.field @ coefficients
        above, under = (
            upsample(invert(field.reshape(shape), self.grid, targets) - self.corner, step, width, height)
            for field in (
                head if self.drawn else head + lid @ move.astype(np.float32)
                for lid, move in zip(self.lids, moves, strict=True)
            )
        )
        slit = Slit.between(curve(upper, 33), curve(lower, 33))
        heights = upsample(slit.heights(targets), step, width, height)
        share = upper_share(heights, 0.6)
        eye = flaps(self.upper_lid, self.lower_lid, above, under, share)
        down = float(smoothstep((1 - opened_by[MIDDLE].mean()) / DOWN))
        if self.shut_lid is not None and down:
            eye += np.float32(down) * (flaps(self.shut_lid, self.lower_lid, above, under, share) - eye)
        rigid = upsample(self._rigid(targets, coefficients, pose) - self.corner, step, width, height)
        if self.iris is None or looking < 1.0:
            ball = self.ball.read(rigid).astype(np.float32)
        if self.iris is not None and looking:
            turned = self.iris.read(rigid, gaze)
            ball = turned if looking == 1.0 else ball + (turned - ball) * np.float32(looking)
        opened = covered(heights, max(1.0, 0.012 * self.unit))
        eye = mix(eye, ball, opened)
        if self.drawn:
            edge = np.clip(self.thick / 2 + 0.5 - np.abs(heights[..., 0]), 0, 1) * (heights[..., 2] <= 0)
            eye = mix(eye, np.broadcast_to(self.line, eye.shape), parted * edge)
        elif down:
            at = upsample(((targets - slit.origin) @ slit.along / slit.length).astype(np.float32), step, width, height)
            eye += (np.float32(down) * self._line(heights, at))[..., None] * np.minimum(self.lashes - eye, 0)
        if parted < 1.0:  # lids that hardly moved are as in the picture
            plain = self.texture.read(mix(under, above, share)).astype(np.float32)
            eye = plain + (eye - plain) * np.float32(parted)
            if looking > parted:
                eye += (ball - plain) * (np.float32(looking - parted) * opened)[..., None]
        blend(frame, eye, box, limits, max(2, round(0.08 * self.unit)))

    def _line(self, heights: Array, at: Array) -> Array:
        """(h, w) float32, how far a px is on the line of lashes along the upper lid's edge: `Slit.heights` (h, w, 3),
        and how far along the eye it is (h, w), 0 to 1. Nothing at the corners and beyond."""
        up, down = (np.float32(max(reach * self.unit, 0.7)) for reach in LASH_LINE)
        across = heights[..., 0] / np.where(heights[..., 0] < 0, up, down)
        return np.asarray(smoothstep(4 * at * (1 - at) / LASH_ENDS) * np.exp(-(across**2)))

    def _rigid(self, targets: Array, coefficients: Array, pose: Pose) -> Array:
        """Where targets (h, w, 2) px come from on an eyeball that moves with the head and the eye's corners."""
        corners = [self.side.upper_points[0], self.side.upper_points[-1]]
        shift = pose.shift + pose.matrix[:, 2] * self.depth + coefficients[4:][corners].mean(0)
        return ((targets - shift) @ np.linalg.inv(pose.matrix[:, :2]).T).astype(np.float32)
