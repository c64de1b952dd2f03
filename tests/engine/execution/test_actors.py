"""Whoever carries the batches of a run out, in whatever order they come back: the session is the same."""

from __future__ import annotations

import errno
import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.execution import actors, cluster
from srm_explorer.engine.execution import run as execution
from srm_explorer.engine.execution.actor import Actor, Fault, Look, build
from srm_explorer.engine.execution.bench import Bench, Subject
from srm_explorer.engine.execution.cluster import Cluster, own_signals, set_environment
from srm_explorer.engine.execution.executor import Finished, LocalExecutor, Station, Take
from srm_explorer.engine.execution.opening import Opened, Opening
from srm_explorer.engine.execution.survey import ForcedPart, GivenTexts
from srm_explorer.engine.experiment import ExecutionSpec, Experiment, differences
from srm_explorer.engine.model import LoadedModel, WarmModel
from srm_explorer.engine.model.device import free_bytes
from srm_explorer.engine.runs import Outcome
from srm_explorer.engine.runs.progress import Meter, Progress, StopSignal
from srm_explorer.engine.session import PromptRecord
from tests.waiting import PATIENCE

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


@dataclass(frozen=True)
class _TooLarge:
    rows: int = 8

    def carry_out(self, bench: Bench, report: object) -> None:
        raise MemoryError


def test_what_does_not_fit_takes_along_what_the_model_kept(lab: Lab, tiny_gpt2: LoadedModel) -> None:
    warm = WarmModel()
    warm.model = replace(tiny_gpt2)
    station = Station(warm)
    prompt = PromptRecord("texts", "", {}, (1, 2), 0, "")
    station.set_up(Subject(lab.experiment(CLAMPED), (prompt,), {}))
    given = GivenTexts((0,), (0,), ((3, 4),))
    for task in (_TooLarge(), ForcedPart(0, MLP, "clamp", (3,), ((1.0,),), given, (True,), 4)):
        warm.model.kept_step = object()
        station.carry_out(task, lambda step, writing: None)
        assert warm.model.kept_step is None


@dataclass(frozen=True)
class _OnABrokenGpu:
    def carry_out(self, bench: Bench, report: object) -> None:
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered\nCompile with TORCH_USE_CUDA_DSA")


def test_an_actor_whose_gpu_fails_says_so_in_a_line(lab: Lab, tiny_gpt2: LoadedModel) -> None:
    actor = Actor(1, 1.0, "")
    actor._station._warm.model = replace(tiny_gpt2)
    actor.set_up(Subject(lab.experiment(CLAMPED), (), {}))
    fault = actor.carry_out(_OnABrokenGpu())
    assert str(fault.error()).startswith("the GPU: CUDA error: uncorrectable ECC error encountered; see nvidia-smi")


def test_actors_that_share_a_gpu_plan_each_with_its_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, device = dict[int, float](), torch.device("cuda", 0)
    pretended: dict[str, Any] = {
        "device_count": lambda: 1,
        "set_per_process_memory_fraction": lambda part, index: parts.update({index: part}),
        "get_per_process_memory_fraction": lambda device: parts.get(device.index, 1.0),
        "get_device_properties": lambda _: SimpleNamespace(total_memory=160),
        "mem_get_info": lambda _: (100, 160),
        "memory_reserved": lambda _: 30,
        "memory_allocated": lambda _: 20,
    }
    for name, instead in pretended.items():
        monkeypatch.setattr(torch.cuda, name, instead, raising=False)
    found: list[int] = []
    for part in (1.0, 0.5, 0.125):
        actor: Any = Actor(torch.get_num_threads(), part, build())
        monkeypatch.setattr(actor._station, "open", lambda *_: found.append(free_bytes(device)))
        actor.open(None)
    # All that is left, and what torch holds besides; then so much of the half; then what it holds alone.
    assert found == [100 + 10, 80 - 30 + 10, 10]


def test_who_decodes_is_no_part_of_an_experiment(lab: Lab) -> None:
    here, there = lab.experiment(CLAMPED), lab.experiment(CLAMPED, execution=TWO_ACTORS)
    assert here.digest() == there.digest()
    assert differences(here, there) == []
    assert there.as_run() == here
    assert Experiment.from_toml(there.to_toml()) == there
    with pytest.raises(ExplorerError, match="actors has no effect on this process"):
        lab.experiment(CLAMPED, execution={"actors": 2})


