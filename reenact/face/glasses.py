"""Finds the rims of glasses in a picture of a face.

Around each eye, the closed outline with the strongest edge is found by dynamic programming in polar
coordinates. Below the eyes, where skin alone has no edges, its contrast tells rims from skin; the
bridge over the nose tells them from the outlines of large drawn eyes. Thin and rimless glasses are
missed, and sunglasses are left out, because their lenses would have to move with the rims.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import estimate_pose, filled_outline
from reenact.face.topology import (
    EYE_CORNERS_LEFT,
    EYE_CORNERS_RIGHT,
    EYE_LEFT,
    EYE_RIGHT,
    OVAL,
)
from reenact.types import Array, Image

_IOD_PX: Final = 96
"""Distance of the eyes in the picture in which glasses are looked for, px."""

_SIZE: Final = (320, 224)
"""Its width and height, px."""

_EYES_ROW: Final = 88
"""Row of its eyes."""

TEMPLES: Final = (127, 356)
"""Landmarks of the right and the left temple, where the arms of glasses leave the face."""

_MIDDLE: Final = (0.04, 0.06)
"""Distance from the middle of an eye, outwards and downwards, to that of its rim, iod."""

_ANGLES: Final = np.arange(72, dtype=np.float32) * np.float32(2 * np.pi / 72)
"""Angles of the rays around an eye, clockwise from the right."""

_RADII: Final = np.arange(5, 88, dtype=np.float32)
"""Radii at which they are sampled, px."""

_RANGE: Final = (16, 65)
"""Smallest and largest radius of a rim, px."""

_AROUND_LIDS: Final = np.ones((13, 13), np.uint8)
"""Kernel that dilates the eyes to the lids, where edges do not count."""

_MAX_EDGE: Final = 40.0
"""Contrast from which an edge is not stronger, in the units of CIELAB."""

_BEND: Final = 2.0
"""Contrast that a path must gain by a step aside of 1 px."""

_BELOW: Final = np.sin(_ANGLES) > np.sin(np.radians(20))
"""The rays below the eye."""

_WEAKEST: Final = 25.0
"""Percentile of the edges below an eye that has to be strong."""

_MIN_EDGE: Final = 5.0
"""Its least contrast."""

_MIN_SHARE, _MIN_BRIDGE = 0.36, 0.5
"""Its least share, and the bridge's, of the contrast around the lids: blurred pictures have weak
edges."""

_NOSE: Final = 168
"""Landmark of the nose between the eyes."""

_BRIDGE_ROWS: Final = (-29, 27)
"""Rows above and below it in which the bridge is looked for, px."""

_BRIDGE_HALF: Final = (3, 9)
"""Half of the width in which it is looked for, px: that between the rims, within these bounds."""

_NOISE: Final = 2.0
"""Contrast added to that of the lids."""

_DEPTH: Final = 14
"""Distance from the outline, inwards and outwards, in which the rim is looked for, px."""

_INNER, _OUTER = slice(0, 6), slice(-6, None)
"""The parts of this profile that show the skin inside and outside of a rim."""

_NEAR: Final = 6
"""Maximum distance of the rim's middle from the outline, px."""

_RIM_SHARE: Final = 0.45
"""Share of the largest difference from the skin's colour above which a px belongs to the rim."""

_MAX_WIDTH: Final = 9
"""Maximum width of a rim below the eye, px."""

_MIN_WIDTH: Final = 4.0
"""Minimum width of bridge and arms, px."""

_HINGE_HEIGHT: Final = 0.2
"""Height of a hinge above the middle of its rim, as a share of the rim's height."""

_MAX_TINT: Final = 20.0
"""Difference in colour between what is within and what is outside of both rims, below the eyes,
above which the lenses are tinted."""

_MARGIN_PX: Final = 1.5
"""Skin that counts as rim, on both sides."""

_GROWTH_PX: Final = 12
"""Maximum further width of a rim's thicker parts."""

_LIKE: Final = 0.5
"""Difference from a rim's colour, as a share of the skin's, up to which a px is like the rim."""

