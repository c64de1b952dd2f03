"""How figures for papers look: the user's style sheet where it says something, colours and text safe in print."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeAlias

from srm_explorer.engine.errors import ExplorerError, first_line
from srm_explorer.engine.figures.curves import Curve, LegendEntry, Role

ColumnWidth: TypeAlias = Literal["single", "double"]

WIDTHS: dict[ColumnWidth, float] = {"single": 3.4, "double": 7.0}
"""Inches of a column of text, and of both, as most journals have them."""

FORMATS = ("pdf", "svg", "png")

GRID, INK, FAINT = "#DDDDDD", "#000000", "#666666"
HALO: dict[str, Any] = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
"""What keeps text readable over a line."""
DASHED, DOTTED = (0, (4, 2)), (0, (1, 1.5))
_BASELINE_OF_SESSION = (0, (5, 1.5, 1, 1.5))

# Okabe and Ito 2008: told apart with every common colour vision, and in print.
_BLUE, _VERMILLION = "#0072B2", "#D55E00"
_CYCLE = ("#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000", "#8C6D1F")
_MARKERS = ("^", "v", "P", "X", "<", ">", "*")
_LINES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (4, 1, 1, 1)))
_MARKER_OF: dict[Role, str] = {"baseline": "o", "pooled": "s", "reference": "D", "arithmetic": "", "chance": ""}
ARITHMETIC, CHANCE_FILL = "#555555", "#BBBBBB"

_BUNDLED = "DejaVu Sans"
"""Comes with matplotlib, and has every sign of ours: what a user's font lacks is taken from it."""
_WIDE = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari",
    "Source Han Sans", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "Arial Unicode MS",
    "Hiragino Sans", "PingFang SC", "Yu Gothic", "MS Gothic", "SimSun", "Malgun Gothic", "Noto Emoji", "Symbola",
    "Unifont",
)  # fmt: skip
"""Fonts of many scripts that systems bring; one is used where it has a character that no other font here has."""

_LIGHT = ("figure.facecolor", "savefig.facecolor", "axes.facecolor")
_INKS = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")


def checked_form(file: Path) -> str:
    """The format that a file's ending names; a figure can be drawn in it here.

    Raises:
        ExplorerError: another ending, or matplotlib is not installed.
    """
    form = file.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        what = f"a figure is no {file.suffix} file" if file.suffix else "its name has no ending, which is its format"
        raise ExplorerError(what, where=str(file), remedy=f"name it {', '.join(f'.{known}' for known in FORMATS)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise _not_installed()
    return form


@functools.cache
def matplotlib() -> Any:
    """The library, which takes a second to load.

    Raises:
        ExplorerError: it is not installed, there is no folder at all that it could keep its list of fonts in, or
            MPLBACKEND names nothing that it knows.
    """
    # No window is ever opened, whatever backend the user's settings name.
    os.environ.setdefault("MPLBACKEND", "agg")
    for name in ("matplotlib", "matplotlib.font_manager"):
        logging.getLogger(name).addFilter(_is_of_figures)
    try:
        return import_module("matplotlib")
    except ImportError:
        raise _not_installed() from None
    except (OSError, ValueError) as error:
        # The next attempt would trip over the parts that were loaded.
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]
        no_folder = isinstance(error, OSError)
        raise ExplorerError(
            f"matplotlib cannot be loaded: {first_line(error).partition(';')[0]}",
            where="" if no_folder else "MPLBACKEND",
            remedy="set MPLCONFIGDIR to a folder that can be written" if no_folder else "unset it, or set it to agg",
        ) from error


_OF_ITS_CACHE = (
    "mkdir -p failed", "is not a writable directory", "created a temporary cache", "Could not save font_manager cache",
)  # fmt: skip


def _is_of_figures(record: logging.LogRecord) -> bool:
    """Whether what the library logs is about figures: where it keeps its list of fonts, or that it cannot, is not."""
    return not any(words in str(record.msg) for words in _OF_ITS_CACHE)


def _not_installed() -> ExplorerError:
    # Short enough for the last line of a narrow screen, remedy and all.
    return ExplorerError("matplotlib is not installed", remedy="pip install 'srm-explorer[figures]'")


