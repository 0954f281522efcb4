"""Make the README's picture of the demo from the video that `reenact demo` wrote.

python -m tools.demo_picture reenact-demo.mp4
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import av
import numpy as np
from PIL import Image

FILE: Final = Path(__file__).parents[1] / "docs" / "images" / "demo.jpg"

TIMES_S: Final = (0.2, 9.7, 5.7, 8.4)
"""At rest, speaking, laughing, winking."""

BOXES: Final = ((100, 30, 560, 490), (770, 10, 1150, 390))
"""Faces of actor and target: left, top, right and bottom px of the video, which has 1280×640."""


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path, help="video that `reenact demo` wrote")
    with av.open(str(parser.parse_args().video)) as video:
        frames = list(video.decode(video=0))
    tiles = []
    for time_s in TIMES_S:
        frame = min(frames, key=lambda frame: abs((frame.time or 0.0) - time_s))
        picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
        for box in BOXES:
            face = picture.crop(box).resize((320, 320), Image.Resampling.LANCZOS)
            tiles.append(np.asarray(face))
    rows = [np.hstack(tiles[:4]), np.hstack(tiles[4:])]
    Image.fromarray(np.vstack(rows)).save(FILE, quality=88)


if __name__ == "__main__":
    main()
