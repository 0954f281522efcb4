"""Tiny generated trees in the layouts of the data sets."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from reenact.errors import SourceError
from reenact.expression.emotions import EMOTIONS
from reenact.targets.clip_files import person_of
from reenact.training.dataset_layouts import Item, find_items, held_out_people, shot_name


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
        "carl__webm": "carl",
    }
    assert items["bert__face"].kind == "photo"
    assert items["carl"].kind == "video"


def test_no_two_files_share_a_name_with_each_other_or_with_a_shot(tmp_path: Path) -> None:
    below = ["talk.mp4", "talk.jpg", "talk-mp4.mp4", "talk-01.mp4", "talk+01.mp4"]
    below += ["day/talk.mp4", "day/talk.mov", "day-talk.mp4", "day-talk-mp4.mp4"]
    for name in below:
        touch(tmp_path / "anna" / name)
    for name in ("anna.mp4", "anna.jpg", "anna__+01.mp4", "anna__01.mp4", "tom+eva.mp4"):
        touch(tmp_path / name)
    items = find_items(tmp_path)
    names = [item.name for item in items]
    shots = [shot_name(name, number) for name in names for number in (1, 2)]
    assert len({*names, *shots}) == 3 * len(items) == 3 * (len(below) + 5)
    assert {person_of(name) for name in [*names, *shots]} == {"anna", "tom+eva"}


def test_names_are_those_of_files_whatever_the_folders_are_called(tmp_path: Path) -> None:
    day = "あ" * 40  # 120 bytes
    touch(tmp_path / "anna" / day / f"{day}.mp4")
    touch(tmp_path / "anna" / f"{day}2" / f"{day}.mp4")
    touch(tmp_path / ("bert" * 40) / "one.jpg")
    touch(tmp_path / ("bert" * 40) / "two.jpg")
    items = find_items(tmp_path)
    longest = [shot_name(item.name, 99) + ".partial-2.mp4" for item in items]
    assert max(len(name.encode()) for name in longest) < 256
    assert len({item.name for item in items}) == len(items) == 4
    assert len({item.identity for item in items}) == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names are text elsewhere")
def test_a_name_that_is_no_text_is_read_as_latin_1(tmp_path: Path) -> None:
    touch(tmp_path / os.fsdecode(b"J\xf6rg") / os.fsdecode(b"\xe4.jpg"))
    touch(tmp_path / "Zoë" / "ä.jpg")
    items = find_items(tmp_path)
    assert [item.name for item in items] == ["Jörg__ä", "Zoë__ä"]
    assert held_out_people([item.identity for item in items], 0.5)


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "a.jpg")
    source = tmp_path / "source"
    touch(source / "zoe" / "b.jpg")
    try:
        (source / "anna").symlink_to(tmp_path / "elsewhere")
        (source / "carl").symlink_to(source / "zoe")
        (source / "zoe" / "up").symlink_to(source)
    except OSError:
        pytest.skip("this account may not make links")
    assert [item.name for item in find_items(source)] == ["anna__a", "zoe__b"]


def emotions_of(items: list[Item]) -> dict[str, list[str]]:
    return {
        item.name: [EMOTIONS[number] if number >= 0 else "?" for number in item.emotions]
        for item in items
    }


def test_kdef_gives_a_set_for_each_session_and_angle(tmp_path: Path) -> None:
    for session, person, angle in (("A", "F01", "S"), ("B", "F01", "S"), ("A", "M35", "HL")):
        for code in ("AF", "AN", "DI", "HA", "NE", "SA", "SU"):
            name = f"{session}{person}{code}{angle}"
            touch(tmp_path / f"{session}{person}" / f"{name}.JPG")
    items = find_items(tmp_path)
    assert [item.name for item in items] == ["kdefF01__A_S", "kdefF01__B_S", "kdefM35__A_HL"]
    assert {item.identity for item in items} == {"kdefF01", "kdefM35"}
    six = ["neutral", "angry", "disgusted", "fearful", "happy", "sad", "surprised"]
    assert all(found == six for found in emotions_of(items).values())
    assert items[0].files[4].stem == "AF01HAS"


def test_bosphorus_gives_the_emotions_of_a_person(tmp_path: Path) -> None:
    for name in ("N_N_0", "E_HAPPY_0", "E_ANGER_0", "LFAU_9_0", "YR_R10_0", "O_HAIR_0"):
        touch(tmp_path / "bs007" / f"bs007_{name}.png")
    assert emotions_of(find_items(tmp_path)) == {"bs007": ["neutral", "angry", "happy"]}


def test_mug_goes_to_the_peak_and_oulu_casia_ends_there(tmp_path: Path) -> None:
    for frame in range(8):
        touch(tmp_path / "mug" / "004" / "disgust" / "take001" / f"img_{frame:04d}.jpg")
        name = f"{frame:03d}.jpeg"
        touch(tmp_path / "oulu" / "VL" / "Strong" / "P012" / "Surprise" / name)
    assert emotions_of(find_items(tmp_path / "mug")) == {
        "mug004__disgust_take001": ["neutral", "?", "?", "disgusted"]
    }
    (item,) = find_items(tmp_path / "oulu")
    assert item.identity == "ouluP012"
    assert item.emotions == (0, *[-1] * 6, EMOTIONS.index("surprised"))


def test_cfee_leaves_compound_emotions_out(tmp_path: Path) -> None:
    for emotion in ("neutral", "happy", "sadly_angry", "fearful"):
        touch(tmp_path / emotion / "001.jpg")
    found = emotions_of(find_items(tmp_path, "cfee"))
    assert found == {"cfee001": ["neutral", "fearful", "happy"]}


def test_emotionet_photos_have_the_emotion_of_their_action_units(tmp_path: Path) -> None:
    for name in ("N_1.jpg", "N_2.jpg", "N_3.jpg"):
        touch(tmp_path / "images" / name)
    table = tmp_path / "aus.csv"
    touch(table, "URL, AU 1, AU 2, AU 5, AU 6, AU 12, AU 26\n")
    with table.open("a") as handle:
        handle.write("'http://host/a/N_1.jpg', 0, 0, 0, 1, 1, 0\n")
        handle.write("'http://host/a/N_2.jpg', 1, 1, 1, 0, 0, 1\n")
        handle.write("'http://host/a/N_3.jpg', 999, 0, 0, 0, 0, 0\n")
        handle.write("'http://host/a/absent.jpg', 0, 0, 0, 1, 1, 0\n")
    found = emotions_of(find_items(tmp_path, "emotionet"))
    assert found == {"N_1": ["happy"], "N_2": ["surprised"], "N_3": ["neutral"]}


def test_emotionet_names_a_picture_once(tmp_path: Path) -> None:
    touch(tmp_path / "N_1.jpg")
    touch(tmp_path / "N_1.png")
    for table in ("one.csv", "two.csv"):
        touch(tmp_path / table, "URL, AU 12\n'http://host/N_1.jpg', 1\n'http://host/N_1.png', 0\n")
    found = [(item.name, item.files[0].name) for item in find_items(tmp_path, "emotionet")]
    assert found == [("N_1", "N_1.jpg"), ("N_1__png", "N_1.png")]


@pytest.mark.parametrize("content", [b"URL, AU 12\nStra\xdfe.jpg, 1\n", b"a" * 140_000])
def test_a_table_of_emotionet_that_cannot_be_read_is_told(tmp_path: Path, content: bytes) -> None:
    touch(tmp_path / "a.jpg")
    (tmp_path / "aus.csv").write_bytes(content)
    with pytest.raises(SourceError, match=r"aus\.csv is not a CSV file in UTF-8"):
        find_items(tmp_path, "emotionet")


@pytest.mark.parametrize("layout", ["auto", "ckplus", "rafd", "mug", "emotionet"])
def test_nothing_to_prepare_is_reported(tmp_path: Path, layout: str) -> None:
    touch(tmp_path / "notes.txt")
    with pytest.raises(SourceError, match="has no"):
        find_items(tmp_path, layout)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="no folder"):
        find_items(tmp_path / "nowhere")


def test_people_stay_in_their_split_when_more_come() -> None:
    people = [f"p{number}" for number in range(200)]
    chosen = held_out_people(people, 0.2)
    assert 20 < len(chosen) < 60
    assert held_out_people([*people, "another"], 0.2) - {"another"} == chosen
    assert len(held_out_people(["a", "b"], 0.1)) == 1
    test = held_out_people(set(people) - chosen, 0.1, after=0.2)
    assert 8 < len(test) < 35
    assert not held_out_people([*people, "another"], 0.2) & test
    assert not held_out_people([], 0.1)
    assert not held_out_people(people, 0.0)
