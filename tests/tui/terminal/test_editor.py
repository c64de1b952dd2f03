"""The user's editor: which, at which line, in a real terminal, and what is said where there is none."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pexpect
import pyte
import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.terminal.editor import editor_command
from tests.waiting import PATIENCE

FILE = Path("a file.txt")
APP = """
from pathlib import Path
from textual.app import App
from srm_explorer.tui.prompts.pane import PromptsPane

class Host(App):
    def compose(self):
        self.pane = PromptsPane()
        yield self.pane
    def on_mount(self):
        self.pane.show({"sets": ["mine"], "where": {}, "omit": {}, "limit": None}, {"name": "demo"}, Path.cwd())

Host().run()
"""


def program(folder: Path, name: str, script: str = "exit 0") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def search(tmp_path: Path) -> dict[str, str]:
    for name in ("vi", "nano", "emacs", "code"):
        program(tmp_path, name)
    return {"PATH": str(tmp_path)}


@pytest.mark.parametrize(
    ("variables", "command"),
    [
        ({"VISUAL": "emacs -nw", "EDITOR": "vi"}, ["emacs", "-nw", "+7", "a file.txt"]),
        ({"VISUAL": " ", "EDITOR": "vi"}, ["vi", "+7", "a file.txt"]),
        ({"EDITOR": "code --wait"}, ["code", "--wait", "a file.txt"]),
        ({}, ["nano", "+7", "a file.txt"]),
    ],
)
def test_the_editor_is_the_one_the_user_named(
    search: dict[str, str], variables: dict[str, str], command: list[str]
) -> None:
    assert editor_command(FILE, 7, {**search, **variables}) == command


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"EDITOR": "no-such -x"}, "$EDITOR: there is no editor 'no-such -x'"),
        ({"VISUAL": '"unclosed'}, "$VISUAL: there is no editor"),
        ({"PATH": ""}, "no editor is found; set $EDITOR"),
    ],
)
def test_a_missing_editor_is_named(search: dict[str, str], variables: dict[str, str], told: str) -> None:
    with pytest.raises(ExplorerError) as refused:
        editor_command(FILE, 1, {**search, **variables})
    assert str(refused.value).startswith(told)


def test_a_file_is_edited_in_a_real_terminal_and_read_again(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "mine.txt").write_text("First\nSecond\n")
    # It is given the line of the highlighted prompt and the terminal: it reads a key and appends what it was given.
    script = 'stty size > size; printf "EDITING %s" "$1"; read key; printf "%s %s\\n" "$1" "$key" >> "$2"'
    editor = program(tmp_path, "vim", script)
    child = pexpect.spawn(
        sys.executable,
        ["-c", APP],
        cwd=tmp_path,
        dimensions=(20, 60),
        encoding="utf-8",
        env={
            **{name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")},
            "VISUAL": str(editor),
            "TERM": "xterm-256color",
        },
    )
    screen = pyte.Screen(60, 20)
    stream = pyte.Stream(screen)
    try:
        _wait(child, stream, screen, "2 / 2")
        child.send("j")
        _wait(child, stream, screen, "prompts/mine.txt")
        child.send("\r")
        _wait(child, stream, screen, "prompt 1")
        child.send("j")
        _wait(child, stream, screen, "prompt 2")
        child.send("e")
        _wait(child, stream, screen, "EDITING +2")
        child.send("key\r")
        _wait(child, stream, screen, "+2 key")
        assert (tmp_path / "prompts" / "mine.txt").read_text() == "First\nSecond\n+2 key\n"
        assert (tmp_path / "size").read_text().split() == ["20", "60"]
        child.send("\x1b")
        _wait(child, stream, screen, "3 / 3")
    finally:
        child.close(force=True)


def _wait(child: pexpect.spawn, stream: pyte.Stream, screen: pyte.Screen, text: str) -> None:
    until = time.monotonic() + PATIENCE
    while not any(text in line for line in screen.display):
        assert time.monotonic() < until, "\n".join(screen.display)
        try:
            stream.feed(child.read_nonblocking(65536, timeout=0.2))
        except pexpect.TIMEOUT:
            continue
