"""Makes pictures of the frames that FFmpeg decodes: colours, orientation and interlacing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import av
import cv2
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from reenact.imaging import on_white, turned
from reenact.sources.hdr import Curve, to_sdr
from reenact.types import Image

_HDR: Final[dict[int, Curve]] = {ColorTrc.SMPTE2084: "pq", ColorTrc.ARIB_STD_B67: "hlg"}
_BT709, _BT601, _BT2020 = 1, 5, 9  # FFmpeg's numbers of how YUV is coded
_CONVERTIBLE: Final = frozenset({0, 1, 4, 5, 6, 7, 9})
"""What FFmpeg can convert. It refuses others, such as ICtCp; 2 is unspecified."""

_HD_SIDE_PX: Final = 1080
"""Players take a video of this longer side, or more, for BT.709 if it does not say how it is coded.

A smaller one counts as BT.601.
"""


def to_rgb(frame: VideoFrame, width_px: int, reformatter: VideoReformatter) -> Image:
    """Convert a decoded frame to uint8 (H, `width_px`, 3) RGB, not rotated.

    Its colours are respected, and transparent parts are composited on white. One reformatter
    serves the whole stream, because setting up a conversion takes time.
    """
    curve = _HDR.get(frame.color_trc)
    usual = _BT709 if max(frame.width, frame.height) >= _HD_SIDE_PX else _BT601
    matrix = frame.colorspace
    if matrix not in _CONVERTIBLE:
        matrix = _BT2020 if curve else usual
    has_alpha = any(component.is_alpha for component in frame.format.components)
    wanted = "rgb48le" if curve else "rgba" if has_alpha else "rgb24"
    converted = reformatter.reformat(
        frame, width=width_px, height=frame.height, format=wanted, src_colorspace=matrix
    )
    image: Any = converted.to_ndarray()
    if curve is not None:
        return to_sdr(image, curve)
    return on_white(image) if has_alpha else image


def upright(image: Image, frame: VideoFrame) -> Image:
    """Apply the frame's display matrix to its picture."""
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # beside it is data of a kind that PyAV does not know, such as EXIF
        return turned(image, round(frame.rotation / 90))
    return image if matrix is None else _turned(image, np.frombuffer(bytes(matrix), np.int32))


def _turned(image: Image, matrix: NDArray[np.int32]) -> Image:
    """Apply a display matrix (ISO 14496-12, row vectors: x' = ax + cy, y' = bx + dy).

    Quarter turns and reflections are exact; any other angle is rounded to the nearest of them.
    """
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        flip_x, flip_y = a < 0, d < 0
    else:
        image = np.asarray(cv2.transpose(image), dtype=np.uint8)
        flip_x, flip_y = c < 0, b < 0
    if flip_x or flip_y:
        image = np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
    return image


def progressive(frames: Iterable[VideoFrame], stream: VideoStream) -> Iterator[VideoFrame]:
    """Pass decoded frames on; from the first interlaced one, its two moments are one picture.

    They then come a frame later. Frames that are not interlaced stay as they are.
    """
    graph: Graph | None = None
    kind = (0, 0, "")
    for frame in frames:
        before, kind = kind, (frame.width, frame.height, frame.format.name)
        if graph is not None and kind != before:  # a filter takes frames of one kind
            yield from _last(graph)
            graph = None
        if graph is None and frame.interlaced_frame:
            graph = _deinterlacing(frame, stream)
        if graph is None:
            yield frame
        else:
            graph.vpush(frame)
            yield from _ready(graph)
    if graph is not None:
        yield from _last(graph)


def _deinterlacing(frame: VideoFrame, stream: VideoStream) -> Graph:
    """Return a filter that makes one picture of the two moments of frames like this."""
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(stream, frame.width, frame.height, frame.format),
        graph.add("bwdif", mode="send_frame", deint="interlaced"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _last(graph: Graph) -> Iterator[VideoFrame]:
    graph.vpush(None)
    yield from _ready(graph)


def _ready(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
