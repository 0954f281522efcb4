"""Copies of a reference with shut eyes and mouth, and with its irises apart from their whites.

With them, lids and irises move over what the photo hides: skin, whites and the rest of an iris.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.aperture import Opening
from reenact.face.geometry import region_mask
from reenact.face.topology import EYE_LEFT, EYE_RIGHT, LIPS_INNER
from reenact.imaging import blend_in
from reenact.models.warp_unet_inputs import IRIS_FLOW, WHITES_FLOW, MapChannel
from reenact.rendering.mesh_warp import enlarged_box, positions, warp_image
from reenact.rendering.openings import CREASES, EYES, LID_LOOPS, MIN_PX, iris_radius
from reenact.types import Array, Image

_BESIDE: Final = (1.3, 1.6)
"""Distances from an iris' middle, in its radii, at which the whites behind it are taken."""

_LID_SHADOW: Final = 0.1
"""Share of the opening's height next to a lid that shows its shadow and lashes."""

_MIN_RISE: Final = 15
"""Least difference of luma between an iris and the white beside it by which its edge is found."""

_INPAINT_RADIUS_PX: Final = 3
"""Distance from which the colours over eyes and mouth are taken."""

_SHUT: Final = EYE_RIGHT, EYE_LEFT, LIPS_INNER
"""Outlines of the openings."""

_LID_ROWS: Final = 32
"""Rows in which an upper lid is divided."""

_LID_BLUR: Final = 0.12
"""Blur of what replaces its dark parts, along the lid, as a share of the eye's width."""

_BARE: Final = 0.6
"""How far these become as bright as the lid above them. All of it would be pale."""

_LASH_ROOTS: Final = -0.1, 0.03
"""Where the darkest px of the lashes are sought, from the lid's edge, as shares of half the eye's
width."""

_LINE_BLUR: Final = 0.05
"""Blur of the line of the lashes along the lid, as a share of the eye's width."""

_LINE_ABOVE: Final = 0.18
"""Height, as a share of half the eye's width, within which the lid darkens towards that line."""

_MAX_LINE: Final = 0.9
"""Maximum height, likewise, within which it ends below the edge. Drawn eyes open wider."""

_INSET: Final = 0.08
"""Height, likewise, above the edge that may show the white of the eye."""

_BELOW: Final = 0.08
"""Height, likewise, of the lower lid's rim, over which the shut lid passes into it."""

_TO_CORNER: Final = 3
"""A shut lid passes into the corners over 1 / 3 of half the eye's width."""

_LASH_WIDTH: Final = 0.13
"""Most of the width of lashes on a lid that are removed, as a share of the eye's."""

_LASH_BLUR: Final = 0.02
"""Blur of what replaces them, likewise."""

_LASH_LEVELS: Final = (8, 24)
"""Darkness of lashes, levels, from which they begin to be removed, and from which they are."""

_AROUND: Final = np.ones((3, 3), np.uint8)
"""Kernel that includes a mask's rim."""

_AROUND_EYES: Final = 0.15
"""Width of the margin around the eyes that the copies include, as a share of the eyes' width."""

_CORNER: Final = (0.7, 0.9)
"""Distances from an eye's middle, as shares of half its width, at which colours count in full, and
from which they hardly do: its corner is no white."""

_DISTANCES: Final = np.arange(0.75, 1.56, 0.05, dtype=np.float32)
"""Distances from an iris' middle, in radii of its landmarks, between which its edge is sought."""

_EDGE_STEPS: Final = 4
"""Width of such an edge, in steps between these distances."""

_ASIDE: Final = np.linspace(-0.6, 0.6, 13)
"""Angles from the horizontal, radians, at which it is sought: lids hide what is above and below."""

_MIN_SEEN: Final = 6
"""Number of places at a distance, of all, that no lid may hide there."""

_SOFT_EDGE: Final = (0.98, 1.1)
"""Distances from an iris' middle, as shares of its edge's, to which it is drawn, and from which it
is not."""


