from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.analyses.charts import study_figure
from srm_explorer.engine.analyses.controls import controls_study
from srm_explorer.engine.analyses.effects import effects_study
from srm_explorer.engine.analyses.plane_finder import finder_study
from srm_explorer.engine.analyses.registry import Findings, tables_in
from srm_explorer.engine.figures.paper import draw
from srm_explorer.engine.figures.table import tables_as_csv
from srm_explorer.engine.session import Session, load_session
from tests.engine.analyses.test_controls_study import controlled  # noqa: F401  (a fixture)
from tests.example import EXAMPLE

# matplotlib asks for the fonts of the system once.
pytestmark = pytest.mark.process


def written(findings: Findings) -> dict[str, list[dict[str, str]]]:
    """The tables as they stand in the CSV file that a command writes."""
    tables = tables_in(findings)
    blocks = tables_as_csv(tables).split("\n\n") if len(tables) > 1 else [tables_as_csv(tables)]
    return {table.name: list(csv.DictReader(io.StringIO(tables_as_csv([table])))) for table in tables if blocks}


def drawn(made: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        tuple(np.asarray(part, np.float64) for part in line.get_data()) for axes in made.axes for line in axes.lines
    ]


def numbers(rows: list[dict[str, str]], key: str) -> np.ndarray:
    return np.array([float(row[key] or "nan") for row in rows])


def test_effects_are_drawn_as_they_are_written() -> None:
    session = load_session(EXAMPLE)
    findings = effects_study(session, {"resamples": 200})
    made = draw(study_figure(session, tables_in(findings)))
    rows = written(findings)
    value_of = {condition.label: condition.value for condition in session.conditions}
    changes = [row for row in rows["text_changes"] if row["measure"] == "compression"]
    checked = [(rows["effects"], "changed"), (changes, "change")]
    checked += [(rows["effects"], key) for key in ("kl", "perplexity_ratio") if key in rows["effects"][0]]
    for listed, key in checked:
        x = np.array([value_of[row["value"]] for row in listed], np.float64)
        order = np.argsort(x)
        y = numbers(listed, key)[order]
        assert any(len(got[0]) == len(x) and np.allclose(got, (x[order], y), equal_nan=True) for got in drawn(made)), (
            key
        )
    ends = {
        (round(float(x), 9), round(float(y), 9))
        for axes in made.axes
        for bars in axes.collections
        for segment in getattr(bars, "get_segments", list)()
        for x, y in segment
    }
    for row in changes:
        if row["low"]:
            at = value_of[row["value"]]
            assert {(at, round(float(row["low"]), 9)), (at, round(float(row["high"]), 9))} <= ends


def test_controls_are_drawn_as_they_are_written(controlled: Callable[..., Session]) -> None:  # noqa: F811
    session = controlled()
    findings = controls_study(session, {})
    made = draw(study_figure(session, tables_in(findings)))
    rows = written(findings)
    ranks, neurons = rows["controls"], rows["control_neurons"]
    titles = {c.key: c.title for c in next(t for t in tables_in(findings) if t.name == "control_neurons").columns}
    keys = [key for key in neurons[0] if key.startswith("measure_")]
    assert keys
    assert len(made.axes) == len(keys)
    for axes, key in zip(made.axes, keys, strict=True):
        values = numbers(neurons[1:], key)
        marks, at_median, at_target = ([np.asarray(part) for part in line.get_data()] for line in axes.lines)
        assert np.allclose(marks[0], values)
        (row, *_) = [row for row in ranks if f"{row['where']}: {row['measure']}" == titles[key]]
        assert at_median[0][0] == float(row["control_median"])
        assert at_target[0][0] == float(row["target"]) == float(neurons[0][key])
        assert sum(round(bar.get_height()) for bar in axes.patches) == len(values)


def test_planes_found_are_drawn_as_they_are_written(planted: Callable[..., Session]) -> None:
    session = planted()
    findings = finder_study(session, {"permutations": 200})
    made = draw(study_figure(session, tables_in(findings)))
    rows = written(findings)["planes_found"]
    chosen, tested = ([np.asarray(part) for part in line.get_data()] for line in made.axes[0].lines)
    count = len(chosen[0])
    assert 0 < count <= 20
    assert np.allclose(chosen[0], numbers(rows[:count], "score"), equal_nan=True)
    assert np.allclose(tested[0], numbers(rows[:count], "statistic"), equal_nan=True)
    assert (np.diff(chosen[1]) < 0).all()
    names = [text.get_text() for text in made.texts]
    assert all(f"{row['a']} × {row['b']}" in names for row in rows[:count])
    key = "difference_b"
    assert np.allclose(made.axes[1].lines[-2].get_xdata(), numbers(rows[:count], key), equal_nan=True)
