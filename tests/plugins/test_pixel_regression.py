"""Pixel regression: its equations, what it draws, and its model without torch.

That it can be trained, exported and driven is what the contract tests ask of every renderer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reenact_pixel_regression import portable
from reenact_pixel_regression.alignment import INDEX, SIZE_PX, chosen, frame_points, to_frame
from reenact_pixel_regression.cross_validation import main as cross_validation
from reenact_pixel_regression.exporting import export
from reenact_pixel_regression.regression import (
    changed_share,
    masked_ridge,
    pixel_kernel,
    pixel_ridge,
    ridge_duals,
)

from reenact.cli.main import main
from reenact.config import RendererSettings
from reenact.errors import ConfigError, ReenactError
from reenact.expression.emotions import EMOTIONS
from reenact.face.geometry import canonical_face
from reenact.registry import import_object, load
from reenact.targets.clip_files import decode_clip
from reenact.testing.moving_portrait import moving_portrait, write_video
from reenact.testing.portrait import drive, portrait_target
from reenact.testing.weights import people, train_two_steps
from reenact.types import Array, Drive, Image
from support.program import repository

RNG = np.random.default_rng(23)


def ridge_by_hand(design: Any, targets: Any, penalty: float) -> Any:
    """Solve ridge regression as least squares with a row of √λ for each weight."""
    more = np.sqrt(penalty) * np.eye(design.shape[1])
    rows = np.concatenate([design, more])
    right = np.concatenate([targets, np.zeros((len(more), *targets.shape[1:]))])
    return np.linalg.lstsq(rows, right, rcond=None)[0]


def test_global_ridge_is_eq_2() -> None:
    x, t = RNG.random((5, 8)), RNG.random((5, 6))
    penalty = 0.4
    primal = (np.linalg.inv(x.T @ x + penalty * np.eye(8)) @ x.T @ t).T
    weights = ridge_duals(x, t, penalty).T @ x
    assert np.allclose(weights, primal)
    assert np.allclose(weights.T, ridge_by_hand(x, t, penalty))


def test_pixel_ridge_is_eq_6_at_every_pixel() -> None:
    x, t = RNG.random((7, 4, 3, 3)).astype(np.float32), RNG.random((7, 4, 3, 3)).astype(np.float32)
    w, b = pixel_ridge(x, t, 0.4)
    w, b, flat_x, flat_t = w.ravel(), b.ravel(), x.reshape(7, -1), t.reshape(7, -1)
    for place in range(len(w)):
        own, wanted = flat_x[:, place], flat_t[:, place]
        by_hand = ridge_by_hand(np.stack([own, np.ones(7)], axis=1), wanted, 0.4)
        assert np.allclose([w[place], b[place]], by_hand, atol=1e-6)
    # One pair, worked out by hand: x = 1, t = 1, λ = 1 gives w = b = 1/3.
    one = np.ones((1, 1), np.float32)
    assert np.allclose(pixel_ridge(one, one, 1.0), 1 / 3)


def test_pixel_kernel_is_eq_15() -> None:
    x, t = RNG.random((6, 5)).astype(np.float32), RNG.random((6, 5)).astype(np.float32)
    penalty, width, levels = 0.1, 0.3, np.linspace(0, 1, 4, dtype=np.float32)
    table = pixel_kernel(x, t, penalty, width, levels)
    for p in range(5):
        kernel = np.exp(-((x[:, p, None] - x[None, :, p]) ** 2) / (2 * width**2))
        inverse = np.linalg.inv(kernel + penalty * np.eye(6))
        for level, value in zip(levels, table[:, p], strict=True):
            kappa = np.exp(-((x[:, p] - level) ** 2) / (2 * width**2))
            assert np.isclose(value, t[:, p] @ inverse @ kappa, atol=1e-5)


def test_only_pixels_that_an_expression_changes_take_part() -> None:
    """One corner grows darker in every pair by 30 levels; the light of each pair is another."""
    x = RNG.random((40, 32, 32, 3)).astype(np.float32)
    light = RNG.normal(0, 0.2, (40, 1, 1, 1)).astype(np.float32)
    t = x + light
    t[:, :12, :12] -= 30 / 255
    share = changed_share(x, t, 10)
    assert share[2:6, 2:6].min() == 1
    assert share[20:, 20:].max() == 0
    assert changed_share(x, t, 100).max() == 0


def test_masked_regression_sees_its_patch_alone() -> None:
    x, t = RNG.random((9, 1, 6, 6)).astype(np.float32), RNG.random((9, 1, 6, 6)).astype(np.float32)
    query = RNG.random((1, 1, 6, 6)).astype(np.float32)
    drawn = masked_ridge(x, t, 0.4, 1, query)
    patch = np.concatenate([x[:, 0, 1:4, 2:5].reshape(9, 9), np.ones((9, 1))], axis=1)
    weights = ridge_by_hand(patch, t[:, 0, 2, 3], 0.4)
    assert np.isclose(drawn[0, 0, 2, 3], [*query[0, 0, 1:4, 2:5].ravel(), 1] @ weights, atol=1e-5)
    query[0, 0, 5, 5] += 0.5
    assert masked_ridge(x, t, 0.4, 1, query)[0, 0, 2, 3] == drawn[0, 0, 2, 3]
    w, b = pixel_ridge(x, t, 0.4)
    assert np.allclose(masked_ridge(x, t, 0.4, 0, query), query * w + b, atol=1e-5)


@pytest.mark.parametrize("levels", [2, 5])
def test_a_table_holds_the_output_of_each_of_256_values(levels: int) -> None:
    knots = RNG.random((levels, 4, 4, 3)).astype(np.float32) * 1.4 - 0.2
    table = portable.tabulate(knots)
    picture = RNG.integers(0, 256, (4, 4, 3), np.uint8)
    drawn = portable.look_up(table, picture)
    places = np.linspace(0, 255, levels)
    for column, value, output in zip(
        knots.reshape(levels, -1).T, picture.ravel(), drawn.ravel(), strict=True
    ):
        exact = np.interp(value, places, column) * 255
        assert abs(np.clip(exact, 0, 255) - output) <= 0.5001


def test_faces_coincide_in_the_frame() -> None:
    """A picture of landmarks: each is where the frame has it, whatever the face's shape."""
    points = np.array(canonical_face() * [70, 60, 60] + [150, 140, 0], np.float32)
    points[61, 0] -= 6  # a wider mouth
    picture = np.zeros((300, 300, 3), np.uint8)
    for x, y in np.round(points[[61, 33, 263]][:, :2]).astype(int):
        picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    face = to_frame(picture, points)
    frame = frame_points()
    for landmark in (61, 33, 263):
        x, y = np.round(frame[INDEX.index(landmark)]).astype(int)
        assert face[y, x].min() > 100
    assert (face > 100).mean() < 0.01


