"""From the actor's landmarks to the target's: the fusion step of the live loop.

    J = L_t + Φ(L_s, L_t)        (Fan 2023, eq. 1)

`Fusion.express` clears an actor's landmarks of head pose, noise and identity; `Fusion.fuse` puts
what is left onto the target, by the fusion network or by plain addition, with the user's gains, and
corrected so that the target is seen to do it (`read_back`).
"""

from __future__ import annotations

import logging
import threading
from typing import Final

import numpy as np

from reenact.config import ActorSettings, FusionSettings, SmoothingSettings
from reenact.errors import ReenactError
from reenact.expression.bias_correction import known_read_back
from reenact.expression.blink_calibration import EYE_PAIRS, BlinkDepths
from reenact.expression.head_motion import HeadMotion
from reenact.expression.neutral import Neutral, NeutralEstimator
from reenact.expression.neutral_store import load_neutral, save_neutral
from reenact.face.action_units import action_units
from reenact.face.filters import ExpressionFilter, PoseFilter
from reenact.face.geometry import (
    estimate_pose,
    mirrored_deviation,
    rotation_vector,
    to_face_frame,
    to_image,
)
from reenact.face.regions import apply_contact, lid_closure, lip_gaps, lips_together, point_gains
from reenact.models.fusion_network import FusionNetwork, shipped_network
from reenact.types import Array, Expression, Landmarks

log = logging.getLogger(__name__)

_CHECK_AFTER_S: Final = 0.25
_CHECK_ANGLE: Final = 0.35


