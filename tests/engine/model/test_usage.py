"""Reading texts in parts finds what the whole matrix of activations holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from srm_explorer.engine.errors import ExplorerError

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel

TEXTS = ("T", "The man opened the door", "If all of them are late, then nobody", "She turned to see who", "Two")


def texts_of(model: LoadedModel, first: int = 0) -> list[Any]:
    from srm_explorer.engine.model.activations import ReadText

    return [ReadText(tuple(model.tokenizer.encode(text, prepend_bos=False)), first) for text in TEXTS]


def matrix(model: LoadedModel, layer: int, texts: Sequence[Any]) -> np.ndarray:
    """[position, neuron] by a plain forward of each text alone."""
    import torch

    rows: list[np.ndarray] = []

    def keep(activation: torch.Tensor, hook: object) -> None:
        rows.append(activation[0].detach().double().numpy())

    for text in texts:
        with torch.inference_mode(), model.bridge.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", keep)]):
            model.bridge.original_model(input_ids=torch.tensor([text.ids]), use_cache=False)
        rows[-1] = rows[-1][text.first :]
    return np.concatenate(rows)


@pytest.mark.parametrize("first", [0, 1])
def test_streamed_statistics_of_every_layer_are_those_of_the_whole_matrix(tiny: LoadedModel, first: int) -> None:
    from srm_explorer.engine.model.activations import neuron_usage

    texts = texts_of(tiny, first)
    found = neuron_usage(tiny, texts, tokens=16)
    assert list(found) == [0, 1, 2]
    for layer, one in found.items():
        whole = matrix(tiny, layer, texts)
        assert one.n == len(whole)
        assert one.is_exact
        close = {"atol": 1e-5, "rtol": 1e-5}
        np.testing.assert_allclose(one.mean, whole.mean(axis=0), **close)
        np.testing.assert_allclose(one.std, whole.std(axis=0), **close)
        np.testing.assert_allclose(one.rms, np.sqrt((whole**2).mean(axis=0)), **close)
        np.testing.assert_allclose(one.high, whole.max(axis=0), **close)
        np.testing.assert_allclose(one.low, whole.min(axis=0), **close)
        np.testing.assert_allclose(one.positive, (whole > 0).mean(axis=0))
        # Texts that begin alike tie, up to rounding.
        np.testing.assert_allclose(whole[one.high_at, np.arange(whole.shape[1])], whole.max(axis=0), **close)
        np.testing.assert_allclose(one.quantiles((0.05, 0.5)), np.quantile(whole, (0.05, 0.5), axis=0), **close)


def test_a_text_does_not_feel_the_others(tiny: LoadedModel) -> None:
    from srm_explorer.engine.model.activations import neuron_usage

    texts = texts_of(tiny)
    together, alone = neuron_usage(tiny, texts, [1]), neuron_usage(tiny, texts, [1], tokens=1)
    np.testing.assert_allclose(together[1].mean, alone[1].mean, atol=1e-6)
    np.testing.assert_allclose(together[1].kurtosis, alone[1].kurtosis, atol=1e-3)
    np.testing.assert_allclose(together[1].sample, alone[1].sample, atol=1e-5)


def test_too_many_positions_leave_a_choice_of_them_that_parts_do_not_change(tiny_gpt2: LoadedModel) -> None:
    from srm_explorer.engine.model.activations import FEWEST, ReadText, neuron_usage

    ids = [tuple(np.random.default_rng(seed).integers(0, 500, 60).tolist()) for seed in range(6)]
    texts = [ReadText(one) for one in ids]
    few, alone = (neuron_usage(tiny_gpt2, texts, [0], kept_bytes=0, tokens=tokens)[0] for tokens in (4096, 1))
    assert len(few.sample) == FEWEST < few.n == 360
    assert not few.is_exact
    np.testing.assert_allclose(few.sample, alone.sample, atol=1e-5)
    np.testing.assert_allclose(few.mean, matrix(tiny_gpt2, 0, texts).mean(axis=0), atol=1e-6)


def test_every_pass_is_told_and_may_end_the_reading(tiny_gpt2: LoadedModel) -> None:
    from srm_explorer.engine.model.activations import neuron_usage

    told: list[tuple[int, int]] = []
    texts = texts_of(tiny_gpt2)
    neuron_usage(tiny_gpt2, texts, [0], tokens=30, on_pass=lambda n, positions: told.append((n, positions)))
    assert len(told) > 1
    assert sum(n for n, _ in told) == len(texts)
    assert sum(positions for _, positions in told) == sum(text.counted for text in texts)

    class Enough(Exception):
        pass

    def stop(n: int, positions: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        neuron_usage(tiny_gpt2, texts, [0], on_pass=stop)
    assert not any(point.fwd_hooks for point in tiny_gpt2.bridge.hook_dict.values())


def test_what_cannot_be_read_is_refused(tiny_gpt2: LoadedModel) -> None:
    from srm_explorer.engine.model.activations import ReadText, neuron_usage

    with pytest.raises(ExplorerError, match="reads 256; shorten it"):
        neuron_usage(tiny_gpt2, [ReadText((1,) * 257)])
    with pytest.raises(ExplorerError, match="no position"):
        neuron_usage(tiny_gpt2, [ReadText((1, 2), first=2)])
    with pytest.raises(ExplorerError, match="choose 0 to 2"):
        neuron_usage(tiny_gpt2, [ReadText((1, 2))], [3])
