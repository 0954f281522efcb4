"""Records to files beside the other outputs of a session."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from reenact.errors import SinkError
from reenact.sinks.fanout import SinkSet, check_not_replaced


class Recordings:
    """The recordings of one session, one at a time. Any thread may call.

    Args:
        output: the session's outputs.
    """

    def __init__(self, output: SinkSet) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._name = ""
        self._begun: set[Path] = set()

    @property
    def path(self) -> Path | None:
        """The file that is being recorded; None if there is none, or if it has failed."""
        return self._path if self._name in self._output.names else None

    def start(self, path: Path | None, crf: int, microphone: str | None, replace: bool) -> Path:
        """Begin a recording with the next picture.

        Args:
            path: the file; None: a new one in the user's video folder, a .mov with an alpha channel
                if the picture has one now, else an .mp4.
            crf: H.264 quality, 0 to 51.
            microphone: the microphone to record; "": the default one; None: none.
            replace: let it replace an existing file.

        Raises:
            SinkError: a recording is running, the session has ended, or the file or microphone
                cannot be used.
        """
        from reenact.sinks.live_sound import LiveSound, SoundCard
        from reenact.sinks.video_file import FileSink

        with self._lock:
            if self.path is not None:
                raise SinkError(f"{self.path} is being recorded; stop that first.")
            self._forget_failed()
            path = path or self._new_path()
            if not replace:
                check_not_replaced([f"file:{path}"])
            sink = FileSink(path, crf)
            if microphone is not None:
                sink.take_sound(LiveSound(SoundCard(microphone)))
            try:
                self._name = self._output.add(sink)
            except SinkError:
                sink.close()  # also the microphone
                raise
            self._path = path
            self._begun.add(path)
            return path

    def stop(self) -> Path:
        """Finish the recording; return its file. Raises SinkError if there is none or it failed."""
        with self._lock:
            if error := self._forget_failed():
                raise SinkError(error)
            path, self._path = self.path, None
            if path is None:
                raise SinkError("Nothing is being recorded.")
            began = self._output.began(self._name)
            self._output.remove(self._name)
            if not began:
                raise SinkError("Nothing was recorded, because no picture came.")
            return path

    def _forget_failed(self) -> str:
        """Return why the last recording failed, and forget it; "" if it did not fail."""
        error = self._output.errors.get(self._name, "")
        if error:
            self._path = None
            self._output.remove(self._name)
        return error

    def _new_path(self) -> Path:
        """Return a path in the user's video folder that no recording has had."""
        shown = self._output.newest
        suffix = ".mp4" if shown is None or shown.alpha is None else ".mov"
        # One begun in the same second may not have its name yet, or no file at all.
        return next(
            path
            for path in new_paths(suffix)
            if not (
                path in self._begun
                or path.exists()
                or path.with_suffix(f".partial{suffix}").exists()
            )
        )


def new_paths(suffix: str) -> Iterator[Path]:
    """Yield names for a file in the user's video folder: its date and time, then also a number.

    Raises SinkError if there is no such folder and it cannot be made.
    """
    from platformdirs import user_videos_path

    folder = user_videos_path()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{folder} cannot be made: {error.strerror}.") from error
    name = f"reenact {datetime.datetime.now():%Y-%m-%d %H.%M.%S}"
    yield folder / f"{name}{suffix}"
    for number in count(2):
        yield folder / f"{name} {number}{suffix}"
