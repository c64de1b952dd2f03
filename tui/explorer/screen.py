"""The explorer: three panes between a header and a status line; what is behind them is loaded when they are seen."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.dom import DOMNode
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.timer import Timer
from textual.widget import Widget

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.explorer.startup import ExitSummary, LaunchOptions
from srm_explorer.tui.widgets.pane import Pane
from srm_explorer.tui.widgets.status import Facts, FirstHints, Going, HeaderLine, PaneLine, StatusLine, Tone

if TYPE_CHECKING:
    from srm_explorer.tui.experiment.pane import InterventionPane
    from srm_explorer.tui.explorer.controller import ExplorerController
    from srm_explorer.tui.palette import Command
    from srm_explorer.tui.prompts.pane import PromptsPane
    from srm_explorer.tui.results.pane import ResultsPane

# Modules that need more than textual are imported in functions: the first frame is painted before they are loaded.

NARROW = 120
"""Columns below which one pane is shown at a time."""

_SEVERITIES: dict[Tone, Literal["warning", "error"]] = {"warning": "warning", "error": "error"}

_BEFORE_LOADED = ("help", "pane", "next_pane", "settings")
"""What can be done while the rest is loaded."""

_SAID_FOR = 8.0
"""Seconds a line stays that was said."""

_LOOK = 2.0
"""Seconds between two looks at whether the session in view still has its name."""

T = TypeVar("T")


@runtime_checkable
class HasWords(Protocol):
    """What a pane shows may have words of its own."""

    def words(self) -> Sequence[tuple[str, str]]:
        """Words that stand in it, and what they mean."""
        ...


class ExplorerScreen(Screen[None]):
    """Prompts, intervention and results; a controller does what they want once it is loaded.

    Args:
        start: what the program was started with.
        hints: whether a line tells the keys that one begins with.
    """

    class Furnish(Message):
        """What the panes hold is loaded."""

    @dataclass
    class Loaded(Message):
        """Everything behind the panes is there."""

        controller: ExplorerController

    prompts: PromptsPane
    intervention: InterventionPane
    results: ResultsPane
    controller: ExplorerController | None = None
    current = 3

    DEFAULT_CSS = """
    ExplorerScreen {
        layout: vertical;
        #panes { height: 1fr; }
        #left { width: 28%; min-width: 36; max-width: 64; height: 1fr; }
        #pane-1 { height: 1fr; min-height: 8; }
        #pane-2 { height: 2fr; }
    }
    ExplorerScreen.-narrow {
        PaneLine { display: block; }
        #left { width: 1fr; max-width: 100%; }
        Pane, Pane.-entered { border: none; }
    }
    ExplorerScreen.-zoom #left { width: 1fr; max-width: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "run_experiment", "run", id="run.start", tooltip="Run the experiment, or queue it"),
        Binding(
            "c", "cancel", "cancel", id="run.cancel", tooltip="Stop the run after its batch, again now; or a study"
        ),
        Binding("C", "resume", "resume", id="run.resume", tooltip="Go on with an unfinished run"),
        Binding("s", "save_as", "save as", id="session.save", tooltip="Copy the session in view to another name"),
        Binding("o", "sessions", "open", id="session.open", tooltip="List the sessions: open, compare, resume"),
        Binding("Q", "queue", "queue", id="run.queue", tooltip="See the worker's queue, and prune it"),
        Binding("D", "duplicate", "duplicate", id="session.duplicate", tooltip="Edit the session's experiment"),
        Binding("u", "undo", "undo", id="spec.undo", tooltip="Drop a refused text, else take the last edit back"),
        Binding("U", "redo", "redo", id="spec.redo", tooltip="Bring back what u dropped or took back"),
        Binding("z", "zoom", "zoom", id="pane.zoom", tooltip="Give the pane the whole screen, and back"),
        Binding("1", "pane(1)", "Prompts", show=False, id="pane.prompts", tooltip="Go to the prompts"),
        Binding("2", "pane(2)", "Intervention", show=False, id="pane.form", tooltip="Go to the intervention"),
        Binding("3", "pane(3)", "Results", show=False, id="pane.results", tooltip="Go to the results"),
        Binding("tab", "next_pane(1)", "next pane", show=False, id="pane.next", tooltip="Go to the next pane"),
        Binding(
            "shift+tab",
            "next_pane(-1)",
            "previous pane",
            show=False,
            id="pane.previous",
            tooltip="Go to the pane before",
        ),
        Binding("y", "copy", "copy", show=False, id="copy", tooltip="Copy what is in focus to the clipboard"),
        Binding(
            "X",
            "export",
            "export",
            id="chart.export",
            tooltip="Write what is in view: a figure for a paper, a screenshot, text, or its numbers",
        ),
        Binding("comma", "settings", "settings", show=False, id="settings", tooltip="Edit the settings in $EDITOR"),
        Binding(
            "W",
            "restart_worker",
            "restart worker",
            id="worker.restart",
            tooltip="Drain and restart the worker",
        ),
        Binding(
            "question_mark,f1", "help", "help", id="help", tooltip="Keys of the pane in focus, and what the words mean"
        ),
        Binding("q", "app.leave", "quit", id="quit", tooltip="Leave; a run goes on without the screen"),
    ]
    # A focus before the first frame would style everything twice.
    AUTO_FOCUS = ""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (NARROW, "-wide")]  # noqa: RUF012  (declared so by the base class)

    def __init__(self, start: LaunchOptions | None = None, *, hints: bool = False) -> None:
        # Known before the first frame, which would else be styled twice.
        self._narrow = shutil.get_terminal_size((NARROW, 48)).columns < NARROW
        super().__init__(classes="-narrow" if self._narrow else "-wide")
        self._start = start or LaunchOptions()
        self.background = Background(self.call_later)
        self.has_hints = hints
        self.header, self.status = HeaderLine(), StatusLine()
        self.panes = (Pane(1, "Prompts"), Pane(2, "Intervention"), Pane(3, "Results"))
        self._pane_line = PaneLine([pane.title for pane in self.panes])
        self._left = Vertical(*self.panes[:2], id="left")
        self._until: Timer | None = None
        self._early: Callable[[ExplorerController], object] | None = None

    def compose(self) -> ComposeResult:
        """The header, the panes and the status line."""
        yield self.header
        yield self._pane_line
        with Horizontal(id="panes"):
            yield self._left
            yield self.panes[2]
        if self.has_hints:
            yield FirstHints()
        yield self.status

    def on_mount(self) -> None:
        """Show the panes first; what is behind them is loaded when they are seen."""
        self.call_after_refresh(lambda: self.background.run(self._load))

    def _load(self) -> None:
        from srm_explorer.tui.explorer.startup import load_panes, preload

        load_panes()
        self.post_message(self.Furnish())
        preload()
        from srm_explorer.tui.explorer.controller import ExplorerController

        self.post_message(self.Loaded(ExplorerController(self, self._start)))

    @on(Furnish)
    async def furnish(self) -> None:
        """Fill the panes, though there is no experiment yet."""
        from srm_explorer.tui.experiment.pane import InterventionPane
        from srm_explorer.tui.prompts.pane import PromptsPane
        from srm_explorer.tui.results.pane import ResultsPane

        self.prompts, self.intervention, self.results = PromptsPane(), InterventionPane(), ResultsPane()
        self.results.wait("loading, a moment")
        for pane, content in zip(self.panes, (self.prompts, self.intervention, self.results), strict=True):
            await pane.furnish(content)
        if self.focused is None and self.app.screen is self:
            self.pane.enter()

    @on(Loaded)
    def take_controller(self, event: Loaded) -> None:
        """Everything can be done from now on, and what was asked for before is done now."""
        self.controller = event.controller
        if not self.is_attached:
            # The screen was left meanwhile.
            return
        self.controller.open()
        self.set_interval(_LOOK, self.controller.look)
        if self._early is not None:
            self.say("")
            self._early(self.controller)

    def with_controller(self, do: Callable[[ExplorerController], object]) -> None:
        """Do something once everything is loaded; of what is asked for before, the last."""
        if self.controller is not None:
            do(self.controller)
        else:
            self._early = do
            self.say("loading, a moment")

    def on_unmount(self) -> None:
        """However the screen goes, nothing looks on beside it."""
        self.background.close()
        if self.controller is not None:
            self.controller.link.close()

    def leave(self) -> ExitSummary:
        """Keep what is to be kept; what is said after the screen is gone."""
        return self.controller.close() if self.controller is not None else ExitSummary()

    def _forward(self, message: Message) -> None:
        if self.controller is not None:
            self.controller.take_message(message)

    # By their names, not by `@on`: the classes of these messages are loaded after the first frame.
    on_prompts_pane_changed = on_prompts_pane_tokens_wanted = _forward
    on_intervention_pane_changed = on_intervention_pane_typing = _forward
    on_intervention_pane_loaded = on_intervention_pane_model_wanted = _forward
    on_results_pane_view_changed = _forward
    on_study_tab_wanted = on_study_tab_settings_wanted = on_study_tab_card_wanted = _forward
    on_study_tab_new_plane_wanted = on_study_tab_plane_wanted = on_survey_tab_cell_wanted = _forward

    def on_results_pane_open_run(self, event: ResultsPane.OpenRun) -> None:
        """Show one run, and highlight the one that was left."""
        from srm_explorer.tui.results.run_screen import RunView

        def back_at(index: int | None) -> None:
            if index is not None:
                self.results.highlight(index)

        self.app.push_screen(RunView(self.results.state, event.index, event.order), back_at)

    @property
    def pane(self) -> Pane:
        """The pane the keys go to."""
        return self.panes[self.current - 1]

    @property
    def in_view(self) -> bool:
        """Whether no other screen covers this one; a box in front of it does not."""
        stack = reversed(self.app.screen_stack)
        return next((screen for screen in stack if not isinstance(screen, ModalScreen)), self) is self

    def say(self, line: str, tone: Tone = "plain") -> None:
        """Say a line for a while, also on a screen that covers this one; an empty one takes back what was said."""
        self.status.said = (line, tone)
        if line and not self.in_view:
            self.app.notify(line, severity=_SEVERITIES.get(tone, "information"), timeout=_SAID_FOR, markup=False)
        if self._until is not None:
            self._until.stop()
        self._until = self.set_timer(_SAID_FOR, lambda: self.say("")) if line else None

    def refuse(self, error: ExplorerError) -> None:
        """Say what is wrong and its remedy; beside the status line where it is too long for it."""
        line = str(error)
        self.say(line, "error")
        if self.controller is not None:
            self.results.log_line(line)
        if self.in_view and len(line) > self.size.width - 4:
            self.notify(line, severity="error", timeout=10, markup=False)

    def refuse_experiment(self, error: ExplorerError) -> None:
        """Say what is wrong with the experiment and its remedy, and go to the row that it names."""
        self.refuse(error)
        if self.intervention.go_to_error(error):
            self.go_to(self.intervention)
        elif error.where.startswith("prompts."):
            self.go_to(self.prompts)

    def ring(self, line: str) -> None:
        """Tell the terminal that a run is over, as the settings wish."""
        ring = getattr(self.app, "ring", None)
        if ring is not None:
            ring(line)

    def ask(self, screen: Screen[T], then: Callable[[T | None], None]) -> None:
        """Put another screen in front; `then` takes what it is dismissed with."""
        self.app.push_screen(screen, then)

    def show_header(self, facts: Facts) -> None:
        """Tell in the top line what the draft, the session and the worker are."""
        self.header.facts = facts
        self.refresh_bindings()

    def show_run(self, going: Going | None, offer: tuple[str, Tone]) -> None:
        """Tell in the bottom line how far the run is, or what is offered."""
        self.status.going, self.status.standing = going, offer
        self.refresh_bindings()

    def refresh_look(self) -> None:
        """Draw everything again, as after a change of the settings."""
        for widget in self.query("*"):
            widget.refresh(layout=True)
        self.refresh_bindings()

    def go_to(self, widget: Widget, action: str = "") -> None:
        """Go to the pane a widget is in, unless it is the current one, and to a tab on which the action acts."""
        pane = next((pane for pane in self.panes if pane in widget.ancestors), self.pane)
        if pane is not self.pane:
            self.action_pane(pane.number)
        if pane is self.panes[2] and self.controller is not None:
            self.results.go_where(widget, action.partition("(")[0])

    async def palette_commands(self) -> list[Command]:
        """Presets and sessions as commands."""
        if self.controller is None:
            return []
        return await self.background.result(self.controller.palette_commands)

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change something now, and not only say why it cannot."""
        if action == "zoom":
            return not self._narrow
        controller = self.controller
        return controller.offers(action) if controller is not None else action in _BEFORE_LOADED

    def action_run_experiment(self) -> None:
        """Run the experiment of the draft."""
        self.with_controller(lambda controller: controller.runs.run())

    def action_cancel(self) -> None:
        """Stop the run."""
        self.with_controller(lambda controller: controller.cancel())

    def action_resume(self) -> None:
        """Go on with an unfinished run."""
        self.with_controller(lambda controller: controller.runs.resume())

    def action_queue(self) -> None:
        """Show what runs and waits at the worker."""
        self.with_controller(lambda controller: controller.runs.show_queue())

    def action_restart_worker(self) -> None:
        """Have a new worker take the place of the one that runs."""
        self.with_controller(lambda controller: controller.runs.restart_worker())

    def action_save_as(self) -> None:
        """Copy the session in view."""
        self.with_controller(lambda controller: controller.sessions.save_as())

    def action_sessions(self) -> None:
        """Show the sessions."""
        self.with_controller(lambda controller: controller.list_sessions())

    def action_duplicate(self) -> None:
        """Make the experiment of the session in view the draft."""
        self.with_controller(lambda controller: controller.duplicate())

    def action_undo(self) -> None:
        """Take the last edit back."""
        self.with_controller(lambda controller: controller.undo())

    def action_redo(self) -> None:
        """Make the edit again that was taken back."""
        self.with_controller(lambda controller: controller.redo())

    def action_export(self) -> None:
        """Write the chart or table in view to a file."""
        self.with_controller(lambda controller: controller.sessions.export())

    def action_copy(self) -> None:
        """Copy the text that the mouse selected, else what the widget in focus, or the one round it, gives."""
        if selected := self.get_selected_text():
            self.app.copy_to_clipboard(selected)
            return
        for node in [*self._focus_chain(), self.pane.content]:
            copy_text = getattr(node, "copy_text", None)
            if copy_text is not None and (text := copy_text()):
                self.app.copy_to_clipboard(text)
                return
        self.say("there is nothing to copy here")

    def action_settings(self) -> None:
        """Edit the settings."""
        edit = getattr(self.app, "edit_settings", None)
        if edit is not None:
            edit()

    def action_tab(self, name: str) -> None:
        """Go to a tab of the results by its name."""
        self.action_pane(3)
        if self.controller is not None:
            self.results.open_tab(name)

    def action_help(self) -> None:
        """Show help for what is in focus."""
        from srm_explorer.tui.widgets.help import push_help

        pane = self.pane
        is_told = self.controller is not None and self.current == 3
        warnings, notes = (self.results.warnings(), self.results.notes()) if is_told else ((), ())
        words = pane.content.words() if isinstance(pane.content, HasWords) and self.controller is not None else ()
        push_help(self, f"{pane.number} {pane.title}", words=words, warnings=warnings, notes=notes)

    def action_pane(self, number: int) -> None:
        """Go to a pane."""
        self._mark(number)
        self.pane.enter()
        self.refresh_bindings()

    def action_next_pane(self, step: int) -> None:
        """Go to the next pane, or the one before, round and round."""
        self.action_pane((self.current - 1 + step) % len(self.panes) + 1)

    def action_zoom(self) -> None:
        """Give the pane in focus the whole screen, or take it back."""
        self.toggle_class("-zoom")
        self._arrange()

    @on(events.TextSelected)
    def tell_selected(self) -> None:
        """Tell what can be done with the text that the mouse selected."""
        if self.get_selected_text():
            self.say("y copies what is selected, a click forgets it")

    @on(events.Resize)
    def fit(self, event: events.Resize) -> None:
        """Show one pane where there is no room for three."""
        self._narrow = event.size.width < NARROW
        self._arrange()

    @on(events.DescendantFocus)
    def follow_focus(self) -> None:
        """The pane in focus, also by the mouse, is the current one."""
        chain = self._focus_chain()
        for pane in self.panes:
            if pane in chain[1:] and pane.number != self.current:
                self._mark(pane.number)

    @on(PaneLine.Picked)
    def pick_pane(self, event: PaneLine.Picked) -> None:
        """Go to the pane that was clicked."""
        self.action_pane(event.number)

    def _focus_chain(self) -> list[DOMNode]:
        return [] if self.focused is None else [self.focused, *self.focused.ancestors]

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
