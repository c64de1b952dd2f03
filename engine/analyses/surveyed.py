"""A session's survey as analyses look at it: the finished neurons' numbers on the texts that count, and their ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Condition, Site, survey_settings
from srm_explorer.engine.experiment.survey import Cell, Chosen, Depth, chosen
from srm_explorer.engine.figures.numbers import count_of
from srm_explorer.engine.session import ForcedScores, FreeRuns, Session, SurveyTables, prompt_units
from srm_explorer.engine.session.survey import BROKEN
from srm_explorer.engine.stats.survey import FamilyRanks, rank_family

Floats = NDArray[np.float64]

MEASURES: Mapping[str, Mapping[str, str]] = {
    "forced": {
        "kl": "KL, nats a token",
        "logp": "fall of log-probability, nats a token",
        "flips": "share of tokens whose most probable token became another",
        "change": "change of the mean vector",
    },
    "free": {"changed": "share of texts that changed", "change": "change of the mean vector"},
}
"""What neurons are ranked by at each depth, the first where none is named."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """What was found at one depth, of the cells that are finished.

    Attributes:
        cells: [k] their places in the plan.
        texts: [m] places among the plan's texts that all that follows is of.
        at: [m] the same among the texts of this depth.
        unit: [m] the unit of each text, from 0.
        by_measure: [k, value, m] by name, more is more of an effect; those of `MEASURES`, and what is only told.
        changes: by captured site, [k, value, m].
    """

    depth: Depth
    cells: NDArray[np.int32]
    texts: NDArray[np.int64]
    at: NDArray[np.int64]
    unit: NDArray[np.int64]
    by_measure: Mapping[str, Floats]
    changes: Mapping[str, Floats]

    @cached_property
    def row(self) -> dict[int, int]:
        """Of each cell, by its place in the plan."""
        return {cell: row for row, cell in enumerate(self.cells.tolist())}

    @property
    def weight(self) -> Floats:
        """[m] of each text in a mean over units, as ranks are by: one over the number of texts of its unit."""
        return 1 / np.bincount(self.unit)[self.unit]

    def per_unit(self, measure: str, values: Sequence[int]) -> Floats:
        """[unit, k] means over some values and over the texts of each unit."""
        means = self.by_measure[measure][:, list(values)].mean(axis=1)
        units = int(self.unit.max()) + 1 if len(self.unit) else 0
        return np.stack([means[:, self.unit == unit].mean(axis=1) for unit in range(units)]) if units else means.T


@dataclass(frozen=True, eq=False)
class Survey:
    """A session's survey, and which of its texts are looked at.

    Attributes:
        settings: what was done to each neuron, a value each.
        named: (layer, neuron) that the experiment itself names; its place in the plan is -1 where it was not surveyed.
        held: whether those that it went on with were chosen on other texts than are looked at.
    """

    session: Session
    tables: SurveyTables
    settings: tuple[Condition, ...]
    texts: NDArray[np.int64]
    unit: NDArray[np.int64]
    held: bool
    _ranked: dict[tuple[Depth, str, tuple[int, ...]], FamilyRanks] = field(
        default_factory=dict[tuple[Depth, str, tuple[int, ...]], FamilyRanks], repr=False
    )

    @property
    def named(self) -> Cell:
        template = self.session.spec.interventions[0]
        return Site.parse(template.site).layer, template.neurons[0]

    @property
    def depths(self) -> tuple[Depth, ...]:
        """Those of which anything is finished."""
        known: dict[Depth, ForcedScores | FreeRuns | None] = {"forced": self.tables.forced, "free": self.tables.free}
        return tuple(depth for depth, part in known.items() if part is not None and len(part.cells))

    @property
    def site(self) -> str:
        """Where the mean vector's change is measured: the last captured site of the residual stream, else the last."""
        sites = self.session.spec.capture.sites
        return next((site for site in reversed(sites) if "resid" in site), sites[-1] if sites else "")

    def numbers(self, depth: Depth) -> Numbers:
        """What was found at a depth.

        Raises:
            ExplorerError: nothing is finished there.
        """
        if depth not in self.depths:
            if depth == "free" and not self.session.spec.survey.writes:
                remedy = "survey it with --depth free, or --then top:50"
                raise ExplorerError("texts were scored and none was written", where=self.session.name, remedy=remedy)
            remedy = "run the same command to go on"
            if self.depths:
                remedy = f"choose depth {self.depths[0]}, or {remedy}"
            raise ExplorerError(f"nothing of its {depth} survey is finished", where=self.session.name, remedy=remedy)
        sites = self.session.spec.capture.sites
        if depth == "forced":
            forced = self.tables.forced
            assert forced is not None
            at = self.texts
            own = {"kl": forced.kl, "logp": -forced.logp, "flips": np.where(np.isnan(forced.kl), np.nan, forced.flips)}
            changes, cells, unit, texts = forced.change, forced.cells, self.unit, self.texts
        else:
            free = self.tables.free
            assert free is not None
            of_text = {int(text): place for place, text in enumerate(free.texts)}
            shared = [place for place, text in enumerate(self.texts.tolist()) if text in of_text]
            texts = self.texts[shared]
            unit = _numbered(self.unit[shared])
            at = np.array([of_text[text] for text in texts.tolist()], np.int64)
            parted = np.where(free.parted < 0, np.nan, free.parted + 1.0)
            own = {"changed": free.parted >= 0, "parted": parted, "tokens": free.tokens}
            own = {name: np.where(free.parted == BROKEN, np.nan, numbers) for name, numbers in own.items()}
            changes, cells = np.where(free.parted == BROKEN, np.nan, free.change), free.cells
        by_site = {site: changes[place][:, :, at].astype(np.float64) for place, site in enumerate(sites)}
        measures = {name: np.asarray(values, np.float64)[:, :, at] for name, values in own.items()}
        if self.site:
            measures["change"] = by_site[self.site]
        return Numbers(depth, cells, texts, at, unit, measures, by_site)

    def ranks(self, numbers: Numbers, measure: str, values: Sequence[int]) -> FamilyRanks:
        """The finished cells among one another; computed once for each measure and choice of values."""
        asked = numbers.depth, measure, tuple(values)
        if asked not in self._ranked:
            self._ranked[asked] = rank_family(numbers.per_unit(measure, values))
        return self._ranked[asked]


