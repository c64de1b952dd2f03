"""What the tabs that show a chart of the session have in common."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from srm_explorer.tui.charts.picture import Picture
from srm_explorer.tui.widgets.chart import CellView, ChartView, Painter

if TYPE_CHECKING:
    from srm_explorer.tui.charts.scene import Scene
    from srm_explorer.tui.charts.subject import Subject
    from srm_explorer.tui.results.state import Readout, ResultsState


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
        from srm_explorer.tui.charts.subject import Subject

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


class PolarTab(ChartTab):
    """Three views of the plane; the spotlight is a ray, on the compass a chord and the points beyond it."""

    def look_of(self, state: ResultsState) -> tuple[Hashable, ...]:
        """Only the counts depend on the threshold: on the compass its chord moves over the picture."""
        return state.view, state.baseline, state.threshold if state.view == "counts" else None

    def painter_of(self, state: ResultsState, subject: Subject) -> Painter:
        """Paints the view that is chosen now."""
        view, threshold = state.view, state.threshold

        def paint(width: int, height: int) -> Scene:
            from srm_explorer.tui.charts.scenes import polar_scene

            return polar_scene(subject, view, threshold, width, height)

        return paint


class DoseTab(ChartTab):
    """Quantities against the value; where no single value varies, it says so."""

    def grouping(self, state: ResultsState) -> tuple[str, ...]:
        """By value, whatever the other charts do."""
        return ("condition",)

    def look_of(self, state: ResultsState) -> tuple[Hashable, ...]:
        """The threshold that runs are counted above."""
        return (state.threshold,)

    def painter_of(self, state: ResultsState, subject: Subject) -> Painter:
        """Paints the panels, with counts above the threshold of now."""
        threshold = state.threshold

        def paint(width: int, height: int) -> Scene:
            from srm_explorer.tui.charts.scenes import dose_scene

            return dose_scene(subject, threshold, width, height)

        return paint


class ThresholdsTab(ChartTab):
    """The spotlight is a vertical cursor; the numbers stand above it."""

    def look_of(self, state: ResultsState) -> tuple[Hashable, ...]:
        """Many groups are shown with one threshold, few with all of them."""
        return state.difference, state.baseline, state.threshold

    def painter_of(self, state: ResultsState, subject: Subject) -> Painter:
        """Paints the curves, or their difference."""
        difference, threshold = state.difference, state.threshold

        def paint(width: int, height: int) -> Scene:
            from srm_explorer.tui.charts.scenes import thresholds_scene

            return thresholds_scene(subject, difference, threshold, width, height)

        return paint


class ReadoutLine(CellView):
    """Counts and means at the spotlight, of the swept runs and of the baseline's, as many as there is room for."""

    DEFAULT_CSS = "ReadoutLine { height: 1; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._readout: Readout | None = None

    def show(self, readout: Readout | None) -> None:
        """Show another readout; nothing without one."""
        self._readout = readout
        self._draw()

    def on_resize(self) -> None:
        """Say what fits the new width."""
        self._draw()

    def _draw(self) -> None:
        width = self.size.width
        if width:
            text = "" if self._readout is None else readout_text(self._readout, width)
            self.put(Picture.from_ansi(text, width, 1))


def readout_text(readout: Readout, width: int) -> str:
    """The readout in the longest form that fits, with SGR codes."""
    from rich.cells import cell_len

    from srm_explorer.engine.figures.numbers import short, three_digits

    angle, above = f"θ {readout.theta}°", f"> {short(readout.threshold)}"
    lit, total, mean = readout.lit, readout.total, three_digits(readout.mean)
    base_lit, base_total, base_mean = readout.baseline_lit, readout.baseline_total, three_digits(readout.baseline_mean)
    counts = f"lit {lit:,} of {total:,}" if total else "no run is swept"
    counts = counts if readout.as_charted else f"observed: {counts}"
    base = f"(baseline {base_lit:,} of {base_total:,})" if base_total else ""
    means = f"mean {mean}" if total else ""
    base_means = f"(baseline {base_mean})" if base_total else ""
    brief = f"lit {lit}/{total}" if total else ""
    brief = brief if readout.as_charted else f"observed {brief}"
    brief_base = f"(base {base_lit}/{base_total})" if base_total else ""
    forms = (
        (f"spotlight {angle}", f" {above}", f"  {counts}", base, f"  {means}", base_means),
        (f"spotlight {angle}", f" {above}", f"  {counts}", base, f"  {means}", ""),
        (angle, above, brief, brief_base, means, ""),
        (angle, above, brief, "", "", ""),
        (angle, above, "", "", "", ""),
    )
    for form in forms:
        plain = " ".join(part for part in form if part.strip())
        if cell_len(plain) <= width:
            head, rest = form[0], " ".join(part for part in form[1:] if part.strip())
            return f"\x1b[1m{head}\x1b[0m {rest}"
    return ""
