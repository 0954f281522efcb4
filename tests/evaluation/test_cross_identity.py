"""One face moves another by the whole live path; made from a portrait and its mirror image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reenact.config import Settings
from reenact.errors import PluginError
from reenact.evaluation import runner as evaluation
from reenact.evaluation.cross_identity import pairs_of
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.single_expressions import (
    SINGLE_EXPRESSIONS,
    measure_single_expressions,
    personal_basis,
)
from reenact.expression.emotions import EMOTIONS
from reenact.face.geometry import canonical_face
from reenact.face.regions import LID_INDEX, lid_gaps
from reenact.face.topology import ACTION_UNITS
from reenact.testing.moving_portrait import write_two_people
from reenact.testing.portrait import portrait_target
from support.fakes import FakeRenderer


def test_any_first_pairs_use_everybody_equally_often() -> None:
    names = ["a__01", "a__02", "b__01", "c__01", "d__02"]
    pairs = [
        (actor.stem, target.stem)
        for actor, target in pairs_of([Path(f"{n}.mp4") for n in names], None)
    ]
    assert len(pairs) == len(set(pairs)) == 4 * 3
    assert {name for pair in pairs for name in pair} == {"a__01", "b__01", "c__01", "d__02"}
    assert all(actor != target for actor, target in pairs)
    for start in range(0, 12, 4):
        assert len({actor for actor, _ in pairs[start : start + 4]}) == 4
        assert len({target for _, target in pairs[start : start + 4]}) == 4
    assert len(pairs_of([Path(f"{n}.mp4") for n in names], 5)) == 5
    assert pairs_of([Path("a__01.mp4"), Path("a__02.mp4")], None) == []


@pytest.mark.parametrize("opening", [0.6, 1.0, 1.6])
def test_a_driven_blink_shuts_eyes_of_any_size(opening: float) -> None:
    shape = canonical_face().copy()
    upper, lower = LID_INDEX.T
    shape[upper, 1] = shape[lower, 1] - lid_gaps(shape) * np.float32(opening)
    basis = personal_basis(shape)
    for unit, eye, other in (
        ("blink_right", slice(0, 7), slice(7, 14)),
        ("blink_left", slice(7, 14), slice(0, 7)),
    ):
        gaps = lid_gaps(shape + basis[ACTION_UNITS.index(unit)])
        rest = lid_gaps(shape)
        assert abs(gaps[eye].mean()) < 0.1 * rest[eye].mean()
        assert gaps[other].mean() > 0.85 * rest[other].mean()


def test_a_single_expression_is_driven_as_an_emotion_too() -> None:
    """Generators that are driven by emotions smile when the smile alone is driven."""
    target, settings = portrait_target(), Settings()
    settings.actor.neutral = "fresh"
    renderer = FakeRenderer()
    renderer.prepare(target)
    with FaceReader() as reader:
        measure_single_expressions(
            target, renderer, reader, settings, points=target.neutral, size=(256, 256)
        )
    shown = [drive.emotion for drive in renderer.drives]
    assert np.max(shown, axis=0)[EMOTIONS.index("happy")] > 0.8


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[evaluation.Report]:
    folder = tmp_path_factory.mktemp("people")
    write_two_people(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REENACT_DATA", str(folder / "user"))
        found = evaluation.evaluate(
            ["warp"],
            folder,
            evaluation.EvaluationOptions(
                protocol="cross",
                limit=1,
                json_path=folder / "cross.json",
                sheet=folder / "cross.png",
            ),
        )
    assert json.loads((folder / "cross.json").read_text()) == found[1]
    assert (folder / "cross.png").stat().st_size > 10_000
    assert not (folder / "user").exists()
    return found


def test_the_actor_is_tracked_as_the_settings_say(tmp_path: Path) -> None:
    write_two_people(tmp_path)
    settings = Settings()
    settings.tracking.name = "own"
    options = evaluation.EvaluationOptions(protocol="cross", settings=settings)
    with pytest.raises(PluginError, match="no tracker called 'own'"):
        evaluation.evaluate(["copy"], tmp_path, options)


def test_a_warp_follows_the_actor_and_a_copy_does_not(reports: list[evaluation.Report]) -> None:
    copy, warp = (report["mean"] for report in reports)
    assert warp["tracked"] == 1
    assert warp["mouth_open_correlation"] > 0.9
    assert warp["smile_correlation"] > 0.75
    assert warp["expression_correlation"] > 0.5
    assert copy["expression_correlation"] == 0
    assert copy["fused_correlation"] == warp["fused_correlation"] > 0.81
    assert copy["expression_ceiling"] == warp["expression_ceiling"] > 0.6
    for name in SINGLE_EXPRESSIONS:
        assert copy[f"{name}_correlation"] == 0
    assert copy["alone_peak"] < 0.05
    assert warp["alone_peak"] > 0.3


def test_an_actor_near_rest_leaves_the_target_near_rest(
    reports: list[evaluation.Report],
) -> None:
    copy, warp = (report["mean"] for report in reports)
    assert copy["neutral_error"] < 1e-6
    assert warp["neutral_error"] < 0.05


def test_a_still_actor_before_a_noisy_camera_leaves_the_target_still(
    reports: list[evaluation.Report],
) -> None:
    copy, warp = (report["mean"] for report in reports)
    assert copy["rest_change"] == 0
    assert 0 < warp["rest_change"] < 0.5
