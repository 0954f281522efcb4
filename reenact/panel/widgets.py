"""What can be set, as the settings declare it: the page makes a widget of each description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from reenact.config import PartsSection, Section, Settings, declared


def widgets(settings: Settings) -> list[dict[str, Any]]:
    """Describe every setting of a session, those of its parts and plugins included.

    Returns:
        For each: its `name` (section.key), `section`, `section_help`, `kind` (boolean, number,
        integer, string or choice), `value`, `default`, `help`, `unit`, whether it is `live`, and
        as far as they are declared `min`, `max` and `choices`.
    """
    return list(_described(settings, ""))


def _described(section: Section, prefix: str) -> Iterator[dict[str, Any]]:
    kind = type(section)
    for key, field in kind.model_fields.items():
        value = getattr(section, key)
        if isinstance(value, Section):
            yield from _described(value, key)
            continue
        extra = declared(field)
        schema = TypeAdapter[Any](field.annotation or str).json_schema()
        bounds = {**schema, **_bounds(field.metadata)}
        yield {
            "name": f"{prefix}.{key}",
            "section": prefix,
            "section_help": (kind.__doc__ or "").strip().partition("\n")[0],
            "kind": "choice" if "enum" in schema else schema.get("type", "string"),
            "value": value,
            "default": field.default,
            "help": field.description or "",
            "unit": extra.get("unit", ""),
            "live": bool(extra.get("live")),
            "min": bounds.get("min"),
            "max": bounds.get("max"),
            "choices": schema.get("enum"),
        }
    if isinstance(section, PartsSection):
        for name, part in section.parts().items():
            yield from _described(part, f"{prefix}.{name}")


def _bounds(metadata: list[Any]) -> dict[str, float]:
    """Return the bounds among a field's constraints; an excluded one counts as included."""
    found = {}
    for rule in metadata:
        for attribute, name in (("ge", "min"), ("gt", "min"), ("le", "max"), ("lt", "max")):
            bound = getattr(rule, attribute, None)
            if bound is not None:
                found[name] = float(bound)
    return found
