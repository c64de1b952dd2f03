from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from rich.cells import cell_len

from srm_explorer.engine.session import Session
from srm_explorer.tui.cli.demo import END_OF_TEXT, legend_in_words, texts
from srm_explorer.tui.cli.show import ChartChoice, show_plane


def written(session: Session, said: Callable[[int, int], str]) -> Session:
    runs = (dataclasses.replace(run, text=said(run.prompt, run.condition)) for run in session.runs)
    return session.changed(runs=tuple(runs))


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_words_explain_every_column_and_name_this_plane(save: Callable[..., Session], width: int) -> None:
    session = save()
    lines = legend_in_words(session, session.planes[0], 0.3, width)
    assert max(map(cell_len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for told in (
        "baseline ",
        "clamped ",
        "A, φ ",
        "most > .3 ",
        "n3 at 0°, n5 at 90°",
        "cosine above .3",
        "arithmetic ",
        "chance ",
    ):
        assert told in text
    assert "σ" not in text
    if width >= 80:
        assert len(lines) == 11


def test_sigma_is_explained_where_values_are_counted_in_it(save: Callable[..., Session]) -> None:
    clamp = {"site": "blocks.1.mlp.hook_post", "neurons": [3], "op": "clamp", "values": [-3, 3], "unit": "sigma"}
    session = save(interventions=[clamp])
    assert "σ: its spread at baseline" in " ".join(legend_in_words(session, session.planes[0], 0.3, 200))


def test_texts_are_those_that_differ_in_the_order_of_the_prompts(save: Callable[..., Session]) -> None:
    session = save(prompts=9)
    last = len(session.conditions) - 1
    parted = written(session, lambda prompt, condition: f"word{prompt}" + "!" * (condition == last and prompt % 2))
    lines = texts(parted, 80)
    assert lines[0] == "what it wrote, untouched and at +20: 4 of 9 texts differ, the first 3 of them"
    assert [line.split()[-1] for line in lines if "untouched  " in line] == ["word1", "word3", "word5"]
    assert [line.split()[-1] for line in lines if "+20  " in line] == ["word1!", "word3!", "word5!"]
    alike = texts(written(session, lambda prompt, condition: "same"), 80)
    assert alike == ["what it wrote, untouched and at +20: 0 of 9 texts differ"]


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_text_keeps_its_column_shows_its_end_and_obeys_no_control(save: Callable[..., Session], width: int) -> None:
    session = save(prompts=1)
    said: dict[int, str] = {0: "yes" + END_OF_TEXT, len(session.conditions) - 1: "\x1b[31mred\n" + "word " * 200}
    lines = texts(written(session, lambda _, condition: said.get(condition, "")), width)
    assert max(map(cell_len, lines[1:])) <= max(40, width)
    assert "yes [end]" in "\n".join(lines)
    assert not any(character in "\n".join(lines) for character in ("\x1b", END_OF_TEXT))
    (last,) = [index for index, line in enumerate(lines) if line.startswith("  +20")]
    assert all(line.startswith(" " * 13) for line in lines[last + 1 :])
    assert lines[-1].endswith("…")
    assert len(lines) - last == 3


def test_the_demo_prints_its_explanations_between_the_table_and_the_charts(
    save: Callable[..., Session], capsys: pytest.CaptureFixture[str]
) -> None:
    session = save()
    choice = ChartChoice("polar", "counts", 0.1)
    show_plane(session, session.planes[0], choice, 80, 24, lambda level: [f"above {level}"])
    printed = capsys.readouterr().out.splitlines()
    table, words, chart = (
        next(i for i, line in enumerate(printed) if mark in line) for mark in ("group ", "above 0.1", "radius: ")
    )
    assert table < words < chart
