"""The keys of a tab of studies: its pages, its settings, and what a row leads to."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget


class StudyKeys(Widget, can_focus=True):
    """Actions of a tab of studies; what it shows is in the class built on this one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "page(1)", "next page", id="study.page", tooltip="Go to the next page of this tab"),
        Binding("V", "page(-1)", show=False, id="study.page_back", tooltip="Go to the page before"),
        Binding("w", "work", "work out", id="study.work", tooltip="Work out what this page shows; again, anew"),
        Binding("e", "settings", "settings", id="study.settings", tooltip="Choose neuron, groups and the like"),
        Binding("n", "new_plane", "new plane", id="study.new_plane", tooltip="Planes: make one of directions you type"),
        Binding("i", "card", "card", id="study.card", tooltip="Show the neuron of the highlighted row as a card"),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave a key to others where it would do nothing."""
        return self.can_act(action)

    def can_act(self, action: str) -> bool:
        """Whether an action would do something now."""
        raise NotImplementedError

    def turn_page(self, step: int) -> None:
        """Show another page."""
        raise NotImplementedError

    def work(self) -> None:
        """Ask for what the page shows."""
        raise NotImplementedError

    def ask_settings(self) -> None:
        """Let a person choose the settings."""
        raise NotImplementedError

    def open_card(self) -> None:
        """Show a neuron."""
        raise NotImplementedError

    def ask_plane(self) -> None:
        """Let a person name the directions of a plane."""
        raise NotImplementedError

    def action_new_plane(self) -> None:
        """Make a plane of directions that are typed."""
        self.ask_plane()

    def action_page(self, step: int) -> None:
        """Go to another page, round and round."""
        self.turn_page(step)

    def action_work(self) -> None:
        """Work out what the page shows."""
        self.work()

    def action_settings(self) -> None:
        """Choose the settings."""
        self.ask_settings()

    def action_card(self) -> None:
        """Show the neuron of the highlighted row."""
        self.open_card()
