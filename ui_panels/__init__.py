"""Panels: they draw and decide nothing."""

from . import animate, batch, face3d, marks, pins, sequencer, styles, view3d

CLASSES = (
    *sequencer.CLASSES,
    *styles.CLASSES,
    *batch.CLASSES,
    *marks.CLASSES,
    *view3d.CLASSES,
    *animate.CLASSES,
    *pins.CLASSES,
    *face3d.CLASSES,
)
