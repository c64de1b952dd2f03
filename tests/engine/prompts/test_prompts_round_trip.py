"""Whatever is written in one of the four formats is read back as it was."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srm_explorer.engine.prompts import Prompt, read_prompt_set

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

characters = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufeff")
texts = st.text(st.one_of(characters, st.sampled_from(' ",;\t\n#:>[]*')), min_size=1, max_size=30).filter(str.strip)
one_line = texts.map(lambda text: " ".join(text.split())).filter(bool)
levels = st.text(characters, max_size=8).map(str.strip)
words = st.text("abcdeéßж观_", min_size=1, max_size=8).filter(lambda word: word.strip("_") == word)
kinds = st.lists(words.filter(lambda word: word[:1].isalpha()), min_size=1, max_size=3).map(" ".join)


@st.composite
def tables(draw: st.DrawFn) -> list[Prompt]:
    names = draw(st.lists(words.filter(lambda word: word not in ("prompt", "text")), max_size=3, unique=True))
    row = st.tuples(texts, st.tuples(*(levels for _ in names)))
    return [
        Prompt(text, dict(zip(names, row, strict=True))) for text, row in draw(st.lists(row, min_size=1, max_size=6))
    ]


@quick
@given(prompts=tables(), mark=st.sampled_from(",;\t"), end=st.sampled_from(["\n", "\r\n"]), bom=st.booleans())
def test_csv_keeps_texts_levels_and_order(
    tmp_path: Path, prompts: list[Prompt], mark: str, end: str, bom: bool
) -> None:
    names = list(prompts[0].factors)
    written = io.StringIO(newline="")
    # A header of one column names no delimiter, so it is the comma.
    writer = csv.writer(written, delimiter=mark if names else ",", lineterminator=end)
    writer.writerow([*names[:1], "Prompt", *names[1:]])
    for prompt in prompts:
        row = list(prompt.factors.values())
        writer.writerow([*row[:1], prompt.text, *row[1:]])
    path = tmp_path / "set.csv"
    path.write_bytes(written.getvalue().encode("utf-8-sig" if bom else "utf-8"))
    read = read_prompt_set(path)
    assert [problem for problem in read.problems if problem.fatal] == []
    assert list(read.prompts) == prompts
    assert read.format == "csv"


@quick
@given(prompts=tables(), ascii_only=st.booleans())
def test_jsonl_keeps_texts_levels_and_order(tmp_path: Path, prompts: list[Prompt], ascii_only: bool) -> None:
    lines = [json.dumps({**p.factors, "text": p.text}, ensure_ascii=ascii_only) for p in prompts]
    path = tmp_path / "set.jsonl"
    path.write_bytes("\n".join(lines).encode())
    read = read_prompt_set(path)
    assert list(read.prompts) == prompts
    assert [prompt.line for prompt in read.prompts] == list(range(1, len(prompts) + 1))


@quick
@given(
    lines=st.lists(one_line.filter(lambda line: line[0] not in "#>{"), min_size=1, max_size=8),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_plain_keeps_texts_and_order(tmp_path: Path, lines: list[str], end: str) -> None:
    path = tmp_path / "set.txt"
    path.write_bytes(end.join(lines).encode())
    read = read_prompt_set(path)
    assert [(prompt.text, prompt.line) for prompt in read.prompts] == [(line, i) for i, line in enumerate(lines, 1)]


cells = st.tuples(words, kinds, st.integers(1, 9))
styles = st.sampled_from(
    [
        (">> CORE_ID: {}", "[LEVEL {}]", "{}: {}"),
        (">>core_id:{}", "[Level {} - some]", "  {}:{}"),
        ("**>> Core ID: {}**", "**[LEVEL: {}]**", "- **{}:** {}"),
        (">> CORE-ID {}", "[LEVEL{}]", "3. {}： {}"),
    ]
)


@quick
@given(
    grid=st.dictionaries(cells, one_line.filter(lambda text: text[0] not in "*_`/"), min_size=1, max_size=8),
    style=styles,
)
def test_a_grid_keeps_every_cell_in_any_spelling(
    tmp_path: Path, grid: dict[tuple[str, str, int], str], style: tuple[str, str, str]
) -> None:
    core_line, level_line, text_line = style
    lines = ["A preface: with a colon.", "[LEVEL 7]", "observational: before the first core", "---"]
    for (core, kind, level), text in grid.items():
        lines += [core_line.format(core), "---", ">> PROPOSITION: a: b", "", level_line.format(level), ""]
        lines += [text_line.format(kind, text), "# remark: no text"]
    path = tmp_path / "set.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    read = read_prompt_set(path)
    assert [problem for problem in read.problems if problem.fatal] == []
    assert [(p.factors["core_id"], p.factors["type"], p.factors["level"], p.text) for p in read.prompts] == [
        (core, kind.lower(), str(level), text) for (core, kind, level), text in grid.items()
    ]
    assert read.format == "grid"


fragments = st.sampled_from(
    [
        b">> CORE_ID: a\n",
        b"[LEVEL 1]\n",
        b"x: y\n",
        b"prompt,a\n",
        b'{"prompt": "a"}\n',
        b"\xff",
        b"\0",
        b'"',
        b"\r",
        b"{",
        b"\xef\xbb\xbf",
    ]
)


@settings(quick, max_examples=200)
@given(
    data=st.one_of(
        st.binary(max_size=80), st.lists(st.one_of(fragments, st.binary(max_size=8)), max_size=12).map(b"".join)
    ),
    extension=st.sampled_from([".txt", ".csv", ".tsv", ".jsonl", ".md", ""]),
)
def test_any_bytes_give_prompts_or_problems_on_lines_of_the_file(tmp_path: Path, data: bytes, extension: str) -> None:
    path = tmp_path / f"set{extension}"
    path.write_bytes(data)
    read = read_prompt_set(path)
    last = max(1, data.count(b"\n") + data.count(b"\r") + 1)
    assert all(1 <= problem.line <= last for problem in read.problems)
    assert all(1 <= prompt.line <= last for prompt in read.prompts)
    assert read.prompts or any(problem.fatal for problem in read.problems)
    assert all("\n" not in str(problem) and str(problem).isprintable() for problem in read.problems)


@pytest.mark.parametrize("extension", [".csv", ".jsonl"])
def test_a_text_of_a_megabyte_is_read_whole(tmp_path: Path, extension: str) -> None:
    text = "a window " * 120_000
    path = tmp_path / f"long{extension}"
    path.write_text(f'prompt\n"{text}"\n' if extension == ".csv" else json.dumps({"prompt": text}), encoding="utf-8")
    assert [prompt.text for prompt in read_prompt_set(path).prompts] == [text]
    assert csv.field_size_limit() == 131072
