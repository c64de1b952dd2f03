"""The card of a neuron whose weights were written by hand holds what was written."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from srm_explorer.engine.errors import ExplorerError

from .planted_neuron import (
    ALIKE,
    D_MLP,
    GAIN,
    LAYER,
    NEURON,
    READS,
    WRITES,
    activation_at_x,
    load_planted_model,
    write_planted_model,
)

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel


@pytest.fixture(scope="module")
def planted(random_models: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("planted")
    write_planted_model(folder, random_models)
    return load_planted_model(folder)


def ids(model: LoadedModel, text: str) -> tuple[int, ...]:
    return tuple(model.tokenizer.encode(text, prepend_bos=False))


def test_norms_are_those_of_the_raw_rows_and_the_largest_of_the_layer(planted: LoadedModel) -> None:
    from srm_explorer.engine.model.weights import weight_card

    out, read = weight_card(planted, LAYER, NEURON).norms
    assert (out.name, out.length) == ("W_out", pytest.approx(np.linalg.norm(WRITES), rel=1e-6))
    assert (read.name, read.length) == ("W_in", pytest.approx(np.linalg.norm(READS), rel=1e-6))
    assert out.share == 1.0
    # One other neuron reads as much: half of it counts.
    assert read.share == pytest.approx((D_MLP - 1.5) / (D_MLP - 1))


def test_one_unit_raises_the_logit_that_it_writes_towards_by_its_gain_and_size(planted: LoadedModel) -> None:
    from srm_explorer.engine.model.weights import weight_card

    logits = weight_card(planted, LAYER, NEURON).logits
    (x,), (y,), (z,) = (ids(planted, letter) for letter in "xyz")
    expected = np.zeros(planted.n_vocab)
    # The constant 7 is centred away; 5 times a row of square length 8, times the gain.
    expected[y], expected[z] = 5 * 8 * GAIN, -5 * 8 * GAIN
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert logits[x] == pytest.approx(0, abs=1e-5)


def test_neighbours_are_the_neuron_that_was_written_alike(planted: LoadedModel) -> None:
    from srm_explorer.engine.model.weights import weight_card

    card = weight_card(planted, LAYER, NEURON, top=3)
    assert (card.writes_alike[0].layer, card.writes_alike[0].neuron) == (LAYER, ALIKE)
    assert card.writes_alike[0].cosine == pytest.approx(0.6, abs=1e-6)
    assert card.reads_alike[0].neuron == ALIKE
    assert card.reads_alike[0].cosine == pytest.approx(1.0, abs=1e-6)
    assert all(one.neuron != NEURON for one in (*card.writes_alike, *card.reads_alike))
    everywhere = weight_card(planted, LAYER, NEURON, top=3, layers=[0, 1])
    assert everywhere.writes_alike[0] == card.writes_alike[0]
    assert everywhere.compared == 2 * D_MLP - 1


def test_activations_are_those_of_the_token_it_reads_and_0_elsewhere(planted: LoadedModel) -> None:
    from srm_explorer.engine.model.activations import ReadText
    from srm_explorer.engine.model.weights import neuron_activations

    texts = [ReadText(ids(planted, "yyx")), ReadText(ids(planted, "x")), ReadText(ids(planted, "zxyz"), first=1)]
    values = neuron_activations(planted, texts, LAYER, NEURON)
    here = activation_at_x()
    np.testing.assert_allclose(values, [0, 0, here, here, here, 0, 0], atol=1e-7)


def test_the_forced_change_of_logits_is_the_card_s_by_the_size_of_the_stream(planted: LoadedModel) -> None:
    from srm_explorer.engine.model.weights import direct_logits, final_logits

    stream = np.array([3.0, -1, 2, 0, -4, 1, 1, -2])
    apart = final_logits(planted, stream + 1e-6 * WRITES) - final_logits(planted, stream)
    size = np.sqrt(((stream - stream.mean()) ** 2).mean() + 1e-5)
    centred = (stream - stream.mean()) / size
    # Beside what the card tells, the division itself changes with the direction: along the stream, that is.
    direction = WRITES - WRITES.mean()
    along = centred * (centred @ direction) / len(stream)
    expected = (direct_logits(planted, WRITES) - direct_logits(planted, along)) / size
    np.testing.assert_allclose(apart / 1e-6, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("layer", "neuron", "told"), [(2, 0, "choose 0 to 1"), (1, 16, "choose 0 to 15"), (-1, 0, "0")]
)
def test_a_neuron_that_is_not_there_is_refused_with_the_range(
    planted: LoadedModel, layer: int, neuron: int, told: str
) -> None:
    from srm_explorer.engine.model.weights import weight_card

    with pytest.raises(ExplorerError, match=told):
        weight_card(planted, layer, neuron)


def test_a_gated_neuron_has_a_norm_of_its_gate_too(tiny_llama: LoadedModel) -> None:
    from srm_explorer.engine.model.weights import w_gate_columns, weight_card

    card = weight_card(tiny_llama, 1, 5)
    gate = w_gate_columns(tiny_llama, 1)
    assert gate is not None
    assert [one.name for one in card.norms] == ["W_out", "W_in", "W_gate"]
    assert card.norms[2].length == pytest.approx(np.linalg.norm(gate[5].astype(float)))
    assert card.gated
    assert not card.is_normed
