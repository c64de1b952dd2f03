from __future__ import annotations

import copy
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import (
    Experiment,
    ModelShape,
    Site,
    available_presets,
    check_against,
    differences,
    read_experiment,
)

GPT2 = ModelShape("gpt2", n_layers=12, d_model=768, d_mlp=3072, n_ctx=1024)
MINIMAL: dict[str, Any] = {
    "model": {"name": "gpt2"},
    "prompts": {"sets": ["reasoning"]},
    "interventions": [{"site": "blocks.11.mlp.hook_post", "neurons": [373], "op": "clamp", "values": [-1, 0, 1.5]}],
    "capture": {"sites": ["blocks.11.mlp.hook_post"]},
    "planes": [{"a": 373, "b": 2202}],
}

words = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12).filter(
    lambda w: w.strip() != ""
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
kinds = ("mlp.hook_post", "hook_mlp_out", "hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out")
sites = st.builds("blocks.{}.{}".format, st.integers(0, 99), st.sampled_from(kinds))
anywhere = st.sampled_from(["all", "prompt", "last", "predicting", "generated"])


def spread(items: st.SearchStrategy[Any], **size: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, unique=True, **size)


def interventions(count: int) -> st.SearchStrategy[dict[str, Any]]:
    neurons = spread(st.integers(0, 5000), min_size=1, max_size=4)
    values = spread(numbers, min_size=count, max_size=count)
    common = {"site": sites, "positions": anywhere}
    return st.one_of(
        st.fixed_dictionaries(
            {**common, "neurons": neurons, "op": st.sampled_from(["clamp", "add", "scale"]), "values": values}
        ),
        st.fixed_dictionaries(
            {
                **common,
                "neurons": neurons,
                "op": st.just("clamp"),
                "values": spread(st.floats(0, 1), min_size=count, max_size=count),
                "unit": st.just("quantile"),
            }
        ),
        st.fixed_dictionaries({**common, "neurons": neurons, "op": st.sampled_from(["zero", "mean"])}),
        st.fixed_dictionaries(
            {
                **common,
                "direction": st.builds("{}#{}".format, words, words.filter(lambda w: "#" not in w)),
                "op": st.just("steer"),
                "values": values,
                "unit": st.sampled_from(["raw", "sigma", "norm"]),
            }
        ),
        st.fixed_dictionaries(
            {
                **common,
                "neurons": neurons,
                "op": st.just("add"),
                "values": spread(numbers, min_size=1, max_size=1),
                "unit": st.just("sigma"),
                "background": st.just(True),
            }
        ),
    )


def sampled() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"mode": st.just("sample"), "tokens": st.integers(1, 200), "seed": st.integers(0, 2**63 - 1)},
        optional={
            "temperature": st.floats(0.01, 100),
            "top_k": st.integers(1, 99),
            "top_p": st.floats(0.01, 1),
            "samples": st.integers(1, 9),
        },
    )


filters = st.dictionaries(words, spread(words, min_size=1, max_size=3), max_size=3)


@st.composite
def experiments(draw: st.DrawFn) -> dict[str, Any]:
    captured = draw(spread(sites, min_size=1, max_size=3))
    plane = st.fixed_dictionaries(
        {"site": st.sampled_from(captured), "a": st.integers(0, 49), "b": st.integers(50, 99)}
    )
    sets = draw(spread(words, min_size=1, max_size=3))
    data: dict[str, Any] = {
        "model": {
            "name": draw(words),
            "device": draw(st.sampled_from(["cpu", "auto", "cuda:1", "cuda:0-3", "cpu+disk"])),
        },
        "prompts": {
            "sets": sets,
            "omit": draw(st.dictionaries(st.sampled_from(sets), spread(st.integers(1, 99), min_size=1, max_size=3))),
            "where": draw(filters) | draw(st.dictionaries(st.sampled_from(sets), filters.filter(bool), max_size=2)),
            "prepend_bos": draw(st.sampled_from([True, False, "auto", "once"])),
        },
        "interventions": draw(st.integers(1, 4).flatmap(lambda count: st.lists(interventions(count), max_size=3))),
        "capture": {"sites": captured, "reduce": draw(st.sampled_from(["mean", "tokens", "last"]))},
        "planes": draw(st.lists(plane, max_size=3, unique_by=lambda p: (p["site"], p["a"], p["b"]))),
        "spotlight": {"thresholds": draw(spread(st.floats(-1, 1), min_size=1, max_size=5))},
        "generation": draw(st.one_of(sampled(), st.just({"tokens": 20}))),
    }
    if draw(st.booleans()):
        data |= {"grid": True, "stats": draw(words)}
    return data


