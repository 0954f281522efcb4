"""Composes the generator's layers at the size of the output (Gemino, Sivaraman et al. 2022).

The warped person is laid over the still background, both at the output's size, so that their detail
survives. The network repairs a box around the face of that picture at `NETWORK_PX`, whatever the
output's size; its smooth residual is enlarged and added. Live path and training call the same
functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import (
    canonical_face,
    estimate_pose,
    filled_outline,
    region_mask,
    square_to_crop,
    transform_points,
)
from reenact.face.glasses import find_glasses
from reenact.face.topology import NOSE_OUTLINE, OVAL
from reenact.imaging import LUMA, blend_in
from reenact.models.warp_unet_inputs import (
    FLOW,
    MAP_CHANNELS,
    MAP_STEM,
    NETWORK_PX,
    REPAIR_CELLS,
    STEM,
    MapChannel,
)
from reenact.rendering.background import layers_of
from reenact.rendering.driven_skin import visible_lips
from reenact.rendering.eye_copies import EyeCopies, shut_copy
from reenact.rendering.glasses import RigidGlasses
from reenact.rendering.matting import without_white
from reenact.rendering.mesh_warp import enlarged_box, sources, warp_image
from reenact.rendering.mouth_interior import (
    MouthColours,
    dim_mouth,
    dimming,
    draw_mouth,
    place_teeth,
    within_lips,
)
from reenact.rendering.openings import teeth_end_of
from reenact.types import HEAD_ALONE, Array, Body, Image, Pose

Corner = tuple[int, int]
"""First row and column of the repair box, in cells of `STEM` px of the network's pictures."""

TornEdge = tuple[tuple[slice, ...], NDArray[np.uint8]]
"""A box of a warped picture, and a mask of it, uint8 (H, W), 255 beside a jump of the flow."""

ZOOM: Final = 2
"""Factor by which an `enlarged` picture is larger. Its first column is the picture's own, its last
one is not. So mirror a picture before it is enlarged."""

_HALF_WAY: Final = np.array([-3, 19, 19, -3], np.float32) / 32
"""Weights of four px in a row by which bicubic interpolation gives the value half-way between the
middle two."""

_MIN_JUMP: Final = 0.02
"""Jump of the flow at the face's outline, in halves of the side, above which it is not
interpolated."""

_WINDOWS: Final = (5, 5), (9, 9)
"""Windows, in cells, from which the flow is extrapolated: its mean over the first, plus `_SLOPE`
times the difference from its mean over the second, whose centre of mass is farther away."""

_SLOPE: Final = 1.5

_AROUND: Final = np.ones((3, 3), np.uint8)
"""Kernel, in cells, that dilates the outline to where the flow may jump."""

_STILL: Final = 0.01
"""Motion, in halves of the side, below which the photo's own wall is behind a person."""

_MAX_TINT: Final = 0.01
"""Mean difference between the channels and luma, as a share of luma, below which a face is grey."""

_ATLAS_SIDE: Final = 256
"""Side of a mask on the canonical face, px."""

_ATLAS_PLANE: Final = MapChannel.ATLAS_X, MapChannel.ATLAS_Y

_OUTLINE_BLUR: Final = (7, 7)
"""Kernel, in cells, that smooths the face's outline."""

_NOSE_BLUR: Final = (3, 3)
"""Kernel that smooths the nose's; a larger one cuts off its tip."""

_BOX_OFFSET: Final = np.array([2, 0])
"""Offset of the repair box from the face's middle, in rows and columns of cells."""

_BOX_STEP: Final = 2
"""The repair box moves in steps of this many cells."""

