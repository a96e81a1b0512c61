"""One verb each, thin: gather, call `addon`, report. No algorithm lives here."""

from . import animate, batch, engine, face3d, generate, landmarks, styles, takes, view

CLASSES = (
    *generate.CLASSES,
    *takes.CLASSES,
    *landmarks.CLASSES,
    *animate.CLASSES,
    *face3d.CLASSES,
    *batch.CLASSES,
    *styles.CLASSES,
    *engine.CLASSES,
    *view.CLASSES,
)
