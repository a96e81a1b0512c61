"""One verb each, thin: gather, call `addon`, report. No algorithm lives here."""

from . import (
    animate,
    batch,
    engine,
    face3d,
    first_steps,
    generate,
    landmarks,
    marks,
    pins,
    placing,
    styles,
    takes,
    view,
)

CLASSES = (
    *generate.CLASSES,
    *takes.CLASSES,
    *placing.CLASSES,
    *landmarks.CLASSES,
    *animate.CLASSES,
    *pins.CLASSES,
    *face3d.CLASSES,
    *batch.CLASSES,
    *styles.CLASSES,
    *marks.CLASSES,
    *engine.CLASSES,
    *first_steps.CLASSES,
    *view.CLASSES,
)
