"""What stands beside the curves of a plane: what arithmetic predicts, how sure they are, and what chance draws."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.figures.bands import Band, GroupBand, NullBand, PlaneBands
from srm_explorer.engine.figures.curves import (
    UNDETERMINED,
    Curve,
    CurveBand,
    LegendEntry,
    LegendRow,
    SweptGroup,
    counts_detail,
    legend_of,
    mean_detail,
    mean_row,
)
from srm_explorer.engine.figures.numbers import count_of, degrees, short, three_digits
from srm_explorer.engine.figures.table import cell_text
from srm_explorer.engine.session import ChangedUnits

CHANCE = "chance"
FEW_PREDICTED = 2
"""Groups whose predictions can be told apart on one chart."""


@dataclass(frozen=True, eq=False)
class Overlays:
    """What stands beside the groups of a chart.

    Attributes:
        predicted: what arithmetic makes of a group's runs, swept, by the group's label.
        bands: how sure the curves are; None where that is not known.
        lengths: what its test made of texts that differ in length, by the group's label; empty where none does.
        common: where the group and its prediction lie over the tokens that texts have in common, by its label.
        focus: label of the one group whose band and chance are drawn, and whose prediction alone is where there are
            many groups.
    """

    predicted: Mapping[str, SweptGroup] = field(default_factory=dict[str, SweptGroup])
    bands: PlaneBands | None = None
    lengths: Mapping[str, str] = field(default_factory=dict[str, str])
    common: Mapping[str, str] = field(default_factory=dict[str, str])
    focus: str = ""
    null: NullBand | None = None

    def arithmetic(self, groups: Sequence[SweptGroup]) -> tuple[SweptGroup, ...]:
        """The predictions to draw beside some groups: of all where there are few, else of the one in focus."""
        predicted = [group for group in groups if group.label in self.predicted]
        if len(predicted) > FEW_PREDICTED:
            predicted = [group for group in predicted if group.label == self.focus]
        return tuple(self.predicted[group.label] for group in predicted)

    def mean_bands(self, groups: Sequence[SweptGroup]) -> tuple[CurveBand, ...]:
        """Bands of the mean cosine of the group in focus, chance first."""
        bands: list[CurveBand] = []
        focused = self._focused(groups)
        if self.null is not None and focused is not None:
            bands.append(_closed(CHANCE, self.null.mean, chance=True))
        band = None if focused is None or self.bands is None else self.bands.of(focused.label)
        if focused is not None and band is not None:
            bands.append(_closed(focused.label, band.mean_band(len(focused.sweep.angles_deg))))
        return tuple(bands)

    def count_bands(self, groups: Sequence[SweptGroup], threshold: float, *, share: bool) -> tuple[CurveBand, ...]:
        """Bands of the counts, or shares, of the group in focus, chance first; none where they were not computed."""
        bands: list[CurveBand] = []
        focused = self._focused(groups)
        if self.null is not None and focused is not None:
            null = above(self.null.counts, threshold)
            if null is not None:
                bands.append(_closed(CHANCE, null / _whole(focused, share), chance=True))
        band = None if focused is None or self.bands is None else self.bands.of(focused.label)
        counts = None if band is None else above(band.counts, threshold)
        if focused is not None and counts is not None:
            bands.append(_closed(focused.label, counts / _whole(focused, share)))
        return tuple(bands)

    def legend(
        self, groups: Sequence[SweptGroup], bands: Sequence[CurveBand] = (), level: str = ""
    ) -> tuple[LegendEntry, ...]:
        """An entry a group with its uncertainty where that is known, then one for arithmetic and one for chance.

        Args:
            level: what counts are above, "> .5", where bands and predictions are drawn for one of several thresholds.
        """
        drawn = [band.label for band in bands if not band.chance]
        entries = [
            entry
            if band is None
            else LegendEntry(
                group.label, group.role, _sure(group, band, self, drawn, level), row=_sure_row(group, band, self)
            )
            for group, entry, band in (
                (group, entry, None if self.bands is None else self.bands.of(group.label))
                for group, entry in zip(groups, legend_of(groups), strict=True)
            )
        ]
        for group in groups:
            predicted = self.predicted.get(group.label)
            if predicted is not None and predicted in self.arithmetic(groups):
                details = tuple(detail for detail in (level, mean_detail(predicted)) if detail)
                row = dataclasses.replace(mean_row(predicted), runs="")
                entries.append(LegendEntry(predicted.label, "arithmetic", details, of=group.label, row=row))
        if self.null is not None and any(band.chance for band in bands):
            several = sum(group.label in self.predicted for group in groups) > 1
            of = f"of {self.focus}" if several else ""
            details = tuple(detail for detail in (level, self.null.legend, of) if detail)
            entries.append(LegendEntry(CHANCE, "chance", details, row=LegendRow(note=self.null.legend)))
        return tuple(entries)

    def _focused(self, groups: Sequence[SweptGroup]) -> SweptGroup | None:
        return next((group for group in groups if group.label == self.focus), None)


NO_OVERLAYS = Overlays()
"""Nothing beside the groups."""


def predicted_group(group: SweptGroup, swept: SweptGroup, *, alone: bool) -> SweptGroup:
    """Name what arithmetic makes of a group: "arithmetic", with the group's label where it is not the only one."""
    label = "arithmetic" if alone else f"arithmetic {group.label}"
    return SweptGroup(label, "arithmetic", swept.sweep, swept.n_prompts, swept.n_runs)


