"""Whoever carries the batches of a run out, in whatever order they come back: the session is the same."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.execution import run as execution
from srm_explorer.engine.execution.executor import Finished, LocalExecutor, Take
from srm_explorer.engine.experiment import Experiment, differences
from srm_explorer.engine.runs.progress import Meter, Progress

if TYPE_CHECKING:
    from ..conftest import Lab

MLP = "blocks.1.mlp.hook_post"
CLAMPED = {"site": MLP, "neurons": [3], "op": "clamp", "values": [-2, 1, 2], "unit": "sigma"}
TWO_ACTORS = {"executor": "ray", "actors": 2}


def content(path: Path) -> tuple[dict[str, Any], bytes]:
    """What a session holds, without the times and what happened on the way, and its vectors."""
    session = json.loads(path.read_text())
    for name in ("name", "created", "saved", "events"):
        del session[name]
    del session["vectors"]["file"], session["provenance"]["self_test"]["seconds"]
    return session, path.with_suffix(".safetensors").read_bytes()


class _TwoHands(LocalExecutor):
    """Two that take turns, and come back the wrong way round; one of them has room for two rows."""

    def run(self, take: Take[Any], meter: Meter, *, counted: bool = True) -> Iterator[Finished[Any]]:
        while True:
            taken = [(name, task) for name in ("large", "small", "large") if (task := take(name)) is not None]
            if not taken:
                return
            for name, task in reversed(taken):
                fits = not counted or name == "large" or task.rows <= 2
                result = self._station.carry_out(task, lambda step, writing: None) if fits else None
                yield Finished(task, result, name, "another device" if name == "small" else "")


def test_what_comes_back_in_another_order_is_put_where_it_belongs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = lab.experiment(CLAMPED, controls={"neurons": 2}, generation={"tokens": 6})
    lab.session(experiment, "here", rows=2)
    monkeypatch.setattr(execution, "executor_of", lambda _, warm: _TwoHands(warm))
    lab.session(experiment, "there", rows=2)
    here, there = content(lab.path("here")), content(lab.path("there"))
    devices = there[0]["provenance"].pop("devices")
    assert here == there
    assert list(devices) == ["another device"]


def test_who_runs_out_of_memory_halves_its_own_batches_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "executor_of", lambda _, warm: _TwoHands(warm))
    session = lab.session(lab.experiment(CLAMPED), rows=4)
    (event,) = (event for event in session.events if event["event"] == "out of memory")
    sizes = [len(batch) for batch in session.layout["batches"]]
    assert event["by"] == "small"
    assert event["rows"] in sizes
    assert max(sizes) > 2, "what the other one takes stays as large as it was"
    assert sorted(index for batch in session.layout["batches"] for index in batch) == list(range(len(session.runs)))


def test_who_decodes_is_no_part_of_an_experiment(lab: Lab) -> None:
    here, there = lab.experiment(CLAMPED), lab.experiment(CLAMPED, execution=TWO_ACTORS)
    assert here.digest() == there.digest()
    assert differences(here, there) == []
    assert there.as_run() == here
    assert Experiment.from_toml(there.to_toml()) == there
    with pytest.raises(ExplorerError, match="actors has no effect on this process"):
        lab.experiment(CLAMPED, execution={"actors": 2})


def descendants(pid: int) -> dict[int, str]:
    """Processes below one, with their command lines."""
    parents: dict[int, int] = {}
    lines: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            lines[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {child: lines[child] for child in found - {pid}}


def listening(pids: set[int]) -> set[str]:
    """Addresses, as the system writes them, at which some processes listen."""
    sockets: set[str] = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                sockets.add(str(file.readlink()))
            except OSError:
                continue
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}
"""127.0.0.1, also as an address of the newer kind."""


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="processes and ports are read from /proc")
def test_actors_of_ray_make_the_same_session_though_one_is_killed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # Nothing is written into the home of whoever tests.
    local = lab.experiment(CLAMPED, generation={"tokens": 12})
    lab.session(local, "here", rows=1)
    killed: list[int] = []
    addresses: set[str] = set()

    def kill_one(progress: Progress) -> None:
        ours = descendants(os.getpid())
        actors = [pid for pid, line in ours.items() if "Actor" in line.partition(" ")[0]]
        if progress.runs_done and not killed and actors:
            addresses.update(listening({os.getpid(), *ours}))
            killed.append(actors[0])
            os.kill(actors[0], signal.SIGKILL)

    experiment = lab.experiment(CLAMPED, generation={"tokens": 12}, execution=TWO_ACTORS)
    outcome = lab.run(experiment, "there", rows=1, listener=kill_one)
    assert outcome.status == "finished"
    assert killed, "an actor was there to be killed"
    assert any("is lost, what it had went to another" in line for line in outcome.notes)
    assert content(lab.path("here")) == content(lab.path("there"))
    assert addresses <= LOOPBACK, "nobody else can reach the cluster"
    assert not [line for line in descendants(os.getpid()).values() if "ray" in line], "it ends with the run"
