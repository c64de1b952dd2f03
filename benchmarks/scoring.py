"""Given texts under clamps: a few values of one neuron, and many neurons, beside a run and a neuron at a time."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from measuring import Options, timed
from references import PlainModel

from srm_explorer.engine import paths
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.cells import CellScorer, Settings
from srm_explorer.engine.model.decoding import Generation, Row, rows_that_fit
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.forcing import Forced, GivenText, score_texts
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.prepared import decode
from srm_explorer.engine.model.selftest import self_test
from srm_explorer.engine.prompts import load_prompt_set

VALUES = (-20.0, -10.0, -6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 10.0, 20.0)
TOKENS = 50


@functools.cache
def both(folder: Path) -> tuple[LoadedModel, PlainModel]:
    """A model as ours and as others have it."""
    model = load_model(ModelSpec(name=str(folder), device="cpu"))
    self_test(model)
    return model, PlainModel(folder)


def drawn_texts(model: LoadedModel, count: int, settings: tuple[tuple[Edit, ...], ...]) -> list[GivenText]:
    """Prompts of the reasoning set, each with drawn tokens after it."""
    listed = load_prompt_set("reasoning", folders=[paths.shipped_prompts()], base=Path())
    drawn = np.random.default_rng(0).integers(0, model.n_vocab, (count, TOKENS)).tolist()
    return [
        GivenText(tuple(model.tokenizer.encode(prompt.text, prepend_bos=False)), tuple(tokens), settings)
        for prompt, tokens in zip(listed.prompts, drawn, strict=False)
    ]


def alone(plain: PlainModel, text: GivenText) -> list[np.ndarray]:
    """Score a text under every setting, a run at a time, and untouched: [2, token] log p and KL of each setting."""
    ids, tokens = (*text.prompt, *text.tokens), torch.tensor(text.tokens)
    base = plain.log_probabilities(ids, (), len(tokens))
    found: list[np.ndarray] = []
    for edits in text.settings:
        logp = plain.log_probabilities(ids, edits, len(tokens))
        kl = (base.exp() * (base - logp)).sum(dim=-1)
        found.append(torch.stack([logp.gather(-1, tokens[:, None])[:, 0], kl]).numpy())
    return found


def forcing(options: Options) -> None:
    """Texts of 50 drawn tokens under eleven clamps of the last layer, a text a turn."""
    model, plain = both(options.shaped)
    site = f"blocks.{model.shape.n_layers - 1}.mlp.hook_post"
    settings = tuple((Edit(site, "clamp", "all", (7,), (value,)),) for value in VALUES)
    texts = drawn_texts(model, 3 if options.quick else 8, settings)
    list(score_texts(model, texts[:1]))
    ours: list[float] = []
    theirs: list[float] = []
    farthest = 0.0
    for text in texts:
        took, found = timed(_scored, model, text)
        ours.append(len(found) / took)
        took, slow = timed(alone, plain, text)
        theirs.append(len(found) / took)
        farthest = max(farthest, *(_difference(one, other) for one, other in zip(found[1:], slow, strict=True)))
    note = f"{1 + len(settings)} runs a text of {TOKENS} tokens; log p and KL differ by at most {farthest:.1e}"
    options.report.rates("forcing: against one run at a time", ours, theirs, note)


def _scored(model: LoadedModel, text: GivenText) -> list[Forced]:
    ((_, forced),) = score_texts(model, [text])
    return forced


def _difference(one: Forced, other: np.ndarray) -> float:
    return float(np.abs(np.stack([one.scores.logp, one.scores.kl]) - other).max())


VALUE = 6.0


def one_by_one(plain: PlainModel, texts: list[GivenText], site: str, neurons: range) -> np.ndarray:
    """Score all texts under one neuron's clamp after another, all texts in one pass: [neuron, text] mean KL."""
    given = [(text.prompt, text.tokens) for text in texts]
    base = plain.scores(given, ())
    found: list[list[float]] = []
    for neuron in neurons:
        under = plain.scores(given, (Edit(site, "clamp", "all", (neuron,), (VALUE,)),))
        found.append([float((p.exp() * (p - q)).sum(dim=-1).mean()) for p, q in zip(base, under, strict=True)])
    return np.array(found)


