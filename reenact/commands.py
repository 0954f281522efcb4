"""What each command does. Each takes the parsed arguments and returns the exit code.

Whatever is heavy is imported where it is used, so that `reenact --help` answers at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import Self

from reenact.errors import ModelError, PluginError, SourceError, TargetError

if TYPE_CHECKING:
    from reenact.session import Session
    from reenact.stats import Stats
    from reenact.terminal import Keys

EXIT_INTERRUPTED: Final = 130

_HANGS_S: Final = 5.0
"""An output that takes longer to finish is given up."""

_TICK_S: Final = 0.1
"""How often keys and the progress line are looked after."""


def live(arguments: Namespace) -> int:
    """Run a session until its source ends, its window is closed, or Ctrl-C."""
    from reenact.config import load_settings
    from reenact.report_files import check_writable
    from reenact.session import Session
    from reenact.sinks import check_spares
    from reenact.targets import open_target, still_tracker
    from reenact.terminal import quiet_native_libraries

    settings = load_settings(arguments.config, arguments.assignments)
    if arguments.target is None:
        raise TargetError(
            "Choose whose face to show with --target NAME; "
            "make one with `reenact target create NAME --from PHOTO`, or try `astronaut`."
        )
    if arguments.report is not None:
        check_writable(arguments.report)
    sinks = arguments.sink or ["window"]
    check_spares(sinks, arguments.target, "target")
    with quiet_native_libraries():
        target = open_target(
            arguments.target,
            settings.renderer.size,
            make_tracker=lambda: still_tracker(settings.tracking),
        )
        session = Session.open(settings, arguments.source, target, sinks)
    _run(session, sinks, arguments.report)
    if not (session.source.live or session.face_found or arguments.source == "pattern"):
        raise SourceError(
            f"No face was found in {session.source.name}, so the target only rested; use one "
            "where a face is seen from the front."
        )
    return 0


def _run(session: Session, sinks: list[str], report: Path | None = None) -> None:
    """Run a session with its keys, progress line, figures and Ctrl-C."""
    from reenact.report_files import write_json
    from reenact.terminal import Keys

    interruption = _Interruption()
    with interruption, session, Keys() as keys:
        threads = [
            threading.Thread(target=body, args=(session, interruption, keys), daemon=True)
            for body in (_stop_when_asked, _converse)
        ]
        for thread in threads:
            thread.start()
        try:
            session.run()
        finally:
            # Ctrl-C is how a live run ends, so its figures are told then, too.
            stats = session.stats()
            if report is not None:
                write_json(report, stats.report())
            for thread in threads:
                thread.join()
            if stats.frames_in:
                _tell("\n".join([_summary(stats), *_outcome(sinks, session.output_errors)]))
        if interruption.came:
            raise KeyboardInterrupt


def target_create(arguments: Namespace) -> int:
    """Make a target from pictures or videos, and measure what draws it best."""
    import tempfile

    from reenact.generator_check import choose_renderer
    from reenact.placed_landmarks import read_placed
    from reenact.targets import TargetStore, confirm_consent, create_target, still_tracker
    from reenact.terminal import quiet_native_libraries

    store = TargetStore()
    store.check_free(arguments.name)
    placed = None if arguments.landmarks is None else read_placed(arguments.landmarks)
    notes = {"consent": confirm_consent(arguments.name, arguments.yes)}
    with quiet_native_libraries(), tempfile.TemporaryDirectory() as scratch:
        footage = Path(scratch) / "footage"
        tracker = still_tracker()
        try:
            target = create_target(
                arguments.name,
                arguments.sources,
                tracker,
                metadata=notes,
                placed=placed,
                footage=footage,
            )
        finally:
            tracker.close()
        target = choose_renderer(target)
        store.create(target, footage=footage)
    count = len(target.references)
    print(f"{target.name} is ready, with {count} picture{'s' if count != 1 else ''} to draw from.")
    if target.renderer == "warp":
        print("The generator does not know such a face; it is drawn by the mesh warp alone.")
    print(f"Try it: reenact live --source webcam:0 --target {target.name} --sink window")
    return 0


def target_train(arguments: Namespace) -> int:
    """Train a target on its own video; Ctrl-C ends it with the best state kept."""
    from reenact.engines import choose_device
    from reenact.target_training import (
        add_footage,
        preview_path,
        summary,
        train_target,
        training_folder,
    )
    from reenact.targets import TargetStore, still_tracker
    from reenact.terminal import quiet_native_libraries

    store = TargetStore()
    preview = preview_path(training_folder(store, arguments.name))
    device = choose_device(arguments.device)
    if arguments.sources:
        with quiet_native_libraries():
            tracker = still_tracker()
            try:
                add_footage(store, arguments.name, arguments.sources, tracker)
            finally:
                tracker.close()
    print(f"How it comes along: {preview}\nCtrl-C ends it and keeps the best so far.")
    interruption = _Interruption()
    with interruption:
        outcome = train_target(
            store,
            arguments.name,
            minutes=arguments.minutes,
            device=device,
            resume=arguments.resume,
            stop=lambda: interruption.came,
        )
    print(summary(arguments.name, outcome))
    return EXIT_INTERRUPTED if outcome.stopped else 0


def target_list(arguments: Namespace) -> int:
    """List the stored and the built-in targets."""
    from reenact.targets import BUILT_IN, TargetStore

    for name in TargetStore().list():
        print(name)
    for name in BUILT_IN:
        print(f"{name}  (built in)")
    return 0


def target_show(arguments: Namespace) -> int:
    """Tell what is known of a target."""
    from reenact.targets import TargetStore

    print(TargetStore().show(arguments.name))
    return 0


def target_export(arguments: Namespace) -> int:
    """Write a target to one file."""
    from reenact.targets import TargetStore

    path = TargetStore().export_file(arguments.name, arguments.file)
    print(f"{arguments.name} is in {path}.")
    return 0


def target_import(arguments: Namespace) -> int:
    """Store a target from one file."""
    from reenact.targets import TargetStore

    name = TargetStore().import_file(arguments.file, arguments.name)
    print(f"{name} is ready.")
    return 0


def target_remove(arguments: Namespace) -> int:
    """Delete a target."""
    from reenact.targets import TargetStore

    TargetStore().remove(arguments.name)
    print(f"{arguments.name} is removed.")
    return 0


def demo(arguments: Namespace) -> int:
    """Run the whole path on the shipped material."""
    from reenact.config import load_settings
    from reenact.demo import open_demo
    from reenact.terminal import quiet_native_libraries

    settings = load_settings(None, arguments.assignments)
    with ExitStack() as undo:
        with quiet_native_libraries():
            session = open_demo(arguments.out, settings, undo)
        _run(session, [])
    print(f"The actor and the target, side by side: {arguments.out}")
    return 0


def train(arguments: Namespace) -> int:
    """Train by a recipe, or measure weights as the recipe validates them."""
    from reenact.terminal import quiet_native_libraries
    from reenact.training.recipes import measure_config, run_config

    if arguments.measure is not None:
        figures = measure_config(arguments.config, arguments.measure, arguments.assignments)
        for name, value in figures.items():
            print(f"{name:<24} {value:.4f}")
        return 0
    interruption = _Interruption()
    with interruption, quiet_native_libraries():
        outcome = run_config(
            arguments.config,
            arguments.resume,
            arguments.assignments,
            stop=lambda: interruption.came,
        )
    return EXIT_INTERRUPTED if outcome.interrupted else 0


def train_prepare(arguments: Namespace) -> int:
    """Track and crop raw videos and pictures into a folder of clips."""
    from reenact.terminal import quiet_native_libraries
    from reenact.training.preparation import prepare

    with quiet_native_libraries():
        summary = prepare(
            arguments.source,
            arguments.out,
            layout=arguments.layout,
            size_px=arguments.size,
            processes=arguments.jobs,
            val_share=arguments.val_share,
        )
    print(summary.text())
    return 0


def evaluate(arguments: Namespace) -> int:
    """Measure renderers on clips."""
    from reenact import evaluation
    from reenact.config import load_settings
    from reenact.terminal import quiet_native_libraries

    options = evaluation.EvaluationOptions(
        protocol=arguments.protocol,
        limit=arguments.limit,
        settings=load_settings(None, arguments.assignments),
        target_training=arguments.target_training,
        training_minutes=arguments.training_minutes,
        size_px=arguments.size,
        lpips=arguments.lpips,
        inception=arguments.inception,
        json_path=arguments.json,
        sheet=arguments.sheet,
        ab=arguments.ab,
    )
    with quiet_native_libraries():
        reports = evaluation.evaluate(arguments.renderer, arguments.data, options)
    print(evaluation.format_table(reports))
    return 0


def bench(arguments: Namespace) -> int:
    """Measure speed."""
    from reenact.benchmark import bench as run_bench
    from reenact.terminal import quiet_native_libraries

    with quiet_native_libraries():
        run_bench(arguments.device, arguments.size or [256], arguments.json)
    return 0


def export(arguments: Namespace) -> int:
    """Write the generator's networks as files for other programs."""
    from reenact.exporting import export_generator

    weights = arguments.weights
    if arguments.target is not None:
        from reenact.targets import TargetStore

        if weights is not None:
            raise ModelError("Give --target or --weights, not both.")
        weights = TargetStore().weights_path(arguments.target)
        if weights is None:
            raise ModelError(
                f"{arguments.target} has no weights of its own; train it with `reenact target "
                f"train {arguments.target}`, or leave --target out for the shipped ones."
            )
    for line in export_generator(arguments.folder, arguments.format, arguments.size, weights):
        print(line)
    return 0


