"""Clips and stills with landmarks, and the pairs drawn from them.

A folder of clips holds `NAME.mp4` with `NAME.npz` (`landmarks`: (frames, 478, 3) px, NaN where no
face was found). The identity is the part of the name before `__`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from reenact.errors import ReenactError, counted
from reenact.face.geometry import crop_transform, transform_points
from reenact.face.segmentation import person_masks
from reenact.face.topology import N_LANDMARKS
from reenact.imaging import crop_image, in_bytes
from reenact.storage import atomic_write
from reenact.targets.clip_files import (
    clip_landmarks,
    clips_in,
    decode_clip,
    files_in,
    frames_with_face,
    load_landmarks,
    person_of,
)
from reenact.training.augmentation import (
    AUGMENTATIONS,
    Augmentation,
    Pair,
    Rng,
    Still,
    animate,
    augment,
    wink,
    wink_frames,
)
from reenact.types import Array

_WINK_SHARE: Final = 0.12
"""Share of the clip pairs whose ground truth is made to wink, if the clip has a blink."""

_UNKNOWN_SHARE: Final = 0.05
"""Share of the clip pairs whose person mask of the reference is withheld."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One shot of one person, stored in files so that workers do not copy its frames.

    Attributes:
        name: file name without its suffix; the part before `__` names the person.
        file: .npy of its frames, uint8 (F, S, S, 3) RGB.
        landmarks: float32 (F, 478, 3) px.
        usable: (n,) indices of frames with a face.
        people_file: .npy of the person masks, uint8 (F, S/4, S/4), 255: person; None: unknown.
    """

    name: str
    file: Path
    landmarks: Array
    usable: NDArray[np.intp]
    people_file: Path | None = None

    @property
    def identity(self) -> str:
        """Name of the person."""
        return person_of(self.name)

    def person(self, frame: int) -> NDArray[np.uint8] | None:
        """Return the person mask of one frame, uint8 (S/4, S/4); None: unknown."""
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
    """Load all clips of a folder; each is decoded once into a memory-mapped cache.

    `with_people` also separates person and background (about 10 ms a frame, cached too). Raises
    ReenactError if there are no clips, one is damaged, or its landmarks do not match its frames.
    """
    clips = []
    for video in clips_in(folder):
        landmarks = clip_landmarks(video)
        file = _decoded(video, cache)
        frames = len(_open_frames(file))
        if frames != len(landmarks):
            raise ReenactError(
                f"{video.name} has {counted(frames, 'frame')} but landmarks for {len(landmarks)}."
            )
        usable = frames_with_face(landmarks)
        if len(usable) >= 2:
            people = _people(file) if with_people else None
            clips.append(Clip(video.stem, file, landmarks, usable, people))
    if not clips:
        raise ReenactError(f"{folder} has no clips (NAME.mp4 with NAME.npz).")
    return clips


def _decoded(video: Path, cache: Path) -> Path:
    status = video.stat()
    key = hashlib.sha256(os.fsencode(video.resolve()))
    key.update(f"{status.st_size}{status.st_mtime_ns}".encode())
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


def load_stills(folders: list[Path], size_px: int, without: Collection[str] = ()) -> list[Still]:
    """Load photos (`NAME.jpg` with `NAME.npz`), cropped the way the live path crops a target.

    Photos of the people `without` are left out. Raises ReenactError if a photo is damaged.
    """
    stills = []
    for path in sorted(file for folder in folders for file in files_in(folder, ".jpg")):
        if person_of(path.stem) in without:
            continue
        landmarks = load_landmarks(path.with_suffix(".npz"))
        if landmarks.shape != (N_LANDMARKS, 3):
            raise ReenactError(
                f"{path.stem}.npz holds {landmarks.shape}; a photo needs (478, 3) landmarks."
            )
        content = np.fromfile(path, np.uint8)  # OpenCV cannot open every name
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
        if image is None:
            raise ReenactError(f"{path} is damaged, or no picture; make or copy it again.")
        if not np.isfinite(landmarks).all():
            continue
        picture = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8)
        affine = crop_transform(landmarks, size_px)
        points = transform_points(landmarks, affine)
        stills.append(Still.of(crop_image(picture, affine, size_px), points))
    return stills


Driven = Callable[[Clip, int, Rng], Array]
"""Returns the (478, 3) px landmarks from which a generator draws a frame of a clip."""


def true_landmarks(clip: Clip, frame: int, rng: Rng) -> Array:
    """Return the frame's own landmarks."""
    return np.asarray(clip.landmarks[frame])


class Sampler(Protocol):
    """Draws training pairs."""

    def draw(self, rng: Rng) -> Pair:
        """Return one augmented pair."""


Batch = dict[str, NDArray[Any]]


class Batches(Dataset[Batch]):
    """A dataset whose item n is the batch of step n; it depends only on the seed and on n.

    `draw` is called with the step's own random generator; worker processes get a copy of `draw`.
    """

    def __init__(self, draw: Callable[[Rng], Batch], seed: int, steps: int) -> None:
        self._draw, self._seed, self._steps = draw, seed, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> Batch:
        return self._draw(np.random.default_rng([self._seed, step]))


