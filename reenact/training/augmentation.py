"""Training pairs and their augmentation: recolouring, moving, winking, animating a photo."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import (
    estimate_pose,
    mirrored,
    rotation_matrix,
    rotation_vector,
    to_face_frame,
    to_image,
    transform_points,
)
from reenact.face.regions import lid_gaps
from reenact.face.segmentation import person_masks
from reenact.face.skin_shading import relit
from reenact.face.topology import BROW_LEFT, BROW_RIGHT, EYE_LEFT, EYE_RIGHT, RIGID
from reenact.imaging import crop_image, in_bytes
from reenact.models.warp_unet_inputs import MapChannel
from reenact.rendering.background import without_person
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.mesh_warp import source_map, warp_image
from reenact.types import Array, Image, Pose

Rng = np.random.Generator

Augmentation = Literal[
    "flip", "scale", "turn", "move", "stretch", "colour", "noise", "winks", "rare"
]
"""The augmentations of training pairs, by name; Fan 2023 only flips.

Both pictures are flipped, scaled, rotated, moved, stretched and recoloured in the same way. The
ground truth's landmarks get noise, and some ground truths wink. Rare faces are drawn more often
(`sampling.PairSampler`).
"""

AUGMENTATIONS: Final[tuple[Augmentation, ...]] = get_args(Augmentation)

MAX_DISTANCE_FRAMES: Final = 8
"""Maximum distance between the frame with open and the one with closed eyes, frames."""

CLOSED: Final = 0.35
OPEN: Final = 0.8
"""Lid gaps that count as closed and as open, relative to the person's median gap."""

MAX_MOTION_IOD: Final = 0.03
"""Maximum motion of the head between the two frames, iod."""

_SOFT: Final = 0.3
"""Width of the patch's soft edge, as a share of its radius."""

_STRETCH: Final = 0.06
"""Standard deviation of the log factor by which faces are lengthened, for more face shapes."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A reference and the ground truth that is to be drawn from it.

    Attributes:
        reference, truth: uint8 (S, S, 3) RGB.
        reference_landmarks, truth_landmarks: (478, 3) px.
        person: square uint8 mask of the person in the reference, 255: person; None: unknown.
    """

    reference: Image
    reference_landmarks: Array
    truth: Image
    truth_landmarks: Array
    person: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class Still:
    """One photo, separated into person and background.

    Attributes:
        image, background: uint8 (S, S, 3) RGB; in the background the person is inpainted.
        landmarks: (478, 3) px.
        person: uint8 (S, S) mask, 255: person.
    """

    image: Image
    landmarks: Array
    person: NDArray[np.uint8]
    background: Image

    @classmethod
    def of(cls, image: Image, landmarks: Array) -> Still:
        """Separate a picture."""
        person = in_bytes(next(person_masks([image])))
        return cls(image, landmarks, person, without_person(image, person))


def augment(
    pair: Pair,
    rng: Rng,
    changes: Collection[Augmentation],
) -> Pair:
    """Apply the augmentations."""
    size = pair.truth.shape[0]
    images = [np.asarray(pair.reference), np.asarray(pair.truth)]
    landmarks = [pair.reference_landmarks, pair.truth_landmarks]
    person = pair.person
    if person is not None:
        person = np.asarray(cv2.resize(person, (size, size)), np.uint8)
    if "flip" in changes and rng.random() < 0.5:
        images = [np.ascontiguousarray(image[:, ::-1]) for image in images]
        person = None if person is None else np.ascontiguousarray(person[:, ::-1])
        landmarks = [mirrored(points, size) for points in landmarks]
    affine = _random_affine(rng, size, changes)
    if affine is not None:
        images = [crop_image(image, affine, size) for image in images]
        landmarks = [transform_points(points, affine) for points in landmarks]
        person = None if person is None else crop_image(person, affine, size)
    if "colour" in changes:
        table = _colour_table(rng)
        images = [cv2.LUT(image, table).astype(np.uint8) for image in images]
    if "noise" in changes:
        landmarks[1] = landmarks[1] + rng.normal(0, 0.25, landmarks[1].shape).astype(np.float32)
    return replace(
        pair,
        reference=images[0],
        reference_landmarks=landmarks[0],
        truth=images[1],
        truth_landmarks=landmarks[1],
        person=person,
    )


def _random_affine(rng: Rng, size: int, changes: Collection[Augmentation]) -> Array | None:
    """Draw a random (2, 3) affine transform of the picture; None if it is not to move."""
    if not {"scale", "turn", "move", "stretch"} & set(changes):
        return None
    scale = angle = 0.0
    if "scale" in changes:
        scale = float(rng.uniform(-0.12, 0.15))
    if "turn" in changes:
        angle = float(rng.normal(0, 5))
    middle = (size - 1) / 2
    affine = np.array(cv2.getRotationMatrix2D((middle, middle), angle, 1 + scale), np.float32)
    if "move" in changes:
        affine[:, 2] += (rng.uniform(-0.05, 0.05, 2) * size).astype(np.float32)
    if "stretch" in changes:
        stretch = np.float32(np.exp(rng.normal(0, _STRETCH)))
        affine[:, 2] += affine[:, 1] * np.float32(middle) * (1 - stretch)
        affine[:, 1] *= stretch
    return affine


