"""The rows of an experiment's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, ModelShape
from srm_explorer.engine.experiment.model_fit import apart_from
from srm_explorer.engine.figures.captions import edited_caption
from srm_explorer.tui.experiment.fields import Field
from srm_explorer.tui.widgets.form_layout import FormRow

_TITLES = {
    "model": "",
    "interventions": "intervention",
    "generation": "writing",
    "capture": "capture",
    "planes": "plane",
    "spotlight": "spotlight",
}


def rows_of(
    sections: Mapping[str, Sequence[Field]],
    values: Mapping[str, Any],
    typed: Mapping[str, str],
    problems: Mapping[str, ExplorerError],
    counts: Mapping[str, tuple[int, int]],
    model: Sequence[FormRow],
    plane: Sequence[FormRow] = (),
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
    """
    rows: list[FormRow] = []
    for name, fields in sections.items():
        heading = _heading(name, counts, problems)
        rows += [heading] if heading else []
        if name in counts and not counts[name][1]:
            rows.append(FormRow(name, "none", ("+ adds one",), typed=False, quiet=True, hint="+ adds one"))
        rows += [_row(one, values.get(one.key), typed, problems) for one in fields]
        rows += model if name == "model" else plane if name == "planes" else ()
    return tuple(rows)


def model_rows(shape: ModelShape | None, device: str, problem: str, *, asked: bool) -> tuple[FormRow, ...]:
    """What is said of the model in use: its sizes, or why they are not known."""
    if shape is None:
        told = "its sizes are asked for ..." if asked else "its sizes are not known yet"
        return (FormRow("#model", "", (told,), kind="fact", problem=problem),)
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


def _heading(name: str, counts: Mapping[str, tuple[int, int]], problems: Mapping[str, ExplorerError]) -> FormRow | None:
    title = _TITLES[name]
    if not title:
        return None
    problem = ""
    if name in counts:
        at, count = counts[name]
        title = f"{title} {at + 1} of {count}" if count else title
        if name in problems:
            error = problems[name]
            problem = told(error, named=True)
    return FormRow(f"#{name}", title, kind="section", problem=problem)


def _row(one: Field, value: Any, typed: Mapping[str, str], problems: Mapping[str, ExplorerError]) -> FormRow:
    text = typed.get(one.key)
    written = one.write(value)
    shown = one.forms(value) if one.forms else (written or "none",)
    if text is not None and text != written:
        shown = (text,)
    labels = dict(one.choices)
    shown = tuple(labels.get(form, form) for form in shown)
    problem = problems.get(one.key)
    return FormRow(
        one.key,
        one.label,
        shown,
        text if text is not None else written,
        one.short,
        one.choices,
        one.typed,
        beside=one.beside,
        quiet=text is None and written in ("", "none", "no"),
        problem=told(problem) if problem else "",
        pending=text is not None,
        hint=one.hint,
    )


def told(error: ExplorerError, *, named: bool = False) -> str:
    """An error as a row shows it; `named` where it does not stand at its own field."""
    line = f"{error.what}; {error.remedy}" if error.remedy else error.what
    return f"{error.where}: {line}" if named and error.where else line
