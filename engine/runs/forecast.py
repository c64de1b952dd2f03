"""What arithmetic predicts of every run in every plane, gathered batch by batch while the vectors are at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.experiment.model_fit import captured_segments, needs_own
from srm_explorer.engine.experiment.positions import Positions
from srm_explorer.engine.figures import SiteEdits, coordinate_caption, segment_tokens
from srm_explorer.engine.io.vectors import Matrix, as_rows
from srm_explorer.engine.session import RunRecord, Session, baseline_of
from srm_explorer.engine.session.codec import plain_float
from srm_explorer.engine.session.lengths import paired, shortened
from srm_explorer.engine.stats.arithmetic import Span, moved_norm
from srm_explorer.engine.stats.planes import Plane

OWN_PREFIX = "own/"
"""Names, among a batch's vectors, unedited coordinates by segment: "own/0/last" for the first intervention."""

SEGMENTS: tuple[Positions, ...] = ("prompt", "last", "generated")
"""Positions that the segments of a row are read at; the first holds the second, which is taken off it."""

Floats = NDArray[np.float64]
Kept: TypeAlias = Mapping[str, Matrix | list[Matrix]]
"""What a batch kept, by name."""


Length: TypeAlias = tuple[int, int]
"""A run's index, and over how many generated tokens its mean is."""


def length_of(run: RunRecord) -> Length:
    return run.index, len(run.token_ids)


@dataclass(eq=False)
class SiteForecast:
    """One captured site: its edits, and what is known of its runs so far.

    Args:
        directions: [m, width] those it is moved along; None where they are not at hand.
        rows: [j, width] rows of W_out of `edits.neurons`; None where they are not at hand.
    """

    edits: SiteEdits
    directions: Floats | None
    rows: Floats | None
    span: Span | None = None
    inside: dict[Length, Floats] = field(default_factory=dict[Length, Floats])
    outside: dict[Length, float] = field(default_factory=dict[Length, float])
    column_sums: dict[Length, Floats] = field(default_factory=dict[Length, Floats])
    neuron_sums: dict[Length, Floats] = field(default_factory=dict[Length, Floats])

    def take(self, runs: Sequence[RunRecord], vectors: Matrix | list[Matrix], kept: Kept) -> None:
        """Note what is needed of some runs' vectors; of baseline runs, the coordinates that edits would change.

        A run may come again with its text shortened, and with what it was over that.
        """
        vectors = as_rows(vectors)
        if self.directions is None or not len(runs):
            return
        width = vectors.shape[1]
        rows = np.zeros((0, width)) if self.rows is None else self.rows
        moved = np.concatenate([self.directions.reshape(-1, width), rows])
        self.span = self.span or Span.of(width, self.edits.columns, moved, centred=self.edits.centred)
        # Overflow and NaN are data here, as they are where vectors are projected on planes.
        with np.errstate(over="ignore", invalid="ignore"):
            inside, outside = self.span.split(vectors)
        for row, run in enumerate(runs):
            self.inside[length_of(run)] = inside[row]
            self.outside[length_of(run)] = float(outside[row])
        tokens = segment_tokens(self.edits.experiment, runs)
        for row, run in enumerate(runs):
            if run.condition == 0:
                whole = np.zeros(0) if self.edits.centred else vectors[row, self.edits.columns].astype(np.float64)
                self.column_sums[length_of(run)] = self._sums(row, tokens[row], kept, self.edits.columns, "own", whole)
                neurons = self.edits.neurons
                self.neuron_sums[length_of(run)] = self._sums(row, tokens[row], kept, neurons, "written", np.zeros(0))

    def _sums(
        self, row: int, tokens: Floats, kept: Kept, tracked: NDArray[np.int64], reach: str, whole: Floats
    ) -> Floats:
        """[segment, k] sums over captured tokens: as read by themselves, else from the vector, else 0: not needed."""
        sums = tokens[:, None] * (whole if len(whole) else np.zeros(len(tracked)))
        for index, intervention in self.edits.placed(reach):
            names = [f"{OWN_PREFIX}{index}/{name}" for name in SEGMENTS]
            if not any(name in kept for name in names):
                continue
            means = [kept[name][row] if name in kept else np.zeros(len(intervention.neurons)) for name in names]
            before, last, generated = (np.asarray(mean, np.float64).reshape(-1) for mean in means)
            prompt = tokens[0] + 1
            read = np.stack([prompt * before - last, last, tokens[2] * generated]) * (tokens > 0)[:, None]
            if self.edits.experiment.capture.reduce == "last":
                read = np.stack([before, last, generated]) * tokens[:, None]
            sums[:, np.searchsorted(tracked, np.array(intervention.neurons, np.int64))] = read
        return sums

    def names(self) -> str:
        """What the span holds, in words."""
        site = self.edits.site
        captions = [coordinate_caption(site, int(column)) for column in self.edits.columns]
        captions += [name.rpartition("#")[2] for name in self.edits.directions]
        if self.rows is not None:
            captions += [f"W_out of n{neuron}" for neuron in self.edits.neurons]
        return ", ".join(captions) if len(captions) <= 4 else f"{', '.join(captions[:3])} … ({len(captions)})"


