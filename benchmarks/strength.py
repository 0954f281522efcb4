"""Measures at which stage mouth movements become weaker between the actor and the output.

    python benchmarks/strength.py PHOTO CLIP ...

Each clip's actor drives the photo through the live path. For the opening and the width of the
mouth, in inter-ocular distances, this prints the slope and correlation of one stage against
another. The first row has the slope that the proportions of the two faces ask for. *Read* means
tracked in that picture alone; *mesh* is the picture without a network (`warp`).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np

from reenact.config import Settings, TrackingSettings
from reenact.evaluation.clips import CLIP_FPS, read_clip
from reenact.evaluation.face_reader import FaceReader, own_shape
from reenact.evaluation.metrics import correlation
from reenact.expression.measures import MOUTH_OPEN, MOUTH_WIDTH, measure
from reenact.expression.target_face import TargetFace, proportions
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.live.pipeline import Reenactor
from reenact.models.warp_unet_inputs import NETWORK_PX
from reenact.progress import progress_bar
from reenact.registry import load
from reenact.sources.image_file import read_image
from reenact.stats import StepTimer
from reenact.targets.builder import target_from_image
from reenact.types import Array, Frame, Target

MEASURED: Final = {"mouth opening": MOUTH_OPEN, "mouth width": MOUTH_WIDTH}
EVERY: Final = 2
"""One in this many pictures is read."""

STAGES: Final = {
    "fused, of tracked": ("fused", "tracked"),
    "actor read, of tracked": ("actor", "tracked"),
    "mesh read, of fused": ("mesh", "fused"),
    "network read, of fused": ("network", "fused"),
    "network read, of actor read": ("network", "actor"),
}


def measured(video: Path, target: Target, reader: FaceReader) -> dict[str, Array]:
    """Return the measures at each stage of one run, (F, 6) iod, and the slopes asked for, (6,)."""
    settings = Settings()
    settings.output.picture = "crop"
    settings.actor.neutral = "fresh"
    clip = read_clip(video)
    renderer = load("renderers", "warp_unet").make(settings.renderer)
    mesh = load("renderers", "warp").make(settings.renderer)
    mesh.prepare(target)
    tracker = load("trackers", "mediapipe").make(TrackingSettings())
    reenactor = Reenactor(settings, target, tracker, renderer, StepTimer())
    base = TargetFace(
        to_face_frame(target.neutral, estimate_pose(target.neutral)), settings.fusion.mode
    ).base
    tracks: dict[str, list[Array]] = {}
    for number, frame in enumerate(clip.images):
        image = np.ascontiguousarray(frame)
        output = reenactor.step(Frame(image, number / CLIP_FPS, number))
        actor, drive = output.performance, reenactor.drive
        if number % EVERY or actor is None or actor.landmarks is None or drive is None:
            continue
        neutral = known_neutral(reenactor)
        seen = {
            "tracked": (actor.landmarks.points, neutral),
            "actor": (reader.track(image), neutral),
            "fused": (drive.landmarks, base),
            "mesh": (reader.track(mesh.render(drive)), base),
            "network": (reader.track(output.image), base),
        }
        shapes = {
            stage: own_shape(points, face)
            for stage, (points, face) in seen.items()
            if points is not None
        }
        if len(shapes) == len(seen):
            for stage, shape in shapes.items():
                tracks.setdefault(stage, []).append(measure(shape))
    reenactor.close()
    asked = proportions(base) / proportions(known_neutral(reenactor))
    return {stage: np.stack(values) for stage, values in tracks.items()} | {"asked for": asked}


def known_neutral(reenactor: Reenactor) -> Array:
    """Return the actor's neutral, which exists after the first face."""
    assert reenactor.actor_neutral is not None
    return reenactor.actor_neutral


def main() -> None:
    """Print a table of the clips' means, and each clip's slopes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photo", type=Path, help="picture of the target")
    parser.add_argument("clips", type=Path, nargs="+", help="videos of actors, with landmarks")
    arguments = parser.parse_args()
    with FaceReader() as reader:
        target = photo_target(arguments.photo)
        runs = [measured(clip, target, reader) for clip in progress_bar(arguments.clips)]
    for name, row in MEASURED.items():
        asked = [float(run["asked for"][row]) for run in runs]
        print(f"| {name}, asked for | {np.mean(asked):.2f} | |", *(f"{s:.2f}" for s in asked))
        for title, (stage, origin) in STAGES.items():
            pairs = [(run[origin][:, row], run[stage][:, row]) for run in runs]
            slopes = [float(np.polyfit(x, y, 1)[0]) for x, y in pairs]
            followed = np.mean([correlation(x, y) for x, y in pairs])
            each = " ".join(f"{slope:.2f}" for slope in slopes)
            print(f"| {name}: {title} | {np.mean(slopes):.2f} | {followed:.2f} | {each}")


def photo_target(photo: Path) -> Target:
    """Return the target made from a photo, 256 px."""
    tracker = load("trackers", "mediapipe").make(TrackingSettings())
    try:
        return target_from_image(photo.stem, read_image(photo), tracker, size_px=NETWORK_PX)
    finally:
        tracker.close()


if __name__ == "__main__":
    main()
