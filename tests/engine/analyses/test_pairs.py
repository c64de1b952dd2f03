from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.analyses.pairs import pair_tables, pairs_study
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.table import TableFigure
from srm_explorer.engine.session import Session
from srm_explorer.engine.stats.permutation import benjamini_hochberg
from tests.engine.stats.unit_slopes_reference import slope_p_reference
from tests.tables import column_index

SITE, RESIDUAL = "blocks.1.mlp.hook_post", "blocks.1.hook_resid_post"
Planted = Callable[..., Session]
FEW: dict[str, Any] = {"permutations": 60, "top": None}


def by_key(table: TableFigure, partner: str) -> dict[str, Any]:
    row = next(row for row in table.rows if row[0] == partner)
    return dict(zip([column.key for column in table.columns], row, strict=True))


def own_before(session: Session, vectors: dict[str, np.ndarray]) -> np.ndarray:
    base = {run.prompt: row for row, run in enumerate(session.runs) if run.condition == 0}
    return vectors[SITE][[base[run.prompt] for run in session.runs], 3]


def test_a_partner_of_the_neurons_own_activation_is_found_though_the_neuron_is_clamped(planted: Planted) -> None:
    def plant(session: Session, vectors: dict[str, np.ndarray]) -> None:
        own = own_before(session, vectors)
        vectors[SITE][:, 7] = 2 * own + 0.7 * vectors[SITE][:, 7]
        vectors[SITE][:, 9] = -own + 0.7 * vectors[SITE][:, 9]

    up, down, _ = tables_in(pairs_study(planted(plant), FEW))
    assert up.name == "co_activators"
    assert up.rows[0][0] == "n7"
    assert down.rows[0][0] == "n9"
    assert by_key(up, "n7")["within_q"] < 0.01
    assert (up.planes[0].a, up.planes[0].b, up.planes[0].site) == (3, 7, SITE)
    assert any("set by design" in note for note in up.notes)
    each = [by_key(up, "n7")[f"r_at_{label}"] for label in ("-4", "+2", "+9")]
    assert by_key(up, "n7")["within_r"] == pytest.approx(np.mean(each), abs=1e-9)


def test_a_response_to_the_dose_shows_over_everything_and_not_within_a_value(planted: Planted) -> None:
    def plant(session: Session, vectors: dict[str, np.ndarray]) -> None:
        value = np.array([session.conditions[run.condition].value or 0.0 for run in session.runs])
        vectors[SITE][:, 7] += 0.4 * value

    tables = tables_in(pairs_study(planted(plant), FEW))
    found = by_key(next(t for t in tables if any(row[0] == "n7" for row in t.rows)), "n7")
    assert found["pooled_q"] < 0.02
    assert found["partial_q"] < 0.02
    assert found["within_q"] > 0.05
    assert any("signs of units' slopes flipped: pooled, partial" in note for note in tables[0].notes)
    assert found["mean_slope_low"] < 0.4 < found["mean_slope_high"]
    assert found["mean_slope_low"] < found["mean_slope"] < found["mean_slope_high"]
    assert found["mean_slope_p"] < 0.01
    assert any("text changed in 0 of 24 units" in note for note in tables[0].notes)


def test_p_over_everything_is_that_of_units_slopes_where_the_neuron_was_set(planted: Planted) -> None:
    session = planted(units=8)
    tables = tables_in(pairs_study(session, {"permutations": 300, "partners": "site"}))
    vectors = session.vectors()[SITE]
    prompt = [run.prompt for run in session.runs]
    listed = {row[0]: by_key(table, row[0]) for table in tables for row in table.rows}
    assert len(listed) == 15
    for caption, row in listed.items():
        for key, method in (("p", "pearson"), ("rho_p", "spearman")):
            plain = slope_p_reference(vectors[:, 3], vectors[:, int(caption[1:])], prompt, prompt, method)
            assert row[f"pooled_{key}"] == row[f"partial_{key}"] == pytest.approx(plain)
    assert any(
        "n3 was set" in note and "with 8 units (all 256 patterns) it is at least .00781" in note
        for note in tables[0].notes
    )


def test_units_of_a_neuron_that_was_only_observed_are_exchanged(planted: Planted) -> None:
    tables = tables_in(pairs_study(planted(), {**FEW, "neuron": 7, "partners": "site"}))
    everywhere = "units exchanged within prompt sets: within, baseline, pooled, partial"
    assert any(everywhere in note for note in tables[0].notes)
    assert not any("slopes" in note for note in tables[0].notes)


@pytest.mark.parametrize("units", [5, 6])
def test_too_few_units_for_a_small_p_are_named(planted: Planted, units: int) -> None:
    def plant(session: Session, vectors: dict[str, np.ndarray]) -> None:
        value = np.array([session.conditions[run.condition].value or 0.0 for run in session.runs])
        vectors[SITE][:, 7] += 10 * value

    tables = tables_in(pairs_study(planted(plant, units=units), FEW))
    found = by_key(next(t for t in tables if any(row[0] == "n7" for row in t.rows)), "n7")
    assert found["pooled_p"] == found["partial_rho_p"] == {5: 0.0625, 6: 0.03125}[units]
    too_few = "too few units for a p of pooled and partial below .05: 6 are needed"
    assert (too_few in tables[0].notes) == (units == 5)


