"""The report of `reenact doctor`: the state of each part, how to get it, and a conclusion."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

_REINSTALL: Final = "install the program again in a fresh virtual environment: `pip install .`"
CUDA_BUILD: Final = "install the CUDA build of torch 2.13.0 as pytorch.org, Get started, shows"
_DESKTOP: Final = "start the program on a desktop; without one use --sink http"
_OWN_FOLDER: Final = (
    "take ownership of it with `sudo chown -R $USER FOLDER`, or name another in the environment "
    "variable REENACT_DATA"
)

REMEDIES: Final[Mapping[str, str | Mapping[str, str]]] = {
    "python": {
        "linux": "install Python 3.11 (`sudo apt install python3.11-venv`, or pyenv) and make a "
        "virtual environment with it",
        "win32": "install Python 3.11 (`winget install Python.Python.3.11`) and make a virtual "
        "environment with it",
        "darwin": "install Python 3.11 (`brew install python@3.11`) and make a virtual "
        "environment with it",
    },
    "packages": _REINSTALL,
    "cv2": {
        "linux": "`sudo apt install libgl1 libglib2.0-0` (Fedora: `sudo dnf install mesa-libGL "
        f"glib2`), then {_REINSTALL}",
        "win32": "install the Media Feature Pack (Settings > Optional features), then "
        + _REINSTALL,
        "darwin": _REINSTALL,
    },
    "mediapipe": {
        "linux": f"`sudo apt install libgl1 libegl1 libgles2`, then {_REINSTALL}",
        "win32": "install the Visual C++ Redistributable (`winget install "
        f"Microsoft.VCRedist.2015+.x64`), then {_REINSTALL}",
        "darwin": _REINSTALL,
    },
    "models": _REINSTALL,
    "data folder": {
        "linux": _OWN_FOLDER,
        "win32": "name another in the environment variable REENACT_DATA (`setx REENACT_DATA PATH`)",
        "darwin": _OWN_FOLDER,
    },
    "display": {
        "linux": "start the program on a desktop, or by `ssh -X`; without one use --sink http",
        "win32": _DESKTOP,
        "darwin": _DESKTOP,
    },
    "OpenVINO": "`pip install openvino`",
    "CUDA": {
        "linux": "with an NVIDIA card: install its driver (`sudo apt install nvidia-driver`, or "
        f"`sudo ubuntu-drivers install`), then {CUDA_BUILD}",
        "win32": "with an NVIDIA card: install its driver from nvidia.com/drivers, then "
        + CUDA_BUILD,
        "darwin": "CUDA does not exist for macOS; the program runs on the CPU",
    },
    "OBS": {
        "linux": "`sudo apt install obs-studio`, or `flatpak install com.obsproject.Studio`",
        "win32": "`winget install OBSProject.OBSStudio`, or obsproject.com",
        "darwin": "`brew install --cask obs`, or obsproject.com",
    },
    "OBS source": "start OBS once, close it, and run `reenact obs install`",
    "OBS remote control": "start OBS and switch it on under Tools > WebSocket Server Settings",
}
"""How to get each part: one text for all systems, or texts by `sys.platform`."""


_REQUIRED: Final = frozenset({"python", "packages", "cv2", "mediapipe", "models"})


@dataclass(frozen=True, slots=True)
class Check:
    """The result for one part.

    Attributes:
        name: the part.
        status: "ok", "missing", or "warning" if it is present but not as it should be.
        detail: what was found, in a few words.
        remedy: how to get or repair it on this system; "" if nothing needs to be done.
    """

    name: str
    status: Literal["ok", "missing", "warning"]
    detail: str
    remedy: str = ""

    @property
    def required(self) -> bool:
        """True if the program cannot run without this part."""
        return self.name in _REQUIRED


def ok(part: str, detail: str) -> Check:
    """Report that a part is as it should be."""
    return Check(part, "ok", detail)


def missing(part: str, detail: str) -> Check:
    """Report that a part is missing, with how to get it on this system."""
    return Check(part, "missing", detail, remedy(part))


def remedy(part: str, system: str = sys.platform) -> str:
    """Return how to get a part of `REMEDIES` on a system; unknown systems are treated as Linux."""
    ways = REMEDIES[part]
    return ways if isinstance(ways, str) else ways.get(system, ways["linux"])


def exit_code(checks: Iterable[Check]) -> int:
    """Return 2 if a required part is missing, else 0."""
    return 2 if any(check.required and check.status == "missing" for check in checks) else 0


def print_checks(checks: Sequence[Check]) -> None:
    """Print one line for each part, what to do about it below, and a conclusion."""
    width = max(len(check.name) for check in checks)
    for check in checks:
        need = " (required)" if check.required and check.status == "missing" else ""
        print(f"{check.status:7}  {check.name:{width}}  {check.detail}{need}")
        if check.remedy:
            print(f"{'':7}  {'':{width}}  -> {check.remedy}")
    if exit_code(checks):
        print("\nThe program cannot run yet: install what is marked as required.")
    elif all(check.status == "ok" for check in checks):
        print("\nEverything is there.")
    else:
        print("\nThe program can run; what is missing above is optional.")
