"""The mouth proxy: our own parametric model of teeth, gums and tongue, as dense surface samples in millimetres.

Crowns are superelliptic bodies of average anatomical size set along two elliptic arches. Axes as everywhere in the
engine: x right in the image, y down, z toward the viewer. The origin is the labial side of the upper incisal edge at
the midline. The lower arch is given with its incisal edge at y = 0; the caller moves it with the jaw.

MakeHuman's CC0 mesh, looked at first, has 48 faces for each arch and no single tooth, so these are our own.

It does not know pictures, landmarks or pixels, and it does not draw (`proxy_raster.py` does).

Crown sizes: the averages of Ash and Nelson, "Wheeler's Dental Anatomy, Physiology and Occlusion". Arches: half
ellipses through the mean buccal widths of adult dental casts (canines 37 mm, first premolars 45 mm apart).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

VERSION = "3"


@dataclass(frozen=True)
class Crown:
    """One crown, millimetres. `cusp` is how far its outline drops from the middle toward both sides."""

    width: float  # mesiodistal, at the contact points
    height: float  # cervico-incisal
    depth: float  # labiolingual
    neck: float  # mesiodistal, at the gum
    edge: float  # half thickness of the biting edge
    cusp: float
    cusps: int  # points on the outline
    lift: float  # of the biting edge above the central incisor's
    tone: float  # brightness next to the central incisor


# Midline outward: central and lateral incisor, canine, two premolars, first molar.
UPPER = (
    Crown(8.5, 10.5, 7.0, 6.6, 0.7, 0.0, 1, 0.0, 1.0),
    Crown(6.6, 9.0, 6.0, 5.0, 0.7, 0.15, 1, 0.7, 0.97),
    Crown(7.6, 10.0, 8.0, 5.6, 0.9, 1.3, 1, 0.1, 0.90),
    Crown(7.0, 8.5, 9.0, 5.0, 2.4, 1.1, 1, 0.9, 0.93),
    Crown(7.0, 8.3, 9.0, 5.0, 2.6, 0.9, 1, 1.2, 0.93),
    Crown(10.0, 7.5, 11.0, 8.0, 3.4, 0.8, 2, 1.5, 0.90),
)
LOWER = (
    Crown(5.1, 9.0, 6.0, 3.6, 0.7, 0.0, 1, 0.0, 1.0),
    Crown(5.6, 9.3, 6.5, 4.0, 0.7, 0.1, 1, 0.1, 0.99),
    Crown(7.0, 10.6, 7.5, 5.5, 0.9, 1.2, 1, -0.2, 0.92),
    Crown(7.0, 8.5, 7.5, 5.0, 2.2, 1.0, 1, 0.4, 0.93),
    Crown(7.0, 8.0, 8.0, 5.0, 2.6, 0.8, 1, 0.7, 0.93),
    Crown(11.0, 7.5, 10.5, 9.0, 3.4, 0.7, 2, 0.9, 0.90),
)
UPPER_ARCH = (29.0, 45.0)  # half width, depth
LOWER_ARCH = (26.8, 43.0)
OVERJET = 2.2  # the lower incisors' labial side behind the upper's
SMILE_CURVE = 0.0022  # rise of the biting edges per mm² from the midline: about 0.8 mm at the canine

COARSE = 24  # samples of a crown each way, at least

ENAMEL = np.array([1.0, 1.0, 1.0])  # times the picture's own tooth colour
CERVICAL = np.array([0.96, 0.91, 0.81])
EDGE = np.array([0.90, 0.93, 0.96])
GUM = np.array([0.58, 0.25, 0.24])
TONGUE = np.array([0.95, 0.43, 0.40])
LIGHT = np.array([0.0, -0.42, 0.907], np.float32)


@dataclass(frozen=True)
class Surface:
    """Surface samples: `points` (N, 3) mm, `color` (N, 3) linear and shaded, 1 = the picture's tooth colour."""

    points: Array
    color: Array

    @staticmethod
    def joined(parts: list[Surface]) -> Surface:
        return Surface(np.concatenate([p.points for p in parts]), np.concatenate([p.color for p in parts]))


