"""A chart: a picture painted once for each size and figure, and what moves over it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from textual import events
from textual.geometry import Size
from textual.message import Message

from engine.errors import ExplorerError
from tui.paint.scene import Scene
from tui.widgets.cell_view import CellView

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
        """The chart was clicked where the spotlight can point; an angle in degrees."""

        theta: int

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.scene: Scene | None = None
        self._wanted: tuple[Hashable, Painter] | None = None
        self._shown: tuple[Hashable, Size] | None = None
        self._kept: OrderedDict[tuple[Hashable, Size], Scene] = OrderedDict()
        self._painting = False
        self._theta, self._threshold = 0, 0.5

    def request(self, key: Hashable, painter: Painter) -> None:
        """Show a scene: at once where it was painted before, else as soon as it is.

        Args:
            key: equal for equal scenes.
            painter: paints it.
        """
        self._wanted = (key, painter)
        self._follow()

    def say(self, text: str) -> None:
        """Show words in place of a chart, at once."""
        self._wanted = (text, lambda width, height: Scene.message(text, width, height))
        size = self.size
        if size.area and self._shown != (text, size):
            self._take((text, size), Scene.message(text, size.width, size.height))

    def point(self, theta: int, threshold: float) -> None:
        """Point the spotlight: an angle in degrees and a cosine."""
        if (theta, threshold) != (self._theta, self._threshold):
            self._theta, self._threshold = theta, threshold
            self._move()

    def settled(self) -> bool:
        """Whether what is wanted is on the screen."""
        return not self._painting and (self._wanted is None or self._shown == (self._wanted[0], self.size))

    def on_resize(self, event: events.Resize) -> None:
        """Paint for the new size."""
        self._follow()

    def on_show(self, event: events.Show) -> None:
        """Catch up with what was wanted while hidden."""
        self._follow()

    def on_click(self, event: events.Click) -> None:
        """Tell the angle under the mouse."""
        at = event.get_content_offset(self)
        theta = None if self.scene is None or at is None else self.scene.angle_at(*at)
        if theta is not None:
            event.stop()
            self.post_message(self.Pointed(theta))

    def _follow(self) -> None:
        size = self.size
        if self._wanted is None or not size.area or not self.is_attached:
            return
        key = (self._wanted[0], size)
        if key == self._shown:
            return
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
            self._take(key, known)
        elif not self._painting:
            # One painter at a time; what is wanted when it is done is painted next, all in between is never painted.
            self._painting = True
            self.run_worker(self._paint(key, self._wanted[1]), name="paint", exit_on_error=True)

    async def _paint(self, key: tuple[Hashable, Size], painter: Painter) -> None:
        width, height = key[1]
        try:
            scene = await asyncio.to_thread(painter, width, height)
        except ExplorerError as error:
            scene = Scene.message(str(error), width, height)
        finally:
            self._painting = False
        self._kept[key] = scene
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        if key[1] == self.size:
            self._take(key, scene)
        self._follow()

    def _take(self, key: tuple[Hashable, Size], scene: Scene) -> None:
        self._shown, self.scene = key, scene
        self._move()
        self.post_message(self.Painted())

    def _move(self) -> None:
        if self.scene is not None:
            self.put(self.scene.picture, self.scene.over(self._theta, self._threshold))
