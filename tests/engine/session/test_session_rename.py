from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.io.files import sha256_of
from srm_explorer.engine.io.lock import FileLock, LockedError
from srm_explorer.engine.runs.journal import known_runs, register_run
from srm_explorer.engine.runs.manage import rename_session
from srm_explorer.engine.runs.trash import trash_session
from srm_explorer.engine.session import RunRecord, Session, load_session, rename_files, save_session, sessions_in
from srm_explorer.engine.session.store import renamed_path
from tests.killing import die_at, in_a_child

SITE = "blocks.1.mlp.hook_post"
SPEC = Experiment.from_dict(
    {
        "model": {"name": "demo"},
        "prompts": {"sets": ["reasoning"]},
        "interventions": [{"site": SITE, "neurons": [7], "op": "clamp", "values": [-1, 2]}],
        "capture": {"sites": [SITE]},
    }
)
VECTORS = {SITE: np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)}


def a_session(**fields: Any) -> Session:
    from srm_explorer.engine.session import PromptRecord

    return Session(
        name="storm",
        state="finished",
        spec=SPEC,
        conditions=conditions(SPEC),
        resolved=((None,), ((-1.0,),), ((2.0,),)),
        prompts=(PromptRecord("reasoning", "If it rains", {}, (5,), 0, "0" * 64),),
        runs=tuple(RunRecord(i, 0, i, 0, (1, i), f"wet {i}", 1, "length", None, {}) for i in range(3)),
    ).changed(**fields)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".srm-explorer.lock"}


def holds_its_vectors(session: Session) -> bool:
    return np.array_equal(session.vectors()[SITE], VECTORS[SITE])


def test_a_renamed_session_is_the_same_with_the_same_vectors(tmp_path: Path) -> None:
    before = save_session(a_session(notes="mine"), tmp_path / "storm.json", vectors=VECTORS).session
    content = sha256_of(tmp_path / "storm.safetensors")
    paths.run_folder(tmp_path / "storm.json").mkdir()
    target = rename_files(tmp_path / "storm.json", "calm")
    assert target == tmp_path / "calm.json"
    assert names(tmp_path) == {"calm.json", "calm.safetensors", "calm.run"}
    after = load_session(target)
    assert before.sidecar is not None
    assert after.sidecar is not None
    assert after.sidecar.file == "calm.safetensors"
    assert after.sidecar.sha256 == before.sidecar.sha256 == content == sha256_of(tmp_path / "calm.safetensors")
    assert after.changed(name="storm", sidecar=before.sidecar) == before
    saved = save_session(after.changed(notes="more"), target)
    assert (saved.path, saved.note) == (target, "")
    assert names(tmp_path) == {"calm.json", "calm.safetensors", "calm.run"}


@pytest.mark.parametrize("taken", ["calm.json", "calm.safetensors", "calm.run"])
def test_a_name_that_something_has_is_refused_and_nothing_moves(tmp_path: Path, taken: str) -> None:
    save_session(a_session(), tmp_path / "storm.json", vectors=VECTORS)
    (tmp_path / taken).write_bytes(b"mine")
    with pytest.raises(ExplorerError, match=f"the name 'calm' is taken by {taken}; choose another"):
        rename_files(tmp_path / "storm.json", "calm")
    assert names(tmp_path) == {"storm.json", "storm.safetensors", taken}
    assert (tmp_path / taken).read_bytes() == b"mine"


@given(st.text(min_size=0, max_size=12))
def test_a_new_name_stays_in_the_folder_or_is_refused(name: str) -> None:
    path = Path("/somewhere/storm.json")
    try:
        target = renamed_path(path, name)
    except ExplorerError as error:
        assert error.remedy  # noqa: PT017
        return
    assert target.parent == path.parent
    assert target.name.endswith(".json")
    assert not target.name.startswith(("-", " "))
    assert target.name not in (".json", "..json")


def test_a_damaged_session_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "storm.json"
    path.write_bytes(b'{"schema_version": 1')
    with pytest.raises(ExplorerError, match="broken JSON"):
        rename_session(path, "calm")
    with pytest.raises(ExplorerError, match="no such file"):
        rename_files(tmp_path / "nothing.json", "calm")
    assert names(tmp_path) == {"storm.json"}


def test_vectors_that_another_session_calls_its_own_stay(tmp_path: Path) -> None:
    save_session(a_session(), tmp_path / "storm.json", vectors=VECTORS)
    (tmp_path / "copy.json").write_bytes((tmp_path / "storm.json").read_bytes())
    rename_files(tmp_path / "copy.json", "calm")
    assert holds_its_vectors(load_session(tmp_path / "storm.json"))
    assert holds_its_vectors(load_session(tmp_path / "calm.json"))


def test_killed_at_any_instant_of_a_rename_the_session_is_there_with_its_vectors(tmp_path: Path) -> None:
    found: list[str] = []
    for step in range(40):
        folder = tmp_path / str(step)
        save_session(a_session(), folder / "storm.json", vectors=VECTORS)

        def act(step: int = step, folder: Path = folder) -> None:
            die_at(step)
            rename_files(folder / "storm.json", "calm")

        status = in_a_child(act)
        (left,) = sessions_in(folder)
        found.append(left.stem)
        session = load_session(left)
        assert holds_its_vectors(session)
        assert session.runs == a_session().runs
        again = save_session(session.changed(notes="later"), left)
        assert (again.path, again.note) == (left, "")
        assert holds_its_vectors(load_session(left))
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert found == sorted(found, reverse=True)
    assert set(found) == {"storm", "calm"}
    assert len(found) < 40


def test_a_session_that_is_being_written_is_neither_renamed_nor_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "storm.json"
    save_session(a_session(), path, vectors=VECTORS)
    with FileLock(paths.run_folder(path) / "lock"):
        for act in (lambda: rename_session(path, "calm"), lambda: trash_session(path)):
            with pytest.raises(LockedError, match=f"in use by process {os.getpid()}; wait for it, or stop it first"):
                act()
    assert names(tmp_path) == {"storm.json", "storm.safetensors", "storm.run"}


def test_a_run_that_is_not_saved_yet_keeps_its_place_in_the_list(tmp_path: Path) -> None:
    folder = tmp_path / "storm.run"
    folder.mkdir()
    (folder / "spec.json").write_bytes(b"{}")
    register_run(folder)
    assert rename_session(tmp_path / "storm.json", "calm") == tmp_path / "calm.json"
    assert known_runs() == [tmp_path / "calm.run"]
    assert (tmp_path / "calm.run" / "spec.json").read_bytes() == b"{}"
    place = trash_session(tmp_path / "calm.json")
    assert known_runs() == []
    assert (place / "calm.run" / "spec.json").read_bytes() == b"{}"
    with pytest.raises(ExplorerError, match="it is gone already"):
        trash_session(tmp_path / "calm.json")
