"""How sure curves are, what chance draws, and what the tool says where arithmetic alone explains a curve."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.analyses.bands import BY_CONDITION_RESAMPLES, FAMILY, plane_bands, session_bands, with_bands
from srm_explorer.engine.analyses.beyond_arithmetic import residual_points
from srm_explorer.engine.analyses.registry import run_study
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.figures.arithmetic import arithmetic_points, without_clamped_axis
from srm_explorer.engine.figures.dose import dose_from_session
from srm_explorer.engine.figures.groups import session_warnings, swept_groups
from srm_explorer.engine.figures.session_overlays import stored_bands
from srm_explorer.engine.session import (
    ComputedTest,
    PlaneRecord,
    PromptRecord,
    RunRecord,
    Session,
    load_session,
    record_tests,
    save_session,
)
from srm_explorer.engine.session.codec import json_line
from srm_explorer.engine.session.units import changed_texts
from srm_explorer.engine.stats.permutation import benjamini_hochberg
from srm_explorer.engine.stats.planes import coordinates, neuron_plane
from srm_explorer.engine.stats.resampling import RESAMPLES

SITE, RESID = "blocks.2.mlp.hook_post", "blocks.2.hook_resid_post"
WIDTH = 40
VALUES = (-6.0, -2.0, 2.0, 6.0)
Vectors = dict[str, Any]


def random_session(
    seed: int = 0, prompts: int = 24, values: tuple[float, ...] = VALUES, change: float = 0.0, **spec: Any
) -> tuple[Session, Vectors]:
    """Random vectors around a baseline whose phase is 45 degrees, neuron 7 clamped; every text is another one.

    `change` is what the other texts add to neuron 9, beyond arithmetic.
    """
    rng = np.random.default_rng(seed)
    experiment = Experiment.from_dict(
        {
            "model": {"name": "gpt2"},
            "prompts": {"sets": ["a", "b"]},
            "interventions": [{"site": SITE, "neurons": [7], "op": "clamp", "values": list(values)}],
            "capture": {"sites": [SITE, RESID]},
            "planes": [{"site": SITE, "a": 7, "b": 9}, {"site": RESID, "a": 1, "b": 2}],
            "spotlight": {"angles": 72, "thresholds": [0.7, 0.3]},
            **spec,
        }
    )
    listed = conditions(experiment)
    grid = [(prompt, condition) for prompt in range(prompts) for condition in range(len(listed))]
    mean = np.zeros(WIDTH)
    mean[[7, 9]] = 1.0
    own = rng.normal(size=(prompts, WIDTH)) * 0.5 + mean
    vectors = np.array([own[prompt] + rng.normal(size=WIDTH) * 0.5 for prompt, _ in grid])
    for row, (_, condition) in enumerate(grid):
        if condition:
            vectors[row, 9] += change
            vectors[row, 7] = values[condition - 1]
    kept = {SITE: vectors.astype(np.float32), RESID: rng.normal(size=(len(grid), 12)).astype(np.float32)}
    return session_of(experiment, grid, kept), kept


def session_of(experiment: Experiment, grid: list[tuple[int, int]], kept: Vectors) -> Session:
    listed = conditions(experiment)
    prompts = max((prompt for prompt, _ in grid), default=-1) + 1
    return Session(
        name="trap",
        state="finished",
        spec=experiment,
        conditions=listed,
        resolved=tuple(tuple(None if v is None else (v,) for v in one.values) for one in listed),
        prompts=tuple(PromptRecord("ab"[p % 2], f"p{p}", {"kind": "xyz"[p % 3]}, (p,), 0, "") for p in range(prompts)),
        runs=tuple(RunRecord(i, p, c, 0, (p, c, i), "it", 3, "length", 0.5, {}) for i, (p, c) in enumerate(grid)),
        planes=tuple(
            PlaneRecord.of(site, a, b, *coordinates(kept[site], neuron_plane(kept[site].shape[1], a, b)))
            for site, a, b in ((SITE, 7, 9), (RESID, 1, 2))
        ),
    )


def taken(session: Session, kept: Vectors, runs: list[int]) -> tuple[Session, Vectors]:
    """Some of the runs alone, as an interrupted session holds them."""
    planes = tuple(
        PlaneRecord.of(one.site, one.a, one.b, one.xy[runs], np.array(one.norm)[runs]) for one in session.planes
    )
    part = session.changed(state="interrupted", runs=tuple(session.runs[run] for run in runs), planes=planes)
    return part, {site: own[runs] for site, own in kept.items()}


def test_symmetric_clamps_turn_the_pooled_phase_to_90_degrees_and_the_tool_says_as_arithmetic_predicts() -> None:
    said = 0
    for seed in range(8):
        session, _ = random_session(seed)
        session = session.changed(bands={"planes": [plane_bands(session, 0, resamples=1_000).to_dict()]})
        plane = session.planes[0]
        baseline, pooled = swept_groups(session, plane)
        assert baseline.sweep.phase_deg == pytest.approx(45, abs=12)
        assert pooled.sweep.phase_deg == pytest.approx(90, abs=12)
        _, predicted = swept_groups(session, plane, points=arithmetic_points(session, 0))
        assert predicted.sweep.phase_deg == pytest.approx(90, abs=12)
        first = session_warnings(session, plane, (baseline, pooled))[0]
        assert "±90°" in first
        said += first.startswith("as arithmetic predicts")
    # Nothing is beyond arithmetic, so p is at most .05 in one of twenty.
    assert said >= 6


def test_what_changed_texts_add_is_found_beyond_arithmetic_and_then_it_is_not_said() -> None:
    session, kept = random_session(change=2.0)
    session = with_bands(session, kept)
    bands = stored_bands(session, 0, ())
    assert bands is not None
    pooled, baseline = bands.of("clamped"), bands.of("baseline")
    assert pooled is not None
    assert baseline is not None
    assert baseline.p_arithmetic is None
    assert pooled.p_arithmetic is not None
    assert pooled.p_arithmetic < 0.001
    assert pooled.q_arithmetic is not None
    assert pooled.p_arithmetic <= pooled.q_arithmetic < 0.01
    assert pooled.p_mean is not None
    assert pooled.p_mean < 0.01
    assert pooled.beyond is not None
    assert 0 < pooled.beyond[1] < pooled.beyond[0] < pooled.beyond[2]
    # The pooled group, and four values; the residual stream's plane has no prediction.
    assert bands.family == 5
    assert not session_warnings(session, session.planes[0], swept_groups(session, session.planes[0]))[0].startswith(
        "as"
    )


def test_runs_that_wrote_their_baselines_text_differ_from_arithmetic_by_rounding_only_which_is_nothing() -> None:
    session, kept = random_session(change=1e-5)
    same = tuple(dataclasses.replace(run, token_ids=(1, 2)) for run in session.runs)
    rows = np.arange(len(same))
    base = rows - rows % (1 + len(VALUES))
    vectors = kept[SITE][base].copy()
    swept = rows != base
    vectors[swept, 7] = kept[SITE][swept, 7]
    vectors[swept] += np.float32(1e-6)
    kept = {**kept, SITE: vectors}
    session = session_of(session.spec, [(run.prompt, run.condition) for run in session.runs], kept).changed(runs=same)
    residual = residual_points(session, 0)
    assert residual is not None
    assert not residual.any()
    for bands in session_bands(session, kept, planes=[0]):
        assert {band.p_arithmetic for band in bands.groups} == {None, 1.0}
        assert {band.changed for band in bands.groups} == {None, (0, len(session.prompts))}
        # None of the units differs: that is no interval of width zero.
        assert {(band.p_mean, band.beyond) for band in bands.groups} == {(None, None)}


def test_a_session_is_saved_with_what_it_takes_to_draw_it_again_without_vectors(tmp_path: Path) -> None:
    session, kept = random_session()
    saved = save_session(with_bands(session, kept), tmp_path / "trap.json", vectors=kept)
    (tmp_path / "trap.safetensors").unlink()
    again = load_session(saved.path)
    for plane in (0, 1):
        for by in ((), ("condition",)):
            fresh = plane_bands(session, plane, by, kept, resamples=10_000 if not by else 2_000)
            stored = stored_bands(again, plane, by)
            assert stored is not None
            assert [band.label for band in stored.groups] == [band.label for band in fresh.groups]
            for was, now in zip(fresh.groups, stored.groups, strict=True):
                np.testing.assert_allclose(now.mean_band(72), was.mean_band(72), rtol=1e-6, atol=1e-12)
                for level, band in was.counts.items():
                    np.testing.assert_allclose(now.counts[level], band, rtol=1e-3)
            assert {null.group for null in stored.nulls} == {band.label for band in fresh.groups}
    told = {null.legend for null in stored_bands(again, 0, ()).nulls}  # type: ignore[union-attr]
    assert told == {
        "95 % of all 38 (n7, random) planes",
        "95 % of 200 isotropic random planes",
        "95 % of 200 planes of the baseline's second moment",
    }
    (null, *_) = plane_bands(session, 1, (), kept).nulls
    assert null.legend == "95 % of all 10 (d1, random) planes"


def test_the_same_seed_gives_the_same_bands_and_every_other_grouping_is_computed_on_demand(tmp_path: Path) -> None:
    session, kept = random_session()
    path = save_session(session, tmp_path / "trap.json", vectors=kept).path
    asked = {"plane": 0, "by": ["kind", "condition"], "resamples": 1_000, "seed": 5, "nulls": ["partners", "isotropic"]}
    found = run_study("bands", path, asked)
    assert found == run_study("bands", path, asked)
    assert found["bands"]["seed"] == 5
    labels = {group["label"] for group in found["bands"]["groups"]}
    assert {"baseline · kind=x", "+6 · kind=z"} <= labels
    assert {null["kind"] for null in found["bands"]["nulls"]} == {"partners", "isotropic"}
    (tmp_path / "trap.safetensors").unlink()
    without = run_study("bands", path, asked)
    assert without["bands"]["nulls"] == []
    assert "missing" in without["told"][0]
    with pytest.raises(ExplorerError, match="no plane 7"):
        run_study("bands", path, {"plane": 7})
    with pytest.raises(ExplorerError, match="no factor 'colour'"):
        run_study("bands", path, {"by": ["colour"]})


def test_without_tokens_only_what_rounding_leaves_is_no_difference() -> None:
    session, _ = random_session(change=-2.0)
    told = residual_points(session, 0)
    unknown = residual_points(session.changed(provenance={"imported": {"unknown": ["tokens"]}}), 0)
    assert told is not None
    assert unknown is not None
    np.testing.assert_array_equal(unknown, told)
    assert (unknown[:, 1] < -0.1).any()


def test_without_tokens_texts_tell_what_changed() -> None:
    session, _ = random_session(prompts=5)
    words = [f"{run.prompt}" if run.index % 3 else "changed" for run in session.runs]
    runs = tuple(dataclasses.replace(run, text=word) for run, word in zip(session.runs, words, strict=True))
    session = session.changed(runs=runs, provenance={"imported": {"unknown": ["tokens"]}})
    base = [row - run.condition for row, run in enumerate(runs)]
    changed, told = changed_texts(session)
    assert changed.tolist() == [word != words[at] for word, at in zip(words, base, strict=True)]
    assert told.tolist() == [run.condition != 0 for run in runs]


def test_q_is_over_all_tests_of_the_family_that_the_ledger_knows() -> None:
    session, kept = random_session(change=0.7)
    record_tests(session, [ComputedTest("earlier", {"number": number}, 0.9) for number in range(40)], FAMILY)
    bands = session_bands(session, kept, planes=[0])
    groups = [band for one in bands for band in one.groups if band.p_arithmetic is not None]
    expected = benjamini_hochberg([*(band.p_arithmetic for band in groups), *[0.9] * 40])
    np.testing.assert_allclose([band.q_arithmetic for band in groups], expected[: len(groups)], rtol=1e-4)
    assert expected.min() < 0.5


def test_dose_bands_hold_the_dose_chart_by_value() -> None:
    session, _ = random_session(values=(2.0, -6.0, 6.0))
    bands = plane_bands(session, 0, ("condition",), resamples=1_000)
    figure = dose_from_session(session, session.planes[0], 0.3)
    curves = {panel.label: panel.curve.y for panel in figure.panels}
    named = {
        "amplitude": "amplitude A",
        "norm": "mean norm",
        "energy": "mean in-plane energy",
        "mean": "mean n7",
        "share": "largest share > .3",
    }
    for band in bands.dose:
        assert band.labels == ("-6", "+2", "+6")
        if band.panel == "phase" or band.threshold not in (None, 0.3):
            continue
        low, high = band.band
        middle = curves[named[band.panel]]
        assert (low <= middle + 1e-9).all()
        assert (middle <= high + 1e-9).all()
        if band.panel == "mean":
            np.testing.assert_allclose(high - low, 0, atol=1e-9)
        else:
            assert (high - low)[1] > 0
    assert sorted(band.threshold for band in bands.dose if band.threshold) == [0.3, 0.7]


@pytest.mark.parametrize("kept_runs", [[], [0], [0, 1, 2, 3, 4], [0, 1, 5, 6, 7], list(range(1, 10)), [1, 2, 6]])
def test_interrupted_sessions_have_the_bands_their_runs_allow(kept_runs: list[int]) -> None:
    session, kept = taken(*random_session(prompts=3), kept_runs)
    found = with_bands(session, kept)
    assert bool(found.bands) == bool(kept_runs)
    units = len({session.runs[run].prompt for run in range(len(session.runs))})
    for table in found.bands.get("planes", ()):
        assert all(group["units"] <= units for group in table["groups"])
        assert bool(table["groups"]) <= (units > 1)
    for plane in found.planes:
        if kept_runs:
            assert session_warnings(found, plane, swept_groups(found, plane))


@pytest.mark.parametrize("what", ["zero", "nan", "constant", "tokens", "huge"])
def test_odd_vectors_have_bands_too(what: str) -> None:
    session, kept = random_session(prompts=4)
    vectors = kept[SITE].copy()
    grid = [(run.prompt, run.condition) for run in session.runs]
    if what == "zero":
        vectors[:] = 0.0
    elif what == "nan":
        vectors[::3] = np.nan
    elif what == "constant":
        vectors[:] = vectors[0]
    elif what == "huge":
        vectors *= np.float32(1e30)
    kept = {**kept, SITE: vectors}
    session = session_of(session.spec, grid, kept)
    if what == "tokens":
        kept = {site: [np.stack([row - 1, row + 1]) for row in own] for site, own in kept.items()}
    found = with_bands(session, kept)
    for table in found.bands["planes"]:
        for group in table["groups"]:
            assert group["p_arithmetic"] is None or 0 < group["p_arithmetic"] <= 1
    assert stored_bands(found, 0, ()) is not None
    assert json_line(found.bands)


def test_the_view_without_the_clamped_axis_is_the_rest_of_the_vector() -> None:
    session, kept = random_session()
    view = without_clamped_axis(session, 0)
    assert view is not None
    points, told = view
    assert told == "without n7"
    rest = kept[SITE].astype(np.float64)
    rest[:, 7] = 0.0
    np.testing.assert_allclose(points.xy[:, 1], rest[:, 9] / np.linalg.norm(rest, axis=1), rtol=1e-9)
    assert not points.xy[:, 0].any()


def test_the_page_of_methods_has_the_number_of_flips_that_are_made() -> None:
    page = (Path(__file__).parents[3] / "docs" / "methods.md").read_text()
    assert f"({RESAMPLES:,} times, {BY_CONDITION_RESAMPLES:,} where groups are made by value" in page
    assert f"({RESAMPLES:,}; {BY_CONDITION_RESAMPLES:,} for the bands of single values)" in page