def test_neutral_is_the_photo_and_intensity_blends() -> None:
    target = portrait_target(256)
    renderer = load("renderers", "pixel_regression").make(RendererSettings(name="pixel_regression"))
    renderer.prepare(target)

    def drawn(name: str, intensity: float) -> Image:
        emotion = np.eye(len(EMOTIONS), dtype=np.float32)[EMOTIONS.index(name)]
        asked: Drive = replace(drive(target.neutral), emotion=emotion, intensity=intensity)
        return renderer.render(asked)

    photo = target.references[0]
    assert np.array_equal(renderer.render(drive(target.neutral)), photo)
    assert np.array_equal(drawn("neutral", 1.0), photo)
    assert np.array_equal(drawn("happy", 0.0), photo)
    full = drawn("happy", 1.0).astype(int) - photo
    half = drawn("happy", 0.5).astype(int) - photo
    inside = (np.abs(full) > 0) & (drawn("happy", 1.0) > 0) & (drawn("happy", 1.0) < 255)
    assert np.abs(half - full / 2)[inside].max() <= 1
    mouth = np.round(target.neutral[14, :2]).astype(int)
    assert np.abs(full[mouth[1] - 8 : mouth[1] + 8, mouth[0] - 20 : mouth[0] + 20]).mean() > 8
    corners = full[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert not corners.any()


def test_it_is_driven_live_by_an_emotion(tmp_path: Path) -> None:
    """`drive.emotion` is what keys 1 to 8 set."""
    images, _ = moving_portrait()
    clip = tmp_path / "actor.mp4"
    write_video(clip, images[:16])
    drawn = {}
    for emotion in ("neutral", "surprised"):
        out = tmp_path / f"{emotion}.mp4"
        words = ["--source", f"video:{clip}", "--target", "astronaut", "--sink", f"file:{out}"]
        words += ["--set", "renderer.name=pixel_regression", "--set", f"drive.emotion={emotion}"]
        assert main(["live", *words]) == 0
        drawn[emotion] = decode_clip(out)[-1].astype(int)
    assert np.abs(drawn["surprised"] - drawn["neutral"]).max() > 40


@pytest.mark.slow
def test_training_again_gives_the_same_weights(tmp_path: Path) -> None:
    from reenact_pixel_regression.knots import load_knots

    settings = 'batch_size = 2\nmethod = "kernel"\nlevels = 5\nwidth = 0.3\n'
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = (
        load_knots(train_two_steps("pixel_regression", tmp_path / name, settings))
        for name in ("a", "b")
    )
    assert one.shape == (7, 5, SIZE_PX, SIZE_PX, 3)
    assert np.array_equal(one, two)
    assert np.abs(one[EMOTIONS.index("surprised") - 1] - one[0] * 0 - _straight(5)).max() > 0.05


def test_it_learns_from_one_fold_and_measures_another(tmp_path: Path) -> None:
    from reenact_pixel_regression.training import build_recipe

    train = str(people() / "train")
    folds = tmp_path / "folds.json"
    folds.write_text(json.dumps({"folds": [["mirror"], ["portrait"]]}))
    recipe = build_recipe({"train": train, "folds": str(folds), "held_out_fold": 1})
    shown = [
        {pair.person for found in pairs.values() for pair in found}
        for pairs in (recipe.learned, recipe.held_out)
    ]
    assert shown == [{"mirror"}, {"portrait"}]
    with pytest.raises(ReenactError, match="share people: mirror, portrait"):
        build_recipe({"train": train, "val": train})
    with pytest.raises(ConfigError, match=r"There is no folder nowhere; set settings\.val"):
        build_recipe({"train": train, "val": "nowhere"})


def test_the_exported_model_runs_where_torch_cannot_be_imported(tmp_path: Path) -> None:
    lines = list(export(tmp_path, "onnx", 128))
    assert len(lines) == 2
    told = json.loads((tmp_path / "export.json").read_text(encoding="utf-8"))
    model, script = tmp_path / next(iter(told["networks"])), tmp_path / told["script"]
    assert model.stat().st_size < 900_000
    target = portrait_target(256)
    np.save(tmp_path / "photo.npy", target.references[0])
    np.save(tmp_path / "points.npy", target.landmarks[0])
    blocked = "import sys; sys.modules.update(dict.fromkeys(('torch', 'cv2', 'scipy', 'reenact')))"
    words = [str(model), str(tmp_path / "photo.npy"), str(tmp_path / "points.npy")]
    words += ["happy", "1.0", str(tmp_path / "out.npy")]
    code = f"{blocked}; sys.argv[1:] = {words!r}; import runpy; " + (
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=120)
    alone = np.load(tmp_path / "out.npy").astype(int)
    renderer = load("renderers", "pixel_regression").make(RendererSettings(name="pixel_regression"))
    renderer.prepare(target)
    emotion = np.eye(len(EMOTIONS), dtype=np.float32)[EMOTIONS.index("happy")]
    live = renderer.render(replace(drive(target.neutral), emotion=emotion))
    assert np.abs(alone - live).max() <= 6  # 8 bits a knot
    assert np.abs(alone - live).mean() < 0.5


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("model.npz photo.npy points.npy joyful 1.0 out.npy", "has no emotion 'joyful', but angry"),
        ("model.npz nowhere.npy points.npy happy 1.0 out.npy", "nowhere.npy"),
        ("model.npz photo.npy", "Give MODEL.npz PHOTO.npy"),
    ],
)
def test_the_exported_script_tells_a_mistake_in_a_sentence(
    words: str, told: str, tmp_path: Path
) -> None:
    list(export(tmp_path, "onnx", 128))
    (tmp_path / "pixel_regression.npz").rename(tmp_path / "model.npz")
    target = portrait_target(64)
    np.save(tmp_path / "photo.npy", target.references[0])
    np.save(tmp_path / "points.npy", target.landmarks[0])
    command = [sys.executable, "pixel_regression.py", *words.split()]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_comparison_on_folds_tells_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folds = tmp_path / "folds.json"
    assert cross_validation([str(tmp_path), str(folds)]) == 2
    assert "folds.json is not a file of folds" in capsys.readouterr().err
    folds.write_text('{"folds": [["a"], ["b"]]}')
    assert cross_validation([str(tmp_path / "nowhere"), str(folds)]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_it_may_be_trained_by_the_file_beside_it() -> None:
    from reenact_pixel_regression.training import PixelRegressionTraining

    from reenact.training.people import read_settings
    from reenact.training.recipes import read_training_file

    path = repository() / "plugins" / "reenact_pixel_regression" / "pixel_regression.toml"
    file = read_training_file(path)
    read_settings(PixelRegressionTraining, file.settings)
    spec = load("renderers", file.recipe)
    assert spec.recipe is not None
    assert callable(import_object(spec.recipe))
    assert len(chosen(canonical_face())) == len(INDEX)


def _straight(levels: int) -> Array:
    return np.linspace(0, 1, levels, dtype=np.float32)[:, None, None, None]
