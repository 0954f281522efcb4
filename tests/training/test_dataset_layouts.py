"""Tiny generated trees in the layouts of the data sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from reenact.errors import SourceError
from reenact.expression.emotions import EMOTIONS
from reenact.training.dataset_layouts import find_items, held_out_people


def touch(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def ck_plus(folder: Path) -> Path:
    for person, number, frames in (("S005", "001", 4), ("S005", "003", 2), ("S010", "002", 3)):
        for frame in range(frames, 0, -1):  # as no file system promises an order
            name = f"{person}_{number}_{frame:08d}.png"
            touch(folder / "cohn-kanade-images" / person / number / name)
    label = folder / "Emotion" / "S005" / "001" / "S005_001_00000004_emotion.txt"
    touch(label, "   3.0000000e+00\n")
    return folder


def rafd(folder: Path) -> Path:
    for person, kind in (("01", "Caucasian_female"), ("20", "Kid_male"), ("29", "Moroccan_male")):
        for angle in ("000", "045", "090", "135", "180"):
            for emotion in EMOTIONS:
                for gaze in ("frontal", "left", "right"):
                    touch(folder / f"Rafd{angle}_{person}_{kind}_{emotion}_{gaze}.jpg")
    return folder


def test_ck_plus_gives_sequences_neutral_first(tmp_path: Path) -> None:
    items = find_items(ck_plus(tmp_path))
    assert [item.name for item in items] == ["S005__001", "S005__003", "S010__002"]
    assert {item.identity for item in items} == {"S005", "S010"}
    assert {item.kind for item in items} == {"sequence"}
    first = items[0]
    assert [file.stem[-8:] for file in first.files] == [f"{n:08d}" for n in range(1, 5)]
    assert first.emotions == (0, -1, -1, EMOTIONS.index("disgusted"))
    assert items[1].emotions == (0, -1), "without a label the peak is not known"


def test_a_damaged_label_is_reported(tmp_path: Path) -> None:
    touch(ck_plus(tmp_path) / "Emotion" / "S010" / "002" / "S010_002_00000003_emotion.txt", "x")
    with pytest.raises(SourceError, match="S010_002"):
        find_items(tmp_path)


def test_rafd_gives_eight_expressions_for_each_angle_and_gaze(tmp_path: Path) -> None:
    items = find_items(rafd(tmp_path))
    assert len(items) == 3 * 5 * 3
    assert {item.identity for item in items} == {"rafd01", "rafd20", "rafd29"}
    for item in items:
        assert item.kind == "set"
        assert item.emotions == tuple(range(8))
        assert "_neutral_" in item.files[0].name
        angle, gaze = item.name.split("__")[1].split("_")
        assert all(f"Rafd{angle}_" in file.name and gaze in file.name for file in item.files)


def test_other_folders_hold_a_person_each(tmp_path: Path) -> None:
    touch(tmp_path / "anna" / "day 1" / "talk.MP4")
    touch(tmp_path / "anna" / "talk.mov")
    touch(tmp_path / "bert" / "face.jpg")
    touch(tmp_path / "carl.webm")
    touch(tmp_path / "carl.mkv")
    touch(tmp_path / ".prepared" / "old.mp4")
    touch(tmp_path / "notes.txt")
    items = {item.name: item for item in find_items(tmp_path)}
    assert {name: item.identity for name, item in items.items()} == {
        "anna__day 1-talk": "anna",
        "anna__talk": "anna",
        "bert__face": "bert",
        "carl": "carl",
        "carl-webm": "carl-webm",
    }
    assert items["bert__face"].kind == "photo"
    assert items["carl"].kind == "video"


@pytest.mark.parametrize("layout", ["auto", "ckplus", "rafd"])
def test_nothing_to_prepare_is_reported(tmp_path: Path, layout: str) -> None:
    touch(tmp_path / "notes.txt")
    with pytest.raises(SourceError, match="holds no"):
        find_items(tmp_path, layout)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="no folder"):
        find_items(tmp_path / "nowhere")


def test_people_stay_in_their_split_when_more_come() -> None:
    people = [f"p{number}" for number in range(200)]
    chosen = held_out_people(people, 0.2)
    assert 20 < len(chosen) < 60
    assert held_out_people([*people, "another"], 0.2) - {"another"} == chosen
    assert len(held_out_people(["a", "b"], 0.1)) == 1
