"""`reenact doctor`: checks each part of the program and of this machine.

No check opens a camera, changes anything or fails: what cannot be checked becomes a line of the
report. Libraries are imported by name inside the checks, because their absence is what is checked.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Final

from reenact.cli.doctor_report import CUDA_BUILD, Check, missing, ok, remedy

_CONNECT_TIMEOUT_S: Final = 0.5
_LIBRARIES: Final = ("cv2", "mediapipe", "OpenVINO")
_PRECISIONS: Final = ("FP32", "FP16", "BF16", "INT8")
_OPENCV_PACKAGES: Final = (
    "opencv-python",
    "opencv-contrib-python",
    "opencv-python-headless",
    "opencv-contrib-python-headless",
)


def run(try_obs: bool = False) -> list[Check]:
    """Check every part. Takes a few seconds; raises nothing; any thread may call.

    Args:
        try_obs: also write pictures to OBS and check that it shows them.
    """
    parts: dict[str, Callable[[], Iterable[Check]]] = {
        "python": _python,
        "packages": _packages,
        "cv2": _cv2,
        "mediapipe": _mediapipe,
        "models": _models,
        "data folder": _data_folder,
        "camera": _cameras,
        "virtual camera": _virtual_camera,
        "display": _display,
        "OpenVINO": _openvino,
        "CUDA": _cuda,
        "OBS": _obs,
    }
    if try_obs:
        parts["OBS picture"] = _obs_picture
    checks: list[Check] = []
    for name, look in parts.items():
        try:
            checks.extend(look())
        except Exception as error:  # a broken part must not hide the others
            summary = _summary(error)
            unknown = Check(name, "warning", f"cannot be checked: {summary}")
            checks.append(missing(name, summary) if name in _LIBRARIES else unknown)
    return checks


def _python() -> Iterable[Check]:
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    if (3, 10) <= sys.version_info < (3, 13):
        yield ok("python", found)
    else:
        yield missing("python", f"{found}; 3.10 to 3.12 is needed")


def _packages() -> Iterable[Check]:
    from packaging.requirements import Requirement

    versions: dict[str, str] = {}
    problems: list[str] = []
    others: list[str] = []
    for requirement in map(Requirement, metadata.requires("reenact") or ()):
        name, wanted = requirement.name, requirement.specifier
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue  # optional, or for another Python
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            problems.append(f"{name} is not installed")
            continue
        if not wanted.contains(versions[name], prereleases=True):
            # MediaPipe does not load with numpy 2.
            (problems if name == "numpy" else others).append(
                f"{name} is {versions[name]}, not {wanted}"
            )
    if problems:
        yield missing("packages", "; ".join(problems + others))
    elif others:
        yield Check("packages", "warning", "; ".join(others), remedy("packages"))
    else:
        shown = ", ".join(f"{name} {versions[name]}" for name in ("torch", "numpy", "av"))
        yield ok("packages", f"all {len(versions)} are installed: {shown}")


def _cv2() -> Iterable[Check]:
    cv2 = importlib.import_module("cv2")
    version = getattr(cv2, "__version__", None)
    builds = {}
    for name in _OPENCV_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            builds[name] = metadata.version(name)
    detail = ", ".join(f"{name} {build}" for name, build in builds.items())
    (own,) = (wish for wish in metadata.requires("reenact") or () if wish.startswith("opencv-"))
    # The packages own the same files: the last that is installed wins, and takes them along.
    way = f"`pip uninstall -y {' '.join(builds)}`, then `pip install {own}`"
    if version is None:
        lost = "OpenCV's files are gone, as when one of its packages is uninstalled"
        yield Check("cv2", "missing", f"{lost}: {detail}", way)
    elif not hasattr(getattr(cv2, "ximgproc", None), "guidedFilter"):
        other = f"OpenCV {version} is not that of opencv-contrib-python: {detail}"
        yield Check("cv2", "missing", other, way)
    elif len(set(builds.values())) > 1:
        several = f"OpenCV {version}, from packages of several versions: {detail}"
        yield Check("cv2", "warning", several, way)
    else:
        yield ok("cv2", f"OpenCV {version}: {', '.join(builds)}")


def _mediapipe() -> Iterable[Check]:
    module, version = importlib.import_module("mediapipe"), metadata.version("mediapipe")
    if hasattr(module, "solutions"):
        yield ok("mediapipe", f"{version}, with its face models")
    else:
        way = "`pip install mediapipe==0.10.21`"
        yield Check("mediapipe", "missing", f"{version} contains no face models", way)


def _models() -> Iterable[Check]:
    from reenact.models.fusion_network import ARCHITECTURE
    from reenact.models.warp_unet_inputs import SHIPPED_WEIGHTS
    from reenact.storage import ASSETS

    needed = {f"{ARCHITECTURE}.safetensors", SHIPPED_WEIGHTS.name}
    there = {path.name: path for path in ASSETS.glob("*.safetensors")}
    problems = [f"{name} is missing" for name in sorted(needed - set(there))]
    for name, path in sorted(there.items()):
        problem = _header_problem(path)
        if problem:
            problems.append(f"{name} is damaged: {problem}")
    if problems:
        yield missing("models", "; ".join(problems))
    else:
        yield ok("models", ", ".join(sorted(there)))


def _header_problem(path: Path) -> str:
    from safetensors import SafetensorError, safe_open

    try:
        # Reads the header and compares the sizes in it with the file's.
        with safe_open(path, framework="np") as model:
            return "" if model.keys() else "it is empty"
    except (SafetensorError, OSError) as error:
        return _summary(error)


def _data_folder() -> Iterable[Check]:
    from reenact.storage import cache_folder, data_folder

    folder = data_folder()
    # A folder that does not exist yet is made when it is needed.
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        way = remedy("data folder").replace("FOLDER", str(above))
        if error.errno in (errno.EROFS, errno.ENOSPC, errno.EDQUOT):
            space = "" if error.errno == errno.EROFS else "free some space, or "
            way = f"{space}name another in the environment variable REENACT_DATA"
        yield Check("data folder", "missing", f"{folder}: {error.strerror or error}", way)
    else:
        yield ok("data folder", f"{folder}; converted networks: {cache_folder()}")


def _cameras() -> Iterable[Check]:
    from reenact.sources import camera_devices

    found = camera_devices.list_cameras()
    if found:
        names = ", ".join(f"webcam:{camera.index} {camera.name}" for camera in found)
        yield ok("camera", names)
    else:
        way = f"{camera_devices.how_to_get_one()}; or use --source video:PATH or landmarks:FILE"
        yield Check("camera", "missing", "none was found", way)


def _virtual_camera() -> Iterable[Check]:
    from reenact.sinks import virtual_camera

    absence = virtual_camera.absence()
    fault = None if absence else virtual_camera.fault()
    there = virtual_camera.describe()
    if absence is not None:
        yield Check("virtual camera", "missing", absence.what, absence.remedy)
    elif fault is not None:
        yield Check("virtual camera", "warning", f"{there}: {fault.what}", fault.remedy)
    else:
        yield ok("virtual camera", there)


def _display() -> Iterable[Check]:
    from reenact.sinks.window import display_problem

    problem = display_problem()
    if problem is None:
        yield ok("display", "windows can be shown")
    else:
        yield missing("display", problem)


def _openvino() -> Iterable[Check]:
    core = importlib.import_module("openvino").Core()
    described = []
    for device in core.available_devices:
        name = str(core.get_property(device, "FULL_DEVICE_NAME")).strip()
        able = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        precisions = [precision for precision in _PRECISIONS if precision in able]
        described.append(f"{device}: {name} ({', '.join(precisions)})")
    version = metadata.version("openvino")
    if described:
        yield ok("OpenVINO", f"{version}; {'; '.join(described)}")
    else:
        yield missing("OpenVINO", f"{version} has no device")


def _cuda() -> Iterable[Check]:
    if not _has_nvidia_driver():
        yield missing("CUDA", "no NVIDIA driver")
        return
    try:
        torch = importlib.import_module("torch")
    except Exception as error:
        yield Check("CUDA", "missing", f"torch: {_summary(error)}", remedy("packages"))
        return
    if torch.version.cuda is None:
        yield Check("CUDA", "missing", "torch is a build without CUDA", CUDA_BUILD)
    elif not torch.cuda.is_available():
        built = f"the driver does not support CUDA {torch.version.cuda}, which torch is built for"
        yield missing("CUDA", built)
    else:
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        yield ok("CUDA", f"{torch.version.cuda}; {', '.join(names)}")


def _has_nvidia_driver() -> bool:
    """Return True if there is a driver. torch is not asked, because it takes seconds to load."""
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
        yield ok("OBS", program)
    else:
        yield missing("OBS", "not installed")
    files = find_obs_files()
    if files is not None and files.has_this_script():
        yield ok("OBS source", str(files.script))
    else:
        yield missing("OBS source", "OBS has no source Reenact")
    port = DEFAULT_PORT if files is None else files.remote_control().port
    try:
        socket.create_connection(("127.0.0.1", port), _CONNECT_TIMEOUT_S).close()
    except OSError:
        closed = f"nothing listens on port {port}"
        yield missing("OBS remote control", closed)
    else:
        yield ok("OBS remote control", f"port {port} is open")


def _obs_picture() -> Iterable[Check]:
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


def _summary(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
