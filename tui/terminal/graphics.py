"""Pictures in a terminal: which of three ways it has, as it says itself, and what makes it show one."""

from __future__ import annotations

import base64
import io
import itertools
import os
import re
import select
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from srm_explorer.engine.errors import ExplorerError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

Way = Literal["kitty", "iterm", "sixel"]
Choice = Literal["auto", "on", "off"]
Colour = tuple[int, int, int]

MISSING = ExplorerError("pictures need what is not installed", remedy="pip install 'srm-explorer[pictures]'")
NONE = ExplorerError("this terminal shows no pictures", remedy="kitty, iTerm2, WezTerm, foot and others do")
COLOURS = 64
"""Of a picture: what a chart has, and its edges smooth."""

OURS = 21_075
"""The number of the picture of the full screen, unlike those that programs count from 1."""

_PIECE = 4096
"""Characters of base64 in one sequence of Kitty's protocol."""

QUESTION = "\x1b[16t\x1b]11;?\x1b\\\x1b[>q\x1b[c"
"""The size of a cell, the background, the name, and what every terminal answers last: its attributes."""

KITTYS_QUESTION = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"
"""Asked of those alone that have said their name: simpler ones would show it as text, tmux and screen as a title."""

_REPLY = re.compile(
    r"\x1b_Gi=31;(?P<kitty>[^\x1b]*)\x1b\\"
    r"|\x1b\[6;(?P<height>\d{1,4});(?P<width>\d{1,4})t"
    r"|\x1b\]11;rgb:(?P<red>[0-9a-fA-F]{1,4})/(?P<green>[0-9a-fA-F]{1,4})/(?P<blue>[0-9a-fA-F]{1,4})\x1b\\"
    r"|\x1bP>\|(?P<name>[^\x1b]*)\x1b\\"
    r"|\x1b\[\?(?P<attributes>[\d;]*)c"
)


@dataclass(frozen=True)
class Graphics:
    """What a terminal says of itself.

    Attributes:
        USUAL_CELL: that of a terminal which does not say.
        kitty, sixel: whether it shows pictures in that way.
        name: and version; empty where it does not say.
        cell: width and height of a character in pixels; None where it does not say.
        background: its own colour, 0 to 255 each; None where it does not say.
        answered: how many questions were answered to their end.
    """

    USUAL_CELL: ClassVar[tuple[int, int]] = (10, 20)
    kitty: bool = False
    sixel: bool = False
    name: str = ""
    cell: tuple[int, int] | None = None
    background: Colour | None = None
    answered: int = 0

    @property
    def iterm(self) -> bool:
        """Whether it shows pictures in iTerm2's way, which only names tell."""
        return self.name.startswith(("iTerm2", "WezTerm"))

    @property
    def asks_kitty(self) -> bool:
        """Whether Kitty's question is the next one."""
        return self.answered == 1 and self._is_unknown

    @property
    def is_whole(self) -> bool:
        """Whether the last answer has come."""
        return self.answered > (1 if self._is_unknown else 0)

    @property
    def _is_unknown(self) -> bool:
        return bool(self.name) and not self.iterm and not self.name.lower().startswith(("tmux", "screen"))

    @property
    def way(self) -> Way | None:
        """The best way; sixels alone are drawn in pixels whose number in a cell must be known."""
        if self.kitty:
            return "kitty"
        if self.iterm:
            return "iterm"
        return "sixel" if self.sixel and self.cell is not None else None

    def with_reply(self, reply: str) -> Graphics:
        """What is known after one more answer; the same where it is none."""
        match = _REPLY.fullmatch(reply)
        if match is None:
            return self
        said: dict[str, Any] = {}
        if match["kitty"] is not None:
            said["kitty"] = match["kitty"] == "OK"
        elif match["height"] is not None:
            size = int(match["width"]), int(match["height"])
            said["cell"] = size if all(3 < side < 200 for side in size) else None
        elif match["red"] is not None:
            said["background"] = tuple(
                round(255 * int(part, 16) / (16 ** len(part) - 1)) for part in match.group("red", "green", "blue")
            )
        elif match["name"] is not None:
            said["name"] = match["name"]
        else:
            said["sixel"] = "4" in match["attributes"].split(";")
            said["answered"] = self.answered + 1
        return replace(self, **said)


def is_reply(sequence: str) -> bool:
    """Whether a whole sequence answers one of the questions."""
    return _REPLY.fullmatch(sequence) is not None


def is_extra_there() -> bool:
    """Whether charts can be drawn as pictures at all; nothing is imported for it."""
    return all(find_spec(name) is not None for name in ("matplotlib", "PIL"))


