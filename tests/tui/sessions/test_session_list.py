from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.runs.journal import JournalWriter
from srm_explorer.engine.runs.journal_records import RunStart
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.session import load_session, save_session
from srm_explorer.engine.session.session import pending_sidecar
from srm_explorer.engine.session.store import folder_lock
from srm_explorer.tui.glyphs import UNICODE
from srm_explorer.tui.sessions.list_model import SessionList
from srm_explorer.tui.sessions.preview_text import read_preview
from srm_explorer.tui.sessions.row import FoundRun, Row, Summary, matching, moment
from srm_explorer.tui.sessions.table import cell_of, facts_of
from tests.example import EXAMPLE as FILE
from tests.surveyed import begun as begun_survey
from tests.surveyed import surveyed

EXAMPLE = load_session(FILE)


@pytest.fixture
def home(own_folders: Path) -> Path:
    folder = own_folders / "sessions"
    folder.mkdir(parents=True)
    return folder


def begun(path: Path, spec: Experiment = EXAMPLE.spec) -> JournalWriter:
    """A run of the example that was begun, in two batches."""
    layout = Layout(30, 0, ((0, 1), tuple(range(2, 32))))
    start = RunStart(EXAMPLE.prompts, created="2026-01-01T00:00:00+00:00")
    return JournalWriter.create(paths.run_folder(path), spec, layout=layout, extra=start)


@pytest.fixture
def running(home: Path) -> Iterator[JournalWriter]:
    """A run under way, outside the sessions folder."""
    with begun(home.parent / "else" / "gale.json") as writer:
        yield writer


def found(sessions: SessionList) -> dict[str, Row]:
    return {row.name: row for row in sessions.scan()}


def test_a_file_is_read_once_and_again_when_it_changes(home: Path) -> None:
    save_session(EXAMPLE.changed(revision=0), home / "calm.json")
    sessions = SessionList()
    (row,) = sessions.scan()
    assert row.kind == "reading"
    assert sessions.read(row).kind == "finished"
    assert sessions.scan()[0].kind == "finished"
    sessions.remember()
    assert SessionList().scan()[0].kind == "finished"
    save_session(load_session(home / "calm.json").changed(notes="x", state="interrupted"), home / "calm.json")
    (row,) = sessions.scan()
    assert row.kind == "reading"
    assert sessions.read(row).kind == "interrupted"


def test_a_run_elsewhere_is_listed_while_it_grows_and_after_its_writer_died(home: Path, running: JournalWriter) -> None:
    sessions = SessionList()
    (row,) = sessions.scan()
    assert (row.kind, row.saved, row.runs) == ("running", False, (0, 32))
    assert row.name == str(home.parent / "else" / "gale")
    assert cell_of(row, "state", UNICODE) == ("running", "good")
    own = {site: rows[:2] for site, rows in EXAMPLE.vectors().items()}
    running.append_batch(0, EXAMPLE.runs[:2], own, receipt={})
    running.progress({"stage": "running", "runs_done": 2, "runs": 32, "seconds_left": 3723.0})
    assert sessions.scan()[0].runs == (2, 32)
    assert cell_of(sessions.scan()[0], "state", UNICODE) == ("running 6 % · 1:02:03 left", "good")
    running.close()
    (row,) = sessions.scan()
    assert (row.kind, row.runs) == ("interrupted", (2, 32))
    assert cell_of(row, "state", UNICODE) == ("interrupted", "warn")


def test_a_saved_part_and_its_run_folder_are_one_row(home: Path) -> None:
    made = EXAMPLE.changed(revision=0, state="interrupted", runs=EXAMPLE.runs[:2], planes=())
    save_session(made, home / "rain.json")
    begun(home / "rain.json").close()
    sessions = SessionList()
    (row,) = sessions.scan()
    row = sessions.read(row)
    assert (row.kind, row.saved) == ("interrupted", True)
    assert row.run == FoundRun(alive=False, done=0, planned=32, progress=None)
    assert row.runs == (2, 32)
    save_session(EXAMPLE.changed(revision=0), home / "calm.json")
    begun(home / "calm.json").close()
    for one in sessions.scan():
        sessions.read(one)
    calm = found(sessions)["calm"]
    assert (calm.kind, calm.run) == ("finished", None)


def test_a_survey_is_listed_by_its_neurons(home: Path) -> None:
    session = surveyed(home / "many.json", done=10)
    sessions = SessionList()
    (row,) = sessions.rows()
    assert cell_of(row, "runs", UNICODE) == "10 / 40 neurons"
    assert sessions.scan() == (row,), "it is remembered"
    assert SessionList().scan() == (row,)
    assert read_preview(row, 0, 0).facts[0] == (
        "state",
        "interrupted: 12 of 12 runs of the baseline, 10 of 40 neurons scored",
    )
    begun_survey(session, parts=2).close()
    (row,) = sessions.rows()
    assert cell_of(row, "runs", UNICODE) == "20 / 40 neurons"
    kept = "12 of 12 runs of the baseline, 20 of 40 neurons scored"
    assert read_preview(row, 0, 0).warnings[0] == (
        f"a run was cut short ({kept}): r goes on after the neurons that are finished"
    )
    (home / "many.json").unlink()
    (row,) = sessions.rows()
    assert read_preview(row, 0, 0).facts[0] == ("state", f"interrupted: {kept}")
    assert facts_of(row).startswith("20 of 40 neurons, ")


