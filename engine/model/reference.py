"""The simple way, kept as the standard the fast way is tested against: one row, no cache, no shared work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.model.arrays import int_list, tensor_of
from engine.model.capture import Capture
from engine.model.decode import Generation, Row, RowResult
from engine.model.edits import Edit, position_mask
from engine.model.load import LoadedModel
from engine.spec.intervention import Positions


def run_alone(model: LoadedModel, row: Row, generation: Generation, captures: list[Capture]) -> RowResult:
    """Write one row by a full forward over the whole text for every token, then capture by one more.

    Arguments and result as `decode` has them, for one row.
    """
    ids = list(row.prompt)
    finish = "none" if generation.tokens == 0 else "length"
    smallest = float("inf")
    ids += row.forced or ()
    with torch.inference_mode():
        for step in range(generation.tokens if row.forced is None else 0):
            logits, _ = _forward(model, row, ids, [])
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
        _, activations = _forward(model, row, ids, [capture.site for capture in captures])
    tokens = tuple(ids[len(row.prompt) :])
    captured = tuple(_reduced(capture, activations[capture.site], len(row.prompt)) for capture in captures)
    return RowResult(tokens, finish, smallest if smallest != float("inf") else None, captured)


def _forward(model: LoadedModel, row: Row, ids: list[int], sites: list[str]) -> tuple[Tensor, dict[str, Tensor]]:
    kept: dict[str, Tensor] = {}
    hooks: list[tuple[str, Callable[..., Any]]] = [(e.site, _edit_hook(e, len(row.prompt))) for e in row.edits]
    hooks += [(site, _keep_hook(kept, site)) for site in dict.fromkeys(sites)]
    attached: AbstractContextManager[Any] = model.bridge.hooks(fwd_hooks=hooks)
    with attached:
        output: Any = model.bridge.original_model(input_ids=torch.tensor([ids], device=model.device), use_cache=False)
    return output.logits[0, -1], kept


def _edit_hook(edit: Edit, prompt_tokens: int) -> Callable[..., Tensor]:
    def apply(activation: Tensor, hook: object) -> Tensor:
        edited = activation.clone()
        for position in _chosen(edit.positions, activation.shape[1], prompt_tokens):
            vector = edited[0, position]
            if edit.op == "steer":
                vector += edit.values[0] * torch.tensor(edit.direction).to(vector)
            for place, neuron in enumerate(edit.neurons):
                value = edit.values[place] if edit.values else 0.0
                vector[neuron] = {
                    "clamp": value,
                    "mean": value,
                    "zero": 0.0,
                    "add": float(vector[neuron]) + value,
                    "scale": float(vector[neuron]) * value,
                }[edit.op]
        return edited

    return apply


def _keep_hook(kept: dict[str, Tensor], site: str) -> Callable[..., None]:
    def keep(activation: Tensor, hook: object) -> None:
        kept[site] = activation[0].detach().clone()

    return keep


def _chosen(positions: Positions, length: int, prompt_tokens: int) -> list[int]:
    mask = position_mask(positions, torch.arange(length)[None], torch.tensor([prompt_tokens]))
    return int_list(torch.nonzero(mask[0]).flatten())


def _reduced(capture: Capture, activation: Tensor, prompt_tokens: int) -> np.ndarray:
    chosen = _chosen(capture.positions, len(activation), prompt_tokens)
    vectors = capture.read(activation[chosen]).double().cpu().numpy()
    return {
        "mean": lambda: vectors.mean(axis=0),
        "last": lambda: vectors[-1],
        "tokens": lambda: vectors,
        "moments": lambda: np.stack([vectors.mean(axis=0), vectors.var(axis=0)]),
    }[capture.reduce]()
