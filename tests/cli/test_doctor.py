"""The doctor on this machine, and with parts that are broken on purpose."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement
from safetensors.numpy import save_file

from reenact.cli import doctor
from reenact.cli.doctor_report import REMEDIES, Check, exit_code, print_checks, remedy
from reenact.sources import camera_devices as cameras

PARTS = {
    "python", "packages", "cv2", "mediapipe", "models", "data folder", "camera", "virtual camera",
    "display", "OpenVINO", "CUDA", "OBS", "OBS source", "OBS remote control",
}  # fmt: skip


def run_with(tmp_path: Path, modules: dict[str, str], code: str = "") -> dict[str, Check]:
    """Run in a new interpreter that finds these modules first; return its checks by name."""
    for name, text in modules.items():
        (tmp_path / f"{name}.py").write_text(text)
    program = (
        "import json, sys\nfrom dataclasses import asdict\nfrom reenact.cli import doctor\n"
        f"{code}\nchecks = doctor.run()\n"
        "print('CHECKS' + json.dumps([asdict(check) for check in checks]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("CHECKS")]
    checks = [Check(**fields) for fields in json.loads(line.removeprefix("CHECKS"))]
    return {check.name: check for check in checks}


def test_every_part_is_checked_and_missing_ones_have_a_remedy() -> None:
    found = {check.name: check for check in doctor.run()}
    assert set(found) == PARTS
    for name in ("python", "packages", "cv2", "mediapipe", "OpenVINO"):
        assert found[name].status == "ok", found[name]
    assert re.search("CPU.*FP32", found["OpenVINO"].detail)
    for check in found.values():
        assert check.status in ("ok", "missing", "warning")
        assert check.detail
        assert "\n" not in check.detail + check.remedy
        assert check.remedy or check.status == "ok"


@pytest.mark.skipif(doctor._has_nvidia_driver(), reason="torch is asked about the NVIDIA card")
def test_torch_is_not_loaded_without_a_driver() -> None:
    code = (
        "import sys\nfrom reenact.cli import doctor\n"
        "doctor.run()\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_broken_libraries_are_reported_and_hide_nothing(tmp_path: Path) -> None:
    checks = run_with(
        tmp_path,
        {
            "openvino": "raise ImportError('libopenvino.so: cannot open shared object file')",
            "mediapipe": "raise TypeError('Descriptors cannot be created directly')",
            "pyvirtualcam": "raise ImportError('no wheel')",
        },
    )
    assert set(checks) == PARTS
    assert checks["OpenVINO"].status == "missing"
    assert "libopenvino.so" in checks["OpenVINO"].detail
    assert not checks["OpenVINO"].required
    assert checks["mediapipe"].status == "missing"
    assert checks["mediapipe"].required
    assert exit_code(checks.values()) == 2


def test_opencv_without_its_system_library_is_a_missing_part(tmp_path: Path) -> None:
    words = "libGL.so.1: cannot open shared object file: No such file or directory"
    checks = run_with(tmp_path, {"cv2": f"raise ImportError({words!r})"})
    assert set(checks) >= {"python", "packages", "cv2", "OBS"}
    assert checks["cv2"].status == "missing"
    assert "libGL.so.1" in checks["cv2"].detail
    assert checks["cv2"].remedy == remedy("cv2")


def test_numpy_2_and_missing_packages_are_reported(tmp_path: Path) -> None:
    shadowed = {"numpy": "2.1.0", "opencv_contrib_python": "4.10.0.84", "opencv_python": "4.9.0.80"}
    for name, version in shadowed.items():
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
        )
    hide = (
        "from importlib import metadata\nreal = metadata.version\n"
        "def version(name):\n"
        "    if name == 'tqdm': raise metadata.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "metadata.version = version"
    )
    checks = run_with(tmp_path, {}, hide)
    assert checks["packages"].status == "missing"
    assert "numpy is 2.1.0" in checks["packages"].detail
    assert "tqdm is not installed" in checks["packages"].detail
    assert "opencv-contrib-python is 4.10.0.84, not ==4.11" in checks["packages"].detail
    assert checks["cv2"].status == "warning"
    assert "opencv-contrib-python 4.10.0.84" in checks["cv2"].detail


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "files are gone"),  # once one of two OpenCV packages is uninstalled
        ("cv2.__version__ = '4.11.0'", "not that of opencv-contrib-python"),
    ],
)
def test_another_package_that_took_opencvs_files_is_reported(
    tmp_path: Path, content: str, why: str
) -> None:
    """Four packages own the same files: the last that is installed wins."""
    own = metadata.version("opencv-contrib-python")
    folder = tmp_path / f"opencv_python_headless-{own}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: opencv-python-headless\nVersion: {own}\n"
    )
    code = f"import types\ncv2 = sys.modules['cv2'] = types.ModuleType('cv2')\n{content}"
    found = run_with(tmp_path, {}, code)["cv2"]
    assert (found.status, found.required) == ("missing", True)
    assert why in found.detail
    assert re.fullmatch(
        "`pip uninstall -y (opencv-python )?opencv-contrib-python opencv-python-headless`, then "
        f"`pip install opencv-contrib-python=={own}`",
        found.remedy,
    )


def test_only_one_package_of_opencv_is_required() -> None:
    """uv installs packages in any order, and opencv-python's files lack what the program uses."""
    wishes = [Requirement(wish).name for wish in metadata.requires("reenact") or ()]
    assert [name for name in wishes if name.startswith("opencv-")] == ["opencv-contrib-python"]
    assert hasattr(cv2.ximgproc, "guidedFilter")


