"""A histogram counts every value once, and says of a mark what the values say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.figures.histogram import SIDE, HistogramFigure, histogram_figure, mark_among

VALUES = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60).map(np.array)


@given(VALUES, st.lists(st.floats(-1e7, 1e7), max_size=4))
@settings(max_examples=60)
def test_every_value_is_in_one_bin_and_the_view_holds_all_of_them(values: np.ndarray, marks: list[float]) -> None:
    figure = histogram_figure(values, [(mark, str(mark)) for mark in marks])
    assert sum(figure.counts) == figure.n == len(values)
    assert figure.low <= figure.edges[0] <= values.min() <= values.max() <= figure.edges[-1] <= figure.high
    assert len(figure.edges) == len(figure.counts) + 1
    assert (np.diff(figure.edges) > 0).all()
    assert [mark.value for mark in figure.marks] == sorted(marks)
    assert HistogramFigure.from_dict(json.loads(json.dumps(figure.to_dict()))) == figure


def test_a_far_mark_does_not_squeeze_the_rest() -> None:
    values = np.linspace(0, 1, 50)
    figure = histogram_figure(values, [(20, "+20"), (2, "+2"), (-0.5, "-.5")])
    assert (figure.low, figure.high) == (-0.5, 2)
    assert figure.high - figure.low <= (1 + 2 * SIDE) * 1.0
    assert [mark.label for mark in figure.marks] == ["-.5", "+2", "+20"]


def test_a_mark_tells_its_quantile_or_how_far_outside_it_is() -> None:
    values = np.arange(1.0, 101.0)
    assert mark_among(values, 25.5, "").told == "quantile .250"
    assert mark_among(values, 50.0, "").told == "quantile .495"
    above = mark_among(values, 410.0, "+410")
    assert (above.beyond, above.told) == (1, "above all 100 measured, 4.10 × the largest (100)")
    below = mark_among(values, -2.0, "-2")
    assert (below.beyond, below.told) == (-1, "below all 100 measured, 3.00 from the smallest (1.00)")
    assert mark_among(np.array([-0.17, 3.0]), -17.0, "").told == "below all 2 measured, 100 × the smallest (−.170)"


@pytest.mark.parametrize("value", [0.0, -3.0, 7.5])
def test_a_neuron_that_never_changes_has_one_full_bin(value: float) -> None:
    figure = histogram_figure(np.full(9, value), [(value, "here")])
    assert max(figure.counts) == 9
    assert figure.low < value < figure.high
    assert figure.marks[0].beyond == 0
