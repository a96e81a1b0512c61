"""The mouth's inside: what is seen between the lips of a portrait whose mouth opens.

Teeth, gums and tongue of the proxy (`proxy.py`) are drawn once for the portrait, under its head pose, size, colour and
sharpness. For each frame the layers move as what carries them: the upper arch with the skull, the lower arch and the
tongue with the jaw. They are laid over a dark cavity, shaded toward the lips and cut out along the inner lips. When
the portrait shows its own teeth, those pixels are the upper arch, and the proxy only continues them.

It does not move the lips and does not touch a pixel outside the inner lips: the renderer composites the layer.
Everything runs on the CPU, whatever the device: a mouth is small.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from engine.render import proxy, proxy_raster
from engine.render.patch import curve

Array = NDArray[np.float32]

VERSION = "8"  # goes up whenever the same portrait and landmarks give other pixels
TINT = Path(__file__).resolve().parents[1] / "weights" / "mouth_tint.safetensors"

# Points speech does not move, and how far each is trusted: bridge and base of the nose, eye corners, temples.
SKULL = np.array([27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45, 0, 1, 15, 16])
SKULL_TRUST = np.array([1, 1, 1, 1, 0.6, 0.8, 1, 0.8, 0.6, 1, 1, 1, 1, 0.4, 0.3, 0.3, 0.4], np.float32)
PAIRS = ((36, 45), (39, 42), (0, 16), (1, 15), (2, 14), (31, 35), (48, 54))
CHIN = [7, 8, 9]
UPPER_LIP, LOWER_LIP = [60, 61, 62, 63, 64], [60, 67, 66, 65, 64]

# Between a corner of the inner lips and the landmark next to it: where, as shares of that way, and how much further
# from the line through the corners a round lip is, as shares of the landmark's own distance from it. A lip is round as
# far as that landmark, in widths of the mouth, lies beyond the line. From dense meshes of films and smiles
# (`engine/training/mouth_check.py`).
BESIDE = np.array([0.21, 0.42, 0.68], np.float32)
BOW = np.array([[0.16, 0.24, 0.23]] * 2 + [[0.15, 0.19, 0.16]] * 2, np.float32)  # of the upper lip, of the lower
UPPER_ROUND, LOWER_ROUND = (-0.03, 0.04), (0.05, 0.16)
PARTED = 0.08  # widths of the mouth between landmarks next to the corners, from which lips are apart

EYES_MM = 89.5  # between the outer eye corners, mean of men and women (Farkas)
# Upper incisors below the resting upper lip's edge: as films of speech show them, and in drawings.
SHOW_MM, DRAWN_SHOW_MM = 1.5, 3.1
NOSE_TO_EDGE_MM = 27.5  # base of the nose to the upper incisal edge, as smiling portraits measure it
NOSE_LEAN = 28.0  # degrees
LIP_MM = 9.0  # thickness of the lip in front of the teeth
OVERBITE_MM = 3.0  # lower edge above the upper edge, jaw at rest
TONGUE_WITH_JAW = np.array([0.7, 1.0, 0.6], np.float32)
# A dropping jaw leaves the tongue behind by a share of how far it drops and by this much at most: in films of speech it
# fills half the open mouth, and an "ah" as wide as can be still shows the throat above it.
TONGUE_STAYS, TONGUE_STAYS_MM = 0.7, 6.0
TONGUE_LIT, PRINTED_LIT = 1.6, 0.7  # of the proxy's colour: films show it in every open mouth, early ones dark
FULL = 1.8  # a fully lit tooth against the brightest tenth of a speaking mouth's inside, which the tint tells
# From which opening on a mouth is fully lit. In a smile lips leave the teeth free, and a portrait's own say how lit
# they are; in speech mouths open into shadow (films of grid_s1 and addresses).
LIT_SMILING_MM, LIT_SPEAKING_MM = 5.0, 17.0
OWN_LIGHT = 0.92  # how lit teeth in an open smile are, next to the full light the layers are kept in
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
PRINTED = np.array([0.0, 0.5, 0.5], np.float32)  # what plates and early films saw of colours: red is dark
FINEST = 6.0  # px per mm: finer than this a mouth's inside is not drawn
DRAWN_LINE = 0.03  # of the outer eye corners' distance: lips no further apart are shut, between them is their line
DRAWN_OPEN = 0.06  # of the outer eye corners' distance: lips this far apart show what is between them
DRAWN_WHITE = 0.85  # of teeth in a drawing that has no white
DRAWN_INSIDE = np.array([0.20, 0.03, 0.03], np.float32)  # of the skin: the red of a drawn mouth's inside
DRAWN_TONGUE = np.array([0.75, 0.25, 0.25], np.float32)  # and of its tongue
CAVITY = np.array([0.018, 0.0075, 0.007], np.float32)  # times the tooth colour
CHEEK = np.array([0.050, 0.016, 0.014], np.float32)  # the cheeks' lining behind the corners, likewise
BOUNCE = np.array([0.30, -0.20, -0.15], np.float32)  # light in a mouth's shadow comes from its own red walls
DRAWN_ROUND_MM, DRAWN_SMOOTH_MM = 10.0, 1.5  # what notches are filled in a drawing's teeth, how round is what is left
EVEN, DRAWN = 0.3, 0.3  # of 255 a px: no slope at all; share of such px in a face from which it is a flat drawing
BELOW_EYES = 0.3  # of the way from the lower lids to the corners of the mouth: skin that beards leave free …
ABOVE_LIPS = 0.55  # … and skin that glasses do
HAZIEST = 0.25  # of the skin's light: a face in which nothing is darker has dark skin, not haze


def to_linear(rgb: Array) -> Array:
    """sRGB in [0, 1] to linear light."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((np.maximum(rgb, 0) + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LADDER = np.linspace(0.0, 1.0, 4096, dtype=np.float32) ** 2
_TO_SRGB = np.where(_LADDER <= 0.0031308, _LADDER * 12.92, 1.055 * _LADDER ** (1 / 2.4) - 0.055).astype(np.float32)


