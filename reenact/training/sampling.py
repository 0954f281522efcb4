"""Clips and stills with landmarks, and the pairs of pictures that generators learn from.

A folder of clips holds `NAME.mp4` with `NAME.npz` (`landmarks`: (frames, 478, 3) px, NaN where
there is no face); identity is what stands before `__` in the name. Splits are by identity.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.errors import ReenactError
from reenact.face.geometry import (
    crop_transform,
    estimate_pose,
    mirrored,
    rotation_matrix,
    rotation_vector,
    to_face_frame,
    to_image,
    transform_points,
)
from reenact.face.segmentation import person_masks
from reenact.imaging import crop_image, in_bytes
from reenact.rendering.background import without_person
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.mesh_warp import source_map, warp_image
from reenact.storage import atomic_write
from reenact.targets.clip_files import clips_in, decode_clip, load_landmarks
from reenact.training.augmentation import wink, wink_frames
from reenact.types import Array, Image, Pose

log = logging.getLogger(__name__)

Rng = np.random.Generator

_WINK_SHARE = 0.12
"""Share of the pairs from clips whose truth is made to wink, where the clip has a blink."""

_UNKNOWN_SHARE = 0.05
"""Share of the pairs from clips whose reference's person is not told."""

_STRETCH = 0.06
"""Standard deviation of the logarithm by which faces are made longer: few people, more faces."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One shot of one person.

    Attributes:
        name: file name without its ending.
        file: .npy of its frames, uint8 (F, S, S, 3) RGB.
        people_file: .npy of how far each pixel is person, uint8 (F, S/4, S/4); None: unknown.
        landmarks: float32 (F, 478, 3) px.
        usable: (n,) indices of frames with a face.
    """

    name: str
    file: Path
    landmarks: Array
    usable: NDArray[np.intp]
    people_file: Path | None = None

    @property
    def identity(self) -> str:
        """Who it is."""
        return self.name.split("__")[0]

    def person(self, frame: int) -> NDArray[np.uint8] | None:
        """Return uint8 (S/4, S/4) of one frame: how far each pixel is person; None: unknown."""
        if self.people_file is None:
            return None
        return np.asarray(_open_frames(self.people_file)[frame])

    @property
    def images(self) -> NDArray[np.uint8]:
        """Its frames, memory-mapped."""
        return _open_frames(self.file)


@lru_cache(maxsize=4096)
def _open_frames(file: Path) -> NDArray[np.uint8]:
    frames: NDArray[np.uint8] = np.load(file, mmap_mode="r")
    return frames


def load_clips(folder: Path, cache: Path, with_people: bool = False) -> list[Clip]:
    """Load all clips of a folder, decoded once into a memory-mapped cache.

    Args:
        folder: of clips.
        cache: for the decoded frames.
        with_people: also find out what is person and what is background (about 10 ms a frame,
            kept in the cache).

    Raises:
        ReenactError: there are no clips, one is damaged, or its landmarks do not fit its frames.
    """
    clips = []
    for video in clips_in(folder):
        landmarks = load_landmarks(video.with_suffix(".npz"))
        file = _decoded(video, cache)
        frames = len(_open_frames(file))
        if frames != len(landmarks):
            raise ReenactError(
                f"{video.name} has {frames} frames but landmarks for {len(landmarks)}."
            )
        usable = np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2)))
        if len(usable) >= 2:
            people = _people(file) if with_people else None
            clips.append(Clip(video.stem, file, landmarks, usable, people))
    if not clips:
        raise ReenactError(f"{folder} holds no clips (NAME.mp4 with NAME.npz).")
    return clips


def _decoded(video: Path, cache: Path) -> Path:
    status = video.stat()
    key = hashlib.sha256(f"{video.resolve()}{status.st_size}{status.st_mtime_ns}".encode())
    file = cache / f"{video.stem}-{key.hexdigest()[:12]}.npy"
    if not file.exists():
        _store(decode_clip(video), file)
    return file


