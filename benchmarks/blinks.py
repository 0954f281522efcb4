"""Counts the blinks of actors that close both eyes of the target, or one alone.

    python benchmarks/blinks.py ../shared/faces/train

A blink is a dip of the tracked lids, mean of both eyes, below .6 of the open gap that ends within
half a second. An eye counts as shut if the target's is open by less than a tenth in the narrowest
frame.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from reenact.config import Settings
from reenact.evaluation.clips import CLIP_FPS, find_clips, read_clip
from reenact.evaluation.face_reader import own_shape
from reenact.expression.fusion import Fusion
from reenact.face.geometry import canonical_face
from reenact.face.regions import lid_closure
from reenact.progress import progress_bar
from reenact.types import Array, Landmarks

BLINK, OPEN, SHUT = 0.6, 0.75, 0.1
"""Closure below which a blink falls, above which it is over, and below which an eye is shut."""
LONGEST_S: Final = 0.5


def closures(video: Path) -> tuple[Array, Array]:
    """Return the mean lid closures of actor and target, (F, 2) each, of the right and left eye."""
    settings = Settings()
    settings.actor.neutral = "fresh"
    clip = read_clip(video)
    fusion = Fusion(settings.fusion, settings.smoothing, 100 * canonical_face(), settings.actor)
    base, tracked, fused = fusion.target.base, [], []
    for number in clip.usable:
        seen = Landmarks(clip.landmarks[number], 1.0, clip.images[number].shape[1::-1])
        expression = fusion.express(seen, number / CLIP_FPS)
        neutral = fusion.actor_neutral
        assert neutral is not None
        shown = own_shape(fusion.fuse(expression), base)
        tracked.append(lid_closure(neutral + expression.deviation, neutral))
        fused.append(lid_closure(shown, base))
    actor, target = (np.reshape(rows, (len(rows), 2, -1)).mean(axis=2) for rows in (tracked, fused))
    return actor, target


def narrowest_frames(opening: Array) -> Iterator[int]:
    """Yield the narrowest frame of each blink, given the mean opening of both eyes, (F,)."""
    narrow = np.flatnonzero(opening < BLINK)
    end = 0
    for start in narrow:
        if start < end:
            continue
        after = np.flatnonzero(opening[start:] >= OPEN)
        end = start + int(after[0]) if len(after) else len(opening)
        if end - start <= LONGEST_S * CLIP_FPS:
            yield int(start + opening[start:end].argmin())


def main(folder: Path) -> None:
    """Print the counts."""
    shut: list[int] = []
    for video in progress_bar(find_clips(folder), desc="clips", unit="clip"):
        tracked, fused = closures(video)
        blinks = list(narrowest_frames(tracked.mean(axis=1)))
        shut += (fused[blinks] < SHUT).sum(axis=1).tolist()
    both, one = (np.mean(np.array(shut) == count) for count in (2, 1))
    print(f"{len(shut)} blinks: both eyes shut in {both:.3f}, one alone in {one:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of clips")
    main(parser.parse_args().data)
