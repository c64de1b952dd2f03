"""Write a model of a given shape with random weights into a folder, for tests and timings that need no trained one.

    python tools/make_random_model.py FOLDER --shape gpt2

The weights are spread wider than at the start of a training, so that every block moves the residual stream and greedy
choices are clear: near-ties would let rounding decide between two texts that should be equal.
"""

from __future__ import annotations

import argparse
import itertools
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END = "<|endoftext|>"
PROMPTS = (
    "The man opened the door and looked",
    "If all of them are late, then",
    "She turned to see who was standing behind her in the narrow hall, and",
    "Two",
)


@dataclass(frozen=True)
class Sizes:
    """What a random model looks like.

    Args:
        shape: `gpt2` (LayerNorm, GELU, tied embeddings) or `llama` (RMSNorm, gated MLP, grouped queries).
        layers: number of blocks.
        d_model: width of the residual stream.
        d_mlp: neurons of one MLP.
        heads: attention heads; a Llama-like model has half as many keys.
        vocab: token ids, at least 257: every byte, and the end of a text, which is the last.
        context: positions.
        seed: of the weights.
    """

    shape: Literal["gpt2", "llama"] = "gpt2"
    layers: int = 12
    d_model: int = 768
    d_mlp: int = 3072
    heads: int = 12
    vocab: int = 50257
    context: int = 1024
    seed: int = 0


def write_model(folder: Path, sizes: Sizes) -> None:
    """Write config.json, float32 weights as safetensors, and a tokenizer."""
    model = _llama(sizes) if sizes.shape == "llama" else _gpt2(sizes)
    generator = torch.Generator().manual_seed(sizes.seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            mean, std = _spread(name, sizes)
            parameter.normal_(mean, std, generator=generator)
    model.save_pretrained(folder)
    make_tokenizer(sizes.vocab).save_pretrained(folder)


def make_tokenizer(vocab: int) -> PreTrainedTokenizerFast:
    """Build a byte-level BPE tokenizer of exactly `vocab` ids: bytes, merges of letters, and the end of a text."""
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocab < len(tokens) + 1:
        raise ValueError(f"a vocabulary of {vocab} does not hold all {len(tokens)} bytes and an end of text")
    merges = list(itertools.islice(_merges(), vocab - len(tokens) - 1))
    ids = {token: i for i, token in enumerate([*tokens, *(left + right for left, right in merges)])}
    backend = Tokenizer(models.BPE(vocab=ids, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(END, special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=END, eos_token=END)


def smallest_margin(folder: Path, tokens: int = 20) -> float:
    """Write greedily from a few prompts; return the smallest lead of a chosen token over the second best, in logits."""
    kind = LlamaForCausalLM if "Llama" in (folder / "config.json").read_text() else GPT2LMHeadModel
    model: Any = kind.from_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    margins: list[float] = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            written = model.generate(
                ids, max_new_tokens=tokens, do_sample=False, output_logits=True, return_dict_in_generate=True
            )
        best = torch.cat(written.logits).topk(2, dim=-1).values
        margins.append(float((best[:, 0] - best[:, 1]).min()))
    return min(margins)


def _gpt2(sizes: Sizes) -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=sizes.vocab,
        n_positions=sizes.context,
        n_embd=sizes.d_model,
        n_layer=sizes.layers,
        n_head=sizes.heads,
        n_inner=sizes.d_mlp,
        bos_token_id=sizes.vocab - 1,
        eos_token_id=sizes.vocab - 1,
    )
    return GPT2LMHeadModel(config)


def _llama(sizes: Sizes) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=sizes.vocab,
        max_position_embeddings=sizes.context,
        hidden_size=sizes.d_model,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=max(1, sizes.heads // 2),
        intermediate_size=sizes.d_mlp,
        tie_word_embeddings=False,
        bos_token_id=sizes.vocab - 1,
        eos_token_id=sizes.vocab - 1,
    )
    return LlamaForCausalLM(config)


def _spread(name: str, sizes: Sizes) -> tuple[float, float]:
    """Choose mean and standard deviation of a parameter, so that activations are near 1 whatever the widths.

    A block adds about 2 to each coordinate of the residual stream; the token's own embedding must not outweigh that,
    or a model with tied embeddings repeats its last token for ever.
    """
    if name.endswith("bias"):
        return 0.0, 0.2
    if "ln_" in name or "norm" in name:
        return 1.0, 0.2
    if any(part in name for part in ("wte", "wpe", "embed", "lm_head")):
        return 0.0, max(0.5, 6 / sizes.d_model**0.5)
    if "mlp" in name and ("c_proj" in name or "down_proj" in name):
        return 0.0, 2.5 / sizes.d_mlp**0.5
    return 0.0, 1.5 / sizes.d_model**0.5


def _merges() -> Iterator[tuple[str, str]]:
    """List merges from short to long: letters, a space and a letter, then whatever these make in pairs."""
    letters = string.ascii_lowercase
    pairs = ["".join(pair) for pair in itertools.product(letters, repeat=2)]
    yield from (("Ġ", letter) for letter in letters)
    yield from ((pair[0], pair[1]) for pair in pairs)
    yield from itertools.product((f"Ġ{letter}" for letter in letters), pairs)
    yield from itertools.product(pairs, pairs)


def main() -> None:
    """Read the command line and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=("gpt2", "llama"), default="gpt2")
    for name in ("layers", "d-model", "d-mlp", "heads", "vocab", "context", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Sizes, name.replace("-", "_")))
    given = vars(parser.parse_args())
    folder = given.pop("folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder, Sizes(**given))
    print(f"{folder}: smallest lead of a greedy choice {smallest_margin(folder):.3g} logits")


if __name__ == "__main__":
    main()
