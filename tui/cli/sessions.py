"""`srm-explorer sessions` and `replay`: what is saved and where, exports, differences, and running one again."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_explorer.engine import paths
from srm_explorer.engine.analyses import (
    FAMILY,
    CompareView,
    compare_sessions,
    compare_study,
    curves_table_of,
    ledger_study,
    marked,
    row_of,
    tables_in,
)
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import dipped
from srm_explorer.engine.figures.captions import exploratory_line
from srm_explorer.engine.launch.watch import Watch, holding, stoppable
from srm_explorer.engine.runs import Stopped
from srm_explorer.engine.runs.manage import rename_session
from srm_explorer.engine.runs.pack import Packed, pack_session, unpack_session
from srm_explorer.engine.runs.trash import (
    NameTakenError,
    Trashed,
    delete_trashed,
    find_trashed,
    restore_session,
    trash_session,
    trashed_sessions,
)
from srm_explorer.engine.session import is_listed, load_session, save_session
from srm_explorer.engine.session.export import KeyStyle, chosen_site, export, exported, metadata_beside
from srm_explorer.engine.session.standing import Standing
from srm_explorer.tui.cli.output import (
    count,
    drawn,
    file_size,
    note,
    say,
    say_json,
    screen_size,
    table,
    table_width,
    visible,
    when,
)
from srm_explorer.tui.cli.tables import Output, say_tables
from srm_explorer.tui.sessions.list_model import SessionList
from srm_explorer.tui.sessions.row import Row, Summary
from srm_explorer.tui.sessions.summary import Hit, TextIndex

if TYPE_CHECKING:
    from srm_explorer.engine.execution.replay import Deviation, Replay
    from srm_explorer.engine.execution.survey_replay import SurveyAgain
    from srm_explorer.tui.compare.state import CompareState


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
    neurons: Standing | None = None

    def to_dict(self) -> dict[str, Any]:
        neurons = None if self.neurons is None else self.neurons.to_dict()
        return {**vars(self), "path": str(self.path), "neurons": neurons}


def list_command(as_json: bool) -> None:
    """Print the sessions of the sessions folder, those saved last first, after runs that are not saved yet."""
    sessions = SessionList()
    folder = sessions.folder
    entries: list[Entry] = []
    unreadable: list[str] = []
    goes_on = False
    for row in sorted(sessions.rows(), key=lambda row: row.saved):
        if row.saved and (row.path.parent != folder or not is_listed(row.path)):
            continue
        if row.kind == "damaged" and row.summary is not None:
            unreadable.append(row.summary.problem)
        else:
            entries.append(_entry(row, folder))
            goes_on |= row.run is not None and not row.run.alive
    if as_json:
        listed = [entry.to_dict() for entry in entries]
        say_json({"folder": str(folder), "sessions": listed, "unreadable": unreadable}, "sessions")
        return
    if entries:
        header = ("name", "runs", "state", "saved", "size", "model", "site · neuron · op")
        rows = [
            (e.name, _progress(e), e.state, when(e.saved), file_size(e.size), e.model, e.intervention) for e in entries
        ]
        say(*table(header, rows, right=(1, 4), width=table_width()))
        if goes_on:
            note("what is unfinished or interrupted goes on with the command that began it, or with r on the screen")
    elif not unreadable:
        say(f"no session in {visible(str(folder))} yet: `srm-explorer demo` makes one")
    for line in unreadable:
        note(line)


def _progress(entry: Entry) -> str:
    if entry.neurons is not None:
        return entry.neurons.short()
    return f"{entry.runs:,}" if entry.runs == entry.planned else f"{entry.runs:,} of {entry.planned:,}"


def _entry(row: Row, folder: Path) -> Entry:
    """A row as its line: an unsaved run has no time, and the path of its folder."""
    summary = row.summary or Summary()
    path = row.path if row.saved else paths.run_folder(row.path)
    state = "running" if row.kind == "running" else summary.state if row.saved else "unfinished"
    runs, planned = (summary.runs, summary.planned) if row.saved else row.runs
    return Entry(
        name=row.path.stem if row.path.parent == folder else str(row.path.with_suffix("")),
        model=summary.model,
        intervention=summary.intervention,
        runs=runs,
        planned=planned,
        state=state,
        saved=summary.saved if row.saved else "",
        size=row.size,
        path=path,
        neurons=row.standing,
    )


def search_command(words: Sequence[str], as_json: bool) -> None:
    """Print the sessions in which every word occurs, and where it does."""
    sessions, index = SessionList(), TextIndex()
    rows = sessions.rows()
    asked = " ".join(words).casefold().split()
    found: list[tuple[Entry, Hit]] = []
    for row in rows:
        hit = index.find(row, asked)
        if hit is not None:
            found.append((_entry(row, sessions.folder), hit))
    if as_json:
        listed = [{**entry.to_dict(), "place": hit.place, "excerpt": hit.excerpt} for entry, hit in found]
        say_json({"folder": str(sessions.folder), "sessions": listed}, "search")
    elif found:
        cells = [
            (entry.name, _progress(entry), entry.state, when(entry.saved), f"{hit.place}: {hit.excerpt}".strip(": "))
            for entry, hit in found
        ]
        say(*table(("name", "runs", "state", "saved", "found in"), cells, right=(1,), width=table_width()))
    else:
        say(f"none of {count(len(rows), 'session')} has {visible(' '.join(words))}")


def rename_command(session: str, name: str) -> None:
    """Give a session another name."""
    path = paths.session_path(session)
    target = rename_session(path, name)
    say(f"{visible(path.stem)} is now {visible(target.stem)}")


def trash_command(names: Sequence[str], delete: bool, yes: bool, as_json: bool) -> None:
    """List the trash, move sessions there, or delete what lies there for good.

    Args:
        names: sessions; with `delete`, entries of the trash, all of them where there is no name.
        yes: whether nobody is asked before something is deleted.
    """
    if delete:
        _delete([find_trashed(name) for name in names] if names else list(trashed_sessions()), yes)
    elif names:
        refused: list[ExplorerError] = []
        for name in names:
            try:
                path = paths.session_path(name)
                trash_session(path)
            except ExplorerError as error:
                # One that is there already, as after a kill between two, keeps no other from going.
                refused.append(error)
                continue
            back = f"`srm-explorer sessions restore {visible(path.stem)}` brings it back"
            say(f"{visible(path.stem)} is in the trash: {back}")
        for error in refused[1:]:
            note(str(error))
        if refused:
            raise refused[0]
    else:
        _list_trash(as_json)


def _list_trash(as_json: bool) -> None:
    entries = trashed_sessions()
    if as_json:
        listed = [
            {
                "name": entry.name,
                "trashed": entry.when,
                "from": str(entry.origin),
                "size": entry.size,
                "files": [file.name for file in entry.files],
                "path": str(entry.folder),
            }
            for entry in entries
        ]
        say_json({"folder": str(paths.trash_folder()), "trash": listed}, "trash")
    elif entries:
        rows = [(entry.name, when(entry.when), file_size(entry.size), str(entry.origin)) for entry in entries]
        say(*table(("name", "thrown away", "size", "from"), rows, right=(2,), width=table_width()))
    else:
        say("the trash is empty")


def _delete(entries: Sequence[Trashed], yes: bool) -> None:
    if not entries:
        say("the trash is empty")
        return
    names = ", ".join(visible(entry.name) for entry in entries[:5]) + (", ..." if len(entries) > 5 else "")
    what = f"{names} ({file_size(sum(entry.size for entry in entries))})"
    if not yes:
        if not sys.stdin.isatty():
            raise ExplorerError("nothing is deleted for good unasked", where=what, remedy="add --yes")
        note(f"delete {what} for good? y deletes, anything else keeps")
        if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
            say("kept")
            return
    delete_trashed(entries)
    say(f"{names} deleted for good")


def restore_command(session: str | None, name: str | None) -> None:
    """Bring a session back from the trash, the last one by default."""
    if session is not None:
        entry = find_trashed(session)
    elif entries := trashed_sessions():
        entry = entries[0]
    else:
        raise ExplorerError("the trash is empty", remedy="nothing is left to bring back")
    try:
        target = restore_session(entry, name)
    except NameTakenError as error:
        raise NameTakenError(error.what, where=error.where, remedy="give it another name with --as NAME") from None
    say(f"{visible(target.stem)} is back in {visible(str(target.parent))}")


def pack_command(session: str, output: Path | None, as_json: bool) -> None:
    """Write a session into one file."""
    packed = pack_session(paths.session_path(session), output)
    _say_packed(packed, as_json, f"packed into {visible(str(packed.path))} ({file_size(packed.size)})")


def unpack_command(file: Path, session: str | None, as_json: bool) -> None:
    """Save the session of a packed file."""
    packed = unpack_session(file, None if session is None else paths.session_path(session))
    _say_packed(packed, as_json, f"unpacked, every hash right, as {visible(str(packed.path))}")


def _say_packed(packed: Packed, as_json: bool, done: str) -> None:
    name, runs = packed.session.name, len(packed.session.runs)
    for line in packed.notes:
        note(f"{name}: {line}")
    if as_json:
        say_json(
            {"session": name, "path": packed.path, "bytes": packed.size, "runs": runs, "notes": packed.notes}, "packed"
        )
    else:
        say(f"{visible(name)}: {count(runs, 'run')} {done}")


def notes_command(session: str, text: str | None, add: bool) -> None:
    """Print the notes on a session, or write them."""
    opened = load_session(paths.session_path(session))
    if text is None:
        if opened.notes:
            say(*map(visible, opened.notes.splitlines()))
        return
    written = sys.stdin.read() if text == "-" else text
    if text == "-" and not written.strip():
        # A command before the pipe that failed, or a closed standard input, is no wish to drop them.
        what = "nothing came on standard input, and the notes stay as they are"
        raise ExplorerError(what, where=opened.name, remedy="name '' instead of - to drop them")
    if add and opened.notes:
        written = f"{opened.notes.rstrip()}\n\n{written}"
    saved = save_session(opened.changed(notes=written.rstrip("\n")), paths.session_path(session))
    say(saved.note or f"notes saved in {visible(saved.session.name)}")


def export_command(
    session: str,
    csv_file: Path | None,
    parquet_file: Path | None,
    npz_file: Path | None,
    site: str | None,
    keys: KeyStyle | None = None,
    controls: bool = False,
) -> None:
    """Write a session's runs, its vectors, or both; a file that is there is replaced in one step."""
    opened = load_session(paths.session_path(session))
    runs = exported(opened, controls=controls)
    rest = len(opened.runs) - runs
    if csv_file is not None:
        export(opened, csv=csv_file, keys=keys, controls=controls)
        say(f"{count(runs, 'run')} written to {visible(str(csv_file))}")
    if parquet_file is not None:
        export(opened, parquet=parquet_file, controls=controls)
        say(f"{count(runs, 'run')} written to {visible(str(parquet_file))}")
    if csv_file is not None or parquet_file is not None:
        for number, plane in enumerate(opened.planes, 1):
            for line in dipped(opened, plane):
                note(f"plane {number}: {line}")
    if npz_file is not None:
        chosen = chosen_site(opened, site)
        beside = metadata_beside(opened, paths.expanded(npz_file), chosen)
        export(opened, npz=npz_file, site=chosen, keys=keys, controls=controls)
        means = " (means over tokens)" if opened.spec.capture.reduce == "tokens" else ""
        say(f"{count(runs, 'vector')} of {chosen} written to {visible(str(npz_file))}{means}")
        for file in beside:
            say(f"what is known of them written to {visible(str(file))}")
    if rest:
        say(f"{count(rest, 'control run')} left out; --controls writes them too")


