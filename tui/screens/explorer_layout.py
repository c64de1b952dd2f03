"""Where the explorer's panes are: side by side, or one at a time where there is less room; and which one keys go to."""

from __future__ import annotations

import functools
import shutil
from typing import TYPE_CHECKING, Any, Literal

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widget import Widget

from tui.screens.bindings import KeyOf, keys_of
from tui.screens.explorer_keys import ExplorerKeys
from tui.widgets.header_line import HeaderLine, PaneLine
from tui.widgets.pane import Pane
from tui.widgets.status_line import Hint, StatusLine, Tone

if TYPE_CHECKING:
    from tui.widgets.intervention_pane import InterventionPane
    from tui.widgets.prompts_pane import PromptsPane
    from tui.widgets.results_pane import ResultsPane

NARROW = 120
"""Columns below which one pane is shown at a time."""

_SEVERITIES: dict[Tone, Literal["warning", "error"]] = {"warning": "warning", "error": "error"}

_MATTER = ("run.start", "results.turn_left", "results.threshold", "intervention.presets", "form.edit", "help", "quit")
"""Names of the keys that are told first where the line is short."""

_SAID_FOR = 8.0
"""Seconds a line stays that was said."""


class ExplorerLayout(ExplorerKeys):
    """Three panes between a header and a status line; what is in them comes when their frames are seen."""

    prompts: PromptsPane
    intervention: InterventionPane
    results: ResultsPane

    DEFAULT_CSS = """
    ExplorerLayout {
        layout: vertical;
        #panes { height: 1fr; }
        #left { width: 28%; min-width: 36; max-width: 64; height: 1fr; }
        #pane-1 { height: 1fr; min-height: 8; }
        #pane-2 { height: 2fr; }
    }
    ExplorerLayout.-narrow {
        PaneLine { display: block; }
        #left { width: 1fr; max-width: 100%; }
        Pane, Pane:focus-within { border: none; }
    }
    ExplorerLayout.-zoom #left { width: 1fr; max-width: 100%; }
    """
    # A focus before the first frame would style everything twice.
    AUTO_FOCUS = ""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (NARROW, "-wide")]  # noqa: RUF012  (declared so by the base class)

    def __init__(self) -> None:
        # Known before the first frame, which would else be styled twice.
        self._narrow = shutil.get_terminal_size((NARROW, 48)).columns < NARROW
        super().__init__(classes="-narrow" if self._narrow else "-wide")
        self.header, self.status = HeaderLine(), StatusLine()
        self.panes = (Pane(1, "Prompts"), Pane(2, "Intervention"), Pane(3, "Results"))
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
        """Keys that help follow the focus."""
        self.bindings_updated_signal.subscribe(self, lambda _: self._show_hints())

    async def furnish(self) -> None:
        """Fill the panes; their modules should be loaded, or this waits for them."""
        from tui.widgets.intervention_pane import InterventionPane
        from tui.widgets.prompts_pane import PromptsPane
        from tui.widgets.results_pane import ResultsPane

        self.prompts, self.intervention, self.results = PromptsPane(), InterventionPane(), ResultsPane()
        for pane, content in zip(self.panes, (self.prompts, self.intervention, self.results), strict=True):
            await pane.furnish(content)
        if self.focused is None and self.app.screen is self:
            self.pane.enter()

    @property
    def pane(self) -> Pane:
        """The pane the keys go to."""
        return self.panes[self.current - 1]

    def say(self, line: str, tone: Tone = "plain") -> None:
        """Say a line for a while, also on a screen that covers this one; an empty one takes back what was said."""
        self.status.said = (line, tone)
        if line and not self.in_view:
            self.app.notify(line, severity=_SEVERITIES.get(tone, "information"), timeout=_SAID_FOR, markup=False)
        if self._until is not None:
            self._until.stop()
        self._until = self.set_timer(_SAID_FOR, functools.partial(self.say, "")) if line else None

    @property
    def in_view(self) -> bool:
        """Whether no other screen covers this one; a box in front of it does not."""
        return next((one for one in reversed(self.app.screen_stack) if not isinstance(one, ModalScreen)), self) is self

    def refresh_look(self) -> None:
        """Draw everything again, as after a change of the settings."""
        for widget in self.query("*"):
            widget.refresh(layout=True)
        self._show_hints()

    def action_pane(self, number: int) -> None:
        """Go to a pane."""
        self._mark(number)
        self.pane.enter()
        self._show_hints()

    def go_to(self, widget: Widget) -> None:
        """Go to the pane a widget is in, unless it is the current one."""
        pane = next((pane for pane in self.panes if pane in widget.ancestors), self.pane)
        if pane is not self.pane:
            self.action_pane(pane.number)

    def action_next_pane(self, step: int) -> None:
        """Go to the next pane, or the one before, round and round."""
        self.action_pane((self.current - 1 + step) % len(self.panes) + 1)

    def action_zoom(self) -> None:
        """Give the pane in focus the whole screen, or take it back."""
        self.toggle_class("-zoom")
        self._arrange()

    @on(events.Resize)
    def fit(self, event: events.Resize) -> None:
        """Show one pane where there is no room for three."""
        self._narrow = event.size.width < NARROW
        self._arrange()

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

    def _mark(self, number: int) -> None:
        if number != self.current:
            self.current = number
            self._pane_line.current = number
            self._arrange()

    def _arrange(self) -> None:
        """Show all panes or the current one; by hand, since a class would have everything styled anew."""
        alone = self._narrow or self.has_class("-zoom")
        for pane in self.panes:
            pane.display = not alone or pane.number == self.current
        self._left.display = not alone or self.current < 3

    def _show_hints(self) -> None:
        keymap: dict[str, Any] = getattr(self.app, "own_keys", {})
        chain = [] if self.focused is None else [self.focused, *self.focused.ancestors]
        seen: dict[str, Hint] = {}
        for node in chain[: chain.index(self)] if self in chain else []:
            for one in keys_of(node, keymap):
                if one.binding.show and one.acts:
                    seen.setdefault(one.binding.id or "", _hint(one))
        own = [_hint(one) for one in keys_of(self, keymap) if one.binding.show]
        self.status.hints = (*own[:2], *seen.values(), *own[2:])


def _hint(one: KeyOf) -> Hint:
    return Hint(one.keys.split(", ")[0], one.binding.description.lower(), one.binding.id in _MATTER)
