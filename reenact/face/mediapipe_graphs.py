"""Loads mediapipe quickly, and starts its graphs without the lines that they print.

Each graph writes messages to stderr on which no user can act, such as "Feedback manager requires a
model with a single signature inference", and mediapipe 0.10.21 has no setting to turn them off.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
from typing import Any, TypeVar

from reenact.errors import ModelError
from reenact.lifecycle import quiet_native_libraries

Solution = TypeVar("Solution")


def solutions() -> Any:
    """Import and return `mediapipe.solutions`.

    Raises:
        ModelError: mediapipe is missing, or this version has no such models.
    """
    sys.meta_path.insert(0, _DrawingLater)
    try:
        import mediapipe
    except ImportError as error:
        raise ModelError(
            f"The face tracker needs mediapipe ({error}); run: pip install mediapipe==0.10.21."
        ) from error
    finally:
        sys.meta_path.remove(_DrawingLater)
    if not hasattr(mediapipe, "solutions"):
        raise ModelError(
            f"mediapipe {mediapipe.__version__} contains no models; run: pip install "
            "mediapipe==0.10.21."
        )
    return mediapipe.solutions


class _DrawingLater:
    """Finds the modules with which mediapipe draws, so that they are loaded when they are used.

    They import matplotlib, which takes more than half of mediapipe's time and memory.
    """

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith("mediapipe.python.solutions.drawing_"):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def open_graph(build: Callable[[], Solution]) -> Solution:
    """Return one of mediapipe's solutions, as built, once its models are loaded."""
    with quiet_native_libraries():
        solution = build()
        _wait_for_models(solution)
    return solution


def restart_graph(solution: Any) -> None:
    """Make a solution forget its last picture. Raises RuntimeError if it cannot start again."""
    with quiet_native_libraries():
        solution.reset()
        _wait_for_models(solution)


def _wait_for_models(solution: Any) -> None:
    # The graph's own threads load the models, and print, after the constructor has returned.
    solution._graph.wait_until_idle()
