from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.analyses.directions import SiteRuns, direction_vector
from srm_explorer.engine.analyses.ensembles import ensemble_study
from srm_explorer.engine.analyses.planes import basis_of, find_plane, plane_of, planes_study, with_plane
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.groups import (
    energies_by_group,
    energy_in_plane,
    grey_vector,
    swept_groups,
)
from srm_explorer.engine.figures.table import PlaneChoice
from srm_explorer.engine.session import Session, load_session, save_session
from srm_explorer.engine.session.serialization import read_session, session_bytes
from srm_explorer.engine.session.session import PlaneRecord
from tests.engine.stats.ensemble_reference import ensemble_reference

SITE, RESIDUAL = "blocks.1.mlp.hook_post", "blocks.1.hook_resid_post"
Planted = Callable[..., Session]


def kinds(prompt: int) -> dict[str, str]:
    return {"type": ("plain", "asking", "sure")[prompt % 3], "core_id": str(prompt // 3)}


def parted(session: Session, vectors: dict[str, np.ndarray]) -> None:
    """Plain prompts lie along one direction of the residual stream, asking ones along another."""
    for row, run in enumerate(session.runs):
        kind = session.prompts[run.prompt].factors["type"]
        vectors[RESIDUAL][row, 0] += 30 * (kind == "plain")
        vectors[RESIDUAL][row, 1] += 30 * (kind == "asking")


def rows(session: Session, condition: int | None, kind: str | None = None) -> np.ndarray:
    return np.array(
        [
            condition in (None, run.condition) and kind in (None, session.prompts[run.prompt].factors["type"])
            for run in session.runs
        ]
    )


def test_means_and_their_difference_are_those_of_the_runs_named(planted: Planted) -> None:
    session = planted(parted, factors=kinds)
    own = session.vectors()[RESIDUAL]
    runs = SiteRuns.of(session, RESIDUAL, own)
    plain = own[rows(session, 0, "plain")].mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(direction_vector("mean(type=plain)", runs), plain)
    swept = own[~rows(session, 0)].mean(axis=0, dtype=np.float64)
    baseline = own[rows(session, 0)].mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(direction_vector("difference(at=swept | at=baseline)", runs), swept - baseline)
    label = session.conditions[2].label
    one = own[rows(session, 2, "sure")].mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(direction_vector(f"mean(type=sure, at={label})", runs), one)
    np.testing.assert_allclose(direction_vector("mean(at=2, type=sure)", runs), one)


def test_a_planted_separation_lies_at_0_and_90_degrees_of_its_plane(planted: Planted) -> None:
    session = planted(parted, factors=kinds)
    choice = PlaneChoice(RESIDUAL, "mean(type=plain)", "mean(type=asking)")
    plane = plane_of(session, session.vectors()[RESIDUAL], choice)
    phases = {group.label: group.sweep.phase_deg for group in swept_groups(session, plane, ("type",))}
    assert abs((phases["clamped · type=plain"] + 180) % 360 - 180) < 8
    assert abs(phases["clamped · type=asking"] - 90) < 8
    assert plane.raw_angle_deg == pytest.approx(90, abs=8)
    energies = energies_by_group(session, plane, ("type",))
    assert energies["clamped · type=plain"] > 0.9 > 0.6 > energies["clamped · type=sure"]


def test_components_leave_the_sweep_out_where_they_are_asked_to(planted: Planted) -> None:
    session = planted(parted, factors=kinds)
    own = session.vectors()[SITE]
    runs = SiteRuns.of(session, SITE, own)
    baseline = own[rows(session, 0)].astype(np.float64)
    first = np.linalg.svd(baseline - baseline.mean(axis=0))[2][0]
    assert abs(direction_vector("pc1(at=baseline)", runs) @ first) == pytest.approx(1)
    assert np.abs(direction_vector("pc1", runs)).argmax() == 3, "the clamped neuron varies most"


def test_weights_are_centred_where_the_residual_stream_is(planted: Planted) -> None:
    row = np.arange(8.0) + 3
    held = {"w_out(1.3)": row}
    for residual, expected in (("raw", row), ("centred", row - row.mean())):
        session = planted(capture=_capture(residual))
        runs = SiteRuns.of(session, RESIDUAL, session.vectors()[RESIDUAL], held)
        np.testing.assert_allclose(direction_vector("w_out(1.3)", runs), expected)
    with pytest.raises(ExplorerError, match="does not hold the vector w_out"):
        direction_vector("w_out(1.4)", runs)
    with pytest.raises(ExplorerError, match="lies in the residual stream"):
        direction_vector("w_out(1.3)", SiteRuns.of(session, SITE, session.vectors()[SITE], held))


def _capture(residual: str) -> dict[str, Any]:
    return {"sites": [SITE, RESIDUAL], "residual": residual}


def test_a_plane_is_added_saved_and_found_again(planted: Planted) -> None:
    session = planted(parted, factors=kinds)
    own = session.vectors()[RESIDUAL]
    choice = PlaneChoice(RESIDUAL, "w_out(1.3)", "random(4)")
    weights = {"w_out(1.3)": np.arange(8.0), "w_in(1.9)": np.ones(8)}
    wider = with_plane(session, own, choice, weights)
    assert session.path is not None
    saved = save_session(wider, session.path).session
    again = load_session(session.path)
    assert again.planes == saved.planes == wider.planes
    assert again.spec == session.spec
    assert list(again.provenance["directions"]) == ["w_out(1.3)"]
    assert find_plane(again, PlaneChoice(RESIDUAL, " w_out( 1.3)", "random(4)")) == len(session.planes)
    assert with_plane(again, own, choice) is again
    np.testing.assert_allclose(plane_of(again, own, choice).xy, again.planes[-1].xy)
    basis = basis_of(again, own, choice).basis
    np.testing.assert_allclose(own @ basis.T, again.planes[-1].xy, atol=1e-4)
    with pytest.raises(ExplorerError, match="holds another vector as w_out"):
        with_plane(again, own, PlaneChoice(RESIDUAL, "w_out(1.3)", 2), {"w_out(1.3)": np.ones(8)})


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ("mean(type=dull)", 1, "has no level 'dull'"),
        ("mean(type=*)", 1, "stands for several directions"),
        (99, 1, "d99 is out of range"),
        ("pc1", "pc1", "two different directions"),
        ("pc1", "PC1(at=all)", "lie on one line"),
        ("difference(type=plain | type=plain)", 1, "is zero"),
        ("nonsense", 1, "is no direction"),
    ],
)
def test_a_plane_that_means_nothing_is_refused(planted: Planted, a: Any, b: Any, told: str) -> None:
    session = planted(factors=kinds)
    with pytest.raises(ExplorerError, match=told):
        plane_of(session, session.vectors()[RESIDUAL], PlaneChoice(RESIDUAL, a, b))
    with pytest.raises(ExplorerError, match="did not capture"):
        plane_of(session, session.vectors()[RESIDUAL], PlaneChoice("blocks.0.hook_resid_post", 0, 1))


