"""Runs `check_*.py` inside a virtual machine, the guest, which is booted once for all tests.

On the host, each test function is an item that takes its outcome from the guest's report. In the
guest, the same files are ordinary tests.
"""

from __future__ import annotations

import ast
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from guest.image import GuestUnavailable
from guest.machine import IN_GUEST, run_in_guest

_REPORT: Final = "report.jsonl"
_BOOT_TIMEOUT_S: Final = 900.0
_TEST_TIMEOUT_S: Final = 600
_TAIL: Final = 3000  # characters of the console that are shown


@dataclass
class Boot:
    """The result of the boot that all checks of this run share, or why there was none."""

    unavailable: str
    console: str
    reports: dict[str, list[dict[str, str]]]


_boot: Final = pytest.StashKey[Boot]()


class CheckFailed(Exception):  # noqa: N818 - carries a failure's text from the guest
    """A test failed in the guest; holds its report."""


class CheckFile(pytest.File):
    """A file of tests for the guest; the host does not import it."""

    def collect(self) -> Iterator[pytest.Item]:
        tree = ast.parse(self.path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                item = CheckItem.from_parent(self, name=node.name)
                on_demand = self.path.stem.endswith("_browser")
                item.add_marker("guest_browser" if on_demand else "guest")
                item.add_marker(pytest.mark.timeout(int(_BOOT_TIMEOUT_S) + 120))
                yield item


class CheckItem(pytest.Item):
    """One test function, with all its parameters."""

    def runtest(self) -> None:
        boot = self.config.stash.get(_boot, None)
        if boot is None:
            boot = self.config.stash[_boot] = _run_all(self.session)
        if boot.unavailable:
            pytest.skip(boot.unavailable)
        reports = boot.reports.get(f"{self.path.name}::{self.name}", [])
        failures = [report["text"] for report in reports if report["outcome"] == "failed"]
        if failures:
            raise CheckFailed("\n\n".join(failures))
        if not any(report["when"] == "teardown" for report in reports):
            raise CheckFailed(f"The guest did not get to this test.\n{boot.console[-_TAIL:]}")
        skipped = [report["text"] for report in reports if report["outcome"] == "skipped"]
        ran = any(report["when"] == "call" and report["outcome"] == "passed" for report in reports)
        if skipped and not ran:
            pytest.skip(skipped[0])

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, CheckFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"in the guest: {self.name}"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if IN_GUEST or not file_path.name.startswith("check_") or file_path.suffix != ".py":
        return None
    return CheckFile.from_parent(parent, path=file_path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that run on demand only, unless they are asked for."""
    if not IN_GUEST and "guest_browser" not in str(config.getoption("markexpr")):
        on_demand = [item for item in items if item.get_closest_marker("guest_browser")]
        items[:] = [item for item in items if item not in on_demand]
        config.hook.pytest_deselected(items=on_demand)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if not IN_GUEST:
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    line = {
        "test": report.nodeid.rpartition("/")[2],
        "when": report.when,
        "outcome": report.outcome,
        "text": f"{report.nodeid}\n{reason}" if report.failed else reason,
        "duration_s": f"{report.duration:.1f}",
    }
    with Path("/out", _REPORT).open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


def _run_all(session: pytest.Session) -> Boot:
    """Boot once for all checks that were selected."""
    nodes = [f"{item.path}::{item.name}" for item in session.items if isinstance(item, CheckItem)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_timeout", *nodes]
    options = {"addopts": "--strict-markers", "timeout": str(_TEST_TIMEOUT_S)}
    command += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    reports: dict[str, list[dict[str, str]]] = {}
    with tempfile.TemporaryDirectory(prefix="guest") as out:
        try:
            finished = run_in_guest(
                command,
                Path(out),
                timeout_s=_BOOT_TIMEOUT_S,
                environment={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            )
        except GuestUnavailable as problem:
            return Boot(str(problem), "", {})
        for report in _lines(Path(out, _REPORT)):
            reports.setdefault(report["test"].partition("[")[0], []).append(report)
    return Boot("", finished.console, reports)


def _lines(path: Path) -> Iterable[dict[str, str]]:
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)
