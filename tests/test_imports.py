"""The architecture, read from folders, imports and names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import reenact
from support.program import repository

PACKAGE = Path(reenact.__file__).parent

ROOMS: dict[str, set[str]] = {
    "face": set(),
    "sources": set(),
    "sinks": set(),
    "models": {"face"},
    "expression": {"face", "models"},
    "rendering": {"face", "models"},
    "targets": {"face", "sources", "sinks", "models", "expression", "rendering"},
}
"""What each folder may import beside itself and the modules at the top of the package."""
ROOMS["live"] = ROOMS["targets"] | {"targets"}
ROOMS["evaluation"] = ROOMS["live"] | {"live"}
ROOMS["training"] = ROOMS["evaluation"] | {"evaluation"}
ROOMS["panel"] = ROOMS["evaluation"] | {"evaluation"}
ROOMS["testing"] = ROOMS["training"] | {"training"}
ROOMS["cli"] = ROOMS["testing"] | {"panel"}

MAX_MODULES_AT_THE_TOP = 12
MAX_LINES = 500
MODULES_IN_A_ROOM = range(4, 21)

ONLY_IN = {
    "mediapipe": {"face.mediapipe_graphs"},
    "pyvirtualcam": {"sinks.virtual_camera"},
    "av": {
        "sound",
        "sources.decoded",
        "sources.video_file",
        "sinks.live_sound",
        "sinks.video_encoder",
        "sinks.video_file",
        "targets.clip_files",
    },
    "PIL": {"sinks.label", "sources.image_file"},
    "cv2_enumerate_cameras": {"sources.camera_devices"},
    "openvino": {"models.inference"},
    "pynput": {"live.hotkeys"},
    "sounddevice": {"sinks.live_sound"},
    "tqdm": {"progress"},
    "uvicorn": {"panel.server"},
}
"""Libraries that may be exchanged one day, and the modules that are all that would change."""

HEAVY = ("torch", "mediapipe", "matplotlib", "openvino", "pyvirtualcam", "skimage", "tqdm")


def modules() -> dict[str, Path]:
    """Return every module by its name below `reenact.`"""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found.pop("")
    return found


MODULES = modules()


@cache
def imported(name: str) -> frozenset[str]:
    """Return the full dotted names that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively; write the full name"
            assert node.module is not None
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return frozenset(names)


@cache
def own_imports(name: str) -> frozenset[str]:
    """Return the modules of the package that a module imports directly."""
    below = (full.removeprefix("reenact.") for full in imported(name))
    return frozenset(other for other in below if other in MODULES and other != name)


def reachable(name: str) -> set[str]:
    """Return the modules that a module imports directly or through others."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        new = own_imports(waiting.pop()) - seen
        seen |= new
        waiting.extend(new)
    return seen


def room(name: str) -> str:
    """Return the folder that a module stands in, "" for the top of the package.

    `__main__` belongs to the command line, although Python wants it at the top.
    """
    if name == "__main__":
        return "cli"
    first, _, rest = name.partition(".")
    return first if rest or (PACKAGE / first).is_dir() else ""


def test_every_folder_is_a_room() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(ROOMS)


def test_the_house_stays_small() -> None:
    assert sum(room(module) == "" for module in MODULES) <= MAX_MODULES_AT_THE_TOP
    for name in ROOMS:
        modules = [p for p in (PACKAGE / name).glob("*.py") if p.name != "__init__.py"]
        assert len(modules) in MODULES_IN_A_ROOM, f"{name} holds {len(modules)} modules"


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name: str) -> None:
    assert name not in reachable(name), f"{name} imports itself through {sorted(own_imports(name))}"
    allowed = ROOMS.get(room(name), set()) | {room(name), ""}
    wrong = {other for other in own_imports(name) if room(other) not in allowed}
    assert not wrong, f"{name} imports {sorted(wrong)}, which {room(name) or 'the top'} may not"


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_that_may_change_is_imported_in_its_place_only(library: str) -> None:
    users = {
        name for name in MODULES if library in {full.partition(".")[0] for full in imported(name)}
    }
    assert users <= ONLY_IN[library]


def python_files(*folders: str) -> list[Path]:
    """Return the Python files in folders of the repository."""
    found = [path for folder in folders for path in (repository() / folder).rglob("*.py")]
    assert found
    return sorted(found)


def in_repository(path: Path) -> str:
    return path.relative_to(repository()).as_posix()


def test_tests_stand_in_the_rooms_that_they_test() -> None:
    tests = repository() / "tests"
    folders = {path.name for path in tests.iterdir() if any(path.glob("*.py"))}
    assert folders - {"support", "guest", "plugins"} == set(ROOMS)
    at_the_top = {path.stem.removeprefix("test_") for path in tests.glob("test_*.py")}
    assert not at_the_top & {name.rpartition(".")[2] for name in MODULES if room(name)}


def test_nothing_is_imported_from_a_test() -> None:
    """What tests share stands in `support`, or is a fixture; the contract tests are shipped."""
    pattern = re.compile(
        r"^\s*(?:from|import) +(?!reenact\.testing\.)(?:\w+\.)*(?:test_|check_|conftest)", re.M
    )
    every = python_files("reenact", "tests", "tools", "plugins", "benchmarks")
    assert not [in_repository(p) for p in every if pattern.search(p.read_text(encoding="utf-8"))]


def test_no_file_is_too_long() -> None:
    every = python_files("reenact", "tests", "tools", "plugins", "benchmarks")
    lines = {in_repository(path): len(path.read_bytes().splitlines()) for path in every}
    assert not {name: count for name, count in lines.items() if count > MAX_LINES}


def test_limits_are_called_max_and_min() -> None:
    pattern = re.compile(r"\b_?(?:MOST|LEAST|LARGEST|SMALLEST)_[A-Z]")
    every = python_files("reenact", "tests", "tools", "plugins", "benchmarks")
    assert not [in_repository(p) for p in every if pattern.search(p.read_text(encoding="utf-8"))]


def test_channels_of_maps_have_names() -> None:
    """The generator's maps are not addressed by a number past x and y."""
    bare = re.compile(r"\bmaps\[[^]]*\b([3-9]|\d\d+)\b")
    assert bare.search("maps[..., 9]")
    assert bare.search("self.maps[:, 5:6]")
    assert not bare.search("maps[..., :2] + maps[0] + maps[..., Channel.SKIN]")
    drawing = python_files("reenact/rendering", "reenact/models", "reenact/training")
    assert not [in_repository(p) for p in drawing if bare.search(p.read_text(encoding="utf-8"))]


def loaded_after(code: str) -> set[str]:
    """Return which heavy libraries are loaded after running some code in a new interpreter."""
    report = f"{code}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


def test_listing_all_plugins_loads_nothing_heavy() -> None:
    code = (
        "from reenact import registry\n"
        "for group in registry.GROUPS:\n"
        "    for name in registry.available(group):\n"
        "        registry.load(group, name)"
    )
    assert loaded_after(code) == set()


def test_help_loads_nothing_heavy() -> None:
    assert loaded_after("from reenact.cli.parser import build_parser\nbuild_parser()") == set()


def test_mediapipe_loads_matplotlib_when_it_draws() -> None:
    code = "from reenact.face.mediapipe_graphs import solutions\nfound = solutions()"
    assert loaded_after(code) == {"mediapipe"}
    code += "\nassert found.drawing_styles.get_default_pose_landmarks_style()"
    assert loaded_after(code) == {"mediapipe", "matplotlib"}
