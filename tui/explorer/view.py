"""What controllers need of the explorer's screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from textual.screen import Screen
    from textual.widget import Widget

    from srm_explorer.engine.errors import ExplorerError
    from srm_explorer.tui.backend.background import Background
    from srm_explorer.tui.experiment.pane import InterventionPane
    from srm_explorer.tui.prompts.pane import PromptsPane
    from srm_explorer.tui.results.pane import ResultsPane
    from srm_explorer.tui.widgets.status import Facts, Going, Tone

T = TypeVar("T")


class ExplorerView(Protocol):
    """Three panes between a header and a status line."""

    @property
    def prompts(self) -> PromptsPane:
        """The pane of the prompts."""
        ...

    @property
    def intervention(self) -> InterventionPane:
        """The pane of everything else of the experiment."""
        ...

    @property
    def results(self) -> ResultsPane:
        """The pane of the session."""
        ...

    @property
    def background(self) -> Background:
        """Does what takes time, and brings the results to the screen's thread."""
        ...

    @property
    def in_view(self) -> bool:
        """Whether no other screen covers the panes."""
        ...

    def say(self, line: str, tone: Tone = "plain") -> None:
        """Say a line for a while."""
        ...

    def refuse(self, error: ExplorerError) -> None:
        """Say what is wrong and its remedy, and log it."""
        ...

    def refuse_experiment(self, error: ExplorerError) -> None:
        """Say what is wrong with the experiment and its remedy, and go to the row that it names."""
        ...

    def ring(self, line: str) -> None:
        """Tell the terminal that a run is over, as the settings wish."""
        ...

    def go_to(self, widget: Widget) -> None:
        """Go to the pane that a widget is in."""
        ...

    def ask(self, screen: Screen[T], then: Callable[[T | None], None]) -> None:
        """Put another screen in front; `then` takes what it is dismissed with."""
        ...

    def show_header(self, facts: Facts) -> None:
        """Tell in the top line what the draft, the session and the worker are."""
        ...

    def show_run(self, going: Going | None, offer: tuple[str, Tone]) -> None:
        """Tell in the bottom line how far the run is, or what is offered."""
        ...

    def call_later(self, callback: Callable[..., Any], *args: Any) -> bool:
        """Have a function called in the screen's thread; from any thread."""
        ...
