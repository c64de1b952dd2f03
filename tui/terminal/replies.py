"""What a terminal says of itself, late or unasked, which is nobody's key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from textual import events
from textual._time import get_time
from textual._xterm_parser import (
    BRACKETED_PASTE_END,
    BRACKETED_PASTE_START,
    XTermParser,
    _re_mouse_event,
    _re_terminal_mode_response,
)
from textual.drivers import linux_driver
from textual.keys import Keys
from textual.message import Message

_ESC: Final = "\x1b"
_ENDS: Final = ("\x07", "\x9c")
"""What ends a string in one character: BEL, and the ST of eight bits; the other ST is ESC and a backslash."""

_OPENING = re.compile(r"\x1b(?:\][0-9lL]|P[ -?]|[_^][!-~])")
"""How the strings of replies begin: OSC with a number (or a title), DCS with parameters, APC and PM with any text.

Alt and one of these characters is a key until the next character follows at once and looks like that.
"""

_PATIENCE = 2.0
"""Seconds after which a string that has not ended is given up; what comes then are keys again."""

_LONGEST = 100_000
"""Characters after which a string that has not ended is given up."""

_CSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""A whole control sequence."""

_UNFINISHED: Final = ("\x1b[M", "\x1b[[")
"""Whole by that rule, and yet the beginning of a mouse report or of a function key of the Linux console."""

_KITTY = re.compile(r"\x1b\[([0-9]*)(:[0-9:]*)?;([0-9]*)(?::([0-9]*))?(;[0-9:]*)?([u~ABCDEFHPQRS])")
"""A key of the Kitty protocol: number, its alternates, modifiers, kind of event, text."""

_RELEASE: Final = "3"


class KeyParser(XTermParser):
    """Reads keys as Textual does, and passes over the rest of what a terminal sends.

    Textual takes an OSC, DCS, APC or PM string for the keys of its letters, and so it does with a control sequence that
    it does not know; a key of the Kitty protocol with subfields ends the program.

    Everything goes on to Textual's parser at once, so that keys keep its timing; where the third character tells that a
    string has begun, that parser forgets the first two. A paste is not looked into.
    """

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._begun = ""
        self._pasting = False
        self._inside = False
        self._ending = False
        self._until = 0.0
        self._left = 0

    def feed(self, data: str) -> Iterable[Message]:
        """Take what was read and give the events in it; nothing read is the end."""
        if not data or not (self._inside or self._begun or _ESC in data):
            yield from super().feed(data)
            return
        for character in data:
            if passed := self._passed(character):
                yield from super().feed(passed)

    def tick(self) -> Iterable[Message]:
        """Give up what was waited for long enough, a string or the rest of a key's sequence."""
        if self._inside and get_time() >= self._until and (passed := self._leave()):
            yield from super().feed(passed)
        was_waiting = self._timeout_time is not None
        yield from super().tick()
        if was_waiting and self._timeout_time is None:
            self._begun = ""

    def _passed(self, character: str) -> str:
        """What of a character, and of one that was held before it, goes on to Textual's parser."""
        if self._inside:
            return self._skipped(character)
        self._begun = character if character == _ESC else (self._begun and self._begun + character)
        if self._begun == BRACKETED_PASTE_START:
            self._pasting = True
        elif self._begun == BRACKETED_PASTE_END:
            self._pasting = False
        elif not self._pasting and _OPENING.fullmatch(self._begun):
            self._enter()
            return ""
        if len(self._begun) >= len(BRACKETED_PASTE_START):
            self._begun = ""
        return character

    def _skipped(self, character: str) -> str:
        """Drop a character of a string, unless it shows that the string is over, or never was one."""
        self._left -= 1
        if self._ending and character == "\\":
            self._inside = self._ending = False
            return ""
        if self._ending or not self._left or get_time() >= self._until:
            return self._leave() + self._passed(character)
        if character == _ESC:
            self._ending = True
        elif character in _ENDS:
            self._inside = False
        elif character < " " or character == "\x7f":
            return self._leave() + self._passed(character)
        return ""

    def _enter(self) -> None:
        """Begin to drop a string, and have Textual's parser forget how it began."""
        self._gen.close()
        self._gen = self.parse(self._tokens.append)
        self._awaiting = next(self._gen)
        self._timeout_time = None
        self._begun, self._inside = "", True
        self._until, self._left = get_time() + _PATIENCE, _LONGEST

    def _leave(self) -> str:
        """Give up a string; an escape that did not end it begins something else."""
        held = _ESC if self._ending else ""
        self._inside = self._ending = False
        self._begun = held
        return held

    def _parse_extended_key(self, sequence: str) -> list[events.Key] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Read a key of the Kitty protocol; one with alternates, and the release of a key, are ignored."""
        match = _KITTY.fullmatch(sequence)
        if match:
            number, alternates, modifiers, kind, text, end = match.groups(default="")
            if alternates or kind == _RELEASE:
                return [events.Key(Keys.Ignore, sequence)]
            sequence = f"{_ESC}[{number};{modifiers}{text}{end}"
        try:
            return super()._parse_extended_key(sequence)
        except (ValueError, OverflowError):
            # A number that is no character, or a field that is none.
            return [events.Key(Keys.Ignore, sequence)]

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        """Map a sequence to keys; a whole control sequence that is none, nor anything else of Textual's, is ignored."""
        keys = list(super()._sequence_to_key_events(sequence, alt))
        if not keys and _CSI.fullmatch(sequence) and sequence not in _UNFINISHED:
            known = _re_mouse_event.match(sequence) or _re_terminal_mode_response.match(sequence)
            keys = [] if known else [events.Key(Keys.Ignore, sequence)]
        return keys


def install() -> None:
    """Have every screen read keys through it."""
    module: Any = linux_driver
    module.XTermParser = KeyParser
