"""HEIC pictures as iPhones write them: a grid of HEVC tiles, of which there is one at least."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from reenact.types import Image

TILE_PX = 64


def write_heic(
    path: Path, stored: Image, *, turns: int = 0, mirror: int | None = None, profile: bytes = b""
) -> Path:
    """Write a picture as tiles; one tile alone has no grid.

    Args:
        path: the file.
        stored: uint8 (H, W, 3) RGB, before it is turned.
        turns: quarter turns, counter-clockwise, that make it upright.
        mirror: then, 0 exchanges top and bottom, 1 left and right.
        profile: ICC profile of its colours.
    """
    height, width = stored.shape[:2]
    rows, columns = -(-height // TILE_PX), -(-width // TILE_PX)
    data, (config, *_) = zip(*_tiles(stored, rows, columns), strict=True)
    numbers = list(range(1, len(data) + 1))
    shown = numbers[-1] + 1 if len(data) > 1 else 1
    properties = [
        _box(b"hvcC", config),
        _box(b"ispe", struct.pack(">III", 0, TILE_PX, TILE_PX)),
        _box(b"ispe", struct.pack(">III", 0, width, height)),
        _box(b"colr", b"prof" + profile),
        _box(b"irot", bytes([turns])),
        _box(b"imir", bytes([mirror or 0])),
    ]
    own = [3, *([4] if profile else []), 5, *([6] if mirror is not None else [])]
    belongs = {number: [1, 2] for number in numbers}
    belongs[shown] = own if shown not in numbers else [1, *own]
    kinds = dict.fromkeys(numbers, b"hvc1") | ({shown: b"grid"} if shown not in numbers else {})
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)

    def meta(at: int) -> bytes:
        """Describe the items, of which the first tile begins at a byte of the file."""
        places = []
        for number, tile in zip(numbers, data, strict=True):
            places.append(struct.pack(">HHHHII", number, 0, 0, 1, at, len(tile)))
            at += len(tile)
        if shown not in numbers:
            places.append(struct.pack(">HHHHII", shown, 1, 0, 1, 0, len(grid)))
        named = [
            _full(b"infe", struct.pack(">HH4sB", number, 0, kind, 0), version=2)
            for number, kind in kinds.items()
        ]
        pointing = struct.pack(f">HH{len(numbers)}H", shown, len(numbers), *numbers)
        linked = [
            struct.pack(">HB", number, len(ones)) + bytes(ones) for number, ones in belongs.items()
        ]
        return _full(
            b"meta",
            _full(b"hdlr", struct.pack(">I4s12xB", 0, b"pict", 0)),
            _full(b"pitm", struct.pack(">H", shown)),
            _full(b"iloc", b"\x44\0", struct.pack(">H", len(places)), *places, version=1),
            _full(b"iinf", struct.pack(">H", len(named)), *named),
            _full(b"iref", _box(b"dimg", pointing)) if shown not in numbers else b"",
            _box(
                b"iprp",
                _box(b"ipco", *properties),
                _full(b"ipma", struct.pack(">I", len(linked)), *linked),
            ),
            _box(b"idat", grid),
        )

    head = _box(b"ftyp", b"heic\0\0\0\0mif1heic")
    begin = len(head) + len(meta(0)) + 8
    path.write_bytes(head + meta(begin) + _box(b"mdat", *data))
    return path


def _tiles(stored: Image, rows: int, columns: int) -> list[tuple[bytes, bytes]]:
    """Return the samples and the configuration of each tile, row by row."""
    height, width = stored.shape[:2]
    padded = np.pad(
        stored, ((0, rows * TILE_PX - height), (0, columns * TILE_PX - width), (0, 0)), "edge"
    )
    return [
        _encoded(padded[TILE_PX * y :, TILE_PX * x :][:TILE_PX, :TILE_PX])
        for y in range(rows)
        for x in range(columns)
    ]


def _encoded(tile: Image) -> tuple[bytes, bytes]:
    """Return a tile's HEVC samples, and the decoder's configuration."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx265", rate=1)
        assert isinstance(stream, VideoStream)
        stream.width = stream.height = TILE_PX
        stream.pix_fmt = "yuv444p"
        stream.options = {"crf": "4", "x265-params": "log-level=none:bframes=0"}
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(tile), format="rgb24")
        frame.pts, frame.time_base = 0, Fraction(1)  # without B-frames, for which one is too few
        container.mux([*stream.encode(frame), *stream.encode()])
    with av.open(io.BytesIO(file.getvalue()), "r") as container:
        (sample, *_) = container.demux(video=0)
        config = container.streams.video[0].codec_context.extradata
    assert config is not None
    return bytes(sample), config


def _box(kind: bytes, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _full(kind: bytes, *contents: bytes, version: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24), *contents)
