"""Video files for tests: written by the file sink and read back with PyAV."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from reenact.sinks.video_file import FileSink
from reenact.types import Frame, Image
from support.clips import numbered_picture


def record(path: Path, times_s: list[float], fps: float = 25.0, crf: int = 18) -> None:
    with FileSink(path, crf) as sink:
        sink.open((160, 120), fps)
        for index, time_s in enumerate(times_s):
            sink.write(Frame(numbered_picture(index), time_s, index))


def read(path: Path) -> tuple[list[float], list[Image]]:
    """Return times in s and pictures, converted as the file's own tags say."""
    times, pictures = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.time is not None
            times.append(frame.time)
            # PyAV 14 ignores the colour spaces if the two are the same.
            rgb = frame.reformat(format="rgb24", src_colorspace="ITU709", dst_colorspace="ITU601")
            pictures.append(rgb.to_ndarray().astype(np.uint8))
    return times, pictures


def read_with_alpha(path: Path) -> tuple[list[float], list[NDArray[np.uint8]]]:
    """Return times in s and pictures, uint8 (H, W, 4) RGBA.

    FFmpeg's own decoder of VP9 leaves the alpha channel out; that of libvpx reads it.
    """
    times, pictures = [], []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        vp9 = path.suffix == ".webm"
        decoder = VideoCodecContext.create("libvpx-vp9", "r") if vp9 else stream.codec_context
        for packet in container.demux(stream):
            for frame in decoder.decode(packet):
                assert frame.pts is not None
                times.append(float(frame.pts * packet.time_base))
                # With 8 bits FFmpeg leaves out the last columns of some widths.
                rgba = frame.reformat(
                    format="rgba64le", src_colorspace="ITU709", dst_colorspace="ITU601", threads=1
                )
                pictures.append(np.round(rgba.to_ndarray() / 257).astype(np.uint8))
    return times, pictures


def duration_s(path: Path) -> float:
    with av.open(str(path)) as container:
        assert container.duration is not None
        return container.duration / 1e6
