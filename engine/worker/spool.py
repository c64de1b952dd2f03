"""Submissions left for a worker that is being started: whoever left one may go, or be killed, before it listens."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import as_explorer_error, write_atomic
from srm_explorer.engine.io.runtime import make_folder, runtime_folder
from srm_explorer.engine.session.codec import json_line
from srm_explorer.engine.worker.endpoint import Endpoint
from srm_explorer.engine.worker.protocol import LARGEST, StudyResult, Submit, encode, read_request

_FRESH = 600.0
"""Seconds after which nobody expects any more that what was left begins."""


@dataclass(frozen=True)
class SpooledJob:
    """A submission that was left."""

    path: Path

    def withdraw(self) -> bool:
        """Take it back; False where a worker has taken it."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True


def spool_job(endpoint: Endpoint, message: Submit) -> SpooledJob:
    """Leave a submission for the worker that starts next.

    Raises:
        ExplorerError: it cannot be written, or is too large.
    """
    make_folder(endpoint.folder)
    path = endpoint.spool / f"{time.time_ns():020}-{secrets.token_hex(4)}.json"
    write_atomic(path, encode(message))
    return SpooledJob(path)


def drain_spool(endpoint: Endpoint) -> Iterator[Submit]:
    """Take what was left, the oldest first; what is no submission, or has waited too long, is removed."""
    for path in sorted(endpoint.spool.glob("[0-9]*.json")):
        try:
            is_fresh = time.time() - path.stat().st_mtime < _FRESH
            message = read_request(path.read_bytes())
        except (OSError, ExplorerError):
            is_fresh, message = False, None
        with contextlib.suppress(OSError):
            path.unlink()
            if is_fresh and isinstance(message, Submit):
                yield message


_MOST = LARGEST // 2
"""Bytes of findings that go into a message."""

_FORGOTTEN = 3600.0
"""Seconds after which nobody comes for a file any more."""


def pack_result(findings: dict[str, Any], most: int = _MOST) -> StudyResult:
    """Put findings on their way; what nobody came for is removed.

    Raises:
        ExplorerError: the file cannot be written.
    """
    line = json_line(findings)
    if len(line) <= most:
        return StudyResult(findings=findings)
    folder = runtime_folder()
    make_folder(folder)
    for old in folder.glob("findings-*.json"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _FORGOTTEN:
                old.unlink()
    path = folder / f"findings-{secrets.token_hex(8)}.json"
    write_atomic(path, line)
    return StudyResult(file=str(path))


def unpack_result(message: StudyResult) -> dict[str, Any]:
    """Take findings off their way, and remove their file.

    Raises:
        ExplorerError: the file cannot be read.
    """
    if not message.file:
        return message.findings
    path = Path(message.file)
    try:
        line = path.read_bytes()
        path.unlink()
        return json.loads(line)
    except OSError as error:
        raise as_explorer_error(error, path) from error
    except ValueError:
        raise ExplorerError("what the study found cannot be read", where=str(path), remedy="ask for it again") from None