def export_survey(session: str, csv_file: Path | None, parquet_file: Path | None) -> None:
    """Write the neurons of a survey; a file that is there is replaced in one step."""
    rows = export(load_session(paths.session_path(session)), csv=csv_file, parquet=parquet_file, survey=True)
    for file in (csv_file, parquet_file):
        if file is not None:
            say(f"{count(rows, 'row')} of the survey written to {visible(str(file))}")


def diff_command(
    session: str,
    others: Sequence[str],
    settings: dict[str, Any],
    chart: CompareView | None,
    size: tuple[int | None, int | None],
    out: Output,
) -> None:
    """Print what each of several sessions did and each less the first; of two, or one, the difference of two groups.

    Where two sessions have no axes in common, what needs them is a note, not a refusal, unless it was asked for.

    Args:
        settings: as `compare_study` takes them, but for the other session.
        chart: drawn too, in a size or as large as the terminal.
    """
    files = [paths.session_path(name) for name in (session, *others)]
    named = any(settings[name] for name in ("groups", "a_group", "b_group", "held_out"))
    if named and len(files) > 2:
        what = "groups and halves are compared of two sessions, or within one"
        raise ExplorerError(what, remedy="name two sessions, or leave --groups and --held-out out")
    opened = [load_session(path) for path in files]
    findings: dict[str, Any] = {}
    told: list[str] = []
    if len(files) < 3:
        try:
            compared = compare_study(opened[0], {**settings, "other": str(files[1]) if others else None})
            findings = marked(compared, opened[0])
        except ExplorerError as error:
            if not others or named:
                raise
            told.append(f"no difference of curves: {error}")
    several: dict[str, Any] = {}
    if others:
        of_all = {name: settings[name] for name in ("plane", "resamples", "seed")}
        several = compare_sessions(opened, **of_all, family=settings["family"] or FAMILY)
    tables = [*tables_in(findings)]
    known = {table.name for table in tables}
    tables += [figure for figure in tables_in(several) if figure.name not in known]
    for line in dict.fromkeys(map(exploratory_line, opened)):
        tables = [figure.noted(line) for figure in tables]
    if out.csv is not None:
        written = [curves_table_of(findings).noted(exploratory_line(opened[0]))] if findings else tables
        say_tables(written, form="csv", file=out.csv)
    state = None
    if chart is not None or out.figure is not None:
        state = _compared(files, chart or "counts", settings["plane"], _pair(settings, bool(others)))
        if chart is not None and not out.as_json:
            say(drawn(state.scene(*screen_size(*size)).picture), "")
    further = {key: findings[key] for key in ("plane", "curves", "family", "other_family") if key in findings}
    further |= {key: several[key] for key in ("names", "families") if key in several}
    further |= {"refused": told} if told else {}
    say_tables(tables, form="json" if out.as_json else "text", most=MOST_ROWS, further=further)
    if not out.as_json:
        for line in told:
            note(line)
        if out.csv is not None:
            what = f"curves of {findings['plane']}" if findings else "tables"
            note(f"the {what} written to {visible(str(out.csv))}")
    if out.figure is not None and state is not None:
        out.figure.write(state.figure(), state.heading, quiet=out.as_json)


