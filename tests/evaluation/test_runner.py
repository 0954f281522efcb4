"""The self-reenactment protocol on a clip made from a portrait in the public domain."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import metrics

from reenact.config import Settings, SmoothingSettings
from reenact.errors import (
    ConfigError,
    NoWeightsError,
    PluginError,
    ReenactError,
    SinkError,
    SourceError,
)
from reenact.evaluation import runner as evaluation
from reenact.evaluation import self_reenactment
from reenact.evaluation.clips import Clip, find_clips, first_frame_target, read_clip
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.metrics import Figures, mean_figures
from reenact.evaluation.runner import _stored
from reenact.expression.emotions import emotion_weights
from reenact.registry import load
from reenact.targets.clip_files import decode_clip, load_landmarks
from reenact.testing.moving_portrait import FRAMES, moving_portrait, write_clip, write_video
from reenact.types import Array
from support.fakes import FakeRenderer

SCIKIT: Any = metrics  # its functions carry no types


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip of a portrait that turns and opens its mouth."""
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder, "portrait__01", *moving_portrait())
    return folder


@pytest.fixture(scope="module")
def reports(clip_folder: Path) -> list[evaluation.Report]:
    folder = clip_folder.parent
    return evaluation.evaluate(
        ["warp"],
        clip_folder,
        evaluation.EvaluationOptions(
            json_path=folder / "warp.json",
            sheet=folder / "sheet.png",
            ab=folder / "ab",
        ),
    )


def test_the_report_has_the_designed_keys(
    reports: list[evaluation.Report], clip_folder: Path
) -> None:
    assert [report["renderer"] for report in reports] == ["copy", "warp"]
    stored = json.loads((clip_folder.parent / "warp.json").read_text())
    assert stored == reports[1]
    assert list(stored) == ["renderer", "data", "protocol", "clips", "mean"]
    assert stored["data"] == str(clip_folder)
    assert stored["protocol"] == "self-reenactment"
    assert list(stored["clips"]) == ["portrait__01"]
    assert set(stored["mean"]) == {
        "psnr", "ssim", "face_psnr", "face_ssim", "mesh_psnr", "sharpness", "face_sharpness",
        "au_error", "mouth_open_error", "akd_px", "tracked", "identity", "consecutive_ssim",
        "consecutive_ssim_true", "flicker",
    }  # fmt: skip


def test_copy_figures_are_those_of_the_decoded_frames(
    reports: list[evaluation.Report], clip_folder: Path
) -> None:
    images = read_clip(clip_folder / "portrait__01.mp4").images
    expected = np.mean(
        [
            SCIKIT.peak_signal_noise_ratio(images[i], images[0], data_range=255)
            for i in range(5, FRAMES, 5)
        ]
    )
    figures = reports[0]["clips"]["portrait__01"]
    assert figures["psnr"] == pytest.approx(expected, rel=1e-9)
    assert figures["consecutive_ssim"] == pytest.approx(1)
    assert figures["flicker"] == 0
    assert figures["tracked"] == 1
    assert figures["identity"] is None or figures["identity"] < 1e-6


def test_the_mesh_figure_looks_inside_the_oval_alone(clip_folder: Path) -> None:
    with FaceReader() as reader:
        prepared = self_reenactment.prepare_clip(
            read_clip(clip_folder / "portrait__01.mp4"), reader, frames=1
        )
    (frame,) = prepared.scored
    true = np.asarray(prepared.clip.images[frame])
    nose, temple = prepared.clip.landmarks[frame, [1, 10], :2].round().astype(int)

    def figures(x: int, y: int) -> Figures:
        spoilt = true.copy()
        spoilt[y - 4 : y + 5, x - 4 : x + 5] ^= 255
        return self_reenactment.compare_pictures(prepared, [spoilt])

    inside, above = figures(*nose), figures(temple[0], temple[1] - 9)
    assert above["mesh_psnr"] == 100
    assert inside["mesh_psnr"] is not None
    assert inside["face_psnr"] is not None
    assert above["face_psnr"] is not None
    assert above["face_psnr"] < 50
    assert inside["mesh_psnr"] < inside["face_psnr"] < 50


