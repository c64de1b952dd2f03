"""What decoding costs, counted rather than timed: a regression fails on any machine, and without a clock.

The numbers at the top may be lowered, never raised without a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.cells import CellScorer, Settings
from srm_explorer.engine.model.decoding import Generation, Row, decode
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.forcing import GivenText, score_texts
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.static import decode_static

LAYERS, VOCAB, D_MODEL, WRITING = 3, 600, 32, 64 * 32
BLOCK = 32 * 96 + 32 * 32 + 32 * 64 + WRITING
"""Of the tiny model; multiplications of one position with the weights of one block, `WRITING` with its last."""
ROWS, PROMPTS, WIDTH = 8, 2, 9
"""Of the batches here: rows, prompts that they share, tokens of the longest prompt."""

PRODUCTS_OF_THE_BRIDGE = 6 * LAYERS + 1
PRODUCTS_A_STEP = {"alike": 4 * LAYERS + 3, "apart": 4 * LAYERS + 1, "static": PRODUCTS_OF_THE_BRIDGE}
"""Each weight is multiplied once a step, but what the last block writes twice where rows part there, once a history and
once a row, whose logits are those of histories, combined; queries, keys and values are three for the bridge."""
HOST_WAITS_A_STEP = {"alike": 9, "apart": 6, "static": 0}
"""Times that Python waits for numbers of the device; in static tensors, as on a GPU, but for a look now and then."""
COPIES_TO_DEVICE_A_STEP = {"alike": 2, "apart": 2, "static": 0}
"""Tensors that are made of Python's numbers."""

WAITING = ("cpu", "item", "tolist", "nonzero", "unique", "masked_select", "argwhere", "equal", "allclose")
CASTS = ("__bool__", "__int__", "__float__", "__index__", "__contains__")


class Counting(TorchFunctionMode):
    """Counts calls that wait for the device, as they would on a GPU, and tensors made of Python's numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.copies = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        by_mask = name in ("__getitem__", "__setitem__") and _has_mask(args[1])
        if name in WAITING or name in CASTS or by_mask or (name == "where" and len(args) == 1):
            self.waits[name] += 1
        self.copies += name in ("tensor", "as_tensor")
        return func(*args, **(kwargs or {}))


class Products(TorchDispatchMode):
    """Counts matrix products with weights: those of blocks as positions, those of the unembedding as rows."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0
        self.unembedded = 0.0
        self._multiplied = 0

    @property
    def positions(self) -> float:
        """Positions that went through a block, added up over the blocks."""
        return self._multiplied / BLOCK

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
        match str(func).split(".")[1]:
            case "linear":
                self._count(tensors[0], tensors[1].T)
            case "addmm":
                self._count(tensors[1], tensors[2])
            case "mm" | "matmul" if tensors[1].ndim == 2:
                self._count(tensors[0], tensors[1])
            case _:
                pass
        return func(*args, **(kwargs or {}))

    def _count(self, entering: torch.Tensor, weight: torch.Tensor) -> None:
        rows = entering.numel() // entering.shape[-1]
        self.products += 1
        if weight.shape[1] == VOCAB:
            self.unembedded += rows * weight.shape[0] / D_MODEL
        else:
            self._multiplied += rows * weight.numel()


def _has_mask(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, torch.Tensor) and part.dtype == torch.bool for part in parts)


@dataclass(frozen=True)
class Counts:
    """What some work took."""

    products: float
    positions: float
    unembedded: float
    waits: Counter[str]
    copies: float


def counted(work: Callable[[], object]) -> Counts:
    with Counting() as calls, Products() as products:
        work()
    return Counts(products.products, products.positions, products.unembedded, calls.waits, calls.copies)


def batch(kind: str) -> list[Row]:
    """Eight rows of two prompts whose texts never part, or of prompts of their own."""
    last = f"blocks.{LAYERS - 1}.mlp.hook_post"
    edits = [(), *((Edit(last, "add", "all", (7,), (value,)),) for value in (0.0, 1e-12, 2e-12))]
    if kind == "alike":
        prompts = [tuple(range(5)), tuple(range(20, 20 + WIDTH))]
        return [Row(prompt, own) for prompt in prompts for own in edits]
    return [Row(tuple(range(at, at + WIDTH)), edits[1]) for at in range(0, 10 * ROWS, 10)]


def decoding(model: LoadedModel, kind: str, tokens: int) -> Counts:
    rows = batch(kind)
    captures = [
        Capture(f"blocks.{LAYERS - 1}.{site}", "mean", "generated") for site in ("mlp.hook_post", "hook_resid_post")
    ]
    way = decode_static if kind == "static" else decode
    return counted(lambda: way(model, rows, Generation(tokens), captures))


