"""What the panel keeps of the user's choices for the next start."""

from __future__ import annotations

from reenact.live.presets import import_preset
from reenact.panel.studio import Studio
from support.fakes import until
from support.panels import Panel


def test_what_a_preset_cannot_change_live_is_told_and_used_at_the_next_start(panel: Panel) -> None:
    panel.start("pattern")
    panel.call("PATCH", "/api/settings", values={"fusion.mouth": 0.4})
    import_preset("square", '[output]\npicture = "crop"\noverwrite = false\n')
    assert panel.call("POST", "/api/presets/square") == ["output.picture"]
    assert panel.studio.choice.settings == {"fusion.mouth": 0.4, "output.picture": "crop"}
    panel.call("POST", "/api/stop")
    until(lambda: panel.studio.controls is None)
    controls = panel.start("pattern")
    assert controls.session.settings.output.picture == "crop"
    assert panel.call("POST", "/api/presets/square") == []


def test_a_preset_of_a_key_is_kept_as_that_of_a_click(panel: Panel) -> None:
    controls = panel.start("pattern")
    panel.call("PATCH", "/api/settings", values={"output.picture": "crop"})
    import_preset("whole", '[output]\npicture = "plate"\n')
    assert panel.call("POST", "/api/act", do="preset=whole") == "whole is in use."
    import_preset("calm", "[tracking]\nmin_confidence = 0.7\n")
    controls.load_preset("calm")  # as a remote control does
    with Studio() as later:
        settings = later.settings()
    assert (settings.output.picture, settings.tracking.min_confidence) == ("plate", 0.7)
