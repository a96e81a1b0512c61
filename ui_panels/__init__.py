"""Panels: they draw and decide nothing."""

from . import face3d, sequencer, view3d

CLASSES = (*sequencer.CLASSES, *view3d.CLASSES, *face3d.CLASSES)
