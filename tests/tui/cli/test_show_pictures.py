"""`show` in a terminal that shows pictures, and in one that says nothing at all."""

from __future__ import annotations

import base64
import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.waiting import PATIENCE

IMAGE = pytest.importorskip("PIL.Image", reason="the extra `pictures` is not installed")
pytest.importorskip("matplotlib", reason="the extra `pictures` is not installed")
PROGRAM = "import sys; from srm_explorer.tui.cli import main; sys.exit(main())"
COLUMNS, ROWS, CELL = 100, 31, (8, 17)


def shown(*arguments: str, answers: list[bytes]) -> bytes:
    """What a terminal is sent by the program, each of whose last questions it gives the next answers."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {name: value for name, value in os.environ.items() if not re.match("SSH_|TMUX|STY|NO_COLOR", name)}
    process = subprocess.Popen(
        # A session whose terminal this is, as a shell's.
        [sys.executable, "-c", f"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); {PROGRAM}", *arguments],
        env={**environment, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    sent, until = b"", time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            part = os.read(ours, 65_536)
        except OSError:
            break
        if answers and b"\x1b[c" in part:
            os.write(ours, answers.pop(0))
        sent += part
    os.close(ours)
    assert process.wait(PATIENCE) == 0, sent
    return sent


def test_a_terminal_with_kittys_protocol_is_shown_pictures_of_its_width(save: Callable[..., Any]) -> None:
    save("storm")
    first = f"\x1b[6;{CELL[1]};{CELL[0]}t\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1bP>|kitty\x1b\\\x1b[?62;c".encode()
    answers = [first, b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c"]
    sent = shown("show", "storm", "--chart", "polar", answers=answers)
    keys, rest = re.findall(rb"\x1b_G(a=T[^;]*);(.*?)\x1b8", sent, re.DOTALL)[0]
    picture = IMAGE.open(io.BytesIO(base64.b64decode(re.sub(rb"\x1b\\|\x1b_G[^;]*;", b"", rest)))).convert("RGB")
    assert picture.size == (COLUMNS * CELL[0], (ROWS - 1) * CELL[1])
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert f"c={COLUMNS},r={ROWS - 1},".encode() in keys + b","
    assert not re.search("[\u2801-\u28ff]", sent.decode(errors="replace"))
    # What the terminal answered is not typed to whoever reads it next.
    assert b"^[_G" not in sent
    assert b"^[[6;" not in sent


def test_a_terminal_that_does_not_answer_is_shown_characters(save: Callable[..., Any]) -> None:
    save("storm")
    sent = shown("show", "storm", "--chart", "polar", "--pictures", "on", answers=[])
    assert b"\x1b_G" not in sent
    assert re.search("[\u2801-\u28ff]", sent.decode(errors="replace"))
    assert b"this terminal shows no pictures" in sent