MOST_ROWS = 60


def _pair(settings: Mapping[str, Any], has_others: bool) -> tuple[str, str] | None:
    """The two groups that are named, one of them perhaps by default."""
    a_group, b_group = settings["a_group"], settings["b_group"]
    if settings["groups"]:
        return settings["groups"][0], settings["groups"][1]
    if not (a_group or b_group):
        return None
    usual = (a_group or b_group) if has_others else "baseline"
    return a_group or usual, b_group or usual


def _compared(files: list[Path], chart: CompareView, plane: int, pair: tuple[str, str] | None) -> CompareState:
    """One view of Compare, worked out; of two groups, where they are named, their difference."""
    # Here, since the screen's state is needed for a chart alone.
    from srm_explorer.tui.compare.state import OVER_VALUES, CompareState

    state = CompareState.of(*(files if len(files) > 1 else [files[0], files[0]]))
    state.go_to(row_of(state.comparison, plane))
    state.show(chart)
    state.score = "srm-explorer effects SESSION --score"
    if pair is not None and state.can_subtract and chart in ("counts", "mean"):
        state.pairs, state.pair, state.subtracts = (pair,), 0, True
    if state.subtracts:
        state.infer()
    elif chart in OVER_VALUES:
        state.measure()
    return state


def ledger_command(session: str, as_json: bool) -> None:
    """Print the tests that were computed on a session, a line an entry, and the sizes of their families."""
    opened = load_session(paths.session_path(session))
    findings = ledger_study(opened, {})
    Output(None, as_json).tell(opened, findings, "")


