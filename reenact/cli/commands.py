"""What each command does. Each takes the parsed arguments and returns the exit code.

Whatever is heavy is imported where it is used, so that `reenact --help` answers at once.
"""

from __future__ import annotations

import shlex
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

from reenact.cli.live import EXIT_INTERRUPTED, Interruption, run_session
from reenact.cli.prompts import ask_consent, confirm_removal
from reenact.errors import ModelError, PluginError, SourceError, TargetError


def live(arguments: Namespace) -> int:
    """Run a session until its source ends, its window is closed, or Ctrl-C."""
    from reenact.lifecycle import quiet_native_libraries
    from reenact.live.session import Session
    from reenact.live.settings import load_settings
    from reenact.sinks.fanout import check_spares
    from reenact.storage import check_writable
    from reenact.targets.library import open_target, still_tracker

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
    if run_session(session, sinks, arguments.report):
        return EXIT_INTERRUPTED
    if not (session.source.live or session.face_found or arguments.source == "pattern"):
        raise SourceError(
            f"No face was found in {session.source.name}, so the target only rested; use one "
            "where a face is seen from the front."
        )
    return 0


def target_create(arguments: Namespace) -> int:
    """Make a target from pictures or videos, and measure what draws it best."""
    import tempfile

    from reenact.evaluation.renderer_selection import choose_renderer
    from reenact.lifecycle import quiet_native_libraries
    from reenact.targets.library import TargetStore, create_target, still_tracker
    from reenact.targets.manual_landmarks import read_manual_landmarks

    store = TargetStore()
    store.check_free(arguments.name)
    landmarks = None if arguments.landmarks is None else read_manual_landmarks(arguments.landmarks)
    notes = {"consent": ask_consent(arguments.name, arguments.yes)}
    with quiet_native_libraries(), tempfile.TemporaryDirectory() as scratch:
        footage = Path(scratch) / "footage"
        tracker = still_tracker()
        try:
            target = create_target(
                arguments.name,
                arguments.sources,
                tracker,
                metadata=notes,
                landmarks=landmarks,
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
    print(
        f"Try it: reenact live --source webcam:0 --target {shlex.quote(target.name)} --sink window"
    )
    return 0


def target_train(arguments: Namespace) -> int:
    """Train a target on its own video; Ctrl-C ends it with the best state kept."""
    from reenact.lifecycle import quiet_native_libraries
    from reenact.models.inference import choose_device
    from reenact.targets.library import TargetStore, still_tracker
    from reenact.training.target_training import add_footage, summary, train_target

    store = TargetStore()
    device = choose_device(arguments.device)
    if arguments.sources:
        with quiet_native_libraries():
            tracker = still_tracker()
            try:
                add_footage(store, arguments.name, arguments.sources, tracker)
            finally:
                tracker.close()

    def tell(preview: Path) -> None:
        print(f"How it comes along: {preview}\nCtrl-C ends it and keeps the best so far.")

    interruption = Interruption()
    with interruption:
        outcome = train_target(
            store,
            arguments.name,
            minutes=arguments.minutes,
            device=device,
            resume=arguments.resume,
            stop=lambda: interruption.came,
            begun=tell,
        )
    print(summary(arguments.name, outcome))
    return EXIT_INTERRUPTED if outcome.stopped else 0


def target_list(arguments: Namespace) -> int:
    """List the stored and the built-in targets."""
    from reenact.targets.library import BUILT_IN, TargetStore

    for name in TargetStore().list():
        print(name)
    for name in BUILT_IN:
        print(f"{name}  (built in)")
    return 0


def target_show(arguments: Namespace) -> int:
    """Tell what is known of a target."""
    from reenact.targets.library import TargetStore

    print(TargetStore().show(arguments.name))
    return 0


def target_export(arguments: Namespace) -> int:
    """Write a target to one file."""
    from reenact.targets.library import TargetStore

    path = TargetStore().export_file(arguments.name, arguments.file)
    print(f"{arguments.name} is in {path}.")
    return 0


def target_import(arguments: Namespace) -> int:
    """Store a target from one file."""
    from reenact.targets.library import TargetStore

    name = TargetStore().import_file(arguments.file, arguments.name)
    print(f"{name} is ready.")
    return 0


def target_rename(arguments: Namespace) -> int:
    """Give a target another name."""
    from reenact.targets.library import TargetStore

    TargetStore().rename(arguments.name, arguments.new)
    print(f"{arguments.name} is now {arguments.new}.")
    return 0


def target_remove(arguments: Namespace) -> int:
    """Delete a target."""
    from reenact.targets.library import TargetStore

    store = TargetStore()
    confirm_removal(arguments.name, store.irreplaceable_parts(arguments.name), arguments.yes)
    store.remove(arguments.name)
    print(f"{arguments.name} is removed.")
    return 0


def demo(arguments: Namespace) -> int:
    """Run the whole path on the shipped material."""
    from reenact.cli.demo import open_demo
    from reenact.lifecycle import quiet_native_libraries
    from reenact.live.settings import load_settings

    settings = load_settings(None, arguments.assignments)
    with ExitStack() as undo:
        with quiet_native_libraries():
            session = open_demo(arguments.out, settings, undo)
        if run_session(session, []):
            return EXIT_INTERRUPTED
    print(f"The actor and the target, side by side: {arguments.out}")
    return 0


def train(arguments: Namespace) -> int:
    """Train by a recipe, or measure weights as the recipe validates them."""
    from reenact.lifecycle import quiet_native_libraries
    from reenact.training.recipes import measure_config, run_config

    if arguments.measure is not None:
        figures = measure_config(arguments.config, arguments.measure, arguments.assignments)
        for name, value in figures.items():
            print(f"{name:<24} {value:.4f}")
        return 0
    interruption = Interruption()
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
    from reenact.lifecycle import quiet_native_libraries
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
    from reenact.evaluation import runner as evaluation
    from reenact.lifecycle import quiet_native_libraries
    from reenact.live.settings import load_settings

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
    from reenact.evaluation.benchmark import bench as run_bench
    from reenact.lifecycle import quiet_native_libraries

    with quiet_native_libraries():
        run_bench(arguments.device, arguments.size or [256], arguments.json)
    return 0


def export(arguments: Namespace) -> int:
    """Write the generator's networks as files for other programs."""
    from reenact.models.export import export_generator

    weights = arguments.weights
    if arguments.target is not None:
        from reenact.targets.library import TargetStore

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
    from reenact.registry import SinkSpec, SourceSpec

    for group in registry.GROUPS:
        print(f"{group}:")
        for name in registry.available(group):
            try:
                spec = registry.load(group, name)
            except PluginError as error:
                print(f"  {name:<12} {error}")
                continue
            argument = spec.argument if isinstance(spec, SourceSpec | SinkSpec) else ""
            print(f"  {name + (f':{argument}' if argument else ''):<20} {spec.summary}")
    return 0


def cameras(arguments: Namespace) -> int:
    """List the webcams."""
    from reenact.sources.camera_devices import list_cameras

    found = list_cameras()
    if not found:
        print("No webcam was found; `reenact doctor` says what to do.")
    for camera in found:
        note = "  (fed by another program)" if camera.is_loopback else ""
        print(f"webcam:{camera.index}  {camera.name}{note}")
    return 0


def obs_install(arguments: Namespace) -> int:
    """Bring the source into OBS."""
    from reenact.sinks.obs.installer import install

    install(arguments.wait)
    return 0


def obs_status(arguments: Namespace) -> int:
    """Tell how the source in OBS stands, or how a media source shows the HTTP stream."""
    from reenact.sinks.obs.installer import media_source, status

    if arguments.media_source:
        media_source()
    else:
        status()
    return 0


def obs_remove(arguments: Namespace) -> int:
    """Take the source out of OBS."""
    from reenact.sinks.obs.installer import remove

    remove()
    return 0


def doctor(arguments: Namespace) -> int:
    """Tell what is there, what is missing, and how to get it."""
    from reenact.cli.doctor import run
    from reenact.cli.doctor_report import exit_code, print_checks
    from reenact.lifecycle import quiet_native_libraries

    with quiet_native_libraries():
        checks = run(try_obs=arguments.obs)
    print_checks(checks)
    return exit_code(checks)
