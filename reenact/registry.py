"""Finds the program's own parts and those of plugins by entry point; loads only the chosen one.

A part is described by a small frozen spec, registered under one of the groups below. Listing
imports the modules that hold the specs, which import neither torch nor mediapipe; `build`
imports what it needs.
"""

from __future__ import annotations

import difflib
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeAlias, cast, overload

from typing_extensions import TypeVar

from reenact.config import (
    DriveSettings,
    RemoteSettings,
    RendererSettings,
    Section,
    Settings,
    SinkSettings,
    SourceSettings,
    TrackingSettings,
)
from reenact.errors import ModelError, PluginError, SinkError, SourceError
from reenact.types import (
    MotionSource,
    Performer,
    Remote,
    Renderer,
    Sink,
    Source,
    Target,
    Tracker,
)

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Section, default=Section)
"""The class of a part's own settings."""


@dataclass(frozen=True, slots=True)
class Spec(Generic[S]):
    """What the program knows of a part before it is built.

    Attributes:
        name: as typed, and the name of its section, such as `[source.NAME]`; those of trackers and
            motions stand in `[tracking]` and `[drive]`.
        summary: one line for `reenact plugins`.
        build: makes the part.
        settings: the class of its own settings.
    """

    name: str
    summary: str
    build: Callable[..., Any]
    settings: type[S] = cast("type[S]", Section)  # noqa: RUF009


@dataclass(frozen=True, slots=True)
class SourceSpec(Spec[S]):
    """Describes a source; what every spec has, stands in `Spec`.

    Attributes:
        build: `build(argument, settings)` opens it. `argument` is what follows the colon in
            `--source NAME:ARGUMENT`, "" where there is none. Raises SourceError.
        argument: how its argument is shown in help; "": it takes none.
        still: it shows a picture: nobody sits before it, even where it is live.
        needs: the device that it needs, such as "a camera"; "": it works on every machine.
        landmarks: its frames carry the actor's landmarks (`Frame.performance`): no tracker is used.
    """

    build: Callable[[str, S], Source]
    argument: str = ""
    still: bool = False
    needs: str = ""
    landmarks: bool = False

    def make(self, argument: str, settings: SourceSettings) -> Source:
        """Build it with its own settings. Raises SourceError if it takes no argument or fails."""
        if argument and not self.argument:
            raise SourceError(_unwanted_argument("source", self.name))
        return self.build(argument, settings.part(self.name, self.settings))


@dataclass(frozen=True, slots=True)
class TrackerSpec(Spec[S]):
    """Describes a tracker; what every spec has, stands in `Spec`.

    Attributes:
        build: `build(common, settings)` loads its models. `common` says which face is wanted.
    """

    build: Callable[[TrackingSettings, S], Tracker]

    def make(self, settings: TrackingSettings) -> Tracker:
        """Build the tracker with its own section of the settings."""
        return self.build(settings, settings.part(self.name, self.settings))


@dataclass(frozen=True, slots=True)
class RendererSpec(Spec[S]):
    """Describes a renderer; what every spec has, stands in `Spec`.

    Attributes:
        build: `build(common, settings)` makes it; its `prepare` loads the weights. `common` says
            the size, device, engine and weights that are wanted.
        from_photo: it can draw any target from one photo with what is installed, so that
            `target create` measures it and picks it where it is the best.
        beyond_crop: it draws crops of any `Target.extent`, so that hair above the usual one moves.
        recipe: "module:function" of the recipe that `reenact train` trains it by; it takes the
            `[settings]` of a training file and returns a `training.loop.Recipe`.
        target_training: "module:function" of a `targets.target_training.TargetTrainer`, which
            `target train` and `evaluate --target-training` call.
        export: "module:function" of a `models.export.Exporter`, which `reenact export` calls.

    What is given as "module:function" is imported when it is used; None: it cannot be done.
    """

    build: Callable[[RendererSettings, S], Renderer]
    from_photo: bool = False
    beyond_crop: bool = False
    recipe: str | None = None
    target_training: str | None = None
    export: str | None = None

    def make(self, settings: RendererSettings) -> Renderer:
        """Build the renderer with its own section of the settings."""
        return self.build(settings, settings.part(self.name, self.settings))