def test_means_over_tokens_and_broken_runs_are_left_out(planted: Planted) -> None:
    def broken(session: Session, vectors: dict[str, np.ndarray]) -> None:
        vectors[RESIDUAL][0] = np.nan
        vectors[RESIDUAL][4] = 0

    session = planted(broken, factors=kinds)
    own = session.vectors()[RESIDUAL]
    plane = plane_of(session, own, PlaneChoice(RESIDUAL, "mean()", "pc1"))
    assert np.isnan(plane.x[0])
    assert np.isfinite(plane.x[1:]).all()
    used = [run for run in range(len(session.runs)) if session.runs[run].condition == 0 and run != 0]
    np.testing.assert_allclose(plane.x[5], own[5] @ _unit(own[used].mean(axis=0, dtype=np.float64)), rtol=1e-5)
    tokens = planted(reduce="tokens", factors=kinds)
    listed = tokens.vectors()[RESIDUAL]
    assert isinstance(listed, list)
    means = np.stack([one.mean(axis=0, dtype=np.float64) for one in listed])
    found = direction_vector("mean(at=all)", SiteRuns.of(tokens, RESIDUAL, listed))
    np.testing.assert_allclose(found, means.mean(axis=0), rtol=1e-6)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def test_the_energy_is_what_it_says() -> None:
    plane = PlaneRecord(SITE, 0, 1, (3.0, 0.0, 1.0, float("nan")), (4.0, 0.0, 0.0, 1.0), (10.0, 0.0, 1.0, 1.0), 60.0)
    assert energy_in_plane(plane) == pytest.approx((0.25 + 0 + 1) / 3)
    assert energy_in_plane(plane, [0]) == pytest.approx(0.25)
    assert np.isnan(energy_in_plane(plane, [3]))


