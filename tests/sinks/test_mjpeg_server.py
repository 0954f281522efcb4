"""The HTTP sink over real sockets."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO
from unittest.mock import Mock
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reenact.errors import SinkError
from reenact.sinks.http_address import load_address
from reenact.sinks.mjpeg_server import HTTP, HttpSettings, HttpSink
from reenact.types import Frame, Image
from support.clips import corners, four_colours, number_of, numbered_picture

TIMEOUT_S = 30.0


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with HttpSink() as opened:
        opened.open((160, 120), 25.0)
        yield opened


def test_a_terminal_that_has_gone_keeps_nobody_from_watching(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = Mock()
    gone.write.side_effect = OSError(errno.EIO, "gone")
    monkeypatch.setattr("sys.stderr", gone)
    with HttpSink() as sink:
        sink.open((160, 120), 25.0)
        sink.write(frame(7))
        assert number_of(decode(get(sink.url_of("frame.jpg"))[2])) == 7


def frame(number: int, size: tuple[int, int] = (160, 120)) -> Frame:
    return Frame(numbered_picture(number, size), number / 25, number)


def decode(jpeg: bytes) -> Image:
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return np.ascontiguousarray(bgr[..., ::-1]).astype(np.uint8)


def get(url: str, headers: dict[str, str] | None = None) -> tuple[int, str, bytes]:
    """Return status, type and body."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read()


@contextmanager
def stream(sink: HttpSink) -> Iterator[Callable[[], bytes]]:
    """Open the stream; the function returns its next JPEG."""
    with urllib.request.urlopen(sink.url_of("stream.mjpg"), timeout=TIMEOUT_S) as answer:
        kind, _, parameter = answer.headers["Content-Type"].partition("; boundary=")
        assert kind == "multipart/x-mixed-replace"
        boundary = f"--{parameter}".encode()
        assert answer.readline().rstrip() == boundary
        yield lambda: next_part(answer, boundary)


def next_part(answer: IO[bytes], boundary: bytes) -> bytes:
    headers = http.client.parse_headers(answer)
    assert headers["Content-Type"] == "image/jpeg"
    data = answer.read(int(headers["Content-Length"]))
    assert answer.readline() == b"\r\n"
    assert answer.readline().rstrip() == boundary
    return data


def test_newest_frame_is_a_jpeg_in_the_right_colours(sink: HttpSink) -> None:
    sink.write(frame(0))
    sink.write(Frame(four_colours(), 0.04, 1))
    status, kind, body = get(sink.url_of("frame.jpg"))
    assert (status, kind) == (200, "image/jpeg")
    picture = decode(body)
    assert picture.shape == (120, 160, 3)
    assert corners(picture) == ["red", "green", "blue", "white"]


def test_whoever_asks_before_the_first_picture_waits_for_it(sink: HttpSink) -> None:
    with ThreadPoolExecutor(1) as reader:
        answer = reader.submit(get, sink.url_of("frame.jpg"))
        time.sleep(0.5)
        assert not answer.done()
        sink.write(frame(7))
        status, _, body = answer.result(timeout=TIMEOUT_S)
    assert status == 200
    assert number_of(decode(body)) == 7


def test_the_quality_is_that_of_the_setting() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    sizes = []
    for quality in (10, 50, 100):
        sink = HTTP.build("", HttpSettings(quality=quality))
        with closing(sink):
            assert isinstance(sink, HttpSink)
            sink.open((160, 120), 25.0)
            sink.write(Frame(noise, 0.0, 0))
            sizes.append(len(get(sink.url_of("frame.jpg"))[2]))
    assert sizes[0] < sizes[1] / 2 < sizes[2] / 3


def test_page_shows_the_stream_with_its_token(sink: HttpSink) -> None:
    status, kind, body = get(sink.url)
    assert status == 200
    assert kind.startswith("text/html")
    stream_url = urlsplit(sink.url_of("stream.mjpg"))
    assert f'src="stream.mjpg?{stream_url.query}"' in body.decode()


def test_address_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with HttpSink() as opened:
        opened.open((160, 120), 25.0)
        assert opened.url in capfd.readouterr().err


