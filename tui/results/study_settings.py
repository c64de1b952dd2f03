"""The settings of a study as fields: labelled, explained, and checked as the study itself checks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from srm_explorer.engine.analyses.plane_finder import CRITERIA
from srm_explorer.engine.analyses.registry import StudyArguments
from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.stats.collapse import RULES
from srm_explorer.engine.stats.resampling import MOST_RESAMPLES
from srm_explorer.tui.widgets.dialogs import BOX, refusal
from srm_explorer.tui.widgets.form import LineForm
from srm_explorer.tui.widgets.form_layout import FormRow

if TYPE_CHECKING:
    from srm_explorer.tui.results.study_model import StudySubject, Topic


@dataclass(frozen=True)
class StudyField:
    """How one setting is asked for.

    Attributes:
        label: stands before its value.
        hint: what may be written, and what it does.
        kind: a whole number, a number above 0, one of the choices, some texts, or a text as it is written.
        choices: the words it may be, the first of which stands for an empty one.
        least, most: bounds of a whole number.
        empty: what an empty value stands for.
    """

    label: str
    hint: str
    kind: Literal["whole", "number", "choice", "texts", "text"] = "text"
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    empty: str = "none"


def _whole(label: str, hint: str, least: int, most: int | None = None, empty: str = "as usual") -> StudyField:
    return StudyField(label, hint, "whole", least=least, most=most, empty=empty)


def _choice(label: str, hint: str, *choices: str, empty: str = "") -> StudyField:
    return StudyField(label, hint, "choice", (*([""] if empty else []), *choices), empty=empty)


_RESAMPLES = _whole("resamples", "of the intervals and p; more take longer and jump less", 1, MOST_RESAMPLES)
_MANY = replace(_RESAMPLES, least=100)
_FIELDS: dict[str, StudyField] = {
    "rule": _choice("rule", "what calls a text collapsed: published, or calibrated on this session's texts", *RULES),
    "top": _whole("rows", "how many of a list are shown", 1),
    "resamples": _RESAMPLES,
    "dose.resamples": _MANY,
    "analysis.resamples": _MANY,
    "confirm.resamples": _MANY,
    "permutations": _whole("permutations", "of the p; 0 gives none", 0, MOST_RESAMPLES),
    "seed": _whole("seed", "of what is drawn by chance; the same seed gives the same numbers", 0),
    "texts": StudyField(
        "texts",
        "whose continuations are scored: the baselines', the conditions' own, or both",
        "choice",
        ("baseline,condition", "baseline", "condition"),
    ),
    "tokens": StudyField("tokens", "parted by commas, and spaces count: ' yes, no' are two with a space before them"),
    "over": _choice("over", "the logits of the first token written, or of the whole text", "first", "text"),
    "answer": StudyField("answer", "the factor that holds each prompt's own answer, in place of tokens"),
    "clean": StudyField("clean", "what the patched runs are compared with; empty: the run that was patched from"),
    "neuron": _whole("neuron", "its number in its layer", 0, empty="the one that is edited"),
    "neuron.neuron": _whole("neuron", "its number in its layer", 0),
    "layer": _whole("layer", "counted from 0", 0, empty="every layer"),
    "partners": _choice(
        "partners", "neurons of the site, coordinates of the residual stream", "both", "site", "residual"
    ),
    "family": StudyField("family", "of the ledger that its tests are counted in", empty="exploratory"),
    "among": _choice("among", "pairs of partners, of changed coordinates, or of all", "partners", "changed", "all"),
    "k": _whole("pairs from", "how many coordinates pairs are made of", 2),
    "criterion": _choice("criterion", "what the planes are ranked by", *CRITERIA),
    "groups": StudyField(
        "groups", "two, parted by a comma: baseline,clamped or type=a,type=b", empty="the first that fit"
    ),
    "basis": StudyField("directions", "parted by ; as 373 ; pc1 ; mean(type=a), with * for every level: mean(type=*)"),
    "ensemble": _choice("ensemble", "pairs of directions once, or in both orders", "comb", "perm"),
    "plane": _whole("plane", "its number among the session's planes, from 1", 1),
    "interest": StudyField(
        "interest", "tests that the change is smaller than this, in the units of the chart", "number"
    ),
    "by": _choice("by", "the values together, or every value by itself as well", "pooled", "condition"),
    "chosen": _choice(
        "chosen", "whether the target was chosen before or after looking", "before", "after", empty="as it says"
    ),
    "candidates": _whole("candidates", "how many it was the best of", 1, empty="as the experiment says"),
    "depth": _choice(
        "depth",
        "what is ranked: scores of texts, or texts that were written",
        "forced",
        "free",
        empty="what there is, scores first",
    ),
    "measure": _choice(
        "measure",
        "what neurons are ranked by; changed is of texts that were written, kl, logp and flips of scores",
        "kl",
        "logp",
        "flips",
        "changed",
        "change",
        empty="kl, or changed",
    ),
    "value": StudyField("value", "its label, as +20: ranks by one value alone", empty="all together"),
    "survey.neuron": StudyField("neuron", "373, or 11.373: the one that was named before", empty="the experiment's"),
    "survey.texts": _choice(
        "texts", "those that no neuron was chosen on, or all: ranks of the chosen flatter on these", "reported", "all"
    ),
    "neighbours": _choice("neighbours", "looked for in its layer, or in the whole model", "layer", "model"),
    "prompts": StudyField(
        "prompt sets", "names or paths, parted by commas; empty: the session's own", "texts", empty="the session's"
    ),
    "text": _choice("read on", "the prompts, or what was written after them", "prompts", "generated"),
    "skip": _whole("skip", "tokens at the beginning of each text that do not count", 0),
}


def field_of(topic: Topic, name: str, subject: StudySubject) -> StudyField:
    """How a setting is asked for, with what the session in view allows."""
    known = _FIELDS.get(f"{topic.study}.{name}") or _FIELDS.get(name) or StudyField(name.replace("_", " "), "")
    session = subject.session
    if session is None:
        return known
    if name == "plane" and session.planes:
        return replace(known, most=len(session.planes))
    if name == "site":
        return _choice("site", "a captured one", *session.spec.capture.sites)
    return known


def shown_text(value: object) -> str:
    """A setting as it is edited."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ",".join(map(str, cast("list[object]", value)))
    return str(value)


