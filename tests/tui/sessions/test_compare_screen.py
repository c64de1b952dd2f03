from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from srm_explorer.engine.figures.comparison import compare, compared_groups, compared_numbers
from srm_explorer.engine.figures.numbers import three_digits
from srm_explorer.engine.session import load_session
from srm_explorer.tui.cli import main
from srm_explorer.tui.compare.screen import CompareScreen
from srm_explorer.tui.compare.state import CompareState


@pytest.fixture
def two(shelf: Any) -> Any:
    """ "calm", and "storm" whose vectors are turned by 90 degrees and which wrote fewer tokens."""
    calm = shelf.save("calm")
    planes = tuple(dataclasses.replace(plane, x=tuple(-y for y in plane.y), y=plane.x) for plane in calm.planes)
    generation = calm.spec.generation.model_copy(update={"tokens": 20})
    shelf.save("storm", planes=planes, spec=calm.spec.model_copy(update={"generation": generation}))
    return shelf


def opened(shelf: Any, one: str = "calm", other: str = "storm") -> Any:
    return lambda: CompareScreen(shelf.path(one), shelf.path(other))


def line_of(app: Any, label: str) -> str:
    """The line of the table of numbers that begins with a label."""
    return next(line for line in app.text().splitlines() if re.search(rf"[▸│ ]. {label} +\d", line))


async def test_curves_numbers_and_differences_stand_side_by_side(two: Any, drive: Any) -> None:
    async with drive(opened(two)) as (app, _, until):
        await until(lambda: "radius: share" in app.text(), "the chart")
        text = app.text()
        for label in ("calm · baseline", "calm · clamped", "storm · baseline", "storm · clamped"):
            assert text.count(label) == 2
        assert "generation.tokens" in text
        assert "Differences (1)" in text


async def test_keys_turn_the_spotlight_and_the_numbers_are_those_of_the_engine(two: Any, drive: Any) -> None:
    both = compare(*(load_session(two.path(name)) for name in ("calm", "storm")))
    groups = compared_groups(both)

    def lit(theta: int, level: float) -> list[tuple[str, int]]:
        return [(one.label, one.lit) for one in compared_numbers(groups, theta, level)]

    def shown(app: Any) -> list[tuple[str, int]]:
        state: CompareState = app.screen._state
        found = [re.search(r"φ?[\d–]+°? +([\d,]+) +\d+ %", line_of(app, group.label)) for group in state.groups]
        return [(group.label, int(one[1])) for group, one in zip(state.groups, found, strict=True) if one]

    async with drive(opened(two)) as (app, pilot, until):
        await until(lambda: "calm · clamped" in app.text())
        level = app.screen._state.threshold
        for keys, theta in ((["right"], 1), (["l", "L"], 12), (["shift+right"], 22), (["left", "h", "H"], 10)):
            await pilot.press(*keys)
            assert f"Numbers at θ {theta}°" in app.text()
            assert shown(app) == lit(theta, level)
        await pilot.press("t")
        assert app.screen._state.threshold != level
        assert shown(app) == lit(10, app.screen._state.threshold)
        await pilot.press("T", *(["shift+left"] * 2))
        assert f"Numbers at θ 350°, cosine > {str(level).lstrip('0')}" in app.text()
        assert shown(app) == lit(350, level)


async def test_views_go_round_and_each_shows_both_sessions(two: Any, drive: Any) -> None:
    async with drive(opened(two)) as (app, pilot, until):
        for told in (
            "share of runs with cosine",
            "mean cosine,",
            "300°",
            "amplitude A by clamp value",
            "amplitude A by clamp value",
            "share changed by clamp value",
            "not scored: press w",
            "share of runs",
        ):
            await until(lambda told=told: told in app.text(), told)
            assert "▲ storm" in app.text()
            await pilot.press("v")
        await pilot.press("V", "V")
        await until(lambda: "not scored: press w" in app.text(), "the view before")


