"""Time the grid as rows of shared batches beside the one-at-a-time way, in one process, and compare what they write.

python tools/make_random_model.py /tmp/gpt2-shaped
python benchmarks/rows_vs_one_at_a_time.py /tmp/gpt2-shaped
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

import numpy as np
import torch
from one_at_a_time import one_at_a_time

from srm_explorer.engine import paths
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model.decoding import Generation, Row, RowResult, decode
from srm_explorer.engine.model.intervene import Capture, Edit
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.prompts import load_prompt_set

VALUES = (-20.0, -10.0, -6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 10.0, 20.0)


def grid(model: LoadedModel, n_prompts: int, layer: int, neuron: int) -> list[list[Row]]:
    """The protocol's runs: for each prompt, the shortest first, the baseline and every value."""
    sets = [load_prompt_set(n, folders=[paths.shipped_prompts()], base=Path()) for n in ("reasoning", "watching")]
    texts = [prompt.text for one in sets for prompt in one.prompts][:n_prompts]
    site = f"blocks.{layer}.mlp.hook_post"
    edits = [(), *((Edit(site, "clamp", "all", (neuron,), (value,)),) for value in VALUES)]
    prompts = sorted((tuple(model.tokenizer.encode(text, prepend_bos=False)) for text in texts), key=len)
    return [[Row(prompt, own) for own in edits] for prompt in prompts]


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--tokens", type=int, default=50)
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--rows", type=int, default=96, help="rows of a batch")
    parser.add_argument("--sample", type=int, default=6, help="runs done one at a time, spread over the grid")
    parser.add_argument("--layer", type=int, default=None, help="the last by default")
    parser.add_argument("--neuron", type=int, default=373)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = load_model(ModelSpec(name=given.folder, device="cpu"))
    layer = model.shape.n_layers - 1 if given.layer is None else given.layer
    sites = [f"blocks.{layer}.mlp.hook_post", f"blocks.{model.shape.n_layers - 1}.hook_resid_post"]
    captures = [Capture(sites[0], "mean", "generated"), Capture(sites[1], "mean", "generated")]
    prompts = grid(model, given.prompts, layer, given.neuron)
    per_batch = max(1, given.rows // len(prompts[0]))
    batches = [
        [row for prompt in prompts[at : at + per_batch] for row in prompt] for at in range(0, len(prompts), per_batch)
    ]
    runs = [row for batch in batches for row in batch]
    chosen = {round(i) for i in np.linspace(1, len(runs) - 2, given.sample)}
    decode(model, runs[:2], Generation(2), captures)
    reset_peak()
    before = memory("VmRSS")

    rows_seconds, alone_seconds, peak = [], [], 0
    texts_differ, farthest, first = 0, 0.0, 0
    for batch in batches:
        began = time.perf_counter()
        results = decode(model, batch, Generation(given.tokens), captures).rows
        rows_seconds.append(time.perf_counter() - began)
        peak = max(peak, memory("VmHWM"))
        for at in sorted(chosen.intersection(range(first, first + len(batch)))):
            began = time.perf_counter()
            text, vectors = one_at_a_time(model.bridge, runs[at].prompt, runs[at].edits, sites, given.tokens)
            alone_seconds.append(time.perf_counter() - began)
            same, distance = compare(results[at - first], text, vectors)
            texts_differ += not same
            farthest = max(farthest, distance)
        first += len(batch)

    n_rows, n_alone = len(runs) * given.tokens, len(alone_seconds) * given.tokens
    rows_rate, alone_rate = n_rows / sum(rows_seconds), n_alone / sum(alone_seconds)
    print(
        f"{len(runs)} runs x {given.tokens} tokens, {per_batch * len(prompts[0])} rows a batch, {given.threads} threads"
    )
    print(f"rows            {rows_rate:8.1f} tokens/s  {1e3 / rows_rate:6.2f} ms a token  {sum(rows_seconds):6.1f} s")
    print(f"one at a time   {alone_rate:8.1f} tokens/s  {1e3 / alone_rate:6.2f} ms a token  {len(alone_seconds)} runs")
    pairs = np.array(sorted(rows_seconds)), np.array(sorted(alone_seconds))
    print(f"ratio           {rows_rate / alone_rate:8.1f}  (medians: {ratio_of_medians(*pairs, n_rows, n_alone):.1f})")
    print(f"memory          {(peak - before) / 2**20:8.0f} MB above what it was after loading, at its peak")
    print(f"equality        {texts_differ} of {len(alone_seconds)} texts differ, vectors by at most {farthest:.2g}")


def compare(result: RowResult, text: tuple[int, ...], vectors: list[np.ndarray]) -> tuple[bool, float]:
    """Tell whether the texts are equal, and the largest difference of the vectors."""
    distance = max(float(np.abs(a - b).max()) for a, b in zip(result.captured, vectors, strict=True))
    return result.tokens == text[: len(result.tokens)], distance


def ratio_of_medians(rows: np.ndarray, alone: np.ndarray, n_rows: int, n_alone: int) -> float:
    """Compare the median batch with the median run: less moved by what else the machine does."""
    return float(np.median(alone) / (n_alone / len(alone)) / (np.median(rows) / (n_rows / len(rows))))


def memory(field: str) -> int:
    """Read VmRSS or VmHWM, bytes (Linux)."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def reset_peak() -> None:
    """Let VmHWM start from now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
