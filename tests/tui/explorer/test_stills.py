"""Charts as pictures over the screen: after a quiet moment, in a chart's cells, and gone with the next change."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import pytest

from srm_explorer.tui.settings import Settings
from srm_explorer.tui.terminal.graphics import Graphics, removal
from srm_explorer.tui.terminal.replies import TerminalReply
from srm_explorer.tui.widgets.chart import ChartView

IMAGE = pytest.importorskip("PIL.Image", reason="the extra `pictures` is not installed")
pytest.importorskip("matplotlib", reason="the extra `pictures` is not installed")
# matplotlib looks for fonts with a program, once.
pytestmark = [pytest.mark.process, pytest.mark.drawn]

KITTY = ("\x1b[6;18;9t", "\x1bP>|kitty\x1b\\", "\x1b[?62;c", "\x1b_Gi=31;OK\x1b\\", "\x1b[?62;c")
SIXEL = ("\x1b[6;16;8t", "\x1b[?62;4c")
NEITHER = ("\x1b[?62;22c",)
QUESTION = "\x1b[c"


class Line:
    """The line to a terminal: keeps what is written, and answers for it."""

    def __init__(self, app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app, self.written = app, ""
        write = app._driver.write

        def keep(data: str) -> None:
            self.written += data
            write(data)

        monkeypatch.setattr(app._driver, "write", keep)

    def answer(self, *replies: str) -> None:
        for reply in replies:
            self.app.post_message(TerminalReply(reply))

    def clear(self) -> None:
        self.written = ""


def chart_of(app: Any) -> ChartView:
    return next(chart for chart in app.screen.query(ChartView) if chart.content_region.area)


@pytest.fixture(autouse=True)
def soon_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUIET", "MOST_QUIET"):
        monkeypatch.setattr(f"srm_explorer.tui.widgets.still.{name}", 0.1)


def begin(app: Any, monkeypatch: pytest.MonkeyPatch, *replies: str) -> Line:
    """Ask as at the start, and be answered."""
    app.stills.graphics = Graphics()
    line = Line(app, monkeypatch)
    app.stills.begin(app.settings.pictures)
    line.answer(*replies)
    return line


@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_a_quiet_chart_is_a_picture_that_the_next_key_takes_away(
    drive: Any, stored: Path, monkeypatch: pytest.MonkeyPatch, theme: Any
) -> None:
    async with drive(session=stored, settings=Settings(theme=theme, pictures="on"), size=(120, 40)) as (
        app,
        pilot,
        until,
    ):
        await until(lambda: chart_of(app).settled(), "the chart")
        line = begin(app, monkeypatch, *KITTY)
        await until(lambda: "a=T" in line.written and ",m=0;" in line.written.replace("m=0", ",m=0"), "the picture")
        region = chart_of(app).content_region
        assert f"\x1b[{region.y + 1};{region.x + 1}H\x1b_Ga=T" in line.written
        assert f"c={region.width},r={region.height}," in line.written
        encoded = "".join(re.findall(r"\x1b_G[^;]*m=[01];([^\x1b]*)", line.written))
        picture = IMAGE.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
        assert picture.size == (9 * region.width, 18 * region.height)
        assert (sum(picture.getpixel((0, 0))) < 384) == (theme == "dark")
        if theme == "light":
            return
        line.clear()
        await pilot.press("right")
        await until(lambda: removal() in line.written, "the spotlight's turn")
        await until(lambda: "a=T" in line.written, "the next picture")
        line.clear()
        await pilot.press("question_mark")
        await until(lambda: removal() in line.written, "the help above it")
        assert "a=T" not in line.written
        await pilot.press("escape")
        await until(lambda: "a=T" in line.written, "the picture again")
        line.clear()
        await pilot.press("I")
        assert removal() in line.written
        await pilot.press("right")
        await pilot.pause(0.5)
        assert "a=T" not in line.written
        await pilot.press("I")
        await until(lambda: "a=T" in line.written, "the picture asked for")
        await pilot.press("q")
        assert line.written.endswith(removal()) or removal() in line.written.rpartition("a=T")[2]


async def test_sixels_are_as_large_as_the_cells_and_are_painted_over(
    drive: Any, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drive(session=stored, settings=Settings(pictures="on"), size=(120, 40)) as (app, pilot, until):
        await until(lambda: chart_of(app).settled(), "the chart")
        line = begin(app, monkeypatch, *SIXEL)
        await until(lambda: "\x1bP9;1;0q" in line.written, "the picture")
        region = chart_of(app).content_region
        assert f'"1;1;{8 * region.width};{16 * region.height}' in line.written
        updates: list[Any] = []
        painted = app.stills.painted
        monkeypatch.setattr(app.stills, "painted", lambda update: (updates.append(update), painted(update)))
        await pilot.press("right")
        # All its cells are written anew, not only those under the ray.
        rows = set(range(region.y, region.bottom))

        def written_rows() -> set[int]:
            spans = [span for update in updates for span in getattr(update, "spans", ())]
            return {y for y, left, right in spans if left <= region.x and right >= region.right}

        await until(lambda: rows <= written_rows(), "the characters")


async def test_without_a_word_of_the_terminal_nothing_is_sent(
    drive: Any, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drive(session=stored, settings=Settings(pictures="off"), size=(120, 40)) as (app, pilot, until):
        await until(lambda: chart_of(app).settled(), "the chart")
        line = begin(app, monkeypatch)
        assert not line.written
        # A key asks after all; a terminal that shows none says so, and so does the last line.
        await pilot.press("I")
        assert QUESTION in line.written
        line.answer(*NEITHER)
        await until(lambda: "shows no pictures" in app.status_line(), "the refusal")
        await pilot.press("right")
        await pilot.pause(0.5)
        assert "a=T" not in line.written
        assert "\x1bP" not in line.written
