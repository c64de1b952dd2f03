from __future__ import annotations

import threading
from typing import Any

from textual.drivers.linux_driver import LinuxDriver

from srm_explorer.tui.app import ExplorerApp
from srm_explorer.tui.terminal import textual_patches
from srm_explorer.tui.terminal.textual_patches import LastingWriter


class GoneTerminal:
    """A terminal that was there for the first write alone."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, text: str) -> None:
        if self.written:
            raise OSError(5, "Input/output error")
        self.written.append(text)

    def flush(self) -> None:
        pass


def test_nobody_waits_for_a_terminal_that_is_gone() -> None:
    file: Any = GoneTerminal()
    writer = LastingWriter(file)
    writer.start()

    def write() -> None:
        for number in range(200):
            writer.write(f"line {number}")
        writer.stop()

    program = threading.Thread(target=write, daemon=True)
    program.start()
    program.join(10)
    assert not program.is_alive()
    assert not writer.is_alive()
    assert file.written == ["line 0"]


def test_the_app_writes_through_it() -> None:
    ExplorerApp()
    assert LinuxDriver.start_application_mode.__globals__["WriterThread"] is LastingWriter
    assert textual_patches.LastingWriter.__mro__[1].__name__ == "WriterThread"
