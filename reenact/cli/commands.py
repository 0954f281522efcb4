"""What the commands do. Each function takes the parsed arguments and may return an exit code.

Heavy modules are imported where they are used, so that `reenact --help` answers at once.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Final

from reenact.cli.live import (
    EXIT_INTERRUPTED,
    EXIT_MISTAKE,
    SAVING,
    Interruption,
    check_files,
    run_session,
)
from reenact.cli.panel import check_no_address, panel
from reenact.cli.prompts import confirm_replacement
from reenact.errors import ModelError, PluginError, SourceError, TargetError, quoted
from reenact.lifecycle import quiet_native_libraries

DEMO_FILE: Final = Path("reenact-demo.mp4")
"""What the demo writes if nothing else is asked for."""


def live(arguments: Namespace) -> int:
    """Run a session until its source ends, its window is closed, or Ctrl-C."""
    if arguments.panel:
        return panel(arguments)
    check_no_address(arguments)
    from reenact.live.controls import Controls
    from reenact.live.presets import OwnSettings
    from reenact.live.session import Session
    from reenact.live.settings import load_settings
    from reenact.targets.library import TargetStore, open_target, still_tracker

    settings = load_settings(arguments.config, arguments.assignments)
    if arguments.target is None:
        raise TargetError(
            "Choose the face to show with --target NAME. Create one with `reenact target create "
            "NAME --from PHOTO`, or try --target astronaut."
        )
    own = OwnSettings(TargetStore(), arguments.assignments)
    own.begin(arguments.target, settings)
    sinks = arguments.sink or ["window"]
    inputs = check_files(arguments, sinks, settings.drive.track)
    confirm_replacement(sinks, settings, arguments.report)
    with quiet_native_libraries():
        target = open_target(
            arguments.target,
            settings.renderer.size,
            make_tracker=lambda: still_tracker(settings.tracking),
        )
        session = Session.open(settings, arguments.source, target, sinks, replace_files=True)
    with Interruption() as interruption:
        controls = Controls(session, arguments.target, inputs=inputs, own=own)
        run_session(controls, sinks, arguments.report, interruption)
    if interruption.came:
        return EXIT_INTERRUPTED
    drive = session.settings.drive
    by_hand = any(value for _, value in drive.units)
    driven = drive.track or drive.emotion != "actor" or by_hand or arguments.source == "pattern"
    quit_early = interruption.stop or session.output.closed_by_user
    if not (session.source.live or session.reenactor.face_found or driven or quit_early):
        raise SourceError(
            f"There is no face in {session.source.name}, so the target did not move. Use a source "
            "that shows a face from the front, or turn one that lies on its side with "
            "--set source.rotate=90."
        )
    return EXIT_MISTAKE if session.output.errors else 0


def demo(arguments: Namespace) -> int:
    """Run the whole program on the shipped video and portrait."""
    from reenact.cli.demo import open_demo
    from reenact.live.controls import Controls
    from reenact.live.settings import load_settings

    settings = load_settings(None, arguments.assignments)
    own = arguments.out == DEMO_FILE  # made again, it is the same
    confirm_replacement([] if own else [f"file:{arguments.out}"], settings)
    with quiet_native_libraries():
        session = open_demo(arguments.out, settings)
    if run_session(Controls(session), []):
        return EXIT_INTERRUPTED
    both = session.settings.output.show_raw_camera
    print(f"{'Actor and target side by side' if both else 'The target'}: {arguments.out}")
    return 0


def train(arguments: Namespace) -> int:
    """Train by a recipe, or print the recipe's validation figures of some weights."""
    from reenact.training.checkpoints import WEIGHTS
    from reenact.training.recipes import load_training, measure_config

    if arguments.measure is not None:
        figures = measure_config(arguments.config, arguments.measure, arguments.assignments)
        for name, value in figures.items():
            print(f"{name:<24} {value:.4f}")
        return 0
    with quiet_native_libraries():
        # Ctrl-C ends the program while there is nothing to save.
        training = load_training(arguments.config, arguments.resume, arguments.assignments)
        with Interruption(SAVING) as interruption:
            outcome = training.run(stop=lambda: interruption.came)
    if outcome.best:
        measured = ", ".join(f"{name} {value:.4g}" for name, value in outcome.best.items())
        print(f"Ended at step {outcome.step}. {training.options.folder / WEIGHTS}: {measured}.")
    return EXIT_INTERRUPTED if outcome.stopped else 0


def train_prepare(arguments: Namespace) -> None:
    """Make clips for training from raw videos and pictures."""
    from reenact.training.preparation import prepare

    with quiet_native_libraries():
        summary = prepare(
            arguments.source,
            arguments.out,
            layout=arguments.layout,
            size_px=arguments.size,
            processes=arguments.jobs,
            val_share=arguments.val_share or 0.0,
            test_share=arguments.test_share or 0.0,
            grey=arguments.grey,
        )
    print(summary.text())
    if summary.left_out and not (summary.written or summary.earlier):
        raise SourceError("No clip could be made; the lines above say why.")


