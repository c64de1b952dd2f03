from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.groups import swept_groups
from srm_explorer.engine.session import Session
from srm_explorer.tui.charts.subject import Subject, dose_figure, polar_figure, threshold_figure


def symmetric(make: Callable[..., Session]) -> Session:
    made = make(prompts=12, values=(-5, 5), thresholds=(0.5, 0.1))
    return made.changed(
        resolved=tuple(tuple(None if v is None else (v,) for v in one.values) for one in made.conditions)
    )


def subject(session: Session, sight: str, *, plain: bool = False, baseline: bool = True) -> Subject:
    plane = session.planes[0]
    return Subject(session, plane, (), baseline, lambda: swept_groups(session, plane), sight, plain=plain)  # pyright: ignore


def test_what_clamps_do_to_the_phase_is_not_told_of_vectors_without_them(
    spread_session: Callable[..., Session],
) -> None:
    session = symmetric(spread_session)
    for sight, told in (("observed", True), ("axis out", False)):
        one = subject(session, sight)
        figure = polar_figure(one, one.view(), "mean", 0.5)
        assert any("symmetric" in warning for warning in figure.warnings) is told
        assert figure.title.endswith(" · without n3") is not told


def test_plain_charts_have_nothing_beside_their_curves(spread_session: Callable[..., Session]) -> None:
    session = symmetric(spread_session)
    for plain in (True, False):
        one = subject(session, "observed", plain=plain)
        seen = one.view()
        curves = (*polar_figure(one, seen, "counts", 0.5).curves, *threshold_figure(one, seen, 0.5).counts)
        assert any(curve.dashed for curve in curves) is not plain
        assert any(panel.others for panel in dose_figure(one, 0.5).panels) is not plain
    # What is to be subtracted is known all the same.
    one = subject(session, "minus arithmetic", plain=True)
    assert polar_figure(one, one.view(), "mean", 0.5).legend[0].label == "clamped"


def test_a_baseline_that_is_not_shown_is_still_subtracted(spread_session: Callable[..., Session]) -> None:
    session = symmetric(spread_session)
    one = subject(session, "observed", baseline=False)
    seen = one.view()
    assert [group.label for group in seen.groups] == ["clamped"]
    base, swept = swept_groups(session, session.planes[0])
    figure = threshold_figure(one, seen, 0.5, difference=True)
    share = swept.sweep.fraction[0] - base.sweep.fraction[0]
    np.testing.assert_allclose(figure.counts[0].y[:-1], share)


def test_a_session_without_an_axis_to_take_out_says_so(spread_session: Callable[..., Session]) -> None:
    made = spread_session(values=(2, 3))
    spec = made.spec.to_dict()
    spec["interventions"][0]["site"] = "blocks.0.mlp.hook_post"
    bare = made.changed(spec=type(made.spec).from_dict(spec))
    with pytest.raises(ExplorerError, match="could be taken out"):
        subject(bare, "axis out").view()
