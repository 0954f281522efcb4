"""Motion of the torso and the hair around a face, from sparse optical flow (Lucas and Kanade 1981).

Corners on collar and clothes, and on hair, ears or hat, are detected once, in a keyframe, and
tracked from there to each picture, so that errors do not accumulate. A similarity is fitted to the
corners of each part, robust against hands and other independent motion. For the torso this is
steadier and cheaper than the shoulders of a pose model. For the hair it gives the head's motion
without the influence of expressions on landmarks. See `benchmarks/body.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import estimate_pose
from reenact.face.segmentation import person_masks
from reenact.face.skull import hair_middle, hair_motion, move_rigidly, on_skull
from reenact.face.topology import CHIN, OVAL
from reenact.types import Array, Image, PartMotion, Pose, SeenBody

NECK: Final = 0.8
"""Height of the pivot of the torso's motion below the chin, iod."""

_WORKING_IOD: Final = 40.0
"""Pictures are scaled down until the inter-ocular distance is about this many px."""

_WORKING_RANGE: Final = 24.0, 80.0
"""The scale is kept while that distance stays between these, px."""

_COLLAR: Final = 0.35
_WIDTH: Final = 3.0
"""The torso begins this far below the chin, and reaches this far to each side, iod."""

_HAIRLINE: Final = 0.12
"""Width of the margin around the face in which no hair is searched for, iod."""

_MAX_CORNERS, _MIN_CORNERS = 40, 8
_MIN_SHARE: Final = 0.3
"""With fewer corners, or a smaller share of the keyframe's, a part is lost: a passing hand takes
some along."""

_PATIENCE: Final = 10
"""After so many pictures without a part a new keyframe is taken."""

_MAX_APART: Final = 0.2
"""Largest distance of the hair from where the head pose of the landmarks predicts it, iod; 99 % are
below .17."""

_RETRY: Final = 30
"""Pictures between two attempts to take a keyframe: the segmentation takes 30 ms."""

_MAX_ERROR_PX: Final = 1.0

_TOLERANCES: Final = (0.3, 0.2, 0.1, 0.05, 0.05)
"""Error, iod, at which a corner's weight falls to a quarter, for each iteration of the fit."""

_STIFFNESS: Final = 0.05
"""Weight of the prior for no roll and no change of size, as a squared distance in iod."""
_EDGE_PX: Final = 1.0

_FLOW: Final[dict[str, Any]] = {
    "winSize": (17, 17),
    "maxLevel": 2,
    "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
    "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03),
}

_Mask = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _View:
    """A picture at the working size, and the face in it, in px of that size.

    Attributes:
        gray: uint8 (H, W).
        landmarks: (478, 3).
        pose: of the head.
    """

    gray: _Mask
    landmarks: Array
    pose: Pose


@dataclass(frozen=True, slots=True)
class _Keyframe:
    """A picture whose corners are tracked.

    Attributes:
        view: the picture.
        corners: float32 (N, 1, 2) px of it.
        places: float32 (N, 2 or 3) px, the same corners, with depths if they move with the head.
    """

    view: _View
    corners: NDArray[Any]
    places: Array