async def test_names_that_are_alike_are_told_apart_where_they_have_no_room(shelf: Any, drive: Any) -> None:
    names = [f"demo-neuron-219-layer-4-clamped-seed-{seed}-of-reasoning" for seed in (4, 11)]
    for name in names:
        shelf.save(name)
    async with drive(opened(shelf, *names), size=(80, 24)) as (app, pilot, until):
        await until(lambda: "counts of …seed-4… and …seed-11…" in app.text(), "the heading of the chart")
        await pilot.press("tab")
        await until(lambda: "● …seed-4…" in app.text() and "▲ …seed-11…" in app.text(), "the rows of the effects")
        assert f"{names[0]}: " in app.text(), "below the table it is whole"
        await pilot.press("tab")
        await until(lambda: "▲ …seed-11… · clamped" in app.text(), "the rows of the numbers")
        # Of what is copied other places hold the names.
        assert all(name in app.screen._state.text(part, 80, 24) for name in names for part in ("effects", "numbers"))


async def test_swapped_sessions_change_places_everywhere(two: Any, drive: Any) -> None:
    async with drive(opened(two)) as (app, pilot, until):
        await until(lambda: "calm and storm" in app.text())
        before = line_of(app, "storm · clamped").split("│")[-2]
        await pilot.press("s")
        await until(lambda: "storm and calm · n" in app.text())
        assert line_of(app, "storm · clamped").split("│")[-2].split()[1:] == before.replace("▸", " ").split()[1:]
        assert [group.label.split(" ")[0] for group in app.screen._state.groups] == ["storm", "storm", "calm", "calm"]
        assert re.search(r"generation.tokens +20 +50", app.text())


async def test_where_room_is_short_tab_shows_one_part_after_the_other(two: Any, drive: Any) -> None:
    async with drive(opened(two), size=(80, 24)) as (app, pilot, until):
        await until(lambda: "radius" in app.text())
        parts = ("radius", "Effects: effect", "Numbers at", "generation.tokens")
        keys = (("", 0), ("tab", 1), ("tab", 2), ("tab", 3), ("tab", 0), ("shift+tab", 3), ("shift+tab", 2))
        for key, part in keys:
            if key:
                await pilot.press(key)
            await until(lambda part=part: parts[part] in app.text(), parts[part])
            assert [told in app.text() for told in parts] == [at == part for at in range(4)]
        await pilot.press("right")
        assert "θ 1°" in app.text()


async def test_the_part_in_focus_is_copied(two: Any, drive: Any) -> None:
    async with drive(opened(two)) as (app, pilot, until):
        await until(lambda: "radius" in app.text())
        await until(lambda: app.screen._state.effects, "the effects")
        await pilot.press("y", "tab", "y", "tab", "y", "tab", "y")
        chart, effects, numbers, differences = app.copied
        assert "radius" in chart
        assert "\x1b" not in chart
        assert [line.split("\t")[0] for line in effects.splitlines()[2:]] == ["● calm", "▲ storm", "▲ − ● storm"]
        assert numbers.count("\t") == 5 * 6
        assert differences == "generation.tokens: 50 -> 20"


async def test_curves_are_written_as_csv_and_the_chart_as_text(
    two: Any, drive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with drive(opened(two)) as (app, pilot, until):
        await until(lambda: "radius" in app.text())
        await pilot.press("X", "c", "enter")
        await until(lambda: "calm-and-storm.csv" in app.text() and (tmp_path / "calm-and-storm.csv").exists())
        await pilot.press("X", "t", "ctrl+u", *"a.pdf", "enter")
        assert "end the name in .txt" in app.text()
        await pilot.press("ctrl+u", *"a.txt", "enter")
        await until((tmp_path / "a.txt").exists)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "calm-and-storm.csv").read_text())))
    groups = compared_groups(compare(*(load_session(two.path(name)) for name in ("calm", "storm"))))
    assert len(rows) == 360 * len(groups)
    assert float(rows[17]["mean_similarity"]) == groups[0].sweep.mean[17]
    assert "radius" in (tmp_path / "a.txt").read_text()


