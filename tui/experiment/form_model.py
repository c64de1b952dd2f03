"""An experiment as a form: rows to show, edits to take, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import SITE_KINDS, Experiment, ModelShape, Site, misfits
from srm_explorer.engine.experiment.model_fit import missing_conditions
from srm_explorer.engine.experiment.site import FIRST_EXPERT
from srm_explorer.engine.worker.protocol import Description
from srm_explorer.tui.experiment.cost import estimate
from srm_explorer.tui.experiment.data import Data, item_of, item_prefix, normal, row_of, value_at
from srm_explorer.tui.experiment.edits import InView, Memory, Moves, apply, layer_of, remembered, value_of
from srm_explorer.tui.experiment.fields import (
    Field,
    edited_rows,
    error_line,
    fields_of,
    model_rows,
    plane_rows,
    rows_of,
)
from srm_explorer.tui.widgets.form_layout import FormRow


def shape_of(description: Description | None, name: object) -> ModelShape | None:
    """Sizes of the model of that name; None where something else, or nothing, was described."""
    if description is None or description.shape.name != name:
        return None
    return description.shape


def unfitting(experiment: Experiment, description: Description | None) -> Iterator[ExplorerError]:
    """Conditions that the experiment has not; where the model is known, fields beyond it, and sites it has not."""
    shape = shape_of(description, experiment.model.name)
    if shape is None or description is None:
        yield from missing_conditions(experiment)
        return
    yield from misfits(experiment, shape)
    sites = {f"interventions[{i}].site": item.site for i, item in enumerate(experiment.interventions)}
    sites |= {f"capture.sites[{i}]": site for i, site in enumerate(experiment.capture.sites)}
    for where, site in sites.items():
        layer = f"blocks.{Site.parse(site).layer}."
        kinds = [name.removeprefix(layer) for name in description.sites if name.startswith(layer)]
        is_told = site in description.sites or Site.parse(site).is_mixture
        if kinds and not is_told and shape.width(Site.parse(site)):
            what = f"{shape.name} has no site {site}"
            yield ExplorerError(what, where=where, remedy=f"choose {layer} and one of {', '.join(kinds)}")


def kinds_at(layer: str, present: str, description: Description | None) -> Sequence[str]:
    """Kinds of sites that can be chosen at a layer: those the model has, and the present one."""
    if description is None:
        return (*SITE_KINDS, FIRST_EXPERT) if present == FIRST_EXPERT else SITE_KINDS
    has_experts = layer.isdigit() and description.shape.experts_at(int(layer))[0]
    experts = [FIRST_EXPERT] if has_experts or present == FIRST_EXPERT else []
    known = [kind for kind in SITE_KINDS if f"blocks.{layer}.{kind}" in description.sites]
    plain = [kind for kind in SITE_KINDS if kind in known or kind == present] if known else SITE_KINDS
    return [*plain, *experts]


Problems = dict[str, ExplorerError]
"""By the row they are shown at; by the field where it has no row."""


class EditResult(NamedTuple):
    """Whether the experiment is another one after an edit, and what else was changed, or why nothing was."""

    changed: bool
    note: str = ""


class SpecForm:
    """The experiment of a form, with what was typed into it and is not, or not yet, part of it.

    `data` is always the last experiment that was taken as a whole. A text that is refused stays in `typed` under its
    field's name; it becomes part of the experiment as soon as it, alone or with the others, is accepted.
    """

    def __init__(self) -> None:
        self.data: Data = normal({})
        self.typed: dict[str, str] = {}
        self.in_view = InView()
        self.description: Description | None = None
        self.model_problem = ""
        self.asked = False
        self._memory: Memory = {}
        self._refused: Problems = {}
        """What was refused only when the experiment was to run."""
        self._checked: tuple[Data, Problems] | None = None

    @property
    def shape(self) -> ModelShape | None:
        return shape_of(self.description, value_at(self.data, "model.name"))

    def take(self, data: Mapping[str, Any], typed: Mapping[str, str] | None) -> None:
        """Show an experiment, also a refused one, with texts aside; None keeps those in fields left as they were."""
        new = normal(dict(data))
        if typed is None:
            same = {key: text for key, text in self.typed.items() if value_of(self.data, key) == value_of(new, key)}
        else:
            same, self._memory = dict(typed), {}
        self._take(new, same)

    def take_description(self, description: Description | None, problem: str) -> None:
        self.description, self.model_problem = description, problem
        self._checked = None

    def experiment(self) -> Experiment:
        """What the form shows; ExplorerError for the first problem of a text, the experiment, or the model in use."""
        data, problems = self._folded(self.typed)
        if problems:
            key, first = next(iter(problems.items()))
            raise ExplorerError(first.what, where=key, remedy=first.remedy)
        experiment = Experiment.from_dict(data)
        for misfit in unfitting(experiment, self.description):
            raise misfit
        return experiment

    def edit(self, key: str, text: str) -> EditResult:
        self._refused = {}
        field = self._field(self.data, key)
        if field is not None and text == field.write(value_of(self.data, key)):
            self.typed.pop(key, None)
            self._checked = None
            return self._settled(False, "")
        self.typed[key] = text
        self._checked = None
        return self._settled(False, "", key)

    def give_up(self, key: str) -> None:
        self.typed.pop(key, None)
        self._refused = {}
        self._checked = None

    def reason(self, key: str, text: str | None = None) -> str:
        """Why a text would be refused, or (None) why the one that was typed is not in use; empty where it is."""
        if text is None and key not in self.typed:
            return ""
        texts = self.typed if text is None else self.typed | {key: text}
        if text is not None and (self._accepted({key: text}) or self._accepted(texts)):
            return ""
        problems = self._all_problems() if text is None else self._problems(texts)
        if key in problems:
            return error_line(problems[key])
        return next((error_line(problem, named=True) for problem in problems.values()), "typed earlier; enter takes it")

    def list_problem(self, key: str, text: str) -> str | None:
        """Why a text means nothing in a list of numbers, empty where it means some; None for any other field."""
        field = self._field(self.data, key)
        if field is None or field.gives is None:
            return None
        try:
            field.read(text)
        except ExplorerError as error:
            return error_line(error)
        return ""

    def preview(self, key: str, text: str) -> str:
        """What a list that is being typed holds: "gives -20 -10 0 10 20: 5 values"; empty for other fields."""
        field = self._field(self.data, key)
        try:
            return (
                f"gives {field.gives(field.read(text))}" if field is not None and field.gives and text.strip() else ""
            )
        except ExplorerError:
            return ""

    def to_toml(self) -> str:
        """The experiment as text, what was typed and is no part of it in front; ExplorerError where it is none."""
        aside = [f"# not in use: {key} = {text}\n" for key, text in self.typed.items()]
        try:
            return "".join([*aside, Experiment.from_dict(self.data).to_toml()])
        except ExplorerError as error:
            raise ExplorerError(f"{error}", remedy="put it right in the form first") from None

    def take_toml(self, text: str, where: str) -> bool:
        """Take a text's experiment, drop what was typed; whether it is another. ExplorerError if it is none."""
        data = Experiment.from_toml(text, where=where).to_dict()
        is_changed = data != self.data
        self._memory = {}
        self._take(data, {})
        return is_changed

    def cost(
        self,
        n_prompts: int,
        rate: float | None,
        units: int | None = None,
        kept: Description | None = None,
        prompt_tokens: int = 0,
    ) -> tuple[str, ...]:
        """What the experiment will cost, a fact each, empty where it is none; arguments as `cost.estimate` has them.

        Args:
            kept: sizes of the model as they were looked at when it was loaded; None takes those it is described with.
        """
        try:
            experiment = Experiment.from_dict(self.data)
        except ExplorerError:
            return ()
        sizes = kept or self.description
        return estimate(experiment, n_prompts, rate, sizes, units, prompt_tokens=prompt_tokens).facts()

    def hint(self, key: str) -> tuple[str, bool]:
        """What to say of a row, and whether it is that its text is not in use."""
        row = next((row for row in self.rows() if row.key == key), None)
        if row is None or not row.pending or row.problem:
            return row.hint if row else "", False
        return f"not in use: {self.reason(key)}; esc forgets it", True

    def move(self, section: str, step: int) -> bool:
        return self.in_view.move(self.data, section, step)

    def add(self, section: str) -> EditResult:
        return self._replaced(*self.in_view.added(self.data, section, self.shape))

    def remove(self, section: str) -> EditResult:
        return self._replaced(*self.in_view.removed(self.data, section))

    def rows(self) -> tuple[FormRow, ...]:
        """Everything the form shows.

        A text that is refused for what it says stands in its own row alone; one that waits for another field has
        already the effect it will have.
        """
        problems = self._all_problems()
        waiting = {key: text for key, text in self.typed.items() if key not in problems}
        if len(waiting) < len(self.typed):
            of_texts = {key: problems[key] for key in self.typed if key in problems}
            problems = self._problems(waiting) | of_texts
        problems = self._refused | problems
        data, _ = self._folded(waiting)
        sections = self._sections(data)
        values = {field.key: value_of(data, field.key) for fields in sections.values() for field in fields}
        counts = {name: (index, len(data[name])) for name, index in self.in_view.clamped(data).items()}
        device = self.description.device if self.description else ""
        model = model_rows(self.shape, device, self.model_problem, asked=self.asked)
        plane = plane_rows(data, counts["planes"][0])
        return rows_of(sections, values, self.typed, problems, counts, model, plane, edited_rows(data))

    def reveal(self, error: ExplorerError) -> str:
        """Bring the row that an error names into view and mark it; its key, empty where the form has none."""
        where = error.where
        item = item_of(where)
        if item is not None:
            self.in_view.show(*item)
        data, _ = self._folded(self.typed)
        shown = [field.key for fields in self._sections(data).values() for field in fields]
        key = row_of(where, shown, error.what)
        if key in ("interventions", "planes"):
            key = next((name for name in shown if name.startswith(f"{key}[")), "")
        if key not in shown:
            return ""
        if key not in self._all_problems():
            self._refused = {key: error}
        return key

    def blamed(self, key: str) -> str:
        """The other row for which a text that was typed into one is not in use, brought into view; empty for none."""
        problems = self._all_problems()
        if key not in self.typed or key in problems:
            return ""
        return next((self.reveal(problem) for problem in problems.values()), "")

    def _sections(self, data: Data) -> dict[str, Sequence[Field]]:
        numbers = self.in_view.clamped(data)
        site = value_at(data, f"interventions[{numbers['interventions']}].site")
        kinds = kinds_at(
            layer_of(site),
            value_of(data, f"interventions[{numbers['interventions']}].kind"),
            self.description if self.shape else None,
        )
        centres = self.shape.centres if self.shape else None
        return fields_of(data, numbers["interventions"], numbers["planes"], kinds, centres)

    def _field(self, data: Data, key: str) -> Field | None:
        numbers = InView.of(key).clamped(data)
        sections = fields_of(data, numbers["interventions"], numbers["planes"], SITE_KINDS)
        return next((field for fields in sections.values() for field in fields if field.key == key), None)

    def _folded(self, texts: Mapping[str, str]) -> tuple[Data, Problems]:
        """The data with texts put in, and the texts that mean nothing."""
        data, refused = self.data, Problems()
        for key, text in texts.items():
            field = self._field(data, key)
            if field is None:
                refused[key] = ExplorerError("there is no such field now", where=key, remedy="leave it out")
                continue
            try:
                data = apply(data, field, text, self._memory, kept=texts.keys(), shape=self.shape).data
            except ExplorerError as error:
                refused[key] = error
        return data, refused

    def _problems(self, texts: Mapping[str, str]) -> Problems:
        data, problems = self._folded(texts)
        shown = [field.key for fields in self._sections(data).values() for field in fields]
        refusals: Iterable[ExplorerError] = Experiment.problems(data)
        if not refusals:
            refusals = unfitting(Experiment.from_dict(data), self.description)
        for refusal in refusals:
            problems.setdefault(row_of(refusal.where, shown, refusal.what), refusal)
        return problems

    def _all_problems(self) -> Problems:
        if self._checked is None or self._checked[0] is not self.data:
            self._checked = (self.data, self._problems(self.typed))
        return self._checked[1]

    def _accepted(self, texts: Mapping[str, str]) -> Data | None:
        """The experiment with texts put in, where it is one and the model does not refuse what they say."""
        data, refused = self._folded(texts)
        if refused:
            return None
        try:
            experiment = Experiment.from_dict(data)
        except ExplorerError:
            return None
        if any(row_of(misfit.where, texts, misfit.what) in texts for misfit in unfitting(experiment, self.description)):
            return None
        return experiment.to_dict()

    def _settled(self, changed: bool, note: str, key: str = "") -> EditResult:
        """Take of what was typed all that is accepted: everything at once, else one text after the other."""
        texts = self.typed
        for some in [texts, *([{key: texts[key]}] if key in texts else []), *({k: t} for k, t in texts.items())]:
            data = self._accepted(some) if some else None
            if data is None:
                continue
            for name, text in some.items():
                field = self._field(self.data, name)
                if field is not None:
                    edited = apply(self.data, field, text, self._memory, kept=some.keys(), shape=self.shape)
                    note = edited.note or note
            is_other = data != self.data
            self._memory |= remembered(self.data, data)
            self._take(data, {name: text for name, text in texts.items() if name not in some})
            return self._settled(changed or is_other, note)
        self._take(self.data, texts)
        return EditResult(changed, note)

    def _replaced(self, data: Data | None, note: str, moves: Moves) -> EditResult:
        """Take data with another number of interventions or planes, what was typed into the others with it."""
        if data is None:
            return EditResult(False, note)
        kept: dict[str, str] = {}
        for key, text in self.typed.items():
            item = item_prefix(key)
            moved = moves.get(item, item)
            if moved is not None:
                kept[moved + key.removeprefix(item)] = text
        self._memory = {}
        self._take(normal(data), kept)
        return EditResult(True, note)

    def _take(self, data: Data, typed: dict[str, str]) -> None:
        if data != self.data:
            self._refused = {}
        self.data, self.typed = data, typed
        self._checked = None
        whole, _ = self._folded(typed)
        self.typed = {key: text for key, text in typed.items() if self._field(whole, key) is not None}
        self.in_view.clamp(data)
