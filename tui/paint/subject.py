"""What a scene is painted of: a plane of a session as the results pane wants it seen, frozen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from engine.analysis.srm import UnitCoordinates
from engine.errors import ExplorerError
from engine.figures.arithmetic import without_clamped_axis
from engine.figures.bands import PlaneBands
from engine.figures.beside import ALONE, Beside
from engine.figures.certainty import beside_of, plane_index
from engine.figures.compass import CompassFigure
from engine.figures.curves import SweptGroup, warnings_of
from engine.figures.polar import PolarFigure
from engine.figures.session import points_of, swept_groups
from engine.figures.thresholds import ThresholdFigure
from engine.figures.warnings import session_warnings
from engine.session import PlaneRecord, Session
from tui.state.sight import Sight
from tui.state.spotlight import without_baseline

Figure = TypeVar("Figure", PolarFigure, ThresholdFigure, CompassFigure)


@dataclass(frozen=True, eq=False)
class Subject:
    """What scenes are painted of.

    Attributes:
        session: with at least one run.
        record: one of its planes.
        by: how its runs are grouped.
        baseline: whether the baseline is shown.
        sweep: makes the groups as they were observed, or has them already.
        sight: how they are seen.
        choice: which group's band, chance and prediction is in focus.
        bands: how sure the curves of this grouping are; None where that is not known.
        plain: whether nothing is drawn beside the curves.
    """

    session: Session
    record: PlaneRecord
    by: tuple[str, ...]
    baseline: bool
    sweep: Callable[[], tuple[SweptGroup, ...]]
    sight: Sight = "observed"
    choice: int = 0
    bands: PlaneBands | None = None
    plain: bool = False

    @property
    def minus(self) -> bool:
        """Whether what arithmetic predicts is subtracted."""
        return self.sight == "minus arithmetic"

    def view(self, thresholds: Sequence[float] | None = None) -> View:
        """What is shown, worked out once for a scene.

        Args:
            thresholds: that groups without an axis are swept with; those of the experiment by default.

        Raises:
            ExplorerError: there is no axis to take out.
        """
        if self.sight != "axis out":
            groups = self.sweep()
            beside = ALONE
            if not self.plain or self.minus:
                beside = beside_of(self.session, self.record, groups, self.by, self.bands, self.choice)
            return View(self._shown(groups), groups, beside, points_of(self.record))
        points, taken = self.without_axis()
        groups = swept_groups(self.session, self.record, self.by, thresholds, points)
        # Without the groups: what clamps do to their phase, and chance to their counts, is told of whole vectors.
        warnings = session_warnings(self.session, self.record, ())
        return View(self._shown(groups), groups, ALONE, points, f" · {taken}", warnings)

    def without_axis(self) -> tuple[UnitCoordinates, str]:
        """Where the runs lie without what was intervened on, and what that is; ExplorerError where there is none."""
        found = without_clamped_axis(self.session, plane_index(self.session, self.record))
        if found is None:
            what = "nothing was set in the space of this plane that could be taken out"
            raise ExplorerError(what, where=self.session.name, remedy="choose another view")
        return found

    def _shown(self, groups: tuple[SweptGroup, ...]) -> tuple[SweptGroup, ...]:
        return groups if self.baseline else without_baseline(groups)


@dataclass(frozen=True, eq=False)
class View:
    """A subject's groups and what stands beside them.

    Attributes:
        groups: those that are shown.
        everything: also the baseline where it is not shown.
        beside: what is drawn beside them.
        points: where the runs lie.
        told: goes after the title where something was taken out of the vectors.
        warnings: what then holds of the session.
    """

    groups: tuple[SweptGroup, ...]
    everything: tuple[SweptGroup, ...]
    beside: Beside
    points: UnitCoordinates
    told: str = ""
    warnings: tuple[str, ...] = ()

    def titled(self, figure: Figure) -> Figure:
        """A figure whose title tells what was taken out, with the warnings that then hold."""
        if not self.told:
            return figure
        warnings = (*warnings_of(group.sweep for group in self.groups), *self.warnings)
        return dataclasses.replace(figure, title=f"{figure.title}{self.told}", warnings=warnings)
