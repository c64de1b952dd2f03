"""Where the neurons of a survey lie on its map: each has one place, and few places are nobody's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.figures.paper.page import draw
from srm_explorer.engine.figures.survey_map import SurveyMapFigure, survey_map

pytestmark = pytest.mark.process  # matplotlib asks for the fonts once.

CELLS = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3_000)), min_size=1, max_size=60)


def map_of(cells: set[tuple[int, int]]) -> SurveyMapFigure:
    layer, neuron = np.array(sorted(cells)).T
    marks = [(*min(cells), "n1")]
    return survey_map(layer, neuron, neuron + 1.0, title="few", value_label="KL", logarithmic=True, marks=marks)


@settings(max_examples=60, deadline=None)
@given(CELLS)
def test_every_neuron_has_one_place_and_a_quarter_of_the_places_are_neurons(cells: set[tuple[int, int]]) -> None:
    drawn = map_of(cells)
    assert SurveyMapFigure.from_dict(json.loads(json.dumps(drawn.to_dict()))).to_dict() == drawn.to_dict()
    filled = np.argwhere(~np.isnan(drawn.effects)).tolist()
    assert sorted(drawn.neuron(row, column) for row, column in filled) == sorted(cells)
    assert all(drawn.effects[row, column] == drawn.neuron(row, column)[1] + 1 for row, column in filled)
    (row, column, _) = drawn.marks[0]
    assert drawn.neuron(row, column) == min(cells)
    # Unless one layer has far more of them than another, or a last row is begun.
    counts = np.bincount([layer for layer, _ in cells])
    assert len(filled) >= 0.25 * drawn.effects.size or counts[counts > 0].min() < 0.5 * counts.max()


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize(
    ("cells", "rows", "across"),
    [
        ({(11, 373)}, ["L11"], ["373"]),
        ({(3, 5), (3, 2000), (11, 373), (11, 2202)}, ["L3", "L11"], ["5", "373", "2,000", "2,202"]),
        ({(layer, 250 * layer + 9) for layer in range(12)}, [f"L{layer}" for layer in range(12)], []),
        ({(11, 77 * at) for at in range(40)}, ["0", "616", "1,232", "1,848", "2,464"], []),
    ],
)
def test_few_neurons_stand_on_a_figure_with_their_numbers(
    cells: set[tuple[int, int]], rows: list[str], across: list[str], width: str
) -> None:
    made = draw(map_of(cells), width)  # pyright: ignore[reportArgumentType]
    axes = made.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == rows
    assert [label.get_text() for label in axes.get_xticklabels()] == across
    inside = [] if across else sorted(f"{neuron:,}" for _, neuron in cells)
    assert sorted(text.get_text() for text in axes.texts) == inside