class _Part:
    """Tracks one part of the body by its corners.

    Args:
        of_head: the part moves with the head, and its motion relative to the head is fitted;
            otherwise its motion relative to the picture.
    """

    def __init__(self, of_head: bool) -> None:
        self._of_head = of_head
        self._since = 0
        self.reset()

    def reset(self) -> None:
        """Forget the part."""
        self._key: _Keyframe | None = None
        self._fit: NDArray[np.float64] | None = None
        self._lost = 0

    @property
    def wants_keyframe(self) -> bool:
        return self._key is None or self._lost > _PATIENCE

    def follow(self, view: _View) -> PartMotion | None:
        """Return the motion from the keyframe to a picture; None: the part is lost."""
        if self._key is None:
            return None
        self._fit = self._followed(self._key, view)
        self._lost = self._lost + 1 if self._fit is None else 0
        return self._motion(view)

    def begin(self, view: _View, mask: _Mask) -> PartMotion | None:
        """Make this picture the keyframe for the corners in a mask, if there are enough."""
        corners = cv2.goodFeaturesToTrack(view.gray, _MAX_CORNERS, 0.003, 3, mask=mask)
        self._lost = 0
        if corners is None or len(corners) < _MIN_CORNERS:
            return None
        places = np.asarray(corners[:, 0], np.float32)
        if self._of_head:
            places = on_skull(places, view.pose)
        self._key, self._fit = _Keyframe(view, corners, places), np.eye(2, 3)
        self._since += 1
        return self._motion(view)

    def _motion(self, view: _View) -> PartMotion | None:
        if self._key is None or self._fit is None:
            return None
        first, fit = self._key.view, self._fit
        if self._of_head:
            return PartMotion(hair_motion(first.pose, view.pose, fit), self._since)
        pivot = first.landmarks[CHIN, :2] + (0, NECK * first.pose.scale)
        (a, _, _), (b, _, _) = fit
        moved = (fit[:, :2] @ pivot + fit[:, 2] - pivot) / first.pose.scale
        growth = math.log(max(math.hypot(a, b), 1e-3))
        return PartMotion(np.array([*moved, math.atan2(b, a), growth], np.float32), self._since)

    def _followed(self, key: _Keyframe, view: _View) -> NDArray[np.float64] | None:
        """Return the affine from the corners' expected to their actual places; None: lost."""
        expected = key.places
        if self._of_head:
            expected = move_rigidly(expected, key.view.pose, view.pose)[:, :2]
        guess = np.eye(2, 3) if self._fit is None else self._fit
        begin = cv2.transform(expected[:, None], guess)  # a new array: the flow is written into it
        there, seen, _ = cv2.calcOpticalFlowPyrLK(
            key.view.gray, view.gray, key.corners, np.asarray(begin, np.float32), **_FLOW
        )
        back, seen_back, _ = cv2.calcOpticalFlowPyrLK(
            view.gray, key.view.gray, there, key.corners.copy(), **_FLOW
        )
        error = np.linalg.norm((back - key.corners)[:, 0], axis=1)
        limit = np.array(view.gray.shape[::-1], np.float32) - 1 - _EDGE_PX
        inside = ((there[:, 0] > _EDGE_PX) & (there[:, 0] < limit)).all(axis=1)
        good = (seen[:, 0] > 0) & (seen_back[:, 0] > 0) & (error < _MAX_ERROR_PX) & inside
        needed = max(_MIN_CORNERS, _MIN_SHARE * len(key.corners))
        if good.sum() >= needed:
            fit, agree = _similarity(expected[good], there[good, 0], guess, view.pose.scale)
            if agree >= needed and not self._has_left_head(fit, view.pose):
                return fit
        return None

    def _has_left_head(self, fit: NDArray[np.float64], pose: Pose) -> bool:
        """Return True if what is tracked is no longer hair, but a hand or the wall."""
        if not self._of_head:
            return False
        middle = hair_middle(pose)
        apart = fit[:, :2] @ middle + fit[:, 2] - middle
        return bool(np.hypot(*apart) > _MAX_APART * pose.scale)


