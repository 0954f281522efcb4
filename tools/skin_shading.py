"""Make `assets/skin_shading.npz`: how the light of a face's skin changes as it moves.

    python -m tools.skin_shading --data ../shared/faces/train --cache runs/cache

The mesh warps one frame of a clip to another. The logarithm of the ratio of both pictures' light,
blurred and sampled on an atlas of the face, is explained by the head's motion and the change of
expression, by ridge regression. Every person contributes the same number of pairs of frames, each
also mirrored, and is weighted by the inverse of the deviation of their light. `tools.skin_flow`
comes first: its components of expression are used.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import (
    canonical_face,
    estimate_pose,
    mirrored_deviation,
    to_face_frame,
    yaw_sine,
)
from reenact.face.skin_flow import MOTIONS, head_motion, shipped_skin_flow
from reenact.face.skin_shading import ASSET, DARK, MAX_LOG, SkinShading, on_atlas
from reenact.models.warp_unet_inputs import MapChannel
from reenact.progress import progress_bar
from reenact.rendering.driven_skin import visible_lips
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.mesh_warp import interpolate, rasterise, source_map, warp_image
from reenact.training.augmentation import Pair, Rng
from reenact.training.sampling import load_clips
from reenact.types import Array
from tools import ASSETS
from tools.skin_flow import MIRRORED_MOTION, FaceChange, causes_of, draw_frames, pair_of

SIDE: Final = 64
"""Side of the atlas, px."""

RIDGE: Final = 0.2
"""Ridge penalty, as a share of each cause's mean square. It, the weights of the people and the
number of components were chosen on training people who were left out of the fit."""

_BLUR_PX: Final = 1.5
_MAX_YAW_SINE: Final = 0.45
_MIN_SHOWN: Final = 0.6
"""Share of a place's surroundings that has to be skin."""

_FADE_PX: Final = 1.0
"""Blur by which the change fades out at the face's edge."""


@dataclass(frozen=True, slots=True)
class LightChange(FaceChange):
    """The change of the light between the warped reference and the truth of a pair.

    Attributes:
        light: (SIDE, SIDE) logarithm of the change on the atlas, median 0; 0 where unknown.
    """

    light: Array

    def mirrored(self) -> LightChange:
        """Return the change of the mirrored pair."""
        return LightChange(
            self.motion * MIRRORED_MOTION, mirrored_deviation(self.change), self.light[:, ::-1]
        )


def measure(pair: Pair) -> LightChange:
    """Compare the light of a pair's truth with that of the warped reference."""
    faces = pair.reference_landmarks, pair.truth_landmarks
    poses = estimate_pose(faces[0]), estimate_pose(faces[1])
    reference, driven = map(visible_lips, faces, poses)
    true = np.asarray(pair.truth)
    size = len(true)
    maps = head_mesh().maps(reference, driven, size, size // 2, poses=poses)
    warped = warp_image(np.asarray(pair.reference), source_map(maps, size))
    inside = np.maximum(maps[..., MapChannel.MOUTH], maps[..., MapChannel.EYES])
    skin = 1 - cv2.resize(np.ascontiguousarray(inside), (size, size))
    after, before = (
        np.log(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) + np.float32(255 * DARK))
        for picture in (true, warped)
    )
    shown = cv2.GaussianBlur(skin, (0, 0), _BLUR_PX)
    change = cv2.GaussianBlur((after - before) * skin, (0, 0), _BLUR_PX)
    places = atlas_places(driven)
    known = _sampled(shown, places) > _MIN_SHOWN
    light = _sampled(change / np.maximum(shown, 0.5 * _MIN_SHOWN), places)
    known &= atlas_mask()
    light = np.where(known, light - np.median(light[known]) if known.any() else 0, 0)
    return LightChange(
        head_motion(*poses),
        to_face_frame(driven, poses[1]) - to_face_frame(reference, poses[0]),
        # A larger change is a shadow, hair or an error of the warp.
        np.clip(light, -MAX_LOG, MAX_LOG).astype(np.float32),
    )


