"""Every text can be read on what it stands on, by the formula of WCAG 2.2 (success criteria 1.4.3 and 1.4.11)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.color import Color
from rich.style import Style
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.theme import BUILTIN_THEMES

from srm_explorer.engine.figures import LegendEntry
from srm_explorer.tui.charts.palette import (
    CHANCE,
    CYCLE_MARKERS,
    FILLED,
    FIXED,
    FRAME,
    GRID,
    HOLLOW,
    ON_BACKGROUND,
    WARNING,
    on_background,
    session_style,
    styles_of,
)
from srm_explorer.tui.charts.picture import is_braille
from srm_explorer.tui.compare.screen import CompareScreen
from srm_explorer.tui.explorer.startup import LaunchOptions
from srm_explorer.tui.results.token_strip import HEAT, LIGHT_FROM
from srm_explorer.tui.settings import Settings, load_settings
from srm_explorer.tui.themes import NAMES, READABLE, inks_of, readable, themed_style

from .pictures import Painter, paint, stage

pytestmark = pytest.mark.drawn

TEXT, GRAPHICS = 4.5, 3.0
Rgb = tuple[int, int, int]
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def rgb(colour: Color) -> Rgb:
    red, green, blue = colour.get_truecolor()
    return red, green, blue


def luminance(colour: Rgb) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    shares = [part / 255 for part in colour]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: Rgb, second: Rgb) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_the_formula_gives_the_standards_own_numbers() -> None:
    assert contrast(BLACK, WHITE) == pytest.approx(21)
    assert contrast((0x76, 0x76, 0x76), WHITE) == pytest.approx(4.54, abs=0.005)


def inks() -> Iterator[Style]:
    """What groups and their bands are drawn in."""
    levels = [LegendEntry(str(at), "level", ()) for at in range(20)]
    for style in (*FIXED.values(), *styles_of(levels).values()):
        yield from (style.style, style.band)


def backgrounds(theme: str) -> list[Rgb]:
    """What charts lie on."""
    colours = READABLE[NAMES[theme]].to_color_system().generate()
    return [rgb(Color.parse(colours[name])) for name in ("background", "surface")]


@pytest.mark.parametrize("theme", ["dark", "light", "terminal"])
def test_charts_can_be_read_and_grids_are_fainter_than_what_is_drawn(theme: str) -> None:
    # The terminal's own background, and that of what the command line prints, may be either.
    beneath = [BLACK, WHITE] if theme == "terminal" else backgrounds(theme)

    def least(style: Style) -> float:
        shown = style if theme == "terminal" else on_background(style, dark=theme == "dark")
        assert shown.color is not None
        return min(contrast(rgb(shown.color), below) for below in beneath)

    assert {style.color.number for style in inks() if style.color} <= set(ON_BACKGROUND)
    for style in (FRAME, WARNING):
        assert least(style) >= TEXT
    for style in inks():
        assert least(style) >= GRAPHICS, style
    assert least(CHANCE) >= GRAPHICS
    if theme == "terminal":
        assert GRID.dim
        return
    assert all(1.4 <= least(GRID) < 0.7 * least(style) for style in inks())
    # Names of sessions stand in tables in the colours of their curves, the highlighted row on a colour of its own.
    beneath.append(rgb(Color.parse(READABLE[NAMES[theme]].variables["primary-muted"])))
    assert all(least(session_style(at).style) >= TEXT for at in range(8))
    for style in FIXED.values():
        assert least(style.band) <= least(style.style)
    # What a figure is exported as.
    assert all(
        contrast(rgb(on_background(style, dark=False).color or Color.default()), WHITE) >= GRAPHICS for style in inks()
    )


LINES = [*(FIXED[role].style for role in FIXED if role != "chance"), *(session_style(at).style for at in range(8))]
OTHERS = [name for name, theme in BUILTIN_THEMES.items() if not theme.ansi]


@pytest.mark.parametrize("name", OTHERS)
def test_charts_and_texts_can_be_read_in_every_theme_of_textual(name: str) -> None:
    theme = readable(name)
    colours = {**theme.to_color_system().generate(), **theme.variables}
    beneath = [rgb(Color.parse(colours[below])) for below in ("background", "surface")]
    cursor = rgb(Color.parse(colours["primary-muted"]))
    inks_in_use = inks_of(name)
    assert set(inks_in_use) == set(ON_BACKGROUND)

    def ink(style: Style) -> Rgb:
        assert style.color is not None
        assert style.color.number is not None
        return rgb(Color.from_ansi(inks_in_use[style.color.number]))

    def least(style: Style) -> float:
        return min(contrast(ink(style), below) for below in beneath)

    assert all(least(style) >= TEXT for style in (*LINES, FRAME, WARNING))
    assert all(contrast(ink(session_style(at).style), cursor) >= TEXT for at in range(8))
    assert all(least(style) >= GRAPHICS for style in (*inks(), CHANCE))
    assert 1.4 <= least(GRID) < min(map(least, LINES))
    # No two curves and bands of a chart become one.
    drawn = {style.color.number for style in inks() if style.color}
    assert len({inks_in_use[number] for number in drawn if number is not None}) >= len(drawn) - 2 * (name in READABLE)
    if name in READABLE:
        return
    texts = [
        theme.foreground,
        *(colours[f"text-{kind}"] for kind in ("primary", "accent", "warning", "error", "success")),
    ]
    for text in (*texts, colours["foreground-muted"]):
        assert text is not None
        assert min(contrast(rgb(Color.parse(text)), below) for below in (*beneath, cursor)) >= TEXT


def test_a_theme_is_chosen_by_its_name_and_kept_and_charts_take_its_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(tmp_path, monkeypatch)

    async def scene(painter: Painter) -> None:
        app: Any = painter.app
        await painter.until(" lit ")
        assert app.theme == "textual-dark"
        await painter.press("colon")
        await painter.press(*"theme gruvbox")
        await painter.until("theme gruvbox")
        await painter.press("down", "enter", until=lambda: app.theme == "gruvbox")
        assert themed_style(app, FRAME).color == Color.from_ansi(inks_of("gruvbox")[FRAME.color.number])
        background = readable("gruvbox").to_color_system().generate()["background"]
        await painter.until(
            lambda: any(
                segment.style is not None and segment.style.bgcolor == Color.parse(background)
                for line in painter._lines()
                for segment in line
            )
        )

    paint(scene, "120x36", LaunchOptions(session=Path("saved_sessions/example.json")), Settings())
    assert load_settings(environment={}).theme == "gruvbox"


def test_the_terminals_own_colours_warn_in_the_colour_of_its_text() -> None:
    assert READABLE[NAMES["terminal"]].to_color_system().generate()["text-warning"] == "ansi_default"


def test_digits_can_be_read_on_their_heat() -> None:
    for level, colour in enumerate(HEAT):
        ink = BLACK if level >= LIGHT_FROM else WHITE
        assert contrast(rgb(Color.from_ansi(colour)), ink) >= TEXT


MARKERS = {*HOLLOW, *FILLED, *CYCLE_MARKERS, *(style.marker for style in FIXED.values())}


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_text_of_the_screens_can_be_read(theme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(tmp_path, monkeypatch)
    grid = on_background(GRID, dark=theme == "dark").color
    assert grid is not None
    bad: dict[str, str] = {}
    seen: set[tuple[Rgb, Rgb]] = set()

    async def look(painter: Painter, where: str) -> None:
        await painter.take(where)
        screen = painter.app.screen
        # What lies under a dialog is dimmed on purpose.
        lines = painter._lines()
        if isinstance(screen, ModalScreen):
            region = next(child for child in screen.children if child.display).region
            lines = [list(Strip(line).crop(region.x, region.right)) for line in lines[region.y : region.bottom]]
        for line in lines:
            for segment in line:
                style = segment.style
                if style is None or style.color is None or style.bgcolor is None or not segment.text.strip():
                    continue
                ink, paper = rgb(style.color), rgb(style.bgcolor)
                ink, paper = (paper, ink) if style.reverse else (ink, paper)
                text = any(character.isalnum() for character in segment.text)
                drawn = any(is_braille(character) or character in MARKERS for character in segment.text)
                if not text and (not drawn or ink == rgb(grid)):
                    continue
                seen.add((ink, paper))
                if contrast(ink, paper) < (TEXT if text else GRAPHICS):
                    bad[f"{ink} on {paper}"] = f"{where}: {segment.text.strip()[:20]}"

    async def scene(painter: Painter) -> None:
        await painter.until(" lit ")
        await look(painter, "counts")
        await painter.press("g", "v", "v")
        await look(painter, "compass")
        for name in ("thresholds", "dose", "runs", "effects"):
            await painter.press("right_square_bracket")
            await look(painter, name)
        await painter.press("question_mark")
        await look(painter, "help")
        await painter.press("escape", "2")
        await look(painter, "form")
        await painter.press("o", until="gentle")
        await look(painter, "sessions")
        await painter.press("m", "j", "c", until=lambda: isinstance(painter.app.screen, CompareScreen))
        await look(painter, "compare")

    paint(scene, "120x36", LaunchOptions(session=Path("saved_sessions/example.json")), Settings(theme=theme))
    assert len(seen) > 20
    assert not bad
