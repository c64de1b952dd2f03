"""Compare every family of causal language models with plain Hugging Face, on tiny models with random weights.

    python tools/check_families.py                   # all families that TransformerLens knows, a line each
    python tools/check_families.py gpt2 llama        # some
    python tools/check_families.py --write           # and write the tables of docs/models.md

Each family is made, saved, loaded as an experiment loads it, and written with: prompts of different lengths in one
batch, untouched and with a neuron clamped (or the residual stream pushed, where a family has no neurons). The
reference is the model as transformers has it, one prompt at a time, with plain forward hooks on its own modules:
`generate` for the tokens, one full forward for the vectors.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

sys.path.insert(0, str(Path(__file__).parent))

from make_random_model import make_tokenizer

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model import LoadedModel, load_model, self_test, weight_card
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, decode
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.forcing import GivenText, score_texts
from srm_explorer.engine.model.weights import NeuronLogits, direct_logits, final_logits

VOCAB = 600
LAYERS = 4
TOKENS = 6
NEURON = 5
CLAMP = 3.0
TOLERANCE = 1e-3
"""Relative difference that float32 explains, in models whose weights are spread this wide."""

CRASHED = "crashed: "
PROMPTS = ((17, 301, 45), (7, 99, 120, 431, 8, 256, 333))

TINY: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "vocab_size_per_layer_input": VOCAB,
    "hidden_size_per_layer_input": 8,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "bos_token_id": VOCAB - 1,
    "eos_token_id": VOCAB - 1,
    "pad_token_id": 0,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "sliding_window": 8,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_k": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 24,
    "shared_intermediate_size": 24,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "mamba_d_state": 8,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_ssm": 64,
    "mamba_n_groups": 1,
    "mamba_expand": 2,
    "mamba_dt_rank": 4,
    "mamba_chunk_size": 8,
    "state_size": 8,
    "n_inner": 48,
    "ffn_dim": 48,
    "partial_rotary_factor": 1.0,
}
"""Sizes that a configuration takes where it has them, by their names or their aliases."""


@dataclass(frozen=True)
class Family:
    """How a family's tiny model is made.

    Args:
        name: as the table has it: the model type, and what is special about the shape.
        sizes: what its configuration takes beside TINY; None leaves out what TINY has.
    """

    name: str
    sizes: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def model_type(self) -> str:
        """The name of its configuration."""
        return self.name.partition(" ")[0]


@dataclass
class Verdict:
    """What the comparison of a family found.

    Attributes:
        family: its name.
        loads: whether the engine takes it.
        tokens: whether every row wrote what plain Hugging Face writes.
        difference: the largest relative difference of a captured vector.
        effects: whether the log-probabilities of given tokens are the model's.
        card: whether logits, and what a neuron adds to them, are the model's; None where there is no card.
        note: where its neurons are, or the line that refuses it, or its card.
    """

    family: str
    loads: bool = False
    tokens: bool = False
    difference: float = float("nan")
    effects: bool = False
    card: bool | None = None
    note: str = ""

    @property
    def is_right(self) -> bool:
        """Whether what is offered is as plain Hugging Face has it; what is refused in a line is."""
        if not self.loads:
            return not self.note.startswith(CRASHED)
        return self.tokens and self.difference < TOLERANCE and self.effects and self.card is not False

    def row(self) -> str:
        """A line of the table."""
        if not self.loads:
            return f"| {self.family} | no | | | | | {self.note} |"
        card = "-" if self.card is None else _yes(self.card)
        cells = ["yes", _yes(self.tokens), f"{self.difference:.0e}", card, _yes(self.effects), self.note]
        return f"| {self.family} | {' | '.join(cells)} |"


def _yes(truth: bool) -> str:
    return "yes" if truth else "**NO**"


def make_config(family: Family) -> Any:
    """Build the configuration of a family's tiny model."""
    usual = AutoConfig.for_model(family.model_type)
    names = {*usual.to_dict(), *getattr(usual, "attribute_map", {})}
    sizes = {name: value for name, value in TINY.items() if name in names} | family.sizes
    return AutoConfig.for_model(family.model_type, **{k: v for k, v in sizes.items() if v is not None})


