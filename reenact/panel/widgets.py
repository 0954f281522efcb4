"""Describes the settings, so that the page can make a widget for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reenact.config import BACKGROUNDS, Settings
from reenact.live.settings import Setting, walk
from reenact.targets.backgrounds import background_names


def widgets(settings: Settings, waiting: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Describe every setting of a session, including those of all installed components.

    Args:
        settings: of the session, or of the next one.
        waiting: values that the next start changes, by `section.key`.

    Returns:
        For each: its `name` (section.key), `section`, `section_help`, `kind` (boolean, number,
        integer, string, color or choice), `value`, `default`, `help`, `unit`, whether it is
        `live`, whether its value is one of `waiting`, and, if declared, `min`, `max` and
        `choices`.
    """
    return [
        {
            **_described(one),
            "value": waiting.get(one.name, one.value),
            "waiting": one.name in waiting,
        }
        for one in walk(settings, unused=True)
    ]


def _described(setting: Setting) -> dict[str, Any]:
    told, (low, high) = setting.schema, setting.range
    choices = told.get("enum")
    if setting.name == "output.background":
        choices = [*BACKGROUNDS, *background_names()]
    elif setting.name == "fusion.voice":
        choices = list(dict.fromkeys([*told["examples"], setting.value]))
    return {
        "name": setting.name,
        "section": setting.section,
        "section_help": setting.help,
        "kind": "choice" if choices else told.get("format", told.get("type", "string")),
        "default": told.get("default"),
        "help": told.get("description", ""),
        "unit": told.get("unit", ""),
        "live": setting.live,
        "min": low,
        "max": high,
        "choices": choices,
    }
