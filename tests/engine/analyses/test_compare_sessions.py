from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.analyses.compare_charts import value_charts
from srm_explorer.engine.analyses.compare_sessions import compare_sessions, compared_sessions
from srm_explorer.engine.analyses.measured_session import NOT_SCORED
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.comparison import compare
from srm_explorer.engine.figures.groups import points_of, run_groups
from srm_explorer.engine.session import ComputedTest, PlaneRecord, Session, load_session, record_tests, save_session
from srm_explorer.engine.session.codec import json_line
from srm_explorer.engine.session.effects import Effects, RunEffects, TextScores
from srm_explorer.engine.stats.permutation import benjamini_hochberg
from srm_explorer.engine.stats.regions import JointRegion, amplitude_difference, joint_region
from srm_explorer.engine.stats.resampling import unit_totals
from srm_explorer.engine.stats.unit_means import mean_effect
from tests.engine.analyses.test_compare_study import made

FAST: dict[str, Any] = {"resamples": 300}
DEEP, WIDE = "blocks.7.mlp.hook_post", "blocks.1.mlp.hook_post"


def elsewhere(
    name: str, site: str, neurons: tuple[int, int], *, model: str = "gpt2", op: str = "clamp", **how: Any
) -> Session:
    """A session of another layer, neuron, plane, model or operation, of vectors of its own."""
    session = made(name, **how)
    (edit,) = session.spec.interventions
    spec = session.spec.model_copy(
        update={
            "interventions": (edit.model_copy(update={"site": site, "neurons": (neurons[0],), "op": op}),),
            "capture": session.spec.capture.model_copy(update={"sites": (site,)}),
            "model": session.spec.model.model_copy(update={"name": model}),
        }
    )
    planes = tuple(dataclasses.replace(plane, site=site, a=neurons[0], b=neurons[1]) for plane in session.planes)
    return session.changed(spec=spec, planes=planes)


def scored(session: Session, size: float, seed: int = 0) -> Session:
    """The session with a KL of each run that was changed, exponential around a size that is the run's own."""
    rng = np.random.default_rng(seed)
    found: dict[int, RunEffects] = {}
    for run in session.runs:
        kl = tuple(rng.exponential(size, 3).tolist()) if run.condition else ()
        scores = TextScores(kl, (0.0,) * len(kl), (1,) * len(kl), 1.0, 0.5, 0.5, (), ())
        found[run.index] = RunEffects(run.index, 3.0, None, {"baseline": scores} if kl else {}, {})
    effects = Effects("", ("baseline",), "", (), (), {}, {}, (), (), found)
    return session.changed(effects=json.loads(json_line(effects.to_dict())))