def shut_copy(picture: Image, landmarks: Array) -> Image:
    """Return a picture, uint8 (S, S, 3), whose eyes and mouth are shut, and whose lids are bare.

    They are inpainted from lids and lips (Telea 2004). Over an eye comes its upper lid, from which
    lashes are removed: those of an open eye would point upwards from a lid that comes down.
    """
    opened = np.maximum.reduce([region_mask(landmarks, part, len(picture)) for part in _SHUT])
    result = np.asarray(
        cv2.inpaint(picture, opened, _INPAINT_RADIUS_PX, cv2.INPAINT_TELEA), np.uint8
    )
    for eye, ((upper, _), _) in enumerate(EYES):
        lid = region_mask(landmarks, LID_LOOPS[eye], len(picture)) * np.float32(1 / 255)
        result = _without_lashes(result, lid, landmarks[upper[-1], :2] - landmarks[upper[0], :2])
        _close_eye(result, picture, landmarks, eye)
    return result


def _close_eye(picture: Image, photo: Image, landmarks: Array, eye: int) -> None:
    """Draw a shut lid over an eye, from the crease to the lower lid; in place.

    A lid hardly becomes darker towards its lashes, so that the paint and shadow along them are not
    stretched over it. Their darkest px are the line of the lashes.

    Args:
        picture: uint8 (S, S, 3), without lashes on its lids.
        photo: likewise, with them.
        landmarks: (478, 3) px.
        eye: index into `EYES`.
    """
    opening = Opening(landmarks, EYES[eye][0])
    reach, crease = max(opening.reach, MIN_PX), opening.edge(landmarks[CREASES[eye], :2])

    def heights(along: Array) -> tuple[Array, Array, Array]:
        top, edge = np.interp(along, *crease), opening.upper(along)
        return np.asarray(top), edge, edge - np.float32(_INSET * reach)

    columns = max(math.ceil(2 * reach), 8)
    ends = np.linspace(-reach, reach, columns)
    top, edge, inner = heights(ends)
    levels = top + np.linspace(0, 1, _LID_ROWS)[:, None] * (inner - top)
    strip = _sampled(picture, opening, *np.broadcast_arrays(ends, levels))
    strip = _blurred(strip, _LID_BLUR * columns)
    strip += _BARE * (np.maximum.accumulate(strip, axis=0) - strip)
    levels = edge + reach * np.linspace(*_LASH_ROOTS, 9)[:, None]
    roots = _sampled(photo, opening, *np.broadcast_arrays(ends, levels)).min(axis=0, keepdims=True)
    roots = _blurred(roots, _LINE_BLUR * columns)

    around = landmarks[[*CREASES[eye], *EYES[eye][0][1]], :2]
    first = np.clip(around.min(axis=0) - 1, 0, len(picture) - 1).astype(int)
    last = np.maximum(around.max(axis=0) + 1 + _BELOW * reach, first).astype(int)
    box = picture[first[1] : last[1] + 1, first[0] : last[0] + 1]
    places = positions(len(picture))[first[1] : last[1] + 1, first[0] : last[0] + 1]
    along, across = opening.measure(places.reshape(-1, 2)).T.reshape(2, *box.shape[:2])
    top, edge, inner = heights(along)
    column = (along / reach + 1) / 2 * (columns - 1)
    row = (across - top) / np.maximum(inner - top, MIN_PX) * (_LID_ROWS - 1)
    lid = _remapped(strip, column, row)
    line = _remapped(roots, column, 0 * row)
    own = box.astype(np.float32)
    dark = _lost(lid - own, max(2 * _LASH_BLUR * reach, 0.5))
    lid = own + np.maximum(dark, across > inner)[..., None] * (lid - own)
    above = np.clip(1 + (across - edge) / (_LINE_ABOVE * reach), 0, 1) ** 3
    low = opening.lower(along)
    height = np.maximum(np.minimum(low - edge, _MAX_LINE * reach), MIN_PX)
    below = np.clip(1 - (across - edge) / height, 0, 1)
    lid += (above * below)[..., None] * (np.minimum(line, lid) - lid)
    share = np.clip(across - top, 0, 1) * np.clip(1 - (across - low) / (_BELOW * reach), 0, 1)
    share *= np.clip(_TO_CORNER * (1 - np.abs(along) / reach), 0, 1)
    box[:] = own + share[..., None] * (lid - own)


