"""Landmarks placed by hand: files of them, and the 478 that follow from a few."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reenact.errors import TargetError
from reenact.face.geometry import estimate_pose
from reenact.face.topology import N_LANDMARKS
from reenact.targets.manual_landmarks import POINTS, REQUIRED, fit_landmarks, read_manual_landmarks
from support.faces import portrait_landmarks


def named(names: tuple[str, ...] | None = None) -> dict[str, tuple[float, float]]:
    """The portrait's own points, as somebody might place them."""
    points = portrait_landmarks().points
    return {
        name: (float(points[POINTS[name], 0]), float(points[POINTS[name], 1]))
        for name in (names or tuple(POINTS))
    }


@pytest.mark.parametrize(("names", "mean_iod"), [(None, 0.06), (REQUIRED, 0.11)])
def test_few_points_give_the_whole_face(names: tuple[str, ...] | None, mean_iod: float) -> None:
    truth = portrait_landmarks().points
    fitted = fit_landmarks(named(names))
    assert fitted.shape == (N_LANDMARKS, 3)
    iod = estimate_pose(truth).scale
    distances = np.linalg.norm((fitted - truth)[:, :2], axis=1) / iod
    assert distances.mean() < mean_iod
    for name in names or POINTS:
        assert distances[POINTS[name]] < 0.03, name
    assert abs(np.ptp(fitted[:, 2]) / np.ptp(truth[:, 2]) - 1) < 0.5


def test_a_wider_turned_face_is_met(tmp_path: Path) -> None:
    """An animal's: eyes far apart, a short chin, the head tilted."""
    turn = np.radians(20)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = np.mean(list(named().values()), axis=0)
    moved = {
        name: tuple((rotation @ ((np.array(place) - middle) * (1.5, 0.8)) + middle).tolist())
        for name, place in named().items()
    }
    path = tmp_path / "animal.json"
    path.write_text(json.dumps({"points": moved}))
    fitted = read_manual_landmarks(path)
    for name, place in moved.items():
        assert np.abs(fitted[POINTS[name], :2] - place).max() < 2.5, name


def test_files_of_each_kind(tmp_path: Path) -> None:
    few = "\n".join(f"{name} = [{x}, {y}]" for name, (x, y) in named(REQUIRED).items())
    (tmp_path / "few.toml").write_text(f"[points]\n{few}\n")
    assert np.allclose(read_manual_landmarks(tmp_path / "few.toml"), fit_landmarks(named(REQUIRED)))
    points = portrait_landmarks().points
    np.savez(tmp_path / "all.npz", landmarks=points)
    assert np.array_equal(read_manual_landmarks(tmp_path / "all.npz"), points)
    (tmp_path / "flat.json").write_text(json.dumps({"landmarks": points[:, :2].tolist()}))
    flat = read_manual_landmarks(tmp_path / "flat.json")
    marked = (tmp_path / "flat.json").read_text("utf-8")
    (tmp_path / "flat.json").write_text(marked, "utf-8-sig")
    assert np.array_equal(read_manual_landmarks(tmp_path / "flat.json"), flat)
    assert np.allclose(flat[:, :2], points[:, :2])
    assert np.corrcoef(flat[:, 2], points[:, 2])[0, 1] > 0.9


def line() -> str:
    """Somebody clicks along a line."""
    return "[points]\n" + "\n".join(
        f"{name} = [{9 * i}, {5 * i}]" for i, name in enumerate(REQUIRED)
    )


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.toml", None, "There is no file"),
        ("none.npz", None, "There is no file"),
        ("text.toml", "left eye: 3", r"^\S+text\.toml is not a readable TOML file: "),
        ("text.json", "{", "not a readable file of landmarks"),
        ("list.json", "[1, 2]", "not a readable file of landmarks"),
        ("text.npz", "points", r"^\S+text\.npz is not a landmark file"),
        ("empty.toml", "", "neither `points` nor `landmarks`; write the points under"),
        ("odd.toml", "[points]\nleft_ear = [1, 2]", "There is no point 'left_ear'"),
        ("few.toml", "[points]\nchin = [1, 2]", "missing: left_eye_outer"),
        ("three.toml", "[points]\nchin = [1, 2, 3]", r"chin is \[1, 2, 3\]; write \[x, y\] in px"),
        ("one.toml", "[points]\nchin = 7", r"chin is 7; write \[x, y\] in px"),
        ("words.toml", "[points]\nchin = ['a', 2]", r"chin is \['a', 2\]; write \[x, y\] in px"),
        ("far.toml", "[points]\nchin = [1e9, 2]", "outside any picture"),
        ("empty.npz", "", "not a landmark file"),
        ("line.toml", line(), "on one line"),
        ("one.json", json.dumps({"landmarks": [[9, 9, 0]] * 478}), "on one line"),
        ("short.json", '{"landmarks": [[1, 2], [3, 4]]}', r"\(2, 2\) landmarks"),
    ],
)
def test_unusable_landmark_files_are_refused(
    tmp_path: Path, name: str, content: str | None, sentence: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(TargetError, match=sentence):
        read_manual_landmarks(path)


def test_a_damaged_landmark_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.npz"
    np.savez(path, landmarks=portrait_landmarks().points)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(TargetError, match="not a landmark file"):
        read_manual_landmarks(path)


def test_coinciding_points_are_refused() -> None:
    points = named() | {"chin": named()["nose_tip"]}
    with pytest.raises(TargetError, match="same place"):
        fit_landmarks(points)
