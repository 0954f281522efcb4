from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.cli.main import main
from reenact.errors import SourceError, TargetError
from reenact.targets.library import confirm_consent, confirm_removal, open_target
from reenact.targets.store import TargetStore
from reenact.types import Tracker
from support.portraits import astronaut, box_target, smooth_picture, write_jpeg


@pytest.fixture
def store(tmp_path: Path) -> TargetStore:
    return TargetStore(tmp_path / "targets")


def no_tracker() -> Tracker:
    raise AssertionError("no face needs to be found")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_stored_target_opens_without_a_tracker(store: TargetStore) -> None:
    store.create(box_target(smooth_picture((320, 240)), 60, 20, 160, name="me"))
    target = open_target("me", store=store, make_tracker=no_tracker)
    assert target.name == "me"
    assert target.crop_size == 256
    assert open_target("me", 128, store=store, make_tracker=no_tracker).crop_size == 128


def test_the_built_in_target_needs_no_making(store: TargetStore) -> None:
    target = open_target("astronaut", 256, store=store)
    assert target.references.shape == (1, 256, 256, 3)
    assert target.plate.shape == (640, 640, 3)  # head and shoulders, enlarged
    shrunk = cv2.resize(target.plate, (300, 300), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(shrunk - astronaut()[:300, 74:374]).mean() < 3
    assert "public domain" in target.metadata["consent"]
    assert store.list() == ()


def test_a_photo_is_made_into_a_target_on_the_fly(
    store: TargetStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_jpeg(tmp_path / "photo of me.jpg", astronaut())
    with caplog.at_level(logging.WARNING):
        target = open_target(str(path), store=store)
    assert target.name == "photo of me"
    assert target.metadata["consent"].startswith("not asked")
    assert "was not asked" in caplog.text
    assert store.list() == ()


def test_an_unknown_target_names_those_that_exist(store: TargetStore, tmp_path: Path) -> None:
    store.create(box_target(smooth_picture((320, 240)), 60, 20, 160, name="me"))
    with pytest.raises(TargetError, match=r"no target and no file 'mee'.*me, astronaut"):
        open_target("mee", store=store, make_tracker=no_tracker)
    with pytest.raises(SourceError, match="folder"):
        open_target(str(tmp_path), store=store)


@pytest.mark.parametrize("answer", ["y\n", "Yes\n", " YES \n"])
def test_asked_in_a_terminal_and_confirmed(answer: str) -> None:
    stdout = Terminal()
    note = confirm_consent("Eileen", False, Terminal(answer), stdout)
    assert note == "confirmed in the terminal"
    assert stdout.getvalue().count("?") == 1
    assert "Eileen" in stdout.getvalue()


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "perhaps\n"])
def test_any_other_answer_is_a_refusal(answer: str) -> None:
    with pytest.raises(TargetError, match="Eileen was not made"):
        confirm_consent("Eileen", False, Terminal(answer), Terminal())


def test_not_asked_without_a_terminal_or_with_yes(caplog: pytest.LogCaptureFixture) -> None:
    stdout = io.StringIO()
    with caplog.at_level(logging.INFO):
        assert confirm_consent("Eileen", False, io.StringIO("n\n"), stdout).startswith("not asked")
        assert confirm_consent("Eileen", True, Terminal("n\n"), stdout).startswith("confirmed")
    assert stdout.getvalue() == ""
    assert caplog.text.count("Eileen") == 2


@pytest.fixture
def laborious(store: TargetStore, tmp_path: Path) -> TargetStore:
    """Two targets: `anna` has weights of its own and footage, `plain` has neither."""
    footage, weights = tmp_path / "footage", tmp_path / "trained.safetensors"
    footage.mkdir()
    (footage / "talk.mp4").write_bytes(b"a clip")
    weights.write_bytes(b"weights")
    anna = box_target(smooth_picture((320, 240)), 60, 20, 160, name="anna")
    store.create(anna, weights, footage)
    store.create(replace(anna, name="plain"))
    return store


def test_removing_weights_and_footage_is_asked_in_a_terminal(laborious: TargetStore) -> None:
    stdout = Terminal()
    confirm_removal(laborious, "anna", False, Terminal("y\n"), stdout)
    assert stdout.getvalue() == "Remove anna with its trained weights and footage? [y/N] "
    for answer in ("n\n", "\n", ""):
        with pytest.raises(TargetError, match="anna was not removed"):
            confirm_removal(laborious, "anna", False, Terminal(answer), Terminal())
    laborious.attach_weights("plain", laborious.folder_of("anna") / "weights.safetensors", "warp")
    with pytest.raises(TargetError, match="plain was not removed"):
        confirm_removal(laborious, "plain", False, Terminal("n\n"), Terminal())


def test_other_removals_are_not_asked(laborious: TargetStore) -> None:
    stdout = Terminal()
    confirm_removal(laborious, "plain", False, Terminal("n\n"), stdout)
    confirm_removal(laborious, "anna", True, Terminal("n\n"), stdout)
    confirm_removal(laborious, "anna", False, io.StringIO("n\n"), stdout)
    assert stdout.getvalue() == ""
    with pytest.raises(TargetError, match="no target 'nobody'"):
        confirm_removal(laborious, "nobody", False, Terminal("y\n"), stdout)


@pytest.mark.parametrize(("words", "code"), [([], 2), (["--yes"], 0)])
def test_remove_asks_first(
    words: list[str],
    code: int,
    laborious: TargetStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REENACT_DATA", str(tmp_path))
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert main(["target", "remove", "anna", *words]) == code
    assert ("anna" in laborious.list()) == (code == 2)
