from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from srm_explorer.engine.analyses.registry import findings_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.table import TableColumn, TableFigure
from srm_explorer.engine.session import Session
from srm_explorer.tui.results.study_model import TOPICS, Question, StudyCache, StudySubject, Topic
from srm_explorer.tui.results.study_settings import field_of, read_setting, shown_text

SUBJECT = StudySubject(None)


def settings_there_are() -> list[tuple[Topic, str]]:
    return [(topic, name) for topics in TOPICS.values() for topic in topics for name in topic.settings(SUBJECT)]


@pytest.mark.parametrize(("topic", "name"), settings_there_are(), ids=lambda one: getattr(one, "study", one))
def test_every_setting_has_a_label_a_hint_and_reads_back_what_it_shows(topic: Topic, name: str) -> None:
    usual = topic.settings(SUBJECT)[name]
    field = field_of(topic, name, SUBJECT)
    assert field.label
    assert field.hint or name == "site", "nobody says what may be written"
    assert read_setting(field, shown_text(usual), usual) == usual
    for choice in field.choices:
        read_setting(field, choice, usual)


@pytest.mark.parametrize(
    ("study", "name", "text", "said"),
    [
        ("pairs", "top", "many", "rows: 'many' is no whole number; write digits, as 20"),
        ("pairs", "top", "0", "rows is 0; choose 1 or more"),
        ("pairs", "permutations", "1,000,000", "permutations is 1000000; choose 100,000 or fewer"),
        ("pairs", "partners", "stie", "partners is 'stie'; did you mean 'site'?"),
        ("dose", "interest", "-1", "interest: '-1' is no number above 0; write it as .01"),
        ("dose", "plane", "2", "plane is 2; choose 1 or fewer"),
        ("dose", "resamples", "20", "resamples is 20; choose 100 or more"),
    ],
)
def test_what_a_study_would_refuse_is_refused_in_its_field_with_the_remedy(
    study: str, name: str, text: str, said: str, spread_session: Callable[..., Session]
) -> None:
    subject = StudySubject(spread_session())
    topic = next(topic for topics in TOPICS.values() for topic in topics if topic.study == study)
    with pytest.raises(ExplorerError) as told:
        read_setting(field_of(topic, name, subject), text, topic.settings(subject)[name])
    assert str(told.value) == said


@pytest.mark.parametrize("tokens", [" yes,no", " 5", "1e3", "true", ""])
def test_a_setting_that_is_a_text_stays_as_it_was_written(tokens: str) -> None:
    topic = next(topic for topic in TOPICS["Effects"] if topic.study == "tokens")
    assert read_setting(field_of(topic, "tokens", SUBJECT), tokens, "") == tokens


def test_lists_are_read_by_their_commas_and_an_empty_field_is_what_is_usual() -> None:
    score = next(topic for topic in TOPICS["Effects"] if topic.study == "score")
    field = field_of(score, "texts", SUBJECT)
    assert read_setting(field, "baseline", ["baseline", "condition"]) == ["baseline"]
    finder = next(topic for topic in TOPICS["Planes"] if topic.study == "finder")
    assert read_setting(field_of(finder, "k", SUBJECT), "", 200) == 200
    assert read_setting(field_of(finder, "groups", SUBJECT), "", None) is None


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
