"""The pane in which the model, the interventions and everything else of an experiment but its prompts are set."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.timer import Timer

from tui.state.form_rows import FormRow
from tui.widgets.form import LineForm
from tui.widgets.form_foot import FormFoot, Tone
from tui.widgets.intervention_keys import InterventionKeys

if TYPE_CHECKING:
    from engine.runner.wire import Description
    from engine.spec import Experiment
    from tui.screens.presets import ChosenSpec
    from tui.state.spec_form import Outcome, SpecForm

_PAUSE = 0.05
"""Seconds after a key until what was typed is checked."""

_PATIENCE = 10.0
"""Seconds until a model that could not be described is asked for again, once the form is used."""

_ECHOES = 20

_BLANK = tuple(
    FormRow(f"#{label}", "", (label,), kind="fact")
    for label in ("model", "device", "layer", "neuron", "operation", "values", "tokens", "capture", "thresholds")
)
"""What is seen before the experiment is there."""


class InterventionPane(InterventionKeys):
    """A form over one experiment: a row is edited on enter, everything is checked as it is typed."""

    DEFAULT_CSS = """
    InterventionPane {
        layout: vertical;
        LineForm { height: 1fr; }
    }
    """

    @dataclass
    class Changed(Message):
        """The whole experiment after an edit that validated."""

        data: dict[str, Any]

    @dataclass
    class Typing(Message):
        """A text that is no part of the experiment yet; None once it is, or was given up."""

        field: str
        text: str | None

    @dataclass
    class Loaded(Message):
        """Another experiment takes this one's place: its data, its name, and where its relative paths start."""

        data: dict[str, Any]
        name: str
        base: Path

    @dataclass
    class ModelWanted(Message):
        """The model in use should be described: the form is used for the first time, or the model is another one."""

        model: dict[str, Any]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.form = LineForm()
        self.foot = FormFoot()
        self._spec: SpecForm | None = None
        self._posted: list[dict[str, Any]] = []
        self._told_typed: dict[str, str] = {}
        self._model: dict[str, Any] = {}
        self._asked_at = -math.inf
        self._prompts = 0
        self._rate: float | None = None
        self._check: Timer | None = None
        self._note: tuple[str, Tone] = ("", "plain")

    def compose(self) -> ComposeResult:
        """The form, and its foot."""
        yield self.form
        yield self.foot

    def on_mount(self) -> None:
        """Show where things will be."""
        self.form.set_rows(_BLANK)

    @property
    def spec(self) -> SpecForm:
        """The experiment of the form; what it needs is loaded with the first one that is shown."""
        if self._spec is None:
            from tui.state.spec_form import SpecForm

            self._spec = SpecForm()
        return self._spec

    @property
    def is_ready(self) -> bool:
        """Whether an experiment is shown."""
        return self._spec is not None

    def show(self, data: dict[str, Any], typed: Mapping[str, str] | None = None, base: Path | None = None) -> None:
        """Show an experiment.

        Args:
            data: the whole experiment, as `Experiment.to_dict()` gives it.
            typed: texts that were typed and are no part of it yet, by field; None keeps those that are there in
                fields whose value is the same as before.
            base: the folder that its relative paths start from; None: the one before.
        """
        self.base = base or self.base
        if typed is None and data in self._posted:
            # What we told comes back; while more of it is on its way, the form is further than this.
            del self._posted[: self._posted.index(data) + 1]
            if self._posted or data == self.spec.data:
                return
        self._posted.clear()
        self._note = ("", "plain")
        is_first = not self.is_ready
        texts = None if typed is None else self.take_toml_text(typed)
        self._told_typed = dict(typed) if typed is not None else self._told_typed
        self.spec.take(data, texts)
        if is_first:
            self._model = self.spec.data["model"]
        self._want_model()
        self.refresh_form()
        if is_first:
            self.form.select("interventions[0].layer")
            self._show_hint()
            self.refresh_bindings()
        self._tell_typed()

    def take_shape(self, description: Description | None, problem: str = "") -> None:
        """Take what the worker says of the model in use.

        Args:
            description: its sizes; None while they are not known.
            problem: why they cannot be known.
        """
        self.spec.asked = False
        self.spec.take_description(description, problem)
        self.refresh_form()

    def take_cost(self, n_prompts: int, rate: float | None) -> None:
        """Take the number of prompts and the tokens a second of the last run with this model; None: not known."""
        self._prompts, self._rate = n_prompts, rate
        self._show_cost()

    def experiment(self) -> Experiment:
        """What is on the screen, as an experiment.

        Raises:
            ExplorerError: the first problem, with its field.
        """
        taken = self.form.take_open()
        if taken is not None:
            self.settle(self.spec.edit(*taken))
        return self.spec.experiment()

    def copy_text(self) -> str:
        """The value of the highlighted row in full."""
        return next((row.text for row in self.form.rows if row.key == self.form.key), "")

    def loaded(self, chosen: ChosenSpec) -> Message:
        """What tells that another experiment takes this one's place."""
        return self.Loaded(chosen.data, chosen.name, chosen.base)

    def settle(self, outcome: Outcome) -> None:
        """Show what became of an edit, and tell others."""
        self.say(outcome.note, "note")
        if outcome.changed:
            self.tell_changed()
            self._want_model()
        self.refresh_form()
        self._tell_typed()

    def tell_changed(self) -> None:
        """Tell that the experiment is another one."""
        data = copy.deepcopy(self.spec.data)
        self._posted = [*self._posted[-_ECHOES:], data]
        self.post_message(self.Changed(data))

    def say(self, line: str, tone: Tone = "plain") -> None:
        """Say a line below the form until another row is highlighted; an empty one gives way to the row's own."""
        self._note = (line, tone)
        self._show_hint()

    def refresh_form(self) -> None:
        """Show the rows as they are now, and the cost."""
        if self.is_ready:
            self.form.set_rows(self.spec.rows())
            self._show_hint()
            self._show_cost()

    def on_descendant_focus(self) -> None:
        """Have the model described once the form is used: loading it is not for those who only look at sessions."""
        if not self.is_ready or self.spec.asked or self.spec.shape is not None:
            return
        if time.monotonic() - self._asked_at > _PATIENCE:
            self._model = {}
            self._want_model()
            self.refresh_form()

    @on(LineForm.Typed)
    def take_typing(self, event: LineForm.Typed) -> None:
        """Keep what is typed, and say soon what is wrong with it."""
        event.stop()
        self._told_typed[event.key] = event.text
        self.post_message(self.Typing(event.key, event.text))
        if self._check is not None:
            self._check.stop()
        self._check = self.set_timer(_PAUSE, lambda: self._check_text(event.key, event.text))

    @on(LineForm.Committed)
    def take_text(self, event: LineForm.Committed) -> None:
        """Take a text or a choice, or keep it as typed where it is refused."""
        event.stop()
        if not self.is_ready:
            return
        self.settle(self.spec.edit(event.key, event.text))

    @on(LineForm.GivenUp)
    def give_up_text(self, event: LineForm.GivenUp) -> None:
        """Show the row as it was before it was edited."""
        event.stop()
        self.refresh_form()
        self._tell_typed()

    @on(LineForm.Dropped)
    def forget_text(self, event: LineForm.Dropped) -> None:
        """Show what the experiment has in place of a text that is not in use."""
        event.stop()
        self.spec.give_up(event.key)
        self.say("")
        self.refresh_form()
        self._tell_typed()

    @on(LineForm.Highlighted)
    def hint(self, event: LineForm.Highlighted) -> None:
        """Say what may be written there."""
        event.stop()
        self.say("")

    def _check_text(self, key: str, text: str) -> None:
        if self.form.editing == key:
            self.form.set_problem(key, self.spec.reason(key, text))

    def _want_model(self) -> None:
        """Have the model described if it is another one than before."""
        if self._model == self.spec.data["model"]:
            return
        self._model = copy.deepcopy(self.spec.data["model"])
        self._asked_at = time.monotonic()
        self.spec.take_description(None, "")
        self.spec.asked = True
        self.post_message(self.ModelWanted(self._model))

    def _tell_typed(self) -> None:
        """Tell which texts came to be, or are no longer, beside the experiment."""
        kept = self.spec.typed | ({self.TOML: self.toml_text} if self.toml_text else {})
        for key in [key for key in self._told_typed if key not in kept]:
            self.post_message(self.Typing(key, None))
        for key, text in kept.items():
            if self._told_typed.get(key) != text:
                self.post_message(self.Typing(key, text))
        self._told_typed = kept

    def _show_hint(self) -> None:
        line, tone = self._note
        if not line and self.is_ready:
            line, waits = self.spec.hint(self.form.key)
            tone = "problem" if waits else "plain"
        self.foot.set_hint(line, tone)

    def _show_cost(self) -> None:
        if not self.is_ready or not self._prompts:
            return
        from tui.state.cost import facts_of

        self.foot.set_facts(facts_of(self.spec.data, self._prompts, self._rate, self.spec.description))
