"""What came of the texts of a session, gathered run by run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.execution.rows import RowMaker
from srm_explorer.engine.experiment.positions import RowPositions
from srm_explorer.engine.io.vectors import token_mean
from srm_explorer.engine.model import Capture, Forced, GivenText, TokenScores, top_tokens
from srm_explorer.engine.session import RunRecord, Session
from srm_explorer.engine.session.controls import controls_of
from srm_explorer.engine.session.effects import MeanParts, Pair, RunEffects, SiteParts, TextName, TextScores
from srm_explorer.engine.stats.planes import PARTS, Decomposition, Plane, coordinates, decompose
from srm_explorer.engine.stats.text import first_divergence


@dataclass(frozen=True)
class ScoredText:
    """A text to be scored, and the runs it is about.

    Args:
        name: which text it is.
        text: what is fed.
        owner: the run whose text it is; for a given text, and for a baseline's, the baseline's.
        runs: [setting] the run each setting belongs to.
    """

    name: TextName
    text: GivenText
    owner: RunRecord | None
    runs: tuple[RunRecord, ...]


def texts_of(
    session: Session, maker: RowMaker, names: Sequence[TextName], given_ids: Sequence[int], *, controls: bool = False
) -> list[ScoredText]:
    """Lay out what is to be scored.

    A run whose text is its baseline's is scored on it once; a broken run not at all.

    Args:
        session: whose runs.
        maker: turns a run's number into its edits.
        names: which texts.
        given_ids: token ids of the given text.
        controls: whether runs of control neurons are scored too.
    """
    kinds, chosen = [condition.kind for condition in session.conditions], controls_of(session)
    families: dict[tuple[int, int], list[RunRecord]] = {}
    for run in session.runs:
        if not run.is_broken and (controls or kinds[run.condition] != "control"):
            families.setdefault((run.prompt, run.sample), []).append(run)
    texts: list[ScoredText] = []
    seen: set[int] = set()
    for (prompt, _), runs in families.items():
        ids = session.prompts[prompt].token_ids
        base = next((run for run in runs if run.condition == 0), None)
        others = tuple(run for run in runs if run.condition != 0)
        laid_out = maker.rows([run.index for run in others], session.resolved, chosen)
        edits = {run.index: row.edits for run, row in zip(others, laid_out, strict=True)}
        settings = tuple(edits[run.index] for run in others)
        if base is not None and base.token_ids and "baseline" in names:
            texts.append(ScoredText("baseline", GivenText(ids, base.token_ids, settings), base, others))
        if "condition" in names:
            changed = [run for run in others if run.token_ids and not (base and run.token_ids == base.token_ids)]
            if base is not None and "baseline" not in names:
                changed = [run for run in others if run.token_ids]
            for run in changed:
                texts.append(ScoredText("condition", GivenText(ids, run.token_ids, (edits[run.index],)), run, (run,)))
        if "given" in names and given_ids and prompt not in seen:
            texts.append(ScoredText("given", GivenText(ids, tuple(given_ids), settings), base, others))
            seen.add(prompt)
    return texts


Floats = NDArray[np.float64]

MOST_OF_A_RUN = 5
"""Token ids that are kept of a run, promoted and suppressed."""

CELLS = ("untouched_on_baseline", "edited_on_baseline", "untouched_on_own", "edited_on_own")
"""The four vectors of a run at a site: the untouched and the edited model on the baseline's text, and on its own."""


@dataclass(eq=False)
class _Known:
    """What has come of one run so far.

    Args:
        cells: by site, [d] vectors by name of `CELLS`.
        prefix: by site, [d] what the edit does over the common prefix, and the positions that holds.
    """

    perplexity: float | None = None
    margin: float | None = None
    texts: dict[str, TextScores] = field(default_factory=dict[str, TextScores])
    cells: dict[str, dict[str, Floats]] = field(default_factory=dict[str, dict[str, Floats]])
    prefix: dict[str, tuple[int, float | None]] = field(default_factory=dict[str, tuple[int, float | None]])


