"""The Style-Aware Generator at work on one portrait: its answer laid over a frame's mouth at the frame's own size.

The network sees a square of 128 px; what it answers are weights, which are enlarged and applied to the picture's own
pixels and to the patterns', so that a large frame stays as sharp as it is. It has something to choose only where there
are patterns: without them a frame is as warp and proxy make it, and no network runs. Knows nothing of files and styles.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.render.generator import CPU, FAR, SLOTS, generator
from engine.render.inside import Insides
from engine.render.lips import Lips
from engine.render.mouth import MouthInterior
from engine.render.patch import Box
from engine.render.pattern import (
    COARSE,
    FINE,
    SIZE,
    SPAN,
    Pattern,
    Patterns,
    apart,
    cut,
    facial_map,
    inverse,
    lay,
    own_skin,
    placed,
    square_of,
    square_within,
    support,
)
from engine.render.texture import Pixels

Array = NDArray[np.floating]


class Finish:
    """`draw` puts the generator's answer into a frame. Patterns are what the mouth may show beside the portrait."""

    def __init__(
        self,
        rgb: Pixels,
        landmarks: Array,
        interior: MouthInterior,
        patterns: Sequence[Pattern] = (),
        device: torch.device = CPU,
    ) -> None:
        """`rgb` (H, W, 3) the portrait as networks see it, `landmarks` (68, 3) its own, `interior` its own inside of
        the mouth. The network is on `device`."""
        self.device = device
        self.network, weights = generator(device)
        at = placed(landmarks[:, :2], inverse(square_of(landmarks)))
        self.mouths = [at, *(pattern.in_square for pattern in patterns[:SLOTS])]
        skin = own_skin(rgb, landmarks)
        self.interior = interior
        self.patterns: Patterns | Insides
        if all(pattern.lips for pattern in patterns):
            self.patterns = Patterns(patterns[:SLOTS], skin)
        else:
            self.patterns = Insides(patterns[:SLOTS], interior)
        told = [weights, *(pattern.fingerprint for pattern in patterns[:SLOTS])]
        self.fingerprint = hashlib.sha256(" ".join(told).encode()).hexdigest()[:16]

    def draw(self, frame: Pixels, landmarks: Array, limits: Box, share: float) -> None:
        """Into `frame` (h, w, 3), which shows `limits` of the picture; `landmarks` (68, 3) px of the picture. `share`:
        how much of the answer, 0 for none."""
        if share <= 0.0:
            return
        affine, at = square_within(landmarks, limits)
        corner = np.array(limits[:2], np.float64)
        shown = self._drawn(landmarks, corner, affine, at, SIZE)
        shares = self._answer(frame, affine, at, shown)
        each = float(np.hypot(affine[0, 0], affine[1, 0]))
        if each > COARSE and len(shown):
            shown = self._drawn(landmarks, corner, affine, at, FINE)
        lay(frame, affine, *self._applied(shares, shown, share))

    def _drawn(self, landmarks: Array, corner: Array, affine: Array, at: Array, size: int) -> NDArray[np.uint8]:
        """The patterns (n, size, size, 4) on the frame's landmarks (68, 3) px, `at` (68, 2) in its square."""
        if isinstance(self.patterns, Patterns):
            return self.patterns.draw(at, size)
        edge = self.interior.edge(landmarks)[:2] - corner
        return self.patterns.draw(at, placed(edge, inverse(affine)), size)

    def _apart(self, at: Array) -> list[float]:
        """How far the mouths of the portrait and of each pattern are from the frame's, `at` (68, 2) of its square."""
        if isinstance(self.patterns, Patterns):
            return [apart(mouth, at) for mouth in self.mouths]
        opening = Lips.slit(at).gap / (SIZE / SPAN)
        return [FAR, *(abs(one - opening) / 2 for one in self.patterns.openings)]  # another's lips tell nothing else

    def _answer(self, frame: Pixels, affine: Array, at: Array, shown: NDArray[np.uint8]) -> Array:
        """The patterns' shares (128, 128, 4) of a frame, for landmarks `at` (68, 2) of its square and patterns
        (n, 128, 128, 4)."""
        warped = np.clip(cut(frame, affine, SIZE).astype(np.float32) / 255, 0.0, 1.0)
        patterns = np.zeros((SLOTS, SIZE, SIZE, 4), np.float32)
        patterns[: len(shown)] = shown.astype(np.float32) / 255
        away = np.full(1 + SLOTS, FAR)
        away[: 1 + len(shown)] = self._apart(at)

        def tensor(values: NDArray[Any]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, np.float32))[None].to(self.device)

        with torch.inference_mode():
            shares: Tensor = self.network(
                tensor(warped.transpose(2, 0, 1)),
                tensor(facial_map(at).transpose(2, 0, 1)) / 255,
                tensor(patterns.transpose(0, 3, 1, 2)),
                tensor(support(at)[None]),
                tensor(away),
            )
        return shares[0].permute(1, 2, 0).cpu().numpy()

    @staticmethod
    def _applied(shares: Array, shown: NDArray[np.uint8], share: float) -> tuple[Array, Array]:
        """(size, size) of the portrait's own part and (size, size, 3) of what is added, of white; `size` is that of
        `shown` (n, size, size, 4), whose `shares` are (128, 128, 4)."""
        size = shown.shape[1]
        if size != SIZE:
            shares = cv2.resize(shares, (size, size))
        more = np.zeros((size, size, 3), np.float32)
        for index, pattern in enumerate(shown):
            more += shares[..., index, None] * (pattern[..., :3].astype(np.float32) / 255)
        return 1.0 - share * shares.sum(-1), share * more
