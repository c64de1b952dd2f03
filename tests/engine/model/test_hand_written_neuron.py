"""A model whose one neuron was written by hand does what was calculated by hand, token by token."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, decode
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.forcing import GivenText, score_texts

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel

D, VOCAB, NEURON = 16, 300, 5
MLP, RESID = "blocks.0.mlp.hook_post", "blocks.0.hook_resid_post"
PROMPT, TOKENS = (7, 8, 9), (20, 21, 22, 23)


@pytest.fixture(scope="module")
def written(random_models: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """One block that adds nothing but what neuron 5 writes: it reads coordinate 2 and writes along 3 and 4."""
    import torch
    from transformers import GPT2LMHeadModel

    from srm_explorer.engine.experiment import ModelSpec
    from srm_explorer.engine.model.load import load_model

    folder: Path = tmp_path_factory.mktemp("written")
    sizes = random_models.Sizes("gpt2", layers=1, d_model=D, d_mlp=8, heads=2, vocab=VOCAB, context=32)
    random_models.write_model(folder, sizes)
    model: Any = GPT2LMHeadModel.from_pretrained(folder)
    with torch.no_grad():
        block = model.transformer.h[0]
        for part in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
            part.weight.zero_()
            part.bias.zero_()
        block.mlp.c_fc.weight[2, NEURON] = 1.5
        block.mlp.c_proj.weight[NEURON, 3] = 2.0
        block.mlp.c_proj.weight[NEURON, 4] = -1.0
    model.save_pretrained(folder)
    return load_model(ModelSpec(name=str(folder), device="cpu", dtype="float64"))


class Hand:
    """The model, calculated with numpy."""

    def __init__(self, model: LoadedModel) -> None:
        state = load_file(Path(model.source) / "model.safetensors")

        def named(ending: str) -> np.ndarray:
            (found,) = (value for name, value in state.items() if name.endswith(ending))
            return found.astype(np.float64)

        self.embed, self.places = named("wte.weight"), named("wpe.weight")
        self.norms = {name: (named(f"{name}.weight"), named(f"{name}.bias")) for name in ("ln_2", "ln_f")}
        self.write = np.zeros(D)
        self.write[[3, 4]] = 2.0, -1.0

    def normed(self, x: np.ndarray, name: str) -> np.ndarray:
        weight, bias = self.norms[name]
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * weight + bias

    def before(self, ids: tuple[int, ...]) -> np.ndarray:
        return self.embed[list(ids)] + self.places[: len(ids)]

    def activation(self, ids: tuple[int, ...]) -> np.ndarray:
        x = 1.5 * self.normed(self.before(ids), "ln_2")[:, 2]
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    def log_probabilities(self, ids: tuple[int, ...], activation: np.ndarray) -> np.ndarray:
        logits = self.normed(self.before(ids) + activation[:, None] * self.write, "ln_f") @ self.embed.T
        shifted = logits - logits.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def test_the_forced_change_is_the_closed_form(written: LoadedModel) -> None:
    hand, ids = Hand(written), PROMPT + TOKENS
    own = hand.activation(ids)
    plain = hand.log_probabilities(ids, own)
    predicting = slice(len(PROMPT) - 1, len(ids) - 1)
    values = (-3.0, 0.0, 2.0, 10.0)
    settings = tuple((Edit(MLP, "clamp", "all", (NEURON,), (value,)),) for value in values)
    captures = [Capture(RESID, "mean", "generated"), Capture(MLP, "tokens", "all")]
    ((_, found),) = score_texts(written, [GivenText(PROMPT, TOKENS, settings)], captures)
    np.testing.assert_allclose(found[0].captured[1][:, NEURON], own, atol=1e-9)
    for value, forced in zip(values, found[1:], strict=True):
        clamped = hand.log_probabilities(ids, np.full(len(ids), value))
        change = (clamped - plain)[predicting]
        np.testing.assert_allclose(forced.scores.shift, change.sum(axis=0), atol=1e-5)
        np.testing.assert_allclose(
            forced.scores.logp, clamped[predicting][np.arange(len(TOKENS)), list(TOKENS)], atol=1e-5
        )
        kl = (np.exp(plain[predicting]) * -change).sum(axis=-1)
        np.testing.assert_allclose(forced.scores.kl, kl, atol=1e-5)
        moved = ((value - own)[len(PROMPT) :, None] * hand.write).mean(axis=0)
        np.testing.assert_allclose(forced.captured[0] - found[0].captured[0], moved, atol=1e-9)


def test_direct_and_through_the_text_are_what_is_calculated_by_hand(written: LoadedModel) -> None:
    hand, value = Hand(written), 40.0
    edits = (Edit(MLP, "clamp", "all", (NEURON,), (value,)),)
    captures = [Capture(RESID, "mean", "generated")]
    base, free = decode(written, [Row(PROMPT), Row(PROMPT, edits)], Generation(4), captures).rows
    assert base.tokens != free.tokens, "the clamp is strong enough to change the text"
    texts = [GivenText(PROMPT, base.tokens, (edits,)), GivenText(PROMPT, free.tokens, (edits,))]
    found = dict(score_texts(written, texts, captures))

    def by_hand(tokens: tuple[int, ...], clamped: bool) -> np.ndarray:
        ids = PROMPT + tokens
        own = np.full(len(ids), value) if clamped else hand.activation(ids)
        return (hand.before(ids) + own[:, None] * hand.write)[len(PROMPT) :].mean(axis=0)

    for place, tokens in enumerate((base.tokens, free.tokens)):
        for clamped in (False, True):
            np.testing.assert_allclose(found[place][int(clamped)].captured[0], by_hand(tokens, clamped), atol=1e-9)
    np.testing.assert_allclose(found[0][0].captured[0], base.captured[0], atol=1e-9)
    np.testing.assert_allclose(found[1][1].captured[0], free.captured[0], atol=1e-9)
    total = free.captured[0] - base.captured[0]
    direct = found[0][1].captured[0] - base.captured[0]
    through = by_hand(free.tokens, True) - by_hand(base.tokens, True)
    np.testing.assert_allclose(direct + through, total, atol=1e-9)
    own = hand.activation(PROMPT + base.tokens)[len(PROMPT) :]
    np.testing.assert_allclose(direct, (value - own.mean()) * hand.write, atol=1e-9)
