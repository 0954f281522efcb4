"""The inside of the mouth: what the reference shows of it, and gaps between unseen teeth.

A mesh between the lips would stretch a smiling reference's teeth as the mouth opens. Here the
inside hangs from the upper lip as in the reference, however far the lower lip drops. The reference
shows nothing below it, or beside it in a wider mouth; there the network draws.

A photo with closed lips shows no teeth, so the network draws the average of all teeth: one white
bar. Where it drew upper teeth, the gaps between them are darkened. Tooth widths hardly differ
between people, and upper teeth are fixed in the head.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.aperture import MOUTH, Opening, growth, patch
from reenact.face.geometry import estimate_pose, to_face_frame, to_image
from reenact.face.topology import LIPS_INNER
from reenact.imaging import smoothstep
from reenact.types import Array, Image, Pose

_RIM_IOD: Final = 0.03
"""Width of the transition from what the reference shows to what it does not."""

_IOD_MM: Final = 63.0
"""Mean interpupillary distance of adults (Dodgson 2004)."""

_TOOTH_WIDTHS_MM: Final = (8.5, 6.5, 7.5, 7.0, 7.0)
"""Upper teeth from the middle outwards (Ash and Nelson, Wheeler's Dental Anatomy, 2003)."""

_GAPS: Final = np.cumsum((0.0, *_TOOTH_WIDTHS_MM)) / _IOD_MM
"""Positions of the gaps along the arch, from the middle, iod."""

_ARCH_BEND: Final = 1.8
"""The dental arch is a parabola: its depth, iod, at one iod from the middle. Canines are 34 mm
apart and 8 mm behind the incisors."""

_ARCH_REACH: Final = 0.5
_BEHIND_LIP: Final = 0.05
"""Half width of the arch, and how far behind the upper lip it begins, iod."""

_GAP_WIDTH: Final = 0.009
_GAP_WIDENING: Final = 0.012
_TOOTH_HEIGHT: Final = 0.12
"""Standard deviation of a gap at the lip, iod, and its increase at the teeth's lower edge, this far
below the lip: the corners of teeth are round."""

_FADE: Final = (0.12, 0.2)
"""Gaps fade between these distances below the upper lip, iod; tongue and lower teeth follow."""

_GAP_DARKENING: Final = 0.25
_DEPTH_DARKENING: Final = 0.3
"""Largest share of light that gaps lose, and that teeth lose towards the back of the arch."""

_MIN_CONTRAST: Final = 40.0
"""With less contrast, in levels, the inside of a mouth shows no teeth."""

_LIPS_APART: Final = (0.03, 0.08)
"""Photos with lips this far apart, iod, begin to show teeth, and show them fully."""

_MIN_PIXELS: Final = 16

_TONES: Final = (10, 95)
"""Percentiles of the inside that stand for its dark and its bright tones."""


def mouth_sources(
    places: Array, reference: Array, drive: Array, poses: tuple[Pose, Pose] | None = None
) -> tuple[Array, Array]:
    """Return where places inside the driven mouth come from, and which of them are unseen.

    Args:
        places: (N, 2) crop px; places a little outside map to places equally far outside.
        reference: (478, 3) landmarks of the reference, crop px.
        drive: (478, 3) driven landmarks, crop px.
        poses: of both; None: they are estimated here.

    Returns:
        float32 (N, 2) crop px, and float32 (N,): 0 where the reference shows the place, 1 where it
        does not and its lower lip or corner stands in.
    """
    shown, wanted = Opening(reference, MOUTH), Opening(drive, MOUTH)
    before, after = poses or (estimate_pose(reference), estimate_pose(drive))
    grown_along, grown = growth(shown, before, after)
    along, across = wanted.measure(places).T
    drop = across - wanted.upper(along)
    beyond_lip = np.maximum(across - np.maximum(wanted.lower(along), wanted.upper(along)), 0)
    outside = wanted.beyond_corners(along) / grown
    along = along / grown_along
    beside = np.abs(shown.beyond_corners(along) - outside)
    along = along - shown.beyond_corners(along) + outside
    top = shown.upper(along)
    opening = np.maximum(shown.lower(along) - top, 0)
    drop = (drop - beyond_lip) / grown
    across = top + np.minimum(drop, opening) + beyond_lip / grown
    rim = _RIM_IOD * before.scale
    missing = np.clip(np.maximum(drop - opening, beside) / rim, 0, 1)
    return shown.places(along, across), missing.astype(np.float32)


class UpperTeeth:
    """The gaps between the upper teeth of one target. Immutable.

    Args:
        landmarks: (N, 478, 3) of all the target's pictures, crop px.
    """

    def __init__(self, landmarks: Array) -> None:
        shapes = [to_face_frame(points, estimate_pose(points)) for points in landmarks]
        apart = max(Opening(shape, MOUTH).height() for shape in shapes)
        shut, shown = _LIPS_APART
        self._share = float(np.clip((shown - apart) / (shown - shut), 0, 1))
        lip = shapes[0][MOUTH[0]]
        across = np.linspace(-_ARCH_REACH, _ARCH_REACH, 101, dtype=np.float32)
        depth = _ARCH_BEND * across**2
        steps = np.hypot(np.diff(across), np.diff(depth))
        length = np.concatenate([[0], np.cumsum(steps)])
        self._from_middle = (length - length[-1] / 2).astype(np.float32)
        middle = lip[len(lip) // 2]
        self._arch = middle + np.stack([across, np.zeros_like(across), depth + _BEHIND_LIP], axis=1)

    def draw(self, picture: Image, drive: Array, unseen: Array, pose: Pose | None = None) -> None:
        """Darken the gaps in a drawn picture, in place.

        Args:
            picture: uint8 (S, S, 3) RGB.
            drive: (478, 3) landmarks that it was drawn with, crop px.
            unseen: float32 (side, side): inside of the mouth that the reference does not show, 0
                to 1.
            pose: of these landmarks; None: it is estimated here.
        """
        if not self._share:
            return
        if not unseen.any():
            return
        if len(picture) % len(unseen):
            unseen = np.asarray(cv2.resize(unseen, picture.shape[1::-1]), np.float32)
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
        if np.count_nonzero(inside) < _MIN_PIXELS:
            return
        lost = self._lost_light(drive, pose or estimate_pose(drive), places).reshape(share.shape)
        kept = 1 - self._share * share * _whiteness(mouth, inside) * lost
        mouth[:] = np.clip(mouth * kept[..., None] + 0.5, 0, 255)

    def _lost_light(self, drive: Array, pose: Pose, places: Array) -> Array:
        """Return (N,), the share of light that a tooth or gap loses at each of (N, 2) px."""
        opening = Opening(drive, MOUTH)
        along, across = opening.measure(places).T
        seen = opening.measure(to_image(self._arch, pose)[:, :2])[:, 0]
        order = np.argsort(seen)
        at, of = seen[order], self._from_middle[order]
        from_middle = np.abs(np.interp(along, at, of))
        pixel = np.abs(np.interp(along + 0.5, at, of) - np.interp(along - 0.5, at, of))
        drop = (across - opening.upper(along)) / pose.scale
        wide = _GAP_WIDTH + _GAP_WIDENING * np.clip(drop / _TOOTH_HEIGHT, 0, 1) ** 2
        blurred = np.hypot(wide, pixel / 2)
        away = np.abs(from_middle[:, None] - _GAPS).min(axis=1)
        gap = wide / blurred * np.exp(-((away / blurred) ** 2) / 2)
        shade = _DEPTH_DARKENING * np.clip(from_middle / _ARCH_REACH, 0, 1) ** 2
        near, far = _FADE
        upper = np.clip((far - drop) / (far - near), 0, 1)
        return np.asarray(upper * (1 - (1 - _GAP_DARKENING * gap) * (1 - shade)), dtype=np.float32)


def _whiteness(mouth: Image, inside: NDArray[np.bool_]) -> Array:
    """Return (H, W), 0 to 1: how close pixels of (H, W, 3) are to the whitest ones inside.

    Gums, tongue and lips are red, so the smallest of the three colours separates teeth from them.
    """
    least = mouth.min(axis=2).astype(np.float32)
    dark, bright = np.percentile(least[inside], _TONES)
    share = np.clip((least - dark) / max(bright - dark, _MIN_CONTRAST), 0, 1)
    return np.asarray(smoothstep(share), dtype=np.float32)
