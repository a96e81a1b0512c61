"""Messages between Blender and the engine: JSON lines over stdin and stdout. Standard library only.

Blender's side imports this file and nothing else of the engine. Python versions on both sides may differ.

Blender → engine, one object a line:
    {"id": 3, "verb": "dub", "params": {...}}      start a job; jobs run one at a time, in order of arrival
    {"id": 4, "verb": "cancel", "params": {"job": 3}}
    {"id": 5, "verb": "doctor", "params": {}}
    {"id": 6, "verb": "shutdown", "params": {}}
What `params` may hold, and how far it goes, is in engine/request.py. Those of `dub` and `render` are the command line's
long options with underscores, e.g. for dub
    {"audio": str, "image": str, "style": str|null, "strength": 1.0, "fps": [24, 1], "frames": 264|null, "seed": 0,
     "head": 1.0, "blinks": 1.0, "brows": 1.0, "gaze": 1.0, "shoulders": 1.0, "face": 0,
     "points": [[x, y, z] × 68]|null,
     "mouth": "own"|"inside"|"style", "since": 0.0, "preview": bool, "out": str}
(`fps` is a fraction [numerator, denominator]; `frames`, where given, overrides T = round(duration × fps).)
and for render
    {"landmarks": str, "image": str, "style": str|null, "take": str|null, "face": 0, "preview": bool, "out": str}
(`side`, in dub: the longer side of the frames, where they shall be smaller than the portrait; `since`: where `image` is
a film, the second of it at which the sound begins.)
and for style (a video, or a part of it from `start` to `end` seconds, or a folder of pictures → a style file, and
beside it NAME.none.png, NAME.m.png, NAME.r.png, NAME.o.png: the face in its reference frames)
    {"source": str, "name": str, "out": str, "start": 1.5|null, "end": 9.0|null, "fit": 0.0,
     "audio": str|null}
(`fit`: seconds that style transfer may take, with a video; 0 is the style code alone.)
and for restyle (the motion of a take's sound in another style → landmarks.npz)
    {"take": str, "style": str|null, "strength": 1.0, "out": str}
and for points (where the 68 landmarks of a picture lie, to be corrected) {"image": str, "face": 0}
and for phones (the sounds spoken, as JSON) {"audio": str, "words": str|null, "out": str}
and for units (landmarks → weights of ARKit's face units) {"landmarks": str, "out": str}
and for head (a 3D head with face units) {"out": str, "wheels": str|null}

`frame` renders one picture while somebody moves landmarks. It is no job: it does not wait behind one, and a newer
request takes the place of one that still waits (that one is answered `cancelled`).
    {"landmarks": [[x, y, z] × 68] in pixels, "image": str, "take": str|null, "face": 0, "side": 512|null, "out": str,
     "gaze": [right, up] in degrees|null, "number": 12|null}
(`side`: the longer side of the picture made, where it shall be smaller than the portrait; `out`: the PNG to write;
`number`: which of the take's frames, from 0, where `image` is a film.)

Engine → Blender, one object a line, each with "event":
    hello      {"protocol": 1, "engine": "0.1.0", "device": "cpu", "pid": 123}       once, when ready for jobs
    queued     {"id", "ahead": 1}
    started    {"id"}
    progress   {"id", "stage": "frames", "done": 10, "total": 264, "fraction": 0.31, "seconds_left": 12.5|null}
    note       {"id", "message": "..."}      worth telling, not an error ("The sound is silent: the mouth stays still.")
    done       {"id", "result": {...}}
               dub/render: {"take": folder, "frames": T, "rendered": n, "reused": m, "size": [w, h]}
               points: {"points": [[x, y, z] × 68] in pixels, "found": bool, "size": [w, h]}
               phones: {"phones": file, "count": n}
               units: {"units": file, "frames": T, "names": [...]}
               style: {"style": file, "name": str, "pictures": [file × 4]}
               frame: {"frame": path, "size": [w, h], "seconds": 0.02}
    error      {"id", "kind": "input"|"missing_model"|"output"|"internal", "message": one sentence, "details": str|null}
    cancelled  {"id"}
A line that is not such an object is answered with {"event": "error", "id": null, ...}. End of stdin ends the engine.
"""

import json
from typing import Any

PROTOCOL_VERSION = 1
VERBS = (
    "dub",
    "restyle",
    "render",
    "landmarks",
    "style",
    "units",
    "head",
    "phones",
    "points",
    "doctor",
    "frame",
    "cancel",
    "ping",
    "shutdown",
)
EVENTS = ("hello", "queued", "started", "progress", "note", "done", "error", "cancelled")


class ProtocolError(ValueError):
    """A line that is not a message of this protocol."""


def encode(message: dict[str, Any]) -> str:
    """One message as one line, without the newline's help from the caller."""
    return json.dumps(message, ensure_ascii=True, separators=(",", ":")) + "\n"


def request(number: int, verb: str, /, **params: Any) -> dict[str, Any]:
    """A request message. Raises ProtocolError for an unknown verb."""
    if verb not in VERBS:
        raise ProtocolError(f"unknown verb {verb!r}")
    return {"id": number, "verb": verb, "params": params}


def _decode(line: str | bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise ProtocolError(f"not JSON: {line[:200]!r}") from problem
    if not isinstance(message, dict):
        raise ProtocolError(f"not an object: {line[:200]!r}")
    return message


def decode_request(line: str | bytes) -> tuple[int, str, dict[str, Any]]:
    """(id, verb, params) of one line. Raises ProtocolError."""
    message = _decode(line)
    number, verb, params = message.get("id"), message.get("verb"), message.get("params", {})
    if not isinstance(number, int) or verb not in VERBS or not isinstance(params, dict):
        raise ProtocolError(f"not a request: {line[:200]!r}")
    if verb == "cancel" and not isinstance(params.get("job"), int):
        raise ProtocolError(f"no job to cancel: {line[:200]!r}")
    return number, verb, params


def decode_event(line: str) -> dict[str, Any]:
    """One event of the engine. Raises ProtocolError."""
    message = _decode(line)
    if message.get("event") not in EVENTS:
        raise ProtocolError(f"not an event: {line[:200]!r}")
    return message
