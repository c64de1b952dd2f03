"""What runs in a process of Ray: a model, and what others see of it meanwhile.

Whoever imports this loads neither torch nor Ray: an actor says where it is as soon as it has a process.
"""

from __future__ import annotations

import hashlib
import platform
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError, device_fault, is_out_of_memory, named

if TYPE_CHECKING:
    from srm_explorer.engine.execution.bench import Subject, Task
    from srm_explorer.engine.execution.executor import Station
    from srm_explorer.engine.execution.opening import Opened, Opening
    from srm_explorer.engine.runs.progress import Stage

Result = TypeVar("Result")

SAME = "install the same srm-explorer on every node"


@dataclass(frozen=True)
class Fault:
    """What an actor could not do, as plain data.

    Attributes:
        is_own: whether it is the fault of the actor, or of its node; else it is an `ExplorerError`, which another actor
            would meet too.
    """

    what: str
    where: str
    remedy: str
    is_own: bool = True

    @classmethod
    def of(cls, error: BaseException) -> Fault:
        """Put it into words."""
        if isinstance(error, ExplorerError):
            return cls(error.what, error.where, error.remedy, is_own=False)
        if is_out_of_memory(error):
            remedy = "ask for fewer actors, or choose a smaller dtype or model"
            return cls("there is not enough memory for an actor's model", "", remedy)
        if fault := device_fault(error):
            return replace(cls.of(fault), remedy="see nvidia-smi there", is_own=True)
        is_bug = not isinstance(error, OSError)
        remedy = "--executor local, or Ray's log there, shows where in the program" if is_bug else "see to it there"
        return cls(named(error), "", remedy)

    def error(self) -> ExplorerError:
        return ExplorerError(self.what, where=self.where, remedy=self.remedy)


@cache
def build() -> str:
    """Name the program by the content of its sources: two of one version may differ, and so may what they compute."""
    root = paths.engine_folder().resolve()
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()


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
        build: of whoever asks, as `build` names it.
    """

    def __init__(self, threads: int, part: float, build: str) -> None:
        self._threads = threads
        self._part = part
        self._build = build
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

        def notify(stage: Stage) -> None:
            self._look = Look(stage)

        def tell(part: int, parts: int) -> None:
            self._look = Look("testing", part, parts)

        def work() -> Opened | Fault:
            from srm_explorer.engine.model import share_gpus  # With torch, as above.

            if self._build != build():
                return Fault("its srm-explorer has other sources than this one", "", SAME)
            if self._part < 1:
                share_gpus(self._part)
            return self._station.open(opening, notify, tell)

        return self._done(work)

    def set_up(self, subject: Subject) -> Fault | None:
        """Say what its tasks are about."""
        return self._done(lambda: self._station.set_up(subject))

    def carry_out(self, task: Task[Any]) -> Any:
        """Do a task: what comes of it, a `Fault`, or None where it does not fit into memory."""
        written = 0

        def report(step: int, tokens: int) -> None:
            nonlocal written
            written += tokens
            self._look = Look(step=step + 1, tokens=written)

        return self._done(lambda: self._station.carry_out(task, report))

    def _done(self, work: Callable[[], Result]) -> Result | Fault:
        """Do something: what comes of it, or what went wrong."""
        try:
            from srm_explorer.engine.model import set_threads  # With torch, as above.

            # Threads are counted by the thread that computes, which may be another than the one that loaded the model.
            set_threads(self._threads)
            return work()
        except Exception as error:  # noqa: BLE001 - whoever asked tells it, and may have another do the same
            if not isinstance(error, ExplorerError):
                traceback.print_exc()
            return Fault.of(error)
        finally:
            self._look = Look()

    def look(self) -> Look:
        """Tell, from another thread, what it does."""
        return replace(self._look, memory=self._station.weigh() if "_station" in vars(self) else None)
