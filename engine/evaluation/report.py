"""The table of systems × metrics, with its controls: what `make evaluate` prints and writes to docs/evaluation.md.

    python -m engine.evaluation.report --data DIR [--landmarks FILE] [--out FILE]

Three parts. Speakers never met, by the shipped weights: `grid_others`, and unseen clips of GRID's speaker 1. Free
speech (`addresses`), each speaker by networks that never met that speaker, made here by the first recipe from each
audio representation, with the manifold projection and without: which of them is the default is read here. Styles: every
clip of `mead_style` as reference, by code and by transfer. Takes half an hour on one core.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from engine.audio.apc import APC, STEPS_PER_SECOND, apc_features
from engine.audio.load import Sound, open_audio
from engine.audio.manifold import Manifold
from engine.audio.phones import phones
from engine.audio.speech import SpeechEncoder
from engine.evaluation import held, languages, mandarin
from engine.evaluation.motion import COLUMNS, HELD_OUT, Pair, measure, read_pairs, with_controls
from engine.evaluation.noisy import KINDS, under
from engine.evaluation.sync import BILABIAL, OPEN, closures
from engine.motion.curves import cubic, smooth, smoothstep
from engine.motion.generate import LINGER, SMOOTHING, TALKING, WEIGHTS, MotionGenerator, decode, lingering, settle
from engine.motion.net import CODES_PER_SECOND, MotionNet, encode, mouth_opening
from engine.style.extract import manner
from engine.style.file import Style
from engine.training import motion as training
from engine.training.landmarks import collect

STEPS = 1000  # of each network, of one member
SAID: tuple[dict[str, str], ...] = (  # GRID's sentences, a letter each in a clip's name
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {},
    {"z": "zero", "1": "one", "2": "two", "3": "three", "4": "four"}
    | {"5": "five", "6": "six", "7": "seven", "8": "eight", "9": "nine"},
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)

Figures = dict[str, dict[str, float]]
Grid = dict[str, dict[str, Pair]]  # by set and clip


def apc_steps(sound: Sound, network: APC, manifold: Manifold | None, steps: int) -> np.ndarray:
    """(steps, 512) of APC at the motion network's rate, projected on the manifold where one is given."""
    heard = np.concatenate(list(apc_features(sound, network)))
    if manifold is not None:
        heard = manifold.project(torch.from_numpy(heard)).numpy()
    at = np.arange(steps) / CODES_PER_SECOND * STEPS_PER_SECOND
    return cubic(heard, np.minimum(at, len(heard) - 1)).astype(np.float32)


def left_out(clips: list[training.Clip], basis: np.ndarray) -> dict[str, np.ndarray]:
    """By clip what networks answer for free speech (n, K + 2), each speaker by one that never met them."""
    codes = [encode(clip.offsets, basis) for clip in clips]
    gains = training.speaker_gains(clips, codes)
    codes = [code * gains[clip.speaker] for clip, code in zip(clips, codes, strict=True)]
    return training.cross_predictions(clips, codes, basis, training.Recipe((STEPS,), members=1))


def bare(clips: list[training.Clip], told: dict[str, np.ndarray], basis: np.ndarray) -> list[Pair]:
    """The answers as they are."""
    return [
        Pair(decode(smooth(told[clip.name], SMOOTHING)[:, :-2], basis), clip.offsets, clip.speech > 0)
        for clip in clips
        if clip.free
    ]


def own_style(clips: list[training.Clip], told: dict[str, np.ndarray]) -> tuple[list[Pair], list[Pair]]:
    """The answers with the spread of real speech and the closures heard, as `dub` gives them; and these in the style
    code of the speaker's other clips, or where there is one clip only each half in the code of the other."""
    net = MotionNet.load(WEIGHTS / "motion_base.safetensors", torch.device("cpu"))
    basis, scale = net.basis.numpy(), net.scale[:, 0].numpy()
    free = [clip for clip in clips if clip.free]
    plain, styled = [], []
    for clip in free:
        codes, talking = settle(net, told[clip.name].copy())
        gate = smoothstep(lingering(talking, LINGER), *TALKING)
        half = clip.steps // 2
        others = [encode(one.offsets, basis) for one in free if one.speaker == clip.speaker and one.name != clip.name]
        own = encode(clip.offsets, basis)
        parts = [(slice(0, half), own[half:]), (slice(half, clip.steps), own[:half])]
        for part, reference in [(slice(0, clip.steps), np.concatenate(others))] if others else parts:
            gains, slope, shift = manner(reference, scale)
            code = Style("own", np.zeros((68, 3), np.float32), gains, 1.0, slope=slope, shift=shift)
            bent = code.bend_codes(codes[part], gate[part], 1.0)
            truth, speaks = clip.offsets[part], clip.speech[part] > 0
            plain.append(Pair(decode(codes[part], basis), truth, speaks))
            styled.append(Pair(decode(bent, basis), truth, speaks))
    return plain, styled


