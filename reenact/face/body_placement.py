"""Converts the motions measured by `body_tracker` to positions of torso and hair in a crop."""

from __future__ import annotations

import math

import cv2
import numpy as np

from reenact.face.body_tracker import NECK, BodyTracker
from reenact.face.geometry import estimate_pose
from reenact.face.skull import hair_middle, hair_motion, move_rigidly, neck_joint
from reenact.face.topology import CHIN
from reenact.types import Array, Body, MovedPart, Pose, SeenBody, Target


def head_borne(neutral: Array, start: Pose, end: Pose) -> Array:
    """Return the (4,) motion, as in `PartMotion`, of a torso that follows the head alone.

    Args:
        neutral: (478, 3) px, the landmarks from which the head moves.
        start: their pose.
        end: the pose to which it moves.
    """
    joint = neck_joint(neutral, start)
    across, down, _ = (move_rigidly(joint, start, end) - joint) / start.scale
    return np.array([across, down, 0, math.log(end.scale / start.scale)], np.float32)


def torso(
    motion: Array, neutral: Array, iod_px: float, crop_px: int, share: float = 1.0
) -> MovedPart:
    """Return the position of the torso in a face's crop.

    Args:
        motion: (4,) as in `PartMotion`.
        neutral: (478, 3) px, the landmarks from which it moves.
        iod_px: their inter-ocular distance.
        crop_px: side of the crop.
        share: as in `MovedPart`.
    """
    pivot = neutral[CHIN, :2] + np.array([0, NECK * iod_px])
    return _moved(motion, pivot, iod_px, crop_px, share)


def hair(motion: Array, pose: Pose, iod_px: float, crop_px: int, share: float = 1.0) -> MovedPart:
    """Return the position of the hair in a face's crop, given its motion relative to the head.

    `pose` is the head's in the crop, px; the other arguments are those of `torso`.
    """
    return _moved(motion, hair_middle(pose), iod_px, crop_px, share)


def _moved(motion: Array, pivot: Array, iod_px: float, crop_px: int, share: float) -> MovedPart:
    """Apply a motion, (4,) as in `PartMotion`, about a pivot, (2,) px of a crop."""
    middle = (pivot + 0.5) / crop_px
    affine = cv2.getRotationMatrix2D((0, 0), -math.degrees(motion[2]), math.exp(motion[3]))
    affine[:, 2] = middle + motion[:2] * (iod_px / crop_px) - affine[:, :2] @ middle
    return MovedPart(affine.astype(np.float32), share)


def reference_bodies(target: Target) -> list[Body]:
    """Return where torso and hair are in each reference, relative to the neutral."""
    size = target.crop_size
    if len(target.references) == 1:
        return [Body()]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    rest = cv2.warpAffine(target.plate, target.crop_to_plate, (size, size), flags=flags)

    def at_rest() -> tuple[BodyTracker, SeenBody]:
        tracker = BodyTracker()
        return tracker, tracker.track(np.asarray(rest, np.uint8), target.neutral)

    tracker, first = at_rest()
    start = estimate_pose(target.neutral)
    bodies = []
    for picture, points in zip(target.references, target.landmarks, strict=True):
        seen, pose = tracker.track(picture, points), estimate_pose(points)
        since = [part and part.since for part in first]
        if any(part and part.since != number for part, number in zip(seen, since, strict=True)):
            # The face is so much nearer or farther that the tracker has begun anew with it.
            seen = SeenBody()
            tracker, first = at_rest()
        motion = seen.torso.motion if seen.torso else head_borne(target.neutral, start, pose)
        beside = seen.hair.motion - hair_motion(start, pose) if seen.hair else np.zeros_like(motion)
        shoulders = torso(motion, target.neutral, start.scale, size)
        bodies.append(Body(shoulders, hair(beside, pose, start.scale, size)))
    return bodies
