"""The results pane: tabs over one session, and a spotlight that turns through all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.results.chart_tab import NO_SESSION, ChartTab, ReadoutLine
from srm_explorer.tui.results.log_tab import LogTab
from srm_explorer.tui.results.runs_tab import RunsTab
from srm_explorer.tui.results.study_tab import StudyTab
from srm_explorer.tui.results.survey_tab import SurveyTab
from srm_explorer.tui.terminal.textual_patches import QuietFocus
from srm_explorer.tui.widgets.chart import ChartView
from srm_explorer.tui.widgets.help import Words
from srm_explorer.tui.widgets.tab_strip import TabStrip
from srm_explorer.tui.widgets.table_render import one_line

if TYPE_CHECKING:
    from srm_explorer.engine.figures.paper import Drawn
    from srm_explorer.engine.session import Session
    from srm_explorer.tui.backend.study_runner import StudyAnswer
    from srm_explorer.tui.charts.subject import View
    from srm_explorer.tui.results.export import ExportKind
    from srm_explorer.tui.results.state import BandKey, BandWatch, ResultsState
    from srm_explorer.tui.results.study_model import StudyPage, StudySubject


STUDY_TABS = ("Effects", "Planes", "Neuron", "Survey")
TABS = ("Polar", "Thresholds", "Dose", "Runs", *STUDY_TABS, "Log")
ACTS_ON = {
    "turn": ("Polar", "Thresholds", "Runs"),
    "threshold": ("Polar", "Thresholds", "Dose", "Runs"),
    "baseline": ("Polar", "Thresholds"),
    "view": ("Polar",),
    "grouping": ("Polar", "Thresholds"),
    "difference": ("Thresholds",),
    "transform": ("Polar", "Thresholds", "Dose"),
    "band": ("Polar", "Thresholds"),
    "details": ("Polar", "Thresholds", "Dose"),
    "plane": ("Polar", "Thresholds", "Dose", "Runs", "Planes"),
    "held_out": ("Polar", "Thresholds", "Dose", "Runs"),
}
"""The tabs on which an action changes what is seen; all of them where it is not listed."""

ROWS_FOR_TABLE = 30
"""Rows of the pane from which the runs share it with the polar chart."""


class ResultsPane(QuietFocus, can_focus=True):
    """Shows a session in tabs: charts, runs, what studies found, and a log."""

    DEFAULT_CSS = """
    ResultsPane {
        layout: vertical;
        & > ChartTab, & > StudyTab, & > LogTab, & > #runs { height: 1fr; }
        & > #lit-runs { display: none; height: 25%; min-height: 5; border-top: solid $panel-lighten-2; }
    }
    """

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
            "transform",
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
        Binding(
            "i",
            "details",
            "details",
            show=False,
            id="results.details",
            tooltip="Charts: the legend as a table, or with every detail: intervals, tests, prompts, what chance is",
        ),
        Binding("p", "plane", "plane", show=False, id="results.plane", tooltip="Go to the session's next plane"),
        Binding(
            "P",
            "held_out",
            show=False,
            id="results.held_out",
            tooltip="Make this plane on half of the units and show the other half; again, all of them",
        ),
        Binding(
            "left_square_bracket,less_than_sign",
            "tab(-1)",
            show=False,
            id="results.tab_before",
            tooltip="Go to the tab before",
        ),
        Binding(
            "right_square_bracket,greater_than_sign",
            "tab(1)",
            "tab",
            id="results.tab_next",
            tooltip="Go to the next tab",
        ),
    ]

    class ViewChanged(Message):
        """The state, or the tab in view, was changed by keys or the mouse."""

    @dataclass
    class OpenRun(Message):
        """A run should be opened: its index among all planned runs, and those of the runs listed with it, in order."""

        index: int
        order: tuple[int, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._state: ResultsState | None = None
        self._background = Background(self.call_later)
        self._bands: BandWatch | None = None
        self._subject: Callable[[], StudySubject] | None = None
        self._strip, self._readout = TabStrip(TABS), ReadoutLine()
        self._charts = (ChartTab("polar"), ChartTab("thresholds"), ChartTab("dose"))
        self._runs, self._log, self._lit_runs = RunsTab(id="runs"), LogTab(), RunsTab(compact=True, id="lit-runs")
        self.study_tabs = tuple((SurveyTab if name == "Survey" else StudyTab)(name) for name in STUDY_TABS)
        self._tabs: tuple[ChartTab | RunsTab | StudyTab | LogTab, ...]
        self._tabs = (*self._charts, self._runs, *self.study_tabs, self._log)
        self._current = 0
        self._waits = ""

    def compose(self) -> ComposeResult:
        yield self._strip
        yield from self._tabs
        yield self._readout
        yield self._lit_runs

    def on_mount(self) -> None:
        for chart in self._charts:
            chart.say(self._waits or NO_SESSION)
        self._go(self._current)

    def on_unmount(self) -> None:
        self._background.close()

    def on_resize(self, event: events.Resize) -> None:
        self._arrange()

    def on_focus(self) -> None:
        target = self._target()
        if target is not self:
            target.focus(scroll_visible=False)

    @property
    def state(self) -> ResultsState:
        """What is shown; made when it is first asked for, since it needs numpy."""
        return self._state or self._new_state()

    @property
    def tab(self) -> str:
        return TABS[self._current]

    def restore(
        self,
        *,
        theta: int = 0,
        threshold: float | None = None,
        view: View | None = None,
        by: tuple[str, ...] = (),
        plane: int = 0,
        tab: str = "",
    ) -> None:
        """Stand where an earlier screen stood; call it before a session is shown.

        A threshold and a view that nobody chose are None: those that show something are taken.
        """
        self._new_state(theta=theta, threshold=threshold, view=view, by=by, plane=plane)
        self._go(TABS.index(tab) if tab in TABS else 0)

    def take_session(self, session: Session | None) -> None:
        """Show another session, or the same one with more runs."""
        self.state.take_session(session)
        self._show()

    def wait(self, line: str) -> None:
        """Say, while there is no session, what is on its way; an empty line says that nothing is, and what helps."""
        if line == self._waits:
            return
        self._waits = line
        for chart in self._charts:
            chart.waits = line
        for tab in (self._runs, self._lit_runs, *self.study_tabs):
            tab.wait(line)
        if self._state is None and self.is_mounted:
            for chart in self._charts:
                chart.say(line or NO_SESSION)
        self._show()

    def study(self, subject: Callable[[], StudySubject]) -> None:
        """Begin to show studies; `subject` tells what they are about whenever they are looked at."""
        self._subject = subject
        self._show()

    def pick(self, index: int) -> None:
        self._go(index)
        self._changed()

    def open_tab(self, name: str, topic: str = "") -> None:
        """Go to a tab by its name, and to a topic of it."""
        self.pick(TABS.index(name))
        if isinstance(self._in_view, StudyTab) and topic:
            self._in_view.open_topic(topic)

    def go_where(self, widget: Widget, action: str) -> None:
        """Go to the tab that a widget is in, or, of the pane's own actions, to the first on which it acts."""
        tabs = [at for at, tab in enumerate(self._tabs) if tab is widget or tab in widget.ancestors]
        if isinstance(widget, StudyTab) and not widget.check_action(action, ()):
            tabs = [
                at for at, tab in enumerate(self._tabs) if isinstance(tab, StudyTab) and tab.check_action(action, ())
            ]
        if widget is self and self.tab not in ACTS_ON.get(action, TABS):
            tabs = [TABS.index(ACTS_ON[action][0])]
        if tabs and self._current not in tabs:
            self.pick(tabs[0])

    def highlight(self, index: int) -> None:
        """Highlight a run, by its index among all planned ones, in the table in view where it is listed."""
        for runs in (self._runs, self._lit_runs):
            if runs.display and runs.is_mounted:
                runs.highlight(index)

    def log_line(self, line: str) -> None:
        self._log.add(line)

    def warnings(self) -> tuple[str, ...]:
        chart = self._chart()
        return () if chart is None or self.state.session is None else chart.warnings()

    def notes(self) -> tuple[str, ...]:
        """Everything that tells how to read the table in view; under it there may be no room for all."""
        page = self._study_page()
        return page.table.notes if page is not None and page.table is not None else ()

    def words(self) -> Words:
        """What the headings of the study in view mean."""
        # Loaded when it is asked for: the first frame has no use for it.
        from srm_explorer.engine.figures.glossary import column_words

        page = self._study_page()
        return () if page is None or page.table is None else column_words(page.table.columns, page.table.name)

    def copy_text(self) -> str:
        text = self._in_view.copy_text()
        return f"{text.rstrip()}\n{self._readout.shown().text()}\n" if self._chart() is not None else text

    def exports(self) -> tuple[str, tuple[ExportKind, ...]]:
        """A name without an ending for what is in view, and the formats to write it in; ExplorerError for none."""
        page, tab = self._study_page(), self._in_view
        name = self.state.session.name if self.state.session is not None else "chart"
        if page is not None:
            figures: tuple[ExportKind, ...] = ("single", "double") if self._has_figure(page) else ()
            return f"{name}-{page.name}", (*figures, "csv", "text")
        if isinstance(tab, StudyTab):
            remedy = "w works out what it shows" if tab.can_ask else "first save a session, or open one"
            raise ExplorerError("this page holds no table yet", remedy=remedy)
        if tab is self._runs:
            raise ExplorerError("X writes charts and tables of studies", remedy="o, then x writes a session's runs")
        chart = self._painted_chart()
        assert chart.scene is not None
        name = f"{name}-{self.state.view if chart.kind == 'polar' else chart.kind}"
        figures = ("single", "double") if chart.scene.figure is not None else ()
        return name, (*figures, "svg", "text", "ansi", "csv")

    def _has_figure(self, page: StudyPage) -> bool:
        tab = self._in_view
        is_charted = isinstance(tab, StudyTab) and tab.topic is not None and tab.topic.charted
        return page.drawing is not None or (is_charted and page.table is not None)

    def figure(self) -> Callable[[], Drawn]:
        """What makes the figure of the chart or study in view; called in a thread.

        Raises:
            ExplorerError: nothing in view has one.
        """
        page, tab, session = self._study_page(), self._in_view, self.state.session
        drawing = None if page is None else page.drawing
        if drawing is not None:
            return lambda: drawing
        if page is not None and isinstance(tab, StudyTab) and session is not None and self._has_figure(page):
            tables = tab.tables()

            def studied() -> Drawn:
                # The analyses, which the first frame does without.
                from srm_explorer.engine.analyses import study_figure

                return study_figure(session, tables)

            return studied
        scene = self._painted_chart().scene
        shown = None if scene is None else scene.figure
        if shown is None:
            raise ExplorerError("this page has no chart", remedy="choose another, or write its table")
        return lambda: shown

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

        page = self._study_page()
        if page is not None:
            return write_page(kind, path, page, self.copy_text())
        chart = self._painted_chart()
        assert chart.scene is not None
        readout = self._readout.shown().text() if self._readout.display else ""
        return write_chart(kind, path, chart.scene, chart.shown(), readout, self.state.theta, self.state.threshold)

    @property
    def can_export(self) -> bool:
        """Whether what is in view can be written to a file."""
        try:
            self.exports()
        except ExplorerError:
            return False
        return True

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.tab in ACTS_ON.get(action, TABS)

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change what is in view."""
        if action == "tab":
            return True
        return self._state is not None and self._state.offers(action)

    def action_turn(self, degrees: int) -> None:
        self.state.turn(degrees)
        self._changed()

    def action_threshold(self, step: int) -> None:
        self.state.next_threshold(step)
        self._changed()

    def action_baseline(self) -> None:
        self.state.baseline = not self.state.baseline
        self._changed()

    def action_view(self) -> None:
        self.state.next_view()
        self._changed()

    def action_grouping(self) -> None:
        self.state.next_grouping()
        self._changed()

    def action_difference(self) -> None:
        if self.state.transform == "minus arithmetic":
            self.state.transform, self.state.difference = "observed", True
        else:
            self.state.difference = not self.state.difference
        self._changed()

    def action_transform(self) -> None:
        self.state.next_transform()
        self._changed()

    def action_band(self) -> None:
        self.state.next_choice()
        self._changed()

    def action_details(self) -> None:
        self.state.details = not self.state.details
        self._changed()

    def action_plane(self) -> None:
        self.state.next_plane()
        self._changed()

    def action_held_out(self) -> None:
        # Not imported with this module: the panes are shown before numpy is loaded.
        from srm_explorer.engine.figures import PlaneChoice

        record = self.state.record()
        if record is not None:
            seed = 0 if record.held_out is None else None
            self.post_message(StudyTab.PlaneWanted(PlaneChoice(record.site, record.a, record.b, seed)))

    def action_tab(self, step: int) -> None:
        self.pick((self._current + step) % len(TABS))

    @on(TabStrip.Picked)
    def pick_tab(self, event: TabStrip.Picked) -> None:
        event.stop()
        self.pick(event.index)

    @on(ChartView.Wheeled)
    def step_threshold(self, event: ChartView.Wheeled) -> None:
        event.stop()
        self.action_threshold(-event.step)

    @on(ChartView.Pointed)
    def point_at(self, event: ChartView.Pointed) -> None:
        event.stop()
        self.action_turn(event.theta - self.state.theta)

    @on(ChartView.Painted)
    def keep_painted(self, event: ChartView.Painted) -> None:
        event.stop()

    @on(StudyTab.Turned)
    def show_page_title(self, event: StudyTab.Turned) -> None:
        event.stop()
        self._show()

    @on(RunsTab.RunWanted)
    @on(StudyTab.RunWanted)
    def open_run(self, event: RunsTab.RunWanted | StudyTab.RunWanted) -> None:
        event.stop()
        self.post_message(self.OpenRun(event.index, event.order))

    @property
    def _in_view(self) -> ChartTab | RunsTab | StudyTab | LogTab:
        return self._tabs[self._current]

    def _chart(self) -> ChartTab | None:
        return self._in_view if isinstance(self._in_view, ChartTab) else None

    def _painted_chart(self) -> ChartTab:
        chart = self._chart()
        if chart is None or chart.scene is None or self.state.session is None or not chart.settled():
            raise ExplorerError("no chart is in view", remedy="go to Polar, Thresholds or Dose and open a session")
        return chart

    def _study_page(self) -> StudyPage | None:
        page = self._in_view.page if isinstance(self._in_view, StudyTab) else None
        return None if page is None or (page.table is None and page.drawing is None) else page

    def _has_runs(self) -> bool:
        return self._state is not None and self._state.record() is not None

    def _new_state(self, **standing: Any) -> ResultsState:
        # Not imported with this module: the panes are shown before numpy is loaded.
        from srm_explorer.tui.results.state import ResultsState

        self._state = ResultsState(**standing)
        return self._state

    def _go(self, index: int) -> None:
        self._current = index
        for at, tab in enumerate(self._tabs):
            tab.display = at == index
        self._arrange()
        self.refresh_bindings()
        self._show()

    def _arrange(self) -> None:
        """Give what is in view its share, and the keys to it where they were in the pane."""
        focused = self.screen.focused
        inside = focused is not None and (focused is self or self in focused.ancestors)
        tall = self.size.height >= ROWS_FOR_TABLE
        before = (self._lit_runs.display, self._readout.display)
        self._lit_runs.display = tall and self.tab == "Polar" and self._has_runs()
        self._readout.display = self.tab in ACTS_ON["turn"] and self._has_runs()
        if before != (self._lit_runs.display, self._readout.display):
            # Not every widget that comes into view is told so: one that was to be painted before may not be.
            self.call_after_refresh(self._show)
        target = self._target()
        # A part of the tab in view may have the keys already, as the line in which a filter is typed.
        held = focused is not None and focused is not self and self._in_view in focused.ancestors_with_self
        if inside and focused is not target and not held:
            target.focus(scroll_visible=False)

    def _target(self) -> Widget:
        tab = self._in_view
        if isinstance(tab, LogTab):
            return tab
        if isinstance(tab, StudyTab):
            return tab.target
        runs = tab if isinstance(tab, RunsTab) else self._lit_runs
        return runs.table if runs.display and runs.is_mounted else self

    def _changed(self) -> None:
        self._show()
        self.post_message(self.ViewChanged())

    def _show(self) -> None:
        """Show the state in what is in view; the rest follows when it comes into view."""
        if not self.is_mounted:
            return
        self._arrange()
        tab, state = self._in_view, self._state
        if isinstance(tab, StudyTab):
            if self._subject is not None:
                tab.show(self._subject())
            self._strip.show(self._current, *tab.summary())
            return
        computing = self._compute_bands()
        if state is None:
            self._strip.show(self._current, "")
            return
        parts = tab_summary(state, self.tab, computing) if state.record() is not None else []
        # What says most is cut rather than left out.
        forms = [" · ".join(parts[:count]) for count in range(len(parts), 0, -1)] or [""]
        self._strip.show(self._current, *forms)
        if self._readout.display:
            self._readout.show(state.readout())
        for shown in (tab, self._lit_runs):
            if shown.display and isinstance(shown, ChartTab | RunsTab):
                shown.show(state)

    def _compute_bands(self) -> bool:
        """Have bands of the chart in view computed where they are not known; whether that is under way."""
        chart, state = self._chart(), self._state
        key = state.missing_bands(chart.grouping(state)) if chart is not None and state is not None else None
        if self._bands is None and key is not None:
            from srm_explorer.tui.backend.study_runner import StudyRunner
            from srm_explorer.tui.results.state import BandWatch

            self._bands = BandWatch(StudyRunner(self._background), self._take_bands)
        if self._bands is not None:
            self._bands.want(key)
        return key is not None

    def _take_bands(self, key: BandKey, answer: StudyAnswer) -> None:
        """Draw the bands that were computed; a failure is told in the log alone."""
        bands = self.state.bands
        if isinstance(answer, ExplorerError):
            bands.fail(key)
            problem = str(answer)
        else:
            problem = bands.put(key, answer)
        if problem:
            self.log_line(f"no 95 % bands: {problem}")
        self._show()


def tab_summary(state: ResultsState, tab: str, computing: bool = False) -> list[str]:
    """How a tab shows the session, in few words, and whether its bands are being computed; the most telling first."""
    parts = ["computing bands"] if computing else []
    if tab in ACTS_ON["transform"] and state.transform != "observed":
        parts.append(state.transform)
    if tab in ACTS_ON["grouping"]:
        names = ["value" if name == "condition" else one_line(name) for name in state.by]
        parts.append(f"by {', '.join(names)}" if names else "pooled")
    if tab == "Polar":
        parts.append(state.view)
    if tab == "Thresholds" and state.difference and state.transform != "minus arithmetic":
        parts.append("difference")
    if tab in ACTS_ON["grouping"] and not state.baseline:
        parts.append("no baseline")
    planes = len(state.session.planes) if state.session is not None else 0
    if planes > 1 and tab in ACTS_ON["plane"]:
        parts.append(f"plane {state.plane + 1} of {planes}")
    return parts