def test_what_the_clamp_writes_into_the_residual_stream_is_no_pairing(planted: Planted) -> None:
    session = planted()
    vectors = session.vectors()
    raw = np.corrcoef(vectors[SITE][:, 3], vectors[RESIDUAL].T)[0, 1:]
    assert np.abs(raw).max() > 0.95
    *_, stream = tables_in(pairs_study(session, FEW))
    at = column_index(stream, "pooled_r")
    assert max(abs(row[at]) for row in stream.rows) < 0.35
    assert min(row[column_index(stream, "pooled_q")] for row in stream.rows) > 0.02
    assert any("subtracted" in note for note in stream.notes)
    assert any("has nothing to do with neuron i" in note for note in stream.notes)


def test_without_the_row_of_w_out_what_holds_it_is_left_out(planted: Planted) -> None:
    session = planted(rows=False)
    *_, stream = tables_in(pairs_study(session, FEW))
    for way in ("pooled", "partial"):
        assert {row[column_index(stream, f"{way}_r")] for row in stream.rows} == {None}
        assert {row[column_index(stream, f"{way}_p")] for row in stream.rows} == {None}
    assert any("left out" in note for note in stream.notes)


def test_weights_give_cosines_and_entries(planted: Planted) -> None:
    weights = np.random.default_rng(5).normal(size=(16, 8))
    up, down, stream = tables_in(pair_tables(planted(rows=False), FEW, weights))
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    for table in (up, down):
        for row in table.rows:
            assert row[column_index(table, "w_out_cosine")] == pytest.approx(unit[int(row[0][1:])] @ unit[3])
    assert stream.rows[0][0] == "along W_out of n3"
    assert by_key(stream, "d2")["w_out"] == pytest.approx(weights[3, 2])
    assert stream.planes[0] is None
    assert stream.planes[1].a == "w_out(1.3)"


def test_the_family_is_every_p_and_q_is_over_all_of_them(planted: Planted) -> None:
    found = pairs_study(planted(), FEW)
    tables = tables_in(found)
    rows = [by_key(table, row[0]) for table in tables for row in table.rows]
    # 15 others, 8 coordinates and the projection, by two coefficients, in four ways: pooled and partial are one test.
    keys = [f"{way}_{key}" for way in ("within", "baseline", "pooled") for key in ("p", "rho_p")]
    p = [row[key] for row in rows for key in keys]
    assert len(p) == (15 + 8 + 1) * 3 * 2
    q = [row[f"{key[:-1]}q"] for row in rows for key in keys]
    np.testing.assert_allclose(q, benjamini_hochberg(p), rtol=1e-5)
    assert all(row["partial_q"] == row["pooled_q"] and row["partial_rho_q"] == row["pooled_rho_q"] for row in rows)
    assert any(f"q of {len(p)} tests in family pairs" in note for note in tables[0].notes)
    fewer = tables_in(pairs_study(planted(seed=1), {**FEW, "top": 2}))
    assert [len(table.rows) for table in fewer] == [2, 2, 2]
    assert any(f"q of {len(p)} tests in family pairs" in note for note in fewer[0].notes)


def test_constant_coordinates_and_other_clamped_ones_have_no_correlation_and_no_warning(planted: Planted) -> None:
    def plant(_: Session, vectors: dict[str, np.ndarray]) -> None:
        vectors[SITE][:, 11] = 0.25

    both = {"site": SITE, "neurons": [3, 6], "op": "clamp", "values": [-4, 2, 9]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tables = tables_in(pairs_study(planted(plant, interventions=[both]), {**FEW, "partners": "site"}))
    listed = {row[0] for table in tables for row in table.rows}
    assert "n11" not in listed
    assert "n6" not in listed
    assert any("are constant or were set" in note for note in tables[0].notes)


@pytest.mark.parametrize(
    "how",
    [
        {"reduce": "tokens"},
        {"done": 5},
        {"units": 2},
        {"units": 1},
        {"interventions": []},
        {"interventions": [{"site": SITE, "neurons": [3], "op": "scale", "values": [0.5, 2]}]},
        {"interventions": [{"site": SITE, "neurons": [3], "op": "zero"}]},
        {"interventions": [{"site": SITE, "direction": "v.npz#x", "op": "steer", "values": [1]}]},
        {"capture": {"sites": [SITE, RESIDUAL], "residual": "centred"}},
    ],
)
def test_any_experiment_has_its_pairs_or_one_line_that_says_why_not(planted: Planted, how: dict[str, Any]) -> None:
    session = planted(**how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for table in tables_in(pairs_study(session, FEW)):
            json.dumps(table.to_dict(), allow_nan=False)
            if how == {"units": 1}:
                assert {row[column_index(table, "within_p")] for row in table.rows} <= {None}


def test_runs_that_are_not_finite_are_left_out_and_counted(planted: Planted) -> None:
    def plant(_: Session, vectors: dict[str, np.ndarray]) -> None:
        vectors[SITE][5, 8] = np.nan

    tables = tables_in(pairs_study(planted(plant), FEW))
    assert any("1 run with vectors that are not finite left out" in note for note in tables[0].notes)
    assert any(row[0] == "n8" for table in tables for row in table.rows)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"neuron": 16}, "neuron 16 is out of range"),
        ({"site": "blocks.9.mlp.hook_post"}, "did not capture"),
        ({"partners": "stream"}, "partners is 'stream'"),
        ({"tops": 3}, "no setting 'tops'"),
        ({"neuron": "x"}, "not a whole number"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(planted: Planted, arguments: dict[str, Any], what: str) -> None:
    with pytest.raises(ExplorerError, match=what):
        pairs_study(planted(), arguments)
