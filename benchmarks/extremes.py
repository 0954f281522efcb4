"""Draws a contact sheet of single expressions and turned heads, one photo per row.

    python benchmarks/extremes.py OUT.png [PHOTO ...]

Without photos the target is scikit-image's astronaut.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reenact.config import Settings
from reenact.evaluation.contact_sheet import SheetRow, compose
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.single_expressions import (
    SINGLE_EXPRESSIONS,
    TURNS,
    measure_single_expressions,
)
from reenact.registry import load
from reenact.storage import write_png
from reenact.targets.library import open_target

CROP_PX = 256


def main(out: Path, names: list[str]) -> None:
    """Write the sheet; each photo's own face acts, at rest except for one expression."""
    settings = Settings()
    settings.actor.neutral = "fresh"
    renderer = load("renderers", "warp_unet").make(settings.renderer)
    rows = []
    with FaceReader() as reader:
        for name in names:
            target = open_target(name, CROP_PX)
            renderer.prepare(target)
            _, peaks = measure_single_expressions(
                target, renderer, reader, settings, points=target.neutral, size=(CROP_PX, CROP_PX)
            )
            rows.append(SheetRow(target.name, [target.references[0], *peaks]))
    write_png(out, compose(["photo", *SINGLE_EXPRESSIONS, *TURNS], rows)[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="contact sheet to write, PNG")
    parser.add_argument("photo", nargs="*", help="targets (default: scikit-image's astronaut)")
    arguments = parser.parse_args()
    main(arguments.out, arguments.photo or ["astronaut"])
