"""Measures what a video brings that is added to a target of one photo (`reenact target add`).

    python benchmarks/added_video.py ../shared/faces/train --folds ../shared/faces/folds.json

The photo is the first frame of a clip, and the video its first part. The rest is drawn from its own
landmarks and body, before and after. Clips that hardly move give no reference and are left out.
Prints the gain of each clip, and mean and standard error over people.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from reenact.config import RendererSettings
from reenact.evaluation.clips import Clip, find_clips, read_clip
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.self_reenactment import compare_pictures, prepare_clip, render_frames
from reenact.face.geometry import square_to_crop, transform_points
from reenact.registry import load
from reenact.sinks.video_file import write_video
from reenact.storage import write_png
from reenact.targets.additions import add_videos
from reenact.targets.clip_files import person_of
from reenact.targets.library import create_target, still_tracker
from reenact.targets.store import TargetStore
from reenact.targets.video_scan import cut
from reenact.training.people import read_fold
from reenact.types import Target

PART: Final = 0.6
"""Share of a clip that is the added video."""

MIN_FRAMES: Final = 50
FIGURES: Final = ("psnr", "face_psnr", "mesh_psnr")


def in_crop(clip: Clip, target: Target) -> Clip:
    """Return the clip's frames in the place of the target's crop, which is where it is drawn."""
    x, y = (target.crop_to_plate[:, 2] + 0.5 - 0.5 * target.crop_to_plate[0, 0]).round()
    box = int(x), int(y), round(target.crop_size * float(target.crop_to_plate[0, 0]))
    to_crop = square_to_crop(box, target.crop_size)
    return replace(
        clip,
        images=np.stack([cut(np.asarray(one), box, target.crop_size) for one in clip.images]),
        landmarks=np.stack([transform_points(one, to_crop) for one in clip.landmarks]),
    )


def measure(clip: Clip, reader: FaceReader, folder: Path) -> dict[str, float] | None:
    """Return the gain of each of `FIGURES`, or None if no reference was added."""
    first = round(PART * len(clip.images))
    photo, video = folder / "photo.png", folder / "video.mp4"
    write_png(photo, np.asarray(clip.images[int(clip.usable[0])]))
    write_video(video, map(np.asarray, clip.images[:first]), 25.0, crf=4)
    store = TargetStore(folder / "targets")
    with closing(still_tracker()) as tracker:
        store.create(create_target("anna", [photo], tracker))
        before = store.load("anna")
        if not add_videos(store, "anna", [video], tracker):
            return None
    prepared = prepare_clip(in_crop(clip, before), reader, first=first, body=True)
    figures = []
    for target in before, store.load("anna"):
        renderer = load("renderers", "warp_unet").make(RendererSettings())
        renderer.prepare(target)
        pictures = render_frames(prepared, renderer, prepared.scored)
        figures.append(compare_pictures(prepared, pictures))
    return {name: (figures[1][name] or 0.0) - (figures[0][name] or 0.0) for name in FIGURES}


def main(arguments: argparse.Namespace) -> None:
    """Print the gains."""
    people = set().union(*(read_fold(arguments.folds, fold) for fold in arguments.fold))
    gains: dict[str, list[list[float]]] = defaultdict(list)
    reader = FaceReader()
    for path in find_clips(arguments.folder):
        clip = read_clip(path)
        if person_of(path.stem) not in people or clip.unrelated or len(clip.usable) < MIN_FRAMES:
            continue
        with tempfile.TemporaryDirectory() as folder:
            gain = measure(clip, reader, Path(folder))
        if gain is None:
            print(f"{path.stem}: no reference was added", flush=True)
            continue
        print(path.stem, *(f"{name} {value:+.2f}" for name, value in gain.items()), flush=True)
        gains[person_of(path.stem)].append([*gain.values()])
    means = np.array([np.mean(of_person, axis=0) for of_person in gains.values()])
    errors = means.std(axis=0, ddof=1) / len(means) ** 0.5
    for name, mean, error in zip(FIGURES, means.mean(axis=0), errors, strict=True):
        print(f"{name}: {mean:+.2f} ± {error:.2f} dB ({len(means)} people)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of clips")
    parser.add_argument("--folds", type=Path, required=True)
    parser.add_argument("--fold", type=int, nargs="+", default=[0], help="folds to measure")
    main(parser.parse_args())
