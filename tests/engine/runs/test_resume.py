"""The same command a second time: it goes on, shows what is there, or refuses; nothing is lost on the way."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.lock import LockedError
from srm_explorer.engine.io.vectors import write_vectors
from srm_explorer.engine.runs.journal_reader import JournalReader
from srm_explorer.engine.runs.progress import Progress, StopSignal
from srm_explorer.engine.session import load_session, save_session

if TYPE_CHECKING:
    from srm_explorer.engine.session import Session

    from ..conftest import Lab

MLP = "blocks.1.mlp.hook_post"
ONCE, TWICE = 1, 2


def stop_in_batch(number: int, wishes: int) -> dict[str, Any]:
    """Options of a run that is asked to stop while a batch, counted from 1, is in flight."""
    stop = StopSignal()
    begun: list[int] = []

    def listen(progress: Progress) -> None:
        if progress.stage == "running" and progress.rows and progress.step == 0:
            begun.append(progress.runs_done)
        if len(begun) == number and progress.step == 2:
            stop.level = wishes

    return {"listener": listen, "stop": stop}


def same_results(one: Session, other: Session) -> None:
    assert one.runs == other.runs
    assert one.resolved == other.resolved
    assert one.prompts == other.prompts
    assert one.planes == other.planes
    for site, own in one.vectors().items():
        assert np.array_equal(own, other.vectors()[site]), f"vectors at {site} are not bit-equal"


@pytest.mark.parametrize(("wishes", "saved"), [(ONCE, 6), (TWICE, 3)])
def test_a_stopped_run_is_saved_and_the_same_command_goes_on(
    lab: Lab, clamp: dict[str, Any], wishes: int, saved: int
) -> None:
    experiment = lab.experiment(clamp)
    undisturbed = lab.session(experiment, "whole", rows=3)
    part = lab.run(experiment, rows=3, **stop_in_batch(2, wishes))
    assert part.status == "interrupted"
    assert part.session is not None
    assert part.session.state == load_session(lab.path()).state == "interrupted"
    assert len(part.session.runs) == saved, "once finishes the batch in flight, twice drops it"
    said: list[tuple[int, int]] = []
    rest = lab.run(experiment, rows=100, on_resume=lambda *told: said.append(told))
    assert said == [(saved, 12)]
    assert (rest.status, rest.resumed) == ("finished", saved)
    assert rest.session is not None
    assert rest.session.revision == 2
    assert rest.session.layout == undisturbed.layout, "the batches are those that were planned first"
    same_results(rest.session, undisturbed)


def test_a_run_in_sigma_goes_on_while_and_after_its_baseline_is_measured(lab: Lab, clamp: dict[str, Any]) -> None:
    experiment = lab.experiment({**clamp, "unit": "sigma"})
    undisturbed = lab.session(experiment, "whole", rows=2)
    for batch in (1, 2):
        assert lab.run(experiment, rows=2, **stop_in_batch(batch if batch == 1 else 1, ONCE)).status == "interrupted"
    same_results(lab.session(experiment), undisturbed)


def test_a_stop_before_the_first_batch_is_finished_saves_nothing_and_loses_nothing(
    lab: Lab, clamp: dict[str, Any]
) -> None:
    experiment = lab.experiment(clamp)
    part = lab.run(experiment, rows=3, **stop_in_batch(1, TWICE))
    assert (part.status, part.session) == ("interrupted", None)
    assert not lab.path().exists()
    assert lab.run(experiment).status == "finished"


def test_a_start_killed_before_its_raw_values_were_written_down_goes_on(lab: Lab, clamp: dict[str, Any]) -> None:
    lab.session(lab.experiment({**clamp, "unit": "sigma"}), "measured")
    experiment = lab.experiment({**clamp, "unit": "sigma"}, stats="out/measured")
    undisturbed = lab.session(experiment, "whole")
    lab.run(experiment, rows=3, **stop_in_batch(1, TWICE))
    events = paths.run_folder(lab.path()) / "events.jsonl"
    assert '"resolved"' in events.read_text()
    events.write_text("")
    same_results(lab.session(experiment), undisturbed)


def test_a_finished_session_is_shown_and_not_touched(lab: Lab, clamp: dict[str, Any]) -> None:
    experiment = lab.experiment(clamp)
    lab.session(experiment, rows=3)
    before = lab.path().read_bytes()
    stages: list[str] = []
    again = lab.run(experiment, rows=7, listener=lambda progress: stages.append(progress.stage))
    assert again.status == "shown"
    assert again.session is not None
    assert stages == [], "no model is loaded to show what is there"
    assert lab.path().read_bytes() == before


def test_a_folder_left_by_a_kill_after_saving_is_cleared_away(lab: Lab, clamp: dict[str, Any]) -> None:
    experiment = lab.experiment(clamp)
    lab.run(experiment, rows=6, **stop_in_batch(1, ONCE))
    folder = paths.run_folder(lab.path())
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}
    lab.session(experiment)
    folder.mkdir()
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    assert lab.run(experiment).status == "shown"
    assert not folder.exists()


@pytest.mark.parametrize("lacking", ["a site", "a run"])
def test_a_folder_stays_where_the_saved_vectors_do_not_read_back(lab: Lab, clamp: dict[str, Any], lacking: str) -> None:
    experiment = lab.experiment(clamp)
    lab.run(experiment, rows=6, **stop_in_batch(1, ONCE))
    folder = paths.run_folder(lab.path())
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}
    session = lab.session(experiment)
    vectors, sidecar = session.vectors(), lab.path().with_suffix(".safetensors")
    if lacking == "a site":
        vectors.pop(MLP)
    else:
        vectors = {site: own[:-1] for site, own in vectors.items()}
    with sidecar.open("wb") as file:
        write_vectors(file, vectors)
    assert session.sidecar is not None
    of_altered = hashlib.sha256(sidecar.read_bytes()).hexdigest()
    lab.path().write_text(lab.path().read_text().replace(session.sidecar.sha256, of_altered))
    folder.mkdir()
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    for look in (lambda: lab.run(experiment), load_session(lab.path()).vectors):
        with pytest.raises(ExplorerError) as refusal:
            look()
        line = str(refusal.value)
        assert "\n" not in line
        assert "a.safetensors: cannot be read: it holds " in line
        assert MLP in line
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == kept, "nothing else has those runs"


def test_a_journal_without_checksums_is_gone_on_with_and_said_to_be_trusted(lab: Lab, clamp: dict[str, Any]) -> None:
    experiment = lab.experiment(clamp)
    told: dict[bool, tuple[str, ...]] = {}
    for older in (False, True):
        lab.run(experiment, str(older), rows=6, **stop_in_batch(1, ONCE))
        for file in ("spec.json", "layout.json", "events.jsonl") if older else ():
            path = paths.run_folder(lab.path(str(older))) / file
            path.write_bytes(re.sub(rb',"line_sha256":"[0-9a-f]{64}"\}', b"}", path.read_bytes()))
        outcome = lab.run(experiment, str(older))
        assert (outcome.status, outcome.resumed) == ("finished", 6)
        told[older] = tuple(note for note in outcome.notes if "checksums" in note)
    assert told[False] == ()
    assert len(told[True]) == 1
    assert "on trust" in told[True][0]


def test_a_session_says_that_a_lock_file_stood_for_flock(
    lab: Lab, clamp: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int, __: int) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    experiment = lab.experiment(clamp)
    with_flock = lab.session(experiment, "with")
    monkeypatch.setattr(fcntl, "flock", refuse)
    session = lab.session(experiment)
    same_results(session, with_flock)
    assert "locked by a file" not in [event["event"] for event in with_flock.events]
    (event,) = (event for event in load_session(lab.path()).events if event["event"] == "locked by a file")
    assert not list(lab.path().parent.rglob(event["file"])), "it goes with the run"


@pytest.mark.parametrize("state", ["finished", "interrupted", "never saved"])
def test_another_experiment_of_that_name_is_refused_with_what_differs(
    lab: Lab, clamp: dict[str, Any], state: str
) -> None:
    stop = {"finished": {}, "interrupted": stop_in_batch(1, ONCE), "never saved": stop_in_batch(1, TWICE)}[state]
    lab.run(lab.experiment(clamp), rows=3, **stop)
    other = lab.experiment({**clamp, "values": [-4, 5]}, generation={"tokens": 6}, model={"dtype": "float32"})
    with pytest.raises(ExplorerError) as refused:
        lab.run(other)
    for difference in ("dtype: float64 -> float32", "values: [-4, 4] -> [-4, 5]", "tokens: 5 -> 6", "--restart"):
        assert difference in str(refused.value)


@pytest.mark.parametrize("state", ["finished", "interrupted"])
def test_changed_prompts_are_another_experiment(lab: Lab, clamp: dict[str, Any], state: str) -> None:
    lab.run(lab.experiment(clamp), rows=3, **({} if state == "finished" else stop_in_batch(1, ONCE)))
    lab.prompts("Something else")
    with pytest.raises(ExplorerError, match=r"the content of prompts texts\.txt changed"):
        lab.run(lab.experiment(clamp))


def test_a_restart_keeps_the_old_session_and_its_run_folder_in_the_trash(lab: Lab, clamp: dict[str, Any]) -> None:
    lab.run(lab.experiment(clamp), rows=3, **stop_in_batch(1, ONCE))
    old = lab.path().read_bytes()
    outcome = lab.run(lab.experiment({**clamp, "values": [9]}), restart=True)
    assert outcome.status == "finished"
    trashed = list(paths.trash_folder().rglob("*"))
    assert [file.read_bytes() for file in trashed if file.name == "a.json"] == [old]
    (run_folder,) = [folder for folder in trashed if folder.name == "a.run"]
    reader = JournalReader(run_folder)
    reader.poll()
    assert len(reader.runs) == 3
    for place in (line for line in outcome.notes if line.startswith("moved")):
        assert Path(place.removeprefix("moved to the trash: ")).exists()


def test_a_restart_that_cannot_begin_leaves_everything_where_it_was(lab: Lab, clamp: dict[str, Any]) -> None:
    lab.run(lab.experiment(clamp), rows=3, **stop_in_batch(1, ONCE))
    before = {file: file.read_bytes() for file in (lab.folder / "out").rglob("*") if file.is_file()}
    for wrong in (
        lab.experiment({**clamp, "neurons": [64]}),
        lab.experiment(clamp, generation={"tokens": 250}),
        lab.experiment(clamp, stats="nowhere"),
        lab.experiment(clamp, model={"name": "./no-such-folder"}),
    ):
        with pytest.raises(ExplorerError):
            lab.run(wrong, restart=True)
    assert {file: file.read_bytes() for file in (lab.folder / "out").rglob("*") if file.is_file()} == before


def test_a_restart_gets_rid_of_a_damaged_run(lab: Lab, clamp: dict[str, Any]) -> None:
    lab.run(lab.experiment(clamp), rows=3, **stop_in_batch(1, TWICE))
    (paths.run_folder(lab.path()) / "spec.json").write_text("{")
    with pytest.raises(ExplorerError, match=r"a\.run/spec\.json.*broken JSON"):
        lab.run(lab.experiment(clamp))
    assert lab.run(lab.experiment(clamp), restart=True).status == "finished"


def test_a_session_without_its_run_folder_cannot_go_on(lab: Lab, clamp: dict[str, Any]) -> None:
    lab.run(lab.experiment(clamp), rows=3, **stop_in_batch(1, ONCE))
    paths.run_folder(lab.path()).rename(lab.folder / "elsewhere")
    with pytest.raises(ExplorerError, match=r"run folder is gone; put the folder back, or begin again with --restart"):
        lab.run(lab.experiment(clamp))


def test_notes_made_on_an_interrupted_session_stay(lab: Lab, clamp: dict[str, Any]) -> None:
    lab.run(lab.experiment(clamp), rows=3, **stop_in_batch(1, ONCE))
    part = load_session(lab.path())
    save_session(part.changed(notes="look at run 2"), lab.path())
    session = lab.session(lab.experiment(clamp))
    assert session.notes == "look at run 2"
    assert session.path == lab.path()


def test_another_model_under_the_same_name_does_not_go_on(
    lab: Lab, clamp: dict[str, Any], tiny_llama_folder: Path
) -> None:
    link = lab.folder / "model"
    link.symlink_to(lab.model)
    experiment = lab.experiment(clamp, model={"name": "model"})
    lab.run(experiment, rows=3, **stop_in_batch(1, ONCE))
    link.unlink()
    link.symlink_to(tiny_llama_folder)
    with pytest.raises(ExplorerError, match="weights are not those this run began with"):
        lab.run(experiment)


@pytest.mark.parametrize("restart", [False, True])
def test_a_run_that_another_process_writes_is_left_alone(
    lab: Lab, clamp: dict[str, Any], restart: bool, holder: Callable[[Path], int]
) -> None:
    lab.run(lab.experiment(clamp), rows=3, **stop_in_batch(1, ONCE))
    pid = holder(paths.run_folder(lab.path()) / "lock")
    with pytest.raises(LockedError, match=f"process {pid}") as refused:
        lab.run(lab.experiment(clamp), restart=restart)
    assert "\n" not in str(refused.value)
    assert lab.path().exists()


@pytest.fixture
def holder() -> Any:
    """Hold a lock in another process; returns its id."""
    children: list[subprocess.Popen[str]] = []

    def hold(lock: Path) -> int:
        code = (
            "import sys, pathlib; from srm_explorer.engine.io.lock import FileLock\n"
            "with FileLock(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(lock)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        children.append(child)
        assert child.stdout
        assert child.stdout.readline() == "held\n"
        return child.pid

    yield hold
    for child in children:
        child.communicate()


def test_where_nothing_can_be_saved_is_refused_before_the_model_is_loaded(lab: Lab, clamp: dict[str, Any]) -> None:
    stages: list[str] = []
    out = lab.folder / "out"
    unwritable = [lambda: out.write_text(""), lambda: out.symlink_to("/proc/self"), lambda: out.mkdir(mode=0o500)]
    for make in unwritable if os.geteuid() else unwritable[:-1]:
        make()
        with pytest.raises(ExplorerError, match=r"cannot be written: .*save to another folder"):
            lab.run(lab.experiment(clamp), listener=lambda progress: stages.append(progress.stage))
        assert "loading" not in stages
        out.rmdir() if out.is_dir() and not out.is_symlink() else out.unlink()