def make_folder(family: Family, folder: Path) -> None:
    """Write a family's tiny model, its weights spread so that greedy choices are clear, and a tokenizer."""
    config = make_config(family)
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and "conv" not in name and not name.endswith("_log"):
                spread = 0.5 if "embed" in name or "wte" in name else 1.5 / parameter.shape[-1] ** 0.5
                parameter.normal_(0.0, spread, generator=generator)
            elif parameter.ndim == 1 and ("norm" in name or "ln_" in name) and name.endswith("weight"):
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
            elif name.endswith("bias") and "dt" not in name:
                parameter.normal_(0.0, 0.2, generator=generator)
    model.save_pretrained(folder)
    make_tokenizer(VOCAB).save_pretrained(folder)


DOWN = ("down_proj", "c_proj", "fc2", "dense_4h_to_h", "fc_out", "w2", "Wo", "output_linear", "dense")
"""What families call the matrix that neurons write by."""

ELSEWHERE = ("attn", "attention", "expert", "mixer", "mamba", "conv", "intermediate", "router", "temporal")


class Plain:
    """A model as transformers has it, with hooks of torch on its own modules."""

    def __init__(self, folder: Path) -> None:
        auto: Any = AutoModelForCausalLM
        self.model: Any = auto.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        stacks = [(name, one) for name, one in self.model.named_modules() if isinstance(one, nn.ModuleList)]
        self.blocks = list(min((s for s in stacks if len(s[1]) == LAYERS), key=lambda s: s[0].count("."))[1])

    def down(self, layer: int) -> nn.Module | None:
        """The matrix that a plain MLP's neurons write by; None in a layer without one."""
        found = [
            one
            for name, one in self.blocks[layer].named_modules()
            if name.rsplit(".", 1)[-1] in DOWN and not any(part in name.lower() for part in ELSEWHERE)
        ]
        return found[0] if len(found) == 1 else None

    @contextmanager
    def hooked(self, edit: Edit | None, kept: dict[str, list[Tensor]], sites: Sequence[str]) -> Iterator[None]:
        """Edit and keep what the sites hold; everything at every position."""
        with ExitStack() as stack:
            touched: list[str] = [*([edit.site] if edit else []), *sites]
            for site in dict.fromkeys(touched):
                here = self._attach(site, edit if edit and edit.site == site else None, kept.setdefault(site, []))
                stack.callback(here.remove)
            yield

    def _attach(self, site: str, edit: Edit | None, kept: list[Tensor]) -> Any:
        _, number, kind = site.split(".", 2)
        block = self.blocks[int(number)]

        def changed(tensor: Tensor) -> Tensor:
            if edit is not None:
                tensor = tensor.clone()
                column = tensor[..., edit.neurons[0]]
                tensor[..., edit.neurons[0]] = edit.values[0] + (column if edit.op == "add" else 0 * column)
            kept.append(tensor.detach().clone())
            return tensor

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return (changed(args[0]), *args[1:]), kwargs
            return args, kwargs | {"hidden_states": changed(kwargs["hidden_states"])}

        def after(_: nn.Module, args: Any, output: Any) -> Any:
            return (changed(output[0]), *output[1:]) if isinstance(output, tuple) else changed(output)

        if kind == "mlp.hook_post":
            down = self.down(int(number))
            assert down is not None, f"no plain matrix is known in layer {number}"
            return down.register_forward_pre_hook(before, with_kwargs=True)
        if kind == "hook_resid_pre":
            return block.register_forward_pre_hook(before, with_kwargs=True)
        return block.register_forward_hook(after)

    def write(self, row: Row, sites: Sequence[str]) -> tuple[tuple[int, ...], dict[str, np.ndarray]]:
        """Write a row's tokens, and return them with the mean of each site over them."""
        edit = row.edits[0] if row.edits else None
        ids = torch.tensor([row.prompt])
        with torch.inference_mode(), self.hooked(edit, {}, []):
            whole = self.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=TOKENS,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )
        kept: dict[str, list[Tensor]] = {}
        written = tuple(whole[0].tolist())
        self.read(written, row.edits, kept, sites)
        start = len(row.prompt)
        means = {
            site: one[0].reshape(-1, one[0].shape[-1])[start:].double().mean(0).numpy() for site, one in kept.items()
        }
        return written[start:], means

    def read(
        self, ids: Sequence[int], edits: Sequence[Edit], kept: dict[str, list[Tensor]], sites: Sequence[str]
    ) -> np.ndarray:
        """Read a text in one pass; return its logits, [token, vocab], and keep what sites hold."""
        whole = torch.tensor([list(ids)])
        with torch.inference_mode(), self.hooked(edits[0] if edits else None, kept, sites):
            output = self.model(input_ids=whole, attention_mask=torch.ones_like(whole), use_cache=False)
        return output.logits[0].double().numpy()


