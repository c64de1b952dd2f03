"""Draw the README's screenshots: the full screen over the example session, as SVG in docs/screenshots.

    python tools/take_screenshots.py

Nothing of this machine is in them, and no model is loaded: the screen is staged as for the pictures of the tests.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "tui")]

from pictures import Painter, paint, stage  # noqa: E402

from srm_explorer.tui.compare.screen import CompareScreen  # noqa: E402
from srm_explorer.tui.explorer.startup import LaunchOptions  # noqa: E402
from srm_explorer.tui.results.run_screen import RunView  # noqa: E402
from srm_explorer.tui.sessions.screen import SessionsScreen  # noqa: E402

FOLDER = ROOT / "docs" / "screenshots"
STORED = LaunchOptions(session=Path("saved_sessions/example.json"))


async def polar(painter: Painter) -> None:
    """Counts over the plane, one curve for each value."""
    await painter.until(" lit ")
    await painter.press("g", "L", "l", "l")
    await painter.take("polar", svg=True)


async def compass(painter: Painter) -> None:
    """Every run in the plane, and the chord of the spotlight."""
    await painter.until(" lit ")
    await painter.press("g", "v", "v", *"LLLt")
    await painter.take("compass", svg=True)


async def runs(painter: Painter) -> None:
    """The runs that a filter lists, then one of them beside its baseline."""
    await painter.until(" lit ")
    await painter.press("]", "]", "]", "slash", *"changed value!=0", "enter")
    await painter.take("runs", svg=True)
    await painter.press("j", "enter", until=lambda: isinstance(painter.app.screen, RunView))
    await painter.take("run", svg=True)


async def sessions(painter: Painter) -> None:
    """The list of sessions, then two of them compared."""
    await painter.press("o", until=lambda: isinstance(painter.app.screen, SessionsScreen))
    await painter.until("gentle")
    await painter.take("sessions", svg=True)
    await painter.press("m", "j", "c", until=lambda: isinstance(painter.app.screen, CompareScreen))
    await painter.take("compare", svg=True)


async def narrow(painter: Painter) -> None:
    """The same in a small terminal, one pane at a time."""
    await painter.until(" lit ")
    await painter.press("g", "L", "l", "l")
    await painter.take("narrow", svg=True)


SCENES = ((polar, "160x48"), (compass, "160x48"), (runs, "120x36"), (sessions, "120x36"), (narrow, "80x24"))


def main() -> None:
    """Take all of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for scene, size in SCENES:
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            for name in ("DATA", "STATE", "CONFIG", "CACHE"):
                patch.setenv(f"XDG_{name}_HOME", str(Path(folder) / name.lower()))
            stage(Path(folder), patch)
            for name, svg in paint(scene, size, STORED).svgs.items():
                (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")
                print(FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main()
