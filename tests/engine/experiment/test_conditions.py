from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.experiment import Condition, Experiment, conditions


def experiment(*interventions: dict[str, Any], grid: bool = False) -> Experiment:
    site = "blocks.0.mlp.hook_post"
    common = {"site": site, "neurons": [1]}
    return Experiment.from_dict(
        {
            "grid": grid,
            "model": {"name": "demo"},
            "prompts": {"sets": ["reasoning"]},
            "interventions": [common | one for one in interventions],
            "capture": {"sites": [site]},
        }
    )


def clamp(*values: float, **more: Any) -> dict[str, Any]:
    return {"op": "clamp", "values": list(values), **more}


def labels(found: tuple[Condition, ...]) -> list[str]:
    return [condition.label for condition in found]


distinct = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6, unique=True)


@given(st.lists(distinct, min_size=1, max_size=3), st.booleans(), st.sampled_from(["none", "background", "zero"]))
def test_conditions_are_the_baseline_then_every_setting_once(
    columns: list[list[float]], grid: bool, extra: str
) -> None:
    if not grid:
        shortest = min(len(column) for column in columns)
        columns = [column[:shortest] for column in columns]
    more = {"none": [], "background": [clamp(7, background=True)], "zero": [{"op": "zero"}]}[extra]
    found = conditions(experiment(*(clamp(*column) for column in columns), *more, grid=grid))
    assert [condition.index for condition in found] == list(range(len(found)))
    assert found[0].kind == "baseline"
    assert set(found[0].values) == {None}
    sweep = [condition for condition in found if condition.kind == "sweep"]
    settings = itertools.product(*columns) if grid else zip(*columns, strict=True)
    assert [condition.values[: len(columns)] for condition in sweep] == list(settings)
    assert len(set(labels(found))) == len(found)
    references = [condition for condition in found if condition.kind == "reference"]
    assert len(references) == (extra == "background")
    for condition in sweep:
        assert condition.values[len(columns) :] == {"none": (), "background": (7,), "zero": (0,)}[extra]
    for condition in references:
        assert condition.values == (None,) * len(columns) + (7,)


def test_labels_say_operation_and_unit_in_the_shortest_way() -> None:
    assert labels(conditions(experiment(clamp(-3, 0, 20, 0.5)))) == ["baseline", "-3", "0", "+20", "+0.5"]
    assert labels(conditions(experiment(clamp(3, -0.5, unit="sigma"))))[1:] == ["+3σ", "-0.5σ"]
    assert labels(conditions(experiment(clamp(0.99, unit="quantile"))))[1:] == ["q0.99"]
    assert labels(conditions(experiment({"op": "scale", "values": [0, 2]})))[1:] == ["×0", "×2"]
    assert labels(conditions(experiment({"op": "zero"})))[1:] == ["zero"]
    assert labels(conditions(experiment({"op": "zero"}, {"op": "mean"})))[1:] == ["zero, mean"]
    assert labels(conditions(experiment(clamp(1, 2), clamp(1, 5)))) == ["baseline", "+1", "+2, +5"]


def test_without_interventions_there_is_the_baseline_alone() -> None:
    assert labels(conditions(experiment())) == ["baseline"]


def test_background_interventions_alone_give_the_reference_alone() -> None:
    found = conditions(experiment(clamp(5, background=True), {"op": "mean", "background": True}))
    assert labels(found) == ["baseline", "reference"]
    assert found[1].values == (5, 0)


def test_the_dose_is_the_value_that_varies() -> None:
    assert [c.value for c in conditions(experiment(clamp(1, 2)))] == [None, 1, 2]
    assert [c.value for c in conditions(experiment({"op": "zero"}))] == [None, None]
    assert [c.value for c in conditions(experiment(clamp(1, 2), clamp(8, 9)))] == [None, 1, 2]
    assert [c.value for c in conditions(experiment(clamp(1, 2), clamp(8, 9), grid=True))] == [None] * 5
    assert [c.value for c in conditions(experiment(clamp(7), clamp(8, 9), grid=True))] == [None, 8, 9]
    assert [c.value for c in conditions(experiment(clamp(7, background=True), clamp(8, 9)))] == [None, None, 8, 9]
