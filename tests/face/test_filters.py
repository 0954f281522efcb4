"""The filters: steady at rest, open for a blink, and independent of the frame rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reenact.config import SmoothingSettings
from reenact.face.filters import ExpressionFilter, OneEuroFilter, PoseFilter
from reenact.face.geometry import canonical_face, rotation_matrix, rotation_vector
from reenact.face.regions import lid_gaps
from reenact.types import Array, Pose
from support.faces import deviation_of

FPS = 30.0
SETTINGS = SmoothingSettings()
LEFT_EYE = slice(9, 12)


def filtered(shapes: Array, fps: float = FPS, settings: SmoothingSettings | None = None) -> Array:
    one = ExpressionFilter()
    chosen = settings or SETTINGS
    return np.stack([one.step(shape, 1 / fps, chosen) for shape in shapes])


def blinking(depths: list[float], frames: int = 60) -> Array:
    amounts = np.zeros(frames, np.float32)
    amounts[30 : 30 + len(depths)] = depths
    blink = deviation_of(blink_left=1)
    return np.asarray(canonical_face() + amounts[:, None, None] * blink, dtype=np.float32)


def closing(shapes: Array) -> Array:
    gaps = np.stack([lid_gaps(shape)[LEFT_EYE].mean() for shape in shapes])
    return np.asarray(gaps[0] - gaps)


@pytest.mark.parametrize("depths", [[0.6, 1.0, 0.6], [0.3, 1.0, 0.7], [1.0, 1.0, 1.0]])
def test_a_blink_of_three_frames_survives(depths: list[float]) -> None:
    shapes = blinking(depths)
    before, after = closing(shapes), closing(filtered(shapes))
    assert after.max() >= 0.8 * before.max()
    first_in = int(np.argmax(before >= 0.5 * before.max()))
    first_out = int(np.argmax(after >= 0.5 * before.max()))
    assert first_out - first_in <= 1
    assert after[40] < 0.1 * before.max()


def test_a_slow_wink_is_not_late() -> None:
    """Only the lids of one eye move, for half a second down and half a second up."""
    ramp = 1 - np.abs(np.linspace(-1, 1, 31))
    shapes = blinking(ramp.tolist(), frames=75)
    before, after = closing(shapes), closing(filtered(shapes))
    assert after.max() >= 0.9 * before.max()
    assert np.corrcoef(before[30:61], after[30:61])[0, 1] > 0.95


def test_a_still_noisy_face_is_three_times_steadier() -> None:
    rng = np.random.default_rng(3)
    shapes = canonical_face() + rng.normal(0, 0.004, (150, 478, 3)).astype(np.float32)
    steady = filtered(shapes)[30:]
    assert (steady - canonical_face()).std() <= 0.004 / 3
    assert np.diff(steady, axis=0).std() <= np.diff(shapes, axis=0).std() / 3


def opening(shapes: Array) -> Array:
    return np.asarray(shapes[:, 14, 1] - shapes[:, 13, 1])


def speaking(amounts: Array) -> Array:
    jaw = deviation_of(mouth_open=1)
    return np.asarray(canonical_face() + amounts[:, None, None] * jaw, np.float32)


def test_a_mouth_that_rests_in_a_dark_room_does_not_flap() -> None:
    """The landmarks of a noisy picture move together, by .02 iod and more."""
    rng = np.random.default_rng(5)
    units = [deviation_of(**{name: 1.0}) for name in ("mouth_open", "smile_left", "pucker")]
    shapes = canonical_face() + np.tensordot(rng.normal(0, 0.07, (180, 3)), units, 1)
    dark = shapes.astype(np.float32)
    before, after = (np.diff(opening(one)[60:]).std() for one in (dark, filtered(dark)))
    assert before > 0.03
    assert after < before / 2


@pytest.mark.parametrize("fps", [12.5, 25.0])
@pytest.mark.parametrize("noise", [0.0, 0.04])
def test_speech_is_not_taken_for_noise(fps: float, noise: float) -> None:
    time_s = np.arange(0, 8, 1 / fps)
    said = np.maximum(np.sin(2 * np.pi * 3 * time_s) + np.sin(2 * np.pi * 0.7 * time_s), 0) / 2
    seen = said + np.random.default_rng(8).normal(0, noise, len(said))
    wanted, shown = opening(speaking(said)), opening(filtered(speaking(seen), fps))
    assert np.corrcoef(wanted, shown)[0, 1] > 0.97
    assert np.polyfit(wanted, shown, 1)[0] > 0.93


def test_blinks_that_last_two_pictures_do_not_close_the_filter() -> None:
    amounts = np.zeros(150, np.float32)
    for first in range(20, 140, 20):
        amounts[first : first + 2] = 1.0, 0.5
    blink = deviation_of(blink_left=1)
    shapes = np.asarray(canonical_face() + amounts[:, None, None] * blink, np.float32)
    before, after = closing(shapes), closing(filtered(shapes, 15.0))
    assert after[140 - 20] > 0.8 * before.max()


def test_a_blink_opens_the_filter_of_its_own_eye_only() -> None:
    rng = np.random.default_rng(4)
    noise = rng.normal(0, 0.004, (60, 478, 3)).astype(np.float32)
    mouth = [61, 291, 0, 17, 13, 14]
    still = filtered(canonical_face() + noise)[:, mouth]
    blink = filtered(blinking([0.6, 1, 0.6]) + noise)[:, mouth]
    np.testing.assert_allclose(blink, still, atol=2e-3)


def test_the_frame_rate_does_not_change_the_result() -> None:
    smile = deviation_of(smile_left=1)

    def after_half_a_second(fps: float) -> float:
        times = np.arange(0, 0.5, 1 / fps)
        amounts = np.minimum(times / 0.3, 1).astype(np.float32)
        shapes = canonical_face() + amounts[:, None, None] * smile
        return float((filtered(shapes, fps)[-1] - canonical_face())[291, 1] / smile[291, 1])

    assert after_half_a_second(60) == pytest.approx(after_half_a_second(20), abs=0.08)


def test_a_repeated_time_returns_the_last_value_and_a_long_gap_the_new_one() -> None:
    one = OneEuroFilter()
    one.step(np.zeros(4, np.float32), 0.0, 1.0, 0.0)
    ones = np.ones(4, np.float32)
    held = one.step(ones, 0.0, 1.0, 0.0)
    assert np.array_equal(held, np.zeros(4))
    assert np.array_equal(one.step(ones, 2.0, 1.0, 0.0), ones)


def test_a_low_pass_has_its_cut_off() -> None:
    one = OneEuroFilter()
    times = np.arange(0, 20, 0.005)
    wave = np.sin(2 * np.pi * 2.0 * times).astype(np.float32)
    out = np.array([one.step(wave[i : i + 1], 0.005, 2.0, 0.0)[0] for i in range(len(times))])
    assert np.abs(out[len(out) // 2 :]).max() == pytest.approx(np.sqrt(0.5), abs=0.03)


def still_poses(rng: np.random.Generator) -> list[Pose]:
    return [
        Pose(
            rotation_matrix(rng.normal(0, 0.004, 3).astype(np.float32)),
            np.array([128, 120, 0], np.float32) + rng.normal(0, 0.25, 3).astype(np.float32),
            60.0 * float(np.exp(rng.normal(0, 0.003))),
        )
        for _ in range(150)
    ]


def test_a_still_head_is_steadier_in_rotation_translation_and_scale() -> None:
    one = PoseFilter()
    raw = still_poses(np.random.default_rng(5))
    out = [one.step(pose, 1 / FPS, SETTINGS) for pose in raw][30:]
    for value in (
        lambda pose: rotation_vector(pose.rotation),
        lambda pose: pose.translation,
        lambda pose: np.array([np.log(pose.scale)]),
    ):
        before = np.stack([value(pose) for pose in raw[30:]]).std(axis=0).mean()
        after = np.stack([value(pose) for pose in out]).std(axis=0).mean()
        assert after < before / 2


def test_a_turning_head_lags_less_than_a_tenth_of_a_second() -> None:
    one = PoseFilter()
    speed = 1.5
    times = np.arange(0, 0.6, 1 / FPS)
    out = [
        one.step(
            Pose(
                rotation_matrix(np.array([0, speed * t, 0], np.float32)),
                np.zeros(3, np.float32),
                60.0,
            ),
            1 / FPS,
            SETTINGS,
        )
        for t in times
    ]
    behind = speed * times[-1] - rotation_vector(out[-1].rotation)[1]
    assert 0 <= behind / speed < 0.1
    for pose in out:
        np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-4)


def test_reset_forgets() -> None:
    one = ExpressionFilter()
    one.step(canonical_face(), 0.0, SETTINGS)
    one.reset()
    moved = canonical_face() + 1
    assert np.array_equal(one.step(moved, 1 / FPS, SETTINGS), moved)


@pytest.mark.parametrize("gap_s", [None, 2.0])
def test_whoever_comes_after_a_reset_or_a_gap_is_filtered_as_from_the_start(
    gap_s: float | None,
) -> None:
    """What counts as rest depends on the size of the face that is seen, not of an earlier one."""
    used, new = PoseFilter(), PoseFilter()
    for pose in still_poses(np.random.default_rng(6)):
        used.step(replace(pose, scale=pose.scale / 5), 1 / FPS, SETTINGS)
    if gap_s is None:
        used.reset()
    for number, pose in enumerate(still_poses(np.random.default_rng(7))[:30]):
        dt_s = (gap_s or 0.0) if number == 0 else 1 / FPS
        one, other = (each.step(pose, dt_s, SETTINGS) for each in (used, new))
        np.testing.assert_allclose(one.translation, other.translation, atol=1e-3)


@pytest.mark.faces
def test_real_clips_keep_their_motion(faces_dir: Path) -> None:
    from reenact.training.deformation_transfer import load_motions

    for motion in load_motions(faces_dir / "val"):
        out = filtered(motion.shapes, fps=25.0)
        gaps = np.stack([lid_gaps(s).mean() for s in motion.shapes])
        smooth = np.stack([lid_gaps(s).mean() for s in out])
        assert np.corrcoef(gaps, smooth)[0, 1] > 0.95
        mouth = motion.shapes[:, 14, 1] - motion.shapes[:, 13, 1]
        mouth_out = out[:, 14, 1] - out[:, 13, 1]
        assert np.corrcoef(mouth, mouth_out)[0, 1] > 0.97