_MOST_SHOWN = 10


def replay_command(session: str, as_json: bool) -> int:
    """Run a session again and report whether it comes out the same; return the exit status.

    The status is 0 when the session was replayed, whether bit-equal or not, and 130 when it was stopped.
    """
    path = paths.session_path(session)
    saved = load_session(path)
    with Watch(quiet=as_json) as watch, stoppable(watch) as stop:
        try:
            with holding(watch, stop):
                # Here, since it imports torch, which takes seconds that no other command of this file needs.
                from srm_explorer.engine.execution.replay import replay

            result = replay(saved, path.parent, listener=watch.show, stop=stop)
        except Stopped:
            return 130
    if as_json:
        say_json(_summary(result), "replay")
    else:
        say(*_lines(result))
    return 0


def _lines(result: Replay) -> list[str]:
    lines = [f"{result.runs:,} runs replayed: " + ("bit-equal" if result.runs_equal else "not bit-equal")]
    if not result.compared_vectors:
        lines[0] += " in every token" if result.runs_equal else ""
        lines.append(f"the vectors were not compared: {result.why_not}")
    if result.deviations:
        lines.append(f"{len(result.deviations):,} runs have other tokens:")
        lines += [f"  {_deviation(deviation)}" for deviation in result.deviations[:_MOST_SHOWN]]
        if len(result.deviations) > _MOST_SHOWN:
            lines.append(f"  and {len(result.deviations) - _MOST_SHOWN:,} more (--json lists all)")
    lines += [f"largest difference at {site}: {worst:.3g}" for site, worst in result.vectors.items() if worst]
    lines += [] if result.survey is None else _survey_lines(result.survey, result.why_not)
    lines += [f"changed since: {change}" for change in result.changed]
    return lines