_MIN_CONTRAST: Final = 20.0
"""Difference of a rim's colour from the skin's below which it does not tell them apart."""

_BESIDE_PX: Final = 5
"""Distance below a rim where the skin's colour is taken, and that rims reach beyond the hinges."""

_SLOPES: Final = np.linspace(-0.8, 0.8, 17)
"""Slopes that the arms may have."""

_LEVEL: Final = 2.0
"""Contrast that a slope of 1 must gain over a level arm."""

_EDGE_PX: Final = 1.0
"""Width of a rim's blurred edge, px of the small picture, which is inpainted as well."""

_INPAINT_PX: Final = 4
"""Distance from which the colours of the skin behind a rim are taken, px of the small picture."""

_USUAL: Final = 75.0
"""Percentile of the difference between glasses and the skin in their place that is usual."""

_UNLIKE: Final = (0.2, 0.5)
"""Shares of it at which a px begins to count as glasses, and from which it does."""

_CLEAR: Final = 200
"""Coverage above which a px has the colour of the rims."""

Rim = tuple[Array, Array, float]
"""The inner and the outer edge of a rim, (rays, 2) px each, and the tint of its lens."""


@dataclass(frozen=True, slots=True)
class Glasses:
    """Glasses in a picture.

    Attributes:
        alpha: their coverage, uint8 (H, W), like the picture; 255: full. Lenses do not count.
        hinges: (2, 2) px, where the rims of the right and of the left eye pass into the arms.
        unworn: the picture with skin in their place, uint8 (H, W, 3).
        colour: the usual colour of the rims, RGB (3,).
        width_px: their width.
    """

    alpha: NDArray[np.uint8]
    hinges: Array
    unworn: Image
    colour: Array
    width_px: float


def find_glasses(picture: Image, landmarks: Array) -> Glasses | None:
    """Return the glasses of a face; None if it wears none, or none that stand out.

    Args:
        picture: uint8 (H, W, 3) RGB.
        landmarks: (478, 3) px of the face.
    """
    to_small = _alignment(landmarks)
    small = cv2.warpAffine(
        picture, to_small, _SIZE, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    points = landmarks[:, :2] @ to_small[:, :2].T + to_small[:, 2]
    sharp = cv2.cvtColor(np.float32(1 / 255) * small, cv2.COLOR_RGB2LAB)
    colours = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 0.9), np.float32)
    right, left = (filled_outline(points[list(eye)], _SIZE[::-1]) for eye in (EYE_RIGHT, EYE_LEFT))
    lids = np.asarray(cv2.dilate(right | left, _AROUND_LIDS), np.uint8)
    contrast = _NOISE + _contrast_around(colours, lids)
    rims = []
    for corners, side in (EYE_CORNERS_RIGHT, -1), (EYE_CORNERS_LEFT, 1):
        middle = points[list(corners)].mean(axis=0)
        middle += np.multiply(_MIDDLE, (side * _IOD_PX, _IOD_PX))
        outline, weakest = _outline(colours, lids, middle)
        if weakest < max(_MIN_EDGE, _MIN_SHARE * contrast):
            return None
        rims.append(_rim(colours, middle, outline))
    if min(tint for *_, tint in rims) > _MAX_TINT:
        return None
    across, row = _bridge(colours, rims, points[_NOSE, 1])
    if across < _MIN_BRIDGE * contrast:
        return None
    edges = np.linalg.norm(np.gradient(colours, axis=0), axis=2).astype(np.float32)
    thickness = max(_MIN_WIDTH, float(np.median([np.hypot(*(a - b).T) for a, b, _ in rims])))
    alpha, hinges = _coverage(rims, row, points[list(TEMPLES)], edges, thickness)
    alpha = _grown(alpha, colours, _may_be_rim(points, lids, hinges[:, 0]), rims)
    to_picture = cv2.invertAffineTransform(to_small)
    height, width = picture.shape[:2]
    whole = cv2.warpAffine(alpha, to_picture, (width, height), flags=cv2.INTER_LINEAR)
    pixel = float(np.hypot(*to_picture[:, 0]))
    around = np.ones((2 * round(_EDGE_PX * pixel) + 1,) * 2, np.uint8)
    hidden = (cv2.dilate(whole, around) > 0).astype(np.uint8)
    found = cv2.inpaint(picture, hidden, _INPAINT_PX * pixel, cv2.INPAINT_TELEA)
    unworn = np.asarray(found, np.uint8)
    seen = _unlike(picture, unworn, np.asarray(whole, np.uint8))
    if not (seen > _CLEAR).any():
        return None  # they are outside of the picture
    return Glasses(
        alpha=seen,
        hinges=np.asarray(hinges @ to_picture[:, :2].T + to_picture[:, 2], np.float32),
        unworn=unworn,
        colour=np.median(picture[seen > _CLEAR], axis=0).astype(np.float32),
        width_px=thickness * pixel,
    )


