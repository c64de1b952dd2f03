"""Rows of the form and the data of an experiment: one is always the other."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import (
    SITE_KINDS,
    Experiment,
    ModelShape,
    available_presets,
    check_against,
    read_experiment,
)
from srm_explorer.engine.experiment.positions import TokenChoice
from srm_explorer.engine.worker.protocol import Description
from srm_explorer.tui.experiment.form_model import SpecForm
from srm_explorer.tui.widgets.form_layout import FormRow

words = st.text("abc xyz_-/.#é", min_size=1, max_size=10).filter(lambda w: w == w.strip() and "#" not in w)
numbers = st.floats(allow_nan=False, allow_infinity=False)
sites = st.builds("blocks.{}.{}".format, st.integers(0, 99), st.sampled_from(SITE_KINDS))
of_neurons = sites.filter(lambda site: not site.endswith("hook_z"))
anywhere = st.sampled_from(
    ["all", "prompt", "last", "predicting", [3, -1], {"token": " door"}, {"after": 'a "quoted" one\n'}]
)


def described(
    name: str = "gpt2", layers: int = 12, d_mlp: int = 3072, kinds: tuple[str, ...] = SITE_KINDS
) -> Description:
    return Description(
        shape=ModelShape(name, n_layers=layers, d_model=768, d_mlp=d_mlp, n_ctx=1024),
        device="cpu",
        is_demo=False,
        sites=tuple(f"blocks.{layer}.{kind}" for layer in range(layers) for kind in kinds),
    )


def spread(items: st.SearchStrategy[Any], **size: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, unique=True, **size)


def interventions(count: int) -> st.SearchStrategy[dict[str, Any]]:
    common = {"site": of_neurons, "positions": anywhere}
    of_heads = {
        "site": st.builds("blocks.{}.attn.hook_z".format, st.integers(0, 99)),
        "heads": spread(st.integers(0, 31), min_size=1, max_size=4),
        "coordinates": spread(st.integers(0, 63), max_size=3),
    }
    neurons = spread(st.integers(0, 5000), min_size=1, max_size=6)
    values = spread(numbers, min_size=count, max_size=count)
    quantiles = spread(st.floats(0, 1), min_size=count, max_size=count)
    even = st.builds(
        lambda first, step: [first + step * i for i in range(count)], st.integers(-50, 50), st.integers(1, 9)
    )
    return st.one_of(
        st.fixed_dictionaries(
            {**common, "neurons": neurons, "op": st.sampled_from(["clamp", "add", "scale"]), "values": values | even}
        ),
        st.fixed_dictionaries(
            {**common, "neurons": neurons, "op": st.just("clamp"), "values": quantiles, "unit": st.just("quantile")}
        ),
        st.fixed_dictionaries({**common, "neurons": neurons, "op": st.sampled_from(["zero", "mean", "project_out"])}),
        st.fixed_dictionaries({**common, **of_heads, "op": st.sampled_from(["add", "scale"]), "values": values}),
        st.fixed_dictionaries({**common, **of_heads, "op": st.sampled_from(["zero", "mean", "project_out"])}),
        st.fixed_dictionaries(
            {
                **common,
                "neurons": neurons,
                "op": st.just("patch"),
                "positions": st.sampled_from(["prompt", "last", [3, -1], {"after": " door"}]),
                "from": st.sampled_from([{"condition": "baseline"}, {"prompt": "pair"}]),
            }
        ),
        st.fixed_dictionaries(
            {
                **common,
                "site": sites,
                "direction": st.builds("{}#{}".format, words, words),
                "op": st.just("project_out"),
            }
        ),
        st.fixed_dictionaries(
            {
                **common,
                "direction": st.builds("{}#{}".format, words, words),
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
                "values": st.lists(numbers, min_size=1, max_size=1),
                "unit": st.just("sigma"),
                "background": st.just(True),
            }
        ),
    )


@st.composite
def experiments(draw: st.DrawFn) -> dict[str, Any]:
    captured = draw(spread(sites, min_size=1, max_size=3))
    plane = st.fixed_dictionaries(
        {"site": st.sampled_from(captured), "a": st.integers(0, 49), "b": st.integers(50, 99)}
    )
    sampling = st.fixed_dictionaries(
        {"mode": st.just("sample"), "tokens": st.integers(1, 200), "seed": st.integers(0, 2**63 - 1)},
        optional={
            "temperature": st.floats(0.01, 100),
            "top_k": st.integers(1, 99),
            "top_p": st.floats(0.01, 1),
            "samples": st.integers(1, 9),
        },
    )
    data: dict[str, Any] = {
        "model": {
            "name": draw(words),
            "device": draw(st.sampled_from(["cpu", "auto", "cuda:1"])),
            "dtype": draw(st.sampled_from(["float32", "bfloat16"])),
            "revision": draw(st.none() | words),
            "tf32": draw(st.booleans()),
        },
        "prompts": {"sets": draw(spread(words.filter(lambda w: "," not in w), min_size=1, max_size=3))},
        "interventions": draw(st.integers(1, 9).flatmap(lambda count: st.lists(interventions(count), max_size=3))),
        "capture": {
            "sites": captured,
            "reduce": draw(st.sampled_from(["mean", "tokens", "last"])),
            "positions": draw(st.sampled_from(["predicting", "prompt", "all"])),
            "residual": draw(st.sampled_from(["auto", "raw", "centred"])),
        },
        "planes": draw(st.lists(plane, max_size=3, unique_by=lambda p: (p["site"], p["a"], p["b"]))),
        "spotlight": {
            "thresholds": draw(spread(st.floats(-1, 1), min_size=1, max_size=5)),
            "angles": draw(st.integers(1, 36_000)),
        },
        "generation": draw(sampling | st.fixed_dictionaries({"tokens": st.integers(1, 99)})),
    }
    if draw(st.booleans()):
        data |= {"grid": True, "stats": draw(words)}
    return Experiment.from_dict(data).to_dict()


def fields(form: SpecForm) -> list[FormRow]:
    """Every row of every intervention and plane, in the form's order."""
    found: dict[str, FormRow] = {}
    for _ in range(max(1, len(form.data["interventions"]))):
        for _ in range(max(1, len(form.data["planes"]))):
            found |= {row.key: row for row in form.rows() if row.reachable and (row.typed or row.choices)}
            form.move("planes", 1)
        form.move("interventions", 1)
    return list(found.values())


