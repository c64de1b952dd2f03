"""Replies of a terminal are no keys, however they arrive; keys stay what they are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import constants, events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from srm_explorer.tui.app import ExplorerApp
from srm_explorer.tui.terminal import replies
from srm_explorer.tui.terminal.replies import KeyParser

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
        "\x1b_Gi=31;OK",
        "\x1b^private r q",
    )
]
REPORTS = [
    "\x1b[57:93;3u",
    "\x1b[97;1:3u",
    "\x1b[1;1:3A",
    "\x1b[1079::97;5u",
    "\x1b[97;1:3~",
    "\x1b[99999999999;5u",
    "\x1b[?62;4;22c",
    "\x1b[>1;10;0c",
    "\x1b[10;20R",
    "\x1b[?997;1n",
    "\x1b[8;24;80t",
    "\x1b[48;24;80;480;640t",
    "\x1b[?2026;2$y",
]
KEYS = ["s", "é", "\r", "\t", "\x03", "\x7f", "\x1b[A", "\x1bOP", "\x1b[1;5C", "\x1b[97;5u", "\x1b[97;1:1u"]


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


@pytest.mark.parametrize("reply", [*STRINGS, *REPORTS], ids=ascii)
def test_no_reply_is_a_key_wherever_it_is_split(reply: str) -> None:
    for at in range(len(reply) + 1):
        for after in range(at, len(reply) + 1):
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


@given(text=st.text(st.sampled_from([*"sr]P_^\\1;\x07", "é"]), max_size=30), reply=st.sampled_from(STRINGS))
def test_a_paste_is_not_looked_into(text: str, reply: str) -> None:
    pasted = text + reply + text
    for sent in (text, pasted):
        parts = ["\x1b[20", "0~", *sent, "\x1b[201~", "t"]
        plain, own = read(XTermParser(), *parts), read(KeyParser(), *parts)
        assert [one.text for one in own if isinstance(one, events.Paste)] == [
            one.text for one in plain if isinstance(one, events.Paste)
        ]
        assert keys(own) == keys(plain)


@pytest.mark.parametrize(
    "sequence", ["\x1b", "\x1b]", "\x1bP", "\x1b_", "\x1b^", "\x1b[", "\x1bx", "\x1b\x1b"], ids=ascii
)
def test_escape_and_alt_come_when_they_come_with_textual(sequence: str, clock: Clock) -> None:
    for wait in (constants.ESCAPE_DELAY / 2, constants.ESCAPE_DELAY, 1.0):
        for parts in ((sequence, "1", "s"), (*sequence, "s"), (sequence, "]", "1")):
            plain, own = XTermParser(), KeyParser()
            if wait < constants.ESCAPE_DELAY and parts != (*sequence, "s"):
                parts = (sequence,)  # what follows in time may be a reply
            for part in parts:
                expected = keys(read(plain, part, wait=wait, clock=clock))
                clock.now -= wait
                assert keys(read(own, part, wait=wait, clock=clock)) == expected


@pytest.mark.parametrize("opening", ["\x1b]11;", "\x1bP>|", "\x1b_G", "\x1b^p", "\x1b]11;rgb\x1b"], ids=ascii)
def test_a_string_that_never_ends_does_not_hold_the_keys_for_ever(opening: str, clock: Clock) -> None:
    held = ["escape"] if opening.endswith("\x1b") else []
    parser = KeyParser()
    assert keys(read(parser, opening, wait=10.0, clock=clock)) == []
    clock.now += constants.ESCAPE_DELAY
    assert keys([*parser.tick()]) == held
    assert keys(read(parser, "s")) == ["s"]


@pytest.mark.parametrize("control", ["\r", "\x03", "\x11", "\x7f", "\x1b[A", "\x1bOP"], ids=ascii)
def test_a_key_that_is_no_text_ends_what_was_no_reply(control: str) -> None:
    for opening in ("\x1b]11;", "\x1bP>|", "\x1b_G", "\x1b^p"):
        assert keys(read(KeyParser(), opening + control + "s")) == [*key_of(control), "s"]


def test_an_endless_string_is_given_up_by_its_length() -> None:
    assert 0 < len(keys(read(KeyParser(), "\x1b]1" + "x" * 100_005))) < 10


def test_no_key_of_textual_begins_with_what_is_ignored() -> None:
    for sequence in ANSI_SEQUENCES_KEYS:
        assert keys(read(KeyParser(), sequence, "s"))[-1:] == keys(read(XTermParser(), sequence, "s"))[-1:]
        assert keys([*KeyParser().feed(sequence)]) == keys([*XTermParser().feed(sequence)]), ascii(sequence)


def test_the_mouse_is_read_as_before() -> None:
    for sequence in ("\x1b[<0;10;5M", "\x1b[<0;10;5m", "\x1b[M !!"):
        plain, own = ([type(one) for one in read(parser, sequence)] for parser in (XTermParser(), KeyParser()))
        assert own == plain


def test_the_app_reads_through_it() -> None:
    ExplorerApp()
    assert LinuxDriver.run_input_thread.__globals__["XTermParser"] is KeyParser