@dataclass(frozen=True, slots=True)
class PairDraw:
    """Draws batches of pairs for `Batches`."""

    sampler: Sampler
    collate: Callable[[list[Pair]], Batch]
    batch_size: int

    def __call__(self, rng: Rng) -> Batch:
        """Return one batch."""
        return self.collate([self.sampler.draw(rng) for _ in range(self.batch_size)])


class PairSampler:
    """Draws training pairs: two frames of a clip, or a photo animated by a clip's motion.

    Each identity is drawn equally often, however many frames it has. Frames with an unusual mouth
    or unusual lids are drawn more often. Users wink, but people in clips hardly ever do, so some
    ground truths get one eye of a nearby frame with closed eyes (`augmentation.wink`). Photos add
    many more people: a photo is the ground truth, its animated copy the reference.
    """

    def __init__(
        self,
        clips: list[Clip],
        stills: list[Still],
        still_share: float,
        changes: Collection[Augmentation] = AUGMENTATIONS,
        driven: Driven = true_landmarks,
    ) -> None:
        self._changes, self._driven = changes, driven
        self._people: dict[str, list[Clip]] = {}
        for clip in clips:
            self._people.setdefault(clip.identity, []).append(clip)
        self._names = sorted(self._people)
        self._stills = stills
        self._still_share = still_share if stills else 0.0
        self._rarity = {
            clip.name: rarity(clip.landmarks[clip.usable]) if "rare" in changes else None
            for clip in clips
        }
        self._winks = {
            clip.name: wink_frames(clip.landmarks, clip.usable) if "winks" in changes else ()
            for clip in clips
        }

    def draw(self, rng: Rng) -> Pair:
        """Return one augmented pair."""
        is_still = rng.random() < self._still_share
        pair = self._animated_still(rng) if is_still else self._frames(rng)
        return augment(pair, rng, self._changes)

    def _clip(self, rng: Rng) -> Clip:
        clips = self._people[self._names[rng.integers(len(self._names))]]
        return clips[rng.integers(len(clips))]

    def _reference(self, clip: Clip, rng: Rng) -> int:
        return int(rng.choice(clip.usable))

    def _frames(self, rng: Rng) -> Pair:
        clip = self._clip(rng)
        first = self._reference(clip, rng)
        winks = self._winks[clip.name]
        if len(winks) and rng.random() < _WINK_SHARE:
            frames = winks[rng.integers(len(winks))].tolist()
            opened, shut = ((clip.images[i], clip.landmarks[i]) for i in frames)
            truth, points = wink(*opened, *shut, right=bool(rng.random() < 0.5))
        else:
            frame = int(rng.choice(clip.usable, p=self._rarity[clip.name]))
            truth, points = clip.images[frame], self._driven(clip, frame, rng)
        return Pair(
            clip.images[first],
            clip.landmarks[first],
            truth,
            points,
            None if rng.random() < _UNKNOWN_SHARE else clip.person(first),
        )

    def _animated_still(self, rng: Rng) -> Pair:
        clip = self._clip(rng)
        first, second = (clip.landmarks[int(rng.choice(clip.usable))] for _ in range(2))
        return animate(self._stills[rng.integers(len(self._stills))], first, second)


def rarity(points: Array) -> NDArray[np.float64]:
    """Return the (F,) probabilities with which (F, 478, 3) faces are drawn.

    One half is uniform, the other proportional to the distance from the median face.
    """
    iod = np.linalg.norm(points[:, 33] - points[:, 263], axis=-1)
    gaps = [  # of the lips, of the lids, and between the mouth's corners
        np.linalg.norm(points[:, a] - points[:, b], axis=-1) / iod
        for a, b in ((13, 14), (159, 145), (386, 374), (61, 291))
    ]
    spread = sum(np.abs(gap - np.median(gap)) / (gap.std() + 1e-6) for gap in gaps)
    weight = np.asarray(spread, np.float64) + 1e-3
    return np.asarray(0.5 / len(weight) + 0.5 * weight / weight.sum(), dtype=np.float64)


def validation_pairs(
    clips: list[Clip], per_clip: int, driven: Driven = true_landmarks
) -> Iterator[tuple[str, Pair]]:
    """Yield each clip's first frame paired with `per_clip` later ones, evenly spread."""
    rng = np.random.default_rng(0)
    for clip in clips:
        first, rest = int(clip.usable[0]), clip.usable[1:]
        for frame in rest[np.linspace(0, len(rest) - 1, per_clip).astype(int)].tolist():
            yield (
                clip.name,
                Pair(
                    np.asarray(clip.images[first]),
                    clip.landmarks[first],
                    np.asarray(clip.images[frame]),
                    driven(clip, frame, rng),
                    clip.person(first),
                ),
            )
