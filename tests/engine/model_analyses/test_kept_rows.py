"""What changed neurons write is kept with a session, so that pairings and planes need no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from srm_explorer.engine.analyses.pairs import known_rows, pair_tables
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.model.weights import w_out_rows
from tests.tables import column_index

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel

MLP, STREAM = "blocks.1.mlp.hook_post", "blocks.1.hook_resid_post"


def test_rows_of_w_out_come_with_the_session_and_are_the_models(
    lab: Any, clamp: dict[str, Any], tiny_gpt2: LoadedModel
) -> None:
    kept = {"sites": [MLP, STREAM], "residual": "centred"}
    session = lab.session(lab.experiment(clamp, capture=kept))
    weights = w_out_rows(tiny_gpt2, 1)
    rows = known_rows(session, MLP)
    assert list(rows) == [3]
    np.testing.assert_allclose(rows[3], weights[3], rtol=1e-7)
    # With them, or with the whole matrix, the same is subtracted.
    few = {"permutations": 20, "partners": "residual", "top": None}
    (alone,), (loaded,) = (tables_in(pair_tables(session, few, given)) for given in (None, weights))
    at = column_index(alone, "pooled_r")
    for one, other in zip(alone.rows, loaded.rows, strict=True):
        assert one[0] == other[0]
        np.testing.assert_allclose(one[at], other[at], atol=1e-6)
    # The stream has its mean over coordinates removed, so its row of W_out has too.
    entries = np.array([row[column_index(alone, "w_out")] for row in alone.rows[1:]], np.float64)
    assert abs(entries.sum()) < 1e-6


def test_what_is_subtracted_is_what_the_clamp_wrote(lab: Any, clamp: dict[str, Any], tiny_gpt2: LoadedModel) -> None:
    # With no token generated the text cannot change: beside what the neuron writes, all conditions are one.
    plain = {"tokens": 0}
    kept = {"sites": [MLP, STREAM], "positions": "prompt", "residual": "raw"}
    session = lab.session(lab.experiment(clamp, generation=plain, capture=kept))
    vectors = session.vectors()
    rest = np.asarray(vectors[STREAM]) - np.asarray(vectors[MLP])[:, [3]] * known_rows(session, MLP)[3]
    by_prompt = rest.reshape(-1, 3, rest.shape[1])
    np.testing.assert_allclose(by_prompt, by_prompt[:, :1].repeat(3, axis=1), atol=2e-5)