def plugins(arguments: Namespace) -> int:
    """List everything registered; a broken part is listed with its cause."""
    from reenact import registry

    for group in registry.GROUPS:
        print(f"{group}:")
        for name in registry.available(group):
            try:
                spec = registry.load(group, name)
            except PluginError as error:
                print(f"  {name:<12} {error}")
                continue
            print(f"  {name + (f':{spec.argument}' if spec.argument else ''):<20} {spec.summary}")
    return 0


def cameras(arguments: Namespace) -> int:
    """List the webcams."""
    from reenact.cameras import list_cameras

    found = list_cameras()
    if not found:
        print("No webcam was found; `reenact doctor` says what to do.")
    for camera in found:
        note = "  (fed by another program)" if camera.is_loopback else ""
        print(f"webcam:{camera.index}  {camera.name}{note}")
    return 0


def obs_install(arguments: Namespace) -> int:
    """Bring the source into OBS."""
    from reenact.obs_setup import install

    install(arguments.wait)
    return 0


def obs_status(arguments: Namespace) -> int:
    """Tell how the source in OBS stands, or how a media source shows the HTTP stream."""
    from reenact.obs_setup import media_source, status

    if arguments.media_source:
        media_source()
    else:
        status()
    return 0


def obs_remove(arguments: Namespace) -> int:
    """Take the source out of OBS."""
    from reenact.obs_setup import remove

    remove()
    return 0


