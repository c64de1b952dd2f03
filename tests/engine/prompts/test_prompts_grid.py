"""Grid files as people write them: liberal spelling, and what is wrong or missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from srm_explorer.engine.prompts import PromptSet, read_prompt_set

CELL = ">> CORE_ID: door\n[LEVEL 1]\ndeclarative: It opened.\n"


def read(tmp_path: Path, content: str) -> PromptSet:
    path = tmp_path / "set.txt"
    path.write_text(content, encoding="utf-8")
    return read_prompt_set(path)


def fatal(prompt_set: PromptSet) -> list[int]:
    return [problem.line for problem in prompt_set.problems if problem.fatal]


def remarks(prompt_set: PromptSet) -> list[int]:
    return [problem.line for problem in prompt_set.problems if not problem.fatal]


def texts(prompt_set: PromptSet) -> list[str]:
    return [prompt.text for prompt in prompt_set.prompts]


def test_a_grid_text_stays_as_written(tmp_path: Path) -> None:
    got = read(tmp_path, CELL + 'authoritative:  "He said: *no*", 他说：来 – http://x  \nrhetorical: Who?\n')
    assert texts(got)[1:] == ['"He said: *no*", 他说：来 – http://x', "Who?"]


def test_levels_begin_anew_with_each_core(tmp_path: Path) -> None:
    got = read(tmp_path, CELL + ">> CORE_ID: gate\ndeclarative: It closed.\n[LEVEL 02]\ndeclarative: Shut.\n")
    assert [tuple(prompt.factors.values()) for prompt in got.prompts] == [
        ("door", "declarative", "1"),
        ("gate", "declarative", "2"),
    ]
    assert fatal(got) == [5]


@pytest.mark.parametrize(
    "line",
    [">> CORE_ID:", ">> CORID: gate", "[LEVEL]", "[LEVL 2]", "    and the text goes on"],
)
def test_a_line_that_would_misplace_texts_is_fatal(tmp_path: Path, line: str) -> None:
    assert fatal(read(tmp_path, f"{CELL}{line}\n")) == [4]


@pytest.mark.parametrize("line", ["A remark.", ">> NOTE: by hand", "[end]", "rhetorical:", "http://example.org"])
def test_a_line_that_is_not_understood_is_reported_and_skipped(tmp_path: Path, line: str) -> None:
    got = read(tmp_path, f"{CELL}\n{line}\n")
    assert texts(got) == ["It opened."]
    assert 5 in remarks(got)
    assert not fatal(got)


def grid(skip: tuple[int, int, str] | None = None, more: str = "") -> str:
    lines: list[str] = []
    for core in range(3):
        lines.append(f">> CORE_ID: {core}")
        for level in range(3):
            lines.append(f"[LEVEL {level}]")
            lines += [f"{kind}: {core} {level} {kind}" for kind in ("seen", "said") if (core, level, kind) != skip]
    return "\n".join(lines) + more


def test_a_full_grid_has_no_problem_and_a_missing_cell_is_named(tmp_path: Path) -> None:
    assert read(tmp_path, grid()).problems == ()
    (problem,) = read(tmp_path, grid(skip=(1, 2, "said"))).problems
    assert "core `1`, level 2 has no `said`" in problem.what
    assert not problem.fatal


def test_a_missing_level_is_named_at_its_core(tmp_path: Path) -> None:
    (problem,) = read(tmp_path, grid().replace("[LEVEL 2]\nseen: 1 2 seen\nsaid: 1 2 said\n", "")).problems
    assert (problem.line, "no level 2" in problem.what) == (11, True)


def test_a_cell_that_occurs_twice_and_a_rare_type_are_reported(tmp_path: Path) -> None:
    twice, rare = read(tmp_path, grid(more="\nsaid: again\nNote: by hand\n")).problems
    assert (twice.line, "already on line 30" in twice.what, twice.fatal) == (31, True, False)
    assert (rare.line, "`note` occurs in only 1 of 9" in rare.what, rare.fatal) == (32, True, False)


def test_a_grid_all_in_quotation_marks_is_kept_and_reported_once(tmp_path: Path) -> None:
    got = read(tmp_path, '>> CORE_ID: a\n[LEVEL 1]\nx: "One"\ny: “Two”\n')
    assert texts(got) == ['"One"', "“Two”"]
    assert remarks(got) == [3]