def shown(data: dict[str, Any], typed: dict[str, str] | None = None) -> SpecForm:
    form = SpecForm()
    form.take(data, typed or {})
    return form


def preset(name: str) -> dict[str, Any]:
    return read_experiment(name)[0].to_dict()


def estranged(data: dict[str, Any]) -> dict[str, Any]:
    """An experiment of the same structure that shares as few values as it can."""
    other = copy.deepcopy(data)
    other["model"] |= {"name": "another", "device": "mps", "dtype": "float16", "revision": None, "tf32": False}
    for index, one in enumerate(other["interventions"]):
        kind = "attn.hook_z" if one["heads"] else "hook_attn_out"
        one |= {"site": f"blocks.{200 + index}.{kind}", "positions": "last"}
        one["heads"] = [9000] if one["heads"] else []
        one["coordinates"] = [9000] if one["coordinates"] else []
        one["neurons"] = [9000] if one["neurons"] else []
        one["direction"] = "other#vector" if one["direction"] else None
        one["values"] = [value / 64 for value in range(len(one["values"]))]
        one["unit"] = "raw"
    other["capture"] |= {"sites": ["blocks.300.hook_mlp_out"], "reduce": "last", "residual": "raw"}
    other["planes"] = [{"site": None, "a": 7000 + i, "b": 8000} for i, _ in enumerate(other["planes"])]
    other["spotlight"] = {"thresholds": [0.123], "angles": 17}
    other["generation"] |= {"tokens": 7, "stop_at_eos": False}
    if other["generation"]["mode"] == "sample":
        other["generation"]["seed"] = 11
    return other


@settings(max_examples=25)
@given(experiments())
def test_typing_every_row_again_changes_nothing(data: dict[str, Any]) -> None:
    form = shown(data)
    for row in fields(form):
        assert not form.edit(row.key, row.text).changed, row
    assert form.data == data
    assert form.typed == {}
    assert form.experiment().to_dict() == data


