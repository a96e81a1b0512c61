"""Decodes a part of a compressed sound to a WAV, in a Blender of its own, so that the animator's does not stand still.

`addon.audio` starts it for long sounds, with `-- '{"source": …, "target": …, "first": …, "count": …}'`, in samples at
the sound's own rate. Knows nothing of the rest of the add-on, which is not there in that Blender.
"""

import json
import os
import sys

import bpy  # noqa: F401 (in the bpy wheel there is no aud before it)

try:
    import aud
except ImportError as problem:
    raise SystemExit(f"this Blender has no audio: {problem}") from problem


def main() -> None:
    """Writes beside the target and renames."""
    asked = json.loads(sys.argv[-1])
    sound = aud.Sound(asked["source"])  # type: ignore[call-arg]  # its published types are wrong
    rate, channels = int(sound.specs[0]), int(sound.specs[1])
    silence = aud.Sound.silence(rate).rechannel(channels)  # or the library repeats the last buffer at the end
    half = 0.5 / rate
    part = sound.mix(silence).limit(asked["first"] / rate + half, (asked["first"] + asked["count"] + 2) / rate + half)
    beside = asked["target"] + ".part"
    part.write(beside, rate, channels, aud.FORMAT_S16, aud.CONTAINER_WAV, aud.CODEC_PCM, 0, 16384)
    os.replace(beside, asked["target"])


main()
