"""The actor's neutral is stored, checked against the face, and taken from the user."""

from __future__ import annotations

import gc
import io
import logging
import signal
import sys

import numpy as np
import pytest

from reenact.config import ActorSettings, FusionSettings, SmoothingSettings
from reenact.errors import ReenactError
from reenact.expression.fusion import Fusion
from reenact.expression.neutral_store import NeutralStore
from reenact.face.geometry import canonical_face, rotation_matrix
from reenact.face.topology import ACTION_UNITS
from reenact.storage import npz_bytes
from reenact.types import Array, Pose
from support.faces import deviation_of
from support.fusions import FPS, FRONT, another_face, in_picture, start, target_points

NAMES = list(ACTION_UNITS)


def shape_gap(first: Array, second: Array) -> float:
    """Return the mean distance of two shapes in the face frame."""
    return float(np.linalg.norm(first - second, axis=1).mean())


def stored_fusion(actor: ActorSettings) -> Fusion:
    """A fusion that keeps neutrals in the test's data folder."""
    return Fusion(
        FusionSettings(), SmoothingSettings(), target_points(), actor, neutrals=NeutralStore()
    )


def test_set_neutral_takes_the_present_face() -> None:
    fusion = start(FusionSettings(method="direct"))
    smiling = canonical_face() + deviation_of(smile_left=0.6, smile_right=0.6)
    for number in range(15):
        fusion.express(in_picture(smiling), 4 + number / FPS)
    fusion.set_neutral()
    fusion.undo_neutral()
    expression = fusion.express(in_picture(smiling), 4.5)
    assert expression.action_units[NAMES.index("smile_left")] > 0.3, "undone before the next frame"
    fusion.set_neutral()
    for number in range(60):
        expression = fusion.express(in_picture(smiling), 4.6 + number / FPS)
    assert np.linalg.norm(expression.deviation, axis=1).mean() < 1e-3
    stored = NeutralStore().load("default")
    assert stored is not None
    np.testing.assert_allclose(stored, smiling, atol=5e-3)
    fusion.undo_neutral()
    for number in range(60):
        expression = fusion.express(in_picture(smiling), 6.5 + number / FPS)
    assert expression.action_units[NAMES.index("smile_left")] > 0.3
    again = NeutralStore().load("default")
    assert again is not None
    np.testing.assert_allclose(again, canonical_face(), atol=5e-3)


def test_a_neutral_is_stored_and_used_again() -> None:
    start(neutral=another_face())
    again = stored_fusion(ActorSettings())
    smiling = another_face() + deviation_of(smile_left=0.8, smile_right=0.8)
    units = again.express(in_picture(smiling), 0.0).action_units
    assert units[NAMES.index("smile_left")] > 0.6