def _blurred(strip: Array, along_px: float) -> Array:
    """Blur (rows, columns, 3) along the columns, and hardly across them."""
    return np.asarray(cv2.GaussianBlur(strip, (0, 0), along_px, sigmaY=1), np.float32)


def _remapped(strip: Array, column: Array, row: Array) -> Array:
    """Return the values of a strip, (rows, columns, 3), at (H, W) columns and rows."""
    x, y = column.astype(np.float32), row.astype(np.float32)
    drawn = cv2.remap(strip, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(drawn, np.float32)


def mirrored_picture(picture: Image, gains: Array) -> Image:
    """Return the mirror image of a picture, uint8 (H, W, 4), with factors on its channels."""
    levels = np.clip(np.arange(256)[:, None] * gains, 0, 255).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(np.asarray(cv2.flip(picture, 1)), levels), np.uint8)


@dataclass(frozen=True, slots=True)
class EyeCopies:
    """The part of a reference around its eyes, from which eyes that look elsewhere are drawn.

    Attributes:
        whites: without irises, uint8 (H, W, 4) RGBA.
        irises: with whole irises, which lie over the lids, likewise.
        edge: where the irises end, in radii of their landmarks: drawn ones are larger.
        corner: column and row of the part in the reference.
    """

    whites: Image
    irises: Image
    edge: float
    corner: tuple[int, int]

    @classmethod
    def of(cls, picture: Image, landmarks: Array, alpha: NDArray[np.uint8]) -> EyeCopies:
        """Fill the whites behind the irises, and what lids hide of the irises.

        Args:
            picture: uint8 (S, S, 3) RGB.
            landmarks: (478, 3) px.
            alpha: the person's, uint8 (S, S).
        """
        eyes = landmarks[[*EYE_RIGHT, *EYE_LEFT], :2]
        margin = _AROUND_EYES * float(np.ptp(eyes[:, 0]))
        first = np.clip(eyes.min(axis=0) - margin, 0, len(picture) - 1).astype(int)
        last = np.maximum(eyes.max(axis=0) + margin, first).astype(int)
        part = slice(first[1], last[1] + 1), slice(first[0], last[0] + 1)
        picture, alpha = picture[part], alpha[part]
        landmarks = landmarks - np.append(first, 0).astype(np.float32)
        edge = _iris_edge(picture, landmarks)
        whites, irises = picture.copy(), picture.copy()
        for eye in range(len(EYES)):
            iris = _Iris(picture, landmarks, eye, edge)
            iris.fill_white(whites)
            iris.fill_iris(irises)
        corner = int(first[0]), int(first[1])
        return cls(np.dstack([whites, alpha]), np.dstack([irises, alpha]), edge, corner)

    def mirrored(self, size_px: int, gains: Array) -> EyeCopies:
        """Return those of a mirror image of this side; `gains` are factors on the channels."""
        whites, irises = (
            mirrored_picture(picture, gains) for picture in (self.whites, self.irises)
        )
        column, row = self.corner
        return EyeCopies(whites, irises, self.edge, (size_px - column - whites.shape[1], row))

    def draw(self, person: Image, maps: Array) -> None:
        """Draw eyes that look elsewhere in a warped person, uint8 (S, S, 4); in place.

        An iris moves rigidly over the white; a flow that is continuous would draw it out. Eyes that
        hardly differ from the photo's stay as they are.
        """
        share = maps[..., MapChannel.MOVED_EYE] * maps[..., MapChannel.EYES]
        if not share.any():
            return
        cells, pixels = enlarged_box(share, person)
        box = person[pixels]

        def fine(channels: Array) -> Array:
            resized = cv2.resize(np.ascontiguousarray(channels[cells]), box.shape[1::-1])
            return np.asarray(resized, np.float32)

        places = positions(len(person))[pixels] - np.array(self.corner, np.float32)
        sources = (
            np.asarray(cv2.scaleAdd(fine(maps[..., flow]), len(person) / 2, places), np.float32)
            for flow in (WHITES_FLOW, IRIS_FLOW)
        )
        whites, irises = map(warp_image, (self.whites, self.irises), sources)
        low, high = (self.edge * distance for distance in _SOFT_EDGE)
        distance = fine(maps[..., MapChannel.BESIDE_IRIS])
        white = np.clip((distance - low) / np.float32(high - low), 0, 1)
        blend_in(irises, whites, white)
        blend_in(box, irises, np.minimum(fine(share), 1))


