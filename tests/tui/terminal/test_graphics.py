"""What a terminal says of pictures, and what makes it show one."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.tui.terminal.graphics import Graphics, asks, png, removal, sequence, sixels
from srm_explorer.tui.terminal.replies import KeyParser, TerminalReply

PNG = pytest.importorskip("PIL.Image", reason="the extra `pictures` is not installed")
SIZE, LAST = "\x1b[6;18;9t", "\x1b[?62;c"
ANSWERS = {
    "kitty": f"{SIZE}\x1b]11;rgb:1a1a/1b1b/2626\x07\x1bP>|kitty(0.36)\x1b\\{LAST}\x1b_Gi=31;OK\x1b\\{LAST}",
    "iterm": f"{SIZE}\x1bP>|iTerm2 3.5.0\x1b\\\x1b[?62;4c",
    "sixel": f"{SIZE}\x1b]11;rgb:ff/ff/ff\x1b\\\x1bP>|foot(1.16)\x1b\\\x1b[?62;4;22c\x1b[?62;4;22c",
    None: f"\x1b]11;rgb:0/0/0\x07\x1bP>|XTerm(390)\x1b\\{LAST}\x1b_Gi=31;ENOTSUPPORTED:no\x1b\\{LAST}",
}


def told(answers: str, *cuts: int) -> Graphics:
    parser, known = KeyParser(), Graphics()
    ends = [*sorted(min(cut, len(answers)) for cut in cuts), len(answers)]
    for begin, end in zip([0, *ends], ends, strict=False):
        for message in parser.feed(answers[begin:end]) if begin < end else ():
            assert isinstance(message, TerminalReply), "a reply is no key"
            known = known.with_reply(message.sequence)
    return known


@given(way=st.sampled_from([*ANSWERS]), cuts=st.lists(st.integers(0, 120), max_size=4))
def test_the_best_way_is_known_wherever_the_answers_are_split_and_none_is_a_key(way: Any, cuts: list[int]) -> None:
    known = told(ANSWERS[way], *cuts)
    assert known.way == way
    assert known.is_whole
    assert known.cell == (None if way is None else (9, 18))


def test_what_the_terminal_says_of_its_colours_is_kept() -> None:
    assert told(ANSWERS["kitty"]).background == (0x1A, 0x1B, 0x26)
    assert told(ANSWERS["sixel"]).background == (255, 255, 255)
    assert told(ANSWERS["iterm"]).background is None


def test_sixels_need_the_size_of_a_cell_and_a_senseless_one_is_none() -> None:
    for size in ("", "\x1b[6;0;0t", "\x1b[6;1;9999t"):
        assert told(f"{size}\x1b[?62;4c").way is None


@pytest.mark.parametrize(
    ("environ", "auto", "on"),
    [
        ({"TERM": "xterm-kitty"}, True, True),
        ({"TERM": "xterm-256color", "SSH_CONNECTION": "a b"}, False, True),
        ({"TERM": "xterm-256color", "SSH_TTY": "/dev/pts/1"}, False, True),
        ({"TERM": "tmux-256color"}, False, True),
        ({"TERM": "xterm", "TMUX": "/tmp/x"}, False, True),
        ({"TERM": "screen"}, False, True),
        ({"TERM": "xterm", "INSIDE_EMACS": "29"}, False, True),
        ({"TERM": "xterm", "TEXTUAL_DRIVER": "a:b"}, False, False),
        ({"TERM": "linux"}, False, False),
        ({"TERM": "dumb"}, False, False),
        ({}, False, False),
    ],
)
def test_a_terminal_is_asked_where_that_does_no_harm(environ: dict[str, str], auto: bool, on: bool) -> None:
    assert (asks("auto", environ), asks("on", environ), asks("off", environ)) == (auto, on, False)


@pytest.mark.parametrize("name", ["", "\x1bP>|tmux 3.5\x1b\\", "\x1bP>|screen 5\x1b\\", "\x1bP>|WezTerm 2024\x1b\\"])
def test_kittys_question_is_for_those_who_do_not_take_it_for_text_or_a_title(name: str) -> None:
    known = told(f"{name}{LAST}")
    assert known.is_whole
    assert not known.asks_kitty


def test_who_may_have_kittys_protocol_is_asked_once() -> None:
    first = told(f"\x1bP>|ghostty 1.2\x1b\\{LAST}")
    assert first.asks_kitty
    assert not first.is_whole
    assert not first.with_reply(LAST).asks_kitty


PICTURE = np.zeros((37, 50, 3), np.uint8)
PICTURE[5:20, 10:40] = (213, 94, 0)
PICTURE[21, 3:9] = (0, 114, 178)
PICTURE[30:, :] = (255, 255, 255)


def of_kitty(text: str) -> tuple[dict[str, str], bytes]:
    """What a picture is said to be, and its PNG, put together as the protocol says."""
    found = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert "".join(f"\x1b_G{keys};{part}\x1b\\" for keys, part in found) == text, "and nothing else"
    assert all(len(part) <= 4096 for _, part in found)
    assert [dict(item.split("=") for item in keys.split(","))["m"] for keys, _ in found] == [
        *["1"] * (len(found) - 1),
        "0",
    ]
    return dict(item.split("=") for item in found[0][0].split(",")), base64.b64decode(
        "".join(part for _, part in found)
    )


def test_kittys_protocol_has_the_picture_in_pieces_and_the_cells_it_fills() -> None:
    rng = np.random.default_rng(0)
    keys, data = of_kitty(sequence("kitty", rng.integers(0, 256, (200, 300, 3)).astype(np.uint8), 30, 10))
    assert (keys["a"], keys["f"], keys["c"], keys["r"], keys["C"], keys["q"]) == ("T", "100", "30", "10", "1", "2")
    assert PNG.open(io.BytesIO(data)).size == (300, 200)
    assert f"i={keys['i']}" in removal()


def test_iterms_protocol_has_the_picture_at_once() -> None:
    match = re.fullmatch(r"\x1b\]1337;File=([^:]*):([^\x07]*)\x07", sequence("iterm", PICTURE, 5, 2))
    assert match is not None
    options = dict(item.split("=") for item in match[1].split(";"))
    data = base64.b64decode(match[2])
    assert (options["width"], options["height"], options["inline"]) == ("5", "2", "1")
    assert int(options["size"]) == len(data)
    assert PNG.open(io.BytesIO(data)).size == (50, 37)


def of_sixels(text: str) -> Any:
    """Pixels as a terminal draws them, -1 where it draws none."""
    match = re.fullmatch(r'\x1bP9;1;0q"1;1;(\d+);(\d+)([^\x1b]*)\x1b\\', text)
    assert match is not None
    width, height = int(match[1]), int(match[2])
    pixels, palette = np.full((height, width, 3), -1), {}
    x = y = 0
    colour = ()
    for one in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|([$-])", match[3]):
        if one[1]:
            palette[one[1]] = tuple(round(int(part) * 2.55) for part in one.group(2, 3, 4))
        elif one[5]:
            colour = palette[one[5]]
        elif one[9]:
            x, y = 0, y + 6 * (one[9] == "-")
        else:
            count, bits = int(one[6] or 1), ord(one[7] or one[8]) - 63
            for row in range(6):
                if bits >> row & 1:
                    pixels[y + row, x : x + count] = colour
            x += count
    return pixels


@given(height=st.integers(1, 20), width=st.integers(1, 30), colours=st.integers(1, 9), seed=st.integers(0, 99))
def test_sixels_are_the_picture_pixel_by_pixel(height: int, width: int, colours: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Colours that a share of 100 can say.
    palette = np.rint(rng.integers(0, 21, (colours, 3)) * 5 * 2.55)
    pixels = palette[rng.integers(0, colours, (height, width))].astype(np.uint8)
    assert np.abs(of_sixels(sixels(pixels)) - pixels).max() <= 2


def test_colours_of_few_pixels_are_kept() -> None:
    shown = np.asarray(PNG.open(io.BytesIO(png(PICTURE))).convert("RGB"), int)
    assert np.abs(shown - PICTURE).max() <= 4