def _people(frames_file: Path) -> Path:
    file = frames_file.with_suffix(".people.npy")
    if not file.exists():
        small = (max(_open_frames(frames_file).shape[1] // 4, 1),) * 2
        masks = [
            in_bytes(cv2.resize(mask, small, interpolation=cv2.INTER_AREA))
            for mask in person_masks(_open_frames(frames_file))
        ]
        _store(np.stack(masks), file)
    return file


def _store(frames: NDArray[np.uint8], file: Path) -> None:
    with atomic_write(file, parents=True) as partial:
        np.save(partial, frames)


@dataclass(frozen=True, slots=True)
class Still:
    """One photo, taken apart into a person and what is behind.

    Attributes:
        image: uint8 (S, S, 3) RGB.
        landmarks: (478, 3) px.
        person: uint8 (S, S), 0 to 255, how far each pixel belongs to the person.
        background: uint8 (S, S, 3), the picture with the person painted over from its edge.
    """

    image: Image
    landmarks: Array
    person: NDArray[np.uint8]
    background: Image

    @classmethod
    def of(cls, image: Image, landmarks: Array) -> Still:
        """Take a picture apart."""
        person = in_bytes(next(person_masks([image])))
        return cls(image, landmarks, person, without_person(image, person))


def load_stills(folders: list[Path], size_px: int) -> list[Still]:
    """Load photos (`NAME.jpg` with `NAME.npz`), cut as the live path cuts a target."""
    stills = []
    for path in sorted(file for folder in folders for file in folder.glob("*.jpg")):
        landmarks = load_landmarks(path.with_suffix(".npz"))
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None or not np.isfinite(landmarks).all():
            continue
        picture = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8)
        affine = crop_transform(landmarks, size_px)
        points = transform_points(landmarks, affine)
        stills.append(Still.of(crop_image(picture, affine, size_px), points))
    return stills


@dataclass(frozen=True, slots=True)
class Pair:
    """A reference and the truth to be drawn from it, both uint8 (S, S, 3), landmarks in px.

    `person` and `reference_person` are uint8, square: how far each pixel of the truth and of the
    reference is person, not background; None where it is not known.

    Of a reference that is to act another person's expression there is no true picture; then
    `truth` is the reference once more, and `truth_landmarks` alone say what is wanted.
    """

    reference: Image
    reference_landmarks: Array
    truth: Image
    truth_landmarks: Array
    person: NDArray[np.uint8] | None = None
    reference_person: NDArray[np.uint8] | None = None
    has_truth: bool = True


class Sampler(Protocol):
    """Draws training pairs."""

    def draw(self, rng: Rng) -> Pair:
        """Return one pair, augmented."""


class PairSampler:
    """Draws training pairs: two frames of a clip, or a photo bent by a clip's motion.

    Identities are drawn alike, however many frames they have; frames with an unusual mouth or
    lids are drawn more often. People in clips hardly ever wink, users do: some truths are given
    one eye of a near frame in which the eyes are shut. A photo is the truth and its bent copy,
    the person moved before an unmoved background, the reference: photos bring many more people
    than the clips do. Some frames are to act what somebody else does, as the program is used; how
    that looks nobody knows, only what is to be read in it.
    """

    def __init__(
        self,
        clips: list[Clip],
        stills: list[Still],
        still_share: float,
        acting_share: float = 0.0,
    ) -> None:
        self._people: dict[str, list[Clip]] = {}
        for clip in clips:
            self._people.setdefault(clip.identity, []).append(clip)
        self._names = sorted(self._people)
        self._stills = stills
        self._still_share = still_share if stills else 0.0
        self._acting_share = acting_share
        self._rarity = {clip.name: rarity(clip.landmarks[clip.usable]) for clip in clips}
        self._resting = {
            clip.name: _resting_frames(clip, self._rarity[clip.name]) for clip in clips
        }
        self._winks = {clip.name: wink_frames(clip.landmarks, clip.usable) for clip in clips}

    def draw(self, rng: Rng) -> Pair:
        """Return one pair, augmented."""
        draws = (self._bent_still, self._acting, self._frames)
        limits = np.cumsum([self._still_share, self._acting_share])
        return augment(draws[int(np.searchsorted(limits, rng.random(), "right"))](rng), rng)

    def _clip(self, rng: Rng) -> Clip:
        clips = self._people[self._names[rng.integers(len(self._names))]]
        return clips[rng.integers(len(clips))]

    def _frames(self, rng: Rng) -> Pair:
        clip = self._clip(rng)
        first = int(rng.choice(clip.usable))
        winks = self._winks[clip.name]
        if len(winks) and rng.random() < _WINK_SHARE:
            here, there = winks[rng.integers(len(winks))].tolist()
            opened, shut = ((clip.images[i], clip.landmarks[i]) for i in (here, there))
            truth, points = wink(*opened, *shut, right=bool(rng.random() < 0.5))
        else:
            here = int(rng.choice(clip.usable, p=self._rarity[clip.name]))
            truth, points = clip.images[here], clip.landmarks[here]
        return Pair(
            clip.images[first],
            clip.landmarks[first],
            truth,
            points,
            clip.person(here),
            None if rng.random() < _UNKNOWN_SHARE else clip.person(first),
        )

    def _acting(self, rng: Rng) -> Pair:
        """Let a photo, or a resting face of a clip, act what somebody does from rest on."""
        actor = self._clip(rng)
        rest = int(rng.choice(self._resting[actor.name]))
        acted = int(rng.choice(actor.usable, p=self._rarity[actor.name]))
        if self._stills and rng.random() < 0.5:
            still = self._stills[rng.integers(len(self._stills))]
            image, points = still.image, still.landmarks
            person: NDArray[np.uint8] | None = still.person
        else:
            clip = self._clip(rng)
            here = int(rng.choice(self._resting[clip.name]))
            image, points, person = clip.images[here], clip.landmarks[here], clip.person(here)
        motion = _transfer_motion(actor.landmarks[rest], actor.landmarks[acted], points)
        return Pair(image, points, image, motion, reference_person=person, has_truth=False)

    def _bent_still(self, rng: Rng) -> Pair:
        clip = self._clip(rng)
        first, second = (clip.landmarks[int(rng.choice(clip.usable))] for _ in range(2))
        return bend(self._stills[rng.integers(len(self._stills))], first, second)


def bend(still: Still, first: Array, second: Array) -> Pair:
    """Move the person of a photo as a clip's face moves from `first` to `second`, (478, 3) px.

    The photo is the truth, the bent copy the reference; what is behind the person stays.
    """
    bent = _transfer_motion(first, second, still.landmarks)
    size = still.image.shape[0]
    flow = source_map(head_mesh().maps(still.landmarks, bent, size, size // 2), size)
    moved = warp_image(still.image, flow).astype(np.float32)
    person = warp_image(still.person, flow)
    share = person[..., None].astype(np.float32) / 255
    reference = still.background + share * (moved - still.background)
    return Pair(
        reference.astype(np.uint8), bent, still.image, still.landmarks, still.person, person
    )


def rarity(points: Array) -> NDArray[np.float64]:
    """Return chances of (F, 478, 3) faces: half alike, half by distance from the median face."""
    iod = np.linalg.norm(points[:, 33] - points[:, 263], axis=-1)
    gaps = [
        np.linalg.norm(points[:, a] - points[:, b], axis=-1) / iod
        for a, b in ((13, 14), (159, 145), (386, 374), (61, 291))
    ]
    spread = sum(np.abs(gap - np.median(gap)) / (gap.std() + 1e-6) for gap in gaps)
    weight = np.asarray(spread, np.float64) + 1e-3
    return np.asarray(0.5 / len(weight) + 0.5 * weight / weight.sum(), dtype=np.float64)


def _resting_frames(clip: Clip, chances: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the tenth of a clip's frames whose faces are most like its median face."""
    return np.asarray(clip.usable[np.argsort(chances)[: len(chances) // 10 + 1]])


def _transfer_motion(first: Array, second: Array, face: Array) -> Array:
    """Move a face as a clip's face moves between two frames, rotation held to 12 degrees."""
    pose_first, pose_second, pose = (estimate_pose(points) for points in (first, second, face))
    deviation = to_face_frame(second, pose_second) - to_face_frame(first, pose_first)
    turn = rotation_vector(pose_second.rotation @ pose_first.rotation.T)
    angle = float(np.linalg.norm(turn))
    turn = turn * min(1.0, np.radians(12) / max(angle, 1e-6))
    shift = (pose_second.translation - pose_first.translation) / pose_first.scale
    limit = min(1.0, 0.25 / max(float(np.linalg.norm(shift)), 1e-6))
    moved = Pose(
        rotation_matrix(turn) @ pose.rotation,
        pose.translation + shift * limit * pose.scale,
        pose.scale,
    )
    return to_image(to_face_frame(face, pose) + deviation, moved)


def augment(pair: Pair, rng: Rng, extent: float = 1.0, same_scene: bool = False) -> Pair:
    """Flip, move, scale, turn, stretch and recolour both pictures; shake the truth's landmarks.

    Args:
        pair: it stays as it is.
        rng: of the draws.
        extent: of moving, scaling and turning.
        same_scene: do not flip, stretch or recolour: there is one person in one light to learn.
    """
    size = pair.truth.shape[0]
    images = [np.asarray(pair.reference), np.asarray(pair.truth)]
    landmarks = [pair.reference_landmarks, pair.truth_landmarks]
    people = [
        mask if mask is None else cv2.resize(mask, (size, size))
        for mask in (pair.reference_person, pair.person)
    ]
    if not same_scene and rng.random() < 0.5:
        images = [np.ascontiguousarray(image[:, ::-1]) for image in images]
        people = [mask if mask is None else np.ascontiguousarray(mask[:, ::-1]) for mask in people]
        landmarks = [mirrored(points, size) for points in landmarks]
    scale = float(rng.uniform(1 - 0.12 * extent, 1 + 0.15 * extent))
    angle = float(rng.normal(0, 5 * extent))
    middle = (size - 1) / 2
    affine = np.array(cv2.getRotationMatrix2D((middle, middle), angle, scale), np.float32)
    affine[:, 2] += (rng.uniform(-0.05, 0.05, 2) * extent * size).astype(np.float32)
    if not same_scene:
        stretch = np.float32(np.exp(rng.normal(0, _STRETCH)))
        affine[:, 2] += affine[:, 1] * np.float32(middle) * (1 - stretch)
        affine[:, 1] *= stretch
    images = [crop_image(image, affine, size) for image in images]
    landmarks = [transform_points(points, affine) for points in landmarks]
    reference_person, person = (
        mask if mask is None else crop_image(np.asarray(mask, np.uint8), affine, size)
        for mask in people
    )
    if not same_scene:
        table = _colour_table(rng)
        images = [cv2.LUT(image, table).astype(np.uint8) for image in images]
    landmarks[1] = landmarks[1] + rng.normal(0, 0.25, landmarks[1].shape).astype(np.float32)
    return replace(
        pair,
        reference=images[0],
        reference_landmarks=landmarks[0],
        truth=images[1],
        truth_landmarks=landmarks[1],
        person=person,
        reference_person=reference_person,
    )


def _colour_table(rng: Rng) -> NDArray[np.uint8]:
    """Return (256, 1, 3): gamma, gain and offset, a little different in each channel."""
    ramp = np.linspace(0, 1, 256)[:, None]
    gamma = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.07, 3))
    gain = np.exp(rng.normal(0, 0.1) + rng.normal(0, 0.07, 3))
    table = np.clip(ramp**gamma * gain + rng.normal(0, 0.02), 0, 1) * 255
    return np.asarray(table[:, None], dtype=np.uint8)


def validation_pairs(clips: list[Clip], per_clip: int) -> Iterator[tuple[str, Pair]]:
    """Yield each clip's first frame against `per_clip` later ones, spread evenly."""
    for clip in clips:
        first, rest = int(clip.usable[0]), clip.usable[1:]
        for frame in rest[np.linspace(0, len(rest) - 1, per_clip).astype(int)].tolist():
            yield (
                clip.name,
                Pair(
                    np.asarray(clip.images[first]),
                    clip.landmarks[first],
                    np.asarray(clip.images[frame]),
                    clip.landmarks[frame],
                    clip.person(frame),
                    clip.person(first),
                ),
            )
