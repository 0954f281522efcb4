"""Make `assets/surroundings.npz`: how hair, ears, neck and shoulders move with a head.

    python -m reenact.training.surroundings --data ../shared/faces/train --cache runs/cache

Pairs of frames of one clip: the mesh moves the first one's face to the second's, and optical flow
tells what is still lacking, where it agrees in both directions and on the person alone. Over all
pairs, each also mirrored, and each person alike, the lack is regressed on the head's motion, place
by place around the face: ridge regression, in which far differences count by their distance, not
its square. A second round begins from the first one's field: flow is found better where little is
lacking.
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
from tqdm import tqdm

from reenact.geometry import estimate_pose
from reenact.surroundings import ASSET, MOTIONS, SIDE, SPAN, Surroundings, head_axes, head_motion
from reenact.training.data import Clip, Rng, load_clips, source_map
from reenact.types import Array, Image, Pose
from reenact.warping import HeadMesh, warp_image

OUT: Final = Path(__file__).parents[1] / "assets" / ASSET

RIDGE: Final = 0.001
"""Of the mean square of each motion: places that are rarely seen keep less of a field."""

LEAST_MOTION: Final = 0.12
"""Radians of turn and iod of shift together, below which a pair tells nothing."""

MOST_LACKING: Final = 0.6
"""Iod; more than this is a mistake of the flow's."""

_AGREES_PX: Final = 1.5
_FAR_IOD: Final = 0.03
_LEAST_SEEN: Final = 40
_SMOOTH_CELLS: Final = 1.0
_MIRROR: Final = np.array([1, -1, -1, -1, 1], np.float32)
"""Signs of `MOTIONS` in a mirror."""


@dataclass(frozen=True, slots=True)
class Lack:
    """What the mesh lacks in one pair of frames.

    Attributes:
        motion: (5,) `MOTIONS`.
        flow: (SIDE, SIDE, 2) iod, upright with the driven head.
        seen: (SIDE, SIDE) bool, where the flow is known.
    """

    motion: Array
    flow: Array
    seen: NDArray[np.bool_]

    def mirrored(self) -> Lack:
        """Return the same of the mirrored pair."""
        flow = self.flow[:, ::-1] * np.array([-1, 1], np.float32)
        return Lack(self.motion * _MIRROR, flow, self.seen[:, ::-1])


