"""A model with one neuron whose every number can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel

LAYER, NEURON, ALIKE = 1, 3, 9
D_MODEL, D_MLP, VOCAB = 8, 16, 300
GAIN = 2.0
"""Of the norm before the unembedding."""

SIGNS = np.array([[1 - 2 * ((i & j).bit_count() % 2) for j in range(D_MODEL)] for i in range(D_MODEL)], dtype=float)
"""Orthogonal rows of length sqrt(8); all but the first have mean 0 and variance 1, so that a LayerNorm keeps them."""

READS = SIGNS[1] / 4
WRITES = 5 * SIGNS[2] + 7
"""Its mean is what nothing reads."""


def write_planted_model(folder: Path, tools: ModuleType) -> None:
    """Write a model like GPT-2 that does nothing but for one neuron of its last layer.

    The token `x` is what the neuron reads; it writes towards `y` and away from `z`. Another neuron, ALIKE, reads the
    same, and writes at a cosine of 0.6. Attention, positions, biases and everything else are 0.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCAB,
        n_positions=32,
        n_embd=D_MODEL,
        n_layer=LAYER + 1,
        n_head=1,
        n_inner=D_MLP,
        bos_token_id=VOCAB - 1,
        eos_token_id=VOCAB - 1,
    )
    model = GPT2LMHeadModel(config)
    tokenizer = tools.make_tokenizer(VOCAB)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if name.endswith("weight") and "ln_" in name else 0.0)
        state = dict(model.named_parameters())
        for letter, vector in (("x", SIGNS[1]), ("y", SIGNS[2]), ("z", -SIGNS[2])):
            state["transformer.wte.weight"][tokenizer.convert_tokens_to_ids(letter)] = torch.tensor(vector)
        state["transformer.ln_f.weight"].fill_(GAIN)
        block = f"transformer.h.{LAYER}.mlp."
        state[f"{block}c_fc.weight"][:, NEURON] = torch.tensor(READS)
        state[f"{block}c_proj.weight"][NEURON] = torch.tensor(WRITES)
        state[f"{block}c_fc.weight"][:, ALIKE] = torch.tensor(READS)
        state[f"{block}c_proj.weight"][ALIKE] = torch.tensor(3 * SIGNS[2] + 4 * SIGNS[3])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load_planted_model(folder: Path) -> LoadedModel:
    """Load it in float64."""
    from srm_explorer.engine.experiment import ModelSpec
    from srm_explorer.engine.model.load import load_model

    return load_model(ModelSpec(name=str(folder), device="cpu", dtype="float64"))


def activation_at_x() -> float:
    """What the neuron does where the token is `x`: GELU (tanh form) of 8 / 4, but for the norm's epsilon."""
    before = 2.0 / np.sqrt(1 + 1e-5)
    return float(0.5 * before * (1 + np.tanh(np.sqrt(2 / np.pi) * (before + 0.044715 * before**3))))
