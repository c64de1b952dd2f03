"""Keys of the intervention pane: adding and removing, presets, files, and the experiment as text."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from engine.errors import ExplorerError

if TYPE_CHECKING:
    from tui.screens.presets import ChosenSpec
    from tui.state.spec_form import Outcome, SpecForm
    from tui.widgets.form import LineForm
    from tui.widgets.form_foot import Tone


class InterventionKeys(Widget):
    """What single keys do to the experiment of a form; the form itself is in the class built on this one."""

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

    form: LineForm
    base = Path()
    toml_text = ""
    """What the editor left that is no experiment; empty where there is nothing."""
    _toml_line = 1
    _name = ""

    @property
    def spec(self) -> SpecForm:
        """The experiment of the form."""
        raise NotImplementedError

    @property
    def is_ready(self) -> bool:
        """Whether an experiment is shown."""
        raise NotImplementedError

    def settle(self, outcome: Outcome) -> None:
        """Show what became of an edit, and tell others."""
        raise NotImplementedError

    def say(self, line: str, tone: Tone = "plain") -> None:
        """Say a line below the form."""
        raise NotImplementedError

    def loaded(self, chosen: ChosenSpec) -> Message:
        """What tells that another experiment takes this one's place."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing can be done before an experiment is shown."""
        return self.is_ready

    def action_add(self) -> None:
        """Add an intervention, or a plane where the highlight is in the section of planes."""
        section = self._section()
        self._settle_list(self.spec.add(section), section)

    def action_remove(self) -> None:
        """Remove the intervention or plane in view."""
        section = self._section()
        self._settle_list(self.spec.remove(section), section)

    def action_next(self, step: int) -> None:
        """Show the next or previous intervention or plane."""
        section = self._section()
        name = self.form.key.rpartition(".")[2]
        if self.spec.move(section, step):
            self.refresh_form()
            self._select_like(section, name)
            self.say("")
        else:
            self.say(f"there is no other {'plane' if section == 'planes' else 'intervention'}; + adds one", "note")

    def action_presets(self) -> None:
        """Choose an experiment from a list."""
        from tui.screens.presets import Presets

        self.app.push_screen(Presets(), self._load)

    def action_write(self) -> None:
        """Ask for a name and write the experiment under it."""
        try:
            self.spec.experiment()
        except ExplorerError as error:
            self.say(str(error), "problem")
            return
        from tui.screens.ask import Ask
        from tui.state.spec_files import name_problem, specs_folder

        question = "Write the experiment under which name?"
        self.app.push_screen(Ask(question, self._name, detail=str(specs_folder()), check=name_problem), self._named)

    def action_toml(self) -> None:
        """Leave the screen to an editor with the whole experiment as text, and take what it left."""
        from tui.widgets.prompt_editor import edit_file

        before = self.toml_text or self._toml()
        try:
            with tempfile.TemporaryDirectory(prefix="srm-explorer-") as folder:
                path = Path(folder) / self.TOML
                path.write_text(before, encoding="utf-8")
                edit_file(self.app, path, self._toml_line)
                text = path.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            self.say(f"the text cannot be written or read: {(error.strerror or str(error)).lower()}", "problem")
        except ExplorerError as error:
            self.say(str(error), "problem")
        else:
            self._take_toml(text, before)

    def take_toml_text(self, typed: Mapping[str, str]) -> dict[str, str]:
        """Take the text that an editor left once, if it is among what was typed; the rest is the form's."""
        self.toml_text, self._toml_line = typed.get(self.TOML, ""), 1
        return {key: text for key, text in typed.items() if key != self.TOML}

    def refresh_form(self) -> None:
        """Show the rows as they are now."""
        raise NotImplementedError

    def _toml(self) -> str:
        """The experiment as text, what was typed and is no part of it in front."""
        from engine.spec import Experiment

        aside = [f"# not in use: {key} = {text}\n" for key, text in self.spec.typed.items()]
        try:
            return "".join([*aside, Experiment.from_dict(self.spec.data).to_toml()])
        except ExplorerError as error:
            raise ExplorerError(f"{error}", remedy="put it right in the form first") from None

    def _take_toml(self, text: str, before: str) -> None:
        from engine.spec import Experiment
        from tui.state.spec_form import Outcome

        if not text.strip():
            self.toml_text = ""
            self.settle(Outcome(False, "an empty text changes nothing"))
            return
        if text == before and not self.toml_text:
            self.say("the text was left as it is", "note")
            return
        try:
            data = Experiment.from_toml(text, where=self.TOML).to_dict()
        except ExplorerError as error:
            self.toml_text, self._toml_line = text, _line_of(error)
            self.settle(Outcome(False))
            self.say(f"{error}; e opens it again", "problem")
            return
        self.toml_text, self._toml_line = "", 1
        self.settle(self.spec.replace(data))

    def _named(self, name: str | None) -> None:
        if name is None:
            return
        from tui.screens.confirm import Confirm
        from tui.state.spec_files import spec_path

        self._name = name.strip().removesuffix(".toml")
        if not spec_path(name).exists():
            self._write(True)
            return
        self.app.push_screen(
            Confirm(f"'{self._name}' is there already. Write over it?", yes="write over it"), self._write
        )

    def _write(self, sure: bool | None) -> None:
        if not sure:
            return
        from tui.state.spec_files import write_spec

        try:
            path = write_spec(self._name, self.spec.experiment(), self.base)
        except ExplorerError as error:
            self.say(str(error), "problem")
        else:
            self.say(f"written to {path}; P lists it", "note")

    def _load(self, chosen: ChosenSpec | None) -> None:
        if chosen is not None:
            self._name = chosen.name
            self.toml_text = ""
            self.post_message(self.loaded(chosen))

    def _settle_list(self, outcome: Outcome, section: str) -> None:
        self.settle(outcome)
        self._select_like(section, "")
        self.say(outcome.note, "note")

    def _section(self) -> str:
        return "planes" if self.form.key.startswith("planes") else "interventions"

    def _select_like(self, section: str, name: str) -> None:
        """Highlight the row of that name in a section, else its first."""
        keys = [row.key for row in self.form.rows if row.reachable and row.key.startswith(section)]
        found = next((key for key in keys if name and key.endswith(f".{name}")), keys[0] if keys else "")
        self.form.select(found)


def _line_of(error: ExplorerError) -> int:
    """The line of a text that an error is about; 1 where it names none."""
    word = error.where.partition("line ")[2].partition(",")[0]
    return int(word) if word.isdecimal() else 1
