from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.analyses.plane_finder import finder_study
from srm_explorer.engine.analyses.plane_search import halves
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.table import TableFigure
from srm_explorer.engine.session import Session
from tests.tables import column_index

SITE, RESIDUAL = "blocks.1.mlp.hook_post", "blocks.1.hook_resid_post"
Planted = Callable[..., Session]
MANY: dict[str, Any] = {"permutations": 5000}
"""Enough for a q under .05 among 100 planes."""


def found_in(session: Session, **arguments: Any) -> TableFigure:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (table,) = tables_in(finder_study(session, {"permutations": 200, **arguments}))
    json.dumps(table.to_dict(), allow_nan=False)
    return table


def q_of(table: TableFigure) -> dict[tuple[str, str], float]:
    at = column_index(table, "q")
    return {(str(row[0]), str(row[1])): float(row[at]) for row in table.rows}  # type: ignore[arg-type]


def swept(session: Session) -> np.ndarray:
    return np.array([session.conditions[run.condition].kind == "sweep" for run in session.runs])


def only_together(session: Session, vectors: dict[str, np.ndarray]) -> None:
    """n7 and n9 share their noise, and the clamp moves them apart: only the plane tells it clearly."""
    common = 3 * np.random.default_rng(9).normal(size=len(session.runs))
    shift = 0.9 * swept(session)
    vectors[SITE][:, 7] = 0.4 * vectors[SITE][:, 7] + common + shift
    vectors[SITE][:, 9] = 0.4 * vectors[SITE][:, 9] + common - shift


def test_the_plane_that_only_together_separates_is_first_of_all_pairs(planted: Planted) -> None:
    table = found_in(planted(only_together, units=40), among="all", **MANY)
    assert table.rows[0][:2] == ("n7", "n9")
    assert q_of(table)["n7", "n9"] < 0.05
    assert sum(q < 0.05 for q in q_of(table).values()) < 6
    assert table.rows[0][column_index(table, "synergy")] > 0
    assert table.rows[0][column_index(table, "p_synergy")] < 0.05
    assert (table.planes[0].site, table.planes[0].a, table.planes[0].b) == (SITE, 7, 9)
    assert any("each unit in both" in note for note in table.notes)
    assert any("set by design, so in no plane: n3" in note for note in table.notes)
    assert not any("n3" in row[:2] for row in table.rows)
    # 15 coordinates that were not set.
    assert any(f"{15 * 14 // 2} pairs scanned on 20 units" in note for note in table.notes)


def test_two_coordinates_that_each_tell_the_groups_apart_add_to_each_other_and_have_no_synergy(
    planted: Planted,
) -> None:
    def each(session: Session, vectors: dict[str, np.ndarray]) -> None:
        vectors[SITE][:, [7, 9]] += 1.2 * swept(session)[:, None]

    table = found_in(planted(each, units=60), among="all", **MANY)
    (row,) = (row for row in table.rows if row[:2] == ("n7", "n9"))
    assert row[column_index(table, "p")] < 0.05, "both add"
    for axis in "ab":
        low, high = (row[column_index(table, f"difference_{axis}_{end}")] for end in ("low", "high"))
        assert low < -1.2 < high < 0
    assert row[column_index(table, "p_synergy")] > 0.05
    assert not any(column.key == "synergy" for column in found_in(planted(each), criterion="anisotropy").columns)


def test_pairs_among_the_most_changed(planted: Planted) -> None:
    def moved(session: Session, vectors: dict[str, np.ndarray]) -> None:
        vectors[SITE][:, [1, 2, 4, 6]] += 1.5 * swept(session)[:, None]

    table = found_in(planted(moved, units=40), among="changed", k=4)
    assert {name for row in table.rows for name in row[:2]} == {"n1", "n2", "n4", "n6"}
    assert len(table.rows) == 6


def test_partners_of_the_clamped_neuron_are_judged_by_themselves(planted: Planted) -> None:
    def moved(session: Session, vectors: dict[str, np.ndarray]) -> None:
        vectors[SITE][:, 11] += 2.5 * swept(session)

    table = found_in(planted(moved, units=40), **MANY)
    assert table.rows[0][:2] == ("n3", "n11")
    assert q_of(table)["n3", "n11"] < 0.05
    first = dict(zip([column.key for column in table.columns], table.rows[0], strict=True))
    # The baseline against the swept values, which are 2.5 higher.
    assert first["difference_b_low"] < first["difference_b"] < first["difference_b_high"] < 0
    assert first["difference_b_low"] < -2.5 < first["difference_b_high"]
    assert "difference_a" not in first
    assert [key for key in (column.key for column in table.columns) if key == "t2"] == []
    assert any("set by design, so it is no evidence" in note for note in table.notes)


def test_change_is_what_arithmetic_does_not_explain(planted: Planted) -> None:
    # A large clamp shrinks every other cosine; only n5 and n8 change by the text.
    def moved(session: Session, vectors: dict[str, np.ndarray]) -> None:
        base = {run.prompt: row for row, run in enumerate(session.runs) if run.condition == 0}
        rows = np.array([base[run.prompt] for run in session.runs])
        noise = 0.7 * vectors[SITE]
        vectors[SITE][:] = 4 + vectors[SITE][rows] + noise * swept(session)[:, None]
        vectors[SITE][:, 5] += 1.2 * swept(session)
        vectors[SITE][:, 8] -= 1.2 * swept(session)

    large = {"site": SITE, "neurons": [3], "op": "clamp", "values": [60, 80]}
    session = planted(moved, units=80, interventions=[large])
    table = found_in(session, among="changed", k=6, criterion="change", **MANY)
    assert ("n5", "n8") in q_of(table)
    assert q_of(table)["n5", "n8"] < 0.05
    still = {pair: q for pair, q in q_of(table).items() if not {"n5", "n8"} & set(pair)}
    assert min(still.values(), default=1.0) > 0.05


