"""What a study found, on its way between processes: in a message, or in a file where it is too large for one."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from pathlib import Path
from typing import Any

from engine.errors import ExplorerError
from engine.files import as_explorer_error, write_atomic
from engine.runner.endpoint import make_folder, runtime_folder
from engine.runner.wire import LARGEST, Studied
from engine.session.fields import json_line

_MOST = LARGEST // 2
"""Bytes of findings that go into a message."""

_FORGOTTEN = 3600.0
"""Seconds after which nobody comes for a file any more."""


def studied(findings: dict[str, Any], most: int = _MOST) -> Studied:
    """Put findings on their way; what nobody came for is removed.

    Raises:
        ExplorerError: the file cannot be written.
    """
    line = json_line(findings)
    if len(line) <= most:
        return Studied(findings=findings)
    folder = runtime_folder()
    make_folder(folder)
    for old in folder.glob("findings-*.json"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _FORGOTTEN:
                old.unlink()
    path = folder / f"findings-{secrets.token_hex(8)}.json"
    write_atomic(path, line)
    return Studied(file=str(path))


def taken(message: Studied) -> dict[str, Any]:
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
