from __future__ import annotations

import threading
import time

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.autosave import AutoSaver


def test_a_change_is_written_within_three_tenths_of_a_second() -> None:
    written: list[tuple[float, bytes]] = []
    saver = AutoSaver(lambda content: written.append((time.monotonic(), content)), lambda error: None)
    began = time.monotonic()
    for number in range(10):
        saver.save(str(number).encode())
    while not written and time.monotonic() < began + 5:
        time.sleep(0.005)
    assert [content for _, content in written] == [b"9"]
    assert written[0][0] - began < 0.3
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
    written: list[bytes] = []

    def write(content: bytes) -> None:
        if full.is_set():
            raise ExplorerError("cannot be written: no space left", remedy="free some space")
        written.append(content)

    saver = AutoSaver(write, told.append)
    for content in (b"1", b"2"):
        saver.save(content)
        time.sleep(0.3)
    assert len(told) == 1
    full.clear()
    saver.save(b"3")
    time.sleep(0.3)
    assert written == [b"3"]
    full.set()
    saver.save(b"4")
    assert "no space left" in saver.close()
    assert len(told) == 2
