"""Prompt files as people write them, with what is wrong in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.prompts import PromptSet, available_prompt_sets, load_prompt_set, read_prompt_set

SHIPPED = Path(__file__).parents[3] / "prompts"
CELL = ">> CORE_ID: door\n[LEVEL 1]\ndeclarative: It opened.\n"


def read(tmp_path: Path, content: str | bytes, name: str = "set.txt") -> PromptSet:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_prompt_set(path)


def fatal(prompt_set: PromptSet) -> list[int]:
    return [problem.line for problem in prompt_set.problems if problem.fatal]


def remarks(prompt_set: PromptSet) -> list[int]:
    return [problem.line for problem in prompt_set.problems if not problem.fatal]


def texts(prompt_set: PromptSet) -> list[str]:
    return [prompt.text for prompt in prompt_set.prompts]


def test_plain_skips_comments_and_reports_blanks_spaces_and_repeats(tmp_path: Path) -> None:
    got = read(tmp_path, "# remark\r\na  b\r\n\r\nc \r\na  b")
    assert texts(got) == ["a  b", "c", "a  b"]
    assert remarks(got) == [1, 3, 4, 5]
    assert "line 2" in got.problems[-1].what
    assert not fatal(got)


def test_a_line_separator_inside_a_text_is_no_line_end(tmp_path: Path) -> None:
    assert texts(read(tmp_path, "one\u2028still one\ntwo")) == ["one\u2028still one", "two"]


@pytest.mark.parametrize(
    ("content", "lines", "says"),
    [
        (b"a\nb\xe9c\nd\n\xff", [2, 4], "byte 2 of the line (0xe9)"),
        (b"a\nb\0c\n", [2], "U+0000"),
        (b"a\n\x1b[31mb", [2], "U+001B"),
        ("a\x85b".encode(), [1], "U+0085"),
        ("a\nb".encode("utf-16"), [1], "UTF-16"),
        (b"\x80\x04\0\0", [1], "binary"),
        (b"", [1], "no prompt"),
        (b"\n\n# only this\n", [1], "no prompt"),
    ],
)
def test_what_is_no_text_is_fatal_with_its_line(tmp_path: Path, content: bytes, lines: list[int], says: str) -> None:
    got = read(tmp_path, content)
    assert fatal(got) == lines
    assert says in next(str(problem) for problem in got.problems if problem.fatal)


def test_messages_quote_no_control_character(tmp_path: Path) -> None:
    got = read(tmp_path, '{"prompt": "a", "\\u001b]0;x": [1]}\n', "set.jsonl")
    assert str(got.problems[0]).isprintable()


def test_table_columns_are_found_by_name_in_any_case(tmp_path: Path) -> None:
    got = read(tmp_path, 'type,CORE_ID,TEXT\na, door ,"Hello,\n""you"""\nb,,x\n', "set.csv")
    assert [(p.text, dict(p.factors), p.line, p.unit) for p in got.prompts] == [
        ('Hello,\n"you"', {"type": "a", "core_id": "door"}, 2, "door"),
        ("x", {"type": "b", "core_id": ""}, 4, "x"),
    ]


@pytest.mark.parametrize(
    ("content", "lines", "says"),
    [
        ("type,words\na,b\n", [1], "type, words"),
        ("prompt,a,a\nx,1,2\n", [1], "`a` occurs twice"),
        ("prompt,a\nx,1\ny\nz,1,2\n", [3, 4], "1 fields"),
        ('prompt\nx\n"open\nand on\n', [3], "quoting"),
        ('prompt\n"x"y\n', [2], "quoting"),
        ("prompt,a\n", [1], "no prompt"),
    ],
)
def test_a_broken_table_is_fatal_with_its_line(tmp_path: Path, content: str, lines: list[int], says: str) -> None:
    got = read(tmp_path, content, "set.csv")
    assert fatal(got) == lines
    assert says in next(problem.what for problem in got.problems if problem.fatal)


def test_a_spreadsheet_export_with_comment_and_index_column_is_read(tmp_path: Path) -> None:
    got = read(tmp_path, "# exported\n;prompt;level\n0;The door;1\n\n1;;2\n", "set.csv")
    assert [(p.text, dict(p.factors)) for p in got.prompts] == [("The door", {"level": "1"})]
    assert remarks(got) == [2, 4, 5]


