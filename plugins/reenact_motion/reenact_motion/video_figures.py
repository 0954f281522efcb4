"""Compares generated face videos: MoCoGAN, VGAN, TGAN, MotionGAN's motions on photos, real ones.

    python -m reenact_motion.video_figures CLIPS --folds FOLDS.json --fold 1 --size 32 \
        --renderer texture_gan --weights runs/mocogan_small/best.safetensors --sheet OUT.png

Real videos are the rises in clips of the fold's people. MotionGAN moves the first frames of their
clips, one a person, drawn by the renderers of `--renderer`. Both are cut to aligned faces of the
side that the networks draw at and to 16 frames, so that the measures (`video_measures`) see the
same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np

from reenact import registry
from reenact.cli.arguments import COUNT
from reenact.config import RendererSettings
from reenact.errors import ModelError, ReenactError
from reenact.evaluation.clips import ClipFile, find_clip_files
from reenact.evaluation.contact_sheet import SheetRow, write_sheets
from reenact.evaluation.emotions import emotion_drive, read_portrait
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.metrics import Figures, markdown_table
from reenact.expression.emotions import EMOTIONS
from reenact.face.action_units import action_units
from reenact.face.geometry import canonical_face, estimate_pose
from reenact.imaging import crop_image
from reenact.lifecycle import separate_python_stderr
from reenact.models.weights import load_built, read_header
from reenact.registry import import_object
from reenact.rendering.aligned_face import to_frame
from reenact.storage import check_writable
from reenact.training.people import read_fold
from reenact.types import Array, Drive, Target
from reenact_motion import MotionGANSettings
from reenact_motion.face_videos import FRAMES, VideoData, load_videos, whole_rise
from reenact_motion.source import MotionGAN
from reenact_motion.video_measures import Drawn, draw_videos, figures_of

_DRAWN_PX: Final = 256
"""Side at which the renderers draw."""

_NETWORKS: Final = ("mocogan", "vgan", "tgan")

_SHOWN: Final = range(0, FRAMES, 3)
"""Frames on the sheet."""


def real_videos(clips: Sequence[ClipFile], size_px: int) -> list[Drawn]:
    """Return the rises in clips, as aligned faces of that side."""
    videos = load_videos(clips, VideoData("", size_px=size_px, acted_frames=0))
    return [Drawn(one.emotion, whole_rise(one), one.identity) for one in videos]


def network_videos(weights: Path, count: int) -> list[Drawn]:
    """Draw `count` videos of each class by weights. Raises ModelError if they do not fit."""
    name = read_header(weights).get("architecture", "")
    if name not in _NETWORKS:
        raise ModelError(
            f"{weights} is of {name or 'no known network'}, not of MoCoGAN, VGAN or TGAN."
        )
    network, _, _ = load_built(weights, import_object(f"reenact_motion.{name}:build"), name)
    return draw_videos(network, count)


def motion_videos(
    clips: Sequence[ClipFile], renderer: str, size_px: int, reader: FaceReader
) -> Iterator[Drawn]:
    """Yield the first frame of each person's first clip, moved to each emotion by MotionGAN."""
    source = MotionGAN(MotionGANSettings())
    drawing = registry.load("renderers", renderer).make(RendererSettings(name=renderer))
    for seed, (person, of_person) in enumerate(groupby(clips, lambda clip: clip.identity)):
        target = read_portrait(next(of_person).path, _DRAWN_PX, reader).target
        drawing.prepare(replace(target, renderer=renderer))
        affine = to_frame(target.landmarks[0], size_px)
        for number, emotion in enumerate(EMOTIONS[1:], start=1):
            drawing.reset()
            motion = source.motion(emotion, seed)
            places = np.linspace(0, len(motion) - 1, FRAMES).round().astype(int)
            frames = [drawing.render(_moved(target, emotion, one)) for one in motion[places]]
            pictures = np.stack([crop_image(one, affine, size_px) for one in frames])
            yield Drawn(number, pictures, person)


def table(rows: dict[str, Figures], counts: dict[str, int]) -> str:
    """Return figures as Markdown."""
    names = list(next(iter(rows.values())))
    lines = []
    for label, figures in rows.items():
        values = ["" if (one := figures[name]) is None else f"{one:.3f}" for name in names]
        lines.append([label, str(counts[label]), *values])
    return markdown_table(["videos", "count", *names], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", type=Path, help="folder of clips")
    parser.add_argument("--folds", type=Path, help="JSON file of folds of people")
    parser.add_argument("--fold", type=int, default=0, help="whose clips are used")
    parser.add_argument("--weights", type=Path, action="append", default=[], help="of a network")
    parser.add_argument("--renderer", action="append", default=[], help="draws MotionGAN's motions")
    parser.add_argument(
        "--size",
        type=int,
        choices=(32, 64),
        default=64,
        help="side of the networks' frames, px",
    )
    parser.add_argument("--count", type=COUNT, default=14, help="videos of each class by a network")
    parser.add_argument(
        "--sheet",
        type=Path,
        help="writes videos as rows of pictures, a .png; -2, -3 and so on are further pages",
    )
    options = parser.parse_args(arguments)
    try:
        clips = find_clip_files(options.clips)
        if options.folds:
            people = read_fold(options.folds, options.fold)
            clips = [clip for clip in clips if clip.identity in people]
        if not clips:
            raise ReenactError(
                f"{options.clips} has no clips of the people in fold {options.fold} of "
                f"{options.folds}."
            )
        if options.sheet:
            check_writable(options.sheet, ".png")
        with FaceReader() as reader:
            videos = {"real": real_videos(clips, options.size)}
            for name in options.renderer:
                videos[f"motion_gan, {name}"] = list(
                    motion_videos(clips, name, options.size, reader)
                )
            for path in options.weights:
                made, name = network_videos(path, options.count), read_header(path)["architecture"]
                # Two weights of one network are two rows.
                videos[f"{name}, {path}" if name in videos else name] = made
            rows = {name: figures_of(found, reader) for name, found in videos.items() if found}
        if not rows:
            raise ReenactError(
                f"No clip of {options.clips} shows a face that turns from neutral to an emotion; "
                "name --weights or a --renderer to measure."
            )
        print(table(rows, {name: len(found) for name, found in videos.items()}))
        if options.sheet:
            columns = [f"frame {index}" for index in _SHOWN]
            write_sheets(options.sheet, columns, list(_sheet_rows(videos)))
    except ReenactError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _moved(target: Target, emotion: str, deviation: Array) -> Drive:
    """Return what drives a still face whose landmarks deviate, (478, 3) iod, from rest."""
    pose, face = estimate_pose(target.neutral), canonical_face()
    moved = deviation @ pose.rotation.T * np.float32(pose.scale)
    units = action_units(face + deviation, face)
    whole = emotion_drive(target, emotion, 1.0)
    expression = replace(whole.expression, deviation=deviation, action_units=units)
    return replace(whole, landmarks=target.neutral + moved, expression=expression)


def _sheet_rows(videos: dict[str, list[Drawn]]) -> Iterator[SheetRow]:
    """Yield a row for the first video of each emotion."""
    for name, found in videos.items():
        for emotion, of_class in groupby(
            sorted(found, key=lambda one: one.emotion), lambda one: one.emotion
        ):
            pictures = next(of_class).pictures
            yield SheetRow(f"{name}, {EMOTIONS[emotion]}", [pictures[index] for index in _SHOWN])


if __name__ == "__main__":
    separate_python_stderr()  # MediaPipe's own messages say nothing to the user
    sys.exit(main())
