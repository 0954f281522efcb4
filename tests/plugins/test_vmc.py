"""The VMC protocol, out and in, over a real UDP socket."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reenact.errors import SinkError, SourceError
from reenact.face.action_units import action_units
from reenact.face.geometry import estimate_pose, rotation_matrix, to_face_frame
from reenact.face.topology import ACTION_UNITS
from reenact.live.session import Session
from reenact.live.settings import load_settings
from reenact.targets.library import open_target
from reenact.types import Array, Expression, Frame, PerformanceFrame, Pose
from support.faces import units_of
from support.plugins import PLUGINS, install

sys.path.append(str(PLUGINS / "reenact_vmc"))

pytest.importorskip("pythonosc", reason="python-osc is not installed")

from pythonosc.osc_bundle import OscBundle
from pythonosc.osc_bundle_builder import OscBundleBuilder
from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.udp_client import UDPClient
from reenact_vmc import protocol
from reenact_vmc.blend_shapes import action_units as action_units_of
from reenact_vmc.blend_shapes import read_name
from reenact_vmc.face import BlendShapeFace
from reenact_vmc.sink import VmcSink
from reenact_vmc.source import VmcSource

PICTURE = np.zeros((48, 64, 3), np.uint8)


def acted(what: Array, turn: tuple[float, float, float] = (0, 0, 0)) -> Frame:
    pose = Pose(rotation_matrix(np.array(turn, np.float32)), np.zeros(3, np.float32), 100.0)
    expression = Expression(np.zeros((478, 3), np.float32), pose, what, tongue=0.4)
    return Frame(PICTURE, 1.5, 0, performance=PerformanceFrame(None, expression=expression))


@contextlib.contextmanager
def marionette() -> Iterator[tuple[str, socket.socket]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)
        yield f"127.0.0.1:{listener.getsockname()[1]}", listener


def received(listener: socket.socket) -> list[tuple[str, list[Any]]]:
    return [(part.address, list(part.params)) for part in OscBundle(listener.recv(65536))]


def free_port() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


def test_the_sink_sends_head_and_blend_shapes_as_the_protocol_lays_them_out() -> None:
    # The actor turns to the own left: the nose goes to the image's right, and so towards -x of
    # Unity's left-handed frame, in which the model looks along z.
    with marionette() as (address, listener), VmcSink(address) as sink:
        sink.open((64, 48), 30)
        sink.write(acted(units_of(jaw_drop=0.5, mouth_open=0.2, blink_left=1.0), turn=(0, -0.4, 0)))
        messages = received(listener)
    assert messages[0] == (protocol.OK, [1])
    assert messages[1] == (protocol.TIME, [0.0])
    address_of_bone, (bone, *numbers) = messages[2]
    assert (address_of_bone, bone) == (protocol.BONE, "Head")
    np.testing.assert_allclose(numbers, [0, 0, 0, 0, np.sin(-0.2), 0, np.cos(-0.2)], atol=1e-5)
    assert messages[-1] == (protocol.APPLY, [])
    shapes = {values[0]: values[1] for name, values in messages if name == protocol.VALUE}
    moved = {name: value for name, value in shapes.items() if value}
    assert moved == pytest.approx(
        {"JawOpen": 0.5, "MouthClose": 0.3, "EyeBlinkLeft": 1.0, "TongueOut": 0.4}
    )


def test_the_sink_says_that_there_is_nobody_when_no_face_made_the_picture() -> None:
    with marionette() as (address, listener), VmcSink(address) as sink:
        sink.write(Frame(PICTURE, 0.0, 0))
        assert [name for name, _ in received(listener)] == [protocol.OK, protocol.TIME]


def test_what_the_sink_sends_moves_the_face_of_the_source() -> None:
    said = units_of(jaw_drop=0.8, mouth_open=0.7, blink_left=0.9, smile_left=0.6, smile_right=0.6)
    port = free_port()
    with VmcSource(port) as source, VmcSink(f"127.0.0.1:{port}") as sink:
        sink.write(acted(said, turn=(0.1, 0.3, -0.05)))
        frame = source.read()
    assert frame is not None
    assert frame.performance is not None
    seen = frame.performance.landmarks
    neutral = frame.performance.stored
    assert seen is not None
    assert neutral is not None
    pose = estimate_pose(seen.points, neutral)
    np.testing.assert_allclose(
        pose.rotation, rotation_matrix(np.array((0.1, 0.3, -0.05), np.float32)), atol=0.05
    )
    assert seen.tongue == pytest.approx(0.4)
    done = action_units(to_face_frame(seen.points, pose), neutral)
    assert np.corrcoef(done, said)[0, 1] > 0.9
    assert done[ACTION_UNITS.index("blink_left")] > 0.7
    assert done[ACTION_UNITS.index("blink_right")] < 0.2


def test_the_gaze_is_sent_for_each_eye_and_read_back() -> None:
    frame = acted(units_of(jaw_drop=0.2))
    assert frame.performance is not None
    assert frame.performance.expression is not None
    deviation = frame.performance.expression.deviation
    # Both look to the image's right, which is the person's left, and the left eye down as well.
    deviation[[468, 473], 0] = 10.5 / 63 * np.sin(np.radians(30)) * 0.6
    deviation[473, 1] = 1.0
    with marionette() as (address, listener), VmcSink(address) as sink:
        sink.write(frame)
        sent = {v[0]: v[1] for name, v in received(listener) if name == protocol.VALUE}
    looks = {name: value for name, value in sent.items() if "Look" in name and value}
    assert looks == pytest.approx(
        {"EyeLookInRight": 0.6, "EyeLookOutLeft": 0.6, "EyeLookDownLeft": 1.0}
    )
    port = free_port()
    with VmcSource(port) as source, VmcSink(f"127.0.0.1:{port}") as sink:
        sink.write(frame)
        read = source.read()
    assert read is not None
    assert read.performance is not None
    seen, neutral = read.performance.landmarks, read.performance.stored
    assert seen is not None
    assert neutral is not None
    moved = to_face_frame(seen.points, estimate_pose(seen.points, neutral)) - neutral
    full = 10.5 / 63 / 2
    np.testing.assert_allclose(moved[468:473, :2], np.tile([0.6 * full, 0], (5, 1)), atol=0.006)
    np.testing.assert_allclose(moved[473:478, :2], np.tile([0.6 * full, full], (5, 1)), atol=0.006)


def test_a_senders_clock_that_is_ahead_delays_nothing() -> None:
    ahead = OscBundleBuilder(int(time.time()) + 60)
    ahead.add_content(OscMessageBuilder(protocol.APPLY).build())
    port = free_port()
    with VmcSource(port) as source:
        UDPClient("127.0.0.1", int(port)).send(ahead.build())
        assert source.read() is not None


def test_datagrams_that_are_no_osc_are_passed_over_in_silence(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Anybody who can reach the port may send them, as often as they like."""
    damaged = b"#bundle\0" + bytes(8) + (20).to_bytes(4, "big") + b"x" * 20
    unknown = b"/VMC/Ext/Blend/Val\0\0,sq\0JawOpen\0"
    port = free_port()
    with VmcSource(port) as source, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in (b"", b"\xff\xfe", b"/" + b"\xff" * 7, b"#bundle\0", damaged, unknown):
            sender.sendto(datagram, ("127.0.0.1", int(port)))
        client = UDPClient("127.0.0.1", int(port))
        for number in range(500):
            value = OscMessageBuilder(protocol.VALUE)
            value.add_arg(f"Toe{number}")
            value.add_arg(0.5)
            client.send(value.build())
            time.sleep(0.0005)  # else the system drops some
        client.send(OscMessageBuilder(protocol.APPLY).build())
        assert source.read() is not None
        client.send(value.build())
        time.sleep(0.1)
        assert source._shapes == {}
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_a_network_that_is_gone_for_a_moment_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: UDPClient, content: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    with marionette() as (address, listener), VmcSink(address) as sink:
        with monkeypatch.context() as gone:
            gone.setattr(UDPClient, "send", refuse)
            for number in range(3):
                sink.write(Frame(PICTURE, 900_000.0 + number, number))
        assert caplog.text.count("Network is unreachable") == 1
        sink.write(Frame(PICTURE, 900_003.5, 3))
        assert received(listener)[1] == (protocol.TIME, [3.5])


