"""One verb each, thin: gather, call `addon`, report. No algorithm lives here."""

from . import animate, batch, engine, face3d, generate, landmarks, pins, styles, takes, view

CLASSES = (
    *generate.CLASSES,
    *takes.CLASSES,
    *landmarks.CLASSES,
    *animate.CLASSES,
    *pins.CLASSES,
    *face3d.CLASSES,
    *batch.CLASSES,
    *styles.CLASSES,
    *engine.CLASSES,
    *view.CLASSES,
)