@settings(max_examples=60)
@given(experiments())
def test_every_experiment_survives_toml_and_json(data: dict[str, Any]) -> None:
    experiment = Experiment.from_dict(data)
    assert Experiment.from_toml(experiment.to_toml()) == experiment
    assert Experiment.from_json(experiment.to_json()) == experiment
    assert Experiment.from_dict(experiment.to_dict()).digest(64) == experiment.digest(64)


@settings(max_examples=60)
@given(experiments(), experiments())
def test_experiments_differ_where_their_digests_do(one: dict[str, Any], other: dict[str, Any]) -> None:
    a, b = Experiment.from_dict(one), Experiment.from_dict(other)
    assert (a == b) == (a.digest(64) == b.digest(64)) == (differences(a, b) == [])


def test_the_way_a_file_is_written_does_not_change_its_digest() -> None:
    written = copy.deepcopy(MINIMAL)
    written["interventions"][0] |= {"values": "-1, -0, 1.50", "neurons": 373, "unit": "raw", "background": False}
    written["prompts"] = {"sets": "reasoning", "where": {}, "omit": {}}
    written["generation"] = {"tokens": 50}
    assert Experiment.from_dict(written).digest(64) == Experiment.from_dict(MINIMAL).digest(64)


@pytest.mark.parametrize(
    "field", [("model", "device", "cpu"), ("model", "dtype", "float64"), ("generation", "seed", 1)]
)
def test_a_changed_field_changes_the_digest_and_is_told(field: tuple[str, str, Any]) -> None:
    table, key, value = field
    changed = copy.deepcopy(MINIMAL)
    changed.setdefault(table, {})[key] = value
    old, new = Experiment.from_dict(MINIMAL), Experiment.from_dict(changed)
    assert old.digest() != new.digest()
    (line,) = differences(old, new)
    assert line.startswith(f"{table}.{key}: ")
    assert line.endswith(f" -> {value}")


def test_whole_numbers_are_written_without_a_fraction() -> None:
    text = Experiment.from_dict(MINIMAL).to_toml()
    assert "values = [-1, 0, 1.5]" in text
    assert tomllib.loads(text)["interventions"][0]["values"] == [-1, 0, 1.5]


def test_the_protocol_says_what_the_protocol_is() -> None:
    experiment, source = read_experiment("protocol")
    assert source.name == "protocol"
    (clamp,) = experiment.interventions
    assert (clamp.site, clamp.neurons, clamp.op) == ("blocks.11.mlp.hook_post", (373,), "clamp")
    assert clamp.values == (-20, -10, -6, -3, -1, 0, 1, 3, 6, 10, 20)
    assert (experiment.generation.tokens, experiment.generation.mode) == (50, "greedy")
    assert experiment.capture.sites == ("blocks.11.mlp.hook_post", "blocks.11.hook_resid_post")
    assert (experiment.capture.reduce, experiment.capture.residual) == ("mean", "auto")
    assert (experiment.planes[0].a, experiment.planes[0].b) == (373, 2202)
    assert (experiment.spotlight.angles, experiment.spotlight.thresholds) == (360, (0.7, 0.5, 0.3, 0.1))
    assert experiment.prompts.prepend_bos is False
    check_against(experiment, GPT2)


@pytest.mark.parametrize("name", available_presets())
def test_every_preset_reads_back_from_what_it_writes(name: str) -> None:
    experiment, _ = read_experiment(name)
    assert Experiment.from_toml(experiment.to_toml()) == experiment


def changed(path: str, value: Any) -> dict[str, Any]:
    data = copy.deepcopy(MINIMAL)
    *steps, last = (int(step) if step.isdigit() else step for step in path.split("/"))
    here: Any = data
    for step in steps:
        here = here[step] if isinstance(here, list) else here.setdefault(step, {})
    here[last] = value
    return data


