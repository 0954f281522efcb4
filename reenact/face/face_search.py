"""Finds a face of any size in a picture of any size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np

from reenact.face.dim_light import brightened
from reenact.face.geometry import Square, face_box, square_to_crop, transform_points
from reenact.face.mediapipe_tracker import PASSES
from reenact.face.topology import OUTER_EYE_CORNERS
from reenact.imaging import crop_image, invert_affine, turned
from reenact.types import Array, Frame, Image, Landmarks, SeesFaces, Tracker

_MAX_VIEW_PX: Final = 1280
_MIN_VIEW_PX: Final = 384
_FINE_VIEW_PX: Final = 640
_FINE_SHARE: Final = 2.0
"""Side of the close view, as a multiple of the side of the face's box."""

_SHAKEN_VIEWS: Final = 16
_SHAKE_PX, _SHAKE_SCALE, _SHAKE_DEG = 1.3, 0.005, 0.5
"""Number of views whose landmarks are averaged, and how far they are moved, scaled and turned
(standard deviations)."""

_TILES: Final = ((2, 0.65), (3, 0.45), (4, 0.35), (6, 0.22))
"""Grids of overlapping squares: (squares per side, their side as a share of the longer side)."""

_MARGINS: Final = (1.0, 1.6)
"""Sides of the squares around the whole picture, as multiples of its longer side."""

_MIN_TILE_PX: Final = 128

_CONFIRMING_SHARES: Final = (1.7, 2.4, 3.2)
_CONFIRMED_WITHIN: Final = 0.06
"""Views of several sizes must agree on a real face to within this fraction of its size."""

_UPRIGHT_WITHIN: Final = 0.012
"""The same for an upright face. In an upside-down face the tracker often finds an upright one, but
another one in each view. Of 175 upright photos none was turned; of 59 that lay on their side or
upside down in turn, one was left so."""

_MAX_ROLL_DEG: Final = 60.0
"""A face that is rolled further is not upright."""


def find_face(image: Image, tracker: Tracker) -> Landmarks | None:
    """Find a face's landmarks as precisely as the picture allows.

    The tracker sees first the whole picture, then the picture with a margin, for a face that
    fills it, then overlapping squares, for a small face in a large photo. A face that was found is
    tracked again in a close view. Of several faces the largest is taken; see `find_faces`.

    Args:
        image: uint8 (H, W, 3) RGB of any size.
        tracker: reset before each view; preferably one for still pictures that takes the largest
            face.

    Returns:
        Landmarks in px of the picture, or None if there is no face.
    """
    for number, squares in enumerate(_looks(image)):
        found = [
            landmarks
            for square in squares
            if (landmarks := _look(image, square, tracker))
            # A small face is confirmed, because a texture may resemble one.
            and (number == 0 or _views_agree(image, landmarks, tracker, _CONFIRMED_WITHIN))
        ]
        if not found:
            continue
        coarse = max(found, key=_size)
        points = refine_face(image, coarse.points, tracker, shaken=False)
        return Landmarks(points, coarse.confidence, coarse.size)
    return None


def find_faces(image: Image, tracker: Tracker, *, thoroughly: bool = False) -> list[Array]:
    """Find all faces of a picture, as coarsely as the tracker sees them in its views.

    In the whole picture it sees no more than five, and often only the largest, so that the smaller
    squares of `find_face` are searched, too.

    Args:
        image: uint8 (H, W, 3) RGB of any size.
        tracker: as for `find_face`; unless it `SeesFaces`, each view gives only one face.
        thoroughly: if False, and the whole picture shows one face, none is searched for in squares.

    Returns:
        (478, 3) px each, from left to right; see `refine_face`.
    """
    known: list[Array] = []
    for number, squares in enumerate(_looks(image)):
        for square in squares:
            for face in _faces_in(image, square, tracker):
                if any(_is_same(face.points, other) for other in known):
                    continue
                if number == 0 or _views_agree(image, face, tracker, _CONFIRMED_WITHIN):
                    known.append(face.points)
        if number < len(_MARGINS) and len(known) == 1 and not thoroughly:
            break
    return sorted(known, key=lambda points: float(points[:, 0].mean()))


