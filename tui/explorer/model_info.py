"""What an experiment will need: the sizes of its model, its prompts' tokens, and the cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.prompts import Turns
from srm_explorer.engine.runs.inputs import Inputs, read_inputs
from srm_explorer.engine.runs.pace import Pace, known_pace
from srm_explorer.engine.worker.protocol import Description
from srm_explorer.tui.backend.events import RunGrew
from srm_explorer.tui.backend.link import WorkerLink
from srm_explorer.tui.experiment.cost import sizes_in
from srm_explorer.tui.explorer.draft import DraftEditor
from srm_explorer.tui.explorer.view import ExplorerView
from srm_explorer.tui.prompts.catalogue import feeding_key


class DescriptionCache:
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


class ModelInfoController:
    """Asks the worker about the draft's model and prompts, and shows the answers in the panes.

    Args:
        view: has the panes.
        editor: has the experiment.
        link: leads to the worker.
        changed: called where the sizes of the draft's model are other ones.
    """

    def __init__(
        self, view: ExplorerView, editor: DraftEditor, link: WorkerLink, changed: Callable[[], object]
    ) -> None:
        self._view, self._editor, self._link, self._changed = view, editor, link, changed
        self._descriptions = DescriptionCache()
        self._seen: set[Path] = set()

    @property
    def description(self) -> Description | None:
        """What the draft's model is like; None where it is not known."""
        return self._descriptions.of(self._editor.data["model"])

    def show(self) -> None:
        """Show what is known of the draft, and count its prompts."""
        if (description := self.description) is not None:
            self._show_shape(description, "")
        self.count()

    def want_shape(self, table: dict[str, Any] | None = None) -> None:
        """Ask for the shape of a model, the draft's by default, unless it is known or was asked for."""
        model: dict[str, Any] = table or self._editor.data["model"]
        known = self._descriptions.of(model)
        if known is not None:
            self.take_shape(model, known, "")
        elif self._descriptions.asks(model, again=table is not None):
            self._link.describe(model, self._editor.base)

    def run_grew(self, event: RunGrew) -> None:
        """Ask once the model of a run is loaded: it can then be described at no cost."""
        running = event.progress is not None and event.progress.stage == "running"
        if running and event.session is not None and event.path not in self._seen:
            self._seen.add(event.path)
            model = event.session.spec.to_dict()["model"]
            if model == self._editor.draft.data["model"]:
                self.want_shape(model)

    def take_shape(self, model: dict[str, Any], description: Description | None, problem: str) -> None:
        """Take what the worker says of a model; of another one than the draft's it is only remembered."""
        self._descriptions.take(model, description)
        if model == self._editor.data["model"]:
            self._show_shape(description, problem)
            # Its pace was measured with its sizes, if it was not known.
            self.count()

    def _show_shape(self, description: Description | None, problem: str) -> None:
        self._view.intervention.take_shape(description, problem)
        tokens: int = self._editor.data["generation"]["tokens"]
        self._view.prompts.take_room(None if description is None else description.shape.n_ctx - tokens)
        self._changed()

    def want_tokens(self, texts: tuple[str | Turns, ...]) -> None:
        """Ask for the tokens of prompts."""
        data, base = self._editor.data, self._editor.base
        prompts = data["prompts"]
        self._link.tokenize(
            data["model"],
            base,
            texts,
            prompts["prepend_bos"],
            chat_template=prompts.get("chat_template", False),
            system=prompts.get("system"),
            tag=feeding_key(prompts, data["model"], base),
        )

    def count(self) -> None:
        """Count the draft's prompts and say what it will cost, by what is known of its model on this machine."""
        try:
            experiment = self._editor.experiment()
        except ExplorerError:
            self._view.background.cancel("count prompts")
            return
        base = self._editor.base

        def count() -> tuple[Inputs, Pace]:
            return read_inputs(experiment, base), known_pace(experiment.model, base)

        def counted(known: tuple[Inputs, Pace] | ExplorerError) -> None:
            if isinstance(known, tuple):
                inputs, pace = known
                self._view.intervention.take_cost(
                    len(inputs.prompts), pace.rate or None, inputs.units, sizes_in(pace), inputs.prompt_tokens
                )

        self._view.background.run(count, counted, key="count prompts")
