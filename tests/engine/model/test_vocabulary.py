"""What weights say of neurons over the vocabulary is what plain products of the model's matrices say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy import stats

from srm_explorer.engine.model import vocabulary, weights
from srm_explorer.engine.model.vocabulary import layer_weights, logit_moments, weakest_directions

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel

LAYER = 1


def matrices(model: LoadedModel) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """As the model's file has them: rows that are written, what is read, the last gain, the unembedding [d, vocab]."""
    file = load_file(Path(model.source) / "model.safetensors")
    kept = {name.partition(".")[2]: own.astype(np.float64) for name, own in file.items()}
    if f"h.{LAYER}.mlp.c_fc.weight" in kept:
        mlp, gain, embedding = f"h.{LAYER}.mlp.", kept["ln_f.weight"], kept["wte.weight"]
        out, reads = kept[f"{mlp}c_proj.weight"], {"W_in": kept[f"{mlp}c_fc.weight"].T}
    else:
        mlp, gain, embedding = f"layers.{LAYER}.mlp.", kept["norm.weight"], kept["embed_tokens.weight"]
        out = kept[f"{mlp}down_proj.weight"].T
        reads = {"W_in": kept[f"{mlp}up_proj.weight"], "W_gate": kept[f"{mlp}gate_proj.weight"]}
    return out, reads, gain, file.get("lm_head.weight", embedding).astype(np.float64).T


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_weights_of_a_layer_are_those_of_its_matrices(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model: LoadedModel = request.getfixturevalue(f"tiny_{name}")
    out, reads, gain, unembed = matrices(model)
    monkeypatch.setattr(vocabulary, "_NEURONS", 7)
    monkeypatch.setattr(weights, "_CHUNK", 50)
    told: list[float] = []
    found = layer_weights(model, LAYER, on_step=told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    heard = out - out.mean(axis=1, keepdims=True) if name == "gpt2" else out
    np.testing.assert_allclose(found.norms["W_out"], np.linalg.norm(out, axis=1), rtol=1e-6)
    assert list(found.cosines) == list(reads)
    for key, rows in reads.items():
        np.testing.assert_allclose(found.norms[key], np.linalg.norm(rows, axis=1), rtol=1e-6)
        cosine = [h @ r / np.linalg.norm(h) / np.linalg.norm(r) for h, r in zip(heard, rows, strict=True)]
        np.testing.assert_allclose(found.cosines[key], cosine, atol=1e-6)
    logits = heard * gain @ unembed
    assert found.moments is not None
    np.testing.assert_allclose(found.moments.mean, logits.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(found.moments.std, logits.std(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.moments.skew, stats.skew(logits, axis=1), atol=1e-5)
    np.testing.assert_allclose(found.moments.kurtosis, stats.kurtosis(logits, axis=1), atol=1e-5)
    alone = layer_weights(model, LAYER, np.array([5]))
    assert alone.moments is not None
    np.testing.assert_allclose(alone.moments.kurtosis, found.moments.kurtosis[[5]], rtol=1e-9)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_what_the_unembedding_hardly_reads_is_along_its_smallest_singular_values(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model: LoadedModel = request.getfixturevalue(f"tiny_{name}")
    out, _, gain, unembed = matrices(model)
    monkeypatch.setattr(vocabulary, "UNREAD", 8)
    monkeypatch.setattr(model, "kept_weakest", None)
    reading = gain[:, None] * (unembed - unembed.mean(axis=1, keepdims=True))
    if name == "gpt2":
        reading = reading - reading.mean(axis=0)
    left, sizes, _ = np.linalg.svd(reading)
    # With a LayerNorm the last of them is the mean over d_model, of which nothing is left to read.
    last = len(sizes) - (name == "gpt2")
    expected = left[:, last - 4 : last]
    weakest = weakest_directions(model)
    assert weakest.shape == (4, 32)
    np.testing.assert_allclose(weakest.T @ weakest, expected @ expected.T, atol=1e-6)
    heard = out - out.mean(axis=1, keepdims=True) if name == "gpt2" else out
    found = layer_weights(model, LAYER)
    assert found.unread is not None
    np.testing.assert_allclose(
        found.unread, np.linalg.norm(heard @ expected, axis=1) / np.linalg.norm(heard, axis=1), atol=1e-6
    )
    # Of one neuron they are told where they are known, or take no time.
    monkeypatch.setitem(vocabulary._PRODUCTS, "cpu", 0)
    alone = layer_weights(model, LAYER, np.array([5])).unread
    assert alone is not None
    assert alone[0] == pytest.approx(found.unread[5])
    monkeypatch.setattr(model, "kept_weakest", None)
    assert layer_weights(model, LAYER, np.array([5])).unread is None
    moved = logit_moments(model, np.concatenate([weakest, left[:, :1].T]))
    assert moved.std[:4].max() < moved.std[4]


def test_what_moves_no_logit_has_no_shape(tiny_gpt2: LoadedModel) -> None:
    moments = logit_moments(tiny_gpt2, np.stack([np.zeros(32), np.ones(32)]))
    np.testing.assert_allclose(moments.std, 0.0, atol=1e-12)
    assert np.isnan(moments.skew).all()
    assert np.isnan(moments.kurtosis).all()
