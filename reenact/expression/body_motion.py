"""Moves the target's shoulders and hair like the actor's: relative motion, gains, soft limits.

Each part follows the target's head, plus the difference between the motion of the actor's part and
that of the actor's head. The difference fades within a minute, so that the actor's rest need not be
known and nothing jumps when a part is lost or found.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from reenact.config import FusionSettings, SmoothingSettings
from reenact.expression.head_motion import soft
from reenact.face.body_placement import hair, head_borne, torso
from reenact.face.filters import POSE_NOISE, OneEuroFilter
from reenact.face.geometry import estimate_pose
from reenact.face.skull import hair_motion
from reenact.types import Array, Body, PartMotion, Pose, SeenBody, Target

RETURN_S: Final = 0.4
"""Seconds in which a part that was found or lost goes over to its own motion or the head's."""

_FADE_S: Final = 60.0
"""Time constant with which the difference to the head fades."""

_TORSO_LIMITS: Final = np.array([0.7, 0.5, 0.25, 0.2], np.float32)
_HAIR_LIMITS: Final = np.array([0.2, 0.2, 0.1, 0.1], np.float32)
"""Bounds of the difference to the head: across, down (iod), roll (rad), log of size change."""

_MIRROR: Final = np.array([-1, 1, -1, 1], np.float32)


class _Difference:
    """The difference between the motion of one part and that of the head.

    Args:
        limits: (4,) bounds of the difference.

    Attributes:
        value: (4,) the difference, within its limits.
        share: 0 to 1, how far the part's own motion is used.
        since: identifies the picture from which the motion is measured; 0: never seen.
    """

    def __init__(self, limits: Array) -> None:
        self._limits = limits
        self._filter = OneEuroFilter(noise=POSE_NOISE)
        self.since = 0
        self.share = 0.0
        self._seen = False
        self._difference = self._offset = self._jump = np.zeros(4, np.float32)

    @property
    def value(self) -> Array:
        return soft(self._difference, self._limits)

    def filtered(self, seen: PartMotion, dt_s: float, smoothing: SmoothingSettings) -> Array:
        """Return the measured motion, (4,), filtered."""
        if seen.since != self.since or not self._seen:
            self._filter.reset()
        if not smoothing.enabled:
            return seen.motion
        cutoff, beta = smoothing.pose_min_cutoff, smoothing.pose_beta
        return self._filter.step(seen.motion, dt_s, cutoff, beta)

    def follow(self, beside: Array, since: int, dt_s: float) -> None:
        """Take in a frame with the (4,) motion of the part relative to the head."""
        soon = np.float32(math.exp(-dt_s / RETURN_S))
        first = not self.since
        if since != self.since:
            self.since, self._offset = since, self._difference - beside
        if not self._seen:
            self._jump = self._difference - beside - self._offset
        self._offset = self._offset - np.float32(1 - math.exp(-dt_s / _FADE_S)) * (
            beside + self._offset
        )
        self._jump = soon * self._jump
        self._difference = beside + self._offset + self._jump
        self.share = 1.0 if first else min(self.share + dt_s / RETURN_S, 1.0)
        self._seen = True

    def lose(self, dt_s: float) -> None:
        """Take in a frame without the part."""
        self._difference = np.float32(math.exp(-dt_s / RETURN_S)) * self._difference
        self.share = max(self.share - dt_s / RETURN_S, 0.0)
        self._seen = False


class BodyMotion:
    """Transfers the motion of an actor's torso and hair to one target. One thread calls it.

    Args:
        target: its neutral landmarks are used.
        settings: gains, and whether the actor is mirrored; they may change between calls.
        smoothing: of the motion; likewise.
    """

    def __init__(
        self, target: Target, settings: FusionSettings, smoothing: SmoothingSettings
    ) -> None:
        self._neutral, self._crop_px = target.neutral, target.crop_size
        self._rest = estimate_pose(target.neutral)
        self._settings, self._smoothing = settings, smoothing
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._torso, self._hair = _Difference(_TORSO_LIMITS), _Difference(_HAIR_LIMITS)
        self._carried = np.zeros(4, np.float32)
        self._hair_from: Pose | None = None

    def follow(self, seen: SeenBody, actor: Array, fused: Array, dt_s: float) -> None:
        """Take in a frame.

        Args:
            seen: torso and hair of the actor.
            actor: (478, 3) px, the actor's landmarks.
            fused: (478, 3) px of the target's crop, the target's landmarks driven by the actor.
            dt_s: seconds since the last frame.
        """
        turn, along = self._settings.pose, self._settings.translation
        mirror = _MIRROR if self._settings.mirror else np.float32(1)
        self._carried = head_borne(self._neutral, self._rest, estimate_pose(fused))
        if seen.torso is None:
            self._torso.lose(dt_s)
        else:
            gains = np.array([along, along, turn, along], np.float32) * mirror
            moved = gains * self._torso.filtered(seen.torso, dt_s, self._smoothing)
            self._torso.follow(moved - self._carried, seen.torso.since, dt_s)
        if seen.hair is None:
            self._hair.lose(dt_s)
        else:
            moved = self._hair.filtered(seen.hair, dt_s, self._smoothing)
            head = estimate_pose(actor)
            if seen.hair.since != self._hair.since or self._hair_from is None:
                self._hair_from = head
            # Hair and landmarks disagree mostly about how far the head has turned.
            gains = np.array([turn, turn, turn, along], np.float32) * mirror
            beside = gains * (moved - hair_motion(self._hair_from, head))
            self._hair.follow(beside, seen.hair.since, dt_s)

    def body(self, share: float, landmarks: Array, breath: Array | None = None) -> Body:
        """Return where the target's torso and hair are.

        Args:
            share: 0 to 1, how far the target follows the actor.
            landmarks: (478, 3) px, the target's landmarks in this frame.
            breath: (4,) as in `PartMotion`, the torso's idle motion; None: none.
        """
        motion = np.float32(share) * (self._carried + self._torso.value)
        known = self._torso.share if share else 0.0
        if breath is not None:
            motion = motion + np.float32(1 - share) * breath
            known = share * self._torso.share + 1 - share
        iod_px, crop_px = self._rest.scale, self._crop_px
        shoulders = torso(motion, self._neutral, iod_px, crop_px, known) if known else None
        known = share * self._hair.share
        if not known:
            return Body(shoulders)
        moved, pose = np.float32(share) * self._hair.value, estimate_pose(landmarks)
        return Body(shoulders, hair(moved, pose, iod_px, crop_px, known))
