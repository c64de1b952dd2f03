from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.tui.explorer.draft import History


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
