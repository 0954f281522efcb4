"""HEIC pictures, as iPhones and some cameras store them: one HEVC picture, or tiles of one."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from reenact.imaging import turned
from reenact.sources.decoded import to_rgb
from reenact.types import Image


class _Layout(NamedTuple):
    """What ISO 23008-12 says of the picture that is to be shown.

    Attributes:
        items: the numbers of its tiles in reading order, or its own.
        properties: (kind, content) in the order in which they are applied.
    """

    items: Sequence[int]
    properties: list[tuple[bytes, bytes]]


def read_heic(data: bytes, max_pixels: int) -> tuple[Image, bytes | None]:
    """Decode the file's main picture, uint8 (H, W, 3) RGB, upright.

    Returns:
        The picture, and the ICC profile of its colours, if there is one.

    Raises:
        OverflowError: it has more than `max_pixels`; none was decoded.
        Exception: any, if the file is damaged or of another kind.
    """
    layout = _layout(data)
    width, height = struct.unpack_from(">2I", dict(layout.properties)[b"ispe"], 4)
    if width * height > max_pixels:
        raise OverflowError
    image = _assembled(_tiles(data, layout.items), layout.items, (width, height))
    profile: bytes | None = None
    for kind, content in layout.properties:
        if kind == b"irot":
            image = turned(image, content[0] & 3)
        elif kind == b"imir":
            image = np.ascontiguousarray(image[:, ::-1] if content[0] & 1 else image[::-1])
        elif kind == b"colr" and content[:4] in (b"prof", b"rICC"):
            profile = content[4:]
    return image, profile


def _assembled(tiles: dict[int, Image], items: Sequence[int], size: tuple[int, int]) -> Image:
    """Lay the tiles side by side in rows, and cut off what is beyond (width, height) px."""
    width, height = size
    columns = -(-width // tiles[items[0]].shape[1])
    rows = [
        np.hstack([tiles[item] for item in items[start : start + columns]])
        for start in range(0, len(items), columns)
    ]
    image = np.vstack(rows)[:height, :width]
    if image.shape[:2] != (height, width):
        raise ValueError("some tiles are missing")
    return np.ascontiguousarray(image)


def _tiles(data: bytes, items: Sequence[int]) -> dict[int, Image]:
    with av.open(io.BytesIO(data), "r") as container:
        streams = [stream for stream in container.streams.video if stream.id in items]
        reformatter = VideoReformatter()
        return {  # the number of a stream is that of its item
            packet.stream.id: to_rgb(frame, frame.width, reformatter)
            for packet in container.demux(streams)
            for frame in packet.decode()
            if isinstance(frame, VideoFrame)
        }


def _layout(data: bytes) -> _Layout:
    meta = dict(_boxes(dict(_boxes(data))[b"meta"][4:]))
    shown = int.from_bytes(meta[b"pitm"][4:], "big")
    described = dict(_boxes(meta[b"iprp"]))
    properties = list(_boxes(described[b"ipco"]))
    numbers = _property_numbers(described[b"ipma"], shown)
    return _Layout(
        _tile_numbers(meta.get(b"iref", b"\0\0\0\0"), shown) or (shown,),
        [properties[number - 1] for number in numbers if number],
    )


def _tile_numbers(references: bytes, shown: int) -> Sequence[int]:
    number = "I" if references[0] else "H"
    for kind, content in _boxes(references[4:]):
        owner, count = struct.unpack_from(f">{number}H", content)
        if (kind, owner) == (b"dimg", shown):
            return struct.unpack_from(f">{count}{number}", content, struct.calcsize(f">{number}H"))
    return ()


def _property_numbers(associations: bytes, shown: int) -> list[int]:
    version, wide = associations[0], associations[3] & 1
    (entries,) = struct.unpack_from(">I", associations, 4)
    at = 8
    for _ in range(entries):
        head = ">IB" if version else ">HB"
        item, count = struct.unpack_from(head, associations, at)
        at += struct.calcsize(head)
        if item == shown:
            numbers = struct.unpack_from(f">{count}{'H' if wide else 'B'}", associations, at)
            return [number & (0x7FFF if wide else 0x7F) for number in numbers]  # the bit: essential
        at += count * (2 if wide else 1)
    return []


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Split the content of a box (ISO 14496-12) into kind and content of those inside."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, at + 8), 16
        end = at + size if size else len(data)
        if end < at + head:
            raise ValueError("a box is shorter than its own head")
        yield kind, data[at + head : end]
        at = end