def test_jsonl_scalars_become_the_strings_json_writes(tmp_path: Path) -> None:
    big = "9" * 5000
    line = f'{{"n": 1.10, "big": {big}, "yes": true, "none": null, "nan": NaN, "prompt": " a"}}'
    got = read(tmp_path, line + '\n"bare"\n', "set.jsonl")
    assert dict(got.prompts[0].factors) == {"n": "1.10", "big": big, "yes": "true", "nan": "NaN"}
    assert texts(got) == [" a", "bare"]
    assert got.factor_names == ("n", "big", "yes", "nan")


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        "3",
        "null",
        '{"words": "a"}',
        '{"prompt": 3}',
        '{"prompt": ["a"]}',
        '{"prompt": "a", "x": "1", "x": "2"}',
        '{"prompt": "a", "x": 1, " x": 2}',
        '{"prompt": "a", "": 1}',
        '{"prompt": "\\ud800"}',
        '{"prompt": "a\\u0000"}',
        '{"prompt": "a", "x": "\\u001b"}',
        '{"prompt": "a", "x": ' + "[" * 100_000 + "}",
    ],
)
def test_a_broken_json_line_is_fatal_and_the_others_are_read(tmp_path: Path, line: str) -> None:
    got = read(tmp_path, f'"one"\n{line}\n"two"\n', "set.jsonl")
    assert fatal(got) == [2]
    assert texts(got) == ["one", "two"]


def test_what_a_file_holds_counts_where_its_extension_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, CELL).format == "grid"
    assert read(tmp_path, CELL, "set.md").format == "grid"
    assert read(tmp_path, f"# {CELL}").format == "plain"
    assert read(tmp_path, '{"prompt": "a"}').format == "jsonl"
    assert read(tmp_path, '{"a": 1}').format == "plain"
    assert read(tmp_path, '"a"', "set.jsonl").format == "jsonl"


@pytest.mark.parametrize("name", ["no.txt", "folder.txt", "bad\0name.txt", "x" * 5000 + ".txt"])
def test_a_path_that_gives_no_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(ExplorerError) as caught:
        load_prompt_set(name, folders=[], base=tmp_path)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_fatal_problem_is_the_error_and_counts_the_others(tmp_path: Path) -> None:
    (tmp_path / "my set.csv").write_text("prompt,a\nx\ny\nz,1\n", encoding="utf-8")
    with pytest.raises(ExplorerError) as caught:
        load_prompt_set("my set.csv", folders=[], base=tmp_path)
    assert caught.value.where == f"{tmp_path / 'my set.csv'}:2"
    assert "+1 more" in str(caught.value)
    assert f"prompts check '{tmp_path / 'my set.csv'}'" in str(caught.value)


def test_a_name_is_looked_up_in_folders_and_a_path_from_the_base(tmp_path: Path) -> None:
    first, second, base = tmp_path / "1", tmp_path / "2", tmp_path / "base"
    for folder, name, text in (
        (first, "a.csv", "prompt\n1\n"),
        (second, "a.txt", "2"),
        (second, "b.jsonl", '"2b"'),
        (base, "a.txt", "3"),
    ):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    folders = [tmp_path / "none", first, second]
    assert [name for name, _ in available_prompt_sets(folders)] == ["a", "b"]
    loaded = [load_prompt_set(name, folders=folders, base=base) for name in ("a", "b", "a.txt", "../2/a.txt")]
    assert [texts(one) for one in loaded] == [["1"], ["2b"], ["3"], ["2"]]
    assert [one.path for one in loaded[:2]] == [path for _, path in available_prompt_sets(folders)]


def test_an_unknown_name_lists_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(ExplorerError, match=r"did you mean 'reasoning'.*certainty, reasoning, watching"):
        load_prompt_set("reasonin", folders=[SHIPPED], base=SHIPPED)


def test_shipped_sets_are_whole_and_without_problems() -> None:
    sets = {
        name: load_prompt_set(name, folders=[SHIPPED], base=SHIPPED) for name in ("reasoning", "watching", "certainty")
    }
    assert [len(one.prompts) for one in sets.values()] == [20, 30, 140]
    assert [one.problems for one in sets.values()] == [(), (), ()]
    assert all(4 <= len(prompt.text.split()) <= 25 for one in sets.values() for prompt in one.prompts)
    certainty = sets["certainty"]
    cells = {tuple(prompt.factors[name] for name in ("core_id", "type", "level")) for prompt in certainty.prompts}
    assert len(cells) == 7 * 4 * 5
    assert set(certainty.levels("type")) == {"observational", "declarative", "authoritative", "rhetorical"}
    assert certainty.levels("level") == ("1", "2", "3", "4", "5")
