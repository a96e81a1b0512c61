"""How long work tells where it stands, and hears that it shall stop."""

from typing import Protocol


class Progress(Protocol):
    """Called often (once a frame or a block). Raises `engine.errors.Cancelled` to stop the work."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`stage` is a word for people ("motion", "frames"); `done` of `total` steps of it are finished."""


def silent(stage: str, done: int, total: int) -> None:
    """A progress that tells nobody."""
