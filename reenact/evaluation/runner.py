"""`reenact evaluate`: compares renderers on a folder of clips, in JSON, a table and contact sheets.

The protocols are fixed, so that figures stay comparable over time. `self_reenactment`, `transfer`,
`cross_identity`, `emotions` and `wild` describe them, and `metrics` the figures. The baselines
`copy` and `warp` are always in the table: a renderer that does not beat `warp` has learned nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from reenact.config import RendererSettings, Settings
from reenact.errors import ConfigError
from reenact.evaluation import fine_tuned, self_reenactment
from reenact.evaluation.clips import (
    check_clip,
    crop_target,
    find_clips,
    read_clip,
    read_landmarks,
    resized,
)
from reenact.evaluation.contact_sheet import (
    SheetRow,
    prepare_folder,
    write_sheets,
    write_side_by_side,
)
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.metrics import Figures, markdown_table, mean_figures
from reenact.evaluation.perceptual import PerceptualMetrics
from reenact.evaluation.self_reenactment import FLOORS, RenderedClip, run_columns, with_and_without
from reenact.face.geometry import canonical_face, crop_transform, transform_points
from reenact.registry import check_renderer, load
from reenact.storage import check_writable, write_json
from reenact.types import Renderer

Protocol = Literal["self", "cross", "wild", "emotions", "transfer"]

Report = dict[str, Any]
"""`renderer`, `data`, `protocol`, `clips` (figures by clip name), `mean` (figures)."""

_DECIMALS: Final = dict.fromkeys(
    ("psnr", "face_psnr", "mesh_psnr", "akd_px", "sharpness", "face_sharpness"), 2
)
"""Decimals of figures that are not shown with three."""

_NO_RENDERER: Final = "none"
"""Name in the report of "wild", which renders nothing."""

_TRIAL_PX: Final = 256


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to measure and what to write.

    Attributes:
        protocol: "self" for self-reenactment, "cross" for one clip's actor on another's face,
            "emotions" and "transfer" for those protocols, "wild" for the fused landmarks of runs
            that do not start calmly, without a renderer.
        clips: pattern of the clips' names, such as `*__090_frontal` for RaFD's frontal pictures.
        limit: maximum number of clips (self, wild) or pairs of clips (cross).
        frames: maximum number of frames of each clip, for a quick look; None: the protocol's.
        body: also measure self-reenactment with shoulders and hair that follow the actor's, as
            rows `NAME (body)`, and add the figure `shoulder_px`.
        settings: the renderer's device, engine and weights; "cross" uses all other settings too,
            and "wild" those of `fusion` and `tracking`.
        target_training: share of each clip on which the trainable renderers are trained further;
            all are measured on the rest, the trained ones as `NAME (trained)`.
        training_minutes: duration of that training for each clip.
        size_px: side at which pictures are rendered and compared in self-reenactment; None: the
            clips' own.
        lpips: network of the figure `lpips` in self-reenactment, see `perceptual`.
        inception: network of the figures `fid` and `inception_score`, which only the mean has.
        json_path: receives the report of one renderer, or a list of reports for several. Baselines
            that were not requested are left out. If one renderer was trained, the file holds its
            report, with `clips` and `mean` of the others under `beside`.
        sheet: receives the contact sheet as PNG; further sheets get numbers in their names.
        ab: folder that receives a video of each clip in self-reenactment, with the true frames
            beside each renderer's.
        rating: receives the page for blind ratings of the pictures of "emotions".
        labelled: folder that receives the pictures of "emotions" as labelled clips.
    """

    protocol: Protocol = "self"
    clips: str = "*"
    limit: int | None = None
    frames: int | None = None
    body: bool = False
    settings: Settings = field(default_factory=Settings)
    target_training: float | None = None
    training_minutes: float = 10.0
    size_px: int | None = None
    lpips: Path | None = None
    inception: Path | None = None
    json_path: Path | None = None
    sheet: Path | None = None
    ab: Path | None = None
    rating: Path | None = None
    labelled: Path | None = None


