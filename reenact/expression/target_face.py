"""The target's side of the fusion: its own resting face, its proportions and its limits.

The fusion network determines the expression on the target. This module then adjusts its openings
and heights to the proportions of the two faces and keeps them within the limits of a face. A jaw
that drops by a quarter of the actor's lower face drops by a quarter of the target's. If the actor
goes half the way to the limit of the actor's face, the target goes at most half its own way.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from reenact.expression.actor_identity import ActorIdentity
from reenact.expression.face_model import face_model
from reenact.expression.limits import CONTROLLED, LIMITED, Limits, bend, controlled_rows, features
from reenact.expression.measures import (
    BROW_LEFT_UP,
    BROW_RIGHT_UP,
    LID_LEFT,
    LID_RIGHT,
    MEASURES,
    MOUTH_WIDTH,
)
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.face.regions import apply_contact, lid_gaps
from reenact.types import Array

_LIDS: Final = slice(LID_RIGHT, LID_LEFT + 1)
_JAW, _UPPER_LIP = CONTROLLED.index("jaw"), CONTROLLED.index("upper_lip")

PROPORTIONAL: Final = np.array([*range(len(MEASURES)), _JAW, _UPPER_LIP])
"""(8,) indices in `limits.CONTROLLED` of what changes in proportion to a face."""

_UNIT: Final = np.array(
    [LID_RIGHT, LID_LEFT, _JAW, MOUTH_WIDTH, BROW_RIGHT_UP, BROW_LEFT_UP, _JAW, _UPPER_LIP]
)
_MIN_UNIT: Final = np.array([0.02, 0.02, 0.5, 0.2, 1, 1, 0.5, 0.1], np.float32)
"""(8,) what is the unit of each of `PROPORTIONAL`, and the minimum of that unit, iod. No brow is
1 iod high, so that the unit of the brows is always 1 iod."""

_REGION: Final = np.array([1, 1, 0, 0, 2, 2, 0, 0])
"""(8,) index of the gain in `TargetFace.wanted`, of mouth, eyes or brows, for each of
`PROPORTIONAL`."""

_MIN_WAY: Final = 0.005
"""Minimum distance of a resting measure from its bound, iod."""

_THIRD: Final = np.full(3, 1 / 3, np.float32)
_MIDDLE_LIDS: Final = slice(2, 5)
"""The pairs in `regions.lid_gaps` of one eye on which its opening is measured."""

_UNKNOWN_FACE: Final = 0.06
"""Distance from the model, iod, of a face unlike those of people, such as an animal's or a drawn
one with large eyes. 225 photos and 103 clips of people are within .055, hand-placed landmarks of
four drawings and a cat beyond .07."""


Mode = Literal["relative", "absolute"]


def mode_for(points: Array) -> Mode:
    """Return the better `fusion.mode` for a photo's (478, 3) landmarks, px.

    It is "absolute" if the expression cannot be rest, such as a smile with teeth or shut eyes.
    """
    problem = resting_face(to_face_frame(points, estimate_pose(points)))[1]
    return "absolute" if problem else "relative"


def resting_face(shape: Array) -> tuple[Array, str]:
    """Estimate how the person of one photo looks at rest.

    Args:
        shape: (478, 3) of the photo in the face frame, iod.

    Returns:
        The resting (478, 3) shape, equal to the photo's unless that cannot be at rest, and a
        sentence that names the parts that cannot; "" if there are none. A face that the model does
        not know, such as an animal's, counts as resting.
    """
    if face_model().unexplained(shape) > _UNKNOWN_FACE:
        return shape, ""
    identity = ActorIdentity()
    pose = estimate_pose(shape)
    identity.observe(to_face_frame(shape, pose), pose, 0.0)
    problem = identity.set_now()
    return (identity.observe(shape, pose, 0.0).shape if problem else shape), problem


class TargetFace:
    """One target's shape, proportions and limits. Immutable.

    Args:
        photo: (478, 3) the target's landmarks in its photo, face frame, iod.
        mode: "relative": deviations are added to the photo; "absolute": to the target at rest;
            "auto": as `mode_for` says.

    Attributes:
        photo: (478, 3) as given.
        rest: (478, 3) the target at rest; the photo itself if that can be at rest, else estimated.
        base: (478, 3) the shape that deviations are added to.
    """

    def __init__(self, photo: Array, mode: Literal["auto"] | Mode = "relative") -> None:
        rest, problem = resting_face(photo)
        self.photo, self.rest = photo, rest
        absolute = bool(problem) if mode == "auto" else mode == "absolute"
        self.base = rest if absolute else photo
        self._limits = Limits(rest, self.base)
        measured, sizes = features(self.base)[0], self._limits.sizes.take(PROPORTIONAL)
        own, units = measured.take(PROPORTIONAL), _units(measured)
        self._own, self._units = own / sizes, units / sizes
        bounds = np.stack([self._limits.low, self._limits.high])[:, PROPORTIONAL]
        self._ways = _ways(own, bounds * sizes) / units
        self._actor_bounds = face_model().limits[PROPORTIONAL, ::3].T.copy()
        gaps = np.maximum(lid_gaps(self.base).reshape(2, -1), 0.02)
        middle = gaps[:, _MIDDLE_LIDS].mean(axis=1)
        eyes = self._limits.sizes[_LIDS] / middle
        self._usual_closure = np.repeat(self._limits.usual_high[_LIDS] * eyes, gaps.shape[1])
        self._closure_bound = np.repeat(self._limits.high[_LIDS] * eyes, gaps.shape[1])

    def wanted(self, neutral: Array, deviation: Array, gains: Array) -> tuple[Array, Array]:
        """Return the target's (8,) change of `PROPORTIONAL`, in the units of `proportions`.

        It is the actor's change, reduced if the actor's face has more room between rest and its
        bounds than the target's. Also returns the (2,) factor, 0 to 1, by which the widening of
        the right and the left eye is reduced.

        Args:
            neutral: (478, 3) the actor at rest, iod.
            deviation: (478, 3) of the actor from that shape, iod.
            gains: (3,) of mouth, eyes and brows.
        """
        measured, sizes = features(neutral)
        rest, sizes, units = measured.take(PROPORTIONAL), sizes.take(PROPORTIONAL), _units(measured)
        down, up = np.minimum(self._ways * units / _ways(rest, self._actor_bounds * sizes), 1)
        change = gains.take(_REGION) * _proportional(deviation) / units
        return np.asarray(change * np.where(change > 0, up, down), np.float32), up[_LIDS]

    def place(self, moved: Array, wanted: Array, closure: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Return the target's (478, 3) shape, and the (12,) parts that had to be limited.

        These are each of `limits.LIMITED`, and the deviation as a whole.

        Args:
            moved: (478, 3) deviation from the fusion, iod.
            wanted: (8,) change of `PROPORTIONAL` in the units of `proportions`.
            closure: (14,) lid gaps as shares of the resting ones.
        """
        limits = self._limits
        kept, unlikely = limits.joint(moved)
        shape = self.base + kept
        measured = limits.shares(shape)
        shares = measured.copy()
        shares[PROPORTIONAL] = self._own + wanted * self._units
        middle = closure.reshape(2, -1)[:, _MIDDLE_LIDS] @ _THIRD
        shares[_LIDS] = self._own[_LIDS] * middle
        limited = np.empty(len(LIMITED) + 1, bool)
        limited[:-1], limited[-1] = limits.beyond(shares), unlikely
        shape = limits.moved_to(shape, limits.bent(shares), measured)
        bound = bend(closure, self._usual_closure, self._closure_bound)
        return apply_contact(shape, self.base, np.maximum(bound, 0)), limited

    def beyond(self, shape: Array) -> bool:
        """Return whether a (478, 3) shape of this face lies outside its limits."""
        return bool(self._limits.beyond(self._limits.shares(shape)).any())


def proportions(neutral: Array) -> Array:
    """Return the (8,) units, iod, in which changes of `PROPORTIONAL` are equal on two faces.

    Lids change by a share of their resting opening, the mouth's width by a share of itself, brows
    by a share of the face, 1 iod. The opening of the mouth and the fall of the chin change by a
    share of the distance of chin and nose, that of upper lip and nose by a share of itself.
    """
    return _units(controlled_rows() @ neutral.reshape(-1))


def _units(measured: Array) -> Array:
    return np.asarray(np.maximum(measured.take(_UNIT), _MIN_UNIT), np.float32)


def _proportional(shape: Array) -> Array:
    return (controlled_rows() @ shape.reshape(-1)).take(PROPORTIONAL)


def _ways(rest: Array, bounds: Array) -> Array:
    """Return the (2, 8) distances, iod, from each (8,) resting measure to its (2, 8) bounds."""
    return np.asarray(np.maximum(np.abs(bounds - rest), _MIN_WAY), np.float32)


def proportional_change(base: Array, deviation: Array) -> Array:
    """Return the (8,) change of `PROPORTIONAL` in the units of `proportions` of a (478, 3) face."""
    return np.asarray(_proportional(deviation) / proportions(base), np.float32)
