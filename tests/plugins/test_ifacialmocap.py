"""iFacialMocap's protocol, from a phone that is a UDP socket of this computer."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reenact.errors import SourceError
from reenact.face.action_units import action_units
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.face.topology import ACTION_UNITS, IRIS_LEFT, IRIS_RIGHT
from reenact.sources.reconnecting import ReconnectingSource, SourceUnavailable
from reenact.types import Array, Frame
from support.plugins import PLUGINS

sys.path.append(str(PLUGINS / "reenact_vmc"))

pytest.importorskip("pythonosc", reason="python-osc is not installed")

from reenact_vmc.blend_shapes import looks
from reenact_vmc.ifacialmocap import (
    GREETINGS,
    IFacialMocapSettings,
    IFacialMocapSource,
    parsed,
    rotation,
)

VERSION_1 = (
    "jawOpen-80|mouthClose-10|eyeBlink_L-90|tongueOut-50|=head#{},0.1,0.2,0.3|leftEye#1,2,3|"
)
VERSION_2 = "trackingStatus&1|jawOpen&80|mouthClose&10|eyeBlink_L&90|=head#{},0.1,0.2,0.3|"
FACEMOTION3D = (
    "eyeBlinkLeft&90|FM_SAD&3|jawOpen&80|mouthClose&10|tongueOut&50|=head#{},0.1,0.2,0.3|"
)


def a_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(5)
    return made


@contextlib.contextmanager
def phone(
    other_side: bool = False,
) -> Iterator[tuple[IFacialMocapSource, socket.socket, Callable[[str], None]]]:
    """Yield a source, the phone that it asks to send, and what sends a text to the source."""
    with a_socket() as listener, a_socket() as taken:
        port = taken.getsockname()[1]
        taken.close()
        settings = IFacialMocapSettings(port=port, other_side=other_side)

        def send(text: str) -> None:
            listener.sendto(text.encode(), ("127.0.0.1", port))

        with IFacialMocapSource(f"127.0.0.1:{listener.getsockname()[1]}", settings) as source:
            yield source, listener, send


@contextlib.contextmanager
def anyone() -> Iterator[tuple[IFacialMocapSource, Callable[[str, str], None]]]:
    """Yield a source that knows no phone, and what sends it a text from an address."""
    with contextlib.ExitStack() as stack:
        with a_socket() as taken:
            port = taken.getsockname()[1]
        senders: dict[str, socket.socket] = {}

        def send(text: str, host: str) -> None:
            if host not in senders:
                made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                senders[host] = stack.enter_context(made)
                made.bind((host, 0))
            senders[host].sendto(text.encode(), ("127.0.0.1", port))

        with IFacialMocapSource("", IFacialMocapSettings(port=port)) as source:
            yield source, send


def acted(frame: Frame | None) -> tuple[Array, Array]:
    """Return the action units and the rotation of the head in a frame."""
    assert frame is not None
    assert frame.performance is not None
    seen, neutral = frame.performance.landmarks, frame.performance.stored
    assert seen is not None
    assert neutral is not None
    pose = estimate_pose(seen.points, neutral)
    return action_units(to_face_frame(seen.points, pose), neutral), pose.rotation


def test_the_phone_is_asked_to_send_until_it_does() -> None:
    with phone() as (source, listener, send):
        frames: list[Frame | None] = []
        reader = threading.Thread(target=lambda: frames.append(source.read()))
        reader.start()
        texts = [text for text, _ in GREETINGS]
        assert [listener.recv(200) for _ in range(4)] == texts * 2
        send(VERSION_1.format("0,0,0"))
        reader.join(5)
        assert frames[0] is not None


def test_a_phone_that_sends_is_not_asked_again() -> None:
    with phone() as (source, listener, send):
        for _ in range(20):
            send(VERSION_1.format("0,0,0"))
            assert source.read() is not None
        asked = [listener.recv(200) for _ in GREETINGS]
        assert asked == [text for text, _ in GREETINGS]
        listener.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listener.recv(200)


@pytest.mark.parametrize(
    "text", [VERSION_1, VERSION_2, FACEMOTION3D], ids=["version 1", "version 2", "Facemotion3d"]
)
def test_what_the_phone_says_moves_the_face(text: str) -> None:
    with phone() as (source, _, send):
        send(text.format("0,0,0"))
        units, turn = acted(source.read())
    of = dict(zip(ACTION_UNITS, units.tolist(), strict=True))
    assert of["mouth_open"] > 0.5
    assert of["blink_left"] > 0.7
    assert of["blink_right"] < 0.2
    np.testing.assert_allclose(turn, np.eye(3), atol=0.05)


def test_degrees_nod_down_turn_to_the_left_and_lift_the_left_ear() -> None:
    """Image axes: x to the right, where a person's left is, y down, z away from the camera."""
    nose, left_ear = np.array([0, 0, -1]), np.array([1, 0, 0])
    sine, cosine = np.sin(np.radians(30)), np.cos(np.radians(30))
    np.testing.assert_allclose(rotation((30, 0, 0)) @ nose, [0, sine, -cosine], atol=1e-6)
    np.testing.assert_allclose(rotation((0, 30, 0)) @ nose, [sine, 0, -cosine], atol=1e-6)
    np.testing.assert_allclose(rotation((0, 0, 30)) @ left_ear, [cosine, -sine, 0], atol=1e-6)
    # Turned by 90 degrees, a head that has nodded still looks down: it nods before it turns.
    np.testing.assert_allclose(rotation((30, 90, 0)) @ nose, [cosine, sine, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("gaze", "right", "left"),
    [
        (
            "eyeLookIn_R-6|eyeLookIn_L-4|eyeLookDown_R-17|eyeLookDown_L-17",
            (6.03, 2.44),
            (6.03, -1.67),
        ),
        ("eyeLookInRight&15|eyeLookDownRight&36|eyeLookDownLeft&36", (12.76, 5.53), (12.86, 1.26)),
    ],
    ids=["iFacialMocap", "Facemotion3d"],
)
def test_the_angles_count_as_in_the_examples_of_the_protocols_pages(
    gaze: str, right: tuple[float, float], left: tuple[float, float]
) -> None:
    """There the eyes have angles as the head has, and blend shapes that say the same."""
    found = parsed(gaze + "|=head#0,0,0|")
    assert found is not None
    assert found.shapes is not None
    moved = looks(found.shapes)
    for iris, (nod, turn) in ((IRIS_RIGHT[0], right), (IRIS_LEFT[0], left)):
        forward = rotation((nod, turn, 0.0)) @ np.array([0, 0, -1])
        assert forward[1] > 0
        assert moved[iris, 1] > 0
        if moved[iris, 0]:  # a blend shape is a whole number of percent
            assert np.sign(forward[0]) == np.sign(moved[iris, 0])
    assert moved[IRIS_RIGHT[0], 0] > 0


def test_the_head_turns_to_the_other_side_if_asked() -> None:
    with phone(other_side=True) as (source, _, send):
        send(VERSION_1.format("10,20,-5"))
        _, turn = acted(source.read())
    np.testing.assert_allclose(turn, rotation((10, -20, 5)), atol=0.03)


def test_a_phone_that_sees_no_face_says_so() -> None:
    with phone() as (source, _, send):
        send(VERSION_2.replace("Status&1", "Status&0").format("0,0,0"))
        frame = source.read()
    assert frame is not None
    assert frame.performance is not None
    assert frame.performance.landmarks is None


def test_damaged_texts_and_other_senders_are_passed_over() -> None:
    with phone() as (source, _, send):
        port = source._settings.port
        for text in ("", "|||", "=head#", "=head#1,2", "=head#nan,0,0", "jawOpen-80|", "\xff\x00"):
            send(text)
        # On Linux all of 127.0.0.0/8 is this computer.
        if sys.platform == "linux":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind(("127.0.0.2", 0))
                other.sendto(VERSION_1.format("0,40,0").encode(), ("127.0.0.1", port))
        send("jawOpen-x|jawOpen--5|mouthPucker-1e400|eyeBlink_R-300|=head#0,0,0,|")
        units, turn = acted(source.read())
    of = dict(zip(ACTION_UNITS, units.tolist(), strict=True))
    assert of["blink_right"] > 0.7
    assert of["mouth_open"] < 0.1
    assert of["pucker"] < 0.1
    np.testing.assert_allclose(turn, np.eye(3), atol=0.05)


def test_numbers_are_read_with_either_sign_and_clipped() -> None:
    found = parsed("jawOpen--5|mouthPucker&-20|eyeBlink_L-7|eyeBlinkRight&250|=head#-1.5,2,3|")
    assert found is not None
    assert found.angles == (-1.5, 2.0, 3.0)
    assert found.shapes == pytest.approx(
        {"JawOpen": 0.0, "MouthPucker": 0.0, "EyeBlinkLeft": 0.07, "EyeBlinkRight": 1.0}
    )


@given(
    st.lists(
        st.sampled_from(
            ["=head#", "1,2,3", "nan", "1e308", "-", "&", "|", "#", ",", "jawOpen", "_L", "-5", ""]
        ),
        max_size=12,
    ).map("".join)
    | st.binary(max_size=60).map(lambda damaged: damaged.decode("ascii", "replace"))
)
@example("jawOpen-1e308|=head#1e308,-1e308,1e308|")
def test_no_text_breaks_the_reading(text: str) -> None:
    found = parsed(text)
    if found is not None:
        assert found.shapes is None or all(0 <= value <= 1 for value in found.shapes.values())
        matrix = rotation(found.angles)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="needs all of 127.0.0.0/8 as this computer")
