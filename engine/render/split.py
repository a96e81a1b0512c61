"""A portrait split in the person, who moves, and the plate behind, which stays.

The plate goes on under the person as the mirror image of what is seen beside them. The split is linear: it adds up to
the picture again however wrong the matte is, and what the matte forgot (a strand of hair) still moves with the person.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.render.fill import pull_push, smoothstep
from engine.render.texture import MOST, Pixels, Texture

Array = NDArray[np.floating]

REACH = 0.03  # of the unit: how far beyond the matte there may still be some of the person


class Split:
    """A picture (H, W, 3) along a matte (H, W) in [0, 1]. `unit`: distance of the outer eye corners in px.

    8-bit, or float32 where 255 is white.
    """

    def __init__(self, rgb: Pixels, matte: Array, unit: float, drawn: bool = False) -> None:
        self.plate = plate_of(rgb, matte, unit)
        share = _as(255 * matte, rgb)
        self.share = share
        behind = self._behind(share)
        light = np.dstack([_less(rgb, behind), share])  # the person's colours times the matte, where positive
        shade = _less(behind, rgb)  # and where negative: darker than the plate, though the matte sees no person
        self.moves = (light.max(axis=2) > 0) | (shade.max(axis=2) > 0)
        self.rim = round(0.2 * unit)
        edge = cv2.copyMakeBorder(share, self.rim, self.rim, self.rim, self.rim, cv2.BORDER_REPLICATE)
        edge[self.rim : self.rim + len(rgb), self.rim : self.rim + rgb.shape[1]] = 255
        self.light, self.shade = (self._continued(layer, edge, drawn) for layer in (light, shade))

    def _continued(self, layer: Pixels, edge: Pixels, drawn: bool) -> Texture:
        """A layer mirrored beyond the picture's borders, where the person reaches them (`edge`)."""
        whole = cv2.copyMakeBorder(layer, self.rim, self.rim, self.rim, self.rim, cv2.BORDER_REFLECT_101)
        return Texture(cv2.multiply(whole, cv2.merge([edge] * layer.shape[2]), scale=1 / 255), MOST, drawn)

    def _behind(self, matte: Pixels) -> Pixels:
        """The plate times what `matte` (H, W) leaves of it."""
        return cv2.multiply(self.plate, cv2.cvtColor(255 - matte, cv2.COLOR_GRAY2RGB), scale=1 / 255)

    def warped(self, where: Array) -> tuple[Pixels, Pixels]:
        """The picture (H, W, 3) with the person moved, and their matte (H, W), from source px `where` (H, W, 2)."""
        where = where + np.float32(self.rim)
        light = self.light.read(where)
        matte = np.ascontiguousarray(light[..., 3])
        frame = cv2.add(cv2.cvtColor(light, cv2.COLOR_RGBA2RGB), self._behind(matte))
        return _less(frame, self.shade.read(where)), matte


def _less(a: Pixels, b: Pixels) -> Pixels:
    """a - b, 0 where that is negative."""
    difference = cv2.subtract(a, b)
    return difference if difference.dtype == np.uint8 else np.maximum(difference, 0.0)


def _as(values: Array, picture: Pixels) -> Pixels:
    """Values on the scale of 8 bits, of the kind that `picture` is of."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8) if picture.dtype == np.uint8 else values.astype(np.float32)


def plate_of(rgb: Pixels, matte: Array, unit: float) -> Pixels:
    """What is behind the person: `rgb` (H, W, 3) filled under and close around `matte` (H, W)."""
    small = max(1.0, unit / 60)  # where it goes on smoothly, full size is not needed
    size = (max(1, round(rgb.shape[1] / small)), max(1, round(rgb.shape[0] / small)))
    reach = max(1, round(REACH * unit / small))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    hidden = cv2.dilate((cv2.resize(matte, size, interpolation=cv2.INTER_AREA) > 0.03).astype(np.float32), kernel)
    behind = pull_push(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32), 1.0 - hidden)
    behind = cv2.resize(behind, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    seen, share = mirrored(rgb, hidden > 0, unit / small)
    behind += (seen - behind) * share[..., None]
    # Close beside the matte the picture's coarse part is background, its fine part (hair) is the person's.
    seen = (1.0 - unseen(matte, 0.012 * unit))[..., None]
    blur = max(0.6, 0.025 * unit)
    weight = cv2.GaussianBlur(seen, (0, 0), blur)[..., None]
    behind += cv2.GaussianBlur((rgb - behind) * seen, (0, 0), blur) / (weight + 0.1)
    return _as(np.maximum(rgb + (behind - rgb) * unseen(matte, REACH * unit)[..., None], 0.0), rgb)


def unseen(matte: Array, reach: float) -> Array:
    """Where a matte, grown by `reach` px, leaves nothing of the background to be seen: (H, W) in [0, 1]."""
    width = 2 * round(reach) + 1
    return smoothstep((cv2.dilate(matte.astype(np.float32), np.ones((width, width), np.uint8)) - 0.1) / 0.4)


def mirrored(rgb: Pixels, hidden: NDArray[np.bool_], unit: float) -> tuple[Array, Array]:
    """What is hidden as the mirror image, in the rim of what hides it, of what is seen: it keeps grain and pattern.

    `hidden` (h, w) may be smaller than `rgb` (H, W, 3); `unit` is in its px. Colours and how far to trust them (H, W).
    """
    distance, labels = cv2.distanceTransformWithLabels(
        hidden.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    height, width = hidden.shape
    here = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    nearest = np.zeros((labels.max() + 1, 2), np.float32)
    nearest[labels[~hidden]] = here[~hidden]
    across = here + cv2.GaussianBlur(2.0 * (nearest[labels] - here), (0, 0), 0.12 * unit)
    seen = cv2.erode((~hidden).astype(np.float32), np.ones((3, 3), np.uint8))
    seen = cv2.remap(seen, across, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    share = cv2.GaussianBlur(seen, (0, 0), max(0.6, 0.03 * unit)) * (seen > 0.99)
    share *= np.clip(1.6 - distance / (0.5 * unit), 0.0, 1.0)
    size = rgb.shape[1::-1]
    scale = np.array(size, np.float32) / [width, height]
    across = (cv2.resize(across, size, interpolation=cv2.INTER_LINEAR) + 0.5) * scale.astype(np.float32) - 0.5
    colours = cv2.remap(rgb, across.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return colours.astype(np.float32), cv2.resize(share, size, interpolation=cv2.INTER_LINEAR)
