"""Text files read in, with what is wrong told in one line."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

from engine.errors import ExplorerError

LARGEST_FILE = 1 << 30
"""Bytes; a larger file is none of ours."""


def read_text(path: Path, *, missing: str = "check the path") -> str:
    """Read a whole UTF-8 file.

    Args:
        path: the file.
        missing: the remedy where there is no such file.

    Raises:
        ExplorerError: missing, a folder, unreadable, larger than 1 GiB, or not UTF-8 (with the line).
    """
    try:
        if path.is_file() and path.stat().st_size > LARGEST_FILE:
            raise ExplorerError("the file is larger than 1 GiB", where=str(path), remedy="is it the right one?")
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        what = f"byte {error.object[error.start]:#04x} is not UTF-8"
        raise ExplorerError(what, where=f"{path}, line {line}", remedy="save the file as UTF-8") from None
    except FileNotFoundError:
        raise ExplorerError("there is no such file", where=str(path), remedy=missing) from None
    except (OSError, ValueError) as error:
        what = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        remedy = "name a file, not a folder" if getattr(error, "errno", 0) == errno.EISDIR else "check the path"
        raise ExplorerError(f"cannot be read: {what.lower()}", where=str(path), remedy=remedy) from None


def parse_json(text: str, where: str) -> Any:
    """Read JSON into plain data.

    Raises:
        ExplorerError: broken JSON, with its line and column.
    """
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        remedy = "it may be cut short or not be a JSON file at all"
        raise ExplorerError(
            f"broken JSON: {error.msg}", where=f"{where}, {place}" if where else place, remedy=remedy
        ) from None
    except (RecursionError, ValueError) as error:
        what = "too deeply nested" if isinstance(error, RecursionError) else str(error)
        raise ExplorerError(f"broken JSON: {what}", where=where, remedy="it may not be a file of ours at all") from None
