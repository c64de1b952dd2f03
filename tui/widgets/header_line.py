"""The top line: which model and experiment, which session, how the worker is; when narrow, which pane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui.state.glyphs import UNICODE, glyphs_of

NAME = " srm-explorer"


@dataclass(frozen=True)
class Facts:
    """What the top line tells.

    Attributes:
        model: the model and what is done to it, the most telling first, without separators.
        session: name of the session in view; empty for none.
        mark: what is to be known of it: "unsaved", "edited".
        worker: how the worker is.
    """

    model: tuple[str, ...] = ()
    session: str = ""
    mark: str = ""
    worker: str = ""


class HeaderLine(Widget):
    """Facts on one line; those that matter least are left out where room is short."""

    DEFAULT_CSS = """
    HeaderLine { height: 1; width: 1fr; background: $panel; color: $foreground; }
    """

    facts: reactive[Facts] = reactive(Facts())

    def render(self) -> Content:
        """The line for the width at hand."""
        signs, facts, width = glyphs_of(self.app), self.facts, self.size.width
        wide = width >= 100
        session = Content((f"session {facts.session}" if facts.session else "no session") if wide else facts.session)
        if facts.mark:
            session = Content.assemble(session, (f" {signs.dot}{facts.mark if wide else ''}", "$text-warning"))
        worker = Content.styled(facts.worker if wide else "", "$foreground-muted")
        shown = [fact.replace(UNICODE.times, signs.times) for fact in facts.model]
        while True:
            left = Content.assemble((NAME, "bold $text-accent"), "  ", f" {signs.separator} ".join(shown))
            spare = width - 1 - left.cell_length - session.cell_length - worker.cell_length
            if spare >= (4 if len(worker) else 2) or not shown:
                break
            shown.pop()
        if spare < 0:
            return left.truncate(width, ellipsis=True)
        if not len(worker):
            return Content.assemble(left, " " * spare, session)
        return Content.assemble(left, " " * (spare // 2), session, " " * (spare - spare // 2), worker)


class PaneLine(Widget):
    """The panes by number where one is shown at a time; the one in view stands in brackets."""

    DEFAULT_CSS = """
    PaneLine { height: 1; width: 1fr; background: $surface; color: $text-muted; display: none; }
    """

    @dataclass
    class Picked(Message):
        """A pane was clicked."""

        number: int

    current: reactive[int] = reactive(3)

    def __init__(self, titles: Sequence[str]) -> None:
        super().__init__()
        self._titles = tuple(titles)

    def render(self) -> Content:
        """The titles with their numbers."""
        parts: list[Content] = []
        for number, text in self._labels():
            parts.append(Content.styled(text, "bold $text" if number == self.current else ""))
        return Content("").join([Content(" "), *parts])

    def on_click(self, event: events.Click) -> None:
        """Go to the pane that was clicked."""
        at = 1
        for number, text in self._labels():
            if at <= event.x < at + len(text):
                self.post_message(self.Picked(number))
            at += len(text)

    def _labels(self) -> list[tuple[int, str]]:
        return [
            (number, f"[{number} {title}]" if number == self.current else f" {number} {title} ")
            for number, title in enumerate(self._titles, 1)
        ]
