"""Runs that begin badly are measured against what is known from the whole clip."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reenact.config import FusionSettings, Settings, TrackingSettings
from reenact.errors import ConfigError, SourceError
from reenact.evaluation import wild
from reenact.evaluation.metrics import Figures
from reenact.evaluation.runner import EvaluationOptions, evaluate
from reenact.expression.actor_identity import ActorIdentity, Neutral
from reenact.face.action_units import action_unit_basis
from reenact.face.geometry import canonical_face, rotation_matrix, to_image
from reenact.face.topology import ACTION_UNITS
from reenact.types import Array, Pose
from support.fakes import FakeTracker

FRAMES = 60


def clip(path: Path, face: Array, seed: int) -> Path:
    """Store the landmarks of somebody who blinks, speaks, smiles and turns; return the video."""
    rng = np.random.default_rng(seed)
    phase = np.linspace(0, 2 * np.pi, FRAMES)
    units = np.zeros((FRAMES, len(ACTION_UNITS)), np.float32)
    for name, track in {
        "mouth_open": 0.4 * np.maximum(np.sin(5 * phase), 0),
        "smile_left": np.maximum(np.sin(phase - 1), 0),
        "smile_right": np.maximum(np.sin(phase - 1), 0),
        "brow_raise_left": np.maximum(np.sin(2 * phase), 0),
        "brow_raise_right": np.maximum(np.sin(2 * phase), 0),
        "blink_left": np.sin(3 * phase) > 0.95,
        "blink_right": np.sin(3 * phase) > 0.95,
    }.items():
        units[:, ACTION_UNITS.index(name)] = track
    shapes = face + np.tensordot(units, action_unit_basis(), 1)
    shapes = shapes + rng.normal(0, 0.002, shapes.shape)
    centre = np.array([128, 110, 0], np.float32)
    points = [
        to_image(
            shape.astype(np.float32),
            Pose(rotation_matrix(np.array([0, 0.2 * np.sin(one), 0], np.float32)), centre, 60.0),
        )
        for shape, one in zip(shapes, phase, strict=True)
    ]
    np.savez(path.with_suffix(".npz"), landmarks=np.stack(points).astype(np.float16))
    path.touch()
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    wide = canonical_face() * np.array([1.06, 1, 1], np.float32)
    long = canonical_face() * np.array([1, 1.05, 1], np.float32)
    return [clip(folder / "v1__01.mp4", wide, 1), clip(folder / "v2__01.mp4", long, 2)]


@pytest.fixture(scope="module")
def short_runs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wild, "RUN_S", 6.0)
        patch.setattr(wild, "HELD_S", 3.0)
        patch.setattr(wild, "BEFORE_S", 1.0)
        patch.setattr(wild, "DWELL_S", 2.0)
        yield


@pytest.fixture(scope="module")
def figures(clips: list[Path], short_runs: None) -> dict[str, Figures]:
    return wild.run(clips, FusionSettings(), TrackingSettings())


def test_whoever_begins_badly_is_followed_within_the_limits(figures: dict[str, Figures]) -> None:
    kinds = {name.removeprefix("all ") for name in figures if name.startswith("all ")}
    assert {"calm", "first", "turned", "second", "sobbing", "laughing"} <= kinds
    for kind in ("shut", "open", "smile", "shouting"):
        mean = figures[f"all {kind}"]
        assert mean["beyond"] == 0
        correlation, gain = mean["correlation_5s"], mean["gain"]
        assert correlation is not None
        assert gain is not None
        assert correlation > 0.9
        assert 0.75 < gain < 1.25
    for kind in ("shut", "open", "smile"):
        held = figures[f"all held_{kind}"]
        assert held["kept"] is None or held["kept"] > 0.9
        assert held["moved"] is not None
        assert held["moved"] < 0.01


def test_an_estimator_that_takes_the_first_face_for_the_neutral_is_found_out(
    clips: list[Path], figures: dict[str, Figures], monkeypatch: pytest.MonkeyPatch
) -> None:
    class FirstFace(ActorIdentity):
        def observe(self, shape: Array, pose: Pose, time_s: float, trust: float = 1.0) -> Neutral:
            if self.current is None:
                self.current = Neutral(shape, pose)
            return self.current

    monkeypatch.setattr(wild, "ActorIdentity", FirstFace)
    naive = wild.run(clips, FusionSettings(), TrackingSettings())
    for kind, figure in (("shut", "offset"), ("open", "right_after_s")):
        before, after = naive[f"all {kind}"][figure], figures[f"all {kind}"][figure]
        assert before is not None
        assert after is not None
        assert before > 1.5 * after
    held_back, followed = (one["all open"]["gain_mouth_open"] for one in (naive, figures))
    assert held_back is not None
    assert followed is not None
    assert held_back < 0.5 * followed


def test_it_is_a_protocol_of_evaluate_without_a_renderer(
    clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUN_S", "HELD_S", "BEFORE_S", "DWELL_S"):
        monkeypatch.setattr(wild, name, 2.0)
    folder = clips[0].parent
    options = EvaluationOptions(
        protocol="wild", json_path=folder / "wild.json", settings=Settings()
    )
    (report,) = evaluate([], folder, options)
    assert report["protocol"] == "wild"
    assert report["mean"]["beyond"] == 0
    assert (folder / "wild.json").is_file()


@pytest.mark.parametrize("shape", [(10, 68, 2), (478, 3)])
def test_clips_that_cannot_be_used_are_refused(
    shape: tuple[int, ...], clips: list[Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(clips[0].parent, tmp_path / "clips")
    options = EvaluationOptions(protocol="wild", settings=Settings())
    np.savez(folder / "v1__01.npz", landmarks=np.zeros(shape))
    with pytest.raises(SourceError, match="clips need"):
        evaluate([], folder, options)
    np.savez(folder / "v1__01.npz", landmarks=np.full((10, 478, 3), np.nan))
    with pytest.raises(SourceError, match="fewer than two frames with a face"):
        evaluate([], folder, options)


def test_it_needs_two_people_and_draws_no_sheet(clips: list[Path]) -> None:
    with pytest.raises(SourceError, match="two people"):
        wild.run(clips[:1], FusionSettings(), TrackingSettings())
    options = EvaluationOptions(protocol="wild", sheet=clips[0].with_suffix(".png"))
    with pytest.raises(ConfigError, match="leave out --sheet"):
        evaluate([], clips[0].parent, options)


def test_it_uses_the_tracker_of_the_settings_and_closes_it(
    clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[object] = []

    class Own(FakeTracker):
        def close(self) -> None:
            events.append("closed")

    class Spec:
        @staticmethod
        def make(settings: TrackingSettings) -> Own:
            events.append(settings)
            return Own(None)

    def fail(clip: object) -> None:
        raise SourceError("no order")

    specs = {("trackers", "own"): Spec}
    monkeypatch.setattr(wild, "load", lambda group, name: specs[group, name])
    monkeypatch.setattr(wild, "orders", fail)
    settings = Settings()
    settings.tracking = TrackingSettings(name="own", min_confidence=0.3)
    with pytest.raises(SourceError, match="no order"):
        evaluate([], clips[0].parent, EvaluationOptions(protocol="wild", settings=settings))
    assert events == [settings.tracking, "closed"]
