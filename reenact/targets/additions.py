"""`reenact target add NAME`: what a video of the same face adds to a stored target.

Its frames become references, from which the target gains at once, and its crops footage to train
on.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from reenact.config import FACE
from reenact.errors import TargetError, counted
from reenact.face.face_search import refine_face
from reenact.face.geometry import estimate_pose, square_to_crop, transform_points
from reenact.face.segmentation import person_masks
from reenact.imaging import in_bytes
from reenact.rendering.background import hidden_in
from reenact.storage import file_name
from reenact.targets.builder import MAX_VIDEO_SIDE_PX
from reenact.targets.footage import clip_names, write_footage
from reenact.targets.likeness import is_like
from reenact.targets.reference_selection import calmest, choose_more, measure_look
from reenact.targets.store import FOOTAGE, TargetStore
from reenact.targets.video_scan import Box, VideoFaces, cut, holds, scan_video
from reenact.types import Array, Image, Target, Tracker

_SAME_SHAPE: Final = 0.01
"""Maximum difference between the aspect ratios of pictures that one camera took, as a share."""

_log = logging.getLogger(__name__)


def add_videos(
    store: TargetStore,
    name: str,
    videos: Sequence[Path],
    tracker: Tracker,
    *,
    face: str | None = None,
) -> int:
    """Add videos of the same face to a stored target, and return how many references are new.

    The target's own references stay, and frames that show most of what those do not are added,
    `MAX_REFERENCES` in all. A video in other light or surroundings, or one added to a cut-out
    picture, gives no references, with a warning. All videos are kept as footage; clips with the
    same names are replaced.

    Args:
        store: holds the target.
        name: of the target.
        videos: their paths.
        tracker: preferably one for still pictures (`static`); reset here.
        face: chooses one of several as in `builder.create_target`; None: as it was chosen there.

    Raises:
        ReenactError: there is no such target, it is being trained, or a video cannot be read, shows
            no face in two pictures, or cannot be stored. Nothing is stored unless all can be read.
    """
    folder = store.folder_of(name) / FOOTAGE
    with store.training(name):
        target = store.load(name)
        before = len(target.references)
        rule = target.metadata.get("face", "") if face is None else face
        rule = rule if re.fullmatch(FACE, rule) else "largest"
        scanned = [scan_video(video, tracker, rule) for video in videos]
        for faces in scanned:
            if len(faces.faces) < 2:
                raise TargetError(
                    f"{faces.path.name} is a photo, or shows the face in a single picture; only "
                    "a video can be added, best of half a minute."
                )
        clips = clip_names(videos)
        for faces, clip in zip(scanned, clips, strict=True):
            target = _with_frames(target, faces, tracker, folder / f"{clip}.mp4")
        if len(target.references) > before:
            store.add_references(name, target)
        for faces, clip in zip(scanned, clips, strict=True):
            side_px = min(target.crop_size, MAX_VIDEO_SIDE_PX)
            write_footage(faces, folder, clip, side_px, tracker)
    return len(target.references) - before


def summary(name: str, added: int) -> str:
    """Return what the number of new references means, in a sentence or two."""
    if added:
        new = counted(added, "new reference picture")
        return f"{name} has {new}. It can also be trained on the video."
    return f"{name} keeps its reference pictures, and can be trained on the video."


def _with_frames(target: Target, video: VideoFaces, tracker: Tracker, clip: Path) -> Target:
    """Return the target with frames of a video added to its references, if they suit it.

    `clip` is where the video's crops will be stored.
    """
    if target.alphas is not None:
        _log.warning(
            "%s is cut out by its own transparent background, which no video has, so the frames of "
            "%s do not become references.",
            target.name,
            video.path.name,
        )
        return target
    calm = video.faces[calmest([face.look for face in video.faces])]
    ((_, picture),) = video.pictures([calm.number])
    size = target.crop_size
    box = _square_in(picture, calm.points, target)
    if not is_like(
        cut(picture, box, size), transform_points(calm.points, square_to_crop(box, size)), target
    ):
        _log.warning(
            "%s differs from the pictures of %s in light, hair or background, which would change "
            "while it is shown, so its frames do not become references. They are only trained on. "
            "If it shows somebody else, delete %s to take it out again.",
            video.path.name,
            target.name,
            clip,
        )
        return target
    inside = [face for face in video.faces if holds(box, face.points)]
    looks = [measure_look(*one) for one in zip(target.references, target.landmarks, strict=True)]
    wanted = {
        inside[number].number: inside[number].points
        for number in choose_more(looks, [face.look for face in inside])
    }
    if not wanted:
        return target
    crops, landmarks = [], []
    for number, picture in video.pictures(wanted):
        points = refine_face(picture, wanted[number], tracker, shaken=False)
        crops.append(cut(picture, box, size))
        landmarks.append(transform_points(points, square_to_crop(box, size)))
    # Tracked in a close view, a face may be like one that is there, as if its video is added again.
    chosen = choose_more(looks, list(map(measure_look, crops, landmarks)))
    return _with_references(target, [(crops[one], landmarks[one]) for one in chosen], video)


def _with_references(
    target: Target, added: Sequence[tuple[Image, Array]], video: VideoFaces
) -> Target:
    """Return the target with pictures and their landmarks added, which come from a video."""
    if not added:
        return target
    crops, landmarks = zip(*added, strict=True)
    origins = target.metadata.get("from", "").split(", ")
    name = file_name(video.path)
    return replace(
        target,
        references=np.concatenate([target.references, np.stack(crops)]),
        landmarks=np.concatenate([target.landmarks, np.stack(landmarks)]).astype(np.float32),
        metadata={**target.metadata, "from": ", ".join(dict.fromkeys([*origins, name]))},
    )


def _square_in(picture: Image, points: Array, target: Target) -> Box:
    """Return the square of a video's pictures that shows what a target's crop shows.

    It is the crop's place on the plate if the camera still stands where it took that, so that the
    wall stays where it is. Otherwise it is the one in which the face lies as in the crop. Of the
    two, the one counts whose background is closer to that of the first reference.

    Args:
        picture: a picture of the video, uint8 (H, W, 3) RGB.
        points: (478, 3) px landmarks of its face.
        target: the target.
    """
    size, face, neutral = target.crop_size, estimate_pose(points), estimate_pose(target.neutral)
    zoom = face.scale / neutral.scale
    corner = face.translation[:2] + 0.5 - zoom * (neutral.translation[:2] + 0.5)
    squares = [_box(corner, zoom * size)]
    (height, width), (plate_height, plate_width) = picture.shape[:2], target.plate.shape[:2]
    if abs(width * plate_height / (height * plate_width) - 1) < _SAME_SHAPE:
        scale = target.crop_to_plate[0, 0]
        corner = target.crop_to_plate[:, 2] + 0.5 - 0.5 * scale
        of_plate = width / plate_width
        standing = _box(of_plate * corner, of_plate * scale * size)
        if holds(standing, points):
            squares.append(standing)
    first, *others = target.references[0], *(cut(picture, box, size) for box in squares)
    masks = zip([first, *others], person_masks([first, *others]), strict=True)
    people = np.max([hidden_in(crop, in_bytes(mask)) for crop, mask in masks], axis=0)
    if people.all():
        return squares[0]
    changes = [cv2.absdiff(first, other)[people == 0].mean() for other in others]
    return squares[int(np.argmin(changes))]


def _box(corner: Array, side: float) -> Box:
    return round(float(corner[0])), round(float(corner[1])), max(8, round(float(side)))
