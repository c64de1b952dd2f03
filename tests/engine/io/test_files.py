from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import platform
import resource
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis.strategies import binary

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import (
    FileLock,
    LockedError,
    check_writable,
    csv_cell,
    has_flock,
    read_text,
    sha256_of,
    write_atomic,
)
from tests.waiting import PATIENCE

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


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )


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


HOLD = """
    import sys
    from pathlib import Path
    from srm_explorer.engine.io.files import FileLock
    with FileLock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
"""


def test_a_lock_keeps_another_process_out_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lock"
    with child(HOLD, path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"in use by process {other.pid}") as caught, FileLock(path):
            pass
        assert caught.value.pid == other.pid
        with pytest.raises(LockedError), FileLock(path, timeout=0.05):
            pass
        other.communicate("\n")
        with FileLock(path, timeout=PATIENCE) as lock:
            assert lock.held
    assert not lock.held


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with child(HOLD, path) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.kill()
        other.wait()
        with FileLock(path, timeout=PATIENCE) as lock:
            assert lock.held


def test_a_lock_is_free_again_after_an_error_in_its_block(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), FileLock(tmp_path / "lock"):
        _ = 1 / 0
    with FileLock(tmp_path / "lock") as lock:
        assert lock.held


def test_what_a_killed_save_left_is_removed_after_a_day(tmp_path: Path) -> None:
    old, fresh = tmp_path / ".tmp-1-aa", tmp_path / ".tmp-2-bb"
    for leftover in (old, fresh):
        leftover.write_bytes(b"half")
    os.utime(old, (0, 0))
    write_atomic(tmp_path / "kept.json", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-2-bb", "kept.json"]


@pytest.fixture
def without_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system answers as it does for a folder of Lustre that was mounted without `-o flock`."""

    def refuse(_: int, __: int) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_a_folder_without_flock_is_locked_by_a_file_that_one_alone_can_make(
    tmp_path: Path, without_flock: None
) -> None:
    path = tmp_path / "run" / "lock"
    with FileLock(path) as lock:
        assert lock.by_file
        assert lock.lock_file.read_text() == f"{platform.node()} {os.getpid()}\n"
        assert FileLock(path).holder() == os.getpid()
        with pytest.raises(LockedError, match=f"process {os.getpid()} on {platform.node()}") as caught:
            FileLock(path, timeout=0.05).acquire()
        assert lock.lock_file.name in caught.value.remedy
    assert not FileLock(path).is_taken()
    assert names(path.parent) == {"lock"}
    assert not has_flock(tmp_path)


@pytest.mark.parametrize("owner", ["elsewhere", "here"])
def test_a_lock_file_is_taken_over_where_its_process_is_known_to_be_gone(
    tmp_path: Path, without_flock: None, owner: str
) -> None:
    lock = FileLock(tmp_path / "lock")
    gone = 2**22 + 1  # No process has a number beyond the system's largest.
    lock.lock_file.write_text(f"{platform.node() if owner == 'here' else owner} {gone}\n")
    lock.path.touch()
    if owner == "here":
        assert lock.holder() is None
        with lock:
            assert str(os.getpid()) in lock.lock_file.read_text()
    else:
        # Nobody here can tell whether a process of another machine lives.
        assert lock.holder() == 0
        with pytest.raises(LockedError, match=f"process {gone} on elsewhere"):
            lock.acquire()
        assert str(gone) in lock.lock_file.read_text()


def test_flock_itself_leaves_no_second_file(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock") as lock:
        assert not lock.by_file
        assert names(tmp_path) == {"lock"}
    assert has_flock(tmp_path)


def test_who_waits_for_a_lock_whose_file_was_taken_away_has_the_file_of_that_name(tmp_path: Path) -> None:
    first = FileLock(tmp_path / "new" / "run" / "lock")
    first.acquire()
    first.discard()
    assert not names(tmp_path)
    second = FileLock(first.path)
    second.acquire()
    assert FileLock(first.path).holder() == os.getpid()
    second.release()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_regular_file_is_neither_read_nor_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.json"
    if kind == "pipe":
        os.mkfifo(path)
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
