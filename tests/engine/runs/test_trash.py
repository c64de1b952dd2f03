from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.lock import FileLock, LockedError
from srm_explorer.engine.runs.journal import JournalWriter, known_runs
from srm_explorer.engine.runs.journal_records import RunStart
from srm_explorer.engine.runs.manage import bring_along, rename_session, whereabouts
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.runs.trash import (
    delete_trashed,
    find_trashed,
    restore_session,
    trash_session,
    trashed_sessions,
)
from srm_explorer.engine.session import ComputedTest, Ledger, load_session, record_tests, save_session, sessions_in
from srm_explorer.engine.session.store import settle_renames
from tests.engine.session.test_session_rename import (
    SPEC,
    VECTORS,
    a_session,
    die_at,
    holds_its_vectors,
    in_a_child,
    names,
)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def shelve(folder: Path, name: str = "storm", created: str = "2026-01-01T00:00:00+00:00") -> Path:
    """An interrupted session with its vectors, a ledger of one test, and the folder of its run."""
    path = folder / f"{name}.json"
    session = a_session(created=created, state="interrupted")
    record_tests(save_session(session, path, vectors=VECTORS).session, [ComputedTest("difference", {}, 0.5)], "all")
    layout = Layout(3, 0, ((0,), (1, 2)))
    start = RunStart(session.prompts, provenance={}, created=created)
    JournalWriter.create(paths.run_folder(path), SPEC, layout=layout, extra=start).close()
    return path


def is_whole(path: Path) -> bool:
    """Whether a session of `shelve` is there with all that belongs to it."""
    session = load_session(path)
    return (
        holds_its_vectors(session)
        and session.runs == a_session().runs
        and len(Ledger(session).entries()) == 1
        and paths.run_folder(path).is_dir()
    )


def test_what_was_thrown_away_comes_back_whole_and_in_the_order_it_went(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for name in ("storm", "calm", "storm-2"):
        shelve(folder, name, f"made {name}")
    before = names(folder)
    for name in ("storm", "calm"):
        trash_session(folder / f"{name}.json")
    assert names(folder) == {"storm-2.json", "storm-2.safetensors", "storm-2.ledger.jsonl", "storm-2.run"}
    assert [entry.name for entry in trashed_sessions()] == ["calm", "storm"]
    assert find_trashed("storm").origin == folder
    for entry in trashed_sessions():
        assert restore_session(entry) == folder / f"{entry.name}.json"
    assert names(folder) == before
    assert all(is_whole(folder / f"{name}.json") for name in ("storm", "calm", "storm-2"))
    assert trashed_sessions() == ()
    assert set(known_runs()) == {folder / f"{name}.run" for name in ("storm", "calm", "storm-2")}
    with pytest.raises(ExplorerError, match="the trash is empty"):
        find_trashed("storm")


def test_a_name_that_another_has_by_now_is_refused_and_another_is_taken(tmp_path: Path) -> None:
    trash_session(shelve(tmp_path))
    shelve(tmp_path, created="another")
    (entry,) = trashed_sessions()
    with pytest.raises(ExplorerError, match="the name 'storm' is taken by storm"):
        restore_session(entry)
    assert trashed_sessions() == (entry,)
    assert load_session(tmp_path / "storm.json").created == "another"
    assert is_whole(restore_session(entry, "calm"))
    assert load_session(tmp_path / "calm.json").created == "2026-01-01T00:00:00+00:00"
    assert is_whole(rename_session(tmp_path / "calm.json", "wind"))
    assert is_whole(tmp_path / "storm.json")
    with pytest.raises(ExplorerError, match="not in the trash any more"):
        restore_session(entry)


@pytest.mark.parametrize("left", ["storm.json", "storm.safetensors", "storm.run"])
def test_whatever_has_the_name_keeps_it(tmp_path: Path, left: str) -> None:
    trash_session(shelve(tmp_path / "out"))
    (tmp_path / "out" / left).write_bytes(b"mine")
    with pytest.raises(ExplorerError, match=f"is taken by {left}"):
        restore_session(trashed_sessions()[0])
    assert (tmp_path / "out" / left).read_bytes() == b"mine"
    assert len(trashed_sessions()[0].files) == 4


def test_tests_computed_on_a_session_that_was_moved_away_meanwhile_are_in_its_ledger(tmp_path: Path) -> None:
    held = load_session(shelve(tmp_path))
    rename_session(tmp_path / "storm.json", "calm")
    record_tests(held, [ComputedTest("difference", {"at": 1}, 0.5)], "all")
    assert len(Ledger(load_session(tmp_path / "calm.json")).entries()) == 2
    assert not paths.ledger_file(tmp_path / "storm.json").exists()
    held = load_session(tmp_path / "calm.json")
    trash_session(tmp_path / "calm.json")
    record_tests(held, [ComputedTest("difference", {"at": 2}, 0.5)], "all")
    restored = restore_session(trashed_sessions()[0])
    assert len(Ledger(load_session(restored)).entries()) == 3


def put_back(folder: Path) -> Path:
    return restore_session(trashed_sessions()[0])


def put_back_as_calm(folder: Path) -> Path:
    return restore_session(trashed_sessions()[0], "calm")


@pytest.mark.parametrize("act", [trash_session, put_back, put_back_as_calm])
def test_killed_at_any_instant_all_of_it_is_there_and_can_be_had_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], Path]
) -> None:
    ends: set[bool] = set()
    for step in range(60):
        folder = tmp_path / str(step)
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
        path = shelve(folder / "out")
        if act is not trash_session:
            trash_session(path)

        def kill(step: int = step, path: Path = path) -> None:
            die_at(step)
            act(path)

        status = in_a_child(kill)
        there = [run for run in (folder / "out").glob("*.run") if act is not trash_session]
        assert set(there) <= set(known_runs()), f"killed before change {step}"
        left = sessions_in(folder / "out")
        ends.add(bool(left))
        if act is put_back_as_calm and trashed_sessions():
            # The same again, by the name that it had.
            restore_session(find_trashed("storm"), "calm")
        while entries := trashed_sessions():
            restore_session(entries[0])
        (left,) = sessions_in(folder / "out")
        assert left.stem in ("storm", "calm")
        assert is_whole(left), f"killed before change {step}: {names(folder / 'out')}"
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert ends == {True, False}
    assert step < 59


