"""What a form shows, as data: rows with a label, a value, choices and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FormRow:
    """One field of a form, a fact beside the fields, or the heading of a section.

    Attributes:
        key: its name, unique in the form.
        label: stands before the value; the title of a section.
        short: the label where room is short; the label itself where it is empty.
        values: the value as it is shown, from the longest way to the shortest.
        text: the value as it is edited, in full.
        choices: texts to choose from, each with how it is shown.
        typed: whether it may be typed; else it is only chosen.
        kind: a field is highlighted and edited, a fact can only be read, a warning is a fact to be seen, a section
            separates.
        beside: whether it shares the line of the row before, where there is room.
        quiet: whether the value stands for nothing: "none".
        problem: what is wrong with it.
        pending: whether its text was typed and is not in use yet.
        hint: what may be written, for the row in focus.
    """

    key: str
    label: str
    values: tuple[str, ...] = ("",)
    text: str = ""
    short: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    typed: bool = True
    kind: Literal["field", "fact", "warning", "section"] = "field"
    beside: bool = False
    quiet: bool = False
    problem: str = ""
    pending: bool = False
    hint: str = ""

    @property
    def reachable(self) -> bool:
        """Whether the highlight stops at it."""
        return self.kind == "field"

    def after(self, step: int) -> str:
        """The text of the choice that follows the present one, round and round; its own text without choices."""
        texts = [text for text, _ in self.choices]
        if not texts:
            return self.text
        if self.text not in texts:
            return texts[0 if step > 0 else -1]
        return texts[(texts.index(self.text) + step) % len(texts)]
