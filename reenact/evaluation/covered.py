"""Clips in which a hand or a card covers part of the face, and how the tracker sees them.

The cover moves in from the side within .6 s, stays for 1.6 s, and moves out again. It is drawn:
the hand in the skin tone of the person's cheeks, the card almost white.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np

from reenact.evaluation.clips import CLIP_FPS, Clip, there_and_back
from reenact.face.topology import (
    EYE_CORNERS_LEFT,
    EYE_CORNERS_RIGHT,
    LOWER_LIP,
    MOUTH_CORNERS,
    UPPER_LIP,
)
from reenact.imaging import smoothstep
from reenact.types import Array, Frame, Image, Tracker

Cover = Literal["hand_mouth", "card_mouth", "hand_eye"]

COVERS: Final[tuple[Cover, ...]] = ("hand_mouth", "card_mouth", "hand_eye")

_START_S, _WAY_S, _STAY_S, _AFTER_S = 1.6, 0.6, 1.6, 1.6
_MOUTH: Final = [UPPER_LIP, LOWER_LIP, *MOUTH_CORNERS]
_EYE: Final = [33, 133, 159, 145]
_CHEEKS: Final = [50, 280, 118, 347]
_CARD: Final = np.array([225, 222, 215], np.float32)
_PALM: Final = np.array(
    [[-0.5, -0.45], [0.5, -0.45], [0.55, 0.3], [0.3, 0.75], [-0.3, 0.75], [-0.55, 0.3]]
)
_FINGERS: Final = ((-0.39, 0.75), (-0.13, 0.95), (0.13, 0.9), (0.39, 0.65))


@dataclass(frozen=True, slots=True)
class CoveredRun:
    """A clip tracked with and without a cover.

    Attributes:
        open: (F, 478, 3) px, tracked without the cover.
        covered: (F, 478, 3) px, tracked with it.
        share: (F,) how far the cover is in place, 0 to 1.
    """

    open: Array
    covered: Array
    share: Array


def track_covered(clip: Clip, cover: Cover, tracker: Tracker) -> CoveredRun | None:
    """Cover the face in a clip and track it; None if the face is lost.

    A clip that is too short is played forwards and backwards.
    """
    share = _course()
    frames = clip.usable[np.resize(there_and_back(len(clip.usable)), len(share))]
    points: list[list[Array]] = [[], []]
    for number, laid_over in enumerate((False, True)):
        tracker.reset()
        for index, (frame, amount) in enumerate(zip(frames, share, strict=True)):
            image = np.ascontiguousarray(clip.images[frame])
            if laid_over and amount > 0:
                image = _covered(image, clip.landmarks[frame], cover, float(amount), index)
            found = tracker.track(Frame(image, index / CLIP_FPS, index))
            if found is None:
                return None
            points[number].append(found.points)
    return CoveredRun(np.stack(points[0]), np.stack(points[1]), share)


def _course() -> Array:
    """Return (F,) how far the cover is in place, 0 to 1."""
    times = np.arange(round((_START_S + 2 * _WAY_S + _STAY_S + _AFTER_S) * CLIP_FPS)) / CLIP_FPS
    gone = _START_S + _WAY_S + _STAY_S
    share = np.minimum((times - _START_S) / _WAY_S, 1 - (times - gone) / _WAY_S).clip(0, 1)
    return np.asarray(smoothstep(share), dtype=np.float32)


def _covered(image: Image, face: Array, cover: Cover, share: float, number: int) -> Image:
    """Return the picture with a hand or card over the face at the (478, 3) px landmarks."""
    eyes = face[list(EYE_CORNERS_RIGHT)].mean(axis=0) - face[list(EYE_CORNERS_LEFT)].mean(axis=0)
    iod = float(np.linalg.norm(eyes[:2]))
    over_mouth = cover != "hand_eye"
    side = 1.9 if over_mouth else -1.9
    place = face[_MOUTH if over_mouth else _EYE].mean(axis=0)[:2]
    place = place + iod * (1 - share) * np.array([side, 3.2])
    place = place + 0.06 * iod * np.array([np.sin(number / 7), np.cos(number / 9)])
    height, width = image.shape[:2]
    mask = np.zeros((2 * height, 2 * width), np.uint8)
    if cover == "card_mouth":
        corners = np.array([[-0.9, -0.6], [0.9, -0.6], [0.9, 0.6], [-0.9, 0.6]])
        _fill(mask, _placed(corners, place, 0.75 * iod, 0.2))
        tone = _CARD
    else:
        size = (1.05 if over_mouth else 0.8) * iod
        _draw_hand(mask, place + np.array([0, 0.35 * iod]), size, 0.25 * np.sin(number / 20) - 0.2)
        x, y = np.clip(face[_CHEEKS, :2].astype(int), 0, [width - 1, height - 1]).T
        tone = np.median(image[y, x], axis=0)
    alpha = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)[..., None] / 255
    return np.ascontiguousarray(image * (1 - alpha) + tone * alpha, dtype=np.uint8)


def _draw_hand(mask: Image, place: Array, size: float, angle: float) -> None:
    """Draw palm, wrist and five fingers, `size` px wide, into a mask twice the picture's side."""
    _fill(mask, _placed(_PALM, place, size, angle))
    lines = [((x, -0.35), (1.15 * x, -0.45 - length), 0.2) for x, length in _FINGERS]
    lines += [((0.45, 0.25), (0.95, -0.3), 0.22), ((0.0, 0.7), (0.0, 3.0), 0.7)]
    for start, end, thickness in lines:
        first, last = _placed(np.array([start, end]), place, size, angle).round().astype(int)
        cv2.line(mask, first.tolist(), last.tolist(), (255,), max(round(2 * thickness * size), 1))


def _placed(points: Array, place: Array, size: float, angle: float) -> Array:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(2 * (place + size * points @ turn.T))


def _fill(mask: Image, corners: Array) -> None:
    cv2.fillPoly(mask, [corners.round().astype(np.int32)], (255,))
