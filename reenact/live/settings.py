"""Reads the settings of a run: the common ones, and those of every named component.

Order of precedence: defaults < TOML file < the target's own (`presets.OwnSettings`) < `--set
section.key=value`. An unknown key is an error that suggests the nearest one. Only the named
components are imported.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from reenact import registry
from reenact.config import (
    PartsSection,
    Section,
    Settings,
    declared,
    first_problem,
    parse_assignment,
    read_toml,
)
from reenact.errors import ConfigError, PluginError
from reenact.types import Target

GROUP_OF: Final = {section: group for group, section in registry.SECTION_OF.items()}
"""The sections that contain the sections of components, with the components' group."""


def load_settings(path: Path | None = None, assignments: Iterable[str] = ()) -> Settings:
    """Build the settings from defaults, an optional TOML file and `section.key=value` texts.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is not allowed.
        PluginError: a component whose settings are given could not be loaded.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = read_toml(path)
        _check_keys(values, str(path))
        _validated(values, f"{path}: ")
    for text in assignments:
        _assign(values, text)
    return _validated(values)


def given_names(settings: Section, section: str = "") -> Iterator[str]:
    """Yield the names, `section.key`, of the settings that were given and are no defaults."""
    for key in settings.model_fields_set:
        value = getattr(settings, key)
        if isinstance(value, Section):
            yield from given_names(value, f"{section}{key}.")
        else:
            yield section + key


def _validated(values: Mapping[str, Any], place: str = "") -> Settings:
    """Return the settings; `place` begins the message of a ConfigError."""
    try:
        settings = Settings.model_validate(_with_parts(values))
        for name in settings.remote.used():
            registry.check_name("remotes", name)
    except ValidationError as error:
        raise ConfigError(place + _told(error)) from error
    except (ConfigError, PluginError) as error:
        raise ConfigError(f"{place}{error}") from error
    return settings


def resolve(settings: Settings, target: Target, *, recorded: bool = False) -> Settings:
    """Return a copy of the settings in which every open choice is made.

    It holds the sections of the chosen renderer and tracker, so that the component sees changes to
    them.

    Args:
        settings: the user's settings; they are not changed.
        target: decides the renderer if the settings do not.
        recorded: True if the actor is in a file or picture, or tracked by another program, whose
            face is not the user's own. The user's own neutral is then neither read nor stored,
            unless the user set actor.name or actor.neutral.

    Raises:
        PluginError: the renderer or tracker is unknown or could not be loaded.
    """
    chosen = settings.model_copy(deep=True)
    if chosen.renderer.name == "auto":
        chosen.renderer.name = registry.renderer_of(target)
    if recorded and chosen.actor.model_fields_set.isdisjoint({"name", "neutral"}):
        chosen.actor.neutral = "fresh"
    for section, spec in (
        (chosen.renderer, registry.load("renderers", chosen.renderer.name)),
        (chosen.tracking, registry.load("trackers", chosen.tracking.name)),
    ):
        section.part(spec.name, spec.settings)
    return chosen


def same(one: PartsSection, other: PartsSection) -> bool:
    """Return True if two sections have the same values; a component that one lacks has defaults."""
    parts, others = one.parts(), other.parts()
    return all(getattr(one, key) == getattr(other, key) for key in type(one).model_fields) and all(
        (parts.get(name) or type(others[name])()) == (others.get(name) or type(parts[name])())
        for name in parts.keys() | others.keys()
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """The declaration and the value of one setting.

    Attributes:
        section: its section, such as "fusion", or for a component "renderer.warp_unet".
        key: its name in the section.
        schema: its declaration as JSON Schema, with the declared "unit" and "live".
        value: its current value.
        help: description of the section.
        used: False for a component that these settings do not name; the value is its default.
    """

    section: str
    key: str
    schema: dict[str, Any]
    value: Any
    help: str
    used: bool

    @property
    def name(self) -> str:
        """`section.key`."""
        return f"{self.section}.{self.key}"

    @property
    def range(self) -> tuple[float | None, float | None]:
        """Its lowest and highest value, even if that is exclusive; None: no limit."""
        told = self.schema
        return (
            told.get("minimum", told.get("exclusiveMinimum")),
            told.get("maximum", told.get("exclusiveMaximum")),
        )

    @property
    def live(self) -> bool:
        """True if it may change while a session runs."""
        return self.used and bool(self.schema.get("live"))


def walk(settings: Settings, *, unused: bool = False) -> Iterator[Setting]:
    """Yield every setting. Settings of a section's components follow the section's own.

    Args:
        settings: settings of a run.
        unused: also yield those of all other installed components. A component that cannot be
            loaded is left out.
    """
    for section in type(settings).model_fields:
        yield from _walk(getattr(settings, section), section, True, unused)


def _walk(section: Section, place: str, used: bool, unused: bool) -> Iterator[Setting]:
    schema = declarations(type(section))
    help = (type(section).__doc__ or "").strip().partition("\n")[0]
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, Section):
            yield from _walk(value, f"{place}.{key}", used, unused)
        else:
            yield Setting(place, key, schema[key], value, help, used)
    if not isinstance(section, PartsSection):
        return
    named = section.parts()
    for name in sorted({*named, *(_parts(place) if unused else ())}):
        with contextlib.suppress(PluginError):  # `reenact plugins` reports the cause
            part = named[name] if name in named else _part(place, name)()
            yield from _walk(part, f"{place}.{name}", used and name in named, unused)


def all_values(settings: Settings) -> dict[str, Any]:
    """Return the value of every setting by `section.key`, also of components not in use."""
    return {one.name: one.value for one in walk(settings, unused=True)}


@cache
def declarations(section: type[Section]) -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each setting of a section, without the sections in it."""
    declared: dict[str, Any] = section.model_json_schema().get("properties", {})
    return {key: told for key, told in declared.items() if key not in sections_in(section)}