def evaluate(arguments: Namespace) -> None:
    """Measure renderers on clips."""
    from reenact.evaluation import runner as evaluation
    from reenact.live.settings import load_settings

    options = evaluation.EvaluationOptions(
        protocol=arguments.protocol,
        clips=arguments.clips,
        limit=arguments.limit,
        settings=load_settings(None, arguments.assignments),
        target_training=arguments.target_training,
        training_minutes=arguments.training_minutes,
        size_px=arguments.size,
        body=arguments.body,
        lpips=arguments.lpips,
        inception=arguments.inception,
        json_path=arguments.json,
        sheet=arguments.sheet,
        ab=arguments.ab,
        rating=arguments.rating,
        labelled=arguments.labelled,
    )
    with quiet_native_libraries():
        evaluation.evaluate(
            arguments.renderer,
            arguments.data,
            options,
            measured=lambda reports: print(evaluation.format_table(reports)),
        )


def bench(arguments: Namespace) -> int:
    """Measure speed."""
    from reenact.evaluation import benchmark
    from reenact.evaluation.benchmark_comparison import compare
    from reenact.evaluation.glass_to_glass import measure_delay
    from reenact.live.settings import load_settings

    sizes = arguments.size or []
    if arguments.compare is not None:
        options = [word for size in sizes for word in ("--size", str(size))]
        if arguments.seconds is not None:
            options += ["--seconds", str(arguments.seconds)]
        if arguments.device != "auto":
            options += ["--device", arguments.device]
        compare(
            arguments.compare,
            options,
            arguments.rounds,
            arguments.json,
            assignments=arguments.assignments,
        )
        return 0
    settings = load_settings(None, arguments.assignments)
    if arguments.device != "auto":
        settings.renderer.device = arguments.device
    seconds = arguments.seconds or 10.0
    with quiet_native_libraries():
        if arguments.glass_to_glass is None:
            benchmark.bench(settings, sizes, arguments.json, seconds=seconds)
            return 0
        settings.renderer.size = sizes[0] if sizes else settings.renderer.size
        measure_delay(arguments.glass_to_glass, settings, seconds, arguments.json)
    return 0


def export(arguments: Namespace) -> None:
    """Write a generator's networks as files for other programs."""
    from reenact.registry import DEFAULT_RENDERER, import_object, load, renderer_of

    renderer, weights = arguments.renderer or DEFAULT_RENDERER, arguments.weights
    if arguments.target is not None:
        from reenact.targets.library import TargetStore

        renderer = renderer_of(TargetStore().load(arguments.target))
        if arguments.renderer not in (None, renderer):
            raise ModelError(
                f"{arguments.target} is drawn by {renderer}; leave out --renderer, or --target."
            )
        if weights is not None:
            raise ModelError("Give --target or --weights, not both.")
        weights = TargetStore().weights_path(arguments.target)
        if weights is None:
            raise ModelError(
                f"{arguments.target} has no weights of its own. Train it with `reenact target "
                f"train {quoted(arguments.target)}`, or omit --target to export the shipped ones."
            )
    exporter = load("renderers", renderer).export
    if exporter is None:
        raise PluginError(f"The renderer {renderer} cannot be exported.")
    for line in import_object(exporter)(
        arguments.folder, arguments.format, arguments.size, weights
    ):
        print(line)


def plugins(arguments: Namespace) -> None:
    """List all registered parts; a part that cannot be loaded is listed with the reason."""
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


def cameras(arguments: Namespace) -> None:
    """List the webcams."""
    from reenact.sources.camera_devices import list_cameras

    found = list_cameras()
    if not found:
        print("No webcam was found. `reenact doctor` says what to do.")
    for camera in found:
        note = "  (a virtual camera, fed by another program)" if camera.is_loopback else ""
        print(f"webcam:{camera.index}  {camera.name}{note}")


def obs_install(arguments: Namespace) -> None:
    """Add the source to OBS."""
    from reenact.sinks.obs.installer import install

    install(arguments.wait)


def obs_status(arguments: Namespace) -> None:
    """Print the state of the source in OBS, or how a media source shows the HTTP stream."""
    from reenact.sinks.obs.installer import media_source, status

    if arguments.media_source:
        media_source()
    else:
        status()


def obs_remove(arguments: Namespace) -> None:
    """Remove the source from OBS."""
    from reenact.sinks.obs.installer import remove

    remove()


def doctor(arguments: Namespace) -> int:
    """Check what is missing on this machine and say how to get it."""
    from reenact.cli.doctor import run
    from reenact.cli.doctor_report import exit_code, print_checks

    with quiet_native_libraries():
        checks = run(try_obs=arguments.obs)
    print_checks(checks)
    return exit_code(checks)


def verify(arguments: Namespace) -> int:
    """Look for the watermark in a picture or video; return 0 if it is there, else 1."""
    from reenact.cli.verification import has_watermark

    name = arguments.file.name
    with quiet_native_libraries():
        found = has_watermark(arguments.file)
    if found:
        print(f"{name} has the watermark of reenact: the face is synthetic.")
        return 0
    print(
        f"{name} does not have the watermark of reenact. That is no proof that the face is real: "
        "strong compression, turning or cutting removes the watermark."
    )
    return 1
