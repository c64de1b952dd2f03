from __future__ import annotations

import asyncio
import json
import re
import signal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from textual.command import CommandList, CommandPalette
from textual.widgets import Input, Static

from srm_explorer.engine import paths
from srm_explorer.engine.session import load_session, save_session
from srm_explorer.tui.experiment import pane
from srm_explorer.tui.explorer.controller import facts_of
from srm_explorer.tui.keys import all_keys, declared_bindings, shown_keys
from srm_explorer.tui.keywords import WORDS, group_of, group_titles
from srm_explorer.tui.palette import Commands
from srm_explorer.tui.sessions.screen import SessionsScreen
from srm_explorer.tui.settings import Settings
from srm_explorer.tui.widgets.help import NOT_NOW, Help, grouped

from .conftest import offered, painted


def sets(app: Any) -> list[str]:
    return app.explorer.controller.editor.data["prompts"]["sets"]


def draft_on_disk() -> dict[str, Any]:
    (path,) = (paths.state_folder() / "drafts").glob("*.json")
    return json.loads(path.read_bytes())


async def test_an_edit_is_kept_at_once_and_can_be_taken_back_and_made_again(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        await until(lambda: "certainty" in app.text(), "the sets")
        before = sets(app)
        await pilot.press("1", "space")
        await until(lambda: sets(app) != before, "the edit")
        after = sets(app)
        await until(lambda: draft_on_disk()["data"]["prompts"]["sets"] == after, "the draft")
        await pilot.press("u")
        assert sets(app) == before
        assert "undone: sets" in app.status_line()
        await pilot.press("u")
        assert "no edit to take back" in app.status_line()
        await pilot.press("U")
        assert sets(app) == after
        assert "made again: sets" in app.status_line()


async def test_what_an_editor_saved_is_kept_where_a_signal_ended_the_screen_meanwhile(
    drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drive(size=(120, 40)) as (app, pilot, until):
        loop = asyncio.get_running_loop()

        def edit(_app: object, path: Path, _line: int) -> str:
            path.write_text(re.sub(r"tokens = \d+", "tokens = 17", path.read_text()))
            # As a handler of the loop is: called once the editor has given the terminal back.
            loop.call_soon(app._end, 128 + signal.SIGTERM)
            return ""

        monkeypatch.setattr(pane, "edit_file", edit)
        await pilot.press("2", "e")
        await until(lambda: app.return_value is not None, "the end")
        assert app.status == 128 + signal.SIGTERM
    assert draft_on_disk()["data"]["generation"]["tokens"] == 17


async def test_u_beside_a_refused_text_drops_the_text_and_no_edit(drive: Any) -> None:
    async with drive() as (app, pilot, until):

        def tokens() -> int:
            return app.explorer.controller.editor.data["generation"]["tokens"]

        async def type_tokens(text: str) -> None:
            app.explorer.intervention.form.select("generation.tokens")
            await pilot.press("2", "enter", "ctrl+u", *text, "enter")

        await until(lambda: "certainty" in app.text(), "the sets")
        first = tokens()
        offers = app.explorer.controller.offers
        await type_tokens("some")
        await until(lambda: "some" in app.text() and not app.explorer.intervention.form.editing, "the refusal")
        assert offers("undo")
        await pilot.press("3", "u")
        await until(lambda: not offers("undo"), "nothing to be taken back")
        assert offers("redo")
        await type_tokens("7")
        await until(lambda: tokens() == 7, "the edit")
        await type_tokens("lots")
        await until(lambda: "lots" in app.text() and not app.explorer.intervention.form.editing, "the refusal")
        await pilot.press("up", "3", "u")
        await until(lambda: "dropped what was typed: tokens lots; U" in app.status_line(), "what it did")
        assert tokens() == 7
        assert "lots" not in "".join(app.text().splitlines()[:-1])
        assert not app.explorer.controller.editor.draft.typed
        await pilot.press("u")
        await until(lambda: f"undone: tokens 7 → {first}; U" in app.status_line(), "what it did")
        assert tokens() == first
        await pilot.press("U")
        await until(lambda: f"made again: tokens {first} → 7" in app.status_line(), "what it did")
        assert tokens() == 7
        await pilot.press("U")
        await until(lambda: "brought back what was typed: tokens lots" in app.status_line(), "what it did")
        assert app.explorer.controller.editor.draft.typed == {"generation.tokens": "lots"}
        await pilot.press("U")
        await until(lambda: "no edit to make again" in app.status_line(), "the end")


async def test_the_next_screen_has_the_edits_of_the_last(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        await until(lambda: "certainty" in app.text(), "the sets")
        await pilot.press("1", "space")
        await until(lambda: "certainty" in sets(app), "the edit")
        await pilot.press("q")
    async with drive() as (app, _, until):
        assert "certainty" in sets(app)
        await until(lambda: "140 / 140" in app.text(), "the prompts")


async def test_the_spotlight_stands_where_the_last_screen_left_it(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: "θ 0°" in app.text(), "the session")
        await pilot.press("3", "right", "right", "L", "t", "v")
        await until(lambda: "θ 12°" in app.text(), "the turn")
        await pilot.press("q")
    async with drive() as (app, pilot, until):
        await until(lambda: "θ 12°" in app.text(), "the spotlight")
        state = app.explorer.results.state
        assert (state.theta, state.view) == (12, "mean")
        assert state.session.name == "storm"
        await pilot.press("3", "[")
        await until(lambda: "[Log]" in app.text(), "the log")
        await pilot.press("q")
    async with drive() as (app, _, until):
        await until(lambda: "[Polar]" in app.text() and "θ 12°" in app.text(), "the chart: the log is empty again")


async def test_a_session_is_copied_under_another_name(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: app.explorer.controller.sessions.session is not None, "the session")
        await pilot.press("s", *"/x/y", "ctrl+u", *"storm")
        await until(lambda: "there is another 'storm'" in app.text(), "the refusal")
        await pilot.press("enter", "ctrl+u", *"calm", "enter")
        await until(lambda: "session calm" in app.text(), "the copy")
    copy, original = load_session(paths.session_path("calm")), load_session(stored)
    assert copy.runs == original.runs
    assert copy.vectors().keys() == original.vectors().keys()
    assert original.revision == 1


async def test_without_a_session_saving_exporting_and_duplicating_say_so(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        for key in ("s", "X", "D"):
            await pilot.press(key)
            assert "session" in app.status_line()
            await until(lambda: app.screen is app.explorer, "the explorer")


def test_what_the_model_decides_and_who_decodes_is_no_edit_of_an_experiment(stored: Path) -> None:
    session = load_session(stored)
    ran = session.changed(spec=session.spec.with_residual(True))
    assert ran.path is not None
    data = ran.spec.to_dict()
    left_open = {**data, "capture": {**data["capture"], "residual": "auto"}}
    by_few = {**data, "execution": {**data["execution"], "rows": 16}}
    differ = [
        facts_of(draft, None, ran, ran.path, "").is_edited
        for draft in (data, left_open, by_few, {**left_open, "generation": {**data["generation"], "tokens": 99}})
    ]
    assert differ == [False, False, False, True]


async def test_a_sessions_experiment_becomes_the_draft_only_when_asked(drive: Any, stored: Path) -> None:
    other = load_session(stored)
    spec = other.spec.to_dict()
    spec["generation"]["tokens"] = 9
    changed = other.changed(spec=type(other.spec).from_dict(spec), revision=0, created="another", sidecar=None)
    save_session(changed, paths.session_path("nine-0a1b2c"))
    async with drive() as (app, pilot, until):
        controller = app.explorer.controller
        before = controller.editor.data
        controller.sessions.open(paths.session_path("nine-0a1b2c"))
        await until(lambda: "nine-0a1b2c" in app.text().splitlines()[0], "the session")
        assert controller.editor.data == before
        assert "edited" in app.text().splitlines()[0]
        await pilot.press("D")
        assert controller.editor.data["generation"]["tokens"] == 9
        assert controller.editor.draft.name == "nine"
        assert "edited" not in app.text().splitlines()[0]
        await pilot.press("u")
        assert controller.editor.data == before


async def test_the_chart_in_view_is_written_where_it_is_wished(drive: Any, stored: Path, tmp_path: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: "spotlight θ" in app.text(), "the chart")
        await until(lambda: painted(app), "the chart, painted")
        await pilot.press("X")
        await until(lambda: "export the chart" in app.text(), "the question")
        await pilot.press("t", "ctrl+u", *"none/../..", "enter")
        problem = app.screen.query_one(".-problem", Static)
        await until(lambda: "is a folder; name a file" in str(problem.content), "the refusal")
        await pilot.press("ctrl+u", *"chart.txt", "enter")
        await until(lambda: "written to" in app.status_line(), "the file")
    assert "spotlight" in (tmp_path / "chart.txt").read_text()


@pytest.mark.process  # matplotlib asks for the fonts of the system
async def test_the_chart_in_view_is_drawn_for_a_paper_beside_the_screen(
    drive: Any, stored: Path, tmp_path: Path
) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: painted(app), "the chart, painted")
        await pilot.press("X")
        await until(lambda: "screenshot" in app.text(), "the question")
        await pilot.press("f")
        line = app.screen.query_one(Input)
        assert Path(line.value).name in ("storm-counts.pdf", "storm-mean.pdf")
        await pilot.press("ctrl+u", *"a.pdf", "enter")
        await until(lambda: "figure written to" in app.status_line(), "the file")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("size", [(160, 60), (80, 24)])
async def test_help_tells_every_key_once_by_what_it_does_and_the_words_in_view(
    drive: Any, stored: Path, size: tuple[int, int]
) -> None:
    async with drive(session=stored, size=size) as (app, pilot, until):
        await until(lambda: "lit" in app.text(), "the session")
        places = (("1", "space"), ("2", "down"), ("3", "t"), ("o", "m"))
        for place in places:
            await pilot.press(*place)
            chain = list(app.focused.ancestors_with_self)
            await pilot.press("question_mark")
            await until(lambda: isinstance(app.screen, Help), "help")
            told = app.screen.keys
            ids, keys = [key.id for key in told], [name for key in told for name in key.pressed]
            assert len(set(ids)) == len(ids)
            assert len(set(keys)) == len(keys)
            # All that is declared is there, but for what other keys of the same name stand in front of.
            for key in all_keys(chain, {}):
                assert key.id in ids or set(key.pressed) <= set(keys), key.id
            headings = [title for title, _ in grouped(told)]
            assert headings == [title for title in (*group_titles(), NOT_NOW) if title in headings]
            text = "\n".join(str(line) for line in await shown_whole(app, pilot, until))
            assert not [name for name in ids if "." in name and name in text]
            for key in told:
                assert key.keys in text, key.id
            for word, _ in app.screen.words:
                assert word[:20] in text
            await pilot.press("escape")
            await until(lambda: not isinstance(app.screen, Help), "the screen")
            await pilot.press("escape") if place[0] == "o" else None
        assert app.screen is app.explorer


async def shown_whole(app: Any, pilot: Any, until: Any) -> list[str]:
    """Every line of a help, from the top to where it cannot be scrolled any more."""
    lines: list[str] = []
    while True:
        await pilot.pause()
        shown = app.text()
        lines += shown.splitlines()
        await pilot.press("pagedown")
        await pilot.pause()
        if app.text() == shown:
            return lines


async def test_the_words_of_help_are_those_that_stand_on_the_screen(drive: Any, stored: Path) -> None:
    async with drive(session=stored, size=(80, 24)) as (app, pilot, until):
        await until(lambda: "lit" in app.text() and painted(app), "the session")
        words: dict[str, set[str]] = {}
        for key in ("3", "2", "1"):
            await pilot.press(key, "question_mark")
            await until(lambda: isinstance(app.screen, Help), "help")
            words[key] = {word for word, _ in app.screen.words}
            await pilot.press("escape")
        assert {"spotlight", "lit", "baseline", "arithmetic"} <= words["3"]
        assert "layer" in words["2"]
        assert not {"spotlight", "lit", "layer"} & words["1"]


async def test_the_palette_finds_any_action_by_its_name_and_does_it(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        await pilot.press("colon")
        await until(lambda: isinstance(app.screen, CommandPalette), "the palette")
        await pilot.press(*"preset quick")
        await until(lambda: offered(app).startswith("preset quick"), "the entry")
        await pilot.press("enter")
        await until(lambda: app.explorer.controller.editor.draft.name == "quick", "the preset")
        await pilot.press("ctrl+p")
        await until(lambda: isinstance(app.screen, CommandPalette), "the palette")
        await pilot.press(*"zoom")
        await until(lambda: "zoom" in offered(app).lower(), "the entry")
        await pilot.press("enter")
        await until(lambda: app.explorer.has_class("-zoom"), "the zoom")


async def test_the_palette_writes_a_script_of_the_session_in_view_and_never_over_a_file(
    drive: Any, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: app.explorer.controller.sessions.session is not None, "the session")
        for says in ("script written to", "is there already"):
            await pilot.press("colon")
            await until(lambda: isinstance(app.screen, CommandPalette), "the palette")
            await pilot.press(*"write a")
            await until(lambda: offered(app).startswith("write a "), "the entry")
            await pilot.press(*" script")
            await until(lambda: offered(app).startswith("write a script"), "the entry")
            await pilot.press("enter")
            await until(lambda: "write it to" in app.text(), "the question")
            await pilot.press("enter")
            await until(lambda says=says: says in app.text(), says)
    assert "TransformerBridge" in (tmp_path / "storm.py").read_text(encoding="utf-8")


FOUND_BY = {
    "prompt file": {"prompts.open_file", "prompts.new_set", "prompts.edit"},
    "figure": {"chart.export"},
    "export csv": {"chart.export"},
    "undo": {"spec.undo"},
    "threshold": {"results.threshold"},
    "trash": {"sessions.trash"},
    "delete": {"sessions.trash"},
    "stop": {"run.cancel"},
    "theme": {"settings"},
    "compare two sessions": {"sessions.compare"},
    "glossary": {"help"},
    "clipboard": {"copy"},
}


async def test_who_types_on_before_the_palette_has_its_list_finds_things_all_the_same(drive: Any) -> None:
    async with drive() as (app, _, _):
        commands = Commands(app.screen)
        commands._post_init()
        early = asyncio.ensure_future(anext(aiter(commands._search("h"))))
        await asyncio.sleep(0)
        early.cancel()
        await asyncio.wait({early})
        assert "help" in (await anext(aiter(commands._search("help")))).text


async def test_a_page_of_the_palette_can_be_turned_before_it_is_laid_out(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        await pilot.press("colon")
        await until(lambda: isinstance(app.screen, CommandPalette), "the palette")
        commands = app.screen.query_one(CommandList)
        await until(lambda: commands.option_count > 1, "its commands")
        commands.styles.display = "none"
        await until(lambda: not commands.size, "a list that takes no room")
        commands.set_options([*commands.options])
        commands.highlighted = 0
        await pilot.press("pagedown", "pageup")
        commands.styles.display = "block"
        await until(lambda: bool(commands.size), "a list that takes room")
        await pilot.press("pagedown")
        assert commands.highlighted


async def test_the_palette_has_every_action_of_every_screen_by_what_it_does(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, _, _):
        commands = Commands(app.explorer)
        await commands.startup()
        listed = commands._commands
        declared = [binding for bindings in declared_bindings().values() for binding in bindings if binding.id]

        def first(query: str) -> list[str]:
            return [command.text for command in sorted(listed, key=lambda one: -one.likeness(query))][:4]

        titles = {binding.id or "": (binding.description or binding.tooltip).lower() for binding in declared}
        ids = set(titles)
        for name, title in titles.items():
            keys = next(shown_keys(binding.key) for binding in declared if binding.id == name)
            entry = next((one for one in listed if one.name == title and one.keys == keys), None)
            assert entry is not None, name
            assert entry.likeness(title) > 0, name
        for query, names in FOUND_BY.items():
            assert names <= ids
            best = [one for one in sorted(listed, key=lambda one: -one.likeness(query)) if one.likeness(query)][:6]
            for name in names:
                assert any(one.name == titles[name] for one in best), (query, name, first(query))
        assert not [pattern for pattern in WORDS if not any(fnmatchcase(name, pattern) for name in ids)]
        assert not {group_of(name) for name in ids} - set(group_titles())


async def test_what_acts_on_another_tab_or_screen_is_gone_to_from_the_palette(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: "lit" in app.text(), "the session")

        async def choose(query: str) -> None:
            await pilot.press("colon")
            await until(lambda: isinstance(app.screen, CommandPalette), "the palette")
            await pilot.press(*query)
            await until(lambda: offered(app).startswith(query), "the entry")
            await pilot.press("enter")

        await choose("difference")
        await until(lambda: app.explorer.results.tab == "Thresholds" and app.explorer.results.state.difference, "it")
        await choose("trash")
        await until(lambda: isinstance(app.screen, SessionsScreen), "the sessions")
        await until(lambda: "move it to the trash" in app.text(), "what does it")


async def test_every_binding_has_an_id_a_tooltip_and_an_action_that_exists(drive: Any) -> None:
    async with drive() as (app, _, _):
        known = all_keys([app.explorer, *app.explorer.query("*")], {})
        assert len(known) > 40
        for one in known:
            assert one.binding.tooltip, one.binding.id
            name = one.binding.action.rpartition(".")[2].partition("(")[0]
            owner = app if one.binding.action.startswith("app.") else one.node
            assert hasattr(owner, f"action_{name}"), one.binding.id


async def test_copying_goes_to_the_terminal_or_says_which_file_has_it(
    drive: Any, stored: Path, monkeypatch: Any
) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: "spotlight θ" in app.text(), "the chart")
        await until(lambda: painted(app), "the chart, painted")
        await pilot.press("3", "y")
        assert "copied" in app.status_line()
        assert "continuation" in app.clipboard.splitlines()[0]
        monkeypatch.setenv("TERM", "linux")
        await pilot.press("y")
        assert str(paths.state_folder())[:20] in app.status_line()
    (file,) = paths.state_folder().glob("copied-*.txt")
    assert file.read_text().count("\n") > 20


async def test_what_is_asked_for_while_loading_is_done_then(drive: Any) -> None:
    async with drive(ready=False) as (app, pilot, until):
        await pilot.press("D")
        await until(lambda: app.explorer.controller is not None, "the controller")
        await until(lambda: "no session in view" in app.status_line(), "the answer")


async def test_settings_rename_keys_and_what_is_wrong_with_them_is_said(drive: Any) -> None:
    settings = Settings(
        theme="terminal",
        glyphs="ascii",
        keys={"pane.zoom": "f7", "no.such": "x", "sessions.search": "f4", "notes.save": "f8"},
        problems=("settings.toml: unknown key 'colour'",),
    )
    async with drive(settings=settings, size=(160, 60)) as (app, pilot, until):
        assert app.theme == "ansi-dark"
        await until(lambda: "unknown key 'colour'" in app.text() and "no key named 'no.such'" in app.text(), "problems")
        assert "sessions.search" not in app.text()
        await pilot.press("z")
        assert not app.explorer.has_class("-zoom")
        await pilot.press("f7")
        assert app.explorer.has_class("-zoom")
        await pilot.press("f7", "question_mark")
        await until(lambda: "f7" in app.text(), "help")
        await pilot.press("escape", "o", "f4", *"storm")
        await until(lambda: isinstance(app.focused, Input) and app.focused.value == "storm", "the search")


async def test_ctrl_c_says_how_to_quit_and_q_quits(drive: Any) -> None:
    async with drive() as (app, pilot, _):
        await pilot.press("ctrl+c")
        assert "q quits" in app.status_line()
        await pilot.press("q")
    assert app.return_value is not None
    assert app.return_value.lines() == []
    assert app.status == 0


async def test_a_screen_that_is_left_while_it_loads_is_filled_no_more(drive: Any) -> None:
    async with drive() as (app, _, _):
        app.exit()
        await app.explorer.furnish()
        app.explorer.take_controller(app.explorer.Loaded(app.explorer.controller))
