"""The runs of a session as rows of numbers: their vectors, their conditions, and how they are nested in units."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.model_fit import captured_segments, covered, propagation_of
from srm_explorer.engine.experiment.site import Site, head_coordinates
from srm_explorer.engine.io.vectors import Matrix, as_rows
from srm_explorer.engine.session import UNIT_FACTOR, Session, Units, units_of
from srm_explorer.engine.session.export import chosen_site
from srm_explorer.engine.session.lengths import NOTHING, marks_of, means_over, shorter_means, token_counts
from srm_explorer.engine.stats.permutation import Blocks, matched_blocks

REPLACING = ("clamp", "zero", "mean", "project_out", "patch")
"""Operations after which nothing is left of what the neuron would have been."""


@dataclass(frozen=True, eq=False)
class Captured:
    """Runs with finite vectors, those of controls left out.

    Attributes:
        rows: [run] places among the session's runs.
        vectors: by site, [run, d] float32; the mean over tokens where every token was kept.
        condition: [run] index of the condition.
        prompt: [run] index of the prompt.
        unit: [run] index of the unit.
        slot: [run] place in the unit, the same for like prompts and samples of different units.
        left_out: runs whose vectors are not finite.
        shorter: by site, [mark, d] means over first tokens of every run of the session, where texts differ in length
            and these are kept.
    """

    session: Session
    rows: NDArray[np.int64]
    vectors: dict[str, Matrix]
    units: Units
    condition: NDArray[np.int64]
    prompt: NDArray[np.int64]
    unit: NDArray[np.int64]
    slot: NDArray[np.int64]
    left_out: int
    shorter: dict[str, list[Matrix]]

    def means(self, site: str, places: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """[place, d] means of some of these runs over their first tokens, see `lengths.means_over`."""
        session = self.session
        rows: list[int] = self.rows.tolist()
        marks = marks_of(session.spec, session.conditions, session.runs) if site in self.shorter else []
        kept = self.shorter.get(site)
        of_these = None if kept is None else [kept[row] for row in rows]
        return means_over(self.vectors[site], of_these, [marks[row] for row in rows] if kept else [], places, tokens)

    def over(self, tokens: NDArray[np.int64]) -> Captured:
        """The same runs over their first tokens, those left out that have none of them.

        Args:
            tokens: [run of the session] as `lengths.alike_tokens` has them; where means are not kept, over all.
        """
        chosen = tokens[self.rows]
        if not self.shorter or (chosen == token_counts(self.session)[self.rows]).all():
            return self
        kept = np.flatnonzero(chosen != NOTHING)
        return dataclasses.replace(
            self,
            vectors={site: self.means(site, kept, chosen[kept]).astype(np.float32) for site in self.vectors},
            rows=self.rows[kept],
            condition=self.condition[kept],
            prompt=self.prompt[kept],
            unit=self.unit[kept],
            slot=self.slot[kept],
            shorter={},
        )

    def kinds(self, *kinds: str) -> NDArray[np.int64]:
        """The runs, as places among these, whose condition is of one of the kinds."""
        of = np.array([condition.kind in kinds for condition in self.session.conditions], np.bool_)
        return np.flatnonzero(of[self.condition])

    def baseline(self) -> NDArray[np.int64]:
        """[run] place among these of the baseline run of the same prompt and sample; -1 where it is not there."""
        every = [(run.prompt, run.sample) for run in self.session.runs]
        keys = [every[int(row)] for row in self.rows]
        row_of = {keys[int(row)]: int(row) for row in self.kinds("baseline")}
        return np.array([row_of.get(key, -1) for key in keys], np.int64)

    def units_exchanged(self, chosen: NDArray[np.int64]) -> Blocks:
        """How units may change places within prompt sets, conditions, prompts and samples nested in them.

        Args:
            chosen: [row] some of these runs.
        """
        unit = self.unit[chosen]
        slot = self.slot[chosen] * len(self.session.conditions) + self.condition[chosen]
        return matched_blocks(unit.tolist(), slot.tolist(), self.units.stratum[unit].tolist())


def captured(session: Session, sites: Sequence[str]) -> Captured:
    """Read the vectors of a session's runs at some sites.

    Raises:
        ExplorerError: the vectors were not kept or cannot be read, a site was not captured, or no run is left.
    """
    for site in sites:
        chosen_site(session, site)
    read = session.vectors(sites)
    is_kept = (session.kinds != "control") & session.seen
    means = {site: as_rows(read[site], dtype=np.float32) for site in sites}
    finite = is_kept.copy()
    for site in sites:
        finite &= np.isfinite(means[site]).all(axis=1)
    rows = np.flatnonzero(finite)
    if not rows.size:
        remedy = "run the experiment again" if not is_kept.any() else "look at its warnings: the vectors overflowed"
        raise ExplorerError("it has no run with finite vectors", where=session.name, remedy=remedy)
    units = units_of(session)
    prompt = np.array([run.prompt for run in session.runs], np.int64)
    return Captured(
        session=session,
        rows=rows,
        vectors={site: means[site][rows] for site in sites},
        units=units,
        condition=np.array([run.condition for run in session.runs], np.int64)[rows],
        prompt=prompt[rows],
        unit=units.of_run[rows],
        slot=_slots(session, units)[rows],
        left_out=int(is_kept.sum() - finite.sum()),
        shorter=shorter_means(session, read),
    )


def edited(session: Session, site: str, *, replaced: bool = False) -> dict[int, NDArray[np.bool_]]:
    """The coordinates of a site that the experimenter changed at captured positions, and [condition] where.

    Args:
        site: captured.
        replaced: only where nothing is left of what the coordinate would have been.
    """
    kept = captured_segments(session.spec)
    where: dict[int, NDArray[np.bool_]] = {}
    for index, edit in enumerate(session.spec.interventions):
        meets = any(a and b for a, b in zip(kept, covered(edit.positions), strict=True))
        if edit.site != site or not meets or (replaced and edit.op not in REPLACING):
            continue
        present = np.array([c.kind != "control" and c.values[index] is not None for c in session.conditions], np.bool_)
        coordinates = edit.neurons
        if edit.heads and (width := head_width(session, Site.parse(site).layer)):
            coordinates = head_coordinates(edit.heads, edit.coordinates, width)
        for neuron in coordinates:
            where[neuron] = where.get(neuron, np.zeros(len(present), np.bool_)) | present
    return where


def head_width(session: Session, layer: int) -> int:
    """Coordinates of one attention head of a layer, as a session tells of its model; 0 where it does not."""
    widths: object = session.told("model").get("head_widths")
    if not isinstance(widths, list | tuple) or layer >= len(cast("Sequence[object]", widths)):
        return 0
    width = cast("Sequence[object]", widths)[layer]
    return width if isinstance(width, int) else 0


def is_steered(session: Session, site: str) -> bool:
    kept = captured_segments(session.spec)
    return any(
        edit.direction is not None
        and propagation_of(edit.site, site) == "own"
        and any(a and b for a, b in zip(kept, covered(edit.positions), strict=True))
        for edit in session.spec.interventions
    )


def _slots(session: Session, units: Units) -> NDArray[np.int64]:
    """[run] the factors of its prompt but the unit's own, how many prompts like it the unit has before, its sample."""
    of_prompt = {run.prompt: int(unit) for run, unit in zip(session.runs, units.of_run.tolist(), strict=True)}
    numbers: dict[tuple[object, ...], int] = {}
    before: dict[tuple[object, ...], int] = {}
    key_of: dict[int, tuple[object, ...]] = {}
    for prompt in sorted(of_prompt):
        factors = session.prompts[prompt].factors
        # Where a prompt is a unit by itself, its factors are what differs between units, not a place within one.
        like = tuple(sorted((k, v) for k, v in factors.items() if k != UNIT_FACTOR)) if UNIT_FACTOR in factors else ()
        seen = (of_prompt[prompt], like)
        key_of[prompt] = (like, before.get(seen, 0))
        before[seen] = before.get(seen, 0) + 1
    slots = [numbers.setdefault((*key_of[run.prompt], run.sample), len(numbers)) for run in session.runs]
    return np.array(slots, np.int64)
