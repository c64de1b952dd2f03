"""Files that people have for other programs: lists of JSON, data sets, tables under a wrong name."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.prompts import PromptSet, add_prompts, load_prompt_set, read_prompt_set

TURNS = [{"role": "user", "content": "Is it open?"}, {"role": "assistant", "content": "It is"}]


def read(tmp_path: Path, content: str, name: str, column: str | None = None) -> PromptSet:
    (tmp_path / name).write_text(content, encoding="utf-8")
    return read_prompt_set(tmp_path / name, column)


def texts(prompt_set: PromptSet) -> list[str]:
    return [prompt.text for prompt in prompt_set.prompts]


def fatal(prompt_set: PromptSet) -> list[str]:
    return [str(problem) for problem in prompt_set.problems if problem.fatal]


def warnings(prompt_set: PromptSet) -> list[tuple[int, str]]:
    return [(problem.line, f"{problem.what}; {problem.remedy}") for problem in prompt_set.problems]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2)
)
records = st.dictionaries(st.sampled_from(["level", "type", "kind"]), values, max_size=3)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    items=st.lists(st.tuples(st.text("ab ,[]{}\"'\\:é#-", min_size=1).filter(str.strip), records), min_size=1),
    wrap=st.sampled_from(["list", "object", "table"]),
    indent=st.sampled_from([None, 2]),
)
def test_a_json_file_reads_as_the_same_records_a_line_each(
    tmp_path: Path, items: list[tuple[str, dict[str, Any]]], wrap: str, indent: int | None
) -> None:
    listed = [{"prompt": text, **record} for text, record in items]
    whole: object = listed
    if wrap == "object":
        whole = {"about": 3, "rows": listed}
    elif wrap == "table":
        names = list(dict.fromkeys(name for record in listed for name in record))
        whole = {name: [record.get(name) for record in listed] for name in names}
    lines = read(tmp_path, "\n".join(json.dumps(record) for record in listed), "set.jsonl")
    got = read(tmp_path, json.dumps(whole, indent=indent), "set.json")
    assert got.prompts == lines.prompts
    assert got.format == "json"
    assert len(got.problems) == len(lines.problems)
    if indent and wrap != "table":
        written = (tmp_path / "set.json").read_text().splitlines()
        assert [written[prompt.line - 1].strip() for prompt in got.prompts] == ["{"] * len(items)


def test_a_list_of_strings_or_of_conversations_is_read_from_any_object_that_has_no_other(tmp_path: Path) -> None:
    assert texts(read(tmp_path, '[\n"a",\n  "b "\n]', "set.json")) == ["a", "b "]
    assert [prompt.line for prompt in read(tmp_path, '[\n"a",\n  "b"\n]', "set.json").prompts] == [2, 3]
    assert texts(read(tmp_path, '{"of": "x", "anything": ["a"]}', "set.json")) == ["a"]
    assert texts(read(tmp_path, '{"others": ["z"], "prompts": ["a"]}', "set.json")) == ["a"]
    assert texts(read(tmp_path, '{"prompt": "a"}\n{"prompt": "b"}\n', "set.json")) == ["a", "b"], "JSONL by content"
    got = read(tmp_path, json.dumps({"data": [TURNS, TURNS[:1]]}), "set.json")
    assert texts(got) == ["user: Is it open?\nassistant: It is", "Is it open?"]
    assert got.prompts[0].turns == (("user", "Is it open?"), ("assistant", "It is"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"a": ["x"], "b": ["y"]}', "several lists: `a, b`; name the one that holds the prompts: prompts.text ="),
        ('{"question": "x"}', "no key `prompt` or `text`; there is `question`; name the one that holds the prompts: "),
        ('[\n{"prompt": "x"},\n[1]]', "set.json:3: `[1]` is no object"),
        ("[1]", "`1` is no object and no string"),
        ("[]", "no prompt"),
        ("[\n'a']", "set.json:2: this is not JSON"),
        ("[" * 100_000, "too deeply nested"),
        ('{"prompt": "a", "prompt": "b"}', "twice"),
        ("", "this is not JSON"),
        ("3", "no object"),
        ('[{"messages": [{"role": "user"}]}]', 'write {"messages": [{"role"'),
    ],
)
def test_what_no_list_can_be_taken_from_is_one_line_with_the_key_to_give(
    tmp_path: Path, content: str, says: str
) -> None:
    (line,) = fatal(read(tmp_path, content, "set.json"))
    assert says in line


def test_the_column_that_is_named_holds_the_prompts_and_the_rest_are_factors(tmp_path: Path) -> None:
    got = read(tmp_path, "Goal;prompt\nopen it;x\n", "set.csv", "goal")
    assert (texts(got), dict(got.prompts[0].factors)) == (["open it"], {"prompt": "x"})
    assert texts(read(tmp_path, '{"q": "a"}\n{"q": "b"}', "set.jsonl", "q")) == ["a", "b"]
    assert texts(read(tmp_path, '{"a": ["x"], "b": ["y"]}', "set.json", "b")) == ["y"]
    assert texts(read(tmp_path, "plain\n", "set.txt", "q")) == ["plain"], "lines have no columns"
    got = read(tmp_path, json.dumps({"text": "x", "chat": TURNS}), "set.jsonl", "chat")
    assert got.prompts[0].turns[1] == ("assistant", "It is")
    for name, content in (("set.csv", "prompt,b\nx,y\n"), ("set.jsonl", '{"prompt": "x"}')):
        (line,) = fatal(read(tmp_path, content, name, "question"))
        assert "`question`" in line
        assert 'prompts.text = "prompt" (`prompts check --text-column' in line


def test_a_column_of_lists_is_left_out_once_and_the_prompts_are_used(tmp_path: Path) -> None:
    lines = [{"prompt": "a", "votes": ["x"], "n": 1}, {"prompt": "b", "votes": "one"}, {"prompt": "c", "votes": {}}]
    got = read(tmp_path, "\n".join(map(json.dumps, lines)), "set.jsonl")
    assert [dict(prompt.factors) for prompt in got.prompts] == [{"n": "1"}, {}, {}]
    assert warnings(got) == [
        (1, "the values of `votes` are lists or objects (line 1 and 1 more); the column is left out")
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('[\n  "The door",\n  "The wall"\n]\n', "like JSON"),
        ('{"question": "a"}\n{"question": "b"}\n', "like JSON"),
        ("goal,target\nOpen it,yes\n", "name it .csv"),
        ("goal\ttarget\nOpen it, now\tyes\n", "name it .tsv"),
        ("- The door\n- The wall\n", "like YAML"),
        ("prompts:\n- The door\n", "like YAML"),
        ("---\na: b\n", "like YAML"),
    ],
)
def test_lines_that_look_like_another_format_are_read_with_a_warning(tmp_path: Path, content: str, says: str) -> None:
    got = read(tmp_path, content, "set.txt")
    assert [what for _, what in warnings(got) if says in what]
    assert len(got.prompts) == content.count("\n")


@pytest.mark.parametrize(
    "content",
    [
        "If it rains, the street\nIf it snows, the roof\n",
        "One, two, three\nFour, five, six\n",
        "[He said]\nIt is so.\n",
        "- No, he said\nYes\n",
        "Q: why\nA: since\n",
        "The door\n",
    ],
)
def test_prose_looks_like_nothing_else(tmp_path: Path, content: str) -> None:
    assert not read(tmp_path, content, "set.txt").problems


def test_comments_are_told_of_and_a_backslash_makes_a_prompt_of_one(tmp_path: Path) -> None:
    got = read(tmp_path, "# a heading\n#include <stdio.h>\none\n##\n\\#two\n\\\\#three\n\\four\n", "set.txt")
    assert texts(got) == ["one", "#two", "\\#three", "\\four"]
    assert [(line, "`\\#`" in what) for line, what in warnings(got)] == [(1, True), (4, True)]
    assert "lines 1 to 2 begin" in got.problems[0].what


def test_what_nobody_sees_is_reported_by_line_in_every_format(tmp_path: Path) -> None:
    odd = ["a\u00a0b", "\u200bc", "d\u2028e", "f\u202eg", "h\ufeffi"]
    for name, content in (
        ("set.txt", "\n".join(["plain", *odd, "\u2764\ufe0f seen", "見\u3000本"])),
        ("set.jsonl", "\n".join(json.dumps(text) for text in ["plain", *odd])),
        ("set.json", json.dumps(["plain", *odd], indent=0).replace("[\n", "[")),
    ):
        got = read(tmp_path, content, name)
        assert [line for line, what in warnings(got) if "nobody sees" in what] == [2, 3, 4, 5, 6]
        assert "U+00A0 no-break space" in got.problems[0].what
        assert not fatal(got)


def test_templates_are_told_of_once(tmp_path: Path) -> None:
    file = tmp_path / "facts.jsonl"
    rows = [
        {"prompt": "{} speaks", "subject": "Danielle"},
        {"prompt": "Paris is"},
        {"prompt": "{} is"},
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert [(problem.line, problem.fatal) for problem in read_prompt_set(file).problems] == [(1, False)]
    assert "{} in 2 of 3 prompts" in read_prompt_set(file).problems[0].what


@pytest.mark.parametrize(
    ("name", "says"), [("a.yaml", "YAML is not read"), ("a.yml", "YAML"), ("a.toml", "a .toml file")]
)
def test_an_extension_that_says_nothing_is_no_licence_to_read_lines(tmp_path: Path, name: str, says: str) -> None:
    got = read(tmp_path, "- prompt: The door\n- prompt: The wall\n", name)
    assert not got.prompts
    assert says in fatal(got)[0]
    with pytest.raises(ExplorerError, match=says):
        load_prompt_set(f"./{name}", folders=[], base=tmp_path)


def test_the_same_text_as_a_prompt_and_as_a_conversation_are_two(tmp_path: Path) -> None:
    turn = {"messages": TURNS[:1]}
    got = read(tmp_path, "\n".join(json.dumps(one) for one in ({"prompt": "Is it open?"}, turn, turn)), "set.jsonl")
    assert [line for line, what in warnings(got) if "same text" in what] == [3]
    assert len({PromptSet("s", (prompt,), Path("s"), "jsonl").sha256 for prompt in got.prompts}) == 2


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of data sets as the `datasets` library lays it out, written by pyarrow alone."""
    pa: Any = pytest.importorskip("pyarrow")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for split, shards in (("train", [["a", "b"], ["c"]]), ("test", [["d"]])):
        folder = tmp_path / "cache" / "org___doors" / "default" / "0.0.0" / "f00"
        folder.mkdir(parents=True, exist_ok=True)
        for number, shard in enumerate(shards):
            name = f"doors-{split}" + (f"-{number:05d}-of-{len(shards):05d}" if len(shards) > 1 else "")
            columns = {"prompt": shard, "n": list(range(len(shard))), "votes": [["x"]] * len(shard)}
            table = pa.table(columns)
            with pa.OSFile(str(folder / f"{name}.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
                out.write_table(table)
    return tmp_path


def test_a_cached_data_set_is_read_split_by_split_with_all_its_shards(cached: Path) -> None:
    got = load_prompt_set("hf:org/doors:train", folders=[], base=cached)
    assert [(prompt.text, dict(prompt.factors), prompt.line) for prompt in got.prompts] == [
        ("a", {"n": "0"}, 1),
        ("b", {"n": "1"}, 2),
        ("c", {"n": "0"}, 3),
    ]
    assert (got.name, got.format) == ("hf:org/doors:train", "dataset")
    assert [what for _, what in warnings(got)] == [
        "the values of `votes` are lists or objects (line 1 and 2 more); the column is left out"
    ]
    assert texts(load_prompt_set("hf:org/doors:default:test", folders=[], base=cached)) == ["d"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("hf:org/doors", "names no split; choose from test, train"),
        ("hf:org/doors:dev", "no split `dev`; choose from test, train"),
        ("hf:org/doors:main:test", "no configuration `main`; choose from default"),
        ("hf:org/walls", "load_dataset('org/walls')"),
        ("hf:../..", "no cached data set"),
        ("hf:", "no cached data set"),
    ],
)
def test_a_data_set_that_is_not_in_the_cache_is_one_line(cached: Path, name: str, says: str) -> None:
    with pytest.raises(ExplorerError) as caught:
        load_prompt_set(name, folders=[], base=cached)
    assert says in str(caught.value)


def test_parquet_is_read_row_by_row_and_a_broken_one_is_one_line(tmp_path: Path) -> None:
    pq: Any = pytest.importorskip("pyarrow.parquet")
    pa: Any = pytest.importorskip("pyarrow")
    path = tmp_path / "set.parquet"
    pq.write_table(
        pa.table({"id": [1, 2], "question": ["Is it this red door?", None], "chat": [TURNS, TURNS[:1]]}), path
    )
    assert 'prompts.text = "question"' in fatal(read_prompt_set(path))[0]
    got = read_prompt_set(path, "chat")
    assert [prompt.turns for prompt in got.prompts] == [
        tuple((t["role"], t["content"]) for t in TURNS),
        (("user", "Is it open?"),),
    ]
    got = read_prompt_set(path, "question")
    assert (texts(got), got.problems[-1].line, fatal(got)[0].count("no string")) == (
        ["Is it this red door?"],
        2,
        1,
    )
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ExplorerError, match="can't be read"):
        read_prompt_set(path)


