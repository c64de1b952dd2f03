"""What tests of the screen share: no worker, and sessions whose runs lie where a test puts them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
import pytest
import textual.app
import textual.pilot
from textual.pilot import Pilot
from textual.screen import Screen

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session
from srm_explorer.tui.backend import worker_access
from tests.waiting import at_rest, begin_test, until, works_beside


async def _rest(*_: object) -> bool:
    await at_rest()
    return True


# Textual's own waiting takes a busy machine for an idle app, and sends a message to each widget on the screen to see
# whether it comes.
textual.app.wait_for_idle = textual.pilot.wait_for_idle = at_rest
Pilot._wait_for_screen = _rest

SITE = "blocks.1.mlp.hook_post"

SpreadSession = Callable[..., Session]


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """Nothing works on beside a screen that is gone: it would look at the next test's folders, twice a second."""
    begin_test()
    yield
    until(lambda: not works_beside(), "the end of the work beside the screen")
    # What is left of a screen stays, in caches of Textual: it is looked through once.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A screen asks for a worker as soon as it is used; what the worker does is tested end to end."""

    def none(**_: Any) -> NoReturn:
        raise ExplorerError("no worker is started here")

    monkeypatch.setattr(worker_access, "find_or_start_worker", none)


_draw = Screen._compositor_refresh


def _leave_undrawn(screen: Screen[Any]) -> None:
    if screen is not screen.app.screen:
        _draw(screen)
        return
    screen._compositor._dirty_regions.clear()
    screen._dirty_widgets.clear()
    screen.app._update_mouse_over(screen)


@pytest.fixture(autouse=True)
def drawn_when_read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no terminal is, frames are drawn for nobody: a quarter of the time. What a test reads is drawn for it.

    Tests of what is sent to a terminal have the mark `drawn`.
    """
    if request.node.get_closest_marker("drawn") is None:
        monkeypatch.setattr(Screen, "_compositor_refresh", _leave_undrawn)


@pytest.fixture
def spread_session() -> SpreadSession:
    """Makes a session; see `make` for what it may be told."""
    return make


def make(
    prompts: int = 10,
    values: Sequence[float] = (-20, -5, 5, 20),
    thresholds: Sequence[float] = (0.7, 0.5, 0.3, -0.2),
    seed: int = 3,
    broken: Sequence[int] = (),
    planes: int = 1,
    finished: int | None = None,
    name: str = "spread",
) -> Session:
    """Prompts under a baseline and a sweep, unit vectors all over the disc; runs named in `broken` are not finite."""
    spec = Experiment.from_dict(
        {
            "model": {"name": "gpt2"},
            "prompts": {"sets": ["reasoning"]},
            "interventions": [{"site": SITE, "neurons": [3], "op": "clamp", "values": list(values)}],
            "capture": {"sites": [SITE]},
            "planes": [{"site": SITE, "a": 3, "b": 5 + at} for at in range(planes)],
            "spotlight": {"thresholds": list(thresholds)},
        }
    )
    listed = conditions(spec)
    grid = [(prompt, one.index) for prompt in range(prompts) for one in listed][:finished]
    rng = np.random.default_rng(seed)
    records: list[PlaneRecord] = []
    for plane in spec.planes:
        angle, radius = rng.uniform(0, 2 * np.pi, len(grid)), np.sqrt(rng.uniform(0, 1, len(grid)))
        norm = rng.uniform(0.5, 30, len(grid))
        xy = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1) * norm[:, None]
        for run in broken:
            xy[run] = np.nan
        records.append(PlaneRecord.of(SITE, plane.a, plane.b, xy, norm))
    return Session(
        name=name,
        state="finished" if finished is None else "interrupted",
        spec=spec,
        conditions=listed,
        resolved=(),
        prompts=tuple(
            PromptRecord("reasoning", f"It rains {at}", {"type": ("dry", "wet")[at % 2]}, (5, at), 0, f"{at:064x}")
            for at in range(prompts)
        ),
        runs=tuple(
            RunRecord(at, prompt, condition, 0, (7, at), f" so they said {at}", 3, "length", 0.25, {})
            for at, (prompt, condition) in enumerate(grid)
        ),
        planes=tuple(records),
    )
