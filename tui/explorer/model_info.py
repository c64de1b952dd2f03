"""What an experiment will need: the sizes of its model, its prompts' tokens, and the cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.runs.inputs import read_inputs
from srm_explorer.tui.explorer.draft import Drafting

if TYPE_CHECKING:
    from srm_explorer.engine.worker.protocol import Description
    from srm_explorer.tui.backend.backend import WorkerLink
    from srm_explorer.tui.backend.events import RunGrew
    from srm_explorer.tui.explorer.screen import ExplorerScreen


class Shapes:
    """Descriptions by the model's table, and which were asked for."""

    def __init__(self) -> None:
        self._known: dict[str, Description] = {}
        self._asked: set[str] = set()

    def of(self, model: Mapping[str, Any]) -> Description | None:
        """The description of a model; None where it is not known."""
        return self._known.get(_key(model))

    def asks(self, model: Mapping[str, Any], *, again: bool) -> bool:
        """Note that a model is asked for; False where it was before, unless it is to be asked for again."""
        key = _key(model)
        if key in self._asked and not again:
            return False
        self._asked.add(key)
        return True

    def take(self, model: Mapping[str, Any], description: Description | None) -> None:
        """Note what a model is like; None where it could not be said."""
        if description is not None:
            self._known[_key(model)] = description


def _key(model: Mapping[str, Any]) -> str:
    return json.dumps(model, sort_keys=True)


class Sizing:
    """Asks the worker about the draft's model and prompts, and shows the answers in the panes.

    Args:
        screen: has the panes.
        drafting: has the draft.
        link: leads to the worker.
        changed: called where the sizes of the draft's model are other ones.
    """

    def __init__(
        self, screen: ExplorerScreen, drafting: Drafting, link: WorkerLink, changed: Callable[[], None]
    ) -> None:
        self._screen, self._drafting, self._link, self._changed = screen, drafting, link, changed
        self._shapes = Shapes()
        self._seen: set[Path] = set()
        self._count = 0
        self._n_prompts = 0

    @property
    def shape(self) -> Description | None:
        """What the draft's model is like; None where it is not known."""
        return self._shapes.of(self._drafting.data["model"])

    def show(self) -> None:
        """Show what is known of the draft, and count its prompts."""
        if (shape := self.shape) is not None:
            self.take_shape(self._drafting.data["model"], shape, "")
        self._count_prompts()

    def want_shape(self, wanted: dict[str, Any] | None = None) -> None:
        """Ask for the shape of a model, the draft's by default, unless it is known or was asked for."""
        model: dict[str, Any] = wanted or self._drafting.data["model"]
        known = self._shapes.of(model)
        if known is not None:
            self.take_shape(model, known, "")
        elif self._shapes.asks(model, again=wanted is not None):
            self._link.describe(model, self._drafting.base)

    def run_grew(self, event: RunGrew) -> None:
        """Ask once the model of a run is loaded: it can then be described at no cost."""
        running = event.progress is not None and event.progress.stage == "running"
        if running and event.session is not None and event.path not in self._seen:
            self._seen.add(event.path)
            model = event.session.spec.to_dict()["model"]
            if model == self._drafting.draft.data["model"]:
                self.want_shape(model)

    def take_shape(self, model: dict[str, Any], description: Description | None, problem: str) -> None:
        """Take what the worker says of a model; of another one than the draft's it is only remembered."""
        self._shapes.take(model, description)
        data = self._drafting.data
        if model == data["model"]:
            self._screen.intervention.take_shape(description, problem)
            room = None if description is None else description.n_ctx - data["generation"]["tokens"]
            self._screen.prompts.take_room(room)
            self._changed()

    def want_tokens(self, texts: tuple[str, ...]) -> None:
        """Ask how many tokens texts have."""
        data = self._drafting.data
        self._link.count_tokens(data["model"], self._drafting.base, texts, data["prompts"]["prepend_bos"])

    def take_rate(self, model: str, rate: float) -> None:
        """Remember how fast a model was."""
        self._drafting.draft.rates[model] = rate
        self._drafting.keep()
        self._take_cost()

    def _count_prompts(self) -> None:
        self._count += 1
        count = self._count
        try:
            experiment = self._drafting.experiment()
        except ExplorerError:
            return
        base = self._drafting.base

        def counted(found: int | ExplorerError) -> None:
            if count == self._count and isinstance(found, int):
                self._n_prompts = found
                self._take_cost()

        self._screen.background.run(lambda: _number_of_prompts(experiment, base), counted)

    def _take_cost(self) -> None:
        rate = self._drafting.draft.rates.get(self._drafting.data["model"]["name"])
        self._screen.intervention.take_cost(self._n_prompts, rate)


def _number_of_prompts(experiment: Experiment, base: Path) -> int:
    return len(read_inputs(experiment, base).prompts)
