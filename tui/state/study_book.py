"""The answers of studies: which were asked, what came of them, and the pages they make."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import ExplorerError
from engine.figures.histogram import HistogramFigure
from engine.figures.table import TableFigure
from engine.studies.study import tables_in
from tui.state.study_topics import Settings, StudySubject, Topic

KEPT = 48
"""Answers that are kept."""


@dataclass(frozen=True)
class Question:
    """One study of one subject.

    Attributes:
        study: its name.
        path: the session's file; None for a study of a model alone.
        revision: of the session; a session that was saved again is asked about anew.
        settings: as JSON, so that equal questions are equal.
        model: whether the worker answers it.
    """

    study: str
    path: Path | None
    revision: int
    settings: str
    model: bool = False

    def arguments(self) -> Settings:
        """The settings as plain data."""
        return json.loads(self.settings)


@dataclass(frozen=True, eq=False)
class StudyPage:
    """What a tab shows at a time: one table of an answer, or words where there is none.

    Attributes:
        title: what is on it.
        table: its table; None where words or a picture stand in its place.
        words: what is said instead of a table.
        histogram: what is drawn instead of a table.
        number: of the page within its topic, from 0.
        pages: of the topic.
    """

    title: str
    table: TableFigure | None = None
    words: str = ""
    histogram: HistogramFigure | None = None
    number: int = 0
    pages: int = 1


class StudyBook:
    """Keeps the answers, the latest of them; what is being asked is known too."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Question, tuple[StudyPage, ...] | ExplorerError] = OrderedDict()
        self._asked: dict[Question, str] = {}
        self._told: dict[str, Settings] = {}

    def settings(self, topic: Topic, subject: StudySubject) -> Settings:
        """Those a person chose, over those that fit the subject."""
        return {**topic.settings(subject), **self._told.get(topic.study, {})}

    def choose(self, topic: Topic, subject: StudySubject, settings: Settings) -> None:
        """Take the settings that a person chose: those that differ from what fits the subject by itself."""
        usual = topic.settings(subject)
        self._told[topic.study] = {name: value for name, value in settings.items() if value != usual.get(name)}

    def question(self, topic: Topic, subject: StudySubject) -> Question | None:
        """What would be asked; None where there is nothing to ask about yet."""
        session = subject.session
        saved = session is not None and session.path is not None
        if topic.needs_session and not saved:
            return None
        settings = json.dumps(self.settings(topic, subject), sort_keys=True, ensure_ascii=False)
        path = session.path if session is not None and saved else None
        return Question(topic.study, path, session.revision if session is not None else 0, settings, topic.model)

    def ask(self, question: Question) -> bool:
        """Note that a question is asked; False where it was before."""
        if question in self._asked or question in self._answers:
            return False
        self._asked[question] = "working it out …"
        return True

    def is_asked(self, question: Question) -> bool:
        """Whether an answer is on its way."""
        return question in self._asked

    def wait(self, question: Question, line: str) -> None:
        """Note what an answer waits for."""
        if question in self._asked:
            self._asked[question] = line

    def waiting(self, question: Question) -> str:
        """What becomes of a question that is asked; empty for any other."""
        return self._asked.get(question, "")

    def forget(self, question: Question) -> None:
        """Let a question be asked once more."""
        self._asked.pop(question, None)
        self._answers.pop(question, None)

    def take(self, question: Question, answer: Mapping[str, Any] | ExplorerError) -> None:
        """Take an answer."""
        self._asked.pop(question, None)
        self._answers[question] = answer if isinstance(answer, ExplorerError) else _pages(answer)
        while len(self._answers) > KEPT:
            self._answers.popitem(last=False)

    def answer(self, question: Question) -> tuple[StudyPage, ...] | ExplorerError | None:
        """The pages of an answer, why there is none, or None before it is there."""
        return self._answers.get(question)


def _pages(findings: Mapping[str, Any]) -> tuple[StudyPage, ...]:
    found = [StudyPage(one.title, one) for one in tables_in(dict(findings))]
    drawn = findings.get("histogram")
    if drawn is not None:
        figure = HistogramFigure.from_dict(drawn)
        # Behind the facts of a card, before its lists.
        found.insert(1, StudyPage(figure.title, histogram=figure))
    if not found:
        return (StudyPage("nothing", words="There is nothing to tell of this session"),)
    return tuple(replace(page, number=number, pages=len(found)) for number, page in enumerate(found))
