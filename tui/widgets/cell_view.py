"""Cells on the screen of which only those that change are sent to the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.paint.picture import Cell, Picture
from tui.paint.signs import Mode, sign

Place = tuple[int, int]
# Unchanged cells between two changed ones that cost less than moving the cursor over them.
NEAR = 3


class CellView(Widget):
    """Shows a picture and the cells that something over it replaces."""

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._picture = Picture.blank(0, 0)
        self._over: Mapping[Place, Cell] = {}
        self._styles: dict[Style, Style] = {}

    def put(self, picture: Picture | None = None, over: Mapping[Place, Cell] | None = None) -> None:
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
        places = {place for place in old_over.keys() | new_over.keys() if old_over.get(place) != new_over.get(place)}
        if new is not old:
            places |= _differing(old, new)
        if places:
            self.refresh(*_regions(places))

    def shown(self) -> Picture:
        """What stands on the screen now, as one picture."""
        rows = [list(row) for row in self._picture.rows]
        for (col, row), cell in self._over.items():
            rows[row][col] = cell
        return Picture(self._picture.width, tuple(map(tuple, rows)))

    def render_line(self, y: int) -> Strip:
        """One line of cells, those of one style together."""
        width = self.size.width
        row = self._picture.rows[y] if y < self._picture.height else ()
        over, mode = self._over, markers_of(self.app)
        segments: list[Segment] = []
        text, style = "", None
        for col, below in enumerate(row):
            character, look = over.get((col, y)) or below
            if look is not style and look != style:
                if text:
                    segments.append(Segment(text, self._style(style)))
                text, style = "", look
            text += sign(character, mode) if character else ""
        if text:
            segments.append(Segment(text, self._style(style)))
        return Strip(segments).crop_extend(0, width, self._style(None))

    def notify_style_update(self) -> None:
        """Forget what a theme has changed."""
        self._styles.clear()
        super().notify_style_update()

    def _style(self, style: Style | None) -> Style:
        key = style or _NONE
        found = self._styles.get(key)
        if found is None:
            base: Any = self.visual_style.rich_style
            found = self._styles[key] = base + key
        return found


_NONE = Style()


def markers_of(app: object) -> Mode:
    """What an app was told to draw charts with; braille where it says nothing."""
    told = getattr(getattr(app, "settings", None), "markers", "braille")
    return told if told in ("block", "ascii") else "braille"


def _differing(old: Picture, new: Picture) -> set[Place]:
    return {
        (col, y)
        for y, (before, after) in enumerate(zip(old.rows, new.rows, strict=True))
        if before != after
        for col, (one, other) in enumerate(zip(before, after, strict=True))
        if one != other
    }


def _regions(places: Iterable[Place]) -> list[Region]:
    """Regions of one line each, neighbours joined where that costs less than moving the cursor."""
    regions: list[Region] = []
    for col, row in sorted(places, key=lambda place: (place[1], place[0])):
        last = regions[-1] if regions else None
        if last is not None and last.y == row and col - last.right <= NEAR:
            regions[-1] = Region(last.x, row, col - last.x + 1, 1)
        else:
            regions.append(Region(col, row, 1, 1))
    return regions
