from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.figures.arithmetic import arithmetic_points, without_clamped_axis
from srm_explorer.engine.figures.bands import DoseBand, GroupBand, NullBand, PlaneBands
from srm_explorer.engine.figures.compass import compass_from_session, region_outline
from srm_explorer.engine.figures.curves import SweptGroup
from srm_explorer.engine.figures.difference import residual_polar, residual_thresholds
from srm_explorer.engine.figures.dose import dose_from_session
from srm_explorer.engine.figures.groups import (
    CONDITION,
    points_of,
    polar_from_session,
    run_groups,
    swept_groups,
    thresholds_from_session,
)
from srm_explorer.engine.figures.session_overlays import choices_of, overlays_from_session, predictions_of, stored_bands
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session

SITE = "blocks.2.mlp.hook_post"
VALUES = (-3.0, 0.5, 4.0)
ANGLES = 72


def clamped(*, prompts: int = 8, same_text: bool = False, seed: int = 4) -> Session:
    """Neuron 7 held at three values in the plane of 7 and 9; with the same text, nothing else moves."""
    experiment = Experiment.from_dict(
        {
            "model": {"name": "gpt2"},
            "prompts": {"sets": ["reasoning"]},
            "interventions": [{"site": SITE, "neurons": [7], "op": "clamp", "values": list(VALUES)}],
            "capture": {"sites": [SITE]},
            "planes": [{"a": 7, "b": 9}],
            "spotlight": {"thresholds": [0.6, 0.2], "angles": ANGLES},
        }
    )
    listed = conditions(experiment)
    pairs = [(prompt, one.index) for prompt in range(prompts) for one in listed]
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(prompts, 3))
    xy, norm = np.zeros((len(pairs), 2)), np.zeros(len(pairs))
    for row, (prompt, condition) in enumerate(pairs):
        own = base[prompt] if same_text or not condition else base[prompt] + rng.normal(size=3) * 0.3
        along = own[0] if listed[condition].value is None else listed[condition].value
        xy[row], norm[row] = (along, own[1]), np.sqrt(along**2 + own[1] ** 2 + own[2] ** 2)
    return Session(
        name="storm",
        state="finished",
        spec=experiment,
        conditions=listed,
        resolved=tuple(tuple(None if v is None else (v,) for v in one.values) for one in listed),
        prompts=tuple(PromptRecord("reasoning", f"p{at}", {}, (at,), 0, f"{at:064x}") for at in range(prompts)),
        runs=tuple(RunRecord(i, p, c, 0, (7, c), "", 2, "length", None, {}) for i, (p, c) in enumerate(pairs)),
        planes=(PlaneRecord.of(SITE, 7, 9, xy, norm),),
    )


def made_up(groups: Sequence[SweptGroup], by: tuple[str, ...] = (), *, undetermined: bool = False) -> PlaneBands:
    """Bands of three runs, or of a mean of 0.05, around every curve; chance below two runs."""
    ones = np.ones(ANGLES)
    return PlaneBands(
        plane=0,
        by=by,
        level=0.95,
        resamples=100,
        seed=1,
        family=12,
        groups=tuple(
            GroupBand(
                label=group.label,
                units=8,
                centre=(group.sweep.a, group.sweep.b),
                covariance=np.diag([0.0004, 0.0001]),
                radius2=6.25,
                phase_deg=None if undetermined else (350.6, 12.2),
                amplitude=(0.0 if undetermined else 0.012, 0.34),
                counts={0.6: np.stack([group.sweep.counts[0] - 3.0, group.sweep.counts[0] + 3.0])},
                p_arithmetic=None if group.role == "baseline" else 0.00004,
                q_arithmetic=None if group.role == "baseline" else 0.6,
                p_mean=None if group.role == "baseline" else 0.031,
                beyond=None if group.role == "baseline" else (0.012, 0.004, 0.02),
                changed=None if group.role == "baseline" else (5, 8),
            )
            for group in groups
        ),
        nulls=tuple(
            NullBand(kind, f"95 % of 200 {kind}", group.label, 200, np.stack([-0.1 * ones, 0.1 * ones]),
                     {0.6: np.stack([0 * ones, 2 * ones])})
            for group in groups
            for kind in ("partners", "controls")
        ),
    )  # fmt: skip