def test_batches_are_as_small_as_is_asked_for_whoever_decodes(lab: Lab) -> None:
    session = lab.session(lab.experiment(CLAMPED, execution={"rows": 3}))
    sizes = [len(batch) for batch in session.layout["batches"]]
    assert max(sizes) <= 3
    assert sum(sizes) == len(session.runs) > 3


class _Ray:
    """What an executor asks of Ray, done here and at once, by real actors."""

    exceptions = SimpleNamespace(**dict.fromkeys(("RayError", "RayTaskError"), ()))

    def remote(self, **_: Any) -> Any:
        return lambda kind: SimpleNamespace(
            options=lambda **_: SimpleNamespace(remote=lambda *given: _Handle(kind(*given)))
        )

    def put(self, thing: Any) -> Any:
        return thing

    def get(self, reference: _Reference, timeout: float = 0) -> Any:
        return reference.answer

    def wait(self, references: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return references, []

    def __init__(self) -> None:
        self.raylet = socket.create_server(("127.0.0.1", 0))
        self.address = dict(zip(("NodeManagerAddress", "NodeManagerPort"), self.raylet.getsockname(), strict=True))
        self.free = 1_000

    def available_resources(self) -> dict[str, float]:
        # Ray leaves out what there is nothing of.
        return {"CPU": self.free} if self.free else {}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": "node", "Alive": True, "Resources": {"CPU": 2}, **self.address}]

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2}

    def kill(self, handle: Any) -> None: ...

    def shutdown(self) -> None: ...


class _Reference:
    def __init__(self, answer: Any) -> None:
        self.answer = answer


class _Handle:
    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        method = (lambda: ("here", "node")) if name == "place" else getattr(self._actor, name)
        call = SimpleNamespace(remote=lambda *given: _Reference(method(*given)))
        call.options = lambda **_: call
        return call


