"""Panels: they draw and decide nothing."""

from . import animate, batch, face3d, sequencer, view3d

CLASSES = (*sequencer.CLASSES, *batch.CLASSES, *view3d.CLASSES, *animate.CLASSES, *face3d.CLASSES)
