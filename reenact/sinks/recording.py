"""A recording that begins and ends while other outputs go on."""

from __future__ import annotations

import datetime
import threading
from pathlib import Path

from reenact.errors import SinkError
from reenact.sinks.fanout import SinkSet


class Recording:
    """Records what other outputs show to one file at a time. Any thread may call.

    Args:
        outputs: the outputs that the recording joins.
    """

    def __init__(self, outputs: SinkSet) -> None:
        self._outputs = outputs
        self._lock = threading.Lock()
        self._file: Path | None = None
        self._name = ""

    @property
    def file(self) -> Path | None:
        """The file that is being recorded; None if there is none, or if it has failed."""
        return None if self._error else self._file

    def start(self, path: Path | None, crf: int, microphone: str | None) -> Path:
        """Begin a file and return its path.

        Args:
            path: the file; None: a new one in the user's video folder.
            crf: H.264 quality, 0 to 51; lower is better.
            microphone: the microphone to record; "": the default one; None: none.

        Raises:
            SinkError: a recording is running, or the file or microphone cannot be used.
        """
        from reenact.sinks.live_sound import LiveSound, SoundCard  # loads av
        from reenact.sinks.video_file import FileSink

        with self._lock:
            if self.file is not None:
                raise SinkError(f"{self.file} is being recorded; stop that first.")
            self._forget_failed()
            path = path or _new_file()
            sink = FileSink(path, crf)
            if microphone is not None:
                sink.take_sound(LiveSound(SoundCard(microphone)))
            self._name = self._outputs.add(sink)
            self._file = path
            return path

    def stop(self) -> Path:
        """Finish the file; return its path. Raises SinkError if there is none or it failed."""
        with self._lock:
            if error := self._forget_failed():
                raise SinkError(error)
            path, self._file = self._file, None
            if path is None:
                raise SinkError("Nothing is being recorded.")
            began = self._outputs.began(self._name)
            self._outputs.remove(self._name)
            if not began:
                raise SinkError("Nothing was recorded, because no picture came.")
            return path

    @property
    def _error(self) -> str:
        return "" if self._file is None else self._outputs.errors.get(self._name, "")

    def _forget_failed(self) -> str:
        """Return why the recording failed, and forget it; "" if it did not fail."""
        error = self._error
        if error:
            self._file = None
            self._outputs.remove(self._name)
        return error


def _new_file() -> Path:
    """Return the path of a new file in the user's video folder. Raises SinkError."""
    from platformdirs import user_videos_path

    folder = user_videos_path()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{folder} cannot be made: {error.strerror}.") from error
    name = f"reenact {datetime.datetime.now():%Y-%m-%d %H.%M.%S}"
    path, number = folder / f"{name}.mp4", 1
    # One begun in the same second may still be written, under its partial name.
    while path.exists() or path.with_suffix(".partial.mp4").exists():
        number += 1
        path = folder / f"{name} {number}.mp4"
    return path
