"""A neuron against all its partners in every way, and what a table says of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from engine.analysis.blocks import Blocks
from engine.analysis.multiplicity import benjamini_hochberg, family_size
from engine.analysis.pairings import Method, Pairing, pair
from engine.analysis.unit_slopes import SlopeTest, slope_test
from engine.errors import ExplorerError
from engine.figures.table import CellValue, TableColumn
from engine.studies.pair_ways import Floats, Partners, Way, WayName, ways_of

METHODS: tuple[Method, ...] = ("pearson", "spearman")
WAYS: tuple[WayName, ...] = ("within", "baseline", "pooled", "partial")


@dataclass(frozen=True, eq=False)
class Compared:
    """All correlations of a neuron.

    Attributes:
        partners: what it was compared with.
        ways: in which ways.
        pairings: [partner] r and p, by way and method; NaN where nothing was computed.
        q: [partner] corrected over all p together.
        family: how many those are.
        permutations: of the first round, and flips of signs.
        seed: of both.
        slopes: of the ways in which the experimenter set the neuron; None without.
    """

    partners: Partners
    ways: tuple[Way, ...]
    pairings: Mapping[tuple[WayName, Method], Pairing]
    q: Mapping[tuple[WayName, Method], Floats]
    family: int
    permutations: int
    seed: int
    slopes: SlopeTest | None

    @classmethod
    def of(cls, partners: Partners, permutations: int, seed: int, *, with_site: bool) -> Compared:
        """Compare in every way that the session has runs for; `with_site` False leaves out the neuron's own site.

        Raises:
            ExplorerError: there are too few runs for any.
        """
        ways = ways_of(partners)
        if not ways:
            what = "it has fewer than three runs to correlate over"
            raise ExplorerError(what, where=partners.caught.session.name, remedy="run more prompts")
        found: dict[tuple[WayName, Method], Pairing] = {}
        slopes: dict[Method, SlopeTest] = {}
        for way in ways:
            usable = way.usable.copy()
            usable[: partners.n_site] &= with_site
            columns = np.flatnonzero(usable)
            y, by_slopes = way.y[:, columns], way.blocks is None
            both = pair(
                way.x,
                y,
                way.blocks or Blocks(len(y), ()),
                labels=way.labels.tolist(),
                scale=way.scale,
                methods=METHODS,
                permutations=0 if by_slopes else permutations,
                seed=seed,
            )
            if by_slopes and not slopes:
                # Pooled or partial, the runs and so the slopes of units are the same.
                caught = partners.caught
                slopes = slope_test(
                    way.x, y, caught.prompt, caught.unit, methods=METHODS, flips=permutations, seed=seed
                )
            for method, one in both.items():
                told = replace(one, p=np.where(np.isnan(one.r), np.nan, slopes[method].p)) if by_slopes else one
                found[way.name, method] = _spread(told, columns, len(usable))
        every = np.stack([one.p for one in found.values()])
        q = benjamini_hochberg(every)
        tested = slopes.get("pearson")
        family = family_size(every)
        return cls(partners, ways, found, dict(zip(found, q, strict=True)), family, permutations, seed, tested)

    @cached_property
    def leading(self) -> WayName:
        """The way that rows are ordered by: within a value where there are values."""
        for name in WAYS:
            if (name, "pearson") in self.pairings and np.isfinite(self.pairings[name, "pearson"].r).any():
                return name
        return self.ways[0].name

    def columns(self) -> list[TableColumn]:
        """Those of the ways, the leading one first."""
        found: list[TableColumn] = []
        for rank, name in enumerate(self._ordered()):
            keep = 2 * rank
            found += [
                TableColumn(f"{name}_r", f"r {name}", "number", keep),
                TableColumn(f"{name}_p", "p", "p", 30 + rank),
                TableColumn(f"{name}_q", "q", "p", keep + (1 if rank else 0)),
                TableColumn(f"{name}_rho", f"ρ {name}", "number", 10 + keep),
                TableColumn(f"{name}_rho_p", "p of ρ", "p", 40 + rank),
                TableColumn(f"{name}_rho_q", "q of ρ", "p", 20 + keep),
            ]
        labels = [label for way in self.ways for label in way.values]
        return found + [TableColumn(f"r_at_{label}", f"r at {label}", "number", 50) for label in labels]

    def cells(self, partner: int) -> list[CellValue]:
        """A partner's values in these columns."""
        found: list[CellValue] = []
        for name in self._ordered():
            for method in METHODS:
                one, q = self.pairings[name, method], self.q[name, method]
                found += [cell(one.r[partner]), cell(one.p[partner]), cell(q[partner])]
        each = [self.pairings[way.name, "pearson"].each for way in self.ways if way.values]
        return found + [cell(row[partner]) for rows in each for row in rows]

    def _ordered(self) -> list[WayName]:
        return sorted((way.name for way in self.ways), key=lambda name: (name != self.leading, WAYS.index(name)))


def cell(value: float) -> float | None:
    """A number of an array for a table; None where there is none."""
    return float(value) if np.isfinite(value) else None


def _spread(one: Pairing, columns: NDArray[np.int64], partners: int) -> Pairing:
    """Put the columns that were compared back to their places, NaN between them."""

    def wide(values: Floats) -> Floats:
        found = np.full((*values.shape[:-1], partners), np.nan)
        found[..., columns] = values
        return found

    return Pairing(wide(one.r), wide(one.p), wide(one.each))
