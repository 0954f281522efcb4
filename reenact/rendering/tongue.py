"""Draws a tongue that is put out over the lower lip; no photo of the target shows one.

It is a curved surface in millimetres of the face, projected by the head's pose and lit from above,
in the colours of the target's mouth (ours). Its shape and constants were chosen by pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from reenact.face.geometry import axis_in_image, to_face_frame, to_image
from reenact.face.topology import LOWER_LIP, MOUTH_CORNERS, UPPER_LIP
from reenact.imaging import ramp
from reenact.rendering.mouth_interior import MM, MouthColours, tinted, within_lips
from reenact.types import Array, Image, Pose

_LENGTH_MM: Final = 34.0
"""Length of the visible tongue beyond the lower lip when it is all out."""

_HALF_WIDTH_MM: Final = (15.5, 13.0)
"""Half its width at the lip, and a length of `_LENGTH_MM` beyond."""

_MOUTH_SHARE: Final = 0.36
"""Maximum of that half width, as a share of the distance between the corners of the mouth."""

_INSIDE_MM: Final = 11.0
"""Length of the part behind the lip, which fades into the drawn mouth."""

_RISE: Final = 0.6
"""How much higher that part is for each unit farther back."""

_ABOVE_LIP_MM: Final = 2.5
"""How much higher than the inner edge of the lower lip it leaves the mouth."""

_BEND_MM: Final = 11.0
"""Radius with which it hangs over the lip."""

_SIDE_DROP: Final = 0.29
"""How far its sides are behind the middle, as a share of half its width."""

_TIP_MM: Final = (9.0, 3.0)
"""Length of its round tip, and how far that is behind the rest."""

_COLOUR: Final = (1.03, 0.81, 0.78)
"""RGB relative to a tongue in the mouth, which is less red."""

_TO_LIGHT: Final = (-0.15, -0.62, -0.77)
_HALFWAY: Final = (-0.1, -0.35, -0.93)
"""Directions to the light, and halfway to it from the viewer, image axes."""

_AMBIENT, _DIRECT = 0.56, 0.62
"""Light from everywhere, and from above."""

_GROOVE: Final = 0.16
"""Depth of the shade of the groove in its middle."""

_ROUGHNESS: Final = 0.025
_GLOSS: Final = (40, 0.35)
"""Exponent of the highlights on the wet surface, and their brightness, as a share of white."""

_LETS_OUT: Final = (0.03, 0.08)
"""Gap of the lips, iod, from which the tongue can come out, and from which all of it can."""

_BEGINS: Final = 0.15
"""How far it is out when it is opaque: it comes into view behind the lip."""

_IN_MOUTH: Final = 0.3
"""Light on its root, as a share of that outside."""

_SHADOW: Final = (3.5, 2.5, 0.3)
"""Shift down and blur of its shadow on lip and chin, mm, and the share of light it takes."""

_TEXTURE_PX_PER_MM: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Line:
    """The middle of the tongue from root to tip; all (K,) mm but the last two.

    Attributes:
        along: length from the lip, negative inside the mouth.
        y, z: place, from the lip.
        half: half the width.
        falls, deepens: how fast y and z change with the length.
    """

    along: Array
    y: Array
    z: Array
    half: Array
    falls: Array
    deepens: Array

    def at(self, along: Array, values: Array) -> Array:
        """Return values of the line at other lengths."""
        return np.interp(along, self.along, values).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the lip is in a picture, px (2,), and px for a mm along x, y and z, (2, 3)."""

    lip: Array
    axes: Array

    @property
    def px_per_mm(self) -> float:
        return float(np.hypot(*self.axes[:, 0]))


