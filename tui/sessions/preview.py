"""What the highlighted session holds: notes, what was done, warnings, a small chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.glyphs import glyphs_of
from srm_explorer.tui.sessions.row import Row
from srm_explorer.tui.text import cut_amid, wrapped
from srm_explorer.tui.widgets.chart import PictureView
from srm_explorer.tui.widgets.table_render import fit, one_line

if TYPE_CHECKING:
    from srm_explorer.tui.sessions.preview_text import Preview


SOON = 0.1
"""Seconds a row stays highlighted before its session is read."""
ROOMY = 14
"""Rows from which two warnings are told."""
SHARE, LEAST, MOST = 0.35, 10, 18
"""Of the screen's lines, how many the preview has where the list needs the others, and between what."""
KEPT = 32
TITLE_EDGES = 4
"""Cells of the line above that the name does not have."""


class SessionPreview(Horizontal):
    """Shows one session of the list; files are read in a thread, what comes too late is dropped."""

    DEFAULT_CSS = """
    SessionPreview {
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
            self.query_one("#preview-facts", Static).update("", layout=False)
            self.query_one(PictureView).show(None)
        elif key in self._known:
            self._paint(row.name, self._known[key])
        else:
            self._timer = self.set_timer(SOON, self._read)

    def take_lines(self, lines: int, rows: int) -> None:
        """Take the lines that a list of so many rows leaves over of all of them, within limits."""
        height = max(LEAST, min(MOST, max(round(lines * SHARE), lines - rows)))
        if self.styles.height is None or self.styles.height.value != height:
            self.styles.height = height

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
        room = max(0, self.size.width - TITLE_EDGES)
        self.border_title = Content(cut_amid(one_line(name), room, glyphs_of(self.app).ellipsis))
        self.query_one("#preview-facts", Static).update(self._facts(preview), layout=False)
        self.query_one(PictureView).show(preview.chart)

    def _facts(self, preview: Preview) -> Content:
        """Warnings, notes and what was done, each on one line, and on as many as it takes while there are some left."""
        signs = glyphs_of(self.app)
        width, height = self.query_one("#preview-facts").content_size
        lines = [("", one_line(preview.problem), "$text-error")] if preview.problem else []
        for warning in preview.warnings[: 2 if height >= ROOMY else 1]:
            lines.append((f"{signs.warning} ", one_line(warning), "$text-warning"))
        notes = [one_line(line) for line in preview.notes.splitlines() if line.strip()]
        least = min(len(notes), 2)
        kept = notes[: max(least, height - len(lines) - len(preview.facts))]
        if len(kept) < len(notes) and kept:
            kept[-1] += f" {signs.ellipsis}"
        lines += [("", line, "italic") for line in kept]
        lines += [(f"{name:<9}", one_line(text), "") for name, text in preview.facts]
        rooms = [max(2, width - cell_len(name)) for name, _, _ in lines]
        wraps = [wrapped(text, room) or [""] for (_, text, _), room in zip(lines, rooms, strict=True)]
        spare = height - len(lines)
        shown: list[Content] = []
        # What takes few lines more comes first: a long warning does not take those that a fact lacks.
        extra = dict.fromkeys(range(len(lines)), 0)
        for at in sorted(extra, key=lambda at: len(wraps[at])):
            extra[at] = max(0, min(spare, len(wraps[at]) - 1))
            spare -= extra[at]
        for index, ((name, _, style), room, parts) in enumerate(zip(lines, rooms, wraps, strict=True)):
            most = 1 + extra[index]
            if most < len(parts):
                parts[most - 1 :] = [fit(" ".join(parts[most - 1 :]), room, ellipsis=signs.ellipsis)]
            for at, part in enumerate(parts):
                head = name if at == 0 else " " * cell_len(name)
                shown.append(Content.assemble((head, style or "$foreground-muted"), (part, style or "$foreground")))
        return Content("\n").join(shown)