def test_a_warp_beats_a_copy(reports: list[evaluation.Report]) -> None:
    copy, warp = (report["mean"] for report in reports)
    assert warp["face_psnr"] > copy["face_psnr"] + 6
    assert warp["face_ssim"] > copy["face_ssim"] + 0.1
    assert warp["akd_px"] < 0.3 * copy["akd_px"]
    assert warp["au_error"] < 0.5 * copy["au_error"]
    assert warp["consecutive_ssim_true"] == copy["consecutive_ssim_true"]
    assert warp["consecutive_ssim_true"] < warp["consecutive_ssim"] < copy["consecutive_ssim"]


def test_the_sheet_is_there_and_bounded(
    reports: list[evaluation.Report], clip_folder: Path
) -> None:
    import cv2

    sheet = cv2.imread(str(clip_folder.parent / "sheet.png"))
    assert sheet is not None
    assert sheet.shape[1] > 6 * 250
    assert max(sheet.shape) <= 2400


def test_several_renderers_give_a_list(clip_folder: Path, tmp_path: Path) -> None:
    evaluation.evaluate(
        ["warp", "copy"],
        clip_folder,
        evaluation.EvaluationOptions(json_path=tmp_path / "all.json", frames=1),
    )
    stored = json.loads((tmp_path / "all.json").read_text())
    assert [report["renderer"] for report in stored] == ["copy", "warp"]


def synthetic(missing: set[int]) -> Clip:
    """Return a grey clip of 40 frames whose landmarks exist but for some frames."""
    points = np.random.default_rng(0).uniform(60, 200, (478, 3)).astype(np.float32)
    landmarks = np.repeat(points[None], 40, axis=0)
    landmarks[list(missing)] = np.nan
    usable = np.array([i for i in range(40) if i not in missing])
    return Clip("grey", np.full((40, 256, 256, 3), 90, np.uint8), landmarks, usable)


def test_frames_without_a_face_are_left_out() -> None:
    with FaceReader() as reader:
        shot = self_reenactment.prepare_clip(synthetic({0, 1, 12, 20}), reader)
    assert shot.reference == 2
    assert shot.scored == (7, 17, 22, 27, 32, 37)  # 12 has no face
    assert shot.run == tuple(range(3, 12))
    assert shot.tracked == (None,) * 6


def test_a_run_is_smoothed_as_the_live_path_smooths_it(clip_folder: Path) -> None:
    """A still portrait whose landmarks tremble: smoothed, it trembles less than half as much, and
    the pictures' own filter has a part in that."""
    first = read_clip(find_clips(clip_folder)[0])
    rng = np.random.default_rng(0)
    points = np.repeat(first.landmarks[first.usable[:1]], FRAMES, axis=0)
    points = (points + rng.normal(0, 0.7, (FRAMES, 1, 3))).astype(np.float32)
    still = Clip("still", np.repeat(first.images[:1], FRAMES, axis=0), points, np.arange(FRAMES))
    with FaceReader() as reader:
        shot = self_reenactment.prepare_clip(still, reader)
    renderer = load("renderers", "warp").make(Settings().renderer)
    renderer.prepare(first_frame_target(still, "warp"))

    def trembling(smoothing: SmoothingSettings | None) -> float:
        run = self_reenactment.render_frames(shot, renderer, shot.run, smoothing)
        return float(np.abs(np.diff(np.stack(run).astype(float), axis=0)).mean())

    smoothed = trembling(SmoothingSettings())
    assert smoothed < 0.5 * trembling(None)
    assert smoothed < 0.85 * trembling(SmoothingSettings(picture_min_cutoff=60))


def test_generators_are_driven_by_the_emotion_that_a_frame_shows(clip_folder: Path) -> None:
    """As live: the emotion is that of the frame's action units, against the reference."""
    clip = read_clip(find_clips(clip_folder)[0])
    with FaceReader() as reader:
        shot = self_reenactment.prepare_clip(clip, reader)
    renderer = FakeRenderer()
    renderer.prepare(first_frame_target(clip, "copy"))
    self_reenactment.render_frames(shot, renderer, shot.scored)
    for drive in renderer.drives:
        units = drive.expression.action_units
        np.testing.assert_array_equal(drive.emotion, emotion_weights(units))
    assert np.ptp([drive.emotion for drive in renderer.drives], axis=0).max() > 0.2