class BodyTracker:
    """Tracks torso and hair of the person whose face is tracked. One thread calls it."""

    def __init__(self) -> None:
        self._torso, self._hair = _Part(of_head=False), _Part(of_head=True)
        self.reset()

    def reset(self) -> None:
        """Forget the body, for instance after a cut."""
        self._torso.reset()
        self._hair.reset()
        self._size: tuple[int, ...] = ()
        self._shrink = 1
        self._wait = 0

    def track(self, image: Image, landmarks: Array) -> SeenBody:
        """Return the motion of torso and hair, each since its keyframe.

        Args:
            image: uint8 (H, W, 3) RGB.
            landmarks: (478, 3) px of the face in it.
        """
        if image.shape != self._size:
            self._begin(image, _shrink_for(estimate_pose(landmarks).scale))
        view = self._view(image, landmarks)
        shrink = _shrink_for(view.pose.scale * self._shrink)
        if shrink != self._shrink and not _WORKING_RANGE[0] < view.pose.scale < _WORKING_RANGE[1]:
            self._begin(image, shrink)
            view = self._view(image, landmarks)
        parts = self._torso, self._hair
        found = [part.follow(view) for part in parts]
        self._wait = max(self._wait - 1, 0)
        wanted = [part.wants_keyframe for part in parts]
        if any(wanted) and not self._wait:
            self._wait = _RETRY
            masks = self._masks(image, view)
            for number, (part, mask) in enumerate(zip(parts, masks, strict=True)):
                if wanted[number]:
                    found[number] = part.begin(view, mask)
        return SeenBody(*found)

    def _begin(self, image: Image, shrink: int) -> None:
        self.reset()
        self._size, self._shrink = image.shape, shrink

    def _view(self, image: Image, landmarks: Array) -> _View:
        """Return a picture in grey at the working size; an integer factor makes this fast."""
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        width, height = (side // self._shrink for side in gray.shape[::-1])
        gray = gray[: height * self._shrink, : width * self._shrink]
        small = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA)
        points = landmarks / np.float32(self._shrink)
        return _View(np.asarray(small, np.uint8), points, estimate_pose(points))

    def _masks(self, image: Image, view: _View) -> list[_Mask]:
        """Return the masks of torso and hair in which corners are searched."""
        person = next(person_masks([image]))
        iod, chin = view.pose.scale, view.landmarks[CHIN]
        mask = cv2.resize((person > 0.5).astype(np.uint8), view.gray.shape[::-1])
        torso = np.asarray(cv2.erode(mask, np.ones((3, 3), np.uint8)), np.uint8)
        hair = torso.copy()
        torso[: max(math.ceil(chin[1] + _COLLAR * iod), 0)] = 0
        torso[:, : max(round(chin[0] - _WIDTH * iod), 0)] = 0
        torso[:, max(round(chin[0] + _WIDTH * iod), 0) :] = 0
        hair[max(round(chin[1]), 0) :] = 0
        oval = view.landmarks[list(OVAL), :2].astype(np.int32)
        cv2.fillPoly(hair, [oval], (0,))
        cv2.polylines(hair, [oval], True, (0,), max(round(2 * _HAIRLINE * iod), 1))
        return [torso, hair]


def _shrink_for(iod_px: float) -> int:
    """Return the integer by which a picture is scaled down."""
    return max(round(iod_px / _WORKING_IOD), 1)


def _similarity(
    start: NDArray[Any], end: NDArray[Any], guess: NDArray[np.float64], iod_px: float
) -> tuple[NDArray[np.float64], int]:
    """Fit a similarity by reweighted least squares (Geman and McClure 1985), starting from a guess.

    A prior keeps roll and change of size small, so that a few corners close together do not fake
    them.

    Returns:
        The (2, 3) affine, and how many of the points agree with it.
    """
    # As complex numbers, points are turned and scaled by a product.
    x, y = (points.astype(np.float64).view(np.complex128)[:, 0] for points in (start, end))
    turn, shift = complex(guess[0, 0], guess[1, 0]), complex(guess[0, 2], guess[1, 2])
    prior = _STIFFNESS * iod_px**2
    for share in _TOLERANCES:
        error = np.abs(turn * x + shift - y) ** 2 / (share * iod_px) ** 2
        weight = 1 / (1 + error) ** 2
        weight /= weight.sum()
        middle, there = weight @ x, weight @ y
        from_middle = x - middle
        weighted = weight * from_middle
        spread = np.vdot(weighted, from_middle).real + prior
        turn = (np.vdot(weighted, y - there) + prior) / spread
        shift = there - turn * middle
    a, b = turn.real, turn.imag
    return np.array([[a, -b, shift.real], [b, a, shift.imag]]), int((error < 1).sum())
