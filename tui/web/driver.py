"""The screen's terminal where that is a page of a browser."""

from __future__ import annotations

import os
from typing import Any

from textual import messages
from textual.drivers.web_driver import WebDriver

_MOST_CELLS = 1_000
"""Columns or lines of a page."""


class BrowserDriver(WebDriver):
    """Speaks to the server that started this process, and ends the screen with it.

    Textual's own driver goes on for ever where the server was killed, ends with a trace where it writes then, and
    writes half of a frame where a signal comes amid it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._write = self._write_whole

    def run_input_thread(self) -> None:
        """Read keys until the server sends none any more."""
        super().run_input_thread()
        self._leave()

    def on_meta(self, packet_type: str, payload: dict[str, object]) -> None:
        """Take what the server says of the page; a size that no page has is passed over."""
        if packet_type != "resize" or all(
            isinstance(cells, int) and 0 < cells <= _MOST_CELLS
            for cells in (payload.get("width"), payload.get("height"))
        ):
            super().on_meta(packet_type, payload)

    def _leave(self) -> None:
        if not self.exit_event.is_set():
            self._app.post_message(messages.ExitApp())

    def _write_whole(self, data: bytes) -> int:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self.fileno, left) :]
        except OSError:
            # The server is gone.
            self._leave()
        return len(data)
