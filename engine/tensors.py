"""Arrays to safetensors bytes. All of the engine's own files go through here.

safetensors' numpy side writes an array's memory as it lies and reads it as if it lay in C order: a transposed one comes
back scrambled, without a word. So arrays are laid out first.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy


def packed(tensors: Mapping[str, np.ndarray[Any, Any]], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file."""
    return safetensors.numpy.save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, metadata)