def _survey_lines(again: SurveyAgain, said: str) -> list[str]:
    """What came of a survey; `said` is why the vectors, which are in the same file, were not compared."""
    if again.why_not:
        return [f"the survey was not compared: {again.why_not}"] if again.why_not != said else []
    lines: list[str] = []
    for depth, neurons, what in (("forced", again.scored, "scored"), ("free", again.written, "written under")):
        differing = [one for one in again.differing if one.depth == depth]
        if neurons:
            lines.append(f"{neurons:,} neurons {what} again: " + ("not bit-equal" if differing else "bit-equal"))
        for one in differing:
            most = "" if one.largest is None else f", by {one.largest:.3g} at most"
            lines.append(f"  {one.table}: {one.neurons:,} of {neurons:,} neurons differ{most}")
    return lines


def _deviation(deviation: Deviation) -> str:
    margin = "" if deviation.margin is None else f"; smallest top-2 margin {deviation.margin:.3g}"
    near = " (a near-tie)" if deviation.margin is not None and deviation.margin < 1e-3 else ""
    first = f"token {deviation.first + 1} was {deviation.was}, is {deviation.now}"
    return f"run {deviation.run.index}: {first}{margin}{near}"


def _summary(result: Replay) -> dict[str, Any]:
    return {
        "runs": result.runs,
        # Null where tokens are equal and the vectors, or a survey's tables, were not there to tell.
        "bit_equal": result.bit_equal if result.is_whole or not result.bit_equal else None,
        "tokens_equal": not result.deviations,
        "compared_vectors": result.compared_vectors,
        "why_not": result.why_not,
        "largest_difference": result.vectors,
        "deviations": [
            {
                "run": deviation.run.index,
                "prompt": deviation.run.prompt,
                "condition": deviation.run.condition,
                "sample": deviation.run.sample,
                "first": deviation.first,
                "first_from_1": deviation.first + 1,
                "was": deviation.was,
                "now": deviation.now,
                "margin": deviation.margin,
            }
            for deviation in result.deviations
        ],
        "survey": None if result.survey is None else _survey_summary(result.survey),
        "changed": list(result.changed),
    }


def _survey_summary(again: SurveyAgain) -> dict[str, Any]:
    return {
        "scored": again.scored,
        "written": again.written,
        "bit_equal": None if again.why_not else again.bit_equal,
        "why_not": again.why_not,
        "differing": [vars(table) for table in again.differing],
    }
