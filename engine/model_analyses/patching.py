"""Patching between runs: a difference of logits with a site patched in, and with it ablated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses import Arguments, Findings, StudyArguments, findings_of
from srm_explorer.engine.analyses.effects_patching import FAMILY, PatchReadings, patching_tables
from srm_explorer.engine.analyses.effects_tokens import contrasts_of
from srm_explorer.engine.errors import ExplorerError, SpecValueError, did_you_mean
from srm_explorer.engine.execution.rows import RowMaker
from srm_explorer.engine.experiment.conditions import prompts_of
from srm_explorer.engine.experiment.directions import RunChoice
from srm_explorer.engine.experiment.positions import RowPositions
from srm_explorer.engine.model import Capture, Edit, GivenText, LoadedModel
from srm_explorer.engine.model_analyses.scoring import forced, maker_of
from srm_explorer.engine.model_analyses.token_logits import rounding_of, token_ids
from srm_explorer.engine.runs.progress import Meter, StopSignal
from srm_explorer.engine.session import Session, linked, prompt_units
from srm_explorer.engine.stats.resampling import MOST_RESAMPLES, RESAMPLES

Floats = NDArray[np.float64]
Edits = tuple[Edit, ...]

UNSPACED = "([{<\"'“‘=+-*/_#@$"
"""Ends of a prompt behind which an answer has no space of its own."""

_SHOWN = 6
"""Answers that are listed."""


@dataclass(frozen=True)
class _Patched:
    """A run that something is patched into, and the run that it comes from.

    Attributes:
        base: what else is done to it.
        patches: what is written.
        prompt: of the run that the values come from.
        source: what is done to that one.
        source_at: [patch] positions of its prompt that they come from.
    """

    condition: int
    into: int
    base: Edits
    patches: Edits
    prompt: int
    source: Edits
    source_at: tuple[tuple[int, ...], ...]

    @property
    def is_alone(self) -> bool:
        """Whether the values come from another condition of the same prompt."""
        return self.prompt == self.into


def _patched_runs(session: Session, maker: RowMaker) -> list[_Patched]:
    """Every prompt that analyses look at under every condition that patches; ExplorerError where none does.

    A pair of which one prompt is kept for confirmation is left out.
    """
    numbers = [number for number, edit in enumerate(session.spec.interventions) if edit.source is not None]
    conditions = [c for c in session.conditions if any(c.values[n] is not None for n in numbers)]
    if not conditions:
        raise ExplorerError(
            "this session patches nothing",
            where=session.name,
            remedy="add an intervention with op = 'patch' and from = { prompt = 'pair' }, and run it",
        )
    listed: list[tuple[int, int, int, int]] = []
    for condition in conditions:
        there = [number for number in numbers if condition.values[number] is not None]
        for prompt in range(len(session.prompts)):
            sources = {(p.prompt, p.condition) for p in (maker.patches[number, prompt] for number in there)}
            if len(sources) > 1:
                what = f"the patches of condition {condition.label} come from different runs"
                raise ExplorerError(what, where=session.name, remedy="patch from one run at a time")
            source = sources.pop()
            if session.prompts_seen[prompt] and session.prompts_seen[source[0]]:
                listed.append((condition.index, prompt, *source))
    if not listed:
        what = "of every pair a prompt is kept for confirmation"
        raise ExplorerError(what, where=session.name, remedy="name the sets of both in prompts.confirm, or of neither")
    cells = [cell for condition, into, prompt, source in listed for cell in ((into, condition), (prompt, source))]
    rows = iter(maker.rows([maker.grid.index(prompt, 0, condition) for prompt, condition in cells], session.resolved))
    patched: list[_Patched] = []
    for condition, into, prompt, _ in listed:
        edits, source = next(rows).edits, next(rows).edits
        present = [n for n, values in enumerate(session.resolved[condition]) if values is not None]
        marked = list(zip(edits, present, strict=True))
        patched.append(
            _Patched(
                condition,
                into,
                tuple(edit for edit, number in marked if number not in numbers),
                tuple(edit for edit, number in marked if number in numbers),
                prompt,
                source,
                tuple(maker.patches[number, into].source_at for number in present if number in numbers),
            )
        )
    return patched


def patching(
    session: Session,
    model: LoadedModel,
    *,
    tokens: str | Sequence[str] | None = None,
    answer: str | None = None,
    clean: str | None = None,
    rows: int | None = None,
    meter: Meter | None = None,
) -> PatchReadings:
    """Read a difference of logits, at the first generated position, in every run that patching compares.

    For each prompt that a condition patches: the run that the values come from, the run that they are written into
    without and with them, and the first of these with the site ablated at the same positions: set to 0 (or, along a
    direction, projected out), and set to its mean over all prompts' runs that are patched into, without the patch.

    Args:
        session: with an intervention `op = "patch"`.
        model: the one it was made with.
        tokens: two, as `token_ids` takes them: the first less the second is compared.
        answer: instead, a factor whose level is each prompt's own answer: the clean prompt's less the other's. A space
            goes before it, unless it has one or the prompt ends in white space or in one of `UNSPACED`.
        clean: "factor=level" of the prompts that values come from; without it each prompt of a pair is that in turn.
        rows: the most rows of a pass; None plans it from free memory.
        meter: told how far it is, and asked whether it should go on.

    Raises:
        ExplorerError: nothing is patched, no two tokens, a text that is no token, a factor or level that is not there.
        Stopped: it was asked to stop.
    """
    meter = meter or Meter([], StopSignal())
    maker = maker_of(session, model)
    patched = _patched_runs(session, maker)
    paired = not any(run.is_alone for run in patched)
    difference, ids, pairs, remark = _differences(session, model, patched, tokens, answer, paired=paired)
    chosen = _clean_prompts(session, clean)
    # Prompts that are never the clean one of a row still count for the mean.
    base = _Reader(session, model, ids, rows, meter)
    sites = list(dict.fromkeys(_reading(edit) for run in patched for edit in run.patches))
    needed = [*((run.into, run.base) for run in patched), *((run.prompt, run.source) for run in patched)]
    without = base.read(needed, sites)
    means = _means(patched, [dict(zip(sites, held, strict=True)) for _, held in without[: len(patched)]])
    kept = [at for at, run in enumerate(patched) if chosen is None or run.prompt in chosen]
    if not kept:
        raise ExplorerError(f"no run takes values from a prompt of {clean}", remedy="choose another level")
    ops = ["project_out" if all(edit.direction for run in patched for edit in run.patches) else "zero", "mean"]
    further: list[tuple[int, Edits]] = []
    for at in kept:
        run = patched[at]
        further.append((run.into, (*run.base, *run.patches)))
        further += [(run.prompt, (*run.source, *_ablation(run, op, means[run.condition]))) for op in ops]
    read = base.read(further, [])
    ones = np.arange(len(kept))
    first, second = np.array([pairs[at] for at in kept]).T

    def of(logits: Sequence[Floats]) -> Floats:
        table = np.stack(list(logits))
        return table[ones, first] - table[ones, second]

    by_kind = [[logits for logits, _ in read[kind :: 1 + len(ops)]] for kind in range(1 + len(ops))]
    units = prompt_units(session.prompts)
    of_row = linked([(units[patched[at].into], units[patched[at].prompt]) for at in kept])
    stratum = np.zeros(max(of_row) + 1, np.int64)
    sets = {name: number for number, name in enumerate(dict.fromkeys(prompt.set for prompt in session.prompts))}
    for unit, at in reversed(list(zip(of_row, kept, strict=True))):
        stratum[unit] = sets[session.prompts[patched[at].into].set]
    every = np.stack([logits for logits, _ in (*without, *read)])
    return PatchReadings(
        difference,
        np.array([patched[at].condition for at in kept], np.int64),
        np.array([patched[at].into for at in kept], np.int64),
        np.array([patched[at].prompt for at in kept], np.int64),
        np.array(of_row, np.int64),
        stratum,
        of([without[len(patched) + at][0] for at in kept]),
        of([without[at][0] for at in kept]),
        of(by_kind[0]),
        {op: of(by_kind[1 + number]) for number, op in enumerate(ops)},
        oriented=np.array([bool(answer) or chosen is not None or patched[at].is_alone for at in kept], np.bool_),
        both=np.array([chosen is None and not patched[at].is_alone for at in kept], np.bool_),
        rounding=rounding_of(session, every),
        remark=remark,
    )


class _Reader:
    """Reads the logits of some tokens that runs have at their first generated position."""

    def __init__(
        self, session: Session, model: LoadedModel, ids: Sequence[int], rows: int | None, meter: Meter
    ) -> None:
        self._session, self._model, self._ids, self._rows, self._meter = session, model, tuple(ids), rows, meter

    def read(
        self, runs: Sequence[tuple[int, Edits]], captures: Sequence[Capture]
    ) -> list[tuple[Floats, tuple[Floats, ...]]]:
        """[run] the logits [token] of a prompt under edits, and [position, k] of each capture."""
        by_prompt: dict[int, list[int]] = {}
        for at, (prompt, _) in enumerate(runs):
            by_prompt.setdefault(prompt, []).append(at)
        texts: list[GivenText] = []
        members: list[list[int]] = []
        for prompt, places in by_prompt.items():
            edited = [at for at in places if runs[at][1]]
            ids = self._session.prompts[prompt].token_ids
            texts.append(GivenText(ids, self._ids[:1], tuple(runs[at][1] for at in edited)))
            members.append(edited)
        read: list[tuple[Floats, tuple[Floats, ...]] | None] = [None] * len(runs)
        prompts = list(by_prompt)
        for index, (untouched, *edited) in forced(
            self._model, texts, captures, self._meter, watched=self._ids, rows=self._rows
        ):
            results = dict(zip(members[index], edited, strict=True))
            for at in by_prompt[prompts[index]]:
                result = results.get(at, untouched)
                read[at] = result.scores.watched[0, 0], tuple(kept.astype(np.float64) for kept in result.captured)
        return cast("list[tuple[Floats, tuple[Floats, ...]]]", read)


def _reading(edit: Edit) -> Capture:
    """What is read of a site to know what a patch of it would hold."""
    if edit.direction:
        return Capture(edit.site, "tokens", "prompt", direction=edit.direction)
    return Capture(edit.site, "tokens", "prompt", columns=edit.neurons)


def _positions(edit: Edit) -> tuple[int, ...]:
    assert isinstance(edit.positions, RowPositions), "a patch has positions of its own"
    return edit.positions.at


def _means(patched: Sequence[_Patched], held: Sequence[dict[Capture, Floats]]) -> dict[int, list[Floats]]:
    """[patch] [k], by condition, means over prompts of what a site holds at the positions that are written at."""
    rows: dict[int, list[list[Floats]]] = {}
    for run, kept in zip(patched, held, strict=True):
        of_patches = rows.setdefault(run.condition, [[] for _ in run.patches])
        for edit, values in zip(run.patches, of_patches, strict=True):
            width = 1 if edit.direction else len(edit.neurons)
            values.append(kept[_reading(edit)][list(_positions(edit)), :width].mean(axis=0))
    return {condition: [np.mean(values, axis=0) for values in patches] for condition, patches in rows.items()}


def _ablation(run: _Patched, op: str, means: Sequence[Floats]) -> Edits:
    """What sets the site of each patch, where its values come from, to 0 or to its mean."""
    edits: list[Edit] = []
    for edit, at, mean in zip(run.patches, run.source_at, means, strict=True):
        written = np.tile(mean if op == "mean" else np.zeros_like(mean), (len(at), 1))
        edits.append(Edit(edit.site, "patch", RowPositions(at), edit.neurons, (), edit.direction, written))
    return tuple(edits)


def _differences(
    session: Session,
    model: LoadedModel,
    patched: Sequence[_Patched],
    tokens: str | Sequence[str] | None,
    answer: str | None,
    *,
    paired: bool,
) -> tuple[str, tuple[int, ...], list[tuple[int, int]], str]:
    """What is compared, the ids that are watched, [run] the places among them of its two tokens, and what to say."""
    if bool(tokens) == bool(answer):
        remedy = "give tokens, two of them (' yes, no'), or answer, the factor that holds each prompt's own"
        what = "both tokens and an answer are named" if tokens else "no difference of logits is named"
        raise ExplorerError(what, remedy=remedy)
    if tokens:
        names, ids = token_ids(model, tokens)
        if len(names) != 2:
            what = f"{len(names)} {'token makes' if len(names) == 1 else 'tokens make'} no difference of logits"
            raise ExplorerError(what, where="tokens", remedy="name two: the first less the second is compared")
        return contrasts_of(names)[0][0], ids, [(0, 1)] * len(patched), ""
    factor = answer or ""
    if not paired:
        what = "answers are compared between the prompts of a pair, and this patch comes from a condition"
        raise ExplorerError(what, where="answer", remedy="name two tokens: tokens=' yes, no'")
    known: dict[int, int] = {}
    of_prompt: list[int] = []
    compared = {number for run in patched for number in (run.prompt, run.into)}
    for number, prompt in enumerate(session.prompts):
        if number not in compared:
            of_prompt.append(-1)
            continue
        if factor not in prompt.factors:
            factors = list(dict.fromkeys(name for other in session.prompts for name in other.factors))
            what = f"prompt {number + 1} of {prompt.set} has no factor {factor!r}"
            raise ExplorerError(what, where="answer", remedy=did_you_mean(factor, factors))
        level = prompt.factors[factor]
        end = prompt.text[-1:]
        spaced = level if level[:1].isspace() or end.isspace() or end in UNSPACED else f" {level}"
        try:
            token = model.tokenizer.token_id(spaced)
        except ExplorerError as error:
            where = f"answer, prompt {number + 1} of {prompt.set}"
            raise ExplorerError(error.what, where=where, remedy=error.remedy) from None
        of_prompt.append(known.setdefault(token, len(known)))
    for run in patched:
        if of_prompt[run.prompt] == of_prompt[run.into]:
            what = f"prompts {run.prompt + 1} and {run.into + 1} are a pair and have the same answer"
            raise ExplorerError(what, where="answer", remedy="pair prompts whose answers differ")
    pairs = [(of_prompt[run.prompt], of_prompt[run.into]) for run in patched]
    shown = ", ".join(repr(model.tokenizer.piece(token)) for token in list(known)[:_SHOWN])
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"{factor} - the other's {factor}", tuple(known), pairs, f"the tokens of {factor}: {shown}{more}"


def _clean_prompts(session: Session, clean: str | None) -> set[int] | None:
    """The prompts that a level is that of; None for all."""
    if not clean:
        return None
    factor, equals, level = clean.partition("=")
    if not equals:
        raise ExplorerError(f"{clean!r} names no level", where="clean", remedy="write FACTOR=LEVEL")
    prompts = [(prompt.set, prompt.factors) for prompt in session.prompts]
    try:
        return set(prompts_of(RunChoice(levels=((factor.strip(), level.strip()),)), prompts))
    except SpecValueError as error:
        raise ExplorerError(error.what, where="clean", remedy=error.remedy) from None


def patching_study(session: Session | None, arguments: Arguments, model: LoadedModel, meter: Meter) -> Findings:
    """Tell whether what a session patches is enough for a difference of logits, and needed; the home of "patching".

    Args:
        session: with an intervention `op = "patch"`.
        arguments: "tokens", "answer" and "clean" as `patching`; "resamples" and "seed" of the intervals; "family" of
            the ledger that its tests go into.
        model: the session's.
        meter: told how far it is.

    Raises:
        ExplorerError: as `patching`, or without a session.
        Stopped: it was asked to stop.
    """
    known = ("tokens", "answer", "clean", "resamples", "seed", "family")
    settings = StudyArguments(arguments, known, "patching")
    if session is None:
        raise ExplorerError("patches are those of a session", remedy="name one")
    tokens = arguments.get("tokens")
    if isinstance(tokens, list | tuple):
        tokens = [str(token) for token in cast("list[object]", tokens)]
    else:
        tokens = settings.text("tokens")
    resamples = settings.whole("resamples", RESAMPLES, least=1, most=MOST_RESAMPLES)
    seed, family = settings.whole("seed", 0, least=0), settings.text("family") or FAMILY
    answer, clean = settings.text("answer"), settings.text("clean")
    found = patching(session, model, tokens=tokens, answer=answer, clean=clean, meter=meter)
    tables = patching_tables(session, found, resamples=resamples, seed=seed, family=family)
    return findings_of(*tables, difference=found.difference)
