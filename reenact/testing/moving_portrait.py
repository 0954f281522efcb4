"""Clips made from the public-domain portrait: it turns, opens its mouth and raises its brows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reenact.face.action_units import action_unit_basis
from reenact.face.geometry import (
    estimate_pose,
    mirrored,
    rotation_matrix,
    to_face_frame,
    to_image,
)
from reenact.face.topology import ACTION_UNITS
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.mesh_warp import source_map, warp_image
from reenact.sinks import video_file
from reenact.testing.portrait import portrait_target
from reenact.types import Array, Image, Pose

SIZE_PX = 256
FRAMES = 31
ACTED = ("mouth_open", "brow_raise_left", "brow_raise_right")


def moved(points: Array, turn: float) -> Array:
    """Turn a head by up to 6 degrees and shift it; for turn > 0, open mouth and raise brows, too.

    Args:
        points: (478, 3) px.
        turn: -1 to 1.
    """
    pose = estimate_pose(points)
    shape = to_face_frame(points, pose)
    for unit in ACTED:
        shape += max(turn, 0.0) * action_unit_basis()[ACTION_UNITS.index(unit)]
    rotation = rotation_matrix(np.array([0, np.radians(6) * turn, 0], np.float32))
    shift = pose.translation + np.array([8 * turn, 0, 0], np.float32)
    return to_image(shape, Pose(rotation @ pose.rotation, shift, pose.scale))


def write_video(path: Path, images: Iterable[Image]) -> None:
    """Write pictures of one size as a video, 25 a second, at a nearly lossless quality."""
    video_file.write_video(path, images, 25, crf=14)


def write_clip(
    folder: Path, name: str, images: NDArray[np.uint8], landmarks: Array, **labels: NDArray[Any]
) -> Path:
    """Write NAME.mp4 and NAME.npz in the format of clips."""
    path = folder / f"{name}.mp4"
    write_video(path, images)
    np.savez(folder / f"{name}.npz", landmarks=landmarks.astype(np.float16), **labels)
    return path


def moving_portrait() -> tuple[NDArray[np.uint8], Array]:
    """Return FRAMES pictures (256 px) and their landmarks."""
    target = portrait_target(SIZE_PX)
    points = target.neutral
    landmarks = np.stack([moved(points, np.sin(i / 5)) for i in range(FRAMES)])
    maps = [source_map(head_mesh().maps(points, to, SIZE_PX, 128), SIZE_PX) for to in landmarks]
    return np.stack([warp_image(target.references[0], one) for one in maps]), landmarks


def write_two_people(folder: Path) -> None:
    """Write the portrait and, as another identity, its mirror image in other colours."""
    images, landmarks = moving_portrait()
    write_clip(folder, "portrait__01", images, landmarks)
    other = np.ascontiguousarray(images[:, :, ::-1, [1, 0, 2]])
    write_clip(folder, "mirror__01", other, mirrored(landmarks, SIZE_PX))
