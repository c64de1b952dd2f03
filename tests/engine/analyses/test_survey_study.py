"""What a survey's tables say, on made-up surveys in which some neurons move the texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.analyses import (
    cell_experiment,
    survey_figure,
    survey_study,
    survey_table,
    surveyed_cell,
)
from srm_explorer.engine.analyses.registry import study_session, tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.figures import HistogramFigure, SurveyMapFigure, TableFigure
from srm_explorer.engine.session import Ledger, Session, SurveyTables, load_session
from srm_explorer.engine.session.codec import DamagedError
from srm_explorer.engine.stats.survey import rank_family
from tests.surveyed import RESIDUAL, SITE, TOKENS, surveyed


def tables(session: Session, **settings: Any) -> dict[str, TableFigure]:
    return {table.name: table for table in tables_in(survey_study(session, settings))}


def column(table: TableFigure, key: str) -> list[Any]:
    at = [column.key for column in table.columns].index(key)
    return [row[at] for row in table.rows]


def test_those_that_move_texts_come_first_and_the_named_one_is_told_apart() -> None:
    session = surveyed(None, planted={(1, 7): 6.0, (1, 20): 30.0})
    found = tables(session)
    assert column(found["survey"], "neuron")[:2] == [20, 7]
    assert column(found["survey"], "rank") == list(range(1, 41))
    q = column(found["survey"], "q")
    assert max(q[:2]) < 1e-4 < 0.05 < min(q[2:])
    assert found["named"].title.startswith("L1 n7")
    assert column(found["named"], "rank")[0] == 2
    assert column(found["named"], "p")[0] == pytest.approx(2 / 40)
    other = tables(session, neuron="1.20")["named"]
    assert column(other, "p")[0] == pytest.approx(1 / 40)


def test_texts_of_one_unit_count_as_one() -> None:
    made = surveyed(None, prompts=12)
    doubled = made.changed(prompts=(*made.prompts[:6], *made.prompts[:6]))
    survey = made.survey()
    assert survey is not None
    assert survey.forced is not None
    kl = survey.forced.kl.mean(axis=1)
    of_units = (kl[:, :6] + kl[:, 6:]) / 2
    expected = rank_family(of_units.T)
    found = tables(doubled)["survey"]
    np.testing.assert_allclose(column(found, "p"), expected.p[np.argsort(-expected.mean)], rtol=1e-12)
    assert found.notes[0].startswith("6 units, 12 texts")


@pytest.mark.parametrize("depth", ["forced", "free"])
def test_what_is_told_is_what_ranks_are_by_where_units_have_unlike_many_texts(depth: str) -> None:
    made = surveyed(None, prompts=12, depth=depth)
    session = made.changed(prompts=(*made.prompts[:8], *[made.prompts[0]] * 4))
    found = tables(session)
    key = "kl" if depth == "forced" else "changed"
    told = column(found["survey"], key)
    np.testing.assert_allclose(told, sorted(told, reverse=True), rtol=1e-12)
    named = told[column(found["survey"], "neuron").index(7)]
    assert column(found["named"], "value")[0] == pytest.approx(named, rel=1e-12)
    listed = survey_table(session)
    of_named = [listed[f"{depth}_{key}"][at] for at, neuron in enumerate(listed["neuron"]) if neuron == 7]
    assert np.mean(of_named) == pytest.approx(named, rel=1e-12)


def test_a_survey_that_went_on_tells_of_the_texts_on_which_nothing_was_chosen() -> None:
    session = surveyed(None, planted={(1, 20): 10.0}, then=5)
    survey = session.survey()
    assert survey is not None
    assert survey.forced is not None
    found = tables(session)
    by_neuron = dict(zip(column(found["survey"], "neuron"), column(found["survey"], "kl"), strict=True))
    np.testing.assert_allclose(by_neuron[20], survey.forced.kl[20][:, ~survey.chose].mean(), rtol=1e-6)
    assert "other 6" in found["survey"].notes[1]
    assert len(found["written"].rows) == 5
    assert column(found["written"], "kl")[0] == pytest.approx(by_neuron[20])
    every = tables(session, texts="all")["survey"]
    np.testing.assert_allclose(column(every, "kl")[0], survey.forced.kl[20].mean(), rtol=1e-6)
    assert any("flatter" in note for note in every.notes)


def test_a_part_of_a_survey_says_so() -> None:
    session = surveyed(None, done=11)
    found = tables(session)["survey"]
    assert len(found.rows) == 11
    assert found.notes[0] == "incomplete: 11 of 40 neurons are finished"
    late = tables(session, neuron="30")["named"]
    assert late.rows == ()
    assert "L1 n30" in late.notes[0]
    assert "not finished yet" in late.notes[0]


def test_the_table_has_a_row_a_layer_neuron_and_value_in_that_order(tmp_path: Path) -> None:
    made = surveyed(tmp_path / "many.json", layers=(0, 2), neurons=6, then=3)
    table = survey_table(load_session(tmp_path / "many.json"))
    rows = list(zip(table["layer"], table["neuron"], table["value"], strict=True))
    assert rows == [(layer, neuron, value) for layer in (0, 2) for neuron in range(6) for value in (-4, 8)]
    assert sum(cell is not None for cell in table["free_changed"]) == 3 * 2
    survey = made.survey()
    assert survey is not None
    assert survey.forced is not None
    kl = survey.forced.kl[:, :, ~survey.chose].mean(axis=2).ravel()
    np.testing.assert_allclose(np.array(table["forced_kl"], np.float64), kl, rtol=1e-6)
    assert {f"forced_change_{SITE}", f"forced_change_{RESIDUAL}", "forced_q", "free_q"} <= table.keys()


def test_where_texts_part_is_the_median_of_those_that_do() -> None:
    session = surveyed(None, prompts=12, depth="free", planted={(1, 7): 9.0})
    survey = session.survey()
    assert survey is not None
    assert survey.free is not None
    places = [[row[row >= 0] + 1 for row in cell] for cell in survey.free.parted]
    expected = [float(np.median(parted)) if parted.size else None for cell in places for parted in cell]
    assert len(set(expected)) > 2
    assert survey_table(session)["free_first_change_from_1"] == expected


def test_promoted_tokens_are_told_as_text_and_as_numbers_where_none_was_kept(tmp_path: Path) -> None:
    surveyed(tmp_path / "many.json", neurons=8)
    session = load_session(tmp_path / "many.json")
    # What no terminal may obey is a code; half a character, and a token of no text, are their numbers.
    rose, fell = ["' door'", '"it\'s\\x1b[31m"', "#2"], ["'\\u202e'", "'𝄞'", "#5"]
    table = survey_table(session)
    assert set(table["forced_promoted"]) == {" ".join(rose)}
    assert set(table["forced_demoted"]) == {" ".join(fell)}
    assert (table["forced_promoted_ids"][0], table["forced_demoted_ids"][0]) == ("0 1 2", "3 4 5")
    told = tables(session, neuron="1.3", value="+8")["tokens"]
    assert column(told, "value") == ["+8"] * 3
    assert (column(told, "promoted"), column(told, "demoted")) == (rose, fell)
    assert "L1 n3" in told.title
    survey = session.survey()
    assert survey is not None
    assert survey.forced is not None
    assert survey.forced.token_texts == TOKENS
    # As it was saved before texts were kept.
    bare = {name: array for name, array in survey.to_arrays().items() if "token_" not in name}
    old = session.changed(surveyed=SurveyTables.from_arrays(bare))
    assert set(survey_table(old)["forced_promoted"]) == {"#0 #1 #2"}
    assert column(tables(old)["tokens"], "demoted")[:3] == ["#3", "#4", "#5"]


@pytest.mark.parametrize(
    "damage",
    [
        {"token_ends": np.zeros(2, np.int32)},
        {"token_characters": np.full(30, -1, np.int32)},
        {"token_characters": None},
        {"kl": np.zeros((2, 2, 11), np.float32)},
        {"logp": np.zeros((2, 3, 12), np.float32)},
        {"change": np.zeros((2, 2, 2, 11), np.float32)},
        {"cells": np.array([0, 2])},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_texts_that_are_none_and_tables_of_other_shapes_are_a_damaged_survey(damage: dict[str, Any]) -> None:
    survey = surveyed(None, neurons=2).survey()
    assert survey is not None
    arrays = {**survey.to_arrays(), **{f"survey/forced/{name}": array for name, array in damage.items()}}
    with pytest.raises(DamagedError):
        SurveyTables.from_arrays({name: array for name, array in arrays.items() if array is not None})


def test_a_neuron_without_its_layer_is_the_experiments_or_of_the_only_one() -> None:
    both = surveyed(None, layers=(1, 2), neurons=8)
    assert [surveyed_cell(both, text) for text in ("3", "2.3")] == [(1, 3), (2, 3)]
    assert surveyed_cell(surveyed(None, layers=(2,), neurons=8), "3") == (2, 3)
    with pytest.raises(ExplorerError, match=r"2 layers.*write its layer too: 2\.3"):
        surveyed_cell(surveyed(None, layers=(2, 3), neurons=8), "3")
    with pytest.raises(ExplorerError, match="of each of 2 layers"):
        survey_study(surveyed(None, layers=(2, 3), neurons=8), {"neuron": "3"})


def test_the_table_is_the_same_however_often_it_is_asked_for(tmp_path: Path) -> None:
    surveyed(tmp_path / "many.json", neurons=9)
    session = load_session(tmp_path / "many.json")
    before = survey_table(session)
    survey_study(session, {"measure": "flips"})
    survey_study(session, {})
    assert survey_table(session) == before
    assert {entry.test for entry in Ledger(session).entries()} == {"rank in a survey"}
    # The same ranks by another measure are further tests; the same again are none.
    assert sum(entry.tests for entry in Ledger(session).entries()) == 18


def test_findings_are_plain_data_with_the_distribution_and_the_map() -> None:
    session = surveyed(None, planted={(1, 7): 9.0})
    found = json.loads(json.dumps(study_session("survey", session, {})))
    histogram, drawn = HistogramFigure.from_dict(found["histogram"]), SurveyMapFigure.from_dict(found["map"])
    assert sum(histogram.counts) == histogram.n == 40
    assert histogram.marks[0].told.endswith("the largest of 40")
    (row, at, name) = drawn.marks[0]
    assert (drawn.neuron(row, at), name) == ((1, 7), "n7")
    assert np.nanargmax(drawn.effects) == row * drawn.effects.shape[1] + at
    assert drawn.shades(drawn.effects)[row, at] == 1.0
    np.testing.assert_array_equal(drawn.effects, survey_figure(session, "map").effects)  # pyright: ignore


def test_a_map_of_layers_has_a_row_each_and_loses_no_neuron_that_stands_out() -> None:
    session = surveyed(None, layers=range(3), neurons=100, planted={(2, 61): 200.0})
    drawn = survey_figure(session, "map", {"neuron": "2.61"})
    assert isinstance(drawn, SurveyMapFigure)
    assert drawn.rows == ("L0", "L1", "L2")
    assert drawn.effects.shape == (3, 100)
    binned = drawn.binned(16)
    assert binned.shape == (3, 16)
    assert np.unravel_index(np.argmax(binned), binned.shape) == (2, 61 * 16 // 100)
    assert binned.max() == drawn.high


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"depth": "free"}, "none was written"),
        ({"measure": "changed"}, "measure is 'changed'"),
        ({"value": "+9"}, "no value '\\+9'"),
        ({"neuron": "41"}, "neuron 1.41 was not surveyed"),
        ({"neuron": "a few"}, "names no neuron"),
        ({"neuron": "1, 2"}, "names no neuron"),
        ({"texts": "some"}, "texts is 'some'"),
        ({"family": " "}, "family"),
        ({"top": 3}, "no setting 'top'"),
    ],
)
def test_what_there_is_not_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ExplorerError, match=said):
        survey_study(surveyed(None), settings)


def test_a_session_that_surveys_nothing_says_how_to() -> None:
    made = surveyed(None)
    plain = made.changed(spec=cell_experiment(made.spec, 1, 7))
    with pytest.raises(ExplorerError, match=r"surveys no neurons.*srm-explorer survey"):
        survey_study(plain, {})
    with pytest.raises(ExplorerError, match="none of its neurons is finished"):
        survey_study(surveyed(None, done=0), {})


def test_what_needs_runs_beside_the_baseline_says_how_a_survey_gets_them() -> None:
    session = surveyed(None)
    with pytest.raises(ExplorerError, match=rf"no run stands beside.*survey {session.name} --open L\.N"):
        study_session("effects", session, {})


def test_the_experiment_of_one_neuron_is_the_template_in_its_place() -> None:
    spec = surveyed(None).spec
    one = cell_experiment(spec, 1, 5)
    assert not one.survey
    assert one.interventions[0].neurons == (5,)
    assert one.interventions[0].values == spec.interventions[0].values
    # The plane was of 7 and 5: now it begins with the neuron, and the other is still there.
    assert (one.planes[0].a, one.planes[0].b) == (5, 7)
    below = cell_experiment(spec, 0, 12)
    assert below.interventions[0].site == below.planes[0].site == "blocks.0.mlp.hook_post"
    assert (below.planes[0].a, below.planes[0].b) == (12, 5)
    assert below.capture.sites == ("blocks.0.mlp.hook_post", RESIDUAL)
    assert Experiment.from_dict(below.to_dict()) == below
    assert cell_experiment(spec, 1, 7) == Experiment.from_dict({**spec.to_dict(), "survey": {}})
