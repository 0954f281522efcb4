from __future__ import annotations

import json
import os
import signal
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import save, save_file

from reenact.errors import TargetError
from reenact.storage import data_folder
from reenact.targets.store import SUFFIX, TargetStore
from reenact.types import Target
from support.portraits import box_target, smooth_picture


@pytest.fixture
def store(tmp_path: Path) -> TargetStore:
    return TargetStore(tmp_path / "targets")


@pytest.fixture
def target() -> Target:
    made = box_target(smooth_picture((320, 240)), 60, 20, 160)
    noise = np.random.default_rng(5).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
    return replace(made, references=noise, landmarks=np.repeat(made.landmarks, 3, axis=0))


def same(first: Target, second: Target) -> bool:
    arrays = ("references", "landmarks", "neutral", "plate", "crop_to_plate")
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        and getattr(first, name).dtype == getattr(second, name).dtype
        for name in arrays
    )


def weights_file(folder: Path) -> Path:
    path = folder / "trained.safetensors"
    save_file({"layer": np.arange(6, dtype=np.float32)}, path, {"architecture": "test"})
    return path


def test_stored_and_loaded_again(store: TargetStore, target: Target) -> None:
    store.create(target)
    loaded = store.load("somebody")
    assert same(loaded, target)
    assert loaded.name == "somebody"
    assert loaded.renderer == target.renderer
    assert loaded.weights is None
    assert loaded.metadata == {"consent": "generated"}
    assert store.list() == ("somebody",)
    shown = store.show("somebody")
    assert "references: 3 of 256 px" in shown
    assert "plate: 320 x 240 px" in shown
    assert "consent: generated" in shown


def test_removed(store: TargetStore, target: Target) -> None:
    store.create(target)
    store.create(replace(target, name="another"))
    store.remove("somebody")
    assert store.list() == ("another",)
    assert [path.name for path in store.folder.iterdir()] == ["another"]
    with pytest.raises(TargetError, match=r"no target 'somebody'.*another, astronaut"):
        store.load("somebody")
    with pytest.raises(TargetError, match="no target"):
        store.remove("somebody")


def test_renamed_with_all_that_it_holds(store: TargetStore, target: Target, tmp_path: Path) -> None:
    footage = tmp_path / "footage"
    footage.mkdir()
    (footage / "talk.mp4").write_bytes(b"a clip")
    (footage / "talk.npz").write_bytes(b"its landmarks")
    store.create(target, weights_file(tmp_path), footage)
    (store.folder_of("somebody") / "training").mkdir()
    held = sorted(path.name for path in store.folder_of("somebody").rglob("*"))
    store.rename("somebody", "anna")
    assert store.list() == ("anna",)
    assert sorted(path.name for path in store.folder_of("anna").rglob("*")) == held
    loaded = store.load("anna")
    assert same(loaded, target)
    assert loaded.name == "anna"
    assert loaded.weights == str(store.weights_path("anna"))
    assert "footage: talk" in store.show("anna")
    assert store.import_file(store.export_file("anna", tmp_path / "x"), "eve") == "eve"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("nobody", "anna", r"no target 'nobody'.*another, somebody, astronaut"),
        ("astronaut", "anna", "astronaut is built in"),
        ("somebody", "astronaut", "astronaut is built in; choose another name"),
        ("somebody", "another", "already a target another; choose another name"),
        ("somebody", "somebody", "already a target somebody"),
        ("somebody", "a/b", "cannot be a target's name"),
        ("../somebody", "anna", "cannot be a target's name"),
    ],
)
def test_a_name_that_cannot_be_changed_stays(
    old: str, new: str, told: str, store: TargetStore, target: Target
) -> None:
    store.create(target)
    store.create(replace(target, name="another"))
    with pytest.raises(TargetError, match=told):
        store.rename(old, new)
    assert store.list() == ("another", "somebody")


@pytest.mark.parametrize("name", ["a", "My face 2", "Zoë", "x_1-b", "7", "漢字"])
def test_names_that_are_allowed(store: TargetStore, target: Target, name: str) -> None:
    store.create(replace(target, name=name))
    assert store.list() == (name,)
    assert store.load(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a/b", "../a", "/etc", "a\\b", "a:b", ".hidden", "-x", "a ", "a\n", "a\0"),
        *("con", "LPT1", "x" * 49),
    ],
)
def test_names_that_are_not(store: TargetStore, target: Target, name: str) -> None:
    for call in (store.load, store.remove, store.show, store.weights_path):
        with pytest.raises(TargetError, match="cannot be a target's name"):
            call(name)
    with pytest.raises(TargetError, match="cannot be a target's name"):
        store.create(replace(target, name=name))
    assert not store.folder.exists()