def test_the_legend_tells_intervals_what_is_beyond_arithmetic_and_what_chance_is() -> None:
    session = clamped()
    (plane,) = session.planes
    groups = swept_groups(session, plane)
    beside = overlays_from_session(session, plane, groups, (), made_up(groups))
    base, swept, arithmetic, chance = polar_from_session(session, plane, groups, "counts", 0.6, beside).legend
    assert "┆" not in " ".join(base.details)
    amplitude, phase, p, q, mean, changed, counts, bars = swept.details
    assert amplitude.endswith("[.0120, .340]")
    assert phase.endswith("° (351, 12)")
    assert (p, q) == ("beyond arithmetic p <.0001 of symmetry", "q .600 of 12")
    assert mean == "Δ .0120 [.00400, .0200] p .0310"
    assert changed == "text changed in 5 of 8 units"
    assert counts == "8 prompts · 24 runs"
    assert bars == "┆ 95 % band of 8 units"
    assert (arithmetic.label, arithmetic.role, arithmetic.of) == ("arithmetic", "arithmetic", "clamped")
    assert (chance.role, chance.details) == ("chance", ("95 % of 200 controls",))
    vague = overlays_from_session(session, plane, groups, (), made_up(groups, undetermined=True))
    assert "φ undetermined" in polar_from_session(session, plane, groups, "mean", None, vague).legend[1].details


def test_bands_are_in_the_unit_of_the_curve() -> None:
    session = clamped()
    (plane,) = session.planes
    groups = swept_groups(session, plane)
    beside = overlays_from_session(session, plane, groups, (), made_up(groups))
    own = groups[1].sweep
    chance, band = polar_from_session(session, plane, groups, "counts", 0.6, beside).bands
    np.testing.assert_allclose(band.high[:-1], (own.counts[0] + 3) / own.n)
    np.testing.assert_allclose(chance.high, 2 / own.n)
    assert (band.x[0], band.x[-1], band.high[-1]) == (0.0, 360.0, band.high[0])
    chance, band = polar_from_session(session, plane, groups, "mean", None, beside).bands
    radians = np.deg2rad(own.angles_deg)
    half = np.sqrt(6.25 * (0.0004 * np.cos(radians) ** 2 + 0.0001 * np.sin(radians) ** 2))
    np.testing.assert_allclose(band.low[:-1], own.mean - half)
    np.testing.assert_allclose(chance.low, -0.1)
    # No band was computed for the other threshold, so none is drawn there.
    assert thresholds_from_session(session, plane, groups, 0.2, beside).bands == ()
    figure = thresholds_from_session(session, plane, groups, 0.6, beside)
    assert figure.left.high >= max(float(one.high.max()) for one in figure.bands)


def test_the_dashed_curve_is_the_sweep_of_the_predicted_points() -> None:
    session = clamped()
    (plane,) = session.planes
    groups = swept_groups(session, plane)
    points = arithmetic_points(session, 0)
    assert points is not None
    beside = overlays_from_session(session, plane, groups)
    (curve,) = [one for one in polar_from_session(session, plane, groups, "mean", None, beside).curves if one.dashed]
    rows = run_groups(session, ())["clamped"].runs
    a, b = points.xy[rows].mean(axis=0)
    radians = np.deg2rad(curve.x)
    np.testing.assert_allclose(curve.y, a * np.cos(radians) + b * np.sin(radians), atol=1e-12)
    counted = [one for one in thresholds_from_session(session, plane, groups, 0.6, beside).counts if one.dashed]
    assert [one.tag for one in counted] == [".6"]


