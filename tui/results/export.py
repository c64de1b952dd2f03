"""The chart or table in view as a file: a picture, text, or the numbers behind it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import HistogramFigure, SurveyMapFigure, exploratory_sidecar, tables_as_csv
from srm_explorer.engine.figures.paper import (
    FORMATS,
    ColumnWidth,
    Drawn,
    checked_form,
    draw,
    figure_bytes,
    unseen_characters,
)
from srm_explorer.engine.io.files import CsvWriter, Draft, as_explorer_error, sync_folder, write_atomic
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.charts.picture import Picture, svg_of
from srm_explorer.tui.charts.scene import Scene
from srm_explorer.tui.results.study_model import StudyPage
from srm_explorer.tui.widgets.dialogs import Ask, Confirm, file_problem, named_here, typed_file
from srm_explorer.tui.widgets.status import Tone

ExportKind = Literal["single", "double", "svg", "text", "ansi", "csv"]
"""A figure for a paper, of one column of text or of two; a screenshot; text; numbers."""
EXPORTS: dict[str, tuple[ExportKind, str, str]] = {
    "f": ("single", "pdf", "figure for a paper, one column wide: PDF, SVG, PNG"),
    "F": ("double", "pdf", "figure for a paper, two columns wide"),
    "s": ("svg", "svg", "screenshot, the chart as it looks here: SVG"),
    "t": ("text", "txt", "text without colours"),
    "a": ("ansi", "ans", "text with the terminal's colours"),
    "c": ("csv", "csv", "CSV, the numbers"),
}
"""By its key: what can be written, the ending of its file, what it is."""
MOST_NAMES = 10_000


Push = Callable[[Any, Callable[[Any], None]], object]
"""Puts a question in front of a screen, and has a function take the answer."""


def ask_for_file(push: Push, stem: str, endings: Sequence[str], write: Callable[[Path], None]) -> None:
    """Ask for a file, and, where it is there already, whether it may be replaced; then write it.

    Args:
        stem: the name that is proposed, in the working folder, without its ending.
        endings: that its name may have, the proposed one first: ".pdf".
    """

    def problem(typed: str) -> str:
        suffix = Path(typed.strip()).suffix.lower()
        return file_problem(typed) if suffix in endings else f"end the name in {', '.join(endings)}"

    def named(typed: str | None) -> None:
        if typed is None:
            return
        path = typed_file(typed)
        if not paths.is_there(path):
            write(path)
            return

        def sure(answer: bool | None) -> None:
            if answer:
                write(path)

        push(Confirm(f"{path.name} is there already", detail=str(path), yes="replace it", no="keep it"), sure)

    push(Ask("write it to", named_here(f"{stem}{endings[0]}"), check=problem), named)


def ask_for_figure(
    push: Push,
    background: Background,
    say: Callable[[str, Tone], None],
    stem: str,
    column: ColumnWidth,
    make: Callable[[], Drawn],
) -> None:
    """Ask for a file, and draw a chart for a paper into it, beside the screen.

    Args:
        stem: the name that is proposed, without its ending.
        make: what is drawn; called in a thread.
    """
    try:
        checked_form(Path(f"{stem}.pdf"))
    except ExplorerError as error:
        say(str(error), "error")
        return

    def drawn(path: Path) -> tuple[Path, str]:
        shown = make()
        write_atomic(path, figure_bytes(draw(shown, column), checked_form(path)))
        return path, unseen_characters(shown)

    def taken(result: tuple[Path, str] | ExplorerError) -> None:
        if isinstance(result, ExplorerError):
            say(str(result), "error")
        else:
            path, unseen = result
            say(f"figure written to {path}{f'; {unseen}' if unseen else ''}", "warning" if unseen else "good")

    def write(path: Path) -> None:
        # Matplotlib takes a second the first time.
        say(f"drawing {path.name}", "plain")
        background.run(lambda: drawn(path), taken, key="figure")

    ask_for_file(push, stem, [f".{form}" for form in FORMATS], write)


def write_chart(
    kind: ExportKind, path: Path, scene: Scene, shown: Picture, readout: str, theta: int, threshold: float
) -> Path:
    """Write a chart; never over a file that is there.

    Args:
        kind: "svg", "text" without colours, "ansi" with them, "csv" for the numbers.
        path: the file; "name-2" and so on where it is there already. Missing folders are made.
        scene: the chart.
        shown: the chart with the spotlight, as it is on the screen.
        readout: the line under it; empty for none.
        theta: the spotlight's angle, degrees.
        threshold: cosine.

    Returns:
        The file that was written.

    Raises:
        ExplorerError: it cannot be written.
    """
    if kind == "csv":
        return _write_numbers(path, _csv(scene.table(theta, threshold)), {"chart": scene.warnings})
    if kind == "svg":
        content = svg_of(shown, readout)
    else:
        content = (shown.ansi() if kind == "ansi" else shown.text()).rstrip("\n") + f"\n{readout}".rstrip() + "\n"
    return write_new(path, content.encode("utf-8", "backslashreplace"))


def write_page(kind: ExportKind, path: Path, page: StudyPage, text: str) -> Path:
    """Write what a page of a study shows; never over a file that is there.

    Args:
        kind: "csv" for the numbers as they were computed, every row; else `text`.
        path: the file; "name-2" and so on where it is there already.
        page: one with a table, or a histogram, whose bins are a row each, or a map: its neurons are.
        text: the page as it is copied.

    Raises:
        ExplorerError: it cannot be written.
    """
    if kind == "csv":
        figure, table = page.drawing, page.table
        content = tables_as_csv([table]) if table is not None else ""
        if figure is not None:
            content = _csv([list(map(str, row)) for row in _numbers_of(figure)])
        return _write_numbers(path, content, {} if table is None else {table.name: table.notes})
    return write_new(path, text.encode("utf-8", "backslashreplace"))


def _numbers_of(figure: HistogramFigure | SurveyMapFigure) -> list[Sequence[object]]:
    """A heading, then the bins of a histogram, or the neurons of a map."""
    if isinstance(figure, HistogramFigure):
        return [("from", "to", "count"), *zip(figure.edges, figure.edges[1:], figure.counts, strict=False)]
    rows: list[Sequence[object]] = [("layer", "neuron", "effect")]
    for row, effects in enumerate(figure.effects.tolist()):
        known = ((column, effect) for column, effect in enumerate(effects) if effect == effect)
        rows += [(*figure.neuron(row, column), effect) for column, effect in known]
    return rows


def _write_numbers(path: Path, content: str, notes: Mapping[str, Sequence[str]]) -> Path:
    """Write a CSV file, and beside it that it is exploratory where it is, as the command line does."""
    written = write_new(path, content.encode("utf-8", "backslashreplace"))
    if sidecar := exploratory_sidecar(notes):
        write_new(written.with_name(f"{written.name}.json"), sidecar)
    return written


def write_new(path: Path, content: bytes) -> Path:
    """Write a file whole or not at all, under the first free name: "name", "name-2", "name-3".

    Raises:
        ExplorerError: no space, no permission and the like; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with Draft(path.parent) as draft:
            draft.file.write(content)
            written = _named(draft.finish(), path)
        sync_folder(path.parent)
    except OSError as error:
        raise as_explorer_error(error, path) from None
    return written


def _named(temporary: Path, path: Path) -> Path:
    for number in range(1, MOST_NAMES):
        name = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            # A link, unlike a rename, never replaces what has the name.
            os.link(temporary, name)
        except FileExistsError:
            continue
        except OSError:
            # No links on this file system: make the name ours first, then fill it in one step.
            try:
                name.open("xb").close()
            except FileExistsError:
                continue
            temporary.replace(name)
        return name
    raise ExplorerError("too many files of this name", where=str(path), remedy="choose another name")


def _csv(rows: list[list[str]]) -> str:
    out = io.StringIO()
    CsvWriter(out).writerows(rows)
    return out.getvalue()