def test_a_name_is_not_taken_twice(store: TargetStore, target: Target) -> None:
    store.create(target)
    other = replace(target, references=target.references[:1], landmarks=target.landmarks[:1])
    with pytest.raises(TargetError, match="already a target somebody"):
        store.create(other)
    assert same(store.load("somebody"), target)
    with pytest.raises(TargetError, match="astronaut is built in"):
        store.create(replace(target, name="astronaut"))
    for call in (store.load, store.show, store.remove):
        with pytest.raises(TargetError, match="astronaut is built in"):
            call("astronaut")


def test_the_folder_is_chosen_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Target
) -> None:
    monkeypatch.setenv("REENACT_DATA", str(tmp_path / "data"))
    assert data_folder() == tmp_path / "data"
    TargetStore().create(target)
    assert (tmp_path / "data" / "targets" / "somebody" / "target.json").is_file()
    monkeypatch.delenv("REENACT_DATA")
    assert data_folder().name == "reenact"


def test_a_folder_that_cannot_be_written(tmp_path: Path, target: Target) -> None:
    (tmp_path / "file").write_text("in the way")
    store = TargetStore(tmp_path / "file" / "targets")
    assert store.list() == ()
    with pytest.raises(TargetError, match=r"cannot be stored in .*REENACT_DATA"):
        store.create(target)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_permission(store: TargetStore, target: Target) -> None:
    store.folder.mkdir(mode=0o500)
    with pytest.raises(TargetError, match="Permission denied"):
        store.create(target)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the file size")
def test_a_full_disk_leaves_nothing_behind(store: TargetStore, target: Target) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        with pytest.raises(TargetError, match="cannot be stored in"):
            store.create(target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(store.folder.iterdir()) == []


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("piece", "damage"),
    [
        ("plate.png", cut_in_half),
        ("plate.png", Path.unlink),
        ("reference_1.png", Path.unlink),
        ("reference_2.png", lambda path: path.write_bytes(b"text")),
        ("landmarks.safetensors", cut_in_half),
        ("landmarks.safetensors", lambda path: path.write_bytes(save({"neutral": np.zeros(3)}))),
        ("target.json", cut_in_half),
        ("target.json", lambda path: path.write_text('{"format": 2}')),
    ],
)
def test_a_damaged_target_says_so(
    store: TargetStore, target: Target, piece: str, damage: Callable[[Path], object]
) -> None:
    store.create(target)
    damage(store.folder / "somebody" / piece)
    with pytest.raises(TargetError, match="stored target somebody is damaged") as caught:
        store.load("somebody")
    assert piece in str(caught.value)
    assert "reenact target remove somebody" in str(caught.value)
    store.remove("somebody")
    assert store.list() == ()


def test_weights_of_its_own(store: TargetStore, target: Target, tmp_path: Path) -> None:
    store.create(target)
    assert store.weights_path("somebody") is None
    trained = weights_file(tmp_path)
    store.attach_weights("somebody", trained, "other_renderer")
    loaded = store.load("somebody")
    assert loaded.renderer == "other_renderer"
    path = store.weights_path("somebody")
    assert path is not None
    assert loaded.weights == str(path)
    assert path.read_bytes() == trained.read_bytes()
    path.unlink()
    with pytest.raises(TargetError, match=r"damaged: weights\.safetensors is missing"):
        store.load("somebody")


def test_footage_is_kept_but_not_handed_on(
    store: TargetStore, target: Target, tmp_path: Path
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "talk.mp4").write_bytes(b"film")
    store.create(target, footage=clips)
    assert (store.folder_of("somebody") / "footage" / "talk.mp4").read_bytes() == b"film"
    assert "footage: talk" in store.show("somebody")
    with zipfile.ZipFile(store.export_file("somebody", tmp_path)) as archive:
        assert not [name for name in archive.namelist() if "talk" in name]
    store.remove("somebody")
    assert list(store.folder.iterdir()) == []
    with pytest.raises(TargetError, match="no target"):
        store.folder_of("somebody")


