"""The state of the panel: the user's choices, and the running session if there is one.

Sessions run on the program's main thread, because some windows need it. A page requests a start
here; the thread that waits in `next_start` carries it out.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from reenact.config import Settings
from reenact.errors import ReenactError, SinkError, SourceError, TargetError
from reenact.lifecycle import ClosesOnExit
from reenact.live.actions import STEPS, act
from reenact.live.controls import Controls
from reenact.live.presets import OwnSettings, assigned
from reenact.live.session import Session
from reenact.live.settings import all_values, given_names, load_settings, same
from reenact.panel.choice import (
    Choice,
    is_camera,
    is_network_camera,
    keep_choice,
    kept_choice,
    lasting_source,
    offered_sources,
)
from reenact.panel.gallery import Gallery
from reenact.panel.jobs import Job, Jobs
from reenact.panel.preview import NewestPicture, PanelSink, SourceWatch
from reenact.panel.sessions import Sessions
from reenact.panel.uploads import Uploads
from reenact.registry import available, split
from reenact.sinks.fanout import input_files
from reenact.targets.backgrounds import add_background, check_background, remove_background
from reenact.targets.camera_take import new_pictures, record_take, take_name
from reenact.targets.library import open_target, still_tracker
from reenact.targets.store import BUILT_IN, TargetStore
from reenact.types import Image

log = logging.getLogger(__name__)


class Studio(ClosesOnExit):
    """State and functions of the panel. Any thread may call all but `next_start`, `open`, `ended`.

    Args:
        config: a TOML file with settings.
        assignments: further settings as `section.key=value`. They and the file's take precedence
            over what was chosen on the page in earlier runs.
        store: the stored targets; None: the user's.

    Attributes:
        choice: the user's choices.
        picture: the newest output picture.
        actor: the newest camera picture, while a page wants it.
        sessions: which session runs, and which one is requested.
        gallery: the targets.
        jobs: the long operations.
        uploads: the uploaded files.
    """

    def __init__(
        self,
        config: Path | None = None,
        assignments: Iterable[str] = (),
        store: TargetStore | None = None,
    ) -> None:
        self._config = config
        self._assignments = list(assignments)
        load_settings(config, self._assignments)  # reports a mistake immediately
        self.choice = kept_choice()
        self.picture, self.actor = NewestPicture(), NewestPicture()
        self.jobs, self.uploads = Jobs(), Uploads()
        self.gallery = Gallery(store or TargetStore(), self.jobs, self.uploads)
        self._offered_source = self._offered_target = self._address = ""
        self._named_outputs: set[str] = set()
        if not self._is_offered(self.choice.target):  # it was removed, or was a file
            self.choice = replace(self.choice, target="")
        self.sessions = Sessions()
        self._settings_before: Mapping[str, Any] = {}
        self._begun: Mapping[str, Any] = {}
        self._changed: set[str] = set()
        self._choosing = threading.RLock()
        self._run = secrets.token_hex(8)
        self._error = ""
        self._watch: SourceWatch | None = None
        self._watching = threading.Lock()

    @property
    def controls(self) -> Controls | None:
        """The controls of the running session; None if none is running."""
        return self.sessions.running

    def state(self) -> dict[str, Any]:
        """Return everything that a page shows, as JSON-compatible values."""
        controls, watch = self.controls, self._watch
        return {
            "run": self._run,  # another one after a restart of the program
            "phase": self.sessions.phase,
            "error": self._error,
            "choice": asdict(self.choice),
            "session": None if controls is None else controls.snapshot(),
            "jobs": self.jobs.described(),
            "targets": self.gallery.changes,
            "source_problem": "" if watch is None else watch.problem,
        }

    def running(self) -> Controls:
        """Return the controls of the running session. Raises ReenactError if none is running."""
        controls = self.controls
        if controls is None and self.sessions.phase == "starting":
            raise ReenactError("The session is starting; try again once it runs.")
        if controls is None:
            raise ReenactError("No session is running; choose a camera and a target and start.")
        return controls

    def offer(self, source: str, target: str) -> None:
        """Offer the page a source and a target from the command line; "" for none."""
        self._offered_source, self._offered_target = source, target

    # Requests of a page

    def start_offered(self, source: str, target: str, outputs: Sequence[str]) -> None:
        """Request a session as `start` does, but only with outputs that are offered.

        Raises:
            ReenactError: the source, the target or an output is not offered.
        """
        for output in outputs:
            self._check_output(output)
        self.start(source, target, outputs)

    def start(self, source: str, target: str, outputs: Sequence[str]) -> None:
        """Request a session with outputs that the user has named; a running one ends first.

        Live outputs of both, but windows, stay open meanwhile with the last picture (black if that
        shows the actor), because programs may choose another camera by themselves, perhaps the real
        one, when this one goes.

        Raises:
            ReenactError: the source or the target is not offered.
        """
        if not source or not target:
            raise ReenactError("Choose a camera and a target first.")
        source = lasting_source(source)
        self._check_source(source)
        self._check_target(target)
        self._named_outputs.update(outputs)
        self._choose(source=source, target=target, outputs=tuple(outputs))
        self._error = ""
        controls = self.sessions.ask(self.choice)
        if controls and same(controls.session.settings.sink, self._loaded_settings().sink):
            self.sessions.keep(controls.session, outputs)
        if controls is not None:
            controls.stop()

    def stop(self) -> None:
        """End the running session; the panel stays."""
        self.running().stop()

    def switch(self, target: str) -> Job:
        """Fade the running session to another target. Raises ReenactError if none is running."""
        controls = self.running()
        self._check_target(target)

        def work(job: Job) -> str:
            job.step = "Getting ready"
            shown = controls.switch_target(target)
            return f"{target} is shown." if shown else f"{target} gave way to a later choice."

        return self.jobs.start("switch", target, work)

    def train(self, name: str, minutes: float) -> Job:
        """Start training a target on `renderer.device`; see `Gallery.train`."""
        return self.gallery.train(name, minutes, self.settings().renderer.device)

    def rename(self, name: str, new: str) -> None:
        """Rename a target, also where it is chosen or shown. Raises TargetError."""
        self.gallery.rename(name, new)
        controls = self.controls
        shown = controls is not None and controls.rename_target(name, new)
        if shown or self.choice.target == name:
            self._choose(target=new)

    def remove(self, name: str) -> None:
        """Remove a target, which then is not chosen either; see `Gallery.remove`."""
        self.gallery.remove(name)
        if self.choice.target == name:
            self._choose(target="")

    def restore(self, name: str) -> None:
        """Bring a removed target back, and choose it if it is shown; see `Gallery.restore`."""
        self.gallery.restore(name)
        controls = self.controls
        if controls is not None and controls.target == name:
            self._choose(target=name)

    @property
    def named_outputs(self) -> list[str]:
        """The outputs that the user has named in this run."""
        return sorted(self._named_outputs)

    def set_output(self, output: str, on: bool) -> None:
        """Switch an output on or off, now and at the next start. Raises ReenactError.

        One that has failed can be switched off whatever it is.
        """
        controls = self.controls
        shown = [] if controls is None else controls.outputs()
        if on or not any(one["name"] == output and one["error"] for one in shown):
            self._check_output(output)
        if controls is not None:
            controls.switch_output(output, on)
        with self._choosing:
            others = [one for one in self.choice.outputs if one != output]
            self._choose(outputs=(*others, output) if on else tuple(others))

    def settings(self) -> Settings:
        """Return the settings of the running session, or those of the next one."""
        controls = self.controls
        return self._loaded_settings() if controls is None else controls.session.settings

    def waiting(self) -> dict[str, Any]:
        """Return the settings that the next start changes, by `section.key`."""
        controls = self.controls
        if controls is None:
            return {}
        live, planned = controls.settings(), all_values(self._loaded_settings())
        return {k: v for k, v in _changes(self._begun, planned).items() if k not in live}

    def update(self, values: Mapping[str, Any]) -> list[str]:
        """Change settings by `section.key`: now if they are live, and for the next start.

        Returns:
            The names of those that take effect at the next start.

        Raises:
            ConfigError: a name or value is not allowed; nothing is changed.
        """
        load_settings(None, assigned({**self.choice.settings, **values}))
        check_background(str(values.get("output.background", "keep")))
        controls, waiting = self.controls, []
        if controls is not None:
            live = controls.settings()
            waiting = [name for name in values if name not in live]
            controls.update_all({name: values[name] for name in values if name in live})
        # Choices made while a new size was being prepared, which takes seconds, are kept.
        owned = {} if controls is None else controls.own.shown.replaced
        self._keep({name: value for name, value in values.items() if name not in owned})
        return waiting

    def record_camera(self, seconds: float) -> str:
        """Record the camera that is watched or in use; return the file's identifier in `uploads`.

        Raises:
            ReenactError: no camera sends pictures, or the file cannot be written.
        """

        def newest() -> Image | None:
            controls = self.controls
            if controls is None:
                self.keep_watching()
                return self.actor.image
            controls.watch_actor(True)  # until a page says otherwise
            return controls.actor_picture()

        def record(path: Path) -> None:
            record_take(new_pictures(newest), path, seconds)

        return self.uploads.make(take_name(), record)

    def add_background(self, name: str, upload: str) -> str:
        """Keep an uploaded picture for `output.background`; return its name there.

        Raises:
            ReenactError: the upload is unknown or no picture, or the name is not allowed.
        """
        (path,) = self.uploads.claim([upload])
        try:
            return add_background(name, path)
        finally:
            self.uploads.forget([upload])

    def remove_background(self, name: str) -> None:
        """Delete a picture for the background; the target's own is shown if it is in use.

        Raises:
            ReenactError: there is no such picture, or it cannot be deleted.
        """
        if self.settings().output.background == name:
            self.update({"output.background": "keep"})
        remove_background(name)

    def load_preset(self, name: str) -> list[str]:
        """Change the settings that a preset gives, as `update` does. Raises ReenactError."""
        controls = self.running()
        before = controls.own.usual(controls.settings())
        waiting = controls.load_preset(name)
        self._keep(_changes(before, controls.own.usual(controls.settings())))
        return waiting

    def keep_with_target(self, target: str) -> list[str]:
        """Keep the settings changed since a target is shown with it; return their names."""
        controls = self.running()
        if target != controls.target:
            raise TargetError(f"{target} is not shown; choose it first.")
        names = controls.keep_settings()
        self._keep(controls.own.shown.replaced)
        return names

    def act(self, text: str) -> str:
        """Perform an action on the running session; return a message. Raises ReenactError."""
        name, _, argument = text.partition("=")
        if name == "target" and argument not in STEPS:
            self._check_target(argument)
        elif name == "output":
            self._check_output(argument)
        return act(self.running(), text)

    def watch_source(self, source: str) -> None:
        """Show what a source sees before a session uses it; "" ends that."""
        source = lasting_source(source)
        with self._watching:
            watch = self._watch
            if watch is not None and watch.text == source and self.controls is None:
                return
            if watch is not None:
                self._watch = None
                watch.close()
            if source and self.sessions.phase == "idle":
                self._check_source(source)
                self._address = source if is_network_camera(source) else self._address
                self._watch = SourceWatch(source, self._loaded_settings().source, self.actor)

    def keep_watching(self) -> None:
        """Let the preview of `watch_source` go on, because a page shows it.

        A few seconds after the last call the source is released, until the next one.
        """
        watch = self._watch
        if watch is not None:
            watch.keep()

    def sources(self) -> list[dict[str, str]]:
        """Return the cameras, the command line's source, the previous choice, the last address.

        A camera chosen earlier that is not plugged in is left out.
        """
        kept = "" if is_camera(self.choice.source) else self.choice.source
        return offered_sources(self._offered_source, kept, self._address)

    # The main thread

    def next_start(self, timeout_s: float) -> Choice | None:
        """Wait for a page to request a session; of several requests, the last one counts."""
        return self.sessions.next(timeout_s)

    def open(self, choice: Choice) -> Controls | None:
        """Build the requested session; None if that fails, which the page reports."""
        watched, chosen = "", self.choice.settings
        try:
            with self._watching:
                if self._watch is not None:
                    watched = self._watch.text
                    self._watch.close()
                    self._watch = None
            settings = self._loaded_settings()
            self._begun = all_values(settings)
            own = OwnSettings(self.gallery.store, self._assignments)
            name = self.choice.target or choice.target  # it may have been renamed meanwhile
            own.begin(name, settings)
            target = open_target(
                name,
                settings.renderer.size,
                store=self.gallery.store,
                make_tracker=lambda: still_tracker(settings.tracking),
            )
            extra = [PanelSink(self.picture)]
            session = Session.open(settings, choice.source, target, [], extra=extra)
        except Exception as error:
            self.ended(error)
            with contextlib.suppress(ReenactError):
                self.watch_source(watched)  # the page still shows the camera choice
            return None
        inputs = input_files(choice.source, self._config, settings.drive.track)
        name = self.choice.target or name
        controls = Controls(session, name, self.gallery.store, inputs=inputs, own=own)
        controls.on_switch, controls.on_wait = self._keep_target, self._keep_waiting
        outputs = self.choice.outputs  # they may have been switched since the request
        for output in outputs:
            kept = self.sessions.take(output)
            if kept is None:
                controls.try_output(output)
            else:
                session.output.add(kept, output, opened=True)
        self.sessions.close()
        self._settings_before = own.usual(controls.settings())
        makes_way = self.sessions.begin(controls)  # another was requested meanwhile
        self._catch_up(controls, chosen)
        if makes_way:
            self.sessions.keep(session, outputs)
            controls.stop()
        return controls

    def _catch_up(self, controls: Controls, before: Mapping[str, Any]) -> None:
        """Change what was chosen while a session was opened; `before` are the earlier choices."""
        live = controls.settings().keys() - controls.own.shown.own.keys()
        changed = dict(self.choice.settings.items() - before.items())
        try:
            controls.update_all({name: changed[name] for name in changed.keys() & live})
        except ReenactError as error:
            log.warning("%s", error)

    def ended(self, error: BaseException | None) -> None:
        """Record that the session has ended, and the error if there was one."""
        controls = self.controls
        if controls is not None:
            controls.end_emotion()
            # Settings from the command line or the config file are not the user's choices.
            self._keep(_changes(self._settings_before, controls.own.usual(controls.settings())))
        if error is not None:
            known = isinstance(error, ReenactError)
            self._error = str(error) if known else f"{type(error).__name__}: {error}"
            if not known:
                log.error("The session has failed.", exc_info=error)
        self.sessions.end()
        self.actor.put(None)

    def close(self) -> None:
        """End background work, close the outputs, and delete temporary files."""
        self.sessions.close()
        self.jobs.stop_all()
        with self._watching:
            if self._watch is not None:
                self._watch.close()
        self.gallery.forget_removed()
        self.uploads.close()

    def _check_source(self, source: str) -> None:
        """Raise SourceError for a source that was not offered and is no network camera."""
        offered = {one["source"] for one in self.sources()}
        if source not in offered and not is_network_camera(source):
            raise SourceError(f"{source} is not among the cameras of this machine.")

    def _check_target(self, target: str) -> None:
        if not self._is_offered(target):
            raise TargetError(f"There is no target {target}.")

    def _is_offered(self, target: str) -> bool:
        return target in (*BUILT_IN, self._offered_target) or target in self.gallery.store

    def _keep_target(self, target: str) -> None:
        """Keep the target that is shown, unless it is a file that a remote control has named."""
        # Once another session was requested, that one's target counts.
        if self.sessions.phase == "running" and self._is_offered(target):
            self._choose(target=target)

    def _check_output(self, output: str) -> None:
        """Raise SinkError for one that neither the user nor a remote control has named."""
        kinds = {*available("sinks")} - {"file"}
        outputs = [] if self.controls is None else self.controls.outputs()
        here = {one["name"] for one in outputs if split(one["name"])[0] in kinds}
        named = {*self.choice.outputs, *self._named_outputs}
        if output not in {*named, *kinds, *here} - {"file"}:
            raise SinkError(
                f"There is no output {output}; one that names a file or device has to be given "
                "with --sink when the program is started."
            )

    def _keep(self, settings: Mapping[str, Any]) -> None:
        """Keep settings that were changed in this run."""
        with self._choosing:
            self._changed |= settings.keys()
            self._choose(settings={**self.choice.settings, **settings})

    def _keep_waiting(self, settings: Mapping[str, Any]) -> None:
        """Keep the settings that a preset changes at the next start."""
        self._keep(_changes(all_values(self._loaded_settings()), settings))

    def _choose(self, **changes: Any) -> None:
        with self._choosing:
            self.choice = replace(self.choice, **changes)
            keep_choice(self.choice)

    def _loaded_settings(self) -> Settings:
        given = {*given_names(load_settings(self._config, self._assignments))} - self._changed
        chosen = {k: v for k, v in self.choice.settings.items() if k not in given}
        return load_settings(self._config, [*self._assignments, *assigned(chosen)])


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in after.items() if value != before.get(name, value)}