def to_srgb(linear: Array) -> Array:
    """Linear light to sRGB in [0, 1], clipped; by table, it runs for every frame."""
    # Steps are even in the square root, so that shadows keep theirs.
    return _TO_SRGB[(np.sqrt(np.clip(linear, 0.0, 1.0)) * 4095.0 + 0.5).astype(np.int32)]


def beside_corners(points: Array) -> Array:
    """(4, 3, 2) px: the inner lips' edges on the way from a corner to the next of landmarks (68, 2), which is a third
    of the mouth: lips bow out there as those of films and smiles do. From 60 to 61, from 64 to 63, from 60 to 67, from
    64 to 65."""
    across = points[64] - points[60]
    width = float(np.linalg.norm(across)) + 1e-6
    down = np.array([-across[1], across[0]]) / width
    corners = points[[60, 64, 60, 64]]
    way = points[[61, 63, 67, 65]] - corners
    below = way @ down
    upper, lower = below[:2] / width, below[2:] / width
    round_below = _ease(lower, *LOWER_ROUND)
    round_above = _ease(-upper, *UPPER_ROUND)
    shut = 1.0 - _ease(lower - upper, 0.0, PARTED)  # lips that meet do so in one line
    bow = np.concatenate([round_above + (round_below - round_above) * shut, round_below]) * below
    return np.asarray(corners[:, None] + BESIDE[:, None] * way[:, None] + (BOW * bow[:, None])[..., None] * down)


def inner_lips(landmarks: Array) -> tuple[Array, Array]:
    """The inner edges of the upper and the lower lip as smooth curves (41, 2), from corner 60 to corner 64, px.

    Where the lips touch or cross both curves run along their middle. Lips are cut along these.
    """
    points = np.asarray(landmarks, np.float32)[:, :2]
    across = points[64] - points[60]
    down = np.array([-across[1], across[0]], np.float32) / (np.linalg.norm(across) + 1e-6)
    beside = beside_corners(points)
    upper, lower = (
        curve(np.concatenate([points[e[:1]], beside[i], points[e[1:4]], beside[i + 1, ::-1], points[e[4:]]]), 41)
        for i, e in ((0, UPPER_LIP), (2, LOWER_LIP))
    )
    crossed = ((lower - upper) @ down <= 0)[:, None]
    middle = 0.5 * (upper + lower)
    return np.where(crossed, middle, upper).astype(np.float32), np.where(crossed, middle, lower).astype(np.float32)


def lip_gap(landmarks: Array) -> float:
    """The widest distance between the inner lips across the mouth, px; 0 when closed."""
    upper, lower = inner_lips(landmarks)
    return float(np.linalg.norm(lower - upper, axis=1).max())


@dataclass(frozen=True)
class Similarity:
    """q = scale · rotation · p + shift, for points (..., 3)."""

    scale: float
    rotation: Array
    shift: Array

    def apply(self, points: Array) -> Array:
        return self.scale * points @ self.rotation.T + self.shift

    def undo(self, points: Array) -> Array:
        return (points - self.shift) @ self.rotation / self.scale


