"""`srm-explorer sessions`: what is saved and where."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import ExplorerError
from engine.figures.captions import intervention_captions, model_caption, planned_runs
from engine.runner.journal import is_run_folder
from engine.runner.journal_reader import JournalReader
from engine.runner.registry import known_runs
from engine.session import Session, load_session, sessions_in
from tui.cli.output import file_size, note, say, say_json, table, table_width, visible
from tui.cli.show import when


@dataclass(frozen=True)
class Entry:
    """A line of the list: a session, or the folder of a run that is not saved yet."""

    name: str
    model: str
    intervention: str
    runs: int
    planned: int
    state: str
    saved: str
    size: int
    path: Path

    def to_dict(self) -> dict[str, Any]:
        """The entry for `--json`."""
        return {**vars(self), "path": str(self.path)}


def list_command(as_json: bool) -> None:
    """Print the sessions of the sessions folder, those saved last first, after runs that are not saved yet."""
    folder = paths.sessions_folder()
    entries: list[Entry] = []
    unreadable: list[str] = []
    for path in [*_run_folders(folder), *sessions_in(folder)]:
        try:
            entries.append(_unsaved(path) if path.suffix == ".run" else _saved(load_session(path)))
        except ExplorerError as error:
            unreadable.append(str(error))
    if as_json:
        listed = [entry.to_dict() for entry in entries]
        say_json({"folder": str(folder), "sessions": listed, "unreadable": unreadable})
        return
    if entries:
        header = ("name", "runs", "state", "saved", "size", "model", "site · neuron · op")
        rows = [
            (e.name, _progress(e), e.state, when(e.saved), file_size(e.size), e.model, e.intervention) for e in entries
        ]
        say(*table(header, rows, right=(1, 4), width=table_width()))
    elif not unreadable:
        say(f"no session in {visible(str(folder))} yet: `srm-explorer demo` makes one")
    for line in unreadable:
        note(line)


def _progress(entry: Entry) -> str:
    return f"{entry.runs:,}" if entry.runs == entry.planned else f"{entry.runs:,} of {entry.planned:,}"


def _saved(session: Session) -> Entry:
    path = session.path or Path()
    planned = planned_runs(session)
    return Entry(
        name=session.name,
        model=model_caption(session),
        intervention="; ".join(intervention_captions(session.spec)),
        runs=len(session.runs),
        planned=planned,
        state=session.state,
        saved=session.saved,
        size=_size(path) + _size(path.with_name(session.sidecar.file) if session.sidecar else None),
        path=path,
    )


def _unsaved(folder: Path) -> Entry:
    journal = JournalReader(folder)
    journal.poll()
    home = paths.sessions_folder()
    name = folder.name if folder.parent == home else str(folder)
    return Entry(
        name=name.removesuffix(".run"),
        model=journal.experiment.model.name,
        intervention="; ".join(intervention_captions(journal.experiment)),
        runs=len(journal.runs),
        planned=sum(len(batch) for batch in journal.layout.get("batches", [])),
        state="running" if journal.writer_pid() is not None else "unfinished",
        saved="",
        size=sum(_size(path) for path in folder.iterdir()),
        path=folder,
    )


def _run_folders(folder: Path) -> list[Path]:
    """Folders of runs that are not saved yet: in the sessions folder, then wherever else one was begun."""
    found: list[Path] = []
    with contextlib.suppress(OSError):
        found.extend(sorted(folder.glob("*.run")))
    return [
        path
        for path in dict.fromkeys([*found, *known_runs()])
        if is_run_folder(path) and not path.with_suffix(".json").exists()
    ]


def _size(path: Path | None) -> int:
    try:
        return path.stat().st_size if path is not None else 0
    except OSError:
        return 0