def table(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    (wanted,) = (one.to_dict()["rows"] for one in tables_in(found) if one.name == name)
    return wanted


def units_of_kl(session: Session) -> np.ndarray:
    effects = session.effects["runs"] if session.effects else []
    by_prompt: dict[int, list[float]] = {}
    for run, one in zip(session.runs, effects, strict=True):
        if run.condition:
            by_prompt.setdefault(run.prompt, []).append(float(np.mean(one["texts"]["baseline"]["kl"])))
    return np.array([np.mean(values) for _, values in sorted(by_prompt.items())])


def all_kinds() -> list[Session]:
    """Two neurons of a layer, another layer, another model with another operation, values and prompts."""
    return [
        scored(made("one", shift=(0.0, 0.3)), 0.1),
        scored(elsewhere("two", made().planes[0].site, (8, 9), shift=(0.0, 0.5), seed=1), 0.3, seed=1),
        elsewhere("deep", DEEP, (3, 5), seed=2),
        scored(elsewhere("other", WIDE, (40, 41), model="pythia", op="scale", values=(0.0, 2.0), words="phrase"), 0.2),
    ]


def test_sessions_of_any_neurons_layers_models_and_values_are_compared() -> None:
    sessions = all_kinds()
    found = compare_sessions(sessions, **FAST)
    assert json.loads(json.dumps(found))["names"] == ["one", "two", "deep", "other"]
    rows = table(found, "sessions")
    assert [row["session"] for row in rows] == ["one", "two", "deep", "other"]
    for session, row in zip(sessions, rows, strict=True):
        plane = session.planes[0]
        (pooled,) = (group.runs for group in run_groups(session, ()).values() if group.role == "pooled")
        assert row["amplitude"] == pytest.approx(np.hypot(*points_of(plane).xy[pooled].mean(axis=0)))
        assert row["amplitude_low"] <= row["amplitude"] <= row["amplitude_high"]
        base = {run.prompt: run.token_ids for run in session.runs if not run.condition}
        changed = [run.token_ids != base[run.prompt] for run in session.runs if run.condition]
        assert row["changed"] == pytest.approx(np.mean(changed))
        assert row["changed_low"] <= row["changed"] <= row["changed_high"]
        if session.effects:
            assert row["kl"] == pytest.approx(units_of_kl(session).mean())
            assert row["kl_low"] < row["kl"] < row["kl_high"]
            assert row["refused"] == ""
        else:
            assert row["kl"] is None
            assert row["refused"] == f"{NOT_SCORED}: srm-explorer effects deep --score"
    for line in table(found, "against"):
        assert line["difference"] is not None or line["refused"]
        # What is refused says what helps.
        assert not line["refused"] or "srm-explorer" in line["refused"] or "run both on the same" in line["refused"]
    refused = {(line["session"], line["measure"]) for line in table(found, "against") if line["difference"] is None}
    assert refused == {("deep", "KL nats"), *((name, "mean (ΔA, ΔB), size") for name in ("two", "deep", "other"))}


def test_what_a_session_did_does_not_depend_on_its_company() -> None:
    one, two, deep, other = all_kinds()
    alone = {row["session"]: row for row in table(compare_sessions([one, two], **FAST), "sessions")}
    with_all = {row["session"]: row for row in table(compare_sessions([other, two, deep, one], **FAST), "sessions")}
    measured = [key for key in alone["one"] if key != "q"]
    for name, row in alone.items():
        assert [with_all[name][key] for key in measured] == [row[key] for key in measured]


def test_units_that_sessions_share_are_paired_and_others_are_not() -> None:
    one, two, _, other = all_kinds()
    lines = {
        (line["session"], line["measure"]): line
        for line in table(compare_sessions([one, two, other], **FAST), "against")
    }
    kl = [units_of_kl(session) for session in (one, two, other)]
    paired, apart = lines["two", "KL nats"], lines["other", "KL nats"]
    assert paired["how"].startswith("paired by prompt: 20 of 20 prompts")
    assert paired["refused"] == ""
    expected = mean_effect(kl[1] - kl[0], resamples=300)
    assert [paired[key] for key in ("difference", "low", "high", "p")] == pytest.approx(
        [float(value) for value in (expected.mean, expected.low, expected.high, expected.p)]
    )
    assert apart["how"] == "unpaired"
    assert apart["refused"].startswith("no prompt in common")
    assert apart["difference"] == pytest.approx(kl[2].mean() - kl[0].mean())
    assert apart["low"] < apart["difference"] < apart["high"]
    changed = lines["other", "texts changed"]
    assert changed["how"] == "unpaired"
    assert changed["low"] <= changed["difference"] <= changed["high"]


def test_means_are_subtracted_in_a_plane_that_all_have() -> None:
    one, two = made("one"), made("two", shift=(0.0, 1.5), seed=3)
    found = compare_sessions([one, two, made("three", seed=4)], **FAST)
    rows = [row for row in table(found, "against") if row["measure"] == "mean (ΔA, ΔB), size"]
    points = [points_of(session.planes[0]).xy for session in (one, two)]
    edited = [run.condition != 0 for run in one.runs]
    expected = np.hypot(*(points[1][edited].mean(axis=0) - points[0][edited].mean(axis=0)))
    assert rows[0]["difference"] == pytest.approx(expected)
    assert rows[0]["low"] <= expected <= rows[0]["high"]
    assert rows[0]["p"] is not None
    assert rows[0]["p"] <= rows[0]["q"]


def test_amplitudes_of_units_that_go_apart_differ_by_more() -> None:
    one, two = made("one"), made("two", seed=3)
    # The second session's vectors turned about its mean: what is far along in the first is behind in the other.
    (plane,) = two.planes
    edited = np.array([run.condition != 0 for run in two.runs])
    points = points_of(plane).xy
    turned = np.where(edited[:, None], 2 * points[edited].mean(axis=0) - points, points)
    two = two.changed(
        planes=(dataclasses.replace(PlaneRecord.of(plane.site, plane.a, plane.b, turned, 1 + 0 * turned[:, 0])),)
    )
    lines = table(compare_sessions([one, two], **FAST), "against")
    (line,) = [line for line in lines if line["measure"] == "amplitude A"]
    unit = np.array([run.prompt for run in one.runs])[edited]
    sides = [points_of(session.planes[0]).xy[edited] for session in (two, one)]
    regions = [joint_region(unit_totals(side, unit, 20), np.zeros(20, int)) for side in sides]
    means = [np.array([side[unit == at].mean(axis=0) for at in range(20)]) for side in sides]
    r = float(np.corrcoef(*(mean @ mean.mean(axis=0) for mean in means))[0, 1])
    assert r < -0.5
    ends = amplitude_difference(*regions, r)
    assert [line["low"], line["high"]] == pytest.approx(ends)
    assert ends != amplitude_difference(*regions)


def test_every_session_counts_the_tests_that_are_made_on_it(tmp_path: Path) -> None:
    names = ("one", "two", "three")
    for at, name in enumerate(names):
        session = scored(made(name, shift=(0.0, 0.2 * at), seed=at), 0.1 * (at + 1), seed=at)
        save_session(session, tmp_path / f"{name}.json")
    one, two, three = (load_session(tmp_path / f"{name}.json") for name in names)
    record_tests(two, [ComputedTest("earlier", {"number": number}, 0.9) for number in range(40)], "differences")
    found = compare_sessions([one, two, three], **FAST)
    sizes = {name: family["tests"] for name, family in found["families"].items()}
    tested = dict.fromkeys(names, 0)
    for row in table(found, "sessions"):
        tested[row["session"]] += row["p"] is not None
    for line in table(found, "against"):
        for name in (line["session"], "one"):
            tested[name] += line["p"] is not None
    assert sizes == {"one": tested["one"], "two": tested["two"] + 40, "three": tested["three"]}
    # Forty more tests of the second session weigh on what is told of it and the first: the larger q of the two.
    rows, lines = ([row for row in table(found, of) if row["p"] is not None] for of in ("sessions", "against"))
    own = {name: [row["p"] for row in rows if row["session"] == name] for name in names}
    for name, more in (("two", [0.9] * 40), ("three", [])):
        between = [line["p"] for line in lines if line["session"] == name]
        others = [line["p"] for line in lines if line["session"] != name]
        its, firsts = (benjamini_hochberg([*between, *p]) for p in ([*own[name], *more], [*own["one"], *others]))
        expected = np.maximum(its[: len(between)], firsts[: len(between)])
        told = [line["q"] for line in lines if line["session"] == name]
        assert told == pytest.approx(expected.tolist(), rel=1e-4)
    again = compare_sessions([one, two, three], **FAST)
    assert again["families"] == found["families"]


def test_charts_over_values_hold_the_numbers_of_the_table() -> None:
    compared = compared_sessions(compare(*all_kinds()), resamples=300)
    by_value = next(table for table in compared.tables if table.name == "values").to_dict()["rows"]
    figure = value_charts(compared, 0.2, score="press w")
    amplitude = [panel for panel in figure.panels if panel.label == "amplitude A"]
    assert [panel.value_label for panel in amplitude] == ["clamp", "scale"]
    assert len({(panel.axis.low, panel.axis.high) for panel in amplitude}) == 1
    for label, key in (("amplitude A", "amplitude"), ("share changed", "changed"), ("KL nats", "kl")):
        for panel in (panel for panel in figure.panels if panel.label == label):
            for curve in (panel.curve, *(other.curve for other in panel.others)):
                rows = [row for row in by_value if row["session"] == curve.label]
                assert curve.y.tolist() == pytest.approx([row[key] for row in rows])
    assert [entry.session for entry in figure.legend] == [0, 1, 2, 3]
    (kl,) = [panel for panel in figure.panels if panel.label == "KL nats" and panel.note]
    assert kl.note == f"1 of 4 {NOT_SCORED}: press w"
    only = value_charts(compared_sessions(compare(made("a"), made("b"))), 0.2, "kl", score="press w")
    assert [(panel.note, panel.curve.x.size) for panel in only.panels] == [(f"{NOT_SCORED}: press w", 0)]


def test_sessions_without_vectors_or_values_still_have_what_can_be_told() -> None:
    one = made("one")
    bare = made("bare", seed=5).changed(planes=())
    found = compare_sessions([one, bare], **FAST)
    row = table(found, "sessions")[1]
    assert row["amplitude"] is None
    assert row["changed"] is not None
    assert "no plane: srm-explorer planes bare --add A B" in row["refused"]
    untouched = one.changed(name="untouched", runs=tuple(run for run in one.runs if not run.condition))
    planes = tuple(dataclasses.replace(p, x=p.x[::4], y=p.y[::4], norm=p.norm[::4]) for p in one.planes)
    found = compare_sessions([one, untouched.changed(planes=planes)], **FAST)
    assert "no run of untouched beside its baseline" in table(found, "sessions")[1]["refused"]
    assert [line["measure"] for line in table(found, "against")] == ["all"]
    for wrong in ({"plane": 2}, {"family": ""}):
        with pytest.raises(ExplorerError):
            compare_sessions([one, bare], **wrong)
    with pytest.raises(ExplorerError, match="choose two to 8"):
        compare_sessions([one] * 9)


@pytest.mark.parametrize("opposed", [False, True])
def test_the_difference_of_two_amplitudes_is_held_by_its_interval(opposed: bool) -> None:
    """Skewed units of unequal numbers of runs, those of both sessions apart, or the same in opposite ways."""
    rng = np.random.default_rng(7)
    units, runs, experiments = 14, 40, 1_002
    of_run = np.concatenate([np.arange(units), rng.integers(0, units, runs - units)])
    stratum = np.arange(units) % 2
    held = 0
    for experiment in range(experiments):
        truth = (0.0, 0.2, 1.0)[experiment % 3]
        regions: list[JointRegion | None] = []
        along: list[np.ndarray] = []
        shared = 0.5 * rng.exponential(size=(units, 1)) * rng.choice([-1.0, 1.0], size=(units, 1))
        for turn, sign in ((0.3, 1.0), (2.0, -1.0)):
            axis = np.array([np.cos(turn), np.sin(turn)])
            own = sign * shared if opposed else 0.5 * (rng.exponential(size=(units, 1)) - 1)
            xy = (truth + own) * axis + 0.15 * (rng.exponential(size=(units, 2)) - 1)
            regions.append(joint_region(unit_totals(xy[of_run], of_run, units), stratum, resamples=120))
            along.append(xy @ xy.mean(axis=0))
        correlation = float(np.corrcoef(*along)[0, 1]) if opposed else 0.0
        ends = amplitude_difference(*regions, correlation)
        assert ends is not None
        held += ends[0] <= 0 <= ends[1]
    assert held / experiments >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / experiments)


def test_two_amplitudes_far_apart_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    of_run = np.arange(20)
    sides = [
        joint_region(unit_totals([size, 0.1] + 0.1 * rng.normal(size=(20, 2)), of_run, 20), of_run * 0)
        for size in (0.8, 0.3)
    ]
    low, high = amplitude_difference(*sides) or (0.0, 0.0)
    assert 0 < low < 0.5 < high
    assert amplitude_difference(sides[0], None) is None
