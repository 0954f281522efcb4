"""Moves the target's shoulders as the actor's: relative motion with gains and soft limits.

The shoulders move with the head, and besides by the difference between the actor's torso and head.
That difference fades within seconds: no rest of the torso needs to be known, and nothing jumps when
the torso is lost or found.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from reenact.config import FusionSettings, SmoothingSettings
from reenact.expression.head_motion import soft
from reenact.face.body_tracker import head_borne, torso
from reenact.face.filters import POSE_NOISE, OneEuroFilter
from reenact.types import Array, Body, Target, Torso

RETURN_S: Final = 0.4
"""How long the shoulders take to follow the torso, or the head alone again."""

_FADE_S: Final = 30.0
"""Time constant with which the difference between torso and head fades."""

_LIMITS: Final = np.array([0.7, 0.5, 0.25, 0.2], np.float32)
"""Largest difference between torso and head: across, down (iod), roll (radians), log of growth."""

_MIRROR: Final = np.array([-1, 1, -1, 1], np.float32)


class BodyMotion:
    """Carries the motion of an actor's torso over to one target. One thread calls it.

    Args:
        target: its neutral landmarks are used.
        settings: gains, and whether the actor is mirrored; they may change between calls.
        smoothing: of the torso's motion; likewise.
    """

    def __init__(
        self, target: Target, settings: FusionSettings, smoothing: SmoothingSettings
    ) -> None:
        self._neutral, self._crop_px = target.neutral, target.crop_size
        self._settings, self._smoothing = settings, smoothing
        self._filter = OneEuroFilter(noise=POSE_NOISE)
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._filter.reset()
        self._since = -1
        self._offset = np.zeros(4, np.float32)
        self._jump = np.zeros(4, np.float32)
        self._seen = False
        self._difference = np.zeros(4, np.float32)
        self._motion = np.zeros(4, np.float32)
        self._share = 0.0

    def follow(self, seen: Torso | None, fused: Array, dt_s: float) -> None:
        """Take in a frame.

        Args:
            seen: the actor's torso.
            fused: (478, 3) px, the target's landmarks as the actor moves them.
            dt_s: seconds since the last frame.
        """
        settings, smoothing = self._settings, self._smoothing
        head = head_borne(self._neutral, fused)
        step, soon = dt_s / RETURN_S, np.float32(math.exp(-dt_s / RETURN_S))
        if seen is None:
            self._filter.reset()
            self._difference = soon * self._difference
            self._share = max(self._share - step, 0.0)
        else:
            moved = seen.motion
            if smoothing.enabled:
                cutoff, beta = smoothing.pose_min_cutoff, smoothing.pose_beta
                moved = self._filter.step(moved, dt_s, cutoff, beta)
            along = settings.translation
            gains = np.array([along, along, settings.pose, along], np.float32)
            beside = moved * (gains * _MIRROR if settings.mirror else gains) - head
            if seen.since != self._since:
                self._since, self._offset = seen.since, self._difference - beside
            if not self._seen:
                self._jump = self._difference - beside - self._offset
            self._offset -= np.float32(1 - math.exp(-dt_s / _FADE_S)) * (beside + self._offset)
            self._jump = soon * self._jump
            self._difference = beside + self._offset + self._jump
            self._share = min(self._share + step, 1.0)
        self._seen = seen is not None
        self._motion = head + soft(self._difference, _LIMITS)

    def body(self, share: float, breath: Array | None = None) -> Body | None:
        """Return where the target's torso is; None if it follows the head alone.

        Args:
            share: 0 to 1, how far the target follows the actor.
            breath: (4,) as of `Torso`, of a target without an actor; None: none.
        """
        motion, known = np.float32(share) * self._motion, share * self._share
        if breath is None:
            known = self._share if share else 0.0
        else:
            motion, known = motion + np.float32(1 - share) * breath, known + 1 - share
        return torso(motion, self._neutral, self._crop_px, known) if known else None
