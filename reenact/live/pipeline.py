"""Turns one picture of the actor into one picture of the target, without threads."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from reenact import registry
from reenact.config import OutputSettings, Settings
from reenact.errors import TargetError
from reenact.expression.body_motion import BodyMotion
from reenact.expression.driving import Driver, Hold
from reenact.expression.fusion import Fusion
from reenact.expression.handover import Handover
from reenact.expression.idle_life import Blinks, IdleLife
from reenact.expression.neutral_store import NeutralStore
from reenact.expression.tracks import Track, load_track
from reenact.expression.voice import Voice
from reenact.face.body_tracker import BodyTracker
from reenact.face.face_search import several_faces
from reenact.face.geometry import box_shift
from reenact.imaging import smoothstep
from reenact.live.drives import (
    KnownLandmarks,
    between,
    mirrored,
    resting_drive,
    still_expression,
    with_addition,
)
from reenact.live.load import SteppedRenderer, drawn_target, needed_px, open_renderer
from reenact.live.prepared_target import PreparedTarget, prepare_target
from reenact.live.settings import resolve
from reenact.rendering.temporal_filter import PictureFilter
from reenact.stats import StepTimer
from reenact.types import (
    EVENTS,
    Array,
    Drive,
    Expression,
    Frame,
    Image,
    Landmarks,
    MotionSource,
    PerformanceFrame,
    Pose,
    Renderer,
    SeenBody,
    Target,
    Tracker,
)

log = logging.getLogger(__name__)

RETURN_S: Final = 0.4
"""Duration of the transition to rest when the face is lost, and back when it is found."""

_MAX_AHEAD: Final = 4
"""Number of results of `look` to keep: one in the slot, one just taken, and spare."""

_CUT_S: Final = 0.2
_CUT_SHARE: Final = 0.6
"""Motion of a face between two frames, relative to its size, that counts as a cut."""

_Seen = tuple[Landmarks | None, SeenBody]
"""The face and the body in a frame."""


class Reenactor:
    """Turns frames of the actor into pictures of the target. One thread calls all but `look`.

    Only the trackers see the actor's picture. It is part of the output only if
    `output.show_raw_camera` is set.

    Args:
        settings: settings of the run without open choices (`resolve`).
        target: at the renderer's size.
        tracker: finds the face; `close` closes it.
        renderer: draws the target.
        timer: times the steps of each frame.
        neutrals: stores the neutrals of actors; None: they are not stored.
        chooses_renderer: True if each further target may name its own renderer.
        track: expressions from a file; None: none.
        motions: generates the course of an emotion; None: it is eased in.
        voice: hears the actor; None: nobody listens.

    Attributes:
        faces_lost: number of times the face was lost.
        face_found: True if any frame so far had a face.
        target: the target that is shown, at the renderer's size.
        drive: what the newest picture was drawn from; None for the target at rest.
        size: (width, height) px of the pictures.
        hold: keeps the actor's expression.
        device: device of the renderer, such as "cpu" or "cuda".
        settings: the current settings; live ones may be changed in place.
    """

    def __init__(
        self,
        settings: Settings,
        target: Target,
        tracker: Tracker,
        renderer: Renderer,
        timer: StepTimer,
        *,
        neutrals: NeutralStore | None = None,
        chooses_renderer: bool = False,
        track: Track | None = None,
        motions: MotionSource | None = None,
        voice: Voice | None = None,
    ) -> None:
        self.faces_lost, self.face_found = 0, False
        self.settings = settings
        self._tracker = tracker
        self._tracker_lock = threading.Lock()
        self._seen: deque[tuple[Frame, _Seen | Exception]] = deque(maxlen=_MAX_AHEAD)
        self._timer = timer
        self._chooses_renderer = chooses_renderer
        self.drive: Drive | None = None
        self._fusion = Fusion(
            settings.fusion,
            settings.smoothing,
            target.neutral,
            settings.actor,
            neutrals=neutrals,
            headroom=target.headroom,
        )
        self._filter = PictureFilter()
        self._body_tracker = BodyTracker()
        self._last: Landmarks | None = None
        self._fused: tuple[Expression, Array] | None = None
        self._presence = 0.0
        self._handover = Handover()
        self._driver = Driver(settings.drive, track, motions)
        self.hold = Hold()
        self._blinks, self._life, self._voice = Blinks(), IdleLife(), voice or Voice()
        self._drawn = self._failed = self._warned_of_several_faces = False
        self._events: set[str] = set()
        self._time_s: float | None = None
        rest = resting_drive(target.neutral)
        self._show(prepare_target(target, settings.renderer.name, renderer, rest, settings.output))

    def prepare(self, target: Target, tried: Settings | None = None) -> PreparedTarget:
        """Prepare another target for `switch`. Takes seconds; any thread may call.

        Args:
            target: at any size.
            tried: settings of the renderer's size and of the output; None: the current ones.

        Raises:
            ReenactError: its renderer is unknown or cannot be opened.
        """
        settings, tried = self.settings.renderer, tried or self.settings
        output = tried.output
        name = registry.renderer_of(target) if self._chooses_renderer else settings.name
        settings.part(name, registry.load("renderers", name).settings)
        size_px = needed_px(target, tried.renderer.size, output)
        renderer = open_renderer(settings.model_copy(update={"name": name, "size": size_px}))
        target = drawn_target(target, name, size_px)
        return prepare_target(target, name, renderer, resting_drive(target.neutral), output)

    def open_backdrop(self, output: OutputSettings) -> None:
        """Prepare for another `output.background`. Takes a second; any thread may call.

        Raises:
            ReenactError: no person is found in the target's picture, or the background cannot be
                read.
        """
        self._prepared.open_backdrop(output)

    def switch(self, prepared: PreparedTarget) -> None:
        """Show another target from the next frame on. The actor's state is kept."""
        self._fusion.set_target(prepared.target.neutral, prepared.target.headroom)
        self._filter.reset()
        self._handover.begin(None)
        self._fused = self.drive = None
        self.settings.renderer.name = prepared.renderer_name
        self._show(prepared)

    def _show(self, prepared: PreparedTarget) -> None:
        self.device = prepared.renderer.device
        self.target, self._renderer = prepared.target, prepared.renderer
        self._prepared, self._rest_crop = prepared, prepared.rest_crop
        self._body = BodyMotion(self.target, self.settings.fusion, self.settings.smoothing)
        self.size = self._finish(self._rest_crop, None, None, 0.0, 0).size

    def step(self, frame: Frame) -> Frame:
        """Return the target's picture for a frame of the actor, with its time and index.

        Without a face, the target changes to what `idle` shows within `RETURN_S`.
        """
        self._replay(frame)
        landmarks, body = self._seen_in(frame)
        dt_s = self._advance(frame.time_s)
        self._failed = False
        with self._timer.step("fuse"):
            self._voice.step(dt_s, frame.time_s)
            self._follow(landmarks, frame.time_s, dt_s)
            if self._fused is not None:
                expression, fused = self._fused
                self._body.follow(body, self._fusion.believed(expression), fused, dt_s)
        picture = self._draw(frame, frame.time_s, dt_s, frame.index)
        return replace(picture, performance=self._performance(landmarks, body, frame.time_s))

    def look(self, frame: Frame) -> None:
        """Track a frame ahead of its `step`, which then need not.

        Another thread may call this, so that the next frame is tracked while one is drawn.
        """
        try:
            self._seen.append((frame, self._track(frame)))
        except Exception as error:
            self._seen.append((frame, error))  # `step` raises it

    def idle(self, time_s: float, index: int, *, at_rest: bool = False) -> Frame:
        """Return the target without an actor, or on its way there for `RETURN_S`.

        It shows the idle motion (`idle.life`), the current emotion and, unless `at_rest`, the units
        set by hand. It is silent. After a failed frame it is at rest, which needs no renderer.
        """
        dt_s = self._advance(time_s, by_hand=not at_rest)
        self._voice.hush()
        self._presence = max(self._presence - dt_s / RETURN_S, 0.0)
        return self._draw(None, time_s, dt_s, index)

    def play_motion(self) -> None:
        """Play the motion of the current emotion, or a smile, once."""
        self._driver.play()

    def _track(self, frame: Frame) -> _Seen:
        with self._tracker_lock:
            with self._timer.step("track"):
                landmarks = self._tracker.track(frame)
            if landmarks is not None and not np.isfinite(landmarks.points).all():
                landmarks = None  # they would stay in every filter
            if landmarks is None or not self.settings.tracking.body:
                return landmarks, SeenBody()
            if frame.performance is not None:
                return landmarks, frame.performance.body
            with self._timer.step("body"):
                return landmarks, self._body_tracker.track(frame.image, landmarks.points)

    def _seen_in(self, frame: Frame) -> _Seen:
        """Return what `look` found in this frame; track it now if `look` was not called."""
        for seen, found in tuple(self._seen):
            if seen is frame:
                if isinstance(found, Exception):
                    raise found
                return found
        return self._track(frame)

    def _advance(self, time_s: float, by_hand: bool = True) -> float:
        """Advance emotions, units and blinks; return the seconds, at most half of `RETURN_S`."""
        before, self._time_s = self._time_s, time_s
        dt_s = 0.0 if before is None else min(max(time_s - before, 0.0), RETURN_S / 2)
        self._addition = self._driver.step(dt_s, time_s, by_hand=by_hand)
        self._lids = self._blinks.step(dt_s, self.settings.fusion.blinks == "automatic")
        return dt_s

    def _draw(self, actor: Frame | None, time_s: float, dt_s: float, index: int) -> Frame:
        self._drawn = True
        drive = self.drive = None if self._failed else self._drive_of(time_s, dt_s)
        if drive is None:
            self._filter.reset()
            return self._finish(self._rest_crop, None, actor, time_s, index)
        try:
            with self._timer.step("render"):
                crop = self._renderer.render(drive)
        except Exception:
            self._presence, self._failed = 0.0, True  # so that `idle` does not need the renderer
            raise
        with self._timer.step("blend"):
            crop = self._filter.step(crop, dt_s, self.settings.smoothing)
        with self._timer.step("paste"):
            return self._finish(crop, drive, actor, time_s, index)

    def _drive_of(self, time_s: float, dt_s: float) -> Drive | None:
        """Return the drive for the renderer; None for the target at rest."""
        addition = self._addition
        share = np.float32(smoothstep(self._presence) if self._fused else 0.0)
        landmarks, breath = self.target.neutral, None
        expression = still_expression()
        life = None
        if not share:
            self._body.reset()
        if share < 1 and self.settings.idle.life:
            life = self._life.step(dt_s, self._lids)
        else:
            self._life.reset()
        if share < 1 and (life := self._voice.without_actor(life)):
            expression = replace(expression, deviation=life.deviation, action_units=life.units)
        if share < 1 and (life or not addition.idle):
            landmarks, breath = self._fusion.alone(life, addition)
        elif share == 0:
            return None
        if self._fused and share:
            acted, fused = self._fused
            if self.settings.fusion.mirror:
                acted = mirrored(acted)
            landmarks = landmarks + share * (fused - landmarks)
            expression = between(expression, self._lids.of(acted), share)
        body = self._body.body(float(share), landmarks, breath)
        drive = Drive(landmarks, expression, time_s=time_s, dt_s=dt_s, body=body)
        return with_addition(drive, addition)

    @property
    def frames_limited(self) -> int:
        """The number of frames in which the limits of a face restricted the target."""
        return self._fusion.frames_limited

    @property
    def frames_still(self) -> int:
        """The number of frames that repeated the last picture because the target kept still."""
        return getattr(self._renderer, "frames_still", 0)

    @property
    def actor_neutral(self) -> Array | None:
        """The actor's current neutral, (478, 3), face frame, iod; None before there is one."""
        return self._fusion.actor_neutral

    @property
    def actor_rest_pose(self) -> Pose | None:
        """The pose of the actor's head at rest; None before the first face."""
        return self._fusion.actor_rest_pose

    @property
    def face_present(self) -> bool:
        """True if the newest frame had a face."""
        return self._last is not None

    @property
    def faces_seen(self) -> int:
        """The number of faces in the newest frame."""
        return self._tracker.faces_seen

    def draw_at(self, size_px: int) -> bool:
        """Draw at this size once that is prepared; return whether it is drawn at.

        The output pictures keep their size.
        """
        return not isinstance(self._renderer, SteppedRenderer) or self._renderer.draw_at(size_px)

    def set_neutral(self) -> None:
        """Take the actor's current face as the neutral one."""
        self._fusion.set_neutral()
        self._events.add("set_neutral")

    def undo_neutral(self) -> None:
        """Restore the neutral from before the last `set_neutral`, if there was one."""
        self._fusion.undo_neutral()
        self._events.add("undo_neutral")

    def reset(self) -> None:
        """Forget earlier frames, for instance after a cut, but not the actor's neutral."""
        with self._tracker_lock:
            self._tracker.reset()
            self._body_tracker.reset()
        self._fusion.reset()
        self._renderer.reset()
        self._filter.reset()
        self._body.reset()
        self._life.reset()
        self._handover.begin(None)
        self._last = self._fused = None
        self._presence, self._time_s = 0.0, None
        self._events.add("reset")

    def close(self) -> None:
        """Release the tracker's models."""
        with self._tracker_lock:
            self._tracker.close()

    def _replay(self, frame: Frame) -> None:
        """Repeat what was heard in a frame of a stored performance, and what was done before it."""
        kept = frame.performance
        if kept is None:
            return
        self._voice.played = kept.voice
        if kept.stored is not None and self._fusion.stored is None:
            self._fusion.begin_with(kept.stored)
        for event, happened in zip(EVENTS, kept.events, strict=True):
            if happened:
                getattr(self, event)()

    def _performance(
        self, landmarks: Landmarks | None, body: SeenBody, time_s: float
    ) -> PerformanceFrame:
        """Return the record of the frame that was just processed."""
        fused = None if landmarks is None else self._fused
        events, self._events = self._events, set()
        return PerformanceFrame(
            landmarks,
            time_s,
            events=tuple(event in events for event in EVENTS),
            stored=self._fusion.stored,
            fused=None if fused is None else fused[1],
            expression=None if fused is None else fused[0],
            trust=self._fusion.trust,
            limited=self._fusion.limited,
            body=body,
            voice=self._voice.opening if self._voice.listens else None,
        )

    def _follow(self, landmarks: Landmarks | None, time_s: float, dt_s: float) -> None:
        """Update the fused landmarks and the degree to which the target follows the actor."""
        step = dt_s / RETURN_S
        if landmarks is None:
            if self._last is not None:
                self.faces_lost += 1
                log.info("The face is lost.")
            self._last = None
            self._presence = max(self._presence - step, 0.0)
            return
        last, self._last = self._last, landmarks
        moved = 0.0 if last is None or dt_s >= _CUT_S else box_shift(last.points, landmarks.points)
        if last is None or moved > _CUT_SHARE:
            self._fusion.reset()
        if moved > _CUT_SHARE:
            self._handover.begin(self._fused[1] if self._fused else None)
        if moved > _CUT_SHARE or self._presence == 0:
            self._fusion.come_back()
        self.face_found = True
        self._warn_of_several_faces()
        expression = self._fusion.express(landmarks, time_s)
        expression = self._voice.of(expression, self._fusion.trust, self._fusion.suspects_mouth)
        expression = self.hold.step(expression, dt_s)
        fused = self._fusion.fuse(expression, self._addition, self._lids)
        self._fused = expression, self._handover.step(fused, step)
        self._presence = min(self._presence + step, 1.0) if self._drawn else 1.0

    def _warn_of_several_faces(self) -> None:
        """Warn once if there are several faces, and say which one is followed."""
        count = self._tracker.faces_seen
        if count > 1 and not self._warned_of_several_faces:
            self._warned_of_several_faces = True
            log.warning("%s %s", *several_faces(count, self.settings.tracking.face))

    def _finish(
        self, crop: Image, drive: Drive | None, actor: Frame | None, time_s: float, index: int
    ) -> Frame:
        picture, alpha = self._prepared.picture(crop, drive, actor, self.settings.output)
        return Frame(picture, time_s, index, alpha)


