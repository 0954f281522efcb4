"""Parts of a plugin that have a live setting, and keep what they were built with."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import numpy as np
import pytest

from reenact import registry
from reenact.config import Live, RendererSettings, Section, Share, TrackingSettings
from reenact.registry import MotionSpec, RendererSpec, SinkSpec, SourceSpec, TrackerSpec
from reenact.types import Array, MotionSource, Renderer, Sink, Source, Tracker
from support.fakes import FakeRenderer, FakeSink, FakeSource, FakeTracker


class Knob(Section):
    """A part with a live setting."""

    knob: Live[Share] = 0.5


class _Motion:
    def motion(self, emotion: str, seed: int) -> Array:
        return np.zeros((2, 478, 3), np.float32)


BUILT: dict[str, Knob] = {}
"""The settings of each part, by its section."""


def _source(argument: str, own: Knob) -> Source:
    BUILT["source"] = own
    return FakeSource(None, live=True)


def _sink(argument: str, own: Knob) -> Sink:
    BUILT["sink"] = own
    return FakeSink(live=True)


def _tracker(common: TrackingSettings, own: Knob) -> Tracker:
    BUILT["tracking"] = own
    return FakeTracker(None)


def _renderer(common: RendererSettings, own: Knob) -> Renderer:
    BUILT["renderer"] = own
    return FakeRenderer()


def _motion(own: Knob) -> MotionSource:
    BUILT["drive"] = own
    return _Motion()


SOURCES = SourceSpec("knobs", "a source", _source, settings=Knob)
SINKS = SinkSpec("knobs", "a sink", _sink, settings=Knob)
TRACKERS = TrackerSpec("knobs", "a tracker", _tracker, settings=Knob)
RENDERERS = RendererSpec("knobs", "a renderer", _renderer, settings=Knob)
MOTIONS = MotionSpec("knobs", "motions", _motion, settings=Knob)


def register_knobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the parts of this module beside the program's own, each as `knobs`."""

    def found(group: str) -> list[EntryPoint]:
        own = EntryPoint("knobs", f"{__name__}:{group.partition('.')[2].upper()}", group)
        return [*entry_points(group=group), own]

    monkeypatch.setattr(registry, "entry_points", found)