def test_killed_at_any_instant_the_same_again_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = 0
    for step in range(60):
        folder = tmp_path / str(step)
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
        path = shelve(folder / "out")

        def kill(step: int = step, path: Path = path) -> None:
            die_at(step)
            trash_session(path)

        if in_a_child(kill) == 0:
            break
        assert all(not half.name.startswith(".tmp-") for entry in trashed_sessions() for half in entry.files)
        with contextlib.suppress(ExplorerError):
            trash_session(path)
            again += not sessions_in(folder / "out")
        assert names(folder / "out") == set(), f"killed before change {step}: {names(folder / 'out')}"
        (entry,) = trashed_sessions()
        assert len(entry.files) == 4
    assert 4 < again < 60
    # Another of the same name has nothing of what lies in the trash.
    path = shelve(tmp_path / "out", created="another")
    trash_session(path)
    assert len(find_trashed("storm").files) == 4


def test_killed_at_any_instant_of_a_rename_all_of_it_is_under_one_name_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    for step in range(60):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / str(step) / "state"))
        path = shelve(tmp_path / str(step))

        def kill(step: int = step, path: Path = path) -> None:
            die_at(step)
            rename_session(path, "calm")

        status = in_a_child(kill)
        settle_renames(path.parent, [file.name for file in path.parent.iterdir()])
        (left,) = sessions_in(path.parent)
        seen.append(left.stem)
        assert is_whole(left), f"killed before change {step}: {names(path.parent)}"
        assert is_whole(rename_session(left, "wind"))
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {"storm", "calm"}