def find_upright_face(image: Image, tracker: Tracker) -> tuple[int, Landmarks] | None:
    """Find a face in a picture that may lie on its side or stand on its head.

    The picture is turned only if the face is not clearly upright in it, but is after a turn.

    Args:
        image: uint8 (H, W, 3) RGB of any size.
        tracker: as for `find_face`.

    Returns:
        The number of quarter turns, as of `imaging.turned`, and landmarks in px of the picture thus
        turned; None if there is no face.
    """
    as_it_is: Landmarks | None = None
    for turns in (0, 1, 3, 2):
        upright = turned(image, turns)
        found = find_face(upright, tracker)
        if found is not None and _is_upright(upright, found, tracker):
            return turns, found
        if turns == 0:
            as_it_is = found
    return None if as_it_is is None else (0, as_it_is)


def refine_face(image: Image, points: Array, tracker: Tracker, *, shaken: bool = True) -> Array:
    """Track a known face again in a close view, until its landmarks are those of a followed face.

    The view is then shaken, and the result is the mean of all views: the landmarks depend on where
    the tracker cuts the face out, which varies in a video but not in a photo.

    Args:
        image: uint8 (H, W, 3) RGB.
        points: (478, 3) px, the known landmarks.
        tracker: reset first.
        shaken: False for one of many frames, or where the result is refined again; it takes a
            fifth of the time.

    Returns:
        (478, 3) px; the known landmarks if the close view shows no face or another one.
    """
    left, top, right, bottom = face_box(points)
    size = max(right - left, bottom - top)
    close = _around(points, _FINE_SHARE)
    fine = _look(image, close, tracker, _FINE_VIEW_PX, times=PASSES, known=points)
    if fine is None:
        return points
    if _shift(fine.points, points) >= 0.25 * size or not 0.7 < _size(fine) / size < 1.4:
        return points
    return _mean_of_shaken(image, fine.points, close, tracker) if shaken else fine.points


def several_faces(count: int, chosen: str) -> tuple[str, str]:
    """Return the message that there are `count` faces, and how `tracking.face` chooses one."""
    told = "says which one is followed"
    if chosen.isdigit() and int(chosen) >= count:
        told = "is more than there are, so the last one is followed"
    return (
        f"There are {count} faces in the picture.",
        f"tracking.face={chosen} {told}; it can be largest, centre, or a number counted from the "
        "left, from 0.",
    )


def _looks(image: Image) -> Iterator[list[Square]]:
    height, width = image.shape[:2]
    longer = max(height, width)
    for margin in _MARGINS:
        side = longer * margin
        yield [((width - side) / 2, (height - side) / 2, side)]
    for number, share in _TILES:
        side = longer * share
        if side < _MIN_TILE_PX:
            return
        lefts = _spread(width, side, number)
        yield [(left, top, side) for top in _spread(height, side, number) for left in lefts]


def _spread(length: int, side: float, number: int) -> list[float]:
    """Return where squares along a length start; one centred square if the length is shorter."""
    if side >= length:
        return [(length - side) / 2]
    return [float(start) for start in np.linspace(0, length - side, number)]


def _look(
    image: Image,
    square: Square,
    tracker: Tracker,
    view_px: int | None = None,
    *,
    times: int = 1,
    known: Array | None = None,
) -> Landmarks | None:
    """Track a face in a square of the picture `times`; return landmarks in px of the picture.

    Of several faces it is the one nearest to the `known` landmarks; None: the tracker's choice.
    """
    found = _faces_in(image, square, tracker, view_px, times)
    if not found:
        return None
    return found[0] if known is None else min(found, key=lambda face: _shift(face.points, known))


def _faces_in(
    image: Image, square: Square, tracker: Tracker, view_px: int | None = None, times: int = 1
) -> list[Landmarks]:
    """Return the faces in a square, px of the picture; the first one is the tracker's choice."""
    if view_px is None:
        view_px = int(np.clip(square[2], _MIN_VIEW_PX, _MAX_VIEW_PX))
    affine = square_to_crop(square, view_px)
    tracker.reset()
    view = crop_image(image, affine, view_px)
    found = tracker.track(Frame(view, 0.0, 0))
    for _ in range(times - 1):
        found = found and tracker.track(Frame(brightened(view, found.points), 0.0, 0))
    if found is None:
        return []
    confidence, size = found.confidence, (image.shape[1], image.shape[0])
    return [Landmarks(points, confidence, size) for points in _faces_of(tracker, found, affine)]