def followed(tmp_path: Path, content: str, name: str) -> PromptSet:
    """The set as it is read once its one remedy was done to the letter."""
    (line, *_) = fatal(read(tmp_path, content, name))
    column = line.split('prompts.text = "')[1].split('"')[0]
    got = read(tmp_path, content, name, column)
    assert not fatal(got)
    return got


TRIVIA = {"id": "Q1", "type": "open", "question": "Which of these doors is open?", "choices": {"text": ["a"]}}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.jsonl", json.dumps(TRIVIA)),
        ("q.csv", 'id,type,question,answer\nQ1,open,Which of these doors is open?,"The left one, I think it is"\n'),
        ("q.jsonl", json.dumps({"id": "Q1", "question": {"stem": TRIVIA["question"], "choices": []}})),
        ("q.jsonl", json.dumps({"file": "f", "prompt": {"text": TRIVIA["question"], "toxicity": 0.1}})),
        ("q.json", json.dumps({"keywords": ["of doors"], "examples": [{"input": TRIVIA["question"]}] * 2})),
        ("q.json", json.dumps({"train": [{"prompt": TRIVIA["question"]}], "test": [{"prompt": "x"}]})),
        ("q.json", json.dumps({"features": [{"name": "id"}] * 3, "rows": [{"row": {"prompt": TRIVIA["question"]}}]})),
        ("q.json", json.dumps({"version": "2", "data": [{"title": "Doors", "paragraphs": [{"qas": [TRIVIA]}]}]})),
        ("q.jsonl", json.dumps({"id": "1", "body": {"messages": [{"role": "user", "content": TRIVIA["question"]}]}})),
        ("q.csv", f"satz;typ\n{TRIVIA['question']};x\nDoors, all of them;y\n"),
    ],
)
def test_the_remedy_names_the_field_that_holds_a_text_and_works_as_it_is_written(
    tmp_path: Path, name: str, content: str
) -> None:
    assert TRIVIA["question"] in texts(followed(tmp_path, content, name))


