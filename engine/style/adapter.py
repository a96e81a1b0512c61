"""What style transfer adds to the Motion Generator: a few thousand weights in the style file, not in the base.

From a style's codes of the last 80 ms it answers further codes with shapes of their own, which move lips and jaw but
never the lip opening: closures stay. numpy only; how it is learned: `transfer.py`.
"""

from dataclasses import dataclass

import numpy as np

TAPS = 5  # steps of 20 ms, up to now: no more look-ahead than without
HIDDEN = 16
SHAPES = 8  # learned, and a constant one before them


@dataclass(frozen=True)
class Adapter:
    """scale: (K,) codes are divided by. first: (HIDDEN, K, TAPS), offset: (HIDDEN,), second: (SHAPES, HIDDEN) weights.
    shapes: (1 + SHAPES, 68, 3) float32 canonical offsets, the first for as long as somebody talks."""

    scale: np.ndarray
    first: np.ndarray
    offset: np.ndarray
    second: np.ndarray
    shapes: np.ndarray

    def __call__(self, codes: np.ndarray, talking: np.ndarray) -> np.ndarray:
        """A style's codes (n, K) at 50 Hz, talking (n,) 0 to 1 → amounts (n, 1 + SHAPES) of the shapes."""
        over = codes / self.scale
        held = np.concatenate([np.repeat(over[:1], TAPS - 1, 0), over])
        hidden = np.tile(self.offset, (len(codes), 1))
        for tap in range(TAPS):
            hidden += held[tap : tap + len(codes)] @ self.first[:, :, tap].T
        answer = np.tanh(hidden) @ self.second.T
        return (talking[:, None] * np.concatenate([np.ones((len(codes), 1)), answer], 1)).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """By the names they have in a style file."""
        return {f"adapter.{name}": np.ascontiguousarray(value, np.float32) for name, value in vars(self).items()}

    @classmethod
    def of(cls, tensors: dict[str, np.ndarray], codes: int) -> "Adapter | None":
        """From a style file's tensors; None where it has none. Raises ValueError when damaged."""
        shapes = {
            "scale": (codes,),
            "first": (HIDDEN, codes, TAPS),
            "offset": (HIDDEN,),
            "second": (SHAPES, HIDDEN),
            "shapes": (1 + SHAPES, 68, 3),
        }
        found = {name: tensors[f"adapter.{name}"] for name in shapes if f"adapter.{name}" in tensors}
        if not found:
            return None
        if len(found) < len(shapes) or any(
            found[n].shape != s or not np.isfinite(found[n]).all() for n, s in shapes.items()
        ):
            raise ValueError("adapter")
        return cls(**found)