MOST_NEURONS = 64
"""Neurons a site, beyond which their rows of W_out would make a run folder large."""


def own_readings(experiment: Experiment) -> tuple[tuple[int, Positions], ...]:
    """Which edited coordinates must be read by themselves, so that their runs can be predicted.

    Returns:
        the intervention's place and the positions to read at, for each.
    """
    before, last, generated = captured_segments(experiment)
    positions: list[Positions] = [
        name for name, on in zip(SEGMENTS, (before, last or before, generated), strict=True) if on
    ]
    return tuple(
        (index, name)
        for index, intervention in enumerate(experiment.interventions)
        if intervention.neurons and any(needs_own(experiment, site, intervention) for site in experiment.capture.sites)
        for name in positions
    )


class Forecast:
    """Predicts the planes of an experiment from the vectors of its runs.

    Args:
        inputs: what was kept at the beginning of the run: `forecast_inputs`; empty for a run begun without it.
    """

    def __init__(self, experiment: Experiment, inputs: Mapping[str, Any]) -> None:
        self._experiment = experiment
        self._planes: dict[int, tuple[str, Plane]] = {}
        self._sites: dict[str, SiteForecast] = {}
        for site in experiment.capture.sites:
            edits = SiteEdits.of(experiment, site)
            self._sites[site] = SiteForecast(edits, _directions(edits, inputs), _rows(edits, inputs))

    @property
    def vector_names(self) -> set[str]:
        """Names of what must be read beside the planes' sites."""
        return {f"{OWN_PREFIX}{index}/{name}" for index, name in own_readings(self._experiment)}

    def take(self, runs: Sequence[RunRecord], planes: Sequence[tuple[str, Plane]], kept: Kept) -> None:
        """Note some runs.

        Args:
            planes: the experiment's planes and their sites, in its order.
        """
        self._planes = dict(enumerate(planes))
        for site in {site for site, _ in planes}:
            self._sites[site].take(runs, kept[site], kept)

    def predictions(self, session: Session) -> dict[str, Any]:
        """Plain data for `Session.predictions`; nothing is predicted where the text alone can tell.

        Where texts differ in length, "paired" holds the same over the tokens that a run and its baseline both have.
        """
        # A run that is not finite is left out wherever its numbers go; so is its prediction.
        with np.errstate(over="ignore", invalid="ignore"):
            indices = [index for index in self._planes if index < len(session.planes)]
            predicted = [self._plane(session, index) for index in indices]
            pairs = [self._paired(session, index) for index in indices if session.planes[index].shorter]
        planes = [plane for plane in predicted if plane is not None]
        paired = [plane for plane in pairs if plane is not None]
        return {"arithmetic": {"planes": planes, **({"paired": paired} if paired else {})}} if planes else {}

    def _plane(self, session: Session, number: int) -> dict[str, Any] | None:
        site, plane = self._planes[number]
        forecast = self._sites[site]
        span = forecast.span
        if span is None or not session.runs:
            return None
        record = session.planes[number]
        base = baseline_of(session)
        prediction: dict[str, Any] = {"plane": number}
        prediction |= self._predicted(session, number, [session.runs[int(index)] for index in base], record.xy[base])
        inside = np.array([forecast.inside[length_of(run)] for run in session.runs]).reshape(len(base), -1)
        outside = np.array([forecast.outside[length_of(run)] for run in session.runs])
        if inside.shape[1]:
            on = span.basis_on(plane.basis)
            xy = record.xy - inside @ on
            prediction["without"] = {
                "taken": forecast.names(),
                "x": _digits(_settled(xy[:, 0], record.x)) if on[:, 0].any() else None,
                "y": _digits(_settled(xy[:, 1], record.y)) if on[:, 1].any() else None,
                "norm": _digits(outside),
            }
        return prediction if len(prediction) > 1 else None

    def _paired(self, session: Session, number: int) -> dict[str, Any] | None:
        if self._sites[self._planes[number][0]].span is None:
            return None
        pairs = paired(session, session.planes[number])
        bases = [
            # Without a token in common there is no place to start from: it is not finite.
            shortened(session.runs[int(index)], int(tokens)) if tokens > 0 else session.runs[int(index)]
            for index, tokens in zip(baseline_of(session), pairs.base_tokens, strict=True)
        ]
        prediction = self._predicted(session, number, bases, pairs.baselines.xy)
        return {"plane": number, **prediction} if prediction else None

    def _predicted(self, session: Session, number: int, bases: Sequence[RunRecord], xy: Floats) -> dict[str, Any]:
        """Coordinates of every run, by what its baseline was over some tokens; none where no condition is exact.

        Args:
            bases: [run] the baselines.
            xy: [run, 2] where these lie in the plane.
        """
        site, plane = self._planes[number]
        forecast = self._sites[site]
        exact = forecast.edits.exact(session, rows_known=forecast.rows is not None)
        span = forecast.span
        swept = [condition.index for condition in session.conditions if condition.kind != "baseline"]
        if span is None or not exact[swept].any():
            return {}
        inside = np.array([forecast.inside[length_of(run)] for run in bases]).reshape(len(bases), -1)
        outside = np.array([forecast.outside[length_of(run)] for run in bases])
        moves = self._moves(session, forecast, span, bases)
        new = moved_norm(inside + span.shadows(moves), outside)
        xy = xy + moves @ span.on(plane.basis)
        of_run = np.array([run.condition for run in session.runs], np.int64)
        unknown = ~(exact[of_run] & (baseline_of(session) >= 0))
        xy[unknown], new[unknown] = np.nan, np.nan
        return {"x": _digits(xy[:, 0]), "y": _digits(xy[:, 1]), "norm": _digits(new)}

    def _moves(self, session: Session, forecast: SiteForecast, span: Span, bases: Sequence[RunRecord]) -> Floats:
        edits = forecast.edits
        k, j = len(edits.columns), len(edits.neurons)
        nothing = np.zeros((3, k)), np.zeros((3, j))
        columns = np.array([forecast.column_sums.get(length_of(run), nothing[0]) for run in bases]).reshape(
            len(bases), 3, k
        )
        neurons = np.array([forecast.neuron_sums.get(length_of(run), nothing[1]) for run in bases]).reshape(
            len(bases), 3, j
        )
        directions = cast("Floats", forecast.directions)
        rows = np.zeros((j, span.width)) if forecast.rows is None else forecast.rows
        at = np.concatenate([directions.reshape(-1, span.width), rows])[:, edits.columns]
        of_run = np.array([run.condition for run in session.runs], np.int64)
        tokens = segment_tokens(self._experiment, bases)
        moves = edits.moves(session, of_run, tokens, columns, neurons, at)
        return moves if forecast.rows is not None else moves[:, : k + len(directions)]


