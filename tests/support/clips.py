"""Generated pictures and videos for tests: frames that carry their number, colours."""

from __future__ import annotations

import struct
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.reformatter import ColorRange, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from reenact.types import Frame, Image, Source

_BITS = 12


def numbered_picture(number: int, size: tuple[int, int] = (160, 120)) -> Image:
    """Draw a number so that it survives any codec: 12 black or white columns, lowest bit left."""
    width, height = size
    bits = (number >> np.arange(_BITS)) & 1
    columns = np.arange(width) * _BITS // width
    grey = np.where(bits[columns] == 1, 235, 40).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(grey[None, :, None], (height, width, 3)))


def number_of(image: Image) -> int:
    """Read the number that `numbered_picture` drew."""
    height, width = image.shape[:2]
    centres = (np.arange(_BITS) * 2 + 1) * width // (2 * _BITS)
    bright = image[height // 2, centres].mean(axis=-1) > 128
    return int((bright.astype(int) << np.arange(_BITS)).sum())


def four_colours(size: tuple[int, int] = (160, 120)) -> Image:
    """Red, green / blue, white: top left, top right / bottom left, bottom right."""
    width, height = size
    image = np.full((height, width, 3), 255, np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    image[: height // 2, width // 2 :] = (0, 255, 0)
    image[height // 2 :, : width // 2] = (0, 0, 255)
    return image


def corners(image: Image) -> list[str]:
    """Name the colours in the four quarters, in reading order."""
    height, width = image.shape[:2]
    names = []
    for y in (height // 4, height * 3 // 4):
        for x in (width // 4, width * 3 // 4):
            bits = (image[y, x] > 128).astype(int)
            names.append({100: "red", 10: "green", 1: "blue", 111: "white"}.get(
                int(bits @ [100, 10, 1]), "other"
            ))  # fmt: skip
    return names


def write_clip(
    path: Path,
    frames: int = 30,
    *,
    fps: int = 30,
    size: tuple[int, int] = (160, 120),
    picture: Callable[[int], Image] | None = None,
    times_ms: Sequence[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    pixel_aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode a clip by PyAV; the path's ending says the container.

    `picture` draws frame i, RGB (default: `numbered_picture` of (width, height) px). `times_ms` are
    presentation times for a variable rate, instead of `fps`. `codec` and `pix_fmt` are FFmpeg's
    names, `options` those of the container. `pixel_aspect` is width over height of a pixel.
    """
    draw = picture or (lambda index: numbered_picture(index, size))
    first = draw(0)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = pix_fmt
        if codec in ("libx264", "libx265"):
            stream.options = {"crf": "12", "g": "10", "x265-params": "log-level=none"}
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if times_ms is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(draw(index), format="rgb24")
            frame.pts = index if times_ms is None else times_ms[index]
            frame.time_base = Fraction(1, fps) if times_ms is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_yuv(
    path: Path,
    colours: NDArray[np.float64],
    weights: tuple[float, float],
    *,
    says: int,
    curve: ColorTrc = ColorTrc.UNSPECIFIED,
    size: tuple[int, int] | None = None,
) -> None:
    """Write one frame of columns of colours as YUV, 10 bits, limited range, without loss.

    Args:
        path: the file.
        colours: (N, 3) RGB codes, 0 to 1.
        weights: how much red and blue count in Y.
        says: FFmpeg's number of the matrix that the file names; 2: none.
        curve: the transfer function that it names.
        size: (width, height) px; None: 16 px a colour.
    """
    width, height = size or (16 * len(colours), 16)
    red, blue = weights
    luma = colours @ [red, 1 - red - blue, blue]
    planes = [
        64 + 876 * luma,
        512 + 448 * (colours[:, 2] - luma) / (1 - blue),
        512 + 448 * (colours[:, 0] - luma) / (1 - red),
    ]
    columns = np.arange(width) * len(colours) // width
    levels = np.rint(np.stack(planes)[:, None, columns]).astype(np.uint16).repeat(height, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", 25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p10le"
        frame = av.VideoFrame(width, height, "yuv444p10le")
        for plane, values in zip(frame.planes, levels, strict=True):
            padded = np.zeros((height, plane.line_size // 2), np.uint16)
            padded[:, :width] = values
            plane.update(padded.tobytes())
        context = stream.codec_context
        frame.colorspace = context.colorspace = says
        context.color_trc, context.color_range = curve, ColorRange.MPEG
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux([*stream.encode(frame), *stream.encode()])


def write_sound(path: Path, cover: Image | None = None) -> Path:
    """Encode half a second of silence without a picture, or with one on its cover only."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        if cover is not None:
            picture = container.add_stream("png", rate=1)
            assert isinstance(picture, VideoStream)
            picture.height, picture.width = cover.shape[:2]
            picture.pix_fmt = "rgb24"
            picture.disposition = Disposition.attached_pic
            container.mux(picture.encode(av.VideoFrame.from_ndarray(cover, format="rgb24")))
            container.mux(picture.encode())
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 22050), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_talk(
    path: Path,
    *,
    beep_s: float,
    pictures_from_s: float = 0.0,
    sound_from_s: float = 0.0,
    codec: str = "aac",
    layout: str = "mono",
    sound_until_s: float = 2.0,
) -> Path:
    """Encode two seconds of numbered pictures, 25 a second, with a tone that begins at a time."""
    rate, block = 48000, 960
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=25)
        assert isinstance(pictures, VideoStream)
        pictures.width, pictures.height = 160, 120
        pictures.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream(codec, rate=rate)
        assert isinstance(sound, AudioStream)
        sound.layout = layout
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(numbered_picture(index), format="rgb24")
            frame.pts = round(1000 * pictures_from_s) + 40 * index
            frame.time_base = Fraction(1, 1000)
            container.mux(pictures.encode(frame))
        first = round(rate * sound_from_s)
        for start in range(first, round(rate * (sound_until_s + pictures_from_s)), block):
            times_s = np.arange(start, start + block) / rate
            wave = np.sin(2 * np.pi * 1000 * times_s) * (times_s >= beep_s) * 20000
            samples = np.repeat(wave.astype(np.int16), sound.codec_context.channels)[None]
            heard = av.AudioFrame.from_ndarray(samples, "s16", layout)
            heard.sample_rate, heard.pts, heard.time_base = rate, start, Fraction(1, rate)
            container.mux(sound.encode(heard))
        container.mux(pictures.encode())
        container.mux(sound.encode())
    return path


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Overwrite an MP4's identity display matrix in place (ISO 14496-12: x' = ax + cy)."""
    data = path.read_bytes()
    one = 1 << 16
    identity = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    place = data.index(identity, data.index(b"tkhd"))
    matrix = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:place] + matrix + data[place + len(matrix) :])
    return path


def read_all(source: Source) -> list[Frame]:
    """Read a source to its end and close it."""
    frames = []
    with source:
        while (frame := source.read()) is not None:
            frames.append(frame)
    return frames


def close_while_reading(source: Source, frames: int) -> None:
    """Close a source, twice, after another thread has read some frames; its reads must end."""
    seen: list[Frame | None] = []

    def read() -> None:
        while not seen or seen[-1] is not None:
            seen.append(source.read())

    thread = threading.Thread(target=read)
    thread.start()
    while len(seen) < frames:
        time.sleep(0.005)
    source.close()
    source.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert seen[-1] is None
    assert source.read() is None


def write_png(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Path:
    """Store pixels as OpenCV has them (grey, BGR or BGRA)."""
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path


def png_claiming(width: int, height: int) -> bytes:
    """Return the start of a PNG whose header claims a size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = struct.pack(">I", 60) + b"IDAT" + bytes(64)
    return b"\x89PNG\r\n\x1a\n" + body + data
