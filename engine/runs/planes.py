"""The planes of an experiment: what of them is known when a run begins, and what its runs make of them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.directions import SiteRuns, Vector, plane_through
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, PlaneSpec, conditions
from srm_explorer.engine.experiment.directions import needs_runs
from srm_explorer.engine.experiment.model_fit import is_centred
from srm_explorer.engine.io.vectors import Matrix, as_rows
from srm_explorer.engine.runs.journal_records import PlaneLeftOut, PlaneName, event_table
from srm_explorer.engine.session import DamagedError, PlaneRecord, Session, read_record
from srm_explorer.engine.session.session import ShorterShadows
from srm_explorer.engine.stats.planes import Plane, coordinates

Kept: TypeAlias = Mapping[str, Matrix | list[Matrix]]
"""Vectors by site and name."""

Shadows: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""[run, 2] coordinates in a plane, and [run] lengths of the whole vectors."""


@dataclass(frozen=True, eq=False)
class SpannedPlane:
    """A plane of an experiment and its two orthonormal directions."""

    spec: PlaneSpec
    site: str
    plane: Plane

    def shadows(self, vectors: Matrix | list[Matrix]) -> Shadows:
        """Project the vectors of runs; where every token was kept, their mean over tokens."""
        return coordinates(as_rows(vectors), self.plane)

    def record(self, xy: NDArray[np.float64], norm: NDArray[np.float64], shorter: ShorterShadows = ()) -> PlaneRecord:
        return PlaneRecord.of(self.site, self.spec.a, self.spec.b, xy, norm, self.plane.raw_angle_deg, shorter)


def fixed_planes(
    experiment: Experiment, widths: Mapping[str, int], known: Mapping[str, Vector]
) -> list[tuple[int, SpannedPlane]]:
    """Span the planes whose directions no run changes, with their places in the experiment.

    Args:
        widths: of every site that holds one.

    Raises:
        ExplorerError: a direction of another width than its site, or two that span no plane; names the plane.
    """
    spanned: list[tuple[int, SpannedPlane]] = []
    for index, spec in enumerate(experiment.planes):
        if needs_runs(spec.a) or needs_runs(spec.b):
            continue
        site = experiment.plane_site(spec)
        runs = SiteRuns(
            site=site,
            vectors=np.empty((0, widths[site])),
            prompt=np.empty(0, np.int64),
            condition=np.empty(0, np.int64),
            prompts=(),
            conditions=conditions(experiment),
            known=known,
            centred=is_centred(experiment, site),
        )
        try:
            spanned.append((index, SpannedPlane(spec, site, plane_through(spec.a, spec.b, runs))))
        except ExplorerError as error:
            raise ExplorerError(error.what, where=f"planes[{index}]", remedy=error.remedy) from None
    return spanned


def planes_in(session: Session, kept: Kept) -> tuple[list[SpannedPlane], list[dict[str, Any]]]:
    """Span every plane of a session's experiment that its runs allow.

    Args:
        kept: vectors by site, rows in the order of its runs.

    Returns:
        the planes in the experiment's order, and for each one that is left out an event that says why.
    """
    runs: dict[str, SiteRuns] = {}
    spanned: list[SpannedPlane] = []
    events: list[dict[str, Any]] = []
    for spec in session.spec.planes:
        site = session.spec.plane_site(spec)
        if site not in runs:
            runs[site] = SiteRuns.of(session, site, kept[site])
        try:
            spanned.append(SpannedPlane(spec, site, plane_through(spec.a, spec.b, runs[site])))
        except ExplorerError as error:
            events.append(event_table(PlaneLeftOut(PlaneName(site, spec.a, spec.b), str(error))))
    return spanned, events


def left_out(events: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """One line for each plane that was left out, as the events of a session tell."""
    lines: list[str] = []
    for event in events:
        if event.get("event") == PlaneLeftOut.EVENT:
            with contextlib.suppress(DamagedError):
                left = read_record(PlaneLeftOut, event)
                lines.append(f"plane {left.plane.a} × {left.plane.b} of {left.plane.site} left out: {left.why}")
    return tuple(lines)
