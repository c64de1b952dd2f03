from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from srm_explorer.engine.figures.bands import GroupBand, PlaneBands
from srm_explorer.engine.session import Session
from srm_explorer.tui.charts.subject import TRANSFORMS
from srm_explorer.tui.results.state import BANDS_KEPT, BandCache, BandKey, ResultsState


def bands(by: tuple[str, ...] = (), plane: int = 0) -> PlaneBands:
    group = GroupBand("clamped", 10, (0.1, 0.2), np.eye(2), 6.0, None, (0.0, 1.0))
    return PlaneBands(plane, by, 0.95, 100, 0, 1, (group,))


def saved(make: Callable[..., Session], **fields: object) -> Session:
    return make().changed(path=Path("/nowhere/spread.json"), saved="2026-01-01T00:00:00+00:00", revision=3, **fields)


def test_stored_bands_are_read_and_others_asked_for_once(spread_session: Callable[..., Session]) -> None:
    session = saved(spread_session, bands={"planes": [bands().to_dict()]})
    cache = BandCache()
    assert cache.missing(session, 0, ()) is None
    assert cache.get(session, 0, ()) is not None
    key = cache.missing(session, 0, ("type",))
    assert key is not None
    assert key == BandKey(Path("/nowhere/spread.json"), 3, 0, ("type",))
    assert key.arguments == {"plane": 0, "by": ["type"]}
    assert cache.get(session, 0, ("type",)) is None
    assert cache.put(key, {"bands": bands(("type",)).to_dict()}) == ""
    found = cache.get(session, 0, ("type",))
    assert found is not None
    assert found.by == ("type",)
    assert cache.missing(session, 0, ("type",)) is None


def test_what_cannot_be_computed_is_not_asked_for_again(spread_session: Callable[..., Session]) -> None:
    session, cache = saved(spread_session), BandCache()
    key = cache.missing(session, 0, ())
    assert key is not None
    assert "no bands" in cache.put(key, {"tables": []})
    assert cache.get(session, 0, ()) is None
    assert cache.missing(session, 0, ()) is None
    # Another revision is another session.
    assert cache.missing(session.changed(revision=4), 0, ()) is not None


def test_a_session_that_is_not_saved_is_never_asked_about(spread_session: Callable[..., Session]) -> None:
    cache = BandCache()
    assert cache.missing(spread_session(), 0, ()) is None
    assert cache.missing(saved(spread_session).changed(saved=""), 0, ()) is None


def test_old_bands_are_let_go(spread_session: Callable[..., Session]) -> None:
    cache = BandCache()
    for revision in range(BANDS_KEPT + 1):
        cache.put(BandKey(Path("/nowhere/spread.json"), revision, 0, ()), {"bands": bands().to_dict()})
    assert cache.missing(saved(spread_session).changed(revision=0), 0, ()) is not None
    assert cache.missing(saved(spread_session).changed(revision=BANDS_KEPT), 0, ()) is None


def test_transforms_go_round_and_a_new_grouping_begins_with_its_first_choice(
    spread_session: Callable[..., Session],
) -> None:
    state = ResultsState()
    state.take_session(spread_session())
    seen = [state.transform]
    for _ in TRANSFORMS:
        state.next_transform()
        seen.append(state.transform)
    assert seen == [*TRANSFORMS, TRANSFORMS[0]]
    state.next_choice()
    assert state.choice == 1
    state.next_grouping()
    assert state.choice == 0