_BOX_HOLD: Final = 5
"""The repair box stays until the face is more than this many cells from its middle."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture of the target, split into the layers that frames are composed of.

    S is the side of the output; landmarks and pose are in the network's px.

    Attributes:
        person: uint8 (S, S, 4) RGBA.
        shut: the same person with eyes and mouth inpainted from lids and lips, for closed ones.
        background: uint8 (S, S, 3) RGB, inpainted behind the person.
        still: uint8 (S, S, 3) RGB, behind the person where nothing moves: at rest, the picture is
            the photo, however thin its hair is.
        mouth: colours of the inside of its mouth.
        landmarks: (478, 3) of the picture.
        pose: pose of the landmarks.
        side_px: the crop's side in the network's px.
        body: motions of torso and hair in the picture.
        teeth_end: where the upper teeth end, see `teeth_end_of`.
        grey: True for a face in grey.
        glasses: those that the person wears; None: none.
        eyes: copies from which eyes that look elsewhere are drawn; None: they are warped.
    """

    person: Image
    shut: Image
    background: Image
    still: Image
    mouth: MouthColours
    landmarks: Array
    pose: Pose
    side_px: int = NETWORK_PX
    body: Body = HEAD_ALONE
    teeth_end: float | None = None
    grey: bool = False
    glasses: RigidGlasses | None = None
    eyes: EyeCopies | None = None

    @classmethod
    def of(
        cls,
        picture: Image,
        coverage: NDArray[np.uint8],
        landmarks: Array,
        side_px: int = NETWORK_PX,
        body: Body = HEAD_ALONE,
        *,
        filled: Image | None = None,
        on_white: bool = False,
    ) -> Reference:
        """Split a picture.

        Args:
            picture: uint8 (S, S, 3) RGB.
            coverage: coverage by people, uint8 (H, W) of any size; 255: full.
            landmarks: (478, 3) px of the picture.
            side_px: its side in the network's px.
            body: motions of torso and hair in it.
            filled: see `layers_of`.
            on_white: True if the coverage is the picture's own alpha, with which it was composited
                on white.
        """
        size = len(picture)
        people = np.asarray(cv2.resize(coverage, (size, size)), np.uint8)
        if on_white:
            background = still = np.full_like(picture, 255)
            alpha, picture = people, without_white(picture, people)
        else:
            still = picture
            background, alpha = layers_of(picture, people, landmarks, filled)
        rims = find_glasses(picture, landmarks)
        person, shut = (np.dstack([rgb, alpha]) for rgb in (picture, shut_copy(picture, landmarks)))
        eyes = EyeCopies.of(picture, landmarks, alpha)
        landmarks = visible_lips(landmarks, estimate_pose(landmarks))
        points = transform_points(landmarks, square_to_crop((0, 0, size), side_px))
        pose = estimate_pose(points)
        return cls(
            person=person,
            shut=shut,
            background=background,
            still=still,
            mouth=MouthColours.of(picture, landmarks),
            landmarks=points,
            pose=pose,
            side_px=side_px,
            body=body,
            teeth_end=teeth_end_of(picture, landmarks),
            grey=_is_grey(picture, landmarks),
            glasses=None if rims is None else RigidGlasses.of(rims, size, points, pose, side_px),
            eyes=eyes,
        )


def _is_grey(picture: Image, landmarks: Array) -> bool:
    """Return whether the face in a picture, uint8 (S, S, 3) RGB, has no colours."""
    face = picture[region_mask(landmarks, OVAL, len(picture)) > 127].astype(np.float32)
    luma = face @ LUMA
    return bool(np.abs(face - luma[:, None]).mean() < _MAX_TINT * luma.mean())


def enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture of a `Reference` at the size that `move_person` takes.

    Every second pixel is the picture's own. Sampling between them bilinearly costs a quarter of
    sampling the reference bicubically, and loses only a few percent of the sharpness.
    """
    height, width, *channels = picture.shape
    fine = np.empty((height, ZOOM, width, ZOOM, *channels), np.uint8)
    fine[:, 0, :, 0] = picture
    across, down = _HALF_WAY[None], _HALF_WAY[:, None]
    for row, column, kernel in ((0, 1, across), (1, 0, down), (1, 1, down * across)):
        fine[:, row, :, column] = cv2.filter2D(
            picture, -1, kernel, anchor=(column, row), borderType=cv2.BORDER_REPLICATE
        )
    return fine.reshape(ZOOM * height, ZOOM * width, *channels)


def move_person(
    fine: Image, reference: Reference, maps: Array, drive: Array, pose: Pose
) -> tuple[Image, Array, list[TornEdge]]:
    """Warp the person of a reference, and draw the inside of the mouth that it does not show.

    Args:
        fine: the person of the reference, `enlarged`.
        reference: the reference, of the result's size.
        maps: from `HeadMesh.maps`, of any size.
        drive: (478, 3) driven landmarks, in the network's px.
        pose: their pose.

    Returns:
        The warped person, uint8 (S, S, 4) RGBA; its source map, (S, S, 2) px of `fine`; and where
        it was blurred.
    """
    size = len(reference.background)
    # Planes are resized and blurred in half the time of both at once.
    planes = [cv2.resize(plane, (size, size)) for plane in np.moveaxis(maps[..., FLOW], -1, 0)]
    masks = (maps[..., MapChannel.SKIN], _OUTLINE_BLUR), (_nose(maps), _NOSE_BLUR)
    torn = [edge for edge in (_tear(planes, maps, *mask) for mask in masks) if edge]
    source = sources(np.asarray(cv2.merge(planes), np.float32), ZOOM)
    person = warp_image(fine, source)
    blur_edges(person, torn)
    if reference.eyes is not None:
        reference.eyes.draw(person, maps)
    _draw_shut(person, reference, maps, source, drive)
    _fill_mouth(person, reference, maps, drive, pose)
    return person, source, torn


def blur_edges(picture: NDArray[np.uint8], torn: Sequence[TornEdge]) -> None:
    """Blur a warped picture, uint8 (S, S) or (S, S, C), where the flow jumps; in place.

    Each px shows one side of the jump; the blur removes the steps between them.
    """
    for box, edge in torn:
        cv2.copyTo(cv2.blur(picture[box], (3, 3)), edge, picture[box])


def walls_of(reference: Reference) -> tuple[Array, Array] | None:
    """Return what `behind_person` blends, as numbers that it blends in half the time of bytes."""
    if reference.still is reference.background:  # white, or nobody was found
        return None
    return reference.background.astype(np.float32), reference.still.astype(np.float32)


def behind_person(reference: Reference, walls: tuple[Array, Array] | None, maps: Array) -> Image:
    """Return what a warped person of a reference is laid over, uint8 (S, S, 3) RGB.

    `walls` are from `walls_of`.
    """
    if walls is None:
        return reference.background
    x, y = (np.ascontiguousarray(plane) for plane in np.moveaxis(maps[..., FLOW], -1, 0))
    moved = np.minimum(cv2.magnitude(x, y) / np.float32(_STILL), 1)
    moved = cv2.resize(moved, reference.still.shape[1::-1])
    return np.asarray(cv2.convertScaleAbs(cv2.blendLinear(*walls, moved, 1 - moved)), np.uint8)


def lay_over(person: Image, background: Image) -> Image:
    """Composite a person, uint8 (S, S, 4) RGBA, over a background, uint8 (S, S, 3) RGB."""
    alpha = cv2.cvtColor(cv2.extractChannel(person, 3), cv2.COLOR_GRAY2RGB)
    shown = np.asarray(cv2.cvtColor(person, cv2.COLOR_RGBA2RGB), np.uint8)
    cv2.multiply(shown, alpha, dst=shown, scale=1 / 255)
    behind = cv2.multiply(background, cv2.bitwise_not(alpha), scale=1 / 255)
    return np.asarray(cv2.add(shown, behind, dst=shown), np.uint8)


def _nose(maps: Array) -> Array:
    """Return which cells of maps show the nose, float32 (side, side), 0 or 1."""
    on_atlas = _nose_on_atlas()
    x, y = ((maps[..., axis] + 1) * np.float32(len(on_atlas) / 2) for axis in _ATLAS_PLANE)
    return cv2.remap(on_atlas, x, y, cv2.INTER_NEAREST) * maps[..., MapChannel.SKIN]


@lru_cache(maxsize=1)
def _nose_on_atlas() -> Array:
    """Return the nose on the canonical face, float32 (side, side), 0 or 1, from -1 to 1."""
    outline = (canonical_face()[list(NOSE_OUTLINE), :2] / 2 + 1) * (_ATLAS_SIDE / 2)
    nose = filled_outline(outline, (_ATLAS_SIDE, _ATLAS_SIDE)) > 127
    return nose.astype(np.float32)


def _tear(
    flow: Sequence[NDArray[Any]], maps: Array, mask: Array, blur: tuple[int, int]
) -> TornEdge | None:
    """Let an enlarged flow, x and y (S, S), jump where a mask of cells hides what is behind it.

    It is changed in place. Interpolated flow would show everything between the two in the
    reference, as a stepped line. `blur` is the kernel, in cells, that smooths the mask's outline.

    Returns:
        The edge; None: there is no jump.
    """
    if not mask.any():
        return None
    cells, pixels = enlarged_box(mask, flow[0])
    mask, coarse = mask[cells], np.moveaxis(maps[..., FLOW][cells], -1, 0)
    jumps = _jumps(coarse, mask)
    if jumps.max() <= _MIN_JUMP:
        return None
    size = flow[0][pixels].shape[::-1]
    inside = _above(cv2.blur(mask, blur), 0.5, size)
    near_jump = _above(cv2.dilate(jumps, _AROUND), _MIN_JUMP, size)
    for side, shown in (mask, inside & near_jump), (1 - mask, ~inside & near_jump):
        for plane, part in zip(flow, _extrapolated(coarse, side), strict=True):
            cv2.copyTo(cv2.resize(part, size), shown, plane[pixels])
    edge = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, _AROUND)
    return pixels, np.asarray(cv2.min(edge, near_jump), np.uint8)


def _jumps(flow: Array, mask: Array) -> Array:
    """Return the jumps, (H, W), of a flow, (2, H, W), between neighbours across a mask's edge."""
    result = np.zeros(mask.shape, np.float32)
    for jumps, values, inside in (result, flow, mask), (result.T, flow.swapaxes(1, 2), mask.T):
        x, y = np.abs(values[:, 1:] - values[:, :-1])
        jump = np.maximum(x, y) * (inside[1:] != inside[:-1])
        for side in (jumps[1:], jumps[:-1]):
            np.maximum(side, jump, out=side)
    return result


