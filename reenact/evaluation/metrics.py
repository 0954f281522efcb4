"""Metrics that compare rendered pictures, or runs of them, with the true ones.

Pure functions of arrays without files, networks or state; any thread may call them. Pictures are
uint8 (H, W, 3) RGB. A run is a sequence of such pictures of one size, consecutive in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.imaging import LUMA
from reenact.types import Array, Image

BOX_MARGIN_PX: Final = 8
"""Margin of the face box around the landmarks, px."""

MAX_PSNR_DB: Final = 100.0
"""The PSNR of equal pictures, dB, in place of infinity."""

_SSIM_WINDOW_PX: Final = 11
_STILL_BLUR_PX: Final = 2.0
_STILL_LEVELS: Final = 2.0
_STILL_BORDER_PX: Final = 5
_STILL_SHARE: Final = 0.01
_FLICKER_FLOOR: Final = 0.1


Figures = dict[str, float | None]
"""Figures by name; None for a figure that could not be measured."""


def mean_of(values: Sequence[float]) -> float | None:
    """Return the mean; None for an empty sequence."""
    return float(np.mean(values)) if values else None


def mean_figures(clips: Iterable[Mapping[str, float | None]]) -> Figures:
    """Average each figure over the clips that have it; None if no clip has it."""
    names: dict[str, list[float]] = {}
    for figures in clips:
        for name, value in figures.items():
            names.setdefault(name, []).extend([] if value is None else [value])
    return {name: mean_of(values) for name, values in names.items()}


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose columns, except the first, are aligned to the right."""
    ruler = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ruler, *rows))


def psnr(true: Image, rendered: Image) -> float:
    """Return the peak signal-to-noise ratio in dB over all pixels and channels, at most 100.

    Takes two pictures, or the (N, 3) pixels of a region of them.
    """
    if np.array_equal(true, rendered):
        return MAX_PSNR_DB
    return min(
        float(_scikit().peak_signal_noise_ratio(true, rendered, data_range=255)), MAX_PSNR_DB
    )


def ssim(true: Image, rendered: Image) -> float:
    """Return SSIM, -1 to 1, averaged over RGB, with the Gaussian window of Wang 2004.

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
    """Return float32 (H, W) luma in 0..255 (Rec. 601)."""
    return np.asarray(image.astype(np.float32) @ LUMA, dtype=np.float32)


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
        size: (width, height) px of that frame; the box is clipped to it.

    Returns:
        None if the clipped box is smaller than the SSIM window.
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
    """Return the mean distance of two (N, >= 2) point sets in the picture plane, in their unit."""
    return float(np.linalg.norm(first[:, :2] - second[:, :2], axis=1).mean())


def consecutive_ssim(frames: Sequence[Image]) -> float | None:
    """Return the mean SSIM of consecutive frames; None for fewer than two frames."""
    if len(frames) < 2:
        return None
    return float(np.mean([ssim(*pair) for pair in pairwise(frames)]))


def average_content_distance(descriptors: Sequence[Array]) -> float:
    """Return ACD (Tulyakov 2018): the mean distance of all pairs of identity descriptors."""
    pairs = combinations(descriptors, 2)
    return float(np.mean([np.linalg.norm(one - other) for one, other in pairs]))


def content_distance_to(still: Array, descriptors: Sequence[Array]) -> float:
    """Return ACD-I: the mean distance of the descriptors to that of the input picture."""
    return float(np.mean([np.linalg.norm(one - still) for one in descriptors]))


def still_mask(before: Array, middle: Array, after: Array) -> NDArray[np.bool_]:
    """Mark the pixels that are still in three consecutive (H, W) luma planes.

    A pixel moves if its luma, blurred by 2 px against camera noise, changes by more than 2 levels
    to the frame before or after. Everything within 5 px of a moving pixel also counts as moving.
    """
    soft = [cv2.GaussianBlur(plane, (0, 0), _STILL_BLUR_PX) for plane in (before, middle, after)]
    change = np.maximum(np.abs(soft[1] - soft[0]), np.abs(soft[2] - soft[1]))
    side = 2 * _STILL_BORDER_PX + 1
    moving = cv2.dilate((change > _STILL_LEVELS).astype(np.uint8), np.ones((side, side), np.uint8))
    return np.asarray(moving == 0)


def flicker(true: Sequence[Image], rendered: Sequence[Image]) -> float | None:
    """Return how much a rendered run flickers in still areas, relative to the true run.

    The mean absolute second difference over time of the luma is taken over the pixels that are
    still in the *true* run (`still_mask`); the result is rendered over true. 1 is as steady as the
    camera, 0 a frozen picture. The true run's mean counts as at least 0.1 levels, so that a
    noise-free synthetic run gives a finite figure.

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
    """Return Pearson's correlation of two (N,) signals; 0 if one of them is constant."""
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
        active_deviation: an action unit is active if the standard deviation of the actor's signal
            is at least this; the other signals are tracker noise.

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
    """Return scikit-image's metrics as Any, because its functions have no types."""
    from skimage import metrics

    return metrics
