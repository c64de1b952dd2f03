"""Several pasted lines go where they belong or are refused aloud: no line of text ever keeps the first alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.command import CommandInput
from textual.widgets import Input

from srm_explorer.engine import paths
from srm_explorer.engine.prompts import read_prompt_set
from srm_explorer.tui.widgets.dialogs import Ask, Choose


def values(app: Any) -> list[float]:
    return app.explorer.controller.editor.data["interventions"][0]["values"]


async def paste(app: Any, pilot: Any, text: str) -> None:
    app.post_message(events.Paste(text))
    await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_a_pasted_column_of_numbers_becomes_the_values(drive: Any, size: tuple[int, int]) -> None:
    async with drive(size=size) as (app, pilot, until):
        form = app.explorer.intervention.form
        await pilot.press("2")
        # Not edited yet, and from another row.
        await paste(app, pilot, "-30\n\N{MINUS SIGN}10\r\n-3\n0\n\n")
        await until(lambda: form.editing == "interventions[0].values", "the field")
        await until(lambda: "4 values" in app.text(), "what it gives")
        await pilot.press("enter")
        await until(lambda: values(app) == [-30, -10, -3, 0], "the values")
        # In place of what stands in the field; with enter behind it in one burst.
        await pilot.press("enter")
        await paste(app, pilot, "1\t2\n3\t4\n")
        await pilot.press("enter")
        await until(lambda: values(app) == [1, 2, 3, 4], "the values")
        for lines, said in (("door\nlamp", "'door'"), ("1,5\n2,5", "a comma stands inside")):
            await paste(app, pilot, lines)
            await until(lambda said=said: said in app.text(), "the refusal")
            assert values(app) == [1, 2, 3, 4]
        assert not form.editing
        await pilot.press("u")
        await until(lambda: values(app) == [-30, -10, -3, 0], "the undo")


async def test_pasted_lines_become_prompts_once_that_is_affirmed(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        data = app.explorer.controller.editor
        await until(lambda: "certainty" in app.text(), "the sets")
        await pilot.press("1")
        await paste(app, pilot, "A door\n\n  A lamp\n# a chair\n")
        await until(lambda: isinstance(app.screen, Choose), "the question")
        assert "Make 3 prompts" in app.text()
        await pilot.press("escape")
        await until(lambda: app.screen is app.explorer, "nothing")
        await paste(app, pilot, "A door\n\n  A lamp\n# a chair\n")
        await until(lambda: isinstance(app.screen, Choose), "the question")
        await pilot.press("n")
        await until(lambda: isinstance(app.screen, Ask), "the name")
        await pilot.press("enter")
        await until(lambda: "pasted" in data.data["prompts"]["sets"], "the set, chosen")
        path = paths.user_prompts_folder() / "pasted.txt"
        assert [prompt.text for prompt in read_prompt_set(path).prompts] == ["A door", "A lamp", "# a chair"]
        await until(lambda: "3 / 3" in app.text(), "its prompts")
        await paste(app, pilot, "A cup\nA pen")
        await until(lambda: isinstance(app.screen, Choose), "the question")
        await pilot.press("a")
        await until(lambda: "5 / 5" in app.text(), "the prompts")
        # While one is typed, too.
        await pilot.press("n")
        await until(lambda: isinstance(app.focused, Input), "the line")
        await paste(app, pilot, "A hat\nA key")
        await until(lambda: isinstance(app.screen, Choose), "the question")
        await pilot.press("a")
        await until(lambda: len(read_prompt_set(path).prompts) == 7, "the prompts")


async def test_elsewhere_several_lines_are_refused_aloud_and_one_is_taken(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):

        async def refused(what: str) -> None:
            before = app.focused.value if isinstance(app.focused, Input) else ""
            for key in ("", "ctrl+v") if isinstance(app.focused, Input) else ("",):
                if key:
                    app._clipboard = "one\ntwo\n"
                    await pilot.press(key)
                else:
                    await paste(app, pilot, "one\ntwo\n")
                await until(lambda: "2 lines were pasted" in app.text(), f"the refusal {what}")
                assert (app.focused.value if isinstance(app.focused, Input) else "") == before
                app.explorer.say("")
                app.clear_notifications()

        async def taken(text: str) -> None:
            await paste(app, pilot, f"\n{text}\n")
            await until(lambda: text in app.focused.value, "the line")

        await until(lambda: app.explorer.controller.sessions.session is not None, "the session")
        await pilot.press("3")
        await refused("on a chart")
        await pilot.press("1", "slash")
        await refused("in the search of prompts")
        await taken("cert")
        await pilot.press("escape", "O")
        await refused("in the path of a file")
        await pilot.press("escape", "2", "up", "up", "up", "up", "enter")
        await until(lambda: isinstance(app.focused, Input), "a field of the form")
        await refused("in a field of the form")
        await pilot.press("escape", "s")
        await until(lambda: isinstance(app.screen, Ask), "the question")
        await refused("in a box")
        await taken("calm")
        await pilot.press("escape", "colon")
        await until(lambda: isinstance(app.focused, CommandInput), "the palette")
        await refused("in the palette")
        await pilot.press("escape", "3", *["greater_than_sign"] * 3, "slash")
        await until(lambda: isinstance(app.focused, Input), "the filter of runs")
        await refused("in the filter of runs")
        await pilot.press("escape", "o")
        await until(lambda: app.screen is not app.explorer, "the sessions")
        await pilot.press("slash")
        await refused("in the search of sessions")
