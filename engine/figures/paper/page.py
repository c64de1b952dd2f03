"""A page of a column's width: the title, a chart, its legend, and what its reader must know, none over another."""

from __future__ import annotations

import base64
import functools
import io
import threading
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TypeAlias

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.compass import CompassFigure
from srm_explorer.engine.figures.controls import ControlsFigure
from srm_explorer.engine.figures.curves import LegendEntry
from srm_explorer.engine.figures.dose import DoseFigure
from srm_explorer.engine.figures.finder import FinderFigure
from srm_explorer.engine.figures.histogram import HistogramFigure
from srm_explorer.engine.figures.paper.angles import AnglesPainter
from srm_explorer.engine.figures.paper.discs import CompassPainter, PolarPainter
from srm_explorer.engine.figures.paper.painter import Painter
from srm_explorer.engine.figures.paper.panels import PanelsPainter
from srm_explorer.engine.figures.paper.spreads import ControlsPainter, FinderPainter, HistogramPainter, SurveyMapPainter
from srm_explorer.engine.figures.paper.style import (
    DASHED,
    FAINT,
    FORMATS,
    WIDTHS,
    ColumnWidth,
    Look,
    Ruler,
    matplotlib,
    plain,
    settings,
    unseen_in,
)
from srm_explorer.engine.figures.polar import PolarFigure
from srm_explorer.engine.figures.survey_map import SurveyMapFigure
from srm_explorer.engine.figures.thresholds import ThresholdFigure

Drawn: TypeAlias = (
    PolarFigure
    | ThresholdFigure
    | DoseFigure
    | CompassFigure
    | ControlsFigure
    | FinderFigure
    | HistogramFigure
    | SurveyMapFigure
)
"""What a chart shows, as data, of every kind that is drawn for papers."""

GAP = 0.06
"""Inches between the parts of a page, and around it."""
MOST_IN_FULL = 12
"""Entries of a legend that say their numbers; of more, their names alone stand in columns."""
LARGEST_SVG = 300_000
"""Bytes beyond which a browser is given a picture of dots."""
_LEAVE = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
# What matplotlib is set to is one for the whole process.
_lock = threading.RLock()


def draw(shown: Drawn, column: ColumnWidth = "single") -> Any:
    """Draw a chart as a matplotlib figure, in the user's style sheet, on a light page.

    Raises:
        ExplorerError: matplotlib is not installed.
    """
    if column not in WIDTHS:
        raise ExplorerError(f"there is no column {column!r}", remedy=f"choose {' or '.join(WIDTHS)}")
    painter = _painter(shown)
    library = matplotlib()
    with _lock, library.rc_context(settings(_texts(painter))), _untold():
        width = WIDTHS[column]
        made: Any = import_module("matplotlib.figure").Figure(figsize=(width, width))
        # Only what pyplot makes would be shown by itself.
        made._repr_mimebundle_ = functools.partial(_shown, made)
        look = Look(painter.shown.legend)
        head, foot = Ruler("medium"), Ruler("x-small")
        title = "\n".join(head.wrap(line, width - 2 * GAP) for line in painter.title() if line)
        entries = [*painter.shown.legend]
        legend = _legend(made, painter, look, entries, width) if entries else None
        below = legend.get_window_extent().height / made.dpi + GAP if legend is not None else 0.0
        notes = "\n".join(foot.wrap(line, width - 2 * GAP, "  ") for line in _said(painter.shown.warnings))
        last = foot.height(notes) + GAP if notes else 0.0
        first = head.height(title) + GAP if title else 0.0
        body = painter.height(width)
        height = first + body + below + last + GAP
        made.set_size_inches(width, height)
        painter.paint(made, look, (GAP, last + below + GAP, width - 2 * GAP, body))
        if title:
            made.suptitle(title, x=0.5, y=1 - GAP / 2 / height, va="top", fontsize=head.size, linespacing=1.15)
        if legend is not None:
            legend.set_bbox_to_anchor((0.5, (last + below - GAP / 3) / height), transform=made.transFigure)
        if notes:
            made.text(
                GAP / width, (GAP / 2 + foot.height(notes)) / height, notes, fontsize=foot.size, color=FAINT,
                va="top", linespacing=1.15,
            )  # fmt: skip
    return made


def figure_bytes(made: Any, form: str, *, dpi: float = 300) -> bytes:
    """A matplotlib figure as the content of a file; the same bytes for the same figure.

    Args:
        form: "pdf", "svg" or "png".
        dpi: dots an inch of a "png".

    Raises:
        ExplorerError: another format.
    """
    if form not in FORMATS:
        raise ExplorerError(
            f"a figure is no .{form} file", remedy=f"name it {', '.join(f'.{known}' for known in FORMATS)}"
        )
    library = matplotlib()
    file = io.BytesIO()
    with _lock, library.rc_context(settings()), _untold():
        # A date, and numbers drawn at random, would make another file of the same figure.
        made.savefig(file, format=form, dpi=dpi, metadata=_LEAVE[form])
    return file.getvalue()