REFUSED = [
    ("generation/token", 5, "[generation]", "did you mean 'tokens'?"),
    ("spotlight/grid", True, "[spotlight]", "top of the file"),
    ("tokens", 5, "", "[generation]"),
    ("modle", {}, "", "did you mean 'model'?"),
    ("interventions/0/neuron", 5, "[interventions[0]]", "did you mean 'neurons'?"),
    ("generation/tokens", True, "generation.tokens", "whole number"),
    ("generation/tokens", 5.0, "generation.tokens", "whole number"),
    ("generation/tokens", -1, "generation.tokens", "greater than or equal to 0"),
    ("generation/temperature", 0.7, "generation.temperature", "mode = 'sample'"),
    ("generation/samples", 3, "generation.samples", "mode = 'sample'"),
    ("generation", {"mode": "sample", "temperature": 0}, "generation.temperature", "greedy"),
    ("generation", {"mode": "sample", "top_p": 1.5}, "generation.top_p", "0.9"),
    ("interventions/0/op", "clmap", "interventions[0].op", "did you mean 'clamp'?"),
    ("interventions/0/values/0", float("nan"), "interventions[0].values[0]", "finite"),
    ("interventions/0/values/0", 10**400, "interventions[0].values[0]", "finite"),
    ("interventions/0/values/0", False, "interventions[0].values[0]", "number"),
    ("interventions/0/values", [1, 1.0], "interventions[0].values", "once"),
    ("interventions/0/values", [], "interventions[0].values", "list"),
    ("interventions/0/neurons", [3, 3], "interventions[0].neurons", "once"),
    ("interventions/0/neurons", [], "interventions[0].neurons", "neurons = "),
    ("interventions/0/direction", "a#b", "interventions[0].direction", "steer"),
    ("interventions/0/op", "steer", "interventions[0].neurons", "direction"),
    ("interventions/0/op", "zero", "interventions[0].values", "remove"),
    ("interventions/0/unit", "norm", "interventions[0].unit", "raw, sigma, quantile"),
    ("interventions/0/unit", "quantile", "interventions[0].values", "0 to 1"),
    ("interventions/0/background", True, "interventions[0].values", "one"),
    ("interventions/0/site", "blocks.3.hook_post", "interventions[0].site", "did you mean 'blocks.3.mlp.hook_post'?"),
    ("capture/sites", ["blocks.3.hook_resid"], "capture.sites[0]", "did you mean 'blocks.3.hook_resid_"),
    ("capture/sites", [], "capture.sites", "at least one"),
    ("planes/0/b", 373, "planes[0].b", "another"),
    ("planes/0/site", "blocks.3.mlp.hook_post", "planes[0].site", "capture.sites"),
    ("planes", {"a": 1, "b": 2}, "planes", "[[...]]"),
    ("spotlight/thresholds", [1.1], "spotlight.thresholds", "-1 to 1"),
    ("spotlight/thresholds", [0.5, 0.5], "spotlight.thresholds", "once"),
    ("spotlight/angles", 0, "spotlight.angles", "greater than or equal to 1"),
    ("spotlight/angles", 36001, "spotlight.angles", "less than or equal to 36000"),
    ("prompts/sets", [], "prompts.sets", "at least one"),
    ("prompts/sets", ["a", ""], "prompts.sets[1]", "name"),
    ("prompts/prepend_bos", "yes", "prompts.prepend_bos", "'auto'"),
    ("prompts/where", {"type": []}, "prompts.where.type", "level"),
    ("prompts/where", {"type": [1, []]}, "prompts.where.type[1]", "quotes"),
    ("prompts/where", {"reasonin": {"type": ["a"]}}, "prompts.where.reasonin.type", "did you mean 'reasoning'?"),
    ("prompts/where", {"reasoning": {}}, "prompts.where.reasoning", "name a factor"),
    ("prompts/where", {"reasoning": {"type": ["a", "a"]}}, "prompts.where.reasoning.type", "once"),
    ("prompts/where", {"reasoning": {"type": ["a", ""]}}, "prompts.where.reasoning.type[1]", "name"),
    ("prompts/where", [1], "prompts.where", "table"),
    ("prompts/omit", {"reasonin": [1]}, "prompts.omit", "did you mean 'reasoning'?"),
    ("prompts/omit", {"reasoning": []}, "prompts.omit.reasoning", "at least one"),
    ("prompts/omit", {"reasoning": [2, 2]}, "prompts.omit.reasoning", "once"),
    ("prompts/omit", {"reasoning": [0]}, "prompts.omit.reasoning[0]", "1"),
    ("prompts/omit", {"reasoning": [True]}, "prompts.omit.reasoning[0]", "whole number"),
    ("prompts/omit", [1], "prompts.omit", "table"),
    ("prompts/limit", 0, "prompts.limit", "greater than or equal to 1"),
    ("model/device", "gpu", "model.device", "cuda:1"),
    ("model/device", "cuda:1-", "model.device", "cuda:0-3"),
    ("model/device", "cuda+disk", "model.device", "cpu+disk"),
    ("model/device", "cuda:3-3", "model.device", "cuda:3 for one"),
    ("model/name", "", "model.name", "name"),
    ("model/name", "gpt\x1b[2J2", "model.name", "remove"),
    ("model/tf32", 1, "model.tf32", "true or false"),
    ("generation/tokens", 0, "capture.positions", "prompt or all"),
]


