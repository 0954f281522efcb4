"""The ring of frames in shared memory, between real processes."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reenact.errors import SinkError
from reenact.sinks.obs.frame_memory import clock_ns
from reenact.sinks.obs.ring import RingReader, RingWriter
from reenact.sinks.obs.shared_memory import HEADER_BYTES, SharedMemory
from reenact.sinks.obs.sink import ObsSink
from reenact.types import Frame
from support.clips import four_colours, numbered_picture
from support.fakes import until
from support.obs.rings import memory_of, ring_name, writing_process

SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70)) | st.just((640, 360))


@settings(max_examples=30, deadline=None)
@given(
    writes=st.lists(
        st.tuples(SIZES, st.integers(1, 5), st.booleans(), st.booleans()), min_size=1, max_size=8
    )
)
def test_readers_see_the_newest_frame_of_any_size(
    writes: list[tuple[tuple[int, int], int, bool, bool]],
) -> None:
    """Each entry: size, how many frames of it, whether they have alpha, and are all read."""
    random = np.random.default_rng(0)
    with ring_name() as name, RingWriter(name) as writer, RingReader(name) as reader:
        writer.open()
        assert reader.newest() is None
        size_before, number, generations = None, 0, []
        for (width, height), count, has_alpha, reads_all in writes:
            for index in range(count):
                image = random.integers(0, 256, (height, width, 3), np.uint8)
                alpha = random.integers(0, 256, (height, width), np.uint8) if has_alpha else None
                is_new_size = (width, height) != size_before
                size_before = (width, height)
                number = 1 if is_new_size else number + 1
                before_ns = clock_ns()
                assert writer.write(image, alpha) == number
                if reads_all or index == count - 1:
                    frame = until(reader.newest)
                    assert frame.number == number
                    assert before_ns <= frame.time_ns <= clock_ns()
                    assert np.array_equal(frame.picture[..., 2::-1], image)
                    opaque = np.full((height, width), 255, np.uint8)
                    assert np.array_equal(frame.picture[..., 3], opaque if alpha is None else alpha)
                    generations.append((frame.generation, size_before))
    assert len(set(generations)) == len({generation for generation, _ in generations})


@pytest.mark.parametrize("lapping", [False, True])
def test_no_frame_is_torn_while_a_fast_writer_runs(name: str, lapping: bool) -> None:
    numbers: list[int] = []
    with writing_process(name, 0.0003 * lapping, lapping=lapping), RingReader(name) as reader:
        until(reader.newest)
        end_s = time.monotonic() + 3.0
        while time.monotonic() < end_s:
            frame = reader.newest()
            if frame is None:
                continue
            blue, green, red, _ = (int(value) for value in frame.picture[0, 0])
            assert (frame.picture[..., :3] == (blue, green, red)).all()
            assert (red, green, blue) == (
                frame.number % 256,
                frame.number % 256 * 7 % 256,
                255 - frame.number % 256,
            )
            numbers.append(frame.number)
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 20


def test_reader_skips_a_slot_that_is_being_written(name: str) -> None:
    with RingWriter(name) as writer, RingReader(name) as reader:
        writer.open()
        writer.write(four_colours())
        found = until(reader.newest)
        frames = SharedMemory.open(f"{name}.{found.generation:08x}", HEADER_BYTES)
        slot = 16 + 2 * (found.number % int(frames.words[3]))
        frames.longs[slot] = 0
        assert reader.newest() is None
        frames.longs[slot] = found.number
        assert reader.newest() is not None
        frames.close()


def test_second_writer_is_refused_while_the_first_works(name: str) -> None:
    with writing_process(name, 0.02), RingReader(name) as reader:
        until(reader.newest)
        with pytest.raises(SinkError, match=f"already writes for OBS as {name}"):
            RingWriter(name).open()
        with ring_name() as another, RingWriter(another) as other:
            other.open()
        first = until(reader.newest)
        until(lambda: (found := reader.newest()) is not None and found.number > first.number)


@pytest.mark.skipif(sys.platform == "win32", reason="the memory goes with its last user")
def test_name_of_a_killed_writer_is_taken_over_and_its_memory_freed(name: str) -> None:
    with writing_process(name, 0.02) as process, RingReader(name) as reader:
        until(reader.newest)
        process.send_signal(signal.SIGKILL)
        process.wait()
        old = until(reader.newest)
        with RingWriter(name) as writer:
            writer.open()
            writer.write(four_colours())
            new = until(reader.newest)
            assert new.generation != old.generation
            assert np.array_equal(new.picture[..., 2::-1], four_colours())
            if sys.platform == "linux":
                assert memory_of(name) == {"", f".{new.generation:08x}"}


@pytest.mark.skipif(sys.platform != "linux", reason="names are listed on Linux only")
def test_closing_frees_the_pictures(name: str) -> None:
    writer = RingWriter(name)
    writer.open()
    writer.write(four_colours())
    writer.write(numbered_picture(1, (64, 48)))
    assert len(memory_of(name)) == 2
    writer.close()
    writer.close()
    assert memory_of(name) == {""}
    assert not any(path.stat().st_mode & 0o077 for path in Path("/dev/shm").glob(f"*{name}"))
    with pytest.raises(SinkError, match="closed"):
        writer.write(four_colours())


@pytest.mark.skipif(sys.platform != "linux", reason="a link can be laid on Linux only")
def test_memory_that_another_program_prepared_is_not_used(name: str, tmp_path: Path) -> None:
    import os

    trap = tmp_path / "precious"
    trap.write_bytes(bytes(2 * HEADER_BYTES))
    Path(f"/dev/shm/reenact.{os.geteuid()}.{name}").symlink_to(trap)
    with pytest.raises(SinkError, match="OBS"):
        RingWriter(name).open()
    assert trap.read_bytes() == bytes(2 * HEADER_BYTES)


@pytest.mark.parametrize("bad", ["", "with space", "a/b", "..", "thirteen-long", "näme"])
def test_names_that_a_ring_may_not_have_are_refused(bad: str) -> None:
    with pytest.raises(SinkError, match="1 to 12 letters"):
        RingWriter(bad)


def test_sink_writes_pictures_with_and_without_alpha(name: str) -> None:
    alpha = np.zeros((120, 160), np.uint8)
    with ObsSink(name) as sink, RingReader(name) as reader:
        sink.open((160, 120), 30.0)
        sink.write(Frame(four_colours(), 0.0, 0))
        opaque = until(reader.newest)
        sink.write(Frame(four_colours(), 0.1, 1, alpha))
        clear = until(reader.newest)
        assert (opaque.picture[..., 3] == 255).all()
        assert not clear.picture[..., 3].any()
        assert np.array_equal(clear.picture[..., :3], opaque.picture[..., :3])


def test_sink_may_be_closed_by_another_thread(name: str) -> None:
    sink = ObsSink(name)
    sink.open((160, 120), 30.0)
    failures: list[str] = []

    def write() -> None:
        try:
            for number in range(100_000):
                sink.write(Frame(four_colours(), number / 30, number))
        except SinkError as error:
            failures.append(str(error))

    thread = threading.Thread(target=write)
    thread.start()
    time.sleep(0.1)
    sink.close()
    thread.join(20)
    assert not thread.is_alive()
    assert "closed" in failures[0]
