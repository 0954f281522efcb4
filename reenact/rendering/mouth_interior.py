"""Draws the inside of a mouth that the photo does not show: two rows of teeth before a tongue.

Upper teeth belong to the skull and lower ones to the jaw, so they keep still while lips move before
them. Their sizes are those of a permanent dentition (Wheeler's Dental Anatomy); how they lie behind
the lips was fitted to clips of people who open their mouths. They are drawn at the size of the
output, sharp where a network could only draw the mean of all teeth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from reenact.face.geometry import filled_outline, to_face_frame, to_image
from reenact.face.topology import CHIN, LIPS_INNER
from reenact.types import Array, Image, Pose

_MM: Final = 1 / 63
"""A millimetre in iod: pupils are 63 mm apart on average."""

_NOSE_BASE, _UPPER_LIP, _LOWER_LIP = 2, 13, 14

_CLOSED_IOD: Final = 0.08
"""Lips that are farther apart show upper teeth, and meet half this below the upper lip."""

_OVERBITE_MM: Final = 5.0
"""Between the edges of upper and lower teeth, both shown, when the jaw is shut."""

_COVERED_MM: Final = (2.0, -1.0)
"""The most and the least of the lower teeth that the lower lip leaves free."""

_TEETH: Final = (1.5, 1.7, 1.8)
_GUMS: Final = (0.95, 0.65, 0.7)
_TONGUE: Final = (1.1, 0.8, 0.9)
_CAVITY: Final = (0.45, 0.28, 0.31)
"""RGB over the mean of the face, of 59 people: in the dark and in coloured light a mouth is dark
and coloured, too."""

_BEHIND_NOSE_MM: Final = 10
"""Depth of the front teeth behind the nose's base."""

_PAINTED_MM, _BEFORE_MM = 16, 2
"""Height of a painted row of teeth up to the gums, and how much of it lies before the edges."""

_LIGHT_REACH_MM: Final = 22.0
"""Depth at which teeth have a third of the light of the front ones."""

_TONGUE_MM: Final = (24.0, 12.0)
"""Half the width of the tongue, and how far it shows above the edges of the lower teeth."""

_SHADE: Final = np.array([0.42, 0.23, 0.24])
"""RGB light between lips that hardly part, as a share of that in the middle of a wide mouth."""

_SHADE_REACH_MM: Final = 5.0
"""How far inwards lips take the light."""


@dataclass(frozen=True, slots=True)
class _Dentition:
    """A row of teeth on its arch, mm.

    Attributes:
        widths, heights: of half of the teeth, from the middle outwards.
        shorter: by how much their edges lie nearer to the gums than that of the central ones.
        half_width: of the arch, an ellipse.
        length: of the arch, half an axis of the ellipse.
        towards_gums: -1: up, 1: down.
    """

    widths: tuple[float, ...]
    heights: tuple[float, ...]
    shorter: tuple[float, ...]
    half_width: float
    length: float
    towards_gums: int


_UPPER: Final = _Dentition(
    (8.5, 6.7, 7.7, 7.0, 6.8, 10.0, 10.0),
    (10.0, 8.6, 9.8, 8.4, 8.0, 7.5, 7.0),
    (0.0, 0.9, 0.2, 0.9, 1.1, 1.3, 1.5),
    half_width=27,
    length=42,
    towards_gums=-1,
)
_LOWER: Final = _Dentition(
    (5.4, 5.9, 6.9, 7.0, 7.2, 11.0, 10.5),
    (9.0, 9.2, 10.0, 8.5, 8.0, 7.5, 7.0),
    (0.0, 0.1, 0.0, 0.4, 0.6, 0.8, 1.0),
    half_width=24,
    length=39,
    towards_gums=1,
)


@dataclass(frozen=True, slots=True)
class TeethRow:
    """Where a row of teeth is in a picture.

    Attributes:
        teeth: their sizes.
        edge: (K, 2) px along their edges, from the back over the front to the other back.
        towards_gums: (2,) px per mm.
    """

    teeth: _Dentition
    edge: Array
    towards_gums: Array

    @property
    def px_per_mm(self) -> float:
        """Size of a millimetre."""
        return max(float(np.hypot(*self.towards_gums)), 1e-6)

    def measure(self, places: Array) -> tuple[Array, Array]:
        """Return how far places, (H, W, 2) px, lie along the arch and towards the gums, mm."""
        upright = self.towards_gums / self.px_per_mm
        level = np.array([-upright[1], upright[0]])
        level *= np.sign(level[0]) or 1
        across, height = self.edge @ level, self.edge @ upright
        # Of an arch, the front is seen up to where it turns back.
        middle = len(across) // 2
        seen = slice(int(across[:middle].argmin()), middle + int(across[middle:].argmax()) + 1)
        at, (_, _, along) = places @ level, _arch(self.teeth)
        along, edge = (np.interp(at, across[seen], one[seen]) for one in (along, height))
        return along, (places @ upright - edge) / self.px_per_mm


