"""The bottom line: how far a run is, what was just said, and the keys that help here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget

from srm_explorer.tui.glyphs import UNICODE, Glyphs, glyphs_of
from srm_explorer.tui.keys import FIRST_RANK, KEPT_RANK, offered, shown_keys

Tone = Literal["plain", "good", "warning", "error"]
_STYLES: dict[Tone, str] = {
    "plain": "$text",
    "good": "$text-success",
    "warning": "$text-warning",
    "error": "bold $text-error",
}
_BAR = 20
_WIDE = 100
_GAP = 3
"""Cells between what is said and the keys."""
NEW_FOR = 8.0
"""Seconds for which a long line that was said may take the keys' room, unless one is pressed before."""


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
        key: as it is shown.
        does: in a word or two.
        pressed: the key by the name that the application knows it by.
        rank: how much it matters, 0 the most: where there is no room for all, the others go first.
    """

    key: str
    does: str
    pressed: str
    rank: int

    @property
    def width(self) -> int:
        return cell_len(self.key) + 1 + cell_len(self.does)


def hints_of(screen: Screen[Any]) -> tuple[Hint, ...]:
    """What the line says of the keys that would change something now."""
    hints = [
        Hint(key.keys.split(", ")[0], key.binding.description.lower(), key.pressed[0], key.rank)
        for key in offered(screen)
    ]
    if hasattr(screen.focused, "action_submit"):
        # A text field, whose enter has no name of ours.
        hints.insert(0, Hint("enter", "take it", "enter", 1))
    return tuple(hints)


class StatusLine(Widget):
    """One line: what was said, else a run's progress, else what stands to be done; on the right keys that help here.

    It tells the keys of the screen it is on, by importance; a click on one is that key. In a box over another screen it
    says what the line of that one says.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    StatusLine { height: 1; width: 1fr; background: $panel; color: $foreground; }
    """

    going: reactive[Going | None] = reactive(None)
    said: reactive[tuple[str, Tone]] = reactive(("", "plain"))
    standing: reactive[tuple[str, Tone]] = reactive(("", "plain"))
    hints: reactive[tuple[Hint, ...]] = reactive(())

    def __init__(self) -> None:
        super().__init__()
        self._is_new = False
        self._until: Timer | None = None
        self._spans: list[tuple[int, int, Hint]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.look())
        if self.screen.is_modal:
            self.styles.dock = "bottom"
            self._say_what_is_said_below()
        self.look()

    def look(self) -> None:
        """See which keys would change something now."""
        if self.is_attached and self.screen.is_attached:
            self.hints = hints_of(self.screen)

    def make_way(self) -> None:
        """What was said has been seen: it leaves the keys their room."""
        if self._is_new:
            self._is_new = False
            self.refresh()

    def watch_said(self) -> None:
        self._begin()

    def watch_standing(self) -> None:
        self._begin()

    def on_click(self, event: events.Click) -> None:
        for start, end, hint in self._spans:
            if start <= event.x < end:
                event.stop()
                self.app.simulate_key(hint.pressed)

    def render(self) -> Content:
        signs, width = glyphs_of(self.app), self.size.width - 2
        line, tone = self.said
        if not line and self.going is None:
            line, tone = self.standing
        if line:
            # What stands to be done is also told by its key, which it leaves room for once it was seen.
            is_standing = not self.said[0] and not self._is_new
            room = width - self._space(FIRST_RANK if is_standing else 0 if self._is_new else 1)
            if cell_len(line) > room:
                # Just said, it has the keys' room as well, except that of the key that stops a run.
                line = shortened(line, width - self._space(0) if self._is_new else room, signs.ellipsis)
            left = Content.styled(line, _STYLES[tone])
        else:
            left = _progress(self.going, signs, width, width - self._space(KEPT_RANK))
        room = width - left.cell_length - (_GAP if len(left) else 0)
        chosen = chosen_hints(self.hints, room)
        right = Content("  ").join(_keys(chosen))
        self._spans, at = [], 1 + width - right.cell_length
        for hint in chosen:
            self._spans.append((at, at + hint.width, hint))
            at += hint.width + 2
        return Content.assemble(" ", left, " " * (width - left.cell_length - right.cell_length), right)

    def _space(self, rank: int) -> int:
        """Cells of the keys up to a rank, and between them and what stands on their left."""
        widths = [hint.width + 2 for hint in self.hints if hint.rank <= rank]
        return sum(widths) - 2 + _GAP if widths else 0

    def _begin(self) -> None:
        self._is_new = True
        if self._until is not None:
            self._until.stop()
        self._until = self.set_timer(NEW_FOR, self.make_way)

    def _say_what_is_said_below(self) -> None:
        stack = self.app.screen_stack
        below = stack[: stack.index(self.screen)] if self.screen in stack else []
        line = next((line for screen in reversed(below) for line in screen.query(StatusLine)), None)
        if line is not None:
            self.watch(line, "going", lambda going: setattr(self, "going", going))
            self.watch(line, "said", lambda said: setattr(self, "said", said))
            self.watch(line, "standing", lambda standing: setattr(self, "standing", standing))


_FIRST_HINTS = (
    ("pane.prompts=1 pane.form=2 pane.results=3", "go to the panes", "panes"),
    ("form.edit=enter", "edits a row", "edits"),
    ("run.start=r", "runs the experiment", "runs"),
    ("help=question_mark", "tells keys and words", "keys, words"),
    ("palette=colon", "finds anything", "finds all"),
)
"""The keys that one begins with, by their ids and as declared, and what they do, in more words and in fewer."""


class FirstHints(Widget):
    """The keys that one begins with, on a line of their own in the first uses of the program."""

    DEFAULT_CSS = """
    FirstHints { height: 1; width: 1fr; background: $surface; color: $text-muted; padding: 0 1; }
    """

    def render(self) -> Content:
        whole, parts = (self._parts(at) for at in (1, 2))
        between = Content(f" {glyphs_of(self.app).separator} ")
        line = between.join(whole)
        while line.cell_length > self.size.width - 2 and parts:
            line = between.join(parts)
            # The last ones lead to all others.
            del parts[0]
        return line

    def _parts(self, words: int) -> list[Content]:
        keymap: dict[str, str] = getattr(self.app, "user_keys", {})
        signs = glyphs_of(self.app)
        parts: list[Content] = []
        for hint in _FIRST_HINTS:
            pairs = (pair.split("=") for pair in hint[0].split())
            keys = [shown_keys(keymap.get(name) or key, signs).split(", ")[0] for name, key in pairs]
            parts.append(Content.assemble((" ".join(keys), "bold $text-accent"), " ", hint[words]))
        return parts


def shortened(line: str, room: int, ellipsis: str) -> str:
    """As much of a line as there is room for: whole clauses where there are some, else whole words.

    Of a path that an error begins with its name is kept: where something is says nothing without what it is.
    """
    if cell_len(line) <= room:
        return line
    path, colon, rest = line.partition(": ")
    if colon and path.startswith(("/", "~/")) and path.count("/") > 1:
        line = f"{ellipsis}/{path.rpartition('/')[2]}: {rest}"
        if cell_len(line) <= room:
            return line
    fitting = [at for at in range(1, len(line)) if cell_len(line[:at]) <= room - len(ellipsis)]
    most = fitting[-1] if fitting else 0
    clause = max(line.rfind(mark, 0, most + 1) for mark in ("; ", ": ", " · "))
    if clause > most // 3:
        return line[:clause]
    word = line.rfind(" ", 0, most + 1)
    return line[: word if word > 0 else most].rstrip(" ,;:") + ellipsis if most else ""


def chosen_hints(hints: Sequence[Hint], room: int) -> list[Hint]:
    """Those that there is room for, in their order: the least important is left out first."""
    chosen: set[int] = set()
    used = -2
    for at in sorted(range(len(hints)), key=lambda at: hints[at].rank):
        used += hints[at].width + 2
        if used > room:
            break
        chosen.add(at)
    return [hints[at] for at in sorted(chosen)]


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


def _keys(hints: Sequence[Hint]) -> list[Content]:
    return [Content.assemble((hint.key, "bold $text-accent"), " ", (hint.does, "$foreground-muted")) for hint in hints]


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
            # The edited neuron and its plane stay longer than what is told of the worker, whose state comes first.
            if len(worker) and len(shown) <= (3 if facts.is_edited else 4):
                state = facts.worker.partition(f" {UNICODE.separator} ")[0]
                worker = Content.styled(state if len(worker) > len(state) else "", "$foreground-muted")
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