@pytest.mark.parametrize(("path", "value", "where", "remedy"), REFUSED)
def test_a_refusal_names_place_and_remedy_on_one_line(path: str, value: Any, where: str, remedy: str) -> None:
    with pytest.raises(ExplorerError) as caught:
        Experiment.from_dict(changed(path, value), where="spec.toml")
    assert caught.value.where == ", ".join(part for part in ("spec.toml", where) if part)
    assert remedy in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_several_problems_are_counted_and_a_misspelt_key_comes_first() -> None:
    data = changed("generation/tokens", "many")
    del data["prompts"]["sets"]
    data["prompts"]["set"] = ["reasoning"]
    with pytest.raises(ExplorerError, match=r"unknown key 'set'; did you mean 'sets'\? \(\+2 more\)"):
        Experiment.from_dict(data)


def test_interventions_of_different_lengths_need_a_grid() -> None:
    data = copy.deepcopy(MINIMAL)
    data["interventions"].append({**data["interventions"][0], "neurons": [5], "values": [1, 2]})
    with pytest.raises(ExplorerError, match="grid = true"):
        Experiment.from_dict(data)
    assert Experiment.from_dict({**data, "grid": True}).grid


def test_without_generated_tokens_nothing_is_measured_on_them() -> None:
    data = changed("interventions/0/unit", "sigma") | {"generation": {"tokens": 0}}
    data["capture"]["positions"] = "prompt"
    with pytest.raises(ExplorerError, match=r"interventions\[0\].unit: .*stats"):
        Experiment.from_dict(data)
    assert Experiment.from_dict({**data, "stats": "lighthouse"}).stats == "lighthouse"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (
            "planes/0/b",
            3072,
            r"planes\[0\].b: neuron 3072 is out of range for this model \(d_mlp = 3072\); choose 0 to 3071",
        ),
        ("interventions/0/neurons", [1, 4000], r"interventions\[0\].neurons\[1\]: neuron 4000 .* choose 0 to 3071"),
        (
            "interventions/0/site",
            "blocks.12.mlp.hook_post",
            r"layer 12 is out of range for this model \(12 layers\); .* 11",
        ),
        ("interventions/0/site", "blocks.1.hook_resid_post", None),
        ("generation/tokens", 1024, "choose at most 1023"),
    ],
)
def test_an_experiment_beyond_the_model_is_refused_with_the_range(path: str, value: Any, told: str | None) -> None:
    experiment = Experiment.from_dict(changed(path, value))
    if told is None:
        check_against(experiment, GPT2)
        return
    with pytest.raises(ExplorerError, match=told):
        check_against(experiment, GPT2)


def test_a_coordinate_of_the_residual_stream_is_counted_in_its_own_width() -> None:
    data = changed("capture/sites", ["blocks.1.hook_resid_post"])
    with pytest.raises(ExplorerError, match=r"coordinate 2202 .* \(d_model = 768\); choose 0 to 767"):
        check_against(Experiment.from_dict(data), GPT2)


def test_centring_is_refused_where_the_norms_do_not_centre() -> None:
    experiment = Experiment.from_dict(changed("capture/residual", "centred"))
    llama = ModelShape("llama", n_layers=12, d_model=768, d_mlp=3072, n_ctx=1024, centres=False)
    check_against(experiment, GPT2)
    with pytest.raises(ExplorerError, match="no LayerNorm"):
        check_against(experiment, llama)


def test_residual_streams_are_captured_as_the_norms_have_them_unless_it_is_said() -> None:
    written = {word: Experiment.from_dict(changed("capture/residual", word)) for word in ("auto", "raw", "centred")}
    for centres, word in ((True, "centred"), (False, "raw")):
        assert written["auto"].with_residual(centres) == written[word]
        assert written["raw"].with_residual(centres) == written["raw"]
    # What the shipped experiments were called, they are called.
    assert written["auto"].digest() == written["centred"].digest() != written["raw"].digest()


@given(sites)
def test_a_site_reads_back_from_its_name(name: str) -> None:
    assert str(Site.parse(name)) == name


@given(st.text(max_size=30))
def test_any_other_name_of_a_site_is_refused_with_a_remedy_that_is_a_site(name: str) -> None:
    try:
        assert str(Site.parse(name)) == name
    except ExplorerError as error:
        close = error.remedy.removeprefix("did you mean '").removesuffix("'?")
        assert close.startswith("choose blocks.L.") or str(Site.parse(close)) == close
