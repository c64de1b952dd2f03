"""Studies asked for on the screen: by whom they are answered, and where the answers go."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.subprocesses import StudyRunner
from srm_explorer.tui.results.study_model import (
    CARD,
    SCORE,
    TOPICS,
    Question,
    StudyCache,
    StudySubject,
    Topic,
    read_settings,
    settings_line,
)
from srm_explorer.tui.widgets.dialogs import Ask

if TYPE_CHECKING:
    from srm_explorer.tui.explorer.controller import ExplorerController
    from srm_explorer.tui.explorer.screen import ExplorerScreen
    from srm_explorer.tui.results.study_tab import StudyTab


class StudyController:
    """Has studies worked out, and shows what came of them.

    Args:
        screen: where settings are asked for and lines are said.
        desk: owns the experiment and the session in view.
    """

    def __init__(self, screen: ExplorerScreen, desk: ExplorerController) -> None:
        self._screen, self._desk = screen, desk
        self._runner = StudyRunner(screen.background)
        self._going: dict[str, tuple[Question, StudyTab]] = {}
        self.book = StudyCache()

    def furnish(self) -> None:
        """Give the tabs what they can show."""
        for tab in self._desk.results.study_tabs:
            tab.furnish(TOPICS[tab.name or ""], self.book)

    def ask(self, tab: StudyTab, question: Question) -> None:
        """Have a question answered; one of the same study that still waits is dropped."""
        before = self._going.get(question.study)
        if before is not None and before[0] != question:
            self.book.forget(before[0])
        self._going[question.study] = (question, tab)
        if question.model:
            path = str(question.path) if question.path is not None else ""
            model = {} if path else dict(self._desk.drafting.data["model"])
            self._desk.runs.link.study(
                question.study, path, model, question.arguments(), self._desk.drafting.base, question
            )
        elif question.path is not None:
            take = functools.partial(self.take, question)
            self._runner.run(question.study, question.path, question.arguments(), take)

    def heard(self, tag: object, answer: Mapping[str, Any] | ExplorerError, *, waits: bool = False) -> None:
        """Take what the worker answered; where it is busy with a run, it is asked again after it."""
        if not isinstance(tag, Question):
            return
        if waits:
            why = answer.what if isinstance(answer, ExplorerError) else answer
            self.book.wait(tag, f"waits: {why}")
            going = self._going.get(tag.study)
            if going is not None:
                going[1].update_page()
        else:
            self.take(tag, answer)

    def take(self, question: Question, answer: Mapping[str, Any] | ExplorerError) -> None:
        """Show an answer, if the question still matters."""
        going = self._going.get(question.study)
        if going is None or going[0] != question:
            return
        tab = self._going.pop(question.study)[1]
        self.book.take(question, answer)
        if isinstance(answer, ExplorerError):
            self._desk.log(f"{question.study}: {answer}")
        elif question.study == SCORE:
            # What was worked out stands in the session's file now.
            self._screen.say(str(answer.get("told") or "scored, and saved with the session"), "good")
            self._desk.open_session(Path(str(answer["session"])))
            tab.open_topic("effects")
        tab.update_page()

    def choose(self, tab: StudyTab, topic: Topic, settings: dict[str, Any]) -> None:
        """Let a person choose the settings of a topic."""

        def problem(line: str) -> str:
            try:
                read_settings(line, settings)
            except ExplorerError as error:
                return str(error)
            return ""

        def chosen(line: str | None) -> None:
            if line is not None:
                self.book.choose(topic, self.subject(), read_settings(line, settings))
                tab.update_page()

        ask = Ask(f"settings of {topic.title}", settings_line(settings), detail=topic.teaches, check=problem)
        self._screen.app.push_screen(ask, chosen)

    def open_card(self, layer: int, neuron: int) -> None:
        """Show a neuron as a card."""
        subject = self.subject()
        self.book.choose(CARD, subject, {**self.book.settings(CARD, subject), "layer": layer, "neuron": neuron})
        self._desk.results.open_tab("Neuron", CARD.study)

    def subject(self) -> StudySubject:
        """What studies are asked about now."""
        state = self._desk.results.state
        return StudySubject(state.session, state.plane, tuple(state.by), self._desk.drafting.data)