def test_faces_that_are_not_found_give_no_figure_rather_than_zero() -> None:
    with FaceReader() as reader:
        shot = self_reenactment.prepare_clip(synthetic(set()), reader, frames=3)
        renderer = load("renderers", "copy").make(Settings().renderer)
        figures, drawn = self_reenactment.score(shot, "copy", renderer, reader)
    assert len(drawn.scored) == 3
    assert figures["psnr"] == 100
    assert figures["akd_px"] is None
    assert figures["au_error"] is None
    assert figures["tracked"] is None


def test_pictures_that_are_no_sequence_are_measured_without_temporal_figures(
    clip_folder: Path,
) -> None:
    clip = replace(read_clip(find_clips(clip_folder)[0]), unrelated=True)
    with FaceReader() as reader:
        shot = self_reenactment.prepare_clip(clip, reader, frames=3)
        renderer = load("renderers", "copy").make(Settings().renderer)
        figures, drawn = self_reenactment.score(shot, "copy", renderer, reader)
    assert (len(drawn.scored), len(drawn.run)) == (3, 0)
    assert figures["psnr"] is not None
    assert figures["flicker"] is figures["consecutive_ssim"] is None


@pytest.mark.parametrize("protocol", ["cross", "emotions", "transfer", "wild"])
@pytest.mark.parametrize("option", [{"target_training": 0.6}, {"body": True}])
def test_options_of_self_reenactment_are_refused_elsewhere(
    protocol: Any, option: dict[str, Any], tmp_path: Path
) -> None:
    options = evaluation.EvaluationOptions(protocol=protocol, **option)
    with pytest.raises(ConfigError, match="is for self-reenactment"):
        evaluation.evaluate(["warp"], tmp_path, options)


@pytest.mark.parametrize("names", [["warp_unet"], ["warp_unet", "fan2023"]])
def test_the_file_holds_every_trained_row(names: list[str]) -> None:
    every = [f"{name}{row}" for row in ("", " (trained)") for name in names]
    rows = [f"{row}{body}" for row in every for body in ("", " (body)")]
    reports: list[Any] = [{"renderer": row, "clips": {}, "mean": {}} for row in rows]
    stored: Any = _stored(reports, names)
    if isinstance(stored, dict):
        assert stored["renderer"] == "warp_unet (trained)"
        kept = [*stored["beside"], stored["renderer"]]
    else:
        kept = [one["renderer"] for one in stored]
    assert sorted(kept) == sorted(rows)


def test_mean_leaves_out_what_was_not_measured() -> None:
    mean = mean_figures([{"a": 1.0, "b": None, "c": None}, {"a": 3.0, "b": 5.0, "c": None}])
    assert mean == {"a": 2.0, "b": 5.0, "c": None}


def test_the_target_is_the_first_frame_with_a_face() -> None:
    clip = synthetic({0})
    clip.images[1] = 7
    target = first_frame_target(clip, "warp")
    assert (target.references == 7).all()
    assert target.references.shape == (1, 256, 256, 3)
    assert (target.neutral == clip.landmarks[1]).all()
    assert target.crop_to_plate.tolist() == [[1, 0, 0], [0, 1, 0]]


def test_the_table_is_markdown_with_dashes_for_missing_figures() -> None:
    rows: list[evaluation.Report] = [
        {"renderer": "copy", "mean": {"psnr": 18.066, "ssim": 0.6129, "identity": None}},
        {"renderer": "warp", "mean": {"psnr": None, "ssim": 0.75, "identity": None}},
    ]
    assert evaluation.format_table(rows).splitlines() == [
        "| renderer | psnr | ssim |",
        "| --- | ---: | ---: |",
        "| copy | 18.07 | 0.613 |",
        "| warp | – | 0.750 |",
    ]


