"""What every painter of a chart for papers has: words from the figure, and a place on a page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from srm_explorer.engine.figures.curves import LegendEntry
from srm_explorer.engine.figures.paper.style import Look


class Charted(Protocol):
    """What a chart shows, as data."""

    @property
    def title(self) -> str: ...
    @property
    def legend(self) -> Sequence[LegendEntry]: ...
    @property
    def warnings(self) -> Sequence[str]: ...


F = TypeVar("F", bound=Charted)


class Painter(ABC, Generic[F]):
    """Draws one kind of chart on a part of a page."""

    def __init__(self, shown: F) -> None:
        self.shown = shown

    def title(self) -> Sequence[str]:
        """Lines over it."""
        return (self.shown.title,)

    @abstractmethod
    def height(self, width: float) -> float:
        """Inches that it takes on a page of so many."""

    @abstractmethod
    def paint(self, made: Any, look: Look, area: tuple[float, float, float, float]) -> None:
        """Draw into an area of a figure: left, bottom, width and height, in inches."""

    @abstractmethod
    def handle(self, look: Look, entry: LegendEntry) -> dict[str, Any]:
        """How an entry of the legend looks: properties of a line."""
