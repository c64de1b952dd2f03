"""Lines that people read, on any terminal: notes, sizes, spans of time, and texts from outside."""

from __future__ import annotations

import contextlib
import sys


def note(line: str) -> None:
    """Print one line on standard error, after what is on standard output so far; nobody is told where that is gone."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        sys.stderr.write(f"srm-explorer: {visible(line)}\n")
        sys.stderr.flush()


def visible(text: str) -> str:
    """A text from a file, a model or an argument as one line that no terminal obeys: controls are shown escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c in "\n\t\r" else escaped(c) for c in text)


def file_size(size: int) -> str:
    """A number of bytes as people say it: "9 MB"."""
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if amount >= 9.95 or unit == "B" else f"{amount:.1f} {unit}"


def clock(seconds: float) -> str:
    """A span of time as "0:05" or "1:02:03"."""
    hours, rest = divmod(max(0, round(seconds)), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def escaped(character: str) -> str:
    """A character as Python writes it that does not print."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
