"""`reenact export FOLDER --renderer pixel_regression`: a model that needs only numpy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reenact.storage import atomic_write, make_folder, write_json
from reenact_pixel_regression import NAME, portable, shipped_weights
from reenact_pixel_regression.alignment import INDEX, frame_points
from reenact_pixel_regression.knots import EXPRESSIONS, load_knots

if TYPE_CHECKING:
    from reenact.models.export import Format


def export(folder: Path, kind: Format, size_px: int, weights: Path | None = None) -> Iterator[str]:
    """Write the tables and a script that applies them; satisfies `models.export.Exporter`.

    The tables have one byte per entry and need no network format, so `kind` is not used. Neither is
    `size_px`: the model works in its own frame on photos of any size. The difference of a knot from
    its input is stored in 8 bits, with one scale per expression.
    """
    del kind, size_px
    knots = load_knots(weights or shipped_weights())
    straight = np.linspace(0, 1, knots.shape[1], dtype=np.float32)[:, None, None, None]
    difference = knots - straight
    scale = np.abs(difference).max(axis=(1, 2, 3, 4)) / 127
    stored = np.round(difference / np.maximum(scale, 1e-9)[:, None, None, None, None])
    model, script = folder / f"{NAME}.npz", folder / f"{NAME}.py"
    make_folder(folder)
    with atomic_write(model) as partial:
        np.savez_compressed(
            partial,
            knots=stored.astype(np.int8),
            scale=scale.astype(np.float32),
            points=frame_points(),
            index=np.array(INDEX, np.int16),
            emotions=np.array(EXPRESSIONS),
        )
    with atomic_write(script) as partial:
        shutil.copyfile(portable.__file__, partial)
    faces = {"shape": ["H", "W", 3], "type": "uint8", "meaning": "RGB, of any size"}
    points = {"shape": [478, 3], "type": "float32", "meaning": "MediaPipe's landmarks, px"}
    described = {
        "inputs": {"photo": faces, "landmarks": points},
        "outputs": {"drawn": {**faces, "meaning": "RGB, with the emotion"}},
    }
    write_json(
        folder / "export.json",
        {"emotions": EXPRESSIONS, "script": script.name, "networks": {model.name: described}},
    )
    yield f"{model}: {model.stat().st_size / 1000:.0f} kB, {json.dumps(EXPRESSIONS)}."
    yield f"{script}: applies it, with numpy alone; its first lines say how."
