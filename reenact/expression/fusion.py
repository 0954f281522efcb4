"""From the actor's landmarks to the target's: the fusion step of the live loop.

    J = L_t + Φ(L_s, L_t)        (Fan 2023, eq. 1)

`Fusion.express` removes head pose, noise and identity from the actor's landmarks. `Fusion.fuse`
transfers the remaining expression to the target: with the fusion network Φ or by addition, scaled
by the user's gains, in proportion to the two faces and within the limits of a face (`target_face`).
"""

from __future__ import annotations

import copy
import logging
import math
from dataclasses import replace
from typing import Final

import numpy as np

from reenact.config import ActorSettings, FusionSettings, SmoothingSettings
from reenact.errors import ReenactError
from reenact.expression.actor_identity import ActorIdentity, Neutral
from reenact.expression.blink_calibration import EYE_PAIRS, BlinkDepths, eyes_together
from reenact.expression.driving import Addition, nothing
from reenact.expression.head_motion import HeadMotion
from reenact.expression.idle_life import ACTORS_LIDS, Lids, Life
from reenact.expression.limits import LIMITED
from reenact.expression.neutral_store import NeutralStore
from reenact.expression.target_face import TargetFace, proportional_change
from reenact.expression.tracker_trust import TrackerTrust
from reenact.face.action_units import action_units
from reenact.face.filters import ExpressionFilter, PoseFilter
from reenact.face.geometry import (
    canonical_face,
    estimate_pose,
    mirrored_deviation,
    rotation_matrix,
    rotation_vector,
    to_face_frame,
    to_image,
)
from reenact.face.regions import EYES, IRISES, iris_motion, lid_closure, point_gains
from reenact.face.skull import turned_at_neck
from reenact.models.fusion_network import FusionNetwork, shipped_network
from reenact.types import Array, Expression, Landmarks, Pose

log = logging.getLogger(__name__)

_CHECK_AFTER_S: Final = 0.35
_CHECK_ANGLE: Final = 0.35
_MAX_OUTSIDE: Final = 0.1
"""Share of the landmarks outside the picture up to which a face is compared with the actor's: what
is cut off is the tracker's guess."""

_NOTHING: Final = nothing()

_SAVE_FROM, _SAVE_STEP = 0.6, 0.1
"""Certainty above which a neutral is stored, and by which it must grow to be stored again."""


