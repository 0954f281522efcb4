"""Writes the demo's composed face as photo, painting, sketch and grey picture, and a cat.

    python benchmarks/invented_faces.py FOLDER

`reenact evaluate --protocol emotions --data FOLDER` makes the contact sheet in
`benchmarks/papers.md` from them and their landmarks. Akram 2020 shows that pixel regression also
works on drawings and animals. The cat is scikit-image's Chelsea, in the public domain; her
landmarks follow from points placed by hand.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import cv2
import numpy as np
from skimage import data

from reenact.storage import write_png
from reenact.targets.builder import create_target
from reenact.targets.library import built_in_portrait, still_tracker, target_from_image
from reenact.targets.manual_landmarks import Points
from reenact.types import Array, Image, Target

SIZE_PX = 512

CAT_POINTS: Final[Points] = {
    "left_eye_outer": (135, 105),
    "left_eye_inner": (208, 143),
    "right_eye_inner": (296, 150),
    "right_eye_outer": (342, 115),
    "nose_tip": (268, 238),
    "mouth_left": (205, 272),
    "mouth_right": (300, 262),
    "chin": (248, 300),
    "left_eye_top": (177, 87),
    "left_eye_bottom": (170, 146),
    "right_eye_top": (323, 111),
    "right_eye_bottom": (313, 163),
}
"""Places in px of the picture."""


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


def write_face(folder: Path, name: str, picture: Image, landmarks: Array) -> None:
    """Write a picture, NAME.png, and its (478, 3) landmarks, NAME.npz."""
    write_png(folder / f"{name}.png", picture)
    np.savez_compressed(folder / f"{name}.npz", landmarks=landmarks.astype(np.float16))


def main(folder: Path) -> None:
    """Write NAME.png with NAME.npz for each version, and for the cat."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as temporary, closing(still_tracker()) as tracker:
        target = target_from_image("robin", built_in_portrait("robin"), tracker)
        photo = Path(temporary, "cat.png")
        write_png(photo, data.chelsea())  # type: ignore[no-untyped-call]
        cat = create_target("cat", [photo], tracker, landmarks=CAT_POINTS)
    picture, points = face_of(target)
    for name, variant in variants(picture).items():
        write_face(folder, name, variant, points)
    write_face(folder, "cat", *face_of(cat))


def face_of(target: Target) -> tuple[Image, Array]:
    """Return the picture of a target at `SIZE_PX`, and its landmarks."""
    side = target.crop_size
    picture = cv2.resize(target.references[0], (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_CUBIC)
    return np.asarray(picture, np.uint8), target.landmarks[0] * np.float32(SIZE_PX / side)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
