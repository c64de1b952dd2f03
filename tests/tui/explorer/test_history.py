from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.experiment import read_experiment
from srm_explorer.tui.explorer.draft import History, change_caption


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 40))
def test_as_many_steps_forward_as_back_end_where_they_began(edits: list[int], back: int) -> None:
    history = History()
    for value in edits:
        history.push({"value": value})
    before = history.now
    steps = 0
    while steps < back and history.undo() is not None:
        steps += 1
    for _ in range(steps):
        assert history.redo() is not None
    assert history.now == before
    assert history.redo() is None


def test_an_edit_after_going_back_forgets_what_was_taken_back() -> None:
    history = History()
    for value in (1, 2, 3):
        history.push({"value": value})
    history.undo()
    history.push({"value": 9})
    assert history.redo() is None
    assert history.undo() == {"value": 2}


def test_what_did_not_change_is_no_step() -> None:
    history = History()
    assert history.push({"value": 1})
    assert not history.push({"value": 1})
    assert history.undo() is None


def test_nobody_can_edit_the_past() -> None:
    history = History()
    data: dict[str, Any] = {"values": [1]}
    history.push(data)
    data["values"].append(2)
    history.push({"values": [7]})
    back = history.undo()
    assert back == {"values": [1]}
    back["values"].append(3)
    history.redo()
    assert history.undo() == {"values": [1]}


def test_only_the_oldest_edits_are_forgotten() -> None:
    history = History()
    for value in range(500):
        history.push({"value": value})
    steps = 0
    while history.undo() is not None:
        steps += 1
    assert steps == 200
    assert history.now == {"value": 299}


def test_a_change_is_told_by_the_fields_that_it_changes() -> None:
    before = read_experiment("demo")[0].to_dict()
    (edit,) = before["interventions"]

    def edited(**fields: Any) -> str:
        return change_caption(before, {**before, "interventions": [{**edit, **fields}]})

    assert edited() == ""
    assert edited(values=[1, 2]) == "values -30 -10 -3 0 3 10 30 → 1 2"
    assert edited(site="blocks.3.mlp.hook_post") == "site L4 hook_post → L3 hook_post"
    assert edited(op="add", values=[1]) == "op and values"
    assert edited(op="add", values=[1], unit="raw", positions="last", neurons=[1]).endswith(" and 3 more")
    assert change_caption(before, {**before, "interventions": [edit, edit]}) == "an intervention added: 1 → 2"
    long = change_caption(before, {**before, "model": {**before["model"], "name": "/a/very/long/path/to/a/model"}})
    assert long == "model demo → /a/very/long/path/to/…"
