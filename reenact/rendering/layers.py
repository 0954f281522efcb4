"""Composes the generator's layers at the size of the output (Gemino, Sivaraman et al. 2022).

The moved person is laid over the background at rest, both at the output's size, so that their
detail survives. The network repairs a box around the face of that picture in `NETWORK_PX`, whatever
the size; its smooth residual is enlarged and added. Live path and training call the same functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.aperture import LEFT_EYE, RIGHT_EYE
from reenact.face.geometry import (
    estimate_pose,
    region_mask,
    square_to_crop,
    transform_points,
)
from reenact.face.topology import EYE_LEFT, EYE_RIGHT, LIPS_INNER, OVAL
from reenact.imaging import in_bytes
from reenact.models.warp_unet_inputs import (
    FLOW,
    MAP_BLOCK,
    MAP_STEM,
    NETWORK_PX,
    REPAIR_CELLS,
    STEM,
    MapChannel,
)
from reenact.rendering.background import layers_of
from reenact.rendering.mesh_warp import sources, warp_image
from reenact.rendering.mouth_interior import draw_mouth, place_mouth
from reenact.types import HEAD_ALONE, Array, Body, Image, Pose

Corner = tuple[int, int]
"""First row and column of the repair's box, in cells of `STEM` px of the network's pictures."""

_FINE_PX: Final = 1536
"""Side of an `enlarged` reference; two to four times the reference's own."""

_TEAR: Final = 0.02
"""A jump of the flow at the face's outline that is not interpolated, in halves of the side."""

_REACHES: Final = (5, 5), (9, 9)
"""Cells over which the flow is continued: its mean over the first, and how that differs from the
mean over the second, whose middle is farther away."""

_SLOPE: Final = 1.5
"""Share of that difference in the flow next to what is known."""

_AROUND: Final = np.ones((3, 3), np.uint8)
"""Cells around the outline in which the flow may jump."""

_LEFT_BEHIND: Final = 0.04
"""A motion, in halves of the side, that leaves the rim of the wall behind."""

_FROM_LIDS_PX: Final = 3
"""Distance from which the colours of lids are taken."""

_LASH_LINE: Final = 0.15
"""Share of an eye's opening, below its upper edge, that is the dark line of its lashes."""

_SMOOTH: Final = (7, 7)
"""Cells over which the outline is smoothed."""

_BESIDE: Final = 4
"""So many cells beside an outline, and no more, change by it."""

_BOX_BELOW: Final = np.array([2, 0])
"""The middle of the repair's box below that of the face; rows and columns of cells."""

_BOX_STEP: Final = 2
_BOX_HOLD: Final = 5
"""The repair's box moves in steps, and holds until the face is so far from its middle; cells."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture of the target, split into the layers that frames are composed of.

    S is the side of the output; landmarks and pose are in the network's px.

    Attributes:
        person: uint8 (S, S, 4), RGB and the person's share.
        shut: the person whose eyes and mouth are filled from lids and lips, for those that meet.
        rimless: uint8 (S, S), the person's share without the rim of the wall around it, for hair
            that moves.
        background: uint8 (S, S, 3) RGB.
        skin: mean RGB of the face, 0 to 255.
        landmarks: (478, 3) of the picture.
        pose: theirs.
        side_px: the crop's side in the network's px.
        body: where torso and hair are in the picture.
    """

    person: Image
    shut: Image
    rimless: NDArray[np.uint8]
    background: Image
    skin: tuple[float, ...]
    landmarks: Array
    pose: Pose
    side_px: int = NETWORK_PX
    body: Body = HEAD_ALONE

    @classmethod
    def of(
        cls,
        picture: Image,
        coverage: NDArray[np.uint8],
        landmarks: Array,
        side_px: int = NETWORK_PX,
        body: Body = HEAD_ALONE,
    ) -> Reference:
        """Split a picture.

        Args:
            picture: uint8 (S, S, 3) RGB.
            coverage: uint8 (H, W) of any size, by people; 255 is all.
            landmarks: (478, 3) px of the picture.
            side_px: its side in the network's px.
            body: where torso and hair are in it.
        """
        size = len(picture)
        people = np.asarray(cv2.resize(coverage, (size, size)), np.uint8)
        background, share, rimless = layers_of(picture, people, landmarks)
        skin = tuple(cv2.mean(picture, region_mask(landmarks, OVAL, size))[:3])
        person, shut = (np.dstack([one, share]) for one in (picture, _shut(picture, landmarks)))
        points = transform_points(landmarks, square_to_crop((0, 0, size), side_px))
        pose = estimate_pose(points)
        return cls(person, shut, rimless, background, skin, points, pose, side_px, body)


