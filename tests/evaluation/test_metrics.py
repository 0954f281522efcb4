"""The figures on hand-made pictures, and against scikit-image and closed forms."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data
from skimage import metrics as scikit_metrics

from reenact.evaluation import metrics
from reenact.face.topology import N_LANDMARKS
from reenact.types import Array, Image

SCIKIT: Any = scikit_metrics  # its functions carry no types
DATA: Any = data


@pytest.fixture(scope="module")
def picture() -> Image:
    image: Image = np.ascontiguousarray(DATA.astronaut()[:192, 128:320])
    return image


def noisy(image: Image, sigma: float, seed: int) -> Image:
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)


def blurred(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma))


def shifted(image: Image, pixels: int) -> Image:
    return np.ascontiguousarray(np.roll(image, pixels, axis=1))


def test_psnr_of_a_constant_error_is_the_closed_form() -> None:
    true = np.full((32, 32, 3), 100, np.uint8)
    rendered = np.full((32, 32, 3), 110, np.uint8)
    assert metrics.psnr(true, rendered) == pytest.approx(20 * np.log10(255 / 10))


def test_psnr_and_ssim_are_those_of_scikit_image(picture: Image) -> None:
    other = noisy(picture, 12, 1)
    assert metrics.psnr(picture, other) == pytest.approx(
        SCIKIT.peak_signal_noise_ratio(picture, other, data_range=255)
    )
    expected = SCIKIT.structural_similarity(
        picture,
        other,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=-1,
    )
    assert metrics.ssim(picture, other) == pytest.approx(expected)


def test_equal_pictures_give_finite_best_figures(picture: Image) -> None:
    assert metrics.psnr(picture, picture.copy()) == metrics.MAX_PSNR_DB
    assert metrics.ssim(picture, picture) == pytest.approx(1)
    assert metrics.sharpness(picture, picture) == pytest.approx(1)


def test_a_larger_shift_costs_more(picture: Image) -> None:
    one, four = shifted(picture, 1), shifted(picture, 4)
    assert metrics.psnr(picture, four) < metrics.psnr(picture, one) - 3
    assert metrics.ssim(picture, four) < metrics.ssim(picture, one) - 0.1
    assert metrics.sharpness(picture, four) == pytest.approx(1, abs=0.02)


def test_blur_lowers_sharpness_though_psnr_pays_for_it(picture: Image) -> None:
    wrong = shifted(picture, 3)
    soft = blurred(wrong, 2)
    assert metrics.psnr(picture, soft) > metrics.psnr(picture, wrong)
    assert metrics.sharpness(picture, soft) < 0.75


def test_gradient_of_a_ramp_is_its_slope() -> None:
    ramp = np.repeat(np.arange(0, 120, 3, dtype=np.uint8)[None, :, None], 40, axis=0)
    assert metrics.gradient_magnitude(np.repeat(ramp, 3, axis=2)) == pytest.approx(3, rel=1e-4)


def test_luma_weighs_green_most() -> None:
    red, green, blue = (
        float(metrics.luma(np.full((2, 2, 3), colour, np.uint8)).mean())
        for colour in ([255, 0, 0], [0, 255, 0], [0, 0, 255])
    )
    assert green > red > blue
    assert red + green + blue == pytest.approx(255, abs=0.1)


def face_at(left: float, top: float, right: float, bottom: float) -> Array:
    points = np.random.default_rng(0).uniform(0, 1, (N_LANDMARKS, 3)).astype(np.float32)
    points[0], points[1] = 0, 1
    scale = np.array([right - left, bottom - top, 1], np.float32)
    return points * scale + np.array([left, top, 0], np.float32)


def test_face_box_has_the_margin_and_is_cut_to_the_picture() -> None:
    assert metrics.face_box(face_at(50, 60, 150, 200), (256, 256)) == (
        slice(52, 208),
        slice(42, 158),
    )
    assert metrics.face_box(face_at(-20, 60, 150, 300), (256, 256)) == (
        slice(52, 256),
        slice(0, 158),
    )


def test_face_box_outside_the_picture_is_none() -> None:
    assert metrics.face_box(face_at(300, 60, 400, 200), (256, 256)) is None


def test_landmark_distance_ignores_depth() -> None:
    first = np.zeros((5, 3), np.float32)
    assert metrics.landmark_distance(first, first + np.array([3, 4, 100], np.float32)) == 5


def test_a_frozen_run_is_steadier_and_a_noisy_one_trembles_more(picture: Image) -> None:
    true = [noisy(picture, 2, seed) for seed in range(6)]
    frozen = [picture] * 6
    trembling = [noisy(picture, 8, 100 + seed) for seed in range(6)]
    assert metrics.flicker(true, frozen) == 0
    assert metrics.flicker(true, true) == pytest.approx(1)
    flicker = metrics.flicker(true, trembling)
    assert flicker is not None
    assert flicker == pytest.approx(4, rel=0.15)  # the noise is four times as strong


def test_flicker_leaves_moving_areas_out(picture: Image) -> None:
    def run(flash: int, seed: int) -> list[Image]:
        frames = [noisy(picture, 2, seed + i) for i in range(6)]
        for i, frame in enumerate(frames):
            frame[40:80, 20 + 8 * i : 60 + 8 * i] = 128 + flash * (-1) ** i
        return frames

    assert metrics.flicker(run(20, 0), run(120, 50)) == pytest.approx(1, rel=0.05)


def test_flicker_of_a_synthetic_still_is_finite(picture: Image) -> None:
    flicker = metrics.flicker([picture] * 4, [noisy(picture, 3, seed) for seed in range(4)])
    assert flicker is not None
    assert 10 < flicker < 1000


def test_flicker_has_no_answer_without_still_pixels_or_frames(picture: Image) -> None:
    moving = [shifted(picture, 25 * i) for i in range(5)]
    flat = [np.full_like(picture, 60 * i) for i in range(4)]
    assert metrics.flicker(flat, flat) is None
    assert metrics.flicker(moving[:2], moving[:2]) is None
    with pytest.raises(ValueError, match="5 and 4"):
        metrics.flicker(moving, moving[:4])


def test_consecutive_ssim_orders_steady_before_trembling(picture: Image) -> None:
    steady = metrics.consecutive_ssim([picture] * 3)
    trembling = metrics.consecutive_ssim([noisy(picture, 10, seed) for seed in range(3)])
    assert steady == pytest.approx(1)
    assert trembling is not None
    assert trembling < 0.9
    assert metrics.consecutive_ssim([picture]) is None


def test_correlation_of_tracks() -> None:
    time = np.linspace(0, 6, 50, dtype=np.float32)
    assert metrics.correlation(np.sin(time), 0.3 * np.sin(time) + 5) == pytest.approx(1)
    assert metrics.correlation(np.sin(time), -np.sin(time)) == pytest.approx(-1)
    assert metrics.correlation(np.sin(time), np.ones_like(time)) == 0


def test_expression_correlation_counts_active_units_only() -> None:
    time = np.linspace(0, 12, 80, dtype=np.float32)
    actor = np.zeros((80, 17), np.float32)
    output = np.random.default_rng(3).normal(0, 0.01, (80, 17)).astype(np.float32)
    assert metrics.expression_correlation(actor, output) is None
    actor[:, 0] = 0.5 + 0.5 * np.sin(time)
    actor[:, 5] = 0.01 * np.cos(time)  # below the threshold: the tracker's noise
    output[:, 0] = 0.2 * np.sin(time)
    assert metrics.expression_correlation(actor, output) == pytest.approx(1, abs=1e-4)
    actor[:, 9] = np.where(time > 6, 1.0, 0.0)
    output[:, 9] = 0
    assert metrics.expression_correlation(actor, output) == pytest.approx(0.5, abs=1e-4)