class Scoring:
    """Gathers what came of the texts of a session.

    Attributes:
        shift: by (text, condition), [2, vocab] summed change of log-probability and summed probability.
        untouched: by (text, condition), [vocab] summed probability without the condition.
        tokens: by (text, condition), the token positions in these sums.

    Args:
        session: whose runs.
        captures: by site, what was kept of every row: `tokens`.
        reduce: how a session's vectors are made of them: "last", or the mean.
        planes: by site, whose coordinates are kept.
    """

    def __init__(
        self, session: Session, captures: Mapping[str, Capture], reduce: str, planes: Mapping[str, Sequence[Plane]]
    ) -> None:
        self._session = session
        self._captures = captures
        self._reduce = reduce
        self._planes = planes
        self._known: dict[int, _Known] = {}
        self._baseline = {
            (run.prompt, run.sample): run for run in session.runs if run.condition == 0 and not run.is_broken
        }
        self.shift: dict[tuple[str, int], Floats] = {}
        self.untouched: dict[tuple[str, int], Floats] = {}
        self.tokens: dict[tuple[str, int], int] = {}

    def take(self, scored: ScoredText, results: Sequence[Forced]) -> None:
        """Take what came of a text: untouched first, then a setting each."""
        untouched, *edited = results
        if scored.owner is not None and scored.name != "given":
            self._entry(scored.owner).perplexity = _perplexity(untouched.scores)
        for run, forced in zip(scored.runs, edited, strict=True):
            if not np.isfinite(forced.scores.kl).all():
                # Logits were no numbers: the run has no scores on this text, and no sum holds it.
                continue
            known = self._entry(run)
            known.texts[scored.name] = _text_scores(forced.scores, untouched.scores)
            if scored.name != "condition":
                self._add(scored.name, run.condition, forced.scores, untouched.scores)
            if scored.name == "baseline" and scored.owner is not None:
                self._take_baseline(run, scored.owner, untouched, forced)
            elif scored.name == "condition":
                self._cells(run, ("untouched_on_own", "edited_on_own"), untouched, forced)
        if scored.name == "condition" and scored.owner is not None:
            base = self._baseline.get((scored.owner.prompt, scored.owner.sample))
            is_same = base is not None and base.token_ids == scored.owner.token_ids
            if is_same and scored.name in self._entry(scored.owner).texts:
                self._cells(scored.owner, CELLS[:2], untouched, edited[0])

    def _take_baseline(self, run: RunRecord, base: RunRecord, untouched: Forced, forced: Forced) -> None:
        known = self._entry(run)
        self._cells(run, CELLS[:2], untouched, forced)
        first = first_divergence(run.token_ids, base.token_ids)
        if first is None:
            # The two texts are one, and what is known of it on the baseline's side holds for its own.
            known.perplexity = _perplexity(untouched.scores)
            self._cells(run, CELLS[2:], untouched, forced)
        elif first < len(untouched.scores.lead):
            known.margin = float(untouched.scores.lead[first])
        prompt = self._session.prompts[run.prompt].token_ids
        for index, (site, capture) in enumerate(self._captures.items()):
            held = self._before(capture, prompt, first, len(forced.captured[index]))
            change = None
            if held:
                change = self._reduced(forced.captured[index][:held]) - self._reduced(untouched.captured[index][:held])
            known.prefix[site] = (held, None if change is None else float(np.linalg.norm(change)))

    def _before(self, capture: Capture, prompt: tuple[int, ...], first: int | None, captured: int) -> int:
        """Count the captured positions whose token both texts share with all before it."""
        if first is None:
            return captured
        end, chosen = len(prompt) + first, capture.positions_in(prompt)
        if isinstance(chosen, RowPositions):
            onward = 0 if chosen.start is None else max(0, end - chosen.start)
            return min(captured, sum(at < end for at in chosen.at) + onward)
        before = {"generated": len(prompt), "predicting": len(prompt) - 1, "last": len(prompt) - 1}
        return max(0, min(captured, end - before.get(chosen, 0)))

    def _cells(self, run: RunRecord, names: Sequence[str], untouched: Forced, edited: Forced) -> None:
        for index, site in enumerate(self._captures):
            cells = self._entry(run).cells.setdefault(site, {})
            for name, forced in zip(names, (untouched, edited), strict=True):
                if len(forced.captured[index]):
                    cells[name] = self._reduced(forced.captured[index])

    def _reduced(self, tokens: NDArray[np.floating[Any]]) -> Floats:
        return tokens[-1].astype(np.float64) if self._reduce == "last" else token_mean(tokens)

    def _add(self, name: str, condition: int, edited: TokenScores, untouched: TokenScores) -> None:
        key = (name, condition)
        if key not in self.shift:
            self.shift[key] = np.zeros((2, len(edited.shift)))
            self.untouched[key] = np.zeros(len(edited.shift))
            self.tokens[key] = 0
        self.shift[key] += np.stack([edited.shift, edited.mass])
        self.untouched[key] += untouched.mass
        self.tokens[key] += len(edited.kl)

    def _entry(self, run: RunRecord) -> _Known:
        return self._known.setdefault(run.index, _Known())

    def results(self) -> dict[int, RunEffects]:
        """What was found of each run, by its index."""
        return {
            index: RunEffects(
                run=index,
                perplexity=_rounded(known.perplexity),
                margin=_rounded(known.margin),
                texts=known.texts,
                sites={site: self._parts(known, site) for site in known.cells if known.cells[site]},
            )
            for index, known in self._known.items()
        }

    def cells(self) -> Iterator[tuple[int, str, str, Floats]]:
        """Every vector that is known: index of the run, site, name of `CELLS`, [d]."""
        for index, known in sorted(self._known.items()):
            for site, cells in known.cells.items():
                for name, vector in cells.items():
                    yield index, site, name, vector

    def means(self) -> tuple[MeanParts, ...]:
        """The parts of the mean change at each site under each condition."""
        seen = self._session.seen
        of = {run.index: run.condition for row, run in enumerate(self._session.runs) if seen[row]}
        sums: dict[tuple[str, int], tuple[int, dict[str, Floats]]] = {}
        for index, known in self._known.items():
            for site in known.cells if index in of else ():
                parts = self._split(known, site).parts
                known_ends = "total" in parts or "direct" in parts
                if not known_ends or not all(np.isfinite(part).all() for part in parts.values()):
                    continue
                count, before = sums.get((site, of[index]), (0, dict(parts)))
                if set(before) == set(parts):
                    added = {name: before[name] + part for name, part in parts.items()} if count else before
                    sums[site, of[index]] = (count + 1, added)
        return tuple(
            _mean_parts(site, condition, count, Decomposition({name: part / count for name, part in total.items()}))
            for (site, condition), (count, total) in sorted(sums.items())
        )

    def _split(self, known: _Known, site: str) -> Decomposition:
        return decompose(*(known.cells[site].get(name) for name in CELLS))

    def _parts(self, known: _Known, site: str) -> SiteParts:
        split = self._split(known, site)
        held, prefix = known.prefix.get(site, (None, None))
        norms, shares = _sizes(split)
        planes = tuple(_coordinates(split, plane) for plane in self._planes.get(site, ()))
        return SiteParts(norms, shares, _rounded(split.cosine("direct", "total")), planes, held, _rounded(prefix))


