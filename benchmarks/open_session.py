"""Time opening a session of many runs beside plain JSON parsing of the same file, in turns, in one process.

python benchmarks/open_session.py
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from srm_explorer.engine.analyses.bands import with_bands
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.figures.groups import swept_groups
from srm_explorer.engine.figures.session_overlays import overlays_from_session, stored_bands
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session, load_session, save_session

SITE = "blocks.11.mlp.hook_post"
WORDS = ("the", "door", "opened", "and", "nobody", "said", "a", "word", "until", "rain", "fell")


def made_up(prompts: int, values: int, tokens: int) -> Session:
    """A session of prompts times values (the baseline is one of them), with texts, a plane and its bands."""
    experiment = Experiment.from_dict(
        {
            "model": {"name": "gpt2"},
            "prompts": {"sets": ["reasoning"]},
            "interventions": [{"site": SITE, "neurons": [373], "op": "clamp", "values": list(range(1, values))}],
            "generation": {"tokens": tokens},
            "capture": {"sites": [SITE]},
            "planes": [{"site": SITE, "a": 373, "b": 2202}],
        }
    )
    listed = conditions(experiment)
    rng = np.random.default_rng(0)
    runs = tuple(
        RunRecord(
            index=index,
            prompt=index // len(listed),
            condition=index % len(listed),
            sample=0,
            token_ids=tuple(rng.integers(0, 50_000, tokens).tolist()),
            text=" ".join(rng.choice(WORDS, tokens)),
            prompt_tokens=12,
            finish="length",
            min_margin=float(rng.random()),
            metrics={},
        )
        for index in range(prompts * len(listed))
    )
    xy, norm = rng.normal(size=(len(runs), 2)), np.full(len(runs), 9.0)
    x, y = xy.T.tolist()
    session = Session(
        name="large",
        state="finished",
        spec=experiment,
        conditions=listed,
        resolved=(),
        prompts=tuple(
            PromptRecord("reasoning", f"If number {i} is late, then", {}, (*range(11), 100 + i), 0, f"{i:064x}")
            for i in range(prompts)
        ),
        runs=runs,
        planes=(PlaneRecord.of(SITE, 373, 2202, xy, norm),),
        predictions={"arithmetic": {"planes": [{"plane": 0, "x": x, "y": y, "norm": norm.tolist()}]}},
    )
    vectors = rng.normal(size=(len(runs), 3072)).astype(np.float32)
    return with_bands(session, {SITE: vectors})


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--values", type=int, default=40, help="the baseline included")
    parser.add_argument("--tokens", type=int, default=50)
    parser.add_argument("--times", type=int, default=15)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.json"
        save_session(made_up(given.prompts, given.values, given.tokens), path)
        spent: dict[str, list[float]] = {"parse": [], "open": [], "curves": []}
        for _ in range(given.times):
            began = time.perf_counter()
            json.loads(path.read_bytes())
            parsed = time.perf_counter()
            session = load_session(path)
            opened = time.perf_counter()
            groups = swept_groups(session, session.planes[0])
            overlays_from_session(session, session.planes[0], groups, (), stored_bands(session, 0))
            ready = time.perf_counter()
            for name, seconds in zip(spent, (parsed - began, opened - parsed, ready - opened), strict=True):
                spent[name].append(1e3 * seconds)
        size = path.stat().st_size / 1e6
    parse, opening, curves = (float(np.median(own)) for own in spent.values())
    worst = max(a + b for a, b in zip(spent["open"], spent["curves"], strict=True))
    print(f"{len(session.runs):,} runs x {given.tokens} tokens, {size:.1f} MB, median of {given.times}")
    print(f"json.loads alone     {parse:7.1f} ms")
    print(f"load_session         {opening:7.1f} ms")
    print(f"curves of its plane  {curves:7.1f} ms")
    ready_ms = opening + curves
    print(f"ready to draw        {ready_ms:7.1f} ms  ({ready_ms / parse:.1f} x parsing, worst {worst:.0f})")


if __name__ == "__main__":
    main()
