"""What is known of one captured site's runs that predicting them takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.analysis.arithmetic import Span
from engine.figures.captions import coordinate_caption
from engine.figures.editing import SiteEdits, segment_tokens
from engine.session import RunRecord
from engine.spec.intervention import Positions
from engine.vectors import Matrix

OWN_PREFIX = "own/"
"""Names, among a batch's vectors, unedited coordinates by segment: "own/0/last" for the first intervention."""

SEGMENTS: tuple[Positions, ...] = ("prompt", "last", "generated")
"""Positions that the segments of a row are read at; the first holds the second, which is taken off it."""

Floats = NDArray[np.float64]
Kept: TypeAlias = Mapping[str, Matrix | list[Matrix]]
"""What a batch kept, by name."""


@dataclass(eq=False)
class SiteForecast:
    """One captured site: its edits, and what is known of its runs so far.

    Args:
        edits: how the interventions meet it.
        directions: [m, width] those it is moved along; None where they are not at hand.
        rows: [j, width] rows of W_out of `edits.neurons`; None where they are not at hand.
    """

    edits: SiteEdits
    directions: Floats | None
    rows: Floats | None
    span: Span | None = None
    inside: dict[int, Floats] = field(default_factory=dict[int, Floats])
    outside: dict[int, float] = field(default_factory=dict[int, float])
    own: dict[int, Floats] = field(default_factory=dict[int, Floats])
    own_neurons: dict[int, Floats] = field(default_factory=dict[int, Floats])

    def take(self, runs: Sequence[RunRecord], vectors: Matrix | list[Matrix], kept: Kept) -> None:
        """Note what is needed of some runs' vectors; of baseline runs, the coordinates that edits would change."""
        if isinstance(vectors, list):
            vectors = np.stack([tokens.mean(axis=0, dtype=np.float64) for tokens in vectors])
        if self.directions is None or not len(runs):
            return
        width = vectors.shape[1]
        rows = np.zeros((0, width)) if self.rows is None else self.rows
        moved = np.concatenate([self.directions.reshape(-1, width), rows])
        self.span = self.span or Span.of(width, self.edits.columns, moved, centred=self.edits.centred)
        # Overflow and NaN are data here, as they are where vectors are projected on planes.
        with np.errstate(over="ignore", invalid="ignore"):
            inside, outside = self.span.split(vectors)
        for place, run in enumerate(runs):
            self.inside[run.index] = inside[place]
            self.outside[run.index] = float(outside[place])
        tokens = segment_tokens(self.edits.experiment, runs)
        for place, run in enumerate(runs):
            if run.condition == 0:
                whole = np.zeros(0) if self.edits.centred else vectors[place, self.edits.columns].astype(np.float64)
                self.own[run.index] = self._own(place, tokens[place], kept, self.edits.columns, "own", whole)
                neurons = self.edits.neurons
                self.own_neurons[run.index] = self._own(place, tokens[place], kept, neurons, "written", np.zeros(0))

    def _own(
        self, row: int, tokens: Floats, kept: Kept, tracked: NDArray[np.int64], reach: str, whole: Floats
    ) -> Floats:
        """[segment, k] sums over captured tokens: as read by themselves, else from the vector, else 0: not needed."""
        sums = tokens[:, None] * (whole if len(whole) else np.zeros(len(tracked)))
        for place, one in self.edits.placed(reach):
            names = [f"{OWN_PREFIX}{place}/{name}" for name in SEGMENTS]
            if not any(name in kept for name in names):
                continue
            means = [kept[name][row] if name in kept else np.zeros(len(one.neurons)) for name in names]
            before, last, generated = (np.asarray(mean, np.float64).reshape(-1) for mean in means)
            prompt = tokens[0] + 1
            read = np.stack([prompt * before - last, last, tokens[2] * generated]) * (tokens > 0)[:, None]
            if self.edits.experiment.capture.reduce == "last":
                read = np.stack([before, last, generated]) * tokens[:, None]
            sums[:, np.searchsorted(tracked, np.array(one.neurons, np.int64))] = read
        return sums

    def names(self) -> str:
        """What the span holds, in words."""
        site = self.edits.site
        told = [coordinate_caption(site, int(column)) for column in self.edits.columns]
        told += [name.rpartition("#")[2] for name in self.edits.directions]
        if self.rows is not None:
            told += [f"W_out of n{neuron}" for neuron in self.edits.neurons]
        return ", ".join(told) if len(told) <= 4 else f"{', '.join(told[:3])} … ({len(told)})"
