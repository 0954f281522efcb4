"""The README's first command, from the packaged actor's clip to the finished file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from reenact.cli.demo import open_demo
from reenact.cli.main import main
from reenact.config import Settings, TrackingSettings
from reenact.evaluation.metrics import expression_correlation
from reenact.face.action_units import action_units
from reenact.face.geometry import estimate_pose, region_mask, to_face_frame
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.face.topology import ACTION_UNITS, LIPS_INNER
from reenact.types import Array, Frame, Image

pytestmark = pytest.mark.slow

AT_REST = 20
"""The actor is at rest in so many frames at the start."""


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
    """Action units over time of the actor and of the target, (N, 17) each."""
    side = pictures[0].shape[0]
    return (
        tracked_units([picture[:, :side] for picture in pictures]),
        tracked_units([picture[:, side:] for picture in pictures]),
    )


def tracked_units(images: list[Image]) -> Array:
    """Return the action units of each picture, (N, 17); NaN if no face was found."""
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


def white_in_mouth(picture: Image) -> int:
    """Return the number of bright, nearly colourless px between the target's lips."""
    side = picture.shape[0]
    image = np.ascontiguousarray(picture[:, side:])
    tracker = MediaPipeTracker(TrackingSettings(), static=True)
    landmarks = tracker.track(Frame(image, 0.0, 0))
    tracker.close()
    assert landmarks is not None
    inside = region_mask(landmarks.points, LIPS_INNER, side) > 127
    _, saturation, value = np.moveaxis(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[inside], -1, 0)
    return int(((saturation < 70) & (value > 130)).sum())


def test_the_file_is_complete_and_marked_as_synthetic(video: Path, pictures: list[Image]) -> None:
    with av.open(str(video)) as container:
        assert container.duration is not None
        assert container.duration / av.time_base == pytest.approx(12.0, abs=0.04)
        assert "synthetic" in " ".join([*container.metadata, *container.metadata.values()]).lower()
    assert len(pictures) == 300
    assert pictures[0].shape == (640, 1280, 3)


def test_the_target_alone_is_written_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "alone.mp4"
    assert main(["demo", "--out", str(out), "--set", "output.show_raw_camera=false"]) == 0
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert stream.width == stream.height
    assert f"The target: {out}" in capsys.readouterr().out


@pytest.mark.parametrize("asked_for", [None, "auto"])
def test_the_users_stored_neutral_is_not_the_demo_actors(
    tmp_path: Path, asked_for: Literal["auto"] | None
) -> None:
    settings = Settings.model_validate({"actor": {"neutral": asked_for} if asked_for else {}})
    session = open_demo(tmp_path / "demo.mp4", settings)
    try:
        assert session.settings.actor.neutral == (asked_for or "fresh")
    finally:
        session.close()


def test_the_targets_face_is_tracked_throughout(units: tuple[Array, Array]) -> None:
    for rows in units:
        assert np.isfinite(rows).all(axis=1).mean() >= 0.98


def test_the_target_does_what_the_actor_does(units: tuple[Array, Array]) -> None:
    actor, target = (rows[np.isfinite(np.hstack(units)).all(axis=1)] for rows in units)
    together = expression_correlation(actor, target)
    assert together is not None
    # The tracker sees little of brows that rise while the mouth opens wide, and reads lips of a
    # moving head less exactly.
    assert together >= 0.77


@pytest.mark.parametrize(
    ("unit", "least"),
    [
        # Lips are drawn to 0.66, but the tracker takes the tongue for the lower lip.
        ("mouth_open", 0.3),
        ("smile_left", 0.45),
        ("smile_right", 0.45),
        ("blink_left", 0.4),
        ("blink_right", 0.45),
    ],
)
def test_lips_and_lids_move_far_enough_to_be_seen(
    unit: str, least: float, units: tuple[Array, Array]
) -> None:
    """The target's motion as a share of the actor's: the slope of a line through all frames."""
    seen = np.isfinite(np.hstack(units)).all(axis=1)
    actor, target = (rows[seen, ACTION_UNITS.index(unit)] for rows in units)
    assert target[:AT_REST].max() < 0.2
    assert np.polyfit(actor, target, 1)[0] > least


def test_a_photo_that_smiles_shows_its_teeth_only_when_the_actor_opens_the_mouth(
    pictures: list[Image], units: tuple[Array, Array]
) -> None:
    opened = int(np.nanargmax(units[1][:, ACTION_UNITS.index("mouth_open")]))
    white = [white_in_mouth(pictures[frame]) for frame in (AT_REST // 2, opened)]
    assert white[0] < 0.3 * white[1]
