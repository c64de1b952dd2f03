"""Actors of Ray that carry tasks out, each with its own model; this process has none, and alone writes the journal.

Who has a batch changes nothing of it: the layout is in the journal, an actor computes with as many threads as this
process would, and the session is put together in the order of the layout.
"""

# Ray has few types.
# pyright: basic

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from srm_explorer.engine.errors import ExplorerError, named
from srm_explorer.engine.execution.actor import SAME, Actor, Fault, Look, build
from srm_explorer.engine.execution.bench import Subject, Task
from srm_explorer.engine.execution.cluster import Cluster, amount, join
from srm_explorer.engine.execution.executor import Finished, Take
from srm_explorer.engine.execution.opening import Opened, Opening
from srm_explorer.engine.experiment import ExecutionSpec
from srm_explorer.engine.figures import count_of
from srm_explorer.engine.runs.journal_records import ActorJoined, ActorLost
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.runs.progress import Flight, Meter, Stopped, StopSignal

Result = TypeVar("Result")

MOST_DEATHS = 3
"""So many actors may die over one task until it is taken for one that does not fit into memory; so many at all without
one that finishes anything; and so many before they have a model until the run goes on with one fewer."""

_LOOK = 0.2
"""Seconds between two looks at what the actors do."""

_SOON = 2.0
"""Seconds between two looks whether there is room for those that were not hired."""

_PATIENCE, _LATE = 5.0, 30.0
"""Seconds after which it is said that there is none, and after which one that was hired and has no process is taken for
one that found none: others may have been quicker, or what is free lies on several nodes."""

_SILENT = 30.0
"""Seconds after which another's cluster that does not answer is gone: Ray would end this process without a word of ours
after a minute."""

_QUIET = 10.0
"""Seconds without an answer after which it is seen whether an actor's node is there; Ray takes a minute and more."""

_NODE_GONE = "its node is gone"

_SEE = "see whether its node is there, and has enough memory"

_NOTICED = 90.0
"""Seconds within which Ray notices that a node is gone, or it was not."""


@dataclass(eq=False)
class _Hand:
    """An actor, as this process knows it.

    Attributes:
        handle: Ray's.
        place: host and node, to come.
        hired: when.
        queues: whether there was no room for it then.
        asked: the answer to come, of its task, of the opening, or of what its tasks are about; None where it has
            nothing to do.
        task: that it has; None while it makes itself ready.
        deaths: of actors that had the task before.
        opened: once its model is ready.
        has_joined: whether it was told of.
        looking: a look to come.
        looked: when that was asked for.
    """

    name: str
    handle: Any
    place: Any
    hired: float
    asked: Any
    task: Task[Any] | None = None
    deaths: int = 0
    queues: bool = False
    opened: Opened | None = None
    has_joined: bool = False
    looking: Any = None
    looked: float = 0.0
    look: Look = field(default_factory=lambda: Look("loading"))
    host: str = "?"
    node: str = ""


