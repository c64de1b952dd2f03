"""What was planted in the texts and the scores of a session stands in the tables, counted in units."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.analyses.effects import effects_study
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.figures.table import TableFigure
from srm_explorer.engine.session import PromptRecord, RunRecord, Session
from srm_explorer.engine.session.codec import json_line
from srm_explorer.engine.session.effects import Effects, MeanParts, MovedToken, Moves, RunEffects, SiteParts, TextScores
from srm_explorer.engine.stats.resampling import binomial_interval

MLP = "blocks.0.mlp.hook_post"
EXPERIMENT = Experiment.from_dict(
    {
        "model": {"name": "demo"},
        "prompts": {"sets": ["texts"]},
        "interventions": [{"site": MLP, "neurons": [1], "op": "clamp", "values": [-5, 5]}],
        "generation": {"tokens": 20},
        "capture": {"sites": [MLP]},
    }
)
HEALTHY = tuple(range(20))
LOOP = (*range(4), *([1, 2] * 8))
UNITS = 12


def texts_of(unit: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Texts at baseline, -5 and +5: units 0 to 2 loop at baseline, -5 rescues unit 0, +5 harms units 9 to 11."""
    baseline = LOOP if unit < 3 else HEALTHY
    low = HEALTHY if unit == 0 else baseline
    high = LOOP if unit >= 9 else baseline
    return baseline, low, high


def session_of(prompts_a_unit: int = 1) -> Session:
    prompts = [
        PromptRecord("texts", f"{unit} {number}", {"core_id": str(unit)}, (unit, number), 0, f"{unit} {number}")
        for unit in range(UNITS)
        for number in range(prompts_a_unit)
    ]
    runs = [
        RunRecord(3 * at + condition, at, condition, 0, tokens, "text", 2, "length", 0.5, {})
        for at, prompt in enumerate(prompts)
        for condition, tokens in enumerate(texts_of(int(prompt.factors["core_id"])))
    ]
    return Session(
        name="planted",
        state="finished",
        spec=EXPERIMENT,
        conditions=conditions(EXPERIMENT),
        resolved=((None,), ((-5.0,),), ((5.0,),)),
        prompts=tuple(prompts),
        runs=tuple(runs),
    )


def scored(session: Session) -> Session:
    """Scores in which every number follows from the unit and the value."""
    found: dict[int, RunEffects] = {}
    for run in session.runs:
        unit = run.prompt
        if run.condition == 0:
            found[run.index] = RunEffects(run.index, 10.0, None, {}, {})
            continue
        kl = 0.1 * run.condition * (1 + unit % 3)
        scores = TextScores((kl / 2, 3 * kl / 2), (-kl, kl), (1, 4), 2.0, 1.0, 1.5, (), ())
        total = 1.0 + unit
        parts = SiteParts({"total": total, "direct": 1.0, "through": unit}, {"direct": 1 / total}, 0.5, (), None, None)
        found[run.index] = RunEffects(run.index, 10.0 * 2.0**run.condition, 0.25, {"baseline": scores}, {MLP: parts})
    moved = {
        name: (MovedToken(7, " door", 1.5 * sign, 0.3, 0.1), MovedToken(8, "b", 1.0 * sign, 0.2, 0.1))
        for name, sign in (("promoted", 1), ("suppressed", -1), ("gained", 1), ("lost", -1))
    }
    effects = Effects(
        scored="now",
        texts=("baseline", "condition"),
        given="",
        sites=(MLP,),
        planes=(),
        origin={},
        reproduced={MLP: 1e-7},
        runs=found,
        means=tuple(MeanParts(MLP, condition, 12, {"total": 2.0}, {"direct": 0.75}) for condition in (1, 2)),
        moves=tuple(Moves("baseline", condition, 40, moved) for condition in (1, 2)),
    )
    return session.changed(effects=json.loads(json_line(effects.to_dict())))


def tables(session: Session, **arguments: Any) -> dict[str, TableFigure]:
    return {one.name: one for one in tables_in(effects_study(session, {"resamples": 400, **arguments}))}


def records(table: TableFigure) -> list[dict[str, Any]]:
    return table.to_dict()["rows"]


@pytest.mark.parametrize("prompts_a_unit", [1, 3])
def test_the_harmed_and_the_rescued_are_counted_in_units_and_each_row_sums_to_all(prompts_a_unit: int) -> None:
    low, high = records(tables(session_of(prompts_a_unit))["collapse"])
    names = ("healthy", "harmed", "rescued", "collapsed")
    assert [low[name] for name in names] == [9, 0, 1, 2]
    assert [high[name] for name in names] == [6, 3, 0, 3]
    for row in (low, high):
        assert sum(row[name] for name in names) == row["units"] == UNITS
    assert high["harmed_share"] == pytest.approx(3 / 9)
    assert [high["harmed_low"], high["harmed_high"]] == pytest.approx(binomial_interval(3, 9).tolist())
    assert low["rescued_share"] == pytest.approx(1 / 3)


def test_before_a_scoring_the_tables_say_how_to_score_and_hold_what_needs_no_model() -> None:
    found = tables(session_of())
    assert set(found) == {"effects", "collapse", "texts", "runs"}
    assert "srm-explorer effects planted --score" in found["effects"].notes[0]
    low, high = records(found["effects"])
    assert (low["changed"], high["changed"]) == (pytest.approx(1 / 12), pytest.approx(3 / 12))
    assert "kl" not in low
    texts = records(found["texts"])
    assert [row["value"] for row in texts] == ["baseline", "-5", "+5"]
    assert texts[0]["collapsed"] == pytest.approx(0.25)


