"""Faces that generators learn from: drawn by groups, in pairs, and drawn with acted emotions."""

from __future__ import annotations

import numpy as np
import pytest

from reenact.errors import ConfigError, ModelError, ReenactError
from reenact.evaluation.face_reader import FaceReader, own_shape
from reenact.evaluation.recognition import read_expressions, shipped_recogniser
from reenact.expression.emotions import EMOTIONS, acted_units
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.face.topology import ACTION_UNITS
from reenact.imaging import resized_square
from reenact.targets.clip_files import clips_in, decode_clip
from reenact.testing.weights import people
from reenact.training.faces import acted
from reenact.training.faces.clips import FaceData, LabelledClip, load_acted
from reenact.training.faces.material import FaceMaterial, by_emotion, one_hot
from reenact.training.faces.recipe import FaceGanConfig, FaceRecipe, recipe_builder


def test_groups_are_drawn_equally_often_with_another_face_of_the_same_clip() -> None:
    def grey(name: str, shade: int, emotions: list[int]) -> LabelledClip:
        count = len(emotions)
        shades = np.arange(count, dtype=np.uint8)[:, None, None, None] + np.uint8(shade)
        return LabelledClip(
            name,
            np.broadcast_to(shades, (count, 32, 32, 3)).copy(),
            np.zeros((count, 3), np.float32),
            np.eye(17, dtype=np.float32)[:count],
            one_hot(emotions),
            np.linspace(0, 1, count, dtype=np.float32),
        )

    clips = [grey("a", 20, [0] * 9 + [5]), grey("b", 200, [0] * 10)]
    people, emotions = (FaceMaterial(clips, [], "", group) for group in (None, by_emotion))
    drawn = people.draw(np.random.default_rng(0), 400)
    assert drawn["people"].mean() == pytest.approx(0.5, abs=0.08)
    dark = [drawn[f"{which}faces"].mean(axis=(1, 2, 3)) < 0 for which in ("", "other_")]
    assert np.array_equal(dark[0], drawn["people"] == 0)
    assert np.array_equal(dark[1], dark[0])
    moved = np.abs(drawn["units"] - drawn["other_units"]).max(axis=1)
    assert (moved == 1).mean() > 0.95  # an expression of its own, wherever there is one
    smiles = emotions.draw(np.random.default_rng(0), 400)["emotions"][:, 5]
    assert smiles.mean() == pytest.approx(0.5, abs=0.08)


def test_clips_in_which_no_face_is_clear_are_refused() -> None:
    undecided = np.zeros((3, len(EMOTIONS)), np.float32)
    undecided[:, :4] = 0.25
    nothing = np.zeros((3, 17), np.float32)
    faces = np.zeros((3, 32, 32, 3), np.uint8)
    clip = LabelledClip("a", faces, nothing[:, :3], nothing, undecided, nothing[:, 0])
    FaceMaterial([clip], [], "")
    with pytest.raises(ReenactError, match=r"settings\.acted_frames"):
        FaceMaterial([clip], [], "", by_emotion)


def test_a_calm_face_is_drawn_as_the_recogniser_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acted, "LEVELS", (1.0,))
    video = clips_in(people() / "train")[0]
    found = read_expressions(video.with_suffix(".npz"))
    assert found is not None
    calm = int(np.abs(found.deviations).mean(axis=(1, 2)).argmin())
    faces = acted.act(decode_clip(video), found, calm, 128, np.random.default_rng(0))
    assert np.array_equal(faces.units[1:], acted_units()[1:])
    assert np.array_equal(faces.emotions[1:], one_hot(range(1, len(EMOTIONS))))
    change = np.abs(faces.pictures[1:].astype(int) - faces.pictures[0])
    assert change[:, :4, :8].max() == 0, "off the face nothing changes"
    with FaceReader() as reader:
        points = [reader.track(resized_square(one, 256)) for one in faces.pictures]
    assert points[0] is not None
    rest = to_face_frame(points[0], estimate_pose(points[0]))
    told = [
        shipped_recogniser().emotion(own_shape(one, rest) - rest)
        for one in points[1:]
        if one is not None
    ]
    right = sum(one == wanted for one, wanted in zip(told, EMOTIONS[1:], strict=True))
    assert right >= 5, told


def test_pairs_of_acted_faces_begin_with_the_frame_and_contempt_is_on_the_left() -> None:
    data = FaceData(str(people() / "train"), size_px=32, acted_frames=2)
    clips = load_acted(people() / "train", data, {"portrait"})
    assert {clip.identity for clip in clips} == {"portrait"}
    drawn = FaceMaterial(clips, [], "", by_emotion).draw(np.random.default_rng(0), 60)
    assert (drawn["other_intensity"] == 0).all()
    contempt = drawn["emotions"].argmax(axis=1) == EMOTIONS.index("contemptuous")
    assert contempt.any()
    left, right = (ACTION_UNITS.index(f"smile_{side}") for side in ("left", "right"))
    units = drawn["units"][contempt]
    assert (units[:, left] > units[:, right]).all()


def test_a_wrong_side_or_start_is_reported_before_the_data_is_read() -> None:
    def never(config: FaceGanConfig, material: FaceMaterial) -> FaceRecipe[FaceGanConfig]:
        raise AssertionError("the data was read")

    build = recipe_builder(FaceGanConfig, never)
    with pytest.raises(ConfigError, match=r"size_px: a side of 100 px is not a power of two"):
        build({"train": "nowhere", "size_px": 100})
    with pytest.raises(ModelError, match="no model file none"):
        build({"train": "nowhere", "start": "none.safetensors"})
