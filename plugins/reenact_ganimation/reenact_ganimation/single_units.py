"""Nine action units of a photo, each alone at four intensities (Pumarola 2018; Syed 2023, §5).

    python -m reenact_ganimation.single_units PHOTO... --sheet SHEET.png

prints the activation that is read from the pictures for each unit at each intensity, relative to
the photo, averaged over the photos. The sheet shows the first photo, a unit per column. Intensity 0
is the photo itself. `--weights` selects a weight file, and `--renderer` another renderer that is
driven by action units.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from reenact.cli.arguments import add_size
from reenact.config import RendererSettings
from reenact.errors import ReenactError
from reenact.evaluation.contact_sheet import SheetRow, write_sheets
from reenact.evaluation.emotions import photo_target
from reenact.evaluation.face_reader import FaceReader, own_shape, units_of
from reenact.evaluation.metrics import markdown_table
from reenact.face.action_units import typical_deviation
from reenact.face.geometry import estimate_pose, to_face_frame, to_image
from reenact.face.topology import ACTION_UNITS
from reenact.lifecycle import separate_python_stderr
from reenact.live.drives import still_expression
from reenact.registry import load
from reenact.types import Drive, Image, Renderer, Target

UNITS: Final = {
    "brows raised (1+2)": ("brow_raise_left", "brow_raise_right"),
    "brows lowered (4)": ("brow_lower",),
    "eyes wide (5)": ("eye_wide",),
    "upper lip raised (10)": ("upper_lip_raise",),
    "smile (12)": ("smile_left", "smile_right"),
    "frown (15)": ("frown",),
    "stretch (20)": ("stretch",),
    "mouth open (25)": ("mouth_open",),
    "jaw drop (26)": ("jaw_drop",),
}
"""The units by name, with their FACS numbers."""

INTENSITIES: Final = (0.0, 1 / 3, 2 / 3, 1.0)


def unit_drive(target: Target, units: Sequence[str], intensity: float) -> Drive:
    """Return the drive of a target at rest that shows only these units."""
    index = [ACTION_UNITS.index(one) for one in units]
    active = np.zeros(len(ACTION_UNITS), np.float32)
    active[index] = intensity
    deviation = typical_deviation(active)
    pose = estimate_pose(target.neutral)
    landmarks = to_image(to_face_frame(target.neutral, pose) + deviation, pose)
    still = still_expression()
    return Drive(landmarks, replace(still, deviation=deviation, action_units=active))


def draw(renderer: Renderer, target: Target) -> dict[str, list[Image]]:
    """Return the pictures of each of `UNITS`, one an intensity."""
    renderer.prepare(target)
    return {
        name: [renderer.render(unit_drive(target, units, one)) for one in INTENSITIES]
        for name, units in UNITS.items()
    }


def read_back(
    pictures: dict[str, list[Image]], target: Target, reader: FaceReader
) -> dict[str, list[float]]:
    """Return the activation read from each picture; NaN if no face is found."""
    seen = reader.track(target.references[0])
    rest = to_face_frame(target.neutral, estimate_pose(target.neutral))
    if seen is not None:
        rest = own_shape(seen, rest)

    def activation(picture: Image, units: Sequence[str]) -> float:
        points = reader.track(picture)
        if points is None:
            return float("nan")
        return float(units_of(points, rest)[[ACTION_UNITS.index(one) for one in units]].mean())

    return {
        name: [activation(picture, UNITS[name]) for picture in row]
        for name, row in pictures.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--sheet", type=Path, help="file for the pictures, a .png")
    parser.add_argument("--renderer", default="ganimation")
    parser.add_argument("--weights", default="", help="weight file; empty: the renderer's own")
    add_size(parser, "pictures")
    options = parser.parse_args(arguments)
    try:
        settings = RendererSettings(name=options.renderer, weights=options.weights)
        renderer = load("renderers", options.renderer).make(settings)
        runs, read = [], []
        with FaceReader() as reader:
            for photo in options.photos:
                target = photo_target(photo, options.size, options.renderer, reader)
                runs.append(draw(renderer, target))
                read.append(read_back(runs[-1], target, reader))
        levels = [f"{one:.2f}" for one in INTENSITIES]
        if options.sheet:
            rows = [
                SheetRow(level, [run[number] for run in runs[0].values()])
                for number, level in enumerate(levels)
            ]
            write_sheets(options.sheet, list(UNITS), rows)
    except ReenactError as error:
        print(error, file=sys.stderr)
        return 2
    means = {name: np.nanmean([one[name] for one in read], axis=0) for name in UNITS}
    lines = [[name, *(f"{one:.2f}" for one in row)] for name, row in means.items()]
    print(markdown_table(["unit", *levels], lines))
    return 0


if __name__ == "__main__":
    separate_python_stderr()  # MediaPipe's own messages say nothing to the user
    sys.exit(main())