class RayExecutor:
    """Sends tasks to actors, and the next one to whoever is free.

    Args:
        spec: which cluster, and how many actors.
        threads: of the processor, that each computes with.
    """

    def __init__(self, spec: ExecutionSpec, threads: int) -> None:
        self._spec = spec
        self._threads = threads
        self._cluster: Cluster | None = None
        self._opening: Opening | None = None
        self._needs: dict[str, Any] = {}
        self._count = 0
        self._first: Opened | None = None
        self._subject: Any = None
        self._hands: list[_Hand] = []
        self._hired = 0
        self._deaths = 0
        self._unopened = 0
        self._last: Fault | None = None
        self._gone: dict[str, float] = {}
        self._look_at = 0.0
        self._lacks_since: float | None = None
        self._check_at = 0.0
        self._is_gone = False
        self._again: list[tuple[Task[Any], int]] = []
        self._news: list[ActorJoined | ActorLost] = []

    def open(self, opening: Opening, meter: Meter) -> Opened:
        """Start the actors; the first says what the run needs of its model, the others follow while it goes on."""
        meter.stage("loading")
        meter.weigh = self._weigh
        self._cluster = join(self._spec, max(self._spec.actors or 1, os.cpu_count() or 1))
        self._count, self._needs = _needs(self._cluster, self._spec, opening.experiment.model.device, self._threads)
        self._opening = replace(opening, is_new=False)
        leader: _Hand | None = None
        while True:
            if not self._hands:
                self._check_hope()
            leader = leader if leader in self._hands else None
            hired = self._fill(meter, opening if leader is None else self._opening)
            leader = leader or next(iter(hired), None)
            for hand, answer in self._answers():
                if hand is leader and isinstance(answer, Fault) and not answer.is_own:
                    raise self._told_by(hand, answer)
                self._welcome(hand, answer)
            if leader is None or not leader.node:
                # Whoever found room, or lives, when the first did not.
                leader = next((hand for hand in self._hands if hand.opened is not None), leader)
                if leader is not None and leader.opened is not None and opening.is_new:
                    leader.opened, leader.asked = None, leader.handle.open.remote(opening)
            if leader is not None and leader.opened is not None:
                return leader.opened
            if meter.stop.level and not any(hand.node for hand in self._hands):
                # Nobody has anything that could be finished first.
                raise Stopped
            look = Look("waiting") if leader is None else leader.look
            meter.part(look.stage, look.part, look.parts)

    def set_up(self, subject: Subject) -> None:
        """Send it to all, and to those that join later."""
        self._subject = self._ray.put(subject)
        for hand in self._hands:
            if hand.opened is not None:
                hand.asked = hand.handle.set_up.remote(self._subject)

    def ask(self, task: Task[Result]) -> Result:
        """Have the first who is free carry it out."""
        left = [task]
        for finished in self.run(lambda _: left.pop() if left else None, Meter([], StopSignal()), counted=False):
            if finished.result is not None:
                return finished.result
        raise MemoryError

    def run(self, take: Take[Result], meter: Meter, *, counted: bool = True) -> Iterator[Finished[Result]]:
        """Have the actors carry them out; whoever is done first comes first."""
        if counted:
            # A short batch can be back before anybody looks: what it took counts from here.
            meter.in_flight(())
        while True:
            # The rest of what somebody had who died comes before anything else.
            is_left = self._send(take)
            if not any(hand.task for hand in self._hands) and (not is_left or meter.stop.level):
                # Also where none has begun, and none may ever find room.
                return
            for hand, answer in self._answers():
                task = hand.task
                if task is None:
                    self._welcome(hand, answer)
                    continue
                if isinstance(answer, Fault):
                    if not answer.is_own:
                        raise self._told_by(hand, answer)
                    self._lose(hand, answer)
                    continue
                hand.task = None
                self._deaths = 0
                yield Finished(task, answer, hand.name, hand.opened.device if hand.opened else "")
            for task, deaths in list(self._again):
                if deaths >= MOST_DEATHS:
                    self._again.remove((task, deaths))
                    self._deaths = 0
                    yield Finished(task, None, "")
            self._fill(meter, self._opening)
            if not self._hands:
                self._check_hope()
            busy = [(hand.task, hand.look) for hand in self._hands if hand.task is not None]
            if counted:
                meter.in_flight([Flight(task.rows, look.step, look.tokens) for task, look in busy])
            elif any(task.tokens for task, _ in busy):
                meter.fly(sum(min(look.tokens / task.tokens, 1.0) for task, look in busy if task.tokens))
            else:
                meter.halt(0, 0)

    def news(self) -> list[ActorJoined | ActorLost]:
        """What happened to actors since this was last asked."""
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        """End the actors, and the cluster where it is ours; nothing happens the second time."""
        cluster, self._cluster = self._cluster, None
        if cluster is None:
            return
        for hand in self._hands if not self._is_gone else ():
            cluster.end(hand.handle)
        self._hands, self._subject = [], None
        cluster.leave(is_gone=self._is_gone)

    @property
    def _ray(self) -> Any:
        if self._cluster is None:
            raise ValueError("no cluster is there: it was not opened, or is closed")
        return self._cluster.ray

    def _hire(self, opening: Opening) -> _Hand:
        """Start an actor, which makes its model ready."""
        self._hired += 1
        part = min(self._needs["num_gpus"] or 1.0, 1.0)
        kind = self._ray.remote(concurrency_groups={"look": 1})(Actor).options(**self._needs)
        handle = kind.remote(self._threads, part, build())
        hand = _Hand(
            name=f"actor {self._hired}",
            handle=handle,
            place=handle.place.options(concurrency_group="look").remote(),
            hired=time.monotonic(),
            asked=handle.open.remote(opening),
        )
        self._hands.append(hand)
        return hand

    def _welcome(self, hand: _Hand, answer: Opened | Fault | None) -> None:
        """Give an actor whose model is ready what it needs to begin; one that has another model goes.

        Args:
            answer: to the opening; None once it was told what its tasks are about.
        """
        if isinstance(answer, Opened):
            self._first = first = self._first or answer
            same = (answer.weights_sha256, answer.prompts, answer.versions)
            if same != (first.weights_sha256, first.prompts, first.versions):
                remedy = "put the same model and the same packages on every node"
                answer = Fault("its model, its tokenizer or its packages are others", "", remedy)
        if isinstance(answer, Fault):
            self._lose(hand, answer)
        if not isinstance(answer, Opened):
            return
        hand.opened = answer
        self._unopened = 0
        if not hand.has_joined:
            self._news.append(ActorJoined(hand.name, hand.host, answer.device, answer.threads))
            hand.has_joined = True
        if self._subject is not None:
            hand.asked = hand.handle.set_up.remote(self._subject)

    def _send(self, take: Take[Result]) -> bool:
        """Give everybody who is free a task; tell whether there may be more to do."""
        idle = [hand for hand in self._hands if hand.asked is None and hand.opened is not None]
        for hand in idle:
            task, deaths = self._again.pop(0) if self._again else (take(hand.name), 0)
            if task is None:
                return False
            hand.task, hand.deaths, hand.look = task, deaths, Look()
            hand.asked = hand.handle.carry_out.remote(task)
        return True

    def _answers(self) -> Iterator[tuple[_Hand, Any]]:
        """Wait a moment for answers; those of actors that died are lost with them."""
        ray = self._ray
        by_asked = {hand.asked: hand for hand in self._hands if hand.asked is not None}
        ready: list[Any] = []
        errors = ray.exceptions
        if by_asked:
            ready, _ = ray.wait(list(by_asked), num_returns=1, timeout=_LOOK)
        else:
            time.sleep(_LOOK)
        if ready:
            ready, _ = ray.wait(list(by_asked), num_returns=len(by_asked), timeout=0)
        for asked in ready:
            hand = by_asked[asked]
            self._find(hand)
            try:
                answer = ray.get(asked)
            except errors.RayTaskError as error:
                # What an actor cannot say itself: what it is sent, or sends, cannot be read.
                answer = Fault(named(error.cause), "", SAME)
            except errors.RayError as error:
                self._lose(hand, why_it_died(str(error)))
                continue
            hand.asked = None
            yield hand, answer
        self._look_around()

    def _look_around(self) -> None:
        """Ask those that are busy how far they are, and take in what was answered; who lost its node never answers."""
        assert self._cluster is not None
        ray = self._ray
        if time.monotonic() > self._check_at:
            self._check_ray()
            self._check_at = time.monotonic() + _SOON
        for hand in list(self._hands):
            if hand.looking is None:
                if hand.asked is not None:
                    hand.looking = hand.handle.look.options(concurrency_group="look").remote()
                    hand.looked = time.monotonic()
                continue
            ready, _ = ray.wait([hand.looking], timeout=0)
            if ready:
                hand.looking = None
                # Whoever died is found by what it was asked.
                with contextlib.suppress(ray.exceptions.RayError):
                    hand.look = ray.get(ready[0])
                    self._find(hand)
            elif hand.node and time.monotonic() > hand.looked + _QUIET:
                hand.looked = time.monotonic()
                if not self._cluster.lives(hand.node):
                    self._lose(hand, _NODE_GONE)

    def _find(self, hand: _Hand) -> None:
        """Note where an actor is, once that is known."""
        if not hand.node:
            with contextlib.suppress(self._ray.exceptions.RayError):
                hand.host, hand.node = self._ray.get(hand.place, timeout=_LOOK)

    def _lose(self, hand: _Hand, why: str | Fault) -> None:
        """Give up an actor; what it had goes to another.

        Args:
            why: it died; or what it said that it cannot do, which another in its place could not either.
        """
        assert self._cluster is not None
        self._check_ray()
        self._hands.remove(hand)
        self._cluster.end(hand.handle)
        self._deaths += 1
        if why == _NODE_GONE or (hand.node and not self._cluster.lives(hand.node)):
            why = _NODE_GONE
            self._gone[hand.node] = time.monotonic()
        fault = why if isinstance(why, Fault) else Fault(why, "", SAME if "ModuleNotFoundError" in why else _SEE)
        told = str(replace(fault, remedy="").error())
        self._last = replace(fault, what=f"{hand.name} on {hand.host}: {told}")
        is_new, is_told = hand.opened is None, fault is why
        self._unopened += is_new
        if is_told or (is_new and self._unopened >= MOST_DEATHS):
            self._count -= 1
            told = f"{'it cannot begin, and ' * is_new}no other takes its place: {told}"
        self._news.append(ActorLost(hand.name, hand.host, told))
        if hand.task is not None:
            self._again.append((hand.task, hand.deaths + (not is_told)))

    def _fill(self, meter: Meter, first: Opening | None) -> list[_Hand]:
        """Have an actor for each that is gone and can be replaced, or found no room, as long as there is hope.

        Args:
            first: what the first of them is to make ready.
        """
        if self._deaths > MOST_DEATHS or self._is_misled():
            return []
        wanted, room = self._wanted(meter)
        openings = [first, *[self._opening] * self._count][:wanted]
        hired = [self._hire(opening) for opening in openings if opening is not None]
        for hand in hired[room:]:
            hand.queues = True
        return hired

    def _wanted(self, meter: Meter) -> tuple[int, int]:
        """How many more actors are wanted now, and how many find room; the meter tells after a while that some do not.

        Where there is no room one alone is asked for: it waits in Ray's queue, by which a cluster that grows knows that
        it should, and the others can go on meanwhile.
        """
        assert self._cluster is not None
        now = time.monotonic()
        unplaced = [hand for hand in self._hands if not hand.node]
        late = [hand for hand in unplaced if now > hand.hired + _LATE]
        waiting = [hand for hand in unplaced if hand.queues or hand in late]
        missing = self._count - len(self._hands)
        if not missing and not waiting:
            self._lacks_since, meter.lacks = None, ""
            return 0, 0
        if now < self._look_at:
            return 0, 0
        self._look_at = now + _SOON
        asked = {"CPU": self._needs["num_cpus"], "GPU": self._needs["num_gpus"]}
        # Who was hired and has not begun may, or may not, have what it asks for.
        room = self._cluster.room(asked)
        wanted = max(0, min(missing, max(room, 1) - len(unplaced)))
        if wanted == missing and not late and (room or not waiting):
            # Those that wait find room, and are slow.
            return wanted, room
        self._lacks_since = self._lacks_since or now
        # Whoever is hired now may take of what is free.
        if not wanted and now > self._lacks_since + _PATIENCE and not meter.lacks:
            meter.lacks = self._lack(missing + len(waiting), asked)
        return wanted, room

    def _lack(self, waiting: int, asked: Mapping[str, float]) -> str:
        """That some find no room, in a line: what each asks for, what there is, and what can be done."""
        assert self._cluster is not None
        kinds = [kind for kind, number in asked.items() if number]
        each = " and ".join(amount(kind, asked[kind]) for kind in kinds)
        who = f"{waiting} of {count_of(self._count, 'actor')} {'waits' if waiting == 1 else 'wait'}"
        there = self._count - waiting
        meanwhile = f"the run goes on with {there}" if there else "ctrl+c ends the run, of which nothing is lost"
        fewer = f"--actors {there}, " * (there > 0) + "OMP_NUM_THREADS=1, " * (asked["CPU"] > 1)
        asks_less = f"; {fewer.removesuffix(', ').replace(', ', ' or ')} asks for less" if fewer else ""
        return (
            f"{who} for a place in the cluster: each asks for {each} of one node, and of all nodes"
            f" {self._cluster.free(kinds)} are free; {meanwhile}{asks_less}"
        )

    def _is_misled(self) -> bool:
        """Whether Ray still takes a node that is gone for alive: it would put a new actor there."""
        assert self._cluster is not None
        for node, since in list(self._gone.items()):
            if not self._cluster.lists(node) or time.monotonic() > since + _NOTICED:
                del self._gone[node]
        return bool(self._gone)

    def _check_ray(self) -> None:
        """Make sure that Ray answers, before it is asked for what it would not tell for ever."""
        assert self._cluster is not None
        since = time.monotonic()
        while silent := self._cluster.silent():
            self._is_gone = not self._cluster.is_ours
            if self._cluster.is_ours or time.monotonic() > since + _SILENT:
                raise ExplorerError(
                    f"Ray ended: its {silent} is gone",
                    remedy="what is finished is kept, and the same command goes on from there",
                )
            time.sleep(_LOOK)
        self._is_gone = False

    def _check_hope(self) -> None:
        if self._deaths > MOST_DEATHS or self._count < 1:
            assert self._last is not None
            raise ExplorerError(
                f"no actor of Ray is left, the last one because of this: {self._last.what}",
                remedy=f"{self._last.remedy}; what is finished is kept, and the same command goes on",
            )

    def _told_by(self, hand: _Hand, fault: Fault) -> ExplorerError:
        """An error of the experiment's, which any actor would meet; on a machine that is not this one, where it is."""
        is_here = self._cluster is None or self._cluster.is_ours
        return replace(fault, where=fault.where if is_here else f"{fault.where} on {hand.host}".strip()).error()

    def _weigh(self) -> int | None:
        known = [hand.look.memory for hand in self._hands if hand.look.memory]
        return sum(known) if known else None


