"""One verb each, thin: gather, call `addon`, report. No algorithm lives here."""

from . import engine, face3d, generate, landmarks, takes, view

CLASSES = (*generate.CLASSES, *takes.CLASSES, *landmarks.CLASSES, *face3d.CLASSES, *engine.CLASSES, *view.CLASSES)
