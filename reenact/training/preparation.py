"""`reenact train prepare SOURCE OUT`: makes training clips from raw videos and pictures.

Every item (a video, a sequence, a photo) is one job; several processes work on the jobs. The result
of an item is recorded in `OUT/.prepared/NAME.json`, so that a second run only does what is new,
changed or incomplete.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from reenact.config import TrackingSettings
from reenact.errors import ReenactError, SinkError, counted
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.progress import progress_bar
from reenact.storage import file_name, refusal, write_json
from reenact.training.clip_extraction import Extraction
from reenact.training.dataset_layouts import Item, Layout, find_items, held_out_people

MARKS: Final = ".prepared"
STILLS: Final = "stills"
"""Folder of the photos, beside the clips."""

_TICK_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class Job:
    """One item and how to prepare it.

    `out` receives everything; `split` is "train", "val", "test", or "" for none; `size_px` is the
    side of the crops; `grey` removes the colours.
    """

    item: Item
    out: Path
    split: str
    size_px: int
    grey: bool = False

    @property
    def folder(self) -> Path:
        """The folder of its clips or its still."""
        below = self.out / self.split if self.split else self.out
        return below / STILLS if self.item.kind == "photo" else below

    @property
    def mark(self) -> Path:
        """The file that records its result."""
        return self.out / MARKS / f"{self.item.name}.json"

    def key(self) -> dict[str, Any]:
        """Return everything that the result depends on."""
        stamps = [[file_name(f), f.stat().st_size, f.stat().st_mtime_ns] for f in self.item.files]
        labels = {"kind": self.item.kind, "emotions": list(self.item.emotions)}
        wanted = {"split": self.split, "size": self.size_px, "grey": self.grey}
        return {"files": stamps, **labels, **wanted}

    @property
    def source(self) -> str:
        """The absolute path of its first file."""
        return str(self.item.files[0].resolve())


@dataclass(slots=True)
class Summary:
    """The result of a run.

    Attributes:
        people: number of identities in the source.
        written: clips and stills written by this run.
        earlier: items that an earlier run had finished.
        frames: frames tracked by this run.
        seconds: duration of the run.
        left_out: items without a result and the reasons, over all runs.
    """

    people: int = 0
    written: int = 0
    earlier: int = 0
    frames: int = 0
    seconds: float = 0.0
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def text(self) -> str:
        """Return the summary for the user."""
        lines = [
            f"clips and stills written: {self.written}; "
            f"{counted(self.earlier, 'item')} done before; "
            f"{counted(self.people, 'person', 'people')}; "
            f"{counted(self.frames, 'frame')} in {self.seconds:.1f} s "
            f"({self.frames / max(self.seconds, 1e-6):.0f} a second)."
        ]
        lines += [f"left out: {name}: {why}" for name, why in self.left_out]
        return "\n".join(lines)


def prepare(
    source: Path,
    out: Path,
    *,
    layout: Layout = "auto",
    size_px: int = 256,
    processes: int | None = None,
    val_share: float = 0.0,
    test_share: float = 0.0,
    grey: bool = False,
) -> Summary:
    """Prepare a folder; a second run continues after Ctrl-C.

    Args:
        source: a folder, or one video or photo.
        out: receives `NAME.mp4` with `NAME.npz`, and photos in `stills`.
        layout: layout of the source.
        size_px: side of the crops.
        processes: number of worker processes; None: one per core.
        val_share: share of the people whose clips go to OUT/val.
        test_share: share of the people whose clips go to OUT/test. All others go to OUT/train, or
            to OUT if both shares are 0.
        grey: remove the colours of the pictures.

    Raises:
        SourceError: there is nothing to prepare.
        SinkError: OUT cannot be written, or its clips would replace the source.
    """
    places = _written_places(out)
    if (source.parent if source.is_file() else source).resolve() in places:
        raise SinkError(f"The clips would replace what is in {source}; name another folder.")
    # OUT may lie in the source; what an earlier run has written is no material.
    items = [
        item for item in find_items(source, layout) if item.files[0].resolve().parent not in places
    ]
    people = {item.identity for item in items}
    splits = dict.fromkeys(people, "train" if val_share or test_share else "")
    val = held_out_people(people, val_share)
    splits |= dict.fromkeys(val, "val")
    splits |= dict.fromkeys(held_out_people(people - val, test_share, after=val_share), "test")
    jobs = [Job(item, out, splits[item.identity], size_px, grey) for item in items]
    _make_folders(out, jobs)
    summary = Summary(people=len(people))
    waiting = []
    for job in jobs:
        done = _done(job)
        if done is None:
            waiting.append(job)
        else:
            summary.earlier += 1
            _count(summary, job, done)
    started = time.monotonic()
    for job, result in _work(waiting, processes or os.cpu_count() or 1, summary):
        summary.written += len(result["written"])
        _count(summary, job, result)
    summary.seconds = time.monotonic() - started
    return summary


def _count(summary: Summary, job: Job, result: dict[str, Any]) -> None:
    if result.get("why"):
        summary.left_out.append((job.item.name, result["why"]))


def _done(job: Job) -> dict[str, Any] | None:
    """Return the result of a job in an earlier run; None if it has to be done (again)."""
    try:
        mark: dict[str, Any] = json.loads(job.mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    written = [job.out / name for name in mark.get("written", [])]
    if mark.get("key") == job.key() and all(path.is_file() for path in written):
        return mark
    earlier = mark.get("source", job.source)
    if earlier != job.source and Path(earlier).exists():
        return {"why": f"{job.out} has a clip of this name, made from {earlier}; rename one."}
    for path in written:  # outdated, or the person has moved to another split
        path.unlink(missing_ok=True)
        path.with_suffix(".npz").unlink(missing_ok=True)
    return None


def _work(
    jobs: Sequence[Job], processes: int, summary: Summary
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Run the jobs in parallel; yield each with its result as it finishes."""
    if not jobs:
        return
    context = multiprocessing.get_context("spawn")
    frames, stop = context.Value("q", 0), context.Event()
    with (
        progress_bar(total=len(jobs), unit="item", desc="prepare") as bar,
        ProcessPoolExecutor(
            min(processes, len(jobs)), context, _begin_worker, (frames, stop)
        ) as pool,
    ):
        pending: dict[Future[dict[str, Any]], Job] = {pool.submit(_do, job): job for job in jobs}
        try:
            while pending:
                finished, _ = wait(pending, _TICK_S, FIRST_COMPLETED)
                summary.frames = frames.value
                speed = summary.frames / max(bar.format_dict["elapsed"], 1e-6)
                bar.set_postfix_str(f"{summary.frames} frames, {speed:.0f} a second", refresh=False)
                for future in finished:
                    bar.update()
                    yield pending.pop(future), future.result()
        except BrokenProcessPool as error:
            raise ReenactError(
                "A process that prepares clips was killed, perhaps for lack of memory; try again "
                "with --jobs 1."
            ) from error
        finally:
            # On an early end no new job starts, and running jobs stop at their current frame.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