def _above(cells: NDArray[Any], bound: float, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the mask, 0 or 255, of cells above a bound, enlarged to (width, height) px."""
    _, mask = cv2.threshold(cv2.resize(cells, size), bound, 255, cv2.THRESH_BINARY)
    return np.asarray(mask, np.uint8)


def _extrapolated(flow: Array, mask: Array) -> Iterator[Array]:
    """Yield x and y, (H, W), of a flow, extrapolated linearly from a mask's inside to its rim."""
    covers = [np.maximum(cv2.blur(mask, window), 1e-6) for window in _WINDOWS]
    unchanged = (mask > 0.5) | (covers[0] < 1e-3)  # inside, or too far from it
    for plane in flow:
        inside = plane * mask
        near, far = (
            cv2.blur(inside, window) / cover for window, cover in zip(_WINDOWS, covers, strict=True)
        )
        yield np.where(unchanged, plane, near + np.float32(_SLOPE) * (near - far))


def _draw_shut(
    person: Image, reference: Reference, maps: Array, source: Array, drive: Array
) -> None:
    """Draw closed lids and lips, and the lips of an open photo, in a warped person; in place.

    Between closed ones the flow sweeps over the reference's whole eye or all of its teeth, which
    would show as a bright slit; on lids lashes would stand upright. An open photo's teeth extend
    beyond the landmarks' lips, and would be a bright line on the driven ones. Shade stays there.

    Args:
        person: uint8 (S, S, 4) RGBA.
        reference: what it was warped from.
        maps: from `HeadMesh.maps`.
        source: the person's source map, in px of the `enlarged` picture.
        drive: (478, 3) driven landmarks, in the network's px.
    """
    is_open = reference.teeth_end is not None
    if not (is_open or maps[..., MapChannel.SHUT].any() or maps[..., MapChannel.SHUT_LIDS].any()):
        return
    closed = np.asarray(cv2.dilate(maps[..., MapChannel.SHUT], _AROUND), np.float32)
    closed = np.maximum(closed, maps[..., MapChannel.SHUT_LIDS])
    lips = np.zeros_like(closed)
    if is_open:
        lips[:] = cv2.dilate(maps[..., MapChannel.MOUTH], _AROUND, iterations=2)
    if not (closed.any() or lips.any()):
        return
    cells, pixels = enlarged_box(np.maximum(closed, lips), person)
    box = person[pixels]
    drawn = warp_image(reference.shut, reduced(source[pixels]))
    blend_in(box, drawn, np.asarray(cv2.resize(closed[cells], box.shape[1::-1]), np.float32))
    if lips.any():
        corner, zoom = (pixels[0].start, pixels[1].start), len(person) / reference.side_px
        beyond = 1 - within_lips(drive, corner, zoom, box)
        share = beyond * cv2.resize(lips[cells], box.shape[1::-1])
        blend_in(box, np.asarray(cv2.min(drawn, box), np.uint8), share)


def reduced(source: Array) -> Array:
    """Convert px of an `enlarged` picture to px of the picture itself."""
    return np.asarray(source * np.float32(1 / ZOOM), np.float32)


def _fill_mouth(person: Image, reference: Reference, maps: Array, drive: Array, pose: Pose) -> None:
    """Draw the unseen inside of the mouth in a warped person, uint8 (S, S, 4), in place.

    What the photo shows of it becomes darker in a narrower mouth.
    """
    channels = maps[..., MapChannel.UNSEEN_MOUTH], maps[..., MapChannel.MOUTH]
    if not channels[1].any():
        return
    cells, pixels = enlarged_box(channels[1], person, margin=1)
    box = person[pixels]
    corner = pixels[0].start, pixels[1].start
    zoom = len(person) / reference.side_px
    dim = 1.0 if reference.teeth_end is None else dimming(reference.mouth, drive, pose)
    if dim == 1 and not channels[0].any():
        return
    mouth = within_lips(drive, corner, zoom, box)
    if dim < 1:
        dim_mouth(box, mouth, dim)
    if not channels[0].any():
        return
    unseen, inside = (cv2.resize(channel[cells], box.shape[1::-1]) for channel in channels)
    # Cells at the lips are covered in part; the result is clipped at the lips' outline.
    share = unseen / np.maximum(inside, 1e-3) * mouth
    poses = reference.pose, pose
    teeth = place_teeth(reference.landmarks, drive, poses, reference.teeth_end)
    draw_mouth(box, share, corner, drive, teeth, colours=reference.mouth, zoom=zoom)


def follow_box(corner: Corner | None, landmarks: Array, side_px: int = NETWORK_PX) -> Corner:
    """Return the corner of the repair box for a driven face, given that of the previous frame.

    The box stays until the face has left its middle. `landmarks` are (478, 3), and `side_px` is the
    crop's side, in the network's px.
    """
    face = landmarks[list(OVAL), 1::-1]
    middle = (face.min(axis=0) + face.max(axis=0)) / (2 * STEM) + _BOX_OFFSET
    wanted = middle - REPAIR_CELLS / 2
    if corner is not None and np.abs(wanted - corner).max() <= _BOX_HOLD:
        return corner
    last = side_px // STEM - REPAIR_CELLS
    top, left = np.clip(np.round(wanted / _BOX_STEP) * _BOX_STEP, 0, last).astype(int).tolist()
    return top, left


def in_box(picture: Image, corner: Corner, zoom: float) -> Array:
    """Return the repair box of a picture: float32 (3, B, B) RGB in -1..1.

    B is `REPAIR_CELLS` cells of `STEM` px; one such px is `zoom` px of the picture.
    """
    small = _resized(picture[_box(corner, zoom)], REPAIR_CELLS * STEM)
    planes = cv2.dnn.blobFromImage(small, 1 / 127.5, mean=(127.5, 127.5, 127.5))
    return np.asarray(planes[0], np.float32)


def maps_in_box(maps: Array, corner: Corner) -> Array:
    """Return what the network sees of maps, (side, side, C), in the repair box: (C, B/2, B/2)."""
    seen = maps[..., :MAP_CHANNELS]
    return np.ascontiguousarray(seen[_box(corner, 1 / MAP_STEM)].transpose(2, 0, 1))


def add_residual(
    picture: Image, residual: Array, corner: Corner, zoom: float, *, grey: bool = False
) -> None:
    """Add the network's residual, (3, B, B), to a picture, uint8 (S, S, 3) RGB, in place.

    A residual of 2 is the whole range of values; if `grey`, no colour is added. The other arguments
    are those of `in_box`.
    """
    if grey:
        residual = np.broadcast_to(np.tensordot(LUMA, residual, 1), residual.shape)
    box = picture[_box(corner, zoom)]
    added = _resized(cv2.merge(list(residual * np.float32(127.5))), len(box))
    cv2.add(box, added, dst=box, dtype=cv2.CV_8U)


def _box(corner: Corner, zoom: float) -> tuple[slice, ...]:
    """Return rows and columns of the repair box in a picture with `zoom` px for each network px."""
    return tuple(
        slice(round(first * STEM * zoom), round((first + REPAIR_CELLS) * STEM * zoom))
        for first in corner
    )


def _resized(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Resize (H, W, C) bilinearly, or by areas to half or less; the type is kept."""
    method = cv2.INTER_AREA if 2 * size <= len(values) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(values), (size, size), interpolation=method))
