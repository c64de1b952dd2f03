"""The study of effects on the text: what changed, what collapsed, what acts directly and what through the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from srm_explorer.engine.analyses.effects_tables import (
    collapse_table,
    control_table,
    plane_table,
    run_table,
    site_table,
    text_table,
    token_table,
    value_table,
)
from srm_explorer.engine.analyses.paired_texts import PairedTexts
from srm_explorer.engine.analyses.registry import Arguments, Findings, findings_of
from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.session import Session
from srm_explorer.engine.stats.resampling import RESAMPLES
from srm_explorer.engine.stats.text import CollapseRule

DEFAULTS: dict[str, Any] = {"rule": {}, "top": 5, "resamples": RESAMPLES, "seed": 0}


def effects_study(session: Session, arguments: Arguments) -> Findings:
    """Tell what an intervention did to the texts.

    Args:
        session: any; what needs the model is told where it was scored, see `engine.model_analyses.scoring`.
        arguments: `rule`, numbers of the collapse rule by name; `top`, tokens of each list; `resamples` and `seed` of
            the intervals.

    Raises:
        ExplorerError: no run beside a baseline, or an argument that makes no sense.
    """
    for name in arguments:
        if name not in DEFAULTS:
            raise ExplorerError(f"the study of effects has no '{name}'", remedy=did_you_mean(name, list(DEFAULTS)))
    settings = {**DEFAULTS, **{name: value for name, value in arguments.items() if value is not None}}
    top, resamples, seed = (_whole(settings[name], name) for name in ("top", "resamples", "seed"))
    pairs = PairedTexts.of(session, CollapseRule.of(_table(settings["rule"])))
    if session.is_unknown("texts"):
        remedy = "give the texts of its runs too, as `output`"
        raise ExplorerError("what its runs wrote is unknown", where=session.name, remedy=remedy)
    if not pairs.conditions():
        raise ExplorerError(
            "no run stands beside its baseline", where=session.name, remedy="finish the run, or give it an intervention"
        )
    values = value_table(pairs, resamples, seed)
    values = replace(values, notes=_value_notes(pairs, resamples, seed))
    collapse = collapse_table(pairs)
    collapse = replace(collapse, notes=_collapse_notes(pairs))
    texts = replace(text_table(pairs), notes=(_TEXTS,))
    controls = control_table(pairs)
    tables = [values, *(() if controls is None else (controls,)), collapse, texts]
    sites, tokens = site_table(pairs, max(2, resamples // 5), seed), token_table(pairs, top)
    if sites is not None:
        tables.append(replace(sites, notes=_site_notes(pairs)))
    planes = plane_table(pairs)
    if planes is not None:
        tables.append(replace(planes, notes=("means over runs, in the units of the site; total = direct + through",)))
    if tokens is not None:
        tables.append(replace(tokens, notes=(_tokens_note(pairs), _TOKENS)))
    return findings_of(*tables, replace(run_table(pairs), notes=(_RUNS,)), scored=pairs.effects is not None)


_TEXTS = (
    "means over runs; distinct-n: different n-grams over all; repeated: 4-grams that stood there before; entropy of a"
    " text's own tokens, nats, at most ln(tokens): compare values whose texts are as long"
)
_TOKENS = (
    "'log p' ranks by mean change of log-probability, in nats, which rare tokens lead: look at p; 'p' ranks by change"
    " of mean probability"
)
_RUNS = "first change: the first token that differs, from 1; margin: the untouched model's lead there, in logits"


def _value_notes(pairs: PairedTexts, resamples: int, seed: int) -> tuple[str, ...]:
    notes = ["changed: share of runs whose text is not the baseline's; first change: median over those, tokens from 1"]
    if pairs.effects is None and pairs.session.is_imported:
        return ("neither model nor tokens are known: nothing is scored, and texts are compared as such", *notes)
    if pairs.effects is None:
        how = f"`srm-explorer effects {pairs.session.name} --score`, or v and w on this tab,"
        return (f"not scored yet: {how} measures KL, perplexity and what acts directly, with the model", *notes)
    if pairs.text:
        where = {
            "baseline": "the baseline's text",
            "given": "the given text",
            "condition": "each condition's own text",
        }[pairs.text]
        notes.append(f"KL(untouched || condition) and change of log p, a token of {where}: the same tokens both times")
        notes.append("perplexity of the own text under the untouched model over the baseline text's, geometric mean")
    notes.append(
        f"from, to: 95 % BCa intervals over {len(pairs.units)} units, {resamples:,} resamples, seed {seed}; one by one,"
        " not jointly"
    )
    if len(pairs.units) < 10:
        few = (
            "1 unit: there is no interval and no p"
            if len(pairs.units) < 2
            else f"{len(pairs.units)} units are few: intervals are rough"
        )
        notes.insert(0, few)
    missing = int((pairs.base < 0).sum())
    if missing:
        notes.append(f"{missing} runs have no baseline yet and are left out")
    return tuple(notes)


def _collapse_notes(pairs: PairedTexts) -> tuple[str, ...]:
    return (
        pairs.rule.described(),
        "counted in units; one with several runs counts as collapsed where at least half of its texts are",
        "from, to: exact 95 % intervals (Clopper-Pearson); texts near the limit cross it both ways: read both",
    )


def _site_notes(pairs: PairedTexts) -> tuple[str, ...]:
    notes = [
        "direct: the baseline's text under the condition, minus the baseline; through text: the condition's run minus"
        " that; |…|: mean lengths of these vectors, which are parts of one sum, not their lengths",
        "share: how much of the total lies in a part, its projection on it, over all runs weighed by the squared total:"
        " runs whose text changed count most; the rest up to 100 % is the other part's",
        "of mean change: the direct share of the change averaged over runs, in which what differs by text averages out",
        "text first: the other order, the condition's text through the untouched model, minus the baseline",
        "prefix: mean length of the change over the tokens before the first that differs, where the texts are the same"
        " however long they go on, and all of it is direct; prefix tokens: how many those are on average",
        "where the intervention and the capture share a site, direct is what arithmetic says",
    ]
    worst = max(pairs.effects.reproduced.values(), default=0.0) if pairs.effects else 0.0
    if worst > 1e-3:
        notes.insert(0, f"the scored runs differ from the saved vectors by {worst:.1g} of the largest number: beware")
    return tuple(notes)


def _tokens_note(pairs: PairedTexts) -> str:
    where = {"baseline": "the baseline's texts", "given": "the given text"}.get(pairs.text, "the texts")
    return f"mean over all token positions of {where}, every prompt together"


def _whole(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ExplorerError(f"{name} is no whole number from 0", remedy="write one")
    return value


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ExplorerError("the collapse rule is no table", remedy="write numbers by name: run, repeated, distinct")
    return cast("dict[str, Any]", value)


def cost_of(session: Session, texts: Sequence[str], *, given: bool = False, controls: bool = False) -> int:
    """Count the tokens that a scoring would feed, prompts included, texts that both sides share once.

    Args:
        given: whether a text is given besides; it is counted as long as a continuation.
    """
    kinds = [condition.kind for condition in session.conditions]
    baseline = {(run.prompt, run.sample): run.token_ids for run in session.runs if run.condition == 0}
    total = 0
    for run in session.runs:
        if kinds[run.condition] == "control" and not controls:
            continue
        base = baseline.get((run.prompt, run.sample))
        rows = int("baseline" in texts and base is not None) + int(given)
        rows += 2 * int("condition" in texts and run.condition != 0 and run.token_ids != base)
        total += rows * (run.prompt_tokens + max(len(run.token_ids), len(base or ())))
    return total
