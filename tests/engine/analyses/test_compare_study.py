from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.analyses.compare import compare_groups, compare_study, default_pairs
from srm_explorer.engine.analyses.compare_match import BEYOND_ARITHMETIC, BY_DESIGN, Side, matched, same_axes
from srm_explorer.engine.analyses.compare_tables import (
    compare_tables,
    curves_table_of,
    difference_curves,
    difference_detail,
)
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.figures.groups import group_choice, group_names, points_of
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session, load_session, save_session
from tests.example import EXAMPLE as FILE

SITE, RESIDUAL = "blocks.2.mlp.hook_post", "blocks.2.hook_resid_post"
EXAMPLE = load_session(FILE)
VALUES = (-20.0, 0.0, 20.0)
D = 64


def made(
    name: str = "one", *, prompts: int = 20, shift: tuple[float, float] = (0.0, 0.0), seed: int = 0, **parts: Any
) -> Session:
    """Prompts of two types that share a core, clamped at neuron 3; vectors whose n3 is what the clamp makes it."""
    table = {
        "model": {"name": "gpt2"},
        "prompts": {"sets": ["made"]},
        "interventions": [{"site": SITE, "neurons": [3], "op": "clamp", "values": list(parts.get("values", VALUES))}],
        "capture": {"sites": [parts.get("site", SITE)], "residual": "centred"},
        "planes": [{"a": 3, "b": 5}],
        "spotlight": {"thresholds": [0.5, 0.2], "angles": 360},
    }
    spec = Experiment.from_dict(table)
    generator = np.random.default_rng(1)
    noise = np.random.default_rng(seed)
    known = conditions(spec)
    records = tuple(
        PromptRecord(
            set="made",
            text=f"{parts.get('words', 'prompt')} {index}",
            factors={"core_id": f"core{index // 2}", "type": ("plain", "odd")[index % 2]} if parts.get("cores") else {},
            token_ids=(index,),
            occurrence=0,
            sha256="",
        )
        for index in range(prompts)
    )
    runs: list[RunRecord] = []
    xy: list[tuple[float, float]] = []
    norms: list[float] = []
    for prompt in range(prompts):
        own = generator.normal(size=2)
        rest = float(generator.uniform(3.0, 5.0))
        for condition in known:
            value = condition.values[0]
            x = own[0] if value is None else value
            y = own[1] + shift[1] * (value is not None) + shift[0] + 0.05 * noise.normal()
            runs.append(RunRecord(len(runs), prompt, condition.index, 0, (1, len(runs)), "a b", 1, "length", None, {}))
            xy.append((x, y))
            norms.append(float(np.sqrt(x * x + y * y + rest * rest)))
    plane = PlaneRecord.of(parts.get("site", SITE), 3, 5, np.array(xy), np.array(norms))
    return Session(
        name=name,
        state="finished",
        spec=spec,
        conditions=known,
        resolved=tuple((None,) if one.kind == "baseline" else ((float(one.values[0] or 0),),) for one in known),
        prompts=records,
        runs=tuple(runs),
        planes=(plane,),
    )


def side(session: Session, group: str) -> Side:
    return Side(session, session.planes[0], group_choice(session, group))


def test_groups_are_found_by_value_level_or_both() -> None:
    session = made(cores=True)
    assert group_choice(session, "+20").runs.tolist() == group_choice(session, "20").runs.tolist()
    assert group_choice(session, "-20").label == group_choice(session, "−20").label == "-20"
    pooled = set(group_choice(session, "clamped").runs.tolist())
    assert pooled == set().union(*(set(group_choice(session, f"{value:g}").runs.tolist()) for value in VALUES))
    both = group_choice(session, "+20, type=odd")
    assert both.label == "+20 · type=odd"
    assert set(both.runs.tolist()) == set(group_choice(session, "20").runs.tolist()) & set(
        group_choice(session, "type=odd").runs.tolist()
    )
    assert group_names(session) == ("baseline", "clamped", "-20", "0", "+20", "type=plain", "type=odd")
    for wrong in ("+3", "kind=odd", "type=strange", "+20,-20"):
        with pytest.raises(ExplorerError):
            group_choice(session, wrong)


def test_runs_of_controls_are_in_no_group() -> None:
    session = made()
    last = session.conditions[-1]
    control = dataclasses.replace(last, kind="control", label="n9 +20", control=1)
    changed = session.changed(conditions=(*session.conditions[:-1], control))
    gone = {run.index for run in session.runs if run.condition == last.index}
    for name in ("clamped", "baseline", "set=made", "0"):
        assert not gone & set(group_choice(changed, name).runs.tolist())


