"""What plain arithmetic predicts of a plane's curves, and the view with the clamped axes taken out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.experiment import Experiment, InterventionSpec
from srm_explorer.engine.experiment.model_fit import (
    captured_segments,
    covered,
    is_centred,
    is_predictable,
    needs_own,
    propagation_of,
)
from srm_explorer.engine.figures.captions import coordinate_caption
from srm_explorer.engine.session import DamagedError, Number, RunRecord, Session, baseline_of, read_record
from srm_explorer.engine.session.lengths import Paired, paired
from srm_explorer.engine.stats.arithmetic import SegmentEdit, edited_sums
from srm_explorer.engine.stats.spotlight import UnitCoordinates, unit_coordinates

Floats = NDArray[np.float64]
_KINDS = ("baseline", "reference", "sweep")


@dataclass(frozen=True, eq=False)
class SiteEdits:
    """How the interventions of an experiment meet one captured site.

    Attributes:
        columns: [k] its coordinates that they edit, ascending.
        directions: [m] names of the directions they move it along, in order of appearance.
        neurons: [j] neurons they edit whose sum, weighted by W_out, the site holds, ascending.
    """

    experiment: Experiment
    site: str
    columns: NDArray[np.int64]
    directions: tuple[str, ...]
    neurons: NDArray[np.int64]

    @classmethod
    def of(cls, experiment: Experiment, site: str) -> SiteEdits:
        edits = [(propagation_of(edit.site, site), edit) for edit in experiment.interventions]
        edited = {neuron for propagation, edit in edits if propagation == "own" for neuron in edit.neurons}
        written = {neuron for propagation, edit in edits if propagation == "written" for neuron in edit.neurons}
        names = dict.fromkeys(
            edit.direction for propagation, edit in edits if propagation == "own" and edit.direction is not None
        )
        return cls(
            experiment, site, np.array(sorted(edited), np.int64), tuple(names), np.array(sorted(written), np.int64)
        )

    @property
    def centred(self) -> bool:
        return is_centred(self.experiment, self.site)

    @property
    def needs_own(self) -> bool:
        """Whether more must be known of the edited coordinates than the captured vectors tell."""
        return any(needs_own(self.experiment, self.site, edit) for edit in self.experiment.interventions)

    def placed(self, propagation: str) -> list[tuple[int, InterventionSpec]]:
        """Interventions on coordinates that reach the site so, "own" or "written", and their places."""
        numbered = enumerate(self.experiment.interventions)
        return [
            (index, edit)
            for index, edit in numbered
            if edit.neurons and propagation_of(edit.site, self.site) == propagation
        ]

    def exact(self, session: Session, *, rows_known: bool) -> NDArray[np.bool_]:
        """[condition] whether these edits are all that the condition does at the site, tokens unchanged.

        Args:
            rows_known: whether the rows of W_out of `neurons` are at hand.
        """
        reaches = [self._reach(edit, rows_known) for edit in self.experiment.interventions]
        known = [condition.kind in _KINDS for condition in session.conditions]
        if not session.resolved:
            return np.array([condition.kind == "baseline" for condition in session.conditions], np.bool_)
        return np.array(
            [
                is_known
                and not any(
                    value is not None and propagation == "through"
                    for value, propagation in zip(row, reaches, strict=True)
                )
                for is_known, row in zip(known, session.resolved, strict=True)
            ],
            np.bool_,
        )

    def _reach(self, edit: InterventionSpec, rows_known: bool) -> str:
        """How an intervention comes to the site; "through" where no arithmetic can tell what it does there."""
        reach = propagation_of(edit.site, self.site)
        unknown = reach == "written" and (edit.direction is not None or not rows_known)
        return (
            "through"
            if unknown or (reach != "none" and not is_predictable(self.experiment, self.site, edit))
            else reach
        )

    def moves(
        self,
        session: Session,
        of_run: NDArray[np.int64],
        tokens: Floats,
        activations: Floats,
        own_neurons: Floats,
        at: Floats,
    ) -> Floats:
        """How far the edits move the captured vectors of some runs.

        Args:
            of_run: [run] conditions of the runs.
            tokens: [run, segment] captured tokens.
            activations: [run, segment, k] unedited sums of `columns` over them.
            own_neurons: [run, segment, j] unedited sums of `neurons`.
            at: [m + j, k] entries of the directions, then of the rows of W_out, at `columns`.

        Returns:
            [run, k + m + j] along the columns, the directions and the rows.
        """
        nothing = np.empty((0, len(self.neurons)))
        written, _ = edited_sums(own_neurons, tokens, self._edits(session, of_run, "written"), nothing)
        change = written - own_neurons
        m = len(self.directions)
        arriving = activations + (change[..., None] * at[m:]).sum(axis=2)
        sums, along = edited_sums(arriving, tokens, self._edits(session, of_run, "own"), at[:m])
        moved = np.concatenate([(sums - activations).sum(axis=1), along, change.sum(axis=1)], axis=1)
        return moved / np.maximum(tokens.sum(axis=1), 1.0)[:, None]

    def _edits(self, session: Session, of_run: NDArray[np.int64], propagation: str) -> list[SegmentEdit]:
        tracked = self.columns if propagation == "own" else self.neurons
        edits: list[SegmentEdit] = []
        for index, edit in enumerate(self.experiment.interventions):
            reach = propagation_of(edit.site, self.site)
            if edit.op == "patch" or reach != propagation or not is_predictable(self.experiment, self.site, edit):
                continue
            if propagation == "written" and edit.direction is not None:
                continue
            present, values = _strengths(edit, [row[index] for row in session.resolved])
            edits.append(
                SegmentEdit(
                    op="zero" if edit.op == "project_out" else edit.op,
                    present=present[of_run],
                    values=values[of_run],
                    columns=np.searchsorted(tracked, np.array(edit.neurons, np.int64)),
                    direction=-1 if edit.direction is None else self.directions.index(edit.direction),
                    segments=covered(edit.positions),
                )
            )
        return edits


def segment_tokens(
    experiment: Experiment, runs: Sequence[RunRecord], generated: NDArray[np.int64] | None = None
) -> Floats:
    """[run, segment] how many captured tokens of each run lie in each segment.

    Of a run whose tokens are unknown as many as of any other: what is done at all of them has no need of the number.

    Args:
        generated: [run] how many of the generated ones count; all by default.
    """
    captured = captured_segments(experiment)
    unknown = np.array([run.finish == "unknown" for run in runs], np.bool_)
    written = [len(run.token_ids) for run in runs] if generated is None else np.maximum(generated, 0).tolist()
    counts = [(run.prompt_tokens - 1, 1, count) for run, count in zip(runs, written, strict=True)]
    tokens = np.where(unknown[:, None], 1.0, np.array(counts, np.float64).reshape(-1, 3))
    return np.where(captured, np.ones_like(tokens) if experiment.capture.reduce == "last" else tokens, 0.0)


def _strengths(
    intervention: InterventionSpec, values: Sequence[tuple[float, ...] | None]
) -> tuple[NDArray[np.bool_], Floats]:
    """[condition] whether the intervention is there, and [condition, k] its raw values."""
    width = 1 if intervention.direction is not None else len(intervention.neurons)
    table = np.zeros((len(values), width))
    for index, row in enumerate(values):
        if row:
            table[index] = row
    return np.array([row is not None for row in values], np.bool_), table


def arithmetic_points(session: Session, plane_index: int, pairs: Paired | None = None) -> UnitCoordinates | None:
    """Where every run of a plane would lie had its text not changed, divided by the norm.

    A run's prediction is its baseline's vector with the intervened coordinates replaced by what the operation makes of
    them; a baseline run is its own. Runs without a prediction (no baseline, another intervention upstream) are not
    finite.

    Args:
        pairs: of this plane: predict every run over the tokens that it and its baseline both have.

    Returns:
        None where nothing is predicted of any run but the baseline.
    """
    # Where tokens are unknown it is so, too, how many of the captured ones lie at some positions.
    if session.is_unknown("tokens") and any(edit.positions != "all" for edit in session.spec.interventions):
        return None
    stored = _stored(session, plane_index)
    if pairs is not None and stored is not None and pairs.differs:
        stored = _stored(session, plane_index, "paired") or {}
    whole = stored is not None and all(stored.get(name) is not None for name in ("x", "y"))
    raw = _raw(stored, session, plane_index) if stored is not None and whole else None
    if raw is None and stored is None:
        raw = _from_plane(session, plane_index, pairs or paired(session, session.planes[plane_index], whole=True))
    if raw is None:
        return None
    points = unit_coordinates(raw[:, :2], raw[:, 2])
    return points if (points.finite & (session.kinds != "baseline")).any() else None


def without_clamped_axis(session: Session, plane_index: int) -> tuple[UnitCoordinates, str] | None:
    """Where every run lies when what was intervened on is taken out of its vector before it is normalised.

    Returns:
        The points, and what was taken out: "without n373"; None where nothing of this site was set, or where it is not
        known.
    """
    stored = _stored(session, plane_index)
    if stored is None:
        return _columns_left_out(session, plane_index)
    table = stored.get("without")
    if not isinstance(table, dict):
        return None
    without = cast("Mapping[str, Any]", table)
    raw = _raw(without, session, plane_index)
    taken = without.get("taken")
    if raw is None or not isinstance(taken, str):
        return None
    return unit_coordinates(raw[:, :2], raw[:, 2]), f"without {taken}"


def _stored(session: Session, plane_index: int, which: str = "planes") -> Mapping[str, Any] | None:
    table: object = session.predictions.get("arithmetic")
    stored: object = cast("Mapping[str, Any]", table).get(which) if isinstance(table, dict) else None
    for record in cast("list[object]", stored) if isinstance(stored, list) else []:
        if isinstance(record, dict) and cast("Mapping[str, Any]", record).get("plane") == plane_index:
            return cast("Mapping[str, Any]", record)
    return None


def _raw(table: Mapping[str, Any], session: Session, plane_index: int) -> Floats | None:
    """[run, 3] coordinates and norm as stored; an axis that is null is as the plane has it; None where damaged."""
    plane = session.planes[plane_index]
    coordinates = {"x": plane.x, "y": plane.y}
    columns: list[tuple[float, ...]] = []
    try:
        for name in ("x", "y", "norm"):
            as_observed = name in coordinates and name in table and table[name] is None
            columns.append(coordinates[name] if as_observed else read_record(tuple[Number, ...], table.get(name), name))
    except DamagedError:
        return None
    if any(len(column) != len(session.runs) for column in columns):
        return None
    return np.array(columns, np.float64).T


# Numbers that are not finite are data here, and stay so.
@np.errstate(over="ignore", invalid="ignore")
def _from_plane(session: Session, plane_index: int, pairs: Paired) -> Floats | None:
    """[run, 3] predictions from a plane's own coordinates; None where it takes more than those."""
    sides = _sides(session, plane_index)
    if sides is None:
        return None
    edits, columns = sides
    base = baseline_of(session)
    of_run = np.array([run.condition for run in session.runs], np.int64)
    known = edits.exact(session, rows_known=False)[of_run] & (base >= 0)
    xy, norm = pairs.baselines.xy, np.array(pairs.baselines.norm)
    tokens = segment_tokens(session.spec, [session.runs[int(index)] for index in base], pairs.base_tokens)
    edited = xy[:, columns]
    moves = (
        edits.moves(
            session,
            of_run,
            tokens,
            tokens[..., None] * edited[:, None],
            np.zeros((len(base), 3, 0)),
            np.zeros((0, len(columns))),
        )
        if session.resolved
        else np.zeros_like(edited)
    )
    rest = np.maximum(norm**2 - (edited**2).sum(axis=1), 0.0)
    new = edited + moves
    xy = xy.copy()
    xy[:, columns] = new
    extended = np.concatenate([xy, np.sqrt(rest + (new**2).sum(axis=1))[:, None]], axis=1)
    extended[~known] = np.nan
    return extended


def _columns_left_out(session: Session, plane_index: int) -> tuple[UnitCoordinates, str] | None:
    sides = _sides(session, plane_index)
    if sides is None or not len(sides[1]):
        return None
    edits, columns = sides
    plane = session.planes[plane_index]
    xy, norm = plane.xy, np.array(plane.norm)
    rest = np.sqrt(np.maximum(norm**2 - (xy[:, columns] ** 2).sum(axis=1), 0.0))
    xy[:, columns] = 0.0
    names = ", ".join(coordinate_caption(plane.site, int(column)) for column in edits.columns)
    return unit_coordinates(xy, rest), f"without {names}"


def _sides(session: Session, plane_index: int) -> tuple[SiteEdits, list[int]] | None:
    """The edits of a plane's site, and on which of its two sides each lies; None where one lies elsewhere."""
    plane = session.planes[plane_index]
    edits = SiteEdits.of(session.spec, plane.site)
    axes = [plane.a, plane.b]
    if edits.centred or edits.needs_own or edits.directions or len(edits.neurons) or not session.runs:
        return None
    if any(column not in axes for column in edits.columns.tolist()):
        return None
    return edits, [axes.index(column) for column in edits.columns.tolist()]