def test_cameras_that_cannot_be_listed_are_a_line_of_the_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> list[cameras.CameraInfo]:
        raise OSError("the bus is on fire")

    monkeypatch.setattr(cameras, "list_cameras", fail)
    checks = {check.name: check for check in doctor.run()}
    assert checks["camera"].status == "warning"
    assert "the bus is on fire" in checks["camera"].detail


def test_header_of_a_model_is_read(tmp_path: Path) -> None:
    good = tmp_path / "good.safetensors"
    save_file({"weight": np.zeros((3, 4), np.float32)}, good)
    assert doctor._header_problem(good) == ""
    (tmp_path / "cut.safetensors").write_bytes(good.read_bytes()[:-4])
    (tmp_path / "other.safetensors").write_bytes(b"PK\x03\x04" * 20)
    for name in ("cut", "other", "absent"):
        assert doctor._header_problem(tmp_path / f"{name}.safetensors")


def test_data_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REENACT_DATA", str(tmp_path / "new" / "folder"))
    (check,) = doctor._data_folder()
    assert check.status == "ok"
    assert list(tmp_path.iterdir()) == []
    locked = Path("/proc/self/fdinfo")
    if not locked.is_dir():
        pytest.skip("no folder that even root may not write to")
    monkeypatch.setenv("REENACT_DATA", str(locked / "reenact"))
    (check,) = doctor._data_folder()
    assert check.status == "missing"
    assert "REENACT_DATA" in check.remedy
    assert str(locked) in check.remedy


@pytest.mark.parametrize(("number", "way"), [(errno.EROFS, "name another"), (errno.ENOSPC, "free")])
def test_owning_a_data_folder_is_not_advised_where_it_would_not_help(
    number: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(dir: Path) -> None:
        raise OSError(number, os.strerror(number), dir)

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    (check,) = doctor._data_folder()
    assert check.status == "missing"
    assert check.remedy.startswith(way)
    assert "REENACT_DATA" in check.remedy
    assert "chown" not in check.remedy


@pytest.mark.skipif(sys.platform != "linux", reason="OBS has its settings elsewhere")
def test_port_of_obs_is_read_from_its_settings_and_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "obs-studio").mkdir()
    (tmp_path / "obs-studio/global.ini").touch()
    settings = tmp_path / "obs-studio/plugin_config/obs-websocket/config.json"
    settings.parent.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        settings.write_text(json.dumps({"server_port": port, "server_enabled": True}))
        checks = {check.name: check for check in doctor._obs()}
        assert checks["OBS remote control"] == Check(
            "OBS remote control", "ok", f"port {port} is open"
        )
    checks = {check.name: check for check in doctor._obs()}
    assert checks["OBS remote control"].status == "missing"
    assert str(port) in checks["OBS remote control"].detail


def test_printed_lines_hold_status_detail_remedy_and_verdict(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_checks([Check("OBS", "missing", "not installed", "get it there")])
    first, second, *_, verdict = capsys.readouterr().out.splitlines()
    assert first.split() == ["missing", "OBS", "not", "installed"]
    assert second.strip() == "-> get it there"
    assert "can run" in verdict
    print_checks([Check("models", "missing", "not there", "install")])
    out = capsys.readouterr().out
    assert "(required)" in out
    assert "cannot run" in out


def test_every_part_has_a_remedy_on_every_system() -> None:
    # Those of cameras are beside their source and sink.
    assert set(REMEDIES) == PARTS - {"camera", "virtual camera"}
    for part, ways in REMEDIES.items():
        if not isinstance(ways, str):
            assert set(ways) == {"linux", "win32", "darwin"}
            assert remedy(part, "win32") == ways["win32"]
            assert remedy(part, "freebsd") == ways["linux"]
        assert remedy(part)
