"""Families of models that are computed from their weights: where each has its parts, and what is its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformer_lens.hook_points import HookPoint
from transformers.pytorch_utils import Conv1D

from srm_explorer.engine.model.direct import TOLERANCE, Angles, Block, DirectBlocks, Mixes, Norm, Points, product


def direct_blocks(model: Any, blocks: Sequence[Any], points: Mapping[str, HookPoint]) -> DirectBlocks | None:
    """Take a model apart, if it is of a family that is known here.

    Args:
        model: the Hugging Face model, whose parts a bridge may have wrapped.
        blocks: the bridge's blocks.
        points: hook points by name.

    Returns:
        None where it is of another family, has what this one mostly has not, or has its parts elsewhere.
    """
    family = _FAMILIES.get(type(model).__name__)
    parameters = [*model.parameters()]
    if {p.device for p in parameters} != {parameters[0].device} or parameters[0].dtype not in TOLERANCE:
        return None
    if parameters[0].device.type == "meta" or any(p.dtype != parameters[0].dtype for p in parameters):
        return None
    if family is None or not family.is_usual(model.config):
        return None
    try:
        own = [Points.of(points, layer) for layer in range(len(blocks))]
        made = [family.block(model.config, block, layer, own[layer]) for layer, block in enumerate(blocks)]
        tokens, norm = (_raw(model, path) for path in (family.tokens, family.norm))
        places, rotary = (_raw(model, path) if path else None for path in (family.places, family.rotary))
    except (KeyError, AttributeError):
        return None
    if tokens.weight.shape[1] != model.config.hidden_size:
        return None
    called = {id(point) for one in own for point in one.all()}
    others = {id(point): point for point in points.values() if id(point) not in called}
    return DirectBlocks(
        made,
        partial(_embedded, tokens, places),
        partial(_angles, rotary, sorted({block.turns for block in made if block.turns is not None})),
        Norm(norm, family.offset),
        _raw(model.get_output_embeddings()),
        _of(model.config, "final_logit_softcapping"),
        [*others.values()],
    )


def _raw(module: Any, path: str = "") -> Any:
    """Follow a path of names from a module, without what a bridge wrapped around each."""
    for name in path.split(".") if path else ():
        module = getattr(_raw(module), name)
    inner: Any = getattr(module, "original_component", None)
    return module if inner is None else inner


def _of(config: Any, *names: str) -> Any:
    """What a model's settings say, by the first of these names that says something; None where none does."""
    return next((value for name in names if (value := getattr(config, name, None)) is not None), None)


def _embedded(tokens: Any, places: Any, ids: Tensor, positions: Tensor) -> Tensor:
    stream = functional.embedding(ids, tokens.weight)
    if (scale := getattr(tokens, "embed_scale", None)) is not None:
        stream = stream * scale.to(stream.dtype)
    if places is None:
        return stream
    return stream + functional.embedding(positions + getattr(places, "offset", 0), places.weight)


def _angles(rotary: Any, kinds: Sequence[str], stream: Tensor, positions: Tensor) -> dict[str, Angles]:
    # Where layers turn by angles of several kinds, the module is told which.
    made = {kind: rotary(stream, positions, *([kind] if kind else ())) for kind in kinds}
    return {kind: Angles(cos[:, None], sin[:, None]) for kind, (cos, sin) in made.items()}


def _linear(module: Any) -> Mixes:
    if isinstance(module, Conv1D):
        return partial(_conv, module)
    return partial(product, module)


def _conv(module: Any, activation: Tensor) -> Tensor:
    flat = torch.addmm(module.bias, activation.reshape(-1, activation.shape[-1]), module.weight)
    return flat.view(*activation.shape[:-1], -1)


