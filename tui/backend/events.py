"""What a link tells: the worker's state, how a run goes on, and the answers to what was asked."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from srm_explorer.engine.errors import ExplorerError
    from srm_explorer.engine.prompts import Turns
    from srm_explorer.engine.runs.progress import Progress
    from srm_explorer.engine.session import Session
    from srm_explorer.engine.session.standing import Standing
    from srm_explorer.engine.worker.protocol import Description, JobState


WorkerKind: TypeAlias = Literal["none", "starting", "warm", "busy", "draining", "older"]
RunState: TypeAlias = Literal["queued", "running", "finished", "interrupted", "shown", "failed"]


@dataclass(frozen=True)
class WorkerSeen:
    """The worker is in another state than it was told to be in.

    Attributes:
        state: words for the header: "no worker", "starting", "warm gpt2 · cuda:0", "older version: W drains and
            restarts".
        queue: jobs that run or wait.
        kind: the same as one word.
        errand: title of the study under way; empty where none is.
        progress: how far that is; None where it has not told.
    """

    state: str
    queue: int
    kind: WorkerKind = "none"
    errand: str = ""
    progress: Progress | None = None


@dataclass(frozen=True)
class RunGrew:
    """The followed run went on.

    Attributes:
        path: its session's .json file.
        session: all that is finished, as an interrupted session; the same object as long as no run came to it, None
            before the first.
        progress: how far it is; None where nobody has told.
        state: "queued" or "running".
    """

    path: Path
    session: Session | None
    progress: Progress | None
    state: RunState


@dataclass(frozen=True)
class RunEnded:
    """The followed run is over.

    Attributes:
        path: where it is saved, which is another name where the asked one was taken meanwhile.
        session: as saved; None where nothing was.
        state: "finished", "interrupted", "shown" (it was finished before) or "failed".
        notes: lines the user should read.
        fault: why it failed.
        asked: the name it was asked for and followed by.
        standing: how far the survey of one that was interrupted is; None of a run without one.
    """

    path: Path
    session: Session | None
    state: RunState
    notes: tuple[str, ...] = ()
    fault: ExplorerError | None = None
    asked: Path | None = None
    standing: Standing | None = None


@dataclass(frozen=True)
class WorkerLost:
    """The worker was killed in the middle of the followed run; `resume` goes on after the runs that are finished."""

    path: Path
    done: int
    runs: int


@dataclass(frozen=True)
class RunLost:
    """Nobody is writing the followed run any more, and it is not saved; `resume` goes on after what is finished."""

    path: Path
    done: int
    runs: int


@dataclass(frozen=True)
class Submitted:
    """The worker has taken an experiment; `joined` where it had it already."""

    job: str
    path: Path
    joined: bool = False


@dataclass(frozen=True)
class RunFailed:
    """An experiment could not be begun, followed or cancelled."""

    error: ExplorerError
    path: Path | None = None


@dataclass(frozen=True)
class Described:
    """A model is loaded and this is its shape; `model` as it was asked."""

    model: Mapping[str, Any]
    description: Description


@dataclass(frozen=True)
class DescribeFailed:
    """A model cannot be described now; `model` as it was asked."""

    model: Mapping[str, Any]
    error: ExplorerError


@dataclass(frozen=True)
class Tokenized:
    """The text of each token of prompts as they are fed, a BOS and what a chat template adds included.

    Attributes:
        tag: as it was asked.
        pieces: by prompt; empty where they cannot be told.
    """

    tag: Hashable
    pieces: Mapping[str | Turns, tuple[str, ...]]


@dataclass(frozen=True)
class Studied:
    """What a study found; `tag` as it was asked."""

    name: str
    findings: Mapping[str, Any]
    tag: object = None


@dataclass(frozen=True)
class StudyFailed:
    """A study cannot be done; `waits` where it is asked again as soon as the worker has no run; `tag` as asked."""

    name: str
    error: ExplorerError
    tag: object = None
    waits: bool = False


@dataclass(frozen=True)
class QueueSeen:
    """The worker's jobs: the one that runs, those that wait, those that ended lately."""

    jobs: Sequence[JobState]


@dataclass(frozen=True)
class FoundRun:
    """A run whose folder is there: under way, or left by a program that was killed or cancelled.

    Attributes:
        path: its session's .json file.
        done: finished runs.
        runs: all runs.
        alive: whether a process is writing it now.
        standing: how far its survey is; None of a run without one.
    """

    path: Path
    done: int
    runs: int
    alive: bool
    standing: Standing | None = None


@dataclass(frozen=True)
class RunsFound:
    """Runs that are under way or unfinished, the newest first."""

    runs: tuple[FoundRun, ...]


@dataclass(frozen=True)
class Said:
    """A line for the log."""

    line: str


LinkEvent: TypeAlias = (
    WorkerSeen
    | RunGrew
    | RunEnded
    | WorkerLost
    | RunLost
    | Submitted
    | RunFailed
    | Described
    | DescribeFailed
    | Tokenized
    | Studied
    | StudyFailed
    | QueueSeen
    | RunsFound
    | Said
)
