"""Each warning stands where its cause is, and nowhere else."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.figures.bands import NullBand, PlaneBands
from srm_explorer.engine.figures.groups import polar_from_session, swept_groups
from srm_explorer.engine.figures.warnings import session_warnings
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session

SITE = "blocks.2.mlp.hook_post"
CLAMP = {"site": SITE, "neurons": [7], "op": "clamp", "values": [-2, 1, 5]}


def a_session(one: dict[str, Any] = CLAMP, prompts: int = 12, **spec: Any) -> Session:
    """A session about which nothing needs to be said."""
    experiment = Experiment.from_dict(
        {
            "model": {"name": "gpt2"},
            "prompts": {"sets": ["a"]},
            "interventions": [one],
            "capture": {"sites": [SITE]},
            "planes": [{"a": 7, "b": 9}],
            "spotlight": {"angles": 8, "thresholds": [0.5, 0.1]},
            **spec,
        }
    )
    listed = conditions(experiment)
    grid = [(prompt, condition) for prompt in range(prompts) for condition in range(len(listed))]
    xy = np.random.default_rng(0).normal(size=(len(grid), 2))
    return Session(
        name="calm",
        state="finished",
        spec=experiment,
        conditions=listed,
        resolved=tuple(tuple(None if v is None else (v,) for v in c.values) for c in listed),
        prompts=tuple(PromptRecord("a", f"p{p}", {}, (p,), 0, "") for p in range(prompts)),
        runs=tuple(RunRecord(i, p, c, 0, (1, 2), "it", 3, "length", 0.5, {}) for i, (p, c) in enumerate(grid)),
        planes=(PlaneRecord.of(SITE, 7, 9, xy, np.hypot(*xy.T) + 3),),
        provenance={"model": {"n_layers": 12}, "units": [{"quantiles": [[-2.5], [0.0], [6.0]]}]},
    )


def told(session: Session) -> tuple[str, ...]:
    plane = session.planes[0]
    return session_warnings(session, plane, swept_groups(session, plane))


def test_nothing_is_said_where_nothing_misleads() -> None:
    assert told(a_session()) == ()


def test_what_is_to_be_known_of_the_models_files_comes_first_unless_it_is_damaged() -> None:
    few = a_session(prompts=4)
    assert told(few.changed(provenance={"model": {"remarks": ["2 weights have no place"]}}))[0] == (
        "2 weights have no place"
    )
    for damaged in (None, "no", [3, "a\x1b[2J"]):
        assert told(few.changed(provenance={"model": {"remarks": damaged}})) == told(few)


def test_values_outside_the_measured_range_are_said_with_how_far() -> None:
    session = a_session({**CLAMP, "values": [-20, 1, 20]}).changed(
        provenance={"units": [{"quantiles": [[-0.17], [0.0], [3.83]]}]}
    )
    warning = next(one for one in told(session) if "outside" in one)
    # −20 is 19.83 below a range of 4.
    assert warning.startswith("2 of 3 clamp values lie outside what n7 does in the baseline (−.170 to 3.83)")
    assert "−20.0, by 4.96 times that range" in warning or "−20, by 4.96 times that range" in warning


@pytest.mark.parametrize("units", [None, [], [None], [{}], [{"quantiles": []}], [{"quantiles": [["x"], [1]]}], "no"])
def test_ranges_that_were_not_measured_or_are_damaged_are_not_spoken_of(units: Any) -> None:
    assert told(a_session().changed(provenance={"units": units})) == ()


def test_few_units_are_said_with_the_least_p() -> None:
    assert told(a_session(prompts=9)) == (
        "only 9 units (prompts): intervals are wide, and p is at least .00391; add prompts",
    )
    cores = a_session(prompts=12)
    cores = cores.changed(
        prompts=tuple(dataclasses.replace(p, factors={"core_id": str(i % 2)}) for i, p in enumerate(cores.prompts))
    )
    assert told(cores)[0].startswith("only 2 units")


@pytest.mark.parametrize(
    ("site", "positions", "part"),
    [
        ("blocks.11.mlp.hook_post", "all", "changed positions; choose"),
        ("blocks.11.mlp.hook_post", "prompt", "the first token alone"),
        ("blocks.11.mlp.hook_post", "generated", "not the first token"),
        ("blocks.11.hook_resid_pre", "all", None),
        ("blocks.10.mlp.hook_post", "all", None),
    ],
)
def test_at_the_last_layer_what_positions_mean_is_said(site: str, positions: str, part: str | None) -> None:
    warnings = told(a_session({**CLAMP, "site": site, "positions": positions}))
    about = [one for one in warnings if "last layer" in one]
    assert len(about) == (part is not None)
    assert all(part in one for one in about if part)


def test_near_collinear_directions_are_said() -> None:
    session = a_session()
    for angle, warned in ((12.0, True), (168.0, True), (25.0, False), (90.0, False)):
        plane = dataclasses.replace(session.planes[0], raw_angle_deg=angle)
        warnings = told(session.changed(planes=(plane,)))
        assert any("12" in one and "apart" in one for one in warnings) == warned


def seen_from(session: Session, a: int | str, b: int | str, site: str = SITE) -> Session:
    return session.changed(planes=(dataclasses.replace(session.planes[0], site=site, a=a, b=b),))


def test_a_plane_that_holds_nothing_that_was_edited_is_the_gravest() -> None:
    session = seen_from(a_session({**CLAMP, "values": [-9, 0, 9]}, prompts=4), 1, 9)
    assert told(session)[0] == "this plane holds nothing that was edited: n7 was clamped, the plane is n1 × n9"
    rows = seen_from(session, "w_out(2.1)", "w_out(2.9)", "blocks.2.hook_resid_post")
    assert told(rows)[0].endswith("n7 was clamped, the plane is W_out L2 n1 × W_out L2 n9")
    many = seen_from(a_session({**CLAMP, "op": "add", "neurons": [1, 2, 3, 4, 5]}), 7, 9)
    assert "n1, n2, n3 … (5 neurons) were added, the plane is n7 × n9" in told(many)[0]


def test_planes_that_hold_it_or_may_are_not_spoken_of() -> None:
    session = a_session()
    for a, b in ((9, 7), (7, "pc1"), ("pc1", "pc2"), ("mean()", 1), ("v.npz#x", "random(0)")):
        assert not any("holds nothing" in line for line in told(seen_from(session, a, b)))
    stream = "blocks.2.hook_resid_post"
    for a, b in (("w_out(2.7)", "w_out(2.9)"), ("w_in(2.7)", 3), (1, 9), ("w_out(2.1)", 9)):
        assert told(seen_from(session, a, b, stream)) == ()


def test_neurons_of_another_layer_are_a_fact_after_all_that_misleads_where_another_plane_holds_what_was_edited() -> (
    None
):
    session = a_session(prompts=4)
    alone = seen_from(session, 7, 9, "blocks.3.mlp.hook_post")
    expected = "this plane holds nothing that was edited: L2 n7 was clamped, the plane is n7 × n9 of L3 hook_post"
    assert [line.startswith("only 4 units") for line in told(alone)] == [False, True]
    assert told(alone)[0] == expected
    beside = alone.changed(planes=(*alone.planes, *session.planes))
    assert [line.startswith("only 4 units") for line in told(beside)] == [True, False]
    assert told(beside)[1] == expected


def test_a_threshold_that_chance_lights_is_said() -> None:
    session = a_session()
    group = swept_groups(session, session.planes[0])[1]
    curve = np.zeros((2, 8))
    high = curve.copy()
    high[1, 2] = 0.2 * group.n_runs
    high[1, 0] = group.n_runs
    null = NullBand("partners", "95 % of 200 (n7, random) planes", group.label, 200, curve, {0.1: high, 0.5: curve})
    bands = PlaneBands(0, (), 0.95, 100, 0, 0, (), (null,))
    warnings = told(session.changed(bands={"planes": [bands.to_dict()]}))
    assert len(warnings) == 1
    assert warnings[0].startswith("counts above .1 say little: chance alone lights up to 20.0 %")
    # At the kept direction itself runs are lit by design.
    high[1, 2] = 0.0
    bands = dataclasses.replace(bands, nulls=(dataclasses.replace(null, counts={0.1: high}),))
    assert told(session.changed(bands={"planes": [bands.to_dict()]})) == ()


def test_changed_texts_near_a_tie_are_counted() -> None:
    session = a_session()
    runs = list(session.runs)
    for place, margin in ((1, 1e-5), (2, 0.2), (5, None), (0, 1e-6)):
        metrics = {} if place == 0 else {"first_change": 1.0}
        runs[place] = dataclasses.replace(runs[place], min_margin=margin, metrics=metrics)
    (warning,) = told(session.changed(runs=tuple(runs)))
    assert warning.startswith("1 of 3 changed texts came within .001 logits of a tie")


def test_unlike_lengths_are_said_where_generated_tokens_are_captured() -> None:
    session = a_session()
    runs = list(session.runs)
    runs[1] = dataclasses.replace(runs[1], token_ids=(1,))
    (warning,) = told(session.changed(runs=tuple(runs)))
    assert warning.startswith("texts differ in length within 1 of 12 prompts")
    prompt_alone = a_session(capture={"sites": [SITE], "positions": "prompt"}).changed(runs=tuple(runs))
    assert told(prompt_alone) == ()


def test_the_gravest_comes_first_and_stands_on_the_chart() -> None:
    session = a_session({**CLAMP, "values": [-9, 0, 9]}, prompts=4)
    warnings = polar_from_session(session, session.planes[0], swept_groups(session, session.planes[0])).warnings
    order = ["symmetric", "outside", "only 4 units", "a clamp to 0"]
    assert [next(part for part in order if part in one) for one in warnings] == order
