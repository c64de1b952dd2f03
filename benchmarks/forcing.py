"""Time given tokens scored under eleven values in rows of one pass, beside one run at a time, and compare the scores.

python tools/make_random_model.py /tmp/gpt2-shaped
python benchmarks/forcing.py /tmp/gpt2-shaped
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from srm_explorer.engine import paths
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model.forcing import Forced, GivenText, score_texts
from srm_explorer.engine.model.intervene import Edit
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.prompts import load_prompt_set

VALUES = (-20.0, -10.0, -6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 10.0, 20.0)


def one_run(model: LoadedModel, text: GivenText, edits: tuple[Edit, ...]) -> torch.Tensor:
    """Score one text under one setting the usual way: a forward pass under a hook, all logits; [token, vocab] log p."""

    def clamp(activation: torch.Tensor, hook: object) -> torch.Tensor:
        activation[:, :, list(edits[0].neurons)] = edits[0].values[0]
        return activation

    ids = torch.tensor([[*text.prompt, *text.tokens]])
    hooks: Any = [(edits[0].site, clamp)] if edits else []
    with torch.inference_mode(), model.bridge.hooks(fwd_hooks=hooks):
        logits = model.bridge.original_model(input_ids=ids, use_cache=False).logits[0]
    return logits[len(text.prompt) - 1 : -1].log_softmax(dim=-1)


def alone(model: LoadedModel, text: GivenText) -> list[np.ndarray]:
    """Score a text untouched and under every setting, a run at a time: log p of its tokens, and KL, of each."""
    tokens = torch.tensor(text.tokens)
    base = one_run(model, text, ())
    found: list[np.ndarray] = []
    for edits in text.settings:
        logp = one_run(model, text, edits)
        kl = (base.exp() * (base - logp)).sum(dim=-1)
        found.append(torch.stack([logp.gather(-1, tokens[:, None])[:, 0], kl]).numpy())
    return found


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--tokens", type=int, default=50)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--layer", type=int, default=None, help="the last by default")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = load_model(ModelSpec(name=given.folder, device="cpu"))
    layer = model.shape.n_layers - 1 if given.layer is None else given.layer
    site = f"blocks.{layer}.mlp.hook_post"
    settings = tuple((Edit(site, "clamp", "all", (7,), (value,)),) for value in VALUES)
    listed = load_prompt_set("reasoning", folders=[paths.shipped_prompts()], base=paths.shipped_prompts())
    drawn = np.random.default_rng(0).integers(0, model.n_vocab, (given.prompts, given.tokens)).tolist()
    texts = [
        GivenText(tuple(model.tokenizer.encode(prompt.text, prepend_bos=False)), tuple(tokens), settings)
        for prompt, tokens in zip(listed.prompts, drawn, strict=False)
    ]
    rows_seconds, alone_seconds, farthest = 0.0, 0.0, 0.0
    list(score_texts(model, texts[:1]))
    for text in texts:
        began = time.perf_counter()
        ((_, found),) = score_texts(model, [text])
        rows_seconds += time.perf_counter() - began
        began = time.perf_counter()
        slow = alone(model, text)
        alone_seconds += time.perf_counter() - began
        farthest = max(farthest, *(difference(one, other) for one, other in zip(found[1:], slow, strict=True)))
    runs = len(texts) * (1 + len(settings))
    print(f"{runs} runs of {given.tokens} tokens, layer {layer}, {given.threads} threads")
    print(f"rows of a pass  {1e3 * rows_seconds / runs:8.1f} ms a run")
    print(f"run by run      {1e3 * alone_seconds / runs:8.1f} ms a run")
    print(f"ratio           {alone_seconds / rows_seconds:8.1f}")
    print(f"equality        log p and KL differ by at most {farthest:.2g}")


def difference(one: Forced, other: np.ndarray) -> float:
    """The largest difference of log p and KL."""
    return float(np.abs(np.stack([one.scores.logp, one.scores.kl]) - other).max())


if __name__ == "__main__":
    main()