@settings(max_examples=25)
@given(experiments())
def test_the_rows_alone_make_the_experiment(data: dict[str, Any]) -> None:
    form = shown(estranged(data))
    Experiment.from_dict(form.data)
    for row in fields(shown(data)):
        form.edit(row.key, row.text)
    assert form.typed == {}
    prompts = {"prompts": data["prompts"]}
    assert {**form.data, **prompts} == data


@settings(max_examples=25)
@given(experiments(), st.data())
def test_what_is_typed_is_taken_or_kept_whatever_it_is(data: dict[str, Any], draw: st.DataObject) -> None:
    form = shown(data)
    form.take_description(described(data["model"]["name"]), "")
    rows = fields(form)
    for _ in range(4):
        row = draw.draw(st.sampled_from(rows))
        text = draw.draw(st.sampled_from([other.text for other in rows] + ["", "x", "-1", "1e400", "0..9/0", "99"]))
        before = copy.deepcopy(form.data)
        outcome = form.edit(row.key, text)
        assert outcome.changed == (form.data != before)
        assert Experiment.from_dict(form.data).to_dict() == form.data
        if not outcome.changed and row.key in form.typed:
            assert form.typed[row.key] == text
            assert form.reason(row.key)
            now = {one.key: one for one in fields(form)}
            assert now[row.key].values == (text,) or now[row.key].pending


@pytest.mark.parametrize("name", available_presets())
def test_presets_are_shown_and_come_back(name: str) -> None:
    data = preset(name)
    form = shown(data)
    assert form.experiment().to_dict() == data
    assert not [row for row in form.rows() if row.problem or row.pending]


def test_a_layer_that_the_model_has_not_is_refused_in_the_engines_words() -> None:
    form = shown(preset("protocol"))
    form.take_description(described(), "")
    assert not form.edit("interventions[0].layer", "99").changed
    wrong = copy.deepcopy(form.data)
    wrong["interventions"][0]["site"] = "blocks.99.mlp.hook_post"
    with pytest.raises(ExplorerError) as refused:
        check_against(Experiment.from_dict(wrong), ModelShape("gpt2", 12, 768, 3072, 1024))
    (row,) = [row for row in form.rows() if row.problem]
    assert row.key == "interventions[0].layer"
    assert row.problem == f"{refused.value.what}; {refused.value.remedy}"
    assert row.values == ("99",)
    with pytest.raises(ExplorerError, match="layer 99 is out of range"):
        form.experiment()


def test_another_model_marks_what_it_has_not_and_changes_nothing() -> None:
    data = preset("protocol")
    form = shown(data)
    form.edit("model.name", "small")
    form.take_description(described("small", layers=6, d_mlp=512), "")
    marked = {row.key: row.problem for row in form.rows() if row.problem}
    layer = "layer 11 is out of range for this model (6 layers); choose 0 to 5"
    neuron = "neuron 2202 is out of range for this model (d_mlp = 512); choose 0 to 511"
    assert marked == {"interventions[0].layer": layer, "capture.sites": layer, "planes[0].b": neuron}
    assert form.data == {**data, "model": {**data["model"], "name": "small"}}


def test_a_mixture_of_experts_offers_and_takes_neurons_at_its_plain_layers_alone() -> None:
    mixed = (3072, *[0] * 11)
    told = described()
    sites = tuple(site for site in told.sites if "hook_post" not in site or site.startswith("blocks.0."))
    told = told.model_copy(update={"sites": sites, "shape": replace(told.shape, mlp_widths=mixed)})
    form = shown(preset("protocol"))
    form.edit("model.name", "gpt2")
    form.take_description(told, "")
    wrong = {row.key: row.problem for row in form.rows() if row.problem}
    assert set(wrong) == {"interventions[0].kind", "capture.sites"}
    assert all("choose layer 0, or another site, as blocks.11.hook_resid_post" in one for one in wrong.values())
    assert form.edit("interventions[0].layer", "0").changed
    assert not [row for row in form.rows() if row.problem]
    empty = copy.deepcopy(form.data)
    empty["interventions"], empty["capture"]["sites"], empty["planes"] = [], [], []
    for widths, site in ((mixed, "blocks.0.mlp.hook_post"), ((0,) * 12, "blocks.11.hook_resid_post")):
        form = shown(empty)
        form.take_description(told.model_copy(update={"shape": replace(told.shape, mlp_widths=widths)}), "")
        form.add("interventions")
        assert form.data["interventions"][0]["site"] == site


