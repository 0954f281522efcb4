"""Make `assets/residual_flow.npz`: how skin, hair, ears, neck and shoulders move with a face.

    python -m reenact.training.residual_flow --data ../shared/faces/train --cache runs/cache

Pairs of frames of one clip: the mesh moves the first one's face to the second's, and optical flow
tells what is still lacking, where it agrees in both directions and on the person alone. Over all
pairs, each also mirrored, and each person alike, the lack is regressed on the head's motion and the
principal components of the change of shape, for each landmark and place by place around the face:
ridge regression, in which far differences count by their distance, not its square. A second round
begins from the first one's answer: flow is found better where little is lacking.

From there `refined` goes on for one person, on the footage that a target is trained on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import estimate_pose, mirror_index, mirrored_deviation, to_face_frame
from reenact.face.topology import N_SKIN
from reenact.progress import progress_bar
from reenact.rendering.head_mesh import HeadMesh
from reenact.rendering.mesh_warp import source_map, warp_image
from reenact.rendering.residual_flow import (
    ASSET,
    MOTIONS,
    SIDE,
    SPAN,
    ResidualFlow,
    head_axes,
    head_motion,
    limited_causes,
)
from reenact.training.sampling import Clip, Pair, Rng, load_clips
from reenact.types import Array, Image, Pose

OUT: Final = Path(__file__).parents[1] / "assets" / ASSET

RIDGE: Final = (0.003, 0.15)
"""Of the mean square of a motion and of a component of expression: places that are rarely seen keep
less. Chosen on people of the training clips that were left out of the fit."""

AROUND_SHARE: Final = 0.5
"""Of what expression moves around the face so much is kept: hair that follows a speaking mouth in
the mean over people is seen to wobble on somebody else's."""

OWN_RIDGE: Final = (1.0, 1.0)
"""The same for one person's own part."""

MOST_LACKING: Final = 0.6
"""Iod; more than this is a mistake of the flow's."""

_AGREES_PX: Final = 1.5
_FAR_IOD: Final = 0.03
_LEAST_SEEN: Final = 80
_NO_CAUSE: Final = 1e-8
_SMOOTH_CELLS: Final = 1.0
_MIRROR: Final = np.array([1, -1, -1, -1, 1], np.float32)
"""Signs of `MOTIONS` in a mirror."""

_ACROSS: Final = np.array([-1, 1], np.float32)


@dataclass(frozen=True, slots=True)
class Lack:
    """What the mesh lacks in one pair of frames.

    Attributes:
        motion: (5,) `MOTIONS`.
        change: (478, 3) of the shape, face frame, iod.
        skin: (468, 2) iod, upright with the driven head: flow at its landmarks.
        skin_seen: (468,) bool, where it is known.
        around: (SIDE, SIDE, 2) the same in the field's cells.
        around_seen: (SIDE, SIDE) bool.
    """

    motion: Array
    change: Array
    skin: Array
    skin_seen: NDArray[np.bool_]
    around: Array
    around_seen: NDArray[np.bool_]

    def mirrored(self) -> Lack:
        """Return the same of the mirrored pair."""
        index = mirror_index()[:N_SKIN]
        return Lack(
            self.motion * _MIRROR,
            mirrored_deviation(self.change),
            self.skin[index] * _ACROSS,
            self.skin_seen[index],
            self.around[:, ::-1] * _ACROSS,
            self.around_seen[:, ::-1],
        )


