"""The runs of a session beside their baselines: their texts, whether they collapsed, and what a scoring found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Condition
from srm_explorer.engine.session import RunRecord, Session, Units, baseline_of, units_of
from srm_explorer.engine.session.effects import Effects, RunEffects, TextScores, effects_of
from srm_explorer.engine.stats.collapse import CollapseRule
from srm_explorer.engine.stats.text import compression_ratio, first_divergence, text_metrics

Floats = NDArray[np.float64]


def no_pairs(session: Session) -> ExplorerError:
    """A session without a run that stands beside its baseline, and where such runs are."""
    remedy = "finish the run, or give it an intervention"
    if session.spec.survey:
        remedy = (
            f"a survey keeps its baseline's runs alone: `srm-explorer survey {session.name} --open L.N` runs a neuron"
        )
    return ExplorerError("no run stands beside its baseline", where=session.name, remedy=remedy)


@dataclass(frozen=True, eq=False)
class PairedTexts:
    """A session's runs, each beside its baseline.

    Attributes:
        session: whose runs; those of control neurons are left out.
        rows: [run] places among the session's runs.
        base: [run] places of their baselines; -1 where that is not there.
    """

    session: Session
    effects: Effects | None
    rule: CollapseRule
    units: Units
    rows: NDArray[np.int64]
    base: NDArray[np.int64]

    @classmethod
    def of(cls, session: Session, rule: CollapseRule) -> PairedTexts:
        """Pair the runs of a session; ExplorerError where its effects are damaged."""
        rows = np.flatnonzero((session.kinds != "control") & session.seen)
        return cls(session, effects_of(session), rule, units_of(session), rows, baseline_of(session)[rows])

    def run(self, at: int) -> RunRecord:
        return self.session.runs[int(self.rows[at])]

    def baseline(self, at: int) -> RunRecord | None:
        return self.session.runs[int(self.base[at])] if self.base[at] >= 0 else None

    def effects_at(self, at: int) -> RunEffects | None:
        return self.effects.runs.get(self.run(at).index) if self.effects else None

    def conditions(self) -> list[tuple[Condition, NDArray[np.int64]]]:
        """The conditions but the baseline and those of controls, each with its paired runs as places of `rows`."""
        of = np.array([self.run(at).condition for at in range(len(self.rows))], np.int64)
        listed = [condition for condition in self.session.conditions if condition.kind not in ("baseline", "control")]
        pairs = [(condition, np.flatnonzero((of == condition.index) & (self.base >= 0))) for condition in listed]
        return [(condition, members) for condition, members in pairs if len(members)]

    @property
    def has_tokens(self) -> bool:
        """Whether texts are known as tokens: as they were generated, or as a tokenizer parts them."""
        return bool(self.session.pieces) or not self.session.is_unknown("tokens")

    def tokens(self, at: int) -> Sequence[int]:
        """The tokens of a run's text, see `has_tokens`."""
        pieces = self.session.pieces
        return pieces[int(self.rows[at])] if pieces else self.run(at).token_ids

    def unit(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        """[run] the units of some places of `rows`."""
        return self.units.of_run[self.rows[members]]

    @cached_property
    def first(self) -> Floats:
        """[run] the first token that differs from the baseline's, from 0; NaN where none does, or none is known."""
        return np.array([self._first(at) for at in range(len(self.rows))], np.float64)

    @cached_property
    def changed(self) -> NDArray[np.bool_]:
        """[run] whether its text is not the baseline's; False where there is none."""
        pairs = ((self.run(at), self.baseline(at)) for at in range(len(self.rows)))
        return np.array([base is not None and not self.session.same_text(run, base) for run, base in pairs], np.bool_)

    @cached_property
    def collapsed(self) -> NDArray[np.bool_]:
        """[run of the session] whether its text counts as collapsed; False where it is not known."""
        return np.array(
            [known and self.rule.collapsed(run.text) for known, run in zip(self.known, self.session.runs, strict=True)],
            np.bool_,
        )

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """[run of the session] whether its text is known, an empty one too: not where nothing was to be written."""
        told = not self.session.is_unknown("texts")
        return np.array(
            [told and (run.finish != "none" or bool(run.text or run.token_ids)) for run in self.session.runs], np.bool_
        )

    def told(self) -> list[tuple[Condition, NDArray[np.int64], NDArray[np.int64]]]:
        """The conditions, the baseline first, with the places of `rows` whose text is known, and of those whose
        baseline's text is known as well."""
        of = np.array([self.run(at).condition for at in range(len(self.rows))], np.int64)
        listed: list[tuple[Condition, NDArray[np.int64], NDArray[np.int64]]] = []
        for condition in self.session.conditions:
            members = np.flatnonzero((of == condition.index) & self.known[self.rows])
            if members.size:
                is_paired = (self.base[members] >= 0) & (condition.kind != "baseline")
                listed.append((condition, members, members[is_paired & self.known[self.base[members]]]))
        return listed

    @cached_property
    def measures(self) -> dict[str, Floats]:
        """[run] every graded measure of the texts by name, of words where no tokens are known; NaN where one is short.

        Those of `text_metrics`, and `compression`.
        """
        runs = [self.run(at) for at in range(len(self.rows))]
        rated = [text_metrics(self.tokens(at) if self.has_tokens else run.text.split()) for at, run in enumerate(runs)]
        measures = {
            name: np.array([metrics.get(name, np.nan) for metrics in rated], np.float64)
            for name in dict.fromkeys(name for metrics in rated for name in metrics)
        }
        return {**measures, "compression": np.array([compression_ratio(run.text.strip()) for run in runs], np.float64)}

    @cached_property
    def kl(self) -> Floats:
        """[run] mean KL(untouched || condition) a token of the scored text, nats; NaN where it was not scored."""
        return np.array([_mean(None if scores is None else scores.kl) for scores in self._scores()], np.float64)

    @cached_property
    def dlogp(self) -> Floats:
        """[run] mean change of the log-probability of the tokens that are there, nats; NaN where not scored."""
        return np.array([_mean(None if scores is None else scores.dlogp) for scores in self._scores()], np.float64)

    @cached_property
    def log_ratio(self) -> Floats:
        """[run] log of its perplexity under the untouched model over its baseline's; NaN where not scored."""
        perplexities = np.array([self._perplexity(self.run(at)) for at in range(len(self.rows))], np.float64)
        base = np.array([self._perplexity(self.baseline(at)) for at in range(len(self.rows))], np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log(perplexities) - np.log(base)

    @property
    def text(self) -> str:
        """Which text token scores are shown of: the baseline's where it was scored, else the given, else each's own."""
        names = self.effects.texts if self.effects else ()
        return next((name for name in ("baseline", "given", "condition") if name in names), "")

    def scores(self, at: int) -> TextScores | None:
        """Token scores of a run on that text; None where it was not scored."""
        effects = self.effects_at(at)
        return effects.texts.get(self.text) if effects else None

    def _scores(self) -> list[TextScores | None]:
        return [self.scores(at) for at in range(len(self.rows))]

    def _perplexity(self, run: RunRecord | None) -> float:
        effects = self.effects.runs.get(run.index) if self.effects and run else None
        return np.nan if effects is None or effects.perplexity is None else effects.perplexity

    def _first(self, at: int) -> float:
        base = self.baseline(at)
        pieces = self.session.pieces
        other = pieces[int(self.base[at])] if pieces else () if base is None else base.token_ids
        token = None if base is None else first_divergence(self.tokens(at), other)
        return np.nan if token is None else float(token)


def _mean(values: tuple[float, ...] | None) -> float:
    return float(np.mean(values)) if values else np.nan