def test_anisotropy_finds_coordinates_that_go_together(planted: Planted) -> None:
    def tied(session: Session, vectors: dict[str, np.ndarray]) -> None:
        vectors[SITE][:, 12] = 0.5 * vectors[SITE][:, 12] - vectors[SITE][:, 13]

    table = found_in(planted(tied, units=40), among="all", criterion="anisotropy", **MANY)
    assert table.rows[0][:2] == ("n12", "n13")
    assert table.rows[0][column_index(table, "statistic")] < -0.7
    assert q_of(table)["n12", "n13"] < 0.05


def test_levels_of_a_factor_are_compared_between_units(planted: Planted) -> None:
    def types(prompt: int) -> dict[str, str]:
        return {"type": "plain" if prompt % 4 < 2 else "odd"}

    def apart(session: Session, vectors: dict[str, np.ndarray]) -> None:
        odd = np.array([session.prompts[run.prompt].factors["type"] == "odd" for run in session.runs])
        common = 2 * np.random.default_rng(9).normal(size=len(odd))
        vectors[SITE][:, 7] = 0.4 * vectors[SITE][:, 7] + common + 0.9 * odd
        vectors[SITE][:, 9] = 0.4 * vectors[SITE][:, 9] + common - 0.9 * odd

    groups = ["baseline · type=plain", "baseline · type=odd"]
    table = found_in(planted(apart, units=64, factors=types), among="all", groups=groups)
    assert table.rows[0][:2] == ("n7", "n9")
    assert any(
        "signs flipped of what each coordinate of a unit has beside the other's, within prompt sets" in note
        for note in table.notes
    )
    assert any(f"{16 * 15 // 2} pairs" in note for note in table.notes)


def test_what_the_clamp_writes_separates_no_plane_of_the_residual_stream(planted: Planted) -> None:
    shifted = {"site": SITE, "neurons": [3], "op": "clamp", "values": [8, 9]}
    session = planted(units=40, interventions=[shifted])
    table = found_in(session, site=RESIDUAL, among="all")
    assert min(q_of(table).values()) > 0.05
    with pytest.raises(ExplorerError, match="by construction"):
        found_in(planted(units=40, interventions=[shifted], rows=False, seed=1), site=RESIDUAL, among="all")


def test_the_same_seed_gives_the_same_planes_and_another_another_split(planted: Planted) -> None:
    session = planted(units=30)
    one, two, other = (found_in(session, among="all", seed=seed) for seed in (4, 4, 5))
    assert one.rows == two.rows
    assert one.rows != other.rows


@pytest.mark.parametrize(
    ("how", "arguments", "what"),
    [
        ({"units": 7}, {}, "7 units cannot be split"),
        ({"units": 1}, {}, "1 unit cannot be split"),
        ({}, {"permutations": 10**9}, "permutations is 1000000000; choose 100,000 or fewer"),
        ({"interventions": []}, {}, "two groups"),
        ({}, {"groups": ["baseline", "clampd"]}, "no group 'clampd'"),
        ({}, {"groups": ["clamped", "+2"]}, "share runs"),
        ({}, {"criterion": "change", "groups": ["+2", "+9"]}, "in one group"),
        ({}, {"criterion": "change", "site": RESIDUAL, "among": "all"}, "not told by its vectors"),
        ({}, {"among": "all", "neuron": 3}, "have no neuron"),
        ({}, {"neuron": 99}, "out of range"),
        ({}, {"criterion": "energy"}, "criterion is 'energy'"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(
    planted: Planted, how: dict[str, Any], arguments: dict[str, Any], what: str
) -> None:
    with pytest.raises(ExplorerError, match=what):
        finder_study(planted(**how), arguments)


@pytest.mark.parametrize(
    "how",
    [
        {"reduce": "tokens"},
        {"done": 70},
        {"interventions": [{"site": SITE, "neurons": [3], "op": "add", "values": [0.5, 2]}]},
        {"interventions": [{"site": SITE, "neurons": [3], "op": "mean"}]},
    ],
)
@pytest.mark.parametrize("criterion", ["separation", "anisotropy"])
def test_other_experiments_can_be_searched_too(planted: Planted, how: dict[str, Any], criterion: str) -> None:
    session = planted(**how)
    assert found_in(session, among="all", criterion=criterion).rows
    assert found_in(session, criterion=criterion).rows


@given(seed=st.integers(0, 999), sizes=st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_halves_part_every_prompt_set_as_evenly_as_it_goes(seed: int, sizes: list[int]) -> None:
    stratum = np.repeat(np.arange(len(sizes)), sizes)
    chosen, other = halves(np.arange(len(stratum)), stratum, np.random.default_rng(seed))
    assert sorted([*chosen.tolist(), *other.tolist()]) == list(range(len(stratum)))
    assert abs(len(chosen) - len(other)) <= 1
    for one in range(len(sizes)):
        assert abs((stratum[chosen] == one).sum() - (stratum[other] == one).sum()) <= 1
