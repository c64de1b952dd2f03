"""How fast a model writes, measured by a few steps of a batch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, rows_that_fit
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.prepared import decode
from srm_explorer.engine.model.static import LOOK

_PROMPT, _STEPS = 8, 3
_ROWS = {"cpu": (4, 96), "mps": (4, 96), "cuda": (4, 64, 1024)}
"""Rows of the batches that are tried, up to as many as runs have: a GPU takes hardly longer for many than for few."""
_MOST_SECONDS = 2.0
"""Seconds that a step of more rows may be expected to take: a slower model is measured by fewer."""


def measured_rate(model: LoadedModel) -> float:
    """Measure how many tokens a second the model writes in a batch, by a few steps of it without the first.

    Returns:
        tokens a second; a small batch of a slow model is slower than a large one would be, and texts that are alike
        share what these do not.
    """
    site = str(Site(model.shape.n_layers - 1, "hook_resid_post"))
    vocabulary = min(len(model.tokenizer.raw), model.bridge.cfg.d_vocab)
    # In static tensors the host looks only now and then.
    steps = 3 * LOOK if model.static_steps else _STEPS
    capture, rate = Capture(site, "mean", "generated"), 0.0
    most, step, before = rows_that_fit(model, _PROMPT, Generation(steps), [capture]), 0.0, 1
    for count in dict.fromkeys(min(count, most) for count in _ROWS[model.device.type]):
        if step * count / before > _MOST_SECONDS:
            break
        rows = [
            # No two alike, or what they share would be computed once.
            Row(tuple((7919 * (row + 1) + 31 * at) % vocabulary for at in range(_PROMPT)), forced=tuple(range(steps)))
            for row in range(count)
        ]
        step = _step_seconds(model, rows, capture, steps)
        rate, before = count / step, count
    return rate


def _step_seconds(model: LoadedModel, rows: Sequence[Row], capture: Capture, steps: int) -> float:
    looks: list[tuple[int, float]] = []
    decode(model, rows, Generation(steps), [capture], on_step=lambda step, _: looks.append((step, time.monotonic())))
    (first, began), (last, ended) = looks[0], looks[-1]
    return max(ended - began, 1e-6) / max(last - first, 1)
