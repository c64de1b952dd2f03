"""The worker's log: a file that is turned over before it grows large, and all that libraries print goes there too."""

from __future__ import annotations

import logging
import os
from logging.handlers import RotatingFileHandler
from pathlib import Path

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import as_explorer_error

LARGEST, KEPT = 1_000_000, 3
"""Bytes of one file, and how many older ones are kept."""


class WorkerLog:
    """Writes lines with their time.

    Args:
        path: the file; missing folders are made.

    Raises:
        ExplorerError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handler = _Turning(path, maxBytes=LARGEST, backupCount=KEPT, encoding="utf-8", errors="replace")
        except OSError as error:
            raise as_explorer_error(error, path) from error
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self._logger = logging.Logger("srm-explorer.worker")
        self._logger.addHandler(self._handler)

    def write(self, line: str) -> None:
        """Add a line."""
        self._logger.info("%s", " ".join(line.split()))

    def take_over_output(self) -> None:
        """Send standard output and standard error here from now on."""
        self._handler.takes_output = True
        self._handler.redirect()


class _Turning(RotatingFileHandler):
    takes_output = False

    def redirect(self) -> None:
        """Point the descriptors of standard output and error at the file.

        What is still buffered goes there too: where it was meant for, nobody may read any more.
        """
        # The library closes its stream when the program ends.
        if self.stream is not None:
            for descriptor in (1, 2):
                os.dup2(self.stream.fileno(), descriptor)

    def doRollover(self) -> None:  # noqa: N802  (the library's name)
        super().doRollover()
        if self.takes_output:
            self.redirect()


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log, the file before it included; none where there is no log.

    Raises:
        ExplorerError: it cannot be read.
    """
    lines: list[str] = []
    for file in (path, path.with_name(f"{path.name}.1")):
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines() + lines
        except FileNotFoundError:
            break
        except OSError as error:
            raise ExplorerError(
                f"cannot be read: {(error.strerror or str(error)).lower()}", where=str(file), remedy="check permissions"
            ) from None
        if len(lines) >= count:
            break
    return lines[-count:]
