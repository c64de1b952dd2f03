"""The explorer: prompts, intervention and results, and what passes between them and the desk."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from textual import on
from textual.message import Message

from engine.errors import ExplorerError
from tui.desk.start import Farewell, Start
from tui.screens.explorer_layout import ExplorerLayout

if TYPE_CHECKING:
    from tui.desk.desk import Desk
    from tui.link.events import LinkEvent
    from tui.widgets.intervention_pane import InterventionPane
    from tui.widgets.prompts_pane import PromptsPane
    from tui.widgets.results_pane import ResultsPane
    from tui.widgets.study_tab import StudyTab

T = TypeVar("T")


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
            self.status.going = self.desk.runs.state.going()
            self.status.standing = self.desk.runs.offered()

    def leave(self) -> Farewell:
        """Keep what is to be kept; what is said after the screen is gone."""
        if self.desk is None:
            return Farewell()
        path = self.desk.runs.state.path
        return Farewell(path.stem if path is not None else "", self.desk.close())

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

    @on(Worked)
    def go_on(self, event: Worked) -> None:
        """Go on after a thread."""
        event.then()

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

    def on_results_pane_turned_to(self) -> None:
        """The spotlight stands elsewhere."""
        if self.desk is not None:
            self.desk.turned()

    def on_results_pane_open_run(self, event: ResultsPane.OpenRun) -> None:
        """Show one run."""
        if self.desk is not None:
            from tui.screens.run_view import RunView

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
        self.run_worker(self._load, thread=True)

    def _load(self) -> None:
        from tui.desk.preload import load_panes, preload

        load_panes()
        self.post_message(self.Furnish())
        preload()
        from tui.desk.desk import Desk

        self.post_message(self.Loaded(Desk(self, self._start)))
