"""`reenact bench --compare A B`: measures two sides in alternation under equal conditions.

A side is a list of words: `section.key=value` sets a setting, and a path selects another installed
version. The path is either the Python of an environment or a folder of installed packages
(`pip install --target`). The word `this`, or no path, selects the running version. Each measurement
is a process that runs that version's `reenact bench`. The sides alternate, and so does the side
that goes first.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

from reenact.errors import ConfigError, ReenactError, counted
from reenact.evaluation.benchmark import describe_machine
from reenact.lifecycle import LIBRARY_VARIABLES
from reenact.live.settings import load_settings
from reenact.registry import check_renderer
from reenact.storage import check_writable, write_json

_LOAD: Final = (
    "import sys; sys.path = [path for path in sys.path if path]\n"
    "from importlib.metadata import entry_points\n"
    "found = list(entry_points(group='console_scripts', name='reenact'))\n"
    "run = found[0].load() if found else sys.exit('it holds no reenact')\n"
)
"""Runs the command line of the version that the interpreter finds, not that of the folder."""


def compare(
    sides: Sequence[str],
    options: Sequence[str],
    rounds: int,
    json_path: Path | None = None,
    *,
    assignments: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure both sides in alternation, print a table and write the report.

    Everything that can be checked in advance is checked before the first measurement.

    Args:
        sides: two descriptions, see the module's docstring.
        options: options of `reenact bench` for both sides; an older version must know them too.
        rounds: number of measurements of each side.
        json_path: file that receives the report.
        assignments: `section.key=value` for both sides.

    Returns:
        `machine`, `sides`, `rounds`, and `figures`. The latter holds, by dotted name, every figure
        that both sides report: median, minimum and maximum of each side (`a`, `b`) and of the
        `ratio` of the second side to the first within a round.

    Raises:
        ConfigError: a side is neither settings nor a version, or a setting is wrong.
        ReenactError: a renderer or its weights are missing, a side has no reenact, or a
            measurement failed.
    """
    if json_path is not None:
        check_writable(json_path)
    commands = [_command(side, assignments) for side in sides]
    found: list[list[dict[str, float]]] = [[], []]
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            found[side].append(_measure(*commands[side], options))
            print(f"round {number + 1}: {'AB'[side]} {sides[side]}", file=sys.stderr, flush=True)
    figures: dict[str, Any] = {}
    for name in found[0][0]:
        pairs = [(a[name], b[name]) for a, b in zip(*found, strict=True) if name in a and name in b]
        if pairs:
            first, second = zip(*pairs, strict=True)
            ratios = [b / a for a, b in pairs if a > 0]
            figures[name] = {"a": _spread(first), "b": _spread(second), "ratio": _spread(ratios)}
    report = {
        "machine": describe_machine(),
        "sides": list(sides),
        "rounds": rounds,
        "figures": figures,
    }
    print(_as_table(report))
    if json_path is not None:
        write_json(json_path, report)
    return report


def _as_table(report: Mapping[str, Any]) -> str:
    """Return the report as a Markdown table: medians, with minimum and maximum in brackets."""
    machine, sides = report["machine"], report["sides"]
    lines = [
        f"A: {sides[0]}; B: {sides[1]}; {counted(report['rounds'], 'round')} on {machine['cpu']}, "
        f"{machine['cores']} cores, load {machine['load']}, {machine['date']}",
        "",
        "| figure | A | B | B / A |",
        "| --- | ---: | ---: | ---: |",
    ]
    cell = "{median:.4g} ({least:.4g}–{greatest:.4g})"
    for name, row in report["figures"].items():
        cells = (cell.format(**row[key]) if row[key] else "–" for key in ("a", "b", "ratio"))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _command(side: str, assignments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the start of a side's command, and its environment variables."""
    python, own = sys.executable, list(assignments)
    # Another version sets its own.
    variables = {k: v for k, v in os.environ.items() if LIBRARY_VARIABLES.get(k) != v}
    is_this = True
    for word in side.split():
        path = Path(word).expanduser().absolute()  # resolving links would leave the environment
        if "=" in word:
            own.append(word)
        elif path.is_dir():
            found = distributions(path=[str(path)])
            if not any(one.metadata["Name"] == "reenact" for one in found):
                raise ConfigError(f"{word} has no installed reenact; see pip install --target.")
            folders = str(path), variables.get("PYTHONPATH", "")
            variables["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
            is_this = False
        elif path.is_file():
            python, is_this = str(path), False
        elif word != "this":
            raise ConfigError(
                "--compare takes section.key=value, the Python of an environment, a folder of "
                f"installed packages, or `this`, not {word!r}."
            )
    if is_this:
        check_renderer(load_settings(None, own).renderer)
    else:
        _check_version(side, python, variables)
    settings = [word for text in own for word in ("--set", text)]
    return [python, "-c", f"{_LOAD}sys.exit(run())", "bench", *settings], variables


def _check_version(side: str, python: str, variables: dict[str, str]) -> None:
    """Raise ReenactError if a side's program cannot be loaded."""
    words = [python, "-c", _LOAD]
    try:
        done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ReenactError(f"{side} cannot be run: {error.strerror}.") from error
    if done.returncode != 0:
        said = done.stderr.strip() or f"it ends with {done.returncode}"
        raise ReenactError(f"{side} cannot be run: {said.splitlines()[-1]}.")


def _measure(
    command: Sequence[str], variables: dict[str, str], options: Sequence[str]
) -> dict[str, float]:
    """Return every number of a report by its dotted name; a single size is left out of the name."""
    with tempfile.TemporaryDirectory(prefix="reenact-") as folder:
        path = Path(folder, "bench.json")
        words = [*command, *options, "--json", str(path)]
        done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ReenactError(f"A measurement failed: {done.stderr.strip()}")
        report = json.loads(path.read_text(encoding="utf-8"))
    sizes = report["sizes"]
    figures = next(iter(sizes.values())) if len(sizes) == 1 else sizes
    rest = {key: report[key] for key in ("start_s", "memory_mb")}
    return dict(_numbers("", {**figures, **rest}))


def _numbers(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{prefix}{key}.", value)
        elif isinstance(value, int | float):
            yield f"{prefix}{key}", float(value)


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    of = {"median": statistics.median(values), "least": min(values), "greatest": max(values)}
    return {name: round(value, 3) for name, value in of.items()}