def _colour_table(rng: Rng) -> NDArray[np.uint8]:
    """Return a look-up table (256, 1, 3) of gamma, gain and offset, different in each channel."""
    ramp = np.linspace(0, 1, 256)[:, None]
    gamma = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.07, 3))
    gain = np.exp(rng.normal(0, 0.1) + rng.normal(0, 0.07, 3))
    table = np.clip(ramp**gamma * gain + rng.normal(0, 0.02), 0, 1) * 255
    return np.asarray(table[:, None], dtype=np.uint8)


def transfer_motion(first: Array, second: Array, face: Array) -> Array:
    """Move a face the way another one moves between two frames, (478, 3) px each.

    The rotation is limited to 12 degrees, the shift to a quarter of the inter-ocular distance.
    """
    pose_first, pose_second, pose = (estimate_pose(points) for points in (first, second, face))
    deviation = to_face_frame(second, pose_second) - to_face_frame(first, pose_first)
    turn = rotation_vector(pose_second.rotation @ pose_first.rotation.T)
    angle = float(np.linalg.norm(turn))
    turn = turn * min(1.0, np.radians(12) / max(angle, 1e-6))
    shift = (pose_second.translation - pose_first.translation) / pose_first.scale
    limit = min(1.0, 0.25 / max(float(np.linalg.norm(shift)), 1e-6))
    moved = Pose(
        rotation_matrix(turn) @ pose.rotation,
        pose.translation + shift * limit * pose.scale,
        pose.scale,
    )
    return to_image(to_face_frame(face, pose) + deviation, moved)


def animate(still: Still, first: Array, second: Array) -> Pair:
    """Move the person in a photo the way a clip's face moves from `first` to `second`.

    Landmarks are (478, 3) px. The photo is the ground truth, the moved copy the reference. The
    background stays in place.
    """
    points = transfer_motion(first, second, still.landmarks)
    size = still.image.shape[0]
    maps = head_mesh().maps(still.landmarks, points, size, size // 2)
    flow = source_map(maps, size)
    moved = relit(warp_image(still.image, flow), maps[..., MapChannel.SHADING])
    person = warp_image(still.person, flow)
    share = person[..., None].astype(np.float32) / 255
    reference = still.background + share * (moved - still.background)
    return Pair(reference.astype(np.uint8), points, still.image, still.landmarks, person)


def wink_frames(landmarks: Array, usable: NDArray[np.intp]) -> NDArray[np.intp]:
    """Find frames with open eyes that have a frame with closed eyes near them.

    The head hardly moves within a third of a second, so that an eye of one frame fits the other.
    Takes (F, 478, 3) px and the (N,) indices of frames with a face. Returns (M, 2): a frame with
    open eyes and the nearest frame with closed eyes.
    """
    points = landmarks[usable]
    iod = np.linalg.norm(points[:, 33] - points[:, 263], axis=-1)
    gaps = np.stack([lid_gaps(one) for one in points]).reshape(len(points), 2, -1).mean(axis=2)
    gaps = gaps / iod[:, None]
    usual = np.median(gaps, axis=0)
    closed = np.flatnonzero((gaps < CLOSED * usual).all(axis=1))
    found = []
    for here in np.flatnonzero((gaps > OPEN * usual).all(axis=1)).tolist():
        near = closed[np.abs(usable[closed] - usable[here]) <= MAX_DISTANCE_FRAMES]
        if not len(near):
            continue
        there = int(near[np.abs(near - here).argmin()])
        moved = np.linalg.norm((points[there] - points[here])[list(RIGID), :2], axis=-1).mean()
        if moved < MAX_MOTION_IOD * iod[here]:
            found.append((usable[here], usable[there]))
    return np.array(found, np.intp).reshape(-1, 2)


def wink(
    image: Image, points: Array, closed_image: Image, closed_points: Array, right: bool
) -> tuple[Image, Array]:
    """Give a face one closed eye from another frame; return the picture and its landmarks.

    A generator that has never seen a wink draws both eyes half closed. `right` selects the person's
    right eye, on the picture's left.
    """
    eye, brow, other = (
        (EYE_RIGHT, BROW_RIGHT, EYE_LEFT) if right else (EYE_LEFT, BROW_LEFT, EYE_RIGHT)
    )
    rigid = list(RIGID)
    affine, _ = cv2.estimateAffinePartial2D(closed_points[rigid, :2], points[rigid, :2])
    placed: Array = np.asarray(affine, np.float32)
    moved = transform_points(closed_points, placed)
    middle = points[list(eye), :2].mean(axis=0)
    iod = float(np.linalg.norm(points[33] - points[263]))
    across = float(np.linalg.norm(points[list(other), :2].mean(axis=0) - middle)) * 0.42
    up = max(float(middle[1] - points[list(brow), 1].min()) + 0.05 * iod, 0.25 * iod)

    def share(x: Array, y: Array) -> Array:
        distance = np.hypot((x - middle[0]) / across, (y - middle[1]) / up)
        return np.asarray(np.clip((1 - distance) / _SOFT, 0, 1)[..., None], np.float32)

    size = image.shape[0]
    rows, columns = np.indices((size, size), np.float32)
    patch = crop_image(closed_image, placed, size).astype(np.float32)
    picture = image + share(columns, rows) * (patch - image)
    taken = share(points[:, 0], points[:, 1])
    return picture.astype(np.uint8), np.asarray(points + taken * (moved - points), np.float32)
