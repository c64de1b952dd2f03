"""Runs of one prompt over as many tokens as both have: a mean over more tokens is shorter, whatever else differs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.experiment import Condition, Experiment
from srm_explorer.engine.experiment.model_fit import captured_segments
from srm_explorer.engine.io.vectors import Matrix, token_mean
from srm_explorer.engine.session.session import PlaneRecord, RunRecord, Session, ShorterShadows
from srm_explorer.engine.session.units import baseline_of, units_of

Floats = NDArray[np.float64]
Index = NDArray[np.int64]


def depends_on_length(experiment: Experiment) -> bool:
    """Whether a captured vector is a mean whose number of tokens depends on how long the text became."""
    return experiment.capture.reduce != "last" and captured_segments(experiment)[2]


NOTHING = -1
"""Instead of a number of tokens: there is none in common."""


def common_tokens(one: RunRecord, other: RunRecord) -> int:
    """How many tokens the means of two runs are compared over: all where both have as many, else those both have.

    An end-of-text that was written is none of them then: it is there in the shorter text alone, and what a model holds
    at it is unlike any other token. So a text that ended at once has `NOTHING` in common with a longer one.
    """
    if len(one.token_ids) == len(other.token_ids):
        return len(one.token_ids)
    return min(len(run.token_ids) - (run.finish == "eos") for run in (one, other)) or NOTHING


MOST_VALUES = 32
"""Conditions of a sweep whose runs have their means at each other's lengths."""


def marks_of(
    experiment: Experiment, conditions: Sequence[Condition], runs: Sequence[RunRecord]
) -> list[tuple[int, ...]]:
    """The lengths, shorter than its own, at which a run's mean is kept besides: those it has in common with others.

    Others are the runs of the same prompt and sample. Runs of a control are compared with the baseline and the
    reference alone, so that neither has marks for other controls' sake, nor the experiment's own values for theirs; so
    are those of a sweep of more than `MOST_VALUES`, whose means would be many times what was captured.

    Returns:
        [run] numbers of generated tokens, ascending from 1; none where every text is as long.
    """
    if not depends_on_length(experiment):
        return [()] * len(runs)
    kinds = [conditions[run.condition].kind for run in runs]
    kinds = ["base" if kind in ("baseline", "reference") else kind for kind in kinds]
    ends: dict[tuple[int, int, str], dict[tuple[int, bool], RunRecord]] = {}
    for run, kind in zip(runs, kinds, strict=True):
        alike_runs = ends.setdefault((run.prompt, run.sample, kind), {})
        alike_runs.setdefault((len(run.token_ids), run.finish == "eos"), run)
    swept = sum(condition.kind == "sweep" for condition in conditions)
    met = {"control": ("base",), "sweep": ("base", "sweep") if swept <= MOST_VALUES else ("base",)}
    marks: list[tuple[int, ...]] = []
    for run, kind in zip(runs, kinds, strict=True):
        groups = [ends.get((run.prompt, run.sample, name), {}) for name in met.get(kind, ("base", "sweep", "control"))]
        common = {common_tokens(run, other) for group in groups for other in group.values()}
        marks.append(tuple(sorted(count for count in common if 0 < count < len(run.token_ids))))
    return marks


def differ_in_length(experiment: Experiment, runs: Sequence[RunRecord]) -> bool:
    """Whether means of runs of one prompt and sample are over unlike numbers of tokens."""
    lengths: dict[tuple[int, int], int] = {}
    return depends_on_length(experiment) and any(
        lengths.setdefault((run.prompt, run.sample), len(run.token_ids)) != len(run.token_ids) for run in runs
    )


def shortened(run: RunRecord, tokens: int) -> RunRecord:
    """A run as if its text had ended after some tokens."""
    return dataclasses.replace(run, token_ids=run.token_ids[:tokens])


