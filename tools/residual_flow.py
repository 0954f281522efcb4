"""Make `assets/residual_flow.npz`: how skin, hair, ears, neck and shoulders move with a face.

    python -m tools.residual_flow --data ../shared/faces/train --cache runs/cache

Every person contributes the same number of pairs of frames, each also mirrored. Two rounds of
`reenact.training.residual_flow.fit` are made: the second one starts from the answer of the first,
because optical flow is measured better where little is left over.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from reenact.face.geometry import estimate_pose, mirror_index, mirrored_deviation, to_face_frame
from reenact.face.topology import N_SKIN
from reenact.progress import progress_bar
from reenact.rendering.head_mesh import HeadMesh
from reenact.rendering.residual_flow import ASSET, MOTIONS, SIDE, ResidualFlow
from reenact.training.augmentation import Pair, Rng
from reenact.training.residual_flow import fit, measure
from reenact.training.sampling import Clip, load_clips
from reenact.types import Array
from tools import ASSETS

AROUND_SHARE: Final = 0.5
"""Share that is kept of what expression moves around the face. The mean over people lets hair
follow a speaking mouth, which is seen as wobbling on somebody else's."""


def principal_components(changes: Array, count: int) -> Array:
    """Return (count, 468, 3); their product with a change of shape is its components, variance 1.

    Args:
        changes: (N, 478, 3), as `FlowResidual.change`.
        count: number of components.
    """
    flat = np.concatenate([changes, mirrored_deviation(changes)])[:, :N_SKIN]
    flat = flat.reshape(len(flat), -1).astype(np.float64)
    variances, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
    kept = vectors[:, ::-1][:, :count] / np.sqrt(variances[::-1][:count])
    # Fix the sign of each component, since `read_back.npz` refers to it. Only one half of the face
    # decides: the other half's entries are as large, of either sign.
    half = np.repeat(np.arange(N_SKIN) <= mirror_index()[:N_SKIN], 3)[:, None]
    kept *= np.sign(kept[np.abs(kept * half).argmax(axis=0), np.arange(kept.shape[1])])
    return np.asarray(kept.T.reshape(count, N_SKIN, 3), dtype=np.float32)


def learn(
    clips: Sequence[Clip], pairs: int, rounds: int, components: int, rng: Rng
) -> ResidualFlow:
    """Fit the residual flow on so many pairs for each person and round."""
    samples = [list(_pairs(clips, pairs, rng)) for _ in range(rounds)]
    changes = [
        _shape(pair.truth_landmarks) - _shape(pair.reference_landmarks)
        for sample in samples
        for pair in sample
    ]
    basis = principal_components(np.stack(changes), components)
    causes = len(MOTIONS) + components
    answer = ResidualFlow(
        basis,
        np.zeros((N_SKIN, causes, 2), np.float32),
        np.zeros((SIDE, SIDE, causes, 2), np.float32),
    )
    for number, sample in enumerate(samples, 1):
        mesh = HeadMesh(answer)
        shown = progress_bar(sample, desc=f"round {number}", unit="pair")
        residuals = [measure(pair, mesh) for pair in shown]
        left = [np.linalg.norm(one.skin, axis=-1)[one.skin_known].mean() for one in residuals]
        print(f"mean residual on skin before round {number}: {np.nanmean(left):.4f} iod")
        answer += fit([*residuals, *(residual.mirrored() for residual in residuals)], basis)
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


def main() -> None:
    """Fit, and write the asset."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of clips to learn from")
    parser.add_argument("--cache", type=Path, required=True, help="folder for decoded frames")
    parser.add_argument("--pairs", type=int, default=120, help="for each person and round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--components", type=int, default=60, help="of the change of shape")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ASSETS / ASSET)
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
