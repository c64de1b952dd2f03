"""What the list of sessions shows of a row, column by column."""

from __future__ import annotations

from engine.figures.numbers import count_of
from tui.cli.output import file_size
from tui.state.glyphs import Glyphs
from tui.state.session_list import Row, moment
from tui.widgets.status_line import clock

Cell = str | tuple[str, str]


def cell_of(row: Row, key: str, signs: Glyphs) -> Cell:
    """One cell: a text, and the name of its look where it has one."""
    told = row.summary
    if key == "name":
        return (row.name, "bold") if row.kind == "running" else row.name
    if key == "model":
        return told.model if told is not None else ""
    if key == "done":
        if told is None:
            return ""
        return (told.problem.partition(": ")[2] or told.problem, "bad") if told.problem else told.intervention
    if key == "runs":
        done, planned = row.runs
        return "" if not planned else f"{done:,}" if done == planned else f"{done:,} / {planned:,}"
    if key == "state":
        return _state(row, signs)
    if key == "saved":
        return "" if row.kind == "running" else (moment(row), "dim")
    return file_size(row.size)


def facts_of(row: Row) -> str:
    """A session in one line for a question: its runs and its size."""
    done, _ = row.runs
    return f"{count_of(done, 'run')}, {file_size(row.size)}"


def _state(row: Row, signs: Glyphs) -> Cell:
    run = row.run
    if row.kind == "running" and run is not None:
        progress = run.progress
        if progress is None:
            return "running", "good"
        if progress.stage not in ("running", "saving"):
            return f"running: {progress.stage}", "good"
        share = f"running {100 * progress.share:.0f} %"
        left = progress.seconds_left
        if left is None:
            return share, "good"
        return f"{share} {signs.separator} {clock(left)} left", "good"
    if row.kind == "reading":
        return signs.ellipsis, "dim"
    if row.kind == "damaged":
        return "cannot be read", "bad"
    if row.kind == "interrupted":
        return ("interrupted" if run is not None else "interrupted, run gone"), "warn"
    return "finished"
