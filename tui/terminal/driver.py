"""The screen's terminal: reading it never keeps the program waiting, its end is told, and it is left as it was."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from selectors import EVENT_READ, SelectSelector
from typing import Any

from textual._parser import ParseError
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from srm_explorer.tui.terminal.replies import KeyParser, lasting_decoder

_TICK = 0.1
"""Seconds after which a reader looks whether it is to end, and an escape is taken for the key."""


@dataclass
class TerminalGone(Message, bubble=False):
    """Nobody can press a key any more."""


class TerminalDriver(LinuxDriver):
    """Textual's, with an open file of its own.

    Textual reads standard input, where a shell may have had the terminal in between: a thread that is stopped amid
    reading then waits for a whole line, and the program for the thread, before it can take the terminal anew. The file
    is another because standard input is the shell's too, which has to wait.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if sys.__stderr__ is None or not sys.__stderr__.isatty():
            # Textual draws there, also where it was sent to a file (`2> errors.txt`): nothing would be seen.
            self._file = sys.__stdout__
        # A terminal that has no name here, as in some containers, is read as it was given.
        with contextlib.suppress(OSError):
            name = os.ttyname(self.fileno)
            self.fileno = os.open(name, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)

    def run_input_thread(self) -> None:
        """Tell what is pressed, until the screen leaves the terminal or that is gone."""
        parser, decode = KeyParser(self._debug), lasting_decoder()().decode
        with SelectSelector() as selector:
            selector.register(self.fileno, EVENT_READ)
            while not self.exit_event.is_set():
                if selector.select(_TICK):
                    try:
                        data = os.read(self.fileno, 4096)
                    except BlockingIOError:
                        # A shell has read it, or has the terminal.
                        continue
                    except OSError:
                        data = b""
                    if not data:
                        self.process_message(TerminalGone())
                        return
                    # Nothing is the end, for the parser, and half a character is not.
                    for event in parser.feed(text) if (text := decode(data)) else ():
                        self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)
        with contextlib.suppress(EOFError, ParseError):
            for _ in parser.feed(""):
                pass

    def _disable_mouse_support(self) -> None:
        super()._disable_mouse_support()
        # Textual turns them on alone.
        if self._mouse_pixels:
            self.write("\x1b[?1016l")
            self._mouse_pixels = False
