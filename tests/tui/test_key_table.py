"""The README's table of keys against the bindings."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

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


def test_no_class_that_declares_keys_is_left_out(tool: ModuleType) -> None:
    assert set(tool.declared_bindings()) == {name for _, names in tool.PARTS for name in names}
