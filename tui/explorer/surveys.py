"""One neuron of a survey as a session of its own: asked for, then run, or shown where it was run before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.survey import cell_experiment, values_on_prompts
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.runs.resume import default_path
from srm_explorer.engine.session import Session
from srm_explorer.tui.experiment.cost import estimate_here
from srm_explorer.tui.explorer.draft import as_draft
from srm_explorer.tui.explorer.runs import RunController
from srm_explorer.tui.explorer.session_in_view import SessionInView
from srm_explorer.tui.explorer.view import ExplorerView
from srm_explorer.tui.widgets.dialogs import Confirm


@dataclass(frozen=True)
class _CellRun:
    """What opening a neuron means.

    Attributes:
        experiment: the survey's, with this neuron in the place of its own.
        path: where its session is saved.
        base: where its paths start.
        facts: what it costs, a fact each.
        is_there: whether it was run before.
    """

    experiment: Experiment
    path: Path
    base: Path
    facts: tuple[str, ...]
    is_there: bool


class SurveyController:
    """Opens neurons of the survey in view.

    Args:
        view: asks, and says lines.
        sessions: has the survey.
        runs: runs the experiment of a neuron.
    """

    def __init__(self, view: ExplorerView, sessions: SessionInView, runs: RunController) -> None:
        self._view, self._sessions, self._runs = view, sessions, runs

    def open(self, layer: int, neuron: int) -> None:
        """Show the session of a neuron, running it first where it was not yet, and where that is wished."""
        session = self._sessions.session
        if session is None:
            self._view.say("there is no session in view; o opens one")
            return
        prompts = len(session.prompts)

        def found(run: _CellRun | ExplorerError) -> None:
            if isinstance(run, ExplorerError):
                self._view.refuse(run)
            elif run.is_there or run.path in self._runs.state.followed:
                self._begin(run)
            else:
                self._ask(layer, neuron, run)

        self._view.background.run(lambda: _cell_run(session, layer, neuron, prompts), found, key="cell of a survey")

    def _ask(self, layer: int, neuron: int, run: _CellRun) -> None:
        detail = f"The survey's experiment with this neuron alone: {', '.join(run.facts)}."
        question = Confirm(f"run L{layer} n{neuron} as a session?", detail=detail, yes="run it", no="leave it")
        self._view.ask(question, lambda sure: self._begin(run) if sure else None)

    def _begin(self, run: _CellRun) -> None:
        self._runs.begin(run.experiment, run.path, base=run.base)
        self._view.results.open_tab("Polar")


def _cell_run(session: Session, layer: int, neuron: int, prompts: int) -> _CellRun:
    _, name, base = as_draft(session)
    experiment = cell_experiment(session.spec, layer, neuron, values_on_prompts(session, layer, neuron))
    path = default_path(experiment, f"{name}-L{layer}-n{neuron}")
    cost, _ = estimate_here(experiment, base, prompts)
    return _CellRun(experiment, path, base, cost.facts(), paths.is_there(path))
