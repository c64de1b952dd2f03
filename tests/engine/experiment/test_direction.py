from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError, SpecValueError
from srm_explorer.engine.experiment import Experiment, ModelShape, misfits, read_experiment
from srm_explorer.engine.experiment.conditions import conditions, conditions_of, levels_of, prompts_of
from srm_explorer.engine.experiment.directions import (
    Component,
    Direction,
    FileVector,
    GroupMean,
    MeanDifference,
    NeuronWeights,
    RandomDirection,
    RunChoice,
    canonical,
    expanded,
    needs_runs,
    parse_direction,
)
from srm_explorer.engine.experiment.load import apply_overrides

MLP, STREAM = "blocks.11.mlp.hook_post", "blocks.11.hook_resid_post"

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1).filter(
    lambda word: "'" not in word and word != "at"
)
choices = st.builds(
    RunChoice,
    st.lists(st.tuples(words, words), max_size=3).map(tuple),
    st.lists(words, max_size=2).map(tuple),
)
directions: st.SearchStrategy[Direction] = st.one_of(
    st.builds(GroupMean, choices),
    st.builds(MeanDifference, choices, choices),
    st.builds(Component, st.integers(1, 999), choices),
    st.builds(RandomDirection, st.integers(0, 10**6)),
    st.builds(NeuronWeights, st.sampled_from(["w_out", "w_in"]), st.integers(0, 99), st.integers(0, 9999)),
)


@given(directions)
def test_a_direction_reads_back_from_its_text(direction: Direction) -> None:
    assert parse_direction(str(direction)) == direction
    assert canonical(str(direction)) == str(direction)


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        (" mean( type = declarative ,level=5 ) ", GroupMean(RunChoice((("type", "declarative"), ("level", "5"))))),
        ("Mean(set=watching, at=+20)", GroupMean(RunChoice((("set", "watching"),), ("+20",)))),
        ('mean(type="a, b (c)")', GroupMean(RunChoice((("type", "a, b (c)"),)))),
        (
            "difference(type=a|type=b)",
            MeanDifference(RunChoice((("type", "a"),)), RunChoice((("type", "b"),))),
        ),
        ("difference(at=swept | )", MeanDifference(RunChoice((), ("swept",)), RunChoice())),
        ("PC2", Component(2)),
        ("pc1(at=baseline)", Component(1, RunChoice((), ("baseline",)))),
        ("w_in( 11 , 373 )", NeuronWeights("w_in", 11, 373)),
        ("out/v.npz#a b", FileVector("out/v.npz", "a b")),
    ],
)
def test_what_a_person_may_write(text: str, direction: Direction) -> None:
    assert parse_direction(text) == direction


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "write a number, file.npz#key"),
        ("mena(type=a)", r"did you mean mean\(type=declarative\)\?"),
        ("pc0", "did you mean pc1"),
        ("mean(type)", "is not made of factor=level"),
        ("mean(type=a,)", "is not made of factor=level"),
        ("mean(a=b | a=c)", r"belongs into difference"),
        ("difference(a=b)", "no difference of two groups"),
        ("random(x)", "has no seed"),
        ("w_out(373)", r"write w_out\(11.373\)"),
        ("v.npz#", "does not name a vector"),
        ('mean(a="b)', "cannot be read"),
    ],
)
def test_what_is_no_direction_is_refused_with_the_remedy(text: str, told: str) -> None:
    with pytest.raises(SpecValueError, match=told):
        parse_direction(text)


def quick(planes: list[dict[str, Any]]) -> Experiment:
    experiment, _ = read_experiment("quick")
    return Experiment.from_dict({**experiment.to_dict(), "planes": planes})


def test_planes_of_any_directions_round_trip_through_toml_and_json() -> None:
    planes = [
        {"site": MLP, "a": "mean( type=a )", "b": "difference(at=swept |at=baseline)"},
        {"site": STREAM, "a": "w_out(11.373)", "b": "random(1)"},
        {"site": MLP, "a": "373", "b": "v.npz#x"},
    ]
    experiment = quick(planes)
    assert [plane.a for plane in experiment.planes] == ["mean(type=a)", "w_out(11.373)", 373]
    assert Experiment.from_toml(experiment.to_toml()) == experiment
    assert Experiment.from_json(experiment.to_json()) == experiment
    assert experiment.digest() == quick([{**planes[0], "a": "mean(type=a)"}, *planes[1:]]).digest()


