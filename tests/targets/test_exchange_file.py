"""One file hands a target on; a file that is damaged or means harm is refused in one sentence."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from reenact.errors import TargetError
from reenact.targets import serialization
from reenact.targets.exchange_file import SUFFIX, open_exchange_file, write_exchange_file
from reenact.targets.serialization import DamagedError
from reenact.targets.store import TargetStore
from reenact.types import Target
from support.clips import png_claiming
from support.portraits import box_target, smooth_picture
from support.targets import same_target, write_weights

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@st.composite
def small_targets(draw: st.DrawFn) -> Target:
    """Targets of 32 to 40 px with random pictures, landmarks and notes."""
    side, count = draw(st.integers(32, 40)), draw(st.integers(1, 3))
    size = draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    plate = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    box = max(size) * draw(st.floats(0.5, 2)) + 1
    left, top = rng.uniform(-9, 9, 2)
    made = box_target(plate, left, top, box, crop_px=side)
    return replace(
        made,
        name=draw(st.sampled_from(["a", "Zoë 2", "漢字"])),
        references=rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8),
        landmarks=rng.normal(20, 9, (count, 478, 3)).astype(np.float32),
        renderer=draw(WORDS),
        metadata=draw(st.dictionaries(WORDS, WORDS, max_size=3)),
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Target]:
    """A small target as the bytes of its file, and as it is."""
    folder = tmp_path_factory.mktemp("exported")
    target = box_target(smooth_picture((48, 40)), 8, 4, 32, crop_px=32)
    write_exchange_file(folder / "small", target, write_weights(folder))
    return (folder / "small").read_bytes(), target


@pytest.mark.parametrize("trained", [False, True])
def test_an_exported_file_imports_elsewhere(
    store: TargetStore, target: Target, tmp_path: Path, trained: bool
) -> None:
    store.create(target, write_weights(tmp_path) if trained else None)
    path = store.export_file("somebody", tmp_path)
    assert store.export_file("somebody", path) == path  # the suffix is there already
    assert path == tmp_path / f"somebody{SUFFIX}"
    elsewhere = TargetStore(tmp_path / "elsewhere")
    assert elsewhere.import_file(path) == "somebody"
    assert elsewhere.import_file(path, "renamed") == "renamed"
    assert elsewhere.list() == ("renamed", "somebody")
    for name in elsewhere.list():
        loaded = elsewhere.load(name)
        assert same_target(loaded, target)
        assert loaded.metadata["consent"] == "generated"
        weights = elsewhere.weights_path(name)
        assert (weights is not None) == trained
        if weights is not None:
            assert weights.read_bytes() == (tmp_path / "trained.safetensors").read_bytes()
    with pytest.raises(TargetError, match="already a target"):
        elsewhere.import_file(path)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has such names")
def test_a_file_whose_name_is_not_text_is_imported(
    store: TargetStore, target: Target, tmp_path: Path
) -> None:
    store.create(target)
    path = store.export_file("somebody", tmp_path)
    path = path.rename(tmp_path / os.fsdecode(b"b\xe4d.reenact-target"))
    assert store.import_file(path, "again") == "again"
    name = store.load("again").metadata["imported from"]
    assert name == "b\N{REPLACEMENT CHARACTER}d.reenact-target"


def test_a_target_with_the_most_notes_imports_elsewhere(
    store: TargetStore, target: Target, tmp_path: Path
) -> None:
    notes = {f"note {number}": "x" for number in range(64)}
    store.create(replace(target, metadata=notes))
    elsewhere = TargetStore(tmp_path / "elsewhere")
    elsewhere.import_file(store.export_file("somebody", tmp_path))
    assert elsewhere.load("somebody").metadata == notes, "there is no room for its origin"


def test_export_to_a_missing_folder_is_refused(store: TargetStore, target: Target) -> None:
    store.create(target)
    with pytest.raises(TargetError, match="cannot be written"):
        store.export_file("somebody", store.folder / "missing" / "x")
    with pytest.raises(TargetError, match="no target"):
        store.export_file("nobody", store.folder)


@settings(max_examples=40, deadline=None)
@given(target=small_targets())
def test_any_target_survives_export_and_import(
    tmp_path_factory: pytest.TempPathFactory, target: Target
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    write_exchange_file(path, target, None)
    with open_exchange_file(path) as (found, weights, _):
        assert same_target(found, target)
        assert (found.name, found.renderer, weights) == (target.name, target.renderer, None)
        assert found.metadata == {**target.metadata, "imported from": "any"}


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_refused_in_one_sentence_or_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, exported: tuple[bytes, Target], data: st.DataObject
) -> None:
    whole, target = exported
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content) - 1) | st.integers(-400, -1))
        patch = data.draw(st.binary(min_size=1, max_size=8))
        stop = data.draw(st.sampled_from([start + len(patch), start, len(content)]))
        content[start:stop] = patch
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    said = ""
    try:
        with open_exchange_file(path) as (found, _, _):
            assert same_target(found, target)
    except TargetError as error:
        said = str(error)
    assert not said or said.startswith((f"{path} is not a target file", f"{path} cannot be read"))
    assert "\n" not in said


@pytest.fixture(scope="module")
def packed(exported: tuple[bytes, Target]) -> dict[str, bytes]:
    return serialization.pack(exported[1])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_pieces_give_a_sound_target_or_none(
    packed: dict[str, bytes], data: st.DataObject
) -> None:
    pieces = dict(packed)
    name = data.draw(st.sampled_from(sorted(pieces)))
    content = bytearray(pieces[name])
    start = data.draw(st.integers(0, len(content) - 1) | st.integers(0, min(200, len(content) - 1)))
    content[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    pieces[name] = bytes(content)
    with contextlib.suppress(DamagedError):
        found = serialization.unpack(lambda piece, max_bytes: pieces[piece])
        assert found.references.shape[1:] == (32, 32, 3)
        assert found.landmarks.shape == (1, 478, 3)
        assert np.isfinite(found.landmarks).all()
        serialization.pack(found)


def pieces_of(store: TargetStore, target: Target, folder: Path) -> dict[str, bytes]:
    store.create(replace(target, name="source"))
    with zipfile.ZipFile(store.export_file("source", folder)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


PICKLE = {"weights.safetensors": b"\x80\x04K\x01."}


def described(**changes: object) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def change(pieces: dict[str, bytes]) -> dict[str, bytes]:
        told = {**json.loads(pieces["target.json"]), **changes}
        pieces["target.json"] = json.dumps(told).encode()
        return pieces

    return change


def placed(affine: list[list[float]]) -> Callable[[dict[str, bytes]], None]:
    def change(pieces: dict[str, bytes]) -> None:
        pieces["landmarks.safetensors"] = save(
            {
                "landmarks": np.zeros((3, 478, 3), np.float32),
                "neutral": np.zeros((478, 3), np.float32),
                "crop_to_plate": np.array(affine, np.float32),
            }
        )

    return change


def small_reference(pieces: dict[str, bytes]) -> None:
    pieces["reference_2.png"] = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()


def arrays(**changes: object) -> Callable[[dict[str, bytes]], None]:
    def change(pieces: dict[str, bytes]) -> None:
        found = load(pieces["landmarks.safetensors"])
        changed = {key: np.asarray(value, np.float32) for key, value in changes.items()}
        pieces["landmarks.safetensors"] = save(found | changed)

    return change


HARM: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "a bomb": (lambda p: p.update({"plate.png": bytes(80 << 20)}), "plate.png is too long"),
    "a PNG bomb": (lambda p: p.update({"plate.png": png_claiming(60000, 60000)}), "60000 x 60000"),
    "a path upwards": (lambda p: p.update({"../../evil.png": b"x"}), "does not belong"),
    "an absolute path": (lambda p: p.update({"/tmp/evil.png": b"x"}), "does not belong"),
    "a pickle": (lambda p: p.update({"landmarks.npy": b"x"}), "does not belong"),
    "a missing piece": (lambda p: p.pop("reference_1.png"), "reference_1.png is missing"),
    "too many references": (described(references=17), "references"),
    "fewer landmarks": (arrays(landmarks=np.full((2, 478, 3), 9)), "landmarks for 2 pictures"),
    "an unknown field": (described(command="rm"), "command"),
    "weights that lie elsewhere": (described(weights="/etc/passwd"), "weights"),
    "weights that are missing": (described(weights="weights.safetensors"), "weights"),
    "weights that are a pickle": (
        lambda p: p.update(described(weights="weights.safetensors")(p), **PICKLE),
        "not a safetensors file",
    ),
    "a huge box": (placed([[9999, 0, 0], [0, 9999, 0]]), "crop does not fit"),
    "no box": (placed([[0, 0, 0], [0, 0, 0]]), "crop does not fit"),
    "a turned box": (placed([[0.5, 0.5, 0], [-0.5, 0.5, 0]]), "crop does not fit"),
    "no numbers": (placed([[np.nan, 0, 0], [0, np.nan, 0]]), "out of range"),
    "landmarks that are a number": (arrays(landmarks=3), "no landmarks of the expected shape"),
    "landmarks in one place": (arrays(landmarks=np.full((3, 478, 3), 9)), "do not form a face"),
    "a neutral in one place": (arrays(neutral=np.zeros((478, 3))), "do not form a face"),
    "unequal references": (small_reference, "another size"),
}


@pytest.mark.parametrize("harm", HARM)
def test_harmful_files_are_refused(
    store: TargetStore, target: Target, tmp_path: Path, harm: str
) -> None:
    change, said = HARM[harm]
    pieces = pieces_of(store, target, tmp_path)
    change(pieces)
    path = tmp_path / "harm.reenact-target"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in pieces.items():
            archive.writestr(name, data)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(TargetError, match="is not a target file, or is damaged") as caught:
        store.import_file(path, "victim")
    assert said in str(caught.value)
    assert "harm.reenact-target" in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_false_declared_size_is_refused(
    store: TargetStore, target: Target, tmp_path: Path
) -> None:
    pieces = pieces_of(store, target, tmp_path)
    path = tmp_path / "harm.reenact-target"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in pieces.items():
            archive.writestr(name, bytes(80 << 20) if name == "plate.png" else data)
    data = path.read_bytes().replace(struct.pack("<I", 80 << 20), struct.pack("<I", 5000))
    path.write_bytes(data)
    with pytest.raises(TargetError, match="is not a target file, or is damaged"):
        store.import_file(path, "victim")
    assert store.list() == ("source",)


def test_other_files_are_refused(store: TargetStore, target: Target, tmp_path: Path) -> None:
    store.create(target)
    whole = store.export_file("somebody", tmp_path)
    text = tmp_path / "text.reenact-target"
    text.write_text("no archive")
    half = tmp_path / "half.reenact-target"
    half.write_bytes(whole.read_bytes()[:-500])
    for path in (text, half):
        with pytest.raises(TargetError, match=f"{path.name} is not a target file"):
            store.import_file(path, "victim")
    with pytest.raises(TargetError, match="There is no file"):
        store.import_file(tmp_path / "missing", "victim")
    with pytest.raises(TargetError, match="cannot be read"):
        store.import_file(tmp_path, "victim")