@dataclass(frozen=True, slots=True)
class MouthPlace:
    """Where the inside of a mouth is in a picture.

    Attributes:
        lips: (20, 2) px, the inner edge of the lips.
        lower: the lower teeth.
        upper: the upper ones; None: the photo shows its own.
    """

    lips: Array
    lower: TeethRow
    upper: TeethRow | None


def place_mouth(reference: Array, drive: Array, poses: tuple[Pose, Pose]) -> MouthPlace:
    """Return where lips and teeth of a driven face are, in the px of the (478, 3) landmarks."""
    rest, now = (to_face_frame(*one) for one in zip((reference, drive), poses, strict=True))
    nose, lip = now[_NOSE_BASE], now[_LOWER_LIP, 1]
    apart = rest[_LOWER_LIP, 1] - rest[_UPPER_LIP, 1]
    meet = rest[_UPPER_LIP, 1] + min(apart, _CLOSED_IOD) / 2
    upper = nose[1] + meet - rest[_NOSE_BASE, 1]
    jaw = np.diff(now[[_NOSE_BASE, CHIN], 1]) - np.diff(rest[[_NOSE_BASE, CHIN], 1])
    most, least = (lip - mm * _MM for mm in _COVERED_MM)
    lower = np.clip(upper - _OVERBITE_MM * _MM + float(jaw[0]), most, least)
    return MouthPlace(
        drive[list(LIPS_INNER), :2],
        _row(_LOWER, (nose[0] + now[CHIN, 0]) / 2, lower, nose[2], poses[1]),
        None if apart > _CLOSED_IOD else _row(_UPPER, nose[0], upper, nose[2], poses[1]),
    )


