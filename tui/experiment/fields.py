"""The fields of an experiment's form and the rows that show them.

What a field holds, what there is to choose from and its hint come from the experiment's models; its order and look are
the screen's.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, ModelShape
from srm_explorer.engine.experiment.intervention import ALONG_DIRECTION, UNITS, WITHOUT_VALUES, source_text
from srm_explorer.engine.experiment.model_fit import apart_from
from srm_explorer.engine.experiment.positions import parse_positions, positions_text
from srm_explorer.engine.experiment.site import FIRST_EXPERT
from srm_explorer.engine.figures import edited_caption, unseen_caption
from srm_explorer.tui.experiment.data import Data, value_at
from srm_explorer.tui.experiment.parsing import (
    answer_text,
    cosines_forms,
    direction_forms,
    expert_of,
    gives_text,
    is_none,
    number_text,
    numbers_forms,
    numbers_text,
    optional_text,
    parse_answer,
    parse_direction_text,
    parse_number,
    parse_numbers,
    parse_optional_number,
    parse_optional_whole,
    parse_optional_word,
    parse_sites,
    parse_truth,
    parse_whole,
    parse_word,
    short_kind,
    site_text,
    sites_text,
    truth_text,
)
from srm_explorer.tui.widgets.form_layout import FormRow

Choices = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Field:
    """One field: where it stands, what it is called, and how its value is read from a text and written as one.

    Attributes:
        key: its place in the data, "generation.tokens"; a site is two fields, ".layer" and ".kind", and
            of experts ".expert" too.
        label: its name on the screen.
        read: the value that a typed text means; raises SpecValueError.
        write: the text that is edited.
        forms: how the value is shown, from the longest way to the shortest; its text where there is none.
        choices: texts to choose from, each with how it is shown.
        gives: what a value that is being typed holds, where its text does not say it by itself.
        typed, shares_line, hint: as `FormRow` has them.
    """

    key: str
    label: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]
    forms: Callable[[Any], tuple[str, ...]] | None = None
    choices: Choices = ()
    gives: Callable[[Any], str] | None = None
    typed: bool = True
    shares_line: bool = False
    hint: str = ""


def _list_writer(write: Callable[[Sequence[Any]], str]) -> Callable[[Any], str]:
    """Writes lists; what was refused may be none."""
    return lambda value: write(value) if isinstance(value, list | tuple) else str(value)


_CODECS: Mapping[str, tuple[Callable[[str], Any], Callable[[Any], str]]] = {
    "str": (parse_word, str),
    "str | None": (parse_optional_word, optional_text),
    "strs": (parse_sites, _list_writer(lambda values: sites_text([str(site) for site in values]))),
    "int": (parse_whole, number_text),
    "int | None": (parse_optional_whole, number_text),
    "int | str": (parse_direction_text, str),
    "ints": (parse_numbers, _list_writer(numbers_text)),
    "float": (parse_number, number_text),
    "float | None": (parse_optional_number, number_text),
    "floats": (parse_numbers, _list_writer(numbers_text)),
    "bool": (parse_answer, answer_text),
    "bool | choice": (parse_truth, truth_text),
    "choice": (parse_word, str),
}
"""By a field's type, what a text means and how a value is written."""


@functools.cache
def model_field(name: str) -> FieldInfo:
    """What the experiment's models say of a field, which is named without numbers: "interventions.op"."""
    *tables, last = name.split(".")
    model: Any = Experiment
    for table in tables:
        annotation = model.model_fields[table].annotation
        model = get_args(annotation)[0] if get_origin(annotation) is tuple else annotation
    return next(info for name, info in model.model_fields.items() if last in (name, info.alias))