def _iris_edge(picture: Image, landmarks: Array) -> float:
    """Return where the luma beside the irises rises most, in radii of their landmarks."""
    luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    total, count = np.zeros(len(_DISTANCES)), np.zeros(len(_DISTANCES))
    for edges, iris in EYES:
        eye, radius = Opening(landmarks, edges), iris_radius(landmarks, iris)
        middle, centre = eye.measure(landmarks[iris[:1], :2])[0]
        for side in (-1, 1):
            along = middle + side * radius * np.outer(_DISTANCES, np.cos(_ASIDE))
            across = centre + radius * np.outer(_DISTANCES, np.sin(_ASIDE))
            seen = (across > eye.upper(along)) & (across < eye.lower(along))
            total += np.where(seen, _sampled(luma, eye, along, across), 0).sum(axis=1)
            count += seen.sum(axis=1)
    profile = total / np.maximum(count, 1)
    rise = profile[_EDGE_STEPS:] - profile[:-_EDGE_STEPS]
    rise *= count[_EDGE_STEPS:] > _MIN_SEEN
    best = int(rise.argmax())
    return float(_DISTANCES[best + _EDGE_STEPS // 2]) if rise[best] > _MIN_RISE else 1.0


class _Iris:
    """The surroundings of one iris, in coordinates along and across its eye.

    Args:
        picture: uint8 (S, S, 3) RGB.
        landmarks: (478, 3) px.
        eye: index into `EYES`.
        edge: of `EyeCopies`.
    """

    def __init__(self, picture: Image, landmarks: Array, eye: int, edge: float) -> None:
        edges, iris = EYES[eye]
        self._picture, self._eye = picture, Opening(landmarks, edges)
        self._radius = edge * iris_radius(landmarks, iris)
        self._along, self._across = self._eye.measure(landmarks[iris[:1], :2])[0]
        reach = math.ceil(_BESIDE[-1] * self._radius)
        last = np.array(picture.shape[1::-1]) - 1
        column, row = np.clip(np.round(landmarks[iris[0], :2]), 0, last).astype(int)
        top, left = max(row - reach, 0), max(column - reach, 0)
        self._box = slice(top, row + reach + 1), slice(left, column + reach + 1)
        rows, columns = np.mgrid[: picture[self._box].shape[0], : picture[self._box].shape[1]]
        places = np.dstack([columns + left, rows + top])
        along, across = self._eye.measure(places.reshape(-1, 2)).T.reshape(2, *rows.shape)
        self._x, self._y = along - self._along, across - self._across
        self._distance = np.hypot(self._x, self._y)
        self._lids = self._eye.upper(along), self._eye.lower(along)

    def fill_white(self, picture: Image) -> None:
        """Replace the iris by the white beside it, at the same height between the lids; in place.

        It is the brighter one of two distances, as the eye's corner is darker, and so is an iris.
        """
        top, low = self._lids
        across = self._y + self._across
        height = (across - top) / np.maximum(low - top, MIN_PX)
        colours, ends = [], []
        for side in (-1, 1):
            seen = []
            for distance in _BESIDE:
                end = np.full_like(self._x, self._along + side * distance * self._radius)
                level = self._eye.upper(end) + height * self._gap(end)
                seen.append(_sampled(self._picture, self._eye, end, level))
            colours.append(np.maximum(*seen))
            ends.append(np.full_like(self._x, self._along + side * _BESIDE[0] * self._radius))
        beyond = np.abs(across - np.clip(across, top, np.maximum(low, top)))
        share = np.clip((_BESIDE[-1] - self._distance / self._radius) / 0.2, 0, 1)
        share *= np.clip(2 - 10 * beyond / self._radius, 0, 1)
        half = np.full_like(self._x, _BESIDE[0] * self._radius)
        self._fill(picture, colours, ends, half, share)

    def fill_iris(self, picture: Image) -> None:
        """Replace what lids hide by what is as far from the iris' middle, beside it; in place."""
        colours, ends = [], []
        for side in (-1, 1):
            aside, visible = self._x, self._y
            for _ in range(2):  # the opening is lower where a hidden place is taken from
                end = self._along + aside
                margin = _LID_SHADOW * np.maximum(self._gap(end), 0)
                highest = self._eye.upper(end) + margin - self._across
                lowest = self._eye.lower(end) - margin - self._across
                visible = np.minimum(np.maximum(visible, highest), lowest)
                aside = side * np.sqrt(np.maximum(self._distance**2 - visible**2, 0))
            ends.append(self._along + aside)
            colours.append(_sampled(self._picture, self._eye, ends[-1], visible + self._across))
        half = (ends[1] - ends[0]) / 2
        hidden = (np.abs(visible - self._y) > 1e-3).astype(np.float64)
        self._fill(picture, colours, ends, np.maximum(half, MIN_PX), hidden)

    def _fill(
        self, picture: Image, colours: list[Array], ends: list[Array], half: Array, share: Array
    ) -> None:
        """Blend colours from the left and the right of the iris into a picture; in place.

        Args:
            picture: uint8 (S, S, 3).
            colours: of the left and the right, (H, W, 3).
            ends: where these come from, along the eye.
            half: half the distance over which one passes into the other.
            share: of the result, 0 to 1.
        """
        first, last = _CORNER
        room = [
            np.clip((last - np.abs(end) / self._eye.reach) / (last - first), 0.01, 1)
            for end in ends
        ]
        right = np.clip(0.5 + self._x / half / 2, 0, 1)
        left, right = (1 - right) * room[0], right * room[1]
        weight = (right / (left + right))[..., None]
        filled = colours[0] + weight * (colours[1] - colours[0])
        own = picture[self._box].astype(np.float32)
        picture[self._box] = own + share[..., None] * (filled - own)

    def _gap(self, along: Array) -> Array:
        return self._eye.lower(along) - self._eye.upper(along)


def _sampled(picture: NDArray[np.uint8], eye: Opening, along: Array, across: Array) -> Array:
    """Return a picture's values at coordinates of an eye, both (H, W)."""
    places = eye.places(along.ravel(), across.ravel()).reshape(*along.shape, 2)
    return warp_image(picture, places.astype(np.float32)).astype(np.float32)


def _without_lashes(picture: Image, lid: Array, along: Array) -> Image:
    """Remove dark, thin lines across a lid by a morphological closing along it.

    `lid` is its coverage, (S, S), 0 to 1, and `along` (2,) px from one corner of the eye to the
    other. A lid without such lines hardly changes.
    """
    width = float(np.linalg.norm(along))
    half = max(_LASH_WIDTH * width / 2, 1.0)
    middle = math.ceil(half)
    x, y = (round(float(part)) for part in along / width * half)
    line = np.zeros((2 * middle + 1, 2 * middle + 1), np.uint8)
    cv2.line(line, (middle - x, middle - y), (middle + x, middle + y), (1,))
    bare = cv2.morphologyEx(picture, cv2.MORPH_CLOSE, line)
    soft_px = max(_LASH_BLUR * width, 0.5)
    share = _lost(cv2.subtract(bare, picture).astype(np.float32), soft_px)
    share *= cv2.GaussianBlur(cv2.dilate(lid, _AROUND), (0, 0), soft_px)
    bare = cv2.GaussianBlur(bare, (0, 0), soft_px)
    return np.asarray(cv2.blendLinear(bare, picture, share, 1 - share), np.uint8)


def _lost(darker: Array, soft_px: float) -> Array:
    """Return where lashes are, 0 to 1, by how much darker a lid is than without, (H, W, 3)."""
    lost = cv2.GaussianBlur(cv2.dilate(darker.max(axis=2), _AROUND), (0, 0), soft_px)
    low, high = _LASH_LEVELS
    return np.asarray(np.clip((lost - low) / (high - low), 0, 1), np.float32)
