"""Measures the gain from each mechanism of the live generator by leaving it out.

    python benchmarks/ablation.py ../shared/faces/train --first v101 --json before.json
    python benchmarks/ablation.py ../shared/faces/train --first v101 --against before.json
    python benchmarks/ablation.py ../shared/faces/train --turned 15

Each clip's first frame is driven by the landmarks of frames spread evenly over the rest. A row has
mean differences over clips with their standard errors. With `--turned 15` the most turned frame of
each clip is driven to frames that are turned by at least 15 degrees less, with `--turning 15` the
least turned one to frames turned by at least 15 degrees more; clips without such frames are left
out. `--against` compares with the figures of an earlier run, perhaps of another version.
Hair is the person above the chin and outside the face's oval.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import cv2
import numpy as np
import torch.nn.functional as F

from reenact.config import Settings
from reenact.evaluation import metrics
from reenact.evaluation.clips import Clip, find_clips, first_frame_target, read_clip, resized
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.metrics import Figures, mean_of
from reenact.evaluation.self_reenactment import (
    PreparedClip,
    compare_pictures,
    prepare_clip,
    render_frames,
    tracked_figures,
)
from reenact.face.geometry import estimate_pose, region_mask
from reenact.face.segmentation import person_masks
from reenact.face.topology import OVAL
from reenact.registry import load
from reenact.rendering.inpainting import diffused
from reenact.rendering.openings import mouth_sources
from reenact.storage import write_json
from reenact.types import Array, Image, Renderer

CHIN: Final = 152
MIN_HAIR_PX: Final = 400
SHOWN: Final = (
    *("psnr", "face_psnr", "face_ssim", "mesh_psnr", "hair_psnr", "sharpness", "face_sharpness"),
    *("hair_sharpness", "au_error", "akd_px"),
)
"""The figures in the table."""

WITHOUT: Final[dict[str, dict[str, Any]]] = {
    "everything": {},
    "coarse repair beside the face": {
        "models.warp_unet._COARSE": 1,
        "rendering.warp_unet.VERSION": 0,
    },
    "repair": {
        "models.warp_unet.F.pixel_shuffle": lambda found, factor: F.interpolate(
            0 * found[:, :3], scale_factor=float(factor)
        ),
        "rendering.warp_unet.VERSION": -1,
    },
    "damping of small motions": {"rendering.head_mesh._damped_pose": lambda start, end, _: end},
    "sliding of the skin": {
        "face.skin_flow.SkinFlow.moved": lambda flow, reference, drive, poses: reference
    },
    "light of the skin": {
        "face.skin_shading.SkinShading.change": lambda shading, *_: np.zeros_like(shading.light[0])
    },
    "depth of the skull": {
        "rendering.head_mesh.on_skull": lambda at, pose: np.insert(
            at, 2, pose.translation[2], axis=1
        )
    },
    "hair at the outline": {"face.skull._held_at_outline": lambda shape, start, end: shape},
    "ears and neck of a turned head": {"face.skull._NECK_BEHIND": 0.0},
    "neck behind the jaw": {"rendering.head_mesh.behind_jaw": lambda before, after, *_: after},
    "smooth flow beside the face": {"rendering.head_mesh._smooth_beside": lambda *_: None},
    "far side of turned photos": {"rendering.painter.is_turned": lambda pose: False},
    "lids and lips that meet": {"rendering.layers._draw_shut": lambda *_: None},
    "visible edges of the lips": {
        f"rendering.{user}.visible_lips": lambda face, pose: face for user in ("layers", "painter")
    },
    "rigid glasses": {"rendering.layers.find_glasses": lambda picture, landmarks: None},
    "texture of the wall": {"rendering.inpainting.textured": diffused},
    "loose skin": {
        "rendering.driven_skin.LooseSkin.stretched": lambda skin, reference, drive, _: drive
    },
    "teeth and tongue": {
        "rendering.head_mesh.mouth_sources": lambda places, *faces: (
            mouth_sources(places, *faces)[0],
            np.zeros(len(places), np.float32),
            0.0,
        ),
    },
}
"""The functions and constants that are replaced to leave a mechanism out. Converted networks are
cached by version."""


@contextmanager
def without(name: str, renderer: str, weights: str) -> Iterator[Renderer]:
    """Provide a renderer without a mechanism; weights "": the shipped ones."""
    settings = Settings().renderer.model_copy(update={"weights": weights})
    with ExitStack() as stack:
        for path, replacement in WITHOUT[name].items():
            stack.enter_context(patch(f"reenact.{path}", replacement))
        yield load("renderers", renderer).make(settings)


def prepare(clip: Clip, reader: FaceReader, frames: int) -> PreparedClip:
    """Prepare a clip with frames spread evenly over it."""
    clip, later = reader.refine_photo(clip), clip.usable[1:]
    chosen = later[np.linspace(0, len(later) - 1, min(frames, len(later))).round().astype(int)]
    tracked = tuple(reader.track(clip.images[i]) for i in chosen)
    return replace(prepare_clip(clip, reader, 1), scored=tuple(chosen.tolist()), tracked=tracked)


def yaws_deg(clip: Clip) -> Array:
    """Return the yaw of each usable frame."""
    axes = [estimate_pose(clip.landmarks[i]).rotation[:, 2] for i in clip.usable]
    return np.degrees([np.arctan2(x, z) for x, _, z in axes])


def to_turned(clip: Clip, more_deg: float) -> Clip:
    """Return a clip of its least turned frame and all frames turned by this much more, if any."""
    yaw = yaws_deg(clip)
    least = int(np.abs(yaw).argmin())
    more = np.abs(yaw - yaw[least]) > more_deg
    return replace(clip, usable=np.append(clip.usable[least], clip.usable[more]))


def from_turned(clip: Clip, less_deg: float, at_most_deg: float) -> Clip:
    """Return a clip of its most turned frame and all frames turned by this much less, if any.

    The first frame is turned by at most `at_most_deg`, and by at least half of that or `less_deg`.
    """
    yaw = yaws_deg(clip)
    most = int(np.where(np.abs(yaw) <= at_most_deg, np.abs(yaw), -1).argmax())
    less = (yaw[most] - yaw) * np.sign(yaw[most]) > less_deg
    less &= min(less_deg, at_most_deg / 2) < abs(yaw[most]) <= at_most_deg
    return replace(clip, usable=np.append(clip.usable[most], clip.usable[less]))


def hair_figures(shot: PreparedClip, people: Sequence[Array], pictures: Sequence[Image]) -> Figures:
    """Compare the hair, with ears, of drawn and true pictures."""
    found: dict[str, list[float]] = {"hair_psnr": [], "hair_sharpness": []}
    for i, person, drawn in zip(shot.scored, people, pictures, strict=True):
        true, points = np.asarray(shot.clip.images[i]), shot.clip.landmarks[i]
        face = cv2.dilate(region_mask(points, OVAL, len(true)), np.ones((5, 5), np.uint8)) > 127
        hair = (person > 0.5) & ~face
        hair[max(int(points[CHIN, 1]), 0) :] = False
        if np.count_nonzero(hair) >= MIN_HAIR_PX:
            found["hair_psnr"].append(metrics.psnr(true[hair], drawn[hair]))
            slopes = [
                np.hypot(*np.gradient(metrics.luma(picture)))[hair].mean()
                for picture in (drawn, true)
            ]
            found["hair_sharpness"].append(float(slopes[0] / max(slopes[1], 1e-6)))
    return {name: mean_of(values) for name, values in found.items()}


def measure(
    renderer: Renderer,
    shots: Sequence[PreparedClip],
    people: Sequence[Sequence[Array]],
    reader: FaceReader,
) -> dict[str, Figures]:
    """Return the figures of each clip."""
    rows = {}
    for shot, masks in zip(shots, people, strict=True):
        renderer.prepare(first_frame_target(shot.clip, "warp_unet"))
        pictures = render_frames(shot, renderer, shot.scored)
        rows[shot.clip.name] = (
            compare_pictures(shot, pictures)
            | hair_figures(shot, masks, pictures)
            | tracked_figures(shot, pictures, reader)
        )
    return rows


def row(name: str, rows: dict[str, Figures], base: dict[str, Figures] | None) -> str:
    """Return a table's row of means, or of differences from a base with their standard errors."""
    cells = [name]
    for figure in SHOWN:
        pairs = [(values[figure], (base or rows)[clip][figure]) for clip, values in rows.items()]
        known = np.array([pair for pair in pairs if None not in pair], np.float64)
        gain = known[:, 0] - known[:, 1]
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        cells.append(
            f"{known[:, 0].mean():.3f}" if base is None else f"{gain.mean():+.3f} ± {error:.3f}"
        )
    return f"| {' | '.join(cells)} |"