def draw_tongue(
    person: Image, drive: Array, pose: Pose, *, colours: MouthColours, zoom: float, out: float
) -> None:
    """Draw a tongue over a person, in place.

    Args:
        person: uint8 (S, S, 4) RGBA.
        drive: (478, 3) driven landmarks, in the network's px.
        pose: their pose.
        colours: of the inside of the mouth.
        zoom: px of the picture for each px of the network.
        out: how far it is out, 0 to 1; closed lips keep it in.
    """
    face = to_face_frame(drive, pose)
    out *= ramp(float(face[LOWER_LIP, 1] - face[UPPER_LIP, 1]), *_LETS_OUT)
    if out <= 0:
        return
    right, left = face[list(MOUTH_CORNERS), :2]
    line = _middle(_LENGTH_MM * out, float(np.hypot(*(left - right))) / MM)
    place = _projected(face[LOWER_LIP], pose, zoom)
    rows, columns = _box(line, place, len(person))
    picture = person[rows, columns]
    if not picture.size:
        return
    x, y = np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop)[:, None]
    across, along = _on_surface(x, y, place, line)
    half = line.at(along, line.half)
    narrows = line.at(along, np.gradient(line.half, line.along))
    beside = (half - np.abs(across)) / np.hypot(1, narrows)
    inside_outline = np.minimum(beside, line.along[-1] - along) * place.px_per_mm
    below = _below_lips(drive, pose, zoom, (x, y))
    seen = np.maximum(below, within_lips(drive, (rows.start, columns.start), zoom, picture))
    root = np.clip(along / _INSIDE_MM + 1, 0, 1)
    share = seen * np.clip(inside_outline + 0.5, 0, 1) * root * min(out / _BEGINS, 1)

    shadow = _shadow(share.astype(np.float32), place) * below
    share = share[..., None]
    tongue = _lit(across, along, line, pose, colours)
    picture[..., :3] = picture[..., :3] * (1 - shadow[..., None]) * (1 - share) + tongue * share
    picture[..., 3] = np.maximum(picture[..., 3], 255 * share[..., 0])


def _middle(length_mm: float, mouth_mm: float) -> _Line:
    """Return the middle of a tongue of that length beyond the lip, in a mouth of that width."""
    along = np.linspace(-_INSIDE_MM, length_mm, 128, dtype=np.float32)
    inside, outside = np.minimum(along, 0), np.maximum(along, 0)
    over_lip = _BEND_MM * (1 - np.exp(-outside / _BEND_MM))
    # The little more lets y rise everywhere, also where the tongue comes forward.
    y = _RISE * inside - _ABOVE_LIP_MM + 1.15 * outside - over_lip
    tip_mm, tip_drop = _TIP_MM
    tip = np.clip((along - length_mm) / tip_mm + 1, 0, 1)
    z = -inside - over_lip + tip_drop * (1 - np.sqrt(1 - 0.95 * tip**2))
    at_lip, beyond = _HALF_WIDTH_MM
    half = np.minimum(at_lip + (beyond - at_lip) * outside / _LENGTH_MM, _MOUTH_SHARE * mouth_mm)
    half *= np.sqrt(1 - tip**2)
    return _Line(along, y, z, half, np.gradient(y, along), np.gradient(z, along))


def _projected(lip: Array, pose: Pose, zoom: float) -> _Place:
    """Project the lip, (3,) in the face frame, and the axes there."""
    steps = MM * np.concatenate([np.zeros((1, 3), np.float32), np.eye(3, dtype=np.float32)])
    points = (to_image(lip + steps, pose)[:, :2] + 0.5) * zoom - 0.5
    return _Place(points[0], (points[1:] - points[0]).T)


def _box(line: _Line, place: _Place, size: int) -> tuple[slice, slice]:
    """Return rows and columns of the part of a picture that has the tongue and its shadow."""
    outline = np.concatenate(
        [np.stack([side * line.half, line.y, line.z]) for side in (-1, 1)], axis=1
    )
    points = place.lip[:, None] + place.axes @ outline
    down, blur, _ = _SHADOW
    margin = (down + 2 * blur) * place.px_per_mm + 2
    first = np.clip(np.floor(points.min(axis=1) - margin), 0, size).astype(int).tolist()
    last = np.clip(np.ceil(points.max(axis=1) + margin), 0, size).astype(int).tolist()
    return slice(first[1], last[1]), slice(first[0], last[0])


def _on_surface(x: Array, y: Array, place: _Place, line: _Line) -> tuple[Array, Array]:
    """Return which point of the surface px show, mm across and along, (H, W).

    The px are those of columns x (W,) and rows y (H, 1).
    """
    x, y = x - place.lip[0], y - place.lip[1]
    to_mm = np.linalg.inv(place.axes[:, :2])
    to_right, to_down = (way[0] * x + way[1] * y for way in to_mm)
    back_right, back_down = to_mm @ place.axes[:, 2]
    # What is farther down hides what is behind it, as over the lip of a nodding head.
    lower = line.y + back_down * line.z
    lower = np.minimum.accumulate(lower[::-1])[::-1] + 1e-4 * np.arange(len(lower))
    drop: Array | float = 0.0
    for _ in range(3):
        down = to_down - back_down * drop
        # Beyond its tip the surface goes on, outside the tongue.
        along = np.interp(down, lower, line.along) + np.maximum(down - lower[-1], 0)
        across = to_right - back_right * (line.at(along, line.z) + drop)
        drop = _side_drop(across, line.at(along, line.half))[0]
    return np.asarray(across, np.float32), np.asarray(along, np.float32)


