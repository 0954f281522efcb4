"""Measures whether absolute mode draws a calm face closer to the real one than the photo is.

    python benchmarks/absolute_identity.py CLIP ...

The photo is the frame of a clip with the broadest smile or the most open mouth, if that cannot be
rest. It is drawn for an actor at rest. One line per photo has distances of dlib's face descriptor:
from the photo and from the drawn picture to the clip's calmest frame, between the two, and, as a
floor, from the calmest frame to the second calmest, which is at least a second away. The last line
has the means.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np

from reenact.config import RendererSettings
from reenact.evaluation.clips import CLIP_FPS, Clip, crop_target, read_clip
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.wild import orders, read_performance
from reenact.expression.measures import measure
from reenact.expression.target_face import TargetFace, mode_for
from reenact.face.geometry import estimate_pose, to_face_frame, to_image
from reenact.live.drives import resting_drive
from reenact.registry import load
from reenact.types import Image, Renderer

COLUMNS: Final = ("photo to calm", "drawn to calm", "drawn to photo", "calm to calm")


def frames_of(video: Path, clip: Clip) -> tuple[dict[str, int], list[int]]:
    """Return the frames that photos are taken from, by name, and the two calm frames."""
    seen = read_performance(video)
    starts = {kind: int(order[0]) for kind, order in orders(seen).items()}
    unrest = np.abs(seen.measures - measure(seen.neutral.shape)).sum(axis=1) + seen.angles
    unrest[np.abs(np.arange(len(unrest)) - starts["calm"]) < CLIP_FPS] = np.inf
    calm = [starts["calm"], int(unrest.argmin())]
    photos = {kind: int(clip.usable[starts[kind]]) for kind in ("smile", "open")}
    return photos, [int(clip.usable[i]) for i in calm]


def distances(
    clip: Clip, frame: int, calm: list[int], reader: FaceReader, renderer: Renderer
) -> list[float] | None:
    """Return the distances in the order of `COLUMNS`; None if a face is not found."""
    points = clip.landmarks[frame]
    photo = np.ascontiguousarray(clip.images[frame])
    pose = estimate_pose(points)
    renderer.prepare(crop_target(clip.name, photo, points, "warp_unet"))
    base = TargetFace(to_face_frame(points, pose), "absolute").base
    drawn = renderer.render(resting_drive(to_image(base, pose)))
    pictures: list[Image] = [photo, drawn, *(np.ascontiguousarray(clip.images[i]) for i in calm)]
    descriptors = []
    for picture in pictures:
        face = reader.track(picture)
        descriptor = None if face is None else reader.describe(picture, face)
        if descriptor is None:
            return None
        descriptors.append(descriptor)
    pairs = ((0, 2), (1, 2), (1, 0), (2, 3))
    return [float(np.linalg.norm(descriptors[a] - descriptors[b])) for a, b in pairs]


def main() -> None:
    """Print the distances of each clip and photo, and their means."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clips", type=Path, nargs="+", help="videos with landmarks")
    renderer = load("renderers", "warp_unet").make(RendererSettings())
    rows = []
    with FaceReader() as reader:
        for video in parser.parse_args().clips:
            clip = read_clip(video)
            photos, calm = frames_of(video, clip)
            for kind, frame in photos.items():
                if mode_for(clip.landmarks[frame]) != "absolute":
                    continue
                found = distances(clip, frame, calm, reader, renderer)
                if found is not None:
                    rows.append(found)
                    print(f"{clip.name} {kind}:", " ".join(f"{value:.3f}" for value in found))
    means = zip(COLUMNS, np.mean(rows, axis=0), strict=True)
    print(f"{len(rows)} photos:", ", ".join(f"{name} {mean:.3f}" for name, mean in means))


if __name__ == "__main__":
    main()