def test_without_an_address_the_first_phone_is_listened_to_until_it_is_silent() -> None:
    with anyone() as (source, send):
        send("what the phone sends has a head", "127.0.0.4")
        send(VERSION_2.format("0,0,0"), "127.0.0.2")
        send(VERSION_2.format("0,40,0"), "127.0.0.3")
        send(VERSION_2.format("0,-20,0"), "127.0.0.2")
        np.testing.assert_allclose(acted(source.read())[1], np.eye(3), atol=0.05)
        np.testing.assert_allclose(acted(source.read())[1], rotation((0, -20, 0)), atol=0.05)
        with pytest.raises(SourceError, match="this computer's address"):
            source.read()
        send(VERSION_2.format("0,40,0"), "127.0.0.3")
        np.testing.assert_allclose(acted(source.read())[1], rotation((0, 40, 0)), atol=0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="needs all of 127.0.0.0/8 as this computer")
def test_the_next_phone_takes_over_in_a_session_when_the_first_is_silent() -> None:
    with a_socket() as taken:
        port = taken.getsockname()[1]
    settings = IFacialMocapSettings(port=port)
    sending = threading.Event()

    def send_on(host: str, angles: str) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((host, 0))
            while not sending.wait(0.02):
                sender.sendto(VERSION_2.format(angles).encode(), ("127.0.0.1", port))

    opened = ReconnectingSource(lambda: IFacialMocapSource("", settings), first_pause_s=0.05)
    with opened as source, contextlib.ExitStack() as stack:
        stack.callback(sending.set)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
            first.bind(("127.0.0.2", 0))
            first.sendto(VERSION_2.format("0,0,0").encode(), ("127.0.0.1", port))
            np.testing.assert_allclose(acted(source.read())[1], np.eye(3), atol=0.05)
        threading.Thread(target=send_on, args=("127.0.0.3", "0,40,0"), daemon=True).start()
        frame = None
        misses = 0
        while frame is None and misses < 10:
            try:
                frame = source.read()
            except SourceUnavailable:
                misses += 1
        assert misses > 0
        np.testing.assert_allclose(acted(frame)[1], rotation((0, 40, 0)), atol=0.05)


