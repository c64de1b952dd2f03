"""The explorer: prompts, intervention and results, and what passes between them and the desk."""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widget import Widget

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.explorer.commands import ExplorerKeys
from srm_explorer.tui.explorer.startup import ExitSummary, LaunchOptions
from srm_explorer.tui.keys import KeyOf, keys_of
from srm_explorer.tui.widgets.pane import Pane
from srm_explorer.tui.widgets.status import HeaderLine, Hint, PaneLine, StatusLine, Tone

if TYPE_CHECKING:
    from srm_explorer.tui.backend.events import LinkEvent
    from srm_explorer.tui.experiment.pane import InterventionPane
    from srm_explorer.tui.explorer.controller import ExplorerController
    from srm_explorer.tui.prompts.pane import PromptsPane
    from srm_explorer.tui.results.pane import ResultsPane
    from srm_explorer.tui.results.study_tab import StudyTab


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
        from srm_explorer.tui.experiment.pane import InterventionPane
        from srm_explorer.tui.prompts.pane import PromptsPane
        from srm_explorer.tui.results.pane import ResultsPane

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


class ExplorerScreen(ExplorerLayout):
    """The panes wired to what lies behind them.

    Args:
        start: what the program was started with.
    """

    class Furnish(Message):
        """What the panes hold is loaded."""

    @dataclass
    class Loaded(Message):
        """Everything behind the panes is there."""

        desk: ExplorerController

    @dataclass
    class Heard(Message):
        """The link told something."""

        event: LinkEvent

    def __init__(self, start: LaunchOptions | None = None) -> None:
        super().__init__()
        self._start = start or LaunchOptions()
        self.background = Background(self.call_later)

    def on_mount(self) -> None:
        """Show the panes first; what is behind them is loaded when they are seen."""
        self.call_after_refresh(self._begin)

    def refuse(self, error: ExplorerError) -> None:
        """Say what is wrong and its remedy; beside the status line where it is too long for it."""
        line = str(error)
        self.say(line, "error")
        if self.desk is not None:
            self.desk.log(line)
        if self.in_view and len(line) > self.size.width - 4:
            self.notify(line, severity="error", timeout=10, markup=False)

    def cannot_keep(self, error: ExplorerError) -> None:
        """Say, from any thread, that the draft is not kept."""
        self.call_later(self.refuse, error)

    def ring(self, line: str) -> None:
        """Tell the terminal that a run is over, as the settings wish."""
        ring = getattr(self.app, "ring", None)
        if ring is not None:
            ring(line)

    def hear(self, event: LinkEvent) -> None:
        """Take what the link tells, from any thread."""
        self.post_message(self.Heard(event))

    def show_status(self) -> None:
        """Tell in the bottom line how far the run is, or what is offered."""
        if self.desk is not None:
            self.status.going = self.desk.runs.state.going()
            self.status.standing = self.desk.runs.offered()

    def leave(self) -> ExitSummary:
        """Keep what is to be kept; what is said after the screen is gone."""
        if self.desk is None:
            return ExitSummary()
        path = self.desk.runs.state.path
        return ExitSummary(path.stem if path is not None else "", self.desk.close())

    def action_settings(self) -> None:
        """Edit the settings."""
        edit = getattr(self.app, "edit_settings", None)
        if edit is not None:
            edit()

    @on(Furnish)
    async def fill_panes(self) -> None:
        """Show what is in the panes, though there is no experiment yet."""
        await self.furnish()

    @on(Loaded)
    def open_desk(self, event: Loaded) -> None:
        """Everything can be done from now on."""
        self.desk = event.desk
        self.desk.open()
        self.show_status()
        if self.asked is not None:
            self.say("")
            self.asked()

    @on(Heard)
    def take_event(self, event: Heard) -> None:
        """What the link told concerns runs."""
        if self.desk is not None:
            self.desk.runs.hear(event.event)

    # By their names, not by `@on`: the classes are loaded after the first frame.
    def on_prompts_pane_changed(self, event: PromptsPane.Changed) -> None:
        """Other prompts were chosen."""
        if self.desk is not None:
            self.desk.edit_prompts(event.prompts)

    def on_prompts_pane_tokens_wanted(self, event: PromptsPane.TokensWanted) -> None:
        """Tokens should be counted."""
        if self.desk is not None:
            self.desk.sizing.want_tokens(event.texts)

    def on_intervention_pane_changed(self, event: InterventionPane.Changed) -> None:
        """The experiment was edited."""
        if self.desk is not None:
            self.desk.edit(event.data)

    def on_intervention_pane_typing(self, event: InterventionPane.Typing) -> None:
        """Something is being typed."""
        if self.desk is not None:
            self.desk.drafting.typing(event.field, event.text)

    def on_intervention_pane_loaded(self, event: InterventionPane.Loaded) -> None:
        """Another experiment was chosen."""
        if self.desk is not None:
            self.desk.replace(event.data, event.name, event.base)

    def on_intervention_pane_model_wanted(self, event: InterventionPane.ModelWanted) -> None:
        """A model's shape is wanted."""
        if self.desk is not None:
            self.desk.sizing.want_shape(event.model)

    def on_results_pane_view_changed(self) -> None:
        """The spotlight stands elsewhere."""
        if self.desk is not None:
            self.desk.turned()

    def on_results_pane_open_run(self, event: ResultsPane.OpenRun) -> None:
        """Show one run."""
        if self.desk is not None:
            from srm_explorer.tui.results.run_screen import RunView

            self.app.push_screen(RunView(self.results.state, event.index, event.order), self._back_at)

    def on_study_tab_wanted(self, event: StudyTab.Wanted) -> None:
        """Something is to be worked out."""
        if self.desk is not None:
            self.desk.studies.ask(event.tab, event.question)

    def on_study_tab_settings_wanted(self, event: StudyTab.SettingsWanted) -> None:
        """Settings of a study are to be chosen."""
        if self.desk is not None:
            self.desk.studies.choose(event.tab, event.topic, event.settings)

    def on_study_tab_new_plane_wanted(self) -> None:
        """Directions of a plane are to be named."""
        if self.desk is not None:
            self.desk.planes.ask()

    def on_study_tab_plane_wanted(self, event: StudyTab.PlaneWanted) -> None:
        """A row's plane is to be shown, made first where the session has not got it."""
        if self.desk is not None:
            self.desk.planes.add(event.choice)

    def on_study_tab_card_wanted(self, event: StudyTab.CardWanted) -> None:
        """A neuron is to be shown."""
        if self.desk is not None:
            self.desk.studies.open_card(event.layer, event.neuron)

    def _back_at(self, index: int | None) -> None:
        if index is not None:
            self.results.highlight(index)

    def _begin(self) -> None:
        self.background.run(self._load)

    def _load(self) -> None:
        from srm_explorer.tui.explorer.startup import load_panes, preload

        load_panes()
        self.post_message(self.Furnish())
        preload()
        from srm_explorer.tui.explorer.controller import ExplorerController

        self.post_message(self.Loaded(ExplorerController(self, self._start)))
