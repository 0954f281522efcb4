"""Every spec: its description, and the place of its settings."""

from __future__ import annotations

from typing import Final

import pytest

from reenact import registry
from reenact.config import (
    DriveSettings,
    RemoteSettings,
    RendererSettings,
    Section,
    SinkSettings,
    SourceSettings,
    TrackingSettings,
)

PARTS: Final = [(group, name) for group in registry.GROUPS for name in registry.available(group)]

SECTIONS: Final[dict[registry.Group, type[Section]]] = {
    "sources": SourceSettings,
    "trackers": TrackingSettings,
    "renderers": RendererSettings,
    "sinks": SinkSettings,
    "motions": DriveSettings,
    "remotes": RemoteSettings,
}


@pytest.mark.parametrize(("group", "name"), PARTS)
def test_spec_is_well_formed(group: registry.Group, name: str) -> None:
    spec = registry.load(group, name)
    assert spec.name == name
    assert 5 < len(spec.summary) <= 100
    assert "\n" not in spec.summary
    assert callable(spec.build)
    assert name not in SECTIONS[group].model_fields, "the section has a setting of this name"


@pytest.mark.parametrize(("group", "name"), PARTS)
def test_settings_have_defaults_and_descriptions(group: registry.Group, name: str) -> None:
    settings = registry.load(group, name).settings
    assert issubclass(settings, Section)
    settings()
    for key, entry in settings.model_fields.items():
        assert len(entry.description or "") > 10, f"describe {key} in more than ten characters"


@pytest.mark.parametrize("name", registry.available("renderers"))
def test_capabilities_can_be_imported(name: str) -> None:
    spec = registry.load("renderers", name)
    for place in (spec.recipe, spec.target_training, spec.export):
        assert place is None or callable(registry.import_object(place))