def fit(source: Array, target: Array, trust: Array) -> Similarity:
    """The weighted least-squares similarity (Umeyama) from points (N, 3) to points (N, 3)."""
    w = (trust / trust.sum())[:, None]
    a0, b0 = (w * source).sum(0), (w * target).sum(0)
    a, b = source - a0, target - b0
    u, d, vt = np.linalg.svd((w * b).T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((d * sign).sum() / (w * a * a).sum())
    return Similarity(scale, rotation.astype(np.float32), (b0 - scale * rotation @ a0).astype(np.float32))


@dataclass(frozen=True)
class Head:
    """The portrait's head: `axes` (3, 3), columns right, down, out of the face; `px` per millimetre; `edge` (3,) px,
    the middle of the upper incisal edge; `roll` (3, 3), the in-plane part of `axes`."""

    axes: Array
    px: float
    edge: Array
    roll: Array


def measure_head(landmarks: Array, drawn: bool = False) -> Head:
    """From source landmarks (68, 3) px. A `drawn` upper lip is where it rests, however long the nose above it is."""
    p = np.asarray(landmarks, np.float64)
    right = np.sum([p[b] - p[a] for a, b in PAIRS], axis=0)
    right /= np.linalg.norm(right)
    eyes, nose = p[[36, 39, 42, 45]].mean(0), p[31:36].mean(0)
    fall = nose - eyes
    fall -= right * (fall @ right)
    flat = np.cross([0.0, 0.0, 1.0], right)  # straight down in the picture
    flat /= np.linalg.norm(flat)
    toward = np.cross(right, flat)
    toward *= np.sign(toward[2])
    # The base of the nose stands out from the eyes by NOSE_LEAN; what is left is the head's nod, and it is noisy.
    nod = 0.7 * (np.arctan2(fall @ toward, fall @ flat) - np.radians(NOSE_LEAN))
    down = np.cos(nod) * flat + np.sin(nod) * toward
    out = np.cos(nod) * toward - np.sin(nod) * flat
    px = float(np.linalg.norm(p[45] - p[36]) / EYES_MM)
    middle = p[[33, 51, 62]].mean(0)
    gap = float((p[66] - p[62]) @ down) / px
    by_lip = float((p[62] - eyes) @ down) + (DRAWN_SHOW_MM if drawn else SHOW_MM) * px
    by_nose = float((p[33] - eyes) @ down) + NOSE_TO_EDGE_MM * px
    # An open smile has lifted the lip off its resting place.
    share = 0.0 if drawn else float(np.clip((gap - 1.0) / 4.0, 0.0, 1.0))
    height = (1.0 - share) * by_lip + share * max(by_nose, by_lip)
    depth = float((p[62] - eyes) @ out) - LIP_MM * px
    edge = eyes + right * float((middle - eyes) @ right) + down * height + out * depth
    angle = np.arctan2(right[1], right[0])
    roll = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    axes = np.stack([right, down, out], axis=1)
    return Head(axes.astype(np.float32), px, edge.astype(np.float32), roll.astype(np.float32))


def _patch(rgb: NDArray[np.uint8], polygon: Array) -> Array:
    """Linear RGB (N, 3) of the pixels inside a polygon (K, 2); none when it lies outside."""
    lo = np.clip(np.floor(polygon.min(0)).astype(int), 0, None)
    hi = np.minimum(np.ceil(polygon.max(0)).astype(int) + 1, [rgb.shape[1], rgb.shape[0]])
    if (hi <= lo).any():
        return np.zeros((0, 3), np.float32)
    mask = np.zeros((hi[1] - lo[1], hi[0] - lo[0]), np.uint8)
    cv2.fillPoly(mask, [np.round(polygon - lo).astype(np.int32)], 1)
    crop = rgb[lo[1] : hi[1], lo[0] : hi[0]]
    return to_linear(crop[mask > 0].astype(np.float32) / 255.0)


@dataclass(frozen=True)
class Light:
    """What a face tells of its light, linear RGB (3,) each: skin below the eyes, eye whites, the darkest and the
    brightest there is."""

    skin: Array
    white: Array
    black: Array
    bright: Array

    @property
    def haze(self) -> float:
        """How far the picture is from black, as a share of the skin's light: little contrast, veiled or blurred."""
        return min(float(self.black @ LUMINANCE) / max(float(self.skin @ LUMINANCE), 2e-3), HAZIEST)

    @property
    def luma(self) -> Array:
        """Logarithms of the skin's and the eye whites' brightness (2,)."""
        return np.log(np.maximum(np.stack([self.skin, self.white]) @ LUMINANCE, 2e-3))

    def speaking(self) -> Array:
        """What the brightness of teeth in speech, over the skin's, is predicted from: (3,)."""
        return np.array([1.0, self.luma[1] - self.luma[0], self.haze], np.float32)

    def smiling(self) -> Array:
        """What the brightness of teeth in a smile is predicted from: (3,)."""
        return np.array([1.0, *self.luma], np.float32)

    def hues(self) -> Array:
        """(2, 2) logarithms of red and of blue over green: of the skin and of the eye whites."""
        logs = np.log(np.maximum(np.stack([self.skin, self.white]), 2e-3))
        return np.stack([logs[:, 0] - logs[:, 1], logs[:, 2] - logs[:, 1]])


def cheeks(points: Array, way: float) -> list[Array]:
    """Middles (2,) px of the skin so far of the way from either eye to its corner of the mouth; landmarks (68, 2)."""
    return [points[eye] + way * (points[corner] - points[eye]) for eye, corner in ((41, 48), (46, 54))]


def measure_light(rgb: NDArray[np.uint8], landmarks: Array) -> Light:
    """The light of a face with `landmarks` (68, 2 or 3) px."""
    p = np.asarray(landmarks, np.float32)[:, :2]
    size = float(np.linalg.norm(p[45] - p[36]))
    circle = np.stack([np.cos(np.linspace(0, 2 * np.pi, 16)), np.sin(np.linspace(0, 2 * np.pi, 16))], 1) * 0.09 * size
    patches = np.concatenate([_patch(rgb, cheek + circle) for cheek in cheeks(p, BELOW_EYES)])
    skin = np.median(patches, axis=0) if len(patches) else np.array([0.45, 0.3, 0.24])
    eyes = np.concatenate([_patch(rgb, p[36:42]), _patch(rgb, p[42:48])])
    if len(eyes) < 16:
        white = skin @ LUMINANCE * np.ones(3)
    else:
        light = eyes @ LUMINANCE
        white = eyes[light >= np.percentile(light, 75)].mean(0)
    lo, hi = np.maximum(np.floor(p[17:60].min(0)).astype(int), 0), np.ceil(p[17:60].max(0)).astype(int)
    face = to_linear(rgb[lo[1] : max(hi[1], 0), lo[0] : max(hi[0], 0)].reshape(-1, 3).astype(np.float32) / 255.0)
    light = face @ LUMINANCE
    black, bright = np.zeros(3), np.ones(3)
    if len(face):
        black, bright = face[light <= np.percentile(light, 1)].mean(0), face[light >= np.percentile(light, 99)].mean(0)
    return Light(*(color.astype(np.float32) for color in (skin, white, black, bright)))


def tooth_color(light: Light, colorful: float = 1.0, smiling: bool = False) -> Array:
    """Linear RGB (3,) of the brightest of teeth in this light, in a smile or in speech, as
    `engine/training/mouth_tint.py` found them to follow skin, eye whites and haze. A cast of the light is theirs too.
    Where the picture is not `colorful` its tone, the skin's, is everything's."""
    weights = load_file(TINT)
    hues = light.hues()
    hue = np.zeros(3)
    for channel, (name, (skin, white)) in {0: ("red", hues[0]), 2: ("blue", hues[1])}.items():
        offset, share = weights[name]
        hue[channel] = offset + share * skin + (1.0 - share) * white
    tone = 0.8 * np.array([hues[0, 0], 0.0, hues[1, 0]])  # lights of a toned print are paler than its middle
    ratio = np.exp(colorful * hue + (1.0 - colorful) * tone)
    if smiling:
        luma = np.exp(weights["smiling"] @ light.smiling())
    else:
        # In a toned print black is faded, not veiled: that dims nothing.
        luma = np.exp(weights["speaking"] @ (light.speaking() * [1.0, 1.0, colorful])) * (light.skin @ LUMINANCE)
    return (ratio / (ratio @ LUMINANCE) * luma).astype(np.float32)


def lip_color(rgb: NDArray[np.uint8], landmarks: Array) -> Array:
    """Linear RGB (3,) of the lips, without what is between them."""
    p = np.asarray(landmarks, np.float32)[:, :2]
    upper, lower = (
        p[[48, 49, 50, 51, 52, 53, 54, 64, 63, 62, 61, 60]],
        p[[48, 60, 67, 66, 65, 64, 54, 55, 56, 57, 58, 59]],
    )
    lips = np.concatenate([_patch(rgb, upper), _patch(rgb, lower)])
    return np.median(lips, axis=0).astype(np.float32) if len(lips) else measure_light(rgb, landmarks).skin


def colorfulness(rgb: NDArray[np.uint8], landmarks: Array) -> float:
    """0 for a grey or toned photograph, 1 for a colour one: how hue differs among eye whites, skin and lips."""
    light = measure_light(rgb, landmarks)
    lip = lip_color(rgb, landmarks)
    redness = np.log(np.maximum(np.stack([light.white, light.skin, lip]), 2e-3)) @ np.array([1.0, -1.0, 0.0])
    return float(np.clip((redness.max() - redness.min()) / 0.3, 0.0, 1.0))


def measure_blur(rgb: NDArray[np.uint8], landmarks: Array) -> float:
    """The picture's own blur: sigma in px of the sharpest edges around the eyes and the mouth."""
    p = np.asarray(landmarks, np.float32)[17:68, :2]
    lo = np.clip(np.floor(p.min(0)).astype(int), 0, None)
    hi = np.ceil(p.max(0)).astype(int) + 1
    crop = rgb[lo[1] : max(hi[1], 0), lo[0] : max(hi[0], 0)]
    if min(crop.shape[:2]) < 12:
        return 0.8
    grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY).astype(np.float32)

    def slope(picture: Array) -> Array:
        return np.hypot(cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1))

    sharp, soft = slope(grey), slope(cv2.GaussianBlur(grey, (0, 0), 1.5))
    strong = sharp >= np.percentile(sharp, 97)
    ratio = float(np.clip(np.median(soft[strong] / (sharp[strong] + 1e-6)), 0.2, 0.95))
    return float(np.clip(1.5 * ratio / np.sqrt(1.0 - ratio**2), 0.5, 4.0))