def observe(pair: Pair, mesh: HeadMesh) -> Lack:
    """Compare a pair's truth with its reference, moved by a mesh."""
    reference, driven = pair.reference_landmarks, pair.truth_landmarks
    poses = estimate_pose(reference), estimate_pose(driven)
    true = np.asarray(pair.truth)
    size = len(true)
    maps = mesh.maps(reference, driven, size, size // 2)
    drawn = warp_image(np.asarray(pair.reference), source_map(maps, size))
    flow, agrees = _optical_flow(true, drawn)
    if pair.person is not None:
        agrees &= cv2.resize(pair.person, (size, size)) > 127
    axis = np.linspace(-SPAN, SPAN, SIDE, dtype=np.float32)
    places = np.stack(np.meshgrid(axis, axis), axis=-1) @ head_axes(poses[1]).T
    places = places * np.float32(poses[1].scale) + poses[1].translation[:2]
    return Lack(
        head_motion(*poses),
        to_face_frame(driven, poses[1]) - to_face_frame(reference, poses[0]),
        *_lacking_at(driven[:N_SKIN, :2], flow, agrees, poses[1]),
        *_lacking_at(places, flow, agrees, poses[1]),
    )


def principal_components(changes: Array, count: int) -> Array:
    """Return (count, 468, 3): times a change of shape they give its components, of spread one.

    Args:
        changes: (N, 478, 3), as `Lack.change`.
        count: how many.
    """
    flat = np.concatenate([changes, mirrored_deviation(changes)])[:, :N_SKIN]
    flat = flat.reshape(len(flat), -1).astype(np.float64)
    variances, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
    kept = vectors[:, ::-1][:, :count] / np.sqrt(variances[::-1][:count])
    # Of both possible signs always the same: `read_back` is of these components. One half of the
    # face decides, for the other one's entries are as large, of either sign.
    half = np.repeat(np.arange(N_SKIN) <= mirror_index()[:N_SKIN], 3)[:, None]
    kept *= np.sign(kept[np.abs(kept * half).argmax(axis=0), np.arange(kept.shape[1])])
    return np.asarray(kept.T.reshape(count, N_SKIN, 3), dtype=np.float32)


def fit(
    lacks: Sequence[Lack], components: Array, ridge: tuple[float, float] = RIDGE
) -> ResidualFlow:
    """Return what explains them best."""
    causes = limited_causes(
        np.stack([lack.motion for lack in lacks]),
        np.stack([lack.change for lack in lacks]),
        components,
    )
    shares = np.full(causes.shape[1], ridge[1])
    shares[: len(MOTIONS)] = ridge[0]
    skin = _regress(
        causes,
        np.stack([lack.skin for lack in lacks]),
        np.stack([lack.skin_seen for lack in lacks]),
        shares,
    )
    around = _regress(
        causes,
        np.stack([lack.around.reshape(-1, 2) for lack in lacks]),
        np.stack([lack.around_seen.ravel() for lack in lacks]),
        shares,
    ).reshape(SIDE, SIDE, -1)
    planes = [
        cv2.GaussianBlur(around[..., n], (0, 0), _SMOOTH_CELLS) for n in range(around.shape[-1])
    ]
    field = np.stack(planes, axis=-1).reshape(SIDE, SIDE, -1, 2).astype(np.float32)
    return ResidualFlow(components, skin, field)


def _regress(causes: Array, flows: Array, seen: NDArray[np.bool_], shares: Array) -> Array:
    """Regress (N, P, 2) flows of P places on (N, C) causes, where they are seen: (P, C, 2).

    Shares of each cause's mean square are the ridge.
    """
    spread = (causes.astype(np.float64) ** 2).mean(axis=0)
    ridge = np.diag(len(causes) * (shares * spread + _NO_CAUSE))
    answers = np.zeros((flows.shape[1], causes.shape[1], 2), np.float32)
    for place in np.flatnonzero(seen.sum(axis=0) >= _LEAST_SEEN).tolist():
        known = seen[:, place]
        cause = causes[known].astype(np.float64)
        result = flows[known, place].astype(np.float64)
        weights = np.ones(len(cause))
        for _ in range(3):
            weighted = cause.T * weights
            answer = np.linalg.solve(weighted @ cause + ridge, weighted @ result)
            left = np.linalg.norm(result - cause @ answer, axis=1)
            weights = _FAR_IOD / np.maximum(left, _FAR_IOD)
        answers[place] = answer
    return answers


def refined(known: ResidualFlow, pairs: Iterable[Pair]) -> ResidualFlow:
    """Return what is known of all people, with what pairs of one person's frames tell of this one.

    A background that rests is a part of that: the footage's own stays where it is.
    """
    mesh = HeadMesh(known)
    lacks = [observe(pair, mesh) for pair in pairs]
    return known + fit(lacks, known.components, OWN_RIDGE) if lacks else known


def learn(
    clips: Sequence[Clip], pairs: int, rounds: int, components: int, rng: Rng
) -> ResidualFlow:
    """Return what so many pairs for each person and round tell."""
    drawn = [list(_pairs(clips, pairs, rng)) for _ in range(rounds)]
    changes = [
        _shape(pair.truth_landmarks) - _shape(pair.reference_landmarks)
        for of_round in drawn
        for pair in of_round
    ]
    basis = principal_components(np.stack(changes), components)
    known = len(MOTIONS) + components
    answer = ResidualFlow(
        basis,
        np.zeros((N_SKIN, known, 2), np.float32),
        np.zeros((SIDE, SIDE, known, 2), np.float32),
    )
    for number, of_round in enumerate(drawn, 1):
        mesh = HeadMesh(answer)
        shown = progress_bar(of_round, desc=f"round {number}", unit="pair")
        lacks = [observe(pair, mesh) for pair in shown]
        left = [np.linalg.norm(lack.skin, axis=-1)[lack.skin_seen].mean() for lack in lacks]
        print(f"lacking on skin before round {number}: {np.nanmean(left):.4f} iod in the mean")
        answer += fit([*lacks, *(lack.mirrored() for lack in lacks)], basis)
    return answer


def _shape(points: Array) -> Array:
    return to_face_frame(points, estimate_pose(points))


def _pairs(clips: Sequence[Clip], count: int, rng: Rng) -> Iterator[Pair]:
    people: dict[str, list[Clip]] = {}
    for clip in clips:
        people.setdefault(clip.identity, []).append(clip)
    for of_person in people.values():
        for _ in range(count):
            clip = of_person[int(rng.integers(len(of_person)))]
            first, second = rng.choice(clip.usable, 2, replace=False).tolist()
            yield Pair(
                clip.images[first],
                clip.landmarks[first],
                clip.images[second],
                clip.landmarks[second],
                clip.person(second),
            )


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


def _lacking_at(
    places: Array, flow: Array, known: NDArray[np.bool_], pose: Pose
) -> tuple[Array, NDArray[np.bool_]]:
    """Read a flow (px) at (..., 2) places (px): iod, upright with the head, and if it is known."""
    x, y = np.moveaxis(places.reshape(-1, 1, 2).astype(np.float32), -1, 0)
    share = cv2.blur(known.astype(np.float32), (5, 5))
    mean = cv2.blur(flow * known[..., None].astype(np.float32), (5, 5))
    share = cv2.remap(share, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    mean = cv2.remap(mean, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    lacking = mean / np.maximum(share, 0.2)[..., None] @ head_axes(pose) / np.float32(pose.scale)
    lacking = np.clip(lacking, -MOST_LACKING, MOST_LACKING).astype(np.float32)
    return lacking.reshape(places.shape), (share > 0.5).reshape(places.shape[:-1])


def main() -> None:
    """Learn, and write the asset."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of clips to learn from")
    parser.add_argument("--cache", type=Path, required=True, help="folder for decoded frames")
    parser.add_argument("--pairs", type=int, default=120, help="of each person and round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--components", type=int, default=60, help="of the change of shape")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    clips = load_clips(arguments.data, arguments.cache, with_people=True)
    rng = np.random.default_rng(arguments.seed)
    answer = learn(clips, arguments.pairs, arguments.rounds, arguments.components, rng)
    shares = np.ones((answer.around.shape[2], 1), np.float32)
    shares[len(MOTIONS) :] = AROUND_SHARE
    answer = ResidualFlow(answer.components, answer.skin, answer.around * shares)
    half = {name: values.astype(np.float16) for name, values in answer.arrays().items()}
    np.savez_compressed(arguments.out, **half)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