def dashed_curves(curves: Iterable[Curve], predicted: Sequence[SweptGroup]) -> tuple[Curve, ...]:
    labels = {group.label for group in predicted}
    return tuple(
        Curve(curve.label, curve.x, curve.y, curve.tag, curve.dotted, dashed=curve.label in labels or curve.dashed)
        for curve in curves
    )


def above(counts: Mapping[float, Band], threshold: float) -> Band | None:
    """The band of a threshold; None where it was not computed."""
    return next((band for level, band in counts.items() if abs(level - threshold) < 1e-12), None)


def phase_detail(group: SweptGroup, band: GroupBand) -> str:
    """The phase and the angle it may lie in: "φ 259° (251, 267)"; "φ undetermined" where it may be any."""
    if band.phase_deg is None:
        return f"φ {UNDETERMINED}"
    return f"φ {degrees(group.sweep.phase_deg)} {_phase_range(band)}"


def _phase_range(band: GroupBand) -> str:
    if band.phase_deg is None:
        return ""
    first, last = (round(angle) % 360 for angle in band.phase_deg)
    return f"({first}, {last})"


def residual_details(band: GroupBand, bands: PlaneBands, lengths: str = "") -> tuple[str, ...]:
    """What is beyond arithmetic, and how likely by chance alone; none where untested.

    "beyond arithmetic p .430 of symmetry", "q .600 of 12", "Δ .0120 [.004, .02] p .310", "text changed in 12 of 50
    units".

    Where more was computed on the session than the family holds, that is told too: "q .600 of 12; 41 so far".

    Args:
        lengths: what the test made of texts that differ in length.
    """
    if band.p_arithmetic is None or math.isnan(band.p_arithmetic):
        return ()
    # Sessions of earlier versions do not hold what tells the two apart.
    of = " of symmetry" if band.changed is not None or band.p_mean is not None else ""
    over = f", {lengths}" if lengths else ""
    details = [f"beyond arithmetic p {cell_text(band.p_arithmetic, 'p')}{of}{over}"]
    corrected = band.q_arithmetic
    if corrected is not None and not math.isnan(corrected) and bands.family >= 2:
        others = f"; {bands.total:,} so far" if bands.total > bands.family else ""
        details.append(f"q {cell_text(corrected, 'p')} of {bands.family}{others}")
    if band.beyond is not None and band.p_mean is not None:
        length, low, high = map(three_digits, band.beyond)
        details.append(f"Δ {length} [{low}, {high}] p {cell_text(band.p_mean, 'p')}")
    if band.changed is not None:
        details.append(ChangedUnits(*band.changed).caption)
    return tuple(details)


def band_ends(bands: Iterable[CurveBand]) -> list[float]:
    """Every finite end of some bands, for the range of an axis."""
    return [value for band in bands for value in (*band.low.tolist(), *band.high.tolist()) if math.isfinite(value)]


def _sure(group: SweptGroup, band: GroupBand, overlays: Overlays, drawn: Sequence[str], level: str) -> tuple[str, ...]:
    bands = overlays.bands
    assert bands is not None
    low, high = band.amplitude
    amplitude = f"A {three_digits(group.sweep.amplitude)} [{three_digits(low)}, {three_digits(high)}]"
    detail = f"┆ {short(100 * bands.level)} % band of {count_of(band.units, 'unit')}"
    detail = f"{detail}, {level}" if level else detail
    return (
        amplitude,
        phase_detail(group, band),
        *residual_details(band, bands, overlays.lengths.get(group.label, "")),
        counts_detail(group),
        *([detail] if group.label in drawn else []),
        *([common] if (common := overlays.common.get(group.label, "")) else []),
    )


def _sure_row(group: SweptGroup, band: GroupBand, overlays: Overlays) -> LegendRow:
    low, high = map(three_digits, band.amplitude)
    tested = band.p_arithmetic is not None and not math.isnan(band.p_arithmetic)
    return dataclasses.replace(
        mean_row(group),
        amplitude_range=f"[{low}, {high}]",
        phase=UNDETERMINED if band.phase_deg is None else degrees(group.sweep.phase_deg),
        phase_range=_phase_range(band),
        p=cell_text(band.p_arithmetic, "p") if tested else "",
        note=overlays.lengths.get(group.label, "") if tested else "",
    )


def _whole(group: SweptGroup, share: bool) -> float:
    return float(group.sweep.n or math.nan) if share else 1.0


def _closed(label: str, band: NDArray[np.float64], *, chance: bool = False) -> CurveBand:
    """A band over angles, its first point again at 360 degrees."""
    x = np.linspace(0.0, 360.0, band.shape[1] + 1)
    whole = np.concatenate([band, band[:, :1]], axis=1)
    return CurveBand(label, x, whole[0], whole[1], chance)