def open_reenactor(
    settings: Settings,
    target: Target,
    timer: StepTimer,
    *,
    recorded: bool = False,
    tracked: bool = True,
    voice: Voice | None = None,
) -> Reenactor:
    """Build the reenactor with the tracker and renderer named in the settings.

    Args:
        settings: settings of the run. They are not changed; see `Reenactor.settings`.
        target: at any size.
        timer: times the steps of each frame.
        recorded: True if the actor's face is not the user's own; see `resolve`.
        tracked: False if the source's frames carry landmarks, so that no tracker is needed.
        voice: hears the actor; None: nobody listens.

    Raises:
        ReenactError: a component is unknown or cannot be opened.
    """
    if len(target.references) == 0:
        raise TargetError(f"The target {target.name} has no pictures; create it again.")
    chooses_renderer = settings.renderer.name == "auto"
    settings = resolve(settings, target, recorded=recorded)
    size_px = needed_px(target, settings.renderer.size, settings.output)
    renderer = open_renderer(settings.renderer.model_copy(update={"size": size_px}))
    drive = settings.drive
    track = load_track(Path(drive.track)) if drive.track else None
    motions = registry.load("motions", drive.motion).make(drive) if drive.motion else None
    tracker: Tracker = KnownLandmarks()
    if tracked:
        tracker = registry.load("trackers", settings.tracking.name).make(settings.tracking)
    try:
        return Reenactor(
            settings,
            drawn_target(target, settings.renderer.name, size_px),
            tracker,
            renderer,
            timer,
            neutrals=NeutralStore(),
            chooses_renderer=chooses_renderer,
            track=track,
            motions=motions,
            voice=voice,
        )
    except BaseException:
        tracker.close()
        raise