def check(family: Family, folder: Path) -> Verdict:
    """Make a family's model in a folder and compare what the engine does with it."""
    make_folder(family, folder)
    try:
        model = load_model(ModelSpec(name=str(folder), device="cpu", dtype="float32"))
        self_test(model)
    except ExplorerError as error:
        return Verdict(family.name, note=str(error).removeprefix(f"{folder}: "))
    verdict = Verdict(family.name, loads=True, note=_neurons_of(model))
    plain = Plain(folder)
    neurons = model.shape.neuron_layers
    middle = LAYERS // 2
    layer = min(neurons, key=lambda one: abs(one - middle)) if neurons else middle
    site = f"blocks.{layer}.mlp.hook_post" if neurons else f"blocks.{layer}.hook_resid_post"
    op = "clamp" if neurons else "add"
    settings: list[tuple[Edit, ...]] = [(), *((Edit(site, op, "all", (NEURON,), (v,)),) for v in (CLAMP, -CLAMP))]
    rows = [Row(prompt, edits) for prompt in PROMPTS for edits in settings]
    sites = [site, f"blocks.{layer}.hook_resid_pre", f"blocks.{LAYERS - 1}.hook_resid_post"]
    captures = [Capture(one, "mean", "generated") for one in sites]
    ours = decode(model, rows, Generation(TOKENS), captures).rows
    theirs = [plain.write(row, sites) for row in rows]
    verdict.tokens = all(one.tokens == tokens for one, (tokens, _) in zip(ours, theirs, strict=True))
    verdict.difference = max(
        relative(got, means[name])
        for one, (_, means) in zip(ours, theirs, strict=True)
        for name, got in zip(sites, one.captured, strict=True)
    )
    verdict.effects = effects_agree(model, plain, rows, theirs)
    if neurons:
        try:
            verdict.card = card_agrees(model, plain)
            if weight_card(model, neurons[-1], NEURON).logits is None:
                verdict.note += "; its card tells no promoted tokens"
        except ExplorerError as error:
            verdict.note = f"no card: {error.what}"
    return verdict


def _neurons_of(model: LoadedModel) -> str:
    layers = model.shape.neuron_layers
    if len(layers) < model.shape.n_layers:
        return f"neurons in layers {', '.join(map(str, layers))} of {LAYERS}" if layers else "no plain MLP"
    return "neurons" if model.shares_blocks else "neurons; rows share no blocks"


