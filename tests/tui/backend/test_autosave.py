from __future__ import annotations

import threading

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.autosave import SOON, AutoSaver
from tests.waiting import until


def test_the_newest_of_many_changes_is_written_soon_and_unasked() -> None:
    written: list[bytes] = []
    saver = AutoSaver(written.append, lambda error: None)
    with saver._writing:  # nothing is written before the last of them
        for number in range(10):
            saver.save(str(number).encode())
    until(lambda: written, "the write")
    assert written == [b"9"]
    assert SOON < 0.3
    saver.close()


def test_what_waits_is_written_at_the_end() -> None:
    written: list[bytes] = []
    saver = AutoSaver(written.append, lambda error: None)
    saver.save(b"last")
    assert saver.close() == ""
    assert written == [b"last"]


def test_a_failure_is_told_once_until_a_write_succeeds() -> None:
    full = threading.Event()
    full.set()
    told: list[ExplorerError] = []
    tried: list[bytes] = []
    written: list[bytes] = []

    def write(content: bytes) -> None:
        tried.append(content)
        if full.is_set():
            raise ExplorerError("cannot be written: no space left", remedy="free some space")
        written.append(content)

    saver = AutoSaver(write, told.append)
    for content in (b"1", b"2"):
        saver.save(content)
        until(lambda content=content: content in tried, "the write")
    until(lambda: told, "the failure")
    with saver._writing:  # no write is under way
        assert len(told) == 1
        full.clear()
    saver.save(b"3")
    until(lambda: written, "the write")
    assert written == [b"3"]
    assert len(told) == 1
    full.set()
    saver.save(b"4")
    assert "no space left" in saver.close()
    assert len(told) == 2
