"""Landmarks placed by hand: files of them, and the 478 that follow from a few."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.errors import TargetError
from reenact.face.geometry import Triangles, estimate_pose, to_face_frame
from reenact.face.regions import LID_INDEX
from reenact.face.topology import (
    CHIN,
    EYE_LEFT,
    EYE_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    LIPS_INNER,
    N_LANDMARKS,
    N_SKIN,
)
from reenact.rendering.head_mesh import head_mesh
from reenact.targets.manual_landmarks import (
    POINTS,
    REQUIRED,
    Points,
    fit_landmarks,
    named_points,
    read_manual_landmarks,
)
from reenact.types import Array
from support.faces import portrait_landmarks


def named(names: tuple[str, ...] | None = None) -> dict[str, tuple[float, float]]:
    """The portrait's own points, as somebody might place them."""
    points = named_points(portrait_landmarks().points)
    return {name: points[name] for name in names or POINTS}


def read(path: Path) -> Points:
    points = read_manual_landmarks(path)
    assert not isinstance(points, np.ndarray)
    return points


def placed(path: Path) -> Array:
    landmarks = read_manual_landmarks(path)
    assert isinstance(landmarks, np.ndarray)
    return landmarks


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
    fitted = fit_landmarks(read(path))
    for name, place in moved.items():
        assert np.abs(fitted[POINTS[name], :2] - place).max() < 2.5, name


def test_a_long_nose_gives_no_long_forehead() -> None:
    """An animal's nose and mouth are far below its eyes; of its forehead nothing is known."""
    points = {name: named()[name] for name in REQUIRED}
    eyes = np.mean([place for name, place in points.items() if "eye" in name], axis=0)
    long = {
        name: (x, y if "eye" in name else eyes[1] + 2 * (y - eyes[1]))
        for name, (x, y) in points.items()
    }
    usual, fitted = fit_landmarks(points), fit_landmarks(long)
    heights = [eyes[1] - face[POINTS["forehead"], 1] for face in (usual, fitted)]
    assert heights[1] < 1.8 * heights[0]
    assert fitted[POINTS["left_brow"], 1] > fitted[POINTS["forehead"], 1]


OUTLINE = ("left_eye_outer", "left_eye_inner", "left_eye_top", "left_eye_bottom")


def large_eye(factor: float) -> dict[str, tuple[float, float]]:
    """The ends of the portrait's eye on the left, `factor` times as far from its pupil."""
    points = portrait_landmarks().points[:, :2]
    pupil = points[POINTS["left_pupil"]]
    places = {name: points[POINTS[name]] - pupil for name in OUTLINE}
    drawn = {name: (pupil + factor * place).tolist() for name, place in places.items()}
    return {name: (x, y) for name, (x, y) in drawn.items()}


def test_a_few_points_correct_a_tracked_face() -> None:
    """A drawn eye is much larger than a tracker finds it."""
    tracked = portrait_landmarks().points
    iod = estimate_pose(tracked).scale
    drawn = large_eye(2.2)
    fitted = fit_landmarks(drawn, tracked)
    assert np.array_equal(fitted[:, 2], tracked[:, 2])
    moved = np.linalg.norm((fitted - tracked)[:, :2], axis=1) / iod
    outline = fitted[list(EYE_RIGHT), :2]
    for name, place in drawn.items():
        assert abs(cv2.pointPolygonTest(outline[:, None], place, True)) / iod < 0.02, name
    for others in (EYE_LEFT, LIPS_INNER, (CHIN,)):
        assert moved[list(others)].max() < 0.02
    # The outline is round, and the skin around it is pushed aside without folding.
    assert cv2.isContourConvex(outline[:, None])
    is_face = head_mesh().triangles.max(axis=1) < N_SKIN
    before, after = (areas(face, head_mesh().triangles[is_face]) for face in (tracked, fitted))
    large = np.abs(before) > 0.0005 * iod**2
    assert (before * after > 0)[large].all()


def areas(face: Array, triangles: Triangles) -> Array:
    (x, y), corners = face[:, :2].T, triangles.T
    a, b, c = corners
    return np.asarray((x[b] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[b] - y[a]))


