"""Submissions left for a worker that is being started: whoever left one may go, or be killed, before it listens."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ExplorerError
from engine.files import write_atomic
from engine.runner.codec import encode, read_request
from engine.runner.endpoint import Endpoint, make_folder
from engine.runner.wire import Submit

_FRESH = 600.0
"""Seconds after which nobody expects any more that what was left begins."""


@dataclass(frozen=True)
class Posted:
    """A submission that was left."""

    path: Path

    def withdraw(self) -> bool:
        """Take it back; False where a worker has taken it."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True


def post(endpoint: Endpoint, message: Submit) -> Posted:
    """Leave a submission for the worker that starts next.

    Raises:
        ExplorerError: it cannot be written, or is too large.
    """
    make_folder(endpoint.folder)
    path = endpoint.post / f"{time.time_ns():020}-{secrets.token_hex(4)}.json"
    write_atomic(path, encode(message))
    return Posted(path)


def take_posted(endpoint: Endpoint) -> Iterator[Submit]:
    """Take what was left, the oldest first; what is no submission, or has waited too long, is removed."""
    for path in sorted(endpoint.post.glob("[0-9]*.json")):
        try:
            is_fresh = time.time() - path.stat().st_mtime < _FRESH
            message = read_request(path.read_bytes())
        except (OSError, ExplorerError):
            is_fresh, message = False, None
        with contextlib.suppress(OSError):
            path.unlink()
            if is_fresh and isinstance(message, Submit):
                yield message
