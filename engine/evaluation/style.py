"""How near the manner of a result is to that of a style reference: SLD, SLV, SMD, in both readings. Pure numpy.

The words need not be the same, so windows are compared, not frames: for every window of the reference the most like
window of the result. `style` is the paper's formula on heads without pose; `published` follows the code published with
the paper, whose figures differ: see each. Lower is nearer. Landmarks (T, 68, 2 or 3) at any frame rate; both are
brought to 29.97 fps, and no more than the first minute of each is compared. Reads no files.
"""

import numpy as np

from engine.evaluation.landmarks import centred_mouth, face_width, resampled, velocities

FPS = 30000 / 1001
WINDOW = 20  # frames: what the published code takes unless told otherwise
WINDOWS = range(10, 101)
STRIDES = range(1, 20)
LONGEST = 60.0  # s of either clip
SIDE = 512  # px, of the square every frame is resized to in the published code


def style(
    reference: np.ndarray,
    generated: np.ndarray,
    reference_fps: float,
    generated_fps: float,
    width: float | None = None,
    window: int = WINDOW,
    stride: int = 1,
) -> dict[str, float]:
    """`sld`, `slv`, `smd` by the paper's formula, of canonical landmarks, % of the reference's face width.

    S = mean_i min_j 1/L Σ_t d(r_{i+t}, g_{j+t}) over windows i of the reference and j of the result, with d the D-L of
    two frames for SLD, the D-V of two movements for SLV, and the LMD of two mouths for SMD (arXiv 2303.09799). Offsets
    from each speaker's own rest may be given instead of landmarks, with `width`: then faces do not count, only manner.
    A clip shorter than the window is one window.
    """
    r, g = at_fps(reference, reference_fps), at_fps(generated, generated_fps)
    scale = 100 / (width or face_width(reference))
    size = min(window, len(r), len(g))
    return {
        "sld": scale * nearest_windows(pairs(r, g), size, stride),
        "slv": scale * nearest_windows(pairs(velocities(r, FPS), velocities(g, FPS)), max(size - 1, 1), stride),
        "smd": scale * nearest_windows(pairs(centred_mouth(r), centred_mouth(g)), size, stride),
    }


def published(
    reference: np.ndarray,
    generated: np.ndarray,
    reference_fps: float,
    generated_fps: float,
    reference_size: tuple[int, int],
    generated_size: tuple[int, int],
) -> dict[str, float]:
    """`sld_published`, `slv_published`, `smd_published`: what the code published with the paper computes.

    Landmarks in pixels of frames of size (width, height), as tracked, head motion and all; every frame is resized to
    512². SLD: each frame's points from their own least x and y, divided by their own extent in x, times 100. SLV: the
    movement of those points from frame to frame, each divided by its own frame's extent in x, times 100. SMD: mouths
    about their own means, in pixels. A window's distance is taken as the mean over all windows of the result up to and
    including it (the code never empties its list), so the smallest is that of some first windows together; reference
    windows start within the result's length only, and frames the reference lacks are left out. Averaged over windows of
    10 to 100 frames and strides of 1 to 19, as far as the result is long enough; a result under 10 frames gives NaN.
    """
    r = at_fps(reference, reference_fps) * (SIDE / np.array(reference_size, float))
    g = at_fps(generated, generated_fps) * (SIDE / np.array(generated_size, float))
    r = r[: len(g)]
    boxed = [points - points.min(1, keepdims=True) for points in (r, g)]
    extents = [np.ptp(points[..., 0], axis=1)[:, None, None] for points in (r, g)]
    shapes = [points / extent for points, extent in zip(boxed, extents, strict=True)]
    moves = [np.diff(points, axis=0) / extent[1:] for points, extent in zip(boxed, extents, strict=True)]
    matrices = {
        "sld_published": (100 * pairs(*shapes), 0),
        "slv_published": (100 * pairs(*moves), 1),
        "smd_published": (pairs(centred_mouth(r), centred_mouth(g)), 0),
    }
    result = {}
    for name, (matrix, short) in matrices.items():
        frames, results = matrix.shape
        sums = along_diagonals(np.concatenate([matrix, np.zeros((max(results - frames, 0), results))]))
        lengths = [length - short for length in WINDOWS if length <= len(g)]
        values = [running_windows(sums, frames, length, stride) for length in lengths for stride in STRIDES]
        result[name] = float(np.mean(values)) if values else float("nan")
    return result


def at_fps(landmarks: np.ndarray, fps: float) -> np.ndarray:
    """x and y of the first minute at 29.97 fps, (T, 68, 2) float64."""
    seconds = min(len(landmarks) / fps, LONGEST)
    return resampled(landmarks[..., :2], fps, np.arange(max(1, round(seconds * FPS))) / FPS)


def pairs(reference: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """(R, G) mean distance of the points of every frame (R, n, 2) to those of every frame (G, n, 2)."""
    matrix = np.zeros((len(reference), len(generated)))
    for i, frame in enumerate(reference):
        apart = generated - frame
        matrix[i] = np.sqrt(apart[..., 0] ** 2 + apart[..., 1] ** 2).mean(1)
    return matrix


def along_diagonals(matrix: np.ndarray) -> np.ndarray:
    """(R + 1, G + 1) sums S with S[i + n, j + n] − S[i, j] = Σ_{t < n} matrix[i + t, j + t]."""
    sums = np.zeros((matrix.shape[0] + 1, matrix.shape[1] + 1))
    for i, row in enumerate(matrix):
        sums[i + 1, 1:] = sums[i, :-1] + row
    return sums


def nearest_windows(matrix: np.ndarray, length: int, stride: int = 1) -> float:
    """mean_i min_j of the mean of `matrix` (R, G) along windows of `length` frames, every `stride` frames."""
    sums = along_diagonals(matrix)
    windows = (sums[length:, length:] - sums[:-length, :-length])[::stride, ::stride]
    return float(windows.min(1).mean()) / length


def running_windows(sums: np.ndarray, frames: int, length: int, stride: int) -> float:
    """As `nearest_windows`, but with the published code's mean over all windows of the result up to each.

    sums: `along_diagonals` of the matrix, with zeros for the result's frames beyond the reference's `frames`.
    Windows of the reference start within the result's length; the part of one beyond the reference's end is left out.
    """
    windows = sums.shape[1] - length  # of the result
    starts = np.arange(0, min(frames, windows), stride)
    others = np.arange(0, windows, stride)
    totals = sums[np.ix_(starts + length, others + length)] - sums[np.ix_(starts, others)]
    seen = np.minimum(frames - starts, length)[:, None] * np.arange(1, len(others) + 1)
    return float((totals.cumsum(1) / seen).min(1).mean())