def asks(choice: Choice, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether to ask the terminal: on its own accord never over a line that may be slow, or through another program.

    A picture is tens of kilobytes, which keys typed meanwhile wait for; and tmux or GNU screen keep none of it.
    """
    if choice == "off" or environ.get("TERM", "") in ("", "dumb", "linux") or environ.get("TEXTUAL_DRIVER"):
        return False
    is_far = any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"))
    is_between = environ.get("TMUX") or environ.get("STY") or environ.get("TERM", "").startswith(("screen", "tmux"))
    return choice == "on" or not (is_far or is_between or environ.get("INSIDE_EMACS"))


def asked(seconds: float = 1.0) -> Graphics:
    """Ask the terminal on standard input and output, and wait for its last answer; what comes later is dropped.

    Only for commands: while the full screen is shown, its own parser takes the answers.
    """
    import termios
    import tty

    known = Graphics()
    source, target = sys.stdin.fileno(), sys.stdout.fileno()
    sys.stdout.flush()
    before = termios.tcgetattr(source)
    received, until, read = "", time.monotonic() + seconds, 0
    try:
        tty.setcbreak(source, termios.TCSANOW)
        os.write(target, QUESTION.encode())
        while not known.is_whole and (left := until - time.monotonic()) > 0:
            if not select.select([source], [], [], left)[0] or not (data := os.read(source, 1024)):
                break
            received += data.decode("ascii", "replace").replace("\x07", "\x1b\\")
            for match in _REPLY.finditer(received, read):
                known, read = known.with_reply(match[0]), match.end()
                if known.asks_kitty and match["attributes"] is not None:
                    os.write(target, KITTYS_QUESTION.encode())
    finally:
        # Together with what was typed ahead: what of an answer is still under way would be typed into the shell.
        termios.tcsetattr(source, termios.TCSANOW if known.is_whole else termios.TCSAFLUSH, before)
    return known


def sequence(way: Way, pixels: Pixels, columns: int, rows: int, number: int = OURS) -> str:
    """What makes a terminal show a picture where its cursor is.

    Args:
        way: that it has.
        pixels: [height, width, 3] colours.
        columns, rows: cells that the picture fills.
        number: by which Kitty's protocol knows it.
    """
    if way == "sixel":
        return sixels(pixels)
    encoded = base64.b64encode(png(pixels)).decode("ascii")
    if way == "iterm":
        size = len(encoded) * 3 // 4 - encoded.count("=")
        options = f"size={size};width={columns};height={rows};preserveAspectRatio=0;inline=1;doNotMoveCursor=1"
        return f"\x1b]1337;File={options}:{encoded}\x07"
    pieces = [encoded[at : at + _PIECE] for at in range(0, len(encoded), _PIECE)]
    first = f"a=T,f=100,i={number},p=1,q=2,c={columns},r={rows},C=1,z=1,"
    return "".join(
        f"\x1b_G{first if not at else ''}m={int(at < len(pieces) - 1)};{piece}\x1b\\" for at, piece in enumerate(pieces)
    )


def removal() -> str:
    """What makes a terminal with Kitty's protocol forget a picture; in the other two, characters written over it do."""
    return f"\x1b_Ga=d,d=I,i={OURS},q=2\x1b\\"


def png(pixels: Pixels) -> bytes:
    """A picture as a PNG of few colours."""
    file = io.BytesIO()
    _quantized(pixels).save(file, format="png", optimize=True)
    return file.getvalue()


def sixels(pixels: Pixels) -> str:
    """A picture as DEC's sixels: six rows at a time, in one colour after the other (VT330/VT340 manual, chapter 14)."""
    # Here and below, numpy and Pillow only for a picture: the first frame comes before them.
    import numpy as np

    image = _quantized(pixels)
    height, width = pixels.shape[:2]
    indices = np.zeros((-(-height // 6) * 6, width), np.uint8)
    indices[:height] = np.asarray(image)
    palette = np.asarray(image.getpalette(), int).reshape(-1, 3)
    parts = [f'\x1bP9;1;0q"1;1;{width};{height}']
    for at in np.unique(indices[:height]).tolist():
        red, green, blue = (round(part / 2.55) for part in palette[at].tolist())
        parts.append(f"#{at};2;{red};{green};{blue}")
    bits = 1 << np.arange(6)[:, None]
    for top in range(0, height, 6):
        band = indices[top : top + 6]
        rows = min(6, height - top)
        for colour in np.unique(band[:rows]).tolist():
            line = ((band[:rows] == colour) * bits[:rows]).sum(0) + 63
            parts += [f"#{colour}", _runs(line), "$"]
        parts[-1] = "-"
    return "".join([*parts, "\x1b\\"])


def _runs(line: NDArray[np.int_]) -> str:
    """Sixels of a line, equal ones counted."""
    import numpy as np

    edges = [0, *(np.flatnonzero(np.diff(line)) + 1).tolist(), len(line)]
    values = line.tolist()
    return "".join(
        f"!{end - start}{chr(values[start])}" if end - start > 3 else chr(values[start]) * (end - start)
        for start, end in itertools.pairwise(edges)
    )


def _quantized(pixels: Pixels) -> Any:
    from PIL import Image

    # A legend's line has a colour of its own, however few its pixels.
    return Image.fromarray(pixels).quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
