"""Makes a target from one photo, several, or a video."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from reenact.errors import SourceError, TargetError
from reenact.geometry import FACE_MIDDLE, FACE_SHARE, face_box, invert_affine, transform_points
from reenact.reference_selection import MAX_REFERENCES, Look, calmest, choose, look_at
from reenact.sources import VideoSource, read_image
from reenact.still_faces import find_face, refine_face, square_to_crop
from reenact.types import Array, Frame, Image, Target, Tracker

MAX_PLATE_SIDE_PX: Final = 4096

_SMALL_PX: Final = 256
"""Side of the references where the source holds no more."""

_VIDEO_SUFFIXES: Final = frozenset(
    (
        ".mp4",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".m4v",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".ts",
        ".flv",
        ".ogv",
    )
)
_SCAN_BUDGET_S: Final = 60.0
_MAX_SEEN: Final = 512
"""Frames of a video that are looked at closely; of a longer one every second, fourth, ..."""

_MAX_WIDENING: Final = 1.5
"""A video's square is at most this much wider than its calmest frame needs."""

_CUT_LEVELS: Final = 40.0
_THUMBNAIL_PX: Final = (32, 18)

_log = logging.getLogger(__name__)

Box = tuple[int, int, int]
"""(left, top, side) of a square with whole-numbered edges, px of the picture."""


@dataclass(frozen=True, slots=True)
class _Face:
    """One picture that may become a reference."""

    number: int
    points: Array
    look: Look
    box: Box


@dataclass(frozen=True, slots=True)
class _Material:
    """One photo or video: its faces, and a way to get their pictures again."""

    faces: list[_Face]
    pictures: Callable[[Collection[int]], dict[int, Image]]


def create_target(
    name: str,
    paths: Sequence[Path],
    tracker: Tracker,
    *,
    size_px: int = 512,
    max_references: int = MAX_REFERENCES,
    metadata: Mapping[str, str] | None = None,
) -> Target:
    """Make a target from pictures or videos of one face.

    The first reference is the calmest, most frontal, sharp one; its whole picture becomes the
    plate and its landmarks the neutral. Each photo has a crop of its own. All references of a
    video share one square over all that its face does, so that their backgrounds agree.

    Args:
        name: what the user calls it.
        paths: photos, videos, or both.
        tracker: one for still pictures (`static`) serves best; it is reset on the way.
        size_px: side of the references; 256 where the first picture holds less than that.
        max_references: how many references at most.
        metadata: more fields to note in the target.

    Raises:
        SourceError: a file is missing, empty, damaged, or neither picture nor video.
        TargetError: no face is found.
    """
    if not paths:
        raise TargetError("Name at least one photo or video of the face.")
    material = [_look_into(Path(path), tracker) for path in paths]
    return _assemble(
        name,
        material,
        tracker,
        size_px,
        max_references=max_references,
        metadata={"from": ", ".join(Path(path).name for path in paths), **(metadata or {})},
    )


def target_from_image(
    name: str,
    image: Image,
    tracker: Tracker,
    *,
    size_px: int = 512,
    metadata: Mapping[str, str] | None = None,
) -> Target:
    """Make a target from one picture, uint8 (H, W, 3) RGB; see `create_target`."""
    photo = _photo(image, tracker, name)
    photo = replace(photo, pictures=lambda numbers: dict.fromkeys(numbers, image))
    return _assemble(name, [photo], tracker, size_px, max_references=1, metadata=metadata or {})


def resize_target(target: Target, size_px: int) -> Target:
    """Return the target with crops of another side; plate and paste-back stay where they are."""
    if size_px == target.crop_size:
        return target
    scale = size_px / target.crop_size
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    references = [
        cv2.resize(picture, (size_px, size_px), interpolation=way) for picture in target.references
    ]
    to_new = square_to_crop((0, 0, target.crop_size), size_px)
    return replace(
        target,
        references=np.stack(references).astype(np.uint8, copy=False),
        landmarks=transform_points(target.landmarks, to_new),
        neutral=transform_points(target.neutral, to_new),
        crop_to_plate=_after(target.crop_to_plate, invert_affine(to_new)),
    )


