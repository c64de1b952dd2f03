from __future__ import annotations

import errno
import fcntl
import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from srm_explorer.engine.io.files import has_flock
from srm_explorer.engine.io.lock import FileLock, LockedError
from tests.waiting import PATIENCE


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )


HOLD = """
    import sys
    from pathlib import Path
    from srm_explorer.engine.io.lock import FileLock
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
