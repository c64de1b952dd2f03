"""The pane in which the model, the interventions and everything else of an experiment but its prompts are set."""

from __future__ import annotations

import copy
import math
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.terminal.editor import edit_file
from srm_explorer.tui.widgets.dialogs import Ask, Confirm
from srm_explorer.tui.widgets.form import FormFoot, LineForm, Tone
from srm_explorer.tui.widgets.form_layout import FormRow

# An empty form is painted before pydantic is loaded, so what reads and writes experiments is imported where it is used.
if TYPE_CHECKING:
    from srm_explorer.engine.experiment import Experiment
    from srm_explorer.engine.worker.protocol import Description
    from srm_explorer.tui.experiment.files import ChosenSpec
    from srm_explorer.tui.experiment.form_model import SpecForm


_DECIMAL_COMMA = re.compile(r"[-+\N{MINUS SIGN}]?[0-9]+,[0-9]+")
"""A line that may be one number or two."""

_QUOTED = 24
"""Letters of a text that are said of it."""

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


class DroppedText(NamedTuple):
    """A text that was typed and is no part of the experiment: of which field, and what that is called."""

    key: str
    text: str
    label: str

    @property
    def caption(self) -> str:
        """The field and the beginning of its text."""
        text = self.text.strip().partition("\n")[0]
        return f"{self.label} {text if len(text) <= _QUOTED else f'{text[: _QUOTED - 1]}…'}"


