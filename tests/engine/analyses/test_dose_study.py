from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from srm_explorer import session_from
from srm_explorer.engine.analyses import dose_study, tables_in
from srm_explorer.engine.analyses.beyond_arithmetic import residual_p
from srm_explorer.engine.analyses.planes import with_plane
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import dose_from_session, plane_index
from srm_explorer.engine.figures.arithmetic import arithmetic_points
from srm_explorer.engine.figures.table import PlaneChoice, TableFigure
from srm_explorer.engine.session import Session

MLP, STREAM = "blocks.1.mlp.hook_post", "blocks.1.hook_resid_post"
VALUES = (-10.0, -4.0, 0.0, 4.0, 10.0)
CLAMP = {"site": MLP, "neurons": [0], "op": "clamp"}


def swept(units: int = 12, *, told: bool = True, trend: float = 0.0) -> tuple[Session, np.ndarray]:
    """A session of both sites, neuron 0 clamped, dimension 1 of the stream following the value; [unit, value] of it."""
    rng = np.random.default_rng(8)
    levels = ("baseline", *VALUES)
    runs = [{"prompt": f"prompt {i}", "condition": level} for i in range(units) for level in levels]
    value = np.array([0.0, *VALUES] * units)
    neurons, stream = (rng.normal(size=(len(runs), 6)).astype(np.float32) for _ in range(2))
    neurons[:, 0] = np.where(np.array([run["condition"] for run in runs]) == "baseline", neurons[:, 0], value)
    stream[:, 1] += trend * value
    session = session_from({MLP: neurons, STREAM: stream}, runs, interventions=[CLAMP] if told else ())
    for site, a, b in ((MLP, 0, 2), (STREAM, 0, 1)):
        session = with_plane(session, session.vectors()[site], PlaneChoice(site, a, b))
    return session, stream[:, 1].reshape(units, -1)[:, 1:].astype(np.float64)


def table(session: Session, **arguments: Any) -> tuple[TableFigure, dict[str, dict[str, Any]]]:
    found = tables_in(dose_study(session, {"resamples": 500, **arguments}))[0]
    keys = [column.key for column in found.columns]
    return found, {str(row[0]): dict(zip(keys, row, strict=True)) for row in found.rows}


@pytest.mark.parametrize(("trend", "way"), [(0.2, "rising"), (-0.2, "falling")])
def test_slopes_are_those_of_least_squares_and_a_trend_is_found(trend: float, way: str) -> None:
    session, curves = swept(trend=trend)
    found, rows = table(session, plane=2)
    slopes = [np.polyfit(VALUES, curve, 1)[0] for curve in curves]
    row = rows["mean d1"]
    assert row["slope"] == pytest.approx(np.mean(slopes), rel=1e-5)
    assert row["change"] == pytest.approx(20 * np.mean(slopes), rel=1e-5)
    assert row["change_low"] < row["change"] < row["change_high"]
    assert (row["units"], row["monotone"]) == (12, way)
    assert row["p"] <= 0.01
    assert row["q"] >= row["p"]
    assert rows["mean d0"]["p"] > 0.05
    units = tables_in(dose_study(session, {"plane": 2, "resamples": 200}))[2]
    column = [column.key for column in units.columns].index("slope_b")
    np.testing.assert_allclose([cast("float", row[column]) for row in units.rows], slopes, rtol=1e-4)
    assert any("computed on this session so far" in note for note in found.notes)


def test_a_unit_without_some_values_does_not_carry_its_slope_beyond_them() -> None:
    session, curves = swept(trend=0.2)
    vectors = {site: np.array(array) for site, array in session.vectors().items()}
    vectors[STREAM][1:4] = np.nan  # the first unit is left with its two highest values, which are far apart
    vectors[STREAM][5, 1] = 500.0
    runs = [
        {"prompt": f"prompt {run.prompt}", "condition": session.conditions[run.condition].label} for run in session.runs
    ]
    partial = session_from(vectors, runs, interventions=[CLAMP])
    partial = with_plane(partial, partial.vectors()[STREAM], PlaneChoice(STREAM, 0, 1))
    found, rows = table(partial)
    row = rows["mean d1"]
    assert row["units"] == 11
    assert row["slope"] == pytest.approx(np.mean([np.polyfit(VALUES, curve, 1)[0] for curve in curves[1:]]), rel=1e-4)
    assert any("without some value left out" in note for note in found.notes)


