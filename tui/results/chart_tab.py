"""The tabs that show a chart of the session in view, and the line that counts what the spotlight lights."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING, Literal

from rich.cells import cell_len

from srm_explorer.engine.figures import short, three_digits
from srm_explorer.tui.charts.palette import BOLD
from srm_explorer.tui.charts.picture import Cell, Picture, cells_of
from srm_explorer.tui.widgets.chart import CellView, ChartView, Painter

if TYPE_CHECKING:
    from srm_explorer.tui.results.state import Readout, ResultsState


ChartKind = Literal["polar", "thresholds", "dose"]

NO_SESSION = "No runs to show yet\n\nr runs the experiment, o opens a saved session\nruns are drawn as they come"
NO_RUN = "No run is finished yet\n\nthe chart is drawn as they come; r runs the experiment"
NO_PLANE = "This session has no plane to draw\n\nn makes one, or name it under `plane` in the Intervention pane, then r"
NO_VECTOR = "This session holds texts alone, no vectors to draw\n\nthe tabs Runs and Effects tell of its texts"


class ChartTab(ChartView):
    """A chart of the session in view, under the spotlight.

    Args:
        kind: "polar", one of three views of the plane, the spotlight a ray, on the compass a chord and the points
            beyond it; "thresholds", curves over the angle, the spotlight a vertical cursor; "dose", quantities against
            the value.
    """

    def __init__(self, kind: ChartKind) -> None:
        super().__init__()
        self.kind: ChartKind = kind
        self.waits = ""
        """What is on its way while there is no session; empty where nothing is."""

    def grouping(self, state: ResultsState) -> tuple[str, ...]:
        """How the runs are grouped on this chart: over the value there is no other way than by value."""
        return ("condition",) if self.kind == "dose" else state.by

    def show(self, state: ResultsState) -> None:
        """Show what the state holds now; painted only where that looks different, and only while it can be seen."""
        session, record, by = state.session, state.record(), self.grouping(state)
        if session is None or record is None:
            if session is None:
                self.say(self.waits or NO_SESSION)
            elif session.planes:
                self.say(NO_RUN)
            else:
                self.say(NO_PLANE if session.spec.capture.sites else NO_VECTOR)
            return
        # Not imported with this module: the panes are shown before numpy and plotext are loaded.
        from srm_explorer.engine.analyses import counted_bands
        from srm_explorer.tui.charts.scenes import Subject, dose_scene, polar_scene, thresholds_scene

        bands = state.bands.get(session, state.plane, by)
        groups = partial(state.groups_of, session, record, by)
        # What is painted is looked at: its tests count from then on.
        subject = Subject(
            session,
            record,
            by,
            state.baseline,
            groups,
            state.transform,
            state.choice,
            bands,
            details=state.details,
            count=counted_bands,
        )
        threshold = state.threshold
        # Painting happens in a thread, so that painters hold what the state is now and never the state.
        painter: Painter
        depends: tuple[Hashable, ...]
        match self.kind:
            case "polar":
                # Only the counts depend on the threshold: on the compass its chord moves over the picture.
                depends = (state.view, state.baseline, threshold if state.view == "counts" else None)
                painter = partial(polar_scene, subject, state.view, threshold)
            case "thresholds":
                # Many groups are shown with one threshold, few with all of them.
                depends = (state.difference, state.baseline, threshold)
                painter = partial(thresholds_scene, subject, state.difference, threshold)
            case "dose":
                depends = (threshold,)
                painter = partial(dose_scene, subject, threshold)
        self.point(state.theta, threshold)
        looks = (state.version, state.transform, state.choice, state.details, bands is not None)
        self.request((*looks, *depends), painter)

    def copy_text(self) -> str:
        return self.shown().text()

    def warnings(self) -> tuple[str, ...]:
        """Everything the reader of the chart should know, the gravest first."""
        return self.scene.warnings if self.scene is not None else ()


class ReadoutLine(CellView):
    """Counts and means at the spotlight, of the swept runs and of the baseline's, as many as there is room for."""

    DEFAULT_CSS = "ReadoutLine { height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._readout: Readout | None = None

    def show(self, readout: Readout | None) -> None:
        self._readout = readout
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.size.width
        if width:
            cells = [] if self._readout is None else readout_cells(self._readout, width)
            self.put(Picture.of([cells], width, 1))


def readout_cells(readout: Readout, width: int) -> list[Cell]:
    """The readout in the longest form that fits."""
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
            return [*cells_of(head, BOLD), *cells_of(f" {rest}")]
    return []
