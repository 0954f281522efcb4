"""Makes a target from one photo, several, or a video."""

from __future__ import annotations

import contextlib
import datetime
import logging
import math
import mimetypes
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.errors import NotAPictureError, SourceError, TargetError
from reenact.expression.target_face import mode_for
from reenact.face.face_search import find_faces, find_upright_face, refine_face
from reenact.face.geometry import (
    FACE_SHARE,
    box_shift,
    choose_face,
    estimate_pose,
    face_box,
    square_to_crop,
    transform_points,
    yaw_sine,
)
from reenact.face.segmentation import is_outline
from reenact.imaging import invert_affine, limited, resized_square, turned
from reenact.sources.image_file import CutOut, read_cut_out
from reenact.sources.video_file import VideoSource
from reenact.storage import file_name
from reenact.targets.footage import clip_names, write_footage
from reenact.targets.likeness import is_alike
from reenact.targets.manual_landmarks import REQUIRED, Points, check_points, fit_landmarks, is_near
from reenact.targets.reference_selection import (
    MAX_REFERENCES,
    Look,
    calmest,
    choose_references,
    measure_look,
)
from reenact.targets.video_scan import Box, FoundFace, VideoFaces, cut, scan_video, square
from reenact.types import Array, Image, Target, Tracker

MAX_PLATE_SIDE_PX: Final = 4096

_SIDES_PX: Final = (256, 512, 1024)
"""Possible sides of the references; the largest whose detail the first picture holds is used."""

MAX_VIDEO_SIDE_PX: Final = 512
"""Largest side of references from a video, of which there are many, and of its footage."""

_MIN_SOURCE_SHARE: Final = 0.75
"""A picture holds the detail of a side if its own crop has at least this fraction of that side."""

_MIN_DETAIL: Final = 0.5
"""A face whose source has less than this fraction of the smallest side causes a warning."""

_MAX_TURN_DEG: Final = 40
"""A target all of whose pictures show a face turned by more than this causes a warning."""

