"""The protocol as it is usually written: one prompt, one value, `generate` under a hook, then a forward to capture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from srm_explorer.engine.model.intervene import Edit


def one_at_a_time(
    bridge: Any, prompt: Sequence[int], edits: Sequence[Edit], sites: Sequence[str], tokens: int
) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """Write greedily from one prompt, then average what each site computes over the generated tokens.

    Args:
        bridge: a TransformerLens bridge.
        prompt: token ids.
        edits: clamps at `all` or `prompt` positions.
        sites: where to capture.
        tokens: how many to write.

    Returns:
        The ids, and a [d] float32 mean a site.
    """
    kept: dict[str, torch.Tensor] = {}

    def clamp(edit: Edit) -> Any:
        def hook(activation: torch.Tensor, hook: Any) -> torch.Tensor:
            # A cached step carries one generated token; anything longer begins with the prompt.
            is_step = activation.shape[1] < len(prompt)
            end = activation.shape[1] if edit.positions == "all" else 0 if is_step else len(prompt)
            activation[:, :end, list(edit.neurons)] = torch.tensor(edit.values, dtype=activation.dtype)
            return activation

        return hook

    def keep(site: str) -> Any:
        def hook(activation: torch.Tensor, hook: Any) -> None:
            kept[site] = activation[0, len(prompt) :].mean(dim=0)

        return hook

    clamps = [(edit.site, clamp(edit)) for edit in edits]
    ids = torch.tensor([list(prompt)])
    with torch.inference_mode():
        with bridge.hooks(fwd_hooks=clamps):
            text = bridge.generate(
                ids, max_new_tokens=tokens, do_sample=False, stop_at_eos=False, return_type="tokens", verbose=False
            )
        with bridge.hooks(fwd_hooks=[*clamps, *((site, keep(site)) for site in sites)]):
            bridge(text)
    return tuple(text[0, len(prompt) :].tolist()), [kept[site].numpy() for site in sites]