@dataclass(frozen=True)
class Teeth:
    """Upper teeth a portrait shows. `edge`: mm from the head's guess of the incisal edge down to the real one.
    `columns`, `bottom`: where they end, mm right and down of the guess. `color`: linear RGB of a lit tooth (3,)."""

    edge: float
    columns: Array
    bottom: Array
    color: Array
    seen: bool  # whether their biting edge shows above the lower lip


def find_teeth(rgb: NDArray[np.uint8], landmarks: Array, head: Head) -> Teeth | None:
    """The portrait's own upper teeth, or None when its lips are closed or what is between them is not teeth."""
    if lip_gap(landmarks) < max(3.0, 2.2 * head.px):
        return None
    grain = 4.0  # samples per mm
    u = np.arange(-26.0, 26.0, 1.0 / grain, dtype=np.float32)
    v = np.arange(-16.0, 20.0, 1.0 / grain, dtype=np.float32)
    roll = head.roll[:2, :2]
    plane = (np.stack(np.meshgrid(u, v), axis=-1) @ roll.T * head.px + head.edge[:2]).astype(np.float32)
    picture = to_linear(cv2.remap(rgb, plane, None, cv2.INTER_LINEAR).astype(np.float32) / 255.0)
    inside = np.zeros(picture.shape[:2], np.uint8)
    upper, lower = inner_lips(landmarks)
    outline = (np.concatenate([upper, lower[::-1]]) - head.edge[:2]) @ roll / head.px
    cv2.fillPoly(inside, [np.round((outline - [u[0], v[0]]) * grain).astype(np.int32)], 1)
    margin = round(grain * min(0.8, 0.15 * lip_gap(landmarks) / head.px))
    inside = cv2.erode(inside, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)) > 0
    front = inside & (np.abs(u)[None] < 10.0)
    if front.sum() < 30:
        return None
    light = picture @ LUMINANCE
    bright = front & (light >= np.percentile(light[front], 60))
    color = np.median(picture[bright], axis=0)
    usual = tooth_color(measure_light(rgb, landmarks), smiling=True)
    warmth = np.log(np.maximum(picture[..., 0], 2e-3) / np.maximum(picture[..., 1], 2e-3))
    warm = float(np.log(max(color[0], 2e-3) / max(color[1], 2e-3)))
    # What is much darker than teeth would be here, or hardly differs from the lips, is lip, tongue or cavity.
    lip = lip_color(rgb, landmarks)
    red, pale = np.log(max(lip[0], 2e-3) / max(lip[1], 2e-3)) - warm, (color @ LUMINANCE) / max(lip @ LUMINANCE, 2e-3)
    if color @ LUMINANCE < 0.4 * (usual @ LUMINANCE) or red + np.log(pale) < 0.45:
        return None
    if warm > np.log(usual[0] / usual[1]) + 0.55:
        return None
    tooth = (light > 0.45 * (color @ LUMINANCE)) & (warmth < warm + 0.35)
    if (tooth & front).sum() < 0.4 * front.sum():
        return None
    # Down the middle the first valley of light after a band of teeth is where the upper ones end.
    middle = inside & (np.abs(u)[None] < 6.0)
    count = middle.sum(1)
    rows = np.flatnonzero(count >= 0.5 * count.max())
    profile = (light * middle).sum(1)[rows] / count[rows]
    profile = cv2.GaussianBlur(profile.astype(np.float32)[:, None], (1, 5), 0)[:, 0] / (color @ LUMINANCE)
    end = float(v[rows[-1]]) + 0.5 * margin / grain
    found = False
    for i in range(int(2.0 * grain), len(rows)):
        before = profile[: i + 1].max()
        after = profile[i : i + int(3.0 * grain)].max()
        lowest = profile[i] == profile[max(0, i - int(grain)) : i + int(grain) + 1].min()
        if (lowest and profile[i] < 0.86 * min(before, after)) or profile[i] < 0.40 * before:
            end, found = float(v[rows[i]]), True
            break
    end = min(end, float(v[rows[0]]) + 11.0)
    bottom = np.full(len(u), end, np.float32)
    for j in np.flatnonzero(inside.any(0)):
        span = np.flatnonzero(inside[:, j])
        if not found:
            bottom[j] = v[span[-1]] + 0.5 * margin / grain
            continue
        near = span[np.abs(v[span] - end + 0.0022 * u[j] ** 2) < 1.5]
        bottom[j] = v[near[np.argmin(light[near, j])]] if len(near) else v[span[-1]]
    bottom = cv2.blur(cv2.medianBlur(cv2.medianBlur(bottom[None], 5), 5), (9, 1))[0]
    return Teeth(end + (0.0 if found else 0.3), u, bottom, (color / OWN_LIGHT).astype(np.float32), found)


