"""Ctrl-C while a session starts, while it runs, and while its output hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reenact.cli.live import SAVING, Interruption, run_session
from reenact.config import Settings
from reenact.live.controls import Controls
from reenact.live.session import Session
from reenact.sinks.fanout import SinkSet
from support.fakes import FakeReenactor, FakeSink, FakeSource, until
from support.program import repository

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and terminals")

STARTING_RUN = """
import sys, time
from reenact.cli import commands
from reenact.cli.main import main

def load(arguments):
    try:
        print("ready", flush=True)
        time.sleep(60.0)
    except KeyboardInterrupt as error:
        time.sleep(1.0)
        raise RuntimeError("of an import") from error

commands.plugins = load
sys.exit(main(["plugins"]))
"""


def test_ctrl_c_while_libraries_load_is_acknowledged_at_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTING_RUN],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.stderr.readline() == "Stopping ...\n"
            assert process.poll() is None
            _, errors = process.communicate(timeout=20.0)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors == ""


def test_a_second_signal_ends_a_training_at_once() -> None:
    with Interruption(SAVING) as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.came
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with Interruption():
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)  # a session ends in its own time


IMPORTING_RUN = """
import os, signal, sys
from reenact.cli import commands
from reenact.cli.main import main

def load(arguments):
    # As in a callback of the imports, where an exception would be ignored.
    code = "import os, signal\\n"
    code += "try: os.kill(os.getpid(), signal.SIGINT)\\nexcept BaseException: pass"
    exec(compile(code, "<frozen importlib._bootstrap>", "exec"))

commands.plugins = load
sys.exit(main(["plugins"]))
"""

LOADING_RUN = """
import importlib.abc, runpy, signal, sys

class Interrupted(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "reenact.cli":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupted())
runpy.run_module("reenact", run_name="__main__")
"""

DEAF_RUN = """
import sys, time
from reenact.cli import commands
from reenact.cli.live import Interruption
from reenact.cli.main import main

def hold(arguments):
    if sys.argv[1] == "session":
        Interruption().__enter__()
    print("ready", flush=True)
    while True:
        try:
            time.sleep(60.0)
        except KeyboardInterrupt:
            pass

commands.plugins = hold
sys.exit(main(["plugins"]))
"""


def test_a_signal_in_the_middle_of_an_import_ends_the_program() -> None:
    run = [sys.executable, "-c", IMPORTING_RUN]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=60.0, check=False)
    assert (ended.returncode, ended.stderr) == (130, "Stopping ...\n")


def test_ctrl_c_before_the_command_line_is_loaded_ends_the_program_quietly() -> None:
    run = [sys.executable, "-c", LOADING_RUN]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=60.0, check=False)
    assert (ended.returncode, ended.stderr) == (130, "")


@pytest.mark.parametrize("where", ["command", "session"])
def test_the_third_signal_ends_a_program_that_does_not_answer(where: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DEAF_RUN, where], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            for _ in range(3):
                time.sleep(0.5)  # it is asleep again
                assert process.poll() is None
                process.send_signal(signal.SIGINT)
            process.communicate(timeout=20.0)
        finally:
            process.kill()
    assert process.returncode == 130


def test_a_signal_that_native_code_swallowed_ends_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reenact.cli.live.SIGNALS", [signal.SIGINT])
    session = Session(Settings(), FakeSource(None), FakeReenactor(), SinkSet([FakeSink()]))
    assert run_session(Controls(session), [])


def test_the_report_of_a_run_that_is_stopped_counts_every_frame(tmp_path: Path) -> None:
    interruption = Interruption()

    def draw_slowly(number: int) -> None:
        if number == 5:
            interruption.stop = True
            time.sleep(0.5)

    reenactor = FakeReenactor(step=draw_slowly)
    session = Session(Settings(), FakeSource(None), reenactor, SinkSet([FakeSink()]))
    run_session(Controls(session), [], tmp_path / "report.json", interruption)
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert report["frames_in"] == report["frames_out"] + sum(report["drops"].values())
    assert report["drops"]["stopped"] > 0


HANGING_RUN = """
import threading, time
from support.fakes import FakeReenactor, FakeSink, FakeSource
from reenact.cli import live as running
from reenact.config import Settings
from reenact.live.controls import Controls
from reenact.live.session import Session
from reenact.sinks.fanout import SinkSet

running._MAX_FINISH_S = 0.3
sink = FakeSink(on_write=lambda number: time.sleep(60.0 if number == 5 else 0.0))
session = Session(Settings(), FakeSource(None), FakeReenactor(), SinkSet([sink]))
running.run_session(Controls(session), [])
"""


def test_a_run_whose_output_hangs_is_abandoned_and_restores_the_terminal() -> None:
    import pty
    import termios

    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    with subprocess.Popen(
        [sys.executable, "-c", HANGING_RUN],
        stdin=theirs,
        stderr=subprocess.PIPE,
        text=True,
        cwd=repository() / "tests",
        start_new_session=True,
    ) as process:
        try:
            until(lambda: termios.tcgetattr(theirs) != before, timeout_s=60.0)
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20.0)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    assert "Stopping ..." in errors
    assert "does not respond" in errors
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
