"""What runs in a process of Ray: a model, and what others see of it meanwhile.

Whoever imports this loads neither torch nor Ray: an actor says where it is as soon as it has a process.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from srm_explorer.engine.errors import ExplorerError, device_fault, is_out_of_memory

if TYPE_CHECKING:
    from srm_explorer.engine.execution.bench import Subject, Task
    from srm_explorer.engine.execution.executor import Station
    from srm_explorer.engine.execution.opening import Opened, Opening
    from srm_explorer.engine.runs.progress import Stage


@dataclass(frozen=True)
class Fault:
    """An `ExplorerError` as plain data."""

    what: str
    where: str
    remedy: str

    @classmethod
    def of(cls, error: ExplorerError) -> Fault:
        return cls(error.what, error.where, error.remedy)

    def error(self) -> ExplorerError:
        return ExplorerError(self.what, where=self.where, remedy=self.remedy)


@dataclass(frozen=True)
class Look:
    """What an actor does at this moment.

    Attributes:
        stage: while it makes its model ready; else "running".
        part: finished parts of a stage, of `parts`.
        step: tokens a row that are written, in the batch that it has.
        tokens: written by all of its rows.
        memory: bytes in use.
    """

    stage: Stage = "running"
    part: int = 0
    parts: int = 0
    step: int = 0
    tokens: int = 0
    memory: int | None = None


class Actor:
    """What runs in a process of Ray: a station, and what others see of it meanwhile.

    Args:
        threads: of the processor, that it computes with.
        part: of its GPU's memory, above 0; 1 where it has it alone, or several.
    """

    def __init__(self, threads: int, part: float = 1.0) -> None:
        self._threads = threads
        self._part = part
        self._look = Look("loading")

    @cached_property
    def _station(self) -> Station:
        """Torch is loaded with it."""
        from srm_explorer.engine.execution.executor import Station
        from srm_explorer.engine.model import WarmModel

        return Station(WarmModel())

    def place(self) -> tuple[str, str]:
        """Where it is: the host, and Ray's id of the node."""
        import ray  # In Ray's process alone.

        return platform.node(), ray.get_runtime_context().get_node_id()

    def open(self, opening: Opening) -> Opened | Fault:
        """Make its model ready."""
        from srm_explorer.engine.model import set_threads, share_gpus  # With torch, as above.

        def notify(stage: Stage) -> None:
            self._look = Look(stage)

        def tell(part: int, parts: int) -> None:
            self._look = Look("testing", part, parts)

        set_threads(self._threads)
        try:
            if self._part < 1:
                share_gpus(self._part)
            return self._station.open(opening, notify, tell)
        except ExplorerError as error:
            return Fault.of(error)
        except (RuntimeError, MemoryError, OSError) as error:
            if fault := device_fault(error):
                return Fault.of(fault)
            if not is_out_of_memory(error):
                raise
            remedy = "ask for fewer actors, or choose a smaller dtype or model"
            return Fault("there is not enough memory for an actor's model", "execution.actors", remedy)
        finally:
            self._look = Look()

    def set_up(self, subject: Subject) -> None:
        """Say what its tasks are about."""
        self._station.set_up(subject)

    def carry_out(self, task: Task[Any]) -> Any:
        """Do a task: what comes of it, a `Fault`, or None where it does not fit into memory."""
        from srm_explorer.engine.model import set_threads  # With torch, as above.

        tokens = 0

        def report(step: int, writing: int) -> None:
            nonlocal tokens
            tokens += writing
            self._look = Look(step=step + 1, tokens=tokens)

        # Threads are counted by the thread that computes, which may be another than the one that loaded the model.
        set_threads(self._threads)
        try:
            return self._station.carry_out(task, report)
        except ExplorerError as error:
            return Fault.of(error)
        except RuntimeError as error:
            fault = device_fault(error)
            if fault is None:
                raise
            return Fault.of(fault)
        finally:
            self._look = Look()

    def look(self) -> Look:
        """Tell, from another thread, what it does."""
        return replace(self._look, memory=self._station.weigh() if "_station" in vars(self) else None)