_ACTIVATIONS: Mapping[str, Mixes] = {
    "gelu": functional.gelu,
    "gelu_new": partial(functional.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
}
"""By the library's names."""


def _neurons(products: Sequence[Mixes], activate: Mixes, gated: bool, activation: Tensor) -> Tensor:
    """What the MLP's last matrix reads; a gate and what it lets through may come of one matrix."""
    made = [product(activation) for product in products]
    if not gated:
        return activate(made[0])
    gate, up = made if len(made) > 1 else made[0].chunk(2, dim=-1)
    return activate(gate).mul_(up)


def _project(
    products: Sequence[Mixes], norms: Sequence[Norm], heads: tuple[int, int], by_head: bool, activation: Tensor
) -> tuple[Tensor, ...]:
    """Queries, keys and values, [*, head, width] each, of a matrix each or of one for all."""
    made = [product(activation) for product in products]
    rows, (many, few) = activation.shape[:-1], heads
    if len(made) > 1:
        width = made[0].shape[-1] // many
        queries, keys, values = (part.view(*rows, -1, width) for part in made)
    elif by_head:
        # The three of a head lie side by side.
        queries, keys, values = made[0].view(*rows, many, 3, -1).unbind(-2)
    else:
        joint = made[0].view(*rows, many + 2 * few, -1)
        queries, keys, values = joint[..., :many, :], joint[..., many : many + few, :], joint[..., many + few :, :]
    if norms:
        queries, keys = norms[0](queries), norms[1](keys)
    return queries, keys, values


@dataclass(frozen=True)
class _Family:
    """Where models of a family have their parts, by paths from the model and from a block, and what is their own.

    Args:
        tokens: the embedding of tokens.
        norm: the last one.
        norms: before attention and before the MLP; where there are four, each is followed by the one behind.
        project: queries, keys and values, or one for all three.
        attn_out: what attention writes with.
        mlp_in: the gate and what it lets through, or one for both; without a gate, what makes the neurons.
        mlp_out: what the MLP writes with.
        activation: the setting that names its activation function.
        places: the embedding of positions.
        rotary: what makes angles of positions.
        head_norms: those of the heads' queries and keys.
        gated: whether the MLP has a gate.
        by_head: whether one matrix for all three has them head by head.
        offset: whether weights of norms are offsets from 1.
        scaled: whether scores are divided by the square root of a head's width, or of what the settings say.
        softens_in: the precision of attention's softmax; None for the model's.
        usual: settings that this family mostly has; one that has others goes through its own code.
    """

    tokens: str
    norm: str
    norms: tuple[str, ...]
    project: tuple[str, ...]
    attn_out: str
    mlp_in: tuple[str, ...]
    mlp_out: str
    activation: str = "hidden_act"
    places: str | None = None
    rotary: str | None = None
    head_norms: tuple[str, ...] = ()
    gated: bool = False
    by_head: bool = False
    offset: bool = False
    scaled: bool = True
    softens_in: torch.dtype | None = None
    usual: Mapping[str, bool] = field(default_factory=dict[str, bool])

    def is_usual(self, config: Any) -> bool:
        """Whether a model has what the family mostly has."""
        known = getattr(config, self.activation, None) in _ACTIVATIONS
        return known and all(bool(getattr(config, name, value)) == value for name, value in self.usual.items())

    def block(self, config: Any, block: Any, layer: int, points: Points) -> Block:
        """Take a block of a model apart."""
        norms = [Norm(_raw(block, name), self.offset) for name in self.norms]
        if len(norms) == 2:
            before_attention, before_mlp, after_attention, after_mlp = *norms, None, None
        else:
            before_attention, after_attention, before_mlp, after_mlp = norms
        heads = config.num_attention_heads
        width = _of(config, "head_dim") or config.hidden_size // heads
        return Block(
            points=points,
            before_attention=before_attention,
            project=partial(
                _project,
                [_linear(_raw(block, name)) for name in self.project],
                [Norm(_raw(block, name), self.offset) for name in self.head_norms],
                (heads, _of(config, "num_key_value_heads") or heads),
                self.by_head,
            ),
            attn_out=_linear(_raw(block, self.attn_out)),
            before_mlp=before_mlp,
            neurons=partial(
                _neurons,
                [_linear(_raw(block, name)) for name in self.mlp_in],
                _ACTIVATIONS[getattr(config, self.activation)],
                self.gated,
            ),
            mlp_out=_linear(_raw(block, self.mlp_out)),
            after_attention=after_attention,
            after_mlp=after_mlp,
            scale=(_of(config, "query_pre_attn_scalar") or width) ** -0.5 if self.scaled else 1.0,
            cap=_of(config, "attn_logit_softcapping"),
            softens_in=self.softens_in,
            turns=self._turns(config, layer),
        )

    def _turns(self, config: Any, layer: int) -> str | None:
        if self.rotary is None or not (_of(config, "no_rope_layers") or {layer: True})[layer]:
            return None
        parameters: Any = _of(config, "rope_parameters") or {}
        kinds: Any = _of(config, "layer_types")
        return kinds[layer] if kinds and kinds[layer] in parameters else ""


_GPT_2 = _Family(
    tokens="transformer.wte",
    norm="transformer.ln_f",
    norms=("ln_1", "ln_2"),
    project=("attn.c_attn",),
    attn_out="attn.c_proj",
    mlp_in=("mlp.c_fc",),
    mlp_out="mlp.c_proj",
    activation="activation_function",
    places="transformer.wpe",
    usual={
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
        "scale_attn_weights": True,
    },
)

_LLAMA = _Family(
    tokens="model.embed_tokens",
    norm="model.norm",
    norms=("input_layernorm", "post_attention_layernorm"),
    project=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    attn_out="self_attn.o_proj",
    mlp_in=("mlp.gate_proj", "mlp.up_proj"),
    mlp_out="mlp.down_proj",
    rotary="model.rotary_emb",
    gated=True,
    softens_in=torch.float32,
)

_HEAD_NORMS = ("self_attn.q_norm", "self_attn.k_norm")

_GEMMA_2 = replace(
    _LLAMA,
    norms=(*_LLAMA.norms, "pre_feedforward_layernorm", "post_feedforward_layernorm"),
    activation="hidden_activation",
    offset=True,
    usual={"use_bidirectional_attention": False},
)

_FAMILIES: Mapping[str, _Family] = {
    "GPT2LMHeadModel": _GPT_2,
    "GPTNeoForCausalLM": replace(
        _GPT_2,
        project=("attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj"),
        attn_out="attn.attention.out_proj",
        scaled=False,
        usual={},
    ),
    "GPTNeoXForCausalLM": _Family(
        tokens="gpt_neox.embed_in",
        norm="gpt_neox.final_layer_norm",
        norms=("input_layernorm", "post_attention_layernorm"),
        project=("attention.query_key_value",),
        attn_out="attention.dense",
        mlp_in=("mlp.dense_h_to_4h",),
        mlp_out="mlp.dense_4h_to_h",
        rotary="gpt_neox.rotary_emb",
        by_head=True,
    ),
    "OPTForCausalLM": _Family(
        tokens="model.decoder.embed_tokens",
        norm="model.decoder.final_layer_norm",
        norms=("self_attn_layer_norm", "final_layer_norm"),
        project=_LLAMA.project,
        attn_out="self_attn.out_proj",
        mlp_in=("fc1",),
        mlp_out="fc2",
        activation="activation_function",
        places="model.decoder.embed_positions",
        softens_in=torch.float32,
        usual={"do_layer_norm_before": True, "_remove_final_layer_norm": False},
    ),
    "PhiForCausalLM": replace(
        _LLAMA,
        norm="model.final_layernorm",
        norms=("input_layernorm", "input_layernorm"),
        attn_out="self_attn.dense",
        mlp_in=("mlp.fc1",),
        mlp_out="mlp.fc2",
        gated=False,
        usual={"qk_layernorm": False},
    ),
    "Phi3ForCausalLM": replace(_LLAMA, project=("self_attn.qkv_proj",), mlp_in=("mlp.gate_up_proj",)),
    "StableLmForCausalLM": replace(_LLAMA, usual={"use_parallel_residual": False, "qk_layernorm": False}),
    "Starcoder2ForCausalLM": replace(_LLAMA, mlp_in=("mlp.c_fc",), mlp_out="mlp.c_proj", gated=False),
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "SmolLM3ForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": _LLAMA,
    "Qwen3ForCausalLM": replace(_LLAMA, head_norms=_HEAD_NORMS),
    "GemmaForCausalLM": replace(_LLAMA, offset=True, usual={"use_bidirectional_attention": False}),
    "Gemma2ForCausalLM": _GEMMA_2,
    "Gemma3ForCausalLM": replace(_GEMMA_2, head_norms=_HEAD_NORMS),
}
"""How models are taken apart, by the name of their class: a class that another one derives from it may differ."""
