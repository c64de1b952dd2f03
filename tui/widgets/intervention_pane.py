"""The pane in which the model, the interventions and everything else of an experiment but its prompts are set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.message import Message
from textual.widget import Widget

if TYPE_CHECKING:
    from engine.runner.wire import Description
    from engine.spec import Experiment


class InterventionPane(Widget):
    """A form over one experiment: a row is edited on enter, everything is checked as it is typed."""

    @dataclass
    class Changed(Message):
        """The whole experiment after an edit that validated."""

        data: dict[str, Any]

    @dataclass
    class Typing(Message):
        """A text that is no part of the experiment yet; None once it is, or was given up."""

        field: str
        text: str | None

    @dataclass
    class Loaded(Message):
        """Another experiment takes this one's place: its data, its name, and where its relative paths start."""

        data: dict[str, Any]
        name: str
        base: Path

    @dataclass
    class ModelWanted(Message):
        """The model was changed and should be described."""

        model: dict[str, Any]

    def show(self, data: dict[str, Any], typed: Mapping[str, str] | None = None) -> None:
        """Show an experiment.

        Args:
            data: the whole experiment, as `Experiment.to_dict()` gives it.
            typed: texts that were typed and are no part of it yet, by field; None keeps those that are there in
                fields whose value is the same as before.
        """

    def take_shape(self, description: Description | None, problem: str = "") -> None:
        """Take what the worker says of the model in use; None while it is not known, with the reason if there is one."""

    def take_cost(self, n_prompts: int, rate: float | None) -> None:
        """Take the number of prompts and the tokens a second of the last run with this model; None: not known."""

    def experiment(self) -> Experiment:
        """What is on the screen, as an experiment.

        Raises:
            ExplorerError: the first problem, with its field.
        """
        raise NotImplementedError

    def copy_text(self) -> str:
        """The value of the highlighted row in full."""
        return ""