def test_a_planted_difference_is_found_beyond_what_the_clamp_itself_does() -> None:
    alone = made()
    (set_apart,) = compare_groups(alone, alone, alone.planes[0], [("+20", "-20")], (0.5,), resamples=1000)
    assert set_apart.tested == BEYOND_ARITHMETIC
    assert set_apart.estimate.difference[0] > 1.5
    assert set_apart.p is not None
    assert set_apart.p > 0.05
    session = made(shift=(0.0, 2.0))
    (moved,) = compare_groups(session, session, session.planes[0], [("+20", "baseline")], (0.5,), resamples=1000)
    assert moved.tested == BEYOND_ARITHMETIC
    assert moved.p is not None
    assert moved.p < 0.01
    one, other = (points_of(session.planes[0]).xy[group_choice(session, name).runs] for name in ("+20", "baseline"))
    np.testing.assert_allclose(moved.estimate.difference, one.mean(axis=0) - other.mean(axis=0))
    assert moved.estimate.shares[0, 0] == pytest.approx((one[:, 0] > 0.5).mean() - (other[:, 0] > 0.5).mean())


def test_sessions_are_matched_by_prompt_and_value_and_say_how_many() -> None:
    one, other = made("one", prompts=20), made("other", prompts=14, values=(-20.0, 20.0), seed=5)
    found = matched(side(one, "clamped"), side(other, "clamped"))
    assert found.paired
    assert found.summary == "paired by prompt: 14 of 20 prompts, 28 of 60 runs; 14 of 14 prompts, 28 of 28 runs"
    for own, its in zip(*found.rows, strict=True):
        first, second = one.runs[own], other.runs[its]
        assert one.prompts[first.prompt].text == other.prompts[second.prompt].text
        assert one.conditions[first.condition].label == other.conditions[second.condition].label
    assert (found.units[0] == found.units[1]).all()


def test_levels_of_one_core_are_paired_by_unit_and_others_are_resampled_apart() -> None:
    cores = made(cores=True)
    together = matched(side(cores, "+20, type=plain"), side(cores, "+20, type=odd"))
    assert (together.paired, len(together.stratum)) == (True, 10)
    apart = matched(side(made("one"), "+20"), side(made("other", words="others"), "+20"))
    assert (apart.paired, len(apart.stratum)) == (False, 40)
    assert len(set(apart.stratum[np.unique(apart.units[0])]) & set(apart.stratum[np.unique(apart.units[1])])) == 0
    one, other = made("one"), made("other", words="others", shift=(1.5, 0.0))
    (pair,) = compare_groups(one, other, one.planes[0], [("baseline", "baseline")], (0.2,), resamples=500)
    assert (pair.p, pair.tested) == (None, "not paired")
    assert pair.estimate.region is not None
    low, high = pair.estimate.region.amplitude
    assert low < abs(pair.estimate.difference[1]) < high
    assert pair.estimate.region.phase_deg is not None


def test_the_same_settings_are_tested_as_they_are_and_what_was_set_without_prediction_is_not() -> None:
    one, other = made("one"), made("other", seed=9, shift=(0.0, 0.6))
    (alike,) = compare_groups(one, other, one.planes[0], [("+20", "+20")], (0.5,), resamples=1000)
    assert alike.tested == "difference"
    assert alike.p is not None
    assert alike.p < 0.01
    written = [made(name, site=RESIDUAL) for name in ("one", "other")]
    (unknown,) = compare_groups(*written, written[0].planes[0], [("+20", "-20")], (0.5,), resamples=200)
    assert (unknown.p, unknown.tested) == (None, BY_DESIGN)


def test_a_session_minus_itself_is_nothing_and_no_interval_of_width_zero_says_so() -> None:
    one = made("one")
    (pair,) = compare_groups(one, made("copy"), one.planes[0], [("clamped", "clamped")], (0.5, 0.2), resamples=200)
    assert not pair.estimate.shares.any()
    assert not pair.estimate.difference.any()
    # 20 units that do not differ: another one still may, for all that is known.
    assert pair.estimate.share_bands is not None
    assert (pair.estimate.share_bands[0] < 0).all()
    assert (pair.estimate.share_bands[1] > 0).all()
    assert pair.estimate.region is None
    assert difference_detail(pair) == "ΔA 0, the same in every unit: no interval"
    found = compare_tables([pair], 0.95, 200, 0, (), None, None)[0]
    row = dict(zip([column.key for column in found.columns], found.rows[0], strict=True))
    assert (row["amplitude"], row["amplitude_low"], row["amplitude_high"]) == (0, None, None)
    assert (row["tested_low"], row["tested_high"]) == (None, None)
    assert any("no interval" in note for note in found.notes)


