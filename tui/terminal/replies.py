"""What a terminal says of itself, late or unasked, which is nobody's key."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

from textual import constants, events, messages
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._keyboard_protocol import FUNCTIONAL_KEYS
from textual._parser import ParseEOF, ParseTimeout, Peek1, Read1
from textual._time import get_time
from textual._xterm_parser import (
    BRACKETED_PASTE_END,
    BRACKETED_PASTE_START,
    FOCUSIN,
    FOCUSOUT,
    IS_ITERM,
    XTermParser,
    _re_cursor_position,
    _re_in_band_window_resize,
    _re_mouse_event,
    _re_terminal_mode_response,
)
from textual.driver import Driver
from textual.keys import KEY_NAME_REPLACEMENTS, Keys, _character_to_key
from textual.message import Message

from srm_explorer.tui.terminal.graphics import is_reply

_ESC: Final = "\x1b"
_ENDS: Final = ("\x07", "\x9c", "\udc9c")
"""What ends a string in one character: BEL, and the ST of eight bits; the other ST is ESC and a backslash."""

_EIGHT_BITS: Final = {
    first: letter
    for code, letter in ((0x8F, "O"), (0x90, "P"), (0x98, "X"), (0x9B, "["), (0x9D, "]"), (0x9E, "^"), (0x9F, "_"))
    for first in (chr(code), chr(0xDC00 + code))
}
"""Introducers of eight bits, as UTF-8 or as a bare byte, and the letter after ESC that says the same."""

_OPENING = re.compile(r"\](?:[0-9lLI])|P[ -~]|[_^X][!-~]")
"""How the strings of replies begin: OSC with a number (or a title), DCS, APC, PM and SOS with any text.

Alt and one of these characters is a key until the next character follows at once and looks like that.
"""

_LATE = re.compile(
    r"\x1b(?:\[(?:[0-?]+[ -/]*[@-~]|[A-FHIOZ]\Z|M...)|\][0-9]+;|[]P_^X][ -~]{2,}(?:\x1b\\|[\x07\x9c])|P[0-9;]*[!$+>])"
)
"""What shows, with the next that is read, that an escape was no key: nobody types that fast."""

_PATIENCE = 2.0
"""Seconds after which what has not ended is given up; what comes then are keys again."""

_PASTE_PATIENCE = 10.0
"""Seconds of silence after which a pasted text is taken to be whole."""

_BULK = 16
"""Characters read at once that nobody types: while they come, a string is waited for."""

_LONGEST = 256
"""Characters of a control sequence after which it is none that is known."""

_KITTY = re.compile(r"\x1b\[([0-9]*)(?::[0-9:]*)?(?:;([0-9]*)(?::([0-9]*))?)?(?:;([0-9:]*))?([u~ABCDEFHPQRS])")
"""A key of the Kitty protocol: number, modifiers, kind of event, text, end; the number's alternates are passed over."""

_PRESSES: Final = ("", "1", "2")
"""Kinds of event that are a key, pressed or held; its release is none."""

_OTHER_KEYS: Final = "27"
"""The number under which xterm tells a key that it has no name for, and its character as a third field."""

Reading = Generator[Read1 | Peek1, str, str]


@dataclass
class TerminalReply(Message, bubble=False):
    """What a terminal answers of the pictures that it can show."""

    sequence: str