def arch_curve(arch: tuple[float, float]) -> tuple[Array, Array]:
    """Half an arch from the midline: arc length (K,) mm and points (K, 2) as x, z, mm."""
    angle = np.linspace(0.0, 0.46 * np.pi, 600)
    curve = np.stack([arch[0] * np.sin(angle), arch[1] * (np.cos(angle) - 1.0)], axis=1)
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)]).astype(np.float32), curve.astype(np.float32)


def _on_arch(s: Array, arch: tuple[float, float]) -> tuple[Array, Array]:
    """Points (..., 2) as x, z and outward normals (..., 2) at signed arc lengths `s`."""
    length, curve = arch_curve(arch)
    x = np.interp(np.abs(s), length, curve[:, 0]) * np.sign(s)
    z = np.interp(np.abs(s), length, curve[:, 1])
    normal = np.stack([x / arch[0] ** 2, (z + arch[1]) / arch[1] ** 2], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return np.stack([x, z], axis=-1), normal


def _normals(grid: Array, inside: Array) -> Array:
    """Unit normals (A, B, 3) of a grid of points (A, B, 3), pointing away from the points `inside`."""
    padded = np.pad(grid, ((1, 1), (1, 1), (0, 0)), mode="edge")
    a, b = padded[2:, 1:-1] - padded[:-2, 1:-1], padded[1:-1, 2:] - padded[1:-1, :-2]
    normal = np.empty_like(grid)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        normal[..., i] = a[..., j] * b[..., k] - a[..., k] * b[..., j]
    normal /= np.sqrt(np.einsum("...i,...i", normal, normal))[..., None] + 1e-9
    inward = np.einsum("...i,...i", normal, (grid - inside).astype(np.float32)) < 0
    normal[inward] *= -1.0
    return normal


def _lit(normal: Array, wrap: float = 0.35) -> Array:
    """Soft frontal light (...,), from normals (..., 3)."""
    return np.clip((normal @ LIGHT + wrap) / (1.0 + wrap), 0.0, 1.0)


def _gloss(normal: Array, power: float) -> Array:
    half = LIGHT + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    return np.clip(normal @ half, 0.0, 1.0) ** power


def _smooth(x: Array, low: float, high: float) -> Array:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _crown(
    crown: Crown, middle: float, side: float, arch: tuple[float, float], up: float, turn: float, density: float
) -> Surface:
    """One crown at arc length `middle`. `up` is -1 for upper teeth (the neck above the edge), +1 for lower."""
    around = int(np.clip(crown.width * 3.2 * density, COARSE, 700))
    along = int(np.clip(crown.height * 1.5 * density, COARSE, 500))
    angle = np.linspace(-0.5 * np.pi - 0.35, 0.5 * np.pi + 0.35, around)[:, None]
    q = np.linspace(0.0, 1.0, along)[None] ** 1.35  # denser at the biting edge
    cap = np.sqrt(np.clip(1.0 - (1.0 - np.clip(q / 0.10, 0.0, 1.0)) ** 2, 0.0, 1.0))
    belly = 1.0 - 0.10 * (1.0 - _smooth(q, 0.0, 0.30)) - (1.0 - crown.neck / crown.width) * _smooth(q, 0.30, 1.08)
    half = 0.5 * crown.width * belly
    thick = crown.edge + (0.5 * crown.depth - crown.edge) * np.clip(q / 0.8, 0.0, 1.0) ** 0.9
    power = 2.7  # between an ellipse, 2, and a box
    u = half * (0.45 + 0.55 * cap) * np.sin(angle)
    d = thick * cap * np.sign(np.cos(angle)) * (1.0 - np.abs(np.sin(angle)) ** power) ** (1.0 / power)
    labial = 0.55 * np.sin(np.pi * np.clip(q * 0.75 + 0.12, 0.0, 1.0)) - 0.55
    d = d - thick + labial
    share = np.abs(u) / (0.5 * crown.width)
    outline = share**1.6 if crown.cusps == 1 else np.abs(np.cos(np.pi * np.clip(share, 0.0, 1.0))) ** 1.5
    corner = (0.9 if up < 0 else 0.5) * np.clip((share - 0.5) / 0.5, 0.0, 1.0) ** 2
    h = crown.height * q + (1.0 - q) ** 2 * (crown.cusp * outline + corner)
    u, d = u * np.cos(turn) + d * np.sin(turn), d * np.cos(turn) - u * np.sin(turn)
    base, normal = _on_arch(np.asarray(side * middle, np.float32), arch)
    tangent = np.array([normal[1], -normal[0]])
    x = base[0] + tangent[0] * u + normal[0] * d
    z = base[1] + tangent[1] * u + normal[1] * d
    lift = crown.lift + SMILE_CURVE * base[0] ** 2 * (1.0 if up < 0 else -0.3)
    y = up * h + up * lift
    grid = np.stack(np.broadcast_arrays(x, y, z), axis=-1).astype(np.float32)
    axis = np.stack(
        np.broadcast_arrays(base[0] + normal[0] * (labial - thick), y, base[1] + normal[1] * (labial - thick)),
        axis=-1,
    )
    axis[:, :, 1] += up * 0.8 * (1.0 - np.clip(q / 0.10, 0.0, 1.0))
    n = _normals(grid, axis)
    color = ENAMEL + (CERVICAL - ENAMEL) * _smooth(q, 0.45, 1.0)[..., None]
    color = color + (EDGE - ENAMEL) * (1.0 - _smooth(q, 0.02, 0.22))[..., None]
    contact = 1.0 - 0.66 * _smooth(share, 0.72, 1.03)
    light = 0.30 + 0.74 * _lit(n)
    shaded = color * (crown.tone * light * contact)[..., None] + (0.16 * contact * _gloss(n, 50.0))[..., None]
    return Surface(grid.reshape(-1, 3).astype(np.float32), shaded.reshape(-1, 3).astype(np.float32))


def _gum(teeth: tuple[Crown, ...], arch: tuple[float, float], up: float, density: float) -> Surface:
    """The gum's labial side: a ribbon whose margin is scalloped around the necks, with papillae between them."""
    bounds = np.concatenate([[0.0], np.cumsum([t.width for t in teeth])])
    s = np.linspace(-bounds[-1], bounds[-1], int(bounds[-1] * 2 * 1.6 * density))[:, None]
    which = np.clip(np.searchsorted(bounds, np.abs(s), side="right") - 1, 0, len(teeth) - 1)
    width = np.array([t.width for t in teeth])[which]
    middle = 0.5 * (bounds[which] + bounds[which + 1])
    share = np.abs(np.abs(s) - middle) / (0.5 * width)
    height = np.array([t.height + t.lift for t in teeth])[which]
    margin = height - 0.4 - 3.6 * share**2.4
    down = np.linspace(0.0, 1.0, int(12 * 1.6 * density))[None]
    h = margin + (15.0 - margin) * down
    base, normal = _on_arch(s.astype(np.float32), arch)
    bulge = 0.35 * np.sqrt(np.clip((h - margin) / 1.2, 0.0, 1.0)) - 0.75
    bulge = bulge - 0.9 * share**2 * np.exp(-(h - margin) / 3.0)
    x = base[..., 0] + normal[..., 0] * bulge
    z = base[..., 1] + normal[..., 1] * bulge
    y = up * (h + SMILE_CURVE * base[..., 0] ** 2 * (1.0 if up < 0 else -0.3))
    grid = np.stack(np.broadcast_arrays(x, y, z), axis=-1).astype(np.float32)
    axis = np.stack(np.broadcast_arrays(0.7 * base[..., 0], y, base[..., 1] - 12.0), axis=-1)
    n = _normals(grid, axis)
    color = GUM * (0.35 + 0.65 * _lit(n))[..., None] + (0.10 * _gloss(n, 20.0))[..., None]
    return Surface(grid.reshape(-1, 3).astype(np.float32), color.reshape(-1, 3).astype(np.float32))


def arch(upper: bool, density: float) -> Surface:
    """Teeth and gum of one arch; `density` is samples per millimetre."""
    teeth, curve, up = (UPPER, UPPER_ARCH, -1.0) if upper else (LOWER, LOWER_ARCH, 1.0)
    chance = np.random.default_rng(5 if upper else 6)  # nobody's teeth stand in a perfect row
    parts = [_gum(teeth, curve, up, density)]
    for side in (-1.0, 1.0):
        start = 0.0
        for crown in teeth:
            turn, tone, lift = (float(chance.uniform(-a, a)) for a in (0.06, 0.04, 0.2))
            own = replace(crown, tone=crown.tone * (1.0 + tone), lift=crown.lift + lift)
            parts.append(_crown(own, start + 0.5 * crown.width, side, curve, up, turn, density))
            start += crown.width
    surface = Surface.joined(parts)
    back = 0.0 if upper else OVERJET
    return Surface(surface.points - np.array([0.0, 0.0, back], np.float32), surface.color)


def crown_grids(upper: bool) -> Array:
    """(12, around, along, 3) the arch's crowns as coarse grids without chance, for a mesh; last along is the neck."""
    teeth, curve, up = (UPPER, UPPER_ARCH, -1.0) if upper else (LOWER, LOWER_ARCH, 1.0)
    back = np.array([0.0, 0.0, 0.0 if upper else OVERJET], np.float32)
    starts = np.cumsum([0.0, *(crown.width for crown in teeth)])
    grids = [
        _crown(crown, start + 0.5 * crown.width, side, curve, up, 0.0, 0.0).points.reshape(COARSE, COARSE, 3) - back
        for side in (-1.0, 1.0)
        for crown, start in zip(teeth, starts, strict=False)
    ]
    return np.stack(grids)


def tongue(density: float) -> Surface:
    """The tongue at rest in the lower arch: its tip behind the lower incisors, y relative to their edge."""
    a = np.linspace(0.0, 2.0 * np.pi, int(90 * density))[:, None]
    r = np.linspace(0.0, 1.0, int(40 * density))[None]
    side, front = r * np.cos(a), r * np.sin(a)
    dome = np.sqrt(np.clip(1.0 - r**4.5, 0.0, 1.0))
    groove = 1.3 * np.exp(-((side / 0.13) ** 2)) * (1.0 - 0.6 * np.clip(front, 0.0, 1.0))
    x = 22.0 * side * (1.0 - 0.16 * np.clip(front, 0.0, 1.0) ** 2)
    z = -30.0 + 22.0 * front - OVERJET
    y = 26.0 - (28.5 - 4.0 * front) * dome + groove
    grid = np.stack(np.broadcast_arrays(x, y, z), axis=-1).astype(np.float32)
    inside = np.broadcast_to(np.array([0.0, 24.0, -34.0]), grid.shape)
    n = _normals(grid, inside)
    rough = 1.0 + 0.05 * np.random.default_rng(4).standard_normal(grid.shape[:2])
    far = 0.3 + 0.7 * _smooth(front, -0.6, 0.8)  # light comes in from the front
    color = TONGUE * ((0.22 + 0.78 * _lit(n)) * rough)[..., None] + (0.05 * _gloss(n, 14.0))[..., None]
    color = color * far[..., None]
    return Surface(grid.reshape(-1, 3).astype(np.float32), color.reshape(-1, 3).astype(np.float32))