def free_speech(data: Path, landmarks: Path | None) -> Iterator[tuple[str, dict[str, float]]]:
    """A row for each audio representation, and controls of the default one."""
    encoder = SpeechEncoder.load(torch.device("cpu"))
    films = training.read_addresses(data, landmarks, encoder)
    basis = training.fit_basis(films, 8)
    clips = films + training.read_grid(data, encoder.wandering(0))
    told = left_out(clips, basis)
    for name, pairs in with_controls(bare(clips, told, basis)).items():
        yield ("speech features (default)" if name == "result" else f"… {name}"), measure(pairs)
    plain, styled = own_style(clips, told)
    yield "… with the spread of real speech", measure(plain)
    yield "… in the speaker's own style code", measure(styled)
    network, manifold = APC.load(), Manifold.load()
    for label, projection in (("APC", None), ("APC, manifold projection", manifold)):
        heard = [
            replace(clip, features=apc_steps(open_audio(_film(data, clip)), network, projection, clip.steps))
            for clip in clips
        ]
        yield label, measure(bare(heard, left_out(heard, basis), basis))


def _film(data: Path, clip: training.Clip) -> Path:
    return data / ("addresses" if clip.free else clip.speaker) / f"{clip.name}.mp4"


def grid(data: Path, generator: MotionGenerator) -> Grid:
    """GRID's clips never trained on with the shipped weights' answers."""
    made: Grid = {}
    for folder in ("grid_others", "grid_s1"):
        with np.load(data / folder / "landmarks.npz") as stored:
            names = sorted(stored.files)[-HELD_OUT:]
        made[folder] = dict(zip(names, read_pairs(data / folder, names, generator), strict=True))
    return made


def shipped(clips: dict[str, Pair]) -> Figures:
    """System and figures of a set."""
    return {
        f"**{name}**" if name == "result" else name: measure(pairs)
        for name, pairs in with_controls(list(clips.values())).items()
    }


def lips_closed(data: Path, clips: Grid) -> Iterator[tuple[str, float, float]]:
    """System, and per cent of all /p b m/ and of all open vowels on which its lips close: the words are known from the
    clips' names, and `pocketsphinx` says when they are spoken."""
    told: dict[str, tuple[list[bool], list[bool]]] = {}
    for folder, named in clips.items():
        pairs = list(named.values())
        controls = with_controls(pairs)
        for k, name in enumerate(named):
            words = " ".join(table.get(letter, letter) for table, letter in zip(SAID, name[-6:], strict=True))
            spoken = phones(open_audio(data / folder / f"{name}.mp4"), words)
            openings = {"the speakers themselves": pairs[k].truth, "**result**": pairs[k].made}
            openings |= {control: made[k].made for control, made in controls.items() if control != "result"}
            for system, offsets in openings.items():
                opening = mouth_opening(offsets)
                for hits, group in zip(told.setdefault(f"{folder}, {system}", ([], [])), (BILABIAL, OPEN), strict=True):
                    hits += closures(opening, CODES_PER_SECOND, spoken, group)
    for system, (lips, vowels) in told.items():
        yield f"{system} ({len(lips)}, {len(vowels)})", 100 * float(np.mean(lips)), 100 * float(np.mean(vowels))


def disturbed(data: Path, clips: Grid, generator: MotionGenerator) -> Figures:
    """`grid_others` with noise and music under the voice."""
    folder, clean = data / "grid_others", clips["grid_others"]
    rows = {"**clean**": measure(list(clean.values()))}
    with tempfile.TemporaryDirectory() as work:
        for kind in KINDS:
            for decibels in (20, 10, 5, 0):
                pairs = read_pairs(folder, list(clean), generator, under(kind, decibels, Path(work)))
                rows[f"{kind}, {decibels} dB below the voice"] = measure(pairs)
    return rows


def mandarin_rows(data: Path, generator: MotionGenerator) -> Figures:
    """Take by take, and the controls of all."""
    pairs = mandarin.read_pairs(data, generator)
    rows = {f"take {name}": measure([pair]) for name, pair in pairs.items()}
    return rows | {
        ("**all**" if name == "result" else name): measure(made)
        for name, made in with_controls(list(pairs.values())).items()
    }


