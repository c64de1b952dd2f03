from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.figures.captions import (
    intervention_captions,
    model_caption,
    plane_captions,
    plane_title,
    pooled_caption,
    site_caption,
    state_caption,
    value_caption,
)
from srm_explorer.engine.figures.dose import dose_from_session
from srm_explorer.engine.figures.groups import (
    polar_from_session,
    session_warnings,
    swept_groups,
    telling_threshold,
    thresholds_from_session,
)
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session

SITE = "blocks.2.mlp.hook_post"
CLAMP = {"site": SITE, "neurons": [7], "op": "clamp", "values": [-2, 1, 5]}


def a_session(*interventions: dict[str, Any], prompts: int = 6, done: int | None = None, **spec: Any) -> Session:
    experiment = Experiment.from_dict(
        {
            "model": {"name": "gpt2"},
            "prompts": {"sets": ["reasoning"]},
            "interventions": list(interventions),
            "capture": {"sites": [SITE]},
            "planes": [{"a": 7, "b": 9}],
            **spec,
        }
    )
    listed = conditions(experiment)
    pairs = [(p, c) for p in range(prompts) for c in range(len(listed))][:done]
    rng = np.random.default_rng(1)
    xy = rng.normal(size=(len(pairs), 2))
    return Session(
        name="storm",
        state="finished" if done is None else "interrupted",
        spec=experiment,
        conditions=listed,
        resolved=tuple(tuple(None if v is None else (v,) for v in one.values) for one in listed),
        prompts=tuple(
            PromptRecord("ab"[i % 2], f"p{i}", {"level": str(i % 3)} if i else {}, (i,), 0, "") for i in range(prompts)
        ),
        runs=tuple(RunRecord(i, p, c, 0, (), "", 1, "length", None, {}) for i, (p, c) in enumerate(pairs)),
        planes=(PlaneRecord.of(SITE, 7, 9, xy, np.hypot(*xy.T) + rng.uniform(0, 2, len(pairs))),),
    )


def runs_where(session: Session, **wanted: Any) -> list[int]:
    def fits(run: RunRecord) -> bool:
        prompt, condition = session.prompts[run.prompt], session.conditions[run.condition]
        told = {
            "kind": condition.kind,
            "value": condition.value,
            "set": prompt.set,
            "level": prompt.factors.get("level"),
        }
        return all(told[name] == value for name, value in wanted.items())

    return [i for i, run in enumerate(session.runs) if fits(run)]


def cosines(session: Session, runs: list[int]) -> np.ndarray:
    (plane,) = session.planes
    angles = np.deg2rad(np.arange(360))
    unit = plane.xy[runs] / np.array(plane.norm)[runs, None]
    return unit @ np.stack([np.cos(angles), np.sin(angles)])


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ((), {"baseline": {"kind": "baseline"}, "clamped": {"kind": "sweep"}}),
        (
            ("condition",),
            {"baseline": {"kind": "baseline"}, "-2": {"value": -2}, "+1": {"value": 1}, "+5": {"value": 5}},
        ),
        (
            ("set",),
            {
                f"{name} · set={one}": {"kind": kind, "set": one}
                for one in "ab"
                for name, kind in (("baseline", "baseline"), ("clamped", "sweep"))
            },
        ),
        (
            ("condition", "level"),
            {
                f"{name} · level={level or '(none)'}": {**condition, "level": level}
                for level in (None, "1", "2", "0")
                for name, condition in (
                    ("baseline", {"kind": "baseline"}),
                    ("-2", {"value": -2}),
                    ("+1", {"value": 1}),
                    ("+5", {"value": 5}),
                )
            },
        ),
    ],
)
def test_groups_are_the_runs_their_names_say(by: tuple[str, ...], expected: dict[str, dict[str, Any]]) -> None:
    session = a_session(CLAMP)
    groups = {group.label: group for group in swept_groups(session, session.planes[0], by)}
    assert list(groups) == list(expected)
    for label, wanted in expected.items():
        runs = runs_where(session, **wanted)
        seen = cosines(session, runs)
        group = groups[label]
        assert group.n_runs == group.sweep.n == len(runs)
        assert group.n_prompts == len({session.runs[i].prompt for i in runs})
        np.testing.assert_allclose(group.sweep.mean, seen.mean(axis=0), atol=1e-12)
        np.testing.assert_array_equal(
            group.sweep.counts, [(seen > t + 1e-12).sum(axis=0) for t in (0.7, 0.5, 0.3, 0.1)]
        )


