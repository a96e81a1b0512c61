"""The skin of an upper lid that an open eye hides: what comes down in a blink where there was hardly any lid.

Between a brow and an open eye there is often little but the shadow of the fold and the brow's own hair; stretched over
the eye they make a dark, streaked lid. Lids that come out of the fold are smooth and light: in the blinks of the films
four fifths as light as the skin below the eye, lashes counted in (`engine.evaluation.lids`), in its colour. Where a
portrait shows as light a lid, it is left as it is.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.render.fill import smoothstep
from engine.render.mouth import LUMINANCE
from engine.render.texture import Pixels

Array = NDArray[np.floating]

LIGHT = 0.8  # of the skin below the eye
DARKER = 0.1, 0.25  # of that light: a lid darker by this begins to be lightened, and is in full
MOST = 1.8  # times lighter
OWN = 0.6  # of its hue is that of the whole lid that is seen, the rest that of the skin below
ROOMY = 0.10, 0.14  # of the unit: with so much between lid and brow the lid that is seen is enough
STRANGE = 0.6, 0.85  # of an eye's usual lid: what is darker is no lid, it may be hair
BELOW = 0.08, 0.18  # of the unit: where skin below the lower lid is looked at
COLUMNS = 9  # along the eye at which colours are taken …
NEAR = 0.2  # … from so much of its length to either side
UNEVEN = 0.15  # how far skin below the eye may differ from its usual light
FOLD = 0.7  # of the way to the brow up to which the hidden skin reaches; from there it passes into what is seen
SHADE = 0.12  # how much darker it is at the brow
ASIDE = 0.05  # of the unit: beyond the eye's corners it passes into what is seen
FINE, KEPT = 0.03, 0.4  # of the unit: what is finer is detail, of which this much is kept


def unfolded(own: Pixels, heights: Array, at: Array, room: Array, lashes: Array, unit: float) -> Pixels | None:
    """`own` (h, w, 3) with the lid above an eye as it is when it has come down, or None where it already looks so.

    heights (h, w, 3): `Slit.heights` of the open eye. at (h, w): along the eye, 0 to 1. room (h, w): px from the lid's
    edge to the brow's. lashes (h, w): px above the edge that are left as they are.
    """
    above, inside = -heights[..., 0], heights[..., 2] <= 0
    zone = inside & (above > 0.5 * lashes) & (above < room)
    skin = inside & (heights[..., 1] > BELOW[0] * unit) & (heights[..., 1] < BELOW[1] * unit)
    pixels = own.astype(np.float32)
    lid, below = np.zeros((2, COLUMNS, 3), np.float32)
    for k, middle in enumerate(np.linspace(0, 1, COLUMNS)):
        near = np.abs(at - middle) < NEAR
        if min((zone & near).sum(), (skin & near).sum()) < 2:  # of a few px
            return None
        lid[k], below[k] = pixels[zone & near].mean(0), np.median(pixels[skin & near], axis=0)
    seen, lit = np.maximum(lid @ LUMINANCE, 1.0), np.maximum(below @ LUMINANCE, 1.0)
    usual, goal = float(np.median(seen)), LIGHT * float(np.median(lit))
    high = float(np.median(room[zone & (np.abs(at - 0.5) < NEAR)])) / unit
    strength = between(DARKER, 1 - usual / goal) * (1 - between(ROOMY, high))
    if strength <= 0:
        return None
    bright = min(goal, MOST * usual) * np.clip(lit / np.median(lit), 1 - UNEVEN, 1 + UNEVEN)
    hue, lids = below / lit[:, None], lid.sum(0) / seen.sum()  # dark red of a corner is not to become pink
    colours = bright[:, None] * (hue + OWN * (lids - hue))

    def along(values: Array) -> Array:
        return np.interp(np.clip(at, 0, 1) * (COLUMNS - 1), np.arange(COLUMNS), values)

    way = np.clip(above / np.maximum(room, 1.0), 0, 1)
    wanted = np.stack([along(values) for values in colours.T], -1) * (1 - SHADE * way[..., None])
    share = strength * along(between(STRANGE, seen / usual))
    share *= smoothstep((above - 0.5 * lashes) / np.maximum(lashes, 1.0)) * (1 - between((FOLD, 1.0), way))
    share *= 1 - smoothstep(heights[..., 2] / (ASIDE * unit))
    share = cv2.GaussianBlur(share.astype(np.float32), (0, 0), max(0.4, 0.006 * unit))
    weight = cv2.GaussianBlur(zone.astype(np.float32), (0, 0), FINE * unit) + 1e-3
    coarse = cv2.GaussianBlur(pixels * zone[..., None], (0, 0), FINE * unit) / weight[..., None]
    made = pixels + share[..., None] * (wanted + KEPT * (pixels - coarse) - pixels)
    return np.clip(np.rint(made), 0, 255).astype(np.uint8) if own.dtype == np.uint8 else made.astype(np.float32)


def between(limits: tuple[float, float], values: Array | float) -> Array:
    """0 up to the lower limit, 1 from the upper on."""
    return smoothstep((np.asarray(values) - limits[0]) / (limits[1] - limits[0]))
