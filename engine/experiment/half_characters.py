"""Tokens that end within a character: an emoji may be several tokens, none of which is text by itself."""

from __future__ import annotations

import codecs
import re

_ERRORS = "half-characters"
_BYTES = re.compile("(?:<0x[0-9A-F]{2}>)+")
_AT_END = re.compile("(?:<0x[0-9A-F]{2}>)+$")


def written(content: bytes) -> str:
    """The text that bytes are in UTF-8; a byte of no whole character as `<0xF0>`, as SentencePiece does."""
    return content.decode("utf-8", _ERRORS)


def joined(text: str) -> str:
    """The text of tokens that were joined: bytes that make whole characters together are these."""
    return _BYTES.sub(lambda found: written(bytes.fromhex(found[0].replace("<0x", "").replace(">", ""))), text)


def without_half(text: str) -> str:
    """A text without the bytes at its end, which what follows may make a character of."""
    return _AT_END.sub("", text)


def _as_codes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "".join(f"<0x{byte:02X}>" for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_ERRORS, _as_codes)
