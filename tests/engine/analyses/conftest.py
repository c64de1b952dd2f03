"""Sessions with vectors in which something is planted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session, save_session

SITE, RESIDUAL = "blocks.1.mlp.hook_post", "blocks.1.hook_resid_post"
NEURON, WIDTH, STREAM = 3, 16, 8
CLAMP = {"site": SITE, "neurons": [NEURON], "op": "clamp", "values": [-4, 2, 9]}


@pytest.fixture
def planted(tmp_path: Path) -> Callable[..., Session]:
    """Save a session of random vectors in which `plant` may change what it likes.

    The clamped neuron is set by design, and what it writes along its row of W_out is in the residual stream.
    """

    def make(
        plant: Callable[[Session, dict[str, np.ndarray]], None] | None = None,
        *,
        units: int = 24,
        interventions: Sequence[dict[str, Any]] = (CLAMP,),
        done: int | None = None,
        reduce: str = "mean",
        rows: bool = True,
        factors: Callable[[int], dict[str, str]] = lambda prompt: {},
        seed: int = 0,
        **spec: Any,
    ) -> Session:
        experiment = Experiment.from_dict(
            {
                "model": {"name": "gpt2"},
                "prompts": {"sets": ["reasoning"]},
                "interventions": list(interventions),
                "capture": {"sites": [SITE, RESIDUAL], "reduce": reduce},
                "planes": [{"site": SITE, "a": NEURON, "b": 5}],
                **spec,
            }
        )
        listed = conditions(experiment)
        grid = [(prompt, condition) for prompt in range(units) for condition in range(len(listed))][:done]
        rng = np.random.default_rng(seed)
        w_out = rng.normal(size=(WIDTH, STREAM))
        vectors = {site: rng.normal(size=(len(grid), d)) for site, d in ((SITE, WIDTH), (RESIDUAL, STREAM))}
        session = Session(
            name="storm",
            state="finished" if done is None else "interrupted",
            spec=experiment,
            conditions=listed,
            resolved=tuple(
                tuple(
                    None if value is None else (value,) * max(1, len(one.neurons))
                    for one, value in zip(experiment.interventions, condition.values, strict=True)
                )
                for condition in listed
            ),
            prompts=tuple(
                PromptRecord("ab"[prompt % 2], f"p{prompt}", factors(prompt), (prompt,), 0, f"{prompt:064x}")
                for prompt in range(units)
            ),
            runs=tuple(
                RunRecord(i, prompt, condition, 0, (1, 2), "it", 3, "length", 0.5, {})
                for i, (prompt, condition) in enumerate(grid)
            ),
            provenance={"w_out": {SITE: {str(NEURON): w_out[NEURON].tolist()}}} if rows else {},
        )
        if plant is not None:
            plant(session, vectors)
        for place, one in enumerate(experiment.interventions):
            if one.op == "clamp" and one.site == SITE:
                for row, (_, condition) in enumerate(grid):
                    value = listed[condition].values[place]
                    if value is not None and listed[condition].kind != "control":
                        vectors[SITE][row, list(one.neurons)] = value
        vectors[RESIDUAL] += vectors[SITE][:, [NEURON]] * w_out[NEURON]
        plane = PlaneRecord.of(SITE, NEURON, 5, vectors[SITE][:, [NEURON, 5]], np.linalg.norm(vectors[SITE], axis=1))
        kept: dict[str, Any] = {site: own.astype(np.float32) for site, own in vectors.items()}
        if reduce == "tokens":
            kept = {site: [np.stack([row - 1, row + 1]) for row in own] for site, own in kept.items()}
        saved = save_session(session.changed(planes=(plane,)), tmp_path / f"storm-{seed}.json", vectors=kept)
        return saved.session

    return make
