"""The example plugins, installed as wheels beside the installed program, in a fresh environment."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.testing.moving_portrait import moving_portrait, write_video
from reenact.testing.weights import people
from support.environment import Environment, build_wheel
from support.program import repository

EXAMPLES = ("tint", "folder_source", "frames_sink")

LANDMARKS = """
[points]
left_eye_outer = [70, 100]
left_eye_inner = [105, 102]
right_eye_inner = [150, 102]
right_eye_outer = [185, 100]
nose_tip = [128, 150]
mouth_left = [98, 180]
mouth_right = [158, 180]
chin = [128, 225]
"""

pytestmark = pytest.mark.xdist_group("plugins")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The program and the three examples."""
    folder = tmp_path_factory.mktemp("installed")
    projects = [repository(), *(repository() / "examples" / name for name in EXAMPLES)]
    wheels = [build_wheel(project, folder) for project in projects]
    variables = {"REENACT_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1"}
    return Environment(folder / "environment", wheels, variables)


@pytest.mark.parametrize(
    "path",
    [
        path
        for name in EXAMPLES
        for pattern in ("*.toml", "*.py")
        for path in (repository() / "examples" / name).glob(pattern)
    ],
    ids=lambda path: path.name,
)
def test_the_document_shows_them_whole(path: Path) -> None:
    shown = (repository() / "docs" / "plugins.md").read_text(encoding="utf-8")
    language = {".toml": "toml", ".py": "python"}[path.suffix]
    assert f"```{language}\n{path.read_text(encoding='utf-8')}```\n" in shown


@pytest.mark.slow
def test_they_are_listed_with_their_settings(installed: Environment) -> None:
    listed = installed.run("reenact", "plugins")
    for line in ("folder:FOLDER", "frames:FOLDER", "tint"):
        assert re.search(rf"^  {line} ", listed, re.M), listed
    shown = installed.run("reenact", "live", "--help")
    for setting in ("source.folder.fps", "sink.frames.every", "renderer.tint.strength"):
        assert f"  {setting} (" in shown


@pytest.mark.slow
def test_they_pass_the_contract_tests(installed: Environment) -> None:
    words = ["--pyargs", "reenact.testing", "-k", "tint] or folder] or frames]", "-q"]
    said = installed.run("pytest", *words, "-p", "no:cacheprovider", "-p", "no:xdist")
    assert re.search(r"\b1\d passed", said), said
    assert "skipped" not in said


@pytest.mark.slow
def test_the_generator_is_trained_exported_and_evaluated(installed: Environment) -> None:
    folder = Path("run").absolute()
    Path("tint.toml").write_text(
        f'recipe = "tint"\nfolder = "{folder.as_posix()}"\nsteps = 2\nworkers = 0\n[settings]\n'
        f'train = "{(people() / "train").as_posix()}"\nval = "{(people() / "val").as_posix()}"\n',
        encoding="utf-8",
    )
    installed.run("reenact", "train", "tint.toml")
    weights = str(folder / "best.safetensors")
    words = ["--renderer", "tint", "--weights", weights, "--format", "openvino"]
    assert "tint.xml" in installed.run("reenact", "export", "exported", *words)
    words = ["--data", str(people() / "val"), "--limit", "1", "--size", "128", "--json", "out.json"]
    table = installed.run("reenact", "evaluate", "--renderer", f"tint={weights}", *words)
    assert "| tint |" in table


@pytest.mark.slow
def test_the_generator_is_picked_trained_on_a_target_and_run_live(installed: Environment) -> None:
    """A face without features is one that the program's own generator spoils."""
    cv2.imwrite("plain.png", np.full((256, 256, 3), 128, np.uint8))
    Path("plain.toml").write_text(LANDMARKS, encoding="utf-8")
    words = ["--from", "plain.png", "--landmarks", "plain.toml", "--yes"]
    installed.run("reenact", "target", "create", "plain", *words)
    assert "renderer: tint" in installed.run("reenact", "target", "show", "plain")

    images, _ = moving_portrait()
    yellowish = (images * np.array([1.0, 0.9, 0.5])).astype(np.uint8)
    write_video(Path("talk.mp4"), [images[0], *yellowish[1:]])
    installed.run("reenact", "target", "create", "me", "--from", "talk.mp4", "--yes")
    told = installed.run("reenact", "target", "train", "me", "--renderer", "tint", "--minutes", "1")
    assert "in use from now on" in told
    assert "renderer: tint" in installed.run("reenact", "target", "show", "me")

    Path("acted").mkdir()
    for index, image in enumerate(images):
        cv2.imwrite(f"acted/{index:03}.png", image[..., ::-1])
    words = ["--source", "folder:acted", "--target", "me", "--sink", "frames:drawn"]
    words += ["--set", "renderer.tint.strength=0.5", "--set", "sink.frames.every=2"]
    installed.run("reenact", "live", *words, "--report", "live.json")
    assert '"renderer": "tint"' in Path("live.json").read_text(encoding="utf-8")
    drawn = sorted(Path("drawn").glob("*.png"))
    assert [path.stem for path in drawn] == [f"{index:06}" for index in range(0, len(images), 2)]
