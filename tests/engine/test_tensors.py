"""Arrays come back as they were, however they lay in memory."""

import numpy as np
import safetensors.numpy

from engine.tensors import packed


def test_transposed_arrays_come_back_as_they_were() -> None:
    plain = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    arrays = {"plain": plain, "turned": plain.transpose(2, 0, 1), "every other": plain[:, ::-2]}
    back = safetensors.numpy.load(packed(arrays, {"a": "b"}))
    for name, value in arrays.items():
        np.testing.assert_array_equal(back[name], value)
    scrambled = safetensors.numpy.load(safetensors.numpy.save({"turned": arrays["turned"]}))["turned"]
    assert not np.array_equal(scrambled, arrays["turned"])  # the trap is still there: keep `packed`
