"""Logits of chosen tokens under the conditions of a session, and what its changed neurons add to them directly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses import Arguments, Findings, StudyArguments, findings_of
from srm_explorer.engine.analyses.effects_tokens import (
    FAMILY,
    PARTS,
    TokenReadings,
    checked_tokens,
    token_list,
    token_tables,
)
from srm_explorer.engine.analyses.paired_texts import no_pairs
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Site
from srm_explorer.engine.model import (
    Capture,
    Edit,
    Forced,
    GivenText,
    LoadedModel,
    NeuronLogits,
    StreamLogits,
    direct_logits,
    final_scale,
    logit_cap,
)
from srm_explorer.engine.model_analyses.scoring import forced, maker_of
from srm_explorer.engine.runs.progress import Meter, StopSignal
from srm_explorer.engine.session import RunRecord, Session, units_of
from srm_explorer.engine.stats.resampling import MOST_RESAMPLES, RESAMPLES

Floats = NDArray[np.float64]

OVER = ("first", "text")
"""Where logits are read: at the first generated position, or at all positions of the baseline's text."""


def token_ids(model: LoadedModel, tokens: str | Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Read a list of tokens and find their ids.

    Args:
        tokens: as `token_list` reads them, or one by one.

    Raises:
        ExplorerError: as `token_list`; a text that is not one token of the model, two texts that are the same one.
    """
    names = token_list(tokens) if isinstance(tokens, str) else checked_tokens(tokens)
    try:
        ids = tuple(model.tokenizer.token_id(name) for name in names)
    except ExplorerError as error:
        raise ExplorerError(error.what, where="tokens", remedy=error.remedy) from None
    return names, ids


@dataclass(frozen=True, eq=False)
class Attribution:
    """Splits a change of logits into what was changed adds and what comes of it, see `TokenReadings.parts`.

    With N what the neurons, or the residual stream along the directions that are edited, add to the logits of a
    residual stream r, R what the rest of it adds, both before the last
    norm divides by s, logits are (N + R) / s. Primed under an intervention: the change is N'/s' - N/s (direct), plus
    R (1/s' - 1/s) (by the norm), plus (R' - R) / s' (later layers, which is 0 if none comes after). Direct logit
    attribution with the norm's scale as it was: Elhage et al. 2021; nostalgebraist 2020. Where a norm follows W_out, it
    divides what the neurons and the rest of their MLP add once more: these two have a divisor of their own.

    Attributes:
        read: [d_model, token] what a unit of each coordinate of the last residual stream adds to logits.
        written: by site, what its changed neurons, or its changed directions, add.
    """

    model: LoadedModel
    read: Floats
    written: Mapping[str, NeuronLogits | StreamLogits]

    @classmethod
    def of(cls, session: Session, model: LoadedModel, ids: Sequence[int], edits: Sequence[Edit]) -> Attribution:
        """Prepare it for what a session changes; ExplorerError, with the reason, where it cannot be.

        Args:
            edits: of all rows.
        """
        read = direct_logits(model, np.eye(model.shape.d_model), ids)
        sites = {edit.site for edit in session.spec.interventions}
        if len(sites) == 1 and (site := Site.parse(next(iter(sites)))).kind.startswith("hook_resid"):
            numbers = {number for edit in edits for number in edit.neurons}
            along = [list(edit) for edit in {edit.direction for edit in edits if edit.direction}]
            rows = np.array([*np.eye(model.shape.d_model)[sorted(numbers)].tolist(), *along], np.float64)
            return cls(model, read, {str(site): StreamLogits.of(model, site, rows, ids)})
        neurons: dict[str, tuple[int, ...]] = {}
        for number, edit in enumerate(session.spec.interventions):
            if not (Site.parse(edit.site).is_mlp and edit.neurons):
                either = "neither neurons of an MLP nor one place of the residual stream"
                what = f"interventions[{number}] changes {either}, but {edit.site}"
                raise ExplorerError(what, remedy="look at the observed effect")
            known = neurons.get(edit.site, ())
            neurons[edit.site] = tuple(dict.fromkeys((*known, *edit.neurons)))
        written = {
            site: NeuronLogits.of(model, Site.parse(site).layer, numbers, ids) for site, numbers in neurons.items()
        }
        return cls(model, read, written)

    def captures(self) -> list[Capture]:
        stream = Capture(f"blocks.{self.model.shape.n_layers - 1}.hook_resid_post", "tokens", "predicting")
        return [
            stream,
            *(Capture(site, "tokens", "predicting", columns=adds.columns) for site, adds in self.written.items()),
        ]

    def parts(self, untouched: Forced, edited: Forced) -> Floats:
        """[3, token] the parts of the change, averaged over the positions that predict the text's tokens."""
        (own, rest), (own_after, rest_after) = map(self._split, (untouched, edited))
        changed = [(*was, *now) for was, now in zip(own, own_after, strict=True)]
        others = [(*was, *now) for was, now in zip(rest, rest_after, strict=True)]
        direct = sum(now / by_now - was / by for was, by, now, by_now in changed)
        norm = sum(was / by_now - was / by for was, by, _, by_now in others)
        later = sum((now - was) / by_now for was, _, now, by_now in others)
        return np.array([direct, norm, later], np.float64).mean(axis=1)

    def _split(self, forced: Forced) -> tuple[list[tuple[Floats, Floats]], list[tuple[Floats, Floats]]]:
        """What the neurons add and what all else does: [position, token] before norms divide, [position, 1] by what."""
        tokens = len(forced.scores.logp)
        # The last token is fed too: what follows it is no token of the text.
        stream, *activations = (kept[:tokens].astype(np.float64) for kept in forced.captured)
        scale, others = final_scale(self.model, stream)[:, None], stream @ self.read
        own: list[tuple[Floats, Floats]] = []
        rest: list[tuple[Floats, Floats]] = []
        for activation, adds in zip(activations, self.written.values(), strict=True):
            neurons, mlp, division = adds.split(activation)
            own.append((neurons, division * scale))
            rest.append((mlp, division * scale))
            others -= (neurons + mlp) / division
        return own, [*rest, (others, scale)]


def token_effects(
    session: Session,
    model: LoadedModel,
    tokens: str | Sequence[str],
    *,
    over: str = "first",
    rows: int | None = None,
    meter: Meter | None = None,
) -> TokenReadings:
    """Read the logits of chosen tokens with and without each condition of a session, of every prompt.

    Args:
        session: whose prompts, conditions and raw values are used; runs of controls are left out.
        model: the one the session was made with.
        tokens: as `token_ids` takes them.
        over: one of `OVER`; the baseline's text is the same under every condition.
        rows: the most rows of a pass; None plans it from free memory.
        meter: told how far it is, and asked whether it should go on.

    Raises:
        ExplorerError: another model than the session's, a text that is no token, nothing to compare.
        Stopped: it was asked to stop.
    """
    names, ids = token_ids(model, tokens)
    maker = maker_of(session, model)
    families, texts = _texts(session, ids, over)
    laid_out = maker.rows([run.index for runs in families for run in runs], session.resolved)
    edits = iter(row.edits for row in laid_out)
    settings = [tuple(next(edits) for _ in runs) for runs in families]
    attribution, reason = None, ""
    try:
        attribution = Attribution.of(session, model, ids, [edit for row in laid_out for edit in row.edits])
    except ExplorerError as error:
        reason = error.what
    given = [GivenText(prompt, text, edited) for (prompt, text), edited in zip(texts, settings, strict=True)]
    captures = attribution.captures() if attribution is not None else []
    size, row_of = sum(map(len, families)), np.cumsum([0, *map(len, families)])
    before, after = np.zeros((2, size, 3, len(ids)))
    parts = np.zeros((size, len(PARTS), len(ids)))
    for index, (untouched, *edited) in forced(
        model, given, captures, meter or Meter([], StopSignal()), watched=ids, rows=rows
    ):
        for row, result in enumerate(edited, int(row_of[index])):
            before[row], after[row] = _read(untouched), _read(result)
            if attribution is not None:
                parts[row] = attribution.parts(untouched, result)
    units, place = units_of(session), {run.index: row for row, run in enumerate(session.runs)}
    runs = [run for family in families for run in family]
    return TokenReadings(
        names,
        over,
        np.array([run.index for run in runs], np.int64),
        units.of_run[[place[run.index] for run in runs]],
        units.stratum,
        np.array([run.condition for run in runs], np.int64),
        before,
        after,
        rounding_of(session, before[:, 0]),
        None if attribution is None else parts,
        reason,
        logit_cap(model),
    )


def _texts(
    session: Session, ids: Sequence[int], over: str
) -> tuple[list[list[RunRecord]], list[tuple[tuple[int, ...], tuple[int, ...]]]]:
    """The runs that are compared, a list a prompt, and the prompt and text that each list is read on.

    Samples of a prompt have its first position in common: one of them stands for all.
    """
    kinds = [condition.kind for condition in session.conditions]
    first: dict[int, dict[int, RunRecord]] = {}
    for run, is_seen in zip(session.runs, session.seen.tolist(), strict=True):
        if is_seen and kinds[run.condition] != "control":
            first.setdefault(run.prompt, {}).setdefault(run.condition, run)
    families: list[list[RunRecord]] = []
    texts: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for prompt, by_condition in first.items():
        base = by_condition.pop(0, None)
        runs = list(by_condition.values())
        text = (base.token_ids if base else ()) if over == "text" else (ids[0],)
        if runs and text:
            families.append(runs)
            texts.append((session.prompts[prompt].token_ids, text))
    if not families:
        if over == "first":
            raise no_pairs(session)
        raise ExplorerError("no baseline has a text", where=session.name, remedy="read the first position")
    return families, texts


def _read(forced: Forced) -> Floats:
    """[3, token] means of the logit, the log-odds against all other tokens and the probability of what is watched."""
    logit, logp = forced.scores.watched
    with np.errstate(divide="ignore"):
        odds = logp - np.log(-np.expm1(logp))
    return np.stack([logit, odds, np.exp(logp)]).mean(axis=1)


def rounding_of(session: Session, logits: Floats) -> float:
    """What another batch may change a logit by; 0 in half precision, where it is as large as effects are."""
    exact = session.spec.model.dtype if session.spec.model.dtype in ("float32", "float64") else None
    return 16 * float(np.finfo(exact).eps * np.abs(logits).max()) if exact else 0.0


def tokens_study(session: Session | None, arguments: Arguments, model: LoadedModel, meter: Meter) -> Findings:
    """Tell what a session's conditions did to the logits of chosen tokens; the home of the study "tokens".

    Args:
        session: whose prompts are read.
        arguments: "tokens", see `token_ids`; "over", one of `OVER`; "resamples" and "seed" of the intervals; "family"
            of the ledger that its tests go into.
        model: the session's.
        meter: told how far it is.

    Raises:
        ExplorerError: as `token_effects`, or without a session.
        Stopped: it was asked to stop.
    """
    settings = StudyArguments(arguments, ("tokens", "over", "resamples", "seed", "family"), "tokens")
    if session is None:
        raise ExplorerError("the conditions are those of a session", remedy="name one")
    given = arguments.get("tokens")
    if not isinstance(given, str | list | tuple):
        raise ExplorerError("no token is named", where="tokens", remedy="name some: tokens=' yes, no'")
    resamples = settings.whole("resamples", RESAMPLES, least=1, most=MOST_RESAMPLES)
    seed, family = settings.whole("seed", 0, least=0), settings.text("family") or FAMILY
    tokens = given if isinstance(given, str) else [str(token) for token in cast("list[object]", given)]
    readings = token_effects(session, model, tokens, over=settings.choice("over", OVER), meter=meter)
    tables = token_tables(session, readings, resamples=resamples, seed=seed, family=family)
    return findings_of(*tables, tokens=list(readings.tokens), over=readings.over)