def doctor(arguments: Namespace) -> int:
    """Tell what is there, what is missing, and how to get it."""
    from reenact.doctor import exit_code, print_checks, run
    from reenact.terminal import quiet_native_libraries

    with quiet_native_libraries():
        checks = run(try_obs=arguments.obs)
    print_checks(checks)
    return exit_code(checks)


def _interruptions() -> list[signal.Signals]:
    """Return what ends a session: Ctrl-C, a polite kill, and a terminal that is closed.

    Where that one is ignored, as under nohup, it stays so.
    """
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, hangup]


class _Interruption:
    """Notes Ctrl-C and its like while its context is open, instead of raising.

    A handler that took locks, or an exception in the middle of a write, could hang the program
    or harm the file. Its attributes are plain for that reason.

    Attributes:
        came: whether there was one.
        stop: whether the session is to stop, for that or because the user said so.
    """

    def __init__(self) -> None:
        self.came = False
        self.stop = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in _interruptions()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = self.stop = True


def _stop_when_asked(session: Session, interruption: _Interruption, keys: Keys) -> None:
    """Until the session ends: stop it when asked.

    Apart from what is shown, which waits and fails where nobody reads stderr any more.
    """
    while not session.ended(_TICK_S):
        if interruption.stop:
            session.stop()
            if not session.ended(_HANGS_S):
                keys.close()
                _tell("reenact: an output does not answer.")
                os._exit(EXIT_INTERRUPTED)


def _converse(session: Session, interruption: _Interruption, keys: Keys) -> None:
    """Until the session ends: act on keys, show a file's progress; not without a terminal."""
    with contextlib.suppress(OSError):  # whoever read stderr has gone, or the terminal has
        _show(session, interruption, keys)


def _show(session: Session, interruption: _Interruption, keys: Keys) -> None:
    from tqdm import tqdm

    looped = session.settings.source.loop
    total = None if looped else getattr(session.source, "frames_total", None)
    show = not session.source.live and sys.stderr is not None
    with tqdm(total=total, unit=" frames", file=sys.stderr, disable=not show, leave=False) as bar:
        if keys.active and session.source.live:
            print("n: this is my neutral face   p: figures   q: quit", file=sys.stderr)
        while not session.ended(_TICK_S):
            if show:
                bar.update(session.frames_out - bar.n)
            key = keys.pressed()
            if key == "q":
                interruption.stop = True
            elif key == "n":
                session.set_neutral()
                bar.write("Your face as it is now is taken as neutral.", file=sys.stderr)
            elif key == "p":
                bar.write(_summary(session.stats()), file=sys.stderr)


def _tell(text: str) -> None:
    """Say something at the end, where anybody still listens."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)


def _summary(stats: Stats) -> str:
    width, height = stats.size
    parts = [
        f"{stats.frames_in} frames in, {stats.frames_out} out of {width}x{height}",
        f"{stats.fps:.1f} frames/s",
    ]
    if stats.latency_ms is not None:
        parts.append(f"latency {stats.latency_ms.p50:.0f} ms (95 %: {stats.latency_ms.p95:.0f} ms)")
    if stats.drops:
        parts.append("dropped: " + ", ".join(f"{n} {cause}" for cause, n in stats.drops.items()))
    if stats.faces_lost:
        parts.append(f"face lost {stats.faces_lost} times")
    if stats.failures:
        parts.append(f"{stats.failures} frames could not be rendered")
    return "; ".join(parts) + "."


def _outcome(sinks: list[str], errors: Mapping[str, str]) -> list[str]:
    """Return lines: the files that were written, and why other outputs were given up."""
    texts = [text for text in sinks if text.startswith("file:") and text not in errors]
    files = ", ".join(str(Path(text.partition(":")[2])) for text in texts)
    # Where all have failed, that is how the run ends, and told as its error.
    failed = errors.values() if len(errors) < len(sinks) else ()
    return [*([files] if files else []), *failed]
