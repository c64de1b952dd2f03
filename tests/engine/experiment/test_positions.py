from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError, SpecValueError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.experiment.load import apply_overrides
from srm_explorer.engine.experiment.positions import (
    RowPositions,
    TokenChoice,
    parse_positions,
    positions_caption,
    positions_text,
    resolve_positions,
)

PIECES = ("<bos>", "The", " door", "way", " and", " a", " door", " open", "ed")

DATA: dict[str, Any] = {
    "model": {"name": "demo"},
    "prompts": {"sets": ["a"]},
    "capture": {"sites": ["blocks.1.mlp.hook_post"]},
    "interventions": [{"site": "blocks.1.mlp.hook_post", "neurons": [3], "op": "zero"}],
}


def with_positions(value: object) -> Experiment:
    data = copy.deepcopy(DATA)
    data["interventions"][0]["positions"] = value
    return Experiment.from_dict(data)


CHOICES = [
    "all",
    "last",
    [3, -1],
    {"token": " door"},
    {"after": "\n"},
    {"token": 'a "quoted" \\ word'},
    {"after": "é🜁"},
    {"token": "it's"},
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_a_choice_reads_back_from_a_file_from_json_and_from_what_is_typed(choice: Any, tmp_path: Any) -> None:
    experiment = with_positions(choice)
    assert experiment.to_dict()["interventions"][0]["positions"] == choice
    assert Experiment.from_toml(experiment.to_toml()) == experiment
    assert Experiment.from_json(experiment.to_json()) == experiment
    assert parse_positions(positions_text(choice)) == choice
    data = copy.deepcopy(DATA)
    apply_overrides(data, [f"interventions[0].positions={positions_text(choice)}"], base=tmp_path)
    assert Experiment.from_dict(data) == experiment
    captured = copy.deepcopy(DATA)
    apply_overrides(captured, [f"capture.positions={positions_text(choice)}"], base=tmp_path)
    experiment = Experiment.from_dict(captured)
    assert experiment.to_dict()["capture"]["positions"] == choice
    assert Experiment.from_toml(experiment.to_toml()) == experiment


def test_a_file_says_positions_as_a_person_would() -> None:
    text = with_positions({"token": " door"}).to_toml()
    assert 'positions = { token = " door" }' in text
    assert with_positions("all").digest() == Experiment.from_dict(DATA).digest()
    for value in ('{ after = " door" }', "[3, -1]"):
        data = copy.deepcopy(DATA)
        apply_overrides(data, [f"interventions.0.positions={value}"], base=None)  # type: ignore[arg-type]
        assert positions_text(Experiment.from_dict(data).interventions[0].positions) in ('after " door"', "3, -1")


@pytest.mark.parametrize(
    "refused",
    ["alll", "", [], [1, 1], [True], [1.5], {}, {"token": ""}, {"tokn": "x"}, {"token": "a", "after": "b"}, 2.5, None],
    ids=str,
)
def test_what_is_no_choice_is_refused_in_one_line_with_what_there_is(refused: object) -> None:
    with pytest.raises(ExplorerError) as refusal:
        with_positions(refused)
    assert "interventions[0].positions" in str(refusal.value)
    assert refusal.value.remedy


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ((0,), RowPositions((0,))),
        ((3, -1), RowPositions((3, 8))),
        ((-9, 0), RowPositions((0,))),
        (TokenChoice(" door"), RowPositions((2, 6))),
        (TokenChoice(" doorway"), RowPositions((2, 3))),
        (TokenChoice(" opened", after=True), RowPositions(start=9)),
        (TokenChoice(" door", after=True), RowPositions(start=7)),
        ("predicting", "predicting"),
    ],
    ids=str,
)
def test_a_choice_means_positions_of_the_ids_that_are_fed(choice: Any, expected: object) -> None:
    assert resolve_positions(choice, PIECES) == expected


@pytest.mark.parametrize(
    ("choice", "told"),
    [((9,), "no position 9 among its 9 tokens"), ((-10,), "-10"), (TokenChoice("door"), '" door"')],
    ids=str,
)
def test_what_a_prompt_has_not_is_refused_with_what_it_has(choice: Any, told: str) -> None:
    with pytest.raises(SpecValueError) as refusal:
        resolve_positions(choice, PIECES)
    assert told in str(refusal.value)


@given(
    st.lists(st.sampled_from(["a", "b", "ab", " a", ""]), min_size=1, max_size=8),
    st.text("ab ", min_size=1, max_size=4),
)
def test_occurrences_are_exactly_the_runs_of_tokens_whose_text_it_is(pieces: list[str], text: str) -> None:
    expected = {
        position
        for begin in range(len(pieces))
        for end in range(begin + 1, len(pieces) + 1)
        if pieces[begin] and pieces[end - 1] and "".join(pieces[begin:end]) == text
        for position in range(begin, end)
    }
    try:
        resolved = resolve_positions(TokenChoice(text), pieces)
    except SpecValueError:
        assert not expected
    else:
        assert isinstance(resolved, RowPositions)
        assert set(resolved.at) == expected


def test_resolved_positions_say_what_stands_there() -> None:
    assert positions_caption(RowPositions((2, 6)), PIECES) == '2 " door", 6 " door"'
    assert positions_caption(RowPositions(start=7), PIECES) == 'from 7 " open"'
    assert positions_caption(RowPositions(start=9), PIECES) == "from 9 (generated)"
    assert json.dumps(" door") in positions_caption(RowPositions((2,)), PIECES)
