"""Says what is there and what is missing on this machine, and how to get it.

Nothing here opens a camera, changes anything or fails: a part that cannot be looked at is a
line of the answer. Libraries are looked up by name, since it is their absence that matters.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final, Literal, TextIO

from reenact.cli.remedies import CUDA_BUILD, remedy
from reenact.errors import ReenactError

Status = Literal["ok", "missing", "warning"]

_CONNECT_TIMEOUT_S: Final = 0.5
_PRECISIONS: Final = ("FP32", "FP16", "BF16", "INT8")
_OPENCVS: Final = (
    "opencv-python",
    "opencv-contrib-python",
    "opencv-python-headless",
    "opencv-contrib-python-headless",
)


@dataclass(frozen=True, slots=True)
class Check:
    """What is known of one part.

    Attributes:
        name: the part.
        status: "ok", "missing", or "warning": there, but not as it should be.
        detail: what was found, in a few words.
        remedy: how to get or repair it on this system; "" where nothing is to be done.
        required: the main job does not run without it.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""
    required: bool = False


def run(try_obs: bool = False) -> list[Check]:
    """Look at every part. Takes a few seconds; raises nothing; any thread may call.

    Args:
        try_obs: also write pictures, and see whether OBS shows them.
    """
    parts: tuple[tuple[str, Callable[[], Iterable[Check]]], ...] = (
        ("python", _python),
        ("packages", _packages),
        ("cv2", _cv2),
        ("mediapipe", _mediapipe),
        ("models", _models),
        ("data folder", _data_folder),
        ("camera", _cameras),
        ("virtual camera", _virtual_camera),
        ("display", _display),
        ("OpenVINO", _openvino),
        ("CUDA", _cuda),
        ("OBS", _obs),
        *((("OBS picture", _obs_trial),) if try_obs else ()),
    )
    checks: list[Check] = []
    for name, look in parts:
        try:
            checks.extend(look())
        except Exception as error:  # a broken part must not hide the others
            checks.append(Check(name, "warning", f"cannot be looked at: {_words(error)}"))
    return checks


def exit_code(checks: Iterable[Check]) -> int:
    """Return 2 where a part is missing that the main job needs, else 0."""
    return 2 if any(check.required and check.status == "missing" for check in checks) else 0


def print_checks(checks: Iterable[Check], stream: TextIO | None = None) -> None:
    """Print one line for each part, with what to do below it, and a verdict.

    Args:
        checks: what `run` returned.
        stream: None for stdout.
    """
    out = stream or sys.stdout
    found = list(checks)
    width = max((len(check.name) for check in found), default=0)
    for check in found:
        need = " (required)" if check.required and check.status == "missing" else ""
        print(f"{check.status:7}  {check.name:{width}}  {check.detail}{need}", file=out)
        if check.remedy:
            print(f"{'':7}  {'':{width}}  -> {check.remedy}", file=out)
    if exit_code(found):
        print("\nThe program cannot run yet: get what is marked as required.", file=out)
    elif all(check.status == "ok" for check in found):
        print("\nEverything is there.", file=out)
    else:
        print("\nThe program can run; what is missing above is optional.", file=out)


def _python() -> Iterable[Check]:
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    if (3, 10) <= sys.version_info < (3, 13):
        yield Check("python", "ok", found, required=True)
    else:
        yield Check("python", "missing", f"{found}; 3.10 to 3.12 is needed", remedy("python"), True)


def _packages() -> Iterable[Check]:
    versions: dict[str, str] = {}
    absent, other = [], []
    for text in metadata.requires("reenact") or ():
        if ";" in text:  # optional, or for another Python
            continue
        match = re.match(r"([A-Za-z0-9._-]+)\s*(?:==\s*([^,\s]+))?", text)
        assert match is not None
        name, pin = match.groups()
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            absent.append(name)
            continue
        if pin is not None and versions[name].partition("+")[0] != pin:
            other.append(f"{name} is {versions[name]}, not {pin}")
    problems = []
    if versions.get("numpy", "1").partition(".")[0] != "1":
        problems.append(f"numpy is {versions['numpy']}, but mediapipe needs one below 2")
    if absent:
        problems.append(f"not installed: {', '.join(absent)}")
    if problems:
        yield Check("packages", "missing", "; ".join(problems), remedy("packages"), True)
    elif other:
        yield Check("packages", "warning", "; ".join(other), remedy("packages"), True)
    else:
        shown = ", ".join(f"{name} {versions[name]}" for name in ("torch", "numpy", "av"))
        yield Check("packages", "ok", f"all {len(versions)} there: {shown}", required=True)


