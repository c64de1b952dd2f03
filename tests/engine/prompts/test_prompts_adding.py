"""A prompt added to a file is there when the file is read again, and nothing else has changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import sampled_from, text

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.prompts import Prompt, add_prompts, read_prompt_set

FILES = {
    "plain.txt": "# remark\nFirst\n\nSecond",
    "crlf.txt": "First\r\nSecond\r\n",
    "table.csv": 'core_id,prompt,level\ndoor,"A door, open",1\nlamp,A lamp,2\n',
    "semicolon.csv": "# remark\nprompt;type\nA door;plain\n",
    "table.tsv": "type\ttext\nplain\tA door",
    "objects.jsonl": '{"text": "A door", "level": 3}\n{"text": "A lamp", "level": 4}\n',
    "strings.jsonl": '"A door"\n"A lamp"\n',
    "grid.txt": ">> CORE_ID: door\n[LEVEL 1]\n  plain: A door.\n  grand: Lo, a door.\n[LEVEL 2]\n  plain: The door.\n",
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    sampled_from(sorted(FILES)), text(min_size=1, max_size=30) | sampled_from(["# no", ">> CORE_ID: x", '{"text": 1}'])
)
def test_a_prompt_is_added_whole_or_the_file_stays_as_it_was(tmp_path: Path, name: str, typed: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name].encode())
    before = read_prompt_set(path)
    like = before.prompts[0]
    refused: ExplorerError | None = None
    after = before
    try:
        after = add_prompts(path, [typed], like)
    except ExplorerError as error:
        refused = error
    if refused is not None:
        assert path.read_bytes() == FILES[name].encode()
        assert refused.remedy
        assert str(refused).isprintable()
        return
    assert after.prompts == read_prompt_set(path).prompts
    place = after.prompts.index(Prompt(after_text := _added(before.prompts, after.prompts), like.factors))
    assert after_text == typed.strip()
    assert (*after.prompts[:place], *after.prompts[place + 1 :]) == before.prompts


def _added(before: tuple[Prompt, ...], after: tuple[Prompt, ...]) -> str:
    texts = [prompt.text for prompt in after]
    for prompt in before:
        texts.remove(prompt.text)
    (added,) = texts
    return added


def test_a_new_line_has_the_line_end_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "crlf.txt"
    path.write_bytes(b"\xef\xbb\xbfFirst\r\nSecond")
    add_prompts(path, ["Third"])
    assert path.read_bytes() == b"\xef\xbb\xbfFirst\r\nSecond\r\nThird\r\n"


def test_a_prompt_that_begins_like_a_comment_is_written_with_a_backslash(tmp_path: Path) -> None:
    path = tmp_path / "set.txt"
    path.write_text("First\n")
    for typed in ("#include", "\\#", "\\x"):
        assert add_prompts(path, [typed]).prompts[-1].text == typed
    assert path.read_text() == "First\n\\#include\n\\\\#\n\\x\n"


def test_in_a_grid_the_type_can_be_written_and_the_text_follows_its_like(tmp_path: Path) -> None:
    path = tmp_path / "grid.txt"
    path.write_text(FILES["grid.txt"])
    whole = read_prompt_set(path)
    after = add_prompts(path, ["grand: Lo, the door: open."], whole.prompts[2])
    assert after.prompts[3] == Prompt("Lo, the door: open.", {"core_id": "door", "type": "grand", "level": "2"})
    assert add_prompts(path, ["Yes: it is one."], whole.prompts[2]).prompts[3].text == "Yes: it is one."
    assert path.read_text().splitlines()[6] == "  plain: Yes: it is one."


@pytest.mark.parametrize(
    ("name", "content", "typed", "told"),
    [
        ("a.txt", "First\n", ">> CORE_ID: x", "would not be read as one prompt"),
        ("a.txt", "First\n", "  ", "empty"),
        ("a.txt", "First\n", "bell \x07", "U+0007"),
        ("a.txt", "First\n", "half \ud800", "half a character"),
        ("a.csv", "text\n", "two\nlines", ""),
        ("a.csv", 'prompt,type\nFirst,"x\n', "Second", "close every quote"),
        ("a.csv", "", "Second", "no header"),
    ],
)
def test_a_text_that_the_file_cannot_hold_is_refused(
    tmp_path: Path, name: str, content: str, typed: str, told: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    if not told:
        assert add_prompts(path, [typed]).prompts[-1].text == typed
        return
    with pytest.raises(ExplorerError, match=told.replace("+", r"\+")):
        add_prompts(path, [typed])
    assert path.read_text() == content
