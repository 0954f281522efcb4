"""What the documents tell a reader to type is what the program takes."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact import registry
from reenact.cli.doctor_report import CUDA_BUILD
from reenact.cli.main import main
from reenact.cli.parser import parse_arguments
from reenact.live.settings import load_settings
from reenact.targets.manual_landmarks import fit_landmarks, read_manual_landmarks
from reenact.targets.store import TargetStore
from reenact.training.recipes import read_training_file
from support.clips import write_clip
from support.documents import Command, commands, documents, toml_blocks
from support.faces import portrait_landmarks, portrait_target
from support.portraits import astronaut
from support.program import repository
from tools.settings_reference import FILE, reference

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

COMMANDS = commands()
TOML = toml_blocks()

HARMLESS = {
    ("cameras",),
    ("plugins",),
    ("target", "create"),
    ("target", "list"),
    ("target", "show"),
    ("target", "rename"),
    ("target", "export"),
    ("target", "import"),
    ("target", "remove"),
}
"""Commands that need no device and take seconds; so does `live` from file to file."""


def parsed(command: Command) -> argparse.Namespace | None:
    """Return what the real parser makes of a command; None for help, and for a mere name."""
    try:
        return parse_arguments(command.words)
    except SystemExit as ended:
        named = command.block is None and all(
            re.fullmatch("[a-z]+", word) for word in command.words
        )
        if ended.code != 0 and not named:
            raise
    with pytest.raises(SystemExit) as ended_by_help:
        parse_arguments([*command.words, "--help"])
    assert ended_by_help.value.code == 0
    return None


def parts(group: registry.Group) -> set[str]:
    """Return the names of the installed parts, and of those in the documents and in `plugins`."""
    texts = [path.read_text(encoding="utf-8") for path in repository().rglob("*/pyproject.toml")]
    projects = (tomllib.loads(text) for text in [*texts, *(text for _, text in TOML)])
    points = [file.get("project", {}).get("entry-points", {}) for file in projects]
    return set(registry.available(group)).union(*(p.get(f"reenact.{group}", {}) for p in points))


def kinds(arguments: list[str] | str | None) -> set[str]:
    """Return what stands before the first colon or equals sign."""
    every = [arguments] if isinstance(arguments, str) else arguments
    return {re.split("[:=]", argument)[0] for argument in every or []}


def test_documents_show_commands_and_toml() -> None:
    assert len(documents()) > 10
    assert len([command for command in COMMANDS if command.block is not None]) > 20
    assert TOML


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_is_one_that_the_program_takes(command: Command) -> None:
    arguments = parsed(command)
    if arguments is None:
        return
    typed = vars(arguments)
    assert kinds(typed.get("renderer")) <= parts("renderers")
    assert kinds(typed.get("sink")) <= parts("sinks")
    if command.words[:1] == ("live",):
        assert kinds([typed["source"]]) <= parts("sources")
        assert typed["target"] or typed["panel"] or command.block is None, "no target"
    config = typed.get("config")
    file = None  # the reader's own
    if config is not None and config.parts[0] in ("configs", "plugins"):
        file = repository() / config
    if command.words[:1] != ("train",) and "assignments" in typed:
        remotes = [text for text in typed["assignments"] if text.startswith("remote.use=")]
        named = {name.strip() for text in remotes for name in text.partition("=")[2].split(",")}
        assert named <= parts("remotes")  # a plugin's page names one that may not be installed
        load_settings(file, [text for text in typed["assignments"] if text not in remotes])
    elif file is not None:
        read_training_file(file, typed["assignments"])


@pytest.mark.parametrize(("document", "text"), TOML, ids=[document for document, _ in TOML])
def test_toml_is_what_the_program_reads(document: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "shown.toml"
    file.write_text(text, encoding="utf-8")
    content = tomllib.loads(text)
    if "points" in content:
        points = read_manual_landmarks(file)
        assert not isinstance(points, np.ndarray)
        assert np.isfinite(fit_landmarks(points, portrait_landmarks().points)).all()
    elif "project" in content:
        groups = {f"reenact.{group}" for group in registry.GROUPS}
        assert set(content["project"].get("entry-points", {})) <= groups
    elif "recipe" in content:
        read_training_file(file)
    else:
        load_settings(file)


def test_the_settings_reference_is_that_of_the_declarations() -> None:
    assert FILE.read_text(encoding="utf-8") == reference(), "python -m tools.settings_reference"


def runs_here(command: Command) -> bool:
    """Whether it needs no device, takes seconds, and names files instead of PLACEHOLDERS."""
    try:
        arguments = None if command.block is None else parsed(command)
    except SystemExit:
        return False  # told by the test above
    if arguments is None or any(re.fullmatch(r"(\w+:)?[A-Z]+", word) for word in command.words):
        return False
    if vars(arguments).get("camera"):
        return False
    if command.words[:1] == ("live",):
        return kinds([arguments.source]) <= {"video", "image"} and kinds(arguments.sink) == {"file"}
    return bool(HARMLESS & {command.words[:1], command.words[:2]})


def write_portrait(path: Path, people: int = 1) -> None:
    """Write the astronaut, so often side by side, who sways if it is to be a video."""
    picture = np.ascontiguousarray(np.tile(astronaut(), (1, people, 1)))
    if path.suffix == ".mp4":
        write_clip(path, 12, picture=lambda i: np.roll(picture, 8 * (i % 3), axis=1))
    else:
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def prepare(arguments: argparse.Namespace, document: str) -> None:
    """Make the files and the target that a command uses."""
    typed = vars(arguments)
    names = [*typed.get("sources", []), re.sub("^(video|image):", "", typed.get("source", ""))]
    names += [name for name in [typed.get("target")] if name and Path(name).suffix]
    for path in (Path(name) for name in names if name):
        write_portrait(path, int(typed["face"]) + 1 if typed.get("face", "").isdigit() else 1)
    if landmarks := typed.get("landmarks"):
        points = (text for place, text in TOML if place == document and "[points]" in text)
        landmarks.write_text(next(points), encoding="utf-8")
    store = TargetStore()
    if "sources" not in typed and "name" in typed and arguments.name not in (None, *store.list()):
        store.create(replace(portrait_target(), name=arguments.name))


RUN = [command for command in COMMANDS if runs_here(command)]
BLOCKS = dict.fromkeys((command.document, command.block) for command in RUN)


def test_some_commands_are_run() -> None:
    assert {document for document, _ in BLOCKS} >= {"README.md", "docs/targets.md"}


@pytest.mark.slow
@pytest.mark.parametrize(("document", "block"), BLOCKS)
def test_commands_that_need_no_device_run(
    document: str, block: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order in which the block has them: later ones use what earlier ones made."""
    for command in RUN:
        if (command.document, command.block) == (document, block):
            arguments = parse_arguments(command.words)
            prepare(arguments, document)
            words = [*command.words, *(["--yes"] if hasattr(arguments, "yes") else [])]
            assert main(words) == 0, f"{command}\n{capsys.readouterr().err}"


def test_the_torch_that_a_user_is_told_to_install_is_the_required_one() -> None:
    project = tomllib.loads((repository() / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    (required,) = (one for one in project["dependencies"] if one.startswith("torch=="))
    number = required.removeprefix("torch==").partition(";")[0].strip()
    told = [CUDA_BUILD, (repository() / "docs/installation.md").read_text(encoding="utf-8")]
    assert all(re.findall(r"torch (\d+[\d.]*\d)", text) == [number] for text in told)