@dataclass(frozen=True, slots=True)
class _Task:
    """What a protocol measures.

    Attributes:
        renderers: by name, each with its own weights if some are given; none for "wild".
        videos: the clips, or for "emotions" the portraits.
        options: those of the evaluation.
        perceptual: compares pictures by networks.
    """

    renderers: Mapping[str, Renderer]
    videos: Sequence[Path]
    options: EvaluationOptions
    perceptual: PerceptualMetrics

    @property
    def names(self) -> list[str]:
        """The names of the renderers."""
        return list(self.renderers)


@dataclass(frozen=True, slots=True)
class _Measured:
    """The results of a protocol: table rows, figures by row and clip, and the contact sheet's."""

    title: str
    names: Sequence[str]
    figures: Mapping[str, Mapping[str, Figures]]
    columns: Sequence[str]
    rows: Sequence[SheetRow]


def evaluate(
    renderers: Sequence[str],
    data: Path,
    options: EvaluationOptions,
    measured: Callable[[Sequence[Report]], None] = lambda reports: None,
) -> list[Report]:
    """Evaluate renderers on the same frames of the clips (`NAME.mp4` with `NAME.npz`) in a folder.

    Renderers are registered names; self-reenactment also accepts `NAME=WEIGHTS`. Returns one report
    for each: baselines first, trained renderers last. `measured` gets them before anything is
    written, so that a full disk does not lose them.

    Raises:
        SourceError: the folder or a clip in it cannot be used, or the protocol needs two people
            and the clips show one.
        ConfigError: an option does not fit the protocol, a renderer is named with several weights,
            or the clips would be overwritten.
        PluginError: a renderer is unknown.
        ModelError: a model file or library is missing, or a renderer has no weights.
        SinkError: a report cannot be written.
    """
    weights = {name: path for name, _, path in (r.partition("=") for r in renderers) if path}
    asked = [renderer.partition("=")[0] for renderer in renderers]
    if not asked and options.protocol != "wild":
        raise ConfigError("Name a renderer to measure, such as --renderer warp_unet.")
    _check(options, bool(weights))
    if len(set(asked)) < len(set(renderers)):
        raise ConfigError(
            "A renderer is named twice with different weights; measure one at a time."
        )
    for name in asked:
        check_renderer(_chosen(name, options, weights))
    if options.protocol == "emotions":
        from reenact.evaluation.emotions import find_portraits

        videos = find_portraits(data, options.limit, options.clips)
    else:
        limit = None if options.protocol == "cross" else options.limit
        videos = find_clips(data, limit, options.clips)
        for video in videos if options.protocol != "transfer" else ():  # which may leave some out
            if options.protocol == "wild" and not video.stat().st_size:  # landmarks alone will do
                read_landmarks(video)
            else:
                check_clip(video)  # a bad clip is told now, not after hours
    _prepare_outputs(options, data)
    if options.protocol == "wild":
        names = asked = [_NO_RENDERER]
    else:
        names = list(dict.fromkeys([*FLOORS, *asked]))
    perceptual = PerceptualMetrics(options.lpips, options.inception, names)
    chosen = [] if options.protocol == "wild" else [_chosen(n, options, weights) for n in names]
    tried = {settings.name: _tried(settings) for settings in chosen}
    results = _measure(_Task(tried, videos, options, perceptual))
    reports: list[Report] = [
        {
            "renderer": name,
            "data": str(data),
            "protocol": results.title,
            "clips": results.figures[name],
            "mean": mean_figures(results.figures[name].values()) | perceptual.totals(name),
        }
        for name in results.names
    ]
    measured(reports)
    if options.json_path is not None:
        write_json(options.json_path, _stored(reports, asked))
    if options.sheet is not None:
        write_sheets(options.sheet, results.columns, results.rows)
    return reports


