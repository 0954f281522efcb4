"""Training data, in batches, for generators that are driven by action units or emotions.

A batch holds

    faces      (N, 3, S, S)  RGB in -1..1
    units      (N, 17)       action units relative to the person's rest, 0..1
    emotions   (N, 8)        weights of `emotions.EMOTIONS`, of sum 1
    intensity  (N,)          see `emotions.emotion_intensity`
    people     (N,)          identity, an index into `FaceMaterial.people`

and `other_faces`, `other_units`, …: another face of the same clip, mirrored and relit in the same
way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from reenact.errors import ReenactError
from reenact.evaluation import metrics
from reenact.evaluation.face_reader import FaceReader, own_shape
from reenact.evaluation.recognition import clear_labels, shipped_recogniser
from reenact.expression.emotions import CONTEMPT, EMOTIONS
from reenact.face.action_units import mirrored_units
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.imaging import from_unit, resized_square, to_unit
from reenact.training.augmentation import Rng
from reenact.training.faces.clips import (
    FaceData,
    LabelledClip,
    lifts_right,
    load_acted,
    load_labelled,
)
from reenact.training.people import describe, split_people
from reenact.training.sampling import Batch
from reenact.types import Array, Image

_READ_PX: Final = 256
"""Side at which the reader gets the drawn faces."""

_CANDIDATES: Final = 8
_MAX_TURN: Final = 6.0
"""The other face of a pair is chosen among candidates within these degrees: the one whose
expression differs most. Without a candidate it is the face with the most similar head pose."""

_LIGHT: Final = 0.12
"""Standard deviation of the log of brightness and contrast."""


Grouping = Callable[[LabelledClip], NDArray[np.intp]]
"""Returns the group of each face of a clip, -1 for none."""


class FaceMaterial:
    """Training faces and the clips for validation.

    Args:
        train, held_out: the clips of both.
        description: description of the data for the header of the weights.
        group: returns the group of each face of a clip, -1 to leave it out. Groups are drawn
            equally often. None: each person is a group.

    Raises:
        ReenactError: all faces are left out.

    Attributes:
        people: identities of the training faces; `people` of a batch are indices into it.
        groups: names of the groups that exist.
    """

    def __init__(
        self,
        train: Sequence[LabelledClip],
        held_out: Sequence[LabelledClip],
        description: str,
        group: Grouping | None = None,
    ) -> None:
        self.held_out, self.description = held_out, description
        self.people = sorted({clip.identity for clip in train})
        groups: dict[int, list[tuple[LabelledClip, int]]] = {}
        for clip in train:
            own = self.people.index(clip.identity)
            keys = np.full(len(clip.pictures), own) if group is None else group(clip)
            for row, key in enumerate(keys.tolist()):
                if key >= 0:
                    groups.setdefault(key, []).append((clip, row))
        if not groups:
            raise ReenactError(
                "No training face clearly shows an emotion or rest; add clips, or draw some faces "
                "with emotions by --set settings.acted_frames=6."
            )
        self.groups = list(groups)
        self._groups = list(groups.values())
        self._chances = [
            _chances(np.array([clip.intensity[row] for clip, row in faces]))
            for faces in self._groups
        ]

    def draw(self, rng: Rng, count: int, groups: Sequence[int] = ()) -> Batch:
        """Return a batch; strong expressions are drawn more often.

        Args:
            rng: draws.
            count: faces.
            groups: keys of those to draw from; none: all.
        """
        rows = []
        allowed = [self.groups.index(key) for key in groups or self.groups]
        for group in rng.choice(allowed, count).tolist():
            faces = self._groups[group]
            clip, row = faces[int(rng.choice(len(faces), p=self._chances[group]))]
            person = np.int64(self.people.index(clip.identity))
            rows.append({**_augmented(clip, row, rng), "people": person})
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def load_faces(data: FaceData, group: Grouping | None = None) -> FaceMaterial:
    """Load the data of a recipe.

    Raises ReenactError if the data is missing or damaged, or train and val share people.
    """
    train, held_out = split_people(data, lambda folder: load_labelled(folder, data))
    description = describe(train, data)
    if data.acted_frames:
        people = {clip.identity for clip in train}
        train = [*train, *load_acted(Path(data.train), data, people)]
        description += f", {data.acted_frames} frames of each also drawn with emotions"
    return FaceMaterial(train, held_out, description, group)


def measure_emotions(
    network: nn.Module,
    gain: float,
    clips: Sequence[LabelledClip],
    conditions: Callable[[LabelledClip, int], Array],
) -> dict[str, float]:
    """Measure how well a generator shows acted emotions on the calmest face of each clip.

    `told` is the share of faces that the recogniser classifies as requested, `believed` the mean
    probability it gives to that emotion, and `ssim` the SSIM to the calm face. The score is
    believed times ssim, so that neither an unchanged face nor a broken one scores high.

    Args:
        network: maps faces (N, 3, S, S) in -1..1 and conditions (N, ...) to faces.
        gain: factor on the change that the network makes.
        clips: clips of held-out people.
        conditions: returns the conditions (7, ...) of all emotions but neutral for a face.
    """
    told, believed, alike = [], [], []
    device = next(network.parameters()).device
    with FaceReader() as reader:
        for clip in clips:
            row = int(clip.intensity.argmin())
            calm, recogniser = clip.pictures[row], shipped_recogniser(clip.identity)
            rest = _shape(reader, calm)
            if rest is None:
                continue
            wanted = torch.tensor(conditions(clip, row), dtype=torch.float32, device=device)
            face = torch.from_numpy(to_unit(calm[None])).to(device)
            faces = face.expand(len(wanted), -1, -1, -1).contiguous()
            drawn = (faces + gain * (network(faces, wanted) - faces)).clamp(-1, 1)
            for number, picture in enumerate(from_unit(drawn.float().cpu().numpy()), start=1):
                alike.append(metrics.ssim(calm, picture))
                shape = _shape(reader, picture, rest)
                shares = np.zeros(len(EMOTIONS), np.float32)
                if shape is not None:
                    shares = recogniser.probabilities((shape - rest)[None])[0]
                told.append(float(shares.argmax() == number))
                believed.append(float(shares[number]))
    if not told:
        return {"told": 0.0, "believed": 0.0, "ssim": 0.0, "score": 0.0}
    figures = {"told": told, "believed": believed, "ssim": alike}
    means = {name: float(np.mean(values)) for name, values in figures.items()}
    return {**means, "score": means["believed"] * means["ssim"]}


def by_emotion(clip: LabelledClip) -> NDArray[np.intp]:
    """Group the faces of a clip by the emotion that they clearly show."""
    return clear_labels(clip.emotions)


def shown(batch: Mapping[str, Tensor]) -> Tensor:
    """Return the emotion of each face of a batch, one-hot (N, 8)."""
    emotions = batch["emotions"]
    return F.one_hot(emotions.argmax(dim=1), emotions.shape[1]).to(emotions.dtype)


def one_hot(emotions: Sequence[int]) -> Array:
    """Return the (N, 8) vectors of emotions."""
    return np.eye(len(EMOTIONS), dtype=np.float32)[list(emotions)]


def _chances(intensity: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probability of each face of a person: half uniform, half by its intensity."""
    strength = np.asarray(intensity, np.float64) + 1e-3
    return np.asarray(0.5 / len(strength) + 0.5 * strength / strength.sum(), np.float64)


