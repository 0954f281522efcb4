"""Measures the virtual camera in a guest system: the delay from write to read, and a frame's cost.

    PYTHONPATH=tests python benchmarks/measure_virtual_camera.py [--frames 200]

The guest's CPUs are emulated and about ten times slower than real ones. The figures compare
versions of the sink; for a real machine they are upper bounds.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from guest import machine

SIZES = ((320, 240), (640, 360), (1280, 720))
FPS = 10.0
_RESULT = "figures.json"


def main() -> None:
    """Measure in a guest system, and print a JSON line for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=200, help="number of frames of each size")
    arguments = parser.parse_args()
    if machine.IN_GUEST:
        rows = [measured(size, arguments.frames) for size in SIZES]
        Path("/out", _RESULT).write_text(json.dumps(rows))
        return
    with tempfile.TemporaryDirectory(prefix="guest") as out:
        script, tests = Path(__file__).resolve(), Path(machine.__file__).parents[1]
        finished = machine.run_in_guest(
            [sys.executable, str(script), "--frames", str(arguments.frames)],
            Path(out),
            timeout_s=1800.0,
            environment={"PYTHONPATH": str(tests)},
        )
        if finished.status != 0:
            sys.exit(f"The guest failed.\n{finished.console}")
        for row in json.loads(Path(out, _RESULT).read_text()):
            print(json.dumps(row))


def measured(size: tuple[int, int], frames: int) -> dict[str, object]:
    """Send pictures through the sink to OpenCV in another process."""
    from guest import devices
    from guest.traffic import drawn
    from reenact.sinks.virtual_camera import CameraSink
    from reenact.types import Frame

    with devices.loopback(), CameraSink() as sink:
        sink.open(size, FPS)
        sent_s: dict[int, float] = {}
        cost_ms: dict[int, float] = {}

        def send(number: int) -> None:
            picture = drawn(number, size)
            before_s, busy_s = time.monotonic(), time.thread_time()
            sink.write(Frame(picture, before_s, number))
            sent_s[number] = before_s
            cost_ms[number] = (time.thread_time() - busy_s) * 1000
            time.sleep(max(0.0, before_s + 1 / FPS - time.monotonic()))

        send(0)
        arrivals, ready, reader = _read_apart(sink.device, frames)
        while not select.select([ready], [], [], 0)[0]:
            send(0)
        os.close(ready)
        for number in range(1, frames + 1):
            send(number)
        with os.fdopen(arrivals) as lines:
            seen = [line.split() for line in lines]
        os.waitpid(reader, 0)
    delays_ms = [(float(at_s) - sent_s[int(number)]) * 1000 for number, at_s in seen]
    costs_ms = [cost_ms[number] for number in range(1, frames + 1)]
    return {
        "size": f"{size[0]}x{size[1]}",
        "frames": frames,
        "delay_ms": _spread(delays_ms),
        "cost_ms": _spread(costs_ms),
        "seen": len(seen),
    }


def _read_apart(device: str, frames: int) -> tuple[int, int, int]:
    """Start a process that reads until it has seen the last picture.

    Returns:
        A pipe of lines "number time", a pipe that gets a byte once it has started, and its process
        number.
    """
    from guest.traffic import opencv_reader
    from support.clips import number_of

    arrivals, tell = os.pipe()
    ready, begin = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            with opencv_reader(device) as pictures, os.fdopen(tell, "w") as out:
                known = number_of(next(pictures))
                os.write(begin, b"1")
                while known < frames - 1:
                    number = number_of(next(pictures))
                    if number > known:
                        out.write(f"{number} {time.monotonic()}\n")
                        known = number
        finally:
            os._exit(0)
    os.close(tell)
    os.close(begin)
    return arrivals, ready, process


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 1),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
    }


if __name__ == "__main__":
    main()