def test_bands_hold_the_difference_and_close_on_the_region() -> None:
    session = made()
    (pair,) = compare_groups(session, session, session.planes[0], [("clamped", "baseline")], (0.5, 0.2), resamples=500)
    found = pair.estimate
    assert found.share_bands is not None
    assert found.mean_band is not None
    assert found.region is not None
    assert ((found.share_bands[0] <= found.shares) & (found.shares <= found.share_bands[1])).all()
    assert ((found.mean_band[0] <= found.mean) & (found.mean <= found.mean_band[1])).all()
    assert found.mean_band[1].max() == pytest.approx(found.region.amplitude[1], rel=1e-3)


def test_other_sites_widths_and_conventions_are_refused_with_the_reason() -> None:
    one = made("one")
    with pytest.raises(ExplorerError, match="captured at"):
        same_axes(one, made("other", site=RESIDUAL), one.planes[0])
    wide = made("wide").changed(provenance={"model": {"d_mlp": 3072}})
    with pytest.raises(ExplorerError, match="64 coordinates in one, 3072 in wide"):
        same_axes(one.changed(provenance={"model": {"d_mlp": 64}}), wide, one.planes[0])
    layers = made("layers").changed(provenance={"model": {"d_mlp": 64, "mlp_widths": [64, 64, 48]}})
    with pytest.raises(ExplorerError, match="64 coordinates in one, 48 in layers"):
        same_axes(one.changed(provenance={"model": {"d_mlp": 64}}), layers, one.planes[0])
    residual = made("one", site=RESIDUAL)
    told = {"d_model": 32, "d_mlp": 64, "mlp_widths": [64, 64, 48]}
    same = residual.changed(name="other", provenance={"model": told})
    assert same_axes(residual.changed(provenance={"model": {"d_model": 32}}), same, residual.planes[0])
    capture = residual.spec.capture.model_copy(update={"residual": "raw"})
    raw = residual.changed(name="raw", spec=residual.spec.model_copy(update={"capture": capture}))
    with pytest.raises(ExplorerError, match="mean over coordinates"):
        same_axes(residual, raw, residual.planes[0])
    without = made("other").changed(planes=())
    with pytest.raises(ExplorerError, match="vectors"):
        same_axes(one.changed(provenance={"model": {"d_mlp": 64}}), without, one.planes[0])


def test_another_plane_is_projected_from_the_other_sessions_vectors() -> None:
    asked = PlaneRecord.of(EXAMPLE.planes[0].site, 7, 9, EXAMPLE.planes[0].xy, np.array(EXAMPLE.planes[0].norm))
    other = EXAMPLE.changed(name="other", revision=99)
    found = same_axes(EXAMPLE, other, asked)
    vectors = EXAMPLE.vectors()[asked.site]
    assert isinstance(vectors, np.ndarray)
    np.testing.assert_allclose(found.xy, vectors[:, [7, 9]], rtol=1e-6)


def test_the_study_takes_plain_arguments_and_gives_tables_and_curves(tmp_path: Path) -> None:
    found = compare_study(EXAMPLE, {"groups": ["+30", "-30"], "resamples": 300})
    difference = found["tables"][0]
    assert [row["difference"] for row in difference["rows"]] == ["+30σ − -30σ"]
    assert any("paired by prompt: 8 of 8 prompts" in note for note in difference["notes"])
    assert any("seed 0" in note for note in difference["notes"])
    table = curves_table_of(found)
    assert len(table.rows) == 360
    assert table.columns[2].key == "mean"
    assert default_pairs(EXAMPLE, EXAMPLE) == [("clamped", "baseline")]
    for wrong in ({"plane": 9}, {"grups": []}, {"groups": ["+30"]}, {"groups": ["+30", "-30"], "a_group": "0"}):
        with pytest.raises(ExplorerError):
            compare_study(EXAMPLE, wrong)


def test_sessions_of_unequal_numbers_of_runs_are_compared_by_what_each_did_alone(tmp_path: Path) -> None:
    few, many = made("few", values=(1,)), made("many", seed=1)
    assert len(few.runs) < len(many.runs)
    for session in (few, many):
        save_session(session, tmp_path / f"{session.name}.json")
    found = compare_study(
        load_session(tmp_path / "few.json"),
        {"other": str(tmp_path / "many.json"), "groups": ["baseline", "baseline"], "resamples": 1_000},
    )
    (row,) = found["tables"][0]["rows"]
    assert row["difference"] == "few · baseline − many · baseline"
    assert row["p"] is not None


def test_two_sessions_list_what_their_experiments_differ_in(tmp_path: Path) -> None:
    spec = EXAMPLE.spec.model_copy(update={"generation": EXAMPLE.spec.generation.model_copy(update={"tokens": 7})})
    (pair,) = compare_groups(
        EXAMPLE,
        EXAMPLE.changed(name="other", spec=spec, revision=7),
        EXAMPLE.planes[0],
        [("clamped", "clamped")],
        (0.5,),
        resamples=200,
        names=("example", "other"),
    )
    assert pair.label == "example · clamped − other · clamped"
    assert difference_curves(pair)["label"] == pair.label