def surveyed(model: LoadedModel, texts: list[GivenText], site: str, neurons: range) -> np.ndarray:
    """Score all texts under the clamps of many neurons, as a forced survey does: [neuron, text] mean KL."""
    chosen = np.array(neurons, np.int64)
    scorer = CellScorer(model, Settings(site, "clamp", chosen, np.full(len(chosen), VALUE)), (), 64)
    return np.stack([scorer.score(text.prompt, text.tokens, "all").kl for text in texts], axis=1)


def forced_survey(options: Options) -> None:
    """Neurons of the last layer, where logits have a closed form, and of the middle one."""
    model, plain = both(options.shaped)
    texts = drawn_texts(model, 4, ())
    last, middle = model.shape.n_layers - 1, model.shape.n_layers // 2
    few, many = (8, 32) if options.quick else (32, 64)
    for where, layer, count in (("last", last, many), ("middle", middle, few)):
        site = f"blocks.{layer}.mlp.hook_post"
        ours: list[float] = []
        theirs: list[float] = []
        farthest = 0.0
        surveyed(model, texts[:1], site, range(2))
        compared = 2 if options.quick else 4
        for turn in range(2):
            neurons = range(count * turn, count * (turn + 1))
            took, found = timed(surveyed, model, texts, site, neurons)
            ours.append(len(neurons) / took)
            took, slow = timed(one_by_one, plain, texts, site, neurons[:compared])
            theirs.append(compared / took)
            farthest = max(farthest, float(np.abs(found[:compared] - slow).max()))
        note = f"{len(texts)} texts of {TOKENS} tokens, one value; KL differs by at most {farthest:.1e} nats"
        options.report.rates(f"survey: forced, {where} layer, against one neuron at a time", ours, theirs, note)


def free_survey(options: Options) -> None:
    """Texts written under clamps of many neurons of the middle layer, beside all prompts under one neuron at a time.

    The batch is a free part's: for each prompt all neurons, so that they share it.
    """
    model, plain = both(options.shaped)
    layer, tokens = model.shape.n_layers // 2, 12 if options.quick else 20
    sites = [f"blocks.{layer}.mlp.hook_post", f"blocks.{model.shape.n_layers - 1}.hook_resid_post"]
    captures = [Capture(site, "mean", "generated") for site in sites]
    prompts = [text.prompt for text in drawn_texts(model, 20, ())]
    most = rows_that_fit(model, max(map(len, prompts)), Generation(tokens), captures)
    neurons = range(most // 4)
    ours: list[float] = []
    theirs: list[float] = []
    differing = 0
    for turn in range(1 if options.quick else 2):
        some = prompts[4 * turn : 4 * turn + 4]
        rows = [Row(p, (Edit(sites[0], "clamp", "all", (n,), (VALUE,)),)) for p in some for n in neurons]
        took, decoded = timed(decode, model, rows, Generation(tokens), captures)
        ours.append(len(rows) * tokens / took)
        edits = (Edit(sites[0], "clamp", "all", (neurons[turn],), (VALUE,)),)
        took, (texts, _) = timed(plain.all_at_once, prompts, edits, sites, tokens)
        theirs.append(len(prompts) * tokens / took)
        same = [decoded.rows[len(neurons) * at + turn].tokens == texts[4 * turn + at] for at in range(len(some))]
        differing += same.count(False)
    note = f"{len(neurons)} neurons x 4 prompts a batch of ours, {len(prompts)} prompts a neuron there"
    note += f"; {differing} of {4 * len(ours)} texts differ"
    options.report.rates("survey: free, middle layer, against one neuron at a time", ours, theirs, note)
