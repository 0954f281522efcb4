"""The targets on the page: pictures, creating, adding to, renaming, removing, training."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from reenact.errors import NameTakenError, ReenactError, SourceError, TargetError
from reenact.live.presets import allowed_settings, own_settings
from reenact.panel.jobs import Job, Jobs, collected_warnings
from reenact.panel.preview import small_jpeg
from reenact.panel.uploads import Uploads
from reenact.storage import checked_name
from reenact.targets.library import BUILT_IN, built_in_portrait
from reenact.targets.manual_landmarks import Points, named_points
from reenact.targets.store import TargetStore
from reenact.targets.target_training import preview_path, training_folder

log = logging.getLogger(__name__)

PICTURE_PX: Final = 256
LARGE_PICTURE_PX: Final = 1024

_REMOVED: Final = ".removed"

_KEPT_S: Final = 24 * 3600.0
"""Time after which a removed target is deleted whose panel did not end properly."""

_POLL_S: Final = 0.2
_STOP_S: Final = 60.0


class Gallery:
    """The user's targets and the built-in ones. Any thread may call.

    Args:
        store: the stored targets.
        jobs: runs long operations.
        uploads: the uploaded files.

    Attributes:
        store: the stored targets.
        changes: counter that increases with every change, so that a page knows when to reload.
    """

    def __init__(self, store: TargetStore, jobs: Jobs, uploads: Uploads) -> None:
        self.store = store
        self.changes = 0
        self._jobs = jobs
        self._uploads = uploads
        self._mine: set[str] = set()
        self._creating = threading.Lock()
        store.remove_left()
        self.forget_removed()

    def list(self) -> list[dict[str, Any]]:
        """Describe each target.

        Returns:
            For each: its `name`, whether it is `built_in`, and if it is not, whether it is
            `trained`, has `footage` to train on, has `one_picture`, so that `place` works, and has
            settings of its `own`.
        """
        found: list[dict[str, Any]] = [{"name": name, "built_in": True} for name in BUILT_IN]
        for name in self.store.list():
            with contextlib.suppress(TargetError):  # another process has just removed it
                found.append(self._described(name))
        return found

    def _described(self, name: str) -> dict[str, Any]:
        parts: Sequence[str] = ()
        try:
            parts = self.store.irreplaceable_parts(name)
        except SourceError as error:
            log.warning("%s", error)
        own = True
        with contextlib.suppress(ReenactError):  # a damaged file can be forgotten
            own = bool(own_settings(self.store, name))
        return {
            "name": name,
            "built_in": False,
            "own": own,
            "trained": "trained weights" in parts,
            "footage": "footage" in parts,
            "one_picture": self.store.has_one_picture(name),
        }

    def picture(self, name: str, side_px: int = PICTURE_PX) -> bytes:
        """Return a JPEG of a target, at most `side_px` high. Raises ReenactError."""
        if name in BUILT_IN:
            return small_jpeg(built_in_portrait(name), side_px)
        return small_jpeg(self.store.picture(name), side_px)

    def points(self, name: str) -> dict[str, Any]:
        """Return where the points of a target's face are in its picture.

        Raises TargetError, also for a target of several pictures.
        """
        target = self.store.load_single(name)
        return {"side": target.crop_size, "points": named_points(target.landmarks[0])}

    def place(self, name: str, points: Points) -> None:
        """Correct the face of a target by some of its points. Raises TargetError."""
        self._check_not_trained(name)
        self.store.place_points(name, points)
        self.changes += 1

    def create(self, name: str, uploads: Sequence[str], face: str = "largest") -> Job:
        """Start making a target of uploaded files. The user has confirmed that it is allowed.

        `face` chooses one of several, see `create_target`.

        Raises:
            TargetError: the name is not allowed or taken, or a file is unknown or in use; the files
                stay for another try.
        """
        with self._creating:
            self.check_free(name)
            paths = self._uploads.claim(uploads)

            def work(job: Job) -> str:
                try:
                    return self._create(job, paths, face)
                finally:
                    self._uploads.forget(uploads)

            return self._jobs.start("create", checked_name(name), work)

    def check_free(self, name: str) -> None:
        """Raise TargetError unless a new target can have this name, which none being made has."""
        self.store.check_free(name)
        if self._jobs.running("create", checked_name(name)) is not None:
            raise NameTakenError(f"{name} is already being made; choose another name.")

    def _create(self, job: Job, paths: Sequence[Path], face: str) -> str:
        from reenact.evaluation.renderer_selection import choose_renderer
        from reenact.targets.library import create_target, still_tracker

        name, job.step = job.target, "Finding the face"
        footage = paths[0].with_suffix(".footage")
        try:
            with closing(still_tracker()) as tracker, collected_warnings() as warnings:
                notes = {"consent": "confirmed in the panel"}
                target = create_target(
                    name, paths, tracker, face=face, metadata=notes, footage=footage
                )
            _check_wanted(job)
            job.step, job.progress = "Choosing the best renderer", 0.5
            target = choose_renderer(target)
            _check_wanted(job)
            self.store.create(target, footage=footage)
        finally:
            shutil.rmtree(footage, ignore_errors=True)
        self.changes += 1
        return " ".join([f"{name} is ready.", *warnings])

    def add(self, name: str, uploads: Sequence[str]) -> Job:
        """Start adding uploaded videos of the same face to a target.

        Raises TargetError: there is no such target, it is being trained, or a file is unknown or in
        use.
        """
        self._check_not_trained(name)
        self.store.check_idle(name)
        paths = self._uploads.claim(uploads)

        def work(job: Job) -> str:
            try:
                return self._add(job, paths)
            finally:
                self._uploads.forget(uploads)

        return self._jobs.start("add", name, work)

    def _add(self, job: Job, paths: Sequence[Path]) -> str:
        from reenact.targets.additions import add_videos, summary
        from reenact.targets.library import still_tracker

        job.step = "Finding the face"
        with closing(still_tracker()) as tracker, collected_warnings() as warnings:
            added = add_videos(self.store, job.target, paths, tracker)
        self.changes += 1
        return " ".join([summary(job.target, added), *warnings])

    def rename(self, name: str, new: str) -> None:
        """Rename a target. Raises TargetError, for instance while it is being trained."""
        self._check_not_trained(name)
        self.store.rename(name, new)
        self.changes += 1

    def remove(self, name: str) -> None:
        """Remove a target; `restore` brings it back until the panel ends.

        Raises:
            TargetError: there is no such target, it is being trained, or it cannot be moved.
        """
        place = self.store.folder_of(name)
        self._check_not_trained(name)
        self.store.check_idle(name)
        kept = self._removed(name)
        with self.store.writing():
            kept.parent.mkdir(exist_ok=True)
            shutil.rmtree(kept, ignore_errors=True)
            place.rename(kept)
            kept.touch()
        self._mine.add(kept.name)
        self.changes += 1

    def restore(self, name: str) -> None:
        """Restore a removed target. Raises TargetError if that is not possible."""
        self.store.check_free(name)
        kept = self._removed(name)
        if not kept.is_dir():
            raise TargetError(f"{name} was not removed since the panel started.")
        self.store.adopt(kept, name)
        self.changes += 1

    def forget_removed(self) -> None:
        """Delete the targets removed here permanently, and those that a panel left a day ago."""
        before = time.time() - _KEPT_S
        with contextlib.suppress(OSError):
            for kept in (self.store.folder / _REMOVED).iterdir():
                if kept.name in self._mine or kept.stat().st_mtime < before:
                    shutil.rmtree(kept, ignore_errors=True)

    def import_file(self, upload: str, name: str | None) -> str:
        """Store a target exported elsewhere; return its name.

        Raises:
            NameTakenError: another target has the name; the file stays for another try.
            TargetError: the file is missing or damaged, or the name is not allowed.
        """
        (path,) = self._uploads.claim([upload])
        try:
            stored = self.store.import_file(path, name, allowed_settings)
        except NameTakenError:
            self._uploads.release([upload])
            raise
        except BaseException:
            self._uploads.forget([upload])
            raise
        self._uploads.forget([upload])
        self.changes += 1
        return stored

    def train(self, name: str, minutes: float, device: str) -> Job:
        """Start training a target on its own video, in a separate process.

        `device` is a value of `renderer.device`.

        Raises:
            TargetError: there is no such target, it has no video, or a training is running.
        """
        if "footage" not in self.store.irreplaceable_parts(name):
            raise TargetError(f"{name} has no video to train on; add one first.")
        if self._jobs.running("train") is not None:
            raise TargetError("A target is already being trained; wait until that has ended.")
        return self._jobs.start("train", name, lambda job: self._train(job, minutes, device))

    def training_preview(self, name: str) -> Path | None:
        """Return the preview picture of a training; None if there is none yet."""
        path = preview_path(training_folder(self.store, name))
        return path if path.is_file() else None

    def _train(self, job: Job, minutes: float, device: str) -> str:
        context = multiprocessing.get_context("spawn")
        stop = context.Event()
        ours, theirs = context.Pipe(duplex=False)
        arguments = (self.store.folder, job.target, minutes, stop, theirs)
        process = context.Process(
            target=_train_elsewhere, args=arguments, kwargs={"device": device}, daemon=True
        )
        process.start()
        theirs.close()
        job.step, start_s = "Training", time.monotonic()
        while not ours.poll(_POLL_S):
            done = (time.monotonic() - start_s) / (60 * minutes)
            job.progress, job.left_s = min(done, 1.0), max(60 * minutes * (1 - done), 0.0)
            if job.stop_wanted.is_set():
                stop.set()
                job.step = "Stopping; the best state is kept"
        try:
            done_well, text = ours.recv()
        except EOFError:
            done_well, text = False, "The training crashed; the terminal may show why."
        process.join(_STOP_S)
        self.changes += 1
        if not done_well:
            raise ReenactError(text)
        return str(text)

    def _check_not_trained(self, name: str) -> None:
        if self._jobs.running("train", name) is not None:
            raise TargetError(f"{name} is being trained; stop that first.")

    def _removed(self, name: str) -> Path:
        return self.store.folder / _REMOVED / checked_name(name)


def _check_wanted(job: Job) -> None:
    """Raise TargetError if the making of a target was ended early."""
    if job.stop_wanted.is_set():
        raise TargetError(f"{job.target} was not made, because that was stopped; make it again.")


def _train_elsewhere(
    folder: Path, name: str, minutes: float, stop: Any, answer: Connection, *, device: str
) -> None:
    """Train in a separate process, so that its load and its GIL do not slow the session."""
    import os
    import signal

    from reenact.models.inference import choose_device
    from reenact.targets.target_training import summary, train_target

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the panel says when to stop
    panel = multiprocessing.parent_process()
    assert panel is not None
    if hasattr(os, "nice"):
        os.nice(10)
    try:
        outcome = train_target(
            TargetStore(folder),
            name,
            minutes=minutes,
            device=choose_device(device),
            stop=lambda: stop.is_set() or not panel.is_alive(),  # False if it was killed
        )
        answer.send((True, summary(name, outcome)))
    except Exception as error:
        told = str(error) if isinstance(error, ReenactError) else f"{type(error).__name__}: {error}"
        answer.send((False, told))