def test_an_expert_is_chosen_by_its_number_and_what_was_captured_of_it_comes_along() -> None:
    told = described()
    experts = ((0, 0), *[(8, 64)] * 11)
    routers = tuple(f"blocks.{layer}.mlp.hook_router" for layer in range(1, 12))
    sites = tuple(site for site in told.sites if "hook_post" not in site or site.startswith("blocks.0."))
    shape = replace(told.shape, mlp_widths=(3072, *[0] * 11), experts=experts)
    changes = {"sites": (*sites, *routers), "shape": shape}
    data = preset("protocol")
    data["model"]["name"], data["planes"] = "gpt2", []
    form = shown(data)
    form.take_description(told.model_copy(update=changes), "")
    site = next(row for row in form.rows() if row.key == "interventions[0].kind")
    assert ("mlp.experts.0.hook_post", "expert hook_post") in site.choices
    assert not [row for row in form.rows() if row.key == "interventions[0].expert"]
    assert form.edit("capture.sites", "L11 E0 hook_post, hook_router, E2 hook_post").changed
    assert form.edit("interventions[0].kind", "mlp.experts.0.hook_post").changed
    assert form.edit("interventions[0].neurons", "3").changed
    assert form.data["capture"]["sites"] == [
        f"blocks.11.mlp.{kind}" for kind in ("experts.0.hook_post", "hook_router", "experts.2.hook_post")
    ]
    form.add("planes")
    assert form.data["planes"][0]["site"] == "blocks.11.mlp.experts.0.hook_post"
    assert not [row for row in form.rows() if row.problem]
    assert form.edit("interventions[0].expert", "7").changed
    assert form.data["interventions"][0]["site"] == "blocks.11.mlp.experts.7.hook_post"
    assert form.data["capture"]["sites"][0] == form.data["planes"][0]["site"] == "blocks.11.mlp.experts.7.hook_post"
    assert form.experiment().interventions[0].site == "blocks.11.mlp.experts.7.hook_post"
    assert "E7 hook_post" in next(row for row in form.rows() if row.key == "capture.sites").values[0]
    assert not form.edit("interventions[0].expert", "8").changed or [row for row in form.rows() if row.problem]


def test_a_field_can_be_put_right_while_others_are_still_beyond_the_model() -> None:
    form = shown(preset("protocol"))
    form.edit("model.name", "small")
    form.take_description(described("small", layers=6, d_mlp=512), "")
    assert form.edit("interventions[0].layer", "4").changed
    assert form.edit("planes[0].b", "20").changed
    assert form.edit("planes[0].a", "600").changed is False
    assert form.typed == {"planes[0].a": "600"}


def test_a_layer_takes_captures_and_planes_along_and_says_so() -> None:
    form = shown(preset("protocol"))
    outcome = form.edit("interventions[0].layer", "5")
    assert outcome.note == "capture and plane move along to layer 5; u takes it back"
    assert form.data["capture"]["sites"] == ["blocks.5.mlp.hook_post", "blocks.5.hook_resid_post"]
    assert form.data["planes"][0]["site"] == "blocks.5.mlp.hook_post"


def warned(form: SpecForm) -> list[str]:
    return [row.values[0] for row in form.rows() if row.kind == "warning"]


def test_a_neuron_takes_its_planes_along_and_says_so() -> None:
    form = shown(preset("protocol"))
    outcome = form.edit("interventions[0].neurons", "137")
    assert outcome.note == "plane 373 × 2202 moves along to 137 × 2202; u takes it back"
    assert (form.data["planes"][0]["a"], form.data["planes"][0]["b"]) == (137, 2202)
    assert not warned(form)
    form.edit("interventions[0].neurons", "373")
    assert form.data == preset("protocol")


def test_what_names_a_value_that_is_swept_no_longer_is_marked() -> None:
    data = preset("protocol")
    data["planes"] = [{"site": "blocks.11.mlp.hook_post", "a": 373, "b": "difference(at=+20 | at=baseline)"}]
    form = shown(data)
    assert form.edit("interventions[0].values", "-3 0 3").changed
    (row,) = [row for row in form.rows() if row.problem]
    assert (row.key, "no condition is called '+20'" in row.problem) == ("planes[0].b", True)
    assert form.edit("planes[0].b", "difference(at=+3 | at=baseline)").changed
    assert not [row for row in form.rows() if row.problem]