@pytest.mark.parametrize("kind", ["alike", "apart", "static"])
def test_a_step_computes_and_waits_no_more_than_it_must(tiny_gpt2: LoadedModel, kind: str) -> None:
    few, many = 2, 6
    short, long = decoding(tiny_gpt2, kind, few), decoding(tiny_gpt2, kind, many)
    steps = many - few
    assert (long.products - short.products) / steps <= PRODUCTS_A_STEP[kind]
    # Up to the edited neurons each text goes through once, from there on each row.
    shared = kind == "alike"
    step = PROMPTS * LAYERS + ROWS * WRITING / BLOCK if shared else ROWS * LAYERS
    assert (long.positions - short.positions) / steps == pytest.approx(step)
    # Logits of rows are sums of as many terms as there are histories and edited neurons, in place of coordinates.
    unembedded = PROMPTS + ROWS * (PROMPTS + 1) / D_MODEL if shared else ROWS
    assert (long.unembedded - short.unembedded) / steps <= unembedded
    # Of a prompt that rows share, they compute what is written at the last column alone.
    prefill = PROMPTS * WIDTH * LAYERS + ROWS if shared else ROWS * WIDTH * LAYERS
    assert short.positions - few * step <= prefill
    waits = (long.waits - short.waits).total() / steps
    assert waits <= HOST_WAITS_A_STEP[kind], dict(long.waits - short.waits)
    assert (long.copies - short.copies) / steps <= COPIES_TO_DEVICE_A_STEP[kind]


def test_rows_that_are_finished_are_not_computed_with_for_long(tiny_gpt2: LoadedModel) -> None:
    texts, tokens, last = 32, 64, tuple(range(64))
    # A row ends at the first token, another at the second, and so on; a few write all.
    ends = [min(at + 1, tokens) if at < texts - 3 else tokens for at in range(texts)]
    rows = [Row((at, 3), forced=last[:end]) for at, end in enumerate(ends)]
    captures = [Capture(f"blocks.{LAYERS - 1}.hook_resid_post", "mean", "generated")]
    found = counted(lambda: decode_static(tiny_gpt2, rows, Generation(tokens), captures))
    prompts = 2 * texts
    # Of 24 steps all rows are fed, then half of them, then eight: who is finished is known at the second look after.
    assert found.positions / LAYERS - prompts <= 24 * texts + 8 * texts // 2 + 32 * 8
    assert found.positions / LAYERS - prompts <= 0.6 * texts * tokens


def test_given_texts_go_through_what_no_edit_reaches_once(tiny_gpt2: LoadedModel) -> None:
    settings = tuple(batch("alike")[at].edits for at in (1, 2, 3))
    text = GivenText(tuple(range(6)), tuple(range(100, 110)), settings)
    found = counted(lambda: list(score_texts(tiny_gpt2, [text])))
    assert found.positions <= text.length * LAYERS + len(settings) * text.length
    assert found.unembedded <= (1 + len(settings)) * (len(text.tokens) + 1)


@pytest.mark.parametrize("layer", range(LAYERS))
def test_a_neuron_of_a_survey_costs_the_blocks_above_it_and_none_in_the_last_layer(
    tiny_gpt2: LoadedModel, layer: int
) -> None:
    few, many, prompt, tokens = 2, 10, tuple(range(6)), tuple(range(100, 110))

    def scored(count: int) -> Counts:
        neurons = np.arange(count, dtype=np.int64)
        settings = Settings(f"blocks.{layer}.mlp.hook_post", "clamp", neurons, np.full(count, 3.0))
        scorer = CellScorer(tiny_gpt2, settings, (), rows=16)
        return counted(lambda: scorer.score(prompt, tokens, "all"))

    # What is read once for all neurons is the same for few and many.
    scored(few)
    short, long = scored(few), scored(many)
    above = LAYERS - 1 - layer
    # A closed form takes inner products of a neuron's direction, a twentieth of a position's.
    assert (long.positions - short.positions) / (many - few) <= above * (len(prompt) + len(tokens)) + 0.05
    unembedded = len(tokens) if above else 0
    assert (long.unembedded - short.unembedded) / (many - few) <= unembedded


def test_the_counters_count(tiny_gpt2: LoadedModel) -> None:
    ids = torch.arange(WIDTH)[None]
    with torch.inference_mode():
        found = counted(lambda: tiny_gpt2.bridge.original_model(input_ids=ids, use_cache=False))
        values = torch.arange(4.0)
        waited = counted(lambda: (values.tolist(), values[values > 1], bool(values.any()), values.cpu(), values.sum()))
    assert (found.products, found.positions, found.unembedded) == (PRODUCTS_OF_THE_BRIDGE, WIDTH * LAYERS, WIDTH)
    assert waited.waits == {"tolist": 1, "__getitem__": 1, "__bool__": 1, "cpu": 1}
