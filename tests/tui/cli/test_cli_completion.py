"""What a shell is told at a tab: every parameter's values, in words that the shell itself takes for one."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pexpect
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, StrictBool

from srm_explorer.engine import paths
from srm_explorer.engine.experiment import Experiment, read_experiment
from srm_explorer.engine.experiment.experiment import TESTS
from srm_explorer.engine.figures.glossary import glossary
from srm_explorer.engine.prompts import available_prompt_sets
from srm_explorer.engine.prompts.library import EXTENSIONS
from srm_explorer.tui.cli import completion
from srm_explorer.tui.cli.completion import FREE, SET_KEYS, completions, source_of
from tests.waiting import PATIENCE

BREAKS = " \t\n\"'><=;|&(:"
"""COMP_WORDBREAKS as bash has it."""
NAMES = ("plain", "my session (v2)", "größe 日本", "it's $HOME", "a:b", "back\\slash", 'say "no"', "x=1", "t*r")


@pytest.fixture
def named(tmp_path: Path) -> list[str]:
    folder = paths.sessions_folder()
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / f"{name}.json").write_text('{"schema_version": 2}')
    (folder / "no session.json").write_text("{}")
    (folder / "two\nlines.json").write_text('{"schema_version": 2}')
    return sorted(NAMES)


def values(*words: str) -> list[str]:
    return sorted(value for value, _ in completions(words))


def in_bash(line: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert completion.answer("bash", [line, BREAKS]) == 0
    return capsys.readouterr().out.splitlines()


def parameters() -> Iterator[tuple[str, Any, Any]]:
    from typer.main import get_command

    from srm_explorer.tui.cli.app import app

    def inside(command: Any) -> Iterator[tuple[str, Any, Any]]:
        hints = typing.get_type_hints(command.callback) if command.callback else {}
        for param in command.params:
            yield command.name, param, hints.get(param.name)
        for other in getattr(command, "commands", {}).values():
            yield from inside(other)

    return inside(get_command(app))


def test_every_parameter_is_completed_or_known_only_to_its_user() -> None:
    missed: list[str] = []
    for command, param, kind in parameters():
        fixed = any(word in str(kind) for word in ("Literal", "bool", "int", "float"))
        if not fixed and source_of(command, param, kind) is None and param.metavar not in FREE:
            missed.append(f"{command} {param.opts} {param.metavar}")
    assert not missed, "name these in SOURCES or FREE of tui/cli/completion.py"


def keys_of(kind: Any, path: str) -> dict[str, tuple[str, ...]]:
    keys: dict[str, tuple[str, ...]] = {}
    for name, info in kind.model_fields.items():
        at = f"{path}.{info.alias or name}".removeprefix(".")
        models = [part for part in parts_of(info.annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
        if models:
            is_list = "tuple" in str(info.annotation)
            keys |= keys_of(models[0], f"{at}.0" if is_list else at)
            continue
        literals = [
            word for part in parts_of(info.annotation) if get_origin(part) is Literal for word in get_args(part)
        ]
        is_flag = info.annotation is bool or "StrictBool" in str(info.annotation) or StrictBool == info.annotation
        examples = [str(word) for word in info.examples or ()]
        keys[at] = tuple(
            examples or literals or (("true", "false") if is_flag or bool in parts_of(info.annotation) else ())
        )
    return keys


def parts_of(kind: Any) -> list[Any]:
    return [kind, *(deeper for part in get_args(kind) for deeper in parts_of(part))]


def test_the_keys_of_set_are_those_of_the_experiment_with_what_they_may_hold() -> None:
    known = keys_of(Experiment, "")
    known["analysis.tests"] = TESTS
    assert known == SET_KEYS


def test_prompt_sets_are_those_that_an_experiment_can_name() -> None:
    assert completion.PROMPT_FILES == EXTENSIONS
    assert set(values("neuron", "demo", "--prompts", "")) == {
        name for name, _ in available_prompt_sets(paths.prompt_folders())
    }


@pytest.mark.parametrize(
    ("words", "some"),
    [
        (["sho"], {"show"}),
        (["sessions", "re"], {"rename", "restore"}),
        (["show", "x", "--ch"], {"--chart", "--chance"}),
        (["show", "x", "--chart", ""], {"polar", "thresholds", "dose"}),
        (["show", "x", "--chart=th"], {"--chart=thresholds"}),
        (["show", "--chart", "polar", "--chance", "sec"], {"second moment"}),
        (["run", "d"], {"demo"}),
        (["run", "demo", "--set", "generation.mo"], {"generation.mode="}),
        (["run", "demo", "--set", "generation.mode="], {"generation.mode=greedy", "generation.mode=sample"}),
        (["run", "demo", "--set", "interventions.0.neu"], {"interventions.0.neurons="}),
        (["run", "demo", "--set", "interventions.7.op=cl"], {"interventions.7.op=clamp"}),
        (["run", "demo", "--set", "prompts.sets=watching,rea"], {"prompts.sets=watching,reasoning"}),
        (["run", "demo", "--set", "prompts.wh"], {"prompts.where."}),
        (["neuron", "d"], {"demo"}),
        (["neuron", "demo", "--prompts", "reasoning,wat"], {"reasoning,watching"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
        (["--", "sho"], {"show"}),
        (["show", "x", "--width", ""], set()),
    ],
)
def test_what_may_stand_at_the_cursor(
    words: list[str], some: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert set(values(*words)) == some


def test_sessions_are_named_as_they_are_and_nothing_else_is(
    named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        values("show", "")
        == values("sessions", "diff", "plain", "")
        == values("neuron", "demo", "--session", "")
        == named
    )
    for name in named:
        for line in (f"srm-explorer show {shlex.quote(name)[:2]}", f"A=1 srm-explorer show {name[:1]}"):
            told = in_bash(line, capsys)
            whole = [line[: len(line) - len(typed_since_break(line))] + text for text in told]
            assert any(name in closed(text) for text in whole), (line, told)


def typed_since_break(line: str) -> str:
    at = max((line.rfind(character) for character in BREAKS), default=-1)
    return line[at + 1 :]


def closed(line: str) -> list[str]:
    for end in ("", "'", '"'):
        try:
            return shlex.split(line + end)
        except ValueError:
            continue
    return []


@given(
    st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" '\"\\$`=:*~#!&;|()[]{}?<>"), min_size=1)
)
def test_a_word_that_is_quoted_for_a_shell_is_read_as_it_was(name: str) -> None:
    for before, end in (("", ""), ("'", "'"), ('"', '"')):
        words, cut, quoted = completion._split(f"srm-explorer show {before}", BREAKS)
        assert (words, cut) == (["srm-explorer", "show", ""], 0)
        line = f"srm-explorer show {before}{quoted(name)}{end}"
        if end != '"' or not set(name) & set("$`"):
            # In double quotes shlex lets a backslash before these be.
            assert shlex.split(line)[2:] == [name]
        assert completion._split(line, BREAKS)[0][2:] == [name]


def test_files_are_listed_by_their_endings_below_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("out/mine.toml", "out/other.txt", "mine.toml", "saved_sessions/s.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert values("run", "m") == ["mine.toml"]
    assert values("run", "out/") == ["out/mine.toml"]
    assert values("show", "out") == []
    assert values("sweep", "ou") == ["out/"]
    assert values("run", "~/") == []


def test_numbers_of_tables_are_those_of_the_experiment(tmp_path: Path) -> None:
    experiment, _ = read_experiment("demo")
    numbers = {value.split(".")[1] for value in values("run", "demo", "--set", "planes.")}
    assert numbers == {str(at) for at in range(len(experiment.planes))}


def test_words_that_are_explained_are_those_of_the_glossary() -> None:
    told = {word for term in glossary() for word in term.words if "*" not in word}
    assert set(values("explain", "")) == told
    assert "first change" in values("explain", "first c")


def test_the_trash_is_what_can_be_restored(named: list[str]) -> None:
    thrown = paths.trash_folder() / "1" / "gone.json"
    thrown.parent.mkdir(parents=True)
    thrown.write_text("{}")
    assert values("sessions", "restore", "") == values("sessions", "trash", "--delete", "") == ["gone"]
    assert values("sessions", "trash", "") == named


def test_what_cannot_be_completed_is_nothing_and_no_message(capfd: pytest.CaptureFixture[str]) -> None:
    assert completion.answer("zsh", ["run", "demo", "--set", "model.name=x", "/nowhere/x"]) in (0, 1)
    assert completion.answer("bash", []) == 1
    assert capfd.readouterr().err == ""


def test_completion_loads_no_screen_and_no_arrays() -> None:
    code = (
        "import json, sys; from srm_explorer.tui.cli import main\n"
        "main(sys.argv[1:]); sys.stderr.write(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    )
    for words in (["show", ""], ["run", "demo", "--set", "prompts.sets="], ["sweep", "x", "--"]):
        environment = {**os.environ, completion.ASKED: "zsh"}
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment)
        assert not set(json.loads(done.stderr)) & {
            "textual",
            "torch",
            "numpy",
            "scipy",
            "transformers",
            "pydantic",
            "rich",
        }


SHELLS = {
    "bash": (
        ["--norc", "-i"],
        'bind "set enable-bracketed-paste off"; eval "$(srm-explorer completion bash)"; PS1="$ "',
    ),
    "zsh": (["-f", "-i"], 'autoload -U compinit; compinit -u -D; eval "$(srm-explorer completion zsh)"'),
    "fish": (["--private", "-N"], "srm-explorer completion fish | source"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell_completes_a_session_with_spaces(shell: str, named: list[str], tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} on this machine")
    arguments, begin = SHELLS[shell]
    environment = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    with pexpect.spawn(
        program, arguments, env=environment, cwd=str(tmp_path), encoding="utf-8", dimensions=(24, 200), timeout=PATIENCE
    ) as child:
        child.sendline(f"{begin}; printf 'rea''dy\\n'")
        child.expect_exact("ready\r\n")
        child.send("srm-explorer show my\t")
        child.expect_exact("session\\ \\(v2\\)")
