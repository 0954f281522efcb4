"""The shipped generator draws as well as it did: recorded figures, with a tolerance.

They move when its weights, its inputs or the path of a frame change. Where that is an
improvement, record the new ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from reenact.evaluation.runner import EvaluationOptions, evaluate
from reenact.testing.moving_portrait import write_two_people

GENERATED = {
    "psnr": (30.54, 0.5),
    "ssim": (0.931, 0.008),
    "face_psnr": (31.40, 0.5),
    "face_ssim": (0.949, 0.008),
    "sharpness": (1.21, 0.06),
    "au_error": (0.020, 0.006),
    "mouth_open_error": (0.103, 0.03),
    "akd_px": (0.72, 0.15),
    "flicker": (0.139, 0.04),
}
"""Of `warp_unet` on the portrait that turns, its mirror image included: figure and tolerance."""


@pytest.mark.slow
def test_generated_clips_are_drawn_as_well_as_recorded(tmp_path: Path) -> None:
    write_two_people(tmp_path)
    options = EvaluationOptions(progress=False)
    copy, warp, generator = (
        report["mean"] for report in evaluate(["warp_unet"], tmp_path, options)
    )
    found = {name: generator[name] for name in GENERATED}
    assert found == {
        name: pytest.approx(figure, abs=tolerance)
        for name, (figure, tolerance) in GENERATED.items()
    }
    assert copy["psnr"] + 2 < warp["psnr"] < generator["psnr"] - 9
    assert generator["tracked"] == 1
