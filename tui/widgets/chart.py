"""Pictures as widgets; of cells that change under a chart only those are sent to the terminal."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.charts.palette import GRID
from srm_explorer.tui.charts.picture import PLAIN, Cell, Mode, Picture, glyph
from srm_explorer.tui.charts.scene import Position, Scene
from srm_explorer.tui.themes import themed_style

# Unchanged cells between two changed ones that cost less than moving the cursor over them.
NEAR = 3


class CellView(Widget):
    """Shows a picture and the cells that something over it replaces."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._picture = Picture.blank(0, 0)
        self._over: Mapping[Position, Cell] = {}
        self._styles: dict[Style, Style] = {}

    def put(self, picture: Picture | None = None, over: Mapping[Position, Cell] | None = None) -> None:
        """Show another picture, or the same one with other cells over it; what looks the same is not sent again.

        Args:
            picture: the one that is shown by default.
            over: cells that take the place of the picture's; none by default.
        """
        old, old_over = self._picture, self._over
        new, new_over = picture or old, over or {}
        self._picture, self._over = new, new_over
        if (new.width, new.height) != (old.width, old.height):
            self.refresh()
            return
        changed = {at for at in old_over.keys() | new_over.keys() if old_over.get(at) != new_over.get(at)}
        if new is not old:
            changed |= _differing(old, new)
        if changed:
            self.refresh(*_regions(changed))

    def shown(self) -> Picture:
        return self._picture.with_cells(self._over)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        row = self._picture.rows[y] if y < self._picture.height else ()
        over, mode = self._over, markers_of(self.app)
        segments: list[Segment] = []
        text, style, faint = "", None, False
        for col, below in enumerate(row):
            character, look = over.get((col, y)) or below
            if look is not style and look != style:
                if text:
                    segments.append(Segment(text, self._style(style)))
                text, style, faint = "", look, look == GRID
            text += glyph(character, mode, faint=faint) if character else ""
        if text:
            segments.append(Segment(text, self._style(style)))
        return Strip(segments).crop_extend(0, width, self._style(None))

    def notify_style_update(self) -> None:
        self._styles.clear()
        super().notify_style_update()

    def _style(self, style: Style | None) -> Style:
        key = style or PLAIN
        themed = self._styles.get(key)
        if themed is None:
            base: Any = self.visual_style.rich_style
            themed = self._styles[key] = base + themed_style(self.app, key)
        return themed


def markers_of(app: object) -> Mode:
    markers = getattr(getattr(app, "settings", None), "markers", "braille")
    return markers if markers in ("block", "ascii") else "braille"


def _differing(old: Picture, new: Picture) -> set[Position]:
    return {
        (col, y)
        for y, (before, after) in enumerate(zip(old.rows, new.rows, strict=True))
        if before != after
        for col, (old_cell, new_cell) in enumerate(zip(before, after, strict=True))
        if old_cell != new_cell
    }


def _regions(positions: Iterable[Position]) -> list[Region]:
    """Regions of one line each, neighbours joined where that costs less than moving the cursor."""
    regions: list[Region] = []
    for col, row in sorted(positions, key=lambda position: (position[1], position[0])):
        last = regions[-1] if regions else None
        if last is not None and last.y == row and col - last.right <= NEAR:
            regions[-1] = Region(last.x, row, col - last.x + 1, 1)
        else:
            regions.append(Region(col, row, 1, 1))
    return regions


_LEFT = 1

# Pictures that are kept: every threshold of a session in both states of the baseline.
KEPT = 16

Painter = Callable[[int, int], Scene]
"""Paints a scene of a width and a height; called in a thread, so it may use nothing that changes."""


