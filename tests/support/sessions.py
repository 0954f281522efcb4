"""Sessions of fakes, in simulated time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from reenact.config import Settings
from reenact.live.controls import Controls
from reenact.live.session import Session
from reenact.sinks.fanout import SinkSet
from reenact.stats import Stats
from support.fakes import FakeReenactor, FakeSink, FakeSource, shows_actor, until
from support.simulation import SimulatedTime

OUTPUT_FPS = 50.0


def quiet_settings(**output: object) -> Settings:
    """Return settings in which the target moves only as the actor does."""
    return Settings.model_validate(
        {
            "renderer": {"name": "warp"},
            "actor": {"neutral": "fresh"},
            "idle": {"life": False},
            "fusion": {"mode": "relative"},
            "output": output,
        }
    )


def make_session(
    source: FakeSource,
    reenactor: FakeReenactor,
    sink: FakeSink,
    time: SimulatedTime,
) -> Session:
    settings = Settings()
    settings.output.fps = OUTPUT_FPS
    return Session(settings, source, reenactor, SinkSet([sink]), clock=time.clock)


def run(
    source: FakeSource,
    reenactor: FakeReenactor,
    sink: FakeSink,
    time: SimulatedTime,
    done: Callable[[], bool] = lambda: False,
) -> Stats:
    """Run until the source ends, or until `done`; no picture that was written shows the actor."""
    session = make_session(source, reenactor, sink, time)
    try:
        with session:
            session.start()
            until(lambda: session.wait(0.0) or done())
    finally:
        assert source.closed
        assert sink.closed
        assert reenactor.closed == 1
        assert not any(shows_actor(frame.image) for frame in sink.frames)
    return session.stats()


def all_frames_are_counted(stats: Stats) -> bool:
    return stats.frames_in == stats.frames_out - stats.repeats + sum(stats.drops.values())


@contextlib.contextmanager
def fake_controls(time: SimulatedTime) -> Iterator[Controls]:
    """Run a live session of fakes, whose outputs may change."""
    source = FakeSource(None, live=True, time=time)
    output = SinkSet([FakeSink(live=True)])
    with Session(Settings(), source, FakeReenactor(), output, clock=time.clock) as session:
        session.start()
        yield Controls(session)
