"""Draws the inside of a mouth that the photo does not show: two rows of teeth and a tongue.

Upper teeth are fixed to the skull and lower ones to the jaw; the lips move in front of them. Their
sizes are those of a permanent dentition (Wheeler's Dental Anatomy); their position behind the lips
was fitted to clips of people who speak and smile. They are drawn at the output's size and are
sharp, whereas a network would draw the mean of all teeth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from reenact.face.geometry import (
    estimate_pose,
    filled_outline,
    region_mask,
    to_face_frame,
    to_image,
)
from reenact.face.topology import (
    CHIN,
    EYE_LEFT,
    EYE_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
    LOWER_LIP,
    MOUTH_CORNERS,
    NOSE_BASE,
    OVAL,
    UPPER_LIP,
)
from reenact.imaging import LUMA, below_white, blend_in, ramp
from reenact.rendering.openings import outgrown
from reenact.types import Array, Image, Pose

MM: Final = 1 / 63
"""A millimetre in iod: pupils are 63 mm apart on average."""

_LIP_MM: Final = 25.5
"""Height of closed lips below the base of the nose at which the upper teeth end at those lips."""

_SHOWN_BY_SHORT_LIP: Final = 0.35
"""Distance by which the teeth end lower for each unit by which that lip is shorter."""

_OVERLAP_MM: Final = 7.5
"""Height of the lower teeth's edge above the closed lips while the chin is at rest."""

_JAW_PER_CHIN: Final = 1.7
"""Fall of the lower teeth for each unit that the chin's landmark falls: the skin slides over it."""

_EXPOSED_MM: Final = (-3.0, 2.5)
"""Minimum and maximum height of the lower teeth above the lower lip. The maximum is for a mouth as
wide as at rest."""

_EXPOSED_BY_SMILE: Final = 0.45
"""Change of that maximum for each unit by which the mouth widens: a smile bares the teeth."""

_BARED, _BARED_BY_CHIN, _BARED_MM = 0.8, 2.4, (-2.0, 6.0, 9.0)
"""A lower lip drawn off the chin bares teeth too, unless the mouth is 2 mm narrower. The maximum
rises by .8 of what the lip falls more than 6 mm and 2.4 times the chin's landmark, up to 9 mm."""

_TEETH: Final = (1.57, 1.74, 1.8)
_GUMS: Final = (0.95, 0.65, 0.7)
_TONGUE: Final = (0.95, 0.74, 0.8)
_CAVITY: Final = (0.32, 0.2, 0.22)
_CHEEKS: Final = (0.52, 0.33, 0.33)
"""RGB relative to the face's mean, from 59 people. The mouth thus gets the light of the face."""

_COLOURFUL: Final = 0.2
"""Red minus blue of the lips, as a share of their luma, from which these are the colours. Those of
a grey photo are grey."""

_EYE_WHITES: Final = 90
"""Percentile of the luma between the lids from which a pixel shows the whites of the eyes."""

_MIN_EYE_PX: Final = 12
"""Minimum size of both eyes from which their whites are taken."""

_MIN_BRIGHTER: Final = 0.8
"""Minimum ratio of the colour of teeth to what skin alone says. Darker whites are hidden ones."""

_BEHIND_NOSE_MM: Final = 10
"""Depth of the front teeth behind the nose's base."""

_RISE: Final = 0.05
"""How much higher a row of teeth is for each unit farther back, while the jaw is closed."""

_JAW_MM: Final = 90
"""Distance of the lower front teeth from the joint about which the jaw rotates. So the row of an
open mouth is seen from above, as a U."""

_NO_TOOTH_MM: Final = 1e3
"""A distance along an arch at which there is no tooth."""

_TEXTURE_MM, _TEXTURE_MARGIN_MM = 24, 2
"""Height of a row's texture, and of the part of it beyond the teeth's edges."""

