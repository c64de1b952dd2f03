"""The form driven by keys and clicks, read off the screen."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.message import Message
from textual.widgets import Input

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import SITE_KINDS, Experiment, ModelShape, read_experiment
from srm_explorer.engine.worker.protocol import Description
from srm_explorer.tui.experiment.files import Presets
from srm_explorer.tui.experiment.pane import InterventionPane
from tests.waiting import until_shown

GPT2 = Description(
    shape=ModelShape("gpt2", n_layers=12, d_model=768, d_mlp=3072, n_ctx=1024),
    device="cpu",
    is_demo=False,
    sites=tuple(f"blocks.{layer}.{kind}" for layer in range(12) for kind in SITE_KINDS),
    weight_bytes=497_759_232,
    kv_width=768,
    n_vocab=50257,
    free_bytes=16 * 10**9,
)


class Host(App[None]):
    """The pane alone, with an undo and single keys of its own, as the explorer has them."""

    BINDINGS = [("t", "note('t')", ""), ("left", "note('left')", ""), ("right", "note('right')", ""), ("u", "undo", "")]  # noqa: RUF012
    CSS = "InterventionPane { height: 1fr; }"

    def __init__(self, preset: str, width: int) -> None:
        super().__init__()
        self.pane = InterventionPane()
        self.pane.styles.width = width
        self.told: list[Message] = []
        self.keys: list[str] = []
        self.before = [read_experiment(preset)[0].to_dict()]

    def compose(self) -> ComposeResult:
        yield self.pane

    def on_mount(self) -> None:
        self.pane.show(self.before[0], {}, Path.cwd())
        self.pane.take_shape(GPT2)
        self.pane.take_cost(50, 1930.0)
        self.pane.form.lines.focus()

    def on_intervention_pane_changed(self, message: InterventionPane.Changed) -> None:
        self.told.append(message)
        self.before.append(message.data)
        self.pane.show(message.data)

    def on_intervention_pane_typing(self, message: InterventionPane.Typing) -> None:
        self.told.append(message)

    def on_intervention_pane_model_wanted(self, message: InterventionPane.ModelWanted) -> None:
        self.told.append(message)

    def on_intervention_pane_loaded(self, message: InterventionPane.Loaded) -> None:
        self.told.append(message)
        self.pane.show(message.data, {}, message.base)

    def action_note(self, key: str) -> None:
        self.keys.append(key)

    def action_undo(self) -> None:
        self.before.pop()
        self.pane.show(self.before[-1], {})

    @property
    def data(self) -> dict[str, Any]:
        return self.pane.experiment().to_dict()

    @property
    def changes(self) -> list[dict[str, Any]]:
        return [message.data for message in self.told if isinstance(message, InterventionPane.Changed)]

    @property
    def typed(self) -> dict[str, str]:
        """What a draft would hold of what was told."""
        kept: dict[str, str] = {}
        for message in self.told:
            if isinstance(message, InterventionPane.Typing):
                if message.text is None:
                    kept.pop(message.field, None)
                else:
                    kept[message.field] = message.text
        return kept


def host(preset: str = "protocol", width: int = 32) -> Host:
    return Host(preset, width)


def screen(app: App[None]) -> list[str]:
    """The text on the screen, line by line."""
    update = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip).rstrip() for strip in update]


def told(app: App[None]) -> str:
    """Everything on the screen as one text."""
    return " ".join(" ".join(screen(app)).split())


def line(app: App[None], word: str) -> str:
    """The first line that holds a word, blanks for one each."""
    return next(" ".join(one.split()) for one in screen(app) if word in one)


async def test_a_row_is_edited_and_everything_that_follows_is_on_the_screen() -> None:
    app = host()
    async with app.run_test(size=(34, 32)) as pilot:
        assert "layer 11 site hook_post" in line(app, "layer")
        assert "-20 -10 … 10 20 ×11" in line(app, "values")
        assert "600 runs · 30,000 tokens" in line(app, "runs")
        assert "about 16 s" in line(app, "about")
        await pilot.press("enter", "5", "enter")
        await pilot.pause()
        assert "layer 5 " in line(app, "layer")
        assert "L5 hook_post, resi…" in line(app, "capture  ")
        assert "move along to layer 5" in told(app)
        assert app.changes[-1]["interventions"][0]["site"] == "blocks.5.mlp.hook_post"
        await pilot.press("u")
        assert "layer 11" in line(app, "layer")
        assert "L11 hook_post, res…" in line(app, "capture  ")


async def test_a_changed_neuron_takes_the_plane_along_and_it_comes_back() -> None:
    app = host(width=80)
    async with app.run_test(size=(80, 40)) as pilot:
        await pilot.press("down")
        assert app.pane.form.key == "interventions[0].neurons"
        assert line(app, "0° at").split()[:6] == ["0°", "at", "373", "90°", "at", "2202"]
        await pilot.press("enter", *"137", "enter")
        await pilot.pause()
        assert line(app, "0° at").split()[:6] == ["0°", "at", "137", "90°", "at", "2202"]
        assert "plane 373 × 2202 moves along to 137 × 2202; u takes it back" in told(app)
        assert (app.data["planes"][0]["a"], app.data["interventions"][0]["neurons"]) == (137, [137])
        assert "nothing that is edited" not in told(app)
        await pilot.press("u")
        await pilot.pause()
        assert line(app, "0° at").split()[:6] == ["0°", "at", "373", "90°", "at", "2202"]
        assert app.data == app.before[0]


async def test_a_plane_that_cannot_follow_is_said_and_marked() -> None:
    app = host(width=80)
    async with app.run_test(size=(80, 40)) as pilot:
        await pilot.press("down", "enter", *"1, 2", "enter")
        await pilot.pause()
        assert line(app, "0° at").split()[:6] == ["0°", "at", "373", "90°", "at", "2202"]
        assert "plane 373 × 2202 stays: 2 neurons are edited in place of 1" in told(app)
        assert "! holds nothing that is edited: n1, n2 are clamped" in told(app)


async def test_values_are_typed_as_a_range_and_counted() -> None:
    app = host()
    async with app.run_test(size=(34, 32)) as pilot:
        app.pane.form.select("interventions[0].values")
        await pilot.press("enter", *"-2..2/1", "enter")
        await pilot.pause()
        assert "values -2 -1 0 1 2" in line(app, "values")
        assert app.changes[-1]["interventions"][0]["values"] == [-2, -1, 0, 1, 2]
        assert "300 runs · 15,000 tokens" in line(app, "runs")


@pytest.mark.parametrize("size", [(80, 24), (42, 36)])
async def test_values_are_taken_as_they_are_written_and_told_while_they_are_typed(size: tuple[int, int]) -> None:
    app = host(width=size[0])
    async with app.run_test(size=size) as pilot:
        app.pane.form.select("interventions[0].values")
        await pilot.press("up", "down")
        assert "from..to step: 0..9 step 3 gives 0 3 6 9" in told(app)
        for typed, values in (
            ("-30 -10 -3 0", [-30, -10, -3, 0]),
            ("-30\t-10; -3, 1", [-30, -10, -3, 1]),
            ("\N{MINUS SIGN}30 \N{MINUS SIGN}1.5", [-30, -1.5]),
            ("-20..20 step 10", [-20, -10, 0, 10, 20]),
            ("-20..20/10 7", [-20, -10, 0, 10, 20, 7]),
        ):
            await pilot.press("enter", "ctrl+u")
            app.screen.focused.insert_text_at_cursor(typed)  # type: ignore[union-attr]
            gives = f"gives {' '.join(map(str, values))}: {len(values)} values"
            await until_shown(lambda gives=gives: gives in told(app), lambda: told(app))
            await pilot.press("enter")
            await pilot.pause()
            assert app.data["interventions"][0]["values"] == values
            assert " ".join(map(str, values)) in line(app, "values")
            assert gives not in told(app)


async def test_a_refused_layer_is_told_beside_it_while_it_is_typed_and_is_kept() -> None:
    app = host(width=80)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter", "9", "9")
        refusal = "layer 99 is out of range for this model (12 layers); choose 0 to 11"
        await until_shown(lambda: refusal in told(app), refusal)
        assert app.typed == {"interventions[0].layer": "99"}
        await pilot.press("enter")
        await pilot.pause()
        assert "!99" in line(app, "site ")
        assert refusal in told(app)
        assert app.changes == []
        assert app.typed == {"interventions[0].layer": "99"}
        with pytest.raises(ExplorerError, match="layer 99"):
            app.pane.experiment()
        await pilot.press("escape")
        await pilot.pause()
        assert "11" in line(app, "site ")
        assert app.typed == {}


async def test_escape_leaves_the_row_as_it_was() -> None:
    app = host()
    async with app.run_test(size=(34, 32)) as pilot:
        await pilot.press("enter", "7", "escape")
        await pilot.pause()
        assert "layer 11" in line(app, "layer")
        assert app.changes == []
        assert app.typed == {}
        assert not app.query(Input)


async def test_single_keys_reach_the_screen_unless_a_row_is_edited() -> None:
    app = host()
    async with app.run_test(size=(34, 32)) as pilot:
        await pilot.press("t", "left")
        assert app.keys == ["t", "left"]
        await pilot.press("enter", "t", "left")
        assert app.keys == ["t", "left"]
        await pilot.press("escape", "t")
        assert app.keys == ["t", "left", "t"]


@pytest.mark.parametrize("size", [(80, 24), (42, 40), (34, 40)])
async def test_down_goes_to_the_row_below_and_left_and_right_to_the_field_beside(size: tuple[int, int]) -> None:
    app = host(width=size[0])
    async with app.run_test(size=size) as pilot:

        async def pressed(*keys: str) -> str:
            await pilot.press(*keys)
            marked = [one for one in screen(app) if "▸" in one]
            assert len(marked) == 1
            return marked[0].partition("▸")[2].split()[0]

        assert [await pressed(key) for key in ("down", "down", "down", "up", "up", "up")] == [
            *("neuron", "operation", "values", "operation", "neuron", "layer")
        ]
        assert [await pressed(key) for key in ("right", "right", "left", "left")] == ["site", "site", "layer", "layer"]
        assert [await pressed(key) for key in ("right", "down", "down", "down")] == [
            *("site", "neuron", "unit", "values")
        ]
        assert await pressed("end") == "system"
        assert await pressed("home") == "model"


@pytest.mark.parametrize("width", [78, 41, 33])
async def test_labels_are_words_at_every_width(width: int) -> None:
    app = host("demo", width=width)
    async with app.run_test(size=(width, 48)) as pilot:
        data = app.data
        data["controls"] |= {"neurons": 19, "chosen": "after"}
        data["interventions"][0]["positions"] = "predicting"
        data["generation"]["mode"] = "sample"
        app.pane.show(data, {})
        await pilot.pause()
        words = set(told(app).split())
        assert words >= {"layer", "site", "neuron", "operation", "values", "background", "positions", "controls"}
        assert words >= {"revision", "statistics", "temperature", "thresholds", "residual", "template", "candidates"}
        assert "▸layer" in words
        assert "predicting" in words


@pytest.mark.parametrize("size", [(80, 21), (46, 30), (36, 26)])
async def test_the_help_of_every_field_is_there_in_full(size: tuple[int, int]) -> None:
    app = host(width=size[0])
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        helps: set[str] = set()
        await pilot.press("home")
        for _ in app.pane.form.rows:
            await pilot.pause()
            foot = app.pane.foot
            hint = app.pane.spec.hint(app.pane.form.key)[0]
            lines = [foot.render_line(y).text for y in range(foot.size.height)]
            told = " ".join(" ".join(lines).split())
            assert " ".join(hint.split()) in told, app.pane.form.key
            row = next(text for text in screen(app) if "▸" in text)
            whole = app.pane.form.rows[app.pane.form.lines.cursor.index].values[0]
            assert " ".join(whole.split()) in f"{' '.join(row.split())} {told}", "a value that is cut is told in full"
            assert any("▸" in text for text in screen(app)), "the row is in view"
            helps.add(hint)
            await pilot.press("down")
            await pilot.pause()
        assert size[0] > 40 or max(map(len, helps)) > 2 * size[0], "one that takes more than two lines is among them"


async def test_what_was_typed_is_there_after_a_restart() -> None:
    app = host()
    async with app.run_test(size=(34, 32)) as pilot:
        app.pane.form.select("interventions[0].values")
        await pilot.press("enter", *"-20..x")
        await pilot.pause()
        kept = app.typed
    again = host()
    async with again.run_test(size=(34, 32)) as pilot:
        again.pane.show(again.before[0], kept)
        await pilot.pause()
        assert "values !-20..x" in line(again, "values")
        again.pane.form.select("interventions[0].values")
        await pilot.press("enter", "end", "backspace", *"20 step 20", "enter")
        await pilot.pause()
        assert "values -20 0 20" in line(again, "values")
        assert again.typed == {}


async def test_a_refused_text_stays_while_other_rows_are_edited() -> None:
    app = host()
    async with app.run_test(size=(34, 32)) as pilot:
        app.pane.form.select("interventions[0].neurons")
        await pilot.press("enter", "x", "enter")
        app.pane.form.select("generation.tokens")
        await pilot.press("enter", *"20", "enter")
        await pilot.pause()
        assert app.changes[-1]["generation"]["tokens"] == 20
        assert "neuron !x" in line(app, "neuron")
        assert "tokens 20" in line(app, "tokens ")


async def test_choices_are_listed_or_taken_in_turn() -> None:
    app = host()
    async with app.run_test(size=(34, 36)) as pilot:
        app.pane.form.select("interventions[0].op")
        await pilot.press("space")
        await pilot.pause()
        assert "operation add" in line(app, "operation")
        await pilot.press("enter")
        await pilot.pause()
        listed = [one.strip(" ▸") for one in screen(app)]
        assert [word for word in listed if word in ("clamp", "add", "scale", "zero", "mean", "steer")] == [
            *("clamp", "add", "scale", "zero", "mean", "steer")
        ]
        await pilot.press("j", "j", "enter")
        await pilot.pause()
        assert "operation zero" in line(app, "operation")
        assert not any("values" in one for one in screen(app)[:20])
        await pilot.press("enter", "k", "escape")
        await pilot.pause()
        assert app.data["interventions"][0]["op"] == "zero"


async def test_in_an_open_list_a_letter_goes_to_a_choice_and_acts_on_nothing_else() -> None:
    app = host()
    async with app.run_test(size=(34, 36)) as pilot:
        app.pane.form.select("interventions[0].op")
        await pilot.press("enter", "-", "t", "s", "enter")
        await pilot.pause()
        assert "operation scale" in line(app, "operation")
        assert app.keys == []
        assert len(app.data["interventions"]) == 1
        await pilot.press("t")
        assert app.keys == ["t"]


async def test_the_mouse_selects_then_edits() -> None:
    app = host()
    async with app.run_test(size=(34, 32)) as pilot:
        y = next(i for i, one in enumerate(screen(app)) if re.search("tokens +50", one))
        await pilot.click(app.pane, offset=(13, y))
        assert app.pane.form.key == "generation.tokens"
        assert not app.query(Input)
        await pilot.click(app.pane, offset=(25, y))
        assert app.pane.form.key == "generation.mode"
        await pilot.click(app.pane, offset=(13, y))
        await pilot.click(app.pane, offset=(13, y))
        await pilot.pause()
        assert app.query_one(Input).value == "50"
        await pilot.press("9")
        await pilot.click(app.pane, offset=(13, y + 1))
        await pilot.pause()
        assert not app.query(Input)
        assert app.pane.form.key == "generation.stop_at_eos"
        assert app.data["generation"]["tokens"] == 9


async def test_interventions_and_planes_are_added_shown_in_turn_and_removed() -> None:
    app = host()
    async with app.run_test(size=(34, 36)) as pilot:
        await pilot.press("plus")
        await pilot.pause()
        assert line(app, "intervention 2 of 2")
        assert "neuron 2202" in line(app, "neuron")
        await pilot.press("n")
        await pilot.pause()
        assert line(app, "intervention 1 of 2")
        assert "neuron 373" in line(app, "neuron")
        await pilot.press("N", "minus")
        await pilot.pause()
        assert line(app, "intervention 1 of 1")
        assert "u brings it back" in told(app)
        app.pane.form.select("planes[0].a")
        await pilot.press("plus")
        await pilot.pause()
        assert line(app, "plane 2 of 2")
        assert len(app.data["planes"]) == 2
        await pilot.press("minus", "u")
        await pilot.pause()
        assert len(app.data["planes"]) == 2


async def test_another_model_is_asked_for_and_its_sizes_shown() -> None:
    app = host(width=80)
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.form.select("model.name")
        await pilot.press("enter", *"demo", "enter")
        await pilot.pause()
        (wanted,) = [one for one in app.told if isinstance(one, InterventionPane.ModelWanted)]
        assert wanted.model["name"] == "demo"
        assert "asked for" in told(app)
        shape = ModelShape("demo", n_layers=6, d_model=128, d_mlp=512, n_ctx=256)
        small = GPT2.model_copy(update={"shape": shape, "device": "cpu"})
        app.pane.take_shape(small)
        await pilot.pause()
        assert "6 layers · d_model 128 · d_mlp 512 · context 256 · cpu" in line(app, "layers")
        assert "layer 11 is out of range for this model (6 layers)" in told(app)
        app.pane.take_shape(None, "there is no such model")
        await pilot.pause()
        assert "there is no such model" in told(app)


async def test_a_model_is_described_when_the_form_is_first_used() -> None:
    app = host("demo")
    async with app.run_test(size=(34, 32)) as pilot:
        await pilot.pause()
        app.screen.set_focus(None)
        await pilot.press("tab", "j", "tab", "tab")
        wanted = [one.model["name"] for one in app.told if isinstance(one, InterventionPane.ModelWanted)]
        assert wanted == ["demo"]


async def test_a_form_that_is_too_short_scrolls_to_the_highlight() -> None:
    app = host()
    async with app.run_test(size=(34, 14)) as pilot:
        await pilot.press("end")
        await pilot.pause()
        assert "system none" in told(app)
        await pilot.press("enter", *"Brief.", "enter")
        await pilot.pause()
        assert "system Brief." in told(app)
        await pilot.press("home")
        await pilot.pause()
        assert "gpt2" in screen(app)[0]
        await pilot.press("pagedown", "pagedown")
        await pilot.pause()
        assert "gpt2" not in screen(app)[0]
        # The help below the form is as high as its text is long, so a page up may be a line shorter than one down.
        await pilot.press("pageup", "pageup", "pageup")
        await pilot.pause()
        assert "gpt2" in screen(app)[0]


async def test_the_arrows_take_what_is_typed_and_go_on() -> None:
    app = host()
    async with app.run_test(size=(34, 32)) as pilot:
        await pilot.press("enter", "5", "down")
        await pilot.pause()
        assert app.changes[-1]["interventions"][0]["site"] == "blocks.5.mlp.hook_post"
        assert "▸neuron" in line(app, "neuron")
        await pilot.press("enter", "9", "up")
        await pilot.pause()
        assert app.changes[-1]["interventions"][0]["neurons"] == [9]
        assert "▸layer" in line(app, "layer")


async def test_a_preset_takes_the_experiments_place() -> None:
    app = host()
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("P")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert isinstance(app.screen, Presets)
        assert any("protocol" in one for one in screen(app))
        await pilot.press("j", "j", "enter")
        await app.workers.wait_for_complete()
        await pilot.pause()
        (loaded,) = [one for one in app.told if isinstance(one, InterventionPane.Loaded)]
        assert loaded.name == "quick"
        assert app.data == read_experiment("quick")[0].to_dict()


async def test_an_experiment_is_written_and_listed(own_folders: Path) -> None:
    app = host()
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("w", *"mine", "enter")
        await pilot.pause()
        path = own_folders / "config" / "srm-explorer" / "specs" / "mine.toml"
        assert Experiment.from_toml(path.read_text()).to_dict() == app.before[0]
        app.pane.form.select("generation.tokens")
        await pilot.press("enter", "7", "enter", "w", "enter")
        await pilot.pause()
        await pilot.press("n")
        await pilot.pause()
        assert "tokens = 50" in path.read_text()
        await pilot.press("w", "enter")
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause()
        assert "tokens = 7" in path.read_text()


def editor(folder: Path, script: str) -> str:
    """An editor that does what a shell script says with "$1"."""
    path = folder / "edit"
    path.write_text(f'#!/bin/sh\nfor last; do :; done\nset -- "$last"\n{script}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.process
async def test_broken_text_of_the_editor_is_kept_for_the_next_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = host(width=100)
    monkeypatch.setattr(app, "suspend", nullcontext)
    monkeypatch.delenv("VISUAL", raising=False)
    async with app.run_test(size=(100, 30)) as pilot:
        monkeypatch.setenv("EDITOR", editor(tmp_path, 'sed -i "s/tokens = 50/tokens = = 20/" "$1"'))
        await pilot.press("e")
        await pilot.pause()
        assert "experiment.toml, line " in told(app)
        assert "broken TOML" in told(app)
        assert app.changes == []
        assert "tokens = = 20" in app.typed["experiment.toml"]
        monkeypatch.setenv("EDITOR", editor(tmp_path, 'sed -i "s/= = 20/= 20/" "$1"'))
        await pilot.press("e")
        await pilot.pause()
        assert app.changes[-1]["generation"]["tokens"] == 20
        assert app.typed == {}
        monkeypatch.setenv("EDITOR", "there-is-no-such-editor")
        await pilot.press("e")
        await pilot.pause()
        assert "there-is-no-such-editor" in told(app)


@pytest.mark.process
async def test_what_an_editor_wrote_that_failed_is_neither_taken_nor_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = host(width=100)
    monkeypatch.setattr(app, "suspend", nullcontext)
    monkeypatch.delenv("VISUAL", raising=False)
    async with app.run_test(size=(100, 30)) as pilot:
        for script, said in (("exit 1", "edit ended with status 1"), ("kill -9 $$", "edit was ended by signal 9")):
            monkeypatch.setenv("EDITOR", editor(tmp_path, script))
            await pilot.press("e")
            await pilot.pause()
            assert f"{said}; nothing is changed" in told(app)
            assert app.typed == {}
        monkeypatch.setenv("EDITOR", editor(tmp_path, 'sed -i "s/tokens = 50/tokens = 20/" "$1"; kill -9 $$'))
        await pilot.press("e")
        await pilot.pause()
        assert "edit was ended by signal 9; what it wrote is not taken: e opens it again" in told(app)
        assert app.changes == []
        assert "tokens = 20" in app.typed["experiment.toml"]
        monkeypatch.setenv("EDITOR", "true")
        await pilot.press("e")
        await pilot.pause()
        assert app.changes[-1]["generation"]["tokens"] == 20


async def test_every_key_of_the_pane_says_what_it_does() -> None:
    app = host()
    async with app.run_test(size=(34, 32)) as pilot:
        await pilot.pause()
        bound = [one for many in app.pane.form.lines._bindings.key_to_bindings.values() for one in many]
        bound += [one for many in app.pane._bindings.key_to_bindings.values() for one in many]
        assert all(one.id and one.tooltip for one in bound)
        assert {"h", "l", "r", "c", "s", "o", "u", "U", "y", "X", "z", "q"}.isdisjoint(one.key for one in bound)


EMPTY_FORM = """
import asyncio, json, sys
from textual.app import App
from srm_explorer.tui.experiment.pane import InterventionPane

class Host(App):
    def compose(self):
        yield InterventionPane()

async def use():
    app = Host()
    async with app.run_test(size=(34, 32)) as pilot:
        await pilot.press("tab", "j", "enter", "plus", "minus", "n", "P", "w", "e")
        await pilot.pause()
        assert len(app.screen_stack) == 1

asyncio.run(use())
print(json.dumps(list(sys.modules)))
"""


def test_the_pane_loads_nothing_heavy_before_an_experiment_is_shown() -> None:
    loaded = subprocess.run([sys.executable, "-c", EMPTY_FORM], capture_output=True, text=True, check=True)
    heavy = {"numpy", "pydantic", "plotext", "torch", "srm_explorer.engine.experiment"}
    assert not heavy & set(json.loads(loaded.stdout))
