"""Time scanning every pair of a layer's neurons beside going through pairs one by one, in turns, in one process.

python benchmarks/plane_finder.py [--neurons N] [--vectors N]

The reference computes Hotelling's T² and Rao's F of a sample of the pairs as a textbook writes them, and its time is
scaled to all of them; the scan must give the same numbers. Then the whole study on a session of the protocol's size:
choosing on one half of the units, testing the best 100 on the other.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from srm_explorer.engine.analyses.plane_finder import finder_study
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.session import PromptRecord, RunRecord, Session, save_session
from srm_explorer.engine.stats.comparison import paired_contrast
from srm_explorer.engine.stats.pairings import ROWS, scan_pairs, separation_score

SITE = "blocks.11.mlp.hook_post"
SAMPLE = 2000
"""Pairs that the reference goes through."""


def slow_gain(differences: np.ndarray, a: int, b: int) -> float:
    """Rao's F of the coordinate that adds less, from the differences of one pair."""
    own = differences[:, [a, b]]
    n = len(own)
    mean = own.mean(axis=0)
    t2 = n * mean @ np.linalg.solve(np.cov(own.T), mean)
    better = float((n * mean**2 / own.var(axis=0, ddof=1)).max())
    return float((n - 2) * (t2 - better) / (n - 1 + better))


def protocol(prompts: int, width: int) -> tuple[Session, np.ndarray]:
    """A session of the protocol's size with random vectors."""
    values = [-20, -10, -6, -3, -1, 0, 1, 3, 6, 10, 20]
    experiment = Experiment.from_dict(
        {
            "model": {"name": "gpt2"},
            "prompts": {"sets": ["reasoning"]},
            "interventions": [{"site": SITE, "neurons": [0], "op": "clamp", "values": values}],
            "capture": {"sites": [SITE]},
        }
    )
    listed = conditions(experiment)
    grid = [(prompt, condition) for prompt in range(prompts) for condition in range(len(listed))]
    session = Session(
        name="wide",
        state="finished",
        spec=experiment,
        conditions=listed,
        resolved=tuple(tuple(None if v is None else (v,) for v in one.values) for one in listed),
        prompts=tuple(PromptRecord("reasoning", f"p{i}", {}, (i,), 0, f"{i:064x}") for i in range(prompts)),
        runs=tuple(
            RunRecord(i, prompt, condition, 0, (1,), "", 3, "length", None, {})
            for i, (prompt, condition) in enumerate(grid)
        ),
    )
    return session, np.random.default_rng(1).normal(size=(len(grid), width)).astype(np.float32)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=3072)
    parser.add_argument("--vectors", type=int, default=600)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    differences = rng.normal(size=(given.vectors, given.neurons)) + 0.1 * rng.normal(size=given.neurons)
    pairs = given.neurons * (given.neurons - 1) // 2
    sample = np.sort(rng.permuted(np.tile(np.arange(given.neurons), (SAMPLE, 1)), axis=1)[:, :2], axis=1)
    fast: list[float] = []
    slow: list[float] = []
    for _ in range(given.times):
        began = time.perf_counter()
        contrast = paired_contrast(differences)
        best = scan_pairs(contrast.residual, separation_score(contrast), 100, np.arange(given.neurons))
        scanned = time.perf_counter()
        one_by_one = [slow_gain(differences, int(a), int(b)) for a, b in sample]
        fast.append(scanned - began)
        slow.append((time.perf_counter() - scanned) * pairs / SAMPLE)
    score = separation_score(contrast)
    rho = contrast.residual.T @ contrast.residual
    found = [score(rho[[[a]], [[b]]], np.array([a]), np.array([b]))[0, 0] for a, b in sample]
    off = float(np.max(np.abs(np.array(found) - one_by_one) / np.maximum(1e-9, np.abs(one_by_one))))
    ratio = np.median(slow) / np.median(fast)
    print(f"{best.scanned:,} pairs of {given.neurons:,} neurons, {given.vectors} vectors, median of {given.times}")
    print(f"one by one         {np.median(slow):9.1f} s  ({SAMPLE:,} pairs, scaled)")
    print(f"{ROWS} rows at a time {np.median(fast):9.2f} s  ({ratio:,.0f} x)")
    print(f"largest relative difference {off:.1e}")
    with tempfile.TemporaryDirectory() as folder:
        session, vectors = protocol(50, given.neurons)
        saved = save_session(session, Path(folder) / "wide.json", vectors={SITE: vectors}).session
        began = time.perf_counter()
        (table,) = tables_in(finder_study(saved, {"among": "all", "site": SITE}))
        print(f"the study on {len(session.runs)} runs    {time.perf_counter() - began:9.2f} s")
        print(table.notes[0])


if __name__ == "__main__":
    main()
