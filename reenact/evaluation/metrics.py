"""Figures that compare rendered pictures, or runs of them, with the true ones.

Pure functions of arrays: no files, no networks, no state; any thread may call them. Pictures are
uint8 (H, W, 3) RGB, runs are sequences of such pictures of one size, consecutive in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.types import Array, Image

BOX_MARGIN_PX: Final = 8
"""How far the face box reaches beyond the landmarks, px."""

MAX_PSNR_DB: Final = 100.0
"""The PSNR of equal pictures, in place of infinity."""

_SSIM_WINDOW_PX: Final = 11
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601, the clips' matrix
_STILL_BLUR_PX: Final = 2.0
_STILL_LEVELS: Final = 2.0
_STILL_BORDER_PX: Final = 5
_STILL_SHARE: Final = 0.01
_FLICKER_FLOOR: Final = 0.1


Figures = dict[str, float | None]
"""Figures by name; None for one that could not be measured."""


def mean_of(values: Sequence[float]) -> float | None:
    """Return the mean; None for an empty sequence."""
    return float(np.mean(values)) if values else None


def mean_figures(clips: Iterable[Mapping[str, float | None]]) -> Figures:
    """Average each figure over the clips that have it; None if none has."""
    names: dict[str, list[float]] = {}
    for figures in clips:
        for name, value in figures.items():
            names.setdefault(name, []).extend([] if value is None else [value])
    return {name: mean_of(values) for name, values in names.items()}


def psnr(true: Image, rendered: Image) -> float:
    """Return the peak signal-to-noise ratio in dB over all pixels and channels, at most 100.

    Takes pictures, or the (N, 3) pixels of a part of them.
    """
    if np.array_equal(true, rendered):
        return MAX_PSNR_DB
    return min(
        float(_scikit().peak_signal_noise_ratio(true, rendered, data_range=255)), MAX_PSNR_DB
    )


def ssim(true: Image, rendered: Image) -> float:
    """Return the structural similarity, -1 to 1, with the window of Wang 2004, mean over RGB.

    Raises:
        ValueError: a side is shorter than the window of 11 px.
    """
    return float(
        _scikit().structural_similarity(
            true,
            rendered,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=-1,
        )
    )


def luma(image: Image) -> Array:
    """Return float32 (H, W) brightness in 0..255 (Rec. 601)."""
    return np.asarray(image.astype(np.float32) @ _LUMA, dtype=np.float32)


def gradient_magnitude(image: Image) -> float:
    """Return the mean length of the luma's gradient (central differences), levels per px."""
    down, right = np.gradient(luma(image))
    return float(np.hypot(down, right).mean())


def sharpness(true: Image, rendered: Image) -> float:
    """Return the mean gradient magnitude, rendered over true: 1 is as sharp as the camera."""
    return gradient_magnitude(rendered) / max(gradient_magnitude(true), 1e-6)


def face_box(landmarks: Array, size: tuple[int, int]) -> tuple[slice, slice] | None:
    """Return the (rows, columns) of the landmarks' bounding box with its margin.

    Args:
        landmarks: (478, 3) px of the true frame.
        size: (width, height) px of that frame; the box is cut to it.

    Returns:
        None if the part of the box in the picture is smaller than the window of SSIM.
    """
    width, height = size
    low = np.floor(landmarks[:, :2].min(axis=0)).astype(int) - BOX_MARGIN_PX
    high = np.ceil(landmarks[:, :2].max(axis=0)).astype(int) + BOX_MARGIN_PX
    left, top = max(int(low[0]), 0), max(int(low[1]), 0)
    right, bottom = min(int(high[0]), width), min(int(high[1]), height)
    if right - left < _SSIM_WINDOW_PX or bottom - top < _SSIM_WINDOW_PX:
        return None
    return slice(top, bottom), slice(left, right)


def landmark_distance(first: Array, second: Array) -> float:
    """Return the mean distance in the picture plane of two (N, >= 2) sets, in their unit."""
    return float(np.linalg.norm(first[:, :2] - second[:, :2], axis=1).mean())