def main(arguments: argparse.Namespace) -> None:
    """Print the table, and write the figures of the whole generator."""
    videos = [video for video in find_clips(arguments.data) if video.stem >= arguments.first]
    base = json.loads(arguments.against.read_text("utf-8")) if arguments.against else None
    print(f"| | {' | '.join(SHOWN)} |")
    clips = (resized(read_clip(video), arguments.size) for video in videos)
    if arguments.turned is not None:
        clips = (from_turned(clip, arguments.turned, arguments.at_most) for clip in clips)
    if arguments.turning is not None:
        clips = (to_turned(clip, arguments.turning) for clip in clips)
    with FaceReader() as reader:
        shots = [prepare(clip, reader, arguments.frames) for clip in clips if len(clip.usable) > 1]
        people = [
            list(person_masks(np.asarray(shot.clip.images[i]) for i in shot.scored))
            for shot in shots
        ]
        for name in arguments.without or WITHOUT:
            with without(name, arguments.renderer, arguments.weights) as renderer:
                rows = measure(renderer, shots, people, reader)
            print(row(f"without {name}" if WITHOUT[name] else name, rows, base), flush=True)
            if not WITHOUT[name]:
                base = base or rows
                if arguments.json:
                    write_json(arguments.json, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of clips")
    parser.add_argument("--first", default="", help="name of the first clip to use")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures, px")
    parser.add_argument("--renderer", default="warp_unet", help="warp_unet, or one to compare with")
    parser.add_argument("--weights", default="", help="weight file (default: shipped weights)")
    parser.add_argument("--frames", type=int, default=14, help="number of frames of each clip")
    parser.add_argument("--turned", type=float, help="drive turned frames to others; degrees less")
    parser.add_argument("--at-most", type=float, default=90, help="turn of these frames; degrees")
    parser.add_argument("--turning", type=float, help="drive others to turned ones; degrees more")
    parser.add_argument("--without", action="append", choices=WITHOUT, help="print only this row")
    parser.add_argument("--json", type=Path, help="output file, figures of the whole generator")
    parser.add_argument("--against", type=Path, help="earlier --json file to compare with")
    main(parser.parse_args())