def test_names_in_any_case_count_and_nonsense_moves_nothing() -> None:
    assert read_name("eyeblinkLEFT") == "EyeBlinkLeft"
    assert read_name("cheekPuff") is None
    nan, ahead = float("nan"), np.eye(3, dtype=np.float32)
    assert not action_units_of({"JawOpen": nan, "MouthLeft": -3.0}).any()
    assert action_units_of({"MouthLeft": 1e300}).max() == 1.0
    performance = BlendShapeFace().frame({"TongueOut": nan}, ahead).performance
    assert performance is not None
    assert performance.landmarks is not None
    assert performance.landmarks.tongue == 0.0
    for none in (0.0, 1e200, float("inf"), nan):
        assert np.array_equal(protocol.rotation([0.0, none, 0.0, none]), ahead)


@pytest.mark.parametrize(
    ("assignment", "neutral"), [("renderer.name=warp", "fresh"), ("actor.name=phone", "auto")]
)
def test_the_mean_face_of_a_tracker_does_not_replace_the_users_own_neutral(
    assignment: str, neutral: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(PLUGINS / "reenact_vmc", tmp_path, monkeypatch)
    settings = load_settings(None, ["renderer.name=warp", assignment])
    source = f"vmc:{free_port()}"
    with Session.open(settings, source, open_target("astronaut"), ["null"]) as session:
        assert session.settings.actor.neutral == neutral


def test_a_source_that_is_closed_wakes_its_reader() -> None:
    source = VmcSource(free_port())
    frames: list[Frame | None] = []
    reader = threading.Thread(target=lambda: frames.append(source.read()))
    reader.start()
    source.close()
    reader.join(5)
    assert frames == [None]


def test_bad_addresses_and_taken_ports_are_one_sentence() -> None:
    with pytest.raises(SinkError, match="no port"):
        VmcSink("127.0.0.1")
    with pytest.raises(SinkError, match=r"192\.168\.\.20 cannot be reached: it is no address"):
        VmcSink("192.168..20:39539")
    with pytest.raises(SourceError, match="no address to listen on"):
        VmcSource(free_port(), listen="127..1")
    with pytest.raises(SourceError, match="no address to listen on"):
        VmcSource(free_port(), listen="192.0.2.1")  # of another computer (RFC 5737)
    with pytest.raises(SourceError, match="no port"):
        VmcSource("seventy")
    with VmcSource(port := free_port()), pytest.raises(SourceError, match="close the program"):
        VmcSource(port)
