"""Motion of the torso below a face, from sparse optical flow (Lucas and Kanade 1981).

Corners of collar, clothes and shoulders are found once, in a keyframe, and followed from there to
each picture, so that errors do not add up. A similarity is fitted to them, robust against hands and
whatever else moves by itself. It is steadier and cheaper than the shoulders of a pose model: see
`benchmarks/body.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.errors import ModelError
from reenact.face.geometry import estimate_pose, to_face_frame, to_image
from reenact.face.segmentation import person_masks
from reenact.face.topology import CHIN
from reenact.types import Array, Body, Image, Target, Torso

NECK: Final = 0.8
"""Height of the pivot of the torso's motion below the chin, iod."""

_JOINT: Final = np.array([0.0, -0.8, 1.8], np.float32)
"""Where head meets body, relative to the chin in the face frame, iod. A head that nods or turns
about it leaves the shoulders in place."""

_WORKING_IOD: Final = 40.0
"""Pictures are scaled down until the inter-ocular distance has about so many px."""

_COLLAR: Final = 0.35
_WIDTH: Final = 3.0
"""The torso begins this far below the chin, and reaches this far to each side, iod."""

_MAX_CORNERS, _MIN_CORNERS = 60, 8
_MIN_SHARE: Final = 0.15
"""With fewer or a smaller share of the keyframe's corners the torso is lost."""

_FEW: Final = 0.3
_PATIENCE: Final = 10
"""After so many pictures with fewer corners than this share, a new keyframe is taken."""

_RETRY: Final = 30
"""Pictures between two attempts to take a keyframe: the segmentation takes 30 ms."""

_MAX_ERROR_PX: Final = 1.0

_TOLERANCES: Final = (0.3, 0.2, 0.1, 0.05, 0.05)
"""Errors, iod, at which a corner's weight falls to a quarter, from one fit to the next."""

_STIFFNESS: Final = 0.2
"""Weight of the wish for neither roll nor growth, as the square of a distance in iod."""
_EDGE_PX: Final = 1.0

_FLOW: Final[dict[str, Any]] = {
    "winSize": (17, 17),
    "maxLevel": 2,
    "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
    "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03),
}


@dataclass(frozen=True, slots=True)
class _Keyframe:
    """A picture whose corners are followed.

    Attributes:
        gray: uint8 (H, W), scaled down.
        corners: float32 (N, 1, 2) px of it.
        motion: (2, 3) px of it, from the first keyframe to this one.
        pivot: (2,) px of it, the pivot of the torso in the first keyframe.
        iod_px: of the actor in the first keyframe, px of it.
    """

    gray: NDArray[np.uint8]
    corners: NDArray[Any]
    motion: NDArray[np.float64]
    pivot: NDArray[np.float64]
    iod_px: float