_SPAN = re.compile(r"cuda:0-([0-9]+)")


def _needs(cluster: Cluster, spec: ExecutionSpec, device: str, threads: int) -> tuple[int, dict[str, Any]]:
    """How many actors there are, and what Ray reserves for each.

    Raises:
        ExplorerError: the device is one by number, which is Ray's to choose, or there are too few for what each takes.
    """
    span = _SPAN.fullmatch(device)
    if device.startswith("cuda:") and span is None:
        what = "Ray chooses the devices of its actors"
        raise ExplorerError(what, where=f"model.device, {device}", remedy="set it to cuda, auto or cpu")
    gpus = cluster.gpus if device.startswith(("cuda", "auto")) else 0.0
    each = float(span[1]) + 1 if span else 1.0
    fit = int(gpus // each)
    count = spec.actors or fit or max(1, cluster.processors // threads)
    if gpus and count > fit and span is None:
        # More actors than GPUs share them, each a part of one alone; Ray reckons in ten-thousandths.
        each = int(10_000 / math.ceil(count / gpus)) / 10_000
    elif gpus and count > fit and cluster.is_ours:
        what = f"an actor takes {amount('GPU', each)}, and there are {gpus:g}"
        remedy = f"ask for no more than {count_of(fit, 'actor')}" if fit else f"choose cuda:0-{gpus - 1:g}, or fewer"
        raise ExplorerError(what, where=f"model.device, {device}", remedy=remedy)
    needs: dict[str, Any] = {
        "num_gpus": each if gpus else 0,
        # A cluster of our own is there for this run alone: nothing need be reserved.
        "num_cpus": 0 if cluster.is_ours else min(threads, cluster.processors_of_a_node),
        "max_restarts": 0,
        "scheduling_strategy": "SPREAD",
        # Ray would set it to the number of processors reserved, which is not what this process computes with.
        "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(threads)}},
    }
    return count, needs


def why_it_died(told: str) -> str:
    """What Ray tells of an actor that died, in a line; of one that could not even begin it tells a whole traceback."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", told).strip().splitlines() or ["it died"]
    begun = re.search(r"error raised in its creation task.*\bip=([0-9a-fA-F.:]+)", lines[0])
    return (f"at {begun[1]}: {lines[-1].strip()}" if begun else lines[0].strip())[:300]


def idle_actors(execution: ExecutionSpec, layout: Layout) -> tuple[str, ...]:
    """One line where more actors were asked for than there are batches, else none."""
    batches, actors = len(layout.batches), execution.actors
    if actors is None or batches >= actors:
        return ()
    rows = -(-sum(map(len, layout.batches)) // actors)
    idle = f"{count_of(actors - batches, 'actor')} of {actors} had nothing to do"
    return (f"{idle}: there is work for {batches} at a time; execution.rows = {rows} makes smaller batches",)


def lost_actors(lost: Sequence[ActorLost]) -> tuple[str, ...]:
    """A line for all that were lost at one place for one reason, as those of a node are."""
    together: dict[tuple[str, str], list[str]] = {}
    for event in lost:
        together.setdefault((event.host, event.why), []).append(event.name)
    return tuple(
        f"{', '.join(names)} on {host} are lost, what they had went to others: {why}"
        if names[1:]
        else f"{names[0]} on {host} is lost, what it had went to another: {why}"
        for (host, why), names in together.items()
    )
