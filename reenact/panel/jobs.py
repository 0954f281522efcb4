"""Operations that take longer than a request: creating, switching and training targets."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from reenact.errors import ReenactError

log = logging.getLogger(__name__)

_KEPT_S: Final = 60.0
"""Time for which a finished job is still reported."""

_MAX_STOP_S: Final = 60.0
_POLL_S: Final = 0.1


@dataclass(slots=True)
class Job:
    """One long operation.

    Attributes:
        number: its number.
        kind: "create", "add", "switch" or "train".
        target: name of the target.
        state: "running", "done" or "failed".
        step: the current step, in a few words.
        progress: 0 to 1; None if unknown.
        left_s: expected remaining time; None if unknown.
        result: the result, or why it failed.
        stop_wanted: set to end it early.
        ended_s: monotonic time of its end; 0 before.
    """

    number: int
    kind: str
    target: str
    state: str = "running"
    step: str = ""
    progress: float | None = None
    left_s: float | None = None
    result: str = ""
    stop_wanted: threading.Event = field(default_factory=threading.Event)
    ended_s: float = 0.0

    def described(self) -> dict[str, Any]:
        """Return the description for a page."""
        hidden = {"stop_wanted", "ended_s"}
        shown = {name: getattr(self, name) for name in self.__slots__ if name not in hidden}
        return {**shown, "stopping": self.stop_wanted.is_set() and self.state == "running"}


@contextlib.contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect what the program warns of on this thread while the block runs, each text once."""
    texts: list[str] = []
    handler = _Collector(texts)
    program = logging.getLogger("reenact")
    program.addHandler(handler)
    try:
        yield texts
    finally:
        program.removeHandler(handler)


class _Collector(logging.Handler):
    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._texts = texts
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.thread == self._thread and text not in self._texts:
            self._texts.append(text)


class Jobs:
    """The jobs of the panel, each in a thread of its own. Any thread may call."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._jobs: dict[int, Job] = {}
        self._lock = threading.Lock()

    def start(self, kind: str, target: str, work: Callable[[Job], str]) -> Job:
        """Start a job.

        Args:
            kind: see `Job`.
            target: name of the target.
            work: performs it and returns the result; the message of a ReenactError is shown.
        """
        with self._lock:
            job = Job(next(self._numbers), kind, target)
            self._jobs[job.number] = job
        name = f"panel-{kind}"
        threading.Thread(target=self._run, args=(job, work), name=name, daemon=True).start()
        return job

    def running(self, kind: str, target: str = "") -> Job | None:
        """Return the running job of a kind, for one target or any."""
        with self._lock:
            return next(
                (
                    job
                    for job in self._jobs.values()
                    if job.state == "running" and job.kind == kind and target in ("", job.target)
                ),
                None,
            )

    def get(self, number: int) -> Job | None:
        """Return a job; None if there is none of that number."""
        return self._jobs.get(number)

    def described(self) -> list[dict[str, Any]]:
        """Return the running jobs and those that ended recently."""
        now_s = time.monotonic()
        with self._lock:
            old = [n for n, job in self._jobs.items() if 0 < job.ended_s < now_s - _KEPT_S]
            for number in old:
                del self._jobs[number]
            return [job.described() for job in self._jobs.values()]

    def stop_all(self) -> None:
        """Ask every job to end; wait up to a minute for a training to store its best state."""
        with self._lock:
            for job in self._jobs.values():
                job.stop_wanted.set()
        training, deadline_s = self.running("train"), time.monotonic() + _MAX_STOP_S
        if training is not None:
            log.warning("Storing the best state of the training of %s ...", training.target)
        while self.running("train") is not None and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)

    def _run(self, job: Job, work: Callable[[Job], str]) -> None:
        try:
            job.result = work(job)
            job.state = "done"
        except ReenactError as error:
            job.result, job.state = str(error), "failed"
        except Exception as error:
            log.exception("A bug in the panel: %s %s.", job.kind, job.target)
            job.result, job.state = f"{type(error).__name__}: {error}", "failed"
        job.ended_s = time.monotonic()
