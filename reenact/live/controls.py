"""The single entry point to a running session: everything is controlled through `Controls`.

The keys of the terminal, the panel's page and its API all use it, so that every function is
available everywhere.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from reenact import registry
from reenact.config import Settings
from reenact.errors import ReenactError, SinkError
from reenact.live.features import Feature, features
from reenact.live.prepared_target import PreparedTarget
from reenact.live.presenter import Show
from reenact.live.presets import OwnSettings, live_settings, preset_path, read_preset, write_preset
from reenact.live.problems import problems
from reenact.live.session import Session
from reenact.live.settings import walk
from reenact.live.slot import Request, Turns
from reenact.sinks.fanout import check_not_replaced, check_outputs, told
from reenact.sinks.recordings import Recordings
from reenact.stats import Recent
from reenact.storage import expanded
from reenact.targets.store import BUILT_IN, TargetStore
from reenact.types import Image

_RECENT_FRAMES: Final = 60

_SLOW: Final = 0.8
"""A session below this share of the requested rate counts as slow."""

_WARM_UP_S: Final = 5.0

_PREPARED: Final = frozenset({"renderer.size", "output.max_side", "output.shape", "fusion.mode"})
"""Settings whose change requires preparing the target again."""


class Controls:
    """Controls one session. Any thread may call.

    Args:
        session: the session to control; it need not run yet.
        target: name under which the user knows the target.
        store: the stored targets; None: the user's.
        inputs: files that no output may replace, see `fanout.check_outputs`.
        own: applies the targets' own settings, and has applied the first one's; None: a new one.
        now_s: returns the monotonic time, s.

    Attributes:
        session: the session.
        target: name of the target that is shown.
        own: applies the targets' own settings.
        remotes: the remote controls in use, each with its error; "" if it works.
        on_switch: called with the name of each target that a request has brought.
        on_wait: called with the settings of a preset, by `section.key`, that cannot change while
            the session runs.
    """

    def __init__(
        self,
        session: Session,
        target: str = "",
        store: TargetStore | None = None,
        *,
        inputs: Mapping[str, object] | None = None,
        own: OwnSettings | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session = session
        self.target = target
        self.remotes: dict[str, str] = {}
        self.on_switch: Callable[[str], None] = lambda name: None
        self.on_wait: Callable[[Mapping[str, Any]], None] = lambda values: None
        self._recordings = Recordings(session.output)
        self._store = store
        self._inputs = dict(inputs or {})
        self.own = own or OwnSettings(store or TargetStore())
        self._refused: dict[str, str] = {}
        self._now_s = now_s
        self._start_s = now_s()
        self._switching_outputs = threading.Lock()
        self._prepared: PreparedTarget | None = None
        self._first = target
        self._turns = Turns(target)
        self._updates = 0
        self._emotion_end = threading.Timer(0.0, lambda: None)
        self._passing = ""
        self._recent = Recent(session.recorder, now_s)

    # State

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON-compatible values; rates cover the last seconds."""
        session = self.session
        fps, drops = self._recent.measure()
        wanted_fps = session.settings.output.fps if session.source.live else session.source.fps
        state: dict[str, Any] = {
            "state": "ended" if session.ended(0.0) else "running",
            "frames_out": session.frames_out,
            "show": session.presenter.show.value,
            "held": session.reenactor.hold.on,
            "target": self.target,
            "source": session.source.name,
            "face": self._face(),
            "fps": round(fps, 1),
            "wanted_fps": round(wanted_fps, 1),
            "delay_ms": self.delay_ms(),
            "drops": drops,
            "outputs": self.outputs(),
            "on_air": self.on_air(),
            "recording": str(self.recording or ""),
            "remotes": [{"name": name, "error": text} for name, text in self.remotes.items()],
            "device": session.reenactor.device,
            "renderer": session.settings.renderer.name,
            "updates": self._updates,
            "size": list(session.reenactor.size),
        }
        warm = self._now_s() - self._start_s > _WARM_UP_S
        paced = session.source.live or session.output.live
        state["slow"] = warm and paced and fps < _SLOW * wanted_fps
        state["problems"] = list(problems(session, state))
        return state

    def delay_ms(self) -> int | None:
        """Return the recent median delay from camera to output, ms; None before any picture."""
        latency_ms = self.session.recorder.latency.samples_ms()[-_RECENT_FRAMES:]
        return round(float(np.median(latency_ms))) if latency_ms.size else None

    def features(self) -> list[Feature]:
        """Return what actor and target do in the newest picture; empty for the target at rest."""
        reenactor = self.session.reenactor
        drive = reenactor.drive
        if drive is None:
            return []
        return features(drive, reenactor.target, reenactor.actor_rest_pose)

    def actor_picture(self) -> Image | None:
        """Return the newest picture of the actor while `watch_actor` is on."""
        frame = self.session.actor_frame
        return None if frame is None else frame.image

    def watch_actor(self, on: bool) -> None:
        """Start or stop keeping the newest picture of the actor for `actor_picture`."""
        self.session.watch_actor = on

    # The actor's neutral face

    def set_neutral(self) -> None:
        """Take the actor's face in the next frame as the neutral face.

        Raises ReenactError if no face is seen, or the target does not follow the actor now.
        """
        self._check_face("no neutral face was taken")
        self.session.presenter.ask(self.session.reenactor.set_neutral)

    def undo_neutral(self) -> None:
        """Restore the neutral from before the last `set_neutral`."""
        self.session.presenter.ask(self.session.reenactor.undo_neutral)

    def hold(self) -> bool:
        """Hold the actor's expression or let go; return True if held. Raises as `set_neutral`."""
        hold = self.session.reenactor.hold
        if not hold.on:
            self._check_face("there is no expression to hold")
        hold.on = not hold.on
        return hold.on

    def _check_face(self, otherwise: str) -> None:
        if self._face() == "paused":
            raise ReenactError("The target is paused; let it follow you first.")
        if self._face() != "found":
            raise ReenactError(f"No face is seen, so {otherwise}.")

    # The picture

    def panic(self) -> None:
        """Show the target at rest at once."""
        self.session.presenter.show = Show.REST

    def freeze(self) -> None:
        """Freeze the current picture."""
        self.session.presenter.show = Show.FROZEN

    def resume(self) -> None:
        """Follow the actor again, after `panic` or `freeze`."""
        self.session.presenter.show = Show.LIVE

    def switch_target(self, name: str) -> bool:
        """Fade to another target. Returns when it is ready, which takes seconds.

        Args:
            name: a stored or built-in target, or the path of a photo or video.

        Returns:
            False if it is not shown because another one was requested meanwhile.

        Raises:
            ReenactError: there is no such target, it cannot be drawn, or the session has ended; the
                old one stays.
        """
        return self._switch(self._turns.ask(name))

    def step_target(self, step: int) -> tuple[str, bool]:
        """Fade to the target that is `step` places after the one last asked for, in a circle.

        The order is the gallery's; a file with which the session began comes last. The next step
        passes one that cannot be drawn. Returns the name, and otherwise as `switch_target`.
        """
        with self._turns.lock:
            names = [*BUILT_IN, *(self._store or TargetStore()).list()]
            if self._first not in ("", *names) and expanded(self._first).exists():
                names.append(self._first)
            last = self._turns.newest.name
            here = last if last in names else self.target
            start = names.index(here) if here in names else -(step > 0)
            request = self._turns.ask(names[(start + step) % len(names)])
        return request.name, self._switch(request)

    def _switch(self, request: Request) -> bool:
        with self._turns.take(request) as mine:
            if not mine:
                return False
            changes, shown = self.own.changes(request.name, self.settings())
            prepared = self._prepare(request.name, self.session.tried(changes))
            if request is not self._turns.newest:
                return False
            if self.session.ended(0.0):
                raise ReenactError("The session has ended; start it again.")
            self.own.shown = shown
            self._change(changes)
            self._fade_to(request.name, prepared)
            self.on_switch(request.name)
        return True

    def _prepare(self, name: str, settings: Settings) -> PreparedTarget:
        from reenact.targets.library import open_target

        target = open_target(name, settings.renderer.size, store=self._store)
        return self.session.reenactor.prepare(target, settings)

    def _fade_to(self, name: str, prepared: PreparedTarget) -> None:
        self.session.presenter.switch(prepared)
        self.target, self._prepared = name, prepared

    def rename_target(self, name: str, new: str) -> bool:
        """Note that a target was renamed, after a pending switch; return True if it is shown."""
        with self._turns.take():
            shown = self.target == name
            self.target = new if shown else self.target
            return shown

    # Settings

    def update(self, section: str, key: str, value: Any) -> None:
        """Change one live setting; see `update_all`."""
        self.update_all({f"{section}.{key}": value})

    def update_all(self, values: Mapping[str, Any]) -> None:
        """Change live settings, given by `section.key`, from the next frame on.

        A new size, shape, background or `fusion.mode` takes seconds; until then the old one is
        used.

        Raises:
            ReenactError: there is no such setting, it is not live, the value is not allowed, the
                target or the background can no longer be read, no person is found in the target's
                picture, which a new background requires, or the voice cannot be heard. Nothing is
                changed.
        """
        prepares, background = values.keys() & _PREPARED, values.get("output.background")
        # A pending switch or change decides the target and the other settings.
        with self._turns.take() if prepares or background else contextlib.nullcontext():
            known = self.settings() if prepares else {}
            resized = any(known[name] != values[name] for name in prepares)
            tried = self.session.tried(values)
            prepared = self._prepare(self.target, tried) if resized else None
            if background not in (None, "keep"):
                newest = prepared or self._prepared or self.session.reenactor
                newest.open_backdrop(tried.output)
            self._change(values)
            if prepared is not None:
                self._fade_to(self.target, prepared)

    def _change(self, values: Mapping[str, Any]) -> None:
        self.session.update_all(values)
        self._updates += bool(values)

    def settings(self) -> dict[str, Any]:
        """Return the live settings by `section.key`."""
        return live_settings(self.session.settings)

    def keep_settings(self) -> list[str]:
        """Make what changed since the target was chosen its own, see `OwnSettings.keep`."""
        with self._turns.take():
            return self.own.keep(self.target, self.settings())

    def mirror(self) -> bool:
        """Toggle mirroring of the actor's movements; return True if they are now mirrored."""
        mirrored = not self.session.settings.fusion.mirror
        self.update("fusion", "mirror", mirrored)
        return mirrored

    def show_emotion(self, emotion: str, for_s: float = math.inf) -> None:
        """Show an emotion; after `for_s` the target follows the actor, unless it shows another."""
        self.update("drive", "emotion", emotion)
        self._emotion_end.cancel()
        self._passing = ""
        if for_s < math.inf:
            self._passing = emotion
            self._emotion_end = threading.Timer(for_s, self.end_emotion)
            self._emotion_end.daemon = True
            self._emotion_end.start()

    def end_emotion(self) -> None:
        """End an emotion that is shown for a time only."""
        passing, self._passing = self._passing, ""
        self._emotion_end.cancel()
        if passing and self.session.settings.drive.emotion == passing:
            self.update("drive", "emotion", "actor")

    def play_motion(self) -> None:
        """Play the motion of the current emotion, or a smile, once."""
        self.session.presenter.ask(self.session.reenactor.play_motion)

    def save_preset(self, name: str) -> None:
        """Store the live settings under a name. Raises ReenactError."""
        write_preset(preset_path(name), self.session.settings)

    def load_preset(self, name: str) -> list[str]:
        """Change the settings that a preset gives; nothing changes if one of them is refused.

        Returns:
            The names of those that differ and need a new session; `on_wait` got their values.

        Raises:
            ReenactError: there is no such preset, it is damaged, or a value does not work.
        """
        given = read_preset(name)
        now = {one.name: one for one in walk(self.session.settings, unused=True)}
        waiting = {one: value for one, value in given.items() if not now[one].live}
        self.update_all({one: value for one, value in given.items() if one not in waiting})
        if waiting:
            self.on_wait(waiting)
        return [one for one, value in waiting.items() if value != now[one].value]

    # Outputs

    def outputs(self) -> list[dict[str, str]]:
        """Return the name of each output and its error; "" if it works."""
        errors = {**self.session.output.errors, **self._refused}
        names = self.session.output.names
        working = [{"name": name, "error": ""} for name in names if name not in errors]
        return working + [{"name": name, "error": text} for name, text in errors.items()]

    def on_air(self) -> list[str]:
        """Return the names of the working outputs that a call or stream may show."""
        working = [one["name"] for one in self.outputs() if not one["error"]]
        known = registry.available("sinks")
        kinds = {name: registry.split(name)[0] for name in working}
        return [
            name
            for name, kind in kinds.items()
            if kind in known and registry.load("sinks", kind).on_air
        ]

    def add_output(self, text: str) -> str:
        """Add an output, such as `camera` or `file:out.mp4`, from the next picture on.

        Returns:
            Its name in `outputs`, which also reports if it could not be opened.

        Raises:
            ReenactError: there is no such output, it does not take that argument, or its file
                already exists, or is one of the session's.
        """
        kind, argument = registry.split(text)
        names = [name for name in self.session.output.names if name != text]
        check_outputs([*names, text], {**self._inputs, "target": self.target})
        self._check_not_replaced(text)
        sink = registry.load("sinks", kind).make(argument, self.session.settings.sink)
        if not self.session.recorder.frames_out:
            from reenact.sound import join_sound  # loads av

            join_sound(self.session.source, [sink])
        self._refused.pop(text, None)
        return self.session.output.add(sink, text)

    def switch_output(self, text: str, on: bool | None = None) -> bool:
        """Switch an output on or off; None: off if it is on or has failed, else on.

        An output that has failed is opened again. Requests of several threads come one after the
        other, so that none of them adds it twice.

        Returns:
            Whether it is on now.

        Raises:
            ReenactError: see `add_output`.
        """
        with self._switching_outputs:
            errors = {one["name"]: one["error"] for one in self.outputs()}
            if on is None:
                on = text not in errors
            works = errors.get(text) == ""
            if text in errors and not (on and works):
                self.remove_output(text)
            if on and not works:
                self.add_output(text)
        return on

    def try_output(self, text: str) -> None:
        """Add an output; if it is rejected, `outputs` gives the reason."""
        try:
            self.add_output(text)
        except Exception as error:
            self._refused[text] = told(text, error)

    def remove_output(self, name: str) -> None:
        """Close an output; the others go on. Raises SinkError if there is none of that name."""
        if self._refused.pop(name, None) is None:
            self.session.output.remove(name)

    @property
    def recording(self) -> Path | None:
        """The file that is being recorded; None if there is none, or if it has failed."""
        return self._recordings.path

    def start_recording(self, path: Path | None = None, microphone: str | None = None) -> Path:
        """Record to a file.

        Args:
            path: the file; None: a new one in the user's video folder.
            microphone: the microphone to record; "": the default one; None: none.

        Raises:
            SinkError: a recording is running, or the file or microphone cannot be used.
        """
        from reenact.sinks.video_file import FileSettings

        settings = self.session.settings
        if microphone is not None and not self.session.source.live:
            raise SinkError("Only a camera can be recorded with a microphone; record without it.")
        crf = settings.sink.part("file", FileSettings).crf
        return self._recordings.start(path, crf, microphone, replace=settings.output.overwrite)

    def stop_recording(self) -> Path:
        """Finish the recording; return its file. Raises SinkError if there is none or it failed."""
        return self._recordings.stop()

    def take_picture(self) -> Path:
        """Store what the outputs show now as a PNG in the user's video folder; return its path.

        Raises SinkError if nothing is shown yet, or the file cannot be written.
        """
        from reenact.sinks.pictures import store_picture

        shown = self.session.output.newest
        if shown is None:
            raise SinkError("Nothing is shown yet; wait for the first picture.")
        return store_picture(shown)

    def delay_obs_sound(self) -> str:
        """Delay the microphones of OBS by the delay of the picture; return a message.

        Raises:
            SinkError: no delay is measured yet, or OBS cannot be reached.
        """
        from reenact.sinks.obs.installer import delay_microphones

        delay_ms = self.delay_ms()
        if delay_ms is None:
            raise SinkError("No delay is measured yet; wait for the first pictures.")
        return f"{', '.join(delay_microphones(delay_ms))}: delayed by {delay_ms} ms in OBS."

    def stop(self) -> None:
        """End the session; files are finished."""
        self.session.stop()

    def _check_not_replaced(self, output: str) -> None:
        if not self.session.settings.output.overwrite:
            check_not_replaced([output])

    def _face(self) -> str:
        reenactor = self.session.reenactor
        if self.session.presenter.show is not Show.LIVE:
            return "paused"
        if reenactor.face_present:
            return "found"
        return "lost" if reenactor.face_found else "none"
