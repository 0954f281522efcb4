"""What cameras, phones and older programs write that is not like other videos."""

from __future__ import annotations

import http.server
import threading
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
from av.stream import Disposition
from av.video.stream import VideoStream

from reenact.errors import SourceError
from reenact.sources.video_file import VideoSource
from reenact.types import Image
from support.clips import number_of, numbered_picture, read_all, write_clip, write_yuv

BT601, BT709 = (0.299, 0.114), (0.2126, 0.0722)
COLOURS = np.array([[118, 118, 118], [200, 150, 120], [60, 90, 40], [235, 60, 50], [40, 60, 220]])


@pytest.mark.parametrize(
    ("size", "says", "weights"),
    [
        ((640, 480), 2, BT601),
        ((640, 480), 1, BT709),
        ((1280, 720), 2, BT709),
        ((608, 1080), 2, BT709),
        ((1280, 720), 5, BT601),
        ((640, 480), 14, BT601),  # ICtCp, which FFmpeg does not convert
        ((1280, 720), 14, BT709),
    ],
)
def test_yuv_is_decoded_as_players_do(
    tmp_path: Path, size: tuple[int, int], says: int, weights: tuple[float, float]
) -> None:
    write_yuv(tmp_path / "clip.mkv", COLOURS / 255, weights, says=says, size=size)
    (frame,) = read_all(VideoSource(tmp_path / "clip.mkv"))
    middles = ((np.arange(5) + 0.5) * size[0] / 5).astype(int)
    assert np.abs(frame.image[8, middles] - COLOURS).max() <= 2


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_the_track_that_players_show_is_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"two.{ending}"
    with av.open(str(path), "w") as container:
        streams = []
        for side, disposition in ((32, Disposition(0)), (128, Disposition.default)):
            stream = container.add_stream("libx264", rate=25)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.disposition = side, side, disposition
            streams.append(stream)
        for index in range(5):
            for stream in streams:
                picture = numbered_picture(index, (stream.width, stream.height))
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    assert [frame.size for frame in read_all(VideoSource(path))] == [(128, 128)] * 5


def moving_bar(moment: int, size: tuple[int, int]) -> Image:
    """Draw a bar that moves to the right."""
    width, height = size
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, width // 6 + 4 * moment : width // 3 + 4 * moment] = 220
    return image


def write_interlaced(path: Path, codec: str, size: tuple[int, int] = (128, 96)) -> Path:
    """Encode eight frames of a bar that moves between the two moments of each."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.options = {"flags": "+ilme+ildct", "x264-params": "tff=1", "qmax": "4"}
        for index in range(8):
            woven = moving_bar(2 * index, size)
            woven[1::2] = moving_bar(2 * index + 1, size)[1::2]
            frame = av.VideoFrame.from_ndarray(woven, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("ending", "codec"), [("mp4", "libx264"), ("mpg", "mpeg2video")])
def test_interlaced_video_has_no_combs(tmp_path: Path, ending: str, codec: str) -> None:
    path = write_interlaced(tmp_path / f"camcorder.{ending}", codec)
    frames = read_all(VideoSource(path))
    assert [frame.time_s for frame in frames] == pytest.approx([i / 25 for i in range(8)])
    for image in [frame.image for frame in frames[1:-1]]:
        rows = image[16:80].astype(int)
        assert np.abs(rows[1:] - rows[:-1]).mean() < 2  # with combs 11


def test_interlaced_broadcasts_may_change_their_size(tmp_path: Path) -> None:
    sizes = ((128, 96), (160, 96), (64, 96))
    parts = [write_interlaced(tmp_path / f"{s[0]}.ts", "mpeg2video", s) for s in sizes]
    path = tmp_path / "evening.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = read_all(VideoSource(path))
    assert {frame.size for frame in frames} == {sizes[0]}
    assert len(frames) == 22  # FFmpeg itself loses the last frame before a change
    for frame in (frames[4], frames[11], frames[18]):
        rows = frame.image[32:64].astype(int)
        assert np.abs(rows[1:] - rows[:-1]).mean() < 2


def test_avi_with_b_frames_keeps_its_pace(tmp_path: Path) -> None:
    frames = read_all(VideoSource(write_clip(tmp_path / "old.avi", 30)))
    assert [number_of(frame.image) for frame in frames] == list(range(30))
    assert np.diff([frame.time_s for frame in frames]) == pytest.approx([1 / 30] * 29)


def test_a_server_that_cannot_jump_to_the_end_is_explained(tmp_path: Path) -> None:
    """Python's own server sends whole files only, and this one's index is behind its pictures."""
    noise = np.random.default_rng(0).integers(0, 255, (24, 240, 320, 3), np.uint8)
    clip = write_clip(tmp_path / "end.mp4", 24, picture=lambda index: noise[index])
    assert clip.stat().st_size > 1 << 20
    files = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(SourceError, match=r"ownload it and name the file\.$"):
            VideoSource(f"http://127.0.0.1:{server.server_address[1]}/end.mp4")
        server.shutdown()


def test_an_animated_webp_is_refused_by_what_to_do(tmp_path: Path) -> None:
    frames = [PIL.Image.fromarray(moving_bar(moment, (128, 96))) for moment in (0, 4)]
    path = tmp_path / "sticker.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    with pytest.raises(SourceError, match=r"save an animated WebP as MP4 or GIF\.$"):
        VideoSource(path)