def test_an_error_brings_the_row_it_names_into_view_and_marks_it_until_something_is_edited() -> None:
    form = shown(preset("protocol"))
    form.add("planes")
    form.move("planes", 1)
    assert form.reveal(ExplorerError("no prompt has a factor", where="planes[1].a")) == "planes[1].a"
    marked = [(row.key, row.problem) for row in form.rows() if row.problem]
    assert marked == [("planes[1].a", "no prompt has a factor")]
    assert form.reveal(ExplorerError("x", where="interventions[0].neurons[3]")) == "interventions[0].neurons"
    assert form.reveal(ExplorerError("x", where="prompts.sets")) == ""
    form.edit("generation.tokens", "7")
    assert not [row for row in form.rows() if row.problem]


def test_a_text_that_waits_for_another_row_names_that_row() -> None:
    form = shown(preset("protocol"))
    form.add("interventions")
    form.move("interventions", 1)
    assert not form.edit("interventions[0].values", "1 2").changed
    assert form.blamed("interventions[0].values") == "interventions[1].values"
    form.edit("interventions[0].values", "x")
    assert form.blamed("interventions[0].values") == ""


def test_when_a_target_was_chosen_is_doubted_of_another_target() -> None:
    data = preset("protocol")
    data["controls"] |= {"neurons": 19, "chosen": "before"}
    note = shown(data).edit("interventions[0].neurons", "137").note
    assert note.startswith("controls.chosen = before was said of the target before")


def test_a_layer_takes_rows_of_weights_along() -> None:
    data = preset("protocol")
    data["planes"] = [{"site": "blocks.11.hook_resid_post", "a": "w_out(11.373)", "b": "w_out(11.2202)"}]
    form = shown(data)
    outcome = form.edit("interventions[0].layer", "5")
    assert outcome.note == "capture and plane move along to layer 5; u takes it back"
    assert form.data["planes"][0]["a"] == "w_out(5.373)"
    form.edit("interventions[0].neurons", "137")
    assert form.data["planes"][0]["a"] == "w_out(5.137)"
    assert not warned(form)


@pytest.mark.parametrize(
    ("typed", "why"),
    [("1, 2", "2 neurons are edited in place of 1"), ("2202", "2202 lies in it already")],
)
def test_a_plane_that_cannot_follow_is_named(typed: str, why: str) -> None:
    form = shown(preset("protocol"))
    assert form.edit("interventions[0].neurons", typed).note == f"plane 373 × 2202 stays: {why}"
    assert (form.data["planes"][0]["a"], form.data["planes"][0]["b"]) == (373, 2202)
    # 2202 is the plane's other direction, so something edited lies in it.
    assert bool(warned(form)) == (typed != "2202")


def test_a_plane_of_neurons_that_nothing_edits_is_warned_of_until_it_holds_one() -> None:
    form = shown(preset("protocol"))
    assert not warned(form)
    form.edit("planes[0].a", "5")
    for op, how in (("clamp", "clamped"), ("zero", "ablated")):
        form.edit("interventions[0].op", op)
        assert warned(form) == [
            f"! no plane holds what is edited: n373 is {how}, and the plane is n5 × n2202",
            f"! holds nothing that is edited: n373 is {how}",
        ]
    rows = [row.key for row in form.rows()]
    assert rows.index("#edited") == rows.index("interventions[0].neurons") + 1
    form.add("planes")
    form.edit("planes[1].a", "373")
    # The one in view holds it.
    assert not warned(form)
    form.move("planes", 1)
    assert warned(form) == ["! holds nothing that is edited: n373 is ablated"]
    form.edit("planes[0].b", "373")
    assert not warned(form)


def test_a_plane_typed_beside_the_neuron_is_left_as_it_was_typed() -> None:
    form = shown(preset("protocol"), {"planes[0].a": "373", "interventions[0].neurons": "137"})
    form.edit("planes[0].b", "7")
    assert (form.data["interventions"][0]["neurons"], form.data["planes"][0]["a"]) == ([137], 373)
    assert warned(form)


