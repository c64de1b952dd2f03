"""The map of a survey in cells: no neuron that stands out is lost, at any size."""

from __future__ import annotations

import numpy as np
import pytest
from rich.cells import cell_len

from srm_explorer.engine.figures import SurveyMapFigure
from srm_explorer.engine.figures.survey_map import survey_map
from srm_explorer.tui.charts.picture import glyph
from srm_explorer.tui.charts.survey_map import MARK, SIGNS, paint_survey_map


def map_of(
    layers: int, neurons: int, loud: tuple[int, int], marks: tuple[tuple[int, int, str], ...] = ()
) -> SurveyMapFigure:
    cells = [(layer, neuron) for layer in range(layers) for neuron in range(neurons)]
    effects = np.random.default_rng(0).uniform(0.001, 0.002, len(cells))
    effects[cells.index(loud)] = 1.0
    layer, neuron = np.array(cells).T
    return survey_map(layer, neuron, effects, title="many", value_label="KL", logarithmic=True, marks=marks)


@pytest.mark.parametrize("size", [(160, 48), (114, 43), (80, 24), (60, 12), (30, 9)])
@pytest.mark.parametrize(("layers", "neurons"), [(1, 12), (1, 100), (1, 3072), (3, 700), (12, 64), (60, 20)])
def test_the_neuron_that_moves_most_is_the_one_dark_sign_and_a_marked_one_is_there(
    layers: int, neurons: int, size: tuple[int, int]
) -> None:
    loud, mine = (layers - 1, neurons - 3), (0, 1)
    picture = paint_survey_map(map_of(layers, neurons, loud, ((*mine, "n1"),)), *size)
    assert (picture.width, picture.height) == size
    text = picture.text()
    rows = [row for row in text.splitlines() if "below" not in row]
    dark = [at for row in rows for at, sign in enumerate(row) if sign == SIGNS[-1]]
    # One neuron may be several cells wide and lines high, all of them under one another.
    assert dark, text
    assert max(dark) - min(dark) < 4
    assert MARK in text
    assert all(cell_len(row) <= size[0] for row in text.splitlines())


def test_neurons_of_one_layer_have_a_sign_each_where_there_is_room() -> None:
    text = paint_survey_map(map_of(1, 3072, (0, 2000)), 114, 43).text()
    rows = [row for row in text.splitlines()[1:] if "below" not in row]
    signs = sum(row.count(sign) for row in rows for sign in SIGNS)
    assert signs == 3072
    assert "a sign" not in text
    assert "the most of 39 neurons a sign" in paint_survey_map(map_of(12, 3072, (3, 9)), 84, 24).text()


def test_what_was_not_surveyed_is_blank_and_too_small_a_room_says_so() -> None:
    holes = survey_map([0, 0, 2], [1, 9, 4], [0.5, 0.25, 1], title="few", value_label="KL", logarithmic=False)
    rows = paint_survey_map(holes, 60, 14).text().splitlines()
    first = next(row for row in rows if row.startswith("L0"))
    assert len({sign for _, sign in enumerate(first[3:]) if sign in SIGNS}) == 2
    assert "too small" in paint_survey_map(holes, 20, 5).text()


def test_few_neurons_of_many_have_their_numbers_and_no_empty_plane() -> None:
    few = survey_map([3, 3, 11, 11, 11], [5, 2000, 373, 2202, 2203], [1, 2, 3, 4, 5], title="few", value_label="KL",
                     logarithmic=True)  # fmt: skip
    rows = paint_survey_map(few, 80, 24).text().splitlines()
    assert next(row for row in rows if "2,202" in row).split() == ["5", "373", "2,000", "2,202", "2,203"]
    (last,) = (row for row in rows if row.startswith("L11"))
    assert sum(last.count(sign) for sign in SIGNS) == 18
    one_each = survey_map(range(12), range(7, 3007, 250), range(1, 13), title="few", value_label="KL",
                          logarithmic=True)  # fmt: skip
    told = paint_survey_map(one_each, 80, 24).text()
    assert all(f"{neuron:,}" in told for neuron in range(7, 3007, 250))


def test_shades_and_marks_stay_apart_where_there_is_ascii_alone() -> None:
    shown = [glyph(sign, "ascii") for sign in (*SIGNS, MARK)]
    assert all(sign.isascii() for sign in shown)
    assert len(set(shown)) == len(shown)
