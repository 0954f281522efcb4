"""Draws a tongue that is put out over the lower lip; no photo of the target shows one.

It is a mesh in millimetres of the face, projected by the head's pose and lit from above, in the
colours of the target's mouth (ours). Its shape and constants were chosen by pictures.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import Triangles, axis_in_image, to_face_frame, to_image, triangulate
from reenact.face.topology import LOWER_LIP, MOUTH_CORNERS, UPPER_LIP
from reenact.imaging import ramp
from reenact.rendering.mesh_warp import interpolate, rasterise
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

_TIP_MM: Final = 9.0
"""Length of its round tip."""

_DROP: Final = 0.27
"""How far its rim is behind the middle, as a share of half its width."""

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

_GRID: Final = (48, 36)
"""Vertices of the mesh along the tongue, and across."""

_MARGIN_MM: Final = 1.5
"""Width of the mesh beyond the tongue's outline."""


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
    surface, along, edge = _surface(_LENGTH_MM * out, float(np.hypot(*(left - right))) / MM)
    points = (to_image(face[LOWER_LIP] + MM * surface, pose).reshape(-1, 3) + 0.5) * zoom - 0.5
    px_per_mm = MM * pose.scale * zoom
    down, blur, strength = _SHADOW
    margin = (down + 2 * blur) * px_per_mm + 2
    first, last = points[:, :2].min(axis=0) - margin, points[:, :2].max(axis=0) + margin
    (left, top), (right, bottom) = np.clip([first, last], 0, len(person)).astype(int).tolist()
    picture = person[top:bottom, left:right]
    if not picture.size:
        return
    height, width = picture.shape[:2]
    points -= np.array([left, top, 0], np.float32)
    root = np.clip(along / _INSIDE_MM + 1, 0, 1)
    looks = np.dstack([edge * px_per_mm, root, _lit(surface, along, root, pose, colours)])
    triangles = _triangles()
    cells = rasterise(points[:, :2], triangles, max(height, width), points[:, 2])
    shown = interpolate(cells, points[:, :2], triangles, looks.reshape(len(points), -1))
    edge, root, tongue = np.split(shown[:height, :width], [1, 2], axis=2)

    x, y = np.arange(left, right), np.arange(top, bottom)[:, None]
    below = _below_lips(drive, pose, zoom, (x, y))
    seen = np.maximum(below, within_lips(drive, (top, left), zoom, picture))[..., None]
    share = seen * np.clip(edge + 0.5, 0, 1) * root * min(out / _BEGINS, 1)
    way = down * px_per_mm * axis_in_image(pose.rotation, 1)
    shifted = cv2.warpAffine(share, np.hstack([np.eye(2), way[:, None]]), (width, height))
    soft = cv2.GaussianBlur(shifted, (0, 0), max(blur * px_per_mm, 0.5))
    lit = picture[..., :3] * (1 - strength * soft * below)[..., None]
    picture[..., :3] = lit + share * (tongue - lit)
    picture[..., 3:] = np.maximum(picture[..., 3:], 255 * share)


def _surface(length_mm: float, mouth_mm: float) -> tuple[Array, Array, Array]:
    """Return a tongue of that length beyond the lip, in a mouth of that width.

    Returns:
        The mesh from the lip, (K, L, 3) mm; its length from there, negative in the mouth; and the
        distance of its outline, negative beyond it, (K, L) mm.
    """
    rows, columns = _GRID
    along = np.linspace(-_INSIDE_MM, length_mm + _MARGIN_MM, rows, dtype=np.float32)[:, None]
    inside, outside = np.minimum(along, 0), np.maximum(along, 0)
    at_lip, beyond = _HALF_WIDTH_MM
    half = np.minimum(at_lip + (beyond - at_lip) * outside / _LENGTH_MM, _MOUTH_SHARE * mouth_mm)
    aside = np.linspace(-1, 1, columns, dtype=np.float32) * (1 + _MARGIN_MM / half)
    tip = np.maximum((along - length_mm) / _TIP_MM + 1, 0)
    rim = np.maximum(np.hypot(aside, tip), 1e-3)  # 0 in the middle, 1 at the outline
    edge = (1 - rim) * rim / np.maximum(np.hypot(aside / half, tip / _TIP_MM), 1e-3)
    over_lip = _BEND_MM * (1 - np.exp(-outside / _BEND_MM))
    # The little more lets y rise everywhere, also where the tongue comes forward.
    y = _RISE * inside - _ABOVE_LIP_MM + 1.15 * outside - over_lip
    dome = _DROP * half * (1 - np.sqrt(1 - 0.93 * np.minimum(rim, 1) ** 2))
    surface = np.stack(np.broadcast_arrays(aside * half, y, dome - inside - over_lip), axis=-1)
    return surface.astype(np.float32), np.broadcast_to(along, rim.shape), edge


def _lit(surface: Array, along: Array, root: Array, pose: Pose, colours: MouthColours) -> Array:
    """Return the colours of points of the surface, RGB (K, L, 3), 0 to 255."""
    normals = np.cross(*(np.gradient(surface, axis=axis) for axis in (0, 1)))
    normals = normals / np.linalg.norm(normals, axis=-1, keepdims=True) @ pose.rotation.T
    lit, glossy = (
        np.clip(normals @ (np.array(way) / np.linalg.norm(way)), 0, 1)
        for way in (_TO_LIGHT, _HALFWAY)
    )
    facing = np.sqrt(np.clip(-normals[..., 2], 0, 1))
    groove = _GROOVE * np.exp(-np.square(surface[..., 0] / 1.6))
    groove = groove * np.clip(1 - along / _LENGTH_MM, 0, 1)
    rough, wet = _grain()
    light = (_AMBIENT + _DIRECT * lit) * (_IN_MOUTH + (1 - _IN_MOUTH) * root)
    light = light * (0.72 + 0.28 * facing) * (1 - groove) * (1 + _ROUGHNESS * rough)
    exponent, brightness = _GLOSS
    gloss = 255 * brightness * glossy**exponent * root * wet
    colour = np.asarray(colours.tongue) * colours.exposure * tinted(_COLOUR, colours.colourful)
    return np.asarray(np.clip(light[..., None] * colour + gloss[..., None], 0, 255), np.float32)


@lru_cache(maxsize=1)
def _grain() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the roughness of the surface and how wet it is, (K, L): the same in every picture."""
    rough = np.random.default_rng(3).standard_normal(_GRID)
    wet = cv2.GaussianBlur(rough, (0, 0), 0.9)
    return rough, np.clip(0.55 + 0.25 * wet / wet.std(), 0, 1)


@lru_cache(maxsize=1)
def _triangles() -> Triangles:
    """Return the triangles of a mesh of `_GRID`, (T, 3)."""
    return triangulate(np.indices(_GRID).reshape(2, -1).T.astype(np.float32))


def _below_lips(drive: Array, pose: Pose, zoom: float, px: tuple[Array, Array]) -> Array:
    """Return the share of px, x (W,) and y (H, 1), below the middle between the lips: (H, W)."""
    middle = (drive[[UPPER_LIP, LOWER_LIP], :2].mean(axis=0) + 0.5) * zoom - 0.5
    down = axis_in_image(pose.rotation, 1)
    height = (px[0] - middle[0]) * down[0] + (px[1] - middle[1]) * down[1]
    return np.asarray(np.clip(height + 0.5, 0, 1), np.float32)