def store(archive: Path, **arrays: Array) -> None:
    np.savez(archive, **arrays)


DAMAGE: list[tuple[str, Callable[[Path, Path, Array], object]]] = [
    ("There is no folder", lambda video, npz, points: shutil.rmtree(video.parent)),
    ("has no clips", lambda video, npz, points: video.unlink()),
    (r"portrait__01\.npz is missing", lambda video, npz, points: npz.unlink()),
    ("not a landmark file", lambda video, npz, points: npz.write_text("not an archive")),
    ("not a landmark file", lambda video, npz, points: npz.write_bytes(npz.read_bytes()[:2000])),
    ("not a landmark file", lambda video, npz, points: npz.write_bytes(b"")),
    ("not a landmark file", lambda video, npz, points: store(npz, points=points)),
    ("damaged, or no video", lambda video, npz, points: video.write_text("not a video")),
    ("31 frames but landmarks for 28", lambda _, npz, points: store(npz, landmarks=points[:-3])),
    (r"\(31, 468, 3\)", lambda _, npz, points: store(npz, landmarks=points[:, :468])),
    (
        "fewer than two frames with a face",
        lambda _, npz, points: store(npz, landmarks=np.full_like(points, np.nan)),
    ),
]


@pytest.mark.parametrize(("sentence", "damage"), DAMAGE)
def test_bad_clips_are_refused_in_one_sentence(
    sentence: str,
    damage: Callable[[Path, Path, Array], object],
    clip_folder: Path,
    tmp_path: Path,
) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "clips")
    video, archive = folder / "portrait__01.mp4", folder / "portrait__01.npz"
    damage(video, archive, load_landmarks(archive))
    with pytest.raises(SourceError, match=sentence) as caught:
        [read_clip(video) for video in find_clips(folder)]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", ["self", "emotions"])
@pytest.mark.parametrize("bad", ["landmarks", "video", "shape"])
def test_a_bad_clip_is_refused_before_any_is_drawn(
    protocol: evaluation.Protocol,
    bad: str,
    clip_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "clips")
    for suffix in (".mp4", ".npz"):
        shutil.copy(folder / f"portrait__01{suffix}", folder / f"z__01{suffix}")
    video, archive = folder / "z__01.mp4", folder / "z__01.npz"
    if bad == "landmarks":
        store(archive, landmarks=np.zeros((31, 68, 2), np.float32))
    elif bad == "video":
        video.write_bytes(video.read_bytes()[:3000])
    else:
        write_video(video, moving_portrait()[0][:, :, :200])

    def drawn(*_: object) -> None:
        raise AssertionError("it has begun to draw")

    monkeypatch.setattr("reenact.rendering.baselines.CopyRenderer.render", drawn)
    sentence = {
        "landmarks": r"z__01\.npz holds",
        "video": r"z__01\.mp4 is damaged, or no video",
        "shape": r"z__01\.mp4 is not square",
    }
    with pytest.raises(SourceError, match=sentence[bad]):
        evaluation.evaluate(["copy"], folder, evaluation.EvaluationOptions(protocol=protocol))


@pytest.mark.parametrize("options", [{}, {"protocol": "cross"}, {"target_training": 0.5}])
@pytest.mark.parametrize(
    ("renderer", "weights", "message"),
    [
        ("wrap", "", "Did you mean warp"),
        ("warp_unet", "none.safetensors", r"no model file none\.safetensors"),
    ],
)
def test_a_renderer_that_cannot_draw_is_refused_before_any_clip_is_read(
    renderer: str,
    weights: str,
    message: str,
    options: dict[str, Any],
    tmp_path: Path,
) -> None:
    settings = Settings()
    settings.renderer.weights = weights
    with pytest.raises(ReenactError, match=message):  # the folder, which is empty, comes next
        evaluation.evaluate(
            ["copy", renderer], tmp_path, evaluation.EvaluationOptions(settings=settings, **options)
        )
    if not options:
        with pytest.raises(ReenactError, match="no model file other"):
            evaluation.evaluate(["warp_unet=other"], tmp_path, evaluation.EvaluationOptions())


