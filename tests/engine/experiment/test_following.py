"""Planes that were named after an edited neuron follow it; what a plane holds of what is edited."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.experiment import Experiment, available_presets, read_experiment
from srm_explorer.engine.experiment.following import follow_edit
from srm_explorer.engine.experiment.model_fit import apart_from
from srm_explorer.engine.figures import unseen_caption
from srm_explorer.engine.session import load_session
from tests.example import EXAMPLE

MLP, STREAM, LATER = "blocks.3.mlp.hook_post", "blocks.3.hook_resid_post", "blocks.5.mlp.hook_post"
neurons = st.lists(st.integers(0, 5), unique=True, min_size=1, max_size=3)


def edited(*targets: list[int], planes: Any = (), sites: Any = (MLP, STREAM, LATER), at: str = MLP) -> dict[str, Any]:
    """An experiment that clamps the neurons of each target together."""
    clamp = {"site": at, "op": "clamp", "values": [-1, 1]}
    return Experiment.from_dict(
        {
            "model": {"name": "gpt2"},
            "prompts": {"sets": ["a"]},
            "interventions": [{**clamp, "neurons": one} for one in targets],
            "capture": {"sites": list(sites)},
            "planes": list(planes),
        }
    ).to_dict()


def plane(a: int | str, b: int | str, site: str | None = MLP) -> dict[str, Any]:
    return {"site": site, "a": a, "b": b}


def apart(data: dict[str, Any], index: int = 0) -> str:
    experiment = Experiment.from_dict(data)
    one = experiment.planes[index]
    return apart_from(experiment, experiment.plane_site(one), one.a, one.b)


@st.composite
def planes_of_anything(draw: st.DrawFn) -> list[dict[str, Any]]:
    mlp = st.tuples(st.sampled_from([MLP, LATER]), st.integers(0, 6), st.integers(0, 6) | st.just("pc1"))
    rows = st.builds("w_{}({}.{})".format, st.sampled_from(["out", "in"]), st.sampled_from([3, 5]), st.integers(0, 6))
    stream = st.tuples(st.just(STREAM), rows | st.integers(0, 6), rows)
    found = draw(st.lists((mlp | stream).filter(lambda p: p[1] != p[2]), unique=True, max_size=4))
    return [plane(a, b, site) for site, a, b in found]


@given(planes_of_anything(), neurons, neurons)
def test_following_leaves_an_experiment_one_and_changes_nothing_but_directions(
    planes: list[dict[str, Any]], old: list[int], new: list[int]
) -> None:
    before, after = edited(old, planes=planes), edited(new, planes=planes)
    kept = copy.deepcopy(after)
    followed = follow_edit(before, after)
    assert after == kept
    again = {**after, "planes": followed.planes}
    assert Experiment.from_dict(again).to_dict() == again
    assert [one["site"] for one in followed.planes] == [one["site"] for one in planes]
    assert len(followed.moved) == sum(one != was for one, was in zip(followed.planes, planes, strict=True))


@given(planes_of_anything(), neurons, neurons)
def test_a_plane_that_held_what_was_edited_holds_what_is_or_it_is_said_why_not(
    planes: list[dict[str, Any]], old: list[int], new: list[int]
) -> None:
    before, after = edited(old, planes=planes), edited(new, planes=planes)
    followed = follow_edit(before, after)
    now = {**after, "planes": followed.planes}
    for index, one in enumerate(planes):
        if apart(before, index) == "no" and apart(now, index) != "no":
            assert any(line.startswith(f"plane {one['a']} × {one['b']} stays: ") for line in followed.stayed)


@given(planes_of_anything(), neurons)
def test_the_same_neurons_in_another_order_move_nothing(planes: list[dict[str, Any]], old: list[int]) -> None:
    followed = follow_edit(edited(old, planes=planes), edited(old[::-1], planes=planes))
    assert (followed.planes, followed.summary) == (planes, "")


@given(st.integers(0, 9), st.integers(0, 9), st.integers(10, 19))
def test_going_back_brings_the_plane_back(old: int, new: int, other: int) -> None:
    planes = [plane(old, other), plane(f"w_out(3.{old})", "w_in(3.30)", STREAM)]
    there = follow_edit(edited([old], planes=planes), edited([new], planes=planes))
    assert there.planes == [plane(new, other), plane(f"w_out(3.{new})", "w_in(3.30)", STREAM)]
    back = follow_edit(edited([new], planes=there.planes), edited([old], planes=there.planes))
    assert back.planes == planes


@pytest.mark.parametrize(
    ("old", "new", "planes", "moved", "stayed"),
    [
        ([[373]], [[137]], [plane(373, 2202)], ["plane 373 × 2202 moves along to 137 × 2202"], []),
        ([[373]], [[137]], [plane(2202, 373)], ["plane 2202 × 373 moves along to 2202 × 137"], []),
        ([[1, 2, 3]], [[4, 2, 5]], [plane(1, 3)], ["plane 1 × 3 moves along to 4 × 5"], []),
        ([[373]], [[137]], [plane(373, 5, LATER), plane("w_out(5.373)", "pc1", STREAM)], [], []),
        ([[373]], [[137]], [plane(373, 5, STREAM)], [], []),
        ([[373]], [[373, 137]], [plane(373, 2202)], [], []),
        ([[373]], [[1, 2]], [plane(373, 2202)], [], ["2 neurons are edited in place of 1"]),
        ([[1, 2]], [[3]], [plane(1, 9)], [], ["1 neuron is edited in place of 2"]),
        ([[373]], [[2202]], [plane(373, 2202)], [], ["2202 lies in it already"]),
        ([[373]], [[1]], [plane(373, 9), plane(1, 9)], [], ["1 × 9 is there already"]),
        ([[1], [1]], [[1], [2]], [plane(1, 9)], [], ["another intervention edits 1"]),
        ([[1], [1]], [[2], [3]], [plane(1, 9)], [], ["more than one neuron takes the place of 1"]),
        ([[1], [3]], [[3], [1]], [plane(1, 9)], [], ["another intervention edits 1"]),
        # The first would become the second, which stays since its neuron is edited still.
        (
            [[1], [2]],
            [[2], [4]],
            [plane(1, 9), plane(2, 9)],
            [],
            ["2 × 9 is there already", "another intervention edits 2"],
        ),
    ],
)
def test_what_follows_and_what_does_not(
    old: list[list[int]], new: list[list[int]], planes: list[dict[str, Any]], moved: list[str], stayed: list[str]
) -> None:
    followed = follow_edit(edited(*old, planes=planes), edited(*new, planes=planes))
    assert list(followed.moved) == moved
    assert [line.partition(" stays: ")[2] for line in followed.stayed] == stayed


def test_planes_in_a_chain_follow_together() -> None:
    planes = [plane(1, 9), plane(2, 9)]
    followed = follow_edit(edited([1, 2], planes=planes), edited([3, 1], planes=planes))
    assert followed.planes == [plane(1, 9), plane(3, 9)]
    assert followed.moved == ("plane 2 × 9 moves along to 3 × 9",)


def test_captures_and_planes_go_to_the_layer_that_is_edited_now() -> None:
    planes = [plane("w_out(3.7)", "w_out(3.9)", STREAM), plane(7, 9), plane(7, 9, LATER)]
    followed = follow_edit(edited([7], planes=planes), edited([8], planes=planes, at=LATER, sites=[MLP, STREAM, LATER]))
    assert followed.sites == [LATER, "blocks.5.hook_resid_post", MLP]
    assert followed.planes[0] == plane("w_out(5.8)", "w_out(5.9)", "blocks.5.hook_resid_post")
    assert followed.moved[0] == "capture and plane move along to layer 5"
    # One that would be another stays, and its site with it.
    assert followed.planes[1:] == [plane(7, 9), plane(7, 9, LATER)]
    assert followed.stayed == ("plane 7 × 9 stays: 7 × 9 is there already",)


def test_captures_stay_where_they_were_set_by_hand_or_another_intervention_is() -> None:
    planes = [plane(7, 9), plane("w_out(3.7)", 5, STREAM)]
    before, after = edited([7], planes=planes), edited([8], planes=planes, at=LATER)
    for kept in (["capture.sites"], ["capture"]):
        followed = follow_edit(before, after, kept=kept)
        assert (followed.sites, followed.planes) == ([MLP, STREAM, LATER], [planes[0], plane("w_out(5.8)", 5, STREAM)])
        assert followed.stayed == (f"plane 7 × 9 stays: what is edited lies at {LATER} now",)
    followed = follow_edit(before, after, kept=["planes[0].site"])
    assert followed.planes[0] == planes[0]
    assert MLP in followed.sites
    two = edited([7], [1], planes=planes)
    two_after = copy.deepcopy(two)
    two_after["interventions"][0]["site"] = LATER
    followed = follow_edit(two, two_after)
    assert (followed.sites, followed.planes[0]) == ([MLP, STREAM, LATER], planes[0])
    assert followed.stayed[0] == "captures and planes stay at layer 3, where another intervention is"


def test_what_is_captured_of_an_expert_goes_to_the_other_one() -> None:
    first, other = (f"blocks.3.mlp.experts.{number}.hook_post" for number in (2, 7))
    planes = [plane(7, 9, first), plane(1, 2, STREAM)]
    before = edited([7], planes=planes, sites=[first, STREAM], at=first)
    followed = follow_edit(before, edited([8], planes=planes, sites=[first, STREAM], at=other))
    assert (followed.sites, followed.planes) == ([other, STREAM], [plane(8, 9, other), planes[1]])
    assert followed.moved == ("capture and plane move along to expert 7", "plane 7 × 9 moves along to 8 × 9")


def test_a_plane_among_heads_follows_the_head_where_its_width_is_known_and_is_named_where_it_is_not() -> None:
    heads = "blocks.3.attn.hook_z"

    def of(head: int, coordinates: list[int]) -> dict[str, Any]:
        data = edited(planes=[plane(3 * 16 + 2, 5, heads)], sites=[heads])
        edit = {"site": heads, "op": "scale", "heads": [head], "coordinates": coordinates, "values": [0]}
        return Experiment.from_dict({**data, "interventions": [edit]}).to_dict()

    for coordinates in ([], [2, 5]):
        followed = follow_edit(of(3, coordinates), of(1, coordinates), head_width=lambda layer: 16)
        assert followed.planes == [plane(16 + 2, 5, heads)]
    unknown = follow_edit(of(3, []), of(1, []))
    assert unknown.planes == [plane(50, 5, heads)]
    assert unknown.stayed == ("plane 50 × 5 stays: head 1 is edited in place of head 3",)


def test_a_plane_follows_the_vector_that_is_steered_along() -> None:
    def along(direction: str | None) -> dict[str, Any]:
        data = edited([1], planes=[plane("v.npz#up", "pc1", STREAM), plane("w.npz#up", 3, STREAM)])
        edit = {"site": STREAM, "op": "steer", "direction": direction, "values": [1]}
        return {**data, "interventions": [edit] if direction else data["interventions"]}

    followed = follow_edit(along("v.npz#up"), along("v.npz#down"))
    assert followed.planes == [plane("v.npz#down", "pc1", STREAM), plane("w.npz#up", 3, STREAM)]
    assert followed.moved == ("plane v.npz#up × pc1 moves along to v.npz#down × pc1",)
    gone = follow_edit(along("v.npz#up"), along(None))
    assert gone.stayed == ("plane v.npz#up × pc1 stays: nothing is edited along v.npz#up now",)


def test_a_plane_of_another_kind_of_site_is_named() -> None:
    planes = [plane(7, 9)]
    followed = follow_edit(edited([7], planes=planes), edited([7], planes=planes, at=STREAM))
    assert followed.planes == planes
    assert followed.stayed == (f"plane 7 × 9 stays: what is edited lies at {STREAM} now",)


def test_a_plane_without_a_site_lies_in_the_only_captured_one() -> None:
    planes = [plane(7, 9, None)]
    told = follow_edit(edited([7], planes=planes, sites=[MLP]), edited([8], planes=planes, sites=[MLP]))
    assert told.planes == [plane(8, 9, None)]


@pytest.mark.parametrize("interventions", [None, [], 5, [5], [{}], [{"site": "x", "neurons": "y"}], [{"site": MLP}]])
def test_nothing_follows_what_cannot_be_read(interventions: Any) -> None:
    after = edited([8], planes=[plane(7, 9)])
    assert follow_edit({"interventions": interventions}, after).planes == after["planes"]


def test_interventions_are_read_as_files_may_write_them() -> None:
    after = edited([8], planes=[plane(7, 9)])
    for written in (7, "7", [7]):
        assert follow_edit({"interventions": [{"site": MLP, "neurons": written}]}, after).moved


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (plane(7, 9), "no"),
        (plane(9, 7), "no"),
        (plane(1, 9), "here"),
        (plane(1, "pc1"), "no"),
        (plane(7, 9, LATER), "elsewhere"),
        (plane("w_out(3.7)", "w_out(3.9)", STREAM), "no"),
        (plane("w_in(3.7)", "w_out(3.9)", STREAM), "no"),
        (plane("w_out(3.1)", "w_out(3.9)", STREAM), "here"),
        (plane("w_out(5.7)", "w_out(5.9)", STREAM), "elsewhere"),
        # Whatever a neuron writes has a share in every coordinate of the residual stream.
        (plane(1, 9, STREAM), "no"),
        (plane("w_out(3.1)", 9, STREAM), "no"),
        (plane("mean(type=a)", "random(0)", STREAM), "no"),
    ],
)
def test_a_plane_is_apart_from_what_is_edited_only_where_that_is_sure(one: dict[str, Any], expected: str) -> None:
    assert apart(edited([7], planes=[one])) == expected


def test_coordinates_of_the_stream_are_told_apart_where_they_are_edited() -> None:
    assert apart(edited([7], planes=[plane(1, 9, STREAM)], at=STREAM)) == "here"
    assert apart(edited([7], planes=[plane(7, 9, STREAM)], at=STREAM)) == "no"
    # Neurons of the same layer come before the stream that is edited.
    assert apart(edited([7], planes=[plane(1, 9)], at=STREAM)) == "elsewhere"


def test_nothing_edited_lies_in_planes_before_the_edit_or_among_other_kinds_of_coordinates() -> None:
    heads = "blocks.5.attn.hook_z"
    sites = [MLP, STREAM, LATER, heads]
    assert apart(edited([7], planes=[plane("pc1", 9, STREAM)], at=LATER)) == "elsewhere"
    assert apart(edited([7], planes=[plane(1, 9, LATER)], at=STREAM)) == "elsewhere"
    assert apart(edited([7], planes=[plane(1, 9, heads)], sites=sites)) == "elsewhere"
    steered = edited(planes=[plane(1, 9, LATER), plane("v.npz#up", 3, STREAM)], sites=sites)
    steered["interventions"] = [{"site": STREAM, "op": "steer", "direction": "v.npz#up", "values": [1]}]
    assert [apart(steered, index) for index in (0, 1)] == ["elsewhere", "no"]


def test_that_no_plane_holds_what_is_edited_is_one_line() -> None:
    def line(*planes: dict[str, Any]) -> str:
        return unseen_caption(Experiment.from_dict(edited([7], planes=planes)))

    assert line() == line(plane(7, 9)) == line(plane(1, 9), plane(7, 9)) == ""
    assert line(plane(1, 9)) == "no plane holds what is edited: n7 is clamped, and the plane is n1 × n9"
    assert line(plane(1, 9), plane(7, 9, LATER)).endswith("and the planes are n1 × n9, n7 × n9")
    assert line(plane(7, 9, LATER)) == (
        "no plane holds what is edited: L3 n7 is clamped, and the plane is n7 × n9 of L5 hook_post"
    )


def test_nothing_is_said_without_an_edit_or_along_a_direction() -> None:
    assert apart(edited(planes=[plane(1, 9)])) == "no"
    steered = edited(planes=[plane(1, 9)])
    steered["interventions"] = [{"site": MLP, "op": "steer", "direction": "v.npz#up", "values": [1]}]
    assert apart(steered) == "no"


def test_what_ships_looks_at_what_it_edits() -> None:
    shipped = [read_experiment(name)[0] for name in available_presets()]
    shipped.append(load_session(EXAMPLE).spec)
    for experiment in shipped:
        assert [apart(experiment.to_dict(), index) for index in range(len(experiment.planes))] == ["no"]
