from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from textual._ansi_sequences import SYNC_END, SYNC_START
from textual.app import App, ComposeResult
from textual.drivers.linux_driver import LinuxDriver
from textual.widgets import Static

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


def test_nobody_waits_for_a_terminal_that_goes_with_the_last_that_is_written() -> None:
    class Full(GoneTerminal):
        def flush(self) -> None:
            raise OSError(5, "Input/output error")

    file: Any = Full()
    writer = LastingWriter(file)
    # Both wait when it begins: nothing is sent on its way before the end.
    writer.write("line")
    writer._queue.put(None)
    writer.start()
    writer.join(10)
    assert not writer.is_alive()
    assert file.written == ["line"]


def test_a_frame_is_not_written_twice_in_a_row_and_all_else_is() -> None:
    file: Any = GoneTerminal()
    writer = LastingWriter(file)
    frame, other, bell = "\x1b[3;1Hone\x1b[1;1H", "\x1b[3;1Htwo\x1b[1;1H", "\x07"
    for text in (frame, frame, SYNC_START, frame, SYNC_END, other, frame, bell, bell, frame, "one", frame):
        writer.write(text)
    writer.forget()
    writer.write(frame)
    written = [writer._queue.get() for _ in range(writer._queue.qsize())]
    assert written == [frame, SYNC_START, SYNC_END, other, frame, bell, bell, frame, "one", frame, frame]


def test_the_app_writes_through_it() -> None:
    ExplorerApp()
    assert LinuxDriver.start_application_mode.__globals__["WriterThread"] is LastingWriter
    assert textual_patches.LastingWriter.__mro__[1].__name__ == "WriterThread"


class Counting(App[None]):
    """Counts what it draws."""

    frames = 0

    def compose(self) -> ComposeResult:
        yield Static("0")

    def _display(self, screen: Any, renderable: Any) -> None:
        self.frames += renderable is not None


@pytest.mark.drawn
def test_what_the_terminal_has_no_room_for_is_drawn_once_it_has() -> None:
    ExplorerApp()
    writer = LastingWriter(GoneTerminal())  # type: ignore[arg-type]

    async def go() -> None:
        app = Counting()
        async with app.run_test():

            async def draw(number: int) -> None:
                app.query_one(Static).update(f"{number}")
                for _ in range(5):
                    await asyncio.sleep(1 / 60)

            driver: Any = app._driver
            driver._writer_thread = writer
            await draw(1)
            before = app.frames
            writer.write("a frame that is not taken yet")
            for number in range(10):
                await draw(number)
            assert app.frames == before
            writer._queue.get()
            give_up = asyncio.get_running_loop().time() + 10
            while app.frames == before and asyncio.get_running_loop().time() < give_up:
                await asyncio.sleep(0.01)
            assert app.frames == before + 1

    asyncio.run(go())
