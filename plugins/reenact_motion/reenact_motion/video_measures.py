"""How good generated face videos are: the measures of MotionGAN's paper, as far as they are free.

Otberdout 2022 compares videos with MoCoGAN, VGAN and TGAN by IS, ACD and ACD-I. The Inception Score
needs a classifier. Here it is the program's recogniser of expressions instead of Inception, so that
the score says how clear and how different the expressions are. ACD is MoCoGAN's average content
distance. ACD-I is the distance to the input picture; videos from noise have none, and their first
frame stands for it. Only faces that are found are measured, and `tracked` says how many are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from reenact.evaluation.face_reader import FaceReader, distance, own_shape
from reenact.evaluation.metrics import (
    Figures,
    average_content_distance,
    consecutive_ssim,
    content_distance_to,
    mean_of,
)
from reenact.evaluation.recognition import shipped_recogniser
from reenact.expression.emotions import EMOTIONS
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.imaging import from_unit, resized_square
from reenact.types import Array
from reenact_motion.network import CLASSES

_READ_PX: Final = 256
"""Side at which frames are read."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A video to measure.

    Attributes:
        emotion: that it is to show at its end, index into `EMOTIONS`.
        pictures: uint8 (T, S, S, 3) RGB.
        person: identity of whose face it is; "": of nobody.
    """

    emotion: int
    pictures: NDArray[np.uint8]
    person: str = ""


def draw_videos(network: nn.Module, count: int) -> list[Drawn]:
    """Draw `count` videos of each class by a `video_networks.VideoGenerator`."""
    parameter = next(network.parameters())
    source = torch.Generator().manual_seed(0)
    videos = []
    for number in range(CLASSES):
        noise = torch.randn(count, int(network.noise_length), generator=source)  # type: ignore[arg-type]
        emotion = torch.full((count,), number, device=parameter.device)
        with torch.no_grad():
            drawn = network(noise.to(parameter.device), emotion).float().cpu().numpy()
        videos += [Drawn(number + 1, from_unit(one.swapaxes(0, 1))) for one in drawn]
    return videos


def figures_of(videos: Sequence[Drawn], reader: FaceReader, read: int | None = None) -> Figures:
    """Return the figures of videos.

    - recognised: share of the videos whose last frame is told as asked, against the first.
    - believed: mean probability of what is asked; 0 where no face is found.
    - inception_score: of the recogniser's probabilities (Salimans 2016), 1 to 8.
    - acd, acd_i: mean distances of the identity between all frames, and to the first frame.
    - people: mean distance between the first faces of different videos; of one face it is 0.
    - consecutive_ssim: SSIM of consecutive frames.
    - tracked: share of the frames that are read with a face.

    Args:
        videos: of one length.
        reader: reads the faces.
        read: frames of each that are read, evenly spaced from the first to the last; None: all.

    Returns:
        None where no face is found, and for distances without the optional dependency.
    """
    told, believed, shares, found, steps, to_first = [], [], [], [], [], []
    first_faces = []
    for video in videos:
        count = len(video.pictures)
        chosen = np.linspace(0, count - 1, read or count).round().astype(int)
        frames = [resized_square(video.pictures[index], _READ_PX) for index in chosen]
        points = [reader.track(frame) for frame in frames]
        found += [float(one is not None) for one in points]
        probabilities = _probabilities(points, video.person)
        if probabilities is not None:
            shares.append(probabilities)
        shown = np.zeros(len(EMOTIONS)) if probabilities is None else probabilities
        told.append(float(shown.argmax() == video.emotion))
        believed.append(float(shown[video.emotion]))
        described = [
            reader.describe(frame, one)
            for frame, one in zip(frames, points, strict=True)
            if one is not None
        ]
        known = [one for one in described if one is not None]
        first_faces += known[:1]
        if len(known) > 1:
            steps.append(average_content_distance(known))
            to_first.append(content_distance_to(known[0], known[1:]))
    return {
        "recognised": mean_of(told),
        "believed": mean_of(believed),
        "inception_score": inception_score(np.stack(shares)) if shares else None,
        "acd": mean_of(steps),
        "acd_i": mean_of(to_first),
        "people": mean_of([distance(*pair) for pair in combinations(first_faces, 2)]),
        "consecutive_ssim": mean_of(
            [one for video in videos if (one := consecutive_ssim(list(video.pictures))) is not None]
        ),
        "tracked": mean_of(found),
    }


def inception_score(probabilities: Array) -> float:
    """Return exp(E KL(p(y|x) ‖ p(y))) of the (N, K) probabilities of N pictures (Salimans 2016)."""
    shares = np.clip(np.asarray(probabilities, np.float64), 1e-12, None)
    divergence = (shares * (np.log(shares) - np.log(shares.mean(axis=0)))).sum(axis=1)
    return float(np.exp(divergence.mean()))


def _probabilities(points: Sequence[Array | None], person: str) -> Array | None:
    """Return what the last face shows against the first, (8,); None: one of them is missing."""
    first, last = points[0], points[-1]
    if first is None or last is None:
        return None
    rest = to_face_frame(first, estimate_pose(first))
    deviation = own_shape(last, rest) - rest
    return np.asarray(shipped_recogniser(person).probabilities(deviation[None])[0])
