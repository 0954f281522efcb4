"""Moves the target's head like the actor's: relative motion with gains and soft limits."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from reenact.config import FusionSettings
from reenact.face.geometry import face_box, face_square, rotation_matrix, rotation_vector, yaw_sine
from reenact.face.skull import turned_at_neck
from reenact.types import Array, Pose

_MIRROR: Final = np.array([-1, 1, 1], np.float32)
_STRAIGHT: Final = 0.6
_BORDER: Final = 0.15
_MAX_LOG_SCALE: Final = 0.18
_AWAY: Final = math.radians(40)
"""Yaw to which a photo is turned away from the camera at most: nearer to a profile, the far eye
would slide over the nose."""

_BACK: Final = math.radians(55)
"""A photo turns back to the camera by at most what it lacks to this yaw: the more it is turned, the
less of the far cheek is known, and beside it its own nose would stand a second time."""

_MIN_TURN: Final = math.radians(5)
"""How far any photo turns to either side."""

_HAIRLINE: Final = 0.16
"""Height of the hairline above the tracked face, as a share of the face's height. Above a photo
only hair can be continued (`rendering.background.closed_above`), not a forehead."""


class HeadMotion:
    """Transfers an actor's head motion to one target.

    Args:
        pose: the target's neutral pose in its crop.
        neutral: (478, 3) px, the target's neutral landmarks in its crop.
        headroom: distance of the face from the picture's upper edge, px of the crop.
    """

    def __init__(self, pose: Pose, neutral: Array, headroom: float = math.inf) -> None:
        self._pose = pose
        self._yaw = math.asin(yaw_sine(pose.rotation))
        self._box = np.array(face_box(neutral), np.float32)
        left, top, side = face_square(neutral)
        corner = np.array([left, top], np.float32) - 0.5  # pixel centres lie on whole numbers
        self._usual_crop = np.concatenate([corner, corner + side])
        self._descent = headroom - _HAIRLINE * float(self._box[3] - self._box[1])

    def follow(self, actor: Pose, rest: Pose, settings: FusionSettings) -> Pose:
        """Return the target's pose for the actor's pose, relative to the actor's resting pose.

        A head turns about its joint with the neck, so that the shoulders keep still in a nod; the
        gain of the translation applies to what the joint moves.

        At rest it is exactly the target's own pose. Angles above .6 of their limit are compressed
        and never exceed the limit, which is smaller for a photo that looks aside (`_AWAY`,
        `_BACK`). The face's box stays inside the usual crop, and does not come farther down than a
        head that the picture's upper edge cuts can be continued.
        """
        wanted, limits = np.empty(4, np.float32), np.empty(4, np.float32)
        change = actor.rotation @ rest.rotation.T
        wanted[:3] = settings.pose * rotation_vector(change)
        wanted[3] = settings.translation * math.log(actor.scale / rest.scale)
        beside = actor.translation - turned_at_neck(rest, change).translation
        shift = np.float32(settings.translation / rest.scale) * beside
        if settings.mirror:
            wanted[:3] *= -_MIRROR
            shift = shift * _MIRROR
        angles = settings.max_pitch, settings.max_yaw, settings.max_roll
        limits[:] = *map(math.radians, angles), _MAX_LOG_SCALE
        most = _AWAY if wanted[1] * self._yaw > 0 else _BACK
        limits[1] = min(limits[1], max(most - abs(self._yaw), _MIN_TURN))
        wanted = soft(wanted, limits)
        turn, scale = wanted[:3], math.exp(float(wanted[3]))
        room = self._room(scale)
        turned = turned_at_neck(self._pose, rotation_matrix(turn))
        shift_px = shift * np.float32(self._pose.scale) + turned.translation
        shift_px -= self._pose.translation
        shift_px[2] = 0  # depth is only relative; coming closer shows in the scale
        shift_px[:2] = soft(shift_px[:2], np.where(shift_px[:2] < 0, room[:2], room[2:]))
        return Pose(
            turned.rotation,
            (self._pose.translation + shift_px).astype(np.float32),
            self._pose.scale * scale,
        )

    def _room(self, scale: float) -> Array:
        """Return (4,) px: how far the scaled face can move left, up, right and down."""
        origin = self._pose.translation[:2]
        low = origin + (self._box[:2] - origin) * scale
        high = origin + (self._box[2:] - origin) * scale
        room = np.concatenate([low - self._usual_crop[:2], self._usual_crop[2:] - high])
        room *= 1 - _BORDER
        room[3] = min(room[3], self._descent - (low[1] - self._box[1]))
        return np.asarray(np.maximum(room, 1e-3), dtype=np.float32)


def soft(value: Array, limit: Array) -> Array:
    """Return the value, unchanged up to .6 of the limit, then compressed towards the limit."""
    limit = np.maximum(limit, 1e-6)
    size = np.abs(value) / limit
    if size.max() <= _STRAIGHT:
        return value
    over = np.maximum(size - _STRAIGHT, 0)
    room = 1 - _STRAIGHT
    bent = np.minimum(size, _STRAIGHT) + room * np.tanh(over / room)
    return np.asarray(np.sign(value) * bent * limit, dtype=np.float32)