@pytest.mark.parametrize("trained", [False, True])
def test_handed_on_as_one_file(
    store: TargetStore, target: Target, tmp_path: Path, trained: bool
) -> None:
    store.create(target, weights_file(tmp_path) if trained else None)
    path = store.export_file("somebody", tmp_path)
    assert path == tmp_path / f"somebody{SUFFIX}"
    elsewhere = TargetStore(tmp_path / "elsewhere")
    assert elsewhere.import_file(path) == "somebody"
    assert elsewhere.import_file(path, "renamed") == "renamed"
    assert elsewhere.list() == ("renamed", "somebody")
    for name in elsewhere.list():
        loaded = elsewhere.load(name)
        assert same(loaded, target)
        assert loaded.metadata["consent"] == "generated"
        weights = elsewhere.weights_path(name)
        assert (weights is not None) == trained
        if weights is not None:
            assert weights.read_bytes() == (tmp_path / "trained.safetensors").read_bytes()
    with pytest.raises(TargetError, match="already a target"):
        elsewhere.import_file(path)


def test_export_to_a_place_that_is_not_there(store: TargetStore, target: Target) -> None:
    store.create(target)
    with pytest.raises(TargetError, match="cannot be written"):
        store.export_file("somebody", store.folder / "missing" / "x")
    with pytest.raises(TargetError, match="no target"):
        store.export_file("nobody", store.folder)


# --- files that mean harm ---------------------------------------------------------------------


def pieces_of(store: TargetStore, target: Target, folder: Path) -> dict[str, bytes]:
    store.create(replace(target, name="source"))
    with zipfile.ZipFile(store.export_file("source", folder)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def png_claiming(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + body + bytes(64)


def described(**changes: object) -> Callable[[dict[str, bytes]], None]:
    def change(pieces: dict[str, bytes]) -> None:
        pieces["target.json"] = json.dumps(
            {**json.loads(pieces["target.json"]), **changes}
        ).encode()

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


HARM: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "a bomb": (lambda p: p.update({"plate.png": bytes(80 << 20)}), "plate.png is too long"),
    "a PNG bomb": (lambda p: p.update({"plate.png": png_claiming(60000, 60000)}), "60000 x 60000"),
    "a path upwards": (lambda p: p.update({"../../evil.png": b"x"}), "does not belong"),
    "an absolute path": (lambda p: p.update({"/tmp/evil.png": b"x"}), "does not belong"),
    "a pickle": (lambda p: p.update({"landmarks.npy": b"x"}), "does not belong"),
    "a missing piece": (lambda p: p.pop("reference_1.png"), "reference_1.png is missing"),
    "too many references": (described(references=17), "references"),
    "fewer landmarks": (described(references=2), "landmarks"),
    "an unknown field": (described(command="rm"), "command"),
    "weights that lie elsewhere": (described(weights="/etc/passwd"), "weights"),
    "weights that are missing": (described(weights="weights.safetensors"), "weights"),
    "a huge box": (placed([[9999, 0, 0], [0, 9999, 0]]), "crop does not fit"),
    "no box": (placed([[0, 0, 0], [0, 0, 0]]), "crop does not fit"),
    "a turned box": (placed([[0.5, 0.5, 0], [-0.5, 0.5, 0]]), "crop does not fit"),
    "no numbers": (placed([[np.nan, 0, 0], [0, np.nan, 0]]), "out of range"),
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


def test_weights_that_are_none_are_refused(
    store: TargetStore, target: Target, tmp_path: Path
) -> None:
    pieces = pieces_of(store, target, tmp_path)
    described(weights="weights.safetensors")(pieces)
    pieces["weights.safetensors"] = b"\x80\x04K\x01."  # a pickle
    path = tmp_path / "harm.reenact-target"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in pieces.items():
            archive.writestr(name, data)
    with pytest.raises(TargetError, match="not a safetensors file"):
        store.import_file(path, "victim")
    assert store.list() == ("source",)


def test_a_declared_size_that_lies(store: TargetStore, target: Target, tmp_path: Path) -> None:
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


def test_files_that_are_no_targets(store: TargetStore, target: Target, tmp_path: Path) -> None:
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