class Fusion:
    """The actor on one side, the target on the other.

    `express` and `fuse` are called by one thread; `set_neutral` and `reset` by any. The settings
    are read at each call, so they may change while it runs.

    Args:
        settings: gains, limits, method.
        smoothing: filters.
        target_neutral: (478, 3) px, the target's neutral landmarks in its crop.
        actor: whose neutral, and where from.

    Raises:
        ReenactError: `actor.neutral` is "stored" and none is stored.
        ModelError: the method is "network" and its weights are missing or damaged.
    """

    def __init__(
        self,
        settings: FusionSettings,
        smoothing: SmoothingSettings,
        target_neutral: Array,
        actor: ActorSettings,
    ) -> None:
        self._settings = settings
        self._smoothing = smoothing
        self._actor = actor
        self._network: FusionNetwork | None = None
        if settings.method == "network":
            self._network = shipped_network()
        self._read_back = known_read_back()
        self._pose_filter = PoseFilter()
        self._expression_filter = ExpressionFilter()
        self._wishes = threading.Lock()
        self._reset_wanted = False
        self._neutral_wanted = False
        self._time_s: float | None = None
        self._check_from_s: float | None = None
        self._neutral: Neutral | None = None
        self._saved = 0
        self._estimator = NeutralEstimator(actor.calibration_s, self._stored())
        self._blinks = BlinkDepths()
        self.set_target(target_neutral)

    @property
    def neutral_found(self) -> bool:
        """Whether the actor's neutral is more than a first guess."""
        return self._estimator.found

    @property
    def actor_neutral(self) -> Array | None:
        """The (478, 3) neutral that is measured against now, face frame, iod; None at first."""
        return None if self._neutral is None else self._neutral.shape

    def set_target(self, target_neutral: Array) -> None:
        """Change the target: (478, 3) px in its crop. What is known of the actor stays."""
        pose = estimate_pose(target_neutral)
        self._target = to_face_frame(target_neutral, pose)
        self._head = HeadMotion(pose, target_neutral)

    def set_neutral(self) -> None:
        """Take the actor's present face for the neutral, with the next frame."""
        with self._wishes:
            self._neutral_wanted = True

    def reset(self) -> None:
        """Forget the frames before: after a cut or a lost face. The neutral is kept, if it fits."""
        with self._wishes:
            self._reset_wanted = True

    def express(self, landmarks: Landmarks, time_s: float) -> Expression:
        """Return what the actor's face does, without who the actor is.

        Args:
            landmarks: of the actor, px of the picture.
            time_s: of the frame; rising but for a reset.
        """
        neutral_wanted = self._take_wishes()
        dt_s = 0.0 if self._time_s is None else time_s - self._time_s
        self._time_s = time_s
        pose = estimate_pose(landmarks.points, self._estimator.template)
        shape = to_face_frame(landmarks.points, pose)
        neutral = self._estimator.observe(shape, pose, time_s)
        if neutral_wanted:
            self._estimator.set_now()
            self._saved = 0
        self._check_identity(float(np.linalg.norm(rotation_vector(pose.rotation))), time_s)
        self._neutral = neutral
        self._keep()
        if self._smoothing.enabled:
            pose = self._pose_filter.step(pose, dt_s, self._smoothing)
            shape = self._expression_filter.step(shape, dt_s, self._smoothing)
        self._blinks.observe(lid_closure(shape, neutral.shape), time_s)
        return Expression(shape - neutral.shape, pose, action_units(shape, neutral.shape))

    def fuse(self, expression: Expression) -> Array:
        """Return the target's landmarks with that expression, float32 (478, 3) px of its crop.

        An expression of zero deviation at the actor's resting pose gives the target's neutral
        exactly; so does an intensity of 0, but for the head's pose. With `close_lips` the neutral's
        lips are no further apart than the actor's at rest.
        """
        settings = self._settings
        neutral, deviation = self._neutral, expression.deviation
        if neutral is None:
            raise RuntimeError("fuse needs an expression of express")
        actor = neutral.shape
        closure = self._blinks.widen(lid_closure(actor + deviation, actor))
        if settings.mirror:
            actor, deviation = mirrored_deviation(actor), mirrored_deviation(deviation)
            closure = np.roll(closure, EYE_PAIRS)
        target = self._target
        if settings.close_lips:
            target = lips_together(target, lip_gaps(actor))
        moved = deviation
        if self._network is not None and settings.method == "network":
            moved = self._network.deviation(actor, deviation, target)
        gains = point_gains(settings.mouth, settings.eyes, settings.brows)
        moved = np.float32(settings.intensity) * gains * moved
        if settings.read_back:
            moved = moved + gains * self._read_back.correction(moved)
        shape = target + moved
        closure = 1 + np.float32(settings.intensity * settings.eyes) * (closure - 1)
        shape = apply_contact(shape, target, np.maximum(closure, 0))
        return to_image(shape, self._head.follow(expression.pose, neutral.pose, settings))

    def _take_wishes(self) -> bool:
        with self._wishes:
            neutral_wanted, reset_wanted = self._neutral_wanted, self._reset_wanted
            self._neutral_wanted = self._reset_wanted = False
        if reset_wanted:
            self._pose_filter.reset()
            self._expression_filter.reset()
            self._estimator.interrupt()
            self._time_s = None
            self._check_from_s = None
        return neutral_wanted

    def _stored(self) -> Array | None:
        if self._actor.neutral == "fresh":
            return None
        try:
            neutral = load_neutral(self._actor.name)
        except ReenactError as error:
            if self._actor.neutral == "stored":
                raise
            log.warning("%s", error)
            return None
        if neutral is None and self._actor.neutral == "stored":
            raise ReenactError(
                f"No neutral is stored for the actor {self._actor.name!r}; "
                "run once with actor.neutral=auto."
            )
        return neutral

    def _check_identity(self, angle: float, time_s: float) -> None:
        """Start anew when the face after a start or a reset is plainly another person's."""
        if self._check_from_s is None:
            self._check_from_s = time_s
        if self._check_from_s < 0 or time_s - self._check_from_s < _CHECK_AFTER_S:
            return
        if angle > _CHECK_ANGLE or not self._estimator.found:
            return
        self._check_from_s = -1.0
        if self._actor.neutral != "stored" and self._estimator.disagrees():
            log.warning(
                "The neutral kept for the actor %r does not fit this face; it is found anew.",
                self._actor.name,
            )
            self._estimator = NeutralEstimator(self._actor.calibration_s)
            self._blinks = BlinkDepths()
            self._saved = 0

    def _keep(self) -> None:
        """Store the neutral when it is found, and once more when it will not change again."""
        estimator = self._estimator
        stage = int(estimator.found) + int(estimator.settled)
        if stage <= self._saved or estimator.goal is None:
            return
        self._saved = stage
        if estimator.known or self._actor.neutral == "fresh":
            return
        try:
            save_neutral(self._actor.name, estimator.goal.shape)
        except ReenactError as error:
            log.warning("%s", error)
