"""The batch layout: every run once, what belongs together together."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis.strategies import booleans, builds, integers, lists

from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.runs.plan import Layout, plan_layout
from srm_explorer.engine.session.codec import json_line, read_record

grids = builds(Grid, integers(1, 9), integers(1, 3), integers(1, 7))
lengths = lists(integers(1, 30), min_size=9, max_size=9)
limits = integers(1, 60)


@given(grids)
def test_a_runs_number_tells_its_prompt_sample_and_condition(grid: Grid) -> None:
    places = [
        (prompt, sample, condition)
        for prompt in range(grid.prompts)
        for sample in range(grid.samples)
        for condition in range(grid.conditions)
    ]
    assert [grid.index(*place) for place in places] == list(range(len(grid)))
    assert [(grid.prompt(i), grid.sample(i), grid.condition(i)) for i in range(len(grid))] == places


@given(grids, lengths, limits, booleans())
def test_every_run_is_in_exactly_one_batch_of_at_most_so_many_rows(
    grid: Grid, tokens: list[int], rows: int, first: bool
) -> None:
    layout = plan_layout(grid, tokens, rows, baseline_first=first)
    assert sorted(index for batch in layout.batches for index in batch) == list(range(len(grid)))
    assert all(1 <= len(batch) <= rows for batch in layout.batches)
    assert layout.rows == rows


@given(grids, lengths, limits, booleans())
def test_a_prompts_conditions_share_a_batch_where_they_fit(
    grid: Grid, tokens: list[int], rows: int, first: bool
) -> None:
    together = grid.conditions - 1 if first else grid.conditions
    layout = plan_layout(grid, tokens, rows, baseline_first=first)
    homes: dict[tuple[int, int], set[int]] = {}
    for number, batch in enumerate(layout.batches[layout.first :]):
        for index in batch:
            homes.setdefault((grid.prompt(index), grid.sample(index)), set()).add(number)
    most = -(-together // rows)
    assert all(len(numbers) <= max(most, 1) for numbers in homes.values())


@given(grids, lengths, limits)
def test_batches_differ_by_at_most_one_group(grid: Grid, tokens: list[int], rows: int) -> None:
    sizes = [len(batch) for batch in plan_layout(grid, tokens, rows, baseline_first=False).batches]
    fits = grid.conditions <= rows
    assert max(sizes) - min(sizes) <= (grid.conditions if fits else 1)
    if fits:
        assert all(size % grid.conditions == 0 for size in sizes)
        per_batch = rows // grid.conditions
        assert len(sizes) == -(-grid.prompts * grid.samples // per_batch), "no more batches than are needed"


@given(grids, lengths, limits)
def test_baselines_come_first_where_units_are_measured_on_them(grid: Grid, tokens: list[int], rows: int) -> None:
    layout = plan_layout(grid, tokens, rows, baseline_first=True)
    before = Counter(grid.condition(index) for batch in layout.batches[: layout.first] for index in batch)
    after = Counter(grid.condition(index) for batch in layout.batches[layout.first :] for index in batch)
    assert before == {0: grid.prompts * grid.samples}
    assert after[0] == 0
    assert plan_layout(grid, tokens, rows, baseline_first=False).first == 0


@given(grids, lengths, limits, booleans())
def test_prompts_of_similar_length_go_together(grid: Grid, tokens: list[int], rows: int, first: bool) -> None:
    layout = plan_layout(grid, tokens, rows, baseline_first=first)
    for part in (layout.batches[: layout.first], layout.batches[layout.first :]):
        for one, after in pairwise(part):
            assert max(tokens[grid.prompt(i)] for i in one) <= min(tokens[grid.prompt(i)] for i in after)


@given(grids, lengths, limits, booleans())
def test_a_layout_survives_json(grid: Grid, tokens: list[int], rows: int, first: bool) -> None:
    layout = plan_layout(grid, tokens, rows, baseline_first=first)
    assert read_record(Layout, json.loads(json_line(layout))) == layout