@pytest.mark.parametrize("saved", [True, False])
def test_killed_at_any_instant_of_a_rename_the_same_again_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool
) -> None:
    for step in range(60):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / str(step) / "state"))
        path = shelve(tmp_path / str(step) / "out")
        if not saved:
            for file in (path, paths.ledger_file(path), path.with_suffix(".safetensors")):
                file.unlink()

        def kill(step: int = step, path: Path = path) -> None:
            die_at(step)
            rename_session(path, "calm")

        status = in_a_child(kill)
        # Who looks meanwhile takes off the list what is not there.
        known_runs()
        if any(file.name.endswith(".renaming") or file.stem == "storm" for file in path.parent.iterdir()):
            rename_session(path, "calm")
        kept = {"calm.run", *(("calm.json", "calm.safetensors", "calm.ledger.jsonl") if saved else ())}
        assert {name for name in names(path.parent) if not name.startswith(".tmp-")} == kept
        assert not saved or is_whole(path.with_stem("calm"))
        assert known_runs() == [path.with_name("calm.run")], f"killed before change {step}"
        if status == 0:
            break
        assert status == -signal.SIGKILL
        with pytest.raises(ExplorerError, match="no such file"):
            rename_session(path, "calm")
    assert 9 < step < 59


def test_a_run_that_is_written_is_not_renamed_under_its_writer(tmp_path: Path) -> None:
    path = shelve(tmp_path)
    run = paths.run_folder(path)
    record = {"to": "calm", "created": load_session(path).created, "run": run.stat().st_ino}
    (tmp_path / ".storm.renaming").write_text(json.dumps(record))
    path.rename(path.with_stem("calm"))
    with FileLock(run / "lock"):
        settle_renames(tmp_path, [".storm.renaming"])
        assert run.is_dir()
    settle_renames(tmp_path, [".storm.renaming"])
    assert is_whole(tmp_path / "calm.json")
    assert names(tmp_path) - {"state"} == {"calm.json", "calm.safetensors", "calm.ledger.jsonl", "calm.run"}


def test_what_moves_and_deletions_left_that_were_cut_short_does_not_stay(tmp_path: Path) -> None:
    trash_session(shelve(tmp_path))
    trash = paths.trash_folder()
    for name in ("gale 2026-11-01T101112.000001", "wind 2026-11-01T101112.000001", ".deleted calm"):
        (trash / name).mkdir()
        (trash / name / ".origin.json").write_text("{}")
    os.utime(trash / "gale 2026-11-01T101112.000001", (0, 0))
    before = (trash / ".deleted calm", trash / "gale 2026-11-01T101112.000001")
    (entry,) = trashed_sessions()
    assert [left.exists() for left in before] == [False, False]
    # One that may be on its way stays, and so does what holds something, however old it is.
    assert (trash / "wind 2026-11-01T101112.000001").is_dir()
    os.utime(entry.folder, (0, 0))
    assert trashed_sessions() == (entry,)


def test_another_file_system_is_no_other_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shelve(tmp_path / "out")
    rename = Path.rename

    def across(old: Path, new: Path) -> Path:
        if old.name.startswith("storm") and not new.name.startswith("."):
            raise OSError(18, os.strerror(18))
        return rename(old, new)

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(Path, "rename", across)
        trash_session(path)
        assert [file for file in names(path.parent) if not file.startswith(".")] == []
        restore_session(trashed_sessions()[0])
    assert is_whole(path)


def test_a_disk_that_cannot_be_written_any_more_is_told_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shelve(tmp_path / "out")
    with JournalWriter.open_existing(paths.run_folder(path)) as writer, monkeypatch.context() as broken:
        refuse_changes(broken)
        with pytest.raises(ExplorerError, match="read-only"):
            writer.event({"event": "note"})
    with monkeypatch.context() as broken:
        refuse_changes(broken)
        with pytest.raises(ExplorerError, match="read-only"):
            trash_session(path)
    assert is_whole(path)
    assert names(path.parent) == {"storm.json", "storm.safetensors", "storm.ledger.jsonl", "storm.run"}
    assert trashed_sessions() == ()
    trash_session(path)
    assert is_whole(restore_session(find_trashed("storm")))


def refuse_changes(patch: pytest.MonkeyPatch) -> None:
    """What a disk says that was remounted read-only since its files were opened, as after an error of its own."""

    def refuse(*arguments: Any, **_: Any) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("write", "ftruncate", "unlink", "rename", "fsync"):
        patch.setattr(os, name, refuse)