class InterventionPane(Widget):
    """A form over one experiment: a row is edited on enter, everything is checked as it is typed."""

    DEFAULT_CSS = """
    InterventionPane {
        layout: vertical;
        LineForm { height: 1fr; }
    }
    """

    TOML = "experiment.toml"
    """The field under which the text of a refused edit in the editor is told."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus", "add", "add", id="intervention.add", tooltip="Add an intervention, or a plane in its section"),
        Binding(
            "minus", "remove", "remove", id="intervention.remove", tooltip="Remove the one in view; u brings it back"
        ),
        Binding("n", "next(1)", "next", id="intervention.next", tooltip="Show the next intervention, or plane"),
        Binding(
            "N", "next(-1)", "previous", show=False, id="intervention.previous", tooltip="Show the intervention before"
        ),
        Binding("P", "presets", "presets", id="intervention.presets", tooltip="Load a preset or an experiment file"),
        Binding("w", "write", "write", id="intervention.write", tooltip="Write the experiment to a file of that name"),
        Binding("e", "toml", "as text", id="intervention.toml", tooltip="Edit the whole experiment as TOML in $EDITOR"),
    ]

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

    def __init__(self) -> None:
        super().__init__()
        self.form = LineForm()
        self.foot = FormFoot()
        self.base = Path()
        self._spec: SpecForm | None = None
        self._file_name = ""
        self._refused_toml = ""
        """What the editor left that is no experiment; empty where there is nothing."""
        self._toml_line = 1
        self._posted: list[dict[str, Any]] = []
        self._posted_typed: dict[str, str] = {}
        self._model: dict[str, Any] = {}
        self._asked_at = -math.inf
        self._prompts = 0
        self._rate: float | None = None
        self._units: int | None = None
        self._prompt_tokens = 0
        self._kept: Description | None = None
        self._check: Timer | None = None
        self._note: tuple[str, Tone] = ("", "plain")

    def compose(self) -> ComposeResult:
        yield self.form
        yield self.foot

    def on_mount(self) -> None:
        self.form.set_rows(_BLANK)

    @property
    def spec(self) -> SpecForm:
        """The experiment of the form; what it needs is loaded with the first one that is shown."""
        if self._spec is None:
            from srm_explorer.tui.experiment.form_model import SpecForm

            self._spec = SpecForm()
        return self._spec

    @property
    def is_ready(self) -> bool:
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
        if typed is not None:
            self._posted_typed = dict(typed)
            # What the editor left that is no experiment is kept beside the texts of the fields.
            self._refused_toml, self._toml_line = typed.get(self.TOML, ""), 1
            typed = {key: text for key, text in typed.items() if key != self.TOML}
        self.spec.take(data, typed)
        if is_first:
            self._model = self.spec.data["model"]
        self._want_model()
        self._refresh_form()
        if is_first:
            self.form.select("interventions[0].layer")
            self._show_hint()
            self.refresh_bindings()
        self._tell_typed()

    def take_shape(self, description: Description | None, problem: str = "") -> None:
        """Take the sizes of the model in use, None while they are not known, and why they cannot be known."""
        self.spec.asked = False
        self.spec.take_description(description, problem)
        self._refresh_form()

    def take_cost(
        self,
        n_prompts: int,
        rate: float | None,
        units: int | None = None,
        kept: Description | None = None,
        prompt_tokens: int = 0,
    ) -> None:
        """Take the number of prompts, the tokens a second of this model here and its sizes as kept; None: not known.

        Args:
            prompt_tokens: about how many a prompt has; 0 where that is not known.
        """
        self._prompts, self._rate, self._units, self._kept = n_prompts, rate, units, kept
        self._prompt_tokens = prompt_tokens
        self._show_cost()

    def experiment(self) -> Experiment:
        """What is on the screen, as an experiment; ExplorerError with the first problem and its field."""
        taken = self.form.take_open()
        if taken is not None:
            self._settle(*self.spec.edit(*taken))
        return self.spec.experiment()

    def words(self) -> list[tuple[str, str]]:
        """The labels of the rows, and what can be written there."""
        return [(row.label, row.hint) for row in self.form.rows if row.hint]

    @property
    def has_unused_text(self) -> bool:
        """Whether a text was typed that is not in use: refused, or waiting for another field."""
        return self.is_ready and bool(self._refused_toml or self.spec.typed)

    def drop_text(self) -> DroppedText | None:
        """Forget a text that is not in use, of the highlighted row or else the last; None where there is none."""
        if not self.is_ready:
            return None
        typed = self.spec.typed
        if self._refused_toml and self.form.key not in typed:
            dropped = DroppedText(self.TOML, self._refused_toml, "as text,")
            self._refused_toml, self._toml_line = "", 1
        elif typed:
            key = self.form.key if self.form.key in typed else [*typed][-1]
            label = next((row.label for row in self.form.rows if row.key == key and row.label), key)
            dropped = DroppedText(key, typed[key], label)
            self.spec.give_up(key)
        else:
            return None
        self._settle(False)
        return dropped

    def bring_back(self, dropped: DroppedText) -> None:
        """Have a text again that was dropped."""
        if dropped.key == self.TOML:
            self._refused_toml = dropped.text
            self._settle(False)
        else:
            self._settle(*self.spec.edit(dropped.key, dropped.text))

    def go_to_error(self, error: ExplorerError) -> bool:
        """Highlight the row that an error names, and say the error below it; whether there is one."""
        key = self.spec.reveal(error)
        if key:
            self._refresh_form()
            self.form.select(key)
            self._say(str(error), "problem")
        return bool(key)

    def copy_text(self) -> str:
        return next((row.text for row in self.form.rows if row.key == self.form.key), "")

    def take_lines(self, lines: Sequence[str]) -> bool:
        """Have a pasted column of numbers in the list that is edited, else in the values; False where none is meant."""
        key = self.form.editing or self.form.key.rpartition(".")[0] + ".values"
        if not self.form.editing and not any(row.key == key for row in self.form.rows):
            key = next((row.key for row in self.form.rows if row.key.endswith(".values")), "")
        text = " ".join(line.strip() for line in lines)
        problem = self.spec.list_problem(key, text) if self.is_ready else None
        if problem is None:
            return False
        if any(_DECIMAL_COMMA.fullmatch(line.strip()) for line in lines):
            self._say("a comma stands inside these numbers: nothing is taken; write decimals with a point", "problem")
        elif problem:
            self._say(f"nothing of the {len(lines):,} lines is taken: {problem}", "problem")
        else:
            self.form.type(key, text)
        return True

    def on_descendant_focus(self) -> None:
        """Have the model described once the form is used: loading it is not for those who only look at sessions."""
        if not self.is_ready or self.spec.asked or self.spec.shape is not None:
            return
        if time.monotonic() - self._asked_at > _PATIENCE:
            self._model = {}
            self._want_model()
            self._refresh_form()

    @on(LineForm.Typed)
    def take_typing(self, event: LineForm.Typed) -> None:
        event.stop()
        self._posted_typed[event.key] = event.text
        self.post_message(self.Typing(event.key, event.text))
        if self._check is not None:
            self._check.stop()
        self._check = self.set_timer(_PAUSE, lambda: self._check_text(event.key, event.text))

    @on(LineForm.Committed)
    def take_text(self, event: LineForm.Committed) -> None:
        event.stop()
        if not self.is_ready:
            return
        self._settle(*self.spec.edit(event.key, event.text))
        blamed = self.spec.blamed(event.key)
        if blamed:
            reason = self.spec.reason(event.key)
            self._refresh_form()
            self.form.select(blamed)
            self._say(f"{_label(self.form.rows, event.key)} waits for this: {reason}", "problem")

    @on(LineForm.GivenUp)
    def give_up_text(self, event: LineForm.GivenUp) -> None:
        event.stop()
        self._say("")
        self._refresh_form()
        self._tell_typed()

    @on(LineForm.Dropped)
    def forget_text(self, event: LineForm.Dropped) -> None:
        event.stop()
        self.spec.give_up(event.key)
        self._say("")
        self._refresh_form()
        self._tell_typed()

    @on(LineForm.Highlighted)
    def hint(self, event: LineForm.Highlighted) -> None:
        event.stop()
        self._say("")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.is_ready

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change something: with a single intervention there is no next one."""
        if action not in ("next", "remove"):
            return True
        return len(self.spec.data[self._section()]) > (1 if action == "next" else 0)

    def action_add(self) -> None:
        section = self._section()
        self._settle_list(*self.spec.add(section), section)

    def action_remove(self) -> None:
        section = self._section()
        self._settle_list(*self.spec.remove(section), section)

    def action_next(self, step: int) -> None:
        section = self._section()
        name = self.form.key.rpartition(".")[2]
        if self.spec.move(section, step):
            self._refresh_form()
            self._select_like(section, name)
            self._say("")
        else:
            self._say(f"there is no other {'plane' if section == 'planes' else 'intervention'}; + adds one", "note")

    def action_presets(self) -> None:
        from srm_explorer.tui.experiment.files import Presets

        self.app.push_screen(Presets(), self._load)

    def action_write(self) -> None:
        try:
            self.spec.experiment()
        except ExplorerError as error:
            if not self.go_to_error(error):
                self._say(str(error), "problem")
            return
        from srm_explorer.tui.experiment.files import name_problem, spec_path, specs_folder, write_spec

        def write(sure: bool | None) -> None:
            if not sure:
                return
            try:
                path = write_spec(self._file_name, self.spec.experiment(), self.base)
            except ExplorerError as error:
                self._say(str(error), "problem")
            else:
                self._say(f"written to {path}; P lists it", "note")

        def take_name(name: str | None) -> None:
            if name is None:
                return
            self._file_name = name.strip().removesuffix(".toml")
            if not spec_path(name).exists():
                write(True)
                return
            question = f"'{self._file_name}' is there already. Write over it?"
            self.app.push_screen(Confirm(question, yes="write over it"), write)

        question = "Write the experiment under which name?"
        self.app.push_screen(Ask(question, self._file_name, detail=str(specs_folder()), check=name_problem), take_name)

    def action_toml(self) -> None:
        try:
            before = self._refused_toml or self.spec.to_toml()
            with tempfile.TemporaryDirectory(prefix="srm-explorer-") as folder:
                path = Path(folder) / self.TOML
                path.write_text(before, encoding="utf-8")
                failed = edit_file(self.app, path, self._toml_line)
                text = path.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            self._say(f"the text cannot be written or read: {(error.strerror or str(error)).lower()}", "problem")
        except ExplorerError as error:
            self._say(str(error), "problem")
        else:
            if failed and text != before:
                # An editor that was killed had perhaps saved: neither taken nor lost.
                self._refused_toml, self._toml_line = text, 1
                self._settle(False)
                self._say(f"{failed}; what it wrote is not taken: e opens it again", "problem")
            elif failed:
                self._say(f"{failed}; nothing is changed", "problem")
            else:
                self._take_toml(text, before)

    def _settle(self, is_changed: bool, note: str = "") -> None:
        self._say(note, "note")
        if is_changed:
            data = copy.deepcopy(self.spec.data)
            self._posted = [*self._posted[-_ECHOES:], data]
            self.post_message(self.Changed(data))
            self._want_model()
        self._refresh_form()
        self._tell_typed()

    def _say(self, line: str, tone: Tone = "plain") -> None:
        """Say a line below the form until another row is highlighted; an empty one gives way to the row's own."""
        self._note = (line, tone)
        self._show_hint()

    def _refresh_form(self) -> None:
        if self.is_ready:
            self.form.set_rows(self.spec.rows())
            self._show_hint()
            self._show_cost()

    def _check_text(self, key: str, text: str) -> None:
        if self.form.editing == key:
            problem = self.spec.reason(key, text)
            self.form.set_problem(key, problem)
            self._say("" if problem else self.spec.preview(key, text))

    def _want_model(self) -> None:
        if self._model == self.spec.data["model"]:
            return
        self._model = copy.deepcopy(self.spec.data["model"])
        self._asked_at = time.monotonic()
        self.spec.take_description(None, "")
        self.spec.asked = True
        self.post_message(self.ModelWanted(self._model))

    def _tell_typed(self) -> None:
        """Tell which texts came to be, or are no longer, beside the experiment."""
        kept = self.spec.typed | ({self.TOML: self._refused_toml} if self._refused_toml else {})
        for key in [key for key in self._posted_typed if key not in kept]:
            self.post_message(self.Typing(key, None))
        for key, text in kept.items():
            if self._posted_typed.get(key) != text:
                self.post_message(self.Typing(key, text))
        self._posted_typed = kept

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_hint)

    def _show_hint(self) -> None:
        line, tone = self._note
        if not line and self.is_ready:
            line, waits = self.spec.hint(self.form.key)
            tone = "problem" if waits else "plain"
            if cut := self.form.lines.cut_value():
                line = f"in full: {cut}; {line}"
        self.foot.set_hint(line, tone)

    def _show_cost(self) -> None:
        if self.is_ready and self._prompts:
            self.foot.set_facts(self.spec.cost(self._prompts, self._rate, self._units, self._kept, self._prompt_tokens))

    def _take_toml(self, text: str, before: str) -> None:
        if not text.strip():
            self._refused_toml = ""
            self._settle(False, "an empty text changes nothing")
            return
        if text == before and not self._refused_toml:
            self._say("the text was left as it is", "note")
            return
        try:
            is_changed = self.spec.take_toml(text, self.TOML)
        except ExplorerError as error:
            self._refused_toml, self._toml_line = text, _line_of(error)
            self._settle(False)
            self._say(f"{error}; e opens it again", "problem")
            return
        self._refused_toml, self._toml_line = "", 1
        self._settle(is_changed)

    def _load(self, chosen: ChosenSpec | None) -> None:
        if chosen is not None:
            self._file_name = chosen.name
            self._refused_toml = ""
            self.post_message(self.Loaded(chosen.data, chosen.name, chosen.base))

    def _settle_list(self, is_changed: bool, note: str, section: str) -> None:
        self._settle(is_changed, note)
        self._select_like(section, "")
        self._say(note, "note")

    def _section(self) -> str:
        return "planes" if self.form.key.startswith("planes") else "interventions"

    def _select_like(self, section: str, name: str) -> None:
        keys = [row.key for row in self.form.rows if row.reachable and row.key.startswith(section)]
        first = keys[0] if keys else ""
        self.form.select(next((key for key in keys if name and key.endswith(f".{name}")), first))


def _label(rows: Sequence[FormRow], key: str) -> str:
    return next((row.label for row in rows if row.key == key), "the text")


def _line_of(error: ExplorerError) -> int:
    """The line of a text that an error is about; 1 where it names none."""
    word = error.where.partition("line ")[2].partition(",")[0]
    return int(word) if word.isdecimal() else 1
