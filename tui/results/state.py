"""What the results pane shows: a session, one of its planes, where the spotlight stands, and which bands are known."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.figures import (
    CONDITION,
    PlaneBands,
    SweptGroup,
    factor_columns,
    is_telling,
    points_of,
    stored_bands,
    swept_groups,
    telling_threshold,
    telling_view,
)
from srm_explorer.engine.session import PlaneRecord, Session
from srm_explorer.engine.stats.spotlight import FULL_TURN, STRICT, UnitCoordinates, is_lit, spotlight
from srm_explorer.tui.backend.study_runner import StudyAnswer, StudyRunner
from srm_explorer.tui.charts.subject import TRANSFORMS, VIEWS, Transform, View


@dataclass(frozen=True)
class Readout:
    """What the line under a chart says of all runs of swept conditions, and of the baseline's.

    Attributes:
        theta: the spotlight's angle, degrees.
        threshold: cosine.
        lit, total, mean: of the finite runs of all swept conditions: those whose cosine is above the threshold,
            how many there are, and their mean cosine, NaN without one.
        baseline_lit, baseline_total, baseline_mean: the same of the baseline.
        as_charted: whether the chart shows these very numbers, and not what is left of them.
    """

    theta: int
    threshold: float
    lit: int
    total: int
    mean: float
    baseline_lit: int
    baseline_total: int
    baseline_mean: float
    as_charted: bool = True


MOST_LEVELS = 16
"""Levels of a factor beyond which a chart by that factor could not be read."""


BANDS_KEPT = 32
"""Computed bands that are kept: every grouping of a few sessions."""


@dataclass(frozen=True)
class BandKey:
    """Which bands: of a saved session as it was at a revision, of one of its planes, under a grouping."""

    path: Path
    revision: int
    plane: int
    by: tuple[str, ...]

    @classmethod
    def of(cls, session: Session, plane: int, by: tuple[str, ...]) -> BandKey | None:
        """The bands of a session; None for one that grows and is not saved."""
        if session.path is None or not session.saved or not session.runs:
            return None
        return cls(session.path, session.revision, plane, by)

    @property
    def arguments(self) -> Mapping[str, Any]:
        return {"plane": self.plane, "by": list(self.by)}


class BandCache:
    """Bands by what they are of: read from sessions, or computed and put here."""

    def __init__(self) -> None:
        self._computed: OrderedDict[BandKey, PlaneBands | None] = OrderedDict()
        self._stored: tuple[Session, dict[tuple[int, tuple[str, ...]], PlaneBands | None]] | None = None

    def get(self, session: Session, plane: int, by: tuple[str, ...]) -> PlaneBands | None:
        """The bands of a plane under a grouping; None where they are not known yet."""
        if self._stored is None or self._stored[0] is not session:
            self._stored = (session, {})
        stored = self._stored[1]
        if (plane, by) not in stored:
            stored[plane, by] = stored_bands(session, plane, by)
        key = BandKey.of(session, plane, by)
        return stored[plane, by] or (None if key is None else self._computed.get(key))

    def missing(self, session: Session, plane: int, by: tuple[str, ...]) -> BandKey | None:
        """What is to be computed; None where it is known, could not be computed, or nothing saved can be asked."""
        key = BandKey.of(session, plane, by)
        if key is None or key in self._computed or self.get(session, plane, by) is not None:
            return None
        return key

    def put(self, key: BandKey, findings: Mapping[str, Any]) -> str:
        """Keep what a study found; what is wrong with it, empty where nothing is."""
        try:
            self._computed[key] = PlaneBands.from_dict(cast("Mapping[str, Any]", findings["bands"]))
        except (KeyError, TypeError, ValueError):
            self.fail(key)
            return "what was found holds no bands"
        self._trim()
        return ""

    def fail(self, key: BandKey) -> None:
        """Remember that these cannot be computed, so that they are asked for once only."""
        self._computed[key] = None
        self._trim()

    def _trim(self) -> None:
        while len(self._computed) > BANDS_KEPT:
            self._computed.popitem(last=False)


class BandWatch:
    """Has a runner compute bands for `then`, and ends the computing when others are wanted."""

    def __init__(self, runner: StudyRunner, then: Callable[[BandKey, StudyAnswer], object]) -> None:
        self._runner, self._then = runner, then
        self._requested: BandKey | None = None

    def want(self, key: BandKey | None) -> None:
        """Compute some bands unless that is under way already; None ends what is."""
        if key == self._requested:
            return
        self._requested = key
        if key is None:
            self._runner.cancel("bands")
        else:
            self._runner.run("bands", key.path, key.arguments, lambda answer: self._then(key, answer))


@dataclass(frozen=True, eq=False)
class _Runs:
    """What of a session and a plane no turn of the spotlight changes."""

    points: UnitCoordinates
    swept: NDArray[np.bool_]
    baseline: NDArray[np.bool_]


class ResultsState:
    """A session, a plane, and the spotlight's angle and threshold; every number of the pane comes from here.

    Attributes:
        session: shown; None before there is one.
        plane: index of the plane in the session.
        theta: the spotlight's angle in whole degrees, 0 to 359.
        threshold: cosine, one of the session's thresholds where there is a session.
        view: what the polar chart shows.
        threshold_chosen, view_chosen: whether the user chose them, so that opening a session leaves them alone.
        by: how runs are grouped, as `swept_groups` takes it.
        baseline: whether charts show the baseline.
        difference: whether the threshold chart shows clamped minus baseline.
        transform: how charts show the session.
        choice: which group's band, chance and prediction is in focus, counted round and round.
        details: whether legends say everything in lines, in place of a table.
        bands: the bands that are known.
        version: grows whenever session, plane or grouping change; turning the spotlight leaves it alone.
    """

    def __init__(
        self,
        theta: int = 0,
        threshold: float | None = None,
        view: View | None = None,
        by: tuple[str, ...] = (),
        plane: int = 0,
    ) -> None:
        self.session: Session | None = None
        self.plane = plane
        self.theta = theta % FULL_TURN
        self.threshold = 0.5 if threshold is None else threshold
        self.view: View = view or "counts"
        self.by = tuple(by)
        self.baseline = True
        self.difference = False
        self.transform: Transform = "observed"
        self.choice = 0
        self.details = False
        self.bands = BandCache()
        self.version = 0
        self.threshold_chosen, self.view_chosen = threshold is not None, view is not None
        self._opened: str | None = None
        self._lock = Lock()
        self._runs: tuple[PlaneRecord, _Runs] | None = None
        self._groups: dict[tuple[int, tuple[str, ...]], tuple[SweptGroup, ...]] = {}
        self._owner: Session | None = None

    def take_session(self, session: Session | None) -> None:
        """Show another session, or the same one with more runs; the angle, and what the user chose, stay.

        Threshold and view are chosen once for a session, so that they show something and do not jump while more runs
        arrive. A threshold that the user chose under another session stays only where it shows something.
        """
        if session is self.session:
            return
        shown = self.record()
        self.session = session
        self.version += 1
        if session is None:
            return
        # A finished run may have planes before this one that its first runs could not span.
        same = (at for at, plane in enumerate(session.planes) if shown is not None and plane.key == shown.key)
        self.plane = next(same, self.plane)
        if not 0 <= self.plane < len(session.planes):
            self.plane = 0
        if self.by not in self.groupings():
            self.by = ()
        known = session.spec.spotlight.thresholds
        is_known = any(abs(level - self.threshold) < STRICT for level in known)
        if is_known and self._opened == session.name:
            return
        groups = self.groups()
        if not (is_known and self.threshold_chosen and (self._opened is None or is_telling(groups, self.threshold))):
            self.threshold = telling_threshold(groups) if groups else known[0]
            self.threshold_chosen = False
        if groups and not self.view_chosen:
            self.view = telling_view(groups)
        # A baseline alone, whose runs often come first, shows nothing of what will be done.
        if session.state == "finished" or any(group.role not in ("baseline", "baseline of") for group in groups):
            self._opened = session.name

    def offers(self, action: str) -> bool:
        """Whether an action of the pane would change what is shown."""
        session, record = self.session, self.record()
        if session is None or record is None:
            return False
        match action:
            case "threshold":
                return len(session.spec.spotlight.thresholds) > 1
            case "grouping":
                return len(self.groupings()) > 1
            case "baseline" | "difference":
                return set(session.kinds.tolist()) == {"baseline", "sweep"}
            case "plane":
                return len(session.planes) > 1
            case "band":
                return len(self.groups()) > 1
            case _:
                return True

    def turn(self, degrees: int) -> None:
        self.theta = (self.theta + degrees) % FULL_TURN

    def next_threshold(self, step: int = 1) -> None:
        if self.session is None:
            return
        known = self.session.spec.spotlight.thresholds
        at = next((i for i, level in enumerate(known) if abs(level - self.threshold) < STRICT), 0)
        self.threshold = known[(at + step) % len(known)]
        self.threshold_chosen = True
        self._opened = self.session.name

    def next_view(self) -> None:
        self.view = VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)]
        self.view_chosen = True

    def next_transform(self) -> None:
        self.transform = TRANSFORMS[(TRANSFORMS.index(self.transform) + 1) % len(TRANSFORMS)]

    def next_choice(self) -> None:
        self.choice += 1

    def groupings(self) -> tuple[tuple[str, ...], ...]:
        """Ways to group the runs: pooled, by value, by each factor that has few levels."""
        if self.session is None:
            return ((),)
        ways: list[tuple[str, ...]] = [()]
        if sum(condition.kind == "sweep" for condition in self.session.conditions) > 1:
            ways.append((CONDITION,))
        for name, column in factor_columns(self.session).items():
            if name != CONDITION and 2 <= len(set(column)) <= MOST_LEVELS:
                ways.append((name,))
        return tuple(ways)

    def next_grouping(self) -> None:
        ways = self.groupings()
        at = ways.index(self.by) if self.by in ways else -1
        by = ways[(at + 1) % len(ways)]
        if by != self.by:
            self.by = by
            self.choice = 0
            self.version += 1

    def next_plane(self) -> None:
        if self.session is not None and len(self.session.planes) > 1:
            self.plane = (self.plane + 1) % len(self.session.planes)
            self.version += 1

    def go_to_plane(self, plane: int) -> None:
        """Go to one of the session's planes; nothing where it has no such."""
        if self.session is not None and 0 <= plane < len(self.session.planes) and plane != self.plane:
            self.plane = plane
            self.version += 1

    def record(self) -> PlaneRecord | None:
        """The plane that is shown; None without a session, a plane or a run."""
        session = self.session
        if session is None or not session.runs or not self.plane < len(session.planes):
            return None
        return session.planes[self.plane]

    def groups(self) -> tuple[SweptGroup, ...]:
        """The groups of runs, swept with the session's thresholds; computed once per session, plane and grouping."""
        session, record = self.session, self.record()
        return () if session is None or record is None else self.groups_of(session, record, self.by)

    def missing_bands(self, by: tuple[str, ...]) -> BandKey | None:
        if self.session is None or self.record() is None or self.transform == "axis out":
            return None
        return self.bands.missing(self.session, self.plane, by)

    def groups_of(self, session: Session, record: PlaneRecord, by: tuple[str, ...]) -> tuple[SweptGroup, ...]:
        """What `groups` returns, for a plane that need not be the one in view any more; may be called in any thread."""
        key = (id(record), by)
        with self._lock:
            if self._owner is not session:
                self._owner, self._groups = session, {}
            groups = self._groups.get(key)
        if groups is None:
            groups = swept_groups(session, record, by)
            with self._lock:
                if self._owner is session:
                    self._groups[key] = groups
        return groups

    def points(self) -> UnitCoordinates | None:
        """Where the runs lie in the plane, divided by their norms, in the session's order."""
        runs = self._of_plane()
        return None if runs is None else runs.points

    def cosines(self) -> NDArray[np.float64]:
        """[run] cosine with the spotlight, in the session's order; NaN for a run that is not finite."""
        runs = self._of_plane()
        if runs is None:
            return np.empty(0)
        cos, sin = spotlight(self.theta)
        return runs.points.xy[:, 0] * cos + runs.points.xy[:, 1] * sin

    def lit(self) -> NDArray[np.bool_]:
        """[run] whether the cosine is above the threshold, strictly."""
        return is_lit(self.cosines(), self.threshold)

    def readout(self) -> Readout | None:
        """Counts and means at the spotlight; None without a run in a plane."""
        runs = self._of_plane()
        if runs is None:
            return None
        cosines = self.cosines()
        lit = is_lit(cosines, self.threshold)
        swept = runs.swept & runs.points.finite
        baseline = runs.baseline & runs.points.finite
        return Readout(
            theta=self.theta,
            threshold=self.threshold,
            lit=int(np.count_nonzero(lit & swept)),
            total=int(np.count_nonzero(swept)),
            mean=_mean(cosines[swept]),
            baseline_lit=int(np.count_nonzero(lit & baseline)),
            baseline_total=int(np.count_nonzero(baseline)),
            baseline_mean=_mean(cosines[baseline]),
            as_charted=self.transform == "observed",
        )

    def _of_plane(self) -> _Runs | None:
        session, record = self.session, self.record()
        if session is None or record is None:
            return None
        held = self._runs
        if held is None or held[0] is not record:
            swept, baseline = (session.seen & (session.kinds == kind) for kind in ("sweep", "baseline"))
            held = (record, _Runs(points_of(record), swept, baseline))
            self._runs = held
        return held[1]


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else math.nan
