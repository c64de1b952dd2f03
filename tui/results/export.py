"""The chart or table in view as a file: a picture, text, or the numbers behind it."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import exploratory_sidecar, tables_as_csv
from srm_explorer.engine.io.files import CsvWriter, as_explorer_error, sync_folder
from srm_explorer.tui.charts.picture import Picture, svg_of
from srm_explorer.tui.charts.scene import Scene
from srm_explorer.tui.results.study_model import StudyPage

ExportKind = Literal["svg", "text", "ansi", "csv"]
MOST_NAMES = 10_000


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
        page: one with a table, or a histogram: its bins are a row each.
        text: the page as it is copied.

    Raises:
        ExplorerError: it cannot be written.
    """
    if kind == "csv":
        figure, table = page.histogram, page.table
        content = tables_as_csv([table]) if table is not None else ""
        if figure is not None:
            bins = zip(figure.edges, figure.edges[1:], figure.counts, strict=False)
            content = _csv([["from", "to", "count"], *([str(value) for value in row] for row in bins)])
        return _write_numbers(path, content, {} if table is None else {table.name: table.notes})
    return write_new(path, text.encode("utf-8", "backslashreplace"))


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
        temporary = path.parent / f".tmp-{os.getpid()}-{secrets.token_hex(6)}"
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            written = _named(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
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
