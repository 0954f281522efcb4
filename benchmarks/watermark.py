"""Measures how surely the watermark is found after a call has scaled and compressed the pictures.

    python benchmarks/watermark.py take.npy PHOTO ...

The performance, made by `reenact live --sink landmarks:take.npy`, drives every photo. The table has
the scores of the marked pictures, and the highest score of the same pictures without the mark.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, cast

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

from reenact.config import Settings
from reenact.live.pipeline import open_reenactor
from reenact.sinks.watermark import watermark_score, watermarked
from reenact.sources.landmarks import LandmarksSource
from reenact.stats import StepTimer
from reenact.targets.library import open_target
from reenact.types import Image

FRAMES: Final = 60
FPS: Final = 25

Change = Callable[[Sequence[Image]], Sequence[Image]]


def compressed(codec: str, kbps: int, size: tuple[int, int]) -> Change:
    """Return a change that scales pictures to (width, height), encodes and decodes them."""
    fast = {"preset": "veryfast", "tune": "zerolatency"}
    options = fast if codec == "libx264" else {"deadline": "realtime", "cpu-used": "8"}

    def change(pictures: Sequence[Image]) -> Sequence[Image]:
        file = io.BytesIO()
        with av.open(file, "w", format="matroska") as container:
            stream = cast(VideoStream, container.add_stream(codec, FPS, options))
            stream.width, stream.height = size
            stream.pix_fmt, stream.bit_rate = "yuv420p", kbps * 1000
            for picture in pictures:
                small = reduced(picture, size)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
            container.mux(stream.encode())
        file.seek(0)
        with av.open(file, "r") as decoded:
            return [
                np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                for frame in decoded.decode(video=0)
            ]

    return change


def reduced(picture: Image, size: tuple[int, int]) -> Image:
    """Return a picture at (width, height)."""
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def in_scene(pictures: Sequence[Image]) -> Sequence[Image]:
    """Lay the pictures, reduced, into a scene of 1280x720 px, and compress it."""
    scenes = []
    for picture in pictures:
        scene = np.full((720, 1280, 3), 60, np.uint8)
        scene[200:632, 700:1132] = reduced(picture, (432, 432))
        scenes.append(scene)
    return compressed("libx264", 1500, (1280, 720))(scenes)


def cropped(pictures: Sequence[Image]) -> Sequence[Image]:
    """Cut off a fifth of the pictures, and compress the rest."""
    kept = [picture[len(picture) // 10 : -len(picture) // 10] for picture in pictures]
    kept = [picture[:, len(picture) // 8 : len(picture) // 8 + len(picture)] for picture in kept]
    return compressed("libx264", 500, (400, 400))(kept)


def one_jpeg(pictures: Sequence[Image]) -> Sequence[Image]:
    """Return one of the pictures as a JPEG of quality 70 has it."""
    content = cv2.imencode(".jpg", pictures[len(pictures) // 2], [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
    return [np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)]


CHANGES: Final[dict[str, Change]] = {
    "none": lambda pictures: pictures,
    "H.264, 512×512, 600 kbit/s": compressed("libx264", 600, (512, 512)),
    "H.264, 360×360, 250 kbit/s": compressed("libx264", 250, (360, 360)),
    "VP8, 360×360, 400 kbit/s": compressed("libvpx", 400, (360, 360)),
    "four fifths, H.264, 500 kbit/s": cropped,
    "432 px in a scene, H.264, 1500 kbit/s": in_scene,
    "one picture, JPEG 70": one_jpeg,
}


def drawn(performance: str, photo: str) -> list[Image]:
    """Draw the photo at 512 px, driven by the performance."""
    settings = Settings()
    settings.actor.neutral = "fresh"
    settings.output.picture = "crop"
    source = LandmarksSource(performance)
    reenactor = open_reenactor(settings, open_target(photo, 512), StepTimer(), tracked=False)
    try:
        frames = islice(iter(source.read, None), FRAMES)
        return [reduced(reenactor.step(frame).image, (512, 512)) for frame in frames if frame]
    finally:
        reenactor.close()


def main(performance: str, photos: Sequence[str]) -> None:
    """Print the table."""
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in CHANGES}
    times_ms = []
    for photo in photos:
        pictures = drawn(performance, photo)
        marked = []
        for picture in pictures:
            start_s = time.perf_counter()
            marked.append(watermarked(picture))
            times_ms.append(1000 * (time.perf_counter() - start_s))
        for name, change in CHANGES.items():
            scores[name].append(
                (watermark_score(change(marked)), watermark_score(change(pictures)))
            )
        print(Path(photo).stem, *(f"{scores[name][-1][0]:.1f}" for name in CHANGES), flush=True)
    print("| pictures | median | lowest | highest without the mark |\n|---|---:|---:|---:|")
    for name, pairs in scores.items():
        own, others = np.array(pairs).T
        print(f"| {name} | {np.median(own):.1f} | {own.min():.1f} | {others.max():.1f} |")
    print(f"Marking takes {np.median(times_ms):.2f} ms.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("performance", help="landmarks of an actor, .npy")
    parser.add_argument("photo", nargs="+", help="targets")
    arguments = parser.parse_args()
    main(arguments.performance, arguments.photo)
