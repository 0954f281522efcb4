"""Make `assets/skin_flow.npz`: how landmarks slide over the skin of a moving face.

    python -m tools.skin_flow --data ../shared/faces/train --cache runs/cache

The mesh warps one frame of a clip to another. Optical flow measures the residual motion at the
landmarks, on the person only and where forward and backward flow agree. Ridge regression with the
Huber loss (iteratively reweighted least squares) explains these residuals by the head's motion and
the principal components of the change of shape.

Every person contributes the same number of pairs of frames, each also mirrored. The second round
starts from the result of the first, because optical flow is more accurate for small residuals.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import estimate_pose, mirror_index, mirrored_deviation, to_face_frame
from reenact.face.skin_flow import (
    ASSET,
    MOTIONS,
    SkinFlow,
    head_axes,
    head_motion,
    limited_causes,
)
from reenact.face.topology import N_SKIN
from reenact.progress import progress_bar
from reenact.rendering.head_mesh import HeadMesh
from reenact.rendering.mesh_warp import source_map, warp_image
from reenact.training.augmentation import Pair, Rng
from reenact.training.sampling import Clip, load_clips
from reenact.types import Array, Image, Pose
from tools import ASSETS

RIDGE: Final = (0.003, 0.15)
"""Ridge penalties of motions and of components of expression, as shares of their mean squares. They
were chosen on training people who were left out of the fit."""

MAX_RESIDUAL: Final = 0.6
"""A larger residual, iod, is an error of the optical flow."""

_MAX_DISAGREEMENT_PX: Final = 1.5
_HUBER_IOD: Final = 0.03
_MIN_SAMPLES: Final = 80
_VARIANCE_FLOOR: Final = 1e-8
_ITERATIONS: Final = 3
MIRRORED_MOTION: Final = np.array([1, -1, -1, -1, 1], np.float32)
"""Signs of `MOTIONS` in a mirror."""

_MIRROR_FLOW: Final = np.array([-1, 1], np.float32)


@dataclass(frozen=True, slots=True)
class FaceChange:
    """The causes of what is measured in one pair of frames.

    Attributes:
        motion: (5,), `MOTIONS`.
        change: (478, 3), the change of shape in the face frame, iod.
    """

    motion: Array
    change: Array


@dataclass(frozen=True, slots=True)
class FlowResidual(FaceChange):
    """The motion that the mesh leaves unexplained in one pair of frames.

    Attributes:
        skin: (468, 2), residual flow at the landmarks, iod along the driven head's `head_axes`.
        known: (468,) bool, where the flow was measured.
    """

    skin: Array
    known: NDArray[np.bool_]

    def mirrored(self) -> FlowResidual:
        """Return the residual of the mirrored pair."""
        index = mirror_index()[:N_SKIN]
        return FlowResidual(
            self.motion * MIRRORED_MOTION,
            mirrored_deviation(self.change),
            self.skin[index] * _MIRROR_FLOW,
            self.known[index],
        )


def measure(pair: Pair, person: NDArray[np.uint8] | None, mesh: HeadMesh) -> FlowResidual:
    """Compare the truth of a pair, within its person mask, with the warped reference."""
    reference, driven = pair.reference_landmarks, pair.truth_landmarks
    poses = estimate_pose(reference), estimate_pose(driven)
    true = np.asarray(pair.truth)
    size = len(true)
    maps = mesh.maps(reference, driven, size, size // 2)
    warped = warp_image(np.asarray(pair.reference), source_map(maps, size))
    flow, known = _optical_flow(true, warped)
    if person is not None:
        known &= cv2.resize(person, (size, size)) > 127
    return FlowResidual(
        head_motion(*poses),
        to_face_frame(driven, poses[1]) - to_face_frame(reference, poses[0]),
        *_read_flow(driven[:N_SKIN, :2], flow, known, poses[1]),
    )


def fit(residuals: Sequence[FlowResidual], components: Array) -> SkinFlow:
    """Fit a `SkinFlow` with these components to the residuals."""
    causes = causes_of(residuals, components)
    flows = np.stack([residual.skin for residual in residuals])
    known = np.stack([residual.known for residual in residuals])
    ridges = np.full(causes.shape[1], RIDGE[1])
    ridges[: len(MOTIONS)] = RIDGE[0]
    ridge = np.diag(len(causes) * (ridges * (causes**2).mean(axis=0) + _VARIANCE_FLOOR))
    skin = np.zeros((N_SKIN, causes.shape[1], 2), np.float32)
    for place in np.flatnonzero(known.sum(axis=0) >= _MIN_SAMPLES).tolist():
        rows = known[:, place]
        cause, result = causes[rows], flows[rows, place].astype(np.float64)
        weights = np.ones(len(cause))
        for _ in range(_ITERATIONS):
            weighted = cause.T * weights
            solution = np.linalg.solve(weighted @ cause + ridge, weighted @ result)
            error = np.linalg.norm(result - cause @ solution, axis=1)
            weights = _HUBER_IOD / np.maximum(error, _HUBER_IOD)
        skin[place] = solution
    return SkinFlow(components, skin)


def causes_of(changes: Sequence[FaceChange], components: Array) -> NDArray[np.float64]:
    """Return the causes of pairs of frames, (N, C), see `limited_causes`."""
    motions = np.stack([one.motion for one in changes])
    shapes = np.stack([one.change for one in changes])
    return limited_causes(motions, shapes, components).astype(np.float64)


def principal_components(changes: Array, count: int) -> Array:
    """Return principal components (count, 468, 3).

    Their product with a change of shape is its amount of each component, with variance 1.

    Args:
        changes: (N, 478, 3), as `FlowResidual.change`.
        count: number of components.
    """
    flat = np.concatenate([changes, mirrored_deviation(changes)])[:, :N_SKIN]
    flat = flat.reshape(len(flat), -1).astype(np.float64)
    variances, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
    components = vectors[:, ::-1][:, :count] / np.sqrt(variances[::-1][:count])
    return np.asarray(components.T.reshape(count, N_SKIN, 3), dtype=np.float32)


def learn(clips: Sequence[Clip], pairs: int, rounds: int, components: int, rng: Rng) -> SkinFlow:
    """Fit the flow in rounds, on this many pairs of each person in each."""
    samples = [list(draw_frames(clips, pairs, rng)) for _ in range(rounds)]
    changes = [
        _shape(clip.landmarks[second]) - _shape(clip.landmarks[first])
        for sample in samples
        for clip, first, second in sample
    ]
    basis = principal_components(np.stack(changes), components)
    result = SkinFlow(basis, np.zeros((N_SKIN, len(MOTIONS) + components, 2), np.float32))
    for number, sample in enumerate(samples, 1):
        mesh = HeadMesh(result)
        steps = progress_bar(sample, desc=f"round {number}", unit="pair")
        residuals = [
            measure(pair_of(clip, first, second), clip.person(second), mesh)
            for clip, first, second in steps
        ]
        means = [np.linalg.norm(one.skin, axis=-1)[one.known].mean() for one in residuals]
        print(f"mean residual on the skin before round {number}: {np.nanmean(means):.4f} iod")
        more = fit([*residuals, *(residual.mirrored() for residual in residuals)], basis)
        result = SkinFlow(basis, result.skin + more.skin)
    return result


def _shape(points: Array) -> Array:
    return to_face_frame(points, estimate_pose(points))


def draw_frames(clips: Sequence[Clip], count: int, rng: Rng) -> Iterator[tuple[Clip, int, int]]:
    """Draw this many pairs of frames, each of one clip, of every person."""
    people: dict[str, list[Clip]] = {}
    for clip in clips:
        people.setdefault(clip.identity, []).append(clip)
    for own_clips in people.values():
        for _ in range(count):
            clip = own_clips[int(rng.integers(len(own_clips)))]
            first, second = rng.choice(clip.usable, 2, replace=False).tolist()
            yield clip, first, second


def pair_of(clip: Clip, first: int, second: int) -> Pair:
    """Return the pair of a reference and a truth, given by index."""
    return Pair(
        clip.images[first], clip.landmarks[first], clip.images[second], clip.landmarks[second]
    )


def _optical_flow(true: Image, warped: Image) -> tuple[Array, NDArray[np.bool_]]:
    """Return the flow from true to warped px, (S, S, 2), and where the backward flow agrees."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (true, warped)]
    flow = np.asarray(search.calc(grey[0], grey[1], np.empty(0)), np.float32)
    backward = np.asarray(search.calc(grey[1], grey[0], np.empty(0)), np.float32)
    rows, columns = np.mgrid[: len(true), : len(true)].astype(np.float32)
    back = cv2.remap(backward, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
    return flow, np.linalg.norm(flow + back, axis=-1) < _MAX_DISAGREEMENT_PX


def _read_flow(
    places: Array, flow: Array, known: NDArray[np.bool_], pose: Pose
) -> tuple[Array, NDArray[np.bool_]]:
    """Sample a px flow at (N, 2) px; return it in iod along `head_axes`, and where it is known."""
    x, y = places.T.astype(np.float32)
    share = cv2.blur(known.astype(np.float32), (5, 5))
    mean = cv2.blur(flow * known[..., None].astype(np.float32), (5, 5))
    share = cv2.remap(share, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)[:, 0]
    mean = cv2.remap(mean, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)[:, 0]
    residual = mean / np.maximum(share, 0.2)[:, None] @ head_axes(pose) / np.float32(pose.scale)
    return np.clip(residual, -MAX_RESIDUAL, MAX_RESIDUAL).astype(np.float32), share > 0.5


def main() -> None:
    """Fit, and write the asset."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of clips to learn from")
    parser.add_argument("--cache", type=Path, required=True, help="folder for decoded frames")
    parser.add_argument("--pairs", type=int, default=120, help="number for each person and round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--components", type=int, default=60, help="number of components")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ASSETS / ASSET)
    arguments = parser.parse_args()
    clips = load_clips(arguments.data, arguments.cache, with_people=True)
    rng = np.random.default_rng(arguments.seed)
    result = learn(clips, arguments.pairs, arguments.rounds, arguments.components, rng)
    components, skin = (one.astype(np.float16) for one in (result.components, result.skin))
    np.savez_compressed(arguments.out, components=components, skin=skin)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