def forecast_inputs(
    experiment: Experiment, directions: Mapping[str, NDArray[np.floating]], rows: Mapping[str, NDArray[np.floating]]
) -> dict[str, Any]:
    """Plain data that predicting needs of what is at hand when a run begins.

    Args:
        directions: by name, those that interventions steer along.
        rows: by captured site, the rows of W_out of the neurons that are edited in its layer.
    """
    named = [intervention.direction for intervention in experiment.interventions if intervention.direction is not None]
    return {
        "directions": {name: np.asarray(directions[name], np.float64).tolist() for name in named},
        "rows": {site: np.asarray(matrix, np.float64).tolist() for site, matrix in rows.items()},
    }


def _directions(edits: SiteEdits, inputs: Mapping[str, Any]) -> Floats | None:
    known: Mapping[str, Any] = inputs.get("directions", {})
    if any(name not in known for name in edits.directions):
        return None
    return np.array([known[name] for name in edits.directions], np.float64)


def _rows(edits: SiteEdits, inputs: Mapping[str, Any]) -> Floats | None:
    known: Mapping[str, Any] = inputs.get("rows", {})
    if not len(edits.neurons) or edits.site not in known:
        return None
    rows = np.array(known[edits.site], np.float64)
    return rows if rows.ndim == 2 and len(rows) == len(edits.neurons) else None


def _settled(values: Floats, before: Sequence[float]) -> Floats:
    """Round-off of what was subtracted is no coordinate."""
    return np.where(np.abs(values) <= 1e-12 * np.abs(np.array(before)), 0.0, values)


def _digits(values: Floats) -> list[float | str]:
    """Ten digits: more than float32 vectors hold, and half the size in a file."""
    return [plain_float(float(f"{value:.10g}")) for value in values.tolist()]