def test_scores_are_averaged_over_runs_with_intervals_that_hold_the_mean() -> None:
    found = tables(scored(session_of()))
    assert list(found) == ["effects", "collapse", "texts", "direct", "tokens", "runs"]
    for row, condition in zip(records(found["effects"]), (1, 2), strict=True):
        assert row["kl"] == pytest.approx(0.2 * condition)
        assert row["kl_low"] < row["kl"] < row["kl_high"]
        assert row["perplexity_ratio"] == pytest.approx(2.0**condition), "a geometric mean of equal ratios"
        assert row["dlogp"] == pytest.approx(0)
    (row, _) = records(found["direct"])
    totals = 1.0 + np.arange(UNITS)
    assert row["direct_share"] == pytest.approx(totals.sum() / (totals**2).sum())
    assert row["total"] == pytest.approx(totals.mean())
    assert row["mean_share"] == 0.75
    first = records(found["tokens"])[0]
    assert (first["promoted"], first["promoted_change"], first["suppressed_change"]) == ("' door'", 1.5, -1.5)


def test_every_run_is_listed_once_the_most_moved_first_and_leads_back_to_its_run() -> None:
    session = scored(session_of())
    table = tables(session)["runs"]
    rows = records(table)
    kl = [row["kl"] for row in rows]
    assert kl == sorted(kl, reverse=True)
    assert sorted(i for i in table.runs if i is not None) == [run.index for run in session.runs if run.condition]
    for row, index in zip(rows, table.runs, strict=True):
        assert row["run"] == index
        run = next(one for one in session.runs if one.index == index)
        expected = {(0, 1): "rescued", (9, 2): "harmed", (1, 1): "both", (5, 1): ""}.get((run.prompt, run.condition))
        assert expected is None or row["collapse"] == expected
        assert row["kl_at_from_1"] == 2
        base = next(one for one in session.runs if (one.prompt, one.condition) == (run.prompt, 0))
        unlike = [at for at, pair in enumerate(zip(run.token_ids, base.token_ids, strict=False), 1) if len({*pair}) > 1]
        if unlike:
            assert row["first_change_from_1"] == unlike[0]


def test_the_rule_can_be_changed_and_is_told() -> None:
    found = tables(session_of(), rule={"repeated": 1.0, "distinct": 0.0, "run": 99})["collapse"]
    assert all(row["healthy"] == UNITS for row in records(found))
    assert "100 %" in found.notes[0]
    assert "99 times" in found.notes[0]


@pytest.mark.parametrize("wrong", [{"rules": {}}, {"rule": [1]}, {"rule": {"runs": 1}}, {"top": -1}, {"seed": "a"}])
def test_arguments_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ExplorerError):
        effects_study(session_of(), wrong)


def test_runs_without_a_baseline_are_left_out_and_counted() -> None:
    session = session_of()
    cut = session.changed(runs=tuple(run for run in session.runs if not (run.prompt == 0 and run.condition == 0)))
    found = tables(scored(cut))
    assert [row["runs"] for row in records(found["effects"])] == [UNITS - 1] * 2
    assert any("2 runs have no baseline" in note for note in found["effects"].notes)
    nothing = session.changed(runs=tuple(run for run in session.runs if run.condition))
    with pytest.raises(ExplorerError, match="beside its baseline"):
        tables(nothing)


def test_one_unit_has_numbers_and_no_interval() -> None:
    session = session_of()
    alone = session.changed(prompts=session.prompts[:1], runs=session.runs[:3])
    (row, _) = records(tables(scored(alone))["effects"])
    assert row["kl"] is not None
    assert (row["kl_low"], row["kl_high"]) == (None, None)


def test_texts_without_tokens_have_nothing_to_count() -> None:
    session = session_of()
    empty = session.changed(runs=tuple(dataclasses.replace(run, token_ids=()) for run in session.runs))
    found = tables(empty)
    assert all(row["changed"] == 0 for row in records(found["effects"]))
    assert records(found["texts"])[0]["distinct_1"] is None


def test_the_kl_of_controls_stands_beside_the_targets_with_its_rank() -> None:
    spec = Experiment.from_dict({**EXPERIMENT.to_dict(), "controls": {"neurons": 3}})
    known = conditions(spec)
    session = session_of()
    runs = [
        dataclasses.replace(run, index=len(known) * run.prompt + condition.index, condition=condition.index)
        for run in session.runs[::3]
        for condition in known
    ]
    planted = {None: 0.5, 1: 0.1, 2: 0.2, 3: 0.9}
    found = {
        run.index: RunEffects(
            run.index,
            None,
            None,
            {"baseline": TextScores((planted[known[run.condition].control],), (0.0,), (1,), 1.0, 1.0, 1.0, (), ())},
            {},
        )
        for run in runs
        if run.condition
    }
    effects = Effects("now", ("baseline",), "", (), (), {}, {}, (), (), found)
    plain = json.loads(json_line(effects.to_dict()))
    told = tables(session.changed(spec=spec, conditions=known, runs=tuple(runs), resolved=(), effects=plain))
    for row in records(told["kl_controls"]):
        numbers = [row[name] for name in ("kl", "controls_median", "controls_low", "controls_high", "p", "q")]
        assert numbers == pytest.approx([0.5, 0.2, 0.1, 0.9, 0.5, 0.5])
        assert row["controls"] == 3
    assert [row["runs"] for row in records(told["effects"])] == [UNITS] * 2, "controls are no runs of the target"
    assert "kl_controls" not in tables(scored(session_of()))
