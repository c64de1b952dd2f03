"""From values in sigma, quantiles or norms to raw values, by statistics of the baseline's generated tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Condition, Experiment, InterventionSpec, conditions
from srm_explorer.engine.session import DamagedError, Resolved, Session

UNITS_PREFIX = "units/"
"""Names, among a batch's vectors, the readings that units are measured on: "units/0" for the first intervention."""

_WITHOUT_NUMBERS = ("zero", "project_out", "patch")
"""Operations that take no raw value."""

_QUANTILES = np.linspace(0.0, 1.0, 1001)


@dataclass(frozen=True)
class Reading:
    """Statistics of one intervention's target over generated token positions of the baseline runs.

    Args:
        mean: [k] of each neuron; of the projection for a direction.
        std: [k] standard deviation (ddof 0).
        quantiles: [1001, k] at 0, 0.001, ..., 1.
        norm: mean length of the site's vectors, for a direction; else None.
        sample: [token, k] what was measured, where it is at hand: quantiles are then exact.
    """

    mean: np.ndarray
    std: np.ndarray
    quantiles: np.ndarray
    norm: float | None
    tokens: int
    sample: np.ndarray | None = None

    @classmethod
    def of(cls, values: np.ndarray, *, is_direction: bool) -> Reading:
        """Measure [token, k] values; for a direction the columns are projection and norm."""
        values = np.asarray(values, dtype=np.float64)
        target = values[:, :1] if is_direction else values
        # The mean of equal numbers may be off by rounding, which would give what never changes a tiny sigma.
        varies = target.max(axis=0) > target.min(axis=0)
        return cls(
            mean=target.mean(axis=0),
            std=np.where(varies, target.std(axis=0), 0.0),
            quantiles=np.quantile(target, _QUANTILES, axis=0),
            norm=float(values[:, 1].mean()) if is_direction else None,
            tokens=len(values),
            sample=target,
        )

    def quantile(self, q: float) -> np.ndarray:
        """Return the quantile at q, [k]; interpolated between thousandths where the sample is not at hand."""
        if self.sample is not None:
            return np.quantile(self.sample, q, axis=0)
        columns = cast("list[list[float]]", self.quantiles.T.tolist())
        return np.array([np.interp(q, _QUANTILES, column) for column in columns])

    def to_dict(self, target: InterventionSpec) -> dict[str, Any]:
        return {
            "site": target.site,
            "neurons": list(target.neurons),
            **({"heads": list(target.heads), "coordinates": list(target.coordinates)} if target.heads else {}),
            "direction": target.direction,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "norm": self.norm,
            "tokens": self.tokens,
            "quantiles": [[float(f"{v:.7g}") for v in row] for row in self.quantiles.tolist()],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Reading:
        return cls(
            np.array(data["mean"]), np.array(data["std"]), np.array(data["quantiles"]), data["norm"], data["tokens"]
        )


def needs_baseline(experiment: Experiment) -> bool:
    """Whether conditions wait for what is measured on the baseline."""
    if experiment.survey:
        # Its neurons' values are no conditions' values, and the baseline alone is run in batches.
        return False
    return experiment.stats is None and any(is_relative(intervention) for intervention in experiment.interventions)


def check_resolved(experiment: Experiment, resolved: Resolved) -> None:
    """Make sure that raw values fit the conditions of an experiment and what it intervenes on.

    Raises:
        DamagedError: they do not.
    """
    edits, known = experiment.interventions, conditions(experiment)
    fits = len(resolved) == len(known) and all(
        len(row) == len(edits)
        and all(
            (values is None) == (value is None) and (values is None or _fits(edit, len(values)))
            for edit, value, values in zip(edits, condition.values, row, strict=True)
        )
        for condition, row in zip(known, resolved, strict=True)
    )
    if not fits:
        raise DamagedError("resolved does not fit the conditions")


def _fits(edit: InterventionSpec, count: int) -> bool:
    """Whether an intervention may have that many raw values: one for all of a head, or one a coordinate."""
    if edit.op in _WITHOUT_NUMBERS or not edit.heads:
        return count == (0 if edit.op in _WITHOUT_NUMBERS else max(len(edit.neurons), 1))
    if not is_relative(edit):
        return count == 1
    each, rest = divmod(count, len(edit.heads))
    return each > 0 and not rest and each == (len(edit.coordinates) or each)


def resolve(experiment: Experiment, conditions: Sequence[Condition], readings: Sequence[Reading | None]) -> Resolved:
    """Turn every value of every condition into raw values, one a neuron (one for a direction, or for whole heads).

    clamp: mean + k sigma, or the quantile; add and steer: k sigma; steer in `norm`: k times the mean norm; mean: the
    mean; zero, project_out and patch: none. Raw values stay as they are.

    Args:
        experiment: states operations and units.
        readings: statistics, one an intervention; None where its unit needs none.

    Raises:
        ExplorerError: a unit that needs a statistic which is 0 or not there.
    """
    rows: list[tuple[tuple[float, ...] | None, ...]] = []
    for condition in conditions:
        row = [
            None if value is None else _raw(intervention, value, reading, index)
            for index, (intervention, value, reading) in enumerate(
                zip(experiment.interventions, condition.values, readings, strict=True)
            )
        ]
        rows.append(tuple(row))
    return tuple(rows)


def readings_of(session: Session, experiment: Experiment) -> list[Reading | None]:
    """Take the statistics of another session's baseline, for `stats`.

    Raises:
        ExplorerError: that session measured no such target.
    """
    measured: Sequence[Mapping[str, Any]] = session.provenance.get("units", [])
    readings: list[Reading | None] = []
    for index, intervention in enumerate(experiment.interventions):
        match = next((m for m in measured if m and _same_target(m, intervention)), None)
        if match is None and is_relative(intervention):
            raise ExplorerError(
                f"session {session.name} measured nothing at {intervention.site} for {_target(intervention)}",
                where=f"interventions[{index}]",
                remedy="name a session with the same site and neurons, or leave `stats` out",
            )
        readings.append(None if match is None else Reading.from_dict(match))
    return readings


def is_relative(intervention: InterventionSpec) -> bool:
    """Whether its raw values are measured on the baseline."""
    return intervention.op == "mean" or intervention.unit != "raw"


def _raw(intervention: InterventionSpec, value: float, reading: Reading | None, index: int) -> tuple[float, ...]:
    if intervention.op in _WITHOUT_NUMBERS:
        return ()
    if not is_relative(intervention):
        return (float(value),) * max(len(intervention.neurons), 1)
    where = f"interventions[{index}]"
    if reading is None or not reading.tokens:
        raise ExplorerError("nothing was measured to take units from", where=where, remedy="use unit = 'raw'")
    if intervention.op == "mean":
        return tuple(reading.mean.tolist())
    if intervention.unit == "norm":
        assert reading.norm is not None, "a direction's reading has a norm"
        return (value * reading.norm,)
    is_quantile = intervention.unit == "quantile"
    if not (reading.std > 0).any() if is_quantile else not (reading.std > 0).all():
        so = "every quantile is what it is anyway" if is_quantile else "sigma is 0"
        what = f"{_target(intervention)} never changes over the baseline, so {so}"
        raise ExplorerError(what, where=where, remedy="use unit = 'raw'")
    if is_quantile:
        return tuple(reading.quantile(value).tolist())
    centre = reading.mean if intervention.op == "clamp" else 0.0
    return tuple((centre + value * reading.std).tolist())


def _same_target(measured: Mapping[str, Any], intervention: InterventionSpec) -> bool:
    return (
        measured["site"] == intervention.site
        and tuple(measured["neurons"]) == intervention.neurons
        and tuple(measured.get("heads", ())) == intervention.heads
        and tuple(measured.get("coordinates", ())) == intervention.coordinates
        and measured["direction"] == intervention.direction
    )


def _target(intervention: InterventionSpec) -> str:
    if intervention.direction:
        return f"direction {intervention.direction}"
    if intervention.heads:
        heads = f"head{'s' if len(intervention.heads) > 1 else ''} {', '.join(map(str, intervention.heads))}"
        return heads + (
            f", coordinates {', '.join(map(str, intervention.coordinates))}" * bool(intervention.coordinates)
        )
    return f"neuron{'s' if len(intervention.neurons) > 1 else ''} {', '.join(map(str, intervention.neurons))}"