def test_silence_is_one_sentence_and_closing_wakes_the_reader() -> None:
    with phone() as (source, *_), pytest.raises(SourceError, match="open the app"):
        source.read()
    with phone() as (source, *_):
        frames: list[Frame | None] = []
        reader = threading.Thread(target=lambda: frames.append(source.read()))
        reader.start()
        time.sleep(0.1)
        source.close()
        reader.join(1)
        assert frames == [None]


@pytest.mark.parametrize(
    "address", [":49983", "192.168.1.20:x", "192.168.1.20:70000", "192.168.1.20:49983:1"]
)
def test_an_address_that_is_none_is_one_sentence(address: str) -> None:
    with pytest.raises(SourceError, match="Name the phone"):
        IFacialMocapSource(address)


@pytest.mark.parametrize("host", ["192.168..20", "my phone", "a" * 70])
def test_a_host_that_is_none_is_one_sentence(host: str) -> None:
    with pytest.raises(SourceError, match=r"cannot be reached .*name it by the address"):
        IFacialMocapSource(host)


def test_a_taken_port_is_one_sentence() -> None:
    with phone() as (source, *_):
        settings = IFacialMocapSettings(port=source._settings.port)
        with pytest.raises(SourceError, match="close the other program"):
            IFacialMocapSource("127.0.0.1", settings)
