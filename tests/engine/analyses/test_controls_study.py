"""What stands out from its controls is found; what the experiment set, and what is like them, is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.analyses.captured import captured
from srm_explorer.engine.analyses.controls import control_nulls, controls_study, least_p
from srm_explorer.engine.analyses.controls_split import parts_of
from srm_explorer.engine.analyses.pairs import pairs_study
from srm_explorer.engine.analyses.plane_finder import finder_study
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.groups import run_groups, session_warnings, swept_groups
from srm_explorer.engine.figures.table import TableFigure
from srm_explorer.engine.session import PlaneRecord, Session, save_session
from srm_explorer.engine.session.codec import plain
from srm_explorer.engine.session.controls import CONTROLS, ControlMatch, Controls, controls_of
from srm_explorer.engine.session.export import run_table
from srm_explorer.engine.session.ledger import looked_at
from srm_explorer.engine.stats.planes import coordinates, neuron_plane
from tests.tables import column_index

SITE, RESIDUAL, NEURON, PARTNER = "blocks.1.mlp.hook_post", "blocks.1.hook_resid_post", 3, 5
Plant = Callable[[int, np.ndarray], None]


@pytest.fixture
def controlled(planted: Callable[..., Session]) -> Callable[..., Session]:
    """A session whose controls are neurons 6, 7, ...: every run is its baseline with its own neuron clamped.

    `change(number, row)` may change a [d] vector of part `number` (0 the target) further.
    """

    def make(change: Plant = lambda number, row: None, *, k: int = 5, done: int | None = None, **spec: Any) -> Session:
        session = planted(units=12, done=done, controls={"neurons": k}, **spec)
        vectors = session.vectors()
        site = vectors[SITE]
        base = {run.prompt: row for row, run in enumerate(session.runs) if run.condition == 0}
        for row, run in enumerate(session.runs):
            condition = session.conditions[run.condition]
            values = session.resolved[run.condition][0]
            if values is None:
                continue
            number = condition.control or 0
            own = site[row]
            own[...] = np.mean(site[base[run.prompt]], axis=-2) if isinstance(site, list) else site[base[run.prompt]]
            own[..., NEURON if number == 0 else 5 + number] = values[0]
            change(number, own)
        means = np.stack([np.atleast_2d(one).mean(axis=0, dtype=np.float64) for one in site])
        plane = PlaneRecord.of(SITE, NEURON, PARTNER, *coordinates(means, neuron_plane(16, NEURON, PARTNER)))
        mean, spread = (0.0,) * (k + 1), (1.0,) * (k + 1)
        match = ControlMatch(SITE, NEURON, tuple(range(6, 6 + k)), (0.5,) * k, mean, spread, spread)
        chosen = Controls(k, 0, 99, (match,), {})
        changed = session.changed(planes=(plane,), provenance={CONTROLS: plain(chosen)}, revision=0)
        assert session.path is not None
        return save_session(changed, session.path.with_name("controlled.json"), vectors=vectors).session

    return make


def found(session: Session, measure: str, where: str = "plane 1", **arguments: Any) -> dict[str, Any]:
    table = tables_in(controls_study(session, arguments))[0]
    keys = [column.key for column in table.columns]
    rows = [dict(zip(keys, row, strict=True)) for row in table.rows]
    (row,) = [row for row in rows if (row["measure"], row["where"], row["group"]) == (measure, where, "clamped")]
    return row


def test_controls_like_the_target_give_it_no_rank(controlled: Callable[..., Session]) -> None:
    session = controlled()
    assert found(session, "change off axis", "L1 hook_post")["p"] == 1.0, "nothing but the clamped neuron moved"
    assert found(session, "beyond arithmetic")["target"] == pytest.approx(0.0, abs=1e-6)
    assert found(session, "amplitude")["p"] is None, "the amplitude holds what was set"


def test_a_planted_change_off_the_axis_ranks_first_and_is_measured(controlled: Callable[..., Session]) -> None:
    def change(number: int, row: np.ndarray) -> None:
        row[..., PARTNER] += 6.0 if number == 0 else 0.1 * number

    session = controlled(change, k=9)
    for measure in ("|change of cos 90°|", "beyond arithmetic"):
        row = found(session, measure)
        assert row["p"] == pytest.approx(1 / 10)
        assert row["target"] > 2 * row["control_high"]
        assert row["q"] >= row["p"]
    moved = found(session, "change off axis", "L1 hook_post")
    base = [row for row, run in enumerate(session.runs) if run.condition == 0]
    others = [column for column in range(16) if column != NEURON]
    length = np.linalg.norm(session.vectors()[SITE][base][:, others], axis=1).mean()
    assert moved["target"] == pytest.approx(6.0 / length, rel=1e-5)


def test_other_analyses_look_at_no_run_of_a_control(controlled: Callable[..., Session]) -> None:
    session = controlled(k=3)
    rows = captured(session, [SITE]).rows.tolist()
    assert rows == [row for row, run in enumerate(session.runs) if session.conditions[run.condition].kind != "control"]
    assert len(rows) == 12 * 4 < len(session.runs)
    assert run_table(session)["run"] == [session.runs[row].index for row in rows]
    every = run_table(session, controls=True)
    assert every["control"] == [session.conditions[run.condition].control for run in session.runs]
    assert {number: every["control"].count(number) for number in (1, 2, 3)} == {1: 36, 2: 36, 3: 36}


def test_each_part_has_its_own_axis_the_same_partner_and_the_same_runs(controlled: Callable[..., Session]) -> None:
    session = controlled(k=3)
    vectors = session.vectors()
    parts = parts_of(session, vectors)
    assert [part.session.planes[0].a for part in parts] == [NEURON, 6, 7, 8]
    for part in parts:
        (plane,) = part.session.planes
        assert plane.b == PARTNER
        assert plane.x == tuple(vectors[SITE][part.rows, plane.a].tolist())  # pyright: ignore[reportArgumentType]
        assert plane.y == tuple(vectors[SITE][part.rows, PARTNER].tolist())
        assert [one.kind for one in part.session.conditions] == ["baseline", "sweep", "sweep", "sweep"]
        assert len(part.session.runs) == 12 * 4
        assert part.session.spec.controls.neurons == 0


def test_a_plane_of_the_targets_weights_is_measured_of_nobody(controlled: Callable[..., Session]) -> None:
    """A control has no axis of its own in it: what is measured of the target must be of every control too."""
    session = controlled()
    rows = len(session.runs)
    named = PlaneRecord.of(RESIDUAL, f"w_out(1.{NEURON})", 2, np.ones((rows, 2)), np.full(rows, 2.0))
    table, _ = tables_in(controls_study(session.changed(planes=(*session.planes, named)), {}))
    where = column_index(table, "where")
    assert "plane 1" in {row[where] for row in table.rows}
    assert "plane 2" not in {row[where] for row in table.rows}


@pytest.mark.parametrize("by", [(), ("condition",), ("set",), ("set", "condition")])
def test_bands_hold_every_control_and_are_of_the_sessions_own_groups(
    controlled: Callable[..., Session], by: tuple[str, ...]
) -> None:
    draw = np.random.default_rng(2)

    def change(number: int, row: np.ndarray) -> None:
        row[..., PARTNER] += draw.normal()

    session = controlled(change)
    vectors = session.vectors()
    nulls = control_nulls(session, 0, by, vectors)
    labels = [label for label, group in run_groups(session, by).items() if "baseline" not in label]
    assert [one.group for one in nulls] == labels
    for null in nulls:
        assert (null.kind, null.members) == ("controls", 5)
        assert null.legend == "range of 5 matched neurons clamped alike"
        touched = np.zeros(2, np.bool_)
        for part in parts_of(session, vectors)[1:]:
            groups = {one.label: one for one in swept_groups(part.session, part.session.planes[0], by)}
            mean = groups[null.group].sweep.mean
            assert (null.mean[0] <= mean + 1e-12).all()
            assert (mean <= null.mean[1] + 1e-12).all()
            touched |= [np.isclose(mean, end).any() for end in null.mean]
        assert touched.all(), "the ends are curves of controls"


def test_no_chart_counts_a_run_of_a_control(controlled: Callable[..., Session]) -> None:
    session = controlled()
    assert {group.label: group.n_runs for group in swept_groups(session, session.planes[0])} == {
        "baseline": 12,
        "clamped": 36,
    }
    by_value = swept_groups(session, session.planes[0], ("condition",))
    assert [group.label for group in by_value] == ["baseline", "-4", "+2", "+9"]
    assert session_warnings(session, session.planes[0], by_value) == ()


def test_an_interrupted_session_is_compared_on_the_prompts_that_are_complete(
    controlled: Callable[..., Session],
) -> None:
    session = controlled(done=5 * 19 + 12)
    table = tables_in(controls_study(session, {}))[0]
    assert table.notes[0] == "incomplete: on the 5 of 12 prompts and samples that have all of their runs"
    nulls = control_nulls(session, 0, (), session.vectors())
    assert [null.members for null in nulls] == [2], "of the last prompt only controls 1 and 2 have every run"
    with pytest.raises(ExplorerError, match="no prompt has all runs"):
        controls_study(controlled(done=10), {})


@pytest.mark.parametrize("reduce", ["mean", "tokens"])
def test_the_list_names_every_control_with_its_match(controlled: Callable[..., Session], reduce: str) -> None:
    session = controlled(reduce=reduce)
    ranks, neurons = tables_in(controls_study(session, {"by": "condition"}))
    assert [row[column_index(neurons, "neuron")] for row in neurons.rows] == ["n3", "n6", "n7", "n8", "n9", "n10"]
    assert {row[column_index(ranks, "group")] for row in ranks.rows} == {"clamped", "-4", "+2", "+9"}
    assert any(f"none below {least_p(5)}" in note for note in ranks.notes)
    assert TableFigure.from_dict(ranks.to_dict()).rows == ranks.rows


def heading(session: Session, key: str, **arguments: Any) -> str:
    table = tables_in(controls_study(session, arguments))[0]
    return next(column.title for column in table.columns if column.key == key)


def test_a_rank_is_called_p_only_for_a_target_that_was_chosen_before(controlled: Callable[..., Session]) -> None:
    def change(number: int, row: np.ndarray) -> None:
        row[..., PARTNER] += 6.0 if number == 0 else 0.1 * number

    measure = "|change of cos 90°|"
    unknown = controlled(change, k=9)
    assert (heading(unknown, "p"), heading(unknown, "q")) == ("p if before", "q if before")
    assert "nobody says" in tables_in(controls_study(unknown, {}))[0].notes[0]
    assert heading(unknown, "p", chosen="before") == "p"
    assert heading(unknown, "p", chosen="after") == "p if before", "nobody says among how many"
    assert heading(unknown, "p", chosen="after", candidates=12) == "p of best"
    assert found(unknown, measure, chosen="before")["p"] == pytest.approx(1 / 10)
    assert found(unknown, measure, chosen="after", candidates=12)["p"] == pytest.approx(12 / 21)
    with pytest.raises(ExplorerError, match="not said to be chosen after"):
        controls_study(unknown, {"candidates": 12})


def test_what_the_experiment_says_of_the_choice_cannot_be_said_otherwise_later(
    controlled: Callable[..., Session],
) -> None:
    after = {"neurons": 4, "chosen": "after", "candidates": 3}
    session = controlled(k=4)
    spec = session.spec.model_copy(update={"controls": session.spec.controls.model_validate(after)})
    session = session.changed(spec=spec)
    assert controls_study(session, {})["candidates"] == 3
    with pytest.raises(ExplorerError, match=r"says controls\.chosen = after, not before"):
        controls_study(session, {"chosen": "before"})
    with pytest.raises(ExplorerError, match=r"says controls\.candidates = 3, not 2"):
        controls_study(session, {"candidates": 2})


def test_candidates_that_the_ledger_knows_count_where_they_are_more(controlled: Callable[..., Session]) -> None:
    def change(number: int, row: np.ndarray) -> None:
        row[..., PARTNER] += 6.0 if number == 0 else 0.1 * number
        row[..., -2:] *= 1.1  # two that the finder can score

    session = controlled(change, k=9)

    def after(candidates: int | None = None) -> tuple[float, str]:
        arguments = {"chosen": "after", "candidates": candidates}
        note = next(n for n in tables_in(controls_study(session, arguments))[0].notes if n.startswith("chosen after"))
        return found(session, "|change of cos 90°|", **arguments)["p"], note

    # Its own partners: they were looked at, and it was not chosen among them.
    pairs_study(session, {"neuron": NEURON, "permutations": 50})
    finder_study(session, {"neuron": NEURON, "permutations": 100})
    assert after()[0] == pytest.approx(1 / 10)
    assert "nobody knows" in after()[1]
    pairs_study(session, {"neuron": 7, "permutations": 50})
    p, note = after()
    assert p == pytest.approx(15 / 24)
    assert "looking at 15 (by the session's ledger; nobody says of how many)" in note
    assert "by the session's ledger; 12 are stated" in after(12)[1]
    p, note = after(20)
    assert p == pytest.approx(20 / 29)
    assert "looking at 20 (as stated; the ledger knows of 15)" in note
    # What was said once is known from then on.
    assert "looking at 20 (by the session's ledger; 2 are stated)" in after(2)[1]
    assert "looked at among 20" in tables_in(controls_study(session, {}))[0].notes[0]


def test_every_coordinate_that_the_finder_searched_was_looked_at(planted: Callable[..., Session]) -> None:
    session = planted(units=24)
    finder_study(session, {"neuron": 7, "permutations": 100})
    among_partners = looked_at(session, SITE, 9)
    assert (looked_at(session, SITE, 7), looked_at(session, RESIDUAL, 9)) == (1, 1)
    finder_study(session, {"among": "all", "permutations": 100})
    # All but the clamped one, whose values were set.
    assert among_partners <= looked_at(session, SITE, 7) == looked_at(session, SITE, 9) == 15


@pytest.mark.parametrize(("own", "flagged"), [(0.5, False), (0.1, True), (0.9, True), (7.0, True)])
def test_a_target_at_the_edge_of_a_trait_is_flagged(
    controlled: Callable[..., Session], own: float, flagged: bool
) -> None:
    session = controlled(k=4)
    (match,) = controls_of(session).matches  # pyright: ignore[reportOptionalMemberAccess]
    match = dataclasses.replace(match, std=(own, 0.1, 0.4, 0.6, 0.9))
    session = session.changed(provenance={CONTROLS: plain(Controls(4, 0, 99, (match,), {}))})
    for table in tables_in(controls_study(session, {})):
        assert ("at the edge of its 4 controls" in table.notes[0]) == flagged
    warned = [line for line in session_warnings(session, session.planes[0], ()) if "at the edge" in line]
    assert len(warned) == flagged


def test_what_has_no_controls_says_how_to_have_them(planted: Callable[..., Session]) -> None:
    session = planted()
    assert control_nulls(session, 0, (), session.vectors()) == ()
    with pytest.raises(ExplorerError, match="it has no controls") as refused:
        controls_study(session, {})
    assert "--set controls.neurons=19" in refused.value.remedy
    # The command works in any folder.
    assert f"run {session.path} --set" in refused.value.remedy


def test_vectors_that_are_not_finite_are_left_out_of_every_measure(controlled: Callable[..., Session]) -> None:
    def change(number: int, row: np.ndarray) -> None:
        row[..., PARTNER] += number
        if number == 2:
            row[...] = np.nan

    session = controlled(change)
    row = found(session, "change off axis", "L1 hook_post")
    assert row["p"] == 1.0
    assert np.isfinite([row["target"], row["control_low"], row["control_high"]]).all()