def _faces_of(tracker: Tracker, found: Landmarks | None, affine: Array) -> list[Array]:
    """Return the faces in a tracker's last view, px of the picture; its choice is the first."""
    if found is None:
        return []
    faces = [found.points]
    if isinstance(tracker, SeesFaces):
        faces += [points for points in tracker.faces if points is not found.points]
    back = invert_affine(affine)
    return [transform_points(points, back) for points in faces]


def _mean_of_shaken(image: Image, points: Array, square: Square, tracker: Tracker) -> Array:
    """Return the mean landmarks, (478, 3) px, of a face that the tracker follows in a square."""
    random = np.random.default_rng(0)
    close, middle = square_to_crop(square, _FINE_VIEW_PX), _FINE_VIEW_PX / 2
    found = [points]
    for across, down, growth, turn in random.normal(size=(_SHAKEN_VIEWS, 4)):
        scale = math.exp(_SHAKE_SCALE * growth)
        shake = cv2.getRotationMatrix2D((middle, middle), _SHAKE_DEG * turn, scale)
        affine = np.asarray(shake[:, :2] @ close, np.float32)
        affine[:, 2] += shake[:, 2] + (_SHAKE_PX * across, _SHAKE_PX * down)
        view = crop_image(image, affine, _FINE_VIEW_PX)
        seen = tracker.track(Frame(brightened(view, transform_points(points, affine)), 0.0, 0))
        found += [face for face in _faces_of(tracker, seen, affine) if _is_same(face, points)][:1]
    return np.asarray(np.mean(found, axis=0), np.float32)


def _is_upright(image: Image, found: Landmarks, tracker: Tracker) -> bool:
    """Return True for an upright face, False for one that lies or stands on its head."""
    right_eye, left_eye = found.points[list(OUTER_EYE_CORNERS), :2]
    across, down = left_eye - right_eye
    roll_deg = abs(float(np.degrees(np.arctan2(down, across))))
    if roll_deg >= _MAX_ROLL_DEG:
        return False
    # Refined landmarks are of another kind than those of a view, see `PASSES`.
    detected = _closely(image, found.points, _FINE_SHARE, tracker)
    return detected is not None and _views_agree(image, detected, tracker, _UPRIGHT_WITHIN)


def _views_agree(image: Image, found: Landmarks, tracker: Tracker, within: float) -> bool:
    """Return True if views of several sizes agree to within a fraction of the face's size."""
    for share in _CONFIRMING_SHARES:
        again = _closely(image, found.points, share, tracker)
        if again is None:
            return False
        distance = np.linalg.norm(again.points[:, :2] - found.points[:, :2], axis=1).mean()
        if distance > within * _size(found):
            return False
    return True


def _closely(image: Image, points: Array, share: float, tracker: Tracker) -> Landmarks | None:
    """Detect a known face again in a view around it."""
    return _look(image, _around(points, share), tracker, _FINE_VIEW_PX, known=points)


def _around(points: Array, share: float) -> Square:
    """Return the square around a face; its side is a multiple of the longer side of the box."""
    left, top, right, bottom = face_box(points)
    side = max(right - left, bottom - top) * share
    return (left + right - side) / 2, (top + bottom - side) / 2, side


def _shift(points: Array, others: Array) -> float:
    """Return the distance between the centres of two faces, px."""
    return float(np.linalg.norm(points[:468, :2].mean(axis=0) - others[:468, :2].mean(axis=0)))


def _is_same(points: Array, others: Array) -> bool:
    """Return whether the landmarks that two views give are those of one face."""
    left, top, right, bottom = face_box(others)
    return _shift(points, others) < 0.5 * max(right - left, bottom - top)


def _size(found: Landmarks) -> float:
    left, top, right, bottom = face_box(found.points)
    return max(right - left, bottom - top)
