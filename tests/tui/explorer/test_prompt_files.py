"""Prompt files in the whole program: opened from the palette, and shown where the program was started with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tui.explorer.conftest import offered


async def test_the_palette_finds_prompt_files_by_what_is_done_with_them(drive: Any, tmp_path: Path) -> None:
    (tmp_path / "storms.txt").write_text("It rains\nIt pours\n")
    async with drive(size=(80, 24)) as (app, pilot, until):
        for typed, entry in (("new prompt set", "N"), ("prompt file", "O")):
            await pilot.press("colon")
            await pilot.press(*typed.replace(" ", "_").replace("_", " "))
            await until(lambda entry=entry: offered(app).rstrip().endswith(entry), f"the entry {entry}")
            if entry == "N":
                await pilot.press("escape")
        await pilot.press("enter")
        await until(lambda: "tab completes it" in app.text(), "the line")
        await pilot.press("s", "t", "tab")
        await until(lambda: "storms.txt" in app.text(), "the completed path")
        await pilot.press("enter")
        await until(lambda: "storms is chosen: 2 prompts" in app.text(), "the set")
        chosen = app.explorer.controller.editor.data["prompts"]["sets"]
        assert chosen[-1] == str(tmp_path / "storms.txt")


async def test_a_start_with_prompts_shows_them_chosen(drive: Any, tmp_path: Path) -> None:
    (tmp_path / "storms.txt").write_text("It rains\nIt pours\n")
    async with drive(prompts=("storms.txt",), size=(80, 24)) as (app, _, until):
        await until(lambda: "storms is chosen: 2 prompts" in app.text(), "the set")
        row = next(line for line in app.text().splitlines() if "▸" in line)
        assert row.startswith("▸☑ storms.txt")
        assert "2 / 2" in row
