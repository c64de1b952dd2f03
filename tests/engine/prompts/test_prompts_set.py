"""A prompt set as data: filters, digests, units and lengths."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.prompts import Prompt, PromptSet, prompts_longer_than

ROOT = Path(__file__).parents[3]

grids = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("123"), st.text("xyz", min_size=1, max_size=2)),
    min_size=1,
    max_size=12,
)


def made(rows: list[tuple[str, str, str]]) -> PromptSet:
    prompts = [Prompt(text, {"type": kind, "level": level}, line) for line, (kind, level, text) in enumerate(rows, 1)]
    return PromptSet("made", tuple(prompts), Path("made.csv"), "csv")


def kept(prompt_set: PromptSet, *choices: dict[str, object]) -> tuple[Prompt, ...]:
    try:
        for choice in choices:
            prompt_set = prompt_set.where(choice)
    except ExplorerError:
        return ()
    return prompt_set.prompts


@settings(max_examples=100, deadline=None)
@given(rows=grids, kind=st.sampled_from("ab"), level=st.integers(1, 3))
def test_filters_compose_in_any_order_and_keep_the_order_of_prompts(
    rows: list[tuple[str, str, str]], kind: str, level: int
) -> None:
    whole = made(rows)
    expected = tuple(p for p in whole.prompts if p.factors == {"type": kind, "level": str(level)})
    assert kept(whole, {"type": [kind], "level": [level]}) == expected
    assert kept(whole, {"type": kind}, {"level": level}) == expected
    assert kept(whole, {"level": [str(level)]}, {"type": (kind,)}) == expected


def test_no_choice_keeps_all_and_a_choice_keeps_any_of_its_levels() -> None:
    whole = made([("a", "1", "x"), ("b", "2", "y"), ("a", "3", "z")])
    assert whole.where({}) == whole
    assert [p.text for p in whole.where({"level": [1, 3]}).prompts] == ["x", "z"]


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"kind": ["a"]}, "type, level"),
        ({"Type": ["a"]}, "did you mean 'type'"),
        ({"level": [4]}, "1, 2"),
        ({"type": ["a"], "level": ["2"]}, "no prompt"),
        ({"type": []}, "no level"),
    ],
)
def test_a_filter_that_keeps_nothing_says_what_there_is(choice: dict[str, object], says: str) -> None:
    with pytest.raises(ExplorerError) as caught:
        made([("a", "1", "x"), ("b", "2", "y")]).where(choice)
    assert says in str(caught.value)


def test_truth_values_match_the_way_json_and_toml_write_them() -> None:
    prompts = (Prompt("x", {"lit": "true"}), Prompt("y", {"lit": "false"}))
    assert PromptSet("s", prompts, Path("s"), "jsonl").where({"lit": True}).prompts == prompts[:1]


@given(rows=grids, other=grids)
def test_the_digest_changes_with_the_content_and_with_nothing_else(
    rows: list[tuple[str, str, str]], other: list[tuple[str, str, str]]
) -> None:
    one = made(rows)
    moved = replace(one, name="n", path=Path("p"), prompts=tuple(replace(p, line=p.line + 5) for p in one.prompts))
    assert one.sha256 == moved.sha256
    assert (one.sha256 == made(other).sha256) == (rows == other)


def test_the_digest_separates_what_joined_text_would_not() -> None:
    sets = [
        (Prompt("ab"), Prompt("c")),
        (Prompt("a"), Prompt("bc")),
        (Prompt("ab", {"c": ""}),),
        (Prompt("ab", {"": "c"}),),
        (Prompt("c"), Prompt("ab")),
    ]
    assert len({PromptSet("s", prompts, Path("s"), "csv").sha256 for prompts in sets}) == len(sets)


def test_the_unit_is_the_core_where_there_is_one() -> None:
    assert Prompt("x", {"core_id": "door"}).unit == "door"
    assert Prompt("x", {"core_id": ""}).unit == "x"
    assert Prompt("x").unit == "x"


@given(counts=st.lists(st.integers(0, 20), min_size=1, max_size=8), limit=st.integers(1, 20))
def test_exactly_the_prompts_over_the_limit_are_reported(counts: list[int], limit: int) -> None:
    prompt_set = made([("a", "1", str(i)) for i in range(len(counts))])
    found = prompts_longer_than(prompt_set, counts, limit)
    assert [problem.line for problem in found] == [i for i, count in enumerate(counts, 1) if count > limit]
    assert all(problem.fatal and f"{limit:,}" in str(problem) for problem in found)
    with pytest.raises(ValueError, match="zip"):
        prompts_longer_than(prompt_set, [*counts, 1], limit)


def test_reading_prompts_loads_no_array_library_and_no_model_library() -> None:
    heavy = "{'torch', 'numpy', 'transformers', 'pydantic'}"
    code = f"import sys, srm_explorer.engine.prompts; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