def read_setting(field: StudyField, text: str, usual: object) -> Any:
    """Read what was typed in a field, checked as the study checks it.

    Args:
        usual: what an empty text stands for.

    Raises:
        ExplorerError: what is wrong with it, and the remedy.
    """
    plain = text.strip()
    if not plain and field.kind != "text":
        return usual
    match field.kind:
        case "whole":
            digits = plain.replace(",", "").replace("\N{MINUS SIGN}", "-")
            if not digits.removeprefix("-").isdecimal():
                raise ExplorerError(f"{field.label}: '{plain}' is no whole number", remedy="write digits, as 20")
            given = StudyArguments({field.label: int(digits)}, (field.label,), "")
            return given.whole(field.label, least=field.least, most=field.most)
        case "number":
            try:
                number = float(plain.replace("\N{MINUS SIGN}", "-"))
            except ValueError:
                number = 0.0
            if not 0 < number < float("inf"):
                raise ExplorerError(f"{field.label}: '{plain}' is no number above 0", remedy="write it as .01")
            return number
        case "choice":
            if plain not in field.choices:
                raise ExplorerError(f"{field.label} is '{plain}'", remedy=did_you_mean(plain, list(field.choices)))
            return plain.split(",") if isinstance(usual, list) else plain
        case "texts":
            return [part.strip() for part in plain.split(",") if part.strip()]
        case "text":
            # A text that has spaces around it is what was meant; an empty one is no group and no factor.
            return text if isinstance(usual, str) else plain or None


