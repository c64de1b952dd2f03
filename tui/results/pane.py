"""The results pane: tabs over one session, a spotlight that turns through all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.results.chart_tabs import NO_SESSION, ChartTab, DoseTab, PolarTab, ReadoutLine, ThresholdsTab
from srm_explorer.tui.results.log_tab import LogTab
from srm_explorer.tui.results.runs_tab import RunsTab
from srm_explorer.tui.results.study_tab import StudyTab
from srm_explorer.tui.terminal import textual_patches
from srm_explorer.tui.widgets.chart import ChartView
from srm_explorer.tui.widgets.tab_strip import TabStrip
from srm_explorer.tui.widgets.table import LineTable

if TYPE_CHECKING:
    from srm_explorer.engine.session import Session
    from srm_explorer.tui.backend.subprocesses import StudyAnswer
    from srm_explorer.tui.results.bands import BandKey, BandWatch
    from srm_explorer.tui.results.state import ResultsState, View
    from srm_explorer.tui.results.study_model import StudyPage, StudySubject


TABS = ("Polar", "Thresholds", "Dose", "Runs", "Effects", "Planes", "Neuron", "Log")
STUDY_TABS = ("Effects", "Planes", "Neuron")
# Tabs on which an action changes what is seen.
_TURNING = frozenset({"Polar", "Thresholds", "Runs"})
ACTS_ON = {
    "turn": _TURNING,
    "threshold": frozenset({"Polar", "Thresholds", "Dose", "Runs"}),
    "baseline": frozenset({"Polar", "Thresholds"}),
    "view": frozenset({"Polar"}),
    "grouping": frozenset({"Polar", "Thresholds"}),
    "difference": frozenset({"Thresholds"}),
    "sight": frozenset({"Polar", "Thresholds", "Dose"}),
    "band": frozenset({"Polar", "Thresholds"}),
    "plane": frozenset({"Polar", "Thresholds", "Dose", "Runs", "Planes"}),
}


class ResultsKeys(Widget, can_focus=True):
    """Actions of the results pane; the tabs are in the class built on this one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "turn(-1)", "turn", id="results.turn_left", tooltip="Turn the spotlight back by 1°"),
        Binding("right,l", "turn(1)", "turn", show=False, id="results.turn_right", tooltip="Turn the spotlight by 1°"),
        Binding(
            "shift+left,H", "turn(-10)", show=False, id="results.turn_left_10", tooltip="Turn the spotlight back by 10°"
        ),
        Binding(
            "shift+right,L", "turn(10)", show=False, id="results.turn_right_10", tooltip="Turn the spotlight by 10°"
        ),
        Binding("t", "threshold(1)", "threshold", id="results.threshold", tooltip="Go to the next threshold"),
        Binding(
            "T", "threshold(-1)", show=False, id="results.threshold_back", tooltip="Go back to the threshold before"
        ),
        Binding("v", "view", "view", id="results.view", tooltip="Polar: counts, mean cosine, or every run (compass)"),
        Binding("g", "grouping", "group", id="results.grouping", tooltip="Pool the runs, or group by value or factor"),
        Binding("b", "baseline", "baseline", id="results.baseline", tooltip="Show the baseline, or leave it out"),
        Binding("d", "difference", "difference", id="results.difference", tooltip="Thresholds: subtract the baseline"),
        Binding(
            "a",
            "sight",
            "arithmetic",
            id="results.sight",
            tooltip="Charts: as observed, minus what arithmetic predicts, or without the clamped axis",
        ),
        Binding(
            "B",
            "band",
            "band",
            show=False,
            id="results.band",
            tooltip="Show the band, and what chance draws, of the next group",
        ),
        Binding("p", "plane", "plane", show=False, id="results.plane", tooltip="Go to the session's next plane"),
        Binding("left_square_bracket", "tab(-1)", show=False, id="results.tab_before", tooltip="Go to the tab before"),
        Binding("right_square_bracket", "tab(1)", "tab", id="results.tab_next", tooltip="Go to the next tab"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._state: ResultsState | None = None
        self._current = 0

    @property
    def state(self) -> ResultsState:
        """What is shown; made when it is first asked for, since it needs numpy."""
        if self._state is None:
            from srm_explorer.tui.results.state import ResultsState

            self._state = ResultsState()
        return self._state

    @property
    def tab(self) -> str:
        """Name of the tab in view."""
        return TABS[self._current]

    def changed(self) -> None:
        """Show the state and tell that it changed."""
        raise NotImplementedError

    def pick(self, index: int) -> None:
        """Go to a tab."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave a key to others on tabs where it would change nothing."""
        return self.tab in ACTS_ON.get(action, TABS)

    def action_turn(self, degrees: int) -> None:
        """Turn the spotlight."""
        self.state.turn(degrees)
        self.changed()

    def action_threshold(self, step: int) -> None:
        """Go to another threshold."""
        self.state.next_threshold(step)
        self.changed()

    def action_baseline(self) -> None:
        """Show the baseline, or leave it out."""
        self.state.baseline = not self.state.baseline
        self.changed()

    def action_view(self) -> None:
        """Go to the polar chart's next view."""
        self.state.next_view()
        self.changed()

    def action_grouping(self) -> None:
        """Group the runs in the next way."""
        self.state.next_grouping()
        self.changed()

    def action_difference(self) -> None:
        """Show curves, or what they are beyond the baseline's."""
        if self.state.sight == "minus arithmetic":
            self.state.sight, self.state.difference = "observed", True
        else:
            self.state.difference = not self.state.difference
        self.changed()

    def action_sight(self) -> None:
        """See the session in the next way."""
        self.state.next_sight()
        self.changed()

    def action_band(self) -> None:
        """Put the next group's band in focus."""
        self.state.next_choice()
        self.changed()

    def action_plane(self) -> None:
        """Go to the next plane."""
        self.state.next_plane()
        self.changed()

    def action_tab(self, step: int) -> None:
        """Go to another tab, round and round."""
        self.pick((self._current + step) % len(TABS))


def told(state: ResultsState, tab: str, computing: bool = False) -> str:
    """How a tab shows the session, in few words, and whether its bands are being computed."""
    parts = ["computing bands"] if computing else []
    if tab in ACTS_ON["sight"] and state.sight != "observed":
        parts.append(state.sight)
    if tab == "Polar":
        parts.append(state.view)
    if tab == "Thresholds" and state.difference and state.sight != "minus arithmetic":
        parts.append("difference")
    if tab in ACTS_ON["grouping"]:
        names = ["value" if name == "condition" else name for name in state.by]
        parts.append(f"by {', '.join(names)}" if names else "pooled")
        parts += [] if state.baseline else ["no baseline"]
    planes = len(state.session.planes) if state.session is not None else 0
    if planes > 1 and tab in ACTS_ON["plane"]:
        parts.append(f"plane {state.plane + 1} of {planes}")
    return " · ".join(parts)


class ResultsBands(ResultsKeys):
    """Has bands computed; the charts they are drawn on are in the class built on this one."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._background = Background(self.call_later)
        self._watch: BandWatch | None = None

    def on_unmount(self) -> None:
        """Compute no bands any more."""
        self._background.close()

    def show_bands(self) -> None:
        """Show the state, with bands that were not known before."""
        raise NotImplementedError

    def log_line(self, line: str) -> None:
        """Add a line to the Log tab."""
        raise NotImplementedError

    def want_bands(self, by: tuple[str, ...] | None) -> bool:
        """Have bands of the plane in view computed where they are not known; whether that is under way.

        Args:
            by: how runs are grouped; None where no bands are wanted any more.
        """
        state = self._state
        key: BandKey | None = None
        if state is not None and state.session is not None and state.record() is not None:
            seen = by is not None and state.sight != "axis out"
            key = state.shelf.missing(state.session, state.plane, by) if by is not None and seen else None
        if self._watch is None and key is not None:
            from srm_explorer.tui.backend import subprocesses
            from srm_explorer.tui.results.bands import BandWatch

            self._watch = BandWatch(subprocesses.StudyRunner(self._background), self._take_bands)
        if self._watch is not None:
            self._watch.want(key)
        return key is not None

    def _take_bands(self, key: BandKey, answer: StudyAnswer) -> None:
        """Draw the bands that were computed; a failure is told in the log alone."""
        shelf = self.state.shelf
        if isinstance(answer, ExplorerError):
            shelf.fail(key)
            wrong = str(answer)
        else:
            wrong = shelf.put(key, answer)
        if wrong:
            self.log_line(f"no 95 % bands: {wrong}")
        self.show_bands()


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

    class ViewChanged(Message):
        """The state, or the tab in view, was changed by keys or the mouse."""

    @dataclass
    class OpenRun(Message):
        """A run should be opened: its index among all planned runs, and those of the runs listed with it, in order."""

        index: int
        order: tuple[int, ...] = ()

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        textual_patches.install_left_crop()
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
        from srm_explorer.tui.results.state import ResultsState

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
        from srm_explorer.tui.results.export import write_chart, write_page

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
        self.post_message(self.ViewChanged())

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
