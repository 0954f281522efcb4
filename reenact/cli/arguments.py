"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T", int, float)

Adder = argparse._SubParsersAction  # the type of add_subparsers has no public name

SIZES_PX: Final = (128, 256, 512, 720, 1024)


def add_assignments(parser: argparse.ArgumentParser, example: str = "drive.intensity=1.2") -> None:
    """Add --set."""
    parser.add_argument(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"change a setting, such as {example}; may be repeated",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the generator runs; auto: on CUDA if available (default: %(default)s)",
    )


def add_size(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --size, the side of `what` in px."""
    parser.add_argument(
        "--size",
        type=int,
        choices=SIZES_PX,
        default=256,
        help=f"side of the {what} in px (default: %(default)s)",
    )


def number(kind: type[T], low: float, high: float) -> Callable[[str], T]:
    """Return a parser of numbers from low to high, for argparse's `type`."""

    def parse(text: str) -> T:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    parse.__name__ = "number"  # argparse names it: "invalid number value"
    return parse


SHARE: Final = number(float, 0.1, 0.9)
MINUTES: Final = number(float, 0.01, 24 * 60)
SECONDS: Final = number(float, 5, 300)
COUNT: Final = number(int, 1, 10**9)
