"""Controls in an experiment file: what they add to its conditions, and where there can be none."""

from __future__ import annotations

from typing import Any

import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, ModelShape, check_against, conditions, read_experiment, swept_as
from srm_explorer.engine.experiment.experiment import taken_neurons, targets_of
from srm_explorer.engine.stats.groups import CONTROL, group_runs

MLP = "blocks.11.mlp.hook_post"


def protocol(*overrides: str) -> Experiment:
    return read_experiment("protocol", overrides=overrides)[0]


def test_without_controls_nothing_about_an_experiment_changes() -> None:
    plain = protocol()
    assert plain.digest(12) == protocol("controls.neurons=0", "controls.seed=0").digest(12)
    assert "controls" not in plain.to_toml()
    data = plain.to_dict()
    del data["controls"]
    old = Experiment.from_dict(data)
    assert old == plain
    assert old.digest(12) == plain.digest(12)


def test_a_digest_of_before_there_were_controls_is_the_same_now() -> None:
    """Written down when the experiment file had no such table."""
    assert protocol("prompts.limit=3").digest(12) == "4870fccfec22"


def test_how_the_target_was_chosen_survives_the_file_and_candidates_want_a_choice_after() -> None:
    experiment = protocol("controls.neurons=19", "controls.chosen=after", "controls.candidates=12")
    assert Experiment.from_toml(experiment.to_toml()) == experiment
    assert protocol().controls.chosen == "unknown"
    with pytest.raises(ExplorerError, match="not said to be chosen after") as refused:
        protocol("controls.chosen=before", "controls.candidates=12")
    assert "controls.candidates" in refused.value.where
    with pytest.raises(ExplorerError, match="choose unknown, before or after"):
        protocol("controls.chosen=befor")


def test_controls_survive_the_file() -> None:
    experiment = protocol("controls.neurons=19", "controls.seed=3")
    assert experiment.to_toml().endswith("[controls]\nneurons = 19\nseed = 3\n")
    assert Experiment.from_toml(experiment.to_toml()) == experiment
    assert experiment.digest() != protocol().digest()


def test_each_control_repeats_the_sweep_after_it() -> None:
    known = conditions(protocol("controls.neurons=2", "interventions.0.values=[-20, 20]"))
    assert [one.label for one in known] == [
        *("baseline", "-20", "+20"),
        *("control 1 · -20", "control 1 · +20", "control 2 · -20", "control 2 · +20"),
    ]
    assert [one.index for one in known] == list(range(7))
    assert [one.control for one in known] == [None, None, None, 1, 1, 2, 2]
    assert {index: one.label for index, one in swept_as(known).items()} == {3: "-20", 4: "+20", 5: "-20", 6: "+20"}


def test_runs_of_controls_are_in_no_group() -> None:
    labels = ["baseline", "+20", CONTROL, "+20", CONTROL]
    groups = group_runs(labels, factors={"type": ["a", "a", "a", "b", "b"]})
    assert {label: group.runs.tolist() for label, group in groups.items()} == {
        "baseline · type=a": [0],
        "clamped · type=a": [1],
        "+20 · type=a": [1],
        "clamped · type=b": [3],
        "+20 · type=b": [3],
    }
    levels = group_runs(labels, by_condition=False)
    assert levels["all"].runs.tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["interventions=[]"], "no intervention that controls could be matched to"),
        (["interventions.0.site=blocks.3.hook_resid_post"], r"changes coordinates of blocks\.3\.hook_resid_post"),
        (["generation.tokens=0", "capture.positions=all"], "matched on generated tokens, and there are none"),
        (["controls.neurons=1000"], "1000 is not accepted"),
        (["controls.neurons=-1"], "-1 is not accepted"),
        (["controls.neurons=1.5"], "1.5 is not a whole number"),
        (["controls.nerons=3"], "did you mean 'neurons'"),
    ],
)
def test_controls_are_refused_where_nothing_can_be_matched(overrides: list[str], told: str) -> None:
    with pytest.raises(ExplorerError, match=told) as refused:
        protocol("controls.neurons=5", *overrides)
    assert refused.value.remedy


def test_steering_may_have_controls_without_a_generated_token() -> None:
    steer: dict[str, Any] = {"site": MLP, "op": "steer", "direction": "v.npz#way", "values": [1]}
    data = protocol("generation.tokens=0", "capture.positions=all").to_dict()
    experiment = Experiment.from_dict({**data, "interventions": [steer], "controls": {"neurons": 5}})
    assert len(conditions(experiment)) == 7


@pytest.mark.parametrize(("neurons", "fits"), [(10, True), (11, False)])
def test_a_small_layer_has_only_so_many_controls(neurons: int, fits: bool) -> None:
    shape = ModelShape("small", 12, 8, 24, 1024)
    experiment = protocol(
        "interventions.0.neurons=[3, 4]", "planes.0.a=3", "planes.0.b=5", f"controls.neurons={neurons}"
    )
    assert targets_of(experiment.interventions) == ((MLP, 3), (MLP, 4))
    assert taken_neurons(experiment, MLP) == {3, 4, 5}
    if fits:
        check_against(experiment, shape)
        return
    with pytest.raises(ExplorerError, match="choose at most 10"):
        check_against(experiment, shape)