def _sizes(split: Decomposition) -> tuple[dict[str, float], dict[str, float]]:
    """Lengths of the parts, and their shares of the total."""
    norms = {part: norm for part in PARTS if (norm := _rounded(split.norm(part))) is not None}
    return norms, {part: share for part in PARTS[1:] if (share := _rounded(split.share(part))) is not None}


def _mean_parts(site: str, condition: int, runs: int, mean: Decomposition) -> MeanParts:
    return MeanParts(site, condition, runs, *_sizes(mean))


def _coordinates(split: Decomposition, plane: Plane) -> dict[str, Pair]:
    names = list(split.parts)
    if not names:
        return {}
    xy, _ = coordinates(np.stack([split.parts[name] for name in names]), plane)
    return {name: (rounded(x), rounded(y)) for name, (x, y) in zip(names, xy.tolist(), strict=True)}


def _text_scores(edited: TokenScores, untouched: TokenScores) -> TextScores:
    promoted, suppressed = top_tokens(edited.shift, MOST_OF_A_RUN)
    return TextScores(
        kl=tuple(map(rounded, edited.kl.tolist())),
        dlogp=tuple(map(rounded, (edited.logp - untouched.logp).tolist())),
        rank=tuple(edited.rank.tolist()),
        rank_untouched=rounded(float(untouched.rank.mean())),
        entropy=rounded(float(edited.entropy.mean())),
        entropy_untouched=rounded(float(untouched.entropy.mean())),
        promoted=tuple(promoted),
        suppressed=tuple(suppressed),
    )


def _perplexity(scores: TokenScores) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(-scores.logp.mean()))


def _rounded(value: float | None) -> float | None:
    return None if value is None else rounded(value)


def rounded(value: float) -> float:
    """Five significant digits: what a table or a strip can show, at a third of the bytes."""
    return float(f"{value:.5g}") if math.isfinite(value) else value
