"""Compares the openings of talking mouths with those that a voice gives.

    python benchmarks/voice.py ../shared/faces/train ../shared/faces/raw/talk_face4.mp4

The mouths are those of the clips in which the unit `mouth_open` changes by at least .8 a second,
against the mean of the sixth of the frames with the narrowest gap. The voice is a file's sound,
played twice, of which the second time counts.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import av
import numpy as np

from reenact.evaluation.clips import CLIP_FPS, find_clips, read_landmarks
from reenact.expression.voice import LOUD_VOWEL
from reenact.expression.voice_envelope import Envelope
from reenact.face.action_units import action_units
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.face.regions import mouth_gap
from reenact.face.topology import ACTION_UNITS
from reenact.sound import FileVoice
from reenact.sources.video_file import VideoSource
from reenact.types import Array

TALKS: Final = 0.8
"""Mean change of `mouth_open`, per second, of a clip in which somebody talks."""

PERCENTILES: Final = (10, 25, 50, 75, 90, 95)


def mouth(video: Path) -> Array:
    """Return the unit `mouth_open` of each frame."""
    points, _ = read_landmarks(video)
    shapes = np.stack([to_face_frame(one, estimate_pose(one)) for one in points])
    gaps = np.array([mouth_gap(shape) for shape in shapes])
    rest = shapes[np.argsort(gaps)[: len(gaps) // 6 + 1]].mean(axis=0)
    units = [action_units(shape, rest)[ACTION_UNITS.index("mouth_open")] for shape in shapes]
    return np.array(units, np.float32)


def spoken(video: Path) -> Array:
    """Return the unit `mouth_open` that a file's sound gives at each frame."""
    envelope, found = Envelope(), list[float]()
    with VideoSource(video) as source:
        duration_s = source.duration_s or 0.0
    for _ in range(2):
        with FileVoice(av.open(str(video)), video.name, 0.0) as voice:
            count = int(duration_s * CLIP_FPS)
            found = [envelope.hear(voice.hear(n / CLIP_FPS)) for n in range(1, count + 1)]
    return LOUD_VOWEL["mouth_open"] * np.array(found, np.float32)


def told(name: str, courses: list[Array]) -> str:
    """Return a line of the table."""
    values = np.percentile(np.concatenate(courses), PERCENTILES)
    speed = np.concatenate([np.abs(np.diff(one)) for one in courses]).mean() * CLIP_FPS
    return f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} | {speed:.1f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, help="folder of clips with landmarks")
    parser.add_argument("voice", type=Path, help="a file in which somebody speaks")
    arguments = parser.parse_args()
    mouths = [mouth(video) for video in find_clips(arguments.clips)]
    talking = [one for one in mouths if np.abs(np.diff(one)).mean() * CLIP_FPS >= TALKS]
    print(told(f"{len(talking)} talking clips", talking))
    print(told(arguments.voice.name, [spoken(arguments.voice)]))


if __name__ == "__main__":
    main()
