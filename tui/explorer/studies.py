"""Studies asked for on the screen: by whom they are answered, and where the answers go."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.link import WorkerLink
from srm_explorer.tui.backend.study_runner import StudyRunner
from srm_explorer.tui.explorer.draft import DraftEditor
from srm_explorer.tui.explorer.session_in_view import SessionInView
from srm_explorer.tui.explorer.view import ExplorerView
from srm_explorer.tui.results.study_model import (
    CARD,
    SCORE,
    TOPICS,
    Question,
    StudyCache,
    StudySubject,
    Topic,
)
from srm_explorer.tui.results.study_settings import StudySettings
from srm_explorer.tui.results.study_tab import StudyTab


class StudyController:
    """Has studies worked out, and shows what came of them.

    Args:
        view: where settings are asked for and lines are said.
        editor: has the experiment.
        sessions: has the session in view.
        link: leads to the worker, for studies that need a model.
    """

    def __init__(self, view: ExplorerView, editor: DraftEditor, sessions: SessionInView, link: WorkerLink) -> None:
        self._view, self._editor, self._sessions, self._link = view, editor, sessions, link
        self._runner = StudyRunner(view.background)
        self._asked: dict[str, tuple[Question, StudyTab]] = {}
        self._far = ""
        self.cache = StudyCache()

    def furnish(self) -> None:
        """Give the tabs what they can show."""
        for tab in self._view.results.study_tabs:
            tab.furnish(TOPICS[tab.name or ""], self.cache)

    def ask(self, tab: StudyTab, question: Question) -> None:
        """Have a question answered; one of the same study that still waits is dropped."""
        before = self._asked.get(question.study)
        if before is not None and before[0] != question:
            self.cache.forget(before[0])
        self._asked[question.study] = (question, tab)
        self._far = ""
        if question.model:
            path = str(question.path) if question.path is not None else ""
            model = {} if path else dict(self._editor.data["model"])
            self._link.study(question.study, path, model, question.arguments(), self._editor.base, question)
        elif question.path is not None:
            take = functools.partial(self._take, question)
            self._runner.run(question.study, question.path, question.arguments(), take)

    def take_answer(self, tag: object, answer: Mapping[str, Any] | ExplorerError, *, waits: bool = False) -> None:
        """Take what the worker answered; where it is busy with a run, it is asked again after it."""
        if not isinstance(tag, Question):
            return
        if waits:
            why = answer.what if isinstance(answer, ExplorerError) else answer
            self.cache.wait(tag, f"waits: {why}")
            asked = self._asked.get(tag.study)
            if asked is not None:
                asked[1].update_page()
        else:
            self._take(tag, answer)

    def tell(self, facts: Sequence[str]) -> None:
        """Say on the pages that wait for the worker how far it is, and with what."""
        far = facts[0].rpartition(": ")[2]
        self._far = far if far[:1].isdigit() else ""
        for question, tab in self._asked.values():
            if question.model:
                self.cache.wait(question, f"{', '.join(facts)} · c stops it")
                tab.update_page()

    @property
    def at_worker(self) -> bool:
        """Whether the worker is asked something that can be stopped."""
        return any(question.model for question, _ in self._asked.values())

    def stop(self) -> None:
        """Give up what the worker is asked; nothing of it is saved."""
        for question, tab in [asked for asked in self._asked.values() if asked[0].model]:
            topic = next((topic for topic in tab.topics if topic.study == question.study), None)
            title = topic.title if topic is not None else question.study
            del self._asked[question.study]
            self._link.stop_study(question.study)
            far = f" after {self._far}" if self._far else ""
            what = f"{title} stopped{far}: nothing of it is saved"
            self.cache.take(question, ExplorerError(what))
            self._view.results.log_line(what)
            self._view.say(f"{what}; w on its page begins it again", "warning")
            tab.update_page()

    def _take(self, question: Question, answer: Mapping[str, Any] | ExplorerError) -> None:
        """Show an answer, if the question still matters."""
        asked = self._asked.get(question.study)
        if asked is None or asked[0] != question:
            return
        tab = self._asked.pop(question.study)[1]
        self.cache.take(question, answer)
        if isinstance(answer, ExplorerError):
            self._view.results.log_line(f"{question.study}: {answer}")
        elif question.study == SCORE:
            # What was worked out stands in the session's file now.
            self._view.say(str(answer.get("told") or "scored, and saved with the session"), "good")
            self._sessions.open(Path(str(answer["session"])))
            tab.open_topic("effects")
        tab.update_page()

    def choose(self, tab: StudyTab, topic: Topic, settings: dict[str, Any]) -> None:
        """Let a person choose the settings of a topic."""

        def chosen(changed: dict[str, Any] | None) -> None:
            if changed is not None:
                self.cache.choose(topic, self.subject(), changed)
                tab.update_page()

        if settings:
            self._view.ask(StudySettings(topic, settings, self.subject()), chosen)
        else:
            self._view.say(f"{topic.title} has nothing to set")

    def open_card(self, layer: int, neuron: int) -> None:
        """Show a neuron as a card."""
        subject = self.subject()
        self.cache.choose(CARD, subject, {**self.cache.settings(CARD, subject), "layer": layer, "neuron": neuron})
        self._view.results.open_tab("Neuron", CARD.study)

    def subject(self) -> StudySubject:
        """What studies are asked about now."""
        state, shown = self._view.results.state, self._sessions.shown
        is_saved = state.session is None or state.session.path is not None
        run = None if is_saved or shown is None else paths.run_folder(shown)
        return StudySubject(state.session, state.plane, tuple(state.by), self._editor.data, run)
