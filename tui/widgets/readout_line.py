"""The line under a chart: where the spotlight stands and what it lights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.paint.picture import Picture
from tui.widgets.cell_view import CellView

if TYPE_CHECKING:
    from tui.state.readout import Readout


class ReadoutLine(CellView):
    """Counts and means at the spotlight, of the swept runs and of the baseline's, as many as there is room for."""

    DEFAULT_CSS = "ReadoutLine { height: 1; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._readout: Readout | None = None

    def show(self, readout: Readout | None) -> None:
        """Show another readout; nothing without one."""
        self._readout = readout
        self._draw()

    def on_resize(self) -> None:
        """Say what fits the new width."""
        self._draw()

    def _draw(self) -> None:
        width = self.size.width
        if width:
            text = "" if self._readout is None else readout_text(self._readout, width)
            self.put(Picture.from_ansi(text, width, 1))


def readout_text(readout: Readout, width: int) -> str:
    """The readout in the longest form that fits, with SGR codes."""
    from rich.cells import cell_len

    from engine.figures.numbers import short, three_digits

    angle, above = f"θ {readout.theta}°", f"> {short(readout.threshold)}"
    lit, total, mean = readout.lit, readout.total, three_digits(readout.mean)
    base_lit, base_total, base_mean = readout.baseline_lit, readout.baseline_total, three_digits(readout.baseline_mean)
    counts = f"lit {lit:,} of {total:,}" if total else "no run is swept"
    counts = counts if readout.as_charted else f"observed: {counts}"
    base = f"(baseline {base_lit:,} of {base_total:,})" if base_total else ""
    means = f"mean {mean}" if total else ""
    base_means = f"(baseline {base_mean})" if base_total else ""
    brief = f"lit {lit}/{total}" if total else ""
    brief = brief if readout.as_charted else f"observed {brief}"
    brief_base = f"(base {base_lit}/{base_total})" if base_total else ""
    forms = (
        (f"spotlight {angle}", f" {above}", f"  {counts}", base, f"  {means}", base_means),
        (f"spotlight {angle}", f" {above}", f"  {counts}", base, f"  {means}", ""),
        (angle, above, brief, brief_base, means, ""),
        (angle, above, brief, "", "", ""),
        (angle, above, "", "", "", ""),
    )
    for form in forms:
        plain = " ".join(part for part in form if part.strip())
        if cell_len(plain) <= width:
            head, rest = form[0], " ".join(part for part in form[1:] if part.strip())
            return f"\x1b[1m{head}\x1b[0m {rest}"
    return ""
