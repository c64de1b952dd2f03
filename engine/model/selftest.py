"""A fast check, at load, that this model behaves as the engine assumes; its numbers go into the provenance."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from srm_explorer.engine.errors import ExplorerError, device_fault, first_line, is_out_of_memory
from srm_explorer.engine.experiment import ModelShape, Site
from srm_explorer.engine.experiment.positions import Positions, RowPositions
from srm_explorer.engine.experiment.site import FIRST_EXPERT, ROUTER
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, RowResult, decode
from srm_explorer.engine.model.device import bool_list, int_list, tensor_of
from srm_explorer.engine.model.edits import Edit, position_mask
from srm_explorer.engine.model.experts import Routed
from srm_explorer.engine.model.hooks import by_coordinate
from srm_explorer.engine.model.layout import suits
from srm_explorer.engine.model.load import LoadedModel, probe_ids
from srm_explorer.engine.model.static import SWITCH, decode_static


def run_alone(model: LoadedModel, row: Row, generation: Generation, captures: list[Capture]) -> RowResult:
    """Write one row by a full forward over the whole text for every token, then capture by one more.

    Arguments and result as `decode` has them, for one row.
    """
    ids = list(row.prompt)
    finish = "none" if generation.tokens == 0 else "length"
    smallest = float("inf")
    ids += row.forced or ()
    edits: list[tuple[str, Callable[..., Any]]] = [(e.site, _edit_hook(e, len(row.prompt))) for e in row.edits]
    held: dict[str, Held] = {}
    keeping = [(site, _keep_hook(held, site)) for site in dict.fromkeys(capture.site for capture in captures)]
    with torch.inference_mode(), model.hooks(edits):
        for step in range(generation.tokens if row.forced is None else 0):
            logits = _forward(model, ids)
            noise = row.noise.gumbel(step, len(logits)) if row.noise else None
            scores = generation.sampling.scores(
                logits[None], None if noise is None else tensor_of(noise, model.device)[None]
            )[0]
            ordered = scores.sort(descending=True)
            smallest = min(smallest, float(ordered.values[0] - ordered.values[1]))
            ids.append(int(ordered.indices[0]))
            if ids[-1] in generation.stop_ids:
                finish = "eos"
                break
    with torch.inference_mode(), model.hooks([*edits, *keeping]):
        _forward(model, ids)
    tokens = tuple(ids[len(row.prompt) :])
    captured = tuple(_reduced(capture, held[capture.site], row.prompt) for capture in captures)
    return RowResult(tokens, finish, smallest if smallest != float("inf") else None, captured)


Held: TypeAlias = tuple[Tensor, list[bool]]
"""What a site held, [position, d], and which positions it is about: at an expert's site those that are sent to it."""


def _forward(model: LoadedModel, ids: list[int]) -> Tensor:
    """What the last position says, [vocab], of the whole text at once."""
    output: Any = model.bridge.original_model(input_ids=torch.tensor([ids], device=model.device), use_cache=False)
    return output.logits[0, -1]


def _edit_hook(edit: Edit, prompt_tokens: int) -> Callable[..., Tensor]:
    def apply(activation: Tensor, hook: object) -> Tensor:
        edited = by_coordinate(activation).clone()
        about = _about(hook, activation)
        for position in _chosen(edit.positions, activation.shape[1], prompt_tokens):
            if not about[position]:
                continue
            vector = edited[0, position]
            if edit.direction:
                unit = torch.tensor(edit.direction).to(vector)
                along = torch.dot(vector, unit)
                vector += (edit.values[0] if edit.op == "steer" else _written(edit, position, 0) - along) * unit
            for place, neuron in enumerate(edit.neurons):
                value = edit.values[place] if edit.values else 0.0
                vector[neuron] = {
                    "clamp": value,
                    "mean": value,
                    "zero": 0.0,
                    "project_out": 0.0,
                    "patch": _written(edit, position, place),
                    "add": float(vector[neuron]) + value,
                    "scale": float(vector[neuron]) * value,
                }[edit.op]
        return edited.reshape(activation.shape)

    return apply


def _written(edit: Edit, position: int, column: int) -> float:
    """What a patch writes at a position; 0 for what writes nothing."""
    at = edit.positions
    if edit.written is None or not isinstance(at, RowPositions):
        return 0.0
    return float(edit.written[at.at.index(position), column])


