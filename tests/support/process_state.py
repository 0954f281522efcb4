"""What a test could change about the process for those that run after it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from reenact.lifecycle import LIBRARY_VARIABLES

GRACE_S = 2.0
"""How long a thread that is about to end may outlive its test."""

_NO_CHANGE = {
    "PYTEST_CURRENT_TEST",
    *LIBRARY_VARIABLES,  # set once, because libraries read them when they are loaded
    # Set once by torch's compiler and by lightning-fabric when they are loaded.
    "TORCHINDUCTOR_CACHE_DIR",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
}


def process_state(user_data: Path) -> dict[str, object]:
    """Return what must be the same before and after a test, by name.

    torch and OpenCV are asked only if something has imported them. `user_data` is the folder where
    the program keeps a user's targets when no other is named.
    """
    state: dict[str, object] = {
        "working folder": Path.cwd(),
        "environment": {k: v for k, v in os.environ.items() if k not in _NO_CHANGE},
        "signal handlers": {
            number: signal.getsignal(number)
            for number in signal.valid_signals()
            if number is not getattr(signal, "SIGALRM", None)  # pytest-timeout's
        },
        "log handlers": tuple(logging.getLogger().handlers),
        "log level": logging.getLogger().level,
        "threads": {thread for thread in threading.enumerate() if not thread.daemon},
        "data folder of the user": {
            path.name: path.stat().st_mtime_ns for path in user_data.glob("*")
        },
    }
    if cv2 := sys.modules.get("cv2"):
        state["threads of OpenCV"] = cv2.getNumThreads()
    if torch := sys.modules.get("torch"):
        state["threads of torch"] = torch.get_num_threads()
    return state


def changes(before: Mapping[str, object], user_data: Path) -> list[str]:
    """Say in one line each what has changed since `before`; threads get a moment to end."""
    deadline_s = time.monotonic() + GRACE_S
    while True:
        after = process_state(user_data)
        found = [name for name in before if before[name] != after[name]]
        if found != ["threads"] or time.monotonic() > deadline_s:
            return [f"{name}: {_difference(before[name], after[name])}" for name in found]
        time.sleep(0.01)


def _difference(old: object, new: object) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return ", ".join(f"{key} {old.get(key)!r} -> {new.get(key)!r}" for key in keys)
    return f"{old!r} -> {new!r}"
