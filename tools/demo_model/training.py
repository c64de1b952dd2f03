"""The tokenizer, the model and the training loop."""

from __future__ import annotations

import copy
import itertools
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from demo_model.evaluation import PROMPTS, continuation, score
from demo_model.recipe import Recipe
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

END = "<|endoftext|>"


def train_tokenizer(documents: Sequence[str], recipe: Recipe) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE vocabulary, GPT-2's kind: no token is added to a text by itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        unk_token=END,
        model_max_length=recipe.context,
        clean_up_tokenization_spaces=False,
    )


def new_model(recipe: Recipe, end: int) -> GPT2LMHeadModel:
    """Build the untrained model."""
    config = GPT2Config(
        vocab_size=recipe.vocabulary,
        n_positions=recipe.context,
        n_embd=recipe.width,
        n_layer=recipe.layers,
        n_head=recipe.heads,
        resid_pdrop=recipe.dropout,
        embd_pdrop=recipe.dropout,
        attn_pdrop=0.0,
        # The same function as gelu_new, which `export` names, in one kernel.
        activation_function="gelu_pytorch_tanh",
        bos_token_id=end,
        eos_token_id=end,
    )
    return GPT2LMHeadModel(config)


def batches(documents: list[list[int]], end: int, recipe: Recipe) -> Iterator[torch.Tensor]:
    """Yield [batch, context] windows of the documents, shuffled anew each time round, `end` before each."""
    for turn in range(1_000_000):
        random.Random(recipe.seed + turn).shuffle(documents := list(documents))
        stream = torch.tensor([token for ids in documents for token in (end, *ids)])
        windows = stream[: len(stream) // recipe.context * recipe.context].view(-1, recipe.context)
        for start in range(0, len(windows) - recipe.batch + 1, recipe.batch):
            yield windows[start : start + recipe.batch]


def rate(step: int, recipe: Recipe) -> float:
    """Give the learning rate: a linear warmup, the peak, then half a cosine over the last share of the steps."""
    if step < recipe.warmup:
        return recipe.peak_rate * (step + 1) / recipe.warmup
    done = max(0, step - recipe.decay_start) / max(1, recipe.steps - recipe.decay_start)
    return recipe.peak_rate * (recipe.final_share + (1 - recipe.final_share) * (1 + math.cos(math.pi * done)) / 2)


def export(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the weights as fp16 safetensors with the configuration and the tokenizer."""
    config = copy.deepcopy(model.config)
    config.activation_function = "gelu_new"
    stored = GPT2LMHeadModel(config)
    stored.load_state_dict(model.state_dict())
    stored.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _optimizers(model: GPT2LMHeadModel, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embeddings, norms and biases; their steps have one scale."""
    matrices = [weight for weight in model.transformer.h.parameters() if weight.dim() == 2]
    embeddings = [model.transformer.wte.weight, model.transformer.wpe.weight]
    vectors = [weight for weight in model.parameters() if weight.dim() < 2]
    groups = [
        {"params": embeddings, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    decay = recipe.weight_decay
    return [
        torch.optim.Muon(matrices, lr=recipe.peak_rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, lr=recipe.peak_rate, betas=(0.9, 0.95), fused=True),
    ]


def _step(model: GPT2LMHeadModel, optimizers: list[torch.optim.Optimizer], ids: torch.Tensor, recipe: Recipe) -> float:
    model.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
        logits = model(ids).logits[:, :-1]
    loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


def train(
    recipe: Recipe,
    documents: list[list[int]],
    probe: dict[str, list[list[int]]],
    tokenizer: PreTrainedTokenizerFast,
    scratch: Path,
) -> None:
    """Train, printing losses and a sample, and keep a checkpoint every 200 steps and at the end.

    A run that was cut short goes on from its state in `scratch`. Until the decay begins, the schedule's length may be
    changed that way too: the result is that of an uninterrupted run with that schedule.
    """
    torch.manual_seed(recipe.seed)
    end = tokenizer.eos_token_id
    model = new_model(recipe, end)
    optimizers = _optimizers(model, recipe)
    losses: list[float] = []
    spent = 0.0
    if (scratch / "state.pt").exists():
        state = torch.load(scratch / "state.pt", weights_only=True)
        earlier, done = Recipe(**state["recipe"]), len(state["losses"])
        if replace(earlier, steps=recipe.steps, stop=recipe.stop) != recipe:
            raise SystemExit(f"{scratch} holds a run of another recipe; choose an empty folder")
        if earlier.steps != recipe.steps and done > min(earlier.decay_start, recipe.decay_start):
            raise SystemExit(
                f"{scratch} holds a run of {earlier.steps} steps whose rate is falling; choose an empty folder"
            )
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"])
        losses, spent = state["losses"], state["seconds"]
    began = time.monotonic() - spent
    source = itertools.islice(batches(documents, end, recipe), len(losses), None)
    for step in range(len(losses) + 1, recipe.stop + 1):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate(step - 1, recipe)
        losses.append(_step(model, optimizers, next(source), recipe))
        if step % 20 == 0:
            print(f"step {step} loss {sum(losses[-20:]) / 20:.3f} after {time.monotonic() - began:.0f} s", flush=True)
        if step % 200 == 0 or step == recipe.stop:
            heldout = {part: round(score(model, rows, end).loss, 3) for part, rows in probe.items()}
            print(f"held-out {heldout} | {PROMPTS[0]}{continuation(model, tokenizer, PROMPTS[0])}", flush=True)
            # Before the random state is taken, for building the copy draws from it.
            export(model, tokenizer, scratch / "checkpoint")
            seconds = time.monotonic() - began
            state = {"model": model.state_dict(), "optimizers": [optimizer.state_dict() for optimizer in optimizers]}
            state |= {"random": torch.get_rng_state(), "losses": losses, "seconds": seconds, "recipe": asdict(recipe)}
            torch.save(state, scratch / "state.part")
            (scratch / "state.part").replace(scratch / "state.pt")
            recent = losses[-200:]
            progress = {"step": step, "train_loss": sum(recent) / len(recent), "seconds": seconds}
            progress["recipe"] = asdict(recipe)
            (scratch / "checkpoint" / "progress.json").write_text(json.dumps(progress, indent=1), encoding="utf-8")