def test_where_nothing_but_the_clamp_moved_the_prediction_is_what_was_observed() -> None:
    session = clamped(same_text=True)
    (plane,) = session.planes
    groups = swept_groups(session, plane)
    beside = overlays_from_session(session, plane, groups)
    for view in ("counts", "mean"):
        (curve,) = residual_polar(session, plane, groups, beside, view, 0.6).curves
        np.testing.assert_allclose(curve.y, 0.0, atol=1e-12)
    for curve in residual_thresholds(session, plane, groups, beside).counts:
        np.testing.assert_allclose(curve.y, 0.0, atol=1e-12)
    for panel in dose_from_session(session, plane, 0.6, residual=True).panels:
        np.testing.assert_allclose(panel.curve.y, 0.0, atol=1e-9)


def test_what_is_beyond_arithmetic_is_the_difference_of_the_two_sweeps() -> None:
    session = clamped()
    (plane,) = session.planes
    groups = swept_groups(session, plane, (CONDITION,))
    beside = overlays_from_session(session, plane, groups, (CONDITION,), made_up(groups, (CONDITION,)))
    figure = residual_polar(session, plane, groups, beside, "counts", 0.2)
    predicted = predictions_of(session, plane, groups, (CONDITION,))
    assert [curve.label for curve in figure.curves] == ["-3", "+0.5", "+4"]
    for curve, group in zip(figure.curves, groups[1:], strict=True):
        expected = group.sweep.fraction[1] - predicted[group.label].sweep.fraction[1]
        np.testing.assert_allclose(curve.y[:-1], expected)
        assert figure.low <= curve.y.min() <= curve.y.max() <= figure.high == -figure.low
    assert all("beyond arithmetic p <.0001 of symmetry" in entry.details for entry in figure.legend)


def test_nothing_predicted_is_said_and_not_drawn() -> None:
    session = clamped()
    kept = tuple(run for run in session.runs if session.conditions[run.condition].kind == "sweep")
    rows = [run.index for run in kept]
    plane = PlaneRecord.of(SITE, 7, 9, session.planes[0].xy[rows], np.array(session.planes[0].norm)[rows])
    bare = session.changed(runs=kept, planes=(plane,))
    groups = swept_groups(bare, plane)
    beside = overlays_from_session(bare, plane, groups)
    assert not beside.predicted
    assert not any(curve.dashed for curve in polar_from_session(bare, plane, groups, "mean", None, beside).curves)
    with pytest.raises(ExplorerError, match="predicts nothing"):
        residual_polar(bare, plane, groups, beside)
    with pytest.raises(ExplorerError, match="predicts nothing"):
        dose_from_session(bare, plane, 0.6, residual=True)


def test_the_focus_goes_round_all_groups_and_kinds_of_chance() -> None:
    session = clamped()
    (plane,) = session.planes
    pooled = swept_groups(session, plane)
    assert [label for label, _ in choices_of(pooled, None)] == ["clamped", "baseline"]
    listed = [(label, null.kind if null else "") for label, null in choices_of(pooled, made_up(pooled))]
    assert listed == [
        ("clamped", "controls"),
        ("clamped", "partners"),
        ("baseline", "controls"),
        ("baseline", "partners"),
    ]
    groups = swept_groups(session, plane, (CONDITION,))
    bands = made_up(groups, (CONDITION,))
    assert [label for label, _ in choices_of(groups, None)] == ["+4", "-3", "+0.5", "baseline"]
    for choice, label in ((0, "+4"), (2, "-3"), (6, "baseline"), (8, "+4")):
        beside = overlays_from_session(session, plane, groups, (CONDITION,), bands, choice)
        figure = polar_from_session(session, plane, groups, "counts", 0.6, beside)
        assert [band.label for band in figure.bands] == ["chance", label]
        dashed = [curve.label for curve in figure.curves if curve.dashed]
        assert dashed == ([] if label == "baseline" else [f"arithmetic {label}"])
        if label != "baseline":
            assert figure.legend[-1].details[-1] == f"of {label}"