def test_the_lids_of_a_slanted_eye_meet() -> None:
    """A cat's eye, whose outer corner is far above the inner one."""
    tracked = portrait_landmarks().points
    drawn = large_eye(2.2)
    x, y = drawn["left_eye_outer"]
    fitted = fit_landmarks(drawn | {"left_eye_outer": (x, y - 20)}, tracked)
    shape = to_face_frame(fitted, estimate_pose(fitted))
    upper, lower = shape[LID_INDEX[: len(LID_INDEX) // 2]].swapaxes(0, 1)
    aside, apart = np.abs((lower - upper)[:, :2]).T
    assert (aside < 0.5 * apart).all()


def test_an_iris_is_placed_by_its_pupil_and_edge() -> None:
    tracked = portrait_landmarks().points
    x, y = (tracked[POINTS["left_pupil"], :2] + (3, -2)).tolist()
    fitted = fit_landmarks({"left_pupil": (x, y), "left_iris_edge": (x + 9, y)}, tracked)
    np.testing.assert_allclose(fitted[IRIS_RIGHT[0], :2], (x, y), atol=1e-3)
    reach = np.hypot(*(fitted[list(IRIS_RIGHT[1:]), :2] - (x, y)).T)
    np.testing.assert_allclose(reach, 9, atol=1e-3)
    np.testing.assert_allclose(fitted[list(EYE_RIGHT)], tracked[list(EYE_RIGHT)], atol=0.2)
    np.testing.assert_allclose(fitted[list(IRIS_LEFT)], tracked[list(IRIS_LEFT)], atol=0.2)


def test_files_of_each_kind(tmp_path: Path) -> None:
    few = "\n".join(f"{name} = [{x}, {y}]" for name, (x, y) in named(REQUIRED).items())
    (tmp_path / "few.toml").write_text(f"[points]\n{few}\n")
    assert read_manual_landmarks(tmp_path / "few.toml") == named(REQUIRED)
    points = portrait_landmarks().points
    np.savez(tmp_path / "all.npz", landmarks=points)
    assert np.array_equal(placed(tmp_path / "all.npz"), points)
    (tmp_path / "flat.json").write_text(json.dumps({"landmarks": points[:, :2].tolist()}))
    flat = placed(tmp_path / "flat.json")
    marked = (tmp_path / "flat.json").read_text("utf-8")
    (tmp_path / "flat.json").write_text(marked, "utf-8-sig")
    assert np.array_equal(placed(tmp_path / "flat.json"), flat)
    assert np.allclose(flat[:, :2], points[:, :2])
    assert np.corrcoef(flat[:, 2], points[:, 2])[0, 1] > 0.9


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
        ("three.toml", "[points]\nchin = [1, 2, 3]", r"chin is \[1, 2, 3\]; write \[x, y\] in px"),
        ("one.toml", "[points]\nchin = 7", r"chin is 7; write \[x, y\] in px"),
        ("words.toml", "[points]\nchin = ['a', 2]", r"chin is \['a', 2\]; write \[x, y\] in px"),
        ("empty.npz", "", "not a landmark file"),
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


def swapped(first: str, second: str) -> dict[str, tuple[float, float]]:
    points = named()
    return points | {first: points[second], second: points[first]}


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ({"left_ear": (1.0, 2.0)}, "There is no point 'left_ear'"),
        ({"chin": (1e9, 2.0)}, "chin lies outside any picture"),
        ({"chin": (float("nan"), 2.0)}, "chin lies outside any picture"),
        ({"chin": (1.0, 2.0)}, "missing: left_eye_outer"),
        ({name: (9.0 * i, 5.0 * i) for i, name in enumerate(REQUIRED)}, "on one line"),
        (named() | {"chin": named()["nose_tip"]}, "same place"),
        (swapped("left_eye_top", "left_eye_bottom"), "left_eye_top lies below left_eye_bottom"),
        (swapped("right_eye_top", "right_eye_bottom"), "right_eye_top lies below right_eye_bottom"),
        (
            swapped("left_eye_inner", "left_eye_outer"),
            "left_eye_outer is not beside left_eye_inner",
        ),
    ],
)
def test_points_that_form_no_face_are_refused(points: Points, sentence: str) -> None:
    with pytest.raises(TargetError, match=sentence):
        fit_landmarks(points)