@pytest.mark.parametrize(
    ("plane", "told"),
    [
        ({"site": MLP, "a": "pc1", "b": "PC1"}, r"planes\[0\].b: the plane needs two different directions"),
        ({"site": MLP, "a": "mean(type=*)", "b": 1}, "stands for several directions; name one level"),
        ({"site": MLP, "a": 1, "b": "w_out(11.3)"}, r"planes\[0\].b: .* lies in the residual stream"),
        ({"site": MLP, "a": 1.5, "b": 1}, r"planes\[0\].a: 1.5 is neither a coordinate's number nor a direction"),
        ({"site": MLP, "a": -1, "b": 1}, "it should be greater than or equal to 0"),
        ({"site": MLP, "a": "mean(type=\x1b)", "b": 1}, "control character"),
    ],
)
def test_a_plane_that_cannot_be_is_refused_where_it_stands(plane: dict[str, Any], told: str) -> None:
    with pytest.raises(ExplorerError, match=told):
        quick([plane])


def test_directions_are_checked_against_the_model_and_the_conditions() -> None:
    shape = ModelShape("m", 12, 64, 3072, 128)
    planes = [
        {"site": STREAM, "a": "w_out(12.3)", "b": "w_in(11.4000)"},
        {"site": STREAM, "a": "pc65", "b": "mean(at=+999)"},
        {"site": STREAM, "a": "pc64", "b": "mean(at=+10)"},
    ]
    told = {error.where: error.what for error in misfits(quick(planes), shape)}
    assert list(told) == ["planes[0].a", "planes[0].b", "planes[1].a", "planes[1].b"]
    assert "layer 12 is out of range" in told["planes[0].a"]
    assert "neuron 4000 is out of range" in told["planes[0].b"]
    assert told["planes[1].b"] == "no condition is called '+999'"


def test_a_choice_means_prompts_by_levels_and_conditions_by_label_value_or_kind() -> None:
    prompts = [("one", {"type": "a", "level": "1"}), ("one", {"type": "b", "level": "1"}), ("two", {"type": "a"})]
    known = conditions(quick([]))
    labels = [one.label for one in known]

    def prompts_in(text: str) -> list[int]:
        direction = parse_direction(f"mean({text})")
        assert isinstance(direction, GroupMean)
        return prompts_of(direction.runs, prompts)

    assert prompts_in("") == [0, 1, 2]
    assert prompts_in("type=a") == [0, 2]
    assert prompts_in("type=a, level=1") == [0]
    assert prompts_in("type=a, type=b, set=one") == [0, 1]
    with pytest.raises(SpecValueError, match="no prompt has set=two, level=1"):
        prompts_in("set=two, level=1")
    with pytest.raises(SpecValueError, match="has no level 'c'"):
        prompts_in("type=c")
    with pytest.raises(SpecValueError, match=r"has a factor 'typ'.*did you mean 'type'"):
        prompts_in("typ=a")
    assert conditions_of(RunChoice(), known, "baseline") == [0]
    assert conditions_of(RunChoice((), ("all",)), known, "baseline") == list(range(len(known)))
    assert conditions_of(RunChoice((), ("swept",)), known, "baseline") == list(range(1, len(known)))
    assert conditions_of(RunChoice((), ("+10",)), known, "baseline") == [labels.index("+10")]
    assert conditions_of(RunChoice((), ("10", "baseline")), known, "baseline") == [0, labels.index("+10")]


def test_a_star_stands_for_each_level_in_turn() -> None:
    prompts = [("s", {"type": "a"}), ("s", {"type": "b"})]
    levels = levels_of(prompts, conditions(quick([])))
    found = [str(one) for one in expanded(parse_direction("mean(type=*, at=swept)"), levels)]
    assert found == ["mean(type=a, at=swept)", "mean(type=b, at=swept)"]
    assert len(list(expanded(parse_direction("mean(type=*, at=*)"), levels))) == 2 * len(levels["at"])
    assert list(expanded(parse_direction("pc1"), levels)) == [Component(1)]
    with pytest.raises(SpecValueError, match="no prompt has a factor 'kind'"):
        list(expanded(parse_direction("mean(kind=*)"), levels))


def test_only_directions_made_of_runs_need_them() -> None:
    assert [needs_runs(one) for one in (3, "random(0)", "w_out(0.1)", "v.npz#a")] == [False] * 4
    assert [needs_runs(one) for one in ("mean()", "difference(at=1 | )", "pc1")] == [True] * 3


def test_a_file_named_on_the_command_line_stays_that_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = quick([{"site": MLP, "a": 1, "b": 2}]).to_dict()
    apply_overrides(data, ["planes.0.a=v.npz#x", "planes.0.b=mean(type=a)"], base=tmp_path / "elsewhere")
    assert data["planes"][0] == {"site": MLP, "a": f"{tmp_path}/v.npz#x", "b": "mean(type=a)"}
