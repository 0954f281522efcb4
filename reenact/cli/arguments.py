"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from typing import Final

Adder = argparse._SubParsersAction  # the type of add_subparsers has no public name

SIZES_PX: Final = (128, 256, 512)


def add_assignments(parser: argparse.ArgumentParser) -> None:
    """Add --set."""
    parser.add_argument(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting, such as fusion.intensity=1.2; may be repeated",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the generator runs; auto: on CUDA if available (default: %(default)s)",
    )


def share(text: str) -> float:
    """Parse a share from 0.1 to 0.9."""
    value = float(text)
    if not 0.1 <= value <= 0.9:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.1 and 0.9")
    return value


def minutes(text: str) -> float:
    """Parse a duration in minutes of at most a day."""
    value = float(text)
    if not 0 < value <= 24 * 60:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {24 * 60} minutes")
    return value


def count(text: str) -> int:
    """Parse a positive integer."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value