@dataclass(frozen=True, slots=True)
class SinkSpec(Spec[S]):
    """Describes a sink; what every spec has, stands in `Spec`.

    Attributes:
        build: `build(argument, settings)` makes it; its `open` opens the device. `argument` is
            what follows the colon in `--sink NAME:ARGUMENT`, "" where there is none.
        argument: how its argument is shown in help; "": it takes none.
        alpha: a target without its background (`Frame.alpha`) stays so, or the sink itself reports
            that it does not (`types.HasProblem`).
        needs: the device that it needs, such as "a display"; "": it works on every machine.
        on_air: a call or stream may show it, so that the panel asks before it ends.
    """

    build: Callable[[str, S], Sink]
    argument: str = ""
    alpha: bool = False
    needs: str = ""
    on_air: bool = False

    def make(self, argument: str, settings: SinkSettings) -> Sink:
        """Build it with its own settings. Raises SinkError if it takes not this argument."""
        if argument and not self.argument:
            raise SinkError(_unwanted_argument("sink", self.name))
        return self.build(argument, settings.part(self.name, self.settings))


@dataclass(frozen=True, slots=True)
class MotionSpec(Spec[S]):
    """Describes a source of motions; what every spec has, stands in `Spec`.

    Attributes:
        build: `build(settings)` loads its weights.
        recipe: as of `RendererSpec`.
    """

    build: Callable[[S], MotionSource]
    recipe: str | None = None

    def make(self, settings: DriveSettings) -> MotionSource:
        """Build it with its own section of the settings."""
        return self.build(settings.part(self.name, self.settings))


@dataclass(frozen=True, slots=True)
class RemoteSpec(Spec[S]):
    """Describes a remote control; what every spec has, stands in `Spec`.

    Attributes:
        build: `build(performer, settings)` opens it. Raises ReenactError.
        needs: the device that it needs, such as "a MIDI device".
    """

    build: Callable[[Performer, S], Remote]
    needs: str = ""

    def make(self, performer: Performer, settings: RemoteSettings) -> Remote:
        """Open it with its own section of the settings. Raises ReenactError."""
        return self.build(performer, settings.part(self.name, self.settings))


AnySpec: TypeAlias = Spec[Any]

Group: TypeAlias = Literal["sources", "trackers", "renderers", "sinks", "motions", "remotes"]

_SPECS: Final[dict[Group, type[AnySpec]]] = {
    "sources": SourceSpec,
    "trackers": TrackerSpec,
    "renderers": RendererSpec,
    "sinks": SinkSpec,
    "motions": MotionSpec,
    "remotes": RemoteSpec,
}

GROUPS: Final = tuple(_SPECS)

SECTION_OF: Final[dict[Group, str]] = {
    "sources": "source",
    "trackers": "tracking",
    "renderers": "renderer",
    "sinks": "sink",
    "motions": "drive",
    "remotes": "remote",
}
"""The sections that contain those of the parts."""

_FOR_A_FILE: Final[dict[Group, str]] = {
    "sources": " For a file write video:PATH or image:PATH.",
    "sinks": " For a file write file:PATH.",
}

DEFAULT_RENDERER: Final = "warp_unet"
"""Draws a target for which no renderer was chosen."""


def available(group: Group) -> list[str]:
    """Return the sorted names registered in a group."""
    return sorted(_entries(group))