def _keep_hook(kept: dict[str, Held], site: str) -> Callable[..., None]:
    def keep(activation: Tensor, hook: object) -> None:
        kept[site] = by_coordinate(activation)[0].detach().clone(), _about(hook, activation)

    return keep


def _about(hook: object, activation: Tensor) -> list[bool]:
    return bool_list(hook.mask[0]) if isinstance(hook, Routed) else [True] * activation.shape[1]


def _chosen(positions: Positions | RowPositions, length: int, prompt_tokens: int) -> list[int]:
    if isinstance(positions, RowPositions):
        start = length if positions.start is None else positions.start
        return sorted({*(at for at in positions.at if at < length), *range(start, length)})
    mask = position_mask(positions, torch.arange(length)[None], torch.tensor([prompt_tokens]))
    return int_list(torch.nonzero(mask[0]).flatten())


def _reduced(capture: Capture, held: Held, prompt: tuple[int, ...]) -> np.ndarray:
    activation, about = held
    chosen = _chosen(capture.positions_in(prompt), len(activation), len(prompt))
    if capture.skips_unrouted:
        chosen = [position for position in chosen if about[position]]
    vectors = capture.read(activation[chosen]).cpu().double().numpy()
    if not chosen and capture.reduce != "tokens":
        return np.zeros((2, vectors.shape[1]) if capture.reduce == "moments" else vectors.shape[1])
    return {
        "mean": lambda: vectors.mean(axis=0),
        "last": lambda: vectors[-1],
        "tokens": lambda: vectors,
        "moments": lambda: np.stack([vectors.mean(axis=0), vectors.var(axis=0)]),
    }[capture.reduce]()


# Factors have as many bits with TF32 as in float16, and where a row is alone they may have all of float32.
_TOLERANCE = {"float64": 1e-5, "float32": 1e-4, "tf32": 2e-2, "float16": 2e-2, "bfloat16": 1e-1}
_CLAMP = 3.0
_TOKENS = 2
_LENGTHS = (3, 5)
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
        wrapped_vs_plain: logits with the bridge around the model against those of the model alone; None where that
            does not run.
        shared_vs_plain: rows that share blocks against rows that do not.
        tolerance: what each must stay under.
        shares_blocks: whether sharing is used; where it fails alone, it is left off.
        pads: whether prompts of different lengths share a batch; where a row feels its padding, they do not.
        graphs_differ: on CUDA, steps as graphs against the plain way; None elsewhere, and where it cannot be done.
        static_steps: whether steps are run as graphs; where that fails or differs, they are not.
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
    pads: bool
    seconds: float
    graphs_differ: float | None = None
    static_steps: bool = False
    wrapped_vs_plain: float | None = None


def self_test(model: LoadedModel, tell: Callable[[int, int], object] = lambda done, of: None) -> SelfTest:
    """Run a few forced tokens through a model every way the engine knows, and compare.

    Sets `model.shares_blocks`, `model.pads`, `model.static_steps` and `model.blocks.goes_direct` to what was found.

    Args:
        tell: told how many of how many parts are done, which take about as long each; what it raises ends the test.

    Raises:
        ExplorerError: the model fails as it is wrapped, or the ways disagree; the numbers are in the message.
    """
    try:
        return _compared(model, _Parts(tell))
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        # What an architecture raises that TransformerLens wraps and does not know how to run.
        if is_out_of_memory(error) or device_fault(error):
            raise
        raise ExplorerError(
            f"{type(model.bridge.original_model).__name__} does not run as it is wrapped: {first_line(error)}",
            where=model.name,
            remedy=f"choose a model of another family, or another transformers than {metadata.version('transformers')}",
        ) from error


@dataclass
class _Parts:
    """Counts the passes over the rows; one that was not foreseen makes the whole longer."""

    tell: Callable[[int, int], object]
    done: int = 0
    total: int = 0

    def __call__(self, *_: int) -> None:
        self.done += 1
        self.total = max(self.total, self.done)
        self.tell(self.done, self.total)


