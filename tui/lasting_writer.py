"""Writing to a terminal that may go away."""

from __future__ import annotations

from typing import Any

from textual.drivers import linux_driver
from textual.drivers._writer_thread import WriterThread


class LastingWriter(WriterThread):
    """Goes on taking what is written once the terminal is gone.

    Textual's own thread ends then. Its queue fills up, and the program waits for room in it for ever, deaf to the
    signal that tells it to end.
    """

    def run(self) -> None:
        """Write until the end, or until nobody can read it; then drop what comes."""
        try:
            super().run()
        except OSError:
            while self._queue.get() is not None:
                pass


def install() -> None:
    """Have every screen write through it."""
    module: Any = linux_driver
    module.WriterThread = LastingWriter