_LIGHT_DECAY_MM: Final = (40.0, 28.0, 27.0)
"""Depths behind the front teeth at which RGB light has fallen to 1/e; what is left is red."""

_TONGUE_MM: Final = (30.0, 9.0)
"""Half the tongue's width, and its minimum height above the edges of the lower teeth."""

_TONGUE_REACH: Final = 0.7
"""Its height in a wide mouth, as a share of the distance between the rows of teeth."""

_SHADE: Final = (0.42, 0.23, 0.24)
"""RGB light between hardly parted lips, as a share of the light in the middle of a wide mouth."""

_SHADE_REACH_MM: Final = 4.5
"""Standard deviation of the blur that spreads the lips' shade inwards."""

_LIGHT_PX_PER_MM: Final = 0.5
"""Resolution at which the mean light between lips is computed."""

_DIMMED: Final = 0.5
"""Power of the change of light between the lips by which the teeth of a photo become darker."""

_SHADOW_MM: Final = 1.5
"""Distance by which the lips' shade is moved down, because light falls from above."""


@dataclass(frozen=True, slots=True)
class _Dentition:
    """A row of teeth on its arch, mm.

    Attributes:
        widths, heights: of the teeth on one side, from the middle outwards.
        shorter: distance of each tooth's edge from the central tooth's edge, towards the gums.
        half_width: semi-axis of the arch, an ellipse, across the mouth.
        length: semi-axis of the arch into the mouth.
        towards_gums: direction of the gums; -1: up, 1: down.
        light: brightness relative to the upper teeth, whose shade is on the lower ones.
    """

    widths: tuple[float, ...]
    heights: tuple[float, ...]
    shorter: tuple[float, ...]
    half_width: float
    length: float
    towards_gums: int
    light: float


_UPPER: Final = _Dentition(
    (8.5, 6.7, 7.7, 7.0, 6.8, 10.0, 10.0),
    (10.0, 8.6, 9.8, 8.4, 8.0, 7.5, 7.0),
    (0.0, 0.9, 0.2, 0.9, 1.1, 1.3, 1.5),
    half_width=27,
    length=42,
    towards_gums=-1,
    light=1.0,
)
_LOWER: Final = _Dentition(
    (5.4, 5.9, 6.9, 7.0, 7.2, 11.0, 10.5),
    (9.0, 9.2, 10.0, 8.5, 8.0, 7.5, 7.0),
    (0.0, 0.1, 0.0, 0.4, 0.6, 0.8, 1.0),
    half_width=24,
    length=39,
    towards_gums=1,
    light=0.8,
)