def fit(changes: Sequence[Sequence[LightChange]], components: Array) -> SkinShading:
    """Fit a `SkinShading` with these components to the changes of each person."""
    count = len(MOTIONS) + len(components)
    products, results = np.zeros((count, count)), np.zeros((count, SIDE * SIDE))
    squares = np.zeros(count)
    for own in changes:
        both = [*own, *(change.mirrored() for change in own)]
        causes = causes_of(both, components)
        light = np.stack([change.light.ravel() for change in both])
        weight = 1 / max(float(light.std()), 1e-3)
        products += weight * causes.T @ causes
        results += weight * (causes.T @ light)
        squares += weight * np.square(causes).sum(axis=0)
    solution = np.linalg.solve(products + np.diag(RIDGE * squares + 1e-8), results)
    inner = cv2.erode(atlas_mask().astype(np.float32), np.ones((3, 3), np.uint8))
    fade = cv2.GaussianBlur(inner, (0, 0), _FADE_PX) * atlas_mask()
    return SkinShading(components, solution.reshape(count, SIDE, SIDE) * fade)


def explained(shading: SkinShading, changes: Sequence[LightChange]) -> float:
    """Return the share of the changes' squares that is explained."""
    predicted = np.tensordot(causes_of(changes, shading.components), shading.light, 1)
    light = np.stack([change.light for change in changes])
    left = np.square(light - predicted)[light != 0].sum()
    return float(1 - left / max(np.square(light).sum(), 1e-9))


@lru_cache(maxsize=1)
def _atlas() -> tuple[NDArray[np.int32], Array]:
    """Return the triangle in each px of the atlas, (SIDE, SIDE), and its vertices, (478, 2)."""
    face = canonical_face()
    points = np.stack(on_atlas(face[:, 0], face[:, 1], SIDE), axis=1)
    return rasterise(points, head_mesh().face_triangles, SIDE, -face[:, 2]), points


def atlas_mask() -> NDArray[np.bool_]:
    """Return which px of the atlas are in the face and in its mirror image, (SIDE, SIDE)."""
    inside = _atlas()[0] >= 0
    return inside & inside[:, ::-1]


def atlas_places(landmarks: Array) -> Array:
    """Return where a face shows each px of the atlas, (SIDE, SIDE, 2), in the landmarks' px."""
    cells, points = _atlas()
    return interpolate(cells, points, head_mesh().face_triangles, landmarks[:, :2])


def _sampled(picture: NDArray[Any], places: Array) -> Array:
    """Sample a picture, (S, S), at its px, (H, W, 2); it is 0 outside, which counts as unknown."""
    x, y = (np.ascontiguousarray(axis) for axis in np.moveaxis(places, -1, 0))
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR), np.float32)


def measure_people(folder: Path, cache: Path, pairs: int, rng: Rng) -> dict[str, list[LightChange]]:
    """Measure pairs of frames of every person in a folder of clips."""
    frames = list(draw_frames(load_clips(folder, cache), pairs, rng))
    changes: dict[str, list[LightChange]] = {}
    for clip, first, second in progress_bar(frames, desc=folder.name, unit="pair"):
        poses = (estimate_pose(clip.landmarks[frame]) for frame in (first, second))
        if max(abs(yaw_sine(pose.rotation)) for pose in poses) < _MAX_YAW_SINE:
            changes.setdefault(clip.identity, []).append(measure(pair_of(clip, first, second)))
    return changes


def main() -> None:
    """Fit, and write the asset."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of clips to learn from")
    parser.add_argument("--held-out", type=Path, help="folder of clips of others, to be explained")
    parser.add_argument("--cache", type=Path, required=True, help="folder for decoded frames")
    parser.add_argument("--pairs", type=int, default=160, help="number for each person")
    parser.add_argument("--components", type=int, default=20, help="number of components")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ASSETS / ASSET)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    options = arguments.cache, arguments.pairs, rng
    changes = measure_people(arguments.data, *options)
    shading = fit(list(changes.values()), shipped_skin_flow().components[: arguments.components])
    np.savez_compressed(arguments.out, light=shading.light.astype(np.float16))
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB")
    if arguments.held_out:
        others = measure_people(arguments.held_out, *options)
        shares = [explained(shading, own) for own in others.values()]
        print(
            f"explained of {len(others)} other people: {np.mean(shares):.3f} in the mean, "
            f"{explained(shading, [one for own in others.values() for one in own]):.3f} of all, "
            f"more than none of {np.mean(np.array(shares) > 0):.0%}"
        )


if __name__ == "__main__":
    main()
