"""What can go wrong, in words an animator can act on.

Every message is one sentence that names the strip or file and the way out. Standard library only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ParlandoError(Exception):
    """A problem told to the user in one sentence. The command line exits with status 2 and writes nothing more."""


class InputError(ParlandoError):
    """The sound, picture, style, landmarks or take given cannot be used."""


class NoAudio(InputError):
    """The file is whole and has no sound."""


class MissingModel(ParlandoError):
    """A third-party model is not in the cache and could not be fetched; the message has the command that mends it."""


class OutputError(ParlandoError):
    """The result cannot be written: no permission, a full disk, another take in the folder."""


class Cancelled(Exception):
    """The user cancelled, or the process was interrupted. The command line exits with status 130."""


@contextmanager
def naming_files() -> Iterator[None]:
    """Around a whole job: a file the system refuses, wherever that came up, is told by its name. Raises InputError."""
    try:
        yield
    except OSError as problem:
        if not isinstance(problem.filename, str | Path):
            raise
        why = f"{problem.filename} cannot be used ({problem.strerror})"
        raise InputError(f"{why}: choose another, or check its name and permissions.") from problem