def consecutive_ssim(frames: Sequence[Image]) -> float | None:
    """Return the mean SSIM of each frame with the next; None for fewer than two frames."""
    if len(frames) < 2:
        return None
    return float(np.mean([ssim(*pair) for pair in pairwise(frames)]))


def average_content_distance(descriptors: Sequence[Array]) -> float:
    """Return ACD (Tulyakov 2018): the mean distance of a run's identities to the next ones."""
    return float(np.mean([np.linalg.norm(one - other) for one, other in pairwise(descriptors)]))


def content_distance_to(still: Array, descriptors: Sequence[Array]) -> float:
    """Return ACD-I: the mean distance of a run's identities to that of the input picture."""
    return float(np.mean([np.linalg.norm(one - still) for one in descriptors]))


def still_mask(before: Array, middle: Array, after: Array) -> NDArray[np.bool_]:
    """Mark the pixels of three consecutive (H, W) luma planes where nothing moves.

    A pixel moves when the luma, blurred by 2 px so that camera noise does not count, changes by
    more than 2 levels to the frame before or after; 5 px around it count as moving as well.
    """
    soft = [cv2.GaussianBlur(plane, (0, 0), _STILL_BLUR_PX) for plane in (before, middle, after)]
    change = np.maximum(np.abs(soft[1] - soft[0]), np.abs(soft[2] - soft[1]))
    side = 2 * _STILL_BORDER_PX + 1
    moving = cv2.dilate((change > _STILL_LEVELS).astype(np.uint8), np.ones((side, side), np.uint8))
    return np.asarray(moving == 0)


def flicker(true: Sequence[Image], rendered: Sequence[Image]) -> float | None:
    """Return how much more a rendered run flickers than the true one where nothing moves.

    Mean absolute second difference over time of the luma, over the pixels that are still in the
    *true* run (`still_mask`), rendered over true. 1 is as steady as the camera, and 0 is a frozen
    picture. The true run's mean counts as at least 0.1 levels, so that a synthetic run without
    noise still gives a finite figure.

    Returns:
        None for fewer than three frames, or if less than 1 % of the pixels are still.

    Raises:
        ValueError: the runs differ in length.
    """
    if len(true) != len(rendered):
        raise ValueError(f"runs of {len(true)} and {len(rendered)} frames cannot be compared")
    if len(true) < 3:
        return None
    true_planes, rendered_planes = [luma(f) for f in true], [luma(f) for f in rendered]
    true_sum = rendered_sum = 0.0
    still_pixels = all_pixels = 0
    for i in range(1, len(true) - 1):
        still = still_mask(true_planes[i - 1], true_planes[i], true_planes[i + 1])
        true_sum += float(_second_difference(true_planes, i)[still].sum())
        rendered_sum += float(_second_difference(rendered_planes, i)[still].sum())
        still_pixels += int(still.sum())
        all_pixels += still.size
    if still_pixels < _STILL_SHARE * all_pixels:
        return None
    return (rendered_sum / still_pixels) / max(true_sum / still_pixels, _FLICKER_FLOOR)


def correlation(first: Array, second: Array) -> float:
    """Return Pearson's correlation of two (N,) tracks; 0 if one of them is constant."""
    a = first.astype(np.float64) - first.mean()
    b = second.astype(np.float64) - second.mean()
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths > 1e-9 else 0.0


def expression_correlation(
    actor: Array, output: Array, active_deviation: float = 0.05
) -> float | None:
    """Return the mean correlation of the actor's active action units with the output's.

    Args:
        actor: (N, 17) action units of the actor over time, 0 to 1.
        output: (N, 17) action units tracked on the output.
        active_deviation: minimum standard deviation of an active action unit of the actor; the
            tracks of the others are nothing but the tracker's noise.

    Returns:
        None if no action unit is active.
    """
    active = np.flatnonzero(actor.std(axis=0) >= active_deviation)
    if not active.size:
        return None
    return float(np.mean([correlation(actor[:, i], output[:, i]) for i in active]))


def _second_difference(planes: Sequence[Array], middle: int) -> Array:
    return np.asarray(np.abs(planes[middle - 1] - 2 * planes[middle] + planes[middle + 1]))


def _scikit() -> Any:
    """Return scikit-image's metrics; its functions carry no types."""
    from skimage import metrics

    return metrics