def test_every_reader_gets_every_frame_when_it_keeps_up(sink: HttpSink) -> None:
    with stream(sink) as first, stream(sink) as second:
        for number in range(1, 8):
            sink.write(frame(number))
            jpegs = [first(), second()]
            assert [number_of(decode(jpeg)) for jpeg in jpegs] == [number, number]
    assert sink.encoded_frames == 7


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=4))
def test_pictures_of_any_size_arrive_whole(sizes: list[tuple[int, int]]) -> None:
    random = np.random.default_rng(0)
    with HttpSink() as sink:
        sink.open((160, 120), 25.0)
        with stream(sink) as read:
            for index, (width, height) in enumerate(sizes):
                image = random.integers(0, 256, (height, width, 3), np.uint8)
                sink.write(Frame(image, index / 25, index))
                assert decode(read()).shape == image.shape
    assert sink.encoded_frames == len(sizes)


def test_nothing_is_encoded_while_nobody_reads(sink: HttpSink) -> None:
    for number in range(50):
        sink.write(frame(number))
    assert sink.encoded_frames == 0
    with stream(sink) as read:
        assert number_of(decode(read())) == 49
    assert sink.encoded_frames == 1


def test_slow_reader_gets_the_newest_and_slows_nobody(sink: HttpSink) -> None:
    # Noise hardly compresses: 60 frames are far more than what sockets hold.
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    last = 60

    def picture(number: int) -> Image:
        image = noise.copy()
        image[180:300] = numbered_picture(number, (640, 120))
        return image

    with stream(sink) as slow, stream(sink) as quick:
        sink.write(Frame(picture(0), 0.0, 0))
        assert number_of(decode(slow())) == 0
        for number in range(1, last + 1):
            sink.write(Frame(picture(number), number / 25, number))
            while number_of(decode(quick())) < number:
                pass
        seen: list[int] = []
        while not seen or seen[-1] < last:
            seen.append(number_of(decode(slow())))
    assert seen == sorted(seen)
    assert len(seen) < last / 2


@pytest.mark.parametrize("path", ["", "stream.mjpg", "frame.jpg", "other"])
@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=%C3%A9", "?tokens=x"])
def test_without_the_token_nothing_is_shown(path: str, query: str, sink: HttpSink) -> None:
    sink.write(frame(1))
    base = sink.url.partition("?")[0]
    status, kind, body = get(f"{base}{path}{query}")
    assert status == 403
    assert kind.startswith("text/plain")
    assert b"token" in body
    assert sink.encoded_frames == 0


def test_tokens_are_long_and_differ() -> None:
    tokens = {address_at().partition("?token=")[2] for _ in range(3)}
    assert len(tokens) == 3
    assert min(map(len, tokens)) >= 20


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (("localhost", "localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "LOCALHOST"), 200),
        (("evil.example", "evil.example:80", "localhost.evil.example", "localhost:x"), 403),
        (("10.0.0.1", ""), 403),
    ],
)
def test_only_requests_by_local_names_are_answered(
    hosts: tuple[str, ...], status: int, sink: HttpSink
) -> None:
    for host in hosts:
        found, _, body = get(sink.url, {"Host": host.format(port=urlsplit(sink.url).port)})
        assert found == status, host
        assert status == 200 or b"localhost" in body


@pytest.mark.parametrize(
    "origin", ["http://localhost:{port}", "http://127.0.0.1:1", "https://[::1]"]
)
@pytest.mark.parametrize("path", ["", "frame.jpg"])
def test_pages_of_this_machine_may_read(origin: str, path: str, sink: HttpSink) -> None:
    sink.write(frame(1))
    origin = origin.format(port=urlsplit(sink.url).port)
    request = urllib.request.Request(sink.url_of(path), headers={"Origin": origin})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "https://localhost.evil.example", "file://", "localhost"],
)
@pytest.mark.parametrize("path", ["", "frame.jpg", "stream.mjpg"])
def test_pages_of_other_sites_are_refused_even_with_the_token(
    origin: str, path: str, sink: HttpSink
) -> None:
    sink.write(frame(1))
    request = urllib.request.Request(sink.url_of(path), headers={"Origin": origin})
    with pytest.raises(urllib.error.HTTPError, match="403") as caught:
        urllib.request.urlopen(request, timeout=TIMEOUT_S)
    assert caught.value.headers["Access-Control-Allow-Origin"] is None
    assert sink.encoded_frames == 0


