"""What the doctor says of the terminal, and of what stands between it and this program."""

from __future__ import annotations

import os
import subprocess
import sys

from tui.cli.finding import Finding
from tui.cli.output import colour_wanted, screen_size

SMALLEST = (60, 16)
"""Columns and rows below which the full screen asks for more room."""


def terminal_findings() -> list[Finding]:
    """Tell the terminal's size, colours and characters, and where a copied text goes."""
    found = [Finding("terminal", " · ".join(_abilities()))]
    if sys.stdout.isatty():
        found.append(Finding("clipboard", _clipboard()))
    return found


def _abilities() -> list[str]:
    encoding = (sys.stdout.encoding or "unknown").lower()
    return [
        os.environ.get("TERM") or "no TERM",
        _size() if sys.stdout.isatty() else "not a terminal",
        _colours() if colour_wanted() else "no colours",
        "unicode" if "utf" in encoding else f"{encoding}, no unicode: charts need UTF-8",
        *(["tmux"] if os.environ.get("TMUX") else ["screen"] if os.environ.get("STY") else []),
        *(["ssh"] if os.environ.get("SSH_CONNECTION") else []),
    ]


def _size() -> str:
    width, height = screen_size()
    small = width < SMALLEST[0] or height + 1 < SMALLEST[1]
    return f"{width}x{height + 1}{f', the full screen needs {SMALLEST[0]}x{SMALLEST[1]}' if small else ''}"


def _colours() -> str:
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "16 million colours"
    if "256" not in os.environ.get("TERM", ""):
        return "8 colours"
    # OpenSSH does not forward the variable that says so, whatever the terminal can.
    more = " (if the terminal has more: export COLORTERM=truecolor)" if os.environ.get("SSH_CONNECTION") else ""
    return f"256 colours{more}"


def _clipboard() -> str:
    if os.environ.get("TERM", "") in ("", "dumb", "linux"):
        return "this terminal keeps no copies; they go to a file"
    if not os.environ.get("TMUX"):
        return "copies go by OSC 52, where the terminal takes it"
    passes = _tmux("allow-passthrough") in ("on", "all")
    keeps = _tmux("set-clipboard") == "on"
    if passes or keeps:
        return f"copies go by OSC 52 through tmux ({'allow-passthrough' if passes else 'set-clipboard'} is on)"
    return "tmux keeps copies from the terminal: `tmux set -g set-clipboard on`"


def _tmux(option: str) -> str:
    try:
        done = subprocess.run(["tmux", "show", "-gv", option], capture_output=True, text=True, timeout=2, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
