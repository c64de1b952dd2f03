"""Keys of the prompts pane: what they choose is what a run uses, and what is wrong stands where it is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual import on
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Input, Static

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.runs.inputs import read_inputs
from srm_explorer.tui.prompts.catalogue import Content
from srm_explorer.tui.prompts.opening import make_typed, open_typed
from srm_explorer.tui.prompts.pane import PromptsPane
from srm_explorer.tui.prompts.rows import PromptRows
from tests.waiting import works_beside

GRID = """>> CORE_ID: door
[LEVEL 1]
plain: Somebody is there.
grand: Lo, somebody is there.
[LEVEL 2]
plain: Somebody stands there.
grand: Lo, somebody stands there.
"""
MODEL = {"name": "demo", "revision": None}


def pieces(text: Content) -> tuple[str, ...]:
    """Words as tokens, each with the space before it."""
    return tuple(re.findall(r" ?\S+", str(text)))


class Host(App[None]):
    """Shows the pane, keeps its table, and takes words for tokens."""

    def __init__(self, table: dict[str, Any], positions: Sequence[object] = (), captured: object = "generated") -> None:
        super().__init__()
        self.captured = captured
        self.positions = positions
        self.told = [{"sets": [], "where": {}, "omit": {}, "limit": None, "prepend_bos": "auto"} | table]
        self.asked: list[tuple[Content, ...]] = []
        self.pane = PromptsPane()
        self.leave = 0
        self.answers = True

    def compose(self) -> ComposeResult:
        yield self.pane

    def on_mount(self) -> None:
        self.pane.show(self.told[0], MODEL, Path.cwd(), self.positions, self.captured)

    @property
    def prompts(self) -> dict[str, Any]:
        return self.told[-1]

    @on(PromptsPane.Changed)
    def take(self, message: PromptsPane.Changed) -> None:
        self.told.append(message.prompts)
        self.pane.show(message.prompts, MODEL, Path.cwd(), self.positions, self.captured)

    @on(PromptsPane.TokensWanted)
    def count(self, message: PromptsPane.TokensWanted) -> None:
        self.asked.append(message.texts)
        if not self.answers:
            return
        self.pane.take_tokens(self.pane.choice.book.key, {text: pieces(text) for text in message.texts})

    def lines(self) -> list[str]:
        table = self.pane.table
        return [table.render_line(y).text for y in range(table.size.height)]

    def row(self, start: str) -> str:
        return next(line for line in self.lines() if start in line[:30])

    def foot(self) -> str:
        return str(self.pane.query_one("#prompts-foot", Static).content)

    def used(self) -> list[tuple[str, int]]:
        """What the pane says a run would use, by set and number."""
        return [(name, number) for name, numbers in self.pane.choice.selected().numbers.items() for number in numbers]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "grid.txt").write_text(GRID)
    (folder / "alpha.txt").write_text("First of all\nSecond\nThird 漢字\n")
    (folder / "broken.jsonl").write_text('{"prompt": "x"}\n{"promt": 3}\n')
    return tmp_path


@asynccontextmanager
async def opened(
    size: tuple[int, int] = (100, 30),
    positions: Sequence[object] = (),
    captured: object = "generated",
    **table: Any,
) -> AsyncIterator[tuple[Host, Pilot[None]]]:
    app = Host(table, positions, captured)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        yield app, pilot


async def settle(pilot: Pilot[None]) -> None:
    await pilot.pause(0)
    while works_beside():
        await pilot.pause(0.01)
    await pilot.pause(0)


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await settle(pilot)


async def go(app: Host, pilot: Pilot[None], key: object) -> None:
    """Highlight the row of a key by moving there."""
    keys = [app.pane.rows.key(row) for row in range(app.pane.table.count)]
    await pilot.press("home", *"j" * keys.index(key))
    assert app.pane.table.key == key


def run_would_use(table: dict[str, Any]) -> list[tuple[str, int]]:
    data = {"model": {"name": "demo"}, "prompts": table, "capture": {"sites": ["blocks.0.mlp.hook_post"]}}
    listed = read_inputs(Experiment.from_dict(data), Path.cwd()).prompts
    return [(one.set.name, 1 + one.set.prompts.index(one.prompt)) for one in listed]


async def test_the_sets_that_ship_and_those_in_the_folder_are_listed_with_their_counts() -> None:
    async with opened(sets=["reasoning"]) as (app, _):
        assert "☑ reasoning" in app.row("reasoning")
        assert "20 / 20" in app.row("reasoning")
        assert "0 / 140" in app.row("certainty")
        assert "☐ grid" in app.row(" grid ")
        assert "⚠ error" in app.row("broken")
        assert "20 prompts of 1 set" in app.foot()


async def test_space_chooses_a_set_after_the_others_and_again_leaves_it_out() -> None:
    async with opened(sets=["reasoning", "watching"]) as (app, pilot):
        await go(app, pilot, "alpha")
        await press(pilot, "space")
        assert app.prompts["sets"] == ["reasoning", "watching", "alpha"]
        assert app.used() == run_would_use(app.prompts)
        await press(pilot, "space")
        assert app.prompts == app.told[0]
        await go(app, pilot, "reasoning")
        await press(pilot, "space")
        assert app.prompts["sets"] == ["watching"]
        await press(pilot, "space")
        assert app.prompts == app.told[0]


async def test_space_leaves_a_prompt_out_and_takes_it_back() -> None:
    async with opened(sets=["alpha", "grid"]) as (app, pilot):
        await go(app, pilot, "alpha")
        await press(pilot, "enter", "j", "space")
        assert app.prompts["omit"] == {"alpha": [2]}
        assert "☐ Second" in app.row("Second")
        assert app.used() == run_would_use(app.prompts)
        await press(pilot, "k", "space", "j", "j", "space")
        assert app.prompts["sets"] == ["grid"], "a set of which nothing is left is not chosen"
        await press(pilot, "space")
        assert app.prompts["omit"] == {"alpha": [1, 2]}
        await press(pilot, "escape")
        assert "◪ alpha" in app.row("alpha")
        assert "1 / 3" in app.row("alpha")


async def test_choosing_one_prompt_of_a_set_that_is_not_chosen_leaves_the_others_out() -> None:
    async with opened(sets=["grid"]) as (app, pilot):
        await go(app, pilot, "alpha")
        await press(pilot, "l", "j", "space")
        assert app.prompts["sets"] == ["grid", "alpha"]
        assert app.prompts["omit"] == {"alpha": [1, 3]}
        assert app.used() == run_would_use(app.prompts)
        await press(pilot, "space")
        assert app.prompts == app.told[0]


async def test_all_and_none_of_those_shown() -> None:
    async with opened(sets=["grid"]) as (app, pilot):
        await go(app, pilot, "grid")
        await press(pilot, "enter", "slash", *"lo", "comma", "enter")
        assert app.pane.table.count == 2
        await press(pilot, "A")
        assert app.prompts["omit"] == {"grid": [2, 4]}
        await press(pilot, "A")
        assert app.prompts == app.told[0]
        await press(pilot, "space", "A")
        assert app.prompts["omit"] == {}, "where a part is chosen, all of it is"
        await press(pilot, "escape", "A", "escape", "A")
        assert app.prompts["sets"] == ["alpha", "certainty", "grid", "reasoning", "watching"]
        assert app.used() == run_would_use(app.prompts)


async def test_a_search_narrows_as_it_is_typed_and_escape_clears_it() -> None:
    async with opened(sets=["grid"]) as (app, pilot):
        await go(app, pilot, "grid")
        await press(pilot, "enter", "slash", "s", "t", "a")
        assert app.pane.table.count == 2
        await press(pilot, "n")
        assert app.pane.table.count == 2
        await press(pilot, "x")
        assert app.pane.table.count == 0
        assert "esc drops the search" in app.foot()
        await press(pilot, "escape")
        assert app.pane.table.count == 4
        assert app.pane.choice.view == "prompts"
        assert not app.pane.query(Input)
        await press(pilot, "escape")
        assert app.pane.choice.view == "sets"
        assert app.pane.table.key == "grid"


async def test_what_is_said_of_a_new_prompt_goes_with_its_line_and_its_set() -> None:
    async with opened(sets=["grid"]) as (app, pilot):
        await go(app, pilot, "grid")
        await press(pilot, "enter", "n")
        assert "a new prompt" in app.foot()
        await press(pilot, "escape")
        assert not app.pane.query(Input)
        assert "a new prompt" not in app.foot()
        first = app.pane.table.key
        app.pane._say("said of this set")
        assert "said of this set" in app.foot()
        await press(pilot, "escape")
        await go(app, pilot, "alpha")
        await press(pilot, "enter")
        assert app.pane.table.key == first, "the same row of another set"
        assert "said of this set" not in app.foot()


async def test_letters_that_come_before_the_line_is_there_are_text() -> None:
    async with opened(sets=["grid"]) as (app, pilot):
        await go(app, pilot, "grid")
        await press(pilot, "enter")
        for key in ("slash", "n", "x", "e"):
            app.simulate_key(key)
        await settle(pilot)
        assert app.pane.query_one(Input).value == "nxe"
        assert app.pane.choice.view == "prompts"
        await press(pilot, "escape", "escape", "home")
        for key in ("j", "n", "x", "q"):
            app.simulate_key(key)
        await settle(pilot)
        assert app.pane.choice.opened == "broken", "the keys before it come first"
        assert not app.pane.query(Input)
        assert "broken.jsonl:2" in app.foot()


async def test_without_factors_there_is_nothing_to_choose_and_a_key_that_helps() -> None:
    async with opened(sets=["alpha"]) as (app, pilot):
        await press(pilot, "x")
        assert "no factors: esc goes back" in app.foot()


async def test_factors_are_chosen_by_level() -> None:
    async with opened(sets=["grid"]) as (app, pilot):
        await press(pilot, "x")
        assert [app.pane.rows.key(row) for row in range(app.pane.table.count)] == [
            ("core_id", "door"),
            ("type", "plain"),
            ("type", "grand"),
            ("level", "1"),
            ("level", "2"),
        ]
        await go(app, pilot, ("type", "grand"))
        await press(pilot, "space", "k", "enter")
        assert app.prompts["where"] == {"grid": {"type": ["plain", "grand"]}}
        await press(pilot, "enter")
        assert app.prompts["where"] == {"grid": {"type": ["grand"]}}
        assert app.used() == run_would_use(app.prompts) == [("grid", 2), ("grid", 4)]
        await press(pilot, "escape")
        assert "2 / 4" in app.row(" grid ")
        await go(app, pilot, "grid")
        await press(pilot, "enter")
        assert app.pane.table.count == 2
        await press(pilot, "x", "j", "j", "space")
        assert app.prompts["where"] == {}


async def test_a_factor_of_one_set_leaves_the_others_as_they_are() -> None:
    async with opened(sets=["alpha", "grid"]) as (app, pilot):
        await press(pilot, "x")
        await go(app, pilot, ("type", "grand"))
        await press(pilot, "space", "escape")
        assert "3 / 3" in app.row(" alpha ")
        assert "2 / 4" in app.row(" grid ")
        assert app.used() == run_would_use(app.prompts)
        assert app.used() == [("alpha", 1), ("alpha", 2), ("alpha", 3), ("grid", 2), ("grid", 4)]
        assert "5 prompts of 2 sets · grid: type grand" in app.foot()


async def test_what_every_set_was_to_have_is_put_down_by_set_with_the_first_key() -> None:
    async with opened(sets=["alpha", "grid"], where={"type": ["grand"]}) as (app, pilot):
        assert "0 / 3" in app.row(" alpha ")
        assert "no prompt of alpha has type grand" in app.foot()
        await press(pilot, "x")
        await go(app, pilot, ("level", "2"))
        await press(pilot, "space", "escape")
        assert "3 / 3" in app.row(" alpha ")
        assert app.prompts["where"] == {"grid": {"type": ["grand"], "level": ["2"]}}
        assert app.used() == run_would_use(app.prompts)


async def test_an_opened_set_is_filtered_alone_and_a_set_that_is_chosen_again_has_its_levels() -> None:
    (Path.cwd() / "prompts" / "more.csv").write_text("prompt,type\nOne,plain\nTwo,grand\n")
    async with opened(sets=["grid", "more"]) as (app, pilot):
        await go(app, pilot, "more")
        await press(pilot, "enter", "x", "space", "escape", "escape")
        assert app.prompts["where"] == {"more": {"type": ["plain"]}}
        assert "4 / 4" in app.row(" grid ")
        assert "1 / 2" in app.row(" more ")
        await press(pilot, "x")
        assert "levels used of grid, more" in str(app.pane.query_one("#prompts-head", Static).content)
        marks = [app.pane.rows.mark(row) for row in range(app.pane.table.count)]
        assert marks.count("◪") == 1, "plain is wanted of one of two"
        await press(pilot, "escape", "space", "space")
        assert app.prompts["where"] == {"more": {"type": ["plain"]}}


async def test_the_first_of_the_list_and_a_number_that_is_none() -> None:
    async with opened(sets=["alpha", "grid"]) as (app, pilot):
        await press(pilot, "f", "5", "enter")
        assert app.prompts["limit"] == 5
        assert app.used() == run_would_use(app.prompts)
        assert "2 / 4" in app.row(" grid ")
        await press(pilot, "f", "backspace", "0", "enter")
        assert "not a whole number" in app.foot()
        await press(pilot, "backspace", "enter")
        assert app.prompts == app.told[0]


SOMEBODY = [[-1, 1], {"token": " somebody"}, "all", {"after": " is"}]


@pytest.mark.parametrize("size", [(80, 24), (46, 48)], ids=["80x24", "a third of 160x48"])
async def test_positions_by_number_and_by_token_are_shown_as_what_they_are_in_each_prompt(
    size: tuple[int, int],
) -> None:
    async with opened(size, [[-1, 1], {"token": " is"}], sets=["grid"]) as (app, pilot):
        await go(app, pilot, "grid")
        await press(pilot, "enter")
        assert " @1, 2 " in app.row("☑ Somebody is"), "those of both choices"
        assert " @1, 2, 3 " in app.row("☑ Lo, somebody is")
        await press(pilot, "j")
        assert 'edited at -1, 1: 1 " somebody", 3 " there."' in app.foot()
        assert 'edited at token " is": 2 " is"' in app.foot()


async def test_positions_that_are_captured_have_a_column_of_their_own() -> None:
    async with opened((80, 24), [[0]], {"after": " is"}, sets=["grid"]) as (app, pilot):
        await go(app, pilot, "grid")
        await press(pilot, "enter")
        assert re.search(r"edited at +captured at", app.lines()[0] + app.lines()[1])
        assert re.search(r" @0 +@2… ", app.row("☑ Somebody is"))
        assert "⚠ none" in app.row("☑ Lo, somebody stands")
        assert 'captured at after " is": from 2 " there."' in app.foot()


async def test_long_choices_of_positions_stand_whole_in_a_narrow_pane() -> None:
    Path("prompts/long.txt").write_text(f"{'word ' * 40}\n")
    choices = [{"token": " word"}, [0, 3, 7, 11, 15, 19, -1, -5, -9]]
    async with opened((46, 48), choices, {"after": "word"}, sets=["long"]) as (app, pilot):
        await go(app, pilot, "long")
        await press(pilot, "enter")
        strips = app.screen._compositor.render_strips()
        shown = " ".join(" ".join("".join(part.text for part in strip) for strip in strips).split())
        assert 'edited at token " word": 1 " word", 2 " word"' in shown
        assert '5 " word" … (39)' in shown
        assert "edited at 0, 3, 7, 11, 15, 19, -1, -5, -9: 0" in shown
        assert '15 " word" … (9)' in shown
        assert "40 tokens" in shown, "what is below them is not cut either"
        assert 'captured at after "word":' in shown


async def test_a_prompt_without_the_token_says_so_in_its_row_and_below() -> None:
    async with opened((80, 24), SOMEBODY, sets=["grid"]) as (app, pilot):
        await go(app, pilot, "grid")
        await press(pilot, "enter")
        assert "⚠ none" in app.row("☑ Somebody is")
        assert "@1, 3…" in app.row("☑ Lo, somebody is")
        assert "⚠ none" in app.row("☑ Lo, somebody stands")
        assert 'edited at token " somebody": no token of it is " somebody"' in app.foot()
        assert '"Somebody", " is", " there."' in app.foot()


async def test_positions_follow_the_experiment_and_answers_to_another_question_are_not_shown() -> None:
    async with opened((80, 24), ["all"], sets=["alpha"]) as (app, pilot):
        await go(app, pilot, "alpha")
        await press(pilot, "enter")
        assert "edited at" not in app.lines()[0]
        assert "edited at" not in app.foot()
        by_auto = app.pane.choice.book.key
        app.pane.show(app.prompts, MODEL, Path.cwd(), [[-1]])
        await settle(pilot)
        assert "@2" in app.row("☑ First")
        assert "@0" in app.row("☑ Second")
        assert len(app.asked) == 1, "the tokens are the same"
        for prompts, model in ((app.prompts | {"prepend_bos": True}, MODEL), (app.prompts, {"name": "other"})):
            app.answers = False
            app.pane.show(prompts, model, Path.cwd(), [[-1]])
            app.pane.take_tokens(by_auto, {"Second": ("a", "b", "c")})
            await settle(pilot)
            assert "@" not in app.row("☑ Second"), "the answer belongs to what was asked before"
            assert "…" in app.row("☑ Second")
            app.pane.take_tokens(app.pane.choice.book.key, {"Second": ("<s>", "Second")})
            await settle(pilot)
            assert "@1" in app.row("☑ Second")


async def test_more_positions_than_there_is_room_for_are_counted() -> None:
    Path("prompts/long.txt").write_text(f"{'word ' * 40}\nshort\n")
    async with opened((80, 24), [{"token": "word"}, {"token": " word"}], sets=["long"]) as (app, pilot):
        await go(app, pilot, "long")
        await press(pilot, "enter")
        assert "@0, 1, 2 …(40)" in app.row("☑ word")
        assert 'edited at token " word": 1 " word", 2 " word", 3 " word", 4 " word", 5 " word" … (39)' in app.foot()
        assert "⚠ none" in app.row("☑ short")


async def test_tokens_are_asked_once_for_an_opened_set_and_long_prompts_are_marked() -> None:
    async with opened(sets=["alpha"]) as (app, pilot):
        assert app.asked == []
        app.pane.take_room(2)
        await go(app, pilot, "alpha")
        await press(pilot, "enter")
        assert app.asked == [("First of all", "Second", "Third 漢字")]
        assert app.row("First of all").rstrip().endswith("⚠3")
        assert app.row("Second").rstrip().endswith("1")
        assert "3 tokens, at most 2 fit" in app.foot()
        await press(pilot, "escape")
        assert "a chosen prompt has more than 2 tokens" in app.foot()
        assert "⚠ 3 / 3" in app.row("alpha")
        await press(pilot, "enter", "space", "escape")
        assert "more than" not in app.foot()
        assert len(app.asked) == 1
        app.pane.show(app.prompts, {"name": "gpt2"}, Path.cwd())
        await press(pilot, "enter")
        assert len(app.asked) == 2


async def test_a_broken_file_shows_what_is_wrong_and_the_others_stay_usable() -> None:
    async with opened(sets=["broken", "alpha"]) as (app, pilot):
        assert "broken.jsonl:2" in app.foot()
        await go(app, pilot, "broken")
        await press(pilot, "enter")
        shown = " ".join(line.strip("▸ ") for line in app.lines())
        assert "broken.jsonl:2: no key `prompt` or `text`" in shown
        assert "name the one that holds the prompts: prompts.text" in shown
        assert "broken.jsonl:2" in app.pane.copy_text()
        await press(pilot, "escape", "space")
        assert app.used() == run_would_use(app.prompts) == [("alpha", n) for n in (1, 2, 3)]


async def test_a_set_that_is_gone_is_shown_with_its_error_and_can_be_left_out() -> None:
    async with opened(sets=["gone", "sub/nowhere.csv", "alpha"]) as (app, pilot):
        await go(app, pilot, "gone")
        assert "there is no prompt set 'gone'" in app.foot()
        await press(pilot, "space")
        await go(app, pilot, "sub/nowhere.csv")
        assert "there is no such prompt file" in app.foot()
        await press(pilot, "space")
        assert app.prompts["sets"] == ["alpha"]
        assert app.used() == run_would_use(app.prompts)


async def test_a_number_past_the_end_of_a_file_is_told_and_goes_with_the_next_choice() -> None:
    async with opened(sets=["alpha"], omit={"alpha": [2, 9]}) as (app, pilot):
        with pytest.raises(ExplorerError) as refused:
            run_would_use(app.prompts)
        assert str(refused.value)[:40] in app.foot()
        await go(app, pilot, "alpha")
        await press(pilot, "enter", "space")
        assert app.prompts["omit"] == {"alpha": [1, 2]}
        assert app.used() == run_would_use(app.prompts)


async def test_a_new_prompt_goes_into_the_users_own_file(here: Path) -> None:
    async with opened(sets=["alpha"], omit={"alpha": [2]}) as (app, pilot):
        await go(app, pilot, "alpha")
        await press(pilot, "n", *"Fourth", "enter")
        assert (here / "prompts" / "alpha.txt").read_text().splitlines()[-1] == "Fourth"
        assert "☑ Fourth" in app.row("Fourth")
        assert app.pane.copy_text() == "Fourth"
        assert app.used() == run_would_use(app.prompts)
        await press(pilot, "n", *">>core_id", "enter")
        assert "would not be read as one prompt" in app.foot()
        assert app.pane.query_one(Input).value == ">>core_id", "what was typed stays"


async def test_a_prompt_for_a_set_that_ships_goes_into_a_copy(here: Path) -> None:
    shipped = (paths.shipped_prompts() / "reasoning.txt").read_bytes()
    async with opened(sets=["reasoning", "alpha"], omit={"reasoning": [3]}) as (app, pilot):
        await go(app, pilot, "reasoning")
        await press(pilot, "n", "M", "y", "enter")
        copy = paths.user_prompts_folder() / "my-reasoning.txt"
        assert copy.read_bytes() == shipped + b"My\n"
        assert (paths.shipped_prompts() / "reasoning.txt").read_bytes() == shipped
        assert app.prompts["sets"] == ["my-reasoning", "alpha"]
        assert app.prompts["omit"] == {"my-reasoning": [3]}
        assert str(copy) in app.foot().replace("\n", "")
        assert app.used() == run_would_use(app.prompts)
        assert len(app.used()) == 20 + 3


async def test_in_a_grid_prompts_left_out_stay_so_when_a_line_moves_them(here: Path) -> None:
    async with opened(sets=["grid"], omit={"grid": [2, 4]}) as (app, pilot):
        await go(app, pilot, "grid")
        await press(pilot, "enter", "n")
        assert app.pane.query_one(Input).value == "plain: "
        await press(pilot, *"Hm", "enter")
        assert "plain: Hm" in (here / "prompts" / "grid.txt").read_text()
        assert app.prompts["omit"] == {"grid": [3, 5]}
        assert app.used() == run_would_use(app.prompts)


async def test_a_file_that_changed_meanwhile_is_read_again(here: Path) -> None:
    async with opened(sets=["alpha"], omit={"alpha": [2]}) as (app, pilot):
        (here / "prompts" / "alpha.txt").write_text("Zeroth\nFirst of all\nSecond\n")
        (here / "prompts" / "later.csv").write_text("prompt\nA later one\n")
        app.set_focus(None)
        await settle(pilot)
        app.set_focus(app.pane.table)
        await settle(pilot)
        assert "2 / 3" in app.row("alpha")
        assert app.prompts["omit"] == {"alpha": [3]}
        assert "0 / 1" in app.row("later")
        assert app.used() == run_would_use(app.prompts)


async def test_undo_from_outside_is_shown() -> None:
    async with opened(sets=["alpha"]) as (app, pilot):
        await go(app, pilot, "grid")
        await press(pilot, "space", "x", "space")
        app.pane.show(app.told[1], MODEL, Path.cwd())
        app.pane.show(app.told[0], MODEL, Path.cwd())
        await press(pilot, "escape")
        assert "☐ grid" in app.row(" grid ")
        await press(pilot, "space")
        assert app.prompts == app.told[1]


async def test_the_mark_of_a_row_can_be_clicked_and_a_double_click_opens() -> None:
    async with opened(sets=["alpha"]) as (app, pilot):
        await pilot.click(app.pane.table, offset=(1, 1))
        await settle(pilot)
        assert app.prompts["sets"] == []
        assert "no prompt set is chosen; space chooses one" in app.foot()
        await pilot.click(app.pane.table, offset=(6, 1), times=2)
        await settle(pilot)
        assert app.pane.choice.opened == "alpha"


@pytest.mark.parametrize("size", [(34, 14), (80, 22), (160, 48), (20, 5)])
async def test_odd_characters_keep_the_columns(here: Path, size: tuple[int, int]) -> None:
    texts = ["wide 漢字漢字漢字漢字漢字漢字漢字漢字", "emoji 👩‍👩‍👧 and ‮ turned", "a\ttab", "combining e\u0301\u0301"]
    (here / "prompts" / "odd.csv").write_text(
        "prompt,種類\n" + "".join(f'"{text}",レベル\n' for text in texts) + '"two\nlines",b\n'
    )
    async with opened(size, sets=["odd"]) as (app, pilot):
        for keys in ((), ("x",), ("escape",), ("enter",)):
            if keys == ("enter",):
                await go(app, pilot, "odd")
            await press(pilot, *keys)
            width = app.pane.table.size.width
            assert {cell_len(line) for line in app.lines()} == {width}
            assert all(line.replace("\u200d", "").isprintable() for line in app.lines())
        assert isinstance(app.pane.rows, PromptRows)
        assert app.pane.table.count == 5


@pytest.mark.parametrize("width", [36, 46, 80])
async def test_headings_are_whole_in_a_narrow_pane(width: int) -> None:
    async with opened((width, 30), [[0, 2]], [1], sets=["grid"]) as (app, pilot):
        await go(app, pilot, "grid")
        await press(pilot, "enter")
        header = app.lines()[0]
        assert "edited at" in header
        assert "captured at" in header
        assert "@0, 2" in app.row("▸")


async def test_a_missing_editor_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "no-such-editor -x")
    async with opened(sets=["alpha"]) as (app, pilot):
        await go(app, pilot, "alpha")
        await press(pilot, "e")
        assert app.foot().splitlines()[0].startswith("$EDITOR: there is no editor 'no-such-editor -x'")


async def write(pilot: Pilot[None], text: str) -> None:
    await press(pilot, *text)


def line_of(app: Host) -> str:
    return app.pane.query_one(Input).value


async def test_a_file_is_opened_by_a_path_that_tab_completes() -> None:
    folder = Path.cwd() / "elsewhere" / "deeper"
    folder.mkdir(parents=True)
    (folder / "storms.txt").write_text("It rains\nIt pours\n")
    (folder / "story.csv").write_text("prompt\nOnce\n")
    (folder / "stone.png").write_bytes(b"no prompts")
    async with opened(sets=["alpha"]) as (app, pilot):
        await press(pilot, "O")
        await write(pilot, "el")
        await press(pilot, "tab")
        assert line_of(app) == "elsewhere/"
        await press(pilot, "tab", "s", "tab")
        assert line_of(app) == "elsewhere/deeper/stor"
        assert "2: storms.txt  story.csv" in app.foot()
        await write(pilot, "ms.tx")
        await press(pilot, "enter")
        assert app.foot() == "there is no file elsewhere/deeper/storms.tx; tab completes the path", (
            "what is wrong stands at the line, which stays"
        )
        assert line_of(app) == "elsewhere/deeper/storms.tx"
        await press(pilot, "tab", "enter")
        assert not app.pane.query(Input)
        assert app.prompts["sets"] == ["alpha", str(folder / "storms.txt")]
        assert app.pane.table.key == str(folder / "storms.txt")
        assert "storms is chosen: 2 prompts" in app.foot()
        assert run_would_use(app.prompts)[3:] == [("storms", 1), ("storms", 2)]


async def test_the_home_folder_and_what_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    async with opened(sets=["alpha"]) as (app, pilot):
        await press(pilot, "O", "~", "tab")
        assert line_of(app) == "~/"
        await write(pilot, "pro")
        await press(pilot, "tab")
        assert line_of(app) == "~/prompts/"
        for typed, told in (
            ("", "~/prompts/ is a folder"),
            ("x", "there is no file ~/prompts/x;"),
            ("/y", "prompts/x"),
        ):
            await write(pilot, typed)
            await press(pilot, "enter")
            assert told in app.foot()
            assert "\n" not in app.foot()
        await press(pilot, "tab")
        assert "no such" in app.foot(), "of the folder that is not there"
        await press(pilot, *["backspace"] * 3)
        await write(pilot, "broken.jsonl")
        await press(pilot, "enter")
        assert "broken.jsonl:2" in app.foot()
        await press(pilot, *["backspace"] * len("broken.jsonl"))
        await write(pilot, "grid.txt")
        await press(pilot, "enter")
        assert app.prompts["sets"] == ["alpha", "grid"], "a file that is listed has its name"
        await press(pilot, "O", "escape")
        assert not app.pane.query(Input)
        assert len(app.told) == 2


async def test_a_new_set_is_made_edited_and_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited: list[Path] = []

    def edit(app: object, path: Path, line: int) -> str:
        edited.append(path)
        path.write_text(f"{path.read_text()}A first prompt\n")
        return ""

    monkeypatch.setattr("srm_explorer.tui.prompts.pane.edit_file", edit)
    async with opened(sets=["alpha"]) as (app, pilot):
        for typed, told in (
            ("alpha", "there is a set 'alpha' already"),
            ("x.png", "choose .txt"),
            ("no/x", "no folder"),
        ):
            await press(pilot, "N")
            await write(pilot, typed)
            await press(pilot, "enter")
            assert told in app.foot()
            await press(pilot, "escape")
        await press(pilot, "N")
        await write(pilot, "fresh")
        await press(pilot, "enter")
        made = paths.user_prompts_folder() / "fresh.txt"
        assert edited == [made]
        assert app.prompts["sets"] == ["alpha", "fresh"]
        assert "1 / 1" in app.row(" fresh ")
        assert app.used() == run_would_use(app.prompts)
        await press(pilot, "N")
        await write(pilot, "./table.csv")
        await press(pilot, "enter")
        assert edited[1:] == [tmp_path / "table.csv"]
        assert app.prompts["sets"][2:] == [str(tmp_path / "table.csv")]


async def test_a_new_set_without_an_editor_takes_its_first_prompt_by_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "no-such-editor")
    async with opened(sets=["alpha"]) as (app, pilot):
        await press(pilot, "N")
        await write(pilot, "fresh")
        await press(pilot, "enter")
        assert "there is no editor 'no-such-editor'" in app.foot()
        await press(pilot, "n")
        await write(pilot, "Once upon a time")
        await press(pilot, "enter")
        assert (paths.user_prompts_folder() / "fresh.txt").read_text() == "Once upon a time\n"
        assert app.used() == run_would_use(app.prompts)


async def test_files_are_called_by_their_names_and_counts_are_seen_in_a_narrow_pane(tmp_path: Path) -> None:
    files = [tmp_path / "a long way" / folder / "prompts of a study.txt" for folder in ("one", "two")]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text("A prompt\n")
    async with opened(size=(34, 30), sets=["alpha", *map(str, files)]) as (app, _):
        rows = [line for line in app.lines() if "1 / 1" in line]
        assert len(rows) == 2
        assert "3 / 3" in app.row(" alpha ")
        assert app.lines()[0].rstrip().endswith("used / all")
    async with opened(size=(80, 24), sets=["alpha", *map(str, files)]) as (app, _):
        lines = "\n".join(app.lines())
        assert "one/prompts of a study.txt" in lines
        assert "two/prompts of a study.txt" in lines
        assert "a long way" not in lines


@pytest.mark.parametrize("act", [open_typed, make_typed])
@pytest.mark.parametrize("typed", ["y" * 300, f"{'y' * 300}/x"])
def test_a_name_that_no_file_can_have_is_refused(act: Callable[..., object], typed: str) -> None:
    with pytest.raises(ExplorerError):
        act(typed, [])