def _prepare_outputs(options: EvaluationOptions, data: Path) -> None:
    """Raise in advance if a result could not be written."""
    if options.ab is not None:
        prepare_folder(options.ab)
        if options.ab.samefile(data):
            raise ConfigError(f"--ab {options.ab} holds the clips themselves; give another folder.")
    if options.labelled is not None:
        prepare_folder(options.labelled)
    reports = {".json": options.json_path, ".png": options.sheet, ".html": options.rating}
    given = {suffix: path for suffix, path in reports.items() if path is not None}
    for suffix, path in given.items():
        if [one.resolve() for one in given.values()].count(path.resolve()) > 1:
            raise ConfigError(f"Two results would be written to {path}; give each its own file.")
        check_writable(path, suffix)


def _measure(task: _Task) -> _Measured:
    protocol = task.options.protocol
    if protocol == "wild":
        return _measure_wild(task)
    with FaceReader() as reader:
        if protocol == "cross":
            return _measure_cross(task, reader)
        if protocol == "transfer":
            return _measure_transfer(task, reader)
        if protocol == "emotions":
            return _measure_emotions(task, reader)
        if task.options.target_training is not None:
            return _measure_trained(task, reader, task.options.target_training)
        return _measure_self(task, reader)


def _check(options: EvaluationOptions, has_weights: bool) -> None:
    """Reject options that the protocol cannot use."""
    plain = options.protocol == "self" and options.target_training is None
    emotions, transfer = options.protocol == "emotions", options.protocol == "transfer"
    if options.lpips and not plain:
        raise ConfigError("--lpips is for self-reenactment without training.")
    if options.size_px and not (plain or transfer):
        raise ConfigError("--size is for self-reenactment without training, and for transfer.")
    if options.inception and not (plain or emotions):
        raise ConfigError("--inception is for self-reenactment without training, and for emotions.")
    if has_weights and not (plain or emotions or transfer):
        raise ConfigError(
            "NAME=WEIGHTS is for self-reenactment without training, emotions and transfer; "
            "elsewhere give weights with --set renderer.weights=PATH."
        )
    if options.target_training is not None and options.protocol != "self":
        raise ConfigError("--target-training is for self-reenactment.")
    if options.body and options.protocol != "self":
        raise ConfigError("--body is for self-reenactment.")
    if options.ab is not None and options.protocol != "self":
        raise ConfigError("--ab shows the true frames, which only self-reenactment has.")
    if (options.rating or options.labelled) and not emotions:
        raise ConfigError("--rating and --labelled are for --protocol emotions.")
    if options.sheet is not None and options.protocol == "wild":
        raise ConfigError("--protocol wild renders nothing; leave out --sheet.")


def _stored(reports: Sequence[Report], asked: Sequence[str]) -> Report | list[Report]:
    """Return the content of the JSON file, see `EvaluationOptions.json_path`."""
    trained = [report for report in reports if fine_tuned.is_trained(report["renderer"])]
    if len(trained) == 1:
        others = [report for report in reports if report is not trained[0]]
        beside = {r["renderer"]: {"clips": r["clips"], "mean": r["mean"]} for r in others}
        return {**trained[0], "beside": beside}
    names = [report["renderer"].removesuffix(" (body)") for report in reports]
    chosen = [
        report
        for report, name in zip(reports, names, strict=True)
        if name in asked or fine_tuned.is_trained(name)
    ]
    return chosen[0] if len(chosen) == 1 else chosen


def format_table(reports: Iterable[Report]) -> str:
    """Return the mean figures as a Markdown table with one line for each renderer.

    Columns without figures are left out; a dash stands for a single missing figure.
    """
    rows = list(reports)
    names = list(dict.fromkeys(name for row in rows for name in row["mean"]))
    names = [n for n in names if any(row["mean"].get(n) is not None for row in rows)]
    lines = [[row["renderer"], *(_cell(n, row["mean"].get(n)) for n in names)] for row in rows]
    return markdown_table(["renderer", *names], lines)


def _cell(name: str, value: float | None) -> str:
    return "–" if value is None else f"{value:.{_DECIMALS.get(name, 3)}f}"


def _chosen(name: str, options: EvaluationOptions, weights: Mapping[str, str]) -> RendererSettings:
    chosen = options.settings.renderer
    return chosen.model_copy(update={"name": name, "weights": weights.get(name, chosen.weights)})