def _compared(model: LoadedModel, parts: _Parts) -> SelfTest:
    began = time.monotonic()
    shares = model.blocks.keeps_keys_alone and not model.placement.on_disk
    # Widths, logits, each row alone by tokens and in one pass, all rows by tokens, and those again sharing blocks.
    parts.total = 2 + len(_ALONE) * (_TOKENS + 1) + _TOKENS * (1 + shares)
    parts.tell(0, parts.total)
    _check_widths(model)
    parts()
    wrapped_vs_plain = _changed_by_wrapping(model)
    parts()
    site, last = _middle(model.shape), f"blocks.{model.shape.n_layers - 1}.hook_resid_post"
    rows = _rows(site, min(len(model.tokenizer.raw), model.bridge.cfg.d_vocab))
    captures = [Capture(site, "mean", "generated"), Capture(last, "mean", "generated")]
    generation = Generation(_TOKENS)
    model.shares_blocks, model.pads, model.blocks.goes_direct = shares, True, True
    alone = [decode(model, [rows[i]], generation, captures, share=False, on_step=parts).rows[0] for i in _ALONE]
    uncached: list[RowResult] = []
    for i in _ALONE:
        uncached.append(run_alone(model, rows[i], generation, captures))
        parts()
    precision = "tf32" if model.tf32 and model.dtype == torch.float32 else str(model.dtype).removeprefix("torch.")
    tolerance = _TOLERANCE[precision]
    plain = decode(model, rows, generation, captures, share=False, on_step=parts)
    if not _difference([plain.rows[i] for i in _ALONE], alone) <= tolerance:
        model.pads = False
        plain = decode(model, rows, generation, captures, share=False, on_step=parts)
    shared = decode(model, rows, generation, captures, share=True, on_step=parts) if model.shares_blocks else plain
    if model.blocks.is_direct and not _difference(shared.rows, plain.rows) <= tolerance:
        # Whether it is the direct way that differs, or what rows share.
        model.blocks.goes_direct = False
        shared = decode(model, rows, generation, captures, share=True, on_step=parts)
    parting = _difference(shared.rows, plain.rows)
    model.shares_blocks = model.shares_blocks and parting <= tolerance
    apart = _static_difference(model, rows, generation, captures, plain.rows)
    model.static_steps = apart is not None and apart <= tolerance
    found = SelfTest(
        fired=plain.receipts[0].fired,
        clamped=max(abs(float(row.captured[0][0]) - _CLAMP) / _CLAMP for row in plain.rows[2::3]),
        batch_vs_single=_difference([plain.rows[i] for i in _ALONE], alone),
        cached_vs_uncached=_difference(alone, uncached),
        add_0_vs_baseline=_difference(plain.rows[1::3], plain.rows[0::3]),
        shared_vs_plain=parting,
        tolerance=tolerance,
        shares_blocks=model.shares_blocks,
        pads=model.pads,
        seconds=round(time.monotonic() - began, 3),
        graphs_differ=apart,
        static_steps=model.static_steps,
        wrapped_vs_plain=wrapped_vs_plain,
    )
    if found.fired != (1 + _TOKENS) * (1 if model.pads else len(_LENGTHS)):
        raise ExplorerError(
            "a block of it runs more than once, or not at all, for a token: its sites have no single value",
            where=model.name,
            remedy="choose a model of another family",
        )
    other = "" if precision in ("float32", "float64") else "dtype float32 or "
    for name in ("wrapped_vs_plain", "clamped", "batch_vs_single", "cached_vs_uncached", "add_0_vs_baseline"):
        value: float | None = getattr(found, name)
        if value is not None and not value <= tolerance:
            raise ExplorerError(
                f"the self-test failed: {name} differs by {value:.2g} (allowed {tolerance:.0e}); {found}",
                where=model.name,
                remedy=f"choose {other}another model; results would not be what they say",
            )
    return found