def test_the_table_tells_every_plane_and_group(planted: Planted) -> None:
    session = planted(parted, factors=kinds)
    session = with_plane(session, session.vectors()[RESIDUAL], PlaneChoice(RESIDUAL, "mean(type=plain)", 1))
    (table,) = tables_in(planes_study(session, {}))
    assert [row[0] for row in table.rows] == [1, 1, 2, 2]
    plane = session.planes[1]
    own = np.array(plane.xy)[rows(session, 0)] / np.array(plane.norm)[rows(session, 0), None]
    found = dict(zip([column.key for column in table.columns], table.rows[2], strict=True))
    assert found["energy"] == pytest.approx((own**2).sum(axis=1).mean())
    np.testing.assert_allclose((found["mean_a"], found["mean_b"]), grey_vector(session, plane))
    assert table.planes[2] == PlaneChoice(RESIDUAL, "mean(type=plain)", 1)
    assert any("by construction" in note for note in table.notes)
    with pytest.raises(ExplorerError, match="no setting 'bye'"):
        planes_study(session, {"bye": "type"})


@pytest.mark.parametrize("kind", ["perm", "comb"])
def test_an_ensemble_of_group_means_is_what_rotation_matrices_give(planted: Planted, kind: Any) -> None:
    session = planted(parted, factors=kinds, spotlight={"thresholds": [0.5, 0.2], "angles": 40})
    arguments = {"basis": ["mean(type=*)"], "ensemble": kind, "site": RESIDUAL}
    summary, curves = tables_in(ensemble_study(session, arguments))
    own = session.vectors()[RESIDUAL].astype(np.float64)
    basis = [own[rows(session, 0, name)].mean(axis=0) for name in ("plain", "asking", "sure")]
    fraction, spread = ensemble_reference(own[rows(session, 0)], basis, kind, [0.5, 0.2], 40)
    found = np.array([row[2:] for row in curves.rows if row[1] == "baseline"], np.float64)
    np.testing.assert_allclose(found, np.stack([fraction[0], spread[0], fraction[1], spread[1]], axis=1), atol=1e-12)
    numbers = ["fraction_0.5", "spread_0.5", "fraction_0.2", "spread_0.2"]
    assert [column.key for column in curves.columns] == ["angle_deg", "group", *numbers]
    assert [row[0] for row in summary.rows] == ["baseline", "baseline", "clamped", "clamped"]
    with pytest.raises(ExplorerError, match="at least two directions, there is 1"):
        ensemble_study(session, {**arguments, "basis": ["mean()"]})


def test_records_of_earlier_sessions_are_read_and_odd_ones_are_not(planted: Planted) -> None:
    session = planted(factors=kinds)
    document = json.loads(session_bytes(session))
    old = {**document, "schema_version": 1, "planes": [dict(document["planes"][0])]}
    del old["planes"][0]["raw_angle_deg"], old["effects"]
    assert read_session(old, "old.json").planes == session.planes
    for field in (
        {"a": -1},
        {"a": 1.5},
        {"b": "mean("},
        {"b": "v.npz#\x1b[2J"},
        {"raw_angle_deg": "wide"},
        {"a": None},
    ):
        bad = {**document, "planes": [{**document["planes"][0], **field}]}
        with pytest.raises(ExplorerError, match=r"planes\[0\]"):
            read_session(bad, "bad.json")
