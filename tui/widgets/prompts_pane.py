"""The pane in which prompt sets and their prompts are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.message import Message
from textual.widget import Widget


class PromptsPane(Widget):
    """Chooses prompt sets, prompts and levels of factors for an experiment."""

    @dataclass
    class Changed(Message):
        """The selection that is now wanted: the experiment's table of prompts."""

        prompts: dict[str, Any]

    @dataclass
    class TokensWanted(Message):
        """Texts whose tokens the model in use should count."""

        texts: tuple[str, ...]

    def show(self, prompts: dict[str, Any], model: dict[str, Any], base: Path) -> None:
        """Show the draft's table of prompts.

        Args:
            prompts: as `Experiment.to_dict()` has it.
            model: the table of the model whose tokens are counted.
            base: the folder that relative paths start from.
        """

    def take_tokens(self, counts: Mapping[str, int]) -> None:
        """Take the tokens of texts that were asked for; an empty answer says that they could not be counted."""

    def take_room(self, room: int | None) -> None:
        """Take the most tokens a prompt may have: the model's context less what is generated; None: not known."""
