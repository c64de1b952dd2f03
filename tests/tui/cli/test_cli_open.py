from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_without_a_terminal_the_full_screen_says_what_to_do_instead(srm: Callable[..., Any]) -> None:
    ended = srm()
    assert ended.status == 2
    assert ended.out == ""
    assert ended.err == (
        "srm-explorer: the full screen needs a terminal; `srm-explorer --help` lists the commands that do without one\n"
    )


def test_open_needs_a_terminal_too(srm: Callable[..., Any], save: Callable[..., Any]) -> None:
    save("storm")
    assert srm("open", "storm").status == 2
    assert srm("open").status == 2


def test_what_cannot_be_opened_is_told_before_the_screen(srm: Callable[..., Any], save: Callable[..., Any]) -> None:
    save("storm")
    for arguments, told in (
        (("strom",), "did you mean 'storm'?"),
        (("--spec", "demmo"), "there is no preset 'demmo'"),
        (("--prompts", "nowhere.txt"), "nowhere.txt"),
    ):
        ended = srm("open", *arguments)
        assert ended.status == 1
        assert told in ended.err
        assert ended.err.count("\n") == 1


def test_prompts_and_a_spec_open_the_screen_without_a_command_too(srm: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("A prompt\n")
    alone = srm()
    assert (srm("--prompts", str(file)).err, srm("--spec", "quick").err) == (alone.err, alone.err)
    ended = srm("--prompts", str(tmp_path / "nowhere.txt"))
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert "there is no such prompt file" in ended.err
    ended = srm("--prompts", str(file), "doctor")
    assert ended.status == 2
    assert "srm-explorer open" in ended.err
