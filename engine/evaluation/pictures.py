"""The tables of pictures with their ablation and controls: what `make evaluate` writes to docs/evaluation_pictures.md.

    python -m engine.evaluation.pictures --data DIR [--landmarks FILE] [--identity FOLDER] [--out FILE]

Takes some minutes on one core.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from engine.evaluation import frames, lids, plates, reenact
from engine.evaluation.report import tracked


def main(report: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.evaluation.pictures", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder shared/data")
    parser.add_argument("--landmarks", type=Path, help="npz of engine.training.landmarks for addresses")
    parser.add_argument("--identity", type=Path, help="folder `model` of npm's @vladmandic/face-api@1.7.15")
    parser.add_argument("--out", type=Path, default=Path("docs/evaluation_pictures.md"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    landmarks = tracked(chosen.data, chosen.landmarks)
    text = TEXT.format(
        reenacted=reenact.markdown(reenact.measured_films(chosen.data, landmarks)),
        lids=lids.table(chosen.data, landmarks),
        frames=frames.markdown(*frames.table(chosen.data, chosen.identity)),
        plates=plates.table(chosen.data),
    )
    chosen.out.write_text(text, encoding="utf-8")
    report(text)


TEXT = """# How good the pictures are
Made by `make evaluate` (`python -m engine.evaluation.pictures`); nothing here is written by hand.

## Re-enactment of people the generator never met
Frames with closed lips, three of a film in turn, are made to move as the film went on, and compared with it (`python
-m engine.evaluation.reenact`). *Mouth L1*, of 255: lips, what is between them and a rim of skin; *perceptual*: the
distance of MobileNetV2's features (not LPIPS); *patch L1*: the whole patch around the mouth, most of which no
system touches. In brackets: over a plain thin-plate warp's. *Edges*: how steep the mouth's are over the film's, 1 is
right. *Patterns* are four frames of the same film at least a second away. The ablation: without proxy (a dark hole),
without patterns and so without network, with patterns that are mixed by how near their mouths are and no network (which
blurs), with both.

{reenacted}
## Shut lids
Open eyes of `addresses` made to blink as the film does, and how light the lids then are beside the film's own (`python
-m engine.evaluation.lids`). What a brow, a fold and lashes leave of an open eye's lid is dark when it is stretched.
*Line*: how light the lashes where lids meet are, over the lid above them. They reach into what is measured as lid.

{lids}
## Frames against their portrait
The demo's portrait and others say the demo's sentence (`python -m engine.evaluation.frames`). *Sharpness*: CPBD of
the face over the portrait's own; *background*: PSNR beside and above the head, whatever the matte says, and of what of
that is outside the matte (one portrait's matte takes an oval backdrop for the person; hair of another reaches beyond
what is measured as its head); *flicker*, of 255: change from frame to frame of a face that drifts by parts of a pixel,
brought back to its place exactly (a frame moved exactly has the rounding to 8 bits alone; where landmarks do not change
at all a frame is the same bit by bit, 0); *identity*: distance of
face-api's numbers to the portrait (two pictures of one person 0.1 to 0.5, two people 0.8). Beside each its controls.

{frames}
## Films that say something else
One film of each speaker of `addresses` is given the demo's sentence, and silence (`python -m
engine.evaluation.plates`), and its face followed again in the frames made. *To the sound*: correlation of the lips'
opening with the motion asked for; *to the film*, the control: with what the film's own mouth did. *In silence*: how
much the opening still moves over the film's own, the tracker's noise in it. *Changed*, of 255: how far the mouth is
from the film's where landmarks are the film's own, what laying lips anew costs where nothing had to change, the film's
own mouth being taken from frames at least a second away. *Made inside*: the same with the mouth proxy. The control: the
film's next frame.

{plates}
"""


if __name__ == "__main__":
    main()
