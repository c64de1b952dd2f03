"""The explorer: prompts, intervention and results side by side, or one at a time where there is less room."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.timer import Timer

from engine.errors import ExplorerError
from tui.desk.start import Farewell, Start
from tui.screens.bindings import keys_of, shown_keys
from tui.screens.explorer_keys import ExplorerKeys
from tui.widgets.header_line import HeaderLine, PaneLine
from tui.widgets.intervention_pane import InterventionPane
from tui.widgets.pane import Pane
from tui.widgets.prompts_pane import PromptsPane
from tui.widgets.results_pane import ResultsPane
from tui.widgets.status_line import Hint, StatusLine, Tone

if TYPE_CHECKING:
    from tui.desk.desk import Desk
    from tui.link.events import LinkEvent

T = TypeVar("T")
_SAID_FOR = 8.0
"""Seconds a line stays; a key that says something else ends it before."""


class ExplorerScreen(ExplorerKeys):
    """Three panes between a header and a status line.

    Args:
        start: what the program was started with.
    """

    DEFAULT_CSS = """
    ExplorerScreen {
        layout: vertical;
        #panes { height: 1fr; }
        #left { width: 28%; min-width: 36; max-width: 64; height: 1fr; }
        #pane-1 { height: 2fr; min-height: 6; }
        #pane-2 { height: 3fr; }
    }
    ExplorerScreen.-narrow, ExplorerScreen.-zoom {
        #left { display: none; width: 1fr; max-width: 100%; }
        #left.-current { display: block; }
        Pane { display: none; height: 1fr; }
        Pane.-current { display: block; }
    }
    ExplorerScreen.-narrow {
        PaneLine { display: block; }
        Pane, Pane:focus-within { border: none; }
    }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012  (declared so by the base class)

    @dataclass
    class Loaded(Message):
        """Everything behind the panes is there."""

        desk: Desk

    @dataclass
    class Heard(Message):
        """The link told something."""

        event: LinkEvent

    @dataclass
    class Worked(Message):
        """A thread is done."""

        then: Callable[[], None]

    def __init__(self, start: Start | None = None) -> None:
        super().__init__()
        self._start = start or Start()
        self.header, self.status = HeaderLine(), StatusLine()
        self.prompts, self.intervention, self.results = PromptsPane(), InterventionPane(), ResultsPane()
        self.panes = (
            Pane(1, "Prompts", self.prompts),
            Pane(2, "Intervention", self.intervention),
            Pane(3, "Results", self.results),
        )
        self._pane_line = PaneLine([pane.title for pane in self.panes])
        self._left = Vertical(*self.panes[:2], id="left")
        self._until: Timer | None = None

    def compose(self) -> ComposeResult:
        """The header, the panes and the status line."""
        yield self.header
        yield self._pane_line
        with Horizontal(id="panes"):
            yield self._left
            yield self.panes[2]
        yield self.status

    def on_mount(self) -> None:
        """Show the panes first; what is behind them is loaded when they are seen."""
        self._mark(3)
        self.call_after_refresh(self._begin)
        self.bindings_updated_signal.subscribe(self, lambda _: self._show_hints())

    @property
    def pane(self) -> Pane:
        """The pane the keys go to."""
        return self.panes[self.current - 1]

    def say(self, line: str, tone: Tone = "plain") -> None:
        """Say a line for a while; an empty one takes back what was said."""
        self.status.said = (line, tone)
        if self._until is not None:
            self._until.stop()
        self._until = self.set_timer(_SAID_FOR, functools.partial(self.say, "")) if line else None

    def refuse(self, error: ExplorerError) -> None:
        """Say what is wrong and its remedy; beside the status line where it is too long for it."""
        line = str(error)
        self.say(line, "error")
        if self.desk is not None:
            self.desk.log(line)
        if len(line) > self.size.width - 4:
            self.notify(line, severity="error", timeout=_SAID_FOR, markup=False)

    def cannot_keep(self, error: ExplorerError) -> None:
        """Say, from any thread, that the draft is not kept."""
        self.post_message(self.Worked(functools.partial(self.refuse, error)))

    def ring(self, line: str) -> None:
        """Tell the terminal that a run is over, as the settings wish."""
        ring = getattr(self.app, "ring", None)
        if ring is not None:
            ring(line)

    def in_thread(self, work: Callable[[], T], then: Callable[[T | ExplorerError], None]) -> None:
        """Do something that takes time, then go on with its result, or with what a user should know of its failure."""

        def do() -> None:
            try:
                result: T | ExplorerError = work()
            except ExplorerError as error:
                result = error
            self.post_message(self.Worked(functools.partial(then, result)))

        self.run_worker(do, thread=True)

    def hear(self, event: LinkEvent) -> None:
        """Take what the link tells, from any thread."""
        self.post_message(self.Heard(event))

    def show_status(self) -> None:
        """Tell in the bottom line how far the run is, or what is offered."""
        if self.desk is not None:
            state = self.desk.runs.state
            offer = state.offer
            self.status.going = state.going()
            tone: Tone = "error" if offer is not None and offer.lost else "warning"
            self.status.standing = (offer.line(), tone) if offer is not None else ("", "plain")

    def refresh_look(self) -> None:
        """Draw everything again, as after a change of the settings."""
        for widget in self.query("*"):
            widget.refresh(layout=True)
        self._show_hints()

    def leave(self) -> Farewell:
        """Keep what is to be kept; what is said after the screen is gone."""
        if self.desk is None:
            return Farewell()
        path = self.desk.runs.state.path
        return Farewell(path.stem if path is not None else "", self.desk.close())

    def action_pane(self, number: int) -> None:
        """Go to a pane."""
        self._mark(number)
        self.pane.enter()
        self._show_hints()

    def action_next_pane(self, step: int) -> None:
        """Go to the next pane, or the one before, round and round."""
        self.action_pane((self.current - 1 + step) % len(self.panes) + 1)

    def action_zoom(self) -> None:
        """Give the pane in focus the whole screen, or take it back."""
        self.toggle_class("-zoom")

    def action_settings(self) -> None:
        """Edit the settings."""
        edit = getattr(self.app, "edit_settings", None)
        if edit is not None:
            edit()

    @on(events.DescendantFocus)
    def follow_focus(self) -> None:
        """The pane in focus, also by the mouse, is the current one."""
        focused = self.focused
        for pane in self.panes:
            if focused is not None and pane in focused.ancestors and pane.number != self.current:
                self._mark(pane.number)

    @on(PaneLine.Picked)
    def pick_pane(self, event: PaneLine.Picked) -> None:
        """Go to the pane that was clicked."""
        self.action_pane(event.number)

    @on(Loaded)
    def open_desk(self, event: Loaded) -> None:
        """Everything can be done from now on."""
        self.desk = event.desk
        self.desk.open()
        self.show_status()
        if self.focused is None and self.app.screen is self:
            self.pane.enter()

    @on(Heard)
    def take_event(self, event: Heard) -> None:
        """What the link told concerns runs."""
        if self.desk is not None:
            self.desk.runs.hear(event.event)

    @on(Worked)
    def go_on(self, event: Worked) -> None:
        """Go on after a thread."""
        event.then()

    @on(PromptsPane.Changed)
    def take_prompts(self, event: PromptsPane.Changed) -> None:
        """Other prompts were chosen."""
        if self.desk is not None:
            self.desk.edit_prompts(event.prompts)

    @on(PromptsPane.TokensWanted)
    def want_tokens(self, event: PromptsPane.TokensWanted) -> None:
        """Tokens should be counted."""
        if self.desk is not None:
            self.desk.want_tokens(event.texts)

    @on(InterventionPane.Changed)
    def take_edit(self, event: InterventionPane.Changed) -> None:
        """The experiment was edited."""
        if self.desk is not None:
            self.desk.edit(event.data)

    @on(InterventionPane.Typing)
    def take_typing(self, event: InterventionPane.Typing) -> None:
        """Something is being typed."""
        if self.desk is not None:
            self.desk.drafting.typing(event.field, event.text)

    @on(InterventionPane.Loaded)
    def take_experiment(self, event: InterventionPane.Loaded) -> None:
        """Another experiment was chosen."""
        if self.desk is not None:
            self.desk.replace(event.data, event.name, event.base)

    @on(InterventionPane.ModelWanted)
    def want_shape(self, event: InterventionPane.ModelWanted) -> None:
        """A model's shape is wanted."""
        if self.desk is not None:
            self.desk.want_shape(event.model)

    @on(ResultsPane.TurnedTo)
    def keep_view(self) -> None:
        """The spotlight stands elsewhere."""
        if self.desk is not None:
            self.desk.turned()

    @on(ResultsPane.OpenRun)
    def open_run(self, event: ResultsPane.OpenRun) -> None:
        """Show one run."""
        if self.desk is not None:
            from tui.screens.run_view import RunView

            self.app.push_screen(RunView(self.results.state, event.index))

    def _begin(self) -> None:
        self.run_worker(self._load, thread=True)

    def _load(self) -> None:
        from tui.desk.preload import preload

        preload()
        from tui.desk.desk import Desk

        self.post_message(self.Loaded(Desk(self, self._start)))

    def _mark(self, number: int) -> None:
        self.current = number
        for pane in self.panes:
            pane.set_class(pane.number == number, "-current")
        self._left.set_class(number < 3, "-current")
        self._pane_line.current = number

    def _show_hints(self) -> None:
        keymap: dict[str, Any] = getattr(self.app, "own_keys", {})
        chain = [] if self.focused is None else [self.focused, *self.focused.ancestors]
        seen: dict[str, Hint] = {}
        for node in chain[: chain.index(self)] if self in chain else []:
            for one in keys_of(node, keymap):
                if one.binding.show:
                    seen.setdefault(
                        one.binding.id or "", Hint(one.keys.split(", ")[0], one.binding.description.lower())
                    )
        own = [one for one in keys_of(self, keymap) if one.binding.show]
        hints = [Hint(shown_keys(one.keys).split(", ")[0], one.binding.description) for one in own]
        self.status.hints = (*hints[:1], *seen.values(), *hints[1:])