class Fusion:
    """Transfers one actor's expressions to one target.

    One thread calls it. Settings are read at each call, so they may change during a run; `mode` is
    read by `set_target`.

    Args:
        settings: gains, limits, method.
        smoothing: filters.
        target_neutral: (478, 3) px, the target's neutral landmarks in its crop.
        actor: the actor's name, and where the neutral comes from.
        identity: the estimator of the actor's neutral; None: a new one, as `actor` says.
        neutrals: where neutrals are stored; None: none is read or stored.
        headroom: see `HeadMotion`.

    Attributes:
        target: the target's own face.
        stored: (478, 3) the neutral that it started with, face frame, iod; None: none was known.
        frames_limited: number of frames that exceeded the limits of a face and were limited.
        limited: (12,) what was limited in the last frame: each of `limits.LIMITED`, and the whole.

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
        identity: ActorIdentity | None = None,
        *,
        neutrals: NeutralStore | None = None,
        headroom: float = math.inf,
    ) -> None:
        self._settings = settings
        self._neutrals = neutrals
        self._smoothing = smoothing
        self._actor = actor
        self._network: FusionNetwork | None = None
        if settings.method == "network":
            self._network = shipped_network()
        self._pose_filter = PoseFilter()
        self._expression_filter = ExpressionFilter()
        self._neutral_wanted = False
        self._identity_before: ActorIdentity | None = None
        self._time_s: float | None = None
        self._check_from_s: float | None = None
        self._neutral: Neutral | None = None
        self.frames_limited = 0
        self.limited = np.zeros(len(LIMITED) + 1, bool)
        self._trust = TrackerTrust()
        self._saved = 0.0
        self._save_problem = ""
        self.stored = None if identity else self._stored()
        self._identity = identity or self._identity_of(self.stored)
        self._blinks = BlinkDepths()
        self.set_target(target_neutral, headroom)

    @property
    def trust(self) -> Array:
        """How far each of `regions.PARTS` was trusted in the last frame, (6,), 0 to 1."""
        return self._trust.trust

    @property
    def suspects_mouth(self) -> bool:
        """True if the mouth looked covered in the last frame, though perhaps not surely."""
        return self._trust.suspects_mouth

    @property
    def actor_neutral(self) -> Array | None:
        """The actor's current (478, 3) neutral, face frame, iod; None before the first frame."""
        return None if self._neutral is None else self._neutral.shape

    @property
    def actor_rest_pose(self) -> Pose | None:
        """The pose of the actor's head at rest; None before the first frame."""
        return None if self._neutral is None else self._neutral.pose

    def set_target(self, target_neutral: Array, headroom: float) -> None:
        """Change the target. The estimate of the actor is kept.

        Args:
            target_neutral: (478, 3) px in its crop.
            headroom: see `HeadMotion`.
        """
        pose = estimate_pose(target_neutral)
        self.target = TargetFace(to_face_frame(target_neutral, pose), self._settings.mode)
        self._head = HeadMotion(pose, target_neutral, headroom)

    def begin_with(self, stored: Array) -> None:
        """Start with a known (478, 3) neutral of the actor, face frame, iod."""
        self.stored = stored
        self._identity = self._identity_of(stored)

    def set_neutral(self) -> None:
        """Set the actor's face in the next frame as the neutral."""
        self._neutral_wanted = True

    def undo_neutral(self) -> None:
        """Undo the last `set_neutral`."""
        if self._neutral_wanted:
            self._neutral_wanted = False
        elif self._identity_before is not None:
            self._identity, self._identity_before = self._identity_before, None
            self._saved = 0.0

    def reset(self) -> None:
        """Forget earlier frames, after a cut or a lost face; a neutral that still fits is kept."""
        self._pose_filter.reset()
        self._expression_filter.reset()
        self._identity.interrupt()
        self._trust.reset()
        self._time_s = self._check_from_s = None

    def come_back(self) -> None:
        """Seek the place of the actor's head at rest anew, after an absence."""
        self._identity.come_back()

    def express(self, landmarks: Landmarks, time_s: float) -> Expression:
        """Return the actor's expression, independent of the actor's identity.

        Args:
            landmarks: of the actor, px of the picture.
            time_s: of the frame; it must rise, except after `reset`.
        """
        dt_s = 0.0 if self._time_s is None else max(time_s - self._time_s, 0.0)
        self._time_s = time_s
        pose = estimate_pose(landmarks.points)
        shape = to_face_frame(landmarks.points, pose)
        neutral = self._identity.observe(shape, pose, time_s, float(self.trust.min()))
        if self._neutral_wanted:
            self._neutral_wanted = False
            self._identity_before = copy.deepcopy(self._identity)
            _warn(self._identity.set_now())
            self._saved = 0.0
        self._check_identity(landmarks, pose, time_s)
        self._neutral = neutral
        self._keep()
        pose = estimate_pose(landmarks.points, neutral.shape)
        shape = to_face_frame(landmarks.points, pose)
        self._trust.judge(shape - neutral.shape, pose, landmarks, dt_s)
        if self._smoothing.enabled:
            pose = self._pose_filter.step(pose, dt_s, self._smoothing)
            shape = self._expression_filter.step(shape, dt_s, self._smoothing)
        else:
            self._pose_filter.reset()
            self._expression_filter.reset()
        pose = self._trust.place(pose)
        if self.trust[EYES].min() == 1:
            closure = lid_closure(shape, neutral.shape)
            self._blinks.observe(eyes_together(closure, pose.rotation), time_s)
        deviation = self._trust.believe(shape - neutral.shape, dt_s)
        believed = neutral.shape + deviation
        units = action_units(believed, neutral.shape)
        return Expression(deviation, pose, units, landmarks.tongue)

    def believed(self, expression: Expression) -> Array:
        """Return the actor's trusted landmarks, (478, 3) px, for the last result of `express`."""
        if self._neutral is None:
            raise RuntimeError("believed needs an expression of express")
        return to_image(self._neutral.shape + expression.deviation, expression.pose)

    def fuse(
        self,
        expression: Expression,
        addition: Addition | None = None,
        lids: Lids = ACTORS_LIDS,
    ) -> Array:
        """Return the target's landmarks with that expression, float32 (478, 3) px of its crop.

        Args:
            expression: the actor's, from `express`.
            addition: what is added to it, and the intensity of both; None: nothing, intensity 1.
            lids: lids that replace the actor's; no gain or intensity applies to them.

        An expression of zero deviation at the actor's resting pose gives exactly the target's
        neutral; so does an intensity of 0, except for the head's pose and such lids. The openings
        of lids and lips, the mouth's width and the brows change in proportion to the two faces, and
        no landmark exceeds the limits of a face (`limits`).
        """
        settings = self._settings
        neutral, deviation = self._neutral, expression.deviation
        if neutral is None:
            raise RuntimeError("fuse needs an expression of express")
        addition = addition or _NOTHING
        intensity = addition.intensity
        actor = neutral.shape
        closure = eyes_together(lid_closure(actor + deviation, actor), expression.pose.rotation)
        closure = self._blinks.widen(closure)
        if addition.replaced:
            deviation = addition.kept() * deviation
        if settings.mirror:
            actor, deviation = mirrored_deviation(actor), mirrored_deviation(deviation)
            closure = np.roll(closure, EYE_PAIRS)
        base = self.target.base
        moved = deviation
        if self._network is not None and settings.method == "network":
            moved = self._network.deviation(actor, deviation, base)
        eyes = settings.eyes * (1 - lids.share)
        gains = point_gains(settings.mouth, eyes, settings.brows)
        gaze = np.float32(intensity * (settings.gaze - eyes)) * iris_motion(moved)
        moved = np.float32(intensity) * gains * moved + lids.deviation
        moved[IRISES] += gaze
        region_gains = np.array([settings.mouth, settings.eyes, settings.brows], np.float32)
        wanted, wider = self.target.wanted(actor, deviation, intensity * region_gains)
        amount = intensity * eyes * np.where(closure > 1, wider.repeat(EYE_PAIRS), 1)
        closure = np.asarray(1 + amount * (closure - 1) - lids.share * lids.shut, np.float32)
        shape, self.limited = self.target.place(*self._with(addition, moved, wanted, closure))
        self.frames_limited += int(self.limited.any())
        return to_image(shape, self._head.follow(expression.pose, neutral.pose, settings))

    def alone(self, life: Life | None, addition: Addition) -> tuple[Array, Array]:
        """Return the target's landmarks without an actor, and the motion of its torso.

        Without idle motion the expression of the target's photo, where that is not `base`, gives
        way as the addition grows.

        Args:
            life: the idle motion; None: none.
            addition: as for `fuse`.

        Returns:
            (478, 3) px of the target's crop, and the (4,) motion of its torso, as in `PartMotion`.
        """
        still = np.zeros(3, np.float32)
        turn, breath = (life.turn, life.breath) if life else (still, still)
        moved = life.deviation if life else np.zeros_like(addition.deviation)
        closure = np.full(2 * EYE_PAIRS, life.closure if life else 1.0, np.float32)
        wanted = proportional_change(self.target.base, moved)
        shape, _ = self.target.place(*self._with(addition, moved, wanted, closure))
        if life is None:
            shape = shape + (1 - addition.strength) * (self.target.photo - self.target.base)
        rest, limits = Pose(np.eye(3, dtype=np.float32), still, 1.0), FusionSettings(translation=1)
        turned = turned_at_neck(rest, rotation_matrix(turn))
        turned = replace(turned, translation=turned.translation + breath)
        head = self._head.follow(turned, rest, limits)
        return to_image(shape, head), np.array([*breath[:2], 0, 0], np.float32)

    def _with(
        self, addition: Addition, moved: Array, wanted: Array, closure: Array
    ) -> tuple[Array, Array, Array]:
        """Return the arguments of `TargetFace.place` with the addition applied."""
        if addition.idle:
            return moved, wanted, closure
        added = np.float32(addition.intensity) * addition.deviation
        own = proportional_change(self.target.base, added)
        typical = canonical_face()  # by the share of its opening, or large eyes would never shut
        change = lid_closure(typical + added, typical)
        return moved + added, wanted + own, closure * change

    def _stored(self) -> Array | None:
        if self._actor.neutral == "fresh":
            return None
        try:
            neutral = None if self._neutrals is None else self._neutrals.load(self._actor.name)
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

    def _identity_of(self, stored: Array | None) -> ActorIdentity:
        """Return a new estimator that starts with the stored neutral, if there is one."""
        identity = ActorIdentity(stored)
        _warn(identity.problem)
        self._saved = 1.0 if stored is not None and not identity.problem else 0.0
        return identity

    def _check_identity(self, landmarks: Landmarks, pose: Pose, time_s: float) -> None:
        """Estimate the neutral anew if the face after a start or a reset is another person's."""
        if self._check_from_s is None:
            self._check_from_s = time_s
        if self._check_from_s < 0:
            return
        places = landmarks.points[:, :2]
        outside = ((places < 0) | (places >= landmarks.size)).any(axis=1)
        if outside.mean() > _MAX_OUTSIDE:
            self._check_from_s = time_s
        if time_s - self._check_from_s < _CHECK_AFTER_S:
            return
        if float(np.linalg.norm(rotation_vector(pose.rotation))) > _CHECK_ANGLE:
            return
        self._check_from_s = -1.0
        if self._actor.neutral != "stored" and self._identity.disagrees():
            was = "seen before"
            if self.stored is not None:
                was = f"stored for the actor {self._actor.name!r}"
            log.warning("The neutral %s does not fit this face; it is estimated anew.", was)
            self._identity.forget()
            self._saved = 0.0
            self._blinks = BlinkDepths()

    def _keep(self) -> None:
        """Store the neutral once it is certain enough, and again when it is more certain."""
        identity = self._identity
        certainty = identity.certainty
        if certainty < max(_SAVE_FROM, self._saved + _SAVE_STEP) or identity.goal is None:
            return
        self._saved = certainty
        if self._neutrals is None or self._actor.neutral == "fresh":
            return
        try:
            self._neutrals.save(self._actor.name, identity.goal)
        except ReenactError as error:
            if str(error) != self._save_problem:
                self._save_problem = str(error)
                log.warning("%s", error)


def _warn(problem: str) -> None:
    if problem:
        log.warning("%s", problem)