def _cv2() -> Iterable[Check]:
    try:
        version = str(importlib.import_module("cv2").__version__)
    except Exception as error:
        yield Check("cv2", "missing", _words(error), remedy("cv2"), True)
        return
    builds = {}
    for name in _OPENCVS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            builds[name] = metadata.version(name)
    detail = ", ".join(f"{name} {build}" for name, build in builds.items())
    if len(set(builds.values())) > 1:
        names = " ".join(_OPENCVS[:2])
        yield Check(
            "cv2",
            "warning",
            f"OpenCV {version} of several versions in one place: {detail}",
            f"`pip uninstall -y {' '.join(builds)}`, then `pip install {names}` at one version",
            True,
        )
    else:
        yield Check("cv2", "ok", f"OpenCV {version}: {', '.join(builds)}", required=True)


def _mediapipe() -> Iterable[Check]:
    try:
        module = importlib.import_module("mediapipe")
        solutions = hasattr(module, "solutions")
    except Exception as error:
        yield Check("mediapipe", "missing", _words(error), remedy("mediapipe"), True)
        return
    version = metadata.version("mediapipe")
    if solutions:
        yield Check("mediapipe", "ok", f"{version}, with its face models", required=True)
    else:
        way = (
            "`pip install mediapipe==0.10.21`, or --set tracking.model=PATH of face_landmarker.task"
        )
        yield Check("mediapipe", "warning", f"{version} brings no face models", way, True)


def _models() -> Iterable[Check]:
    from reenact.models.fusion_network import ARCHITECTURE
    from reenact.models.warp_unet_inputs import SHIPPED_WEIGHTS

    needed = {f"{ARCHITECTURE}.safetensors", SHIPPED_WEIGHTS}
    with as_file(files("reenact") / "assets") as folder:
        there = {path.name: path for path in folder.glob("*.safetensors")}
        problems = [f"{name} is not there" for name in sorted(needed - set(there))]
        for name, path in sorted(there.items()):
            problem = _header_problem(path)
            if problem:
                problems.append(f"{name} is damaged: {problem}")
    if problems:
        yield Check("models", "missing", "; ".join(problems), remedy("models"), True)
    else:
        yield Check("models", "ok", ", ".join(sorted(there)), required=True)


def _header_problem(path: Path) -> str:
    from safetensors import SafetensorError, safe_open

    try:
        # Reads the header, and holds the sizes that it gives against the file's.
        with safe_open(path, framework="np") as model:
            return "" if model.keys() else "it holds nothing"
    except (SafetensorError, OSError) as error:
        return _words(error)


def _data_folder() -> Iterable[Check]:
    from reenact.storage import data_folder

    folder = data_folder()
    # What does not exist yet is made when it is needed, below the nearest that does.
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        way = remedy("data folder").replace("FOLDER", str(above))
        yield Check("data folder", "missing", f"{folder}: {error.strerror or error}", way)
    else:
        yield Check("data folder", "ok", str(folder))


def _cameras() -> Iterable[Check]:
    from reenact.sources.camera_devices import list_cameras

    try:
        found = list_cameras()
    except ReenactError as error:
        yield Check("camera", "missing", str(error), remedy("camera"))
        return
    if found:
        names = ", ".join(f"webcam:{camera.index} {camera.name}" for camera in found)
        yield Check("camera", "ok", names)
    else:
        yield Check("camera", "missing", "none was found", remedy("camera"))


def _virtual_camera() -> Iterable[Check]:
    from reenact.sinks.virtual_camera import describe, missing, troubled

    absent = missing()
    trouble = None if absent else troubled()
    if absent is not None:
        yield Check("virtual camera", "missing", absent.what, absent.remedy)
    elif trouble is not None:
        yield Check("virtual camera", "warning", f"{describe()}: {trouble.what}", trouble.remedy)
    else:
        yield Check("virtual camera", "ok", describe())


