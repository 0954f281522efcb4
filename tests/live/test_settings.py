"""Choices that settings leave open are made in a copy, with the sections of the chosen parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reenact.config import Settings, SinkSettings
from reenact.errors import ConfigError
from reenact.live.pipeline import open_reenactor
from reenact.live.settings import load_settings, resolve, same
from reenact.registry import DEFAULT_RENDERER, load
from reenact.sinks.mjpeg_server import HttpSettings
from reenact.stats import StepTimer
from support.faces import portrait_target
from support.plugins import install
from support.program import repository


def test_the_callers_settings_stay_as_they_were() -> None:
    settings = Settings()
    resolved = resolve(settings, replace(portrait_target(), renderer="copy"), recorded=True)
    assert (resolved.renderer.name, resolved.actor.neutral) == ("copy", "fresh")
    assert settings == Settings()


def test_a_target_without_a_measured_renderer_gets_the_default_one() -> None:
    assert resolve(Settings(), portrait_target()).renderer.name == DEFAULT_RENDERER


@pytest.mark.parametrize(
    ("assignment", "neutral"),
    [("actor.name=me", "auto"), ("actor.neutral=auto", "auto"), ("actor.neutral=stored", "stored")],
)
def test_a_recorded_actor_who_is_named_may_have_a_neutral(assignment: str, neutral: str) -> None:
    settings = load_settings(assignments=[assignment])
    assert resolve(settings, portrait_target(), recorded=True).actor.neutral == neutral


def test_the_sections_of_the_chosen_parts_are_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a change of one, while a session runs, would not reach the part."""
    install(repository() / "examples/tint", tmp_path, monkeypatch)
    settings = load_settings(assignments=["renderer.name=tint", "renderer.tint.strength=0.5"])
    renderer = resolve(settings, portrait_target()).renderer
    own = load("renderers", "tint").settings
    assert renderer.part("tint", own).strength == 0.5
    renderer.part("tint", own).strength = 0.25
    assert renderer.part("tint", own).strength == 0.25
    assert settings.renderer.part("tint", own).strength == 0.5


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("[renderer]\nsize = 'big'", "renderer.size"),
        ("[sink.http]\nquality = 'good'", "sink.http.quality"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(section: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(section)
    with pytest.raises(ConfigError, match=rf"mine\.toml: {told}: "):
        load_settings(file)
    with pytest.raises(ConfigError, match=r"^renderer\.size: "):
        load_settings(assignments=["renderer.size=big"])


def test_weights_that_are_another_renderers_are_not_loaded() -> None:
    settings = load_settings(assignments=["renderer.name=warp_unet", "renderer.device=cpu"])
    pictures = []
    for weights in ("tint.safetensors", None):  # there is no such file
        target = replace(portrait_target(), renderer="tint", weights=weights)
        reenactor = open_reenactor(settings, target, StepTimer())
        pictures.append(reenactor.idle(0.0, 0).image)
        reenactor.close()
    np.testing.assert_array_equal(pictures[0], pictures[1])


def test_sections_are_the_same_whether_defaults_are_given_or_not() -> None:
    port = SinkSettings(http=HttpSettings(port=8090))
    filled = SinkSettings()
    filled.part("http", HttpSettings)
    assert same(filled, SinkSettings())
    assert same(SinkSettings(), filled)
    assert same(port, SinkSettings(http=HttpSettings(port=8090)))
    assert not same(port, filled)
    assert not same(SinkSettings(), port)
