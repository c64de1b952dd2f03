"""Where tasks are carried out: a model, beside all that the rows of one experiment are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.execution.rows import RowMaker
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.model import Ahead, KnownTexts, LoadedModel
from srm_explorer.engine.runs.collect import grid_of
from srm_explorer.engine.session import PromptRecord
from srm_explorer.engine.session.survey import MOST_CHARACTERS

Report: TypeAlias = Callable[[int, int], None]
"""Told of every step: its number, and how many tokens it wrote or read. Raises `Stopped` where that is wished."""

Result = TypeVar("Result", covariant=True)


@dataclass(frozen=True)
class Subject:
    """What all tasks of a run are about: plain data, which may go to another process.

    Args:
        experiment: as its run began, with nothing left for the model to decide.
        prompts: as they are fed.
        directions: [d] unit vectors of files, by the text that names them.
    """

    experiment: Experiment
    prompts: tuple[PromptRecord, ...]
    directions: Mapping[str, NDArray[np.floating]]


@dataclass(frozen=True)
class Bench:
    """A model and the subject that it works on."""

    model: LoadedModel
    subject: Subject

    @property
    def experiment(self) -> Experiment:
        """What is run."""
        return self.subject.experiment

    @property
    def prompts(self) -> tuple[PromptRecord, ...]:
        """In the experiment's order."""
        return self.subject.prompts

    @cached_property
    def grid(self) -> Grid:
        """How the runs are numbered."""
        return grid_of(self.experiment, len(self.prompts))

    @cached_property
    def maker(self) -> RowMaker:
        """Turns numbers of runs into rows, and their results into records."""
        return RowMaker(self.experiment, self.grid, self.prompts, self.subject.directions, self.model)

    @cached_property
    def ahead(self) -> Ahead:
        """Batches that are made ready while others are decoded."""
        return Ahead(self.model)

    @cached_property
    def known(self) -> KnownTexts:
        """Texts that one task has read, and the next need not read."""
        return KnownTexts()

    @cached_property
    def token_texts(self) -> TokenTexts:
        """What token ids say, each alone."""
        return TokenTexts(self.model)


class TokenTexts(dict[int, str]):
    """Texts of token ids, each decoded when it is first asked for; of a long one the beginning, and an ellipsis."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self._tokenizer = model.tokenizer

    def __missing__(self, token: int) -> str:
        text = self._tokenizer.piece(token)
        self[token] = text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
        return self[token]


class Task(Protocol[Result]):
    """A piece of work: frozen plain data, so that whoever has the model can do it, in this process or another.

    What comes of it is plain data and numpy arrays, and depends on nothing but the task, the bench, the device and the
    number of threads.
    """

    @property
    def rows(self) -> int:
        """How many rows go through the model together."""
        ...

    @property
    def tokens(self) -> int:
        """Tokens that its report will tell of, at most; 0 where how far it is is not shown."""
        ...

    def carry_out(self, bench: Bench, report: Report) -> Result:
        """Do it.

        Raises:
            Stopped: that is wished.
            RuntimeError, MemoryError: there is not enough memory, as `is_out_of_memory` tells; then fewer rows may fit.
        """
        ...