def markdown(rows: dict[str, dict[str, float]]) -> str:
    """A table, a row each."""
    head = f"| | {' | '.join(COLUMNS[:-1])} |\n| --- |{' --- |' * (len(COLUMNS) - 1)}\n"
    return head + "".join(
        f"| {name} | {' | '.join(f'{row[column]:.3g}' for column in COLUMNS[:-1])} |\n" for name, row in rows.items()
    )


def main(report: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.evaluation.report", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder shared/data")
    parser.add_argument("--landmarks", type=Path, help="npz of engine.training.landmarks for addresses")
    parser.add_argument("--out", type=Path, default=Path("docs/evaluation.md"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.landmarks = tracked(chosen.data, chosen.landmarks)
    generator = MotionGenerator.load(torch.device("cpu"))
    clips = grid(chosen.data, generator)
    free = dict(free_speech(chosen.data, chosen.landmarks))
    check = [sys.executable, "-m", "engine.training.style_check", "--data", str(chosen.data)]
    styles = subprocess.run(check, capture_output=True, text=True, check=True).stdout.strip()
    text = TEXT.format(
        others=markdown(shipped(clips["grid_others"])),
        own=markdown(shipped(clips["grid_s1"])),
        mandarin=markdown(mandarin_rows(chosen.data, generator)),
        free=markdown(free),
        styles=styles,
        disturbed=markdown(disturbed(chosen.data, clips, generator)),
        held=held.markdown(held.rows(generator)),
        languages=languages.markdown(languages.rows(generator)),
        closures="".join(
            f"| {name} | {shut:.0f} | {vowels:.0f} |\n" for name, shut, vowels in lips_closed(chosen.data, clips)
        ),
    )
    chosen.out.write_text(text, encoding="utf-8")
    report(text)


def tracked(data: Path, landmarks: Path | None) -> Path:
    """The npz of the addresses' landmarks, made where it is not given."""
    if landmarks is not None:
        return landmarks
    made = Path("build") / "addresses.npz"
    if not made.exists():
        made.parent.mkdir(exist_ok=True)
        np.savez(made, **collect(data / "addresses"))  # type: ignore[arg-type]
    return made


TEXT = """# How good the motion is
Made by `make evaluate`; nothing here is written by hand. Opening and width of the lips against tracked truth at 50 Hz,
in canonical space; LMD in hundredths of the distance between the outer eye corners; *amplitude* and *jitter* over the
truth's; *closed*: of the truth's closures those made within 80 ms, *rightly*: of those made the ones that are true;
*silence*: motion there over that in speech. Below each result its controls: a mouth that stays shut, one frozen at the
true mouth's own mean, another clip's motion, and the motion early and late.

## Ten speakers never met (`grid_others`), shipped weights
{others}
## Clips never trained on, of a speaker who was (`grid_s1`, the last 100)
{own}
## Free speech of strangers (`addresses`), one speaker left out at a time
The network's bare answer, by which audio representations compare. The shipped network learns from other voices, rooms,
noise and song as well: figures in `engine/weights/motion_base.md`. *The spread of real speech* and closures that are
heard are what `dub` adds; *own style code*: of the speaker's other clips, or of the other half of the only one.

{free}
## Lips that close on /p b m/, shipped weights
Of these sounds, and of open vowels, the per cent on which the lips are closed within 80 ms of the sound's middle, as
`pocketsphinx` aligns the known words of GRID's clips. In brackets how many there are of either.

| | on /p b m/ | on open vowels |
| --- | --- | --- |
{closures}
## Held notes, shipped weights
Per cent of a four-second note with vibrato in which the lips are open: sung on a vowel by formant synthesis, and played
by nobody, where they should be shut (`engine/evaluation/held.py`).

{held}
## Ten languages, spoken by espeak-ng, shipped weights
Of /p b m/ the per cent on which lips are closed within 80 ms of the closure's middle; of the same motion 200 ms late;
and of /t d k g n s z/, which the tongue makes, no sound of the lips within 180 ms. Then the lips' opening and their
width against rest, in canonical units, in the middle of vowels. A star: nonsense in that language was trained on. Three
voices, sentences never trained on (`engine/evaluation/languages.py`).

{languages}
## Another language: Mandarin (`facegood`), shipped weights
Two takes, almost three minutes, that were not trained on, against a rig's values mapped to landmarks
(`engine/training/rig.py`). The same rig's other takes were: this is no stranger. How far the rig's units move a mouth
is not known, so LMD tells little.

{mandarin}
## Noise and music under the voice (`grid_others`), shipped weights
White to pink noise, and a band of strings, bass and drums made otherwise than what training hears
(`engine/evaluation/noisy.py`), so many decibels below the whole clip's speech.

{disturbed}
## Styles: each of 16 clips as reference, one recording spoken in each
```
{styles}
```
"""


if __name__ == "__main__":
    main()