def test_what_was_set_has_no_p_and_what_was_done_without_a_word_neither() -> None:
    _, rows = table(swept()[0])
    tested = {name for name, row in rows.items() if row["p"] is not None}
    assert tested == {"mean n2", "cos n0 beyond arithmetic", "cos n2 beyond arithmetic"}
    assert rows["mean n0"]["detectable"] is None
    found, unknown = table(swept(told=False)[0])
    assert all(row["p"] is None and row["detectable"] is None for row in unknown.values())
    assert "what it did is not known" in found.notes[0]


def test_arithmetic_predicts_what_a_clamp_of_unknown_tokens_sets() -> None:
    session, _ = swept()
    vectors = np.asarray(session.vectors()[MLP], np.float64)
    predicted = arithmetic_points(session, 0)
    assert predicted is not None
    for row, run in enumerate(session.runs):
        condition, base = session.conditions[run.condition], run.prompt * (len(VALUES) + 1)
        vector = vectors[base].copy()
        if condition.value is not None:
            vector[0] = condition.value
        np.testing.assert_allclose(predicted.xy[row], vector[[0, 2]] / np.linalg.norm(vector), atol=1e-6)
    # Nobody knows whether what was captured lies at the last position of the prompt.
    spec = session.spec.model_copy(
        update={"interventions": (session.spec.interventions[0].model_copy(update={"positions": "last"}),)}
    )
    assert arithmetic_points(session.changed(spec=spec), 0) is None


def test_a_change_smaller_than_of_interest_is_shown_by_two_tests_and_not_by_a_large_p() -> None:
    session, _ = swept(units=40)
    _, narrow = table(session, plane=2, interest=0.01)
    _, wide = table(session, plane=2, interest="5")
    assert narrow["mean d1"]["equivalent_p"] > 0.05
    assert wide["mean d1"]["equivalent_p"] < 0.05
    assert "equivalent_p" not in table(session, plane=2)[1]["mean d1"]


def test_rounding_is_no_finding() -> None:
    rng = np.random.default_rng(2)
    natural = rng.normal(size=(20, 6)).astype(np.float32)
    runs = [{"prompt": f"p{i}", "condition": value} for i in range(20) for value in ("baseline", *VALUES)]
    vectors = natural.repeat(1 + len(VALUES), axis=0)
    vectors *= (1 + 1e-7 * rng.uniform(-1, 1, vectors.shape)).astype(np.float32)  # as another batch would have it
    clamped = np.array([run["condition"] != "baseline" for run in runs])
    vectors[clamped, 0] = np.tile(VALUES, 20)
    session = session_from({MLP: vectors}, runs, interventions=[CLAMP])
    session = with_plane(session, session.vectors()[MLP], PlaneChoice(MLP, 0, 2))
    _, rows = table(session)
    for name in ("mean n2", "cos n0 beyond arithmetic", "cos n2 beyond arithmetic"):
        assert (rows[name]["change"], rows[name]["p"], rows[name]["monotone"]) == (0.0, 1.0, "flat")
    assert set(residual_p(session, 0, flips=100).values()) == {1.0}


def test_units_are_drawn_behind_their_mean() -> None:
    session, curves = swept()
    plane = session.planes[1]
    assert plane_index(session, plane) == 1
    figure = dose_from_session(session, plane, plain=False)
    lines = {panel.label: panel.units for panel in figure.panels}
    assert lines["phase φ"] is None
    norm = lines["mean norm"]
    assert norm is not None
    assert norm.shape == curves.shape
    panel = next(panel for panel in figure.panels if panel.label == "mean norm")
    np.testing.assert_allclose(norm.mean(axis=0), panel.curve.y)
    assert panel.axis.low <= norm.min() <= norm.max() <= panel.axis.high
    assert "thin: 12 units" in figure.legend[0].details
    assert all(panel.units is None for panel in dose_from_session(session, plane).panels)
    many, _ = swept(units=90)
    assert "thin: 60 of 90 units" in dose_from_session(many, many.planes[1], plain=False).legend[0].details


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"plane": 3}, "there is no plane 3"),
        ({"interest": 0}, "smallest change of interest"),
        ({"interest": "much"}, "smallest change of interest"),
        ({"resamples": 5}, "resamples is 5"),
        ({"site": MLP}, "no setting 'site'"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ExplorerError, match=told):
        dose_study(swept()[0], arguments)


def test_a_session_without_values_has_no_dose() -> None:
    session = session_from(np.ones((4, 3)), [{}] * 4)
    session = with_plane(session, session.vectors()["unknown"], PlaneChoice("unknown", 0, 1))
    with pytest.raises(ExplorerError, match="no two values were run"):
        dose_study(session, {})
