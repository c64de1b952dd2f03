"""The form against the experiment's models: no field is missing, and what it says of one is what the model says."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from srm_explorer.engine.experiment import SITE_KINDS, Experiment, read_experiment
from srm_explorer.engine.experiment.intervention import UNITS
from srm_explorer.tui.experiment.data import normal
from srm_explorer.tui.experiment.edits import value_of
from srm_explorer.tui.experiment.fields import Choices, Field, fields_of
from srm_explorer.tui.experiment.form_model import SpecForm

ELSEWHERE = {f"prompts.{name}" for name in ("sets", "where", "omit", "limit")} | {
    f"analysis.{name}" for name in ("family", "tests", "groups", "planes")
}
"""Fields that the form leaves to the pane of prompts, and those that are written in the file and kept as they are."""

SPLIT = {"interventions.layer": "interventions.site", "interventions.kind": "interventions.site"}
"""Rows that show a part of a field."""


def leaves(model: type[BaseModel] = Experiment, table: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, info in model.model_fields.items():
        inside: Any = get_args(info.annotation)[0] if get_origin(info.annotation) is tuple else info.annotation
        if isinstance(inside, type) and issubclass(inside, BaseModel):
            yield from leaves(inside, f"{table}{name}.")
        else:
            yield f"{table}{info.alias or name}", info


MODELS = dict(leaves())


def shown() -> tuple[Field, ...]:
    """The fields that the form has rows for, whatever the operation."""
    fields: dict[tuple[str, Choices], Field] = {}
    for op, kind in itertools.product(UNITS, ("mlp.hook_post", "attn.hook_z")):
        data = read_experiment("protocol")[0].to_dict()
        data["interventions"] = [
            {**data["interventions"][0], "site": f"blocks.11.{kind}", "op": op, "unit": "sigma"}
        ] * 2
        data["generation"]["mode"] = "sample"
        data["controls"] |= {"neurons": 19, "chosen": "after"}
        data["prompts"]["confirm"] = ["watching"]
        data["survey"]["neurons"] = "all"
        data["execution"]["executor"] = "ray"
        sections = fields_of(data, 0, 0, SITE_KINDS).values()
        fields |= {(field.key, field.choices): field for section in sections for field in section}
    return tuple(fields.values())


def name_of(field: Field) -> str:
    name = re.sub(r"\[[0-9]+\]", "", field.key)
    return SPLIT.get(name, name)


def test_every_field_of_the_models_has_a_row() -> None:
    assert {name_of(field) for field in shown()} == set(MODELS) - ELSEWHERE


@pytest.mark.parametrize("name", [name for name, info in MODELS.items() if get_origin(info.annotation) is Literal])
def test_the_choices_are_the_models(name: str) -> None:
    offered = [text for field in shown() if name_of(field) == name for text, _ in field.choices]
    assert tuple(dict.fromkeys(offered)) == get_args(MODELS[name].annotation)


@pytest.mark.parametrize("name", sorted(set(MODELS) - ELSEWHERE - set(SPLIT.values())))
def test_what_the_model_says_of_a_field_is_its_hint(name: str) -> None:
    described = MODELS[name].description
    hints = {field.hint for field in shown() if name_of(field) == name}
    assert hints
    # Captured sites are typed in a way of the screen's own.
    assert all(described in hint if described else name == "capture.sites" for hint in hints)


@pytest.mark.parametrize("field", shown(), ids=lambda field: field.key)
def test_what_is_left_out_is_shown_at_the_models_default(field: Field) -> None:
    info = MODELS[name_of(field)]
    if info.is_required():
        return
    default = info.get_default(call_default_factory=True)
    value = value_of(normal({"interventions": [{}], "planes": [{}]}), field.key)
    assert value == (list(default) if isinstance(default, tuple) else default)
    if default != ():
        assert field.read(field.write(value)) == value


def test_a_frozen_analysis_stays_as_it_is_while_the_form_is_edited() -> None:
    analysis = {"family": "primary", "tests": ["difference"], "groups": ["clamped against baseline"], "planes": [1]}
    form = SpecForm()
    data = {**read_experiment("protocol")[0].to_dict(), "analysis": analysis}
    form.take({**data, "prompts": {**data["prompts"], "confirm": ["watching"]}}, {})
    assert form.edit("generation.tokens", "7").changed
    experiment = form.experiment()
    assert experiment.analysis.model_dump(mode="json") == analysis
    assert (experiment.generation.tokens, experiment.prompts.confirm) == (7, ("watching",))
    assert form.edit("prompts.confirm", "none").changed
    assert form.experiment().prompts.confirm == ()