def outlined(coverage: Array, scale: float) -> Array:
    """Coverage (h, w) at `scale` px per mm as somebody draws it: one shape with a round outline, no single teeth."""
    around = round(DRAWN_ROUND_MM * scale)
    closer = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * around + 1, 2 * around + 1))
    shape = np.pad((coverage > 0.5).astype(np.uint8), around, mode="edge")
    shape = cv2.morphologyEx(shape, cv2.MORPH_CLOSE, closer)[around:-around, around:-around]
    soft = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), DRAWN_SMOOTH_MM * scale)
    return np.clip((soft - 0.5) * 2.5 * DRAWN_SMOOTH_MM * scale + 0.5, 0, 1)  # a px wide


def drawn_inside(rgb: NDArray[np.uint8], landmarks: Array, skin: Array) -> tuple[Array, bool] | None:
    """What an open mouth with `landmarks` (68, 2 or 3) px is filled with in a drawing: the linear colour (3,) of what
    is darker than the `skin`, and whether there is nothing else; None where it is light."""
    upper, lower = inner_lips(landmarks)
    outline = np.concatenate([upper, lower[::-1]])
    seen = _patch(rgb, outline.mean(0) + 0.7 * (outline - outline.mean(0)))  # well off the lips' line
    dark = seen[seen @ LUMINANCE < 0.6 * float(skin @ LUMINANCE)]
    if len(dark) < max(4, 0.2 * len(seen)):
        return None
    color = np.median(dark, axis=0).astype(np.float32)
    like = np.abs(to_srgb(seen) - to_srgb(color)).max(1) < 0.06
    return color, bool(like.mean() > 0.9)


def drawn_teeth(rgb: NDArray[np.uint8], landmarks: Array, white: float) -> Array | None:
    """(2,) px: where what is lighter than `white` ends, from the upper lip down the middle of an open drawn mouth; None
    where none begins in its upper half."""
    upper, lower = (np.asarray(landmarks[k], np.float32)[:2] for k in (62, 66))
    down = upper + np.linspace(0, 1, 65)[:, None] * (lower - upper)
    x, y = np.clip(np.round(down).astype(int), 0, [rgb.shape[1] - 1, rgb.shape[0] - 1]).T
    light = np.flatnonzero(to_linear(rgb[y, x].astype(np.float32) / 255.0) @ LUMINANCE > white)
    if not len(light) or light[0] > 32:  # what begins in the lower half are lower teeth
        return None
    ends = np.flatnonzero(np.diff(light) > 1)
    return np.asarray(down[light[ends[0]] if len(ends) else light[-1]])


def is_drawn(rgb: NDArray[np.uint8], landmarks: Array) -> bool:
    """Whether the face is filled with even colours: of a drawn one two thirds are, of photographs at most 2 %."""
    p = np.asarray(landmarks, np.float32)[:, :2]
    lo, hi = np.clip(np.floor(p.min(0)).astype(int), 0, None), np.ceil(p.max(0)).astype(int) + 1
    face = rgb[lo[1] : max(hi[1], 0), lo[0] : max(hi[0], 0)].astype(np.float32)
    if min(face.shape[:2]) < 12:
        return False
    smaller = min(1.0, 200.0 / face.shape[0])
    face = cv2.resize(face, None, fx=smaller, fy=smaller, interpolation=cv2.INTER_AREA)
    within = np.zeros(face.shape[:2], np.uint8)  # what is beside the face may be even: a studio's backdrop, alpha
    cv2.fillConvexPoly(within, cv2.convexHull(np.round((p - lo) * smaller).astype(np.int32)), 1)
    within = cv2.erode(within, np.ones((5, 5), np.uint8)) > 0
    if not within.any():
        return False
    slopes = [np.abs(cv2.Sobel(face, cv2.CV_32F, *along)).max(-1) / 8 for along in ((1, 0), (0, 1))]
    return bool((np.maximum(*slopes) < EVEN)[within].mean() > DRAWN)


def measure_grain(rgb: NDArray[np.uint8], landmarks: Array) -> float:
    """Spread of the finest texture on the cheeks, as a share of their brightness: grain, noise, some of the pores."""
    p = np.asarray(landmarks, np.float32)[:, :2]
    size = 0.12 * float(np.linalg.norm(p[45] - p[36]))
    spreads = []
    for middle in cheeks(p, BELOW_EYES) + cheeks(p, ABOVE_LIPS):  # rims of glasses or a beard lie in one of these
        lo, hi = np.clip(np.floor(middle - size).astype(int), 0, None), np.ceil(middle + size).astype(int)
        grey = rgb[lo[1] : hi[1], lo[0] : hi[0]].astype(np.float32) @ LUMINANCE
        if min(grey.shape) >= 6 and grey.mean() > 8.0:
            fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.2)
            spreads.append(1.48 * float(np.median(np.abs(fine))) / float(grey.mean()))
    return float(np.clip(0.35 * min(spreads, default=0.0), 0.0, 0.03))