def means_of_tokens(
    runs: Sequence[RunRecord], tokens: Sequence[Matrix], marks: Sequence[tuple[int, ...]]
) -> list[Matrix]:
    """[mark, d] a run, of sites of which every token was kept: generated tokens are the last of them."""
    width = tokens[0].shape[1] if len(tokens) else 0
    return [
        np.array([token_mean(kept[: len(kept) - len(run.token_ids) + mark]) for mark in own], np.float32).reshape(
            -1, width
        )
        for run, kept, own in zip(runs, tokens, marks, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class Paired:
    """Where every run and its baseline lie in a plane over the tokens that both have.

    Attributes:
        runs: [run] its own coordinates.
        baselines: [run] its baseline's over as many tokens; the last run's, which mean nothing, where it has none.
        tokens: [run] how many those are; its own where its baseline's means are not kept at that length.
        base_tokens: [run] the same of the baseline.
        differs: whether any of it is over other tokens than all that were written.
    """

    runs: PlaneRecord
    baselines: PlaneRecord
    tokens: Index
    base_tokens: Index
    differs: bool


def paired(session: Session, plane: PlaneRecord, *, whole: bool = False) -> Paired:
    """Take every run of a plane, and its baseline, over the tokens that both have, see `common_tokens`.

    A pair whose means are not kept at that length (an older session, an import) stays as it is. A pair without a token
    in common has no means: it is not finite, and so in no test.

    Args:
        whole: take either over all of its tokens.
    """
    base, own = baseline_of(session), token_counts(session)
    places, tokens, base_tokens = np.arange(len(own)), own, own[base]
    if whole or not depends_on_length(session.spec):
        shadows = _Shadows(plane, own, leaves_out=False)
        return Paired(shadows.at(places, own), shadows.at(base, base_tokens), own, base_tokens, False)
    shadows = _Shadows(plane, own, leaves_out=True)
    both = paired_tokens(session)
    kept = shadows.has(places, both) & ((base < 0) | shadows.has(base, both))
    tokens, base_tokens = np.where(kept, both, own), np.where(kept & (base >= 0), both, base_tokens)
    differs = bool((tokens != own).any() or (base_tokens != own[base]).any())
    return Paired(shadows.at(places, tokens), shadows.at(base, base_tokens), tokens, base_tokens, differs)


def alike(session: Session, plane: PlaneRecord, rows: Index) -> PlaneRecord:
    """Take some runs of a plane over the tokens that those of a prompt have in common, see `alike_tokens`.

    Where the means of one of these are not kept at that length, all of its prompt stay as they are.
    """
    if not depends_on_length(session.spec):
        return plane
    own, tokens = token_counts(session), alike_tokens(session, rows)
    shadows = _Shadows(plane, own, leaves_out=True)
    places = np.arange(len(own))
    lacking = {
        (run.prompt, run.sample)
        for run, known in zip(session.runs, shadows.has(places, tokens), strict=True)
        if not known
    }
    stays = np.array([(run.prompt, run.sample) in lacking for run in session.runs], np.bool_)
    return shadows.at(places, np.where(stays, own, tokens))


def is_alike_known(session: Session, plane: PlaneRecord, rows: Index) -> bool:
    """Whether `alike` has all of these runs over the tokens that they have in common."""
    shadows = _Shadows(plane, token_counts(session), leaves_out=True)
    return bool(shadows.has(rows, alike_tokens(session, rows)[rows]).all())


def alike_tokens(session: Session, rows: Index) -> Index:
    """[run] over how many tokens some runs are compared: those that all of one prompt and sample have in common.

    As `common_tokens` has it for two. Other runs, and prompts of which all texts are as long, are over all tokens.
    """
    own = token_counts(session)
    cells: dict[tuple[int, int], list[int]] = {}
    chosen: list[int] = rows.tolist()
    for row in chosen:
        cells.setdefault((session.runs[row].prompt, session.runs[row].sample), []).append(row)
    tokens = own.copy()
    for members in cells.values():
        places = np.array(members, np.int64)
        if (own[places] == own[places[0]]).all():
            continue
        text = own[places] - np.array([session.runs[row].finish == "eos" for row in members], np.int64)
        tokens[places] = np.where(text > 0, text[text > 0].min(initial=2**62), NOTHING)
    return tokens


def paired_tokens(session: Session) -> Index:
    """[run] over how many tokens a run is compared with its baseline, see `common_tokens`; all where it has none."""
    bases: list[int] = baseline_of(session).tolist()
    runs = session.runs
    pairs = [(run, runs[row] if row >= 0 else run) for run, row in zip(runs, bases, strict=True)]
    return np.array([common_tokens(run, other) for run, other in pairs], np.int64)


class _Shadows:
    """Where runs lie in a plane, over all their tokens and over their first."""

    def __init__(self, plane: PlaneRecord, own: Index, *, leaves_out: bool) -> None:
        """Args: `own` tokens of each run; `leaves_out`: whether a run over `NOTHING` has no place."""
        self._plane = plane
        self._own = own
        self._leaves_out = leaves_out
        known = plane.shorter if len(plane.shorter) == len(own) else ()
        self._known = {(row, means[0]): means[1:] for row, kept in enumerate(known) for means in kept}
        self._none_known = not known

    def has(self, rows: Index, tokens: Index) -> NDArray[np.bool_]:
        """[row] whether it is known where the runs lie over their first tokens."""
        n = max(len(self._own), 1)
        pairs = zip((rows % n).tolist(), tokens.tolist(), strict=True)
        kept = np.array([pair in self._known for pair in pairs], np.bool_)
        return kept | (tokens == self._own[rows]) | ((tokens == NOTHING) & (not self._none_known))

    def at(self, rows: Index, tokens: Index) -> PlaneRecord:
        """The plane with these runs over their first tokens; a number of tokens that is not known means all of them."""
        plane, n = self._plane, max(len(self._own), 1)
        table = np.array([plane.x, plane.y, plane.norm], np.float64).T[rows]
        for place, pair in enumerate(zip((rows % n).tolist(), tokens.tolist(), strict=True)):
            if pair in self._known:
                table[place] = self._known[pair]
        if self._leaves_out:
            table[tokens == NOTHING] = np.nan
        x, y, norm = (tuple(column) for column in table.T.tolist())
        return dataclasses.replace(plane, x=x, y=y, norm=norm, shorter=())


def shorter_means(session: Session, vectors: Mapping[str, Matrix | Sequence[Matrix]]) -> dict[str, list[Matrix]]:
    """Means over the first tokens by site, [mark, d] a run, marks as `marks_of` has them, as far as they are kept.

    Args:
        vectors: by site, all runs of the session: where every token was kept, the means are made of these.

    Raises:
        ExplorerError: the file of vectors cannot be read.
    """
    if not differ_in_length(session.spec, session.runs):
        return {}
    marks = marks_of(session.spec, session.conditions, session.runs)
    saved = {} if session.sidecar is None else session.shorter_means()
    means: dict[str, list[Matrix]] = {}
    for site, rows in vectors.items():
        kept = saved.get(site) if isinstance(rows, np.ndarray) else means_of_tokens(session.runs, rows, marks)
        if kept is not None and [len(own) for own in kept] == [len(own) for own in marks]:
            means[site] = kept
    return means


def by_mark(marks: Sequence[tuple[int, ...]], xy: Floats, norm: Floats) -> ShorterShadows:
    """Where means over first tokens lie in a plane, as its record has it: [mark of each run] coordinates and norms."""
    rows = iter(zip(*xy.T.tolist(), norm.tolist(), strict=True))
    return tuple(tuple((mark, *next(rows)) for mark in own) for own in marks)


def means_over(
    vectors: Matrix | Sequence[Matrix],
    shorter: Sequence[Matrix] | None,
    marks: Sequence[tuple[int, ...]],
    rows: Index,
    tokens: Index,
) -> Floats:
    """[row, d] means of some runs over their first tokens.

    Args:
        vectors: of the site, all runs of the session.
        shorter: [mark, d] a run; None where none are kept.
        marks: [run] as `marks_of` has them.
        rows: places of the runs.
        tokens: [row] over how many; what is no mark of the run means all of them, and `NOTHING` no number.
    """
    width = vectors.shape[1] if isinstance(vectors, np.ndarray) else vectors[0].shape[1] if len(vectors) else 0
    means = np.empty((len(rows), width), np.float64)
    places: list[int] = rows.tolist()
    counts: list[int] = tokens.tolist()
    for at, (row, count) in enumerate(zip(places, counts, strict=True)):
        if shorter is not None and count in marks[row]:
            means[at] = shorter[row][marks[row].index(count)]
        elif shorter is not None and count == NOTHING:
            means[at] = np.nan
        else:
            means[at] = vectors[row] if isinstance(vectors, np.ndarray) else token_mean(vectors[row])
    return means


def token_counts(session: Session) -> Index:
    """[run] generated tokens."""
    return np.array([len(run.token_ids) for run in session.runs], np.int64)


@dataclass(frozen=True)
class LengthNote:
    """How the lengths of texts within units stand, and what tests made of it.

    Attributes:
        differ: units in which a run and its baseline have unlike numbers of tokens.
        units: all of them.
        kept: whether all means are kept over the tokens that both have.
        empty: runs that have no token in common with their baseline, since one of the two ended at once.
    """

    differ: int
    units: int
    kept: bool
    empty: int

    @property
    def said(self) -> str:
        """What stands beside a p: "common length (12 of 50 units)", those that differ; empty where all are as long."""
        if not self.differ:
            return ""
        over = "common length" if self.kept else "unlike lengths"
        return f"{over} ({self.differ:,} of {self.units:,} unit{'' if self.units == 1 else 's'})"


class LengthNotes:
    """Tells, group by group, in how many units the lengths of runs and of their baselines differ."""

    def __init__(self, session: Session, pairs: Paired) -> None:
        base, own = baseline_of(session), token_counts(session)
        self._unlike = (base >= 0) & (own != own[base]) & depends_on_length(session.spec)
        self._pairs = pairs
        self._of_run = units_of(session).of_run
        self._rows = np.flatnonzero((session.kinds != "control") & session.seen)

    def of(self, rows: Index | None = None) -> LengthNote:
        """Count over some runs; by default all that analyses look at, but those of controls."""
        chosen = self._rows if rows is None else rows
        unlike = chosen[self._unlike[chosen]]
        tokens, base_tokens = self._pairs.tokens[unlike], self._pairs.base_tokens[unlike]
        kept = bool((tokens == base_tokens).all())
        return LengthNote(
            len(np.unique(self._of_run[unlike])),
            len(np.unique(self._of_run[chosen])),
            kept,
            int((tokens == NOTHING).sum()) if kept else 0,
        )


def length_note(session: Session, plane: PlaneRecord) -> LengthNote:
    """How the lengths of a session's texts stand, and what tests in one of its planes make of it."""
    return LengthNotes(session, paired(session, plane)).of()
