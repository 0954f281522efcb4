"""Make `assets/canonical_face.npz`: the mean neutral face of the training clips.

    python -m tools.canonical_face --data ../shared/faces/train

Generalised Procrustes analysis (Gower 1975) over the calm half of each clip's frames, with equal
weight for each identity. The mean is then made symmetric; the pair of a landmark is the one nearest
to its mirror image.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.face.topology import EYE_CORNERS_LEFT, EYE_CORNERS_RIGHT, LIPS_INNER, RIGID
from reenact.targets.clip_files import clip_landmarks, frames_with_face, person_of
from reenact.types import Array
from tools import ASSETS

ASSET = ASSETS / "canonical_face.npz"


def _calm_frames(clip: Array) -> Array:
    """Return the half of a clip's frames in which the mouth is most closed."""
    gap = np.linalg.norm(clip[:, 13] - clip[:, 14], axis=-1)
    width = np.linalg.norm(clip[:, 33] - clip[:, 263], axis=-1)
    order = np.argsort(gap / width)
    return np.asarray(clip[order[: max(len(order) // 2, 1)]], dtype=np.float32)


def canonical_from_clips(folder: Path, iterations: int = 6) -> Array:
    """Return the symmetric mean face, (478, 3) iod, of the `landmarks` in `*.npz` files."""
    people: dict[str, list[Array]] = {}
    for path in sorted(folder.glob("*.npz")):
        clip = clip_landmarks(path)
        clip = clip[frames_with_face(clip)]
        people.setdefault(person_of(path.stem), []).append(_calm_frames(clip)[::4])
    if not people:
        raise SystemExit(f"{folder} has no .npz files with landmarks.")
    sets = [np.concatenate(clips) for clips in people.values()]
    mean = _normalised(sets[0][0])
    for _ in range(iterations):
        aligned = [[to_face_frame(p, estimate_pose(p, mean)) for p in faces] for faces in sets]
        mean = _normalised(np.mean([np.mean(person, axis=0) for person in aligned], axis=0))
    flipped = mean * np.array([-1, 1, 1], np.float32)
    pairs = np.linalg.norm(flipped[:, None] - mean[None], axis=-1).argmin(axis=1)
    return np.asarray((mean + flipped[pairs]) / 2, dtype=np.float32)


def _normalised(points: Array) -> Array:
    """Centre the face on its rigid landmarks, turn it upright and scale it to one iod."""
    right = points[list(EYE_CORNERS_RIGHT)].mean(0)
    left = points[list(EYE_CORNERS_LEFT)].mean(0)
    chin_to_brow = points[152] - points[10]
    x = (left - right) / np.linalg.norm(left - right)
    y = chin_to_brow - x * (chin_to_brow @ x)
    y = y / np.linalg.norm(y)
    axes = np.stack([x, y, np.cross(x, y)])
    centre = points[list(RIGID)].mean(0)
    result = (points - centre) @ axes.T / np.linalg.norm(left - right)
    return np.asarray(result, dtype=np.float32)


def main() -> None:
    """Write the asset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of clips")
    arguments = parser.parse_args()
    points = canonical_from_clips(arguments.data)
    np.savez_compressed(ASSET, points=points.astype(np.float32))
    lips = points[list(LIPS_INNER)]
    print(f"{ASSET}: {len(points)} landmarks, inner lips {np.ptp(lips[:, 1]):.3f} iod high")


if __name__ == "__main__":
    main()