class BodyTracker:
    """Follows the torso of the person whose face is tracked. One thread calls it."""

    def __init__(self) -> None:
        self._can_segment = True
        self._since = 0
        self.reset()

    def reset(self) -> None:
        """Forget the torso, for instance after a cut."""
        self._keyframe: _Keyframe | None = None
        self._guess: NDArray[np.float64] | None = None
        self._size: tuple[int, ...] = ()
        self._weak = 0
        self._wait = 0

    def track(self, image: Image, landmarks: Array) -> Torso | None:
        """Return the motion of the torso since it was seen first; None if none is seen.

        Args:
            image: uint8 (H, W, 3) RGB.
            landmarks: (478, 3) px of the face in it.
        """
        if image.shape != self._size:
            self.reset()
            self._size = image.shape
            self._shrink = max(round(estimate_pose(landmarks).scale / _WORKING_IOD), 1)
        gray = self._small(image)
        self._wait = max(self._wait - 1, 0)
        key = self._keyframe
        if key is None:
            self._take_keyframe(image, gray, landmarks, None)
            return None if self._keyframe is None else Torso(np.zeros(4, np.float32), self._since)
        motion, share = self._followed(key, gray)
        self._weak = self._weak + 1 if share < _FEW else 0
        if self._weak > _PATIENCE and not self._wait:
            self._take_keyframe(image, gray, landmarks, motion)
        if motion is None:
            return None
        return Torso(_parameters(motion, key), self._since)

    def _small(self, image: Image) -> NDArray[np.uint8]:
        """Return a picture in grey at the working size; a whole factor is shrunk fast."""
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        width, height = (side // self._shrink for side in gray.shape[::-1])
        gray = gray[: height * self._shrink, : width * self._shrink]
        return np.asarray(cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def _followed(
        self, key: _Keyframe, gray: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float64] | None, float]:
        """Return the motion since the first keyframe, and the share of corners that agree."""
        guess = np.eye(2, 3) if self._guess is None else self._guess
        begin = cv2.transform(key.corners, guess)  # a new array: the flow is written into it
        there, seen, _ = cv2.calcOpticalFlowPyrLK(
            key.gray, gray, key.corners, np.asarray(begin, np.float32), **_FLOW
        )
        back, seen_back, _ = cv2.calcOpticalFlowPyrLK(
            gray, key.gray, there, key.corners.copy(), **_FLOW
        )
        error = np.linalg.norm((back - key.corners)[:, 0], axis=1)
        limit = np.array(gray.shape[::-1], np.float32) - 1 - _EDGE_PX
        inside = ((there[:, 0] > _EDGE_PX) & (there[:, 0] < limit)).all(axis=1)
        good = (seen[:, 0] > 0) & (seen_back[:, 0] > 0) & (error < _MAX_ERROR_PX) & inside
        needed = max(_MIN_CORNERS, _MIN_SHARE * len(key.corners))
        if good.sum() >= needed:
            found, agree = _similarity(key.corners[good, 0], there[good, 0], guess, key.iod_px)
            if agree >= needed:
                self._guess = found
                return _after(found, key.motion), agree / len(key.corners)
        self._guess = None
        return None, 0.0

    def _take_keyframe(
        self,
        image: Image,
        gray: NDArray[np.uint8],
        landmarks: Array,
        motion: NDArray[np.float64] | None,
    ) -> None:
        """Follow the torso from this picture on.

        Args:
            image: the picture, uint8 (H, W, 3) RGB.
            gray: it at the working size.
            landmarks: (478, 3) px.
            motion: from the first keyframe to this picture; None: this is the first one.
        """
        if self._wait or not self._can_segment:
            return
        self._wait, self._weak, self._guess = _RETRY, 0, None
        try:
            person = next(person_masks([image]))
        except ModelError:
            self._can_segment = False  # another mediapipe than the one with the models
            return
        iod_px = estimate_pose(landmarks).scale / self._shrink
        chin = landmarks[CHIN, :2].astype(np.float64) / self._shrink
        mask = cv2.resize((person > 0.5).astype(np.uint8), gray.shape[::-1])
        mask = cv2.erode(mask, np.ones((3, 3), np.uint8))
        mask[: max(math.ceil(chin[1] + _COLLAR * iod_px), 0)] = 0
        mask[:, : max(round(chin[0] - _WIDTH * iod_px), 0)] = 0
        mask[:, max(round(chin[0] + _WIDTH * iod_px), 0) :] = 0
        corners = cv2.goodFeaturesToTrack(gray, _MAX_CORNERS, 0.003, 3, mask=mask)
        old = self._keyframe
        self._keyframe = None
        if corners is None or len(corners) < _MIN_CORNERS:
            return
        if motion is None or old is None:
            pivot = chin + np.array([0, NECK * iod_px])
            self._keyframe = _Keyframe(gray, corners, np.eye(2, 3), pivot, iod_px)
            self._since += 1
        else:
            self._keyframe = _Keyframe(gray, corners, motion, old.pivot, old.iod_px)


def head_borne(neutral: Array, landmarks: Array) -> Array:
    """Return the motion, (4,) as of `Torso`, of a torso that a head takes along.

    Args:
        neutral: (478, 3) px, from which it moves.
        landmarks: (478, 3) px, to which it moves.
    """
    start, end = estimate_pose(neutral), estimate_pose(landmarks)
    joint = to_face_frame(neutral[CHIN : CHIN + 1], start) + _JOINT
    across, down, _ = ((to_image(joint, end) - to_image(joint, start)) / start.scale)[0]
    return np.array([across, down, 0, math.log(end.scale / start.scale)], np.float32)


def torso(motion: Array, neutral: Array, crop_px: int, share: float = 1.0) -> Body:
    """Return the torso of a face's crop that has moved.

    Args:
        motion: (4,) of `Torso`.
        neutral: (478, 3) px, the landmarks from which it moves.
        crop_px: side of the crop.
        share: of `Body`.
    """
    iod = estimate_pose(neutral).scale / crop_px
    pivot = (neutral[CHIN, :2] + 0.5) / crop_px + np.array([0, NECK * iod])
    turn = cv2.getRotationMatrix2D((0, 0), -math.degrees(motion[2]), math.exp(motion[3]))
    turn[:, 2] = pivot + motion[:2] * iod - turn[:, :2] @ pivot
    return Body(turn.astype(np.float32), share)


def reference_torsos(target: Target) -> list[Array]:
    """Return where the torso is in each reference, (2, 3) as of `Body.motion` from the neutral."""
    size = target.crop_size
    if len(target.references) == 1:
        return [np.eye(2, 3, dtype=np.float32)]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    rest = cv2.warpAffine(target.plate, target.crop_to_plate, (size, size), flags=flags)
    tracker = BodyTracker()
    tracker.track(np.asarray(rest, np.uint8), target.neutral)
    torsos = []
    for picture, points in zip(target.references, target.landmarks, strict=True):
        seen = tracker.track(picture, points)
        motion = head_borne(target.neutral, points) if seen is None else seen.motion
        torsos.append(torso(motion, target.neutral, size).motion)
    return torsos


def _similarity(
    start: NDArray[Any], end: NDArray[Any], guess: NDArray[np.float64], iod_px: float
) -> tuple[NDArray[np.float64], int]:
    """Fit a similarity by reweighted least squares (Geman and McClure 1985), from a guess on.

    Roll and growth are drawn to none, so that a few corners close together do not invent them.

    Returns:
        The (2, 3) affine, and how many of the points agree with it.
    """
    fit, x, y = guess, start.astype(np.float64), end.astype(np.float64)
    for share in _TOLERANCES:
        error = ((x @ fit[:, :2].T + fit[:, 2] - y) ** 2).sum(axis=1) / (share * iod_px) ** 2
        weight = 1 / (1 + error) ** 2
        weight /= weight.sum()
        middle, there = weight @ x, weight @ y
        from_middle, from_there = x - middle, y - there
        prior = _STIFFNESS * iod_px**2
        spread = weight @ (from_middle**2).sum(axis=1) + prior
        a = (weight @ (from_middle * from_there).sum(axis=1) + prior) / spread
        b = weight @ (from_middle[:, 0] * from_there[:, 1] - from_middle[:, 1] * from_there[:, 0])
        turn = np.array([[a, -b / spread], [b / spread, a]])
        fit = np.column_stack([turn, there - turn @ middle])
    return fit, int((error < 1).sum())


def _after(second: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (2, 3) affine that does the first, then the second."""
    return np.asarray(second @ np.vstack([first, (0, 0, 1)]))


def _parameters(motion: NDArray[np.float64], key: _Keyframe) -> Array:
    (a, _, _), (b, _, _) = motion
    moved = motion[:, :2] @ key.pivot + motion[:, 2] - key.pivot
    growth = max(math.hypot(a, b), 1e-3)
    return np.array([*moved / key.iod_px, math.atan2(b, a), math.log(growth)], np.float32)