_MIN_INSIDE: Final = 0.5
"""Fraction of a hand-placed face that must lie inside the picture."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Photo:
    """A photo of the face with the square of its crop. The picture is not kept in memory.

    `placed` means that the landmarks were placed by hand; they are used as they are. `alone` means
    that the photo shows no other face.
    """

    face: FoundFace
    box: Box
    read: Callable[[], CutOut]
    placed: bool = False
    alone: bool = False

    @property
    def faces(self) -> list[FoundFace]:
        return [self.face]


_Material = _Photo | VideoFaces


def _pictures(part: _Material, numbers: Collection[int]) -> Iterator[tuple[int, CutOut]]:
    """Read the pictures of these numbers again."""
    if isinstance(part, _Photo):
        yield part.face.number, part.read()
        return
    for number, picture in part.pictures(numbers):
        yield number, CutOut(picture)


def create_target(
    name: str,
    paths: Sequence[Path],
    tracker: Tracker,
    *,
    face: str = "largest",
    metadata: Mapping[str, str] | None = None,
    landmarks: Array | Points | None = None,
    footage: Path | None = None,
) -> Target:
    """Make a target from pictures or videos of one face.

    The first reference is the calmest, most frontal and sharpest. Its whole picture becomes the
    plate, and its landmarks become the neutral. References have 256, 512 or 1024 px, by the first
    picture's detail, and at most 512 px for videos. Each photo has its own crop. All references of
    a video share one square that holds the face in all of them, so that their backgrounds agree.

    Args:
        name: the user's name for it.
        paths: photos, videos, or both.
        tracker: preferably one for still pictures (`static`); reset here.
        face: which of several faces in a picture, in the words of `tracking.face`; in a video the
            last one if there are fewer. A photo of one face beside others needs no choice. Stored
            in the metadata, for videos that are added later.
        metadata: further notes to store with the target.
        landmarks: (478, 3) px landmarks of the only photo, or some of its points by name, for faces
            that the tracker does not recognise; see `manual_landmarks.fit_landmarks`.
        footage: folder for the crops of the videos, to train on; see `footage`. None: not stored.

    Raises:
        SourceError: a file is missing, empty, damaged, or neither picture nor video.
        SinkError: the footage cannot be written.
        TargetError: no face is found, a photo of several has none of that number, no file shows
            several, or the landmarks lie outside the photo.
    """
    if not paths:
        raise TargetError("Name at least one photo or video of the face.")
    material: list[_Material]
    if landmarks is None:
        material = [_look_into(Path(path), tracker, face) for path in paths]
        _check_choice(paths, material, face)
    elif len(paths) == 1:
        material = [_placed_photo(Path(paths[0]), landmarks, tracker)]
    else:
        raise TargetError("Landmarks placed by hand belong to one photo; name only that photo.")
    for path, part in zip(paths, material, strict=True):
        _check_size(file_name(Path(path)), part.box[2])
    notes = {"from": ", ".join(file_name(Path(path)) for path in paths)}
    if isinstance(landmarks, Mapping):
        notes["expressions"] = "relative"  # drawn eyes are large, not wide open
    if face != "largest":
        notes["face"] = face
    target = _assemble(name, material, tracker, notes | dict(metadata or {}))
    _check_turn(target)
    if len(material) > 1 and not is_alike(target):
        _log.warning(
            "The pictures of %s differ in light, hair or background, which will change while it is "
            "shown; use pictures of one person that were taken in one place, one after another.",
            name,
        )
    if footage is not None:
        videos = [part for part in material if isinstance(part, VideoFaces)]
        for part, clip in zip(videos, clip_names(part.path for part in videos), strict=True):
            side_px = min(target.crop_size, MAX_VIDEO_SIDE_PX)
            write_footage(part, footage, clip, side_px, tracker)
    return target


def target_from_image(
    name: str,
    image: Image,
    tracker: Tracker,
    *,
    size_px: int = _SIDES_PX[-1],
    metadata: Mapping[str, str] | None = None,
) -> Target:
    """Make a target from one picture, uint8 (H, W, 3) RGB; see `create_target`.

    `size_px` is the maximum side of its reference.
    """
    photo = _photo(image, tracker, name, lambda: CutOut(image), "largest")
    return _assemble(name, [photo], tracker, metadata or {}, size_px)


def resize_target(target: Target, size_px: int) -> Target:
    """Return the target with crops resized to size_px; plate and position of the crop are kept."""
    if size_px == target.crop_size:
        return target
    to_new = square_to_crop((0, 0, target.crop_size), size_px)
    return replace(
        target,
        references=_resized(target.references, size_px),
        alphas=None if target.alphas is None else _resized(target.alphas, size_px),
        landmarks=transform_points(target.landmarks, to_new),
        neutral=transform_points(target.neutral, to_new),
        crop_to_plate=_after(target.crop_to_plate, invert_affine(to_new)),
    )


def _resized(squares: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    return np.stack([resized_square(picture, size_px) for picture in squares])


def _assemble(
    name: str,
    material: Sequence[_Material],
    tracker: Tracker,
    metadata: Mapping[str, str],
    size_px: int = _SIDES_PX[-1],
) -> Target:
    owners: list[tuple[_Material, FoundFace]] = [
        (part, face) for part in material for face in part.faces
    ]
    from_video = any(len(part.faces) > 1 for part in material)
    looks = [face.look for _, face in owners]
    # The user chose the photos: none is dropped for being blurred, or for resembling another.
    chosen = choose_references(looks) if from_video else _in_order(looks)
    references = [owners[number] for number in chosen]

    first_side = references[0][0].box[2]
    limit_px = min(size_px, MAX_VIDEO_SIDE_PX) if from_video else size_px
    fits = [s for s in _SIDES_PX if s <= limit_px and first_side >= _MIN_SOURCE_SHARE * s]
    side_px = max(fits, default=_SIDES_PX[0])
    crops: dict[int, Image] = {}
    alphas: dict[int, NDArray[np.uint8]] = {}
    landmarks: dict[int, Array] = {}
    first: CutOut | None = None
    for part in material:
        wanted = {face.number: i for i, (owner, face) in enumerate(references) if owner is part}
        if not wanted:
            continue
        placed = isinstance(part, _Photo) and part.placed
        for number, picture in _pictures(part, wanted):
            place = wanted[number]
            points = references[place][1].points
            if not placed:
                points = refine_face(picture.image, points, tracker, shaken=not from_video)
            crops[place] = cut(picture.image, part.box, side_px)
            if picture.alpha is not None and is_outline(picture.alpha, points):
                alphas[place] = cut(picture.alpha, part.box, side_px)
            landmarks[place] = transform_points(points, square_to_crop(part.box, side_px))
            if place == 0:
                first = picture
    if first is None:
        raise TargetError(f"A file of the target {name!r} changed while it was read; try again.")
    order = sorted(crops)
    crop_to_picture = invert_affine(square_to_crop(references[0][0].box, side_px))
    plate, crop_to_plate = _limited(first.image, crop_to_picture)
    target = Target(
        name=name,
        references=np.stack([crops[place] for place in order]),
        landmarks=np.stack([landmarks[place] for place in order]).astype(np.float32),
        neutral=landmarks[0].astype(np.float32),
        plate=plate,
        crop_to_plate=crop_to_plate,
        metadata={
            "expressions": mode_for(landmarks[0]),
            "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            **metadata,
        },
    )
    return _with_alphas(target, alphas, first.alpha)


def _with_alphas(
    target: Target, alphas: Mapping[int, NDArray[np.uint8]], whole: NDArray[np.uint8] | None
) -> Target:
    """Return the target with the alpha of its references, by their number, and of its plate.

    Unless all of them have one, it is not used.
    """
    if whole is None or len(alphas) < len(target.references):
        if alphas:
            _log.warning(
                "Not all pictures of %s have a transparent background, so its background is found "
                "by segmentation.",
                target.name,
            )
        return target
    return replace(
        target,
        alphas=np.stack([alphas[place] for place in sorted(alphas)]),
        plate_alpha=limited(whole, MAX_PLATE_SIDE_PX),
    )


def _check_choice(paths: Sequence[Path], material: Sequence[_Material], rule: str) -> None:
    """Raise TargetError if another face than the first is wanted of photos of one face each."""
    if not (rule.isdigit() and int(rule)):
        return
    if all(isinstance(part, _Photo) and part.alone for part in material):
        labels = " and in ".join(file_name(Path(path)) for path in paths)
        raise TargetError(
            f"There is only one face in {labels}, which has the number 0; choose that one, or a "
            "picture that shows more."
        )


def _check_turn(target: Target) -> None:
    turns = [abs(yaw_sine(estimate_pose(points).rotation)) for points in target.landmarks]
    turn_deg = math.degrees(math.asin(min(*turns, 1.0)))
    if turn_deg > _MAX_TURN_DEG:
        _log.warning(
            "The face in the picture of %s is turned by %d degrees, so its nose will be distorted; "
            "a photo from the front looks better.",
            target.name,
            round(turn_deg),
        )


def _in_order(looks: list[Look]) -> list[int]:
    """Return the calmest first, then the others by how much they differ from those before."""
    sharp = [replace(look, sharpness=1.0) for look in looks]
    first = calmest(looks)
    rest = [number for number in choose_references(sharp, len(looks), 0.0) if number != first]
    return [first, *rest][:MAX_REFERENCES]


def _look_into(path: Path, tracker: Tracker, rule: str) -> _Material:
    if (mimetypes.guess_type(path.name)[0] or "").startswith("video/"):
        return scan_video(path, tracker, rule)
    try:
        image = read_cut_out(path).image
    except NotAPictureError:
        # The suffix may be ambiguous (.ts) or missing. A damaged picture is not a video, although a
        # video reader would decode one frame from it.
        with contextlib.suppress(SourceError):
            VideoSource(path).close()
            return scan_video(path, tracker, rule)
        raise
    return _photo(image, tracker, path.name, lambda: read_cut_out(path), rule)


def _photo(
    image: Image, tracker: Tracker, label: str, read: Callable[[], CutOut], rule: str
) -> _Photo:
    found = find_upright_face(image, tracker)
    if found is None:
        raise TargetError(
            f"No face was found in {label}; use a picture in which the face is larger, upright and "
            "seen from the front, or place points on it by hand, in the panel or with --landmarks."
        )
    turns, largest = found
    if turns:
        _log.warning("%s is not upright; the target's picture is turned.", label)
    upright = turned(image, turns)
    points, alone = _chosen(upright, largest.points, tracker, label, rule)
    return replace(_with_face(upright, points, lambda: _turned(read(), turns)), alone=alone)


def _chosen(
    image: Image, largest: Array, tracker: Tracker, label: str, rule: str
) -> tuple[Array, bool]:
    """Return the landmarks, px, of the chosen face of a picture, whose largest is known.

    The second value tells whether there is no other.
    """
    faces = find_faces(image, tracker, thoroughly=rule != "largest")
    if len(faces) < 2:
        return largest, True
    if rule.isdigit() and int(rule) >= len(faces):
        raise TargetError(
            f"There are {len(faces)} faces in {label}; counted from the left, they have the "
            f"numbers 0 to {len(faces) - 1}."
        )
    if rule != "largest":
        chosen = choose_face(faces, (image.shape[1], image.shape[0]), rule)
        return refine_face(image, chosen, tracker, shaken=False), False
    number = min(range(len(faces)), key=lambda one: box_shift(largest, faces[one]))
    _log.warning(
        "There are %d faces in %s; the largest is used, which is number %d from the left, counted "
        "from 0. Another one can be chosen when a target is created (--face).",
        len(faces),
        label,
        number,
    )
    return largest, False


def _turned(picture: CutOut, turns: int) -> CutOut:
    image, alpha = picture
    return CutOut(turned(image, turns), None if alpha is None else turned(alpha, turns))


def _placed_photo(path: Path, placed: Array | Points, tracker: Tracker) -> _Photo:
    image = read_cut_out(path).image
    points = placed if isinstance(placed, np.ndarray) else _fitted(image, placed, path, tracker)
    height, width = image.shape[:2]
    left, top, right, bottom = face_box(points)
    inside = max(min(right, width) - max(left, 0), 0) * max(min(bottom, height) - max(top, 0), 0)
    if inside <= _MIN_INSIDE * (right - left) * (bottom - top):
        raise TargetError(
            f"The landmarks lie outside {path.name}, which has {width} x {height} px; give them in "
            "px of that picture."
        )
    return replace(_with_face(image, points, lambda: read_cut_out(path)), placed=True)


def _fitted(image: Image, placed: Points, path: Path, tracker: Tracker) -> Array:
    """Return the landmarks, px, of the tracked face corrected by the points, or of them alone."""
    check_points(placed)
    for points in find_faces(image, tracker):
        if is_near(placed, points):
            return fit_landmarks(placed, refine_face(image, points, tracker))
    missing = [name for name in REQUIRED if name not in placed]
    if missing:
        raise TargetError(
            f"No face was found near these points in {path.name}. Check them (left and right are "
            f"those of the picture), or add {', '.join(missing)}."
        )
    return fit_landmarks(placed)


def _check_size(label: str, side_px: int) -> None:
    if side_px < _MIN_DETAIL * _SIDES_PX[0]:
        _log.warning(
            "The face in %s is only about %d px high; a larger picture of it gives a sharper "
            "target.",
            label,
            round(FACE_SHARE * side_px),
        )


def _with_face(image: Image, points: Array, read: Callable[[], CutOut]) -> _Photo:
    face = FoundFace(0, points, measure_look(image, points))
    return _Photo(face, square([face_box(points)], points), read)


def _limited(plate: Image, crop_to_plate: Array) -> tuple[Image, Array]:
    """Shrink a plate to `MAX_PLATE_SIDE_PX`; return it with the adjusted `crop_to_plate`."""
    small, side = limited(plate, MAX_PLATE_SIDE_PX), max(plate.shape[:2])
    if small is plate:
        return plate, crop_to_plate
    return small, _after(square_to_crop((0, 0, side), MAX_PLATE_SIDE_PX), crop_to_plate)


def _after(second: Array, first: Array) -> Array:
    """Return the (2, 3) affine that applies `first`, then `second`."""
    whole = np.vstack([first, [0, 0, 1]]).astype(np.float64)
    return (second.astype(np.float64) @ whole).astype(np.float32)