def _unlike(picture: Image, unworn: Image, coverage: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the coverage, uint8 (H, W), where the picture differs from the one without glasses."""
    difference = cv2.blur(cv2.absdiff(picture, unworn).max(axis=2), (3, 3)).astype(np.float32)
    rims = coverage > 127
    usual = max(float(np.percentile(difference[rims], _USUAL)) if rims.any() else 0.0, 1.0)
    low, high = _UNLIKE
    share = np.clip((difference / usual - low) / (high - low), 0, 1)
    return np.asarray(np.round(coverage * share), np.uint8)


def _alignment(landmarks: Array) -> Array:
    """Return the similarity, (2, 3), from px of the picture to those of the small one."""
    right, left = (
        landmarks[list(corners), :2].mean(axis=0)
        for corners in (EYE_CORNERS_RIGHT, EYE_CORNERS_LEFT)
    )
    across = left - right
    scale = _IOD_PX / estimate_pose(landmarks).scale
    x, y = across * scale / max(float(np.hypot(*across)), 1e-3)
    linear = np.array([[x, y], [-y, x]])
    middle = np.array([_SIZE[0] / 2, _EYES_ROW]) - linear @ ((right + left) / 2)
    return np.column_stack([linear, middle])


def _contrast_around(colours: Array, lids: NDArray[np.uint8]) -> float:
    """Return the contrast from px to px that a tenth of the lids' px, (H, W), exceed."""
    x, y, width, height = cv2.boundingRect(lids)
    box = slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)
    by_x, by_y = (
        cv2.Sobel(colours[box], cv2.CV_32F, *order, scale=1 / 4) for order in ((1, 0), (0, 1))
    )
    contrast = np.sqrt((by_x**2 + by_y**2).sum(axis=2))
    return float(np.percentile(contrast[lids[box] > 127], 90))


