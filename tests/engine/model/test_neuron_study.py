"""The card and the use of neurons, as studies, on the model whose neuron was written by hand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.figures.histogram import HistogramFigure
from srm_explorer.engine.figures.table import TableFigure

from .planted_neuron import ALIKE, D_MLP, GAIN, LAYER, NEURON, activation_at_x, write_planted_model


@pytest.fixture(scope="module")
def planted_folder(random_models: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    write_planted_model(folder, random_models)
    (folder / "texts.txt").write_text("yyxy\nzzz\nyyxz\nzyy\n")
    return folder


def found(folder: Path, name: str, **arguments: Any) -> dict[str, Any]:
    from srm_explorer.engine.model_analyses.run import run_model_study

    model = ModelSpec(name=str(folder), device="cpu", dtype="float64")
    return run_model_study(name, arguments, model=model, base=folder)


def table(findings: dict[str, Any], name: str) -> TableFigure:
    return next(one for one in tables_in(findings) if one.name == name)


def column(one: TableFigure, key: str) -> list[Any]:
    place = [column.key for column in one.columns].index(key)
    return [row[place] for row in one.rows]


def test_the_card_holds_what_was_written(planted_folder: Path) -> None:
    card = found(planted_folder, "neuron", layer=LAYER, neuron=NEURON, prompts=["texts.txt"], top=3)
    promoted, suppressed = table(card, "promoted"), table(card, "suppressed")
    assert (column(promoted, "token")[0], column(suppressed, "token")[0]) == ('"y"', '"z"')
    assert column(promoted, "logit")[0] == pytest.approx(40 * GAIN, abs=1e-4)
    assert column(suppressed, "logit")[0] == pytest.approx(-40 * GAIN, abs=1e-4)
    assert not any("direct path" in note for note in promoted.notes)
    writes = table(card, "writes")
    assert column(writes, "neuron")[0] == ALIKE
    assert column(writes, "cosine")[0] == pytest.approx(0.6, abs=1e-6)
    assert writes.planes[0] is not None
    assert (writes.planes[0].a, writes.planes[0].b) == (NEURON, ALIKE)
    fires = table(card, "fires")
    assert column(fires, "activation")[0] == pytest.approx(activation_at_x(), abs=1e-6)
    # Two prompts begin alike and are one row.
    assert (column(fires, "position")[0], column(fires, "times")[0], column(fires, "text")[0]) == (2, 2, "yy«x»y")
    facts = dict(zip(column(table(card, "neuron"), "fact"), column(table(card, "neuron"), "value"), strict=True))
    assert facts["share of positions above 0"] == pytest.approx(2 / 14)
    assert facts["largest"] == pytest.approx(activation_at_x(), abs=1e-6)
    assert facts["mean activation"] == pytest.approx(2 / 14 * activation_at_x(), abs=1e-6)
    assert facts["standard deviation"] == pytest.approx((2 * 12) ** 0.5 / 14 * activation_at_x(), abs=1e-6)
    histogram = HistogramFigure.from_dict(card["histogram"])
    assert (histogram.counts[0], histogram.counts[-1], histogram.n) == (12, 2, 14)


def test_without_texts_the_card_holds_what_the_weights_say(planted_folder: Path) -> None:
    card = found(planted_folder, "neuron", layer=LAYER, neuron=NEURON)
    assert card["histogram"] is None
    assert {one.name for one in tables_in(card)} == {"neuron", "promoted", "suppressed", "writes", "reads"}


def test_a_neuron_that_writes_nothing_has_a_card_without_neighbours(planted_folder: Path) -> None:
    card = found(planted_folder, "neuron", layer=0, neuron=0, prompts=["texts.txt"])
    assert table(card, "writes").rows == ()
    assert set(column(table(card, "promoted"), "logit")) == {0.0}
    assert any("direct path" in note for note in table(card, "promoted").notes)


def test_use_ranks_the_only_neurons_that_do_anything_first(planted_folder: Path) -> None:
    use = found(planted_folder, "usage", prompts=["texts.txt"], top=2, list="all")
    loudest = table(use, "loudest")
    assert {(row[0], row[1]) for row in loudest.rows} == {(LAYER, NEURON), (LAYER, ALIKE)}
    assert column(loudest, "active") == [pytest.approx(2 / 14)] * 2
    assert column(loudest, "high_at")[0] == '"x" at 2'
    skipped = found(planted_folder, "usage", prompts=["texts.txt"], top=2, skip=1)
    assert column(table(skipped, "loudest"), "high_at")[0] == '"x" at 2'
    layers = table(use, "layers")
    assert column(layers, "never") == [D_MLP, D_MLP - 2]
    assert len(table(use, "neurons").rows) == 2 * D_MLP
    # A neuron that is 0 everywhere is quiet, not flat: it has no scale to be flat on.
    assert (LAYER, NEURON) in [(row[0], row[1]) for row in table(use, "flattest").rows]
    assert column(table(use, "quietest"), "rms") == [0.0, 0.0]


def test_weights_rank_the_only_neurons_that_write_anything(planted_folder: Path) -> None:
    said = found(planted_folder, "weights", top=3, list="all")
    everyone = table(said, "neurons")
    assert len(everyone.rows) == 2 * D_MLP
    writing = {(LAYER, NEURON), (LAYER, ALIKE)}
    assert {(row[0], row[1]) for row, std in zip(everyone.rows, column(everyone, "std"), strict=True) if std} == writing
    assert {(row[0], row[1]) for row in table(said, "spread").rows[:2]} == writing
    own = everyone.rows[D_MLP + NEURON]
    keys = [column.key for column in everyone.columns]
    # +40 and -40 times the gain, for `y` and `z` alone of 300 token ids.
    named = dict(zip(keys, own, strict=True))
    assert named["std"] == pytest.approx(40 * GAIN * (2 / 300) ** 0.5)
    assert named["skew"] == pytest.approx(0.0, abs=1e-9)
    assert named["kurtosis"] == pytest.approx(300 / 2 - 3)
    assert named["cos_W_in"] == pytest.approx(0.0, abs=1e-6)
    assert {one.name for one in tables_in(found(planted_folder, "weights", layer=LAYER))} == {
        "promoting", "suppressing", "spread", "unread",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("neuron", {"layer": 1}, "give its layer and its number"),
        ("neuron", {"layer": 5, "neuron": 0}, "choose 0 to 1"),
        ("neuron", {"layer": 1, "neuron": 99}, "choose 0 to 15"),
        ("neuron", {"layer": "x", "neuron": 1}, "whole number"),
        ("neuron", {"layer": 1, "neuron": 1, "promts": ["a"]}, "did you mean 'prompts'"),
        ("neuron", {"layer": 1, "neuron": 1, "prompts": ["nowhere"]}, "there is no prompt set 'nowhere'"),
        ("usage", {}, "name a prompt set"),
        ("usage", {"prompts": ["texts.txt"], "text": "generated"}, "only a session has written texts"),
        ("usage", {"prompts": ["texts.txt"], "skip": 4}, "skip fewer"),
        ("usage", {"prompts": ["texts.txt"], "layer": -1}, "choose 0 to 1"),
        ("weights", {"layer": 7}, "choose 0 to 1"),
        ("weights", {"prompts": ["texts.txt"]}, "prompts"),
        ("nothing", {}, "no study 'nothing'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    planted_folder: Path, name: str, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(ExplorerError, match=told) as refused:
        found(planted_folder, name, **arguments)
    assert "\n" not in str(refused.value)
