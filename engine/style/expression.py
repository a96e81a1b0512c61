"""What of a face counts as expression: used to read a style's, and to take a portrait's own back when a style comes.

Still landmarks only. A person's build cannot be told from a habitual expression here, which is why amounts are limited.
"""

import numpy as np

from engine.motion.bank import BROWS
from engine.motion.net import INNER_LOWER, INNER_UPPER, LOWER_OUTER, UPPER_OUTER

MOST = 0.1  # canonical units a point may move
LOWER = 0.9  # of how much lower or higher mouth and chin sit: the rest is build
JAW = slice(4, 13)  # the part of the jaw line that the chin takes along, least at its ends
LIDS = [37, 38, 40, 41, 43, 44, 46, 47]
UPPER_LIDS, LOWER_LIDS = [37, 38, 43, 44], [41, 40, 47, 46]
EYES = 0.6, 1.4  # least and most opening of an average face's eyes: a downward look is no style
MOUTH = list(range(48, 68))


def expression_of(face: np.ndarray, average: np.ndarray) -> np.ndarray:
    """(68, 3) float32: what of a face (68, 3) counts as expression, as offsets from the average, within ±`MOST`.

    Brows and lids in the picture's plane, the line of the closed lips whole, its height and the chin's by `LOWER`. The
    inner lips stay closed on each other, and lips as thick as they are: that is build.
    """
    apart = (face - average).astype(np.float64)
    rest = np.zeros((68, 3))
    rest[BROWS, :2] = apart[BROWS, :2]
    rest[LIDS, :2] = apart[LIDS, :2]
    along = 1 - np.abs(np.linspace(-0.75, 0.75, JAW.stop - JAW.start))
    rest[JAW, 1] = LOWER * np.minimum(1, 1.3 * along) * apart[JAW, 1]
    height = apart[MOUTH, 1].mean()
    rest[MOUTH, 0] = apart[MOUTH, 0] - apart[MOUTH, 0].mean()
    rest[MOUTH, 1] = apart[MOUTH, 1] - (1 - LOWER) * height
    rest = np.clip(rest, -MOST, MOST)
    opening = average[UPPER_LIDS, 1] - average[LOWER_LIDS, 1]
    wider = rest[UPPER_LIDS, 1] - rest[LOWER_LIDS, 1]
    wrong = wider - np.clip(wider, (EYES[0] - 1) * opening, (EYES[1] - 1) * opening)
    rest[UPPER_LIDS, 1] -= wrong / 2
    rest[LOWER_LIDS, 1] += wrong / 2
    between = (rest[INNER_UPPER] + rest[INNER_LOWER]) / 2
    rest[INNER_UPPER] = rest[INNER_LOWER] = between
    for outer, inner, share in (*UPPER_OUTER, *LOWER_OUTER):
        corner = 48 if outer in (49, 59) else 54
        rest[outer, 1] = share * rest[inner, 1] + (1 - share) * rest[corner, 1]
    return rest.astype(np.float32)
