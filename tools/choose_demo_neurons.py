"""Choose the demo preset's neuron and partner by the rule below, and print what they do.

The rule. Layer: the one two thirds up the stack, so that a clamp acts through later attention as well. Candidates:
every neuron of that layer, clamped to its baseline mean plus CLAMP standard deviations on every third prompt of the
two shipped sets. A candidate is fluent when its continuations have at least FLUENT of the baseline's share of distinct
word pairs. Neuron: the fluent candidate that gives one word to most continuations, less those of the baseline that
hold it already; of equal ones, the one that changes most continuations. A word counts that has at least six letters,
so that it says something, and that stands in the prompts or in the baseline's continuations, so that it is one.
Partner: the other neuron of the layer whose run means change most between the baseline and that clamp, in standard
deviations of the baseline's run means.

    python tools/choose_demo_neurons.py
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from srm_explorer.engine import paths
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, decode
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.selftest import self_test
from srm_explorer.engine.prompts import load_prompt_set

CLAMP = 30.0
FLUENT = 0.75
TOKENS = 24
LETTERS = 6
NEURONS_AT_ONCE = 6


def main() -> None:
    """Print the choice, the words it promotes, and what else was close."""
    model = load_model(ModelSpec(name="demo"))
    self_test(model)
    site = f"blocks.{2 * model.shape.n_layers // 3}.mlp.hook_post"
    prompts = _prompts(model)
    baseline, tokens, vectors = _write(model, site, [Row(p) for p in prompts])
    mean, std = tokens.mean(axis=0), tokens.std(axis=0)
    fluency, common = _distinct_pairs(baseline), _holding(baseline)
    known = set(common) | set(_holding([model.tokenizer.decode(prompt) for prompt in prompts]))
    found: list[tuple[int, int, int, str]] = []
    for first in range(0, model.shape.d_mlp, NEURONS_AT_ONCE):
        neurons = range(first, min(first + NEURONS_AT_ONCE, model.shape.d_mlp))
        rows = [Row(p, (_clamp(site, n, mean, std),)) for n in neurons for p in prompts]
        texts, _, _ = _write(model, site, rows)
        for place, neuron in enumerate(neurons):
            own = texts[place * len(prompts) : (place + 1) * len(prompts)]
            gains = _holding(own)
            gains.subtract(common)
            gain, word = max((gains[word], word) for word in known)
            changed = sum(before != after for before, after in zip(baseline, own, strict=True))
            if _distinct_pairs(own) >= FLUENT * fluency:
                found.append((gain, changed, neuron, word))
    found.sort(reverse=True)
    print(f"{site}, {len(prompts)} prompts; gain, changed texts, neuron, word of the best:")
    for gain, changed, neuron, word in found[:8]:
        print(f"  +{gain:3d}  {changed:3d}  {neuron:4d}  {word}")
    neuron = found[0][2]
    texts, _, clamped = _write(model, site, [Row(p, (_clamp(site, neuron, mean, std),)) for p in prompts])
    change = (clamped - vectors).mean(axis=0) / np.maximum(vectors.std(axis=0), 1e-6)
    change[neuron] = 0.0
    partner = int(np.abs(change).argmax())
    print(f"neuron {neuron}, partner {partner} (changes by {change[partner]:+.1f} sd of run means)")
    for prompt, before, after in list(zip(prompts, baseline, texts, strict=True))[:5]:
        print(f"  {model.tokenizer.decode(prompt)!r}\n    baseline {before!r}\n    clamped  {after!r}")


def _prompts(model: LoadedModel) -> list[tuple[int, ...]]:
    sets = [load_prompt_set(n, folders=[paths.shipped_prompts()], base=Path.cwd()) for n in ("reasoning", "watching")]
    texts = [prompt.text for one in sets for prompt in one.prompts][::3]
    return [tuple(model.tokenizer.encode(text, False)) for text in texts]


def _clamp(site: str, neuron: int, mean: np.ndarray, std: np.ndarray) -> Edit:
    return Edit(site, "clamp", "all", (neuron,), (float(mean[neuron] + CLAMP * std[neuron]),))


def _write(model: LoadedModel, site: str, rows: list[Row]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return texts, [token, d_mlp] activations of the generated tokens, and [row, d_mlp] their means."""
    decoded = decode(
        model, rows, Generation(TOKENS, stop_ids=model.tokenizer.stop_ids), [Capture(site, "tokens", "generated")]
    )
    captured = [row.captured[0] for row in decoded.rows]
    texts = [
        model.tokenizer.decode([t for t in row.tokens if t not in model.tokenizer.stop_ids]) for row in decoded.rows
    ]
    return texts, np.concatenate(captured), np.stack([tokens.mean(axis=0) for tokens in captured])


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _holding(texts: list[str]) -> Counter[str]:
    return Counter(word for text in texts for word in set(_words(text)) if len(word) >= LETTERS)


def _distinct_pairs(texts: list[str]) -> float:
    pairs = [pair for text in texts for pair in zip(_words(text), _words(text)[1:], strict=False)]
    return len(set(pairs)) / max(len(pairs), 1)


if __name__ == "__main__":
    main()