def _static_difference(
    model: LoadedModel,
    rows: Sequence[Row],
    generation: Generation,
    captures: Sequence[Capture],
    plain: Sequence[RowResult],
) -> float | None:
    """Compare steps as CUDA graphs with the plain way; None where they are not to be, or cannot be, captured."""
    switched_off = os.environ.get(SWITCH) == "off"
    if model.device.type != "cuda" or switched_off or not suits(model, rows, generation):
        return None
    try:
        found = _difference(decode_static(model, rows, generation, captures).rows, plain)
    except (ExplorerError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        # What a family's forward does that no graph can hold; the plain way is as right, and slower.
        if is_out_of_memory(error) or device_fault(error):
            raise
        return None
    finally:
        model.kept_step = None
    return found if found == found else None


_LEAST_LOGIT = 1e-2
"""Logits that are all smaller are rounding: a model made by hand may say 0 of every token."""


def _changed_by_wrapping(model: LoadedModel) -> float | None:
    """The largest difference of logits that the bridge makes, relative to the largest; None where none can be compared.

    All other parts of the test compare the wrapped model with itself.

    Raises:
        ExplorerError: the model itself says what is no number.
    """
    if model.unwrapped is None:
        return None
    ids, plain = model.unwrapped
    if not plain.isfinite().all():
        is_whole = model.dtype in (torch.float32, torch.float64)
        raise ExplorerError(
            f"the logits that it computes in {str(model.dtype).removeprefix('torch.')} are not all finite numbers",
            where=model.name,
            remedy="copy or save the model again: weights of it are none either"
            if is_whole
            else "choose dtype float32",
        )
    with torch.inference_mode():
        wrapped = _forward(model, list(ids)).float().cpu()
    return float((wrapped - plain).abs().max() / plain.abs().max().clamp(min=_LEAST_LOGIT))


def _check_widths(model: LoadedModel) -> None:
    """Compare how wide each site is in a pass over two tokens with what the model's shape says of it.

    Looked at are the residual stream, neurons and heads of every layer, and where it has experts the first and the
    router; a layer that holds none of a kind has nothing to measure.

    Raises:
        ExplorerError: names the first site that differs, with both widths.
    """
    kinds = ("hook_resid_post", "mlp.hook_post", "attn.hook_z", ROUTER, FIRST_EXPERT)
    sites = [Site(layer, kind) for layer in range(model.shape.n_layers) for kind in kinds]
    stated = {str(site): width for site in sites if (width := model.shape.width(site))}
    measured: dict[str, int] = {}

    def measure(site: str, activation: Tensor, hook: object) -> None:
        measured[site] = by_coordinate(activation).shape[-1]

    hooks: list[tuple[str, Callable[..., None]]] = [(site, partial(measure, site)) for site in stated]
    with torch.inference_mode(), model.hooks(hooks):
        model.bridge.original_model(input_ids=torch.tensor([[0, 1]], device=model.device), use_cache=False)
    for site, width in stated.items():
        if measured.get(site) != width:
            got = f"is {measured[site]} wide" if site in measured else "is not reached"
            raise ExplorerError(
                f"{site} {got} when the model runs, and {width} by its weights",
                where=f"{model.name}, layer {Site.parse(site).layer}",
                remedy="choose a model of another family; indices would not mean what they say",
            )


def _middle(shape: ModelShape) -> str:
    """Choose the site that is edited: neurons, as near the middle as there are any."""
    middle = shape.n_layers // 2
    if not shape.neuron_layers:
        return str(Site(middle, "hook_resid_post"))
    return str(Site(min(shape.neuron_layers, key=lambda layer: abs(layer - middle)), "mlp.hook_post"))


def _rows(site: str, vocabulary: int) -> list[Row]:
    """Two prompts of different lengths, each as it is, with 0 added, and clamped; all forced to the same tokens."""
    ids = probe_ids(vocabulary, 5 + _TOKENS)
    forced = ids[5:]
    settings: list[tuple[Edit, ...]] = [(), (Edit(site, "add", "all", (0,), (0.0,)),)]
    settings.append((Edit(site, "clamp", "all", (0,), (_CLAMP,)),))
    return [Row(ids[:length], edits, forced=forced) for length in _LENGTHS for edits in settings]


def _difference(one: Sequence[RowResult], other: Sequence[RowResult]) -> float:
    """Find the largest difference, NaN if anything is NaN: a comparison with it fails."""
    worst = 0.0
    for left, right in zip(one, other, strict=True):
        for a, b in zip(left.captured, right.captured, strict=True):
            scale = max(float(np.abs(b).max()), 1e-12)
            worst = float(np.maximum(worst, np.abs(a - b).max() / scale))
    return worst