def _tried(settings: RendererSettings) -> Renderer:
    """Make a renderer and let it prepare a plain face, so that missing weights are told now."""
    renderer = load("renderers", settings.name).make(settings)
    points = canonical_face()
    points = transform_points(points, crop_transform(points, _TRIAL_PX))
    grey = np.full((_TRIAL_PX, _TRIAL_PX, 3), 128, np.uint8)
    renderer.prepare(crop_target("trial", grey, points, settings.name))
    return renderer


def _measure_cross(task: _Task, reader: FaceReader) -> _Measured:
    # Imported here because it loads the whole live path.
    from reenact.evaluation.cross_identity import PROTOCOL, run, sheet_columns

    options = task.options
    figures, rows = run(
        task.renderers,
        task.videos,
        options.settings,
        reader,
        limit=options.limit,
        frames=options.frames,
    )
    return _Measured(PROTOCOL, task.names, figures, sheet_columns(task.names), rows)


def _measure_emotions(task: _Task, reader: FaceReader) -> _Measured:
    from reenact.evaluation.emotions import PROTOCOL, run, sheet_columns
    from reenact.evaluation.rating_page import write_rating_page

    options = task.options
    figures, rows = run(
        task.renderers,
        task.videos,
        options.settings.renderer.size,
        reader,
        task.perceptual,
        labelled=options.labelled,
    )
    if options.rating is not None:
        write_rating_page(options.rating, sheet_columns(), rows)
    return _Measured(PROTOCOL, task.names, figures, sheet_columns(), rows)


def _measure_transfer(task: _Task, reader: FaceReader) -> _Measured:
    from reenact.evaluation.transfer import PROTOCOL, run

    figures, columns, rows = run(task.renderers, task.videos, reader, size_px=task.options.size_px)
    return _Measured(PROTOCOL, task.names, figures, columns, rows)


def _measure_wild(task: _Task) -> _Measured:
    from reenact.evaluation.wild import PROTOCOL, run

    settings = task.options.settings
    figures = run(task.videos, settings.fusion, settings.tracking)
    return _Measured(PROTOCOL, [_NO_RENDERER], {_NO_RENDERER: figures}, (), ())


def _measure_trained(task: _Task, reader: FaceReader, share: float) -> _Measured:
    options = task.options
    figures, rows = fine_tuned.run(
        task.names,
        task.videos,
        options.settings,
        reader,
        share=share,
        minutes=options.training_minutes,
        frames=options.frames,
        ab=options.ab,
        body=options.body,
    )
    names = list(figures)
    columns = self_reenactment.sheet_columns(names)
    return _Measured(fine_tuned.protocol(share), names, figures, columns, rows)


def _measure_self(task: _Task, reader: FaceReader) -> _Measured:
    from reenact.progress import progress_bar

    options, renderers = task.options, task.renderers
    figures: dict[str, dict[str, Figures]] = {}
    rows: list[SheetRow] = []
    for video in progress_bar(task.videos, desc="clips", unit="clip"):
        clip = reader.refine_photo(read_clip(video))
        if options.size_px is not None:
            clip = resized(clip, options.size_px)
        shot = self_reenactment.prepare_clip(clip, reader, options.frames, body=options.body)
        true = [np.asarray(shot.clip.images[i]) for i in shot.scored]
        drawn: dict[str, RenderedClip] = {}
        for name, renderer in renderers.items():
            for row, of_row in with_and_without(name, shot).items():
                found, drawn[row] = self_reenactment.score(of_row, name, renderer, reader)
                found |= task.perceptual.compare(row, true, drawn[row].scored)
                figures.setdefault(row, {})[video.stem] = found
        rows += self_reenactment.sheet_rows(shot, list(drawn.values()))
        if options.ab is not None:
            write_side_by_side(options.ab, video.stem, run_columns(shot, drawn))
    columns = self_reenactment.sheet_columns(list(figures))
    return _Measured(self_reenactment.PROTOCOL, list(figures), figures, columns, rows)
