"""Every tab over sessions that came from elsewhere: what is known is shown, what is not is said to be missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.session import save_session
from srm_explorer.engine.session.imported import session_from
from srm_explorer.tui.sessions.importing import ImportScreen

from .conftest import offered

TEXTS = ("It rained.", "It rained all day.", "no no no no no no no")


def imported(kind: str) -> Path:
    rows = np.random.default_rng(0).normal(size=(18, 6)).astype(np.float32)
    runs: list[dict[str, Any]] = [
        {"core_id": f"door_{i // 3}", "type": "plain", "sweep": ("baseline", "-20", "20")[i % 3]} for i in range(18)
    ]
    if kind != "vectors":
        runs = [{**cells, "prompt": f"Door {i // 3}", "output": TEXTS[i % 3]} for i, cells in enumerate(runs)]
    session = session_from(None if kind == "texts" else rows, runs, name=kind)
    return save_session(session, paths.session_path(kind)).path


@pytest.mark.process
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (
            "texts",
            {
                "Polar": "holds texts alone, no vectors to draw",
                "Thresh": "holds texts alone, no vectors to draw",
                "Dose": "holds texts alone, no vectors to draw",
                "Runs": "other text",
                "Effects": "texts are compared as",
                "Planes": "no vectors",
            },
        ),
        (
            "vectors",
            {
                "Polar": "This session has no plane to draw",
                "Runs": "door_0 plain",
                "Effects": "what its runs wrote is unknown",
                "Planes": "no plane",
            },
        ),
    ],
)
async def test_every_tab_shows_what_is_known_or_says_what_is_missing(
    drive: Any, own_folders: Path, kind: str, says: dict[str, str]
) -> None:
    async with drive(session=imported(kind), size=(80, 24)) as (app, pilot, until):
        await until(lambda: app.explorer.controller.sessions.session is not None, "the session")
        await pilot.press("3")
        results = app.explorer.results
        for tab, told in says.items():
            for _ in range(10):
                if results.tab == tab:
                    break
                await pilot.press("right_square_bracket")
            await until(lambda told=told: told in " ".join(app.text().split()), f"{tab}: {told}")


async def test_the_palette_imports_files_and_shows_their_session(drive: Any, own_folders: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "theirs.npz", **{f"prompt_{i}": np.arange(4.0) + i for i in range(5)})
    async with drive(size=(80, 24)) as (app, pilot, until):
        await pilot.press("colon", *"import files")
        await until(lambda: offered(app).startswith("import files"), "the command")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, ImportScreen), "the box")
        await pilot.press(*"theirs.npz", "enter")
        await until(lambda: app.explorer.controller.sessions.session is not None, "the session")
        assert app.explorer.controller.sessions.session.name == "theirs"