def picture_of(made: Any) -> tuple[str, str]:
    """A matplotlib figure for a browser: its type and content, SVG, or PNG in base64 where that would be large."""
    svg = figure_bytes(made, "svg")
    if len(svg) <= LARGEST_SVG:
        # Without the lines that belong to a file of its own.
        return "image/svg+xml", svg[svg.index(b"<svg") :].decode("utf-8")
    return "image/png", base64.b64encode(figure_bytes(made, "png", dpi=150)).decode("ascii")


def _shown(made: Any, include: object = None, exclude: object = None) -> dict[str, str]:
    """What IPython asks for where a figure is the last line of a cell."""
    kind, content = picture_of(made)
    return {"text/plain": repr(made), kind: content}


@contextmanager
def _untold() -> Generator[None]:
    """Without the library's own words on characters that no font has, which `unseen_characters` tells in one line."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def unseen_characters(shown: Drawn) -> str:
    """What to say of characters that no font here has, and that are boxes on a figure; empty where there are none."""
    with _lock:
        lacking = unseen_in(_texts(_painter(shown)))
    if not lacking:
        return ""
    some = " ".join(lacking[:12]) + (" …" if len(lacking) > 12 else "")
    return f"no font here has {some}: install one that has, or name it as font.family in your matplotlibrc"


def _painter(shown: Drawn) -> Painter[Any]:
    match shown:
        case PolarFigure():
            return PolarPainter(shown)
        case CompassFigure():
            return CompassPainter(shown)
        case ThresholdFigure():
            return AnglesPainter(shown)
        case DoseFigure():
            return PanelsPainter(shown)
        case ControlsFigure():
            return ControlsPainter(shown)
        case FinderFigure():
            return FinderPainter(shown)
        case HistogramFigure():
            return HistogramPainter(shown)
        case SurveyMapFigure():
            return SurveyMapPainter(shown)


def _texts(painter: Painter[Any]) -> list[str]:
    entries = [text for entry in painter.shown.legend for text in (entry.label, *entry.details)]
    return [plain(text) for text in (*painter.title(), *painter.shown.warnings, *entries)]


def _said(notes: Sequence[str]) -> list[str]:
    """The gravest note, as on the screen, and how many more there are."""
    if not notes:
        return []
    more = f" (+ {len(notes) - 1} more)" if len(notes) > 1 else ""
    return [f"⚠ {notes[0]}{more}"]


def _parts(entry: LegendEntry) -> list[str]:
    """An entry's line: what it is, of how many runs, where the mean is and may be, the p of what is beyond."""
    row = entry.row
    if row is None:
        return [entry.label, *entry.details[:1]]
    parts = [f"{row.runs} runs" if row.runs else "", row.note if entry.role == "chance" else ""]
    parts += [f"A {row.amplitude} {row.amplitude_range}".rstrip() if row.amplitude else ""]
    parts += [f"φ {row.phase} {row.phase_range}".rstrip() if row.phase else "", f"p {row.p}" if row.p else ""]
    return [entry.label, *filter(None, parts)]


def _legend(made: Any, painter: Painter[Any], look: Look, entries: Sequence[LegendEntry], width: float) -> Any:
    lines: Any = import_module("matplotlib.lines")
    patches: Any = import_module("matplotlib.patches")
    ruler = Ruler("small")
    size = matplotlib().rcParams["legend.handlelength"] * ruler.line / 1.25
    room = width - 2 * GAP - size - 0.2
    many = len(entries) > MOST_IN_FULL
    names = [ruler.wrap(entry.label, room) for entry in entries] if many else []
    columns = max(1, min(6, int(room // (max(map(ruler.width, names)) + size + 0.25)))) if many else 1
    labels = names or [ruler.join(_parts(entry), room) for entry in entries]
    handles: list[Any] = []
    for entry, label in zip(entries, labels, strict=True):
        if entry.role == "chance":
            handles.append(patches.Patch(facecolor=look.colour(entry.label), alpha=0.5, label=label))
            continue
        drawn = {"color": look.colour(entry.label), "markersize": 4, "markeredgewidth": 0.8}
        drawn |= {"linestyle": DASHED, "marker": ""} if entry.role == "arithmetic" else painter.handle(look, entry)
        handles.append(lines.Line2D([], [], label=label, **drawn))
    return made.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 1), bbox_transform=made.transFigure, ncols=columns,
        frameon=False, fontsize="small", borderaxespad=0, borderpad=0, labelspacing=0.3, columnspacing=1.2,
    )  # fmt: skip
