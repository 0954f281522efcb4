"""Finds built-ins and plugins by entry point and loads only the chosen one.

A part is described by a small frozen `Spec`, registered under one of the groups below. Listing
imports the modules that hold the specs, which import neither torch nor mediapipe; `Spec.build`
imports what it needs.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from reenact.errors import PluginError, SinkError

GROUPS: Final = ("sources", "trackers", "renderers", "sinks")


@dataclass(frozen=True, slots=True)
class Spec:
    """What the program knows of a part before it is built.

    Attributes:
        name: as typed on the command line.
        summary: one line.
        build: makes the part. Sources: `build(argument, SourceSettings)`; trackers:
            `build(TrackingSettings)`; renderers: `build(RendererSettings)`; sinks:
            `build(argument, SinkSettings)`. `argument` is what follows the colon in
            `kind:argument`, empty where there is none.
        argument: how that argument is shown in help, "" for none.
        driven_by: for a renderer, what it uses of a Drive: "landmarks", "emotion",
            "intensity", "action_units".
        recipe: for a renderer that can be trained, "module:function" of its recipe.
        still: for a source, whether it shows a picture: nobody sits before it, even where it is
            live.
        alpha: for a sink, whether a target without its background (`Frame.alpha`) stays so.
    """

    name: str
    summary: str
    build: Callable[..., Any]
    argument: str = ""
    driven_by: tuple[str, ...] = ()
    recipe: str | None = None
    still: bool = False
    alpha: bool = False


def available(group: str) -> list[str]:
    """Return the sorted names registered in a group."""
    return sorted(_entries(group))


def load(group: str, name: str) -> Spec:
    """Return one spec.

    Raises:
        PluginError: the name is not registered (the message lists those that are), or the
            module behind it could not be imported (the message gives the cause).
    """
    entries = _entries(group)
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise PluginError(
            f"There is no {group[:-1]} called {name!r}.{hint} "
            f"Available: {', '.join(sorted(entries))}."
        )
    try:
        spec = entries[name].load()
    except Exception as error:
        raise PluginError(
            f"The {group[:-1]} {name!r} ({entries[name].value}) could not be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(spec, Spec):
        raise PluginError(
            f"{entries[name].value} is not a reenact Spec, but {type(spec).__name__}."
        )
    return spec


def split(text: str) -> tuple[str, str]:
    """Split `kind:argument` at the first colon."""
    kind, _, argument = text.partition(":")
    return kind, argument


def refuse_argument(name: str, argument: str) -> None:
    """Raise SinkError where something follows the colon of a sink that takes nothing there."""
    if argument:
        raise SinkError(f"The sink {name} takes nothing after a colon; write --sink {name}.")


def _entries(group: str) -> dict[str, EntryPoint]:
    if group not in GROUPS:
        raise ValueError(f"unknown group {group!r}")
    return {entry.name: entry for entry in entry_points(group=f"reenact.{group}")}
