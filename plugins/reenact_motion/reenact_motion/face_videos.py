"""Short videos of aligned faces that turn from neutral to an emotion, cut out of clips and bent.

MoCoGAN, VGAN and TGAN learn from them. Real ones are the rises that MotionGAN learns from
(`segments.rises`), frame by frame. There are few of them; so calm frames of all clips are also bent
to each emotion by levels (`training.faces.acted`), and an acted video goes through these levels
with an onset of its own (ours).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from reenact.errors import ReenactError
from reenact.evaluation.clips import ClipFile
from reenact.evaluation.recognition import ClipExpressions, read_expressions
from reenact.expression.emotions import CONTEMPT, EMOTIONS, emotion_intensity
from reenact.imaging import crop_image, smoothstep, to_unit
from reenact.rendering.aligned_face import to_frame
from reenact.targets.clip_files import decode_clip
from reenact.training.augmentation import Rng
from reenact.training.faces.acted import EXAGGERATION, act_at
from reenact.training.faces.clips import lifts_right
from reenact.training.people import PeopleData, recipe_settings
from reenact.training.sampling import Batch
from reenact.types import Array
from reenact_motion.segments import rises

FRAMES: Final = 16
"""Of a video, T, as in MoCoGAN and TGAN; VGAN's have 32."""

ACTED_LEVELS: Final = 9
"""Pictures of an acted video, from calm to the whole emotion."""


@recipe_settings
class VideoData(PeopleData):
    """What the recipes learn from; see `people.PeopleData` for the people.

    Attributes:
        size_px: S, side of the aligned faces.
        batch_size: videos in each step of a network.
        max_angle: degrees that a head may be turned.
        acted_frames: of each clip that are drawn with all emotions.
    """

    size_px: PositiveInt = 64
    batch_size: PositiveInt = 32
    max_angle: PositiveFloat = 25.0
    acted_frames: NonNegativeInt = 2


@dataclass(frozen=True, slots=True)
class FaceVideo:
    """A face that turns from neutral to an emotion.

    Attributes:
        identity: the person.
        emotion: index into `EMOTIONS`, from 1. Contempt lifts the person's left corner.
        pictures: uint8 (F, S, S, 3) RGB: the frames of a rise, or `ACTED_LEVELS` acted levels.
        acted: whether they are levels.
    """

    identity: str
    emotion: int
    pictures: NDArray[np.uint8]
    acted: bool


def load_videos(clips: Sequence[ClipFile], data: VideoData) -> list[FaceVideo]:
    """Cut rises out of clips, and act on frames of them. Raises ReenactError if one is damaged."""
    videos: list[FaceVideo] = []
    for clip in clips:
        found = read_expressions(clip.path.with_suffix(".npz"))
        if found is None:
            continue
        front = np.abs(found.turns).max(axis=1) < data.max_angle
        if front.any():
            images = decode_clip(clip.path)
            videos += _real(images, found, front, clip.identity, data.size_px)
            videos += _acted(images, found, front, clip.identity, data)
    return videos


class VideoSampler:
    """Draws batches of videos: emotions equally often, and real and acted ones alike.

    Raises ReenactError if an emotion is missing.
    """

    def __init__(self, videos: Sequence[FaceVideo]) -> None:
        self._kinds: list[list[list[FaceVideo]]] = []
        for emotion in range(1, len(EMOTIONS)):
            of_class = [one for one in videos if one.emotion == emotion]
            kinds = [[one for one in of_class if one.acted == acted] for acted in (False, True)]
            self._kinds.append([kind for kind in kinds if kind])
            if not of_class:
                raise ReenactError(
                    f"No clip shows a face that turns {EMOTIONS[emotion]}; bend some faces to "
                    "emotions by --set settings.acted_frames=2."
                )

    def draw(self, rng: Rng, count: int) -> Batch:
        """Return `videos` (N, 3, T, S, S) in -1..1 and `emotion` (N,), classes from 0."""
        emotions = rng.integers(len(self._kinds), size=count)
        drawn = []
        for emotion in emotions.tolist():
            kinds = self._kinds[emotion]
            videos = kinds[rng.integers(len(kinds))]
            drawn.append(_frames(videos[rng.integers(len(videos))], rng))
        pictures = to_unit(np.concatenate(drawn)).reshape(count, FRAMES, 3, *drawn[0].shape[1:3])
        return {"videos": np.ascontiguousarray(pictures.swapaxes(1, 2)), "emotion": emotions}


def whole_rise(video: FaceVideo) -> NDArray[np.uint8]:
    """Return `FRAMES` pictures of a video, evenly spaced from its first to its last."""
    places = np.linspace(0, len(video.pictures) - 1, FRAMES)
    return np.asarray(video.pictures[np.round(places).astype(int)])


def _frames(video: FaceVideo, rng: Rng) -> NDArray[np.uint8]:
    """Return the frames of a video, (T, S, S, 3); half are mirrored, but not contempt."""
    pictures = whole_rise(video)
    if video.acted:
        start, length = rng.uniform(0, 0.25), rng.uniform(0.4, 0.75)
        way = np.clip((np.linspace(0, 1, FRAMES) - start) / length, 0, 1)
        level = smoothstep(way)  # it begins and ends at rest
        pictures = video.pictures[np.round(level * (ACTED_LEVELS - 1)).astype(int)]
    if video.emotion != CONTEMPT and rng.random() < 0.5:
        pictures = pictures[:, :, ::-1]
    return pictures


def _real(
    images: NDArray[np.uint8],
    found: ClipExpressions,
    front: NDArray[np.bool_],
    identity: str,
    size_px: int,
) -> list[FaceVideo]:
    """Return the rises in which the head is turned little, each frame aligned by itself."""
    videos = []
    for emotion in range(1, len(EMOTIONS)):
        for start, peak in rises(found.weights[:, 0], found.weights[:, emotion]):
            rows = range(start, peak + 1)
            if not front[start : peak + 1].all():
                continue
            affines = [to_frame(found.points[row], size_px) for row in rows]
            frames = [
                crop_image(images[found.frames[row]], affine, size_px)
                for row, affine in zip(rows, affines, strict=True)
            ]
            pictures = np.stack(frames)
            if emotion == CONTEMPT and lifts_right(found.units[peak]):
                pictures = pictures[:, :, ::-1]
            videos.append(FaceVideo(identity, emotion, pictures, acted=False))
    return videos


def _acted(
    images: NDArray[np.uint8],
    found: ClipExpressions,
    front: NDArray[np.bool_],
    identity: str,
    data: VideoData,
) -> list[FaceVideo]:
    """Bend the calmest frames of each part of a clip to all emotions, by levels."""
    videos = []
    calm = emotion_intensity(found.units)
    for part in np.array_split(np.flatnonzero(front), max(data.acted_frames, 1)):
        if not len(part) or not data.acted_frames:
            continue
        row = int(part[calm[part].argmin()])
        shown = [
            act_at(images, found, row, data.size_px, _levels(level))
            for level in np.linspace(0, 1, ACTED_LEVELS)
        ]
        for emotion in range(1, len(EMOTIONS)):
            pictures = np.stack([one.pictures[emotion] for one in shown])
            if emotion == CONTEMPT and lifts_right(shown[-1].units[emotion]):
                pictures = pictures[:, :, ::-1]
            videos.append(FaceVideo(identity, emotion, pictures, acted=True))
    return videos


def _levels(level: float) -> Array:
    """Return the same level of every emotion; with `EXAGGERATION` the last is the whole emotion."""
    levels = np.full(len(EMOTIONS), level / EXAGGERATION, np.float32)
    levels[0] = 0
    return levels
