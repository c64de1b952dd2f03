"""What a command to run an experiment finds, and what came of it; known without the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.errors import ExplorerError
from engine.runner import life
from engine.runner.inputs import Inputs, read_inputs
from engine.session import Session
from engine.spec import Experiment


@dataclass(frozen=True)
class Outcome:
    """What came of a command to run an experiment.

    Args:
        session: what is saved now; None where a run was stopped before its first batch was finished.
        path: its .json file.
        how: `finished` now, `interrupted`, or `shown` because it was finished before.
        resumed: runs that an earlier start had finished.
        told: lines the user should read: odd prompts, a save under another name.
    """

    session: Session | None
    path: Path
    how: Literal["finished", "interrupted", "shown"]
    resumed: int = 0
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Approach:
    """An experiment before its model is loaded: what it reads, and how far it is."""

    inputs: Inputs
    standing: life.Standing

    @property
    def told(self) -> tuple[str, ...]:
        """What is odd about the prompts."""
        return tuple(str(problem) for problem in self.inputs.problems)


def approach(experiment: Experiment, base: Path, path: Path, *, restart: bool) -> Approach:
    """Read what an experiment needs and find out how far it is.

    Args:
        experiment: what is to be run.
        base: the folder its relative paths start from.
        path: the session's .json file.
        restart: what has this name does not count.

    Raises:
        ExplorerError: a broken or missing input, no prompt, or a name that belongs to another experiment.
    """
    inputs = read_inputs(experiment, base)
    if not inputs.prompts:
        raise ExplorerError("there is no prompt to run", where="prompts", remedy="choose other sets or factors")
    standing = life.Standing("new") if restart else life.standing(experiment, inputs.hashes, path)
    return Approach(inputs, standing)


def shown(found: Approach, path: Path) -> Outcome | None:
    """Return the outcome of an experiment that was finished before; None where there is something to run."""
    session = found.standing.session
    if session is None or found.standing.kind != "finished":
        return None
    life.remove_leftover(session, path)
    return Outcome(session, path, "shown", told=found.told)