@pytest.mark.parametrize("room", [1, 0])
def test_an_actor_that_has_no_room_to_begin_is_not_hired_for_ever(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    begun: list[Station] = []
    really_open = Station.open

    def open_while_there_is_room(self: Station, *given: Any) -> Opened:
        begun.append(self)
        if len(begun) > room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return really_open(self, *given)

    monkeypatch.setattr(Station, "open", open_while_there_is_room)
    monkeypatch.setattr(actors, "join", lambda spec, processors: Cluster(_Ray(), is_ours=False))
    experiment = lab.experiment(CLAMPED, execution={**TWO_ACTORS, "actors": 3})
    if not room:
        with pytest.raises(ExplorerError, match="not enough memory for an actor's model; ask for fewer"):
            lab.run(experiment, rows=1)
        return
    told: list[Progress] = []
    outcome = lab.run(experiment, rows=1, listener=told.append)
    assert outcome.status == "finished"
    # Not since the machine was started, though batches come back before anybody looks.
    assert max(one.seconds_left or 0 for one in told) < 60
    assert len(begun) == 3, "what did not fit once is not tried again"
    (line,) = (line for line in outcome.notes if "no other takes its place: there is not enough memory" in line)
    assert line.startswith("actor 2, actor 3 on here are lost")


@pytest.mark.parametrize(("sound", "step"), [(1, "set_up"), (1, "carry_out"), (0, "carry_out")])
def test_what_an_actor_cannot_do_another_does_and_where_none_can_it_is_one_line(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, sound: int, step: str
) -> None:
    begun: list[Station] = []
    really = getattr(Station, step)

    def do(self: Station, *given: Any) -> Any:
        begun.extend([self] * (self not in begun))
        if begun.index(self) < sound:
            return really(self, *given)
        raise OSError(errno.ENOSPC, "No space left on device", "/scratch") if sound else KeyError(5)

    monkeypatch.setattr(Station, step, do)
    monkeypatch.setattr(actors, "join", lambda spec, processors: Cluster(_Ray(), is_ours=False))
    experiment = lab.experiment(CLAMPED, execution=TWO_ACTORS)
    if sound:
        outcome = lab.run(experiment, rows=1)
        assert outcome.status == "finished"
        why = "no other takes its place: OSError: [Errno 28] No space left on device: '/scratch'"
        assert f"actor 2 on here is lost, what it had went to another: {why}" in outcome.notes
    else:
        why = "actor 2 on here: KeyError: 5; --executor local, or Ray's log there, shows where"
        with pytest.raises(ExplorerError, match=f"no actor of Ray is left, the last one because of this: {why}"):
            lab.run(experiment, rows=1)
    assert len(begun) == 2, "no other is hired for it"


def test_an_actor_with_other_sources_than_ours_is_left_out() -> None:
    told = Actor(1, 1.0, f"{build()} and more").open(cast("Opening", None))
    remedy = "install the same srm-explorer on every node"
    assert told == Fault("its srm-explorer has other sources than this one", "", remedy, is_own=True)


def test_of_an_actor_that_lacks_our_package_that_and_where_is_told() -> None:
    told = (
        "The actor died because of an error raised in its creation task, \x1b[36mray::Actor.__init__()\x1b[39m (pid=1,"
        " ip=10.0.0.2, actor_id=0b, repr=<Actor>)\n  ^^^^\nModuleNotFoundError: No module named 'srm_explorer'"
    )
    assert actors.why_it_died(told) == "at 10.0.0.2: ModuleNotFoundError: No module named 'srm_explorer'"
    assert actors.why_it_died("The actor is dead.\nThe process exited.") == "The actor is dead."


class _Lost(Exception):
    pass


class _LosesItsNode(_Ray):
    """Loses a node with the first task that is done there, and takes it for alive a little longer."""

    exceptions = SimpleNamespace(**{**vars(_Ray.exceptions), "RayError": _Lost})

    def __init__(self) -> None:
        super().__init__()
        self.seen = 5
        self.hired: list[bool] = []

    def remote(self, **given: Any) -> Any:
        self.hired.append(self.seen > 0)
        return super().remote(**given)

    def get(self, reference: _Reference, timeout: float = 0) -> Any:
        if self.raylet.fileno() >= 0 and not isinstance(reference.answer, Opened | Look | tuple | None):
            self.raylet.close()
            raise _Lost("The actor 17 is unavailable")
        return super().get(reference, timeout)

    def nodes(self) -> list[dict[str, Any]]:
        self.seen -= self.raylet.fileno() < 0
        (own,) = super().nodes()
        return [{**own, "Alive": self.seen > 0}, {**own, "NodeID": "another", "Alive": self.seen <= 0}]


def test_no_actor_is_sent_to_a_node_that_is_gone_while_ray_takes_it_for_alive(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors, "_SOON", 0.0)
    ray = _LosesItsNode()
    monkeypatch.setattr(actors, "join", lambda spec, processors: Cluster(ray, is_ours=False))
    outcome = lab.run(lab.experiment(CLAMPED, execution=TWO_ACTORS), rows=1)
    assert outcome.status == "finished"
    assert ray.hired == [True, True, False]
    (line,) = (line for line in outcome.notes if "lost" in line)
    assert line == "actor 1 on here is lost, what it had went to another: its node is gone"


class _LosesItsPower(_LosesItsNode):
    """Says nothing of what its node was asked, nor that it is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[_Reference] = []

    def wait(self, references: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        if any(not isinstance(one.answer, Opened | Look | None) for one in references):
            self.raylet.close()
        if self.raylet.fileno() < 0 and len(self.hired) == 2:
            self.lost += references
        return [one for one in references if one not in self.lost], []


def test_actors_whose_node_is_silent_and_gone_are_lost_before_ray_notices(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_SOON", "_QUIET"):
        monkeypatch.setattr(actors, name, 0.0)
    ray = _LosesItsPower()
    monkeypatch.setattr(actors, "join", lambda spec, processors: Cluster(ray, is_ours=False))
    outcome = lab.run(lab.experiment(CLAMPED, execution=TWO_ACTORS), rows=1)
    assert outcome.status == "finished"
    assert "actor 1, actor 2 on here are lost, what they had went to others: its node is gone" in outcome.notes


class _LosesItsHead(_LosesItsNode):
    """Is gone with the first task that is done, and never answers what is asked of it from then on."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("nodes", "available_resources", "kill", "shutdown") and self.raylet.fileno() < 0:
            self.calls.append(name)
        return super().__getattribute__(name)


def test_a_cluster_that_is_gone_is_one_line_and_is_asked_nothing_more(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors, "_SILENT", 0.0)
    ray = _LosesItsHead()
    head = Cluster(ray, is_ours=False, addresses={"gcs_server": ray.raylet.getsockname()})
    monkeypatch.setattr(actors, "join", lambda spec, processors: head)
    with pytest.raises(ExplorerError, match="Ray ended: its gcs_server is gone; what is finished is kept"):
        lab.run(lab.experiment(CLAMPED, execution=TWO_ACTORS), rows=1)
    assert ray.calls == []


class _Waiting(_Handle):
    """An actor that answers once it has begun."""

    def __init__(self, actor: Actor) -> None:
        super().__init__(actor)
        self.has_begun = False

    def __getattr__(self, name: str) -> Any:
        here = super().__getattr__(name)

        def remote(*given: Any) -> _LaterReference:
            made = _LaterReference(self, lambda: here.remote(*given).answer)
            if self.has_begun:
                assert made.answer is not made
            return made

        call = SimpleNamespace(remote=remote)
        call.options = lambda **_: call
        return call


@dataclass(eq=False)
class _LaterReference:
    by: _Waiting
    work: Callable[[], Any]

    @cached_property
    def answer(self) -> Any:
        return self.work()


class _Crowded(_Ray):
    """Has so many processors free, and lets actors wait for one."""

    def __init__(self, free: int) -> None:
        super().__init__()
        self.free = free
        self.hired: list[_Waiting] = []

    def remote(self, **_: Any) -> Any:
        return lambda kind: SimpleNamespace(
            options=lambda **_: SimpleNamespace(remote=lambda *given: self.hire(kind(*given)))
        )

    def hire(self, actor: Actor) -> _Waiting:
        self.hired.append(_Waiting(actor))
        self.let_in()
        return self.hired[-1]

    def let_in(self) -> None:
        for actor in self.hired:
            if self.free and not actor.has_begun:
                self.free, actor.has_begun = self.free - 1, True

    def wait(self, references: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        self.let_in()
        return [one for one in references if one.by.has_begun], []


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """That there is no room is looked for, and said, without waiting."""
    monkeypatch.setattr(actors, "_SOON", 0.0)
    monkeypatch.setattr(actors, "_PATIENCE", -1.0)
    monkeypatch.setattr(execution, "threads", lambda: 1)


def told_by(lab: Lab, ray: _Crowded, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Outcome, list[str]]:
    """What came of a run at three actors, and what was told meanwhile, without repetition."""
    monkeypatch.setattr(actors, "join", lambda spec, processors: Cluster(ray, is_ours=False))
    told: list[str] = []

    def listen(progress: Progress) -> None:
        if not told or told[-1] != progress.lacks:
            told.append(progress.lacks)
        options.get("then", lambda _: None)(progress)

    experiment = lab.experiment(CLAMPED, execution={**TWO_ACTORS, "actors": 3})
    return lab.run(experiment, rows=2, listener=listen, stop=options.get("stop")), told


@pytest.mark.usefixtures("at_once")
def test_a_run_goes_on_with_the_actors_that_find_room_says_what_others_lack_and_has_them_join_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = _Crowded(1)

    def others_leave(progress: Progress) -> None:
        if progress.lacks and not ray.free and len(ray.hired) == 2:
            ray.free = 2

    outcome, told = told_by(lab, ray, monkeypatch, then=others_leave)
    assert (outcome.status, len(ray.hired)) == ("finished", 3)
    assert told == [
        "",
        "2 of 3 actors wait for a place in the cluster: each asks for 1 processor of one node, and of all nodes"
        " 0 of 2 processors are free; the run goes on with 1; --actors 1 asks for less",
        "",
    ]
    assert outcome.session is not None
    assert sum(event["event"] == "actor joined" for event in outcome.session.events) == 3


class _Overtaken(_Crowded):
    """Gives what it has free to others meanwhile, so that nobody who was hired ever begins."""

    def let_in(self) -> None:
        self.free = 3 if len(self.hired) < 3 else 0


@pytest.mark.usefixtures("at_once")
def test_who_was_overtaken_by_others_is_said_to_wait_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_LOOK", "_LATE"):
        monkeypatch.setattr(actors, name, 0.0)
    ray, stop = _Overtaken(3), StopSignal()
    wish = {"stop": stop, "then": lambda progress: progress.lacks and stop.ask()}
    outcome, told = told_by(lab, ray, monkeypatch, **wish)
    assert (outcome.status, outcome.session, len(ray.hired)) == ("interrupted", None, 3)
    assert told[-1].startswith("3 of 3 actors wait")
    assert told[-1].endswith("0 of 2 processors are free; ctrl+c ends the run, of which nothing is lost")


class _OutOfTurn(_Overtaken):
    """Of those who were hired the last alone gets room."""

    def let_in(self) -> None:
        super().let_in()
        self.hired[-1].has_begun = len(self.hired) == 3


@pytest.mark.usefixtures("at_once")
def test_a_run_begins_with_whoever_finds_room_though_it_was_not_the_first(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, told = told_by(lab, _OutOfTurn(3), monkeypatch)
    assert outcome.status == "finished"
    assert told[-1] == ""
    assert outcome.session is not None
    assert [event["name"] for event in outcome.session.events if event["event"] == "actor joined"] == ["actor 3"]


@pytest.mark.usefixtures("at_once")
def test_where_none_finds_room_one_wish_ends_the_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "_LOOK", 0.0)
    ray, stop = _Crowded(0), StopSignal()
    wish = {"stop": stop, "then": lambda progress: progress.lacks and stop.ask()}
    outcome, told = told_by(lab, ray, monkeypatch, **wish)
    assert (outcome.status, outcome.session) == ("interrupted", None)
    assert len(ray.hired) == 1, "one tells a cluster that can grow that it should"
    assert told[-1].endswith("0 of 2 processors are free; ctrl+c ends the run, of which nothing is lost")


@dataclass
class _Gpus:
    """As much of Ray as tells how many there are."""

    count: int

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 4, "GPU": self.count}


@pytest.mark.parametrize(("gpus", "count"), [(1, 3), (2, 3), (8, 12), (8, 8), (8, 2)])
def test_all_actors_find_a_place_on_the_gpus_that_they_share(gpus: int, count: int) -> None:
    spec = ExecutionSpec(executor="ray", actors=count)
    asked, needs = actors._needs(Cluster(_Gpus(gpus), is_ours=True), spec, "cuda", threads=1)
    # Of one GPU alone, none is put together of what is left of two.
    assert gpus * int(1 / needs["num_gpus"]) >= asked == count


@pytest.mark.parametrize(
    ("gpus", "count", "remedy"), [(8, 3, "ask for no more than 2 actors"), (2, None, "choose cuda:0-1, or fewer")]
)
def test_actors_that_take_several_gpus_share_none(gpus: int, count: int | None, remedy: str) -> None:
    spec, ray = ExecutionSpec(executor="ray", actors=count), _Gpus(gpus)
    with pytest.raises(ExplorerError, match=f"an actor takes 4 GPUs, and there are {gpus}; {remedy}"):
        actors._needs(Cluster(ray, is_ours=True), spec, "cuda:0-3", threads=1)
    assert actors._needs(Cluster(_Gpus(8), is_ours=True), spec.model_copy(update={"actors": 2}), "cuda:0-3", 1)[0] == 2


def test_a_token_of_our_own_cluster_is_shown_to_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_asked_here", set[str]())
    for name in ("RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    set_environment(is_ours=False)
    assert "RAY_AUTH_MODE" not in os.environ
    set_environment(is_ours=True)
    assert os.environ["RAY_AUTH_MODE"] == "token"
    named = ExecutionSpec(executor="ray", address="127.0.0.1:1")
    with pytest.raises(ExplorerError, match="would show its token to another; let another process run it"):
        cluster.join(named, 1)


@pytest.mark.parametrize(("version", "mode"), [("2.51.2", None), ("2.60.0", "token")])
def test_a_cluster_of_our_own_asks_for_a_token_or_there_is_none(
    monkeypatch: pytest.MonkeyPatch, version: str, mode: str | None
) -> None:
    monkeypatch.setattr(cluster, "_asked_here", set[str]())
    if mode is not None:
        # Whoever started the process asked for it.
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    else:
        monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    begun: list[dict[str, Any]] = []

    def init(**given: Any) -> None:
        begun.append(given)
        raise RuntimeError("no port is free")

    monkeypatch.setitem(
        sys.modules, "ray", SimpleNamespace(__version__=version, is_initialized=lambda: False, init=init)
    )
    why = "Ray asks nobody for a token" if mode is None else "Ray does not start: no port is free"
    with pytest.raises(ExplorerError, match=why):
        cluster.join(ExecutionSpec(executor="ray"), 1)
    assert len(begun) == (mode is not None)


def test_a_connection_of_somebody_else_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    monkeypatch.setattr(cluster, "set_environment", lambda _: None)
    with pytest.raises(ExplorerError, match=r"connected to a cluster of Ray already.*call ray.shutdown\(\) first"):
        cluster.join(ExecutionSpec(executor="ray"), 1)


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address of its own there alone")
@pytest.mark.parametrize("longest", [10_000, 1])
def test_folders_of_ray_are_removed_with_the_next_start_once_their_process_is_gone(
    longest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_LONGEST", longest)
    monkeypatch.setattr(cluster, "_SHORT", tmp_path)
    child = os.fork()
    if not child:
        cluster._folder()
        os._exit(0)
    os.waitpid(child, 0)
    places = (cluster.runtime_folder().glob("ray-*"), tmp_path.glob("srm-ray-*"))
    (left,) = (folder for place in places for folder in place)
    mine = cluster._folder()
    assert mine.is_dir()
    assert not left.exists()
    cluster._folder()
    assert mine.is_dir(), "its process lives"


def test_a_cluster_is_looked_for_where_ray_will(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE", 0.0)
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port = listener.getsockname()[1]
        cluster.reach(f"127.0.0.1:{port}", "127.0.0.2")
    with pytest.raises(ConnectionError, match="nothing listens at"):
        cluster.reach(f"127.0.0.1:{port}", "127.0.0.2")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        cluster.reach(f"127.0.0.1:{port}", "127.0.0.1")
        with pytest.raises(ConnectionError, match=r"looks for it at 127\.0\.0\.2"):
            cluster.reach(f"127.0.0.1:{port}", "127.0.0.2")


def test_auto_is_the_cluster_of_the_environment_else_the_last_that_was_started_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert cluster._address_of("auto") == ""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.1:6379\n")
    assert cluster._address_of("auto") == "10.0.0.1:6379"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.2:6379")
    assert cluster._address_of("auto") == "10.0.0.2:6379"
    assert cluster._address_of("head:1") == "head:1"


def test_nothing_is_collected_while_ray_ends() -> None:
    collects: list[bool] = []
    ray = SimpleNamespace(shutdown=lambda: collects.append(gc.isenabled()))
    Cluster(ray, is_ours=False).leave()
    assert (collects, gc.isenabled()) == ([False], True)


def test_what_ray_prints_is_none_of_our_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", cluster._Unheard(sys.stdout))
    for name in ("ray_listen_error_messages", "ours"):
        speaker = threading.Thread(target=print, args=(name,), name=name)
        speaker.start()
        speaker.join()
    assert capsys.readouterr().out == "ours\n"


_PRIVATE = re.compile(r"\bray\._(?!_)|[\"']ray\._|_private\b|_raylet\b|\._actor_id\b")
"""A name of Ray that is its own, and another in the next version."""


def test_no_name_that_is_rays_own_is_used() -> None:
    root = Path(__file__).resolve().parents[3]
    files = [*(root / "engine").rglob("*.py"), *(root / "tui").rglob("*.py")]
    assert {cluster.__name__.rpartition(".")[2], "actor", "actors"} <= {file.stem for file in files}
    assert [str(file.relative_to(root)) for file in files if _PRIVATE.search(file.read_text(encoding="utf-8"))] == []


@pytest.mark.process
def test_what_ray_starts_outlives_a_batch_systems_warning_and_we_hear_it_later() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        with own_signals():
            started = subprocess.Popen(["sleep", "60"])
            signal.raise_signal(signal.SIGUSR1)
            assert not heard
        assert heard == [signal.SIGUSR1]
        # The lower number is delivered first.
        started.send_signal(signal.SIGUSR1)
        started.terminate()
        assert started.wait(PATIENCE) == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGUSR1, before)
