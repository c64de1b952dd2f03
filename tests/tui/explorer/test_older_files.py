"""Drafts and settings as version 0.1.0 wrote them, before the folders were rebuilt."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from srm_explorer.engine import paths
from srm_explorer.tui.keys import known_ids
from srm_explorer.tui.settings import load_settings, unknown_keys

OLD = Path(__file__).parents[2] / "data" / "from_0.1.0"


async def test_an_edited_experiment_is_on_the_screen_again(drive: Any) -> None:
    drafts = paths.state_folder() / "drafts"
    drafts.mkdir(parents=True)
    shutil.copy(OLD / "draft.json", drafts / "20260101-000000-abcdef.json")
    async with drive() as (app, _, until):
        await until(lambda: re.search(r"neuron +137", app.text()), "the neuron that was typed")
        assert "[Thresholds]" in app.text()
        assert any("certainty" in line and "140 / 140" in line for line in app.text().splitlines())


def test_every_key_that_could_be_set_can_be_set() -> None:
    settings = load_settings(OLD / "settings.toml")
    assert not settings.problems
    assert (settings.theme, settings.markers, settings.glyphs, settings.bell) == ("light", "block", "ascii", "bell")
    assert len(settings.keys) > 150
    assert unknown_keys(settings, known_ids()) == []
