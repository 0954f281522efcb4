"""How far a person's own frame with an expression is from the person, by the identity measure.

    python benchmarks/identity_floor.py --data ../shared/faces/val
    python benchmarks/identity_floor.py --data ../shared/faces/train \
        --folds ../shared/faces/folds.json --fold 0

The emotions protocol measures a drawn face against the mean descriptor of five frames of its clip,
`copy` with the first one. Here the real frame that shows an emotion most (its action units say it
clearly, the head is turned less than 15 degrees) is measured like that, and, for comparison, the
calmest frame. The five frames are at least half a second away from it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np
from emotion_generators import portraits

from reenact.evaluation.clips import CLIP_FPS, Clip, read_clip
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.recognition import clear_labels, read_expressions
from reenact.expression.emotions import EMOTIONS, emotion_intensity

MAX_TURN: Final = 15.0
OTHERS: Final = 5


def to_person(clip: Clip, frame: int, reader: FaceReader) -> float | None:
    """Return the distance of a frame to the mean of others of its clip; None: there are none."""
    away = clip.usable[np.abs(clip.usable - frame) >= CLIP_FPS / 2]
    chosen = np.unique(away[np.linspace(0, len(away) - 1, OTHERS).astype(int)]) if len(away) else []
    known = [reader.describe(clip.images[one], clip.landmarks[one]) for one in chosen]
    found = [one for one in known if one is not None]
    if not found:
        return None
    person = np.mean(found, axis=0)
    return reader.identity(person, clip.images[frame], clip.landmarks[frame])


def chosen_frames(video: Path) -> dict[str, int]:
    """Return the clip's calmest frame and the clearest frame of each emotion that it shows."""
    does = read_expressions(video.with_suffix(".npz"))
    if does is None:
        return {}
    front = np.flatnonzero(np.abs(does.turns).max(axis=1) < MAX_TURN)
    if not len(front):
        return {}
    calmest = front[emotion_intensity(does.units[front]).argmin()]
    frames = {EMOTIONS[0]: int(does.frames[calmest])}
    labels = clear_labels(does.weights)
    for number, emotion in enumerate(EMOTIONS[1:], start=1):
        rows = front[labels[front] == number]
        if len(rows):
            frames[emotion] = int(does.frames[rows[does.weights[rows, number].argmax()]])
    return frames


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folds", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    options = parser.parse_args()
    distances: dict[str, list[float]] = {name: [] for name in (*EMOTIONS, "first frame")}
    with FaceReader() as reader:
        for video in portraits(options.data, options.folds, options.fold):
            clip = read_clip(video)
            for name, frame in (
                chosen_frames(video) | {"first frame": int(clip.usable[0])}
            ).items():
                distance = to_person(clip, frame, reader)
                distances[name] += [] if distance is None else [distance]
    print("| the person's own frame | distance to the person | clips |\n|---|---:|---:|")
    for name, found in distances.items():
        print(f"| {name} | {np.mean(found) if found else np.nan:.3f} | {len(found)} |")
    shown = [np.mean(distances[name]) for name in EMOTIONS[1:] if distances[name]]
    print(f"| mean of the emotions shown | {np.mean(shown):.3f} | |")


if __name__ == "__main__":
    main()