class _StoppedError(Exception):
    """The run was stopped; unfinished jobs are dropped."""


class _Worker:
    """State of a worker process: its trackers, created on first use."""

    frames: Any
    stop: Any
    following: MediaPipeTracker | None = None
    still: MediaPipeTracker | None = None

    @classmethod
    def on_frame(cls) -> None:
        """Count a frame; end the job if the run was stopped."""
        with cls.frames.get_lock():
            cls.frames.value += 1
        if cls.stop.is_set():
            raise _StoppedError

    @classmethod
    def tracker(cls, still: bool) -> MediaPipeTracker:
        """Return the tracker for single pictures, or the one for consecutive ones."""
        if still:
            cls.still = cls.still or MediaPipeTracker(TrackingSettings(), static=True)
            return cls.still
        cls.following = cls.following or MediaPipeTracker(TrackingSettings())
        return cls.following


def _begin_worker(frames: Any, stop: Any) -> None:
    import cv2

    def end(*_: object) -> None:
        raise _StoppedError  # the job removes its partial files

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # `timeout`, a closed terminal and a shutdown signal to all processes of a command.
    signal.signal(signal.SIGTERM, end)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, end)
    cv2.setNumThreads(1)
    _Worker.frames, _Worker.stop = frames, stop
    _Worker.tracker(still=False)


def _do(job: Job) -> dict[str, Any]:
    """Run one job in a worker process, and record its result."""
    item = job.item
    result: dict[str, Any] = {"key": job.key(), "written": []}
    try:
        written = _write(job)
        result["written"] = [str(path.relative_to(job.out)) for path in written]
    except SinkError:
        raise
    except _StoppedError:
        return result
    except OSError as error:
        raise SinkError(refusal(job.folder, error)) from error
    except ReenactError as error:
        result["why"] = str(error)
    write_json(job.mark, {"name": item.name, "source": job.source, **result})
    return result


def _write(job: Job) -> list[Path]:
    item, folder = job.item, job.folder
    tracker = _Worker.tracker(still=item.kind != "video")
    work = Extraction(tracker, job.size_px, _Worker.on_frame, job.grey)
    if item.kind == "video":
        return work.clips_of_video(item.files[0], folder, item.name)
    if item.kind == "photo":
        still = folder / f"{item.name}.jpg"
        return [work.still_of_photo(item.files[0], item.emotions, still)]
    clip = folder / f"{item.name}.mp4"
    return [work.clip_of_pictures(item.files, item.emotions, clip, item.kind == "set")]


def _written_places(out: Path) -> set[Path]:
    """Return all folders that clips and stills may be written to."""
    splits = [out.resolve() / split for split in ("", "train", "val", "test")]
    return {*splits, *(folder / STILLS for folder in splits)}


def _make_folders(out: Path, jobs: Sequence[Job]) -> None:
    try:
        for folder in {out / MARKS, *(job.folder for job in jobs)}:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(refusal(out, error)) from error
