"""`srm-explorer keys` lists what the palette finds."""

from __future__ import annotations

import json

import pytest

from srm_explorer.tui.cli import main
from srm_explorer.tui.keys import known_ids


def test_the_command_finds_the_keys_of_the_palette_by_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "prompt", "file"]) == 0
    assert "prompts.open_file" in capsys.readouterr().out
    assert main(["keys", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["keys"]
    assert {key["name"] for key in listed} == known_ids()
    assert main(["keys", "xylophone"]) == 1
