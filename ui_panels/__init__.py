"""Panels: they draw and decide nothing."""

from . import sequencer, view3d

CLASSES = (*sequencer.CLASSES, *view3d.CLASSES)