def _side_drop(across: Array, half: Array) -> tuple[Array, Array]:
    """Return how far the sides are behind the middle, mm, and how fast that changes across."""
    drop = _SIDE_DROP * half
    share = np.clip(across / np.maximum(half, 0.1), -1, 1)
    root = np.sqrt(1 - 0.92 * share**2)
    return drop * (1 - root), 0.92 * _SIDE_DROP * share / root


def _below_lips(drive: Array, pose: Pose, zoom: float, px: tuple[Array, Array]) -> Array:
    """Return the share of px, x (W,) and y (H, 1), below the middle between the lips: (H, W)."""
    middle = (drive[[UPPER_LIP, LOWER_LIP], :2].mean(axis=0) + 0.5) * zoom - 0.5
    down = axis_in_image(pose.rotation, 1)
    height = (px[0] - middle[0]) * down[0] + (px[1] - middle[1]) * down[1]
    return np.asarray(np.clip(height + 0.5, 0, 1))


def _shadow(share: Array, place: _Place) -> Array:
    """Return the share of light that the tongue takes from what is behind it, (H, W)."""
    down, blur, strength = _SHADOW
    shift = np.hstack([np.eye(2), down * place.axes[:, 1:2]])
    moved = cv2.warpAffine(share, shift, share.shape[::-1])
    soft = cv2.GaussianBlur(moved, (0, 0), max(blur * place.px_per_mm, 0.5))
    return np.asarray(strength * soft, np.float32)


def _lit(across: Array, along: Array, line: _Line, pose: Pose, colours: MouthColours) -> Array:
    """Return the colours of points of the surface, RGB (H, W, 3), 0 to 255."""
    half, falls, deepens = (line.at(along, row) for row in (line.half, line.falls, line.deepens))
    slope = _side_drop(across, half)[1]
    normals = np.stack([slope * falls, deepens, -falls], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = normals @ pose.rotation.T
    lit, glossy = (
        np.clip(normals @ (np.array(way) / np.linalg.norm(way)), 0, 1)
        for way in (_TO_LIGHT, _HALFWAY)
    )
    facing = np.sqrt(np.clip(-normals[..., 2], 0, 1))
    outside = np.clip(along / _INSIDE_MM + 1, 0, 1)
    noise = _noise()
    map_x = across * _TEXTURE_PX_PER_MM + noise.shape[1] / 2
    map_y = (along + _INSIDE_MM) * _TEXTURE_PX_PER_MM
    rough, wet = cv2.split(
        cv2.remap(
            noise,
            map_x.astype(np.float32),
            map_y.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
    )
    groove = _GROOVE * np.exp(-np.square(across / 1.6)) * np.clip(1 - along / _LENGTH_MM, 0, 1)
    light = (_AMBIENT + _DIRECT * lit) * (_IN_MOUTH + (1 - _IN_MOUTH) * outside)
    light = light * (0.72 + 0.28 * facing) * (1 - groove) * (1 + _ROUGHNESS * rough)
    exponent, brightness = _GLOSS
    wetness = np.clip(0.55 + 0.25 * wet, 0, 1)
    gloss = 255 * brightness * glossy**exponent * outside * wetness
    colour = np.asarray(colours.tongue) * colours.exposure * tinted(_COLOUR, colours.colourful)
    lit_colour = light[..., None] * colour + gloss[..., None]
    return np.asarray(np.clip(lit_colour, 0, 255), np.float32)


@lru_cache(maxsize=1)
def _noise() -> Array:
    """Return roughness and wetness of the surface, (H, W, 2), of standard deviation 1."""
    width = round(2.5 * _HALF_WIDTH_MM[0] * _TEXTURE_PX_PER_MM)
    height = round((_INSIDE_MM + _LENGTH_MM) * _TEXTURE_PX_PER_MM)
    drawn = np.random.default_rng(3).standard_normal((2, height, width)).astype(np.float32)
    rough, wet = (
        cv2.GaussianBlur(one, (0, 0), sigma) for one, sigma in zip(drawn, (1.0, 4.0), strict=True)
    )
    return np.dstack([rough / rough.std(), wet / wet.std()]).astype(np.float32)
