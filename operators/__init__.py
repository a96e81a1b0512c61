"""One verb each, thin: gather, call `addon`, report. No algorithm lives here."""

from . import engine, generate, landmarks, takes, view

CLASSES = (*generate.CLASSES, *takes.CLASSES, *landmarks.CLASSES, *engine.CLASSES, *view.CLASSES)
