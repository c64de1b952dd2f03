"""Copying over SSH: the terminal is told what to keep, through tmux and screen, or a file has it."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping
from pathlib import Path

MOST = 74_994
"""Characters of base64 that terminals are known to take in one sequence."""

_SCREEN_PIECE = 250
"""Characters GNU screen passes on in one sequence with room to spare; it cuts longer ones off."""


def copy_sequence(text: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """What makes a terminal keep a text: OSC 52, wrapped where tmux or GNU screen stand between.

    Inside tmux it goes twice, wrapped and bare: either tmux passes it on or it keeps the text itself, as it is set up.

    Args:
        text: to be kept.
        environ: says what stands between: $TMUX, $STY, $TERM.

    Returns:
        None where the text is too long, or the terminal keeps nothing.
    """
    if environ.get("TERM", "") in ("", "dumb", "linux"):
        return None
    encoded = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    if len(encoded) > MOST:
        return None
    sequence = f"\x1b]52;c;{encoded}\x07"
    return wrapped(sequence, environ) + (sequence if environ.get("TMUX") else "")


def wrapped(sequence: str, environ: Mapping[str, str] = os.environ) -> str:
    """A sequence for the terminal itself, wrapped so that tmux or GNU screen pass it on where they stand between."""
    if environ.get("TMUX"):
        doubled = sequence.replace("\x1b", "\x1b\x1b")
        return f"\x1bPtmux;{doubled}\x1b\\"
    if environ.get("STY") or environ.get("TERM", "").startswith("screen"):
        pieces = [sequence[at : at + _SCREEN_PIECE] for at in range(0, len(sequence), _SCREEN_PIECE)]
        return "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
    return sequence


def copy_to_file(text: str, folder: Path) -> Path:
    """Write a text to a new file of a folder, for a terminal that does not take it; return the file.

    Raises:
        ExplorerError: it cannot be written.
    """
    from srm_explorer.engine.io.files import write_atomic

    path = folder / f"copied-{time.strftime('%Y%m%d-%H%M%S')}.txt"
    write_atomic(path, text.encode("utf-8", "replace"))
    return path