def test_captures_stay_where_another_intervention_is() -> None:
    form = shown(preset("protocol"))
    form.add("interventions")
    outcome = form.edit("interventions[1].layer", "5")
    assert outcome.changed
    assert "stay at layer 11" in outcome.note
    assert form.data["capture"]["sites"][0] == "blocks.11.mlp.hook_post"


def test_an_operation_that_was_left_has_its_values_again() -> None:
    data = preset("demo")
    form = shown(data)
    for op in ("zero", "mean", "add", "scale", "clamp"):
        assert form.edit("interventions[0].op", op).changed
        assert form.data["interventions"][0]["op"] == op
    assert form.data == data


def test_sampling_has_its_rows_only_when_it_is_on_and_remembers_them() -> None:
    form = shown(preset("protocol"))
    keys = {row.key for row in form.rows()}
    form.edit("generation.mode", "sample")
    assert {row.key for row in form.rows()} - keys == {
        f"generation.{name}" for name in ("temperature", "top_k", "top_p", "samples", "seed")
    }
    form.edit("generation.temperature", "0.7")
    form.edit("generation.mode", "greedy")
    assert form.data["generation"]["temperature"] == 1
    form.edit("generation.mode", "sample")
    assert form.data["generation"]["temperature"] == 0.7


def test_a_choice_that_needs_another_field_waits_for_it() -> None:
    form = shown(preset("protocol"))
    assert not form.edit("interventions[0].op", "steer").changed
    rows = {row.key: row for row in form.rows()}
    assert rows["interventions[0].op"].pending
    assert "steer needs a direction" in rows["interventions[0].direction"].problem
    assert form.edit("generation.tokens", "20").changed
    assert form.typed == {"interventions[0].op": "steer"}
    assert form.edit("interventions[0].direction", "v.safetensors#up").changed
    assert form.typed == {}
    assert form.data["interventions"][0]["neurons"] == []


def test_units_offered_fit_the_operation() -> None:
    form = shown(preset("protocol"))

    def offered() -> list[str]:
        return [text for row in form.rows() if row.key.endswith(".unit") for text, _ in row.choices]

    assert offered() == ["raw", "sigma", "quantile"]
    form.edit("interventions[0].op", "add")
    assert offered() == ["raw", "sigma"]
    form.edit("interventions[0].op", "zero")
    assert offered() == []


def test_what_was_typed_moves_with_its_intervention() -> None:
    form = shown(preset("protocol"))
    form.add("interventions")
    form.edit("interventions[1].neurons", "x")
    form.move("interventions", 1)
    form.remove("interventions")
    assert form.typed == {"interventions[0].neurons": "x"}


@pytest.mark.parametrize("section", ["interventions", "planes"])
def test_removing_what_was_added_gives_the_experiment_back(section: str) -> None:
    data = preset("protocol")
    form = shown(data)
    assert form.add(section).changed
    assert len(form.data[section]) == 2
    assert form.remove(section).changed
    assert form.data == data
    assert form.remove(section).changed
    assert form.data[section] == []
    assert "+ adds one" in [row.values[0] for row in form.rows() if row.key == section]
    assert form.add(section).changed
    Experiment.from_dict(form.data)


def test_planes_of_a_frozen_analysis_keep_their_numbers_when_others_come_and_go() -> None:
    data = preset("protocol")
    data["planes"] = [{"site": "blocks.11.mlp.hook_post", "a": 373, "b": b} for b in (1, 2, 3)]
    data["analysis"] |= {"tests": ["difference"], "groups": ["clamped against baseline"], "planes": [3]}
    form = shown(data)
    form.add("planes")
    assert form.data["analysis"]["planes"] == [4]
    form.remove("planes")
    assert form.data == data
    form.move("planes", -1)
    assert form.remove("planes").changed
    assert form.data["analysis"]["planes"] == [2]
    form.move("planes", 1)
    assert form.remove("planes").note.startswith("the frozen analysis is of every plane now")
    assert form.data["analysis"]["planes"] == []


def test_data_that_is_no_experiment_can_be_shown_and_put_right() -> None:
    broken = {"model": {"name": "gpt2"}, "interventions": [{"site": "nonsense", "op": "clamp"}], "planes": "x"}
    form = shown(broken)
    marked = {row.key for row in form.rows() if row.problem}
    assert "interventions[0].kind" in marked or "capture.sites" in marked
    assert shown({}).rows()
    with pytest.raises(ExplorerError):
        form.experiment()