def _rays(picture: Array | NDArray[np.uint8], middle: Array) -> Array:
    """Sample a picture on all rays: (rays, radii) or (rays, radii, C)."""
    x = middle[0] + np.outer(np.cos(_ANGLES), _RADII)
    y = middle[1] + np.outer(np.sin(_ANGLES), _RADII)
    maps = x.astype(np.float32), y.astype(np.float32)
    found = cv2.remap(picture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


def _outline(
    colours: Array, lids: NDArray[np.uint8], middle: Array
) -> tuple[NDArray[np.intp], float]:
    """Return the outline with the strongest edge around an eye.

    Returns:
        The index of its radius on each ray, and the contrast of its weakest edges below the eye.
    """
    rays = _rays(colours, middle)
    edges = np.zeros(rays.shape[:2], np.float32)
    edges[:, 1:-1] = np.linalg.norm(rays[:, 2:] - rays[:, :-2], axis=2)
    edges = np.minimum(edges, _MAX_EDGE)
    low, high = _RANGE
    edges[(_rays(lids, middle) > 10) | (low > _RADII) | (high < _RADII)] = 0
    outline = _closed_path(edges)
    below = edges[np.arange(len(edges)), outline][_BELOW]
    return outline, float(np.percentile(below, _WEAKEST))


def _bridge(colours: Array, rims: list[Rim], row: float) -> tuple[float, float]:
    """Find the strongest edge across the nose near this row.

    Returns:
        Its mean contrast, and the row where it ends.
    """
    start, end = float(rims[0][1][:, 0].max()), float(rims[1][1][:, 0].min())
    half = int(np.clip((end - start) / 2, *_BRIDGE_HALF))
    column = int((start + end) / 2)
    top, bottom = (int(row) + offset for offset in _BRIDGE_ROWS)
    box = colours[max(top, 0) : bottom, max(column - half, 0) : column + half + 1]
    edges = np.minimum(np.linalg.norm(box[2:] - box[:-2], axis=2), _MAX_EDGE)
    best: Array = edges[:, 0]
    for edge in edges.T[1:]:
        best = _step(best)[0] + edge
    return float(best.max()) / edges.shape[1], max(top, 0) + 1 + float(best.argmax())


def _step(best: Array) -> tuple[Array, NDArray[np.intp]]:
    """Return the best sum of a path that moves by -1, 0 or 1 to each place, and that motion."""
    # Padding and stacking would take three times as long.
    ways = np.full((3, len(best)), -np.inf, np.float32)
    ways[0, 1:], ways[1], ways[2, :-1] = best[:-1] - _BEND, best, best[1:] - _BEND
    chosen = ways.argmax(axis=0)
    return ways[chosen, np.arange(len(best))], chosen - 1


def _closed_path(values: Array) -> NDArray[np.intp]:
    """Return the column in each row of the closed path with the largest sum of (N, M) values.

    It moves by at most one column from row to row. It is found by going around twice.
    """
    count = len(values)
    best, steps = values[0], []
    for row in range(1, 2 * count):
        before, motion = _step(best)
        steps.append(motion)
        best = before + values[row % count]
    column = int(best.argmax())
    path = np.empty(2 * count, np.intp)
    path[-1] = column
    for row in range(2 * count - 1, 0, -1):
        column += int(steps[row - 1][column])
        path[row - 1] = column
    middle = np.arange(count // 2, count // 2 + count)
    result = np.empty(count, np.intp)
    result[middle % count] = path[middle]
    return result


def _rim(colours: Array, middle: Array, outline: NDArray[np.intp]) -> Rim:
    """Return the rim on an outline.

    Its width is found below the eye; above it, rims are up to twice as wide.
    """
    rows = np.arange(len(outline))[:, None]
    columns = np.clip(outline[:, None] + np.arange(-_DEPTH, _DEPTH + 1), 0, len(_RADII) - 1)
    profiles = _rays(colours, middle)[rows, columns]
    skins = [_smooth(np.median(profiles[:, end], axis=1)) for end in (_INNER, _OUTER)]
    within, beyond = (np.median(skin[_BELOW], axis=0) for skin in skins)
    from_skin = [np.linalg.norm(profiles - skin[:, None], axis=2) for skin in skins]
    mean = np.minimum(*from_skin)[_BELOW].mean(axis=0)
    first = last = _DEPTH - _NEAR + int(mean[_DEPTH - _NEAR : _DEPTH + _NEAR + 1].argmax())
    bound = _RIM_SHARE * mean[first]
    while first > 0 and mean[first - 1] > bound:
        first -= 1
    while last < min(len(mean) - 1, first + _MAX_WIDTH - 1) and mean[last + 1] > bound:
        last += 1
    wider = np.where(_BELOW, 0, last - first)
    ways = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])
    inner, outer = (
        middle + (_smooth(_RADII[outline][:, None]) + offset) * ways
        for offset in (
            first - _DEPTH - _MARGIN_PX,
            (last - _DEPTH + _MARGIN_PX + wider)[:, None],
        )
    )
    return inner, outer, float(np.linalg.norm(within - beyond))


def _smooth(values: Array) -> Array:
    """Return the running median of (rays, C) values over nine rays."""
    around = np.concatenate([values[-4:], values, values[:4]])
    windows = np.lib.stride_tricks.sliding_window_view(around, 9, axis=0)
    return np.asarray(np.median(windows, axis=-1))