def _assemble(
    name: str,
    material: list[_Material],
    tracker: Tracker,
    size_px: int,
    *,
    max_references: int,
    metadata: Mapping[str, str],
) -> Target:
    owners = [(part, face) for part in material for face in part.faces]
    from_video = any(len(part.faces) > 1 for part in material)
    looks = [face.look for _, face in owners]
    # Photos were chosen by the user: none is left out for being like another, or soft.
    chosen = choose(looks, max_references) if from_video else _in_order(looks, max_references)
    references = [owners[number] for number in chosen]

    first_side = references[0][1].box[2]
    side_px = size_px if first_side >= 0.75 * size_px else min(size_px, _SMALL_PX)
    crops: dict[int, Image] = {}
    landmarks: dict[int, Array] = {}
    plate: Image | None = None
    for part in material:
        wanted = {face.number: i for i, (owner, face) in enumerate(references) if owner is part}
        if not wanted:
            continue
        for number, picture in part.pictures(wanted).items():
            place = wanted[number]
            face = references[place][1]
            points = refine_face(picture, face.points, tracker)
            crops[place] = _cut(picture, face.box, side_px)
            landmarks[place] = transform_points(points, square_to_crop(face.box, side_px))
            if place == 0:
                plate = picture
    if plate is None:
        raise TargetError(f"A file of the target {name!r} changed while it was read; try again.")
    order = sorted(crops)
    crop_to_picture = invert_affine(square_to_crop(references[0][1].box, side_px))
    plate, crop_to_plate = _limited(plate, crop_to_picture)
    return Target(
        name=name,
        references=np.stack([crops[place] for place in order]),
        landmarks=np.stack([landmarks[place] for place in order]).astype(np.float32),
        neutral=landmarks[0].astype(np.float32),
        plate=plate,
        crop_to_plate=crop_to_plate,
        metadata={"made": _now(), **metadata},
    )


def _in_order(looks: list[Look], count: int) -> list[int]:
    """Return the calmest first, then the others by how much they differ."""
    sharp = [replace(look, sharpness=1.0) for look in looks]
    first = calmest(looks)
    rest = [number for number in choose(sharp, len(looks), 0.0) if number != first]
    return [first, *rest][:count]


def _look_into(path: Path, tracker: Tracker) -> _Material:
    if path.suffix.lower() in _VIDEO_SUFFIXES:
        return _video(path, tracker)
    try:
        image = read_image(path)
    except SourceError:
        if not path.expanduser().is_file() or not _is_video(path):
            raise
        return _video(path, tracker)
    return replace(
        _photo(image, tracker, path.name),
        pictures=lambda numbers: dict.fromkeys(numbers, read_image(path)),
    )


def _is_video(path: Path) -> bool:
    try:
        VideoSource(path).close()
    except SourceError:
        return False
    return True


def _photo(image: Image, tracker: Tracker, label: str) -> _Material:
    found = find_face(image, tracker)
    if found is None:
        raise TargetError(
            f"No face was found in {label}; take a picture where the face is larger, upright and "
            "seen from the front."
        )
    box = _square([face_box(found.points)], found.points)
    face = _Face(0, found.points, look_at(image, found.points), box)
    return _Material([face], lambda numbers: dict.fromkeys(numbers, image))


def _video(path: Path, tracker: Tracker) -> _Material:
    shot = _longest_shot(path, tracker)
    if not shot:
        raise TargetError(
            f"No face was found in {path.name}; take a video where the face is larger, upright "
            "and seen from the front."
        )
    first = calmest([look for _, _, look in shot])
    box = _square([face_box(points) for _, points, _ in shot], shot[first][1])
    faces = [_Face(number, points, look, box) for number, points, look in shot]
    inside = [face for face in faces if _holds(box, face.points)]
    return _Material(inside or [faces[first]], lambda numbers: _frames(path, numbers))


