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

from reenact.errors import SourceError
from reenact.face.action_units import action_units
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.face.topology import ACTION_UNITS
from reenact.types import Array, Frame
from support.plugins import PLUGINS

sys.path.append(str(PLUGINS / "reenact_vmc"))

pytest.importorskip("pythonosc", reason="python-osc is not installed")

from reenact_vmc.ifacialmocap import (
    GREETING,
    IFacialMocapSettings,
    IFacialMocapSource,
    parsed,
    rotation,
)

VERSION_1 = (
    "jawOpen-80|mouthClose-10|eyeBlink_L-90|tongueOut-50|=head#{},0.1,0.2,0.3|leftEye#1,2,3|"
)
VERSION_2 = "trackingStatus&1|jawOpen&80|mouthClose&10|eyeBlink_L&90|=head#{},0.1,0.2,0.3|"


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
        assert listener.recv(200) == GREETING
        assert listener.recv(200) == GREETING
        send(VERSION_1.format("0,0,0"))
        reader.join(5)
        assert frames[0] is not None


def test_a_phone_that_sends_is_not_asked_again() -> None:
    with phone() as (source, listener, send):
        for _ in range(20):
            send(VERSION_1.format("0,0,0"))
            assert source.read() is not None
        assert listener.recv(200) == GREETING
        listener.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listener.recv(200)


@pytest.mark.parametrize("text", [VERSION_1, VERSION_2], ids=["version 1", "version 2"])
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


@pytest.mark.parametrize("address", ["", ":49983", "192.168.1.20:x", "192.168.1.20:70000"])
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