def _coverage(
    rims: list[Rim], bridge: float, temples: Array, edges: Array, width: float
) -> tuple[NDArray[np.uint8], Array]:
    """Return the coverage by rims, bridge and arms, and the hinges, (2, 2), in the small picture.

    Args:
        rims: those of both eyes.
        bridge: row of the bridge.
        temples: (2, 2) px.
        edges: contrast from row to row, (H, W).
        width: of the rims.
    """
    alpha = np.zeros(_SIZE[::-1], np.uint8)
    for inner, outer, _ in rims:
        around, lens = (filled_outline(edge, alpha.shape) for edge in (outer, inner))
        alpha |= np.asarray(cv2.subtract(around, lens), np.uint8)
    middles = [(inner + outer) / 2 for inner, outer, _ in rims]
    nasal = middles[0][:, 0].max(), middles[1][:, 0].min()
    _line(alpha, *(np.array([column, bridge]) for column in nasal), width=2 * width)
    hinges = []
    for middle, side, temple in zip(middles, (-1, 1), temples, strict=True):
        outermost = side * (side * middle[:, 0]).max()
        hinge = np.array([outermost, middle[:, 1].mean() - _HINGE_HEIGHT * np.ptp(middle[:, 1])])
        _line(alpha, hinge, hinge, width=3 * width)
        reach = max(float(side * (temple[0] - hinge[0])), 0.0)
        _line(alpha, hinge, _arm_end(edges, hinge, side * reach), width=1.5 * width)
        hinges.append(hinge)
    return alpha, np.array(hinges)


def _may_be_rim(points: Array, lids: NDArray[np.uint8], hinges: Array) -> NDArray[np.bool_]:
    """Return which px of the face, (H, W), lie between the hinges' columns and are no eyes."""
    column = np.arange(lids.shape[1])
    between = (column > hinges[0] - _BESIDE_PX) & (column < hinges[1] + _BESIDE_PX)
    face = filled_outline(points[list(OVAL)], lids.shape) > 127
    return np.asarray(face & (lids < 128) & between)


def _grown(
    alpha: NDArray[np.uint8], colours: Array, allowed: NDArray[np.bool_], rims: list[Rim]
) -> NDArray[np.uint8]:
    """Let a coverage grow over adjacent px that are coloured like the rims, but not the eyes.

    The upper parts and the corners of some rims are several times as thick as their lower ones.
    """
    rim = np.concatenate([(inner + outer)[_BELOW] / 2 for inner, outer, _ in rims])
    skin = np.concatenate([outer[_BELOW] + (0, _BESIDE_PX) for _, outer, _ in rims])
    last = np.subtract(_SIZE, 1)
    colour, usual = (
        np.median(colours[tuple(np.clip(places.astype(int), 0, last).T[::-1])], axis=0)
        for places in (rim, skin)
    )
    contrast = float(np.linalg.norm(colour - usual))
    if contrast < _MIN_CONTRAST:
        return alpha
    like = (np.linalg.norm(colours - colour, axis=2) < _LIKE * contrast) & allowed
    for _ in range(_GROWTH_PX):
        grown = np.asarray(cv2.dilate(alpha, np.ones((3, 3), np.uint8)), np.uint8)
        alpha = np.where(like, grown, alpha)
    return alpha


def _arm_end(edges: Array, hinge: Array, reach: float) -> Array:
    """Return the end, (2,) px, of the line from a hinge, `reach` px aside, with the best edges."""
    steps = np.linspace(0, 1, 16, dtype=np.float32)
    drops = np.abs(reach) * _SLOPES
    x = np.tile(np.float32(hinge[0]) + np.float32(reach) * steps, (len(drops), 1))
    y = np.float32(hinge[1]) + np.outer(drops, steps)
    found = cv2.remap(edges, x, y.astype(np.float32), cv2.INTER_LINEAR).mean(axis=1)
    drop = drops[(found - _LEVEL * np.abs(_SLOPES)).argmax()]
    return np.asarray(hinge + np.array([reach, drop]))


def _line(alpha: NDArray[np.uint8], start: Array, end: Array, *, width: float) -> None:
    """Draw a line of this width, px, into a coverage; in place."""
    first, last = (np.round(point).astype(int).tolist() for point in (start, end))
    cv2.line(alpha, first, last, (255,), round(width), cv2.LINE_AA)