@overload
def load(group: Literal["sources"], name: str) -> SourceSpec[Any]: ...
@overload
def load(group: Literal["trackers"], name: str) -> TrackerSpec[Any]: ...
@overload
def load(group: Literal["renderers"], name: str) -> RendererSpec[Any]: ...
@overload
def load(group: Literal["sinks"], name: str) -> SinkSpec[Any]: ...
@overload
def load(group: Literal["motions"], name: str) -> MotionSpec[Any]: ...
@overload
def load(group: Literal["remotes"], name: str) -> RemoteSpec[Any]: ...
@overload
def load(group: Group, name: str) -> AnySpec: ...
def load(group: Group, name: str) -> AnySpec:
    """Return one spec.

    Raises PluginError if the name is not registered, with those that are, if the module behind it
    could not be imported, with the cause, or if it holds no spec of this name.
    """
    check_name(group, name)
    entry = _entries(group)[name]
    try:
        spec = entry.load()
    except Exception as error:
        raise PluginError(
            f"The {group[:-1]} {name!r} ({entry.value}) could not be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(spec, _SPECS[group]):
        raise PluginError(
            f"{entry.value} is not a {_SPECS[group].__name__}, but {type(spec).__name__}."
        )
    if spec.name != name:
        raise PluginError(f"{entry.value} is registered as {name}, but calls itself {spec.name}.")
    if name in type(getattr(Settings(), SECTION_OF[group])).model_fields:
        raise PluginError(f"{entry.value} cannot be called {name}: that is the name of a setting.")
    return spec


def check_name(group: Group, name: str) -> None:
    """Raise PluginError, with the names that are registered, if this one is not."""
    entries = _entries(group)
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        if Path(name).suffix:
            hint = _FOR_A_FILE.get(group, hint)
        installed = f"Available: {', '.join(sorted(entries))}." if entries else "None is installed."
        more = "" if hint else " If a plugin brings it, install the plugin first."
        raise PluginError(f"There is no {group[:-1]} called {name!r}.{hint} {installed}{more}")


def renderer_of(target: Target) -> str:
    """Return the name of the renderer that draws a target where the settings name none."""
    return DEFAULT_RENDERER if target.renderer == "auto" else target.renderer


def check_renderer(settings: RendererSettings) -> None:
    """Check what can be checked before a renderer is made and its weights are loaded.

    Raises:
        PluginError: the renderer is unknown or its module cannot be imported.
        ModelError: there is no file of the weights.
    """
    if settings.name != "auto":
        load("renderers", settings.name)
    if settings.weights and not Path(settings.weights).is_file():
        raise ModelError(f"There is no model file {settings.weights}.")


def import_object(place: str) -> Any:
    """Return what "module:name" refers to. Raises PluginError if it could not be imported."""
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except Exception as error:
        raise PluginError(
            f"{place} could not be loaded: {type(error).__name__}: {error}"
        ) from error


def split(text: str) -> tuple[str, str]:
    """Split `kind:argument` at the first colon."""
    kind, _, argument = text.partition(":")
    return kind, argument


def _entries(group: Group) -> dict[str, EntryPoint]:
    return _found(group, tuple(sys.path), entry_points)


@lru_cache(maxsize=32)
def _found(group: Group, path: tuple[str, ...], find: Callable[..., Any]) -> dict[str, EntryPoint]:
    """Look through the installed packages once for each path: it takes some milliseconds."""
    found: dict[str, EntryPoint] = {}
    built_in_first = sorted(find(group=f"reenact.{group}"), key=_is_of_a_plugin)
    for entry in built_in_first:
        first = found.setdefault(entry.name, entry)
        if first.value != entry.value:
            log.warning(
                "%s is ignored, because %s is also called %s; uninstall one, or rename it.",
                entry.value,
                first.value,
                entry.name,
            )
    return found


def _is_of_a_plugin(entry: EntryPoint) -> bool:
    return not entry.value.startswith("reenact.")


def _unwanted_argument(kind: str, name: str) -> str:
    return f"The {kind} {name} takes nothing after a colon; write --{kind} {name}."
