"""A fast check, at load, that this model behaves as the engine assumes; its numbers go into the provenance."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import ExplorerError
from engine.model.capture import Capture
from engine.model.decode import Generation, Row, RowResult, decode
from engine.model.edits import Edit
from engine.model.load import LoadedModel
from engine.model.reference import run_alone
from engine.spec import ModelShape, Site

_TOLERANCE = {"float64": 1e-5, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
_CLAMP = 3.0
_TOKENS = 2
_ALONE = (2, 3)  # the short prompt clamped, the long one as it is: what is run one at a time


@dataclass(frozen=True)
class SelfTest:
    """What the check found; differences are relative to the largest number compared.

    Args:
        fired: times the hook of the edited site fired.
        clamped: difference between a clamped neuron and the value it was clamped to.
        batch_vs_single: rows of a batch against the same rows alone.
        cached_vs_uncached: the cached loop against a full forward over the whole text.
        add_0_vs_baseline: adding 0 against doing nothing.
        shared_vs_plain: rows that share blocks against rows that do not.
        tolerance: what each must stay under.
        shares_blocks: whether sharing is used; where it fails alone, it is left off.
        seconds: how long the check took.
    """

    fired: int
    clamped: float
    batch_vs_single: float
    cached_vs_uncached: float
    add_0_vs_baseline: float
    shared_vs_plain: float
    tolerance: float
    shares_blocks: bool
    seconds: float


def self_test(model: LoadedModel) -> SelfTest:
    """Run a few forced tokens through a model every way the engine knows, and compare.

    Sets `model.shares_blocks` to what was found.

    Raises:
        ExplorerError: the ways disagree; the numbers are in the message.
    """
    began = time.monotonic()
    site, last = _middle(model.shape), f"blocks.{model.shape.n_layers - 1}.hook_resid_post"
    rows = _rows(site, min(len(model.tokenizer.raw), model.bridge.cfg.d_vocab))
    captures = [Capture(site, "mean", "generated"), Capture(last, "mean", "generated")]
    generation = Generation(_TOKENS)
    plain = decode(model, rows, generation, captures, share=False)
    model.shares_blocks = True
    shared = decode(model, rows, generation, captures, share=True)
    alone = [decode(model, [rows[i]], generation, captures, share=False).rows[0] for i in _ALONE]
    uncached = [run_alone(model, rows[i], generation, captures) for i in _ALONE]
    tolerance = _TOLERANCE[str(model.dtype).removeprefix("torch.")]
    parting = _difference(shared.rows, plain.rows)
    model.shares_blocks = parting <= tolerance
    found = SelfTest(
        fired=plain.receipts[0].fired,
        clamped=max(abs(float(row.captured[0][0]) - _CLAMP) / _CLAMP for row in plain.rows[2::3]),
        batch_vs_single=_difference([plain.rows[i] for i in _ALONE], alone),
        cached_vs_uncached=_difference(alone, uncached),
        add_0_vs_baseline=_difference(plain.rows[1::3], plain.rows[0::3]),
        shared_vs_plain=parting,
        tolerance=tolerance,
        shares_blocks=model.shares_blocks,
        seconds=round(time.monotonic() - began, 3),
    )
    for name in ("clamped", "batch_vs_single", "cached_vs_uncached", "add_0_vs_baseline"):
        value: float = getattr(found, name)
        if not value <= tolerance:
            raise ExplorerError(
                f"the self-test failed: {name} differs by {value:.2g} (allowed {tolerance:.0e}); {found}",
                where=model.name,
                remedy="choose dtype float32 or another model; results would not be what they say",
            )
    return found


def _middle(shape: ModelShape) -> str:
    """Choose the site that is edited: neurons, as near the middle as there are any."""
    middle = shape.n_layers // 2
    if not shape.neuron_layers:
        return str(Site(middle, "hook_resid_post"))
    return str(Site(min(shape.neuron_layers, key=lambda layer: abs(layer - middle)), "mlp.hook_post"))


def _rows(site: str, vocabulary: int) -> list[Row]:
    """Two prompts of different lengths, each as it is, with 0 added, and clamped; all forced to the same tokens."""
    ids = [(7919 * (place + 1)) % vocabulary for place in range(5 + _TOKENS)]
    forced = tuple(ids[5:])
    settings: list[tuple[Edit, ...]] = [(), (Edit(site, "add", "all", (0,), (0.0,)),)]
    settings.append((Edit(site, "clamp", "all", (0,), (_CLAMP,)),))
    return [Row(tuple(ids[:length]), edits, forced=forced) for length in (3, 5) for edits in settings]


def _difference(one: Sequence[RowResult], other: Sequence[RowResult]) -> float:
    """Find the largest difference, NaN if anything is NaN: a comparison with it fails."""
    worst = 0.0
    for left, right in zip(one, other, strict=True):
        for a, b in zip(left.captured, right.captured, strict=True):
            scale = max(float(np.abs(b).max()), 1e-12)
            worst = float(np.maximum(worst, np.abs(a - b).max() / scale))
    return worst
