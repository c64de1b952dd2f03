"""Given texts scored under clamps, in rows of one pass, beside a forward pass a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from measuring import Options, timed
from references import PlainModel

from srm_explorer.engine import paths
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model.forcing import Forced, GivenText, score_texts
from srm_explorer.engine.model.intervene import Edit
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.prompts import load_prompt_set

VALUES = (-20.0, -10.0, -6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 10.0, 20.0)
TOKENS = 50


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
    model, plain = load_model(ModelSpec(name=str(options.shaped), device="cpu")), PlainModel(options.shaped)
    site = f"blocks.{model.shape.n_layers - 1}.mlp.hook_post"
    settings = tuple((Edit(site, "clamp", "all", (7,), (value,)),) for value in VALUES)
    texts = drawn_texts(model, 4 if options.quick else 8, settings)
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