def _shut(picture: Image, landmarks: Array) -> Image:
    """Fill eyes and mouth of a picture, uint8 (S, S, 3), from lids and lips (Telea 2004).

    The dark line of the lashes stays.
    """
    below = landmarks.copy()
    for upper, lower in (RIGHT_EYE, LEFT_EYE):
        below[upper] += np.float32(_LASH_LINE) * (landmarks[lower] - landmarks[upper])
    inside = np.zeros(picture.shape[:2], np.uint8)
    for opening in (EYE_RIGHT, EYE_LEFT, LIPS_INNER):
        inside |= region_mask(below, opening, len(picture))
    filled = cv2.inpaint(picture, inside, _FROM_LIDS_PX, cv2.INPAINT_TELEA)
    return np.asarray(filled, np.uint8)


def enlarged(person: Image) -> Image:
    """Return the person of a `Reference` in the size that `move_person` takes.

    Sampling it linearly costs a quarter of sampling the reference itself bicubically, and is as
    sharp but for one or two percent.
    """
    zoom = max(2, min(4, _FINE_PX // len(person)))
    fine = cv2.resize(person, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    return np.asarray(fine, np.uint8)


def move_person(fine: Image, reference: Reference, maps: Array, drive: Array, pose: Pose) -> Image:
    """Move the person of a reference, and draw what of the mouth it does not show.

    Args:
        fine: the person of the reference, `enlarged`.
        reference: its size is that of the result.
        maps: of `HeadMesh.maps`, of any size.
        drive: (478, 3) driven landmarks, in the network's px.
        pose: theirs.

    Returns:
        uint8 (S, S, 4), RGB and the person's share.
    """
    size = len(reference.background)
    planes = [cv2.resize(plane, (size, size)) for plane in np.moveaxis(maps[..., FLOW], -1, 0)]
    flow = np.asarray(cv2.merge(planes), np.float32)  # half the time of resizing both at once
    torn = _tear_at_outline(flow, maps)
    zoom = len(fine) // size
    source = sources(flow, zoom)
    person = warp_image(fine, source)
    if torn is not None:
        places, edge = torn  # px of one side or the other; a mean of both has no steps
        cv2.copyTo(cv2.blur(person[places], (3, 3)), edge, person[places])
    _leave_rim(person, reference.rimless, maps, source, zoom)
    _draw_shut(person, reference.shut, maps, source, zoom)
    _fill_mouth(person, reference, maps, drive, pose)
    return person


def lay_over(person: Image, background: Image) -> Image:
    """Lay a person, uint8 (S, S, 4), over a background, uint8 (S, S, 3)."""
    share = cv2.cvtColor(cv2.extractChannel(person, 3), cv2.COLOR_GRAY2RGB)
    shown = cv2.multiply(cv2.cvtColor(person, cv2.COLOR_RGBA2RGB), share, scale=1 / 255)
    behind = cv2.multiply(background, 255 - share, scale=1 / 255)
    return np.asarray(cv2.add(shown, behind), np.uint8)


def _tear_at_outline(
    flow: Array, maps: Array
) -> tuple[tuple[slice, ...], NDArray[np.uint8]] | None:
    """Let an enlarged flow, (S, S, 2), jump where a turned face hides what is behind it; in place.

    Interpolated, it would show all that lies between them in the reference, as a line with steps.

    Returns:
        The face's box, and uint8 (H, W) of it, 255 at px beside a jump; None: there is no jump.
    """
    skin = maps[..., MapChannel.SKIN]
    if not skin.any():
        return None
    cells, places = _enlarged_box(skin, flow)
    skin, coarse = np.ascontiguousarray(skin[cells]), np.ascontiguousarray(maps[..., FLOW][cells])
    jumps = _jumps(coarse, skin)
    if jumps.max() <= _TEAR:
        return None
    face, rest = (_continued(coarse, cover) for cover in (skin, 1 - skin))
    box = flow[places]
    size = box.shape[1::-1]
    there = cv2.resize(rest, size)
    inside = _above(cv2.blur(skin, _SMOOTH), 0.5, size)
    near = _above(cv2.dilate(jumps, _AROUND), _TEAR, size)
    cv2.copyTo(cv2.resize(face, size), inside, there)
    cv2.copyTo(there, near, box)
    edge = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, _AROUND)
    return places, np.asarray(cv2.min(edge, near), np.uint8)


def _jumps(flow: Array, cover: Array) -> Array:
    """Return how far a flow, (H, W, 2), jumps from a cell at the edge of a cover to the next."""
    found = np.zeros(cover.shape, np.float32)
    for jumps, values, covered in (found, flow, cover), (found.T, flow.swapaxes(0, 1), cover.T):
        across, down = np.moveaxis(np.abs(values[1:] - values[:-1]), -1, 0)
        jump = np.maximum(across, down) * (covered[1:] != covered[:-1])
        for side in (jumps[1:], jumps[:-1]):
            np.maximum(side, jump, out=side)
    return found


def _above(cells: NDArray[Any], bound: float, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return where cells, enlarged to (width, height) px, are above a bound: 255, elsewhere 0."""
    _, mask = cv2.threshold(cv2.resize(cells, size), bound, 255, cv2.THRESH_BINARY)
    return np.asarray(mask, np.uint8)


def _continued(flow: Array, cover: Array) -> Array:
    """Return a flow, (H, W, 2), where it is covered, continued straight on beyond."""
    known = [np.maximum(cv2.blur(cover, reach), 1e-6)[..., None] for reach in _REACHES]
    covered = flow * cover[..., None]
    near, far = (cv2.blur(covered, size) / of for size, of in zip(_REACHES, known, strict=True))
    own = (cover[..., None] > 0.5) | (known[0] < 1e-3)  # beyond all neighbours it is as it was
    return np.where(own, flow, near + np.float32(_SLOPE) * (near - far))


def _draw_shut(person: Image, shut: Image, maps: Array, source: Array, zoom: int) -> None:
    """Draw lids and lips that meet, in a moved person, uint8 (S, S, 4); in place.

    Between them the flow sweeps over the whole eye of the reference, or all of its teeth, which
    would show as a bright slit. `source` is that of the person, px of a picture `zoom` times as
    large as `shut`.
    """
    if not maps[..., MapChannel.SHUT].any():
        return
    met = np.asarray(cv2.dilate(maps[..., MapChannel.SHUT], _AROUND), np.float32)
    cells, places = _enlarged_box(met, person)
    box = person[places]
    there = _coarse(source[places], zoom)
    share = cv2.resize(np.ascontiguousarray(met[cells]), box.shape[1::-1])
    box[:] = cv2.blendLinear(warp_image(shut, there), box, share, 1 - share)


def _leave_rim(
    person: Image, rimless: NDArray[np.uint8], maps: Array, source: Array, zoom: int
) -> None:
    """Leave the rim of the wall behind where a person, uint8 (S, S, 4), has moved; in place.

    At rest it belongs to the picture; over another part of the wall it would be a halo.
    """
    across, down = np.moveaxis(maps[..., FLOW], -1, 0)
    moved = cv2.magnitude(np.ascontiguousarray(across), np.ascontiguousarray(down))
    share = np.minimum(moved / np.float32(_LEFT_BEHIND), 1)
    if share.max() < 0.1:
        return
    rim = 255 - warp_image(rimless, _coarse(source, zoom))
    left = cv2.multiply(rim, cv2.resize(in_bytes(share), rim.shape), scale=1 / 255)
    alpha = cv2.multiply(cv2.extractChannel(person, 3), 255 - left, scale=1 / 255)
    cv2.insertChannel(alpha, person, 3)


def _coarse(source: Array, zoom: int) -> Array:
    """Return the px, in a picture, of those in one that is `zoom` times as large."""
    return np.asarray(cv2.addWeighted(source, 1 / zoom, source, 0, 0.5 / zoom - 0.5), np.float32)


def _fill_mouth(person: Image, reference: Reference, maps: Array, drive: Array, pose: Pose) -> None:
    """Fill the mouth of a moved person, uint8 (S, S, 4), where it is not seen; in place."""
    channels = maps[..., MapChannel.UNSEEN_MOUTH], maps[..., MapChannel.MOUTH]
    if not channels[0].any():
        return
    cells, places = _enlarged_box(channels[1], person)
    box = person[places]
    unseen, inside = (cv2.resize(one[cells], box.shape[1::-1]) for one in channels)
    # Cells at the lips are inside in part: which part, the outline of the lips tells.
    share = unseen / np.maximum(inside, 1e-3)
    mouth = place_mouth(reference.landmarks, drive, (reference.pose, pose))
    zoom = len(person) / reference.side_px
    corner = places[0].start, places[1].start
    draw_mouth(box, share, corner, mouth, skin=reference.skin, zoom=zoom)


def _enlarged_box(cells: Array, picture: NDArray[Any]) -> tuple[tuple[slice, ...], ...]:
    """Return the box of blocks around cells that are not 0, and where that is in a picture."""
    x, y, width, height = cv2.boundingRect((cells > 0).astype(np.uint8))
    blocks = [
        (max(first - _BESIDE, 0) // MAP_BLOCK, (last + _BESIDE) // MAP_BLOCK + 1)
        for first, last in ((y, y + height - 1), (x, x + width - 1))
    ]
    sizes = MAP_BLOCK, MAP_BLOCK * len(picture) / len(cells)
    box, places = (tuple(slice(int(a * s), int(b * s)) for a, b in blocks) for s in sizes)
    return box, places


def follow_box(corner: Corner | None, landmarks: Array, side_px: int = NETWORK_PX) -> Corner:
    """Return the corner of the repair's box for a driven face, given that of the frame before.

    The box holds still until the face has left its middle. `landmarks` are (478, 3), and `side_px`
    is the crop's side, in the network's px.
    """
    face = landmarks[list(OVAL), 1::-1]
    middle = (face.min(axis=0) + face.max(axis=0)) / (2 * STEM) + _BOX_BELOW
    wanted = middle - REPAIR_CELLS / 2
    if corner is not None and np.abs(wanted - corner).max() <= _BOX_HOLD:
        return corner
    most = side_px // STEM - REPAIR_CELLS
    top, left = np.clip(np.round(wanted / _BOX_STEP) * _BOX_STEP, 0, most).astype(int).tolist()
    return top, left


def in_box(picture: Image, corner: Corner, zoom: float) -> Array:
    """Return the repair's box of a picture: float32 (3, B, B) RGB in -1..1.

    B is `REPAIR_CELLS` cells of `STEM` px, each of which is `zoom` px of the picture.
    """
    small = _resized(picture[_box(corner, zoom)], REPAIR_CELLS * STEM)
    planes = cv2.dnn.blobFromImage(small, 1 / 127.5, mean=(127.5, 127.5, 127.5))
    return np.asarray(planes[0], np.float32)


def maps_in_box(maps: Array, corner: Corner) -> Array:
    """Return the repair's box of (side, side, C) maps, half the network's size: (C, B/2, B/2)."""
    return np.ascontiguousarray(maps[_box(corner, 1 / MAP_STEM)].transpose(2, 0, 1))


def add_residual(picture: Image, residual: Array, corner: Corner, zoom: float) -> None:
    """Add the network's residual, (3, B, B), to a picture, uint8 (S, S, 3) RGB, in place.

    2 is the range of its values; the rest is as of `in_box`.
    """
    box = picture[_box(corner, zoom)]
    added = _resized(cv2.merge(list(residual * np.float32(127.5))), len(box))
    box[:] = cv2.add(box, added, dtype=cv2.CV_8U)


def _box(corner: Corner, zoom: float) -> tuple[slice, ...]:
    """Return rows and columns of the repair's box, where a px of the network has `zoom`."""
    return tuple(
        slice(round(first * STEM * zoom), round((first + REPAIR_CELLS) * STEM * zoom))
        for first in corner
    )


def _resized(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Resize (H, W, C) bilinearly, or by areas where it shrinks to half or less; the type stays."""
    method = cv2.INTER_AREA if 2 * size <= len(values) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(values), (size, size), interpolation=method))
