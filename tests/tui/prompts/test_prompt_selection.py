"""Choosing prompts: the table after any edits is one that a run takes, and means what the screen says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.prompts import Prompt
from srm_explorer.engine.runs.inputs import read_inputs
from srm_explorer.tui.prompts import model as edits
from srm_explorer.tui.prompts.catalogue import MOST_TEXTS, ListedSet, TokenBook, followed, list_sets, read_set

NAMES = ("alpha", "beta", "gamma")
START: dict[str, Any] = {"sets": ["alpha"], "where": {}, "omit": {}, "limit": None, "prepend_bos": "auto"}


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ListedSet]:
    folder = tmp_path_factory.mktemp("sets")
    (folder / "alpha.txt").write_text("a1\na2\na3\n")
    (folder / "beta.csv").write_text("prompt,kind,level\nb1,x,1\nb2,y,1\nb3,x,2\nb4,y,2\n")
    (folder / "gamma.jsonl").write_text('{"prompt": "g1", "kind": "x"}\n{"prompt": "g2", "kind": "z"}\n')
    names = {name: str(path) for name in NAMES for path in folder.glob(f"{name}.*")}
    sets, _ = list_sets(names.values(), folder)
    by_path = {one.name: read_set(one) for one in sets if one.origin == "path"}
    return {name: by_path[path] for name, path in names.items()}


steps = st.one_of(
    st.tuples(st.just("set"), st.sampled_from(NAMES)),
    st.tuples(st.just("prompt"), st.sampled_from(NAMES), st.integers(0, 3)),
    st.tuples(
        st.just("level"),
        st.sampled_from([("kind", "x"), ("kind", "y"), ("level", "1"), ("kind", "z")]),
        st.sampled_from([None, *NAMES]),
    ),
    st.tuples(st.just("limit"), st.none() | st.integers(1, 6)),
)


def apply(table: edits.Table, step: tuple[Any, ...], listed: dict[str, ListedSet]) -> edits.Table:
    match step:
        case ("set", name):
            chosen = name in edits.sets_of(table)
            return edits.without_set(table, name) if chosen else edits.with_set(table, name)
        case ("prompt", name, place):
            count = len(listed[name].prompts)
            number = 1 + place % count
            out = name not in edits.sets_of(table) or number in edits.omitted(table, name)
            return edits.with_prompts(table, name, count, [number], out)
        case ("level", (factor, level), name):
            names = [name] if name else edits.sets_of(table)
            known = {name: one.factors for name, one in listed.items()}
            return edits.with_level(table, names, factor, level, known)
        case (_, limit):
            return {**table, "limit": limit}
    raise AssertionError(step)


@given(st.lists(steps, max_size=12))
def test_after_any_edits_the_screen_and_a_run_agree(listed: dict[str, ListedSet], done: list[tuple[Any, ...]]) -> None:
    table = START
    for step in done:
        table = apply(table, step, listed)
    selected = edits.select(table, listed)
    names = [str(listed[name].path) for name in table["sets"]]
    by_path = {key: {str(listed[name].path): of for name, of in table[key].items()} for key in ("omit", "where")}
    named = {**table, "sets": names, **by_path}
    data = {"model": {"name": "demo"}, "prompts": named, "capture": {"sites": ["blocks.0.mlp.hook_post"]}}
    try:
        texts = [one.prompt.text for one in read_inputs(Experiment.from_dict(data), Path.cwd()).prompts]
    except ExplorerError:
        assert selected.error is not None
        return
    assert selected.error is None
    shown = [listed[name].prompts[number - 1].text for name, numbers in selected.numbers.items() for number in numbers]
    assert shown == texts
    assert selected.total == len(texts)


@given(st.lists(steps, max_size=6), st.sampled_from([("kind", "x"), ("kind", "z"), ("level", "1")]))
def test_a_level_of_some_sets_changes_no_other(
    listed: dict[str, ListedSet], done: list[tuple[Any, ...]], pair: tuple[str, str]
) -> None:
    table = START
    for step in done:
        table = apply(table, step, listed)
    before = edits.select({**table, "limit": None}, listed).numbers
    after = edits.select({**apply(table, ("level", pair, None), listed), "limit": None}, listed).numbers
    for name in edits.sets_of(table):
        if pair[1] not in listed[name].factors.get(pair[0], ()):
            assert after.get(name) == before.get(name)


@given(st.lists(steps, max_size=6), steps)
def test_an_edit_never_changes_the_table_it_was_given(
    listed: dict[str, ListedSet], done: list[tuple[Any, ...]], step: tuple[Any, ...]
) -> None:
    table = START
    for one in done:
        table = apply(table, one, listed)
    before = repr(table)
    apply(table, step, listed)
    assert repr(table) == before


prompts = st.lists(st.sampled_from("abcdefgh"), max_size=8).map(lambda texts: [Prompt(text) for text in texts])


@given(prompts, prompts, st.sets(st.integers(1, 8)))
def test_numbers_follow_their_prompts_into_a_changed_file(old: list[Prompt], new: list[Prompt], out: set[int]) -> None:
    numbers = sorted(number for number in out if number <= len(old))
    moved = followed(numbers, old, new)
    assert len(set(moved)) == len(moved) <= len(numbers)
    was, now = sorted(old[number - 1].text for number in numbers), sorted(new[number - 1].text for number in moved)
    assert [text for text in now if text not in was] == []
    if len(set(map(str, (one.text for one in old)))) == len(old):
        assert now == sorted(text for text in was if text in {one.text for one in new})
    assert followed(numbers, old, old) == numbers


def test_a_copy_takes_the_place_of_a_set_and_keeps_what_is_left_out() -> None:
    table = {**START, "sets": ["alpha", "beta"], "omit": {"alpha": [2], "beta": [1]}}
    changed = edits.renamed(table, "alpha", "my-alpha")
    assert changed["sets"] == ["my-alpha", "beta"]
    assert changed["omit"] == {"my-alpha": [2], "beta": [1]}
    assert edits.renamed(table, "alpha", "beta")["sets"] == ["beta"]


def test_each_text_is_asked_once_for_a_model_and_a_late_answer_goes_to_its_own() -> None:
    now = [0.0]
    book = TokenBook(lambda: now[0])
    book.use("one")
    assert book.ask(["a", "b", "a"]) == ("a", "b")
    assert book.ask(["a", "c"]) == (), "one question at a time"
    book.use("two")
    assert book.ask(["a", "b"]) == ("a", "b")
    book.take("one", {"a": ("a",), "b": ("b", "b")})
    assert book.count("a") is None
    book.take("two", {"a": ("a",) * 10})
    assert (book.count("a"), book.count("b"), book.is_asked("b")) == (10, None, True)
    book.retry()
    assert book.ask(["a", "b"]) == (), "the rest of an answer may take a while"
    now[0] = 60
    book.retry()
    assert book.ask(["a", "b"]) == ("b",)
    book.take("three", {})
    assert book.is_asked("b")
    book.take("two", {})
    assert book.ask(["b"]) == (), "what could not be counted is not asked for again by itself"
    book.retry()
    assert book.ask(["b"]) == ("b",)
    book.use("one")
    assert (book.count("a"), book.count("b")) == (1, 2)
    assert len(book.ask(str(n) for n in range(2 * MOST_TEXTS))) == MOST_TEXTS
