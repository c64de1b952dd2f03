"""One session of a comparison: what its intervention did, in numbers with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.paired_texts import PairedTexts
from srm_explorer.engine.figures.captions import pooled_caption
from srm_explorer.engine.figures.groups import points_of, run_groups
from srm_explorer.engine.figures.table import CellValue
from srm_explorer.engine.session import PlaneRecord, Session
from srm_explorer.engine.stats.bands import share_bands
from srm_explorer.engine.stats.regions import JointRegion, joint_region
from srm_explorer.engine.stats.resampling import LEVEL, RESAMPLES, unit_totals
from srm_explorer.engine.stats.unit_means import mean_effect

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

NOT_SCORED = "not scored"


@dataclass(frozen=True)
class Estimate:
    """A number and the ends of its interval; None where there are none, as of too few units."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, low: float, high: float) -> Estimate:
        return cls(value, *(float(end) if math.isfinite(end) else None for end in (low, high)))

    @property
    def cells(self) -> tuple[CellValue, ...]:
        return self.value, self.low, self.high


@dataclass(frozen=True, eq=False)
class MeasuredSession:
    """A session in a comparison and what its intervention did, all its values together.

    Attributes:
        plane: where its vectors are looked at; None without one.
        seed: of everything that is drawn.
        condition: index of the one condition that is looked at; None for all values together.
    """

    session: Session
    name: str
    plane: PlaneRecord | None
    pairs: PairedTexts
    resamples: int = RESAMPLES
    seed: int = 0
    condition: int | None = None

    @cached_property
    def group(self) -> str:
        """What all its values together are called; empty where no run of any is finished."""
        pooled = pooled_caption(self.session.spec)
        return pooled if self.session.runs and pooled in run_groups(self.session, ()) else ""

    @cached_property
    def runs(self) -> Index:
        """The runs that are looked at."""
        runs = run_groups(self.session, ())[self.group].runs if self.group else np.empty(0, np.int64)
        if self.condition is None:
            return runs
        return runs[[self.session.runs[int(run)].condition == self.condition for run in runs]]

    @cached_property
    def members(self) -> Index:
        """Those of the runs that stand beside a baseline whose text is known, as places of `PairedTexts.rows`."""
        pairs = self.pairs
        beside = np.isin(pairs.rows, self.runs) & (pairs.base >= 0)
        beside &= pairs.known[pairs.rows] & pairs.known[np.maximum(pairs.base, 0)]
        return np.flatnonzero(beside)

    def region(self, level: float = LEVEL) -> JointRegion | None:
        """Where (A, B) of the mean may lie; None without a plane, or over too few units."""
        if self.plane is None or not self.group:
            return None
        units = self.pairs.units
        totals = unit_totals(points_of(self.plane).xy, units.of_run, len(units), self.runs)
        return joint_region(totals, units.stratum, level=level, seed=self.seed)

    @cached_property
    def amplitude(self) -> Estimate | None:
        """Length of the mean of the runs' cosines with the plane's directions."""
        if self.plane is None or not self.group:
            return None
        points, region = points_of(self.plane), self.region()
        finite = self.runs[points.finite[self.runs]]
        if not finite.size:
            return None
        length = float(np.hypot(*points.xy[finite].mean(axis=0)))
        return Estimate(length) if region is None or region.is_point else Estimate.of(length, *region.amplitude)

    @cached_property
    def changed(self) -> Estimate | None:
        """Share of runs whose text is not the baseline's; None where no text is known."""
        members = self.members
        if not members.size:
            return None
        units = self.pairs.units
        totals = unit_totals(self.pairs.changed[members].astype(np.float64), self.pairs.unit(members), len(units))
        band = share_bands(totals, units.stratum, resamples=self.resamples, seed=self.seed)
        value = float(totals.mean[0])
        return Estimate(value) if band is None else Estimate.of(value, float(band[0, 0]), float(band[1, 0]))

    @cached_property
    def kl(self) -> Estimate | None:
        """Mean over units of KL(untouched || condition) a token, nats; None where it was not scored."""
        values = self.pairs.kl[self.members]
        if not np.isfinite(values).any():
            return None
        units = self.pairs.units
        means = unit_totals(values, self.pairs.unit(self.members), len(units)).unit_means[:, 0]
        effect = mean_effect(means, units.stratum, resamples=self.resamples, seed=self.seed)
        # A divergence is never below 0; the interval of a few units may be.
        low = max(0.0, float(effect.low)) if np.isfinite(effect.low) else float(effect.low)
        return Estimate.of(float(effect.mean), low, float(effect.high))

    @property
    def missing(self) -> dict[str, str]:
        """What is not there by measure, and what to do about it."""
        name = self.session.name
        if not self.group:
            nothing = f"no run of {self.name} beside its baseline: finish it, or give it an intervention"
            return dict.fromkeys(("amplitude", "changed", "kl"), nothing)
        missing: dict[str, str] = {}
        if self.plane is None:
            has_vectors = bool(self.session.spec.capture.sites)
            missing["amplitude"] = (
                f"no plane: srm-explorer planes {name} --add A B" if has_vectors else "texts alone, no vectors"
            )
        elif self.amplitude is None:
            missing["amplitude"] = "no finite vector"
        if self.changed is None:
            missing["changed"] = "its texts, or its baseline's, are not known"
        if self.kl is None:
            is_told = self.session.is_imported or self.session.is_unknown("texts")
            missing["kl"] = (
                "its model or its texts are not known"
                if is_told
                else f"{NOT_SCORED}: srm-explorer effects {name} --score"
            )
        return missing
