from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_the_sets_that_ship_are_listed_with_their_factors(
    srm: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = {one["name"]: one for one in json.loads(srm("prompts", "list", "--json").out)["prompt_sets"]}
    assert (told["reasoning"]["prompts"], told["watching"]["prompts"]) == (20, 30)
    assert set(told["certainty"]["factors"]) == {"core_id", "type", "level"}
    lines = srm("prompts").out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", *told]


def test_an_own_set_comes_before_a_shipped_one_of_its_name(
    srm: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "reasoning.txt").write_text("one\ntwo\n")
    told = {one["name"]: one for one in json.loads(srm("prompts", "--json").out)["prompt_sets"]}
    assert told["reasoning"]["prompts"] == 2


def test_near_duplicates_and_equal_prompts_are_named_by_a_check_and_by_a_plan(
    srm: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.txt").write_text("The door opened and somebody stood there.\nA lamp fell over\nA dog\n")
    (tmp_path / "two.txt").write_text("the door opened, and somebody stood there\nA lamp fell over\nA cat\n")
    whole = tmp_path / "all.txt"
    whole.write_text((tmp_path / "one.txt").read_text() + (tmp_path / "two.txt").read_text())
    ended = srm("prompts", "check", whole)
    assert ended.status == 0
    for line, other in ((1, 4), (4, 1)):
        assert f"{whole}:{line}: nearly the text of line {other}" in ended.out
    assert f"{whole}:5: the same text as on line 2" in ended.out
    sets = ("--set", 'prompts.sets=["one.txt", "two.txt"]')
    assert "2 of 5 prompts are the same as another" in srm("controls", "quick", "--plan", *sets).out
    said = json.loads(srm("controls", "quick", "--plan", *sets, "--json").out)["warnings"]
    assert [line[:44] for line in said] == [
        "2 of 5 prompts are the same as another (`A l",
        "2 of 5 prompts are nearly another (`The door",
    ]


def test_every_problem_is_told_by_line_and_a_fatal_one_fails(srm: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_bytes(b"fine\nfine\nlost \xff byte\n")
    ended = srm("prompts", "check", path)
    assert ended.status == 1
    assert f"{path}:2: the same text as on line 1" in ended.out
    assert f"{path}:3: byte 6 of the line" in ended.out
    assert ended.err.count("\n") == 1
    told = json.loads(srm("prompts", "check", path, "--json").out)
    assert [(one["line"], one["fatal"]) for one in told["problems"]] == [(2, False), (3, True)]
    path.write_text("fine\nfine\n")
    assert srm("prompts", "check", path).status == 0


def test_a_set_can_be_checked_by_name(srm: Callable[..., Any]) -> None:
    ended = srm("prompts", "check", "certainty")
    assert (ended.status, ended.err) == (0, "")
    assert "grid · 140 prompts" in ended.out


@pytest.mark.parametrize("name", ["nosuch", "no/such.txt", "."])
def test_a_file_that_is_none_is_one_line(srm: Callable[..., Any], name: str) -> None:
    ended = srm("prompts", "check", name)
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)


def test_prompts_too_long_for_a_model_are_told_by_line(
    srm: Callable[..., Any], tmp_path: Path, tiny_gpt2_folder: Path
) -> None:
    path = tmp_path / "p.txt"
    path.write_text("short\n" + "door " * 400 + "\n")
    assert srm("prompts", "check", path).status == 0
    ended = srm("prompts", "check", path, "--model", tiny_gpt2_folder, "--tokens", 6)
    assert ended.status == 1
    assert f"{path}:2: the prompt has " in ended.out
    assert "at most 250 fit" in ended.out
    ended = srm("prompts", "check", path, "--model", tiny_gpt2_folder, "--tokens", 256)
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "choose at most 255" in ended.err


def test_a_column_and_a_chat_template_are_checked_as_a_run_would_use_them(
    srm: Callable[..., Any], tmp_path: Path, tiny_gpt2_folder: Path
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"question": "<|endoftext|>Is it open?"}\n')
    ended = srm("prompts", "check", path)
    assert ended.status == 1
    assert 'prompts.text = "question"' in ended.out
    ended = srm("prompts", "check", path, "--text-column", "question", "--model", tiny_gpt2_folder)
    assert ended.status == 0
    assert "a prompt begins with `<|endoftext|>`: it is not added a second time" in ended.out
    ended = srm("prompts", "check", path, "--text-column", "question", "--chat-template")
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert "--model" in ended.err
    ended = srm("prompts", "check", path, "--text-column", "question", "--chat-template", "--model", tiny_gpt2_folder)
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert "no chat template" in ended.err


def test_positions_are_shown_as_what_they_are_in_each_prompt(
    srm: Callable[..., Any], tmp_path: Path, tiny_gpt2_folder: Path
) -> None:
    path = tmp_path / "p.txt"
    path.write_text("The door\nNo way\n")
    last = srm("prompts", "check", path, "--model", tiny_gpt2_folder, "--positions", "-1")
    assert last.status == 0
    assert re.search(rf"^{re.escape(str(path))}:1: \d+ \".*\"$", last.out, re.MULTILINE)
    first = ("prompts", "check", path, "--model", "demo", "--positions")
    bare, after_bos = (srm(*first, at, "--prepend-bos", bos).out for at, bos in (("0", "false"), ("1", "true")))
    assert bare.replace(":1: 0 ", ":1: 1 ").replace(":2: 0 ", ":2: 1 ") == after_bos, "the BOS is counted"
    token = ("prompts", "check", path, "--model", tiny_gpt2_folder, "--positions", 'token " door"')
    ended = srm(*token)
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert f'{path}:2: no token of it is " door"' in ended.out
    told = json.loads(srm(*token, "--json").out)
    assert [(one["line"], one["from"]) for one in told["positions"]] == [(1, None)]
    assert [problem["line"] for problem in told["problems"]] == [2]
    for choice, what in (("prompt", "means the same in every prompt"), ("dor", "no choice of positions")):
        assert what in srm("prompts", "check", path, "--model", tiny_gpt2_folder, "--positions", choice).err
    assert "--model" in srm("prompts", "check", path, "--positions", "-1").err
