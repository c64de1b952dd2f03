from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from srm_explorer.engine.figures.table import PlaneChoice
from srm_explorer.engine.session import load_session

RESID = "blocks.4.hook_resid_post"


@pytest.mark.process
async def test_a_plane_is_made_saved_shown_and_found_again(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):
        controller = app.explorer.controller
        assert controller is not None
        await until(lambda: controller.sessions.session is not None, "the session")
        choice = PlaneChoice(RESID, "difference(at=swept | at=baseline)", "pc1(at=baseline)")
        controller.planes.add(choice)
        await until(lambda: len(controller.sessions.session.planes) == 2, "the plane")
        await until(lambda: "plane 2 added and saved" in app.text(), "what was done")
        assert app.explorer.results.state.plane == 1
        assert app.explorer.results.tab == "Polar"
        assert load_session(stored).planes[1].key == (choice.site, choice.a, choice.b)
        app.explorer.results.state.go_to_plane(0)
        controller.planes.add(choice)
        await until(lambda: app.explorer.results.state.plane == 1, "the same plane")
        assert len(controller.sessions.session.planes) == 2
        await pilot.press("3", "P")
        await until(lambda: len(controller.sessions.session.planes) == 3, "the plane held out")
        await until(lambda: "held out: made on 4 units" in app.text(), "the halves")
        assert load_session(stored).planes[2].held_out is not None
        await pilot.press("P")
        await until(lambda: app.explorer.results.state.plane == 1, "all units again")
        controller.planes.add(PlaneChoice(RESID, "mean(type=x)", 1))
        await until(lambda: "no prompt has a factor 'type'" in app.text(), "why not")
        assert len(load_session(stored).planes) == 3
