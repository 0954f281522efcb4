"""The recogniser of emotions, and the protocol that asks it what a renderer shows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.errors import ConfigError, SourceError
from reenact.evaluation.clips import read_clip
from reenact.evaluation.emotions import (
    Portrait,
    emotion_drive,
    find_portraits,
    identity_by_level,
)
from reenact.evaluation.face_reader import FaceReader, own_shape
from reenact.evaluation.metrics import average_content_distance, content_distance_to
from reenact.evaluation.recognition import (
    clear_labels,
    confusion_table,
    fit_recogniser,
    read_expressions,
    shipped_recogniser,
)
from reenact.evaluation.runner import EvaluationOptions, evaluate
from reenact.expression.emotions import EMOTIONS, acted_deviations
from reenact.face.geometry import canonical_face, estimate_pose, mirrored_deviation, to_face_frame
from reenact.rendering.baselines import CopyRenderer
from reenact.testing.moving_portrait import moving_portrait, write_clip
from reenact.testing.portrait import portrait_target
from reenact.types import Array, Drive, Image
from tools.expression_recogniser import Frames, held_out


def test_the_shipped_recogniser_tells_acted_emotions() -> None:
    told = [shipped_recogniser().emotion(one) for one in acted_deviations()]
    assert sum(a == b for a, b in zip(told, EMOTIONS, strict=True)) >= 7, told
    assert told[0] == "neutral"
    mirrored = mirrored_deviation(acted_deviations()[EMOTIONS.index("happy")])
    assert shipped_recogniser().emotion(mirrored) == "happy"


def test_fitting_separates_what_can_be_separated_and_counts_emotions_the_same() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(len(EMOTIONS)), [80, *[8] * 7])
    noise = rng.normal(0, 0.01, (len(labels), 478, 3)).astype(np.float32)
    deviations = acted_deviations()[labels] + noise
    told = fit_recogniser(deviations[::2], labels[::2]).probabilities(deviations[1::2])
    assert np.allclose(told.sum(axis=1), 1, atol=1e-5)
    right = told.argmax(axis=1) == labels[1::2]
    assert min(right[labels[1::2] == one].mean() for one in range(len(EMOTIONS))) >= 0.75


def test_labels_are_stored_ones_or_clear_action_units(tmp_path: Path) -> None:
    images, landmarks = moving_portrait()
    write_clip(tmp_path, "a__01", images, landmarks)
    own = read_expressions(tmp_path / "a__01.npz")
    assert own is not None
    assert not own.labelled
    assert EMOTIONS[own.weights[8].argmax()] == "surprised"  # mouth open, brows raised
    labels = np.full(len(images), -1, np.int8)
    labels[[0, 8]] = 0, EMOTIONS.index("happy")
    np.savez(tmp_path / "b.npz", landmarks=landmarks.astype(np.float16), emotions=labels)
    given = read_expressions(tmp_path / "b.npz")
    assert given is not None
    assert given.labelled
    told = clear_labels(given.weights)
    assert told[[0, 8]].tolist() == [0, EMOTIONS.index("happy")]
    assert (np.delete(told, [0, 8]) == -1).all()


def test_the_confusion_table_holds_shares() -> None:
    row = confusion_table([5, 5, 5, 5], [5, 5, 5, 2]).splitlines()[2 + 5]
    assert row.startswith("| happy | 0.00 | 0.00 | 0.25 | 0.00 | 0.00 | 0.75 |")
    assert row.endswith("| 4 |")


def test_synthetic_faces_can_teach_what_real_ones_do_not_show() -> None:
    """Data expansion: nobody real shows contempt; a synthetic set does."""
    rng = np.random.default_rng(5)
    shown = [one for one in range(len(EMOTIONS)) if EMOTIONS[one] != "contemptuous"]

    def frames(labels: list[int], people: int) -> Frames:
        every = np.tile(labels, 6 * people)
        noise = rng.normal(0, 0.01, (len(every), 478, 3)).astype(np.float32)
        names = np.repeat([f"p{one}" for one in range(people)], 6 * len(labels))
        return acted_deviations()[every] + noise, every, names

    real, drawn = frames(shown, 2), frames(list(range(len(EMOTIONS))), 1)
    asked = frames([EMOTIONS.index("contemptuous")], 1)
    asked = asked[0], asked[1], np.full(len(asked[1]), "held out")
    both = tuple(np.concatenate(pair) for pair in zip(real, asked, strict=True))
    data = both[0], both[1], both[2]
    for more, least, most in ((None, 0.0, 0.0), (drawn, 0.9, 1.0)):
        true, told = held_out(data, [["held out"]], more)
        assert least <= np.mean(np.array(true) == told) <= most


def test_content_distances_by_hand() -> None:
    run = [np.array(one, np.float32) for one in ([0, 0], [3, 4], [3, 0])]
    assert average_content_distance(run) == pytest.approx((5 + 4 + 3) / 3)
    assert content_distance_to(run[0], run[1:]) == pytest.approx((5 + 3) / 2)


def test_a_drive_acts_the_emotion_in_the_targets_pose() -> None:
    target = portrait_target(256)
    drive = emotion_drive(target, "surprised", 0.5)
    rest = to_face_frame(target.neutral, estimate_pose(target.neutral))
    acted = own_shape(drive.landmarks, rest) - rest
    wanted = 0.5 * acted_deviations()[EMOTIONS.index("surprised")]
    assert np.abs(acted - wanted).mean() < 0.01
    assert drive.emotion[EMOTIONS.index("surprised")] == 1
    assert drive.intensity == 0.5
    assert canonical_face().shape == drive.expression.deviation.shape


def test_identity_is_told_by_level_of_intensity() -> None:
    """A picture is brighter by its intensity here, and its brightness is who it shows."""

    class Brighter(CopyRenderer):
        def render(self, drive: Drive) -> Image:
            return np.full((256, 256, 3), round(90 * drive.intensity), np.uint8)

    class Brightness(FaceReader):
        def __init__(self) -> None:
            self._descriptor = None

        def track(self, image: Image) -> Array | None:
            return target.neutral

        def identity(self, reference: Array | None, image: Image, landmarks: Array) -> float | None:
            return None if reference is None else float(image.mean())

    target = portrait_target(256)
    known = Portrait(target, None, np.zeros(1, np.float32), np.zeros(1, np.float32))
    found = identity_by_level(known, Brighter(), Brightness())
    assert found == {"identity_neutral": 0, "identity_subtle": 30, "identity_moderate": 60}
    nobody = identity_by_level(replace(known, person=None), Brighter(), Brightness())
    assert set(nobody.values()) == {None}


def test_the_protocol_tells_a_renderer_that_acts_from_copy(tmp_path: Path) -> None:
    target = portrait_target(256)
    cv2.imwrite(str(tmp_path / "still.png"), target.references[0][..., ::-1])
    np.savez(tmp_path / "still.npz", landmarks=target.neutral.astype(np.float16))
    options = EvaluationOptions(
        protocol="emotions",
        sheet=tmp_path / "sheet.png",
        rating=tmp_path / "rate.html",
        labelled=tmp_path / "set",
    )
    copy, warp = evaluate(["warp"], tmp_path, options)
    assert (copy["renderer"], warp["renderer"]) == ("copy", "warp")
    assert copy["mean"]["recognised"] == 0
    assert warp["mean"]["recognised"] >= 3 / 7
    assert warp["mean"]["tracked"] == 1
    if warp["mean"]["identity"] is not None:  # the optional dependency is installed
        assert copy["mean"]["identity"] == copy["mean"]["acd"] == copy["mean"]["acd_i"] == 0
        assert 0 < warp["mean"]["identity_half"] < warp["mean"]["identity"]
        assert copy["mean"]["identity_neutral"] == warp["mean"]["identity_neutral"] == 0
        assert 0 < warp["mean"]["identity_subtle"] < warp["mean"]["identity_moderate"]
        assert warp["mean"]["acd"] > 0
    assert (tmp_path / "sheet.png").is_file()
    page = (tmp_path / "rate.html").read_text(encoding="utf-8")
    assert re.search(r'"reenact-rating-[0-9a-f]{64}"', page)
    content = json.loads(re.search(r"const content = (.*);\n", page)[1])  # type: ignore[index]
    asked = [(one["still"], one["emotion"]) for one in content["questions"]]
    assert asked == [("still", emotion) for emotion in EMOTIONS[1:]]
    assert all(one["pictures"].keys() == {"copy", "warp"} for one in content["questions"])
    written = read_expressions(tmp_path / "set" / "still__warp.npz")
    assert written is not None
    assert written.labelled
    assert clear_labels(written.weights).tolist() == list(range(len(EMOTIONS)))
    assert len(read_clip(tmp_path / "set" / "still__warp.mp4").images) == len(EMOTIONS)
    with pytest.raises(ConfigError, match="--size"):
        evaluate(["warp"], tmp_path, EvaluationOptions(protocol="emotions", size_px=128))
    (tmp_path / "still.png").write_bytes((tmp_path / "still.png").read_bytes()[:100])
    with pytest.raises(SourceError, match=r"still\.png"):
        find_portraits(tmp_path)
    (tmp_path / "still.npz").unlink()
    with pytest.raises(SourceError, match=r"NAME\.npz"):
        find_portraits(tmp_path)
