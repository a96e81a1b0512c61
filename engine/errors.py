"""What can go wrong, in words an animator can act on.

Every message is one sentence that names the strip or file and the way out. Standard library only.
"""


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