class StudySettings(ModalScreen[dict[str, Any] | None]):
    """A form over the settings of a study; the result is all of them, None where nothing is to change.

    Args:
        topic: whose settings.
        settings: as they are now.
        subject: what the study is asked about.
    """

    DEFAULT_CSS = f"""
    StudySettings {{
        {BOX}
        & > Vertical {{ width: 76; }}
        LineForm {{ height: auto; max-height: 1fr; margin-top: 1; }}
        #hint {{ width: 1fr; height: 2; margin-top: 1; color: $text-muted; }}
        #hint.-problem {{ color: $text-error; }}
    }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "take", "take them", id="setting.take", tooltip="Take the settings as they stand"),
        Binding("escape,q", "leave", "leave", id="setting.leave", tooltip="Close the settings and change nothing"),
    ]

    def __init__(self, topic: Topic, settings: Mapping[str, Any], subject: StudySubject) -> None:
        super().__init__()
        self._topic = topic
        self._usual = topic.settings(subject)
        self._fields = {name: field_of(topic, name, subject) for name in settings}
        self._settings = dict(settings)
        self._refused: dict[str, tuple[str, str]] = {}
        self.form = LineForm()
        self._line = Static("", id="hint", markup=False)

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = f"settings of {self._topic.title}"
            yield Static(self._topic.teaches.partition("\ne ")[0], classes="-detail", markup=False)
            yield self.form
            yield self._line
            yield Static("enter edit   space next choice   w take them   esc leave", markup=False)

    def on_mount(self) -> None:
        self._show()
        self.form.select(next(iter(self._fields)))
        self.form.lines.focus()
        self._hint()

    @on(LineForm.Typed)
    def check_text(self, event: LineForm.Typed) -> None:
        event.stop()
        self.form.set_problem(event.key, self._problem(event.key, event.text))

    @on(LineForm.Committed)
    def take_text(self, event: LineForm.Committed) -> None:
        event.stop()
        self._take(event.key, event.text)

    @on(LineForm.GivenUp)
    @on(LineForm.Dropped)
    def forget_text(self, event: LineForm.GivenUp | LineForm.Dropped) -> None:
        event.stop()
        self._refused.pop(event.key, None)
        self._show()

    @on(LineForm.Highlighted)
    def hint(self, event: LineForm.Highlighted) -> None:
        event.stop()
        self._hint()

    def action_take(self) -> None:
        """Take all, or go to what is wrong."""
        taken = self.form.take_open()
        if taken is not None:
            self._take(*taken)
        wrong = next(iter(self._refused), None)
        if wrong is None:
            self.dismiss(self._settings)
        else:
            self.form.select(wrong)
            self._hint()

    def action_leave(self) -> None:
        self.dismiss(None)

    def _take(self, key: str, text: str) -> None:
        problem = self._problem(key, text)
        if problem:
            self._refused[key] = (text, problem)
        else:
            self._refused.pop(key, None)
            self._settings[key] = read_setting(self._fields[key], text, self._usual.get(key))
        self._show()

    def _problem(self, key: str, text: str) -> str:
        return refusal(lambda: read_setting(self._fields[key], text, self._usual.get(key)))

    def _show(self) -> None:
        self.form.set_rows([self._row(name, field) for name, field in self._fields.items()])
        self._hint()

    def _row(self, name: str, field: StudyField) -> FormRow:
        text, problem = self._refused.get(name, (shown_text(self._settings[name]), ""))
        return FormRow(
            name,
            field.label,
            (text or field.empty,),
            text,
            tuple((choice, choice or field.empty) for choice in field.choices),
            typed=not field.choices,
            quiet=not text,
            problem=problem,
            pending=bool(problem),
            hint=field.hint,
        )

    def _hint(self) -> None:
        row = next((row for row in self.form.rows if row.key == self.form.key), None)
        if row is not None:
            self._line.set_class(bool(row.problem), "-problem")
            self._line.update(row.problem or row.hint)
