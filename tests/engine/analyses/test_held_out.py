"""Planes made of the runs that are shown in them, and those made on one half of the units and shown on the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats as _stats

from srm_explorer.engine.analyses.bands import session_bands
from srm_explorer.engine.analyses.compare import compare_study
from srm_explorer.engine.analyses.plane_finder import finder_study
from srm_explorer.engine.analyses.plane_search import halves
from srm_explorer.engine.analyses.planes import held_out, plane_of, with_plane
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.groups import points_of, session_warnings, swept_groups
from srm_explorer.engine.figures.table import PlaneChoice
from srm_explorer.engine.session import Session, load_session, save_session, units_of
from srm_explorer.engine.session.export import runs_csv
from srm_explorer.engine.stats.permutation import sign_flip_test

RESIDUAL, SITE = "blocks.1.hook_resid_post", "blocks.1.mlp.hook_post"
stats: Any = _stats
Planted = Callable[..., Session]
DIFFERENCE = PlaneChoice(RESIDUAL, "difference(type=plain | type=odd)", 0)
EXPERIMENTS = 1000


def kinds(prompt: int) -> dict[str, str]:
    return {"type": ("plain", "odd")[prompt // 2 % 2]}


def with_difference(planted: Planted) -> Session:
    session = planted(factors=kinds)
    return with_plane(session, session.vectors()[RESIDUAL], DIFFERENCE)


def test_a_held_out_plane_is_made_of_one_half_and_holds_the_other_alone(planted: Planted) -> None:
    session = with_difference(planted)
    record = held_out(session, session.planes[-1], seed=3)
    split = record.held_out
    assert split is not None
    assert (split.made, split.shown) == (12, 12)
    vectors = session.vectors()[RESIDUAL]
    assert isinstance(vectors, np.ndarray)
    made = np.isin([run.prompt for run in session.runs], split.prompts)
    baseline = np.array([session.conditions[run.condition].kind == "baseline" for run in session.runs])
    plain = np.array([session.prompts[run.prompt].factors["type"] == "plain" for run in session.runs])
    direction = vectors[made & baseline & plain].mean(axis=0) - vectors[made & baseline & ~plain].mean(axis=0)
    np.testing.assert_allclose(record.xy[~made, 0], vectors[~made] @ direction / np.linalg.norm(direction), rtol=1e-5)
    assert np.isnan(record.xy[made]).all()
    # No prompt set lies in one half alone, and the same seed gives the same halves.
    assert {session.prompts[prompt].set for prompt in split.prompts} == {"a", "b"}
    assert held_out(session, session.planes[-1], seed=3).held_out == split
    assert held_out(session, session.planes[-1], seed=4).held_out != split


def test_it_is_saved_shown_tested_and_exported_by_its_half(planted: Planted) -> None:
    session = with_difference(planted)
    choice = PlaneChoice(DIFFERENCE.site, DIFFERENCE.a, DIFFERENCE.b, held_out=0)
    changed = with_plane(session, session.vectors()[RESIDUAL], choice)
    assert session.path is not None
    save_session(changed, session.path)
    again = load_session(session.path)
    record = again.planes[-1]
    assert record.held_out is not None
    np.testing.assert_array_equal(record.xy, plane_of(session, session.vectors()[RESIDUAL], choice).xy)
    assert held_out(again, again.planes[-2]) is record
    groups = swept_groups(again, record, ("type",))
    assert sum(group.n_runs for group in groups) == len(again.runs) // 2
    assert all(group.sweep.n == group.n_runs and not group.sweep.nonfinite_runs for group in groups)
    (bands,) = session_bands(again, again.vectors(), [()], planes=[len(again.planes) - 1], resamples=1000)
    assert {band.units for band in bands.groups} == {12}
    assert all(null.mean.shape == (2, 360) and np.isfinite(null.mean).all() for null in bands.nulls)
    header, *lines = runs_csv(again).decode().splitlines()
    assert "held_out" in header
    assert len(lines) == len(again.runs)


def test_what_was_made_of_the_runs_it_shows_is_warned_about_until_it_is_held_out(planted: Planted) -> None:
    session = with_difference(planted)
    plane = session.planes[-1]
    assert any("made of the runs that are shown" in line for line in session_warnings(session, plane, ()))
    assert not any("by construction" in line for line in session_warnings(session, session.planes[0], ()))
    shown = session_warnings(session, held_out(session, plane), ())
    assert not any("by construction" in line for line in shown)
    assert any("made on 12 units, the 12 others" in line for line in shown)
    asked = {"plane": len(session.planes), "groups": ["type=plain", "type=odd"], "resamples": 100}
    for setting, warned in (({}, True), ({"held_out": True}, False)):
        (difference, _) = tables_in(compare_study(session, {**asked, **setting}))
        assert any("by construction" in note for note in difference.notes) == warned
    with pytest.raises(ExplorerError, match="neither made of runs nor chosen"):
        held_out(session, session.planes[0])


def test_a_plane_that_was_searched_is_held_out_on_the_units_it_was_tested_on(planted: Planted) -> None:
    session = planted()
    asked = {"among": "all", "groups": ["baseline", "+9"], "permutations": 100, "seed": 5}
    (found,) = tables_in(finder_study(session, asked))
    choice = found.planes[0]
    assert choice is not None
    added = with_plane(session, session.vectors()[SITE], choice)
    assert any(
        "chosen among many planes on 12 of these 24" in line for line in session_warnings(added, added.planes[-1], ())
    )
    record = held_out(added, added.planes[-1])
    units = units_of(session)
    chosen = halves(np.arange(24), units.stratum, np.random.default_rng(5))[0]
    assert record.held_out is not None
    assert record.held_out.prompts == tuple(chosen.tolist())
    assert points_of(record).finite.sum() == len(session.runs) // 2


def test_groups_that_do_not_differ_separate_in_their_own_plane_and_not_in_one_held_out() -> None:
    """Skewed units with scales of their own: the difference of their means, on all of them and on the other half."""
    rng = np.random.default_rng(0)
    units, width = 32, 40
    sizes = np.geomspace(0.5, 2, units)[:, None]
    whole = np.empty((units, EXPERIMENTS, 1))
    rest = np.empty((units // 2, EXPERIMENTS, 1))
    apart = np.empty((2, EXPERIMENTS))
    stratum = np.repeat([0, 1], units // 2)
    for at in range(EXPERIMENTS):
        # Paired: two conditions of a unit. Unpaired: units of two types.
        differences = sizes * (rng.exponential(size=(units, width)) - rng.exponential(size=(units, width)))
        made, shown = halves(np.arange(units), stratum, np.random.default_rng(at))
        whole[:, at, 0] = differences @ differences.mean(axis=0)
        rest[:, at, 0] = differences[shown] @ differences[made].mean(axis=0)
        values = rng.exponential(size=(units, width))
        of_type = np.arange(units) % 2 == 0
        for row, (first, second) in enumerate(((np.arange(units), np.arange(units)), (made, shown))):
            direction = values[first][of_type[first]].mean(axis=0) - values[first][~of_type[first]].mean(axis=0)
            along = values[second] @ direction
            apart[row, at] = stats.ttest_ind(along[of_type[second]], along[~of_type[second]]).pvalue
    sure = 3 * np.sqrt(0.05 * 0.95 / EXPERIMENTS)
    assert (sign_flip_test(whole, 199).p <= 0.05).mean() > 0.9
    assert (sign_flip_test(rest, 199).p <= 0.05).mean() == pytest.approx(0.05, abs=sure)
    assert (apart[0] <= 0.05).mean() > 0.9
    assert (apart[1] <= 0.05).mean() == pytest.approx(0.05, abs=sure)