def survey_of(session: Session, texts: Literal["reported", "all"] = "reported") -> Survey:
    """A session's survey, on the texts that analyses look at.

    Args:
        texts: "reported": of a survey that went on, those on which nothing was chosen; "all" of them.

    Raises:
        ExplorerError: the session surveys nothing, or nothing of it is finished.
    """
    if not session.spec.survey:
        remedy = "srm-explorer survey SPEC --neurons all makes one"
        raise ExplorerError("it surveys no neurons", where=session.name, remedy=remedy)
    tables = session.survey()
    if tables is None or not any(tables.finished):
        what = "none of its neurons is finished yet"
        raise ExplorerError(what, where=session.name, remedy="run the same command to go on")
    texts_seen = {(run.prompt, run.sample) for run in session.seen_runs}
    of_texts = zip(tables.prompt.tolist(), tables.sample.tolist(), strict=True)
    seen = np.array([text in texts_seen for text in of_texts], np.bool_)
    held = bool(tables.chose.any()) and texts == "reported"
    if held:
        seen &= ~tables.chose
    places = np.flatnonzero(seen)
    units = np.array(prompt_units(session.prompts), np.int64)[tables.prompt[places]]
    return Survey(session, tables, survey_settings(session.spec), places, _numbered(units), held)


def surveyed_cell(session: Session, text: str) -> Cell:
    """A neuron of a session's survey as it is written: 11.373; or 373, of the experiment's layer, or the only one.

    Raises:
        ExplorerError: it is none, or was not surveyed; it is of one of several layers.
    """
    try:
        picked = chosen(text)
    except ExplorerError:
        picked = Chosen()
    tables = session.survey()
    layers = set[int]() if tables is None else set(tables.layer.tolist())
    own = Site.parse(session.spec.interventions[0].site).layer
    if len(picked.cells) + len(picked.numbers) != 1:
        raise ExplorerError(f"{text!r} names no neuron", remedy="write 373, or with its layer 11.373")
    if picked.cells:
        layer, neuron = picked.cells[0]
    elif own in layers or len(layers) <= 1:
        layer, neuron = own if own in layers or not layers else min(layers), picked.numbers[0]
    else:
        what = f"{text!r} could be of each of {count_of(len(layers), 'layer')}"
        raise ExplorerError(what, where=session.name, remedy=f"write its layer too: {min(layers)}.{picked.numbers[0]}")
    if tables is not None and tables.place(layer, neuron) < 0:
        what = f"neuron {layer}.{neuron} was not surveyed"
        raise ExplorerError(what, where=session.name, remedy="choose one of its table")
    return layer, neuron


def _numbered(unit: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same groups, numbered from 0 without a gap."""
    return np.unique(unit, return_inverse=True)[1].astype(np.int64).reshape(-1)
