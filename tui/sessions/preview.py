"""What the highlighted session holds: notes, what was done, warnings, a small chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.glyphs import glyphs_of
from srm_explorer.tui.sessions.row import Row
from srm_explorer.tui.widgets.chart import PictureView
from srm_explorer.tui.widgets.table_render import one_line

if TYPE_CHECKING:
    from srm_explorer.tui.sessions.preview_text import Preview


SOON = 0.1
"""Seconds a row stays highlighted before its session is read."""
ROOMY = 14
"""Rows from which warnings are told in full."""
KEPT = 32


class SessionPreview(Horizontal):
    """Shows one session of the list; files are read in a thread, what comes too late is dropped."""

    DEFAULT_CSS = """
    SessionPreview {
        height: 35%;
        min-height: 10;
        max-height: 18;
        border-top: solid $panel-lighten-2;
        border-title-color: $text-muted;
        #preview-facts { width: 1fr; height: 1fr; padding: 0 1; }
        #preview-chart { width: 42%; max-width: 72; height: 1fr; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._row: Row | None = None
        self._key: tuple[object, ...] = ()
        self._timer: Timer | None = None
        self._known: dict[tuple[object, ...], Preview] = {}
        self._background = Background(self.call_later)

    def compose(self) -> ComposeResult:
        yield Static("", id="preview-facts", markup=False)
        yield PictureView(id="preview-chart")

    def show(self, row: Row | None) -> None:
        """Show a session; nothing happens where it is shown already and has not changed."""
        size = self.query_one(PictureView).size
        key = () if row is None else (row.path, row.modified, row.size, row.kind, row.saved, size)
        if key == self._key:
            return
        self._row, self._key = row, key
        self._background.cancel("read")
        if self._timer is not None:
            self._timer.stop()
        if row is None:
            self.border_title = ""
            self.query_one("#preview-facts", Static).update("")
            self.query_one(PictureView).show(None)
        elif key in self._known:
            self._paint(row.name, self._known[key])
        else:
            self._timer = self.set_timer(SOON, self._read)

    def on_resize(self) -> None:
        self.show(self._row)

    def on_unmount(self) -> None:
        self._background.close()

    def _read(self) -> None:
        row, key = self._row, self._key
        width, height = self.query_one(PictureView).size
        if row is None:
            return

        def read() -> Preview:
            # It needs numpy and pydantic, which the first frame does without.
            from srm_explorer.tui.sessions.preview_text import read_preview

            return read_preview(row, width, height)

        def take(preview: Preview | ExplorerError) -> None:
            if isinstance(preview, ExplorerError):
                raise preview  # what a file lacks is part of its preview
            while len(self._known) >= KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = preview
            self._paint(row.name, preview)

        self._background.run(read, take, key="read")

    def _paint(self, name: str, preview: Preview) -> None:
        self.border_title = Content(one_line(name))
        self.query_one("#preview-facts", Static).update(self._facts(preview))
        self.query_one(PictureView).show(preview.chart)

    def _facts(self, preview: Preview) -> Content:
        """Warnings, notes and what was done; where room is short, the beginning of the notes and of what was done."""
        signs = glyphs_of(self.app)
        width, height = self.query_one("#preview-facts").content_size
        lines = [Content.styled(one_line(preview.problem), "$text-error")] if preview.problem else []
        roomy = height >= ROOMY
        for warning in preview.warnings[: 2 if roomy else 1]:
            shown = Content.styled(f"{signs.warning} {one_line(warning)}", "$text-warning")
            lines.append(shown if roomy else shown.truncate(max(1, width), ellipsis=True))
        notes = [one_line(line) for line in preview.notes.splitlines() if line.strip()]
        least = min(len(notes), 2)
        kept = notes[: max(least, height - len(lines) - len(preview.facts))]
        if len(kept) < len(notes) and kept:
            kept[-1] += f" {signs.ellipsis}"
        lines += [Content.styled(line, "italic").truncate(max(1, width), ellipsis=True) for line in kept]
        for name, text in preview.facts:
            line = Content.assemble((f"{name:<9}", "$foreground-muted"), one_line(text))
            lines.append(line.truncate(max(1, width), ellipsis=True))
        return Content("\n").join(lines)
