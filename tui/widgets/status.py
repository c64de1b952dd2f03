"""The bottom line: how far a run is, what was just said, and the keys that help here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget

from srm_explorer.tui.glyphs import UNICODE, Glyphs, glyphs_of
from srm_explorer.tui.keys import keys_of

Tone = Literal["plain", "good", "warning", "error"]
_STYLES: dict[Tone, str] = {
    "plain": "$text",
    "good": "$text-success",
    "warning": "$text-warning",
    "error": "bold $text-error",
}
_BAR = 20
_WIDE = 100


@dataclass(frozen=True)
class Going:
    """How far a run is.

    Attributes:
        share: finished part, 0 to 1; None draws no bar.
        facts: what is told after the bar, the most telling first.
    """

    share: float | None
    facts: tuple[str, ...]


@dataclass(frozen=True)
class Hint:
    """A key and what it does.

    Attributes:
        matters: whether it stays where there is no room for all.
    """

    key: str
    does: str
    matters: bool = False


_ALWAYS = frozenset({"help", "leave"})
"""Actions whose keys the line tells however short it is."""


def hints_of(screen: Screen[Any], *first: Hint) -> tuple[Hint, ...]:
    """What the line says of a screen's keys: the first key of every binding that shows, after some others."""
    keymap: dict[str, str] = getattr(screen.app, "user_keys", {})
    shown = (key for key in keys_of(screen, keymap) if key.binding.show)
    return (
        *first,
        *(Hint(key.keys.split(", ")[0], key.binding.description, key.binding.action in _ALWAYS) for key in shown),
    )


class StatusLine(Widget):
    """One line: what was said, else a run's progress, else what stands to be done; on the right keys that help here."""

    DEFAULT_CSS = """
    StatusLine { height: 1; width: 1fr; background: $panel; color: $foreground; }
    """

    going: reactive[Going | None] = reactive(None)
    said: reactive[tuple[str, Tone]] = reactive(("", "plain"))
    standing: reactive[tuple[str, Tone]] = reactive(("", "plain"))
    hints: reactive[tuple[Hint, ...]] = reactive(())

    def render(self) -> Content:
        signs, width = glyphs_of(self.app), self.size.width - 2
        line, tone = self.said
        if not line and self.going is None:
            line, tone = self.standing
        reserved = _keys([hint for hint in self.hints if hint.matters], width).cell_length + 3
        left = Content.styled(line, _STYLES[tone]) if line else _progress(self.going, signs, width, width - reserved)
        if left.cell_length > width:
            return Content.assemble(" ", left.truncate(width, ellipsis=True))
        room = width - left.cell_length - (3 if len(left) else 0)
        right = _keys(self.hints, room)
        return Content.assemble(" ", left, " " * (width - left.cell_length - right.cell_length), right)


def clock(seconds: float) -> str:
    """A span of time as "0:05" or "1:02:03"."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def _progress(going: Going | None, signs: Glyphs, width: int, room: int) -> Content:
    if going is None:
        return Content("")
    wide = width >= _WIDE
    facts = list(going.facts)
    if not wide:
        facts[0] = facts[0].replace(" / ", "/").removesuffix(" runs")
    bar = Content("")
    if going.share is not None and wide:
        full = int(going.share * _BAR)
        bar = Content.assemble((signs.bar_full * full, "$text-primary"), signs.bar_empty * (_BAR - full), "  ")
    between = "   " if wide else "  "
    while len(facts) > 1 and bar.cell_length + len(between.join(facts)) > room:
        facts.pop()
    return Content.assemble(bar, between.join(facts))


def _keys(hints: Sequence[Hint], room: int) -> Content:
    """As many hints as there is room for, of those that matter the last first, then the others in their order."""
    every = range(len(hints))
    order = [*(at for at in reversed(every) if hints[at].matters), *(at for at in every if not hints[at].matters)]
    chosen: set[int] = set()
    used = 0
    for at in order:
        size = len(hints[at].key) + len(hints[at].does) + 1 + (2 if chosen else 0)
        if used + size > room:
            break
        used += size
        chosen.add(at)
    parts = [
        Content.assemble((hints[at].key, "bold $text-accent"), " ", (hints[at].does, "$foreground-muted"))
        for at in sorted(chosen)
    ]
    return Content("  ").join(parts)


NAME = " srm-explorer"


@dataclass(frozen=True)
class Facts:
    """What the top line tells.

    Attributes:
        model: the model that is edited and what is done to it, the most telling first, without separators.
        session: name of the session in view; empty for none.
        mark: what is to be known of it: "unsaved", "imported".
        worker: how the worker is.
        viewed: what the session in view has instead of what is edited, the most telling first.
        is_edited: whether the session in view is of another experiment than the one that is edited.
    """

    model: tuple[str, ...] = ()
    session: str = ""
    mark: str = ""
    worker: str = ""
    viewed: tuple[str, ...] = ()
    is_edited: bool = False


class HeaderLine(Widget):
    """Facts on one line; those that matter least are left out where room is short.

    Where the session in view is of another experiment than the one that is edited, words say which facts are whose.
    """

    DEFAULT_CSS = """
    HeaderLine { height: 1; width: 1fr; background: $panel; color: $foreground; }
    """

    facts: reactive[Facts] = reactive(Facts())

    def render(self) -> Content:
        signs, facts, width = glyphs_of(self.app), self.facts, self.size.width
        wide = width >= 100
        mark = (f" {signs.dot}{facts.mark if wide else ''}" if facts.mark else "", "$text-warning")
        worker = Content.styled(facts.worker if wide else "", "$foreground-muted")
        shown = [fact.replace(UNICODE.times, signs.times) for fact in facts.model]
        viewed = [fact.replace(UNICODE.times, signs.times) for fact in facts.viewed]
        between = f" {signs.separator} "
        while True:
            edited = ("edited ", "bold $text-warning") if facts.is_edited else ""
            left = Content.assemble((NAME, "bold $text-accent"), "  ", edited, between.join(shown))
            if facts.is_edited:
                name = ("in view ", "bold"), facts.session, mark
                session = Content.assemble(*name, f": {between.join(viewed)}" if viewed else "")
            else:
                name = (f"session {facts.session}" if facts.session else "no session") if wide else facts.session
                session = Content.assemble(name, mark)
            spare = width - 1 - left.cell_length - session.cell_length - worker.cell_length
            if spare >= (4 if len(worker) else 2) or not shown:
                break
            # What tells the two apart stays longest: what they share stands behind it, then the worker.
            if facts.is_edited and len(worker) and len(shown) <= 3:
                worker = Content("")
            elif len(viewed) > 1 and len(viewed) >= len(shown):
                viewed.pop()
            elif len(shown) > 1 or not viewed:
                shown.pop()
            else:
                viewed.pop()
        if spare < 0:
            room = max(0, width - 3 - left.cell_length)
            session, spare = session.truncate(room, ellipsis=True), 2
            if not room:
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
        parts: list[Content] = []
        for number, text in self._labels():
            parts.append(Content.styled(text, "bold $text" if number == self.current else ""))
        return Content("").join([Content(" "), *parts])

    def on_click(self, event: events.Click) -> None:
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
