"""Targets are stored whole, found by name, and refused when damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import time
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from reenact import storage
from reenact.errors import NameTakenError, TargetError
from reenact.face.topology import CHIN
from reenact.storage import data_folder
from reenact.targets import store as store_module
from reenact.targets.store import TargetStore
from reenact.types import Target
from support.crashes import killed_at_each_line
from support.faces import portrait_target
from support.portraits import box_target, smooth_picture, with_two_pictures
from support.targets import same_target, write_weights

STORE_FILES = {storage.__file__, store_module.__file__}


def test_a_stored_target_loads_as_it_was(store: TargetStore, target: Target) -> None:
    store.create(target)
    loaded = store.load("somebody")
    assert same_target(loaded, target)
    assert loaded.name == "somebody"
    assert loaded.renderer == target.renderer
    assert loaded.weights is None
    assert loaded.metadata == {"consent": "generated"}
    assert store.list() == ("somebody",)
    shown = store.show("somebody")
    assert "references: 3 of 256 px" in shown
    assert "plate: 320 x 240 px" in shown
    assert "consent: generated" in shown


def test_a_copy_by_a_file_manager_hides_no_target(store: TargetStore, target: Target) -> None:
    store.create(target)
    place = store.folder_of("somebody")
    shutil.copytree(place, place.with_name("somebody (copy)"))
    assert store.list() == ("somebody",)


def test_a_target_copied_from_a_mac_is_found_by_its_name(
    store: TargetStore, target: Target
) -> None:
    store.create(target)
    copy = store.folder / unicodedata.normalize("NFD", "Zoë")
    shutil.copytree(store.folder_of("somebody"), copy)
    assert store.list() == ("Zoë", "somebody")
    assert store.load("Zoë").name == "Zoë"
    with pytest.raises(NameTakenError):
        store.check_free("Zoë")
    store.rename("Zoë", "Zoe")
    assert store.list() == ("Zoe", "somebody")


def test_folders_that_hold_no_target_of_the_user_are_not_listed(
    store: TargetStore, target: Target
) -> None:
    store.create(target)
    shutil.copytree(store.folder_of("somebody"), store.folder / "robin")  # built in
    (store.folder / "loop").symlink_to("loop")
    assert store.list() == ("somebody",)
    assert "robin" not in store


def test_a_removed_target_is_gone(store: TargetStore, target: Target) -> None:
    store.create(target)
    store.create(replace(target, name="another"))
    store.remove("somebody")
    assert store.list() == ("another",)
    assert [path.name for path in store.folder.iterdir()] == ["another"]
    with pytest.raises(TargetError, match=r"no target 'somebody'.*another, astronaut"):
        store.load("somebody")
    with pytest.raises(TargetError, match="no target"):
        store.remove("somebody")


def test_a_renamed_target_keeps_all_that_it_holds(
    store: TargetStore, target: Target, tmp_path: Path
) -> None:
    footage = tmp_path / "footage"
    footage.mkdir()
    (footage / "talk.mp4").write_bytes(b"a clip")
    (footage / "talk.npz").write_bytes(b"its landmarks")
    store.create(target, write_weights(tmp_path), footage)
    (store.folder_of("somebody") / "training").mkdir()
    held = sorted(path.name for path in store.folder_of("somebody").rglob("*"))
    store.rename("somebody", "anna")
    assert store.list() == ("anna",)
    assert sorted(path.name for path in store.folder_of("anna").rglob("*")) == held
    loaded = store.load("anna")
    assert same_target(loaded, target)
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
        ("somebody", "somebody", "somebody has this name already"),
        ("somebody", "a/b", "cannot be a target's name"),
        ("../somebody", "anna", "cannot be a target's name"),
    ],
)
def test_an_impossible_rename_changes_nothing(
    old: str, new: str, told: str, store: TargetStore, target: Target
) -> None:
    store.create(target)
    store.create(replace(target, name="another"))
    with pytest.raises(TargetError, match=told):
        store.rename(old, new)
    assert store.list() == ("another", "somebody")


def test_a_rename_may_change_the_case_alone(store: TargetStore, target: Target) -> None:
    """A disk that ignores case says that the new name is taken, by the same folder."""
    store.create(target)
    store.rename("somebody", "Somebody")
    assert store.list() == ("Somebody",)


@pytest.mark.parametrize("name", ["a", "My face 2", "Zoë", "x_1-b", "7", "漢字", "हिन्दी", "ที่รัก"])
def test_allowed_names_are_stored(store: TargetStore, target: Target, name: str) -> None:
    store.create(replace(target, name=name))
    assert store.list() == (name,)
    assert store.load(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a/b", "../a", "/etc", "a\\b", "a:b", ".hidden", "-x", "a ", "a\n", "a\0"),
        *("con", "LPT1", "com²", "x" * 49, "\u0301a", "हि" * 25),
    ],
)
def test_other_names_are_refused(store: TargetStore, target: Target, name: str) -> None:
    refusal = "cannot be a target's name|is the name of a device on Windows"
    for call in (store.load, store.remove, store.show, store.weights_path):
        with pytest.raises(TargetError, match=refusal):
            call(name)
    with pytest.raises(TargetError, match=refusal):
        store.create(replace(target, name=name))
    assert not store.folder.exists()


def test_a_name_is_not_taken_twice(store: TargetStore, target: Target) -> None:
    store.create(target)
    other = replace(target, references=target.references[:1], landmarks=target.landmarks[:1])
    with pytest.raises(TargetError, match="already a target somebody"):
        store.create(other)
    assert same_target(store.load("somebody"), target)
    with pytest.raises(TargetError, match="astronaut is built in"):
        store.create(replace(target, name="astronaut"))
    for call in (store.load, store.show, store.remove):
        with pytest.raises(TargetError, match="astronaut is built in"):
            call("astronaut")


def test_of_two_processes_that_store_a_name_the_second_is_told_that_it_is_taken(
    store: TargetStore, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def rename_late(folder: Path, place: Path) -> Path:
        monkeypatch.undo()
        store.create(target)  # the other process
        return rename(folder, place)

    monkeypatch.setattr(Path, "rename", rename_late)
    with pytest.raises(NameTakenError, match="already a target somebody"):
        store.create(target)
    assert [path.name for path in store.folder.iterdir()] == ["somebody"]


def test_what_a_copy_of_footage_reports_is_told(
    store: TargetStore, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise shutil.Error("the disk is full")  # an OSError without `strerror`

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(TargetError, match=r"cannot be written: the disk is full\."):
        store.create(target, footage=tmp_path)


def test_the_folder_is_chosen_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Target
) -> None:
    monkeypatch.setenv("REENACT_DATA", str(tmp_path / "data"))
    assert data_folder() == tmp_path / "data"
    TargetStore().create(target)
    assert (tmp_path / "data" / "targets" / "somebody" / "target.json").is_file()
    monkeypatch.delenv("REENACT_DATA")
    assert data_folder().name == "reenact"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, target: Target) -> None:
    (tmp_path / "file").write_text("in the way")
    store = TargetStore(tmp_path / "file" / "targets")
    assert store.list() == ()
    with pytest.raises(TargetError, match=r"cannot be written: there is no folder .*REENACT_DATA"):
        store.create(target)
    with pytest.raises(TargetError, match="cannot be written"):  # asked before the long work
        store.check_free("somebody")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the file size")
def test_a_full_disk_leaves_nothing_behind(store: TargetStore, target: Target) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        with pytest.raises(TargetError, match="cannot be written"):
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
        ("target.json", lambda path: path.write_text('{"format": 1}')),
    ],
)
def test_a_damaged_target_is_refused_and_can_be_removed(
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


def test_a_target_of_a_newer_version_asks_for_an_update(
    store: TargetStore, target: Target, tmp_path: Path
) -> None:
    store.create(target)
    path = store.folder_of("somebody") / "target.json"
    exported = store.export_file("somebody", tmp_path / "new")
    newer = json.dumps(json.loads(path.read_text("utf-8")) | {"format": 2, "hair": "long"})
    path.write_text(newer, "utf-8")
    with pytest.raises(TargetError, match=r"newer version .* update reenact"):
        store.load("somebody")
    with zipfile.ZipFile(exported) as old, zipfile.ZipFile(tmp_path / "newer", "w") as archive:
        for name in old.namelist():
            archive.writestr(name, newer if name == "target.json" else old.read(name))
    with pytest.raises(TargetError, match="update reenact"):
        store.import_file(tmp_path / "newer")


def test_attached_weights_are_copied_and_required(
    store: TargetStore, target: Target, tmp_path: Path
) -> None:
    store.create(target)
    assert store.weights_path("somebody") is None
    assert store.irreplaceable_parts("somebody") == ()
    trained = write_weights(tmp_path)
    store.attach_weights("somebody", trained, "other_renderer")
    assert store.irreplaceable_parts("somebody") == ("trained weights",)
    loaded = store.load("somebody")
    assert loaded.renderer == "other_renderer"
    path = store.weights_path("somebody")
    assert path is not None
    assert loaded.weights == str(path)
    assert path.read_bytes() == trained.read_bytes()
    path.unlink()
    with pytest.raises(TargetError, match=r"damaged: weights\.safetensors is missing"):
        store.load("somebody")


def test_notes_of_others_take_the_place_of_no_field_and_control_no_terminal(
    store: TargetStore, target: Target
) -> None:
    notes = {"from": "\x1b[31mred\nconsent: confirmed", "name": "spoof", "folder": "/etc"}
    store.create(replace(target, renderer="warp\r", metadata=notes))
    lines = store.show("somebody").splitlines()
    assert lines[0] == "name: somebody"
    assert [line for line in lines if line.startswith(("name", "folder", "from", "renderer"))] == [
        "name: somebody",
        "renderer: warp\ufffd",
        f"folder: {store.folder / 'somebody'}",
        "from: \ufffd[31mred\ufffdconsent: confirmed",
    ]


def test_points_correct_a_stored_face(store: TargetStore) -> None:
    target = replace(portrait_target(), name="drawn")
    store.create(target)
    place = target.landmarks[0, CHIN, :2] + (0, 20)
    store.place_points("drawn", {"chin": (float(place[0]), float(place[1]))})
    corrected = store.load("drawn")
    np.testing.assert_allclose(corrected.neutral[CHIN, :2], place, atol=0.5)
    assert np.array_equal(corrected.landmarks[0], corrected.neutral)
    assert corrected.metadata["expressions"] == "relative"
    unchanged = replace(
        corrected, landmarks=target.landmarks, neutral=target.neutral, metadata=target.metadata
    )
    assert same_target(unchanged, target)


def test_points_that_fit_no_picture_change_nothing(store: TargetStore) -> None:
    target = replace(portrait_target(), name="drawn")
    store.create(target)
    several = with_two_pictures(target, "several")
    store.create(several)
    for name, points, sentence in (
        ("several", {"chin": (9.0, 9.0)}, "has 2 pictures"),
        ("drawn", {"ear": (9.0, 9.0)}, "no point 'ear'"),
        ("drawn", {}, "There are no points; give some of these: left_eye_outer"),
        ("drawn", {"chin": (128.0, -5000.0)}, "chin lies outside the picture of drawn, which has"),
        ("nobody", {"chin": (9.0, 9.0)}, "There is no target 'nobody'"),
    ):
        with pytest.raises(TargetError, match=sentence):
            store.place_points(name, points)
    assert same_target(store.load("drawn"), target)
    assert same_target(store.load("several"), several)


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
def test_a_target_is_not_changed_while_it_is_trained(store: TargetStore) -> None:
    target = replace(portrait_target(), name="drawn")
    store.create(target)
    changes: list[Callable[[], object]] = [
        lambda: store.place_points("drawn", {"chin": (128.0, 240.0)}),
        lambda: store.rename("drawn", "other"),
        lambda: store.remove("drawn"),
    ]
    with store.training("drawn"):
        for change in changes:
            with pytest.raises(TargetError, match="drawn is being trained; wait"):
                change()
    assert store.list() == ("drawn",)
    assert same_target(store.load("drawn"), target)


def test_footage_is_kept_but_not_exported(
    store: TargetStore, target: Target, tmp_path: Path
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "talk.mp4").write_bytes(b"film")
    store.create(target, footage=clips)
    assert (store.folder_of("somebody") / "footage" / "talk.mp4").read_bytes() == b"film"
    assert "footage: talk" in store.show("somebody")
    assert store.irreplaceable_parts("somebody") == ("footage",)
    with zipfile.ZipFile(store.export_file("somebody", tmp_path)) as archive:
        assert not [name for name in archive.namelist() if "talk" in name]
    store.remove("somebody")
    assert list(store.folder.iterdir()) == []
    with pytest.raises(TargetError, match="no target"):
        store.folder_of("somebody")


@pytest.fixture
def small() -> Target:
    """A target of 32 px, quick to store."""
    return box_target(smooth_picture((48, 40)), 8, 4, 32, crop_px=32)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_dies_leaves_a_whole_target_or_none(
    store: TargetStore, small: Target
) -> None:
    for _ in killed_at_each_line(lambda: store.create(small), STORE_FILES):
        if store.list():
            assert same_target(store.load("somebody"), small)
            store.remove("somebody")
    assert not store.list()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_dies_while_weights_are_attached_leaves_a_target_that_opens(
    store: TargetStore, small: Target, tmp_path: Path
) -> None:
    trained = write_weights(tmp_path)
    renderers = []
    store.create(small)
    for _ in killed_at_each_line(
        lambda: store.attach_weights("somebody", trained, "other"), STORE_FILES
    ):
        found = store.load("somebody")
        renderers.append(found.renderer)
        assert same_target(found, small)
        if found.weights is not None:
            assert Path(found.weights).read_bytes() == trained.read_bytes()
        assert (found.renderer == "other") == (found.weights is not None)
        store.remove("somebody")
        store.create(small)
    assert renderers == sorted(renderers, key=[small.renderer, "other"].index)
    assert set(renderers) == {small.renderer, "other"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_dies_while_references_are_added_leaves_the_old_or_the_new_ones(
    store: TargetStore, small: Target
) -> None:
    grown = with_two_pictures(small, "somebody")
    store.create(small)
    counts = []
    for _ in killed_at_each_line(lambda: store.add_references("somebody", grown), STORE_FILES):
        found = store.load("somebody")
        counts.append(len(found.references))
        assert same_target(found, small if counts[-1] == 1 else grown)
        assert store.has_one_picture("somebody") == (counts[-1] == 1)
        store.remove("somebody")
        store.create(small)
    assert set(counts) == {1, 2}
    assert counts == sorted(counts)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_dies_while_a_target_is_removed_leaves_it_whole_or_gone(
    store: TargetStore, small: Target
) -> None:
    store.create(small)
    for _ in killed_at_each_line(lambda: store.remove("somebody"), STORE_FILES):
        if store.list():
            assert same_target(store.load("somebody"), small)
        else:
            store.create(small)


def test_what_a_killed_program_left_is_removed_a_day_later(store: TargetStore) -> None:
    two_days_ago = time.time() - 2 * 86400
    for name, left_at in ((".new-a", two_days_ago), (".old-b", two_days_ago), (".new-c", None)):
        (store.folder / name).mkdir(parents=True)
        (store.folder / name / "take.mp4").touch()
        if left_at is not None:
            os.utime(store.folder / name, (left_at, left_at))
    with store.scratch() as scratch:
        assert {one.name for one in store.folder.iterdir()} == {".new-c", scratch.name}
        (scratch / "take.mp4").touch()
        assert store.list() == ()
    assert not scratch.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
def test_a_disk_without_locks_is_told_and_keeps_no_target_from_being_removed(
    store: TargetStore, small: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_lock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    store.create(small)
    with monkeypatch.context() as share:
        share.setattr("fcntl.flock", no_lock)
        with pytest.raises(TargetError, match="without file locks"), store.training("somebody"):
            pytest.fail("nobody holds the lock")
        store.rename("somebody", "anna")
        store.remove("anna")
    assert store.list() == ()
