"""The README's table of keys against the bindings."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from srm_explorer.tui.cli import main
from srm_explorer.tui.keys import known_ids

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("key_table", ROOT / "tools" / "key_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_has_the_keys_that_the_screen_has(tool: ModuleType) -> None:
    assert tool.table_in((ROOT / "README.md").read_text(encoding="utf-8")) == tool.key_table()


def test_the_command_finds_the_keys_of_the_palette_by_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "prompt", "file"]) == 0
    assert "prompts.open_file" in capsys.readouterr().out
    assert main(["keys", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["keys"]
    assert {key["name"] for key in listed} == known_ids()
    assert main(["keys", "xylophone"]) == 1


def test_no_class_that_declares_keys_is_left_out(tool: ModuleType) -> None:
    assert set(tool.declared_bindings()) == {name for _, names in tool.PARTS for name in names}