def test_the_outline_of_a_region_lies_at_its_radius() -> None:
    session = clamped()
    (plane,) = session.planes
    groups = swept_groups(session, plane)
    bands = made_up(groups)
    band = dataclasses.replace(bands.groups[1], covariance=np.array([[0.004, 0.001], [0.001, 0.002]]))
    outline = region_outline(band)
    away = np.stack([outline.x, outline.y], axis=1) - band.centre
    distance = np.einsum("ij,jk,ik->i", away, np.linalg.inv(band.covariance), away)
    np.testing.assert_allclose(distance, band.radius2)
    figure = compass_from_session(session, plane, groups, (), overlays_from_session(session, plane, groups, (), bands))
    assert [region.label for region in figure.regions] == ["baseline", "clamped"]
    assert [arrow.label for arrow in figure.arrows if arrow.dashed] == ["arithmetic"]
    beyond = compass_from_session(
        session, plane, groups, (), overlays_from_session(session, plane, groups), residual=True
    )
    tails = {arrow.label: arrow.tail for arrow in beyond.arrows if not arrow.dashed}
    predicted = predictions_of(session, plane, groups)["clamped"].sweep
    assert tails == {"baseline": (0.0, 0.0), "clamped": (predicted.a, predicted.b)}


def test_a_dose_chart_has_its_bands_at_its_values_and_predictions_beside() -> None:
    session = clamped()
    (plane,) = session.planes
    groups = swept_groups(session, plane, (CONDITION,))
    labels = tuple(group.label for group in groups if group.role == "value")
    bands = dataclasses.replace(
        made_up(groups, (CONDITION,)),
        dose=(
            DoseBand("amplitude", labels[::-1], np.array([[0.3, 0.2, 0.1], [0.9, 0.8, 0.7]])),
            DoseBand("share", labels, np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), 0.2),
        ),
    )
    figure = dose_from_session(session, plane, 0.6, plain=False, bands=bands)
    amplitude, phase, share, norm, energy, along = figure.panels
    (band,) = amplitude.bands
    assert (band.x.tolist(), band.low.tolist(), band.high.tolist()) == (list(VALUES), [0.1, 0.2, 0.3], [0.7, 0.8, 0.9])
    assert not share.bands
    assert dose_from_session(session, plane, 0.2, bands=bands).panels[2].bands
    predicted = predictions_of(session, plane, groups, (CONDITION,))
    expected = [predicted[label].sweep.amplitude for label in labels]
    np.testing.assert_allclose(amplitude.others[0].curve.y, expected)
    assert [bool(panel.others) for panel in (phase, share, norm, energy, along)] == [True, True, False, True, False]
    beyond = dose_from_session(session, plane, 0.6, residual=True)
    np.testing.assert_allclose(beyond.panels[0].curve.y, amplitude.curve.y - expected)
    turned = beyond.panels[1].curve.y
    assert ((turned >= -180) & (turned < 180)).all()


def test_without_the_clamped_axis_only_the_other_is_left() -> None:
    session = clamped()
    (plane,) = session.planes
    found = without_clamped_axis(session, 0)
    assert found is not None
    points, taken = found
    assert taken == "without n7"
    (base, swept) = swept_groups(session, plane, points=points)
    assert swept.sweep.a == base.sweep.a == 0.0
    rows = run_groups(session, ())["clamped"].runs
    rest = np.sqrt(np.array(plane.norm) ** 2 - np.array(plane.x) ** 2)
    assert swept.sweep.b == pytest.approx(np.mean(np.array(plane.y)[rows] / rest[rows]))
    figure = dose_from_session(session, plane, 0.6, points=points)
    assert [panel.label for panel in figure.panels] == [
        "amplitude A",
        "phase φ",
        "largest share > .6",
        "mean in-plane energy",
    ]
    assert points_of(plane).xy.any()


def test_stored_bands_are_found_by_plane_and_grouping_and_damaged_ones_left_out() -> None:
    session = clamped()
    groups = swept_groups(session, session.planes[0])
    bands = made_up(groups)
    stored = session.changed(bands={"planes": [{"plane": 0}, bands.to_dict()]})
    found = stored_bands(stored, 0)
    assert found is not None
    assert found.groups[1].amplitude == (0.012, 0.34)
    assert stored_bands(stored, 0, ("type",)) is None
    assert stored_bands(stored, 1) is None
    assert stored_bands(session.changed(bands={"planes": "?"}), 0) is None