def test_a_fresh_neutral_does_not_become_the_stored_one() -> None:
    actor = ActorSettings(neutral="fresh")
    fusion = stored_fusion(actor)
    for number in range(100):
        fusion.express(in_picture(another_face()), number / FPS)
    assert NeutralStore().load("default") is None


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the file size")
def test_a_full_disk_under_the_neutral_is_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        fusion = stored_fusion(ActorSettings())
        for number in range(90):
            if number % 30 == 15:
                fusion.set_neutral()
            fusion.express(in_picture(another_face()), number / FPS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    told = [one.getMessage() for one in caplog.records]
    assert len(told) == 1
    assert "default.npz cannot be written" in told[0]
    gc.collect()
    assert unraisable == []


def test_a_source_that_starts_again_is_no_trouble() -> None:
    fusion = start(smooth=True)
    shape = canonical_face() + deviation_of(mouth_open=0.9)
    for number in range(10):
        expression = fusion.express(in_picture(shape), number / FPS)
    assert expression.action_units[NAMES.index("mouth_open")] > 0.8


def test_another_persons_neutral_is_not_used_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stranger = another_face() * np.array([1.15, 0.85, 1], np.float32)
    NeutralStore().save("default", stranger)
    fusion = stored_fusion(ActorSettings())
    with caplog.at_level(logging.WARNING):
        for number in range(150):
            expression = fusion.express(in_picture(canonical_face()), number / FPS)
    assert "The neutral stored for the actor 'default' does not fit this face" in caplog.text
    assert np.linalg.norm(expression.deviation, axis=1).mean() < 0.005


def test_the_actors_neutral_replaces_another_persons_that_was_stored() -> None:
    NeutralStore().save("default", another_face() * np.array([1.15, 0.85, 1], np.float32))
    fusion = stored_fusion(ActorSettings())
    for number in range(120):
        steps = number // 6
        spoken = deviation_of(mouth_open=0.2 * (steps % 4), smile_left=0.2 * (steps // 4))
        fusion.express(in_picture(canonical_face() + spoken), number / FPS)
    stored = NeutralStore().load("default")
    assert stored is not None
    assert shape_gap(stored, canonical_face()) < 0.05


TURNED = Pose(rotation_matrix(np.array([0, 0.5, 0], np.float32)), FRONT.translation, FRONT.scale)
CUT_OFF = Pose(FRONT.rotation, np.array([20, 240, 0], np.float32), FRONT.scale)


@pytest.mark.parametrize(
    ("pose", "source", "told"),
    [
        (FRONT, "auto", True),
        (TURNED, "auto", False),
        (CUT_OFF, "auto", False),
        (FRONT, "stored", False),
    ],
    ids=["front", "turned", "cut off", "the user insists"],
)
def test_only_a_whole_frontal_face_shows_that_the_neutral_is_another_persons(
    pose: Pose, source: str, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    NeutralStore().save("default", another_face() * np.array([1.15, 0.85, 1], np.float32))
    fusion = stored_fusion(ActorSettings.model_validate({"neutral": source}))
    for number in range(30):
        fusion.express(in_picture(canonical_face(), pose), number / FPS)
    assert ("does not fit this face" in caplog.text) == told


def test_whoever_comes_after_the_actor_gets_a_neutral_of_their_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fusion = start()
    other = another_face() * np.array([1.15, 0.85, 1], np.float32)
    for number in range(60):
        fusion.express(in_picture(other), 4 + number / FPS)
    assert caplog.messages == []  # as long as the face was not lost
    before = fusion.actor_neutral
    assert before is not None
    fusion.reset()
    for number in range(60):
        fusion.express(in_picture(other), 7 + number / FPS)
    assert "The neutral seen before does not fit this face" in caplog.text
    assert fusion.actor_neutral is not None
    assert shape_gap(fusion.actor_neutral, other) < 0.85 * shape_gap(before, other)


def test_what_is_wrong_with_a_neutral_is_told(caplog: pytest.LogCaptureFixture) -> None:
    fusion = start()
    assert caplog.messages == []
    shut = canonical_face() + deviation_of(blink_left=1, blink_right=1)
    for number in range(15):
        fusion.express(in_picture(shut), 4 + number / FPS)
    fusion.set_neutral()
    fusion.express(in_picture(shut), 4.6)
    assert "The neutral was taken with shut eyes" in caplog.text


def test_only_the_stored_neutral_needs_a_stored_neutral() -> None:
    actor = ActorSettings(neutral="stored", name="nobody yet")
    with pytest.raises(ReenactError, match=r"No neutral is stored for the actor 'nobody yet'"):
        stored_fusion(actor)


def array_file() -> bytes:
    content = io.BytesIO()
    np.save(content, np.zeros((478, 3), np.float32))
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an archive",
        b"PK\x03\x04 broken",
        array_file(),
        npz_bytes(neutral=np.full((478, 3), "text")),
    ],
    ids=["empty", "text", "cut", "npy", "words"],
)
def test_a_damaged_neutral_is_found_anew(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = NeutralStore().path("default")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ReenactError, match="delete it"):
        NeutralStore().load("default")
    with caplog.at_level(logging.WARNING):
        fusion = stored_fusion(ActorSettings())
    assert fusion.actor_neutral is None
    assert "damaged" in caplog.text
    with pytest.raises(ReenactError, match="delete it"):
        stored_fusion(ActorSettings(neutral="stored"))


@pytest.mark.parametrize("name", ["me", "../../etc/passwd", "Zoë & Max", ".", "a" * 64])
def test_any_name_gives_a_file_inside_the_folder(name: str) -> None:
    NeutralStore().save(name, canonical_face())
    assert NeutralStore().path(name).parent.name == "actors"
    stored = NeutralStore().load(name)
    assert stored is not None
    np.testing.assert_array_equal(stored, canonical_face())
    assert not list(NeutralStore().path(name).parent.glob("*.part"))


def test_a_reset_keeps_the_neutral_and_drops_the_filters() -> None:
    fusion = start(smooth=True)
    fusion.reset()
    shape = canonical_face() + deviation_of(mouth_open=0.9)
    expression = fusion.express(in_picture(shape), 100.0)
    assert expression.action_units[NAMES.index("mouth_open")] > 0.8


def test_actors_whose_names_look_alike_have_their_own_neutrals() -> None:
    names = ["Ann B", "Ann-B", "Ann/B", "Änn B", "x" * 300, "x" * 299, "", "actor"]
    paths = [NeutralStore().path(name) for name in names]
    assert len(set(paths)) == len(names)
    for number, name in enumerate(names):
        NeutralStore().save(name, canonical_face() + np.float32(number))
    found = [NeutralStore().load(name) for name in names]
    for number, neutral in enumerate(found):
        assert neutral is not None
        np.testing.assert_allclose(neutral, canonical_face() + number, atol=1e-5)


@pytest.mark.parametrize("neutral", [np.full((478, 3), np.nan), np.zeros((468, 3))])
def test_a_stored_neutral_that_is_no_face_is_refused(neutral: Array) -> None:
    path = NeutralStore().path("default")
    path.parent.mkdir(parents=True)
    np.savez(path, neutral=neutral)
    with pytest.raises(ReenactError, match="is not a face; delete it"):
        NeutralStore().load("default")
