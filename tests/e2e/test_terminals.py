"""Terminals that are not as they mostly are: each shows the screen, or is refused in a line that says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.example import EXAMPLE

from .conftest import environment
from .terminal import COMMAND, Terminal


@pytest.mark.parametrize("sent", ["2> errors", "2>&-"])
def test_the_screen_is_on_the_terminal_wherever_errors_go(tmp_path: Path, sent: str) -> None:
    (tmp_path / "errors").touch()
    with Terminal(["sh", "-c", f"exec {COMMAND} open {EXAMPLE} {sent}"], environment(), tmp_path) as screen:
        screen.wait_for(r"lit \d+ of \d+")
        screen.press("q")
        assert screen.wait_for_end() == 0
        assert screen.left_in_order()
    assert (tmp_path / "errors").read_text() == ""


@pytest.mark.parametrize("kind", ["dumb", ""])
def test_a_terminal_of_which_nothing_is_known_is_refused_with_the_remedy(tmp_path: Path, kind: str) -> None:
    with Terminal([COMMAND], {**environment(), "TERM": kind}, tmp_path) as screen:
        assert screen.wait_for_end() == 2
        (line,) = [line for line in screen.lines if line]
    assert (f"TERM is {kind!r}" if kind else "TERM is not set") in line
    assert "TERM=xterm-256color srm-explorer" in line


def test_a_terminal_that_is_not_written_in_unicode_tells_what_is_chosen(tmp_path: Path) -> None:
    with Terminal([COMMAND, "--spec", "quick"], {**environment(), "PYTHONIOENCODING": "ascii"}, tmp_path) as screen:
        screen.wait_for(r"\[[x~]\] reasoning")
        assert "[ ] certainty" in screen.text


def test_what_another_program_wrote_into_the_screen_goes_with_ctrl_l_and_with_another_size(tmp_path: Path) -> None:
    with Terminal([COMMAND, "open", str(EXAMPLE)], environment(), tmp_path) as screen:
        screen.wait_for(r"lit \d+ of \d+")
        for heal in (lambda: screen.press("\x0c"), lambda: screen.resize(159, 48)):
            Path(f"/proc/{screen.pid}/fd/1").write_text("\x1b[3;5Hdisk almost full")
            screen.wait_for("disk almost full")
            heal()
            screen.wait_until_gone("disk almost full")
