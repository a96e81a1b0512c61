"""Panels: they draw and decide nothing."""

from . import animate, batch, face3d, first_steps, marks, pins, sequencer, styles, view3d

CLASSES = (
    *first_steps.CLASSES,
    *sequencer.CLASSES,
    *styles.CLASSES,
    *batch.CLASSES,
    *marks.CLASSES,
    *view3d.CLASSES,
    *animate.CLASSES,
    *pins.CLASSES,
    *face3d.CLASSES,
)
