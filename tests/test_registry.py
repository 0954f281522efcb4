"""The registry: what is found, and what is said of what is not."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from reenact import registry
from reenact.config import Section, SinkSettings
from reenact.errors import PluginError, SinkError
from reenact.registry import RendererSpec, SinkSpec
from reenact.sinks.null import NullSink
from reenact.types import Sink

GOOD = """
from reenact.registry import RendererSpec, SinkSpec, SourceSpec
PART = RendererSpec("extra", "a part from elsewhere", build=lambda *given: given)
SINK = SinkSpec("extra", "a sink from elsewhere", build=lambda *given: given)
NOT_A_SPEC = 7
"""


@pytest.fixture
def plugin_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module outside the package, as an installed plugin has it."""
    (tmp_path / "reenact_test_plugin.py").write_text(GOOD, encoding="utf-8")
    (tmp_path / "reenact_broken_plugin.py").write_text("import no_such_library", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "reenact_test_plugin", raising=False)
    return "reenact_test_plugin"


def register(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Let the registry find these entry points, as pip's metadata would."""

    def found(group: str) -> list[EntryPoint]:
        return [EntryPoint(name, value, group) for name, value in values.items()]

    monkeypatch.setattr(registry, "entry_points", found)


def test_a_plugin_is_loaded_by_its_entry_point(
    plugin_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, extra=f"{plugin_module}:PART")
    assert registry.available("renderers") == ["extra"]
    assert plugin_module not in sys.modules, "listing imports nothing"
    spec = registry.load("renderers", "extra")
    assert isinstance(spec, RendererSpec)
    assert spec.summary == "a part from elsewhere"


def test_a_plugin_does_not_replace_a_part_of_the_same_name(
    plugin_module: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = EntryPoint("null", "reenact.sinks.null:NULL", "reenact.sinks")
    other = EntryPoint("null", f"{plugin_module}:SINK", "reenact.sinks")
    for order in ([own, other, own], [other, own]):
        monkeypatch.setattr(registry, "entry_points", lambda group, order=order: order)
        registry._found.cache_clear()
        caplog.clear()
        assert registry.load("sinks", "null").build("", Section()).name == "null"
        assert caplog.text.count(f"{plugin_module}:SINK is ignored") == 1


def test_an_unknown_name_is_answered_with_the_near_and_the_known_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register(monkeypatch, webcam="a:B", video="a:C")
    with pytest.raises(PluginError) as caught:
        registry.load("sources", "webcm")
    assert "'webcm'" in str(caught.value)
    assert "Did you mean webcam?" in str(caught.value)
    assert str(caught.value).endswith("Available: video, webcam.")
    register(monkeypatch)
    with pytest.raises(
        PluginError, match=r"no motion called 'dance'\. None is installed\. If a plugin"
    ):
        registry.load("motions", "dance")


def test_a_broken_plugin_is_told_with_its_real_cause(
    plugin_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, broken="reenact_broken_plugin:PART")
    with pytest.raises(PluginError, match="no_such_library"):
        registry.load("sinks", "broken")


def test_what_is_not_a_spec_is_refused(plugin_module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, number=f"{plugin_module}:NOT_A_SPEC")
    with pytest.raises(PluginError, match="not a SinkSpec, but int"):
        registry.load("sinks", "number")


@pytest.mark.parametrize(
    ("name", "told"),
    [("other", "registered as other, but calls itself extra"), ("rotate", "name of a setting")],
)
def test_a_name_that_would_hide_its_settings_is_refused(
    name: str, told: str, plugin_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Path(str(sys.path[0])) / f"{plugin_module}.py"
    module.write_text(GOOD + 'SOURCE = SourceSpec("rotate", "a source", build=None)', "utf-8")
    part = "SOURCE" if name == "rotate" else "SINK"
    register(monkeypatch, **{name: f"{plugin_module}:{part}"})
    with pytest.raises(PluginError, match=told):
        registry.load("sources" if name == "rotate" else "sinks", name)


@pytest.mark.parametrize("place", ["reenact_broken_plugin:f", ":f", "reenact_failing:f"])
def test_what_cannot_be_imported_is_told_with_its_cause(place: str, plugin_module: str) -> None:
    Path(str(sys.path[0]), "reenact_failing.py").write_text("1 / 0", encoding="utf-8")
    with pytest.raises(PluginError, match=f"{place} could not be loaded: [A-Z][A-Za-z]+Error: "):
        registry.import_object(place)


class OwnSettings(Section):
    """Of a part from elsewhere."""

    length: int = 3


def test_a_part_is_built_with_its_own_section() -> None:
    given: list[tuple[str, OwnSettings]] = []

    def build(argument: str, own: OwnSettings) -> Sink:
        given.append((argument, own))
        return NullSink()

    spec = SinkSpec("extra", "a sink", build, settings=OwnSettings, argument="PATH")
    spec.make("here", SinkSettings())
    spec.make("", SinkSettings(extra=OwnSettings(length=5)))
    assert [(argument, own.length) for argument, own in given] == [("here", 3), ("", 5)]


def test_what_a_part_takes_nothing_for_is_refused() -> None:
    sink = SinkSpec("extra", "a sink", lambda argument, own: NullSink())
    with pytest.raises(SinkError, match="extra takes nothing after a colon; write --sink extra"):
        sink.make("here", SinkSettings())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("window", ("window", "")),
        ("file:out.mp4", ("file", "out.mp4")),
        (r"file:C:\videos\out.mp4", ("file", r"C:\videos\out.mp4")),
        ("video:https://host:8080/a.mp4", ("video", "https://host:8080/a.mp4")),
    ],
)
def test_only_the_first_colon_splits(text: str, parts: tuple[str, str]) -> None:
    assert registry.split(text) == parts