def test_another_kind_of_site_or_operation_takes_the_target_that_it_can_have() -> None:
    form = shown(preset("protocol"))
    assert form.edit("interventions[0].kind", "attn.hook_z").note == (
        "it works on heads now; plane 373 × 2202 stays: what is edited lies at blocks.11.attn.hook_z now"
    )
    (one,) = form.experiment().interventions
    assert (one.heads, one.neurons, one.values) == (
        (0,),
        (),
        shown(preset("protocol")).experiment().interventions[0].values,
    )
    form.edit("interventions[0].coordinates", "3, 5")
    form.edit("interventions[0].positions", 'after " door"')
    form.edit("interventions[0].op", "project_out")
    (one,) = form.experiment().interventions
    assert (one.heads, one.coordinates, one.values) == ((0,), (3, 5), ())
    assert one.positions == TokenChoice(" door", after=True)
    form.edit("interventions[0].direction", "v.npz#way")
    (one,) = form.experiment().interventions
    assert (one.heads, one.coordinates, one.direction) == ((), (), "v.npz#way")
    form.edit("interventions[0].op", "patch")
    (one,) = form.experiment().interventions
    assert (one.direction, str(one.source), one.positions) == (
        "v.npz#way",
        "condition baseline",
        TokenChoice(" door", after=True),
    )
    form.edit("interventions[0].from", "prompt pair")
    assert form.experiment().to_dict()["interventions"][0]["from"] == {"prompt": "pair"}
    form.edit("interventions[0].op", "scale")
    assert form.experiment().interventions[0].source is None
    assert form.experiment().interventions[0].heads == (0,)
    form.edit("interventions[0].kind", "hook_resid_post")
    (one,) = form.experiment().interventions
    assert (one.heads, one.coordinates, one.neurons) == ((), (), (0,))


def test_a_survey_is_one_row_until_neurons_are_named_and_keeps_only_what_means_something() -> None:
    form = SpecForm()
    form.take(read_experiment("quick")[0].to_dict(), {})

    def shown() -> dict[str, str]:
        return {row.key: row.values[0] for row in form.rows() if row.key.startswith("survey.")}

    assert shown() == {"survey.neurons": "none"}
    assert form.edit("survey.neurons", "0..9, 12").changed
    assert shown() == {
        "survey.neurons": "0..9, 12",
        "survey.layers": "that of the intervention",
        "survey.depth": "forced",
        "survey.score": "generated",
        "survey.then": "none",
        "survey.vectors": "none",
    }
    assert not form.edit("survey.vectors", "3").changed
    assert form.reason("survey.vectors").startswith("full vectors are kept of written texts alone; set depth")
    assert form.edit("survey.then", "top:5").changed
    assert form.experiment().survey.vectors == "3"
    assert form.edit("survey.depth", "free").note == "then is left out: texts are written under every neuron"
    assert form.experiment().survey.vectors == "3"
    assert form.edit("survey.depth", "forced").note == "vectors is left out: no texts are written"
    assert not form.edit("survey.then", "some").changed
    assert form.typed == {"survey.then": "some"}
    assert form.edit("survey.layers", "all").changed
    assert form.edit("survey.neurons", "none").changed
    assert not form.experiment().survey
    assert shown() == {"survey.neurons": "none"}
    assert form.add("interventions").changed
    assert not shown()


def test_actors_are_asked_for_where_ray_has_them_and_forgotten_with_it() -> None:
    form = SpecForm()
    form.take(read_experiment("quick")[0].to_dict(), {})
    assert [row.key for row in form.rows() if row.key.startswith("execution.")] == ["execution.executor"]
    assert form.edit("execution.executor", "ray").changed
    assert form.edit("execution.actors", "2").changed
    assert form.edit("execution.address", "auto").changed
    assert form.edit("execution.rows", "500").changed
    execution = form.experiment().execution
    assert (execution.actors, execution.address, execution.rows) == (2, "auto", 500)
    assert form.edit("execution.executor", "local").changed
    assert form.experiment().execution.actors is None
    assert form.experiment().execution.rows is None
    assert len([row for row in form.rows() if row.key.startswith("execution.")]) == 1
