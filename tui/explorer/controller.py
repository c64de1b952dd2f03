"""What the explorer does with an experiment, a session and the worker: each message goes to the part it concerns."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import Any

from textual.message import Message

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.experiment import Site, available_presets, read_experiment
from srm_explorer.engine.experiment.experiment import EXECUTION
from srm_explorer.engine.figures.captions import (
    DEMO,
    coordinate_caption,
    direction_caption,
    model_caption,
    site_caption,
)
from srm_explorer.engine.session import Session, sessions_in
from srm_explorer.engine.worker.protocol import Description
from srm_explorer.tui.backend import events
from srm_explorer.tui.backend.link import WorkerLink
from srm_explorer.tui.charts.subject import VIEWS
from srm_explorer.tui.experiment.fields import error_line
from srm_explorer.tui.experiment.form_model import shape_of
from srm_explorer.tui.experiment.pane import DroppedText, InterventionPane
from srm_explorer.tui.explorer.draft import DraftEditor, DraftFile, as_draft, draft_at, initial_draft, set_names
from srm_explorer.tui.explorer.model_info import ModelInfoController
from srm_explorer.tui.explorer.planes import PlaneController
from srm_explorer.tui.explorer.runs import RunController, errand_going
from srm_explorer.tui.explorer.session_in_view import SessionInView
from srm_explorer.tui.explorer.startup import ExitSummary, LaunchOptions
from srm_explorer.tui.explorer.studies import StudyController
from srm_explorer.tui.explorer.surveys import SurveyController
from srm_explorer.tui.explorer.view import ExplorerView
from srm_explorer.tui.palette import Command
from srm_explorer.tui.prompts.pane import PromptsPane
from srm_explorer.tui.results.pane import TABS, ResultsPane
from srm_explorer.tui.results.study_tab import StudyTab
from srm_explorer.tui.results.survey_tab import SurveyTab
from srm_explorer.tui.sessions.actions import Chosen
from srm_explorer.tui.sessions.importing import ImportScreen
from srm_explorer.tui.sessions.screen import SessionsScreen
from srm_explorer.tui.widgets.status import Facts

_DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


def facts_of(
    data: dict[str, Any],
    description: Description | None,
    session: Session | None,
    path: Path | None,
    worker: str,
    *,
    is_draft: bool = True,
) -> Facts:
    """Gather the facts.

    Args:
        data: the draft's experiment.
        description: of its model; None where that is not known.
        session: in view; None where nothing of it is there yet.
        path: its file; None for no session.
        worker: words for how it is.
        is_draft: whether a session of which nothing is there yet is of the draft's experiment.
    """
    mark = ""
    if path is not None and (session is None or session.path is None):
        mark = "unsaved"
    elif session is not None and session.is_imported:
        mark = "imported"
    name = path.stem if path is not None else ""
    facts = _model_facts(data, description)
    if session is None:
        return Facts(facts, name, mark, worker, is_edited=not (is_draft or path is None))
    ran = session.spec.to_dict()
    if not session.is_imported and not _differs(ran, data):
        return Facts(facts, name, mark, worker)
    model = model_caption(session) if session.is_imported else _name_of(ran["model"])
    done = _done_facts(ran, model)
    # What tells them apart comes first; what both have in common stands once, with what is edited.
    edited = [fact for fact in _done_facts(data, _name_of(data["model"])) if fact not in done]
    viewed = tuple(fact for fact in done if fact not in facts)
    shared = (fact for fact in facts if fact not in edited)
    return Facts((*edited, *shared), name, mark, worker, viewed, is_edited=True)


def _differs(ran: dict[str, Any], data: dict[str, Any]) -> bool:
    """Whether an experiment is another than the one that ran, which says what the model decided where it is `auto`.

    Who decodes, and how many rows at once, belongs to neither.
    """
    data, capture = {**data, EXECUTION: ran[EXECUTION]}, data["capture"]
    if capture["residual"] == "auto":
        data = {**data, "capture": {**capture, "residual": ran["capture"]["residual"]}}
    return ran != data


def _model_facts(data: dict[str, Any], description: Description | None) -> tuple[str, ...]:
    model = data["model"]
    dtype: str = model["dtype"]
    device = str(description.device if description is not None else model["device"])
    facts = (*_done_facts(data, _name_of(model)), device, _DTYPES.get(dtype, dtype))
    shape = shape_of(description, description.shape.name) if description is not None else None
    edited = Site.parse(next((edit["site"] for edit in data["interventions"]), data["capture"]["sites"][0]))
    if shape is not None and (width := shape.width(edited)):
        facts += (f"{edited.width_name} {width:,}",)
    return facts


def _name_of(model: dict[str, Any]) -> str:
    return "demo model" if model["name"] == DEMO else Path(model["name"]).name


def _done_facts(data: dict[str, Any], name: str) -> tuple[str, ...]:
    """The model, what is done to it and the first plane."""
    facts = [name]
    sites: list[str] = data["capture"]["sites"]
    # Texts alone, which came from elsewhere, have no site.
    if edited := next((edit["site"] for edit in data["interventions"]), next(iter(sites), None)):
        facts.append(site_caption(edited))
    if data["interventions"]:
        facts.append(_edited(data["interventions"], data["survey"]["neurons"]))
    if data["planes"]:
        plane = data["planes"][0]
        site = plane["site"] or sites[0]
        facts.append(f"{direction_caption(site, plane['a'])} × {direction_caption(site, plane['b'])}")
    return tuple(facts)


_LONGEST_SURVEY = 20
"""Characters that the neurons of a survey take in the header."""


def _edited(interventions: list[dict[str, Any]], surveyed: str = "") -> str:
    """What is done to what: "clamp n373", "add n3, n5", "steer up", "clamp n373 and 2 more"; "clamp all neurons"."""
    first, *others = interventions
    if surveyed:
        named = f"neurons {surveyed}" if surveyed != "all" else "all neurons"
        return f"{first['op']} {named if len(named) <= _LONGEST_SURVEY else 'many neurons'}"
    target = ", ".join(coordinate_caption(first["site"], neuron) for neuron in first["neurons"][:2])
    more = sum(max(1, len(edit["neurons"])) for edit in others) + max(0, len(first["neurons"]) - 2)
    if first.get("heads"):
        target = f"head {', '.join(map(str, first['heads']))}"
    elif first["direction"] is not None:
        target = direction_caption(first["site"], first["direction"])
    return f"{first['op'].replace('_', ' ')} {target}" + (f" and {more} more" if more else "")


class ExplorerController:
    """Everything that the explorer does with an experiment and a session; made in a thread, opened on the screen's.

    Args:
        view: the panes.
        start: what the program was started with.
    """

    def __init__(self, view: ExplorerView, start: LaunchOptions) -> None:
        self._view, self._start = view, start
        file = DraftFile()
        draft, self._problems = initial_draft(start, file)
        self._dropped: list[DroppedText | None] = []
        """What was taken back since the last edit: a text that was typed, or (None) an edit."""
        self.link = WorkerLink(lambda event: view.call_later(self.take_event, event))
        self.editor = DraftEditor(draft, file, lambda error: view.call_later(view.refuse, error))
        self.sessions = SessionInView(view, self.editor, self.show_header)
        self.model_info = ModelInfoController(view, self.editor, self.link, self.show_header)
        named = start.session is not None
        self.runs = RunController(view, self.editor, self.sessions, self.link, self.model_info.count, keeps_view=named)
        self.sessions.on_move = self.runs.moved
        self.studies = StudyController(view, self.editor, self.sessions, self.link)
        self.surveys = SurveyController(view, self.sessions, self.runs)
        self.planes = PlaneController(view, self.editor, self.sessions, self.link)

    def open(self) -> None:
        """Show the draft, open the session that was in view, and begin to watch runs."""
        draft, results = self.editor.draft, self._view.results
        view = draft.view if draft.view in VIEWS else None
        results.restore(
            theta=draft.theta, threshold=draft.threshold, view=view, by=draft.by, plane=draft.plane, tab=draft.tab
        )
        self.studies.furnish()
        results.study(self.studies.subject)
        self.show_draft(dict(draft.typed))
        self.editor.keep()
        for problem in self._problems:
            self._view.refuse(problem)
        for name in set_names(self._start):
            self._view.go_to(self._view.prompts)
            self._view.prompts.point_at(name)
        self.link.open()
        self.sessions.reopen()
        self.runs.show()

    def close(self) -> ExitSummary:
        """Keep the draft and leave the worker alone; return what there is to say of it."""
        self._view.background.close(is_last=True)
        self.link.close()
        running = self.runs.state.path
        return ExitSummary(running.stem if running is not None else "", self.editor.close())

    def take_message(self, message: Message) -> None:
        """Do what a pane wants."""
        match message:
            case PromptsPane.Changed():
                self.edit({**self.editor.data, "prompts": message.prompts})
            case PromptsPane.TokensWanted():
                self.model_info.want_tokens(message.texts)
            case InterventionPane.Changed():
                self.edit(message.data)
            case InterventionPane.Typing():
                self.editor.typing(message.field, message.text)
            case InterventionPane.Loaded():
                self.replace(message.data, message.name, message.base)
            case InterventionPane.ModelWanted():
                self.model_info.want_shape(message.model)
            case ResultsPane.ViewChanged():
                self.keep_view()
            case StudyTab.Wanted():
                self.studies.ask(message.tab, message.question)
            case StudyTab.SettingsWanted():
                self.studies.choose(message.tab, message.topic, message.settings)
            case StudyTab.CardWanted():
                self.studies.open_card(message.layer, message.neuron)
            case SurveyTab.CellWanted():
                self.surveys.open(message.layer, message.neuron)
            case StudyTab.NewPlaneWanted():
                self.planes.ask()
            case StudyTab.PlaneWanted():
                self.planes.add(message.choice)
            case _:
                raise TypeError(f"nobody takes {message}")

    def take_event(self, event: events.LinkEvent) -> None:
        """Take what the link tells."""
        match event:
            case events.Described():
                self.model_info.take_shape(dict(event.model), event.description, "")
            case events.DescribeFailed():
                self.model_info.take_shape(dict(event.model), None, error_line(event.error))
            case events.Tokenized():
                self._view.prompts.take_tokens(event.tag, event.pieces)
            case events.Studied():
                self.studies.take_answer(event.tag, event.findings)
                self.planes.take_answer(event.tag, event.findings)
            case events.StudyFailed():
                self.studies.take_answer(event.tag, event.error, waits=event.waits)
                self.planes.take_answer(event.tag, event.error, waits=event.waits)
            case events.Said():
                self._view.results.log_line(event.line)
            case events.RunGrew():
                self.model_info.run_grew(event)
                self.runs.take_event(event)
            case events.WorkerSeen():
                self.runs.take_event(event)
                if event.errand:
                    self.studies.tell(errand_going(event.errand, event.progress).facts)
                if event.kind == "warm":
                    self.model_info.want_shape()
            case _:
                self.runs.take_event(event)
        self.runs.show()
        self.show_header()

    def show_draft(self, typed: dict[str, str] | None = None) -> None:
        """Show the experiment in the panes, count its prompts, and name it in the header."""
        data = self.editor.data
        edited = [intervention["positions"] for intervention in data["interventions"]]
        self._view.prompts.show(
            data["prompts"], data["model"], self.editor.base, edited, data["capture"].get("positions")
        )
        self._view.intervention.show(data, typed, self.editor.base)
        self.model_info.show()
        self.show_header()

    def edit(self, data: dict[str, Any]) -> None:
        """Take an edited experiment."""
        if self.editor.edit(data):
            self._dropped.clear()
            self._view.say("")
            self.show_draft()

    def replace(self, data: dict[str, Any], name: str, base: Path) -> None:
        """Begin with another experiment."""
        self.editor.replace(data, name, base)
        self._dropped.clear()
        self.show_draft({})
        self._view.say(f"the experiment is now '{name}'; u goes back to the one before")

    def undo(self) -> None:
        """Drop the text that is not in use, else take the last edit back; say which."""
        dropped = self._view.intervention.drop_text()
        if dropped is not None:
            self._dropped.append(dropped)
            self._view.say(f"dropped what was typed: {dropped.caption}; U brings it back")
        elif changed := self.editor.undo():
            self._dropped.append(None)
            self.show_draft()
            self._view.say(f"undone: {changed}; U makes it again")
        else:
            self._view.say("there is no edit to take back")

    def redo(self) -> None:
        """Bring back what was taken back last, a text or an edit; say which."""
        dropped = self._dropped.pop() if self._dropped else None
        if dropped is not None:
            self._view.intervention.bring_back(dropped)
            self._view.say(f"brought back what was typed: {dropped.caption}")
        elif changed := self.editor.redo():
            self.show_draft()
            self._view.say(f"made again: {changed}")
        else:
            self._view.say("there is no edit to make again")

    def duplicate(self, path: Path | None = None) -> None:
        """Make the experiment of the session in view, or of a saved one, the draft."""
        session = self.sessions.session
        if path is not None:
            self._view.background.run(lambda: draft_at(path), self._take_experiment)
        elif session is not None:
            try:
                self.replace(*as_draft(session))
            except ExplorerError as error:
                self._view.say(str(error))
        else:
            self._view.say("there is no session in view; o opens one")

    def cancel(self) -> None:
        """Stop the run; where none is under way, what the worker works out for us."""
        if self.runs.state.path is None and self.studies.at_worker:
            self.studies.stop()
        else:
            self.runs.cancel()

    def list_sessions(self) -> None:
        """Show the sessions, and do with one what is chosen there."""
        self._view.ask(SessionsScreen(), self.take_chosen)

    def import_files(self) -> None:
        """Make a session of files that other programs wrote, and look at it."""
        self._view.ask(ImportScreen(), lambda path: self.take_chosen(None if path is None else Chosen("open", path)))

    def look(self) -> None:
        """Look whether the session in view still has its name, unless a run is to begin or goes on under it."""
        if self._view.in_view and self.sessions.path not in self.runs.state.followed:
            self.sessions.look()

    def take_chosen(self, chosen: Chosen | None) -> None:
        """Do what was chosen in the list of sessions."""
        self.look()
        if chosen is None:
            return
        match chosen.action:
            case "open":
                self.sessions.open(chosen.path)
            case "duplicate":
                self.duplicate(chosen.path)
            case "resume":
                self.runs.resume(chosen.path)
            case "follow":
                self.runs.follow(chosen.path)
            case "score":
                self.sessions.open(chosen.path)
                self._view.results.open_tab("Effects", "score")
                self._view.say("w scores this session; then compare again: o, c")

    def offers(self, action: str) -> bool:
        """Whether an action of the explorer would change something now, and not only say why it cannot."""
        session = self.sessions.session
        match action:
            case "run_experiment":
                return self.runs.can_run
            case "cancel":
                return self.runs.can_cancel or (self.runs.state.path is None and self.studies.at_worker)
            case "resume":
                return self.runs.state.offer is not None
            case "queue":
                return bool(self.runs.state.queue or self.runs.state.followed)
            case "restart_worker":
                return self.runs.state.older
            case "undo":
                return self.editor.can_undo or self._view.intervention.has_unused_text
            case "redo":
                return self.editor.can_redo or bool(self._dropped and self._dropped[-1] is not None)
            case "save_as":
                return session is not None and session.path is not None
            case "duplicate":
                # A session that came from elsewhere has no experiment that could be edited.
                return session is not None and not session.is_imported
            case "export":
                return self._view.results.can_export
            case _:
                return True

    def palette_commands(self) -> list[Command]:
        """The presets and the sessions as commands of the palette; reads folders, so call it in a thread."""
        results = self._view.results
        commands = [
            Command(f"tab {tab}", "Go to this tab of the results", functools.partial(results.open_tab, tab))
            for tab in TABS
        ]
        for tab in results.study_tabs:
            for topic in tab.topics:
                look = functools.partial(results.open_tab, tab.name or "", topic.study)
                told = topic.teaches.partition("\n")[0]
                commands.append(
                    Command(topic.title, f"{tab.name}: {told}", look, words=f"study {topic.study} {tab.name}")
                )
        told = "Make a session of vectors and texts that other programs saved"
        words = "load npz npy safetensors parquet csv tsv vectors texts captures"
        commands.append(Command("import files", told, self.import_files, words=words))
        if self.sessions.session is not None:
            told = "Write the session in view as one HTML page: charts, effects, texts, methods"
            commands.append(Command("write a report", told, self.sessions.write_report, words="html pdf page export"))
            told = "Write a Python file that repeats the session in view"
            commands.append(Command("write a script", told, self.sessions.write_script, words="python export repeat"))
        for name in available_presets():
            experiment, source = read_experiment(name)
            load = functools.partial(self.replace, experiment.to_dict(), source.name, source.base)
            commands.append(Command(f"preset {name}", "Begin with this experiment", load))
        listed: list[Path] = []
        with contextlib.suppress(ExplorerError):
            listed = sessions_in(paths.sessions_folder())
        for path in listed:
            look = functools.partial(self.sessions.open, path)
            commands.append(Command(f"session {path.stem}", "Open this session", look))
        return commands

    def keep_view(self) -> None:
        """Keep where the spotlight stands."""
        state, draft = self._view.results.state, self.editor.draft
        draft.plane, draft.theta = state.plane, state.theta
        draft.threshold = state.threshold if state.threshold_chosen else None
        draft.view = state.view if state.view_chosen else ""
        draft.by = tuple(state.by)
        # The log of the next screen is empty.
        if self._view.results.tab != "Log":
            draft.tab = self._view.results.tab
        self.editor.keep()

    def show_header(self) -> None:
        """Tell in the top line what the draft, the session and the worker are."""
        sessions, worker = self.sessions, self.runs.state.worker
        data, description = self.editor.data, self.model_info.description
        is_draft = sessions.session is not None or sessions.path is None or self.runs.is_draft(sessions.path)
        facts = facts_of(data, description, sessions.session, sessions.shown, worker, is_draft=is_draft)
        self._view.show_header(facts)

    def _take_experiment(self, experiment: tuple[dict[str, Any], str, Path] | ExplorerError) -> None:
        if isinstance(experiment, ExplorerError):
            self._view.refuse(experiment)
        else:
            self.replace(*experiment)
