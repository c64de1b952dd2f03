from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from srm_explorer.engine.experiment import read_experiment
from srm_explorer.tui.experiment.files import anchored
from srm_explorer.tui.experiment.form_model import SpecForm


def form_with(**plane: Any) -> SpecForm:
    form = SpecForm()
    data = read_experiment("quick")[0].to_dict()
    form.take({**data, "planes": [{**data["planes"][0], **plane}]}, {})
    return form


def text_of(form: SpecForm, key: str) -> str:
    return next(row.text for row in form.rows() if row.key == key)


@pytest.mark.parametrize(
    ("typed", "value"),
    [("7", 7), (" mean( type=plain ) ", "mean(type=plain)"), ("PC1", "pc1"), ("v.npz#x", "v.npz#x")],
)
def test_a_direction_is_typed_as_files_have_it(typed: str, value: int | str) -> None:
    form = form_with()
    assert form.edit("planes[0].b", typed).changed
    assert form.data["planes"][0]["b"] == value
    assert form.experiment().planes[0].b == value
    assert text_of(form, "planes[0].b") == str(value)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("mena(type=a)", "did you mean mean(type=declarative)?"),
        ("w_out(11.373)", "lies in the residual stream"),
        ("mean(type=*)", "stands for several directions"),
        ("-3", "greater than or equal to 0"),
    ],
)
def test_what_is_no_direction_there_is_told_beside_it(typed: str, told: str) -> None:
    form = form_with()
    assert not form.edit("planes[0].b", typed).changed
    assert told in form.reason("planes[0].b")
    assert text_of(form, "planes[0].b") == typed


def test_a_plane_is_added_after_one_of_directions_that_are_text() -> None:
    form = form_with(a="pc1", b="random(0)")
    assert form.add("planes").changed
    assert form.data["planes"][1]["a"] == "pc1"
    assert isinstance(form.data["planes"][1]["b"], int)
    form.experiment()


def test_the_file_of_a_direction_is_found_from_another_folder() -> None:
    data = form_with(a="v.npz#x", b="pc1").experiment().to_dict()
    assert anchored(data, Path("/data"))["planes"][0]["a"] == "/data/v.npz#x"