def _row(teeth: _Dentition, x: float, y: float, nose_z: float, pose: Pose) -> TeethRow:
    across, behind, _ = _arch(teeth)
    depth = nose_z + (_BEHIND_NOSE_MM + behind) * _MM
    edge = np.stack([x + across * _MM, np.full_like(across, y), depth], axis=1)
    gums = np.array([[0, teeth.towards_gums * _MM, 0]], np.float32)
    front = edge[len(edge) // 2]
    drawn = to_image(np.concatenate([edge, front + gums]).astype(np.float32), pose)[:, :2]
    return TeethRow(teeth, drawn[:-1], drawn[-1] - drawn[len(edge) // 2])


@lru_cache(maxsize=2)
def _arch(teeth: _Dentition) -> tuple[Array, Array, Array]:
    """Return an arch of teeth from the front: across, behind the front teeth, and along it, mm."""
    angle = np.linspace(-1.75, 1.75, 201)
    across = teeth.half_width * np.sin(angle)
    behind = teeth.length * (1 - np.cos(angle))
    along = np.concatenate([[0], np.cumsum(np.hypot(np.diff(across), np.diff(behind)))])
    return across, behind, along - along[len(along) // 2]


def draw_mouth(
    box: Image,
    unseen: Array,
    corner: tuple[int, int],
    place: MouthPlace,
    *,
    skin: tuple[float, ...],
    zoom: float,
) -> None:
    """Draw the inside of a mouth into a part of a picture, in place.

    Args:
        box: uint8 (H, W, 4), RGB and the person's share.
        unseen: float32 (H, W), 0 to 1, what of the mouth's inside the reference does not show.
        corner: row and column of the box in the picture, px.
        place: in the network's px.
        skin: mean RGB of the face, 0 to 255.
        zoom: px of the picture for each px of the network.
    """
    size = unseen.shape[1::-1]
    width, height = (max(round(side / zoom), 1) for side in size)
    x = (np.arange(width) + 0.5) * (size[0] / width) + corner[1]
    y = (np.arange(height) + 0.5) * (size[1] / height) + corner[0]
    # The pixel i of a picture has its middle at i + .5 of its edge.
    grid = np.stack(np.meshgrid(x, y), axis=-1) / zoom - 0.5
    rows = [row for row in (place.lower, place.upper) if row is not None]
    measured = [row.measure(grid) for row in rows]
    inside = cv2.resize(_behind_teeth(*measured[0], skin), size)
    px_per_mm = 1.5 * max(zoom, 1)
    for row, (along, up) in zip(rows, measured, strict=True):
        painted = _painted(row.teeth, skin, px_per_mm)
        at = along * px_per_mm + painted.shape[1] / 2 - 0.5, (up + _BEFORE_MM) * px_per_mm - 0.5
        across, down = (cv2.resize(one.astype(np.float32), size) for one in at)
        drawn = cv2.remap(painted, across, down, cv2.INTER_LINEAR)
        cover = cv2.extractChannel(drawn, 3) * np.float32(1 / 255)
        teeth = cv2.cvtColor(drawn, cv2.COLOR_RGBA2RGB)
        inside = cv2.blendLinear(teeth, inside, cover, 1 - cover)
    opening = filled_outline(place.lips - grid[0, 0], (height, width)) * np.float32(1 / 255)
    light = cv2.resize(_light_between(opening, place.lower.px_per_mm), size)
    lit = cv2.multiply(inside, light, dtype=cv2.CV_8U)
    filled = cv2.cvtColor(lit, cv2.COLOR_RGB2RGBA)
    outline = (place.lips + 0.5) * zoom - 0.5 - corner[::-1]
    share = unseen * (filled_outline(outline, unseen.shape) * np.float32(1 / 255))
    box[:] = cv2.blendLinear(filled, box, share, 1 - share)


def _behind_teeth(along: Array, up: Array, skin: tuple[float, ...]) -> Image:
    """Return the picture (H, W, 3) of the tongue in the cavity, by places on the lower teeth."""
    tongue, cavity = (np.minimum(np.multiply(skin, one), 255) for one in (_TONGUE, _CAVITY))
    reach, rise = _TONGUE_MM
    far = np.square(along / reach) + np.maximum(-up, 0) / rise
    mound = np.clip(2 - 2 * far, 0, 1)[..., None]
    return np.asarray(cavity + mound * (tongue - cavity), np.uint8)


def _light_between(opening: Array, px_per_mm: float) -> Array:
    """Return the light (H, W, 3), RGB 0 to 1, that lips let into an opening, (H, W) 0 to 1."""
    sigma = max(_SHADE_REACH_MM * px_per_mm, 0.5)
    around = cv2.GaussianBlur(opening, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    light = np.clip(1.5 * around - 0.25, 0, 1)[..., None]
    return np.asarray(_SHADE + (1 - _SHADE) * light, np.float32)


@lru_cache(maxsize=32)
def _painted(teeth: _Dentition, skin: tuple[float, ...], px_per_mm: float) -> Image:
    """Return a row of teeth, unrolled and its gums at the bottom: uint8 (H, W, 4), RGB and cover.

    `skin` is the mean RGB of the face, 0 to 255.
    """
    enamel, gums = (np.minimum(np.multiply(skin, one), 255) for one in (_TEETH, _GUMS))
    height, half = round(_PAINTED_MM * px_per_mm), round(sum(teeth.widths) * px_per_mm)
    y = ((np.arange(height) + 0.5) / px_per_mm - _BEFORE_MM)[:, None]
    x = np.abs(np.arange(2 * half) + 0.5 - half) / px_per_mm
    ends = np.cumsum(teeth.widths)
    which = np.minimum(np.searchsorted(ends, x, side="right"), len(ends) - 1)
    width, tall, shorter = (
        np.array(one)[which] for one in (teeth.widths, teeth.heights, teeth.shorter)
    )
    aside = np.abs(x - ends[which] + width / 2) / (width / 2)  # 0 in a tooth's middle, 1 beside
    edge = shorter + 0.9 * aside**4
    gum_line = tall + shorter - 1.3 * aside**2.5
    gap = np.exp(-np.square((1 - aside) * width / 2 / 0.3))
    rim = np.exp(-np.square((y - edge) / 1.2))
    _, behind, along = _arch(teeth)
    half_arch = slice(len(along) // 2, None)
    light = np.exp(-np.interp(x, along[half_arch], behind[half_arch]) / _LIGHT_REACH_MM)
    shade = (1 - 0.1 * aside**3 - 0.1 * rim) * (1 - 0.4 * gap) * light
    gum = _step(y - gum_line, px_per_mm)[..., None]
    colours = shade[..., None] * (enamel + gum * (gums - enamel))
    return np.dstack([colours, 255 * _step(y - edge, px_per_mm)]).astype(np.uint8)


def _step(distance_mm: Array, px_per_mm: float) -> Array:
    """Return 0 where a distance is negative, 1 where it is not, and a pixel between."""
    return np.asarray(np.clip(distance_mm * px_per_mm / 1.5 + 0.5, 0, 1), np.float32)