@pytest.mark.process  # matplotlib asks for the fonts of the system
async def test_the_comparison_in_view_is_drawn_for_a_paper_and_never_over_a_file_unasked(
    two: Any, drive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "calm-and-storm.pdf"
    kept.write_text("mine")
    async with drive(opened(two)) as (app, pilot, until):
        await until(lambda: "radius" in app.text())
        await pilot.press("X", "f", "enter")
        await until(lambda: "is there already" in app.text())
        await pilot.press("n")
        assert kept.read_text() == "mine"
        await pilot.press("X", "F", "ctrl+u", *"a.docx", "enter")
        assert "end the name in .pdf, .svg, .png" in app.text()
        await pilot.press("ctrl+u", *"a.svg", "enter")
        await until(lambda: "figure written to" in app.text())
        await pilot.press("X", "f", "enter")
        await until(lambda: "is there already" in app.text())
        await pilot.press("y")
        await until(lambda: kept.read_bytes().startswith(b"%PDF"))
    svg = (tmp_path / "a.svg").read_text()
    assert 'width="504pt"' in svg
    assert "calm · clamped" in svg
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize("view", ["counts", "mean", "thresholds"])
async def test_the_spotlight_stands_on_the_chart_where_it_is_clicked(two: Any, drive: Any, view: str) -> None:
    async with drive(opened(two)) as (app, pilot, until):
        await until(lambda: "radius" in app.text())
        chart = app.screen.query_one("#chart")
        while app.screen._state.view != view:
            await pilot.press("v")
        await until(chart.settled)
        before = chart.shown().rows
        await pilot.press("L", "L", "L")
        turned = {
            (x, y) for y, row in enumerate(chart.shown().rows) for x, cell in enumerate(row) if cell != before[y][x]
        }
        assert turned
        col, row = max(turned)
        angle = chart.scene.angle_at(col, row)
        await pilot.click(chart, offset=(col + 1, row + 1))
        await until(lambda: app.screen._state.theta == angle)
        assert f"Numbers at θ {angle}°" in app.text()
        await pilot.resize_terminal(80, 24)
        await until(lambda: f" θ {angle}°, cosine > " in app.text().splitlines()[-2])


async def test_the_chart_is_written_as_a_picture_with_its_spotlight(
    two: Any, drive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with drive(opened(two)) as (app, pilot, until):
        await until(lambda: "radius" in app.text())
        for name in ("a.svg", "b.svg"):
            await pilot.press("X", "s", "ctrl+u", *name, "enter")
            await until((tmp_path / name).exists)
            await pilot.press("L")
    one, other = ((tmp_path / name).read_text() for name in ("a.svg", "b.svg"))
    assert ElementTree.fromstring(one).tag.endswith("svg")
    assert all(word in one for word in ("calm", "storm", "clamped"))
    assert "spotlight θ 0°" in one
    assert "spotlight θ 10°" in other
    # The ray is drawn in dots, so that turning it changes more than the caption.
    assert one.replace("θ 0°", "") != other.replace("θ 10°", "")


async def test_sessions_without_a_common_plane_are_drawn_each_in_its_own(two: Any, drive: Any) -> None:
    storm = load_session(two.path("storm"))
    moved = tuple(dataclasses.replace(plane, b=plane.b + 1) for plane in storm.planes)
    two.save("else", planes=moved, spec=storm.spec)
    async with drive(opened(two, "calm", "else")) as (app, pilot, until):
        await until(lambda: "no plane in common: each session is drawn in its own" in app.text())
        await until(lambda: "+1st direction" in app.text() and "radius" in app.text())
        assert line_of(app, "else · clamped")
        assert "generation.tokens" in app.text()
        await pilot.press("d")
        assert "no plane in common, so no curve is subtracted" in app.text()
        await pilot.press("v", "v", "t", "right", "s", "p", "y", "tab", "y", "question_mark")
        assert "Help: the comparison" in app.text()
        await pilot.press("escape", "escape")
        await until(lambda: app.answers)


async def test_a_session_that_cannot_be_read_is_told(two: Any, drive: Any) -> None:
    two.path("storm").write_bytes(b"{")
    async with drive(opened(two)) as (app, pilot, until):
        await until(lambda: "broken JSON" in app.text())
        await pilot.press("v", "t", "right", "s", "p", "y", "X", "tab", "escape")
        await until(lambda: app.answers)


async def test_one_group_minus_another_is_drawn_with_its_numbers(two: Any, drive: Any) -> None:
    async with drive(opened(two)) as (app, pilot, until):
        await until(lambda: "radius: share" in app.text(), "the chart")
        await pilot.press("d")
        await until(lambda: "phase turns by" in app.text() and "% band" in app.text(), "the difference")
        state: CompareState = app.screen._state
        pair = state.inferred
        assert not isinstance(pair, Exception)
        assert pair is not None
        assert pair.label == "calm · clamped − storm · clamped"
        assert "paired by prompt" in app.text()
        assert f"{pair.p:.3f}".lstrip("0") in app.text()
        await pilot.press("right", "v")
        await until(lambda: "mean: calm clamped − storm clamped" in app.text(), "the mean")
        assert "mean at 1°" in app.text()
        rows = list(csv.DictReader(io.StringIO(state.curves_csv())))
        assert float(rows[1]["mean"]) == pytest.approx(float(pair.estimate.mean[1]))
        await pilot.press("g")
        await until(lambda: "calm · baseline − storm · baseline" in app.text(), "the next groups")
        await pilot.press("d")
        await until(lambda: "mean of calm and storm" in app.text(), "both again")
        assert "phase turns by" not in app.text()


async def test_help_lists_every_warning_of_which_the_chart_shows_the_first(two: Any, drive: Any) -> None:
    async with drive(opened(two)) as (app, pilot, until):
        await until(lambda: "radius: share" in app.text(), "the chart")
        warnings = app.screen.query_one("#chart").scene.warnings
        assert warnings
        await pilot.press("question_mark")
        await until(lambda: "To be careful about" in app.text(), "the help")
        assert " ".join(warnings[0].split()[:3]) in app.text()
        await pilot.press("escape")


async def test_a_session_alone_has_its_groups_compared(two: Any, drive: Any) -> None:
    async with drive(opened(two, "calm", "calm")) as (app, pilot, until):
        await until(lambda: "clamped − baseline" in app.text() and "% band" in app.text(), "the difference")
        assert app.screen._state.pairs[0] == ("clamped", "baseline")
        assert "the same experiment" in app.text()
        await pilot.press("G")
        await until(lambda: len(app.screen._state._inferred) == 2, "the pair before")
        assert "clamped − baseline" not in app.text()
        await pilot.press("P")
        await until(lambda: "neither made of runs nor chosen" in app.text(), "why it is not held out")


@pytest.fixture
def four(shelf: Any) -> Any:
    """ "calm", another neuron of its layer, another layer, and another model, each in a plane of its own."""
    calm = shelf.save("calm")
    (edit,) = calm.spec.interventions
    (site, *_) = calm.spec.capture.sites
    deeper = site.replace(site.split(".")[1], "2", 1)

    def changed(turn: float, at: str, a: int, values: tuple[float, ...], model: str) -> dict[str, Any]:
        planes = tuple(
            dataclasses.replace(p, site=at, a=a, b=a + 1, x=tuple(np.multiply(p.x, turn)), y=p.y)
            for p in calm.planes[:1]
        )
        moved = edit.model_copy(update={"site": at, "neurons": (a,), "values": values})
        spec = calm.spec.model_copy(
            update={"interventions": (moved,), "model": calm.spec.model.model_copy(update={"name": model})}
        )
        return {"planes": planes, "spec": spec}

    shelf.save("neuron", **changed(0.5, site, 7, edit.values, "demo"))
    shelf.save("layer", **changed(0.7, deeper, 9, edit.values, "demo"))
    shelf.save("model", **changed(0.2, site, 11, edit.values, "gpt2"))
    return shelf


NAMES = ("calm", "neuron", "layer", "model")


async def test_four_sessions_of_other_neurons_layers_and_models_stand_on_one_chart(
    four: Any, drive: Any, capsys: Any
) -> None:
    files = [str(four.path(name)) for name in NAMES]
    assert main(["sessions", "diff", *files, "--json"]) == 0
    printed = {table["name"]: table["rows"] for table in json.loads(capsys.readouterr().out)["tables"]}

    def shown(row: dict[str, Any], key: str, factor: float = 1.0) -> str:
        value, low, high = (three_digits(row[f"{key}{end}"] * factor) for end in ("", "_low", "_high"))
        return f"{value} ({low},{high})"

    async with drive(lambda: CompareScreen(*(four.path(name) for name in NAMES)), size=(80, 24)) as (app, pilot, until):
        await until(lambda: "counts of 4 sessions" in app.text() and "radius" in app.text(), "the chart")
        await until(lambda: "calm" in app.text() and app.screen._state.effects, "the effects")
        await pilot.press("tab")
        await until(lambda: "Effects: effect" in app.text())
        lines = app.text().splitlines()
        for name, row in zip(NAMES, printed["sessions"], strict=True):
            (line,) = [line for line in lines if re.search(rf"(?<!− )[●▲■▼] {name} +−?[.\d]", line)]
            assert shown(row, "amplitude") in line
            assert shown(row, "changed", 100) in line
            assert "not scored" in line
            assert "…" not in line
        for name in NAMES[1:]:
            (line,) = [line for line in lines if re.search(rf"[▲■▼] − ● {name}", line)]
            (row,) = [row for row in printed["against"] if (row["session"], row["measure"]) == (name, "amplitude A")]
            assert f"{three_digits(row['difference'])} ({three_digits(row['low'])},{three_digits(row['high'])})" in line
        await pilot.press("end")
        await until(lambda: "planes differ" in app.text() and "srm-explorer planes model --add A B" in app.text())


async def test_a_session_has_its_colour_on_the_chart_and_in_the_tables(four: Any, drive: Any) -> None:
    async with drive(lambda: CompareScreen(*(four.path(name) for name in NAMES))) as (app, _, until):
        await until(lambda: app.screen._state is not None and app.screen._state.effects, "the effects")
        await until(lambda: "Differences" in app.text() and "▼ model" in app.text())
        strips = app.screen._compositor.render_strips()
        colours: dict[str, set[Any]] = {}
        for strip in strips:
            for segment in strip:
                for at, name in enumerate(NAMES):
                    if segment.text.strip().startswith(f"{'●▲■▼'[at]} {name}") and segment.style:
                        colours.setdefault(name, set()).add(segment.style.color.get_truecolor())
        assert {len(found) for found in colours.values()} == {1}
        assert len({next(iter(found)) for found in colours.values()}) == len(NAMES)


async def test_baselines_are_drawn_when_asked_for(four: Any, drive: Any) -> None:
    async with drive(lambda: CompareScreen(*(four.path(name) for name in NAMES))) as (app, pilot, until):
        await until(lambda: "▲ neuron" in app.text() and "radius" in app.text())
        assert "baseline" not in app.screen._state.scene(100, 40).picture.text()
        await pilot.press("b")
        await until(lambda: "△ neuron · baseline" in app.text())
        await pilot.press("d")
        assert "curves are subtracted of two sessions" in app.text()
        await pilot.press("w")
        await until(lambda: app.answers, "the session to be scored")
        assert app.answers == [four.path("calm")]
