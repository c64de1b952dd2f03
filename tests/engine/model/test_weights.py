from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.weights import (
    b_out,
    final_logits,
    final_norm_weight,
    w_gate_columns,
    w_in_columns,
    w_out_rows,
)


def activations(model: LoadedModel, *sites: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    ids = model.tokenizer.encode("The man opened the door", prepend_bos=False)
    kept: dict[str, np.ndarray] = {}

    def keep(site: str) -> Any:
        def on_activation(activation: torch.Tensor, hook: object) -> None:
            kept[site] = activation[0].double().numpy()

        return on_activation

    with torch.inference_mode(), model.bridge.hooks(fwd_hooks=[(site, keep(site)) for site in sites]):
        logits = model.bridge.original_model(input_ids=torch.tensor([ids])).logits[0]
    return kept, logits.double().numpy()


@pytest.mark.parametrize("layer", [0, 2])
def test_w_out_carries_the_neurons_to_what_the_mlp_writes(tiny: LoadedModel, layer: int) -> None:
    kept, _ = activations(tiny, f"blocks.{layer}.mlp.hook_post", f"blocks.{layer}.hook_mlp_out")
    rows = w_out_rows(tiny, layer)
    assert rows.shape == (tiny.shape.d_mlp, tiny.shape.d_model)
    assert rows.dtype == np.float32
    written = kept[f"blocks.{layer}.mlp.hook_post"] @ rows + b_out(tiny, layer)
    np.testing.assert_allclose(written, kept[f"blocks.{layer}.hook_mlp_out"], atol=1e-5)


def test_w_in_and_the_gate_make_the_neurons_from_what_the_mlp_reads(tiny: LoadedModel) -> None:
    site = "blocks.1.mlp.hook_in"
    kept, _ = activations(tiny, site, "blocks.1.mlp.hook_post")
    read = kept[site] @ w_in_columns(tiny, 1).T
    gate = w_gate_columns(tiny, 1)
    if gate is None:
        bias = tiny.bridge.blocks[1].mlp.b_in.detach().numpy()
        made = torch.nn.functional.gelu(torch.tensor(read + bias), approximate="tanh").numpy()
    else:
        made = torch.nn.functional.silu(torch.tensor(kept[site] @ gate.T)).numpy() * read
    np.testing.assert_allclose(made, kept["blocks.1.mlp.hook_post"], atol=1e-5)


def test_final_logits_are_the_models_own(tiny: LoadedModel) -> None:
    kept, logits = activations(tiny, "blocks.2.hook_resid_post")
    np.testing.assert_allclose(final_logits(tiny, kept["blocks.2.hook_resid_post"]), logits, atol=1e-5)


def test_gain_and_unembedding_make_the_same_logits_by_hand(tiny: LoadedModel) -> None:
    kept, logits = activations(tiny, "blocks.2.hook_resid_post")
    stream = kept["blocks.2.hook_resid_post"]
    norm = tiny.bridge.ln_final.original_component
    if tiny.shape.centres:
        stream = stream - stream.mean(axis=-1, keepdims=True)
    epsilon = getattr(norm, "variance_epsilon", None) or norm.eps
    normed = stream / np.sqrt((stream**2).mean(axis=-1, keepdims=True) + epsilon) * final_norm_weight(tiny)
    bias = getattr(norm, "bias", None)
    normed = normed if bias is None else normed + bias.detach().numpy()
    np.testing.assert_allclose(
        normed @ tiny.bridge.unembed.W_U.detach().float().numpy() + tiny.bridge.unembed.b_U.numpy(), logits, atol=2e-4
    )


def test_a_layer_out_of_range_is_refused_with_the_range(tiny_gpt2: LoadedModel) -> None:
    with pytest.raises(ExplorerError, match=r"choose 0 to 2"):
        w_out_rows(tiny_gpt2, 3)
