"""Panels: they draw and decide nothing."""

from . import animate, face3d, sequencer, view3d

CLASSES = (*sequencer.CLASSES, *view3d.CLASSES, *animate.CLASSES, *face3d.CLASSES)