@cache
def sections_in(section: type[Section]) -> dict[str, type[Section]]:
    """Return the sections that a section always contains, by name; see `GROUP_OF` for others."""
    kinds = {key: field.annotation for key, field in section.model_fields.items()}
    return {
        key: kind
        for key, kind in kinds.items()
        if isinstance(kind, type) and issubclass(kind, Section)
    }


def change(settings: Settings, name: str, value: Any) -> None:
    """Change a live setting in place, given by `section.key`.

    Raises:
        ConfigError: there is no such setting, it is not live, or the value is not allowed.
    """
    section, _, key = name.rpartition(".")
    place: object = settings
    for part in section.split("."):
        place = getattr(place, part, None)
    entry = type(place).model_fields.get(key) if isinstance(place, Section) else None
    if entry is None or isinstance(getattr(place, key), Section):
        raise ConfigError(f"There is no setting {name}.")
    if not declared(entry).get("live"):
        raise ConfigError(f"{name} cannot be changed while running; restart with it.")
    try:
        setattr(place, key, value)
    except ValidationError as error:
        raise ConfigError(_told(error, f"{section}.")) from error


def describe() -> Iterator[tuple[str, str, Any, str]]:
    """Yield (section.key, type, default, help with unit) of every setting, for help texts."""
    for one in walk(Settings(), unused=True):
        told = one.schema
        unit = f" [{told['unit']}]" if "unit" in told else ""
        live = " (live)" if told.get("live") else ""
        kind = str(told.get("type", "choice"))
        yield one.name, kind, told.get("default"), f"{told['description']}{unit}{live}"


def _parts(section: str) -> list[str]:
    """Return the names of the components that have settings in a section."""
    return registry.available(GROUP_OF[section]) if section in GROUP_OF else []


def _part(section: str, name: str) -> type[Section]:
    settings: type[Section] = registry.load(GROUP_OF[section], name).settings
    return settings


def _check_keys(values: Mapping[str, Any], origin: str) -> None:
    sections = sections_in(Settings)
    for section, entries in values.items():
        if section not in sections:
            raise ConfigError(f"{origin}: {_unknown(section, sections)}")
        _check_section(section, sections[section], entries, origin)


def _check_section(section: str, kind: type[Section], entries: Any, origin: str) -> None:
    if not isinstance(entries, Mapping):
        raise ConfigError(
            f"{origin}: {section} is a section; write [{section}] and its keys below."
        )
    inner = sections_in(kind)
    for key, value in entries.items():
        if key in inner:
            _check_section(f"{section}.{key}", inner[key], value, origin)
        elif key in _parts(section):
            _check_section(f"{section}.{key}", _part(section, key), value, origin)
        elif key not in kind.model_fields or isinstance(value, Mapping):
            top = section.partition(".")[0]
            known = [name for name, *_ in describe() if name.startswith(f"{top}.")]
            wrong = _first_name(f"{section}.{key}", value)
            raise ConfigError(f"{origin}: {_unknown(wrong, known)}")


def _first_name(name: str, value: Any) -> str:
    """Return the name of the first setting in a value that may be a section of this name."""
    if not (isinstance(value, Mapping) and value):
        return name
    key = next(iter(value))
    return _first_name(f"{name}.{key}", value[key])


def _assign(values: dict[str, Any], text: str) -> None:
    name, value = parse_assignment(text)
    *sections, key = name.split(".")
    if not (sections and all(sections) and key):
        raise ConfigError(f"--set takes section.key=value, not {text!r}.")
    nested: dict[str, Any] = {key: value}
    for section in reversed(sections):
        nested = {section: nested}
    _check_keys(nested, "--set")
    place = values
    for section in sections:
        place = place.setdefault(section, {})
    place[key] = value


def _with_parts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return checked values in which components' sections are instances of their classes."""
    made = {section: dict(entries) for section, entries in values.items()}
    for section, entries in made.items():
        for name in entries.keys() & set(_parts(section)):
            try:
                entries[name] = _part(section, name).model_validate(entries[name])
            except ValidationError as error:
                raise ConfigError(_told(error, f"{section}.{name}.")) from error
    return made


def _told(error: ValidationError, section: str = "") -> str:
    """Describe the first problem. For text of another form, use the setting's description.

    `section` is the prefix that the names in the error lack, with a trailing dot.
    """
    problem = error.errors()[0]
    if problem["type"] not in ("string_pattern_mismatch", "string_type", "name"):
        return first_problem(error, section)
    name = section + ".".join(map(str, problem["loc"]))
    schema = next(one.schema for one in walk(Settings(), unused=True) if one.name == name)
    return f"{name} cannot be {problem['input']!r}; it is {schema['description']}."


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}."
    return f"unknown setting {name}{hint}"
