"""The study of effects on the text: what changed, what collapsed, what acts directly and what through the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from srm_explorer.engine.analyses.effects_tables import (
    Tested,
    change_table,
    collapse_table,
    collapsed_table,
    control_table,
    plane_table,
    run_table,
    site_table,
    text_table,
    token_table,
    value_table,
    with_q,
)
from srm_explorer.engine.analyses.paired_texts import PairedTexts, no_pairs
from srm_explorer.engine.analyses.registry import Arguments, Findings, StudyArguments, findings_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.numbers import count_of
from srm_explorer.engine.figures.table import TableFigure
from srm_explorer.engine.session import Session, check_family, record_tests, unit_warnings
from srm_explorer.engine.session.units import nan_logits
from srm_explorer.engine.stats.collapse import CollapseRule, collapse_rule
from srm_explorer.engine.stats.resampling import MOST_RESAMPLES, RESAMPLES
from srm_explorer.engine.stats.unit_means import LEAST_UNITS

FAMILY = "effects"
"""That the tests are in where nobody names another."""


def effects_study(session: Session, arguments: Arguments) -> Findings:
    """Tell what an intervention did to the texts.

    Args:
        session: any; what needs the model is told where it was scored, see `engine.model_analyses.scoring`.
        arguments: `rule` of collapse, as `collapse_rule` takes it; `top`, tokens of each list; `resamples` and `seed`
            of the intervals; `family` of the ledger that its tests are written into.

    Raises:
        ExplorerError: no run beside a baseline, or an argument that makes no sense.
    """
    asked = _Asked.of(arguments)
    resamples, seed = asked.resamples, asked.seed
    pairs = PairedTexts.of(session, asked.rule)
    if session.is_unknown("texts"):
        remedy = "give the texts of its runs too, as `output`"
        raise ExplorerError("what its runs wrote is unknown", where=session.name, remedy=remedy)
    if not pairs.conditions():
        raise no_pairs(session)
    values, perplexity = value_table(pairs, resamples, seed)
    values = replace(values, notes=_value_notes(pairs, resamples, seed))
    tables = _told(pairs, asked, (values, perplexity))
    controls = control_table(pairs)
    tables[1:1] = [] if controls is None else [controls]
    sites, tokens = site_table(pairs, max(2, resamples // 5), seed), token_table(pairs, asked.top)
    if sites is not None:
        tables.append(replace(sites, notes=_site_notes(pairs, resamples, seed)))
    planes = plane_table(pairs)
    if planes is not None:
        tables.append(replace(planes, notes=("means over runs, in the units of the site; total = direct + through",)))
    if tokens is not None:
        tables.append(replace(tokens, notes=(_tokens_note(pairs), _TOKENS)))
    runs = replace(run_table(pairs), notes=(_RUNS,))
    return findings_of(*tables, runs, scored=pairs.effects is not None, rule=pairs.rule.name)


def collapse_study(session: Session, arguments: Arguments) -> Findings:
    """Tell which texts collapsed, by a rule, and the net effect; of the texts alone, baseline or not, without a model.

    Args:
        session: any with texts.
        arguments: as `effects_study`, whose tables of the texts these are, that of every value and its runs first.

    Raises:
        ExplorerError: no text is known, or an argument that makes no sense.
    """
    asked = _Asked.of(arguments)
    pairs = PairedTexts.of(session, asked.rule)
    tables = _told(pairs, asked)
    if not any(table.name == "collapsed" for table in tables):
        what = "its texts are not known, so no rule can be read on them"
        raise ExplorerError(what, where=session.name, remedy="choose a session whose runs have texts")
    tables.sort(key=lambda table: table.name != "collapsed")
    return findings_of(*tables, rule=pairs.rule.name)


@dataclass(frozen=True)
class _Asked:
    """The settings of the study."""

    rule: CollapseRule
    top: int
    resamples: int
    seed: int
    family: str

    @classmethod
    def of(cls, arguments: Arguments) -> _Asked:
        settings = StudyArguments(arguments, ("rule", "top", "resamples", "seed", "family"), "effects")
        top, seed = settings.whole("top", 5, least=0), settings.whole("seed", 0, least=0)
        resamples = settings.whole("resamples", RESAMPLES, least=1, most=MOST_RESAMPLES)
        family = check_family(settings.text("family") or FAMILY)
        return cls(collapse_rule(arguments.get("rule")), top, resamples, seed, family)


def _told(pairs: PairedTexts, asked: _Asked, first: Tested | None = None) -> list[TableFigure]:
    """The tables of the texts themselves, graded measures first; none where no text is known.

    Args:
        first: a table that goes before them, whose tests are written into the ledger with theirs.
    """
    changes, collapsed = change_table(pairs, asked.resamples, asked.seed), collapsed_table(pairs)
    tested = {table.name: (table, test) for table, test in filter(None, (first, changes, collapsed))}
    counted = record_tests(pairs.session, [test for _, test in tested.values()], asked.family)
    words = (_pieces_note(pairs) if pairs.session.pieces else _WORDS,) if pairs.session.is_unknown("tokens") else ()
    notes = {
        "text_changes": (_CHANGES, *words, f"95 % intervals and p: {_studentised(pairs, asked.resamples, asked.seed)}"),
        "collapsed": (pairs.rule.described(), *_false_rates(pairs), *_COLLAPSED),
    }
    few = () if first else _few(pairs)
    tables: dict[str, TableFigure] = {}
    for (name, (table, test)), q in zip(tested.items(), counted.q, strict=True):
        if any(column.key == "q" for column in table.columns):
            lines = counted.lines if np.isfinite(test.p).any() else ()
            whole = (*few, *notes.get(name, table.notes), *lines)
            table = replace(with_q(table, q), notes=whole)
        tables[name] = table
    texts, units = text_table(pairs), collapse_table(pairs)
    tables |= {} if texts is None else {"texts": replace(texts, notes=(*words, _TEXTS))}
    tables |= {} if units is None else {"collapse": replace(units, notes=_COLLAPSE)}
    return [tables[name] for name in ("effects", "texts", "text_changes", "collapsed", "collapse") if name in tables]


_TEXTS = (
    "means over runs; distinct-n: different n-grams over all; repeated: 4-grams that stood there before; entropy of a"
    " text's own tokens, nats, at most ln(tokens); compression: bytes over those that zlib makes of them; they go with"
    " the length: compare values whose texts are as long; ended at once: runs that wrote nothing, or an end-of-text"
)
_WORDS = "its tokens are unknown: n-grams and entropy are of words, parted by spaces"


def _pieces_note(pairs: PairedTexts) -> str:
    return f"tokens are those into which {pairs.session.tokenizer} parts the texts, not those that were generated"


_CHANGES = "baseline, with it: means over units of the mean over their runs; change: the second less the first"
_COLLAPSED = (
    "collapsed, rescued (the baseline alone had collapsed) and harmed (the text alone has) count runs; net: units"
    " rescued less units harmed, of all; a unit has collapsed where at least half of its texts have",
    "p: exact McNemar over the units that differ; from, to: 95 % interval of net (Bonett and Price 2012), approximate;"
    " a written end-of-text is part of the text",
)
_COLLAPSE = (
    "counted in units; one with several runs counts as collapsed where at least half of its texts are",
    "from, to: exact 95 % intervals (Clopper-Pearson); texts near the limit cross it both ways: read both",
)


def _false_rates(pairs: PairedTexts) -> tuple[str, ...]:
    """How often the rule is wrong about ordinary texts; of other parameters that is not known."""
    if pairs.rule != type(pairs.rule)():
        return ("with these parameters its false rate was not measured: the baseline's row tells it of this session",)
    rates = "; ".join(map(str, pairs.rule.false_rates))
    return (f"of texts with nothing changed it called collapsed {rates}; of this session, see the baseline's row",)


def _few(pairs: PairedTexts) -> tuple[str, ...]:
    units = len(set(pairs.unit(np.arange(len(pairs.rows))).tolist()))
    notes: list[str] = []
    if units == 1:
        notes.append("1 unit: there is no interval and no p")
    elif units < 10:
        none = f"no interval and no p of a mean below {LEAST_UNITS}; " if units < LEAST_UNITS else ""
        notes.append(f"{units} units are few: {none}intervals are rough")
    return (*notes, *unit_warnings(pairs.session))


def _studentised(pairs: PairedTexts, resamples: int, seed: int) -> str:
    over = f"{count_of(len(pairs.units), 'unit')}, {resamples:,} resamples, seed {seed}"
    return f"studentised bootstrap over {over}; one by one, not jointly; no ends where too few units differ"


_TOKENS = (
    "'log p' ranks by mean change of log-probability, in nats, which rare tokens lead: look at p; 'p' ranks by change"
    " of mean probability"
)
_RUNS = "first change: the first token that differs, from 1; margin: the untouched model's lead there, in logits"


def _value_notes(pairs: PairedTexts, resamples: int, seed: int) -> tuple[str, ...]:
    notes = [
        "changed: share of runs whose text is not the baseline's, and units that hold one; only these carry evidence;"
        " first change: median over those, tokens from 1"
    ]
    missing = int((pairs.base < 0).sum())
    if missing:
        notes.append(f"{missing} runs have no baseline, or none yet, and are left out")
    notes[:0] = _few(pairs)
    if pairs.effects is None and pairs.session.pieces:
        return (f"the model is unknown: nothing is scored; {_pieces_note(pairs)}", *notes)
    if pairs.effects is None and pairs.session.is_imported:
        return ("neither model nor tokens are known: nothing is scored, and texts are compared as such", *notes)
    if pairs.effects is None:
        how = f"`srm-explorer effects {pairs.session.name} --score`, or v and w on this tab,"
        return (f"not scored yet: {how} measures KL, perplexity and what acts directly, with the model", *notes)
    if pairs.text in ("baseline", "given"):
        paired = np.concatenate([members for _, members in pairs.conditions()])
        if broken := sum(pairs.scores(int(at)) is None for at in paired):
            notes.insert(0, f"KL and log p: {nan_logits(broken, len(paired), 'scored runs')}")
    if pairs.text:
        where = {
            "baseline": "the baseline's text",
            "given": "the given text",
            "condition": "each condition's own text",
        }[pairs.text]
        notes.append(f"KL(untouched || condition) and change of log p, a token of {where}: the same tokens both times")
        notes.append("perplexity of the own text under the untouched model over the baseline text's, geometric mean")
    notes.append(
        f"means over units of the mean over their runs; from, to and p: {_studentised(pairs, resamples, seed)}"
    )
    return (*notes, "p: of a perplexity ratio of 1")


def _site_notes(pairs: PairedTexts, resamples: int, seed: int) -> tuple[str, ...]:
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
        f"from, to: 95 % BCa intervals over {len(pairs.units)} units, {max(2, resamples // 5):,} resamples,"
        f" seed {seed}",
    ]
    worst = max(pairs.effects.reproduced.values(), default=0.0) if pairs.effects else 0.0
    if worst > 1e-3:
        notes.insert(0, f"the scored runs differ from the saved vectors by {worst:.1g} of the largest number: beware")
    return tuple(notes)


def _tokens_note(pairs: PairedTexts) -> str:
    where = {"baseline": "the baseline's texts", "given": "the given text"}.get(pairs.text, "the texts")
    return f"mean over all token positions of {where}, every prompt together"


def cost_of(session: Session, texts: Sequence[str], *, given: bool = False, controls: bool = False) -> int:
    """Count the tokens that a scoring would feed, prompts included, texts that both sides share once.

    Args:
        given: whether a text is given besides; it is counted as long as a continuation.
    """
    kinds = [condition.kind for condition in session.conditions]
    runs = [run for run in session.runs if not run.is_broken]
    baseline = {(run.prompt, run.sample): run.token_ids for run in runs if run.condition == 0}
    total = 0
    for run in runs:
        if kinds[run.condition] == "control" and not controls:
            continue
        base = baseline.get((run.prompt, run.sample))
        rows = int("baseline" in texts and base is not None) + int(given)
        rows += 2 * int("condition" in texts and run.condition != 0 and run.token_ids != base)
        total += rows * (run.prompt_tokens + max(len(run.token_ids), len(base or ())))
    return total
