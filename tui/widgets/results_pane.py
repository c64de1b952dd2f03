"""The results pane: tabs over one session, a spotlight that turns through all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from textual import events, on
from textual.app import ComposeResult
from textual.message import Message
from textual.widget import Widget

from engine.errors import ExplorerError
from tui.paint import left_crop
from tui.widgets.chart_tab import NO_SESSION, ChartTab
from tui.widgets.chart_view import ChartView
from tui.widgets.dose_tab import DoseTab
from tui.widgets.log_tab import LogTab
from tui.widgets.polar_tab import PolarTab
from tui.widgets.readout_line import ReadoutLine
from tui.widgets.results_bands import ResultsBands
from tui.widgets.results_keys import ACTS_ON, STUDY_TABS, TABS, told
from tui.widgets.runs_tab import RunsTab
from tui.widgets.study_tab import StudyTab
from tui.widgets.tab_strip import TabStrip
from tui.widgets.table import LineTable
from tui.widgets.thresholds_tab import ThresholdsTab

if TYPE_CHECKING:
    from engine.session import Session
    from tui.state.results import View
    from tui.state.study_book import StudyPage
    from tui.state.study_topics import StudySubject

ExportKind = Literal["svg", "text", "ansi", "csv"]

ROWS_FOR_TABLE = 30
"""Rows of the pane from which the runs share it with the polar chart."""


class ResultsPane(ResultsBands):
    """Shows a session in tabs: charts, runs, what studies found, and a log."""

    DEFAULT_CSS = """
    ResultsPane {
        layout: vertical;
        & > ChartTab, & > StudyTab, & > LogTab, & > #runs { height: 1fr; }
        & > #lit-runs { display: none; height: 25%; min-height: 5; border-top: solid $panel-lighten-2; }
    }
    """

    class TurnedTo(Message):
        """The state, or the tab in view, was changed by keys or the mouse."""

    @dataclass
    class OpenRun(Message):
        """A run should be opened: its index among all planned runs, and those of the runs listed with it, in order."""

        index: int
        order: tuple[int, ...] = ()

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        left_crop.install()
        self._strip, self._readout = TabStrip(TABS), ReadoutLine()
        self._polar, self._thresholds, self._dose = PolarTab(), ThresholdsTab(), DoseTab()
        self._runs, self._log, self._lit_runs = RunsTab(id="runs"), LogTab(), RunsTab(compact=True, id="lit-runs")
        self.study_tabs = tuple(StudyTab(name) for name in STUDY_TABS)
        self._tabs: tuple[Widget, ...] = (
            *(self._polar, self._thresholds, self._dose, self._runs),
            *self.study_tabs,
            self._log,
        )
        self._ask_subject: Callable[[], StudySubject] | None = None

    def restore(
        self,
        *,
        theta: int = 0,
        threshold: float | None = None,
        view: View = "counts",
        by: tuple[str, ...] = (),
        plane: int = 0,
        tab: str = "",
    ) -> None:
        """Stand where an earlier screen stood; call it before a session is shown."""
        from tui.state.results import ResultsState

        self._state = ResultsState(theta, threshold, view, by, plane)
        self._go(TABS.index(tab) if tab in TABS else 0)

    def compose(self) -> ComposeResult:
        """The strip of tabs, the tabs, the readout, and the runs that share the pane with the polar chart."""
        yield self._strip
        yield from self._tabs
        yield self._readout
        yield self._lit_runs

    def on_mount(self) -> None:
        """Show the first tab, which teaches how to begin."""
        for chart in (self._polar, self._thresholds, self._dose):
            chart.say(NO_SESSION)
        self._go(self._current)

    def on_resize(self, event: events.Resize) -> None:
        """Give the runs a share where there is room."""
        self._arrange()

    def on_focus(self) -> None:
        """Hand the keys to what is in view."""
        target = self._target()
        if target is not self:
            target.focus(scroll_visible=False)

    def take_session(self, session: Session | None) -> None:
        """Show another session, or the same one with more runs."""
        self.state.take_session(session)
        self._show()

    def study(self, subject: Callable[[], StudySubject]) -> None:
        """Begin to show studies; `subject` tells what they are about whenever they are looked at."""
        self._ask_subject = subject
        self._show()

    def open_tab(self, name: str, topic: str = "") -> None:
        """Go to a tab by its name, and to a topic of it."""
        self.pick(TABS.index(name))
        tab = self._tabs[self._current]
        if isinstance(tab, StudyTab) and topic:
            tab.look(topic)

    def highlight(self, index: int) -> None:
        """Highlight a run, by its index among all planned ones, in the table in view where it is listed."""
        for runs in (self._runs, self._lit_runs):
            if runs.display and runs.is_mounted:
                runs.highlight(index)

    def log_line(self, line: str) -> None:
        """Add a line to the Log tab."""
        self._log.add(line)

    def warnings(self) -> tuple[str, ...]:
        """Everything the reader of the chart in view should know, the gravest first."""
        chart = self._chart()
        return () if chart is None or self.state.session is None else chart.warnings()

    def notes(self) -> tuple[str, ...]:
        """Everything that tells how to read the table in view; under it there may be no room for all."""
        page = self._study_page()
        return page.table.notes if page is not None and page.table is not None else ()

    def copy_text(self) -> str:
        """What the tab in view gives to copy."""
        tab = self._tabs[self._current]
        assert isinstance(tab, ChartTab | RunsTab | StudyTab | LogTab)
        text = tab.copy_text()
        return f"{text.rstrip()}\n{self._readout.shown().text()}\n" if isinstance(tab, ChartTab) else text

    def exports(self) -> tuple[str, tuple[ExportKind, ...]]:
        """What can be written of what is in view: a name for its file, without an ending, and the formats.

        Raises:
            ExplorerError: nothing can be.
        """
        chart, page = self._chart(), self._study_page()
        name = self.state.session.name if self.state.session is not None else "chart"
        if page is not None and page.table is not None:
            return f"{name}-{page.table.name}", ("csv", "text")
        if page is not None and page.histogram is not None:
            return f"{name}-histogram", ("csv", "text")
        tab = self._tabs[self._current]
        if isinstance(tab, StudyTab):
            remedy = "w works out what it shows" if tab.can_act("work") else "first save a session, or open one"
            raise ExplorerError("this page holds no table yet", remedy=remedy)
        if self.tab == "Runs":
            raise ExplorerError("X writes charts and tables of studies", remedy="o, then x writes a session's runs")
        if chart is None or chart.scene is None or self.state.session is None or not chart.settled():
            raise ExplorerError("no chart is in view", remedy="go to Polar, Thresholds or Dose and open a session")
        return name, ("svg", "text", "ansi", "csv")

    def export(self, kind: ExportKind, path: Path) -> Path:
        """Write what is in view as it is on the screen, the numbers behind it for "csv"; never over another file.

        Args:
            kind: what to write.
            path: the file; where it is there already, the next free name is taken.

        Returns:
            The file that was written.

        Raises:
            ExplorerError: no chart is in view, or the file cannot be written.
        """
        from tui.state.export import write_chart, write_page

        chart, state, page = self._chart(), self.state, self._study_page()
        if page is not None:
            return write_page(kind, path, page, self.copy_text())
        if state.session is None or chart is None or chart.scene is None or not chart.settled():
            raise ExplorerError("no chart is in view", remedy="go to Polar, Thresholds or Dose and open a session")
        readout = self._readout.shown().text() if self._readout.display else ""
        return write_chart(kind, path, chart.scene, chart.shown(), readout, state.theta, state.threshold)

    @on(TabStrip.Picked)
    def pick_tab(self, event: TabStrip.Picked) -> None:
        """Go to the tab that was clicked."""
        event.stop()
        self.pick(event.index)

    @on(ChartView.Pointed)
    def point_at(self, event: ChartView.Pointed) -> None:
        """Point the spotlight where the chart was clicked."""
        event.stop()
        self.state.turn(event.theta - self.state.theta)
        self.changed()

    @on(StudyTab.Turned)
    def tell_turned(self, event: StudyTab.Turned) -> None:
        """Tell above the page which it is."""
        event.stop()
        self._show()

    @on(StudyTab.RunWanted)
    def open_row(self, event: StudyTab.RunWanted) -> None:
        """Open the run a row tells of."""
        event.stop()
        self.post_message(self.OpenRun(event.index, event.order))

    @on(ChartView.Painted)
    def tell_painted(self, event: ChartView.Painted) -> None:
        """Keep to the pane what concerns it alone."""
        event.stop()

    def show_bands(self) -> None:
        """Show the state, with bands that were not known before."""
        self._show()

    def _go(self, index: int) -> None:
        self._current = index
        for at, tab in enumerate(self._tabs):
            tab.display = at == index
        self._arrange()
        self.refresh_bindings()
        self._show()

    def _arrange(self) -> None:
        """Give what is in view its place, and the keys to it where they were in the pane."""
        focused = self.screen.focused
        inside = focused is not None and (focused is self or self in focused.ancestors)
        tall = self.size.height >= ROWS_FOR_TABLE
        before = (self._lit_runs.display, self._readout.display)
        self._lit_runs.display = tall and self.tab == "Polar" and self._has_runs()
        self._readout.display = self.tab in ACTS_ON["turn"] and self._has_runs()
        if before != (self._lit_runs.display, self._readout.display):
            # Not every widget that comes into view is told so: one that was to be painted before may not be.
            self.call_after_refresh(self._show)
        if inside and focused is not self._target() and not self._target_holds(focused):
            self._target().focus(scroll_visible=False)

    def _target_holds(self, focused: Widget | None) -> bool:
        """Whether the keys go to a part of the tab in view already, as the line in which a filter is typed."""
        tab = self._tabs[self._current]
        return focused is not None and focused is not self and tab in focused.ancestors_with_self

    def _has_runs(self) -> bool:
        return self._state is not None and self._state.record() is not None

    def _target(self) -> Widget:
        """What takes the keys of the tab in view."""
        if self.tab == "Log":
            return self._log
        tab = self._tabs[self._current]
        if isinstance(tab, StudyTab):
            return tab.target
        runs = self._runs if self.tab == "Runs" else self._lit_runs
        return runs.query_one(LineTable) if runs.display and runs.is_mounted else self

    def _study_page(self) -> StudyPage | None:
        tab = self._tabs[self._current]
        page = tab.shown if isinstance(tab, StudyTab) else None
        return None if page is None or (page.table is None and page.histogram is None) else page

    def _chart(self) -> ChartTab | None:
        tab = self._tabs[self._current]
        return tab if isinstance(tab, ChartTab) else None

    def changed(self) -> None:
        """Show the state and tell that it changed."""
        self._show()
        self.post_message(self.TurnedTo())

    def pick(self, index: int) -> None:
        """Go to a tab; the keys go with it where they were in the pane."""
        self._go(index)
        self.changed()

    def _show(self) -> None:
        """Show the state in what is in view; the rest follows when it comes into view."""
        if not self.is_mounted:
            return
        self._arrange()
        tab = self._tabs[self._current]
        if isinstance(tab, StudyTab):
            if self._ask_subject is not None:
                tab.show(self._ask_subject())
            self._strip.show(self._current, tab.told())
            return
        chart, state = self._chart(), self._state
        computing = self.want_bands(None if chart is None or state is None else chart.grouping(state))
        self._strip.show(self._current, told(self.state, self.tab, computing) if self._has_runs() else "")
        if self._state is None:
            return
        if self._readout.display:
            self._readout.show(self._state.readout())
        for tab in (self._tabs[self._current], self._lit_runs):
            if tab.display and isinstance(tab, ChartTab | RunsTab):
                tab.show(self._state)
