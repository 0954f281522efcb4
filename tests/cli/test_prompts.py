"""What a command asks, what counts as yes, and when it does not ask."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from reenact.cli.main import main
from reenact.cli.prompts import ask_consent, confirm_export, confirm_removal, confirm_replacement
from reenact.config import Settings
from reenact.errors import SinkError, TargetError
from reenact.targets.store import TargetStore
from reenact.testing.portrait import portrait
from support.clips import write_clip
from support.portraits import box_target, smooth_picture

REFUSALS = ["n\n", "\n", "", "perhaps\n"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def answer(monkeypatch: pytest.MonkeyPatch, text: str, *, terminal: bool = True) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(text) if terminal else io.StringIO(text))


@pytest.mark.parametrize("text", ["y\n", "Yes\n", " YES \n"])
def test_consent_is_asked_once_in_a_terminal(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, text)
    assert ask_consent("Eileen", False) == "confirmed in the terminal"
    asked = capsys.readouterr().err
    assert asked.count("?") == 1
    assert "Eileen" in asked


@pytest.mark.parametrize("text", REFUSALS)
def test_any_other_answer_is_a_refusal(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, text)
    with pytest.raises(TargetError, match="Eileen was not created"):
        ask_consent("Eileen", False)
    answer(monkeypatch, text)
    with pytest.raises(TargetError, match="anna was not removed"):
        confirm_removal("anna", ["footage"], False)


def test_nothing_is_asked_without_a_terminal_or_with_yes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer(monkeypatch, "n\n")
    assert ask_consent("Eileen", True).startswith("confirmed")
    confirm_removal("anna", ["footage"], True)
    confirm_removal("anna", [], False)
    answer(monkeypatch, "n\n", terminal=False)
    with caplog.at_level(logging.WARNING):
        assert ask_consent("Eileen", False).startswith("not asked")
    confirm_removal("anna", ["footage"], False)
    assert "Eileen" in caplog.text
    assert capsys.readouterr().err == ""


def test_a_removal_names_what_is_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, "y\n")
    confirm_removal("anna", ["trained weights", "footage"], False)
    assert capsys.readouterr().err == "Remove anna with its trained weights and footage? [y/N] "


@pytest.mark.parametrize(
    ("words", "text", "code"),
    [
        (["anna"], "n\n", 2),
        (["anna"], "y\n", 0),
        (["anna", "--yes"], "n\n", 0),
        (["plain"], "n\n", 0),
    ],
)
def test_remove_asks_before_trained_weights_and_footage_are_lost(
    words: list[str],
    text: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`anna` has weights of its own and footage, `plain` has neither."""
    footage, weights = tmp_path / "footage", tmp_path / "trained.safetensors"
    footage.mkdir()
    (footage / "talk.mp4").write_bytes(b"a clip")
    weights.write_bytes(b"weights")
    monkeypatch.setenv("REENACT_DATA", str(tmp_path))
    store = TargetStore()
    anna = box_target(smooth_picture((320, 240)), 60, 20, 160, name="anna")
    store.create(anna, weights, footage)
    store.create(replace(anna, name="plain"))
    answer(monkeypatch, text)
    assert main(["target", "remove", *words]) == code
    assert (words[0] in store.list()) == (code == 2)


@pytest.mark.parametrize("kind", ["file", "landmarks"])
def test_a_file_is_replaced_only_if_the_user_agrees(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = write_clip(tmp_path / "actor.mp4", frames=4, picture=lambda _: portrait())
    take = tmp_path / "take.mp4"
    take.write_text("an earlier take")
    words = ["live", "--source", f"video:{clip}", "--target", "astronaut"]
    words += ["--sink", f"{kind}:take.mp4", "--set", "renderer.name=warp"]
    answer(monkeypatch, "n\n")
    assert main(words) == 2
    assert "take.mp4 stays as it is" in capsys.readouterr().err
    assert take.read_text() == "an earlier take"
    answer(monkeypatch, "y\n")
    settings = Settings()
    confirm_replacement([f"{kind}:take.mp4", "window"], settings)
    assert "Replace take.mp4?" in capsys.readouterr().err
    answer(monkeypatch, "n\n")
    with pytest.raises(SinkError, match=r"take\.mp4 and actor\.mp4 stay as they are"):
        confirm_replacement([f"{kind}:take.mp4"], settings, Path("actor.mp4"))
    assert not settings.output.overwrite  # outputs that are added later are asked about themselves
    answer(monkeypatch, "", terminal=False)
    assert main(words) == 0
    assert take.read_bytes() != b"an earlier take"
    assert {path.name for path in tmp_path.iterdir()} == {"actor.mp4", "take.mp4"}


def test_an_exported_target_is_replaced_only_if_the_user_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ada.reenact-target"
    answer(monkeypatch, "n\n")
    confirm_export(path, False)
    path.touch()
    confirm_export(path, True)
    with pytest.raises(TargetError, match="stays as it is"):
        confirm_export(path, False)
    answer(monkeypatch, "y\n")
    confirm_export(path, False)