def observe(clip: Clip, first: int, second: int, mesh: HeadMesh) -> Lack | None:
    """Compare a clip's second frame with the first one, moved by a mesh; None: hardly a motion."""
    reference, driven = clip.landmarks[first], clip.landmarks[second]
    poses = estimate_pose(reference), estimate_pose(driven)
    motion = head_motion(*poses)
    if np.linalg.norm(motion[:3]) + np.linalg.norm(motion[3:]) < LEAST_MOTION:
        return None
    true = np.asarray(clip.images[second])
    size = len(true)
    maps = mesh.maps(reference, driven, size, size // 2)
    drawn = warp_image(np.asarray(clip.images[first]), source_map(maps, size))
    flow, agrees = _optical_flow(true, drawn)
    person = clip.person(second)
    if person is not None:
        agrees &= cv2.resize(person, (size, size)) > 127
    return Lack(motion, *_around(flow, agrees, poses[1]))


def fit(lacks: Sequence[Lack]) -> Array:
    """Return the (SIDE, SIDE, 5, 2) field that explains them best."""
    both = [*lacks, *(lack.mirrored() for lack in lacks)]
    motions = np.stack([lack.motion for lack in both]).astype(np.float64)
    flows = np.stack([lack.flow for lack in both])
    seen = np.stack([lack.seen for lack in both])
    ridge = RIDGE * len(both) * np.diag((motions**2).mean(axis=0))
    field = np.zeros((SIDE, SIDE, len(MOTIONS), 2), np.float32)
    for row, column in np.argwhere(seen.sum(axis=0) >= _LEAST_SEEN).tolist():
        known = seen[:, row, column]
        cause, result = motions[known], flows[known, row, column].astype(np.float64)
        weights = np.ones(len(cause))
        for _ in range(3):
            weighted = cause.T * weights
            answer = np.linalg.solve(weighted @ cause + ridge, weighted @ result)
            left = np.linalg.norm(result - cause @ answer, axis=1)
            weights = _FAR_IOD / np.maximum(left, _FAR_IOD)
        field[row, column] = answer
    smooth = field.reshape(SIDE, SIDE, -1)
    planes = [
        cv2.GaussianBlur(smooth[..., n], (0, 0), _SMOOTH_CELLS) for n in range(smooth.shape[-1])
    ]
    return np.asarray(np.stack(planes, axis=-1).reshape(field.shape), dtype=np.float32)


def learn(clips: Sequence[Clip], pairs: int, rounds: int, rng: Rng) -> Array:
    """Return the field of so many pairs for each person and round."""
    field = np.zeros((SIDE, SIDE, len(MOTIONS), 2), np.float32)
    for number in range(rounds):
        mesh = HeadMesh(Surroundings(field))
        drawn = tqdm(list(_pairs(clips, pairs, rng)), desc=f"round {number + 1}", unit="pair")
        seen = [observe(clip, first, second, mesh) for clip, first, second in drawn]
        lacks = [lack for lack in seen if lack is not None]
        field = field + fit(lacks)
        left = [np.linalg.norm(lack.flow, axis=-1)[lack.seen].mean() for lack in lacks]
        print(f"lacking before round {number + 1}: {np.mean(left):.4f} iod in the mean")
    return field


def _pairs(clips: Sequence[Clip], count: int, rng: Rng) -> Iterator[tuple[Clip, int, int]]:
    people: dict[str, list[Clip]] = {}
    for clip in clips:
        people.setdefault(clip.identity, []).append(clip)
    for of_person in people.values():
        for _ in range(count):
            clip = of_person[int(rng.integers(len(of_person)))]
            first, second = rng.choice(clip.usable, 2).tolist()
            yield clip, first, second


def _optical_flow(true: Image, drawn: Image) -> tuple[Array, NDArray[np.bool_]]:
    """Return by how many px each true pixel lies elsewhere in the drawn one, and where that holds.

    It holds where the flow back agrees.
    """
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (true, drawn)]
    flow = np.asarray(finder.calc(grey[0], grey[1], np.empty(0)), np.float32)
    back = np.asarray(finder.calc(grey[1], grey[0], np.empty(0)), np.float32)
    rows, columns = np.mgrid[: len(true), : len(true)].astype(np.float32)
    there = cv2.remap(back, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
    return flow, np.linalg.norm(flow + there, axis=-1) < _AGREES_PX


def _around(flow: Array, known: NDArray[np.bool_], pose: Pose) -> tuple[Array, NDArray[np.bool_]]:
    """Bring a flow in px into the field's cells, iod."""
    upright = head_axes(pose)
    axis = np.linspace(-SPAN, SPAN, SIDE, dtype=np.float32)
    places = np.stack(np.meshgrid(axis, axis), axis=-1) @ upright.T * np.float32(pose.scale)
    x, y = np.moveaxis((places + pose.translation[:2]).astype(np.float32), -1, 0)
    share = cv2.blur(known.astype(np.float32), (5, 5))
    mean = cv2.blur(flow * known[..., None].astype(np.float32), (5, 5))
    share = cv2.remap(share, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    mean = cv2.remap(mean, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    lacking = mean / np.maximum(share, 0.2)[..., None] @ upright / np.float32(pose.scale)
    lacking = np.clip(lacking, -MOST_LACKING, MOST_LACKING)
    return np.asarray(lacking, dtype=np.float32), np.asarray(share > 0.5)


def main() -> None:
    """Learn, and write the asset."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of clips to learn from")
    parser.add_argument("--cache", type=Path, required=True, help="folder for decoded frames")
    parser.add_argument("--pairs", type=int, default=80, help="of each person and round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    clips = load_clips(arguments.data, arguments.cache, with_people=True)
    rng = np.random.default_rng(arguments.seed)
    field = learn(clips, arguments.pairs, arguments.rounds, rng)
    np.savez_compressed(arguments.out, field=field.astype(np.float16))
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
