"""One session in the list: what its file and its run folder say; light, since the first frame needs it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from srm_explorer.engine.runs import Progress
    from srm_explorer.engine.session.standing import Standing

Kind = Literal["reading", "finished", "interrupted", "running", "damaged"]


@dataclass(frozen=True)
class Summary:
    """What a list says of a session.

    Attributes:
        model: its name as it shows.
        intervention: what was done, on one line.
        state: "finished" or "interrupted"; empty where the file is no session that can be read.
        runs: finished ones.
        planned: runs of the whole experiment.
        saved: when, ISO 8601.
        problem: why it cannot be read, with file and remedy; empty where it can.
        created: when its experiment began, ISO 8601: with `saved`, by which it is known under any name.
        standing: how far its survey is; None where it is none, or where the file that would tell is not there.
    """

    model: str = ""
    intervention: str = ""
    state: str = ""
    runs: int = 0
    planned: int = 0
    saved: str = ""
    problem: str = ""
    created: str = ""
    standing: Standing | None = None


@dataclass(frozen=True)
class FoundRun:
    """The folder of a run that is not over, or whose writer is gone.

    Attributes:
        alive: whether a process writes it.
        done: finished runs.
        planned: all runs.
        progress: as its writer last told; None before it has.
        standing: how far its survey is; None of a run without one.
    """

    alive: bool
    done: int
    planned: int
    progress: Progress | None
    standing: Standing | None = None


@dataclass(frozen=True)
class Row:
    """One session in the list.

    Attributes:
        path: its .json file; it need not exist where there is only a run.
        name: as it shows: bare in the sessions folder, with its folder elsewhere.
        size: bytes of everything that belongs to it.
        modified: when it changed last, seconds since the epoch.
        saved: whether there is a session file.
        summary: what its file or run folder says; None until it has been read.
        run: its run folder; None where there is none that matters.
    """

    path: Path
    name: str
    size: int
    modified: float
    saved: bool
    summary: Summary | None = None
    run: FoundRun | None = None

    @property
    def kind(self) -> Kind:
        """The state in one word."""
        if self.run is not None and self.run.alive:
            return "running"
        if self.summary is None:
            return "reading"
        if self.summary.problem:
            return "damaged"
        return "finished" if self.summary.state == "finished" else "interrupted"

    @property
    def runs(self) -> tuple[int, int]:
        if self.run is not None and (self.run.alive or not self.saved):
            return self.run.done, self.run.planned
        return (self.summary.runs, self.summary.planned) if self.summary is not None else (0, 0)

    @property
    def standing(self) -> Standing | None:
        """How far its survey is: as its run folder says, which has what is not saved yet, else as its file does."""
        if self.run is not None:
            return self.run.standing
        return self.summary.standing if self.summary is not None else None


def words_of(row: Row) -> str:
    """What the list itself says of a session, to be searched: its name, model, what was done, state, in small letters.

    A word that was typed is looked for here and in the notes, prompts and texts of the session.
    """
    summary = row.summary or Summary()
    return " ".join((row.name, summary.model, summary.intervention, row.kind, summary.problem)).casefold()


def matching(rows: Sequence[Row], typed: str) -> tuple[Row, ...]:
    """The rows in which every word that was typed occurs: in the name, the model, what was done, or the state."""
    words = typed.casefold().split()
    return tuple(row for row in rows if all(word in text for text in (words_of(row),) for word in words))


def saved_at(row: Row) -> float:
    """The instant that `moment` tells, in seconds since the epoch."""
    saved = row.summary.saved if row.summary is not None else ""
    try:
        return datetime.fromisoformat(saved).timestamp() if saved else row.modified
    except (ValueError, OverflowError):
        return row.modified


def newest_first(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The order of the list: first what runs, then by when it was saved."""
    return tuple(sorted(rows, key=lambda row: (row.kind != "running", -saved_at(row), row.name)))


def moment(row: Row, now: datetime | None = None) -> str:
    """When a session was saved, as `day_and_time` says it; where it is not saved yet, when a batch came last."""
    saved = row.summary.saved if row.summary is not None else ""
    return day_and_time(saved or row.modified, now)


def day_and_time(instant: str | float, now: datetime | None = None) -> str:
    """An instant as people say it, "today 10:42", "yesterday 9:05", "2026-11-20"; empty where it is none.

    Args:
        instant: ISO 8601, or seconds since the epoch.
        now: the present one by default.
    """
    try:
        then = datetime.fromisoformat(instant) if isinstance(instant, str) else datetime.fromtimestamp(instant)
        then = then.astimezone()
    except (ValueError, OverflowError, OSError):
        return ""
    days = ((now or datetime.now().astimezone()).date() - then.date()).days
    if days in (0, 1):
        return f"{'yesterday' if days else 'today'} {then:%H:%M}"
    return f"{then:%Y-%m-%d}"
