"""Gaps between teeth that no photo of the target shows.

A photo with shut lips tells nothing of the teeth behind them, and of what it was not told a network
draws the mean of all: one white bar. Where it drew upper teeth, the gaps between them are darkened
here. Their places hardly differ between people: teeth have about the same widths in everybody, and
upper ones stay where they are in the head.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.aperture import MOUTH, Opening, patch
from reenact.face.geometry import estimate_pose, to_face_frame, to_image
from reenact.face.topology import LIPS_INNER
from reenact.imaging import smoothstep
from reenact.types import Array, Image, Pose

_IOD_MM: Final = 63.0
"""Mean distance of adults' pupils (Dodgson 2004)."""

_WIDTHS_MM: Final = (8.5, 6.5, 7.5, 7.0, 7.0)
"""Upper teeth from the middle outwards (Ash and Nelson, Wheeler's Dental Anatomy, 2003)."""

_GAPS: Final = np.cumsum((0.0, *_WIDTHS_MM)) / _IOD_MM
"""Where they are, from the middle along the arch, iod."""

_BEND: Final = 1.8
"""The arch is a parabola: its depth, iod, at one iod from the middle. Canines are 34 mm apart and
8 mm behind the incisors."""

_REACH: Final = 0.5
_BEHIND_LIP: Final = 0.05
"""How far to each side the arch goes, and how far behind the upper lip it begins, iod."""

_NARROW: Final = 0.009
_WIDENING: Final = 0.012
_HEIGHT: Final = 0.12
"""Standard deviation of a gap at the lip, iod, and what is added to it so far below the lip, at the
teeth's edge: their corners are round."""

_END: Final = (0.12, 0.2)
"""From the one to the other distance below the upper lip, iod, gaps fade: then come tongue and
lower teeth."""

_DARKER: Final = 0.25
_CORNERS_DARKER: Final = 0.3
"""The most that gaps and, in the arch's depth, teeth lose of their light."""

_ANY_LEVELS: Final = 40.0
"""Less of a difference between the brightest and the darkest inside of a mouth is not of teeth."""

_APART: Final = (0.03, 0.08)
"""Lips of a photo that are so far apart, iod, begin to show teeth, and show them."""

_LEAST_PIXELS: Final = 16

_TONES: Final = (10, 95)
"""Percentiles of what is inside that stand for its dark and its bright."""


class UpperTeeth:
    """The gaps between the upper teeth of one target. Immutable.

    Args:
        landmarks: (N, 478, 3) of all that is known of the target, crop px.
    """

    def __init__(self, landmarks: Array) -> None:
        shapes = [to_face_frame(points, estimate_pose(points)) for points in landmarks]
        apart = max(Opening(shape, MOUTH).height() for shape in shapes)
        shut, shown = _APART
        self._share = float(np.clip((shown - apart) / (shown - shut), 0, 1))
        lip = shapes[0][MOUTH[0]]
        across = np.linspace(-_REACH, _REACH, 101, dtype=np.float32)
        depth = _BEND * across**2
        steps = np.hypot(np.diff(across), np.diff(depth))
        length = np.concatenate([[0], np.cumsum(steps)])
        self._from_middle = (length - length[-1] / 2).astype(np.float32)
        middle = lip[len(lip) // 2]
        self._arch = middle + np.stack([across, np.zeros_like(across), depth + _BEHIND_LIP], axis=1)

    def draw(self, picture: Image, drive: Array, unseen: Array, pose: Pose | None = None) -> None:
        """Darken the gaps in a drawn picture.

        Args:
            picture: uint8 (S, S, 3) RGB; it is changed.
            drive: (478, 3) landmarks that it was drawn by, crop px.
            unseen: float32 (S/n, S/n), how far (0 to 1) a cell of n px is inside of the mouth that
                the reference does not show.
            pose: of these landmarks, where it is known.
        """
        if not self._share:
            return
        cell = len(picture) // len(unseen)
        rows, columns, places = patch(drive[list(LIPS_INNER), :2], len(picture), cell)
        cells = unseen[
            rows.start // cell : rows.stop // cell, columns.start // cell : columns.stop // cell
        ]
        if not cells.any():
            return
        mouth = picture[rows, columns]
        share = cv2.resize(cells, mouth.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        inside = share > 0.5
        if np.count_nonzero(inside) < _LEAST_PIXELS:
            return
        lost = self._lost(drive, pose or estimate_pose(drive), places).reshape(share.shape)
        kept = 1 - self._share * share * _white(mouth, inside) * lost
        mouth[:] = np.clip(mouth * kept[..., None] + 0.5, 0, 255)

    def _lost(self, drive: Array, pose: Pose, places: Array) -> Array:
        """Return (N,), the share of its light that a tooth, or a gap, loses at each (N, 2) px."""
        opening = Opening(drive, MOUTH)
        along, across = opening.measure(places).T
        seen = opening.measure(to_image(self._arch, pose)[:, :2])[:, 0]
        order = np.argsort(seen)
        at, of = seen[order], self._from_middle[order]
        from_middle = np.abs(np.interp(along, at, of))
        pixel = np.abs(np.interp(along + 0.5, at, of) - np.interp(along - 0.5, at, of))
        drop = (across - opening.upper(along)) / pose.scale
        wide = _NARROW + _WIDENING * np.clip(drop / _HEIGHT, 0, 1) ** 2
        blurred = np.hypot(wide, pixel / 2)
        away = np.abs(from_middle[:, None] - _GAPS).min(axis=1)
        gap = wide / blurred * np.exp(-((away / blurred) ** 2) / 2)
        shade = _CORNERS_DARKER * np.clip(from_middle / _REACH, 0, 1) ** 2
        near, far = _END
        upper = np.clip((far - drop) / (far - near), 0, 1)
        return np.asarray(upper * (1 - (1 - _DARKER * gap) * (1 - shade)), dtype=np.float32)


def _white(mouth: Image, inside: NDArray[np.bool_]) -> Array:
    """Return (H, W), how far (0 to 1) pixels of (H, W, 3) are as white as the whitest inside.

    Gums, tongues and lips are red: the least of the three colours tells teeth from them.
    """
    least = mouth.min(axis=2).astype(np.float32)
    dark, bright = np.percentile(least[inside], _TONES)
    share = np.clip((least - dark) / max(bright - dark, _ANY_LEVELS), 0, 1)
    return np.asarray(smoothstep(share), dtype=np.float32)
