"""`srm-explorer sessions`: what is saved and where."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.compare import compare_study
from srm_explorer.engine.analyses.compare_tables import curves_table_of
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.execution.replay import Deviation, Replay, replay
from srm_explorer.engine.figures.captions import intervention_captions, model_caption, plane_title
from srm_explorer.engine.io.files import write_atomic
from srm_explorer.engine.io.npz import write_npz
from srm_explorer.engine.paths import session_path
from srm_explorer.engine.runs.journal import is_run_folder, known_runs
from srm_explorer.engine.runs.journal_reader import JournalReader
from srm_explorer.engine.runs.progress import Stopped
from srm_explorer.engine.session import Session, load_session, sessions_in
from srm_explorer.engine.session.export import chosen_site, exported, run_vectors, runs_csv
from srm_explorer.tui.cli.output import count, file_size, note, say, say_json, table, table_width, visible
from srm_explorer.tui.cli.show import when
from srm_explorer.tui.cli.tables import say_tables
from srm_explorer.tui.cli.watch import Watch, stoppable


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
    planned = session.planned_runs
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
        planned=journal.planned_runs,
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


def export_command(
    session: str, csv_file: Path | None, npz_file: Path | None, site: str | None, controls: bool = False
) -> None:
    """Write a session's runs, its vectors, or both; a file that is there is replaced in one step."""
    opened = load_session(paths.session_path(session))
    runs = exported(opened, controls=controls)
    rest = len(opened.runs) - runs
    if csv_file is not None:
        write_atomic(csv_file, runs_csv(opened, controls=controls).encode("utf-8", "backslashreplace"))
        say(f"{count(runs, 'run')} written to {visible(str(csv_file))}")
    if npz_file is not None:
        chosen = chosen_site(opened, site)
        write_npz(npz_file, run_vectors(opened, chosen, controls=controls))
        told = " (means over tokens)" if opened.spec.capture.reduce == "tokens" else ""
        say(f"{count(runs, 'vector')} of {chosen} written to {visible(str(npz_file))}{told}")
    if rest:
        say(f"{count(rest, 'control run')} left out; --controls writes them too")


def diff_command(
    session: str,
    other: str | None,
    plane: int,
    groups: tuple[str, str] | None,
    a_group: str | None,
    b_group: str | None,
    resamples: int,
    seed: int,
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Print the difference of two groups, where it is largest, and what differs between the experiments."""
    opened = load_session(paths.session_path(session))
    given = {
        "other": None if other is None else str(paths.session_path(other)),
        "plane": plane,
        "groups": None if groups is None else list(groups),
        "a_group": a_group,
        "b_group": b_group,
        "resamples": resamples,
        "seed": seed,
    }
    found = compare_study(opened, given)
    title = plane_title(opened.planes[plane - 1])
    tables = tables_in(found)
    if csv_file is not None:
        say_tables((curves_table_of(found),), form="csv", file=csv_file)
    say_tables(tables, form="json" if as_json else "text", further={"plane": title, "curves": found["curves"]})
    if csv_file is not None and not as_json:
        note(f"the curves of {title} written to {csv_file}")


_MOST_SHOWN = 10


def replay_command(session: str, as_json: bool) -> int:
    """Run a session again and report whether it comes out the same; return the exit status.

    The status is 0 when the session was replayed, whether bit-equal or not, and 130 when it was stopped.
    """
    path = session_path(session)
    saved = load_session(path)
    with Watch(quiet=as_json) as watch, stoppable(watch) as stop:
        try:
            found = replay(saved, path.parent, listener=watch.show, stop=stop)
        except Stopped:
            return 130
    if as_json:
        say_json(_summary(found))
    else:
        say(*_lines(found))
    return 0


def _lines(found: Replay) -> list[str]:
    lines = [f"{found.runs:,} runs replayed: " + ("bit-equal" if found.bit_equal else "not bit-equal")]
    if not found.compared_vectors:
        lines[0] += " in every token" if found.bit_equal else ""
        lines.append(f"the vectors were not compared: {found.why_not}")
    if found.deviations:
        lines.append(f"{len(found.deviations):,} runs have other tokens:")
        lines += [f"  {_deviation(one)}" for one in found.deviations[:_MOST_SHOWN]]
        if len(found.deviations) > _MOST_SHOWN:
            lines.append(f"  and {len(found.deviations) - _MOST_SHOWN:,} more (--json lists all)")
    lines += [f"largest difference at {site}: {worst:.3g}" for site, worst in found.vectors.items() if worst]
    lines += [f"changed since: {change}" for change in found.changed]
    return lines


def _deviation(one: Deviation) -> str:
    margin = "" if one.margin is None else f"; smallest top-2 margin {one.margin:.3g}"
    near = " (a near-tie)" if one.margin is not None and one.margin < 1e-3 else ""
    return f"run {one.run.index}: token {one.first} was {one.was}, is {one.now}{margin}{near}"


def _summary(found: Replay) -> dict[str, Any]:
    return {
        "runs": found.runs,
        # Null where tokens are equal and the vectors were not there to tell.
        "bit_equal": found.bit_equal if found.compared_vectors or not found.bit_equal else None,
        "tokens_equal": not found.deviations,
        "compared_vectors": found.compared_vectors,
        "why_not": found.why_not,
        "largest_difference": found.vectors,
        "deviations": [
            {
                "run": one.run.index,
                "prompt": one.run.prompt,
                "condition": one.run.condition,
                "sample": one.run.sample,
                "first": one.first,
                "was": one.was,
                "now": one.now,
                "margin": one.margin,
            }
            for one in found.deviations
        ],
        "changed": list(found.changed),
    }