def settings(texts: Iterable[str] = ()) -> dict[str, Any]:
    """What is set while a figure is drawn, over the user's own style sheet.

    Text stays text, in the user's font, and is never read as mathematics; sizes are for print where the style sheet
    says nothing of them; the page is light.

    Args:
        texts: that the figure will have; fonts that have their characters go behind the user's.
    """
    library = matplotlib()
    now, plain = library.rcParams, library.rcParamsDefault
    chosen: dict[str, Any] = {
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": "srm-explorer",
        "text.parse_math": False,
        # LaTeX would take names for commands.
        "text.usetex": False,
        "axes.unicode_minus": True,
        "savefig.bbox": None,
        "savefig.transparent": False,
        "axes.grid": False,
        "font.family": families(texts),
    }
    for name, value in (("font.size", 8.0), ("lines.linewidth", 1.2), ("axes.linewidth", 0.6)):
        if now[name] == plain[name]:
            chosen[name] = value
    colours: Any = import_module("matplotlib.colors")
    grounds = [now[name] for name in _LIGHT if now[name] not in ("auto", "none")]
    if any(_lightness(colours, ground) < 0.6 for ground in grounds):
        chosen |= {name: plain[name] for name in (*_LIGHT, *_INKS)}
    return chosen


def _lightness(colours: Any, colour: Any) -> float:
    red, green, blue, _ = colours.to_rgba(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def families(texts: Iterable[str] = ()) -> list[str]:
    """The user's fonts, then those that have what they lack."""
    mine = matplotlib().rcParams["font.family"]
    listed = [mine] if isinstance(mine, str) else list(mine)
    if _BUNDLED not in listed:
        listed.append(_BUNDLED)
    lacking = set("".join(texts)) - _characters(tuple(listed))
    if lacking:
        manager: Any = import_module("matplotlib.font_manager")
        here = {entry.name for entry in manager.fontManager.ttflist}
        for name in _WIDE:
            if name in here and (had := lacking & _characters((name,))):
                lacking -= had
                listed.append(name)
    return listed


def _characters(names: tuple[str, ...]) -> set[str]:
    """Every character that fonts have, and those that take no ink."""
    manager: Any = import_module("matplotlib.font_manager")
    rc = matplotlib().rcParams
    files: set[str] = set()
    for name in names:
        for known in rc[f"font.{name}"] if name in manager.font_family_aliases else [name]:
            try:
                files.add(str(manager.findfont(known, fallback_to_default=False)))
            except ValueError:
                continue
            break
    return set(" ").union(*(_charmap(file) for file in sorted(files)))


@functools.cache
def _charmap(file: str) -> frozenset[str]:
    ft2font: Any = import_module("matplotlib.ft2font")
    return frozenset(map(chr, ft2font.FT2Font(file).get_charmap()))


def unseen_in(texts: Iterable[str]) -> str:
    """The characters for which no font is at hand, each once."""
    text = "".join(texts)
    lacking = set(text) - _characters(tuple(families([text]))) - {"\n"}
    return "".join(dict.fromkeys(character for character in text if character in lacking))


def plain(text: str) -> str:
    """A text of a file or a person as a figure can hold it: what is no sign is shown escaped."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else " " if c in "\n\t\r" else c.encode("unicode_escape").decode() for c in text
    )


@dataclass(frozen=True)
class Ruler:
    """Measures text of one size, in inches.

    Attributes:
        size: of the font, points, or as matplotlib names it: "small".
    """

    size: float | str = "medium"

    @property
    def line(self) -> float:
        """Height of a line."""
        return 1.25 * self._font.get_size_in_points() / 72

    def width(self, text: str) -> float:
        family, size = tuple(self._font.get_family()), self._points
        return max(_measured(plain(line), family, size) for line in text.split("\n"))

    def height(self, text: str) -> float:
        return self.line * (1 + text.count("\n"))

    def wrap(self, text: str, inches: float, hang: str = "") -> str:
        """A text in lines that are no wider, parted between words; a word that is wider by itself within it.

        Args:
            hang: what later lines begin with.
        """
        lines: list[str] = []
        line = ""
        for word in plain(text).split(" "):
            start = hang if lines else ""
            if line and self.width(f"{start}{line} {word}") > inches:
                lines.append(f"{start}{line}")
                line, start = "", hang
            elif line:
                line = f"{line} {word}"
                continue
            line = word
            while self.width(start + line) > inches and len(line) > 1:
                fits = self._longest(start, line, inches)
                lines.append(start + line[:fits])
                line, start = line[fits:], hang
        return "\n".join([*lines, (hang if lines else "") + line])

    def join(self, parts: Sequence[str], inches: float, gap: str = "  ", hang: str = "    ") -> str:
        """Parts in lines that are no wider, parted between parts where that is possible."""
        lines: list[str] = []
        for part in parts:
            together = f"{lines[-1]}{gap}{plain(part)}" if lines else plain(part)
            if lines and self.width(together) <= inches:
                lines[-1] = together
            else:
                lines += self.wrap(f"{hang if lines else ''}{plain(part)}", inches, hang).split("\n")
        return "\n".join(lines)

    def _longest(self, start: str, text: str, inches: float) -> int:
        low, high = 1, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.width(start + text[:middle]) <= inches else (low, middle - 1)
        return low

    @property
    def _font(self) -> Any:
        return import_module("matplotlib.font_manager").FontProperties(size=self.size)

    @property
    def _points(self) -> float:
        return float(self._font.get_size_in_points())


@functools.lru_cache(maxsize=8192)
def _measured(line: str, family: tuple[str, ...], points: float) -> float:
    # Ten dots a point: what print will be, not what a screen rounds it to.
    renderer = _renderer()
    font = import_module("matplotlib.font_manager").FontProperties(family=list(family), size=points)
    width, _, _ = renderer.get_text_width_height_descent(line, font, False)
    return float(width) / renderer.dpi


@functools.cache
def _renderer() -> Any:
    return import_module("matplotlib.backends.backend_agg").RendererAgg(16, 16, 720)


class Look:
    """How every entry of a legend is drawn, the same all over a figure.

    Groups take the colours of the user's style sheet where it has its own, else ones that all can tell apart; values
    beyond those are ordered from dark to light.
    """

    def __init__(self, legend: Sequence[LegendEntry]) -> None:
        self._of: dict[str, tuple[Any, str, Any]] = {}
        self._hollow: set[str] = set()
        own = _users_colours()
        baseline, pooled, *cycle = own or (_BLUE, _VERMILLION, *_CYCLE)
        cycle = cycle or [baseline, pooled]
        others = [entry for entry in legend if entry.session is None and entry.role not in _MARKER_OF]
        ordered = _ordered(len(others)) if len(others) > len(cycle) and own is None else None
        sessions = (pooled, *cycle, baseline)
        cycled = 0
        for entry in legend:
            if entry.role == "arithmetic":
                self._of[entry.label] = ARITHMETIC, "", DASHED
            elif entry.role == "chance":
                self._of[entry.label] = CHANCE_FILL, "", "-"
            elif entry.session is not None:
                colour = sessions[entry.session % len(sessions)]
                marker = ("s", *_MARKERS)[entry.session % (1 + len(_MARKERS))]
                base = entry.role in ("baseline", "baseline of")
                line = _BASELINE_OF_SESSION if base else _LINES[entry.session // len(sessions) % len(_LINES)]
                self._of[entry.label] = colour, marker, line
            elif entry.role in _MARKER_OF:
                colour = {"baseline": baseline, "pooled": pooled}.get(entry.role, "#CC79A7")
                self._of[entry.label] = colour, _MARKER_OF[entry.role], "-"
            else:
                colour = cycle[cycled % len(cycle)] if ordered is None else ordered[cycled]
                line = _LINES[cycled // len(cycle) % len(_LINES)] if ordered is None else "-"
                self._of[entry.label] = colour, _MARKERS[cycled % len(_MARKERS)], line
                cycled += 1
            if entry.role in ("baseline", "baseline of"):
                self._hollow.add(entry.label)

    def colour(self, label: str) -> Any:
        return self._of.get(label, (ARITHMETIC, "", "-"))[0]

    def marker(self, label: str) -> str:
        return self._of.get(label, (ARITHMETIC, "", "-"))[1]

    def face(self, label: str) -> Any:
        """What a marker is filled with: nothing where nothing was done."""
        return "none" if label in self._hollow else self.colour(label)

    def line(self, curve: Curve) -> Any:
        if curve.dashed:
            return DASHED
        return DOTTED if curve.dotted else self.line_of(curve.label)

    def line_of(self, label: str) -> Any:
        return self._of.get(label, (ARITHMETIC, "", "-"))[2]


def _users_colours() -> tuple[Any, ...] | None:
    """The colours of the user's style sheet; None where it has none of its own."""
    library = matplotlib()
    cycle = library.rcParams["axes.prop_cycle"].by_key().get("color", [])
    usual = library.rcParamsDefault["axes.prop_cycle"].by_key()["color"]
    return tuple(cycle) if len(cycle) > 1 and cycle != usual else None


def _ordered(count: int) -> list[Any]:
    """Colours in an order that is seen, also without colour: from dark to light."""
    scale: Any = matplotlib().colormaps["viridis"]
    return [scale(0.82 * at / max(1, count - 1)) for at in range(count)]