def test_baselines_of_levels_are_known_from_what_was_done_at_them() -> None:
    session = a_session(CLAMP)
    assert [g.role for g in swept_groups(session, session.planes[0])] == ["baseline", "pooled"]
    by_set = swept_groups(session, session.planes[0], ("set",))
    assert {(g.label.partition(" · ")[0], g.role) for g in by_set} == {
        ("baseline", "baseline of"),
        ("clamped", "level"),
    }


def test_a_background_has_its_reference_group() -> None:
    session = a_session({**CLAMP, "neurons": [8], "values": [3], "background": True}, CLAMP)
    assert [g.label for g in swept_groups(session, session.planes[0])] == ["baseline", "reference", "clamped"]


def test_the_telling_threshold_is_the_largest_that_lights_a_tenth() -> None:
    session = a_session(CLAMP)
    groups = swept_groups(session, session.planes[0], (), (0.999, 0.2, 0.6))
    level = telling_threshold(groups)
    seen = {t: max(g.sweep.fraction[i].max() for g in groups) for i, t in enumerate((0.999, 0.2, 0.6))}
    assert seen[level] >= 0.1
    assert all(share < 0.1 for t, share in seen.items() if t > level)
    dark = swept_groups(session, session.planes[0], (), (1.0, 0.9999))
    assert telling_threshold(dark) == 0.9999


def test_the_dose_chart_draws_each_value_and_the_baseline() -> None:
    session = a_session(CLAMP)
    figure = dose_from_session(session, session.planes[0], 0.5)
    panels = {panel.label: panel for panel in figure.panels}
    for panel in panels.values():
        assert panel.curve.x.tolist() == [-2, 1, 5]
    norms = np.array(session.planes[0].norm)
    expected = [norms[runs_where(session, value=value)].mean() for value in (-2, 1, 5)]
    np.testing.assert_allclose(panels["mean norm"].curve.y, expected)
    assert panels["mean norm"].baseline == pytest.approx(norms[runs_where(session, kind="baseline")].mean())
    shares = [(cosines(session, runs_where(session, value=v)) > 0.5).mean(axis=0).max() for v in (-2, 1, 5)]
    np.testing.assert_allclose(panels["largest share > .5"].curve.y, shares)
    plane = session.planes[0]
    energies = [
        np.mean([(plane.x[run] ** 2 + plane.y[run] ** 2) / plane.norm[run] ** 2 for run in runs])
        for runs in (runs_where(session, value=v) for v in (-2, 1, 5))
    ]
    np.testing.assert_allclose(panels["mean in-plane energy"].curve.y, energies)
    along = [np.array(plane.x)[runs_where(session, value=v)].mean() for v in (-2, 1, 5)]
    np.testing.assert_allclose(panels[f"mean {plane_captions(plane)[0]}"].curve.y, along)
    assert figure.value_label == "clamp value"


def test_crossed_values_have_no_dose() -> None:
    session = a_session(CLAMP, {**CLAMP, "neurons": [8], "values": [0, 1]}, grid=True)
    with pytest.raises(ExplorerError, match="crossed"):
        dose_from_session(session, session.planes[0])


@pytest.mark.parametrize(
    ("values", "neuron", "by", "told"),
    [
        ([-3, 0, 3], 7, (), ["±90°", "a clamp to 0"]),
        ([-3, 3], 9, (), ["0° or 180°"]),
        ([-3, 3], 8, (), ["holds nothing that was edited"]),
        ([-3, 3], 7, ("condition",), []),
        ([-3, 0.5, 2], 7, (), []),
        ([0], 7, (), ["a clamp to 0"]),
    ],
)
def test_what_arithmetic_alone_does_is_said(
    values: list[float], neuron: int, by: tuple[str, ...], told: list[str]
) -> None:
    session = a_session({**CLAMP, "neurons": [neuron], "values": values}, prompts=12)
    plane = session.planes[0]
    warnings = session_warnings(session, plane, swept_groups(session, plane, by))
    assert len(warnings) == len(told)
    for warning, part in zip(warnings, told, strict=True):
        assert part in warning


def test_an_added_value_is_no_clamp() -> None:
    session = a_session({**CLAMP, "op": "add", "values": [-1, 0, 1]}, prompts=12)
    plane = session.planes[0]
    assert session_warnings(session, plane, swept_groups(session, plane)) == ()
    assert pooled_caption(session.spec) == "added"


