"""How to get each part that `reenact doctor` looks for, on each system."""

from __future__ import annotations

import sys
from typing import Final

_AGAIN: Final = "install the program again in a fresh virtual environment: `pip install .`"
CUDA_BUILD: Final = "install the CUDA build of torch 2.13.0 as pytorch.org, Get started, shows"
_PYTHON: Final = "3.11 and make a virtual environment with it"

REMEDIES: Final[dict[str, dict[str, str]]] = {
    "python": {
        "linux": f"install Python {_PYTHON} (`sudo apt install python3.11-venv`, or pyenv)",
        "win32": f"install Python {_PYTHON} (`winget install Python.Python.3.11`)",
        "darwin": f"install Python {_PYTHON} (`brew install python@3.11`)",
    },
    "packages": {"linux": _AGAIN, "win32": _AGAIN, "darwin": _AGAIN},
    "cv2": {
        "linux": "`sudo apt install libgl1 libglib2.0-0` (Fedora: `sudo dnf install mesa-libGL "
        "glib2`), then " + _AGAIN,
        "win32": "install the Media Feature Pack (Settings > Optional features), then " + _AGAIN,
        "darwin": _AGAIN,
    },
    "mediapipe": {
        "linux": "`sudo apt install libgl1 libegl1 libgles2`, then " + _AGAIN,
        "win32": "install the Visual C++ Redistributable (`winget install "
        "Microsoft.VCRedist.2015+.x64`), then " + _AGAIN,
        "darwin": _AGAIN,
    },
    "camera": {
        "linux": "plug one in; `ls /dev/video*` shows it, and `sudo usermod -aG video $USER` with "
        "a new login gives the right to use it",
        "win32": "plug one in, and allow desktop apps under Settings > Privacy & security > Camera",
        "darwin": "plug one in, and allow your terminal under System Settings > Privacy & Security "
        "> Camera",
    },
    "OBS": {
        "linux": "`sudo apt install obs-studio`, or `flatpak install com.obsproject.Studio`",
        "win32": "`winget install OBSProject.OBSStudio`, or obsproject.com",
        "darwin": "`brew install --cask obs`, or obsproject.com",
    },
    "OBS source": dict.fromkeys(
        ("linux", "win32", "darwin"), "start OBS once, close it, and `reenact obs install`"
    ),
    "OBS remote control": dict.fromkeys(
        ("linux", "win32", "darwin"),
        "start OBS and switch it on under Tools > WebSocket Server Settings",
    ),
    "CUDA": {
        "linux": "with an NVIDIA card: install its driver (`sudo apt install nvidia-driver`, or "
        f"`sudo ubuntu-drivers install`), then {CUDA_BUILD}",
        "win32": "with an NVIDIA card: install its driver from nvidia.com/drivers, then "
        + CUDA_BUILD,
        "darwin": "there is no CUDA for a Mac; the program runs on its processor",
    },
    "OpenVINO": dict.fromkeys(("linux", "win32", "darwin"), "`pip install openvino`"),
    "display": {
        "linux": "start the program on a desktop, or by `ssh -X`; without one use --sink http",
        "win32": "start the program on a desktop; without one use --sink http",
        "darwin": "start the program on a desktop; without one use --sink http",
    },
    "models": {"linux": _AGAIN, "win32": _AGAIN, "darwin": _AGAIN},
    "data folder": {
        "linux": "make it yours, `sudo chown -R $USER FOLDER`, or name another in the environment "
        "variable REENACT_DATA",
        "win32": "name another in the environment variable REENACT_DATA (`setx REENACT_DATA PATH`)",
        "darwin": "make it yours, `sudo chown -R $USER FOLDER`, or name another in the environment "
        "variable REENACT_DATA",
    },
}
"""How to get each part, by `sys.platform`."""


def remedy(part: str, system: str = sys.platform) -> str:
    """Return how to get a part of `REMEDIES` on a system; Linux stands for unknown ones."""
    ways = REMEDIES[part]
    return ways.get(system, ways["linux"])