def test_what_is_being_written_is_left_where_it_is(tmp_path: Path) -> None:
    path = shelve(tmp_path)
    with FileLock(paths.run_folder(path) / "lock"), pytest.raises(LockedError, match="wait for it, or stop it"):
        trash_session(path)
    assert is_whole(path)
    assert trashed_sessions() == ()
    trash_session(path)
    with pytest.raises(ExplorerError, match="it is gone already"):
        trash_session(path)


def test_what_is_deleted_is_gone_and_the_rest_stays(tmp_path: Path) -> None:
    for name in ("storm", "calm"):
        trash_session(shelve(tmp_path / "out", name, name))
    delete_trashed([find_trashed("storm")])
    assert [entry.name for entry in trashed_sessions()] == ["calm"]
    assert [file.name for file in paths.trash_folder().iterdir() if "storm" in file.name] == []
    assert is_whole(restore_session(find_trashed("calm")))


def test_entries_of_earlier_versions_come_back_to_the_sessions_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRM_EXPLORER_SESSIONS", str(tmp_path / "sessions"))
    old = paths.trash_folder() / "storm 2026-11-01T101112.000001"
    shelve(old)
    run = shelve(tmp_path / "out", "gale")
    paths.run_folder(run).rename(paths.trash_folder() / "gale.run-2")
    entry = find_trashed("storm")
    assert entry.when == "2026-11-01T10:11:12.000001+00:00"
    assert is_whole(restore_session(entry))
    assert restore_session(find_trashed("gale")) == tmp_path / "sessions" / "gale.json"
    assert (tmp_path / "sessions" / "gale.run").is_dir()


def test_a_session_is_found_under_any_name(tmp_path: Path) -> None:
    path = shelve(tmp_path)
    session = load_session(path)
    shutil.rmtree(paths.run_folder(path))

    def where() -> Any:
        return whereabouts(path, session.created, session.saved)

    copy = save_session(session.changed(revision=0), tmp_path / "copy.json").session.path
    assert where()[0] == path
    path.rename(tmp_path / "calm.json")
    assert where() == (tmp_path / "calm.json", "")
    trash_session(tmp_path / "calm.json")
    assert where() == (copy, "")
    assert copy is not None
    copy.unlink()
    assert where() == (None, "gone")
    restore_session(find_trashed("calm"))
    assert where()[0] == tmp_path / "calm.json"


def test_a_session_renamed_under_the_hands_of_one_who_saves_it_is_saved_under_its_new_name(tmp_path: Path) -> None:
    path = shelve(tmp_path)
    held = load_session(path)
    rename_session(path, "calm")
    saved = save_session(held.changed(notes="mine"), path)
    assert saved.path == tmp_path / "calm.json"
    assert saved.note == "'storm' was renamed meanwhile: saved as 'calm'"
    assert is_whole(saved.path)
    assert load_session(saved.path).notes == "mine"
    assert not path.exists()
    trash_session(saved.path)
    with pytest.raises(ExplorerError, match=r"moved to the trash meanwhile; bring it back with .* restore calm"):
        save_session(saved.session.changed(notes="more"), saved.path)
    assert not saved.path.exists()


def test_what_belongs_to_a_session_follows_its_file_that_was_renamed_by_hand(tmp_path: Path) -> None:
    path = shelve(tmp_path)
    folder, stem = paths.notes_drafts(path)
    folder.mkdir(parents=True)
    (folder / f"{stem}-1.md").write_text("half a thought")
    path.rename(tmp_path / "calm.json")
    bring_along(path, tmp_path / "calm.json")
    assert names(tmp_path) - {"state"} == {"calm.json", "calm.safetensors", "calm.ledger.jsonl", "calm.run"}
    assert is_whole(rename_session(tmp_path / "calm.json", "wind"))
    (draft,) = folder.glob("*.md")
    assert draft.name.startswith(paths.notes_drafts(tmp_path / "wind.json")[1])
    assert draft.read_text() == "half a thought"