def _longest_shot(path: Path, tracker: Tracker) -> list[tuple[int, Array, Look]]:
    """Look through a video; return (number, landmarks, look) of its longest shot of a face.

    A cut, or the face jumping by its own size, ends a shot: another person may follow. A long
    video is looked at in ever larger steps, and as far as the time allows.
    """
    shots: list[list[tuple[int, Array, Look]]] = [[]]
    stride, seen = 1, 0
    thumbnail: Array | None = None
    deadline_s = time.monotonic() + _SCAN_BUDGET_S
    tracker.reset()
    with VideoSource(path) as source:
        while (frame := source.read()) is not None:
            if frame.index % stride:
                continue
            if time.monotonic() > deadline_s:
                _log.warning("%s is long; only its first %.0f s were used.", path, frame.time_s)
                break
            previous, thumbnail = thumbnail, _thumbnail(frame)
            if previous is not None and np.abs(thumbnail - previous).mean() > _CUT_LEVELS:
                tracker.reset()
                shots.append([])
            found = tracker.track(frame)
            if found is None:
                continue
            seen += 1
            if getattr(tracker, "faces_seen", 1) > 1 and seen == 1:
                _log.warning("There are several faces in %s; one is taken.", path)
            if shots[-1] and _jumped(shots[-1][-1][1], found.points):
                shots.append([])
            shots[-1].append((frame.index, found.points, look_at(frame.image, found.points)))
            if seen >= _MAX_SEEN:
                stride *= 2
                shots = [[face for face in shot if face[0] % stride == 0] for shot in shots]
                seen = sum(len(shot) for shot in shots)
    return max(shots, key=len)


def _thumbnail(frame: Frame) -> Array:
    small = cv2.resize(frame.image, _THUMBNAIL_PX, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.float32)


def _jumped(before: Array, after: Array) -> bool:
    left, top, right, bottom = face_box(before)
    distance = np.linalg.norm(after[:468, :2].mean(axis=0) - before[:468, :2].mean(axis=0))
    return float(distance) > max(right - left, bottom - top)


def _frames(path: Path, numbers: Collection[int]) -> dict[int, Image]:
    """Read those frames of a video again."""
    last = max(numbers)
    result = {}
    with VideoSource(path) as source:
        while (frame := source.read()) is not None and frame.index <= last:
            if frame.index in numbers:
                result[frame.index] = frame.image
    return result


def _square(boxes: list[tuple[float, float, float, float]], calm: Array) -> Box:
    """Return the square over all boxes (but for rare ones), with the calm face well inside.

    Its edges are whole-numbered, so that pasting back needs no shift by parts of a px.
    """
    edges = np.array(boxes)
    low = np.percentile(edges[:, :2], 4, axis=0)
    high = np.percentile(edges[:, 2:], 96, axis=0)
    left, top, right, bottom = face_box(calm)
    own = max(right - left, bottom - top, 1.0)
    extent = max(float((high - low).max()), own)
    middle = (low + high) / 2
    if extent > _MAX_WIDENING * own:
        extent = _MAX_WIDENING * own
        middle = np.array([(left + right) / 2, (top + bottom) / 2])
    side = max(8, round(extent / FACE_SHARE))
    return round(middle[0] - side / 2), round(middle[1] - side * FACE_MIDDLE), side


def _holds(box: Box, points: Array) -> bool:
    left, top, right, bottom = face_box(points)
    return left > box[0] and top > box[1] and right < box[0] + box[2] and bottom < box[1] + box[2]


def _cut(picture: Image, box: Box, side_px: int) -> Image:
    """Cut a square out, edges repeated where it reaches beyond the picture."""
    left, top, side = box
    height, width = picture.shape[:2]
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    way = cv2.INTER_AREA if side > side_px else cv2.INTER_CUBIC
    square = picture[np.ix_(rows, columns)]
    return np.asarray(cv2.resize(square, (side_px, side_px), interpolation=way), dtype=np.uint8)


def _limited(plate: Image, crop_to_plate: Array) -> tuple[Image, Array]:
    """Scale a huge plate down."""
    height, width = plate.shape[:2]
    scale = MAX_PLATE_SIDE_PX / max(height, width)
    if scale >= 1:
        return plate, crop_to_plate
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(plate, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return small, _after(
        square_to_crop((0, 0, max(width, height)), MAX_PLATE_SIDE_PX), crop_to_plate
    )


def _after(second: Array, first: Array) -> Array:
    """Return the (2, 3) affine that applies `first`, then `second`."""
    whole = np.vstack([first, [0, 0, 1]]).astype(np.float64)
    return (second.astype(np.float64) @ whole).astype(np.float32)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
