"""A run from a source to sinks: three threads, connected by one-item slots.

The capture thread reads the source, the work thread turns each frame into a picture of the target,
and the emit thread writes to the sinks. With a live source a newer item replaces the one in the
slot, so that the picture is never old. With a file the writer waits, so that every frame is
rendered.

Only the reenactor's output is written: its picture of the target, the target at rest, or a plain
picture. No path leads from the source's frame to a sink.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from reenact.config import Settings
from reenact.errors import ReenactError, SourceError
from reenact.expression.voice import Voice
from reenact.imaging import is_picture, rotated
from reenact.lifecycle import ClosesOnExit, close_part
from reenact.live.clock import SYSTEM_CLOCK, Clock
from reenact.live.fallback import ReenactorLike
from reenact.live.load import LoadControl
from reenact.live.pacing import Emitter, Rendered
from reenact.live.presenter import Presenter, Show
from reenact.live.settings import change
from reenact.live.slot import Closed, Slot
from reenact.sinks.fanout import SinkSet, check_not_replaced, check_outputs, make_sinks
from reenact.sinks.watermark import watermarked
from reenact.stats import Recorder, Stats
from reenact.types import Frame, HasVoice, Sink, Source, Target, VoiceInput

log = logging.getLogger(__name__)

AWAY_S: Final = 1.0
"""After this time without a frame from a live source, the target at rest is shown."""

CLOSE_S: Final = 0.8
"""Maximum time that `close` waits for the threads."""

_RETRY_S: Final = 0.1

_RENDERER_BUSY: Final = "renderer busy"
_OUTPUT_BUSY: Final = "output busy"
_STOPPED: Final = "stopped"


@dataclass(frozen=True, slots=True)
class _Captured:
    frame: Frame
    captured_s: float
    looked: bool


class Session(ClosesOnExit):
    """One run from a source to sinks. Create it with `open`; run it with `run`, or `start`, `wait`.

    One thread calls `run`, `start` and `close`. Any thread may call `wait`, `ended`, `stop`,
    `stats` and `update`, and use the attributes. A signal handler must not use the session. Leaving
    the context closes it.

    Attributes:
        settings: settings of the run; `update` changes the live ones.
        source: the frames' source.
        reenactor: draws the target.
        output: the sinks.
        presenter: decides what is shown.
        voice: hears the actor, see `listen`.
        recorder: collects the figures.
        error: the first error of any thread, which `wait` raises; None if there was none.
        source_problem: why a live source delivers nothing; "" while it does.
        actor_frame: the newest frame of the actor while `watch_actor` is True. It is for the
            actor's own eyes; no sink gets it.
        watch_actor: True if `actor_frame` is kept.
    """

    def __init__(
        self,
        settings: Settings,
        source: Source,
        reenactor: ReenactorLike,
        output: SinkSet,
        *,
        recorder: Recorder | None = None,
        clock: Clock = SYSTEM_CLOCK,
        voice: Voice | None = None,
    ) -> None:
        """Take over the parts; `close` closes them.

        Args:
            settings: the settings of the run.
            source: an open source.
            reenactor: only the work thread calls its `step` and `idle`.
            output: sinks that are not open yet; one thread opens, writes and closes them.
            recorder: collects the figures; its timer should also be the reenactor's.
            clock: that of `Frame.time_s` of a live source.
            voice: the reenactor's; None: it has none.
        """
        self.settings = settings
        self.source = source
        self.reenactor = reenactor
        self.output = output
        self.recorder = recorder or Recorder(now_s=clock.now_s)
        self.presenter = Presenter(reenactor, self.recorder, endures=source.live)
        self.voice = voice or Voice()
        self.error: BaseException | None = None
        self.source_problem = ""
        self.watch_actor = False
        self.actor_frame: Frame | None = None
        self._clock = clock
        adapts = source.live and settings.renderer.adaptive
        self._load = LoadControl(reenactor.target.usual_size) if adapts else None
        self._overtaken = 0
        self._work_start_s = self._work_s = 0.0
        self._captured: Slot[_Captured] = Slot(replaces=source.live, clock=clock)
        self._rendered: Slot[Rendered] = Slot(replaces=source.live, clock=clock)
        self._opened = threading.Event()
        self._ended = threading.Event()
        self._error_lock = threading.Lock()
        self._threads: dict[Callable[[], None], threading.Thread] = {}

    @classmethod
    def open(
        cls,
        settings: Settings,
        source: str,
        target: Target,
        sinks: list[str],
        *,
        extra: Sequence[Sink] = (),
        replace_files: bool = False,
    ) -> Session:
        """Build a session from command-line arguments; nothing runs yet.

        Args:
            settings: validated settings; the session keeps a copy.
            source: such as `webcam:0` or `video:clip.mp4`.
            target: the target to show.
            sinks: such as `["window", "file:out.mp4"]`.
            extra: further sinks. With them, closing a window ends only that window.
            replace_files: let these sinks replace existing files, as `output.overwrite` does for
                outputs that are added later as well.

        Raises:
            ReenactError: a component is unknown or cannot be opened, the background is a picture
                that is missing, or a sink would overwrite the source, another sink's file or,
                unless that is allowed, an existing file. Components that were already open are
                closed.
        """
        from reenact import registry
        from reenact.live.pipeline import open_reenactor
        from reenact.sound import join_sound
        from reenact.targets.backgrounds import check_background

        with ExitStack() as undo:
            settings = settings.model_copy(deep=True)
            kind, argument = registry.split(source)
            check_outputs(sinks, {"source": argument})
            check_background(settings.output.background)
            if not (replace_files or settings.output.overwrite):
                check_not_replaced(sinks)
            spec = registry.load("sources", kind)
            opened = spec.make(argument, settings.source)
            undo.callback(opened.close)
            outputs = make_sinks(sinks, settings)
            join_sound(opened, outputs)
            recorder, voice = Recorder(), Voice()
            recorded = spec.still or spec.landmarks or not opened.live
            reenactor = open_reenactor(
                settings,
                target,
                recorder.timer,
                recorded=recorded,
                tracked=not spec.landmarks,
                voice=voice,
            )
            undo.callback(reenactor.close)
            ends_with_window = not extra
            output = SinkSet([*outputs, *extra], recorder.timer, ends_with_window=ends_with_window)
            chosen = reenactor.settings
            chosen.source, chosen.sink = settings.source, settings.sink  # as the parts know them
            session = cls(chosen, opened, reenactor, output, recorder=recorder, voice=voice)
            try:
                session.listen(chosen.fusion.voice)
            except ReenactError as error:
                log.warning("%s The target goes on without your voice.", error)
                chosen.fusion.voice = "off"
            undo.pop_all()
        return session

    def run(self) -> None:
        """Run to the end. The calling thread writes, because some windows need the main thread.

        Raises:
            BaseException: the first error of any thread.
        """
        self._guard(self._emit)
        self.wait()

    def start(self) -> None:
        """Open the sinks and run in the background, once.

        Raises:
            RuntimeError: the session was started before, or is closed.
            BaseException: the sinks could not be opened, or the run has failed already.
        """
        if self._threads or self._ended.is_set():
            raise RuntimeError("A session runs once; open another one.")
        self._start(self._emit)
        self._opened.wait()
        if self.error is not None:
            self.wait()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; return False if the timeout came first.

        Raises:
            BaseException: the first error of any thread.
        """
        ended = self.ended(timeout_s)
        if ended and self.error is not None:
            raise self.error
        return ended

    def ended(self, timeout_s: float | None = None) -> bool:
        """Wait for the end like `wait`, but raise nothing."""
        return self._ended.wait(timeout_s)

    def stop(self) -> None:
        """Ask all threads to end now; files are finished."""
        captured, rendered = self._captured.close(), self._rendered.close()
        if captured is not None:
            self.recorder.dropped(_STOPPED)
        if rendered is not None and rendered.captured_s is not None:
            self.recorder.dropped(_STOPPED)

    def close(self) -> None:
        """Stop, wait for the threads for up to a second, and release every part."""
        self.stop()
        deadline_s = time.monotonic() + CLOSE_S
        for body in (self._emit, self._work):
            self._join(body, deadline_s - time.monotonic())
        self.voice.listen(None)
        # Closing the source wakes the capture thread if it is blocked in a read.
        close_part(self.source)
        self._join(self._capture, deadline_s - time.monotonic())
        if self._join(self._emit, 0.0):
            close_part(self.output)
        if self._join(self._work, 0.0):
            close_part(self.reenactor)
        self._ended.set()

    def stats(self) -> Stats:
        """Return the figures so far."""
        return replace(
            self.recorder.stats(),
            faces_lost=self.reenactor.faces_lost,
            frames_limited=self.reenactor.frames_limited,
            frames_still=self.reenactor.frames_still,
            device=self.reenactor.device,
            renderer=self.settings.renderer.name,
            size=self.reenactor.size,
        )

    @property
    def frames_out(self) -> int:
        """The number of pictures written so far; cheaper than `stats`."""
        return self.recorder.frames_out

    def update(self, section: str, key: str, value: Any) -> None:
        """Change a setting that is marked live, from the next frame on.

        `section` is such as "fusion", or of a part's own "renderer.warp_unet".

        Raises:
            ConfigError: there is no such setting, it is not live, or the value is not allowed.
            ReenactError: the voice cannot be heard. Nothing is changed.
        """
        self.update_all({f"{section}.{key}": value})

    def update_all(self, values: Mapping[str, Any]) -> None:
        """Change several settings, given by `section.key`; see `update`."""
        tried = self.tried(values)
        if "fusion.voice" in values:
            self.listen(tried.fusion.voice)
        for name, value in values.items():
            change(self.settings, name, value)

    def tried(self, values: Mapping[str, Any]) -> Settings:
        """Return a copy of the settings with changes, given as for `update_all`.

        Raises ConfigError as `update`.
        """
        tried = self.settings.model_copy(deep=True)
        for name, value in values.items():
            change(tried, name, value)
        return tried

    def listen(self, to: str) -> None:
        """Listen to the actor's voice, in a file or by a microphone, as `fusion.voice` says.

        Raises:
            SinkError: there is no such microphone, or it cannot be used.
            SourceError: the file has no sound.
        """
        voice: VoiceInput | None = None
        if to != "off" and not self.source.live:
            voice = self.source.open_voice() if isinstance(self.source, HasVoice) else None
            if voice is None:
                raise SourceError(f"{self.source.name} has no sound in which a voice is heard.")
        elif to != "off":
            from reenact.sinks.live_sound import SoundCard

            voice = SoundCard("" if to == "microphone" else to)
        self.voice.listen(voice)

    def _start(self, body: Callable[[], None]) -> None:
        name = f"reenact{body.__name__}"
        thread = threading.Thread(target=self._guard, args=(body,), name=name, daemon=True)
        self._threads[body] = thread
        thread.start()

    def _join(self, body: Callable[[], None], timeout_s: float) -> bool:
        """Wait for a thread; return True if it has ended or never ran."""
        thread = self._threads.get(body)
        if thread is None:
            return True
        thread.join(max(0.0, timeout_s))
        return not thread.is_alive()

    def _guard(self, body: Callable[[], None]) -> None:
        """Run a thread's body; its error ends the session, and `wait` raises it."""
        try:
            body()
        except Closed:
            pass
        except BaseException as error:
            self._fail(error)
            self.stop()
        if body == self._emit:
            self.stop()
            self._opened.set()
            self._ended.set()

    def _fail(self, error: BaseException) -> None:
        with self._error_lock:
            if self.error is None:
                self.error = error

    # The capture thread

    def _capture(self) -> None:
        came = False
        while not self._captured.closed:
            try:
                with self.recorder.timer.step("read"):
                    frame = self.source.read()
                if frame is not None and not is_picture(frame.image):
                    raise SourceError(f"{self.source.name} delivers no picture: uint8 (H, W, 3).")
            except Exception as error:
                known = isinstance(error, SourceError)
                if not (self.source.live and (known or came)):
                    self._fail(error)  # `wait` raises it once the earlier frames are written
                    break
                if not self.source_problem:
                    log.warning("%s", error, exc_info=not known)
                self.source_problem = str(error) if known else f"{self.source.name}: {error!r}"
                self._captured.pause(_RETRY_S)
                continue
            if frame is None:
                break
            if self.source_problem:
                log.warning("%s is back.", self.source.name)
                self.source_problem = ""
            self._take_in(frame)
            came = True
        self._captured.finish()

    def _take_in(self, frame: Frame) -> None:
        self.recorder.frame_in()
        frame = rotated(frame, self.settings.source.rotate)
        self.actor_frame = frame if self.watch_actor else None
        captured_s = frame.time_s if self.source.live else self._clock.now_s()
        looked = self.presenter.show is Show.LIVE and self._is_drawn_next()
        if looked:
            # An older frame that is not tracked yet would be tracked after this one.
            if self.source.live and self._captured.withdraw(lambda older: not older.looked):
                self._overtake()
            self.reenactor.look(frame)
        try:
            if self._captured.put(_Captured(frame, captured_s, looked)) is not None:
                self._overtake()
        except Closed:
            self.recorder.dropped(_STOPPED)
            raise

    def _overtake(self) -> None:
        self._overtaken += 1
        self.recorder.dropped(_RENDERER_BUSY)

    def _is_drawn_next(self) -> bool:
        """Return False if the next frame will overtake this one, so that tracking is pointless."""
        rest_s = self._work_start_s + self._work_s - self._clock.now_s()
        return not self.source.live or rest_s < 1 / self.source.fps

    # The work thread

    def _work(self) -> None:
        pictures = self.presenter
        seen_s = self._clock.now_s()
        away = False
        if self.source.live:
            self._hand_on(pictures.idle(seen_s, 0), None)
        while True:
            try:
                item = self._captured.take(self._period_s())
            except Closed:
                break
            due = pictures.settle()
            if item is not None:
                if away:
                    pictures.reset()
                away, seen_s = False, self._clock.now_s()
                self._work_start_s = seen_s
                self._hand_on(pictures.step(item.frame), item.captured_s)
                self._work_s = self._clock.now_s() - seen_s
                self._adapt(self._work_s)
            elif due or self._clock.now_s() - seen_s > AWAY_S:
                away = not due
                self._hand_on(pictures.idle(self._clock.now_s(), 0), None)
        pictures.raise_if_all_failed()
        self._rendered.finish()

    def _period_s(self) -> float | None:
        """Maximum time that the work thread waits for a frame, s; None: no limit."""
        return 1.0 / self.settings.output.fps if self.source.live else None

    def _adapt(self, work_s: float) -> None:
        """Draw smaller while the machine cannot keep up with a live source."""
        if self._load is None:
            return
        whole_px = self.reenactor.target.usual_size
        if self._load.asked_px != whole_px:
            self._load = LoadControl(whole_px)
        now_s, before_px = self._clock.now_s(), self._load.size_px
        if not self.reenactor.draw_at(before_px):
            return  # while that size is prepared, frames take as long as before
        size_px = self._load.frame(now_s, work_s, self._overtaken)
        if size_px < before_px == whole_px:
            log.warning(
                "The machine cannot keep up: the target is drawn at %d px until it can.", size_px
            )
        elif size_px > before_px:
            log.info("The target is drawn at %d px again.", size_px)

    def _hand_on(self, picture: Frame, captured_s: float | None) -> None:
        try:
            replaced = self._rendered.put(Rendered(picture, captured_s, self.presenter.follows))
        except Closed:
            if captured_s is not None:
                self.recorder.dropped(_STOPPED)
            raise
        if replaced is not None and replaced.captured_s is not None:
            self.recorder.dropped(_OUTPUT_BUSY)

    # The emit thread

    def _emit(self) -> None:
        emitter = Emitter(self._rendered, self.output, self.recorder, self._clock)
        live = self.source.live
        try:
            fps = self.settings.output.fps if live else self.source.fps
            width, height = self.reenactor.size
            watermarked(np.zeros((height, width, 3), np.uint8))  # the first one takes longest
            self.output.open((width, height), fps)
            if live:
                # Collecting the garbage of loading takes 80 ms: do it now, not while running.
                gc.unfreeze()
                gc.collect()
                gc.freeze()
            self._start(self._work)
            self._start(self._capture)
            self._opened.set()
            if live:
                emitter.emit_live(lambda: self.settings.output.fps)
            else:
                emitter.emit_all()
        finally:
            self.output.close()
