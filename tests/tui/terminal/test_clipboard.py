from __future__ import annotations

import base64
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.tui.terminal.clipboard import MOST, copy_sequence, copy_to_file, wrapped


def kept_by(sequence: str) -> str:
    (encoded,) = re.findall(r"\x1b]52;c;([A-Za-z0-9+/=]*)\x07", sequence)
    return base64.b64decode(encoded).decode()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=2000))
def test_a_terminal_is_told_the_very_text(text: str) -> None:
    sequence = copy_sequence(text, {"TERM": "xterm-256color"})
    assert sequence is not None
    assert kept_by(sequence) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=2000))
def test_tmux_passes_on_what_it_unwraps(text: str) -> None:
    sequence = copy_sequence(text, {"TERM": "tmux-256color", "TMUX": "/tmp/tmux-0/default,1,0"})
    assert sequence is not None
    match = re.match(r"\x1bPtmux;(.*?)(?<!\x1b)\x1b\\", sequence, re.DOTALL)
    assert match
    assert kept_by(match[1].replace("\x1b\x1b", "\x1b")) == text
    assert kept_by(sequence[match.end() :]) == text


def test_gnu_screen_gets_pieces_it_does_not_cut() -> None:
    sequence = copy_sequence("x" * 5000, {"TERM": "screen", "STY": "1.pts"})
    assert sequence is not None
    pieces = re.findall(r"\x1bP(.*?)\x1b\\", sequence, re.DOTALL)
    assert max(map(len, pieces)) < 256
    assert kept_by("".join(pieces)) == "x" * 5000


def test_a_text_beyond_what_terminals_take_is_not_sent() -> None:
    fits = MOST // 4 * 3
    assert copy_sequence("x" * fits, {"TERM": "xterm"}) is not None
    assert copy_sequence("x" * (fits + 3), {"TERM": "xterm"}) is None


def test_a_terminal_that_keeps_nothing_is_sent_nothing() -> None:
    assert copy_sequence("x", {"TERM": "linux"}) is None
    assert copy_sequence("x", {}) is None


def test_without_anything_between_a_sequence_goes_as_it_is() -> None:
    assert wrapped("\x1b]9;done\x07", {"TERM": "xterm"}) == "\x1b]9;done\x07"


def test_what_no_terminal_takes_is_in_a_file_whole(tmp_path: Path) -> None:
    text = "a surrogate \ud800 and an umlaut ä\n" * 5000
    assert copy_to_file(text, tmp_path / "new").read_text() == text.replace("\ud800", "?")
