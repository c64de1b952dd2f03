from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[3]
# In a process of its own: what is replaced is replaced for the whole process.
PROGRAM = """
import sys
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate
from textual.strip import Strip
from srm_explorer.tui.terminal import textual_patches as left_crop

if "as-it-is" not in sys.argv:
    assert left_crop.install_left_crop() == left_crop.applies()
strip = Strip([Segment("abcdef", Style(bold=True)), Segment("ghij", Style())])
other = Strip([Segment("0123456789", Style())])
update = ChopsUpdate([{0: strip, 10: other}, {0: None, 10: other}], [(0, 3, 14), (1, 12, 13)], [[10, 20], [10, 20]])
sys.stdout.write(update.render_segments(Console(color_system="truecolor", force_terminal=True, width=20)))
"""


def sent(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return done.stdout


def painted(sequences: str) -> dict[tuple[int, int], str]:
    """Characters by (row, column) after some sequences."""
    cells: dict[tuple[int, int], str] = {}
    row = col = 0
    for part in re.split(r"(\x1b\[\d+;\d+H|\x1b\[[\d;]*m|\n)", sequences):
        if move := re.fullmatch(r"\x1b\[(\d+);(\d+)H", part):
            row, col = int(move[1]) - 1, int(move[2]) - 1
        elif not part.startswith("\x1b") and part != "\n":
            for character in part:
                cells[row, col] = character
                col += 1
    return cells


def test_the_replacement_knows_the_installed_textual() -> None:
    from srm_explorer.tui.terminal import textual_patches

    now = textual_patches.fingerprint(textual_patches._ORIGINAL)
    assert textual_patches.applies(), (
        f"ChopsUpdate.render_segments is another one ({now}): see whether it crops on the "
        "left by now; if not, check left_crop against it and add its fingerprint to KNOWN"
    )


def test_exactly_the_changed_cells_are_sent() -> None:
    cells = painted(sent())
    wanted = {(0, col): "abcdefghij0123456789"[col] for col in range(3, 14)} | {(1, 12): "2"}
    assert cells == wanted
    # What Textual itself sends holds the same cells, and more.
    plain = painted(sent("as-it-is"))
    assert cells.items() <= plain.items()
    assert len(plain) > len(cells)


def test_another_textual_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from textual._compositor import ChopsUpdate

    from srm_explorer.tui.terminal import textual_patches

    monkeypatch.setattr(textual_patches, "KNOWN", frozenset({"of another version"}))
    before = ChopsUpdate.render_segments
    assert textual_patches.install_left_crop() is False
    assert ChopsUpdate.render_segments is before