@dataclass(frozen=True, slots=True)
class TeethRow:
    """The position of a row of teeth in a picture.

    Attributes:
        teeth: sizes of the teeth.
        edge: (K, 2) px along the teeth's edges, from one end of the arch to the other.
        towards_gums: (2,) px, a millimetre towards the gums.
    """

    teeth: _Dentition
    edge: Array
    towards_gums: Array

    @property
    def px_per_mm(self) -> float:
        """Size of a millimetre."""
        return max(float(np.hypot(*self.towards_gums)), 1e-6)

    def measure(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return distances along the arch and towards the gums, mm, (H, W).

        They are those of the px in columns, x (W,), and rows, y (H, 1), of a grid. Beside the row
        the first is `_NO_TOOTH_MM`.
        """
        upright = self.towards_gums / self.px_per_mm
        level = np.array([-upright[1], upright[0]])
        level *= np.sign(level[0]) or 1
        across, height = self.edge @ level, self.edge @ upright
        # The front of the arch is visible up to where the arch turns back.
        middle = len(across) // 2
        visible = slice(int(across[:middle].argmin()), middle + int(across[middle:].argmax()) + 1)
        places, (_, _, arc_length) = x * level[0] + y * level[1], _arch(self.teeth)
        # Complex numbers interpolate both values by one search.
        ends = across[visible]
        found = np.interp(places, ends, (arc_length + 1j * height)[visible])
        along = np.where((places > ends[0]) & (places < ends[-1]), found.real, _NO_TOOTH_MM)
        return along, (x * upright[0] + y * upright[1] - found.imag) / self.px_per_mm


@dataclass(frozen=True, slots=True, eq=False)
class MouthColours:
    """Colours of the inside of a mouth in the light of its face, RGB (3,), 0 to 255.

    Attributes:
        teeth, gums, tongue, cavity, cheeks: colours in full light, divided by `exposure`.
        exposure: at least 1, so that teeth of a bright face are only white in full light.
        shade: light between hardly parted lips, as a share of the light in the middle of a wide
            mouth, 0 to 1.
        light: mean light between the photo's lips, likewise.
        colourful: 0 for a picture in grey, 1 for lips of a usual colour.
    """

    teeth: Array
    gums: Array
    tongue: Array
    cavity: Array
    cheeks: Array
    exposure: float
    shade: Array
    light: float
    colourful: float

    @classmethod
    def of(cls, picture: Image, landmarks: Array) -> MouthColours:
        """Return the colours that suit a picture.

        Teeth are not dark where the skin is. The whites of the eyes share the light but are often
        shaded, so the teeth's colour is the geometric mean of what skin and whites say.

        Args:
            picture: uint8 (S, S, 3) RGB.
            landmarks: (478, 3) px of the picture.
        """
        size = len(picture)
        skin = np.array(cv2.mean(picture, region_mask(landmarks, OVAL, size))[:3])
        eyes = region_mask(landmarks, EYE_RIGHT, size) | region_mask(landmarks, EYE_LEFT, size)
        seen, whites = picture[eyes > 127], skin
        if len(seen) >= _MIN_EYE_PX:
            luma = seen @ LUMA
            whites = seen[luma >= np.percentile(luma, _EYE_WHITES)].mean(axis=0)
        brighter = np.maximum(np.sqrt(whites / np.maximum(skin, 1)), _MIN_BRIGHTER)
        mouth, inside = (region_mask(landmarks, part, size) for part in (LIPS_OUTER, LIPS_INNER))
        lips = np.array(cv2.mean(picture, mouth & ~inside)[:3])
        redder = float((lips[0] - lips[2]) / max(_COLOURFUL * (lips @ LUMA), 1.0))
        colourful = min(max(redder, 0.0), 1.0)

        teeth = brighter * skin * tinted(_TEETH, colourful)
        exposure = max(1.0, float(teeth.max()) / 255)
        shade = tinted(_SHADE, colourful)
        gums, tongue, cavity, cheeks = (
            skin / exposure * tinted(tint, colourful) for tint in (_GUMS, _TONGUE, _CAVITY, _CHEEKS)
        )
        light = _mean_light(landmarks, estimate_pose(landmarks), shade)
        teeth = teeth / exposure
        return cls(teeth, gums, tongue, cavity, cheeks, exposure, shade, light, colourful)


def place_teeth(
    reference: Array, drive: Array, poses: tuple[Pose, Pose], teeth_end: float | None = None
) -> tuple[TeethRow, TeethRow]:
    """Return the positions of a driven face's lower and upper teeth, px.

    Args:
        reference: (478, 3) px, landmarks of the picture.
        drive: (478, 3) px, driven landmarks.
        poses: their poses.
        teeth_end: where the upper teeth end in the picture, see `teeth_end_of`.
    """
    rest, now = map(to_face_frame, (reference, drive), poses)
    nose, lip = now[NOSE_BASE], now[LOWER_LIP, 1]
    lips = (rest[UPPER_LIP, 1] + rest[LOWER_LIP, 1]) / 2
    if teeth_end is None or teeth_end == 1:
        upper = lips + _SHOWN_BY_SHORT_LIP * (_LIP_MM * MM - (lips - rest[NOSE_BASE, 1]))
    else:
        upper = rest[UPPER_LIP, 1] + teeth_end * (rest[LOWER_LIP, 1] - rest[UPPER_LIP, 1])
    if teeth_end is not None:  # the photo's own, beside which these are drawn, hang from the lip
        beside = 1 - outgrown(reference, drive, poses)
        upper += beside * (now[UPPER_LIP, 1] - rest[UPPER_LIP, 1])
    lower = lip - _exposed(rest, now, lips)
    jaw, rise = (nose[0] + now[CHIN, 0]) / 2, _RISE + max(lower - upper, 0) / (_JAW_MM * MM)
    return (
        _row(_LOWER, (jaw, lower, nose[2]), rise, poses[1]),
        _row(_UPPER, (nose[0], upper, nose[2]), _RISE, poses[1]),
    )


def _exposed(rest: Array, now: Array, lips: float) -> float:
    """Return the height of the lower teeth above the lower lip.

    Everything is in the face frame, iod: the (478, 3) faces of the reference and of the drive, and
    y of the reference's closed lips.
    """
    lowest, highest, narrow, least, most = (mm * MM for mm in (*_EXPOSED_MM, *_BARED_MM))
    right, left = MOUTH_CORNERS
    wider = math.dist(now[right, :2], now[left, :2]) - math.dist(rest[right, :2], rest[left, :2])
    highest += _EXPOSED_BY_SMILE * wider
    lip, chin = float(now[LOWER_LIP, 1]) - lips, float(now[CHIN, 1] - rest[CHIN, 1])
    drawn = max(lip - _BARED_BY_CHIN * max(chin, 0) - least, 0)
    highest = max(highest, min(highest + _BARED * drawn * ramp(wider, narrow, 0), most))
    return max(min(lip + _OVERLAP_MM * MM - _JAW_PER_CHIN * chin, highest), lowest)


def _row(teeth: _Dentition, front: tuple[float, float, float], rise: float, pose: Pose) -> TeethRow:
    """Project a row of teeth.

    Args:
        teeth: its sizes.
        front: x and y of its front edge and z of the nose's base, face frame, iod.
        rise: how much higher the row is for each unit farther back.
        pose: of the face.
    """
    x, y, nose_z = front
    across, behind, _ = _arch(teeth)
    edge = np.array([x + across * MM, y - rise * behind * MM, behind * MM]).T
    edge[:, 2] += nose_z + _BEHIND_NOSE_MM * MM
    middle = len(edge) // 2
    gums = edge[middle] + np.array([[0, teeth.towards_gums * MM, 0]], np.float32)
    points = to_image(np.concatenate([edge, gums]).astype(np.float32), pose)[:, :2]
    return TeethRow(teeth, points[:-1], points[-1] - points[middle])


@lru_cache(maxsize=2)
def _arch(teeth: _Dentition) -> tuple[Array, Array, Array]:
    """Return points of an arch, mm: sideways, behind the front teeth, and arc length from there."""
    angle = np.linspace(-1.2, 1.2, 201)  # cheeks hide the rest of the ellipse
    across = teeth.half_width * np.sin(angle)
    behind = teeth.length * (1 - np.cos(angle))
    arc_length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(across), np.diff(behind)))])
    return across, behind, arc_length - arc_length[len(arc_length) // 2]


def dimming(colours: MouthColours, drive: Array, pose: Pose) -> float:
    """Return how bright a photo's teeth are between driven lips, 0 to 1, relative to the photo.

    Lips shade the teeth, but a photo's own have a part of that shade in any mouth.

    Args:
        colours: those of the photo.
        drive: (478, 3) px, driven landmarks.
        pose: their pose.
    """
    brighter = _mean_light(drive, pose, colours.shade) / colours.light
    return float(min(brighter, 1.0) ** _DIMMED)


def _mean_light(face: Array, pose: Pose, shade: Array) -> float:
    """Return the mean light between the lips of a face, (478, 3) px."""
    lips = face[list(LIPS_INNER), :2] * (_LIGHT_PX_PER_MM / (MM * pose.scale))
    first = lips.min(axis=0)
    width, height = np.ceil(lips.max(axis=0) - first).astype(int).tolist()
    opening = filled_outline(lips - first, (height + 1, width + 1)) * np.float32(1 / 255)
    light = _light_between(opening, _LIGHT_PX_PER_MM, shade)
    return float((light.mean(axis=2) * opening).sum() / max(float(opening.sum()), 1e-6))


def dim_mouth(box: Image, mouth: Array, dim: float) -> None:
    """Darken a photo's own inside of a mouth in a part of a picture, in place.

    Args:
        box: uint8 (H, W, 4) RGBA.
        mouth: (H, W), from `within_lips`.
        dim: its brightness, see `dimming`.
    """
    blend_in(box, np.full_like(box, (0, 0, 0, 255)), mouth * np.float32(1 - dim))


def within_lips(drive: Array, corner: tuple[int, int], zoom: float, box: Image) -> Array:
    """Return the coverage of a box by the opening between driven lips, (H, W), 0 to 1."""
    outline = (drive[list(LIPS_INNER), :2] + 0.5) * zoom - 0.5 - corner[::-1]
    return filled_outline(outline, box.shape[:2]) * np.float32(1 / 255)


def draw_mouth(
    box: Image,
    unseen: Array,
    corner: tuple[int, int],
    drive: Array,
    teeth: tuple[TeethRow, TeethRow],
    *,
    colours: MouthColours,
    zoom: float,
) -> None:
    """Draw the inside of a mouth into a part of a picture, in place.

    Args:
        box: uint8 (H, W, 4) RGBA.
        unseen: float32 (H, W), 0 to 1, 1 inside of the mouth where the reference does not show it.
        corner: row and column of the box in the picture, px.
        drive: (478, 3) driven landmarks, in the network's px.
        teeth: from `place_teeth`, likewise.
        colours: the mouth's colours.
        zoom: px of the picture for each px of the network.
    """
    size = unseen.shape[1::-1]
    width, height = (max(round(side / zoom), 1) for side in size)
    # Pixel centres in the network's px; pixel i of a picture extends from i to i + 1 there.
    x, y = (
        ((np.arange(count) + 0.5) * (length / count) + first) / zoom - 0.5
        for count, length, first in ((width, size[0], corner[1]), (height, size[1], corner[0]))
    )
    lower, upper = (row.measure(x, y[:, None]) for row in teeth)
    inside = cv2.resize(_behind_teeth(lower, upper, colours), size)
    px_per_mm = 1.5 * max(zoom, 1)
    for row, (along, up) in zip(teeth, (lower, upper), strict=True):
        texture = _teeth_texture(row.teeth, colours, px_per_mm)
        source_x = along * px_per_mm + texture.shape[1] / 2 - 0.5
        source_y = (up + _TEXTURE_MARGIN_MM) * px_per_mm - 0.5
        map_x, map_y = (cv2.resize(axis.astype(np.float32), size) for axis in (source_x, source_y))
        drawn = cv2.remap(texture, map_x, map_y, cv2.INTER_LINEAR)
        alpha = cv2.extractChannel(drawn, 3) * np.float32(1 / 255)
        inside = cv2.blendLinear(cv2.cvtColor(drawn, cv2.COLOR_RGBA2RGB), inside, alpha, 1 - alpha)
    lit_from = drive[list(LIPS_INNER), :2] + _SHADOW_MM * teeth[0].towards_gums
    opening = filled_outline(lit_from - (x[0], y[0]), (height, width)) * np.float32(1 / 255)
    light = cv2.resize(_light_between(opening, teeth[0].px_per_mm, colours.shade), size)
    lit = np.float32(colours.exposure) * light * inside
    filled = np.asarray(cv2.cvtColor(below_white(lit), cv2.COLOR_RGB2RGBA), np.uint8)
    blend_in(box, filled, unseen)


def _behind_teeth(
    lower: tuple[Array, Array], upper: tuple[Array, Array], colours: MouthColours
) -> Image:
    """Draw tongue and cavity, uint8 (H, W, 3); the coordinates are from `TeethRow.measure`."""
    half_width, min_height = _TONGUE_MM
    above, below = (np.maximum(-towards_gums, 0) for _, towards_gums in (lower, upper))
    height = np.maximum(_TONGUE_REACH * (above + below), min_height)
    beside = np.clip(1.5 - 1.5 * (lower[0] / half_width) ** 2, 0, 1)
    tongue = beside * np.clip(1 - above / height, 0, 1)
    shares = np.stack([tongue, beside - tongue, 1 - beside], axis=2).astype(np.float32)
    behind = np.array([colours.tongue, colours.cavity, colours.cheeks], np.float32)
    return np.asarray(shares @ behind, np.uint8)


def tinted(values: tuple[float, ...], colourful: float) -> Array:
    """Return RGB values, (3,), equal for a picture in grey."""
    grey = np.dot(values, LUMA)
    return np.asarray(grey + colourful * (values - grey))


def _light_between(opening: Array, px_per_mm: float, shade: Array) -> Array:
    """Return the light in an opening between lips, RGB (H, W, 3); all values are 0 to 1."""
    sigma = max(_SHADE_REACH_MM * px_per_mm, 0.5)
    around = cv2.GaussianBlur(opening, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    light = np.clip(1.5 * around - 0.25, 0, 1)
    planes = [np.float32(dark) + np.float32(1 - dark) * light for dark in shade]
    return np.asarray(cv2.merge(planes), np.float32)


@lru_cache(maxsize=32)
def _teeth_texture(teeth: _Dentition, colours: MouthColours, px_per_mm: float) -> Image:
    """Draw an unrolled row of teeth with its gums at the bottom, uint8 (H, W, 4) RGBA."""
    height, half = round(_TEXTURE_MM * px_per_mm), round(sum(teeth.widths) * px_per_mm)
    y = ((np.arange(height) + 0.5) / px_per_mm - _TEXTURE_MARGIN_MM)[:, None]
    x = np.abs(np.arange(2 * half) + 0.5 - half) / px_per_mm
    ends = np.cumsum(teeth.widths)
    tooth = np.minimum(np.searchsorted(ends, x, side="right"), len(ends) - 1)
    width, tooth_height, shorter = (
        np.array(sizes)[tooth] for sizes in (teeth.widths, teeth.heights, teeth.shorter)
    )
    aside = np.abs(x - ends[tooth] + width / 2) / (width / 2)  # 0 in a tooth's middle, 1 at a side
    edge = shorter + 0.9 * aside**4
    gum_line = tooth_height + shorter - 1.3 * aside**2.5
    gap = np.exp(-np.square((1 - aside) * width / 2 / 0.3))
    rim = np.exp(-np.square((y - edge) / 1.2))
    _, behind, along = _arch(teeth)
    half_arch = slice(len(along) // 2, None)
    depth = np.interp(x, along[half_arch], behind[half_arch])[:, None]
    light = teeth.light * np.exp(-depth / tinted(_LIGHT_DECAY_MM, colours.colourful))
    shade = (0.98 - 0.05 * aside**3 - 0.1 * rim) * (1 - 0.08 * gap)
    gum = _step(y - gum_line, px_per_mm)[..., None]
    rgb = shade[..., None] * light * (colours.teeth + gum * (colours.gums - colours.teeth))
    return np.dstack([rgb, 255 * _step(y - edge, px_per_mm)]).astype(np.uint8)


def _step(distance_mm: Array, px_per_mm: float) -> Array:
    """Return 0 where a distance is negative and 1 elsewhere, with a transition of 1.5 px."""
    return np.asarray(np.clip(distance_mm * px_per_mm / 1.5 + 0.5, 0, 1), np.float32)
