"""Prints the speed of pixel regression on one core: the table alone, and the live renderer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from reenact_pixel_regression import portable

from reenact.config import RendererSettings
from reenact.expression.emotions import EMOTIONS
from reenact.registry import load
from reenact.testing.portrait import drive, portrait_target

ROUNDS = 300


def rate(work: Callable[[], object]) -> float:
    """Return how often the work is done per second of CPU time."""
    work()
    start = time.process_time()
    for _ in range(ROUNDS):
        work()
    return ROUNDS / (time.process_time() - start)


def main() -> None:
    """Print the speeds."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    table = rng.integers(0, 256, (256, 128, 128, 3), np.uint8)
    face = rng.integers(0, 256, (128, 128, 3), np.uint8)
    print(f"table, 128 px: {rate(lambda: portable.look_up(table, face)):.0f} faces/s")
    emotion = np.zeros(len(EMOTIONS), np.float32)
    emotion[[EMOTIONS.index("happy"), EMOTIONS.index("surprised")]] = 0.6, 0.4
    for size in (256, 512):
        target = portrait_target(size)
        renderer = load("renderers", "pixel_regression").make(RendererSettings(size=size))
        renderer.prepare(target)
        happy_surprised = replace(drive(target.neutral), emotion=emotion)
        print(f"live, {size} px: {rate(lambda: renderer.render(happy_surprised)):.0f} frames/s")  # noqa: B023


if __name__ == "__main__":
    main()
