"""What changed neurons write is kept with a session, so that pairings and planes need no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from srm_explorer.engine.analyses.pairs import known_rows, pair_tables
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.model.load import load_model
from srm_explorer.engine.model.weights import w_out_rows
from srm_explorer.engine.model_analyses.neurons import weighted_pairs_study
from srm_explorer.engine.runs.progress import Meter, StopSignal
from tests.conftest import TOOLS, load_module
from tests.tables import column_index

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.parametrize(("name", "adds_up"), [("llama", True), ("gemma2", False)])
def test_what_a_norm_makes_of_all_neurons_is_not_subtracted(
    lab: Any, clamp: dict[str, Any], tmp_path: Path, name: str, adds_up: bool
) -> None:
    tool = load_module(TOOLS / "check_families.py")
    tool.make_folder({one.name: one for one in tool.families()}[name], tmp_path / name)
    spec = {"name": str(tmp_path / name), "dtype": "float32"}
    session = lab.session(lab.experiment(clamp, model=spec, capture={"sites": [MLP, STREAM]}))
    few = {"permutations": 20, "partners": "residual"}
    found = weighted_pairs_study(session, few, load_model(session.spec.model), Meter([], StopSignal()))
    (table,) = tables_in(found)
    assert any("no sum of rows of W_out" in note for note in table.notes) == (not adds_up)
    pooled = [row[column_index(table, "pooled_r")] for row in table.rows]
    assert any(value is not None for value in pooled) == adds_up