class ChartView(CellView):
    """Shows scenes. Painting happens beside the event loop; moving the spotlight merges a few cells at once."""

    class Painted(Message):
        """Another scene is on the screen."""

    @dataclass
    class Pointed(Message):
        """The chart was pressed where the spotlight can point, or it is dragged; an angle in degrees."""

        theta: int

    @dataclass
    class Wheeled(Message):
        """The wheel was turned over the chart: 1 away from the hand, or -1."""

        step: int

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.scene: Scene | None = None
        self._requested: tuple[Hashable, Painter] | None = None
        self._shown: tuple[Hashable, Size] | None = None
        self._kept: OrderedDict[tuple[Hashable, Size], Scene] = OrderedDict()
        self._background = Background(self.call_later)
        self._theta, self._threshold = 0, 0.5
        self._dragged = False
        self._pointed: int | None = None

    def request(self, key: Hashable, painter: Painter) -> None:
        """Show a scene: at once where it was painted before, else as soon as it is.

        Args:
            key: equal for equal scenes.
            painter: paints it.
        """
        self._requested = (key, painter)
        self._follow()

    def say(self, text: str) -> None:
        self._requested = (text, lambda width, height: Scene.message(text, width, height))
        size = self.size
        if size.area and self._shown != (text, size):
            self._take((text, size), Scene.message(text, size.width, size.height))

    def point(self, theta: int, threshold: float) -> None:
        """Point the spotlight: an angle in degrees and a cosine."""
        if (theta, threshold) != (self._theta, self._threshold):
            self._theta, self._threshold = theta, threshold
            self._move()

    @property
    def spotlight(self) -> tuple[int, float]:
        """Its angle in degrees, and the cosine that is counted above."""
        return self._theta, self._threshold

    def settled(self) -> bool:
        return not self._background.is_running("paint") and (
            self._requested is None or self._shown == (self._requested[0], self.size)
        )

    def on_resize(self, event: events.Resize) -> None:
        self._follow()

    def on_show(self, event: events.Show) -> None:
        self._follow()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Point the spotlight, which then follows the pointer."""
        if event.button == _LEFT and self._follow_pointer(event):
            event.stop()
            # What is dragged here is no text.
            self.screen.clear_selection()
            self.capture_mouse()
            self._dragged = True

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._dragged:
            event.stop()
            self._follow_pointer(event)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if self._dragged:
            event.stop()
            self._dragged = False
            self.release_mouse()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.post_message(self.Wheeled(1))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.post_message(self.Wheeled(-1))

    def _follow_pointer(self, event: events.MouseEvent) -> bool:
        """Point where the pointer is, within the cell where the terminal tells so much; whether that is an angle."""
        if self.scene is None:
            return False
        # A terminal that tells the cell alone means its middle.
        within = [place % 1 or 0.5 for place in (event.pointer_x, event.pointer_y)]
        left, top = self.gutter.left, self.gutter.top
        col, row = event.x - left + within[0] - 0.5, event.y - top + within[1] - 0.5
        theta = self.scene.angle_at(col, row, self._dragged)
        if theta is None:
            return False
        is_told = self._pointed is not None
        self._pointed = theta
        if not is_told:
            # What the hand did meanwhile is drawn once.
            self.call_after_refresh(self._tell_pointed)
        return True

    def _tell_pointed(self) -> None:
        theta, self._pointed = self._pointed, None
        if theta is not None and (theta != self._theta or not self._dragged):
            self.post_message(self.Pointed(theta))

    def _follow(self) -> None:
        size = self.size
        if self._requested is None or not size.area or not self.is_attached:
            return
        key = (self._requested[0], size)
        if key == self._shown:
            return
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
            self._take(key, known)
        elif not self._background.is_running("paint"):
            # One painter at a time; what is wanted when it is done is painted next, all in between is never painted.
            paint = functools.partial(self._requested[1], size.width, size.height)
            self._background.run(paint, functools.partial(self._keep, key), key="paint")

    def _keep(self, key: tuple[Hashable, Size], painted: Scene | ExplorerError) -> None:
        size = key[1]
        scene = Scene.message(str(painted), size.width, size.height) if isinstance(painted, ExplorerError) else painted
        self._kept[key] = scene
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        if size == self.size:
            self._take(key, scene)
        self._follow()

    def _take(self, key: tuple[Hashable, Size], scene: Scene) -> None:
        self._shown, self.scene = key, scene
        self._move()
        self.post_message(self.Painted())

    def _move(self) -> None:
        if self.scene is not None:
            self.put(self.scene.picture, self.scene.over(self._theta, self._threshold))


class PictureView(Widget):
    """Shows a picture that was painted for this widget's size."""

    DEFAULT_CSS = "PictureView { background: $surface; color: $foreground; &:ansi { background: ansi_default; } }"

    _picture: Picture | None = None

    @property
    def picture(self) -> Picture | None:
        return self._picture

    def show(self, picture: Picture | None) -> None:
        self._picture = picture
        self.refresh()

    def render_line(self, y: int) -> Strip:
        base, width = self.visual_style.rich_style, self.size.width
        if self._picture is None or y >= self._picture.height:
            return Strip.blank(width, base)
        mode = markers_of(self.app)
        cells = self._picture.rows[y]
        segments = [
            Segment(glyph(text, mode, faint=style == GRID), base + themed_style(self.app, style))
            for text, style in cells
            if text
        ]
        return Strip(segments).adjust_cell_length(width, base).simplify()