def _display() -> Iterable[Check]:
    from reenact.sinks.window import display_problem

    problem = display_problem()
    if problem is None:
        yield Check("display", "ok", "windows can be shown")
    else:
        yield Check("display", "missing", problem, remedy("display"))


def _openvino() -> Iterable[Check]:
    try:
        core = importlib.import_module("openvino").Core()
        devices = list(core.available_devices)
    except Exception as error:
        yield Check("OpenVINO", "missing", _words(error), remedy("OpenVINO"))
        return
    described = []
    for device in devices:
        name = str(core.get_property(device, "FULL_DEVICE_NAME")).strip()
        able = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        precisions = [precision for precision in _PRECISIONS if precision in able]
        described.append(f"{device}: {name} ({', '.join(precisions)})")
    version = metadata.version("openvino")
    if described:
        yield Check("OpenVINO", "ok", f"{version}; {'; '.join(described)}")
    else:
        yield Check("OpenVINO", "missing", f"{version} has no device", remedy("OpenVINO"))


def _cuda() -> Iterable[Check]:
    if not _has_nvidia_driver():
        yield Check("CUDA", "missing", "no NVIDIA driver", remedy("CUDA"))
        return
    try:
        torch = importlib.import_module("torch")
    except Exception as error:
        yield Check("CUDA", "missing", f"torch: {_words(error)}", remedy("packages"))
        return
    if torch.version.cuda is None:
        yield Check("CUDA", "missing", "torch is a build without CUDA", CUDA_BUILD)
    elif not torch.cuda.is_available():
        built = f"the driver does not serve CUDA {torch.version.cuda}, which torch is built for"
        yield Check("CUDA", "missing", built, remedy("CUDA"))
    else:
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        yield Check("CUDA", "ok", f"{torch.version.cuda}; {', '.join(names)}")


def _has_nvidia_driver() -> bool:
    """Whether there is a driver at all; torch, which takes seconds to load, is not asked."""
    if shutil.which("nvidia-smi"):
        return True
    if sys.platform == "win32":
        system = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32"
        return (system / "nvcuda.dll").exists()
    return any(map(os.path.exists, ("/proc/driver/nvidia/version", "/dev/nvidia0")))


def _obs() -> Iterable[Check]:
    from reenact.sinks.obs.config_files import DEFAULT_PORT, find_obs_files

    program = _obs_program()
    if program:
        yield Check("OBS", "ok", program)
    else:
        yield Check("OBS", "missing", "not installed", remedy("OBS"))
    files = find_obs_files()
    if files is not None and files.has_this_script():
        yield Check("OBS source", "ok", str(files.script))
    else:
        yield Check("OBS source", "missing", "OBS has no source Reenact", remedy("OBS source"))
    port = DEFAULT_PORT if files is None else files.remote_control().port
    try:
        socket.create_connection(("127.0.0.1", port), _CONNECT_TIMEOUT_S).close()
    except OSError:
        nobody = f"nobody listens on port {port}"
        yield Check("OBS remote control", "missing", nobody, remedy("OBS remote control"))
    else:
        yield Check("OBS remote control", "ok", f"port {port} is open")


def _obs_trial() -> Iterable[Check]:
    from reenact.sinks.obs.selftest import try_obs

    for name, works, detail, way in try_obs():
        yield Check(name, "ok" if works else "missing", detail, way)


def _obs_program() -> str:
    command = shutil.which("obs") or shutil.which("obs64")
    if command:
        return command
    home = Path.home()
    places = {
        "win32": [
            Path(os.environ.get(variable, "C:\\")) / "obs-studio/bin/64bit/obs64.exe"
            for variable in ("PROGRAMFILES", "PROGRAMFILES(X86)")
        ],
        "darwin": [Path("/Applications/OBS.app"), home / "Applications/OBS.app"],
    }.get(
        sys.platform,
        [
            Path("/var/lib/flatpak/app/com.obsproject.Studio"),
            home / ".local/share/flatpak/app/com.obsproject.Studio",
            Path("/snap/bin/obs-studio"),
        ],
    )
    return next((str(place) for place in places if place.exists()), "")


def _words(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