@pytest.mark.parametrize("protocol", ["self", "cross", "emotions", "transfer"])
def test_a_renderer_without_weights_is_refused_before_anything_is_measured(
    protocol: evaluation.Protocol, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: object) -> None:
        raise AssertionError("a face is read")

    monkeypatch.setattr(FaceReader, "track", measured)
    monkeypatch.setattr(FaceReader, "refine", measured)
    with pytest.raises(NoWeightsError, match="reenact train configs/train/fan2023"):
        evaluation.evaluate(
            ["fan2023"], clip_folder, evaluation.EvaluationOptions(protocol=protocol)
        )


def test_unknown_renderer_and_unwritable_report_are_refused(
    clip_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(PluginError, match="warp"):
        evaluation.evaluate(["wrap"], clip_folder, evaluation.EvaluationOptions())
    with pytest.raises(SinkError, match="there is no folder"):
        evaluation.evaluate(
            ["copy"],
            clip_folder,
            evaluation.EvaluationOptions(json_path=tmp_path / "no" / "a.json"),
        )
    with pytest.raises(ConfigError, match="Two results would be written"):
        evaluation.evaluate(
            ["copy"],
            clip_folder,
            evaluation.EvaluationOptions(
                json_path=tmp_path / "a.json", sheet=tmp_path / "." / "a.json"
            ),
        )
    assert not list(tmp_path.iterdir())


def test_the_video_shows_the_run_beside_the_true_frames(
    reports: list[evaluation.Report], clip_folder: Path
) -> None:
    del reports
    frames = decode_clip(clip_folder.parent / "ab" / "portrait__01.mp4")
    clip = read_clip(clip_folder / "portrait__01.mp4")
    assert len(frames) == FRAMES - 1
    columns = 4  # reference, true, copy, warp
    assert frames.shape[2] == pytest.approx(columns * 256, abs=40)
    tiles = [frames[-1][44:300, 4 + n * 260 : 260 + n * 260] for n in range(columns)]
    reference, true, copy, warp = (tile.astype(float) for tile in tiles)
    assert np.abs(reference - clip.images[0]).mean() < 3
    assert np.abs(true - clip.images[-1]).mean() < 3
    assert np.abs(copy - reference).mean() < 3
    assert np.abs(warp - true).mean() < 0.8 * np.abs(copy - true).mean()


def test_side_by_side_videos_need_true_frames_and_a_folder(
    clip_folder: Path, tmp_path: Path
) -> None:
    def run(ab: Path, protocol: evaluation.Protocol = "self") -> None:
        evaluation.evaluate(
            ["copy"],
            clip_folder,
            evaluation.EvaluationOptions(protocol=protocol, ab=ab),
        )

    with pytest.raises(ConfigError, match="only self-reenactment has"):
        run(tmp_path / "ab", "cross")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SinkError, match="file is a file; name a folder"):
        run(tmp_path / "file")
    with pytest.raises(ConfigError, match="the clips themselves"):
        run(clip_folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_report_that_cannot_be_written_at_the_end_does_not_lose_the_figures(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: object) -> None:
        raise SinkError(f"{path} cannot be written: the disk is full.")

    monkeypatch.setattr(evaluation, "write_json", full)
    shown: list[evaluation.Report] = []
    options = evaluation.EvaluationOptions(json_path=tmp_path / "a.json", frames=1)
    with pytest.raises(SinkError, match="the disk is full"):
        evaluation.evaluate(["copy"], clip_folder, options, shown.extend)
    assert [report["renderer"] for report in shown] == ["copy", "warp"]


def test_what_cannot_be_measured_is_refused(clip_folder: Path) -> None:
    cross = evaluation.EvaluationOptions(protocol="cross")
    with pytest.raises(SourceError, match="clips of two people"):
        evaluation.evaluate(["warp"], clip_folder, cross)
    for twice in (["warp_unet=a", "warp_unet=b"], ["warp_unet", "warp_unet=b"]):
        with pytest.raises(ConfigError, match="named twice with different weights"):
            evaluation.evaluate(twice, clip_folder, evaluation.EvaluationOptions())