def _ease(x: Array | float, low: float, high: float) -> Array:
    t = np.clip((np.asarray(x, np.float32) - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


@dataclass(frozen=True)
class Slit:
    """Where points (h, w) lie between the lips, px: `under` the upper lip's edge, `over` the lower's, `side` 0 in the
    middle and 1 at the corners; `gap` is the widest opening. Measured across the line through the corners, so that it
    varies smoothly as lips move by parts of a pixel."""

    under: Array
    over: Array
    side: Array
    gap: float

    @staticmethod
    def of(upper: Array, lower: Array, points: Array) -> Slit:
        """Of lip edges (N, 2) and points (h, w, 2), px of one frame."""
        left, right = upper[0], upper[-1]
        span = max(float(np.linalg.norm(right - left)), 1e-6)
        along = (right - left) / span
        down = np.array([-along[1], along[0]], np.float32)
        away = points - left
        at, height = away @ along, away @ down
        stations = np.maximum.accumulate((0.5 * (upper + lower) - left) @ along)
        top = np.interp(at, stations, (upper - left) @ down).astype(np.float32)
        bottom = np.interp(at, stations, (lower - left) @ down).astype(np.float32)
        gap = float(np.linalg.norm(lower - upper, axis=1).max())
        return Slit(height - top, bottom - height, np.abs(2.0 * at / span - 1.0), gap)


def _pixels(corner: Array, size: tuple[int, int], each: int) -> Array:
    """Middles (h, w, 2) of squares of `each` px from px `corner` on."""
    x = corner[0] - 0.5 + (np.arange(size[0], dtype=np.float32) + 0.5) * each
    y = corner[1] - 0.5 + (np.arange(size[1], dtype=np.float32) + 0.5) * each
    return np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)


class MouthInterior:
    """Draws what is between the lips of one portrait. A pure function of landmarks once built."""

    fingerprint: str

    def __init__(
        self,
        picture_rgb: NDArray[np.uint8],
        source_landmarks: Array,
        source_mesh: Array | None = None,
        device: object = None,
    ) -> None:
        """`picture_rgb` (H, W, 3) uint8 sRGB, `source_landmarks` (68, 3) px. `source_mesh` (478, 3) and `device` are
        part of the renderer's seam and change nothing here."""
        self.source = np.asarray(source_landmarks, np.float32)
        self.drawn = is_drawn(picture_rgb, self.source)
        self.head = measure_head(self.source, self.drawn)
        self.blur = measure_blur(picture_rgb, self.source)
        self.grain = measure_grain(picture_rgb, self.source)
        light = measure_light(picture_rgb, self.source)
        self.colorful = colorfulness(picture_rgb, self.source)
        self.bounce = self.colorful * BOUNCE
        self.black = light.black * min(
            1.0, HAZIEST * float(light.skin @ LUMINANCE) / max(float(light.black @ LUMINANCE), 1e-6)
        )
        self.cavity, self.cheek = self.coloured(CAVITY), self.coloured(CHEEK)
        own = None if self.drawn else find_teeth(picture_rgb, self.source, self.head)
        if own is not None:
            self.head = replace(self.head, edge=self.head.edge + self.head.axes[:, 1] * own.edge * self.head.px)
            self.tooth = own.color
        else:
            self.tooth = FULL * tooth_color(light, self.colorful)
            paper = float(light.bright @ LUMINANCE) / float(self.tooth @ LUMINANCE)
            self.tooth *= min(1.0, paper) ** (1.0 - self.colorful)  # in a print nothing is brighter than the paper
        self.own_teeth = own is not None
        self.fill = self.flesh = self.tooth
        self.empty = False  # of teeth and tongue, as somebody drew it
        self.line = 0.0  # px between the inner lips of a drawn mouth that is shut: its line, not an opening
        if self.drawn:
            self.tooth = light.bright.copy()
            white = 1.15 * float(light.skin @ LUMINANCE)
            if self.tooth @ LUMINANCE < white:  # there is none in the face: dots for eyes
                self.tooth = self.coloured(np.maximum(self.tooth, DRAWN_WHITE))
            self.fill = 0.5 * self.black + self.coloured(light.skin * DRAWN_INSIDE)
            self.flesh = self.coloured(light.skin * DRAWN_TONGUE)
            gap, eyes = lip_gap(self.source), self.head.px * EYES_MM
            if gap < DRAWN_LINE * eyes:
                self.line = gap
            elif gap > DRAWN_OPEN * eyes and (shown := drawn_inside(picture_rgb, self.source, light.skin)):
                self.fill, self.empty = shown
                teeth = drawn_teeth(picture_rgb, self.source, white)
                if teeth is not None:
                    down = self.head.axes[:, 1]
                    self.head = replace(
                        self.head, edge=self.head.edge + down * ((teeth - self.head.edge[:2]) @ down[:2])
                    )
        self._draw()
        if own is not None:
            self._wear(picture_rgb, own)
        self.fingerprint = self._hash()

    def coloured(self, color: Array) -> Array:
        """Linear colours (..., 3) as far as the picture has any."""
        grey = (color @ LUMINANCE)[..., None]
        return np.asarray(grey + (color - grey) * self.colorful, np.float32)

    def _draw(self) -> None:
        scale = min(2.0 * self.head.px, FINEST)
        samples = 1.8 * scale
        turned = self.head.roll.T @ self.head.axes
        self._turned = turned.astype(np.float32)
        sigma = np.sqrt(max(0.6 * self.blur**2 - 0.25, 0.15)) * scale / self.head.px

        def layer(
            surface: proxy.Surface, span: tuple[float, float, float, float], fade: float, color: Array
        ) -> proxy_raster.Layer:
            drawn = proxy_raster.draw(surface, turned, scale, span, fade=fade)
            rgba = drawn.rgba.copy()
            grey = (rgba[:, :, :3] @ PRINTED)[:, :, None]
            rgba[:, :, :3] = (grey + (rgba[:, :, :3] - grey) * self.colorful) * self.tooth
            if self.drawn:
                rgba[:, :, 3] = outlined(rgba[:, :, 3], scale)
            rgba = cv2.GaussianBlur(rgba, (0, 0), float(sigma))
            if self.drawn:  # one even colour
                rgba[:, :, :3] = rgba[:, :, 3:] * color
            else:
                rgba[:, :, :3] *= self._grain(rgba.shape[1], rgba.shape[0], scale)
            return proxy_raster.Layer(rgba, drawn.depth, drawn.origin, drawn.scale)

        self.upper = layer(proxy.arch(True, samples), (-34.0, -18.0, 34.0, 8.0), 14.0, self.tooth)
        self.lower = layer(proxy.arch(False, samples), (-34.0, -8.0, 34.0, 20.0), 11.0, self.tooth)
        self.tongue = layer(proxy.tongue(samples), (-26.0, -14.0, 26.0, 30.0), 18.0, self.flesh)

    def _grain(self, width: int, height: int, scale: float) -> Array:
        """The picture's grain as a factor (height, width, 1), as large as the picture's own."""
        each = scale / self.head.px
        size = (max(2, int(np.ceil(width / each))), max(2, int(np.ceil(height / each))))
        noise = np.random.default_rng(3).standard_normal((size[1], size[0])).astype(np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), 0.6) * 1.9  # neighbours in a photograph are alike
        noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.clip(1.0 + 2.2 * self.grain * noise, 0.6, 1.4)[:, :, None]  # 2.2: the share is of display values

    def _wear(self, rgb: NDArray[np.uint8], own: Teeth) -> None:
        """Lays the portrait's own teeth over the upper layer and fits the proxy's light to them where it goes on."""
        layer = self.upper
        h, w = layer.rgba.shape[:2]
        u = (np.arange(w, dtype=np.float32) - layer.origin[0]) / layer.scale
        v = (np.arange(h, dtype=np.float32) - layer.origin[1]) / layer.scale
        plane = np.stack(np.meshgrid(u, v), axis=-1) @ self.head.roll[:2, :2].T * self.head.px + self.head.edge[:2]
        plane = plane.astype(np.float32)
        lo = np.clip(np.floor(plane.min((0, 1))).astype(int) - 2, 0, None)
        hi = np.ceil(plane.max((0, 1))).astype(int) + 3
        crop = to_linear(rgb[lo[1] : hi[1], lo[0] : hi[0]].astype(np.float32) / 255.0)
        pixels = cv2.remap(crop, plane - lo.astype(np.float32), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        inside = np.zeros((h, w), np.uint8)
        upper, lower = inner_lips(self.source)
        outline = (np.concatenate([upper, lower[::-1]]) - self.head.edge[:2]) @ self.head.roll[:2, :2] / self.head.px
        outline = outline * layer.scale + np.array(layer.origin)
        cv2.fillPoly(inside, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
        away = cv2.distanceTransform(inside, cv2.DIST_L2, 5) / layer.scale
        lip = 0.3 + 0.7 * self.blur / self.head.px  # what the lips' own edge has blurred into
        weight = _ease(away, lip, lip + 0.8)
        limit = np.interp(u, own.columns, own.bottom, left=np.inf, right=np.inf) - own.edge
        ends = 1.0 - _ease(v[:, None] - limit[None], -0.3, 0.3)
        warmth = np.log(np.maximum(pixels[..., 0], 4e-3) / np.maximum(pixels[..., 1], 4e-3))
        lips = _ease(warmth - np.log(max(own.color[0], 4e-3) / max(own.color[1], 4e-3)), 0.3, 0.6)
        weight = cv2.GaussianBlur(weight * ends * (1.0 - lips), (0, 0), 0.3 * layer.scale)
        # The light they stood in is taken out of them: that of the frame comes back.
        light = self._light(Slit.of(upper, lower, plane), self.head.px)
        shown = np.clip(pixels, 0.0, 1.0) / np.clip(light, 0.55, 1.0)[..., None] ** (1.0 - self.bounce)
        spread = 3.0 * layer.scale
        told = cv2.GaussianBlur(shown * weight[..., None], (0, 0), spread)
        drawn = cv2.GaussianBlur(layer.rgba[:, :, :3] * weight[..., None], (0, 0), spread)
        gain = np.clip((told + 1e-4) / (drawn + 1e-4), 0.5, 1.6)
        sure = cv2.GaussianBlur(weight, (0, 0), spread)[..., None]
        gain = 1.0 + (gain - 1.0) * np.clip(sure / 0.02, 0.0, 1.0)
        rgba = layer.rgba.copy()
        rgba[:, :, :3] *= gain
        if own.seen:
            rgba *= ends[..., None]
        rgba = rgba * (1.0 - weight[..., None]) + np.dstack([shown, np.ones_like(weight)]) * weight[..., None]
        self.upper = replace(layer, rgba=rgba.astype(np.float32))

    def _hash(self) -> str:
        digest = hashlib.sha256(f"mouth {VERSION} proxy {proxy.VERSION} {self.blur:.6f} {self.colorful:.6f}".encode())
        digest.update(b"drawn" if self.drawn else b"")
        for part in (self.source, self.tooth, self.fill, self.upper.rgba, self.lower.rgba, self.tongue.rgba):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]

    def edge(self, landmarks: Array) -> Array:
        """(3,) px: the middle of the upper incisal edge in a frame with `landmarks` (68, 3) px."""
        source = self.source[SKULL]
        return fit(source, np.asarray(landmarks, np.float32)[SKULL], SKULL_TRUST).apply(self.head.edge)

    def jaw(self, landmarks: Array, move: Similarity) -> Array:
        """Where the middle of the lower incisal edge is: (3,) mm from the upper one's, in the head's axes."""
        chin = move.undo(landmarks[CHIN]).mean(0) - self.source[CHIN].mean(0)
        drop = chin @ self.head.axes / self.head.px
        lip = (move.undo(landmarks[66:67])[0] - self.head.edge) @ self.head.axes / self.head.px
        low = float(np.clip(drop[1] - OVERBITE_MM, lip[1] - 4.5, lip[1] + 1.5))
        low = max(low, -OVERBITE_MM - 0.5)
        return np.array([0.7 * drop[0], low, -0.15 * max(low, 0.0)], np.float32)

    def _tongue(self, jaw: Array) -> Array:
        """(3,) mm: how far the tongue has moved with a `jaw` (3,) mm."""
        stays = TONGUE_STAYS_MM * np.tanh(TONGUE_STAYS * max(float(jaw[1]), 0.0) / TONGUE_STAYS_MM)
        return jaw * TONGUE_WITH_JAW - np.array([0.0, stays, 0.0], np.float32)

    def layer(self, landmarks: Array, box: tuple[int, int, int, int]) -> Array:
        """Straight RGB in [0, 1], display-referred sRGB, and coverage: (h, w, 4) float32 for box x0, y0, x1, y1 of
        the target frame."""
        landmarks = np.asarray(landmarks, np.float32)
        x0, y0, x1, y1 = (int(v) for v in box)
        out = np.zeros((y1 - y0, x1 - x0, 4), np.float32)
        upper, lower = inner_lips(landmarks)
        gap = float(np.linalg.norm(lower - upper, axis=1).max())
        if gap <= 0.5:
            return out
        polygon = np.concatenate([upper, lower[::-1]])
        margin = 2 + int(np.ceil(self.blur))
        cx0, cy0 = np.maximum(np.floor(polygon.min(0)).astype(int) - margin, [x0, y0])
        cx1, cy1 = np.minimum(np.ceil(polygon.max(0)).astype(int) + margin + 1, [x1, y1])
        if cx1 <= cx0 or cy1 <= cy0:
            return out
        move = fit(self.source[SKULL], landmarks[SKULL], SKULL_TRUST)
        px = move.scale * self.head.px
        opened = float(_ease(gap - self.line * move.scale, 0.5, 1.5))
        each = int(np.ceil(self.head.px / (0.75 * FINEST)))  # in large pictures colours are laid on a coarser grid
        size = (int(np.ceil((cx1 - cx0) / each)), int(np.ceil((cy1 - cy0) / each)))
        corner = np.array([cx0, cy0], np.float32)

        jaw = self.jaw(landmarks, move)
        above = self._move(self.upper, move, np.zeros(3, np.float32), corner, size, each)
        tongue = self._move(self.tongue, move, self._tongue(jaw), corner, size, each)
        slit = Slit.of(upper, lower, _pixels(corner, size, each))
        if self.empty:
            color = np.broadcast_to(to_srgb(self.fill), (*above.shape[:2], 3))
        elif self.drawn:
            color = self.fill * (1.0 - tongue[:, :, 3:]) + tongue[:, :, :3]
            color = to_srgb(color * (1.0 - above[:, :, 3:]) + above[:, :, :3])
        else:
            below = self._move(self.lower, move, jaw, corner, size, each)
            color = self._lit(above, below, tongue, jaw, slit, px, each)
        if each > 1:
            color = cv2.resize(color, (size[0] * each, size[1] * each), interpolation=cv2.INTER_LINEAR)
            slit = Slit.of(upper, lower, _pixels(corner, (int(cx1 - cx0), int(cy1 - cy0)), 1))
        covered = np.clip(np.minimum(slit.under, 0.5) + np.minimum(slit.over, 0.5), 0.0, 1.0)
        inside = out[cy0 - y0 : cy1 - y0, cx0 - x0 : cx1 - x0]
        inside[:, :, :3] = color[: cy1 - cy0, : cx1 - cx0]
        inside[:, :, 3] = cv2.GaussianBlur(covered, (0, 0), 0.5 * self.blur) * opened
        return out

    def _lit(self, above: Array, below: Array, tongue: Array, jaw: Array, slit: Slit, px: float, each: int) -> Array:
        """sRGB (h, w, 3) of upper arch, lower arch and tongue (h, w, 4) in a mouth's light. `px` per mm, a value for
        `each` px."""
        shadow = cv2.GaussianBlur(above[:, :, 3], (0, 0), max(0.8 * px / each, 0.3))  # the upper row's, on the lower
        below[:, :, :3] *= (1.0 - 0.8 * _ease(shadow, 0.0, 0.8))[:, :, None]
        tongue[:, :, :3] *= PRINTED_LIT + (TONGUE_LIT - PRINTED_LIT) * self.colorful
        color = self.cavity * self.tooth * (1.0 - tongue[:, :, 3:]) + tongue[:, :, :3]
        color = color * (1.0 - below[:, :, 3:]) + below[:, :, :3]
        color = color * (1.0 - above[:, :, 3:]) + above[:, :, :3]
        light = self._light(slit, px)[:, :, None]
        color *= light ** (1.0 - self.bounce)
        cheek = _ease(slit.side, 0.45, 0.95) * (1.0 - above[:, :, 3]) * (1.0 - below[:, :, 3])
        color += cheek[:, :, None] * (self.cheek * self.tooth)
        veil = np.minimum(self.black / np.maximum(self.tooth, 1e-4), 0.5)
        return to_srgb(color * (1.0 - veil) + veil * self.tooth)

    def _light(self, slit: Slit, px: float) -> Array:
        """How much light reaches the points of `slit`: less under the upper lip, near the lower, toward the corners and
        through a narrow opening. `px` per mm."""
        light = 1.0 - 0.80 * np.exp(-np.maximum(slit.under, 0.0) / (2.2 * px))
        light *= 1.0 - 0.40 * np.exp(-np.maximum(slit.over, 0.0) / (0.6 * px))
        light *= 1.0 - 0.88 * _ease(slit.side, 0.25, 1.0)
        wide = LIT_SMILING_MM if self.own_teeth else LIT_SPEAKING_MM
        light *= 0.12 + 0.88 * _ease((slit.under + slit.over) / px, -0.5, wide)
        return light

    def _move(
        self,
        layer: proxy_raster.Layer,
        move: Similarity,
        jaw: Array,
        corner: Array,
        size: tuple[int, int],
        each: int,
    ) -> Array:
        """A layer as seen in the target frame: premultiplied (h, w, 4), one value for `each` px from `corner` on.

        A point (u, v) of the layer lies at depth z(u), so it lands at M (u, v, z(u)) + T. That is turned around by
        iteration on a coarse grid.
        """
        step = int(np.clip(round(3.0 * self.head.px), 2, 8))
        x, y = (int(c / each) % step for c in corner)  # the grid stands still while the mouth moves over it
        cells = ((x + size[0]) // step + 3, (y + size[1]) // step + 3)
        gx = ((np.arange(cells[0], dtype=np.float32) - 0.5) * step - x) * each - 0.5 + corner[0]
        gy = ((np.arange(cells[1], dtype=np.float32) - 0.5) * step - y) * each - 0.5 + corner[1]
        target = np.stack(np.meshgrid(gx, gy), axis=-1)
        m = move.scale * self.head.px * move.rotation @ self.head.roll
        offset = self._turned @ jaw
        start = move.apply(self.head.edge)[:2] + (m @ offset)[:2]
        inverse = np.linalg.inv(m[:2, :2])
        columns = (np.arange(len(layer.depth)) - layer.origin[0]) / layer.scale
        z = np.full(target.shape[:2], float(np.interp(0.0, columns, layer.depth)), np.float32)
        for _ in range(3):
            uv = (target - start - z[..., None] * m[:2, 2]) @ inverse.T
            z = np.interp(uv[..., 0], columns, layer.depth).astype(np.float32)
        uv = (target - start - z[..., None] * m[:2, 2]) @ inverse.T
        pixels = (uv * layer.scale + np.array(layer.origin)).astype(np.float32)
        fine = cv2.resize(pixels, (cells[0] * step, cells[1] * step), interpolation=cv2.INTER_LINEAR)
        fine = np.ascontiguousarray(fine[step + y : step + y + size[1], step + x : step + x + size[0]])
        return cv2.remap(layer.rgba, fine, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
