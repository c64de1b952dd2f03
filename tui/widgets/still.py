"""The chart in view as a picture over its cells, where the terminal shows pictures, while nothing changes."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.timer import Timer

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.terminal.graphics import (
    KITTYS_QUESTION,
    MISSING,
    NONE,
    QUESTION,
    Choice,
    Graphics,
    Way,
    asks,
    is_extra_there,
    removal,
    sequence,
)
from srm_explorer.tui.widgets.chart import ChartView

if TYPE_CHECKING:
    from textual.app import App

    from srm_explorer.tui.charts.scene import Scene

QUIET, MOST_QUIET = 0.6, 5.0
"""Seconds without a change before a chart is drawn as a picture; they grow where pictures are short-lived."""

_LIVED = 3.0
"""Seconds a picture is looked at; one that is taken away sooner was sent in vain."""

_ANSWER = 2.0
"""Seconds a terminal has to answer."""

_MOST_PIXELS = 1400
"""Width of a picture that the terminal itself can make wider."""


@dataclass(frozen=True)
class _Shown:
    """A picture on the screen: which, and the cells it fills."""

    key: Hashable
    region: Region


class Stills:
    """Draws the chart of the screen in view as a picture, and takes the picture away with the first change under it.

    Whatever is painted in its cells, by whomever, is a change: the spotlight that turns, another tab, a box above it.
    So the cells show the chart at once, as on any terminal, and the picture follows when all is quiet.

    Args:
        app: whose driver writes to the terminal.
        forget: takes what the terminal shows for unknown.
    """

    def __init__(self, app: App[Any], forget: Callable[[], None]) -> None:
        self._app, self._forget = app, forget
        self._background = Background(app.call_later)
        self.graphics = Graphics()
        self.is_on = False
        self._is_asked_for = False
        self._shown: _Shown | None = None
        self._shown_at = 0.0
        self._quiet = QUIET
        self._timer: Timer | None = None

    @property
    def way(self) -> Way | None:
        return self.graphics.way if self.is_on else None

    def begin(self, choice: Choice) -> None:
        """Ask the terminal what it can show, where that is wished for; its answers come as keys do."""
        if asks(choice) and is_extra_there():
            self._ask()

    def toggle(self) -> None:
        """Draw charts as pictures, or as characters again, whatever the settings say.

        Raises:
            ExplorerError: what draws them is not installed, or this terminal shows none.
        """
        if self.is_on and self.graphics.way is not None:
            self.is_on = False
            self._take_away()
            return
        if not is_extra_there():
            raise MISSING
        if self.graphics.is_whole:
            self._check()
            self.is_on = True
            self._wait()
        elif asks("on"):
            self._is_asked_for = True
            self._ask()
            self._app.set_timer(_ANSWER, self._say_none)
        else:
            self._check()

    def take(self, reply: str) -> None:
        """Take an answer of the terminal."""
        before, self.graphics = self.graphics, self.graphics.with_reply(reply)
        if self.graphics.asks_kitty and not before.asks_kitty:
            self._write(KITTYS_QUESTION)
        elif self.graphics.is_whole and self.is_on:
            self._say_none()
            self._wait()

    def painted(self, update: object) -> None:
        """Follow what was written to the terminal just now."""
        if self.way is None:
            return
        chart = self._chart()
        if self._shown is not None:
            if _touches(update, self._shown.region) or chart is None or self._key(chart) != self._shown.key:
                self._take_away(chart)
                self._wait()
        elif chart is not None and _touches(update, chart.content_region):
            self._wait()

    def end(self) -> None:
        """Leave the terminal without a picture."""
        self.is_on = False
        self._take_away()

    def _ask(self) -> None:
        self.is_on = True
        self.graphics = Graphics()
        self._write(QUESTION)

    def _check(self) -> None:
        if self.graphics.way is None:
            raise NONE

    def _say_none(self) -> None:
        """Say that there are none, to whom asked for them by a key."""
        if self._is_asked_for:
            self._is_asked_for = False
            try:
                self._check()
            except ExplorerError as error:
                self.is_on = False
                refuse = getattr(self._app.screen, "refuse", None)
                if refuse is not None:
                    refuse(error)

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._app.set_timer(self._quiet, self._draw)

    def _draw(self) -> None:
        chart = self._chart()
        scene = None if chart is None else chart.scene
        if self.way is None or self._shown is not None or chart is None or scene is None:
            return
        if not chart.settled():
            self._wait()
            return
        if scene.figure is None or not _is_bare(chart):
            # It is painted once more before there is another, or it is bare.
            return
        work = functools.partial(
            _drawn, scene, chart.spotlight, chart.content_region, self.graphics, self.way, self._colour(chart)
        )
        self._background.run(work, functools.partial(self._show, self._key(chart)), key="still")

    def _show(self, key: Hashable, drawn: str | ExplorerError | None) -> None:
        chart = self._chart()
        if not drawn or isinstance(drawn, ExplorerError) or self.way is None or self._shown is not None:
            return
        if chart is not None and self._key(chart) == key and _is_bare(chart):
            region = chart.content_region
            self._write(f"\x1b7\x1b[{region.y + 1};{region.x + 1}H{drawn}\x1b8")
            if self.graphics.way != "kitty":
                # The characters are gone.
                self._forget()
            self._shown, self._shown_at = _Shown(key, region), time.monotonic()
        else:
            # Another scene may look the same, and be written nowhere.
            self._wait()

    def _take_away(self, chart: ChartView | None = None) -> None:
        self._background.cancel("still")
        if self._shown is None:
            return
        self._shown = None
        short_lived = time.monotonic() - self._shown_at < _LIVED
        self._quiet = min(2 * self._quiet, MOST_QUIET) if short_lived else QUIET
        if self.graphics.way == "kitty":
            self._write(removal())
        elif self._app.screen_stack:
            # Characters take its place one by one, so that all of them are needed.
            (chart or self._app.screen).refresh()

    def _chart(self) -> ChartView | None:
        if not self._app.screen_stack:
            return None
        return next((view for view in self._app.screen.query(ChartView) if view.content_region.area), None)

    def _key(self, chart: ChartView) -> Hashable:
        return id(chart), id(chart.scene), chart.spotlight, chart.content_region, self._colour(chart)

    def _colour(self, chart: ChartView) -> tuple[int, int, int]:
        if self._app.current_theme.ansi:
            return self.graphics.background or (0, 0, 0)
        return chart.background_colors[1].rgb

    def _write(self, text: str) -> None:
        driver = self._app._driver
        if driver is not None:
            driver.write(text)
            driver.flush()


def _drawn(
    scene: Scene,
    spotlight: tuple[int, float],
    region: Region,
    graphics: Graphics,
    way: Way,
    background: tuple[int, int, int],
) -> str | None:
    """What makes the terminal show a chart; None where there is no room for it, or it cannot be drawn."""
    # Only for a picture, in its thread: matplotlib takes a second.
    from srm_explorer.tui.charts.still import still_of

    cell = graphics.cell or graphics.USUAL_CELL
    size = region.width * cell[0], region.height * cell[1]
    if way != "sixel" and size[0] > _MOST_PIXELS:
        size = _MOST_PIXELS, round(size[1] * _MOST_PIXELS / size[0])
    assert scene.figure is not None
    try:
        pixels = still_of(scene.figure, *size, background, spotlight)
    except (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, ValueError):
        # The characters stay, which show the same.
        return None
    return None if pixels is None else sequence(way, pixels, region.width, region.height)


def _is_bare(chart: ChartView) -> bool:
    """Whether a chart is seen as a whole: no message, list or box is above it, and nothing is cut off."""
    compositor, region = chart.screen._compositor, chart.content_region
    if region.intersection(chart.screen.size.region) != region:
        return False
    for y in range(region.y, region.bottom):
        over = [widget for widget, seen, _ in compositor.layers_visible[y] if seen.overlaps(region)]
        if not over or over[0] is not chart:
            return False
    return True


def _touches(update: object, region: Region) -> bool:
    """Whether something was written into a region of the screen."""
    if isinstance(update, ChopsUpdate):
        return any(
            region.y <= y < region.bottom and left < region.right and right > region.x
            for y, left, right in update.spans
        )
    return update is not None and (not isinstance(update, LayoutUpdate) or update.region.overlaps(region))