def relative(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, relative to the largest number; NaN where shapes differ or anything is NaN."""
    if one.shape != other.shape:
        return float("nan")
    return float(np.abs(one - other).max() / max(np.abs(other).max(), 1e-12))


def effects_agree(model: LoadedModel, plain: Plain, rows: Sequence[Row], theirs: Sequence[Any]) -> bool:
    """Whether given tokens are as probable, untouched and under the settings, as the plain model says."""
    groups = [
        range(start, start + len(rows) // len(PROMPTS)) for start in range(0, len(rows), len(rows) // len(PROMPTS))
    ]
    texts = [GivenText(rows[g[0]].prompt, theirs[g[0]][0], tuple(rows[i].edits for i in g[1:])) for g in groups]
    scored = dict(score_texts(model, texts))
    worst = 0.0
    for place, (group, text) in enumerate(zip(groups, texts, strict=True)):
        for forced, row in zip(scored[place], group, strict=True):
            logits = plain.read((*text.prompt, *text.tokens), rows[row].edits, {}, [])
            logp = torch.from_numpy(logits).log_softmax(dim=-1).numpy()[len(text.prompt) - 1 : -1]
            worst = max(worst, relative(forced.scores.logp, logp[range(TOKENS), text.tokens]))
    return worst < TOLERANCE


def card_agrees(model: LoadedModel, plain: Plain) -> bool:
    """Whether the last residual stream gives the model's logits, and a neuron's card says what it adds to them.

    The derivative of the logits by the neuron of the last block is what the card says of it, over the size of the
    residual stream, and a multiple of what the stream itself adds, which the last norm takes back.
    """
    last = LAYERS - 1
    stream_site, neuron_site = f"blocks.{last}.hook_resid_post", f"blocks.{last}.mlp.hook_post"
    kept: dict[str, list[Tensor]] = {}
    logits = plain.read(PROMPTS[1], (), kept, [stream_site])
    streams = kept[stream_site][0].reshape(len(PROMPTS[1]), -1).double().numpy()
    if not relative(final_logits(model, streams), logits) < TOLERANCE:
        return False
    layer = model.shape.neuron_layers[-1]
    card = weight_card(model, layer, NEURON)
    if layer != last or card.logits is None or plain.down(last) is None:
        return True
    step = 1e-2
    config = plain.model.config
    cap = getattr(config, "final_logit_softcapping", None) or getattr(config, "logits_soft_cap", None)
    ends = [
        plain.read(PROMPTS[1], (Edit(neuron_site, "add", "all", (NEURON,), (v,)),), {}, [])[-1] for v in (step, -step)
    ]
    slope = (ends[0] - ends[1]) / (2 * step)
    if cap:
        slope = slope / (1 - (logits[-1] / cap) ** 2)
    stream = streams[-1] - (streams[-1].mean() if model.shape.centres else 0.0)
    columns, size = [card.logits, direct_logits(model, stream)], float(np.sqrt((stream**2).mean()))
    if card.is_normed:
        # What the norm after W_out divides changes along what the whole MLP writes.
        plain.read(PROMPTS[1], (), kept, [neuron_site])
        neurons = kept[neuron_site][0].reshape(len(PROMPTS[1]), -1).double().numpy()[-1:]
        added = NeuronLogits.of(model, last, [NEURON], range(VOCAB)).split(neurons)
        columns.append((added[0] + added[1])[0])
        size *= float(added[2][0, 0])
    fit = np.stack(columns, axis=1)
    factors, *_ = np.linalg.lstsq(fit, slope, rcond=None)
    sized = min(abs(factors[0] * size - 1), abs(factors[0] - 1)) < 0.02
    return sized and relative(fit @ factors, slope) < 0.02


MLA = {"num_key_value_heads": 4}
"""Each head of latent attention has its own keys."""

SHAPES: tuple[Family, ...] = (
    Family("bamba", {"attn_layer_indices": [1, 3]}),
    Family("bert", {"is_decoder": True}),
    Family("codegen", {"rotary_dim": 8}),
    *(Family(name, MLA) for name in ("glm4_moe_lite", "glm_moe_dsa", "youtu")),
    Family("deepseek_v2", MLA | {"first_k_dense_replace": 2}),
    Family("deepseek_v3", MLA | {"first_k_dense_replace": 2}),
    Family("gemma4_text"),
    Family(
        "gemma4_text (shared keys)",
        {
            "num_kv_shared_layers": 2,
            "use_double_wide_mlp": True,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
        },
    ),
    Family("gpt_neo", {"attention_types": [[["global", "local"], 2]], "num_layers": LAYERS, "window_size": 8}),
    Family("gptj", {"rotary_dim": 8}),
    Family("granite", {"logits_scaling": 4.0, "residual_multiplier": 0.3, "embedding_multiplier": 3.0}),
    Family("granitemoehybrid", {"layer_types": ["mamba", "attention"] * 2}),
    Family("jamba", {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2}),
    Family("lfm2_moe", {"layer_types": ["conv", "full_attention"] * 2}),
    Family("mamba2", {"num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8}),
    Family("modernbert-decoder", {"local_attention": 8}),
    Family("nemotron_h", {"layers_block_type": ["mamba", "attention", "mlp", "moe"]}),
    Family("opt"),
    Family("opt (350m)", {"do_layer_norm_before": False, "word_embed_proj_dim": 24}),
    Family("qwen2_moe (layer 0 dense)", {"mlp_only_layers": [0]}),
    Family(
        "recurrent_gemma",
        {"lru_width": 32, "attention_window_size": 8, "block_types": ["recurrent", "attention"]},
    ),
    Family("zamba2", {"layers_block_type": ["mamba", "hybrid"] * 2, "n_mamba_heads": 8, "num_mem_blocks": 1}),
)
"""Families whose configuration needs more than TINY, or that have a shape beside the usual one."""

SAME = ("gemma3", "gemma3n", "gemma4", "gemma4_unified", "gpt-sw3", "internlm3", "iquestcoder", "llama4")
SAME += ("qwen3_5", "qwen3_5_moe")
"""Model types that are another's, or whose language model is a model type of its own."""


def families() -> list[Family]:
    """All families of causal language models that transformers makes and TransformerLens knows."""
    known = {name for name, made in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items() if made in SUPPORTED_ARCHITECTURES}
    usual = [Family(name) for name in known.difference(SAME, (one.name for one in SHAPES))]
    return sorted([*usual, *SHAPES], key=lambda one: one.name)


def unknown() -> list[str]:
    """Model types that transformers has and TransformerLens cannot wrap."""
    made = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items()
    return sorted({name for name, one in made if one not in SUPPORTED_ARCHITECTURES})


def tables(verdicts: Sequence[Verdict]) -> str:
    """What docs/models.md says of families, as Markdown."""
    loaded = [one for one in verdicts if one.loads]
    refused = [f"- {one.family}: {one.note}" for one in verdicts if not one.loads]
    named = ", ".join(unknown())
    return "\n".join(
        [
            f"transformers {version('transformers')}, TransformerLens {version('transformer-lens')}, "
            f"torch {version('torch')}, float32; {len(loaded)} shapes of families that load:",
            "",
            "| family | loads | tokens equal | largest relative difference | neuron card | effects | note |",
            "|---|---|---|---|---|---|---|",
            *(one.row() for one in loaded),
            "",
            "Refused, each with its line:",
            "",
            *refused,
            f"- those that TransformerLens does not know, with that line: {named}",
        ]
    )


BEGIN, END = "<!-- written by tools/check_families.py -->", "<!-- end -->"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"


def main() -> None:
    """Check families, a line each; the exit status is 1 where one is not as plain Hugging Face has it."""
    parser = argparse.ArgumentParser(description="Compare families of causal language models with plain Hugging Face.")
    parser.add_argument("names", nargs="*", help="families; all by default")
    parser.add_argument("--write", action="store_true", help="write the tables of docs/models.md")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    verdicts: list[Verdict] = []
    for family in families():
        if options.names and not {family.name, family.model_type}.intersection(options.names):
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                verdict = check(family, Path(folder))
            except Exception as error:  # what a library raises over one family must not end the others
                if os.environ.get("DEBUG"):
                    raise
                verdict = Verdict(family.name, note=f"{CRASHED}{type(error).__name__} {str(error)[:100]}")
        verdicts.append(verdict)
        print("right" if verdict.is_right else "WRONG", verdict.row(), flush=True)
    if options.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{tables(verdicts)}\n\n{END}{rest.partition(END)[2]}")
    sys.exit(not all(one.is_right for one in verdicts))


if __name__ == "__main__":
    main()
