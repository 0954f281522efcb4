"""Settings of any allowed value survive a file and the command line; others are told by name."""

from __future__ import annotations

import json
import tempfile
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reenact import registry
from reenact.errors import ConfigError
from reenact.live.settings import declarations, load_settings
from reenact.storage import checked_name
from tools.settings_reference import sections

FIELDS: dict[str, Any] = {
    f"{section}.{key}": entry
    for section, declared in sections()
    for key, entry in declarations(declared).items()
}
"""The JSON schema of every setting."""

CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"))
TEXT = st.text(CHARACTERS, max_size=20)
NAMES = st.from_regex(r"[^\W_]([\w \-]{0,20}[\w\-])?", fullmatch=True, alphabet=CHARACTERS)
REMOTES = st.lists(st.sampled_from(registry.available("remotes")), max_size=3).map(", ".join)


def values(name: str, entry: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Draw values that a setting's declaration allows."""
    if name == "remote.use":
        return REMOTES
    if name == "output.background":
        return NAMES.map(checked_name)
    if "enum" in entry:
        return st.sampled_from(entry["enum"])
    if entry["type"] == "boolean":
        return st.booleans()
    if entry["type"] == "integer":
        return st.integers(entry.get("minimum"), entry.get("maximum", 10**9))
    if entry["type"] == "number":
        low, high = entry.get("minimum", entry.get("exclusiveMinimum")), entry["maximum"]
        return st.floats(low, high, exclude_min="exclusiveMinimum" in entry)
    if "pattern" in entry:
        return st.from_regex(entry["pattern"], fullmatch=True, alphabet=CHARACTERS)
    longest = entry.get("maxLength", 20)
    return TEXT.filter(lambda text: entry.get("minLength", 0) <= len(text) <= longest)


CHOICES = st.lists(st.sampled_from(sorted(FIELDS)), unique=True, max_size=8).flatmap(
    lambda names: st.fixed_dictionaries({name: values(name, FIELDS[name]) for name in names})
)


@settings(max_examples=40)
@given(CHOICES)
def test_every_allowed_value_survives_a_file_and_the_command_line(chosen: dict[str, Any]) -> None:
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in chosen.items()]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "live.toml")
        file.write_text("\n".join(lines), encoding="utf-8")
        from_file = load_settings(file)
    assert from_file == load_settings(assignments=lines)
    for name, value in chosen.items():
        section, _, key = name.rpartition(".")
        assert getattr(attrgetter(section)(from_file), key) == value
    untouched = load_settings()
    common = {name for name in FIELDS if name.count(".") == 1} - set(chosen)
    assert all(attrgetter(name)(from_file) == attrgetter(name)(untouched) for name in common)


@given(
    st.sampled_from([name for name, entry in sorted(FIELDS.items()) if "maximum" in entry]),
    st.floats(1e-6, 1e6),
)
def test_a_number_past_its_range_is_told_with_its_name(name: str, excess: float) -> None:
    entry = FIELDS[name]
    whole = entry["type"] == "integer"
    low = entry.get("minimum", entry.get("exclusiveMinimum"))
    step = int(excess) + 1 if whole else excess
    for wrong in (entry["maximum"] + step, low - step):
        with pytest.raises(ConfigError, match=name):
            load_settings(assignments=[f"{name}={wrong!r}"])


@settings(max_examples=30)
@given(st.sampled_from(sorted(FIELDS)), st.data())
def test_a_misspelled_name_is_told_with_the_nearest(name: str, data: st.DataObject) -> None:
    section, _, key = name.rpartition(".")
    place = data.draw(st.integers(0, len(key) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz_"))
    wrong = f"{section}.{key[:place]}{letter}{key[place + (data.draw(st.booleans())) :]}"
    if wrong in FIELDS or wrong == f"{section}.":
        return
    with pytest.raises(ConfigError) as told:
        load_settings(assignments=[f"{wrong}=1"])
    message = str(told.value)
    assert f"unknown setting {wrong}" in message
    assert "did you mean" in message or name in message.partition("known: ")[2]
    near = message.partition("did you mean ")[2].removesuffix("?")
    assert not near or near in FIELDS
    assert "\n" not in message


@settings(max_examples=15)
@given(st.from_regex(r"[a-z_]{1,20}", fullmatch=True), st.sampled_from(sorted(FIELDS)))
def test_any_unknown_name_is_told(key: str, name: str) -> None:
    wrong = f"{name.rpartition('.')[0]}.{key}"
    if wrong in FIELDS or any(known.startswith(f"{wrong}.") for known in FIELDS):
        return
    with pytest.raises(ConfigError, match=f"unknown setting {wrong}; (did you mean|known: )"):
        load_settings(assignments=[f"{wrong}=1"])