def _augmented(clip: LabelledClip, row: int, rng: Rng) -> dict[str, Any]:
    """Return a face and another one of its clip; half of the pairs are mirrored, all are relit.

    Mirrored contempt is mirrored back to the person's left, because the label has no side.
    """
    flips = rng.random() < 0.5
    if clip.emotions[row].argmax() == CONTEMPT:
        flips = lifts_right(clip.units[row])
    gain, contrast = np.exp(rng.normal(0, _LIGHT, 2)).astype(np.float32)
    found: dict[str, Any] = {}
    others = rng.integers(clip.sources or len(clip.pictures), size=_CANDIDATES)
    turned = np.linalg.norm(clip.turns[others] - clip.turns[row], axis=1) / _MAX_TURN
    moved = np.abs(clip.units[others] - clip.units[row]).mean(axis=1)
    best = int(others[np.where(turned < 1, moved, -turned).argmax()])
    for prefix, index in (("", row), ("other_", best)):
        picture = clip.pictures[index]
        face = to_unit((picture[:, ::-1] if flips else picture)[None])[0]
        units = clip.units[index]
        found |= {
            f"{prefix}faces": np.clip((face * contrast + 1) * gain - 1, -1, 1),
            f"{prefix}units": mirrored_units(units) if flips else units,
            f"{prefix}emotions": clip.emotions[index],
            f"{prefix}intensity": clip.intensity[index],
        }
    return found


def _shape(reader: FaceReader, picture: Image, rest: Array | None = None) -> Array | None:
    """Return the (478, 3) shape of a small face, iod; None if the reader finds none."""
    points = reader.track(resized_square(picture, _READ_PX))
    if points is None:
        return None
    return to_face_frame(points, estimate_pose(points)) if rest is None else own_shape(points, rest)
