"""Who carries tasks out: this process, or others; the loop that sends tasks and journals what comes of them is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from srm_explorer.engine.errors import is_out_of_memory
from srm_explorer.engine.execution.bench import Bench, Report, Subject, Task
from srm_explorer.engine.execution.opening import Opened, Opening
from srm_explorer.engine.model import WarmModel, release_memory
from srm_explorer.engine.model.warm import Notify
from srm_explorer.engine.runs.journal_records import EventRecord
from srm_explorer.engine.runs.progress import Meter

Result = TypeVar("Result")

Take: TypeAlias = Callable[[str], Task[Result] | None]
"""The next task for whom it names; None where there is nothing now. What did not fit may be there later."""


@dataclass(frozen=True)
class Finished(Generic[Result]):
    """What came of a task.

    Attributes:
        result: None where the task did not fit into memory; nothing is left of it, and fewer rows may fit.
        by: who had it; empty for this process.
        device: where that is; empty where it is the one that the model was opened on.
    """

    task: Task[Result]
    result: Result | None
    by: str = ""
    device: str = ""


class Executor(Protocol):
    """Holds models, one or many, and has them carry tasks out.

    It says when, on what and by whom a task is done, never what comes of it: the same tasks give the same results.
    """

    def open(self, opening: Opening, meter: Meter) -> Opened:
        """Load and test the model, and make it ready for an experiment; `ExplorerError` as an `Opening` raises it."""
        ...

    def set_up(self, subject: Subject) -> None:
        """Say what the tasks from here on are about."""
        ...

    def ask(self, task: Task[Result]) -> Result:
        """Have one task carried out, at once."""
        ...

    def run(self, take: Take[Result], meter: Meter, *, counted: bool = True) -> Iterator[Finished[Result]]:
        """Have tasks carried out until there is none left to take.

        Args:
            take: called from this thread whenever somebody is free; also again after a task that did not fit.
            meter: told of what is in flight; asked whether to stop.
            counted: whether steps are shown as those of the runs, else as a share of the stage's parts. Whoever takes
                the result ends the batch, or the part, at the meter.

        Yields:
            what is finished, as it comes.

        Raises:
            Stopped: it was asked to stop at once.
            ExplorerError: nobody is left to carry tasks out.
        """
        ...

    def news(self) -> Sequence[EventRecord]:
        """What happened since this was last asked, for the journal."""
        ...

    def close(self) -> None:
        """Let go of what was held for this run alone; nothing happens the second time."""
        ...


class Station:
    """One model and one bench, in the process that carries tasks out.

    Args:
        warm: holds the model, maybe from one run to the next.
    """

    def __init__(self, warm: WarmModel) -> None:
        self._warm = warm
        self._bench: Bench | None = None

    @property
    def bench(self) -> Bench:
        """What tasks are carried out on.

        Raises:
            ValueError: nothing was set up.
        """
        if self._bench is None:
            raise ValueError("nothing is set up")
        return self._bench

    def open(self, opening: Opening, notify: Notify, tell: Callable[[int, int], object]) -> Opened:
        """Load, check and test the model, and make it ready for an experiment.

        Args:
            notify: called where something is done that takes time.
            tell: how far the test is.
        """
        model = self._warm.load(opening.experiment.model, opening.base, notify)
        experiment = opening.checked(model)
        return opening.carry_out(experiment, model, self._warm.test(notify, tell))

    def set_up(self, subject: Subject) -> None:
        """Put the model and a subject on the bench."""
        if self._warm.model is None:
            raise ValueError("no model is loaded")
        self._bench = Bench(self._warm.model, subject)

    def carry_out(self, task: Task[Result], report: Report) -> Result | None:
        """Do a task; None where it does not fit into memory, which is given back then."""
        try:
            return task.carry_out(self.bench, report)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, so that the traceback no longer holds the tensors that did not fit.
        self.bench.model.kept_step = None
        release_memory()
        return None

    def rest(self) -> None:
        """Let go of what the model keeps from one batch to the next; on a GPU others may want the memory."""
        if self._warm.model is not None and self._warm.model.kept_step is not None:
            self._warm.model.kept_step = None
            release_memory()

    def weigh(self) -> int | None:
        """Bytes in use, as `Placement.used_bytes` has them."""
        return None if self._warm.model is None else self._warm.model.placement.used_bytes()


class LocalExecutor:
    """Carries tasks out in this process, one after another.

    Args:
        warm: holds the model, and has it afterwards.
    """

    def __init__(self, warm: WarmModel) -> None:
        self._station = Station(warm)

    def open(self, opening: Opening, meter: Meter) -> Opened:
        """Load and test the model here."""
        meter.weigh = self._station.weigh
        return self._station.open(opening, meter.stage, partial(meter.part, "testing"))

    def set_up(self, subject: Subject) -> None:
        """Put it on the bench."""
        self._station.set_up(subject)

    def ask(self, task: Task[Result]) -> Result:
        """Carry it out here."""
        return task.carry_out(self._station.bench, _unheard)

    def run(self, take: Take[Result], meter: Meter, *, counted: bool = True) -> Iterator[Finished[Result]]:
        """Carry them out here, in the order in which they are taken."""
        while (task := take("")) is not None:
            if counted:
                meter.begin_batch(task.rows)
            yield Finished(task, self._station.carry_out(task, meter.step if counted else flying(task, meter)))

    def news(self) -> Sequence[EventRecord]:
        """Nothing."""
        return ()

    def close(self) -> None:
        """The model stays with whoever gave it."""
        self._station.rest()


def flying(task: Task[Any], meter: Meter) -> Report:
    """Tell a meter how much of a part is done, by its tokens; of a task that tells of none, only whether to stop."""
    if not task.tokens:
        return meter.halt
    done = 0

    def report(_step: int, tokens: int) -> None:
        nonlocal done
        done += tokens
        meter.fly(min(done / task.tokens, 1.0))

    return report


def _unheard(_step: int, _tokens: int) -> None:
    return
