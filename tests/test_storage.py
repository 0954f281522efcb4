"""Files are written whole or not at all, and refusals say why."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import stat
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reenact import storage
from reenact.errors import ModelError, SinkError
from reenact.storage import (
    atomic_write,
    check_writable,
    npz_bytes,
    read_npz,
    write_json,
    write_png,
)
from reenact.types import Array
from support.crashes import interrupted_at_each_line, killed_at_each_line

OLD, NEW = b"old" * 1000, b"new" * 5000


def write_new(path: Path) -> None:
    with atomic_write(path) as partial, partial.open("wb") as file:
        file.write(NEW[:7000])
        file.write(NEW[7000:])


def test_json_and_png_are_read_back_as_written(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"mean": {"psnr": 20.5, "identity": None}})
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "mean": {"psnr": 20.5, "identity": None}
    }
    image = np.zeros((4, 6, 3), np.uint8)
    image[..., 0] = 200  # red
    write_png(tmp_path / "a.png", image)
    blue_first = cv2.imread(str(tmp_path / "a.png"))
    assert blue_first.shape == (4, 6, 3)
    assert blue_first[0, 0].tolist() == [0, 0, 200]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.png"]


ARRAYS = npz_bytes(neutral=np.zeros(9, np.float32))


def array_file(array: Array) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


@settings(max_examples=200, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 799), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_damaged_arrays_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    data = bytearray(npz_bytes(neutral=np.random.default_rng(0).normal(size=90).astype(np.float32)))
    for place, value in changes:
        data[place % len(data)] = value
    path.write_bytes(data)
    with contextlib.suppress(ValueError):
        assert all(isinstance(array, np.ndarray) for array in read_npz(path).values())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        array_file(np.zeros(3, np.float32)),
        ARRAYS[:70] + b"\xff" * 9 + ARRAYS[79:],
    ],
    ids=["empty", "npy", "damaged"],
)
def test_what_is_no_archive_of_arrays_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"no \.npz file, or damaged"):
        read_npz(tmp_path / "a.npz")


def test_windows_refuses_a_file_that_another_program_has_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out.mp4").touch()
    monkeypatch.setattr("sys.platform", "win32")
    denied = PermissionError(13, "Permission denied")
    assert "another program" in storage.refusal(tmp_path / "out.mp4", denied)
    assert "you may not write to" in storage.refusal(tmp_path / "new.mp4", denied)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.EACCES, "you may not write to {home}; choose another"),
        (errno.EROFS, "{home} is on a read-only disk; choose another"),
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "the disk is full; free some space"),
        (errno.EFBIG, "it is too large for this disk; choose another"),
        (errno.ENOTDIR, "there is no folder {home}/share/reenact"),
    ],
)
def test_the_folder_that_refuses_new_folders_is_named(
    tmp_path: Path, number: int, why: str
) -> None:
    """As with a home folder that is read-only: making the missing ones would not help."""
    said = storage.refusal(tmp_path / "share" / "reenact" / "targets", OSError(number, "refused"))
    assert why.replace("/", os.sep).format(home=tmp_path) in said


PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)


@settings(max_examples=30, deadline=None)
@given(st.recursive(PLAIN, lambda part: st.lists(part) | st.dictionaries(st.text(), part)))
def test_any_json_value_is_read_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert json.loads(path.read_text("utf-8")) == value


def test_json_holds_names_that_are_not_text(tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", {os.fsdecode(b"write file:b\xe4d.mp4"): 1})
    assert json.loads((tmp_path / "report.json").read_text("utf-8")) == {"write file:b?d.mp4": 1}


def test_an_unwritable_value_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("before", [OLD, None])
def test_a_process_that_dies_at_any_line_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, before: bytes | None
) -> None:
    path = tmp_path / "file"
    outcomes: list[bytes | None] = []

    def restore() -> None:
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_bytes(before)

    restore()
    for _ in killed_at_each_line(lambda: write_new(path), {storage.__file__, __file__}):
        outcomes.append(path.read_bytes() if path.exists() else None)
        restore()
    changed = outcomes.index(NEW)
    assert outcomes == [before] * changed + [NEW] * (len(outcomes) - changed)
    assert 20 < changed < len(outcomes) - 1


def test_an_interrupt_at_any_line_leaves_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    lines = 0
    for _ in interrupted_at_each_line(lambda: write_new(path), {storage.__file__, __file__}):
        lines += 1
        assert path.read_bytes() in (OLD, NEW)
        assert list(tmp_path.iterdir()) == [path]
        path.write_bytes(OLD)
    assert lines > 20
    assert path.read_bytes() == NEW


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_permissions_are_those_of_any_new_file_or_of_the_file_replaced(tmp_path: Path) -> None:
    path, plain = tmp_path / "a", tmp_path / "plain"
    plain.touch()
    write_new(path)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    partial = storage.reserve_partial(tmp_path / "take.mp4")
    assert stat.S_IMODE(partial.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    path.chmod(0o600)
    write_new(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    real, link = tmp_path / "folder" / "real", tmp_path / "link"
    real.write_bytes(OLD)
    link.symlink_to(real)
    write_new(link)
    assert link.is_symlink()
    assert real.read_bytes() == NEW


def test_files_written_side_by_side_are_moved_by_the_block(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.xml"
    with atomic_write(path, parents=True) as partial:
        partial.write_text("network")
        partial.with_suffix(".bin").write_text("weights")
        partial.with_suffix(".bin").replace(path.with_suffix(".bin"))
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.bin", "model.xml"]


def test_missing_folder_and_folder_as_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="there is no folder"):
        check_writable(tmp_path / "missing" / "a.json")
    with (
        pytest.raises(ModelError, match="there is no folder"),
        atomic_write(tmp_path / "missing" / "a.json", error=ModelError),
    ):
        pytest.fail("the block must not run")
    with pytest.raises(SinkError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(SinkError, match="is a folder"):
        write_json(tmp_path, {})
    check_writable(tmp_path / "a.json")
    assert not list(tmp_path.iterdir())


def test_a_report_replaces_a_report_and_no_other_file(tmp_path: Path) -> None:
    for name in ("old.json", "OLD.JSON", "page.html", "talk.mp4"):
        (tmp_path / name).write_bytes(OLD)
    check_writable(tmp_path / "old.json")
    check_writable(tmp_path / "OLD.JSON")
    check_writable(tmp_path / "page.html", ".html")
    check_writable(tmp_path / "new")
    with pytest.raises(SinkError, match=r"talk\.mp4 already exists and is no \.json file; name"):
        check_writable(tmp_path / "talk.mp4")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    with (
        pytest.raises(SinkError, match=r"a cannot be written: the disk is full; free some space"),
        atomic_write(path),
        Path("/dev/full").open("wb") as file,
    ):
        file.write(NEW)
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("replaces", [False, True])
def test_a_file_that_appeared_meanwhile_is_not_replaced(replaces: bool, tmp_path: Path) -> None:
    path = tmp_path / "take.npy"
    partial = storage.reserve_partial(path)
    partial.write_bytes(NEW)
    path.write_bytes(OLD)
    if replaces:
        storage.finish_partial(partial, path, replaces)
        assert path.read_bytes() == NEW
    else:
        with pytest.raises(SinkError, match=r"What this one wrote is in .*take\.partial\.npy"):
            storage.finish_partial(partial, path, replaces)
        assert (path.read_bytes(), partial.read_bytes()) == (OLD, NEW)


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="there is no /dev/null")
def test_a_device_is_not_replaced_by_a_file() -> None:
    with pytest.raises(SinkError, match="is not a regular file"):
        check_writable(Path("/dev/null"))
    with pytest.raises(SinkError, match="is not a regular file"):
        write_json(Path("/dev/null"), {})
    assert not Path("/dev/null").is_file()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder here refuses the superuser")
def test_a_folder_that_refuses_is_reported() -> None:
    with pytest.raises(SinkError, match=r"/proc/reenact\.json cannot be written"):
        check_writable(Path("/proc/reenact.json"))
