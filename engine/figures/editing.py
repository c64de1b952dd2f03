"""What an experiment's interventions do to the vectors of one captured site while the text stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.analysis.arithmetic import SegmentEdit, edited_sums
from engine.session import RunRecord, Session
from engine.spec import Experiment, InterventionSpec
from engine.spec.reach import captured_segments, covered, is_centred, needs_own, reach_of

Floats = NDArray[np.float64]
_KINDS = ("baseline", "reference", "sweep")


@dataclass(frozen=True, eq=False)
class SiteEdits:
    """How the interventions of an experiment meet one captured site.

    Attributes:
        experiment: whose they are.
        site: the captured site.
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
        """Find what is edited."""
        found = [(reach_of(one.site, site), one) for one in experiment.interventions]
        own = {neuron for reach, one in found if reach == "own" for neuron in one.neurons}
        written = {neuron for reach, one in found if reach == "written" for neuron in one.neurons}
        names = dict.fromkeys(one.direction for reach, one in found if reach == "own" and one.direction is not None)
        return cls(experiment, site, np.array(sorted(own), np.int64), tuple(names), np.array(sorted(written), np.int64))

    @property
    def centred(self) -> bool:
        """Whether the captured vectors have their mean over coordinates taken out."""
        return is_centred(self.experiment, self.site)

    @property
    def needs_own(self) -> bool:
        """Whether more must be known of the edited coordinates than the captured vectors tell."""
        return any(needs_own(self.experiment, self.site, one) for one in self.experiment.interventions)

    def placed(self, reach: str) -> list[tuple[int, InterventionSpec]]:
        """Interventions on coordinates that reach the site so, "own" or "written", and their places."""
        found = enumerate(self.experiment.interventions)
        return [(place, one) for place, one in found if one.neurons and reach_of(one.site, self.site) == reach]

    def exact(self, session: Session, *, rows_known: bool) -> NDArray[np.bool_]:
        """[condition] whether these edits are all that the condition does at the site, tokens unchanged.

        Args:
            session: whose conditions and raw values.
            rows_known: whether the rows of W_out of `neurons` are at hand.
        """
        reaches = [
            "through" if reach == "written" and (one.direction is not None or not rows_known) else reach
            for one in self.experiment.interventions
            for reach in (reach_of(one.site, self.site),)
        ]
        known = [condition.kind in _KINDS for condition in session.conditions]
        if not session.resolved:
            return np.array([condition.kind == "baseline" for condition in session.conditions], np.bool_)
        return np.array(
            [
                is_known
                and not any(value is not None and reach == "through" for value, reach in zip(row, reaches, strict=True))
                for is_known, row in zip(known, session.resolved, strict=True)
            ],
            np.bool_,
        )

    def moves(
        self, session: Session, of_run: NDArray[np.int64], tokens: Floats, own: Floats, own_neurons: Floats, at: Floats
    ) -> Floats:
        """How far the edits move the captured vectors of some runs.

        Args:
            session: whose raw values.
            of_run: [run] conditions of the runs.
            tokens: [run, segment] captured tokens.
            own: [run, segment, k] unedited sums of `columns` over them.
            own_neurons: [run, segment, j] unedited sums of `neurons`.
            at: [m + j, k] entries of the directions, then of the rows of W_out, at `columns`.

        Returns:
            [run, k + m + j] along the columns, the directions and the rows.
        """
        nothing = np.empty((0, len(self.neurons)))
        written, _ = edited_sums(own_neurons, tokens, self._edits(session, of_run, "written"), nothing)
        change = written - own_neurons
        m = len(self.directions)
        arriving = own + (change[..., None] * at[m:]).sum(axis=2)
        sums, along = edited_sums(arriving, tokens, self._edits(session, of_run, "own"), at[:m])
        moved = np.concatenate([(sums - own).sum(axis=1), along, change.sum(axis=1)], axis=1)
        return moved / np.maximum(tokens.sum(axis=1), 1.0)[:, None]

    def _edits(self, session: Session, of_run: NDArray[np.int64], reach: str) -> list[SegmentEdit]:
        tracked = self.columns if reach == "own" else self.neurons
        found: list[SegmentEdit] = []
        for place, one in enumerate(self.experiment.interventions):
            if reach_of(one.site, self.site) != reach or (reach == "written" and one.direction is not None):
                continue
            present, values = _strengths(one, [row[place] for row in session.resolved])
            found.append(
                SegmentEdit(
                    op=one.op,
                    present=present[of_run],
                    values=values[of_run],
                    columns=np.searchsorted(tracked, np.array(one.neurons, np.int64)),
                    direction=-1 if one.direction is None else self.directions.index(one.direction),
                    segments=covered(one.positions),
                )
            )
        return found


def segment_tokens(experiment: Experiment, runs: Sequence[RunRecord]) -> Floats:
    """[run, segment] how many captured tokens of each run lie in each segment."""
    captured = captured_segments(experiment)
    tokens = np.array([(run.prompt_tokens - 1, 1, len(run.token_ids)) for run in runs], np.float64).reshape(-1, 3)
    return np.where(captured, np.ones_like(tokens) if experiment.capture.reduce == "last" else tokens, 0.0)


def baseline_of(session: Session) -> NDArray[np.int64]:
    """[run] place of the baseline run of the same prompt and sample; -1 where it is not there."""
    bases = {
        (run.prompt, run.sample): place
        for place, run in enumerate(session.runs)
        if session.conditions[run.condition].kind == "baseline"
    }
    return np.array([bases.get((run.prompt, run.sample), -1) for run in session.runs], np.int64)


def _strengths(one: InterventionSpec, values: Sequence[tuple[float, ...] | None]) -> tuple[NDArray[np.bool_], Floats]:
    """[condition] whether the intervention is there, and [condition, k] its raw values."""
    width = 1 if one.direction is not None else len(one.neurons)
    table = np.zeros((len(values), width))
    for place, row in enumerate(values):
        if row:
            table[place] = row
    return np.array([row is not None for row in values], np.bool_), table
