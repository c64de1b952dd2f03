"""What was planted in the texts and the scores of a session stands in the tables, counted in units."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.analyses.effects import collapse_study, effects_study
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.execution.run import run_experiment
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.figures.table import TableFigure
from srm_explorer.engine.session import PromptRecord, RunRecord, Session
from srm_explorer.engine.session.codec import json_line
from srm_explorer.engine.session.effects import Effects, MeanParts, MovedToken, Moves, RunEffects, SiteParts, TextScores
from srm_explorer.engine.stats.collapse import RULES, HealthMatrix
from srm_explorer.engine.stats.resampling import binomial_interval
from srm_explorer.engine.stats.text import text_metrics

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


def written(tokens: tuple[int, ...]) -> str:
    """A loop of a few characters for a loop of tokens, else words."""
    return " no" * 40 if tokens == LOOP else "The keeper of the house went up the stairs and looked at the old lamp."


def session_of(prompts_a_unit: int = 1) -> Session:
    prompts = [
        PromptRecord("texts", f"{unit} {number}", {"core_id": str(unit)}, (unit, number), 0, f"{unit} {number}")
        for unit in range(UNITS)
        for number in range(prompts_a_unit)
    ]
    runs = [
        RunRecord(3 * at + condition, at, condition, 0, tokens, written(tokens), 2, "length", 0.5, {})
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
    assert list(found) == ["effects", "texts", "text_changes", "collapsed", "collapse", "runs"]
    assert "srm-explorer effects planted --score" in found["effects"].notes[0]
    low, high = records(found["effects"])
    assert (low["changed"], high["changed"]) == (pytest.approx(1 / 12), pytest.approx(3 / 12))
    assert (low["units_changed"], high["units_changed"]) == (1, 3)
    assert "kl" not in low
    texts = records(found["texts"])
    assert [row["value"] for row in texts] == ["baseline", "-5", "+5"]
    assert texts[0]["repeated_4"] == pytest.approx(0.25 * text_metrics(LOOP)["repeated_4"])
    changes = [row for row in records(found["text_changes"]) if row["measure"] == "repeated 4-grams"]
    for row, change in zip(changes, (-1 / 12, 3 / 12), strict=True):
        assert row["change"] == pytest.approx(change * text_metrics(LOOP)["repeated_4"])
        assert row["with_it"] - row["baseline"] == pytest.approx(row["change"])
        # Where most units stay as they were a bootstrap may find no bound.
        assert row["low"] is None or row["low"] < row["change"]
        assert row["high"] is None or row["change"] < row["high"]


def test_scores_are_averaged_over_runs_with_intervals_that_hold_the_mean() -> None:
    found = tables(scored(session_of()))
    told = ["texts", "text_changes", "collapsed", "collapse"]
    assert list(found) == ["effects", *told, "direct", "tokens", "runs"]
    for row, condition in zip(records(found["effects"]), (1, 2), strict=True):
        assert row["kl"] == pytest.approx(0.2 * condition)
        assert row["kl_low"] < row["kl"] < row["kl_high"]
        # Equal ratios in every unit: nothing tells how far others may lie.
        assert row["p"] is row["perplexity_ratio_low"] is None
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


@pytest.mark.parametrize("prompts_a_unit", [1, 3])
def test_runs_are_counted_for_every_value_and_the_net_effect_over_units(prompts_a_unit: int) -> None:
    found = tables(session_of(prompts_a_unit))["collapsed"]
    n = prompts_a_unit
    counts = [[row[name] for name in ("value", "runs", "collapsed", "rescued", "harmed")] for row in records(found)]
    assert counts == [
        ["baseline", 12 * n, 3 * n, None, None],
        ["-5", 12 * n, 2 * n, 1 * n, 0],
        ["+5", 12 * n, 6 * n, 0, 3 * n],
    ]
    for row, rescued, harmed in zip(records(found)[1:], (1, 0), (0, 3), strict=True):
        matrix = HealthMatrix(9 - harmed, harmed, rescued, 3 - rescued)
        assert (row["units"], row["units_rescued"], row["units_harmed"]) == (12, rescued, harmed)
        assert (row["net"], row["p"]) == ((rescued - harmed) / 12, matrix.p)
        assert (row["net_low"], row["net_high"]) == matrix.interval()
    alone = tables_in(collapse_study(session_of(n), {"resamples": 400}))
    assert [table.name for table in alone] == ["collapsed", "texts", "text_changes", "collapse"]
    assert records(alone[0])[0] == records(found)[0]


def test_the_rule_is_named_and_told_and_may_have_other_parameters() -> None:
    lenient = tables(session_of(), rule={"name": "published", "repeated": 9, "commonest": 1})
    assert [row["collapsed"] for row in records(lenient["collapsed"])] == [0, 0, 0]
    assert "900 %" in " ".join(lenient["collapsed"].notes)
    assert "was not measured" in " ".join(lenient["collapsed"].notes)
    for name, rule in RULES.items():
        found = tables(session_of(), rule=name)["collapsed"]
        assert [row["collapsed"] for row in records(found)] == [3, 2, 6]
        assert rule().described() in found.notes
        assert str(rule.false_rates[0]) in " ".join(found.notes)


def test_texts_that_are_not_known_are_no_collapsed_ones() -> None:
    session = session_of()
    unknown = dataclasses.replace(session.runs[0], token_ids=(), text="", finish="none")
    found = tables(session.changed(runs=(unknown, *session.runs[1:])))["collapsed"]
    assert [(row["runs"], row["collapsed"]) for row in records(found)] == [(11, 2), (12, 2), (12, 6)]
    assert [row["units"] for row in records(found)] == [11, 11, 11]
    # An empty text that was written is known, and collapsed.
    empty = dataclasses.replace(unknown, finish="eos")
    found = tables(session.changed(runs=(empty, *session.runs[1:])))["collapsed"]
    assert records(found)[0]["collapsed"] == 3
    texts = tables(session.changed(runs=(empty, *session.runs[1:])))["texts"]
    assert [row["ended"] for row in records(texts)] == [1, 0, 0]
    none = session.changed(runs=tuple(dataclasses.replace(unknown, **where(run)) for run in session.runs))
    assert list(tables(none)) == ["effects", "runs"]
    with pytest.raises(ExplorerError, match="not known"):
        collapse_study(none, {})


def where(run: RunRecord) -> dict[str, Any]:
    return {"index": run.index, "prompt": run.prompt, "condition": run.condition}


def test_texts_without_vectors_tokens_or_a_baseline_are_enough_for_a_rule() -> None:
    session = session_of()
    told = tuple(dataclasses.replace(run, token_ids=()) for run in session.runs if run.condition)
    (collapsed, texts) = tables_in(collapse_study(session.changed(runs=told), {"rule": "published"}))
    assert [(row["value"], row["collapsed"]) for row in records(collapsed)] == [("-5", 2), ("+5", 6)]
    assert records(collapsed)[0]["p"] is None
    assert records(texts)[0]["compression"] > 1


def test_copies_of_a_prompt_add_no_evidence_and_one_unit_has_neither_interval_nor_p() -> None:
    session = session_of()
    copies = tuple(dataclasses.replace(prompt, factors={}, token_ids=(1, 2)) for prompt in session.prompts)
    found = tables(scored(session.changed(prompts=copies)))
    assert any("12 of 12 prompts are the same" in note for note in found["effects"].notes)
    for table in found.values():
        for row in records(table):
            assert all(row[key] is None for key in row if key in {"p", "q"} or key.endswith(("low", "high")))


@pytest.mark.slow
def test_the_false_rates_are_what_the_bundled_models_ordinary_texts_give(tmp_path: Path) -> None:
    table = {
        "model": {"name": "demo", "device": "cpu"},
        "prompts": {"sets": ["certainty", "reasoning", "watching"]},
        "generation": {"tokens": 50},
        "capture": {"sites": [MLP]},
    }
    ran = run_experiment(Experiment.from_dict(table), tmp_path, tmp_path / "ordinary.json").session
    assert ran is not None
    for name, rule in RULES.items():
        (row,) = records(tables_in(collapse_study(ran, {"rule": name}))[0])
        rate = rule.false_rates[0]
        assert row["runs"] == rate.texts
        # Near-ties fall otherwise on other processors.
        assert row["collapsed"] == pytest.approx(rate.collapsed, abs=2)


@pytest.mark.parametrize(
    "wrong",
    [{"rules": {}}, {"rule": [1]}, {"rule": {"runs": 1}}, {"rule": "publish"}, {"top": -1}, {"seed": "a"}],
)
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
    empty = session.changed(runs=tuple(dataclasses.replace(run, token_ids=(), text="") for run in session.runs))
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
            {"baseline": TextScores((0.0, 2 * size), (0.0, 0.0), (1, 1), 1.0, 1.0, 1.0, (), ())},
            {},
        )
        for run in runs
        if run.condition and (size := planted[known[run.condition].control])
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