def test_a_key_of_an_object_within_is_named_by_its_path_and_its_neighbours_are_factors(tmp_path: Path) -> None:
    got = read(tmp_path, json.dumps({"n": 1, "prompt": {"text": "a", "score": 0.5}}), "set.jsonl", "prompt.text")
    assert (texts(got), dict(got.prompts[0].factors)) == (["a"], {"prompt.score": "0.5", "n": "1"})
    assert texts(read(tmp_path, "a.b,b\nx,y\n", "set.csv", "a.b")) == ["x"], "a name with a point is a name first"
    assert texts(read(tmp_path, '{"a.b": "x", "a": {"b": "y"}}', "set.jsonl", "a.b")) == ["x"]
    read(tmp_path, json.dumps({"prompt": {"text": "a"}}), "set.jsonl", "prompt.text")
    with pytest.raises(ExplorerError, match="edit the file"):
        add_prompts(tmp_path / "set.jsonl", ["b"], column="prompt.text")


def test_columns_as_pandas_writes_them_and_turns_with_from_and_value_are_read(tmp_path: Path) -> None:
    got = read(tmp_path, json.dumps({"prompt": {"0": "a", "1": "b"}, "n": {"0": 1, "1": 2}}), "set.json")
    assert [(prompt.text, dict(prompt.factors)) for prompt in got.prompts] == [("a", {"n": "1"}), ("b", {"n": "2"})]
    said = [{"from": "system", "value": "short"}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
    got = read(tmp_path, json.dumps({"conversations": said}), "set.jsonl")
    assert got.prompts[0].turns == (("system", "short"), ("user", "Hi"), ("assistant", "Ho"))
    assert not warnings(got)
    said[2]["from"] = "bing"
    got = read(tmp_path, json.dumps({"conversations": said}), "set.jsonl")
    assert [what for _, what in warnings(got) if "`bing` is none of system, user, assistant, tool" in what]


def test_a_path_that_leads_through_lists_gives_a_prompt_for_each_of_their_items(tmp_path: Path) -> None:
    asked = {"title": "Doors", "paragraphs": [{"context": "c", "qas": [{"q": "a"}, {"q": "b"}]}, {"qas": [{"q": "d"}]}]}
    told = {"title": "Doors", "paragraphs.context": "c"}
    for name, content, column in (
        ("set.json", {"data": [asked], "version": 1}, "data.paragraphs.qas.q"),
        ("set.jsonl", asked, "paragraphs.qas.q"),
    ):
        got = read(tmp_path, json.dumps(content), name, column)
        assert [(prompt.text, dict(prompt.factors)) for prompt in got.prompts] == [
            ("a", told),
            ("b", told),
            ("d", {"title": "Doors"}),
        ]


def test_tables_of_pandas_by_row_a_bare_conversation_and_a_systems_message_beside_one_are_read(
    tmp_path: Path,
) -> None:
    rows = [{"prompt": "a", "n": 1}, {"prompt": "b", "n": 2}]
    split = {"columns": ["prompt", "n"], "index": [0, 1], "data": [["a", 1], ["b", 2]]}
    for table in ({"0": rows[0], "1": rows[1]}, split):
        got = read(tmp_path, json.dumps(table), "set.json")
        assert [(prompt.text, dict(prompt.factors)) for prompt in got.prompts] == [("a", {"n": "1"}), ("b", {"n": "2"})]
    (prompt,) = read(tmp_path, json.dumps(TURNS), "set.json").prompts
    assert prompt.turns == tuple((turn["role"], turn["content"]) for turn in TURNS)
    beside = {"system": "Be brief.", "conversations": [{"from": "human", "value": "Hi"}]}
    (prompt,) = read(tmp_path, json.dumps(beside), "set.jsonl").prompts
    assert (prompt.turns, dict(prompt.factors)) == ((("system", "Be brief."), ("user", "Hi")), {})


def test_prompts_by_name_are_no_record_of_which_one_alone_would_be_read(tmp_path: Path) -> None:
    for content in ({"door": "The man looked", "lock": "Nobody looked"}, {"a": {"prompt": "x"}, "b": {"prompt": "y"}}):
        (line,) = fatal(read(tmp_path, json.dumps(content), "set.json"))
        assert 'write its prompts as a list, ["…", "…"]' in line
        assert texts(read(tmp_path, json.dumps(list(content.values())), "set.json"))


def test_a_saved_data_set_is_a_folder_with_files_that_are_read(tmp_path: Path) -> None:
    pa: Any = pytest.importorskip("pyarrow")
    table = pa.table({"prompt": ["a", "b"]})
    for number, make in enumerate((pa.ipc.new_stream, pa.ipc.new_file)):
        path = tmp_path / f"saved-{number}" / "data-00000-of-00001.arrow"
        path.parent.mkdir()
        with pa.OSFile(str(path), "wb") as sink, make(sink, table.schema) as out:
            out.write_table(table)
        with pytest.raises(ExplorerError) as caught:
            read_prompt_set(path.parent)
        assert str(caught.value).endswith(f"give the path of a file in it: {path}")
        assert texts(load_prompt_set(path.name, folders=[], base=path.parent)) == ["a", "b"]


def test_a_table_parted_by_bars_or_after_a_line_that_says_its_delimiter_is_read(tmp_path: Path) -> None:
    for content in ("prompt|type\na, b|x\n", "sep=;\nprompt;type\na, b;x\n"):
        got = read(tmp_path, content, "set.csv")
        assert (texts(got), dict(got.prompts[0].factors)) == (["a, b"], {"type": "x"})


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("set.csv", b"Is it open?,0,4,B\nIs it shut?,1,2,C\n", "names no columns: `Is it open?, 0, 4, B`; put a line"),
        ("set.csv", b"The man opened the door\nNobody looked\n", "names no columns: `The man opened the door`; put"),
        (
            "set.csv",
            "prompt,type\na,x\n".encode("utf-16-le"),
            "looks like UTF-16 text, not UTF-8; save",
        ),
        ("set.txt", b"p.txt".ljust(257, b"\0") + b"ustar".ljust(255, b"\0") + b"a", "a tar file, not text; unpack it"),
        ("set.jsonl", gzip.compress(b'{"prompt": "a"}', mtime=0), "a gzip file, not text; unpack it"),
        ("set.jsonl.gz", gzip.compress(b'{"prompt": "a"}', mtime=0), "a gzip file, not text; unpack it"),
        ("set.xlsx", b"PK\x03\x04\x14\x00", "a zip file, not text; unpack it, or save a spreadsheet as CSV"),
        (
            "set.jsonl",
            b'{"messages": [{"role": "user", "content": [{"type": "text"}]}]}',
            'write {"messages": [{"role"',
        ),
    ],
)
def test_what_cannot_be_read_says_what_it_is(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    (line,) = fatal(read_prompt_set(tmp_path / name))
    assert says in line


def test_lines_of_a_text_with_labels_or_ends_of_texts_are_read_with_a_warning(tmp_path: Path) -> None:
    for content, says in (
        ("3\tA good film.\n1\tA bad film.\n", "a table without a heading"),
        ("Once.\nIt was.\n<|endoftext|>\nTwice.\n", "texts that <|endoftext|> parts"),
        ("| prompt | type |\n|---|---|\n| Once. | x |\n", "a table of Markdown"),
        ("1. Once.\n2. Twice.\n", "YAML, or a list"),
        ("* Once.\n* Twice.\n", "YAML, or a list"),
    ):
        assert [what for _, what in warnings(read(tmp_path, content, "set.txt")) if says in what]


SETS = {"animals": ["The cat sat on it", "A dog ran off"], "tools": ["Take the hammer now", "Use a saw for it"]}


@pytest.mark.parametrize("more", [[], ["One more of these"]])
@pytest.mark.parametrize(
    ("name", "column"), [("animals", None), ("animals", "animals"), ("prompt", None), ("prompts", None)]
)
def test_sets_of_prompts_in_one_file_are_refused_or_what_is_read_of_them_is_told(
    tmp_path: Path, name: str, column: str | None, more: list[str]
) -> None:
    """Lists of one length may be a table's columns: those of sentences may be another set."""
    sets = {name: SETS["animals"], "tools": [*SETS["tools"], *more]}
    column = column and name
    got = read(tmp_path, json.dumps(sets), "set.json", column)
    if name == "animals" and column is None:
        assert "the object has several lists: `animals, tools`" in fatal(got)[0]
        return
    assert texts(got) == SETS["animals"]
    ((line, told),) = warnings(got)
    assert line == 1
    if more or (name == "prompts" and column is None):
        assert told.startswith(f"only the list `{name}` is read, and not `tools`; ")
    else:
        assert told.startswith("lists of one length are a table: `tools` holds no prompts")
        assert [prompt.factors["tools"] for prompt in got.prompts] == SETS["tools"]


def test_columns_of_a_table_that_are_no_sentences_are_not_remarked(tmp_path: Path) -> None:
    table = {"prompt": SETS["animals"], "subject": ["the cat", "a dog"], "kind": ["small and soft today"] * 2}
    assert warnings(read(tmp_path, json.dumps(table), "set.json")) == []