def _type_name(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(args[0])
    if origin is Literal:
        return "choice"
    if origin in (Union, UnionType):
        return " | ".join(_type_name(arg) for arg in args)
    if origin is tuple:
        return f"{_type_name(args[0])}s"
    return "None" if annotation is NoneType else annotation.__name__


def plain(choices: Iterable[str]) -> Choices:
    return tuple((choice, choice) for choice in choices)


def from_model(key: str, label: str, *, absent: str = "", **look: Any) -> Field:
    """A field as its model describes it.

    Args:
        key: its place in the data.
        label: its name on the screen.
        absent: what it means where it is left out, as a part of the hint.
        look: attributes of `Field` that are other than the model's, or that the model knows nothing of.
    """
    info = model_field(re.sub(r"\[[0-9]+\]", "", key))
    kind = _type_name(info.annotation)
    read, write = (look["read"], look["write"]) if {"read", "write"} <= look.keys() else _CODECS[kind]
    choices = get_args(info.annotation) if kind == "choice" else ("no", "yes") if kind == "bool" else info.examples
    hint = info.description or ""
    if absent:
        hint += f"; {write(None) or 'empty'}: {absent}"
    noun = key.rpartition(".")[2].removesuffix("s")
    gives = functools.partial(gives_text, noun=noun) if kind in ("ints", "floats") else None
    derived = {"gives": gives, "read": read, "write": write, "choices": plain(choices or ()), "hint": hint}
    return Field(key, label, **{**derived, "typed": kind not in ("choice", "bool"), **look})


def _positions_field(item: str) -> Field:
    codec = {"read": parse_positions, "write": positions_text}
    return from_model(f"{item}.positions", "positions", shares_line=True, **codec)


_MODEL = (
    from_model("model.name", "model"),
    from_model("model.device", "device"),
    from_model("model.dtype", "dtype", shares_line=True),
    from_model(
        "model.revision",
        "revision",
        absent="the newest",
        forms=lambda value: (str(value),) if value else ("newest",),
    ),
    from_model("model.tf32", "tf32", shares_line=True),
)
_EXECUTOR = from_model("execution.executor", "executor")
_ACTORS = (
    from_model("execution.actors", "actors", shares_line=True, absent="a GPU each"),
    from_model(
        "execution.address",
        "address",
        absent="a cluster of its own",
        forms=lambda value: (str(value),) if value else ("a cluster of its own", "its own"),
    ),
    from_model("execution.rows", "rows", shares_line=True, absent="as many as fit"),
)
_TOKENS = (from_model("generation.tokens", "tokens"), from_model("generation.mode", "mode", shares_line=True))
_SAMPLING = (
    from_model("generation.temperature", "temperature"),
    from_model("generation.top_k", "top k", shares_line=True, absent="all"),
    from_model("generation.top_p", "top p", absent="all"),
    from_model("generation.seed", "seed", shares_line=True),
    from_model("generation.samples", "samples"),
)
_STOP = from_model("generation.stop_at_eos", "at eos", choices=(("yes", "stop"), ("no", "go on")))
_CAPTURE = (
    from_model("capture.sites", "capture", hint="L11 hook_post, resid_post, or full names"),
    from_model("capture.reduce", "reduce"),
    _positions_field("capture"),
)
_SPOTLIGHT = (
    from_model("spotlight.thresholds", "thresholds", forms=cosines_forms),
    from_model("spotlight.angles", "angles"),
)
_PROMPTS = (
    from_model("prompts.prepend_bos", "bos", typed=False),
    from_model("prompts.chat_template", "template", shares_line=True),
    from_model(
        "prompts.text",
        "column",
        absent="prompt, text or messages",
        forms=lambda value: (str(value),) if value else ("prompt, text or messages", "prompt"),
    ),
    from_model("prompts.system", "system", forms=lambda value: (str(value),) if value else ("none",)),
)
_CONFIRM = from_model(
    "prompts.confirm",
    "confirm",
    read=lambda text: [] if is_none(text) else [word.strip() for word in text.split(",")],
    write=lambda value: ", ".join(map(str, value or ())),
    forms=lambda value: (", ".join(map(str, value)),) if value else ("none",),
)


def _choice_of_neurons(key: str, label: str, absent: str, *choices: str, **look: Any) -> Field:
    """A field of a survey that names neurons or layers, or nothing, which is shown as `absent`."""
    return from_model(
        key,
        label,
        read=lambda text: "" if is_none(text) else text.strip(),
        write=lambda value: str(value) if value else "none",
        forms=lambda value: (str(value),) if value else (absent, "none"),
        choices=(("none", absent), *plain(choices)) if choices else (),
        **look,
    )


_SURVEYED = _choice_of_neurons("survey.neurons", "neurons", "none", "all", "top:200")
_SURVEY = (
    _choice_of_neurons("survey.layers", "layers", "that of the intervention", "all"),
    from_model("survey.depth", "depth"),
    from_model("survey.score", "score"),
    _choice_of_neurons("survey.then", "then", "none", "top:50", shares_line=True),
    _choice_of_neurons("survey.vectors", "vectors", "none"),
)
_GRID = from_model("grid", "vary", choices=(("no", "together"), ("yes", "crossed")))
_STATS = from_model(
    "stats",
    "statistics from",
    absent="this run's own",
    forms=lambda value: (str(value),) if value else ("this run's own baseline", "own baseline"),
)


def fields_of(
    data: Data, intervention: int, plane: int, kinds: Sequence[str], centres: bool | None = None
) -> dict[str, Sequence[Field]]:
    """The fields by section, for the intervention and the plane in view.

    Args:
        data: as `data.normal` gives it.
        intervention, plane: number of the one in view, -1 for none.
        kinds: of sites that the model has at the intervention's layer.
        centres: whether the model's norms centre; None where that is not known.
    """
    samples = value_at(data, "generation.mode") == "sample"
    return {
        "model": (*_MODEL, _EXECUTOR, *(_ACTORS if value_at(data, "execution.executor") == "ray" else ())),
        "interventions": [
            *(_intervention(data, intervention, kinds) if intervention >= 0 else _stats(data)),
            *_controls(data),
        ],
        "survey": _survey(data),
        "generation": (*_TOKENS, *_SAMPLING, replace(_STOP, shares_line=True)) if samples else (*_TOKENS, _STOP),
        "capture": (*_CAPTURE, _residual(centres)),
        "planes": _plane(data, plane) if plane >= 0 else [],
        "spotlight": _SPOTLIGHT,
        # Sets are chosen in the pane of prompts; that some are kept from view is shown here where it is so.
        "prompts": (*_PROMPTS, _CONFIRM) if value_at(data, "prompts.confirm") else _PROMPTS,
    }


def _survey(data: Data) -> Sequence[Field]:
    """What a survey goes through; one field where there is none, and none where no intervention is its template."""
    if not value_at(data, "survey.neurons"):
        return [_SURVEYED] if len(data["interventions"]) == 1 else []
    return [_SURVEYED, *_SURVEY]


def _residual(centres: bool | None) -> Field:
    """What "auto" means is said where the model is known."""
    field = from_model("capture.residual", "residual")
    if centres is None:
        return field
    means = "centred" if centres else "raw"
    return replace(field, forms=lambda value: (f"auto: {means}", "auto") if value == "auto" else (str(value),))


def kind_text(kind: str) -> str:
    """A kind of site as the form chooses it: which expert's neurons is a field of its own."""
    return "expert hook_post" if kind == FIRST_EXPERT else short_kind(kind)


def _intervention(data: Data, index: int, kinds: Sequence[str]) -> list[Field]:
    item = f"interventions[{index}]"
    op = value_at(data, f"{item}.op")
    units = UNITS.get(op, ("raw",)) if isinstance(op, str) else ("raw",)
    layer = Field(f"{item}.layer", "layer", parse_word, str, hint="captures and planes of the same layer move along")
    kind = Field(
        f"{item}.kind",
        "site",
        parse_word,
        str,
        forms=lambda value: (kind_text(str(value)),),
        choices=tuple((kind, kind_text(kind)) for kind in kinds),
        typed=False,
        shares_line=True,
        hint="what is changed at that layer",
    )
    direction = from_model(f"{item}.direction", "direction")
    neurons = from_model(f"{item}.neurons", "neuron")
    # What takes either shows what is set first; where it is emptied, the other can be.
    targets = [neurons]
    if str(value_at(data, f"{item}.site")).endswith(".attn.hook_z"):
        all_or_some = from_model(
            f"{item}.coordinates",
            "coordinates",
            shares_line=True,
            write=lambda value: numbers_text(value) or "all",
            read=lambda text: [] if text.strip() == "all" else parse_numbers(text),
        )
        targets = [from_model(f"{item}.heads", "head"), all_or_some]
    targets = [direction] if op == "steer" else [*targets, direction] if op in ALONG_DIRECTION else targets
    expert = Field(f"{item}.expert", "expert", parse_word, str, hint="whose neurons; captures and planes move along")
    whose = [] if expert_of(value_at(data, f"{item}.site")) is None else [expert]
    fields = [layer, kind, *whose, *targets, from_model(f"{item}.op", "operation")]
    if op == "patch":
        fields.append(from_model(f"{item}.from", "from", read=lambda text: text.strip() or None, write=source_text))
    if op not in WITHOUT_VALUES:
        fields.append(from_model(f"{item}.unit", "unit", choices=plain(units), shares_line=True))
        fields.append(from_model(f"{item}.values", "values", forms=numbers_forms))
    fields.append(from_model(f"{item}.background", "background"))
    fields.append(_positions_field(item))
    if len(data["interventions"]) > 1 or data.get("grid"):
        fields.append(_GRID)
    return [*fields, *_stats(data)]


def _plane(data: Data, index: int) -> list[Field]:
    item = f"planes[{index}]"
    captured = [str(site) for site in data["capture"]["sites"]] if isinstance(data["capture"]["sites"], list) else []
    only = site_text(captured[0]) if len(captured) == 1 else "not said"
    choices = tuple((site, site_text(site)) for site in captured)
    site = value_at(data, f"{item}.site")
    if site is None:
        choices = (("", only), *choices)
    lies_in = str(site or (captured[0] if captured else ""))
    directions = functools.partial(direction_forms, lies_in)
    return [
        from_model(f"{item}.a", "0° at", forms=directions),
        from_model(f"{item}.b", "90° at", shares_line=True, forms=directions),
        from_model(
            f"{item}.site",
            "in site",
            forms=lambda value: (site_text(value) if value else only,),
            choices=choices,
            typed=False,
        ),
    ]


def _controls(data: Data) -> list[Field]:
    """How many controls go through the sweep beside the target, where there is one; their seed where there are any."""
    count = value_at(data, "controls.neurons")
    if not data["interventions"] and count == 0:
        return []
    steers = any(intervention["direction"] is not None for intervention in data["interventions"])
    noun = "random directions" if steers else "matched neurons"
    number = from_model(
        "controls.neurons",
        "controls",
        read=lambda text: 0 if is_none(text) else parse_whole(text),
        write=lambda value: "none" if value == 0 else number_text(value),
        forms=lambda value: ("none",) if value == 0 else (f"{value} {noun}", str(value)),
    )
    number = replace(number, hint=f"{noun}, {number.hint}")
    if count == 0:
        return [number]
    chosen = from_model("controls.chosen", "chosen")
    fields = [number, from_model("controls.seed", "seed", shares_line=True), chosen]
    # A number that was given stays in view until it is taken out, whatever is chosen.
    if value_at(data, "controls.chosen") == "after" or value_at(data, "controls.candidates") is not None:
        fields.append(from_model("controls.candidates", "candidates", shares_line=True, absent="not known"))
    return fields


def _stats(data: Data) -> list[Field]:
    relative = any(item["op"] == "mean" or item["unit"] != "raw" for item in data["interventions"])
    return [_STATS] if relative or data.get("stats") is not None else []


_TITLES = {
    "model": "",
    "interventions": "intervention",
    "survey": "survey",
    "generation": "writing",
    "capture": "capture",
    "planes": "plane",
    "spotlight": "spotlight",
    "prompts": "prompts",
}


def rows_of(
    sections: Mapping[str, Sequence[Field]],
    values: Mapping[str, Any],
    typed: Mapping[str, str],
    problems: Mapping[str, ExplorerError],
    counts: Mapping[str, tuple[int, int]],
    model: Sequence[FormRow],
    plane: Sequence[FormRow] = (),
    edited: Sequence[FormRow] = (),
) -> tuple[FormRow, ...]:
    """Lay an experiment's fields out as rows.

    Args:
        sections: fields by section.
        values: by field, what the experiment holds once everything typed is in it.
        typed: texts that are no part of the experiment yet.
        problems: by row.
        counts: of interventions and planes, the number of the one in view (from 0) and how many there are.
        model: what is said of the model, below its fields.
        plane: what is said of the plane in view, below its fields.
        edited: what is said of what is edited, below its field.
    """
    rows: list[FormRow] = []
    for name, fields in sections.items():
        heading = _heading(name, counts, problems) if fields or name in counts else None
        rows += [heading] if heading else []
        if name in counts and not counts[name][1]:
            rows.append(FormRow(name, "none", ("+ adds one",), typed=False, quiet=True, hint="+ adds one"))
        for field in fields:
            rows.append(_row(field, values.get(field.key), typed, problems))
            if field.key.endswith((".neurons", ".heads", "].direction")) and field.key.startswith("interventions["):
                rows += edited
                edited = ()
        rows += model if name == "model" else plane if name == "planes" else ()
    return tuple(rows)


def model_rows(shape: ModelShape | None, device: str, problem: str, *, asked: bool) -> tuple[FormRow, ...]:
    """What is said of the model in use: its sizes, or why they are not known."""
    if shape is None:
        state = "its sizes are asked for ..." if asked else "its sizes are not known yet"
        return (FormRow("#model", "", (state,), kind="fact", problem=problem),)
    sizes = (
        f"{shape.n_layers} layers · d_model {shape.d_model} · d_mlp {shape.d_mlp} · context {shape.n_ctx} · {device}",
        f"{shape.n_layers} layers · d_model {shape.d_model} · d_mlp {shape.d_mlp} · context {shape.n_ctx}",
        f"{shape.n_layers} layers · {shape.d_model} · mlp {shape.d_mlp} · ctx {shape.n_ctx}",
        f"{shape.n_layers} × {shape.d_model} · mlp {shape.d_mlp} · ctx {shape.n_ctx}",
        f"{shape.n_layers}L {shape.d_model} mlp {shape.d_mlp}",
    )
    return (FormRow("#model", "", sizes, kind="fact"),)


def plane_rows(data: Mapping[str, Any], index: int) -> tuple[FormRow, ...]:
    """What is said of a plane before it runs: that nothing edited lies in it; nothing where data is no experiment."""
    try:
        experiment = Experiment.from_dict(data)
    except ExplorerError:
        return ()
    if not 0 <= index < len(experiment.planes):
        return ()
    plane = experiment.planes[index]
    if apart_from(experiment, experiment.plane_site(plane), plane.a, plane.b) == "no":
        return ()
    edited = edited_caption(experiment, past=False)
    forms = (f"! holds nothing that is edited: {edited}", "! holds nothing that is edited", "! nothing edited in it")
    return (FormRow("#plane", "", forms, kind="warning"),)


def edited_rows(data: Mapping[str, Any]) -> tuple[FormRow, ...]:
    """What is said of what is edited before it runs: that it lies in no plane; nothing where data is no experiment."""
    try:
        unseen = unseen_caption(Experiment.from_dict(data))
    except ExplorerError:
        return ()
    told = unseen.partition(": ")[2].replace(", and the ", "; the ")
    forms = (f"! {unseen}", f"! in no plane: {told}", "! no plane holds what is edited", "! in no plane")
    return (FormRow("#edited", "", forms, kind="warning"),) if unseen else ()


def _heading(name: str, counts: Mapping[str, tuple[int, int]], problems: Mapping[str, ExplorerError]) -> FormRow | None:
    title = _TITLES[name]
    if not title:
        return None
    problem = ""
    if name in counts:
        index, count = counts[name]
        title = f"{title} {index + 1} of {count}" if count else title
        if name in problems:
            problem = error_line(problems[name], named=True)
    return FormRow(f"#{name}", title, kind="section", problem=problem)


def _row(field: Field, value: Any, typed: Mapping[str, str], problems: Mapping[str, ExplorerError]) -> FormRow:
    text = typed.get(field.key)
    written = field.write(value)
    shown = field.forms(value) if field.forms else (written or "none",)
    if text is not None and text != written:
        shown = (text,)
    labels = dict(field.choices)
    problem = problems.get(field.key)
    return FormRow(
        field.key,
        field.label,
        tuple(labels.get(form, form) for form in shown),
        text if text is not None else written,
        field.choices,
        field.typed,
        shares_line=field.shares_line,
        quiet=text is None and written in ("", "none", "no"),
        problem=error_line(problem) if problem else "",
        pending=text is not None,
        hint=field.hint,
    )


def error_line(error: ExplorerError, *, named: bool = False) -> str:
    """An error as a row shows it; `named` where it does not stand at its own field."""
    line = f"{error.what}; {error.remedy}" if error.remedy else error.what
    return f"{error.where}: {line}" if named and error.where else line
