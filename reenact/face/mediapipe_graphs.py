"""Starts the graphs of `mediapipe.solutions` without the lines that they print.

Each graph writes messages to stderr on which no user can act, such as "Feedback manager requires a
model with a single signature inference", and mediapipe 0.10.21 has no setting to turn them off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from reenact.lifecycle import quiet_native_libraries

Solution = TypeVar("Solution")


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