def test_a_damaged_run_folder_is_told(home: Path) -> None:
    folder = paths.run_folder(home / "gale.json")
    begun(home / "gale.json").close()
    (folder / "spec.json").write_bytes(b"{")
    (row,) = SessionList().scan()
    assert row.kind == "damaged"
    assert row.summary is not None
    assert "broken JSON" in row.summary.problem


def test_rows_are_ordered_by_what_runs_and_then_by_time(home: Path, running: JournalWriter) -> None:
    for age, name in enumerate(("new", "old")):
        save_session(EXAMPLE.changed(revision=0, created=name), home / f"{name}.json")
        os.utime(home / f"{name}.json", (2e9 - age, 2e9 - age))
    assert [row.path.stem for row in SessionList().scan()] == ["gale", "new", "old"]


def test_hidden_files_and_other_kinds_are_no_sessions(home: Path) -> None:
    for name in (".tmp-1-2", ".hidden.json", "notes.txt", "a.safetensors"):
        (home / name).write_bytes(b"{}")
    (home / "folder.json").mkdir()
    assert SessionList().scan() == ()
    assert SessionList(home / "nowhere").scan() == ()


def row_of(name: str, **fields: object) -> Row:
    summary = Summary(model="gpt2", intervention="L11 hook_post · n373 · clamp", state="finished", **fields)  # type: ignore[arg-type]
    return Row(Path(f"/s/{name}.json"), name, 1, 0.0, saved=True, summary=summary)


def test_every_word_has_to_occur_somewhere() -> None:
    rows = (row_of("storm"), row_of("calm"))
    assert matching(rows, " GPT2  cal") == rows[1:]
    assert matching(rows, "n373 finished") == rows
    assert matching(rows, "n373 interrupted") == ()
    assert matching(rows, "") == rows


def test_moments_are_told_as_people_say_them() -> None:
    now = datetime(2026, 11, 22, 10, 0).astimezone()
    for ago, told in (
        (timedelta(minutes=5), "today 09:55"),
        (timedelta(hours=11), "yesterday 23:00"),
        (timedelta(days=2), "2026-11-20"),
        (timedelta(hours=-20), "2026-11-23"),
    ):
        assert moment(row_of("a", saved=(now - ago).isoformat()), now) == told
    assert moment(row_of("a", saved="no time"), now) == ""


def test_a_save_cut_short_before_the_vectors_got_their_name_is_finished_by_who_looks(home: Path) -> None:
    for name in ("listed", "opened"):
        save_session(EXAMPLE.changed(revision=0), home / f"{name}.json", vectors=dict(EXAMPLE.vectors()))
        session = load_session(home / f"{name}.json")
        assert session.sidecar is not None
        final = home / f"{name}.safetensors"
        final.rename(pending_sidecar(final, session.sidecar.sha256))
        (home / f".{name}.{'0' * 16}.safetensors").write_bytes(b"half")
    with folder_lock(home):
        assert len(SessionList().scan()) == 2
        assert not (home / "listed.safetensors").exists(), "somebody is saving"
    load_session(home / "opened.json")
    assert [path.name for path in home.glob("*opened*")] == ["opened.json", "opened.safetensors"]
    SessionList().scan()
    assert not [path for path in home.glob(".*") if path.suffix == ".safetensors"]
    assert len(load_session(home / "listed.json").vectors()) == len(EXAMPLE.vectors())


def test_vectors_that_wait_and_belong_to_no_session_that_can_be_read_stay(home: Path) -> None:
    waiting = [home / f".{name}.{'a' * 16}.safetensors" for name in ("gone", "broken")]
    (home / "broken.json").write_bytes(b'{"schema_version": 2, "runs"')
    for path in waiting:
        path.write_bytes(b"vectors")
    SessionList().scan()
    assert all(path.exists() for path in waiting)


def test_what_is_left_of_a_removed_run_folder_is_swept(home: Path) -> None:
    elsewhere = home.parent / "else"
    for folder in (home, elsewhere):
        run = folder / "rain.run"
        begun(run.with_suffix(".json")).close()
        run.rename(folder / ".rain.run.done")
        (folder / ".rain.run.done" / "spec.json").unlink()
        (folder / ".rain.run").mkdir()
    assert SessionList().scan() == ()
    assert [path.name for folder in (home, elsewhere) for path in folder.iterdir()] == [".rain.run", ".rain.run"]
    assert SessionList().scan() == ()


@pytest.mark.parametrize("content", ["5", "[5]", '{"batches": null}', "[" * 100_000])
def test_a_run_folder_that_is_damaged_hides_no_other(home: Path, running: JournalWriter, content: str) -> None:
    begun(home / "gale.json").close()
    (home / "gale.run" / "layout.json").write_text(content)
    save_session(EXAMPLE.changed(revision=0), home / "calm.json")
    rows = found(SessionList())
    assert (len(rows), rows["gale"].kind) == (3, "damaged")
    assert rows["gale"].summary is not None
    assert "layout.json" in rows["gale"].summary.problem


def test_the_index_is_no_witness_for_a_file_put_in_its_place(home: Path) -> None:
    path = home / "calm.json"
    save_session(EXAMPLE.changed(revision=0), path)
    assert [row.runs for row in SessionList().rows()] == [(32, 32)]
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"demo"', b'"dema"'))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (row,) = SessionList().rows()
    assert path.stat().st_size == stat.st_size
    assert row.summary is not None
    assert "dema" in row.summary.model
