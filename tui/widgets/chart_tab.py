"""What the tabs that show a chart of the session have in common."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from tui.widgets.chart_view import ChartView, Painter

if TYPE_CHECKING:
    from tui.paint.subject import Subject
    from tui.state.results import ResultsState

NO_SESSION = "No runs to show yet\n\nr runs the experiment, o opens a saved session\nruns are drawn as they come"
NO_RUN = "No run is finished yet\n\nthe chart is drawn as they come; r runs the experiment"
NO_PLANE = "This session has no plane to draw\n\nname one under `plane` in the Intervention pane, then r"


class ChartTab(ChartView):
    """A chart of the session in view, under the spotlight."""

    def show(self, state: ResultsState) -> None:
        """Show what the state holds now; painted only where that looks different, and only while it can be seen."""
        session, record, by = state.session, state.record(), self.grouping(state)
        if session is None or record is None:
            planes = session is None or session.planes
            self.say(NO_SESSION if session is None else NO_RUN if planes else NO_PLANE)
            return
        from tui.paint.subject import Subject

        bands = state.shelf.bands(session, state.plane, by)
        subject = Subject(
            session,
            record,
            by,
            state.baseline,
            lambda: state.groups_of(session, record, by),
            state.sight,
            state.choice,
            bands,
        )
        self.point(state.theta, state.threshold)
        key = (state.version, state.sight, state.choice, bands is not None, *self.look_of(state))
        self.request(key, self.painter_of(state, subject))

    def grouping(self, state: ResultsState) -> tuple[str, ...]:
        """How the runs are grouped on this chart."""
        return state.by

    def look_of(self, state: ResultsState) -> tuple[Hashable, ...]:
        """What else than session, plane and grouping the static part of the chart depends on."""
        raise NotImplementedError

    def painter_of(self, state: ResultsState, subject: Subject) -> Painter:
        """Paints the subject as the state wants it now; what is painted may not ask the state again."""
        raise NotImplementedError

    def copy_text(self) -> str:
        """The chart as plain text."""
        return self.shown().text()

    def warnings(self) -> tuple[str, ...]:
        """Everything the reader of the chart should know, the gravest first."""
        return self.scene.warnings if self.scene is not None else ()