@pytest.mark.parametrize(("done", "warned"), [(8, False), (9, True), (24, False)])
def test_unequal_groups_of_an_interrupted_session_are_said(done: int, warned: bool) -> None:
    session = a_session(CLAMP, done=done)
    plane = session.planes[0]
    warnings = polar_from_session(session, plane, swept_groups(session, plane)).warnings
    assert any("incomplete" in warning for warning in warnings) == warned
    assert state_caption(session) == f"interrupted: {done} of 24 runs"
    assert session.planned_runs == 24


def test_every_chart_names_the_session_and_the_plane() -> None:
    session = a_session(CLAMP)
    plane = session.planes[0]
    groups = swept_groups(session, plane)
    titles = {
        polar_from_session(session, plane, groups).title,
        polar_from_session(session, plane, groups, "mean").title,
    }
    titles |= {thresholds_from_session(session, plane, groups).title, dose_from_session(session, plane).title}
    assert titles == {"storm · n7 × n9 · L2 hook_post"}


def test_an_unknown_factor_and_a_session_without_runs_are_refused() -> None:
    session = a_session(CLAMP)
    with pytest.raises(ExplorerError, match="no factor 'levle'; did you mean 'level'"):
        swept_groups(session, session.planes[0], ("levle",))
    nothing = a_session(CLAMP, done=0)
    with pytest.raises(ExplorerError, match="no run of it is finished"):
        swept_groups(nothing, nothing.planes[0])


def test_captions_tell_neurons_from_dimensions_and_say_units() -> None:
    assert site_caption("blocks.0.hook_resid_pre") == "L0 resid_pre"
    assert plane_title(PlaneRecord("blocks.2.hook_resid_post", 7, 9, (), (), ())) == "d7 × d9 · L2 resid_post"
    session = a_session({**CLAMP, "values": [-2, -1, 0, 1, 2, 3], "unit": "sigma", "positions": "generated"})
    assert intervention_captions(session.spec) == (
        "L2 hook_post · n7 · clamp −2 … 3 σ (6 values) · generated positions",
    )
    assert value_caption(session.spec) == "clamp value (σ)"
    assert pooled_caption(a_session(CLAMP, {**CLAMP, "neurons": [8], "op": "add"}).spec) == "intervened"


def test_the_demo_model_is_labelled_wherever_it_came_from() -> None:
    session = a_session(CLAMP)
    assert model_caption(session) == "gpt2"
    assert model_caption(session.changed(provenance={"model": {"is_demo": False}})) == "gpt2"
    assert model_caption(session.changed(provenance={"model": {"is_demo": True}})) == "gpt2 (demo model)"
    assert model_caption(a_session(CLAMP, model={"name": "demo"})) == "demo model"


def test_many_groups_are_shown_with_one_threshold_and_without_means() -> None:
    session = a_session(CLAMP)
    plane = session.planes[0]
    few = thresholds_from_session(session, plane, swept_groups(session, plane), 0.3)
    assert (len(few.counts), len(few.means), few.right is None) == (8, 2, False)
    assert {curve.tag for curve in few.counts} == {".7", ".5", ".3", ".1"}
    groups = swept_groups(session, plane, ("condition",))
    many = thresholds_from_session(session, plane, groups, 0.3)
    assert many.left_label == "runs with cosine > .3"
    assert (many.means, many.right) == ((), None)
    for curve, group in zip(many.counts, groups, strict=True):
        assert curve.tag == ""
        np.testing.assert_array_equal(curve.y[:-1], group.sweep.counts[group.sweep.thresholds.index(0.3)])
    assert thresholds_from_session(
        session, plane, groups
    ).left_label == f"runs with cosine > {telling_threshold(groups):g}".replace("0.", ".")


def test_the_polar_legend_says_which_group_is_nowhere_above_the_threshold() -> None:
    session = a_session(CLAMP)
    plane = session.planes[0]
    groups = swept_groups(session, plane, ("condition",), (0.99, 0.1))
    for level in (0.99, 0.1):
        legend = polar_from_session(session, plane, groups, threshold=level).legend
        for entry, group in zip(legend, groups, strict=True):
            lit = group.sweep.counts[group.sweep.thresholds.index(level)].any()
            assert (f"none > {level:g}".replace("0.", ".") in entry.details) != lit