def test_answers_to_programs_carry_no_cors_header(sink: HttpSink) -> None:
    with urllib.request.urlopen(sink.url, timeout=TIMEOUT_S) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] is None


def free_ports() -> tuple[int, int]:
    """Return two free ports."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        return one.getsockname()[1], other.getsockname()[1]


def address_at(port: int = 0) -> str:
    """Open a stream for a moment; return the address of its page."""
    with HttpSink(port) as opened:
        opened.open((160, 120), 25.0)
        return opened.url


def test_address_on_a_chosen_port_stays_the_same() -> None:
    port, other = free_ports()
    first = address_at(port)
    assert address_at(port) == first
    assert (kept := load_address()) is not None
    assert kept.url("") == first
    if os.name == "posix":
        stored = Path(os.environ["REENACT_DATA"]) / "http.json"
        assert stored.stat().st_mode & 0o077 == 0
    elsewhere = address_at(other)
    assert elsewhere.partition("?")[2] != first.partition("?")[2]
    address_at()  # a free port is another one each time, so its address is not stored
    assert (kept := load_address()) is not None
    assert kept.url("") == elsewhere
    assert address_at(port) == first
    assert address_at(other) == elsewhere


def test_damaged_address_is_not_used() -> None:
    stored = Path(os.environ["REENACT_DATA"]) / "http.json"
    stored.parent.mkdir(parents=True, exist_ok=True)
    for text in ("", "{}", "[1]", '[{"port": 8088, "token": "short"}]', '[{"port": 0}]'):
        stored.write_text(text)
        assert load_address() is None


def test_request_without_host_is_refused(sink: HttpSink) -> None:
    url = urlsplit(sink.url)
    assert url.hostname is not None
    with socket.create_connection((url.hostname, url.port or 0), TIMEOUT_S) as connection:
        connection.sendall(f"GET /?{url.query} HTTP/1.0\r\n\r\n".encode())
        assert b" 403 " in connection.makefile("rb").readline()


def test_other_paths_and_methods(sink: HttpSink) -> None:
    assert get(sink.url_of("other"))[0] == 404
    request = urllib.request.Request(sink.url, data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="501"):
        urllib.request.urlopen(request, timeout=TIMEOUT_S)


def test_only_the_loopback_address_listens(sink: HttpSink) -> None:
    port = urlsplit(sink.url).port or 0
    # All of 127/8 is this machine on Linux; a server on every address would answer here.
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), 5):  # noqa: PT011 (systems differ)
        pass


def test_reader_that_leaves_disturbs_nobody(sink: HttpSink) -> None:
    with stream(sink) as stays:
        with stream(sink) as leaves:
            sink.write(frame(1))
            assert number_of(decode(leaves())) == 1
            assert number_of(decode(stays())) == 1
        for number in range(2, 6):
            sink.write(frame(number))
            assert number_of(decode(stays())) == number


def test_closing_ends_readers_and_frees_the_port(sink: HttpSink) -> None:
    port = urlsplit(sink.url).port or 0
    before = set(threading.enumerate())
    with stream(sink) as read:
        sink.write(frame(1))
        read()
        readers = set(threading.enumerate()) - before
        assert len(readers) == 1
        sink.close()
        sink.close()
        with pytest.raises((AssertionError, OSError, ValueError, http.client.HTTPException)):
            read()
        for thread in readers:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()
    assert sink.url == ""
    with pytest.raises(SinkError, match="closed"):
        sink.write(frame(2))
    with HttpSink(port) as second:
        second.open((160, 120), 25.0)
        assert urlsplit(second.url).port == port


def test_taken_port_is_one_sentence(sink: HttpSink) -> None:
    port = urlsplit(sink.url).port or 0
    with pytest.raises(SinkError, match=r"http\.port") as caught, HttpSink(port) as second:
        second.open((160, 120), 25.0)
    assert str(port) in str(caught.value)
