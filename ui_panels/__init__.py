"""Panels: they draw and decide nothing."""

from . import animate, batch, face3d, sequencer, styles, view3d

CLASSES = (*sequencer.CLASSES, *batch.CLASSES, *styles.CLASSES, *view3d.CLASSES, *animate.CLASSES, *face3d.CLASSES)
