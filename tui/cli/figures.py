"""`--figure FILE`: the chart that a command shows, drawn for a paper and written to a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from srm_explorer.engine import paths
from srm_explorer.engine.figures.paper import (
    ColumnWidth,
    Drawn,
    checked_form,
    draw,
    figure_bytes,
    unseen_characters,
)
from srm_explorer.engine.io.files import check_writable, write_atomic
from srm_explorer.tui.cli.output import note, say, visible


@dataclass(frozen=True)
class FigureFile:
    """A file that a figure is to be written to."""

    path: Path
    form: str
    column: ColumnWidth

    @classmethod
    def of(cls, path: Path | None, column: ColumnWidth) -> FigureFile | None:
        """The file, checked before anything is computed for it; None where none is named.

        Raises:
            ExplorerError: its ending is no format, its folder cannot be written, or matplotlib is not installed.
        """
        if path is None:
            return None
        form = checked_form(path)
        check_writable(paths.absolute(path).parent)
        return cls(path, form, column)

    def write(self, shown: Drawn, what: str, *, quiet: bool = False, beside: bool = True) -> None:
        """Draw a chart and write it.

        Args:
            what: it is: "the effects of NAME".
            quiet: whether nothing is said of it.
            beside: whether something else was asked for, so that it is a note that says where it was written.
        """
        write_atomic(self.path, figure_bytes(draw(shown, self.column), self.form))
        if quiet:
            return
        if unseen := unseen_characters(shown):
            note(visible(unseen))
        (note if beside else say)(f"{visible(what)} written to {visible(str(self.path))}")
