"""Replies of a terminal are no keys, however they arrive; keys stay what they are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import constants, events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser
from textual.message import Message

from srm_explorer.tui.app import ExplorerApp
from srm_explorer.tui.terminal import replies
from srm_explorer.tui.terminal.driver import TerminalDriver
from srm_explorer.tui.terminal.replies import KeyParser, lasting_decoder

ST, BEL = "\x1b\\", "\x07"
STRINGS = [
    f"{opening}{end}"
    for end in (ST, BEL)
    for opening in (
        "\x1b]11;rgb:1e1e/1e1e/2e2e",
        "\x1b]4;0;rgb:0000/0000/0000",
        "\x1b]52;c;aGVsbG8gd29ybGQ=",
        "\x1b]lq r s",
        "\x1bP>|term 1.0",
        "\x1bP1$r q",
        "\x1bP0+r544e",
        "\x1bP!|7E565445",
        "\x1bPtmux;q r",
        "\x1b_Gi=31;OK",
        "\x1b^private r q",
        "\x1bXstart r q",
    )
]
REPORTS = [
    "\x1b[97;1:3u",
    "\x1b[93;3:3;93u",
    "\x1b[1;1:3A",
    "\x1b[97;1:3~",
    "\x1b[113~",
    "\x1b[113;1H",
    "\x1b[17u",
    "\x1b[99999999999;5u",
    "\x1b[97;1;99999999999u",
    "\x1b[?0u",
    "\x1b[0n",
    "\x1b[?62;4;22c",
    "\x1b[?64;1;2;6;9;15;16;17;18;21;22;28;29;42;52c",
    "\x1b[>1;10;0c",
    "\x1b[2;1;1;112;112;1;0x",
    "\x1b[10;20R",
    "\x1b[?10;20;1R",
    "\x1b[?1;0;256S",
    "\x1b[?997;1n",
    "\x1b[8;24;80t",
    "\x1b[48;24;80;480;640t",
    "\x1b[?2026;2$y",
    "\x1b[1;2;3;4;5&w",
    "\x1b[0;10;5M",
    "\x1b[M q ",
    "\x1b[I",
    "\x1b[O",
]
KEYS = ["s", "é", "\r", "\t", "\x03", "\x7f", "\x1b[A", "\x1bOP", "\x1b[1;5C", "\x1b[97;5u", "\x1b[97;1:1u"]
EIGHT_BITS = {"\x1b[": "\x9b", "\x1b]": "\x9d", "\x1bP": "\x90", "\x1b^": "\x9e", "\x1b_": "\x9f", "\x1bX": "\x98"}


def in_eight_bits(reply: str) -> str:
    """A reply with the introducer of one character, and the end of one where it has the other of two."""
    return EIGHT_BITS[reply[:2]] + reply[2:].replace(ST, "\x9c")


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("textual._parser.get_time", clock)
    monkeypatch.setattr(replies, "get_time", clock)
    return clock


def read(parser: XTermParser, *parts: str, wait: float = 0.0, clock: Clock | None = None) -> list[Message]:
    """Feed parts as they are read, with a look at the time after each, as the driver does."""
    found: list[Message] = []
    for part in parts:
        found += parser.feed(part)
        if clock:
            clock.now += wait
        found += parser.tick()
    return found


def keys(messages: Sequence[Message]) -> list[str]:
    return [message.key for message in messages if isinstance(message, events.Key)]


def key_of(sequence: str) -> list[str]:
    """What Textual itself makes of a key; subfields aside, which it cannot read."""
    parser = XTermParser()
    return keys([*parser.feed(sequence.replace(":1u", "u")), *parser.feed("")])


REPLIES = [*STRINGS, *REPORTS, *map(in_eight_bits, [*STRINGS, *REPORTS][::3])]


@pytest.mark.parametrize("reply", REPLIES, ids=ascii)
def test_no_reply_is_a_key_wherever_it_is_split(reply: str) -> None:
    for at in range(len(reply) + 1):
        for after in {at, min(at + 1, len(reply)), max(at, len(reply) - 1)}:
            parts = [part for part in ("s", reply[:at], reply[at:after], reply[after:], "t") if part]
            assert keys(read(KeyParser(), *parts)) == ["s", "t"], parts
    assert keys(read(KeyParser(), "s", *reply, "t")) == ["s", "t"]


pieces = st.lists(st.sampled_from([*STRINGS, *REPORTS, *KEYS]), max_size=8)


@given(sent=pieces, draw=st.data())
def test_keys_among_replies_are_the_keys_alone(sent: list[str], draw: st.DataObject) -> None:
    whole = "".join(sent)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    parser = KeyParser()
    found = [message for part in parts if part for message in parser.feed(part)]
    assert keys([*found, *parser.feed("")]) == [key for one in sent if one in KEYS for key in key_of(one)]


@given(
    text=st.text(st.sampled_from([*"sr]P_^\\1;\n\t", "é"]), max_size=30), reply=st.sampled_from([*STRINGS, *REPORTS])
)
def test_a_paste_is_its_text_without_what_controls(text: str, reply: str) -> None:
    pasted = read(KeyParser(), "\x1b[20", "0~", *text, reply, *text, "\x1b[201~", "t")
    shown = reply.replace("\x1b", "").replace("\x07", "")
    assert [one.text for one in pasted if isinstance(one, events.Paste)] == [text + shown + text]
    assert keys(pasted) == ["t"]


@pytest.mark.parametrize("reply", REPLIES, ids=ascii)
def test_a_reply_whose_parts_come_apart_is_no_key_of_its_letters(reply: str, clock: Clock) -> None:
    for at in range(1, len(reply)):
        pressed = keys(read(KeyParser(), "s", reply[:at], reply[at:], "t", wait=0.5, clock=clock))
        # An escape that comes alone is the key, and so is alt with what introduces a reply: neither is a letter.
        assert [key for key in pressed if key != "escape" and not key.startswith("alt+")] == ["s", "t"], at
        assert len(pressed) == 2 or reply[:at] in ("\x1b", *EIGHT_BITS)


@pytest.mark.parametrize("reply", STRINGS[:2] + STRINGS[-2:], ids=ascii)
def test_a_long_string_is_dropped_to_its_end_however_slow_it_comes(reply: str, clock: Clock) -> None:
    end = ST if reply.endswith(ST) else BEL
    blocks = [reply.removesuffix(end), *["q r s 1 2 3 [ ] u ; : " * 200] * 20, end]
    assert keys(read(KeyParser(), "s", *blocks, "t", wait=1.0, clock=clock)) == ["s", "t"]


def test_bytes_that_are_no_text_are_no_keys() -> None:
    decoder = lasting_decoder()()
    for sent in (b"s\xff\xc3t", b"s\xe9\x80t", b"s\x9d11;rgb:1e1e\x9ct", b"s\x9b97;1:3ut", b"s\x901$r q\x9ct"):
        assert keys([*KeyParser().feed(decoder.decode(sent))]) == ["s", "t"]


@pytest.mark.parametrize(
    ("sequence", "pressed"),
    [
        ("\x1b[57;3;93u", [("right_square_bracket", "]")]),
        ("\x1b[57;7;93u", [("right_square_bracket", "]")]),
        ("\x1b[57;3:1;93u", [("right_square_bracket", "]")]),
        ("\x1b[57:93;3:2;93u", [("right_square_bracket", "]")]),
        ("\x1b[97;2;65u", [("A", "A")]),
        ("\x1b[32;2;32u", [("space", " ")]),
        ("\x1b[57400;129;49u", [("1", "1")]),
        ("\x1b[0;;228u", [("ä", "ä")]),
        ("\x1b[97;;101:769u", [("e", "e"), ("combining_acute_accent", "\u0301")]),
        ("\x1b[57:93;3u", [("alt+9", None)]),
        ("\x1b[57:93:93;3u", [("alt+9", None)]),
        ("\x1b[1079::97;5u", [("ctrl+\u0437", None)]),
        ("\x1b[13;1;13u", [("enter", None)]),
        ("\x1b[113;5u", [("ctrl+q", None)]),
        ("\x1b[27;5;113~", [("ctrl+q", None)]),
        ("\x1b[27;2;81~", [("Q", "Q")]),
        ("\x1b[1;1:2A", [("up", None)]),
        ("\x1b]", [("alt+right_square_bracket", None)]),
        ("\x1bx", [("alt+x", None)]),
        ("\x1bX", [("alt+shift+x", None)]),
    ],
    ids=ascii,
)
def test_a_key_with_a_text_is_that_text_and_no_other_is(sequence: str, pressed: list[tuple[str, str | None]]) -> None:
    parser = KeyParser()
    messages = [*parser.feed(sequence), *parser.feed("")]
    assert [(one.key, one.character) for one in messages if isinstance(one, events.Key)] == pressed


@given(
    numbers=st.lists(st.text(st.sampled_from("0123456789:"), max_size=6), max_size=5), end=st.characters(codec="ascii")
)
def test_no_control_sequence_ends_the_screen(numbers: list[str], end: str) -> None:
    for private in ("", "<", "?"):
        for message in [*KeyParser().feed(f"\x1b[{private}{';'.join(numbers)}{end}"), *KeyParser().feed("")]:
            assert isinstance(message, Message)


@pytest.mark.parametrize("sequence", ["\x1b", "\x1b]", "\x1bP", "\x1b_", "\x1b^", "\x1b[", "\x1bO"], ids=ascii)
def test_escape_and_alt_come_when_they_come_with_textual(sequence: str, clock: Clock) -> None:
    for wait, count in ((constants.ESCAPE_DELAY / 2, 0), (constants.ESCAPE_DELAY, 1), (1.0, 1)):
        assert len(keys(read(KeyParser(), sequence, wait=wait, clock=clock))) == count
        assert len(keys(read(XTermParser(), sequence, wait=wait, clock=clock))) == count
    for typed in ("1", "s", "]", "x"):
        assert keys(read(KeyParser(), sequence, typed, wait=1.0, clock=clock))[1:] == key_of(typed)


@pytest.mark.parametrize(
    "opening",
    ["\x1b]11;", "\x1bP>|", "\x1b_G", "\x1b^p", "\x1b]11;rgb\x1b", "\x1b[1;2", "\x9d", "\x9b", "\x1b[M"],
    ids=ascii,
)
def test_a_string_that_never_ends_does_not_hold_the_keys_for_ever(opening: str, clock: Clock) -> None:
    held = ["escape"] if opening.endswith("\x1b") else []
    for typed in ("", *("" if held else "rqu1")):
        parser = KeyParser()
        # What is typed at once is lost, and does not make it wait any longer.
        assert keys(read(parser, *opening, *typed, wait=0.05, clock=clock)) == []
        clock.now += 2.0
        assert keys([*parser.tick()]) == ([] if typed else held)
        assert keys(read(parser, "s")) == ["s"]


def test_a_paste_that_never_ends_is_a_paste_of_what_came(clock: Clock) -> None:
    parser = KeyParser()
    assert read(parser, "\x1b[200~a\nb", wait=60.0, clock=clock)[0].text == "a\nb"  # pyright: ignore
    assert keys(read(parser, "s")) == ["s"]


@pytest.mark.parametrize("control", ["\r", "\x03", "\x11", "\x7f", "\x1b[A", "\x1bOP"], ids=ascii)
def test_a_key_that_is_no_text_ends_what_was_no_reply(control: str) -> None:
    for opening in ("\x1b]11;", "\x1bP>|", "\x1b_G", "\x1b^p"):
        assert keys(read(KeyParser(), opening + control + "s")) == [*key_of(control), "s"]


def test_no_key_of_textual_begins_with_what_is_ignored() -> None:
    for sequence in ANSI_SEQUENCES_KEYS.keys() - {"\x1b", "\x9b", "\x1b\x1b"}:
        expected = ANSI_SEQUENCES_KEYS[sequence]
        named = [key.value for key in expected] if isinstance(expected, tuple) else None
        assert keys([*KeyParser().feed(sequence)]) in (keys([*XTermParser().feed(sequence)]), named), ascii(sequence)
        assert keys(read(KeyParser(), sequence, "s"))[-1:] == ["s"]


def test_the_mouse_is_read_as_before() -> None:
    for sequence in ("\x1b[<0;10;5M", "\x1b[<0;10;5m", "\x1b[M !!"):
        plain, own = ([type(one) for one in read(parser, sequence)] for parser in (XTermParser(), KeyParser()))
        assert own == plain


def test_the_app_reads_through_it() -> None:
    assert ExplorerApp().driver_class is TerminalDriver
    assert TerminalDriver.run_input_thread.__globals__["KeyParser"] is KeyParser
