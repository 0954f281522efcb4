"""The README's first command, from the packaged actor's clip to the finished file."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from reenact.action_units import action_units
from reenact.cli import main
from reenact.config import TrackingSettings
from reenact.facemesh import ACTION_UNITS
from reenact.geometry import estimate_pose, to_face_frame
from reenact.metrics import expression_correlation
from reenact.tracking import MediaPipeTracker
from reenact.types import Array, Frame, Image

AT_REST = 20
"""The actor does nothing in the first so many frames."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "demo.mp4"
    assert main(["demo", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def pictures(video: Path) -> list[Image]:
    with av.open(str(video)) as container:
        return [
            np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            for frame in container.decode(video=0)
        ]


@pytest.fixture(scope="module")
def units(pictures: list[Image]) -> tuple[Array, Array]:
    """Action units over time, (N, 17) each: of the actor on the left, of the target."""
    side = pictures[0].shape[0]
    return (
        tracked_units([picture[:, :side] for picture in pictures]),
        tracked_units([picture[:, side:] for picture in pictures]),
    )


def tracked_units(images: list[Image]) -> Array:
    """Rows of NaN where no face was found."""
    tracker = MediaPipeTracker(TrackingSettings())
    found = [
        tracker.track(Frame(np.ascontiguousarray(image), index / 25, index))
        for index, image in enumerate(images)
    ]
    tracker.close()
    rest = [landmarks.points for landmarks in found[:AT_REST] if landmarks is not None]
    first = np.median([to_face_frame(points, estimate_pose(points)) for points in rest], axis=0)
    neutral = first.astype(np.float32)
    rows: NDArray[np.float32] = np.full((len(images), len(ACTION_UNITS)), np.nan, np.float32)
    for row, landmarks in zip(rows, found, strict=True):
        if landmarks is not None:
            pose = estimate_pose(landmarks.points, neutral)
            row[:] = action_units(to_face_frame(landmarks.points, pose), neutral)
    return rows


def test_the_file_plays_whole_and_says_that_it_is_synthetic(
    video: Path, pictures: list[Image]
) -> None:
    with av.open(str(video)) as container:
        assert container.duration is not None
        assert container.duration / av.time_base == pytest.approx(12.0, abs=0.04)
        assert "synthetic" in " ".join([*container.metadata, *container.metadata.values()]).lower()
    assert len(pictures) == 300
    assert pictures[0].shape == (640, 1280, 3)


def test_the_targets_face_is_tracked_all_along(units: tuple[Array, Array]) -> None:
    for rows in units:
        assert np.isfinite(rows).all(axis=1).mean() >= 0.98


def test_the_target_does_what_the_actor_does(units: tuple[Array, Array]) -> None:
    actor, target = (rows[np.isfinite(np.hstack(units)).all(axis=1)] for rows in units)
    together = expression_correlation(actor, target)
    assert together is not None
    assert together >= 0.85


@pytest.mark.parametrize("unit", ["mouth_open", "smile_left", "smile_right", "blink_right"])
def test_lips_and_lids_move_far_enough_to_be_seen(unit: str, units: tuple[Array, Array]) -> None:
    track = np.nan_to_num(units[1][:, ACTION_UNITS.index(unit)])
    assert track[:AT_REST].max() < 0.2
    assert track.max() > 0.45