class KeyParser(XTermParser):
    """Reads keys as Textual does, and passes over the rest of what a terminal sends.

    Textual takes an OSC, DCS, APC or PM string for the keys of its letters, and so it does with a control sequence that
    it does not know, that is long, or that comes in two parts; a key of the Kitty protocol with subfields ends the
    program. Here such a string or sequence is dropped up to its end, whatever that is, or up to a character that
    cannot be in it, and where no end comes, for two seconds. Alt with a key is never the key alone.
    """

    def __init__(self, debug: bool = False) -> None:
        self._held = ""
        self._is_bulk = False
        self._cut = ""
        self._cut_until = 0.0
        self._in_band = False
        super().__init__(debug)

    def feed(self, data: str) -> Iterable[Message]:
        """Take what was read and give the events in it; nothing read is the end."""
        if data and self._cut:
            if get_time() < self._cut_until and _LATE.match(self._cut + data):
                data = self._cut + data
            self._cut = ""
        self._is_bulk = len(data) >= _BULK
        yield from super().feed(data)

    def parse(self, token_callback: Callable[[Message], None]) -> Generator[Read1 | Peek1, str, None]:
        """Read one key, reply or text after the other."""
        self._tell = token_callback
        try:
            while True:
                character = yield from self._read()
                if character == _ESC:
                    yield from self._escape()
                elif character in _EIGHT_BITS:
                    yield from self._introduced(_EIGHT_BITS[character], is_sure=True)
                elif not "\x80" <= character <= "\x9f" and not "\ud800" <= character <= "\udfff":
                    self._tell_keys(super()._sequence_to_key_events(character))
        except ParseEOF:
            return

    def _read(self, seconds: float | None = None) -> Reading:
        """The next character, also one that was read before it was known to be another's."""
        if self._held:
            character, self._held = self._held[0], self._held[1:]
            return character
        return (yield Read1(seconds))

    def _escape(self) -> Generator[Read1 | Peek1, str, None]:
        """Read what an escape begins; alone it is the key."""
        try:
            character = yield from self._read(constants.ESCAPE_DELAY)
        except (ParseTimeout, ParseEOF) as end:
            self._tell(events.Key("escape", _ESC))
            self._cut_off(_ESC, end)
            return
        if character == _ESC or character in _EIGHT_BITS:
            self._tell(events.Key("escape", _ESC))
            self._held = character
        elif character in "[O]P_^X":
            yield from self._introduced(character, is_sure=False)
        elif known := list(super()._sequence_to_key_events(_ESC + character)):
            self._tell_keys(known)
        elif _is_no_text(character):
            self._held = character
        elif character != "\\":
            self._tell(_with_alt(character))

    def _introduced(self, letter: str, *, is_sure: bool) -> Generator[Read1 | Peek1, str, None]:
        """Read what a letter after an escape introduces; where that may be alt and the letter, see what follows."""
        if letter in "[O":
            yield from self._control(_ESC + letter, is_sure)
            return
        if not is_sure:
            try:
                character = yield from self._read(constants.ESCAPE_DELAY)
            except (ParseTimeout, ParseEOF) as end:
                self._tell(_with_alt(letter))
                self._cut_off(_ESC + letter, end)
                return
            self._held = character
            if not _OPENING.fullmatch(letter + character):
                self._tell(_with_alt(letter))
                return
        yield from self._string(letter)

    def _string(self, letter: str) -> Generator[Read1 | Peek1, str, None]:
        """Drop a string, but for what was asked for."""
        until = get_time() + _PATIENCE
        before = text = ""
        while True:
            try:
                character = yield from self._read(max(0.0, until - get_time()))
            except (ParseTimeout, ParseEOF) as end:
                if before == _ESC:
                    self._tell(events.Key("escape", _ESC))
                if isinstance(end, ParseEOF):
                    raise
                return
            if self._is_bulk:
                until = get_time() + _PATIENCE
            if before == _ESC:
                # Not the end: another sequence begins where this one was cut off.
                self._held = "" if character == "\\" else _ESC + character
                if not self._held:
                    self._tell_reply(f"{_ESC}{letter}{text}\\")
                return
            if character in _ENDS:
                self._tell_reply(f"{_ESC}{letter}{text}{_ESC}\\")
                return
            if character != _ESC and _is_no_text(character):
                self._held = character
                return
            before = character
            text += character if len(text) < _LONGEST else ""

    def _tell_reply(self, sequence: str) -> None:
        if is_reply(sequence):
            self._tell(TerminalReply(sequence))

    def _control(self, sequence: str, is_sure: bool) -> Generator[Read1 | Peek1, str, None]:
        """Read a control sequence; one that is not known, or does not end, is dropped."""
        begun, until = sequence, get_time() + _PATIENCE
        while True:
            is_alone = sequence == begun and not is_sure
            try:
                character = yield from self._read(constants.ESCAPE_DELAY if is_alone else max(0.0, until - get_time()))
            except (ParseTimeout, ParseEOF) as end:
                if is_alone:
                    self._tell(_with_alt(sequence[-1]))
                self._cut_off(sequence if is_alone else "", end)
                return
            if _is_no_text(character) or character > "~":
                if is_alone:
                    self._tell(_with_alt(sequence[-1]))
                self._held = character
                return
            sequence += character if len(sequence) < _LONGEST else ""
            if sequence in ("\x1b[[", "\x1b[M"):
                # A function key of the Linux console; a mouse of old, whose three characters may be any.
                for _ in range(1 if sequence == "\x1b[[" else 3):
                    try:
                        sequence += yield from self._read(max(0.0, until - get_time()))
                    except ParseTimeout:
                        return
                break
            if character >= "@" or sequence in ANSI_SEQUENCES_KEYS:
                break
        if sequence == BRACKETED_PASTE_START:
            yield from self._paste()
        elif len(sequence) < _LONGEST:
            self._tell_control(sequence)

    def _paste(self) -> Generator[Read1 | Peek1, str, None]:
        """Read a pasted text; what is in it is not looked into."""
        text: list[str] = []
        is_over = False
        while not is_over:
            try:
                text.append((yield from self._read(_PASTE_PATIENCE)))
            except (ParseTimeout, ParseEOF):
                break
            is_over = text[-1] == "~" and "".join(text[-len(BRACKETED_PASTE_END) :]) == BRACKETED_PASTE_END
        whole = "".join(text[: -len(BRACKETED_PASTE_END)] if is_over else text)
        whole = whole.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        self._tell(events.Paste("".join(one for one in whole if one in "\t\n\r" or not _is_no_text(one))))

    def _cut_off(self, begun: str, end: ParseTimeout | ParseEOF) -> None:
        """Take note of what was taken for a key and may be the beginning of something that comes late."""
        if isinstance(end, ParseEOF):
            raise end
        self._cut, self._cut_until = begun, get_time() + _PATIENCE

    def _tell_control(self, sequence: str) -> None:
        """Tell what a whole control sequence says, where it says anything."""
        if is_reply(sequence):
            self._tell(TerminalReply(sequence))
        elif sequence in (FOCUSIN, FOCUSOUT):
            self._tell(events.AppFocus() if sequence == FOCUSIN else events.AppBlur())
        elif match := _re_in_band_window_resize.fullmatch(sequence):
            self._tell_size(*(int(number.partition(":")[0]) for number in match.groups()))
        elif match := _re_cursor_position.fullmatch(sequence):
            self._tell(events.CursorPosition(int(match["col"]) - 1, int(match["row"]) - 1))
        elif keys := list(self._sequence_to_key_events(sequence)):
            self._tell_keys(keys)
        elif _re_mouse_event.match(sequence):
            mouse = self.parse_mouse_code(sequence)
            if mouse is not None:
                self._tell(mouse)
        elif match := _re_terminal_mode_response.match(sequence):
            self._tell_mode(match["mode_id"], int(match["setting_parameter"]))

    def _tell_mode(self, number: str, setting: int) -> None:
        if number == "2026" and setting > 0:
            self._tell(messages.TerminalSupportsSynchronizedOutput())
        elif number == "2048" and constants.SMOOTH_SCROLL and not IS_ITERM:
            message = messages.InBandWindowResize.from_setting_parameter(setting)
            self._in_band = message.supported
            self._tell(message)

    def _tell_size(self, height: int, width: int, pixel_height: int, pixel_width: int) -> None:
        """Tell of another size, where the terminal said before that it does so in this way."""
        if self._in_band and all(0 < number < 100_000 for number in (height, width, pixel_height, pixel_width)):
            resize = events.Resize.from_dimensions((width, height), (pixel_width, pixel_height))
            self.terminal_size, self.terminal_pixel_size = resize.size, resize.pixel_size
            self.mouse_pixels = True
            self._tell(resize)

    def _tell_keys(self, keys: Iterable[events.Key]) -> None:
        for key in keys:
            if key.key != Keys.Ignore:
                self._tell(key)

    def _parse_extended_key(self, sequence: str) -> list[events.Key] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Read a key of the Kitty protocol: its text where it has one, never one of its alternates, and no release."""
        match = _KITTY.fullmatch(sequence)
        if match is None:
            return None
        number, modifiers, kind, text, end = match.groups(default="")
        ignored = [events.Key(Keys.Ignore, sequence)]
        if kind not in _PRESSES:
            return ignored
        if end == "~" and number == _OTHER_KEYS:
            # Shift alone makes another character, which is what is told.
            number, text, end = text, text if modifiers in ("", "1", "2") else "", "u"
        try:
            characters = [chr(int(code)) for code in text.split(":") if code]
            if written := [character for character in characters if character.isprintable()]:
                return [events.Key(_character_to_key(character), character) for character in written]
            is_named = f"{int(number or '1')}{end}" in FUNCTIONAL_KEYS
            if not is_named and (end != "u" or not chr(int(number or "1")).isprintable()):
                # What Textual has a name for all the same, or nothing.
                return None
            return super()._parse_extended_key(f"{_ESC}[{number};{modifiers}{end}")
        except (ValueError, OverflowError):
            # A number that is no character.
            return ignored


def _is_no_text(character: str) -> bool:
    """Whether a character is a control character, of seven or eight bits, or a byte that is no UTF-8."""
    return character < " " or "\x7f" <= character <= "\x9f" or "\udc80" <= character <= "\udcff"


def _with_alt(character: str) -> events.Key:
    """The key of a character with alt, which is no text."""
    name = character if character.isalnum() else _character_to_key(character)
    name = KEY_NAME_REPLACEMENTS.get(name, name)
    return events.Key(f"alt+shift+{name.lower()}" if len(name) == 1 and name.isupper() else f"alt+{name}", None)


def lasting_decoder(name: str = "utf-8") -> Callable[[], codecs.IncrementalDecoder]:
    """A decoder that marks bytes which are no text: Textual's own ends the program at the first of them."""
    return lambda: codecs.getincrementaldecoder(name)(errors="surrogateescape")


def install(driver: type[Driver]) -> None:
    """Have every screen read keys through it that reads as one of Textual's drivers does, as a page is."""
    for module in (cast("Any", sys.modules[base.__module__]) for base in driver.__mro__):
        if hasattr(module, "XTermParser"):
            module.XTermParser = KeyParser
            module.getincrementaldecoder = lasting_decoder
