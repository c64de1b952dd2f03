from __future__ import annotations

import hashlib
import os
import resource
import signal
import stat
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis.strategies import binary

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import Draft, check_writable, csv_cell, read_text, sha256_of, write_atomic

SMALL = 64 * 1024
"""Bytes a file may have in the tests that run out of space."""


@pytest.fixture
def limited_files() -> object:
    """Files of this process cannot grow beyond SMALL, which the system reports as it reports a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@given(old=binary(), new=binary())
def test_a_file_holds_what_was_written_last(tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes) -> None:
    path = tmp_path_factory.mktemp("files") / "deep" / "file"
    write_atomic(path, old)
    write_atomic(path, lambda file: file.writelines([new[:3], new[3:]]))
    assert path.read_bytes() == new
    assert sha256_of(path) == hashlib.sha256(new).hexdigest()
    assert names(path.parent) == {"file"}


def test_a_full_disk_leaves_the_old_file_whole_and_nothing_behind(tmp_path: Path, limited_files: None) -> None:
    path = tmp_path / "session.json"
    write_atomic(path, b"old")
    with pytest.raises(ExplorerError) as caught:
        write_atomic(path, b"x" * (SMALL + 1))
    assert caught.value.where == str(path)
    assert "save to another disk" in caught.value.remedy
    with pytest.raises(ExplorerError):
        write_atomic(path, lambda file: file.writelines([b"x" * SMALL] * 2))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"session.json"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_writer_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    def stop(file: BinaryIO) -> None:
        file.write(b"half")
        raise error

    write_atomic(tmp_path / "file", b"old")
    with pytest.raises(error):
        write_atomic(tmp_path / "file", stop)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == {"file"}


def test_a_folder_that_is_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("not a folder")
    with pytest.raises(ExplorerError, match="save to another folder"):
        write_atomic(tmp_path / "out" / "s.json", b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_a_folder_without_permission_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ExplorerError, match="check the permissions"):
        write_atomic(tmp_path / "s.json", b"")
    tmp_path.chmod(0o700)


def test_a_link_stays_a_link_and_permissions_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    write_atomic(real, b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_atomic(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_new_file_obeys_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    write_atomic(tmp_path / "file", b"")
    os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_name_as_long_as_the_file_system_allows_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(ExplorerError, match="shorter name"):
        write_atomic(tmp_path / ("x" * 256), b"new")


def test_what_a_killed_save_left_is_removed_after_a_day(tmp_path: Path) -> None:
    old, fresh = tmp_path / ".tmp-1-aa", tmp_path / ".tmp-2-bb"
    for leftover in (old, fresh):
        leftover.write_bytes(b"half")
    os.utime(old, (0, 0))
    write_atomic(tmp_path / "kept.json", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-2-bb", "kept.json"]


@pytest.fixture
def no_nameless_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network disk, and outside Linux."""
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)


def test_a_killed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        os.close(os.open(tmp_path, getattr(os, "O_TMPFILE", 0) | os.O_RDWR))
    except OSError:
        pytest.skip("files without a name are not to be had here")

    def stop(file: BinaryIO) -> None:
        file.write(b"x" * 100_000)
        os.kill(os.getpid(), signal.SIGKILL)

    pid = os.fork()
    if pid == 0:
        write_atomic(tmp_path / "file", stop)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert not names(tmp_path)
    # What is not killed is written once.
    monkeypatch.delattr(Draft, "_copy")
    write_atomic(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_a_file_is_the_same_where_no_file_is_without_a_name(tmp_path: Path, no_nameless_files: None) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    path.chmod(0o640)
    write_atomic(path, b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o640)
    assert names(tmp_path) == {"file"}


def test_a_file_is_the_same_where_what_has_no_name_may_get_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "file"
    write_atomic(path, b"old")
    path.chmod(0o640)
    monkeypatch.setattr(os, "link", refuse)
    write_atomic(path, b"new" * 1_000_000)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new" * 1_000_000, 0o640)
    assert names(tmp_path) == {"file"}


@pytest.mark.parametrize("kind", ["pipe", "open pipe", "device", "folder"])
def test_what_is_no_regular_file_is_neither_read_nor_replaced(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "x.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "open pipe":
        # As /dev/stdout is before another command: what it leads to has no name.
        ends = os.pipe()
        request.addfinalizer(lambda: [os.close(end) for end in ends])
        path.symlink_to(f"/dev/fd/{ends[1]}")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    mode = path.stat().st_mode
    with pytest.raises(ExplorerError, match="folder" if kind == "folder" else "not a regular file"):
        read_text(path)
    with pytest.raises(ExplorerError, match="folder" if kind == "folder" else "not a regular file"):
        write_atomic(path, b"")
    assert path.stat().st_mode == mode


def test_a_refused_file_leaves_no_folder_behind(tmp_path: Path, limited_files: None) -> None:
    with pytest.raises(ExplorerError):
        write_atomic(tmp_path / "a" / "b" / "file", b"x" * (SMALL + 1))
    assert not names(tmp_path)


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_made() -> None:
    with pytest.raises(ExplorerError, match="cannot be written"):
        check_writable(Path("/proc/sessions/mine"))


def test_a_folder_that_can_be_made_is_not_made_to_find_out(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert not names(tmp_path)


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-1+cmd|x!A0", "\t=1", "-A1"])
def test_a_text_in_a_table_for_people_is_no_formula(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["+20", "-0.5", "-2σ, +1", "-inf", "1=1", "", "a\nb", "+1e-05"])
def test_numbers_labels_and_other_texts_are_written_as_they_are(text: str) -> None:
    assert csv_cell(text) == text


def test_controls_are_shown_in_a_table_for_people() -> None:
    assert csv_cell("\x1b[31mred\r\x9b") == "\\x1b[31mred\\x0d\\x9b"


def test_a_dash_is_no_name_for_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExplorerError, match="- is standard output elsewhere"):
        write_atomic(Path("-"), b"")
    assert not list(tmp_path.iterdir())
    write_atomic(Path("./-").absolute(), b"meant")
    assert Path("-").read_bytes() == b"meant"
