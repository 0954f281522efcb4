"""Writes the demo's composed face as photo, painting, sketch and grey picture, with landmarks.

    python benchmarks/invented_faces.py FOLDER

`reenact evaluate --protocol emotions --data FOLDER` makes the contact sheet in
`benchmarks/papers.md` from them. Akram 2020 shows that pixel regression also works on drawings.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from reenact.storage import write_png
from reenact.targets.library import built_in_portrait, still_tracker, target_from_image
from reenact.types import Image

SIZE_PX = 512


def variants(picture: Image) -> dict[str, Image]:
    """Return the unchanged picture and three drawn versions, by name, uint8 (S, S, 3) RGB."""
    blue_first = np.ascontiguousarray(picture[..., ::-1])
    painted = cv2.stylization(blue_first, sigma_s=40, sigma_r=0.5)
    grey = cv2.cvtColor(blue_first, cv2.COLOR_BGR2GRAY)
    sketched = cv2.divide(grey, 255 - cv2.GaussianBlur(255 - grey, (0, 0), 6), scale=256)
    return {
        "photo": picture,
        "painting": np.ascontiguousarray(painted[..., ::-1]),
        "sketch": np.repeat(sketched[..., None], 3, axis=2),
        "grey": np.repeat(grey[..., None], 3, axis=2),
    }


def main(folder: Path) -> None:
    """Write NAME.png with NAME.npz for each version."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(still_tracker()) as tracker:
        target = target_from_image("robin", built_in_portrait("robin"), tracker)
    side = target.crop_size
    picture = cv2.resize(target.references[0], (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_CUBIC)
    points = target.landmarks[0] * np.float32(SIZE_PX / side)
    for name, variant in variants(np.asarray(picture, np.uint8)).items():
        write_png(folder / f"{name}.png", variant)
        np.savez_compressed(folder / f"{name}.npz", landmarks=points.astype(np.float16))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
