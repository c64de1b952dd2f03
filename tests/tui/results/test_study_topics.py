from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.analyses.registry import findings_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.table import TableColumn, TableFigure
from srm_explorer.tui.results.study_model import Question, StudyCache, StudySubject, Topic, read_settings, settings_line

PLAIN = st.one_of(
    st.none(),
    st.integers(-(10**6), 10**6),
    st.booleans(),
    st.sampled_from(["baseline", "+20", "type=dry", "two words"]),
)


@given(
    settings=st.dictionaries(st.sampled_from(["neuron", "k", "groups", "seed"]), PLAIN, min_size=1),
)
def test_a_line_of_settings_reads_back_what_it_was_written_from(settings: dict[str, Any]) -> None:
    back = read_settings(settings_line(settings), settings)
    assert {name: str(value) for name, value in back.items()} == {name: str(value) for name, value in settings.items()}


def test_lists_are_written_with_commas_and_numbers_are_numbers() -> None:
    known = {"groups": ["baseline", "clamped"], "neuron": None, "k": 200}
    assert settings_line(known) == "groups=baseline,clamped neuron= k=200"
    assert read_settings("groups=baseline,+20 neuron=373", known) == {
        "groups": ["baseline", "+20"],
        "neuron": 373,
        "k": 200,
    }


def test_a_setting_that_is_a_text_stays_as_it_was_written() -> None:
    for tokens in (" yes,no", " 5", "1e3", "true", ""):
        assert read_settings(settings_line({"tokens": tokens}), {"tokens": ""}) == {"tokens": tokens}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("neron=3", "there is no setting 'neron'; did you mean 'neuron'?"),
        ("373", "'373' sets nothing; write neuron=..."),
        ("neuron='3", "a quotation mark is not closed; close it"),
    ],
)
def test_a_line_that_cannot_be_read_says_why(line: str, said: str) -> None:
    with pytest.raises(ExplorerError) as told:
        read_settings(line, {"neuron": 1})
    assert str(told.value) == said


def test_chosen_settings_stay_when_the_subject_changes_and_others_follow_it() -> None:
    topic = Topic("pairs", "pairs", "", lambda subject: {"plane": subject.plane, "top": 20})
    book = StudyCache()
    book.choose(topic, StudySubject(None), {"plane": 0, "top": 5})
    assert book.settings(topic, StudySubject(None, plane=2)) == {"plane": 2, "top": 5}


def test_a_question_is_asked_once_until_it_is_forgotten() -> None:
    book = StudyCache()
    question = Question("pairs", Path("a.json"), 1, "{}")
    assert book.ask(question)
    assert not book.ask(question)
    one = TableFigure("pairs", "Pairs", (TableColumn("r", "r"),), ((0.5,),))
    book.take(question, findings_of(one, one))
    assert not book.ask(question)
    pages = book.answer(question)
    assert isinstance(pages, tuple)
    assert [(page.number, page.pages) for page in pages] == [(0, 2), (1, 2)]
    book.forget(question)
    assert book.ask(question)
    assert book.answer(Question("pairs", Path("a.json"), 2, "{}")) is None
