"""What arithmetic predicts, read from a session or told from its planes alone; and sessions that were tampered with."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.figures.arithmetic import arithmetic_points, without_clamped_axis
from srm_explorer.engine.figures.warnings import session_warnings
from srm_explorer.engine.runs.forecast import Forecast
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session
from srm_explorer.engine.stats.planes import coordinates, neuron_plane
from srm_explorer.engine.stats.spotlight import unit_coordinates

SITE = "blocks.2.mlp.hook_post"
RNG = np.random.default_rng(2)
CLAMP = {"site": SITE, "neurons": [7], "op": "clamp", "values": [-3, 0, 5]}


def a_session(*interventions: dict[str, Any], **capture: Any) -> tuple[Session, np.ndarray]:
    experiment = Experiment.from_dict(
        {
            "model": {"name": "gpt2"},
            "prompts": {"sets": ["a"]},
            "interventions": list(interventions),
            "capture": {"sites": [SITE], **capture},
            "planes": [{"a": 7, "b": 9}, {"a": 1, "b": 2}],
        }
    )
    listed = conditions(experiment)
    grid = [(prompt, condition) for prompt in range(4) for condition in range(len(listed))]
    vectors = RNG.normal(size=(len(grid), 20)).astype(np.float32)
    resolved = tuple(
        tuple(
            None if value is None else () if one.op == "zero" else (value,) * len(one.neurons)
            for one, value in zip(experiment.interventions, condition.values, strict=True)
        )
        for condition in listed
    )
    session = Session(
        name="storm",
        state="finished",
        spec=experiment,
        conditions=listed,
        resolved=resolved,
        prompts=tuple(PromptRecord("a", f"p{p}", {}, (p,), 0, "") for p in range(4)),
        runs=tuple(RunRecord(i, p, c, 0, (p, c), "it", 3, "length", 0.5, {}) for i, (p, c) in enumerate(grid)),
        planes=tuple(
            PlaneRecord.of(SITE, a, b, *coordinates(vectors, neuron_plane(20, a, b))) for a, b in ((7, 9), (1, 2))
        ),
    )
    return session, vectors


def predicted(session: Session, vectors: np.ndarray) -> Session:
    forecast = Forecast(session.spec, {})
    forecast.take(session.runs, [(SITE, neuron_plane(20, one.a, one.b)) for one in session.planes], {SITE: vectors})  # type: ignore[arg-type]
    return session.changed(predictions=forecast.predictions(session))


def test_the_baselines_vector_with_the_clamped_value_in_it_is_what_is_predicted() -> None:
    session, vectors = a_session(CLAMP)
    full = predicted(session, vectors)
    expected = vectors[[run.prompt * 4 for run in session.runs]].astype(np.float64)
    for row, run in enumerate(session.runs):
        if run.condition:
            expected[row, 7] = [-3, 0, 5][run.condition - 1]
    for index, plane in enumerate(session.planes):
        points = arithmetic_points(full, index)
        assert points is not None
        want = unit_coordinates(*coordinates(expected, neuron_plane(20, plane.a, plane.b)))  # type: ignore[arg-type]
        np.testing.assert_allclose(points.xy, want.xy, rtol=1e-8)


@pytest.mark.parametrize(
    "interventions",
    [
        [CLAMP],
        [{**CLAMP, "op": "scale"}],
        [{**CLAMP, "op": "add"}],
        [{"site": SITE, "neurons": [9], "op": "zero"}],
        [{**CLAMP, "neurons": [7, 9]}],
        [CLAMP, {**CLAMP, "neurons": [9], "op": "add", "values": [2], "background": True}],
    ],
)
def test_sessions_saved_without_predictions_tell_them_from_the_plane_that_holds_the_axis(
    interventions: list[dict[str, Any]],
) -> None:
    session, vectors = a_session(*interventions)
    full = predicted(session, vectors)
    old, new = arithmetic_points(session, 0), arithmetic_points(full, 0)
    assert old is not None
    assert new is not None
    np.testing.assert_allclose(old.xy, new.xy, rtol=1e-6)
    views = without_clamped_axis(session, 0), without_clamped_axis(full, 0)
    assert views[0] is not None
    assert views[1] is not None
    np.testing.assert_allclose(views[0][0].xy, views[1][0].xy, rtol=1e-6, atol=1e-12)
    assert views[0][1] == views[1][1]
    # Another plane holds too little of the vectors.
    assert arithmetic_points(session, 1) is None
    assert without_clamped_axis(session, 1) is None


def test_what_coordinates_by_segment_would_be_needed_for_is_not_guessed() -> None:
    session, _ = a_session({**CLAMP, "positions": "prompt"}, positions="all")
    assert arithmetic_points(session, 0) is None
    session, _ = a_session({**CLAMP, "positions": "prompt"})
    points = arithmetic_points(session, 0)
    assert points is not None
    # The prompt alone was clamped, and its tokens are not captured: only texts can have changed.
    base = [run.prompt * 4 for run in session.runs]
    np.testing.assert_allclose(
        points.xy, unit_coordinates(session.planes[0].xy[base], np.array(session.planes[0].norm)[base]).xy
    )


def test_runs_whose_baseline_is_missing_are_predicted_as_nothing() -> None:
    session, vectors = a_session(CLAMP)
    kept = [row for row, run in enumerate(session.runs) if run.index != 4]
    planes = tuple(PlaneRecord.of(SITE, one.a, one.b, one.xy[kept], np.array(one.norm)[kept]) for one in session.planes)
    part = session.changed(runs=tuple(session.runs[row] for row in kept), planes=planes)
    for one in (part, predicted(part, vectors[kept])):
        points = arithmetic_points(one, 0)
        assert points is not None
        assert [run.prompt for run, known in zip(one.runs, points.finite, strict=True) if not known] == [1, 1, 1]


def test_nothing_is_predicted_of_baselines_alone_or_before_units_are_resolved() -> None:
    session, vectors = a_session()
    assert arithmetic_points(predicted(session, vectors), 0) is None
    waiting, vectors = a_session(CLAMP)
    waiting = waiting.changed(resolved=())
    assert arithmetic_points(waiting, 0) is None
    assert arithmetic_points(predicted(waiting, vectors), 0) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda table: table.update(arithmetic=None),
        lambda table: table.update(arithmetic={"planes": "all"}),
        lambda table: table["arithmetic"].update(planes=[None, 7, {"plane": 0}]),
        lambda table: table["arithmetic"]["planes"][0].update(x=[1.0]),
        lambda table: table["arithmetic"]["planes"][0].update(x="abc"),
        lambda table: table["arithmetic"]["planes"][0].update(norm=None),
        lambda table: table["arithmetic"]["planes"][0].update(y=[{}] * 16),
        lambda table: table["arithmetic"]["planes"][0].update(y=[10**400] * 16),
        lambda table: table["arithmetic"]["planes"][0].update(without=3, x=None, y=None),
        lambda table: table["arithmetic"]["planes"][0]["without"].update(taken=5, norm=[]),
        lambda table: table["arithmetic"]["planes"][0].clear(),
    ],
)
def test_a_damaged_table_is_no_prediction_and_never_an_error(damage: Any) -> None:
    session, vectors = a_session(CLAMP)
    table = copy.deepcopy(dict(predicted(session, vectors).predictions))
    damage(table)
    broken = session.changed(predictions=table, bands=table)
    points = arithmetic_points(broken, 0)
    # Nothing, or what the plane itself tells: never what was observed.
    assert points is None or np.allclose(points.xy, arithmetic_points(session, 0).xy)  # type: ignore[union-attr]
    for index in range(2):
        view = without_clamped_axis(broken, index)
        assert view is None or len(view[0]) == len(session.runs)
    assert isinstance(session_warnings(broken, broken.planes[0], ()), tuple)
