"""Equal prompts are one unit: copies of a prompt add no evidence, to any statistic, and one unit has no p at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.analyses.bands import plane_bands
from srm_explorer.engine.analyses.compare import compare_groups
from srm_explorer.engine.analyses.compare_match import TOO_FEW, Side, matched
from srm_explorer.engine.analyses.pairs import pair_tables
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.figures.groups import group_choice, swept_groups
from srm_explorer.engine.figures.session_overlays import stored_bands
from srm_explorer.engine.figures.warnings import session_warnings
from srm_explorer.engine.prompts import Prompt, PromptSet
from srm_explorer.engine.prompts.prompt_set import alike_problems
from srm_explorer.engine.session import (
    PlaneRecord,
    PromptRecord,
    Session,
    linked,
    prompt_units,
    prompt_warnings,
    save_session,
    units_of,
)
from srm_explorer.engine.stats.permutation import sign_flip_test
from srm_explorer.engine.stats.resampling import unit_totals
from srm_explorer.engine.stats.text import ALIKE, SHINGLE, near_duplicates
from srm_explorer.engine.stats.unit_means import mean_effect

Planted = Callable[..., Session]


def with_copies(session: Session, times: int, folder: Path) -> Session:
    """A session in which every prompt stands `times` times and writes, as greedy decoding does, the same each time."""
    n, runs = len(session.prompts), len(session.runs)
    rows = np.tile(np.arange(runs), times)
    prompts = tuple(dataclasses.replace(p, occurrence=copy) for copy in range(times) for p in session.prompts)
    copied = tuple(
        dataclasses.replace(session.runs[row], index=at, prompt=session.runs[row].prompt + n * (at // runs))
        for at, row in enumerate(rows.tolist())
    )
    planes = tuple(
        PlaneRecord.of(p.site, p.a, p.b, p.xy[rows], np.array(p.norm)[rows], p.raw_angle_deg) for p in session.planes
    )
    vectors = {site: np.asarray(own)[rows] for site, own in session.vectors().items()}
    changed = session.changed(prompts=prompts, runs=copied, planes=planes, sidecar=None, path=None, revision=0)
    return save_session(changed, folder / f"{times}.json", vectors=vectors).session


def record(text: str, ids: Sequence[int] = (), name: str = "a", core: str | None = None) -> PromptRecord:
    return PromptRecord(name, text, {} if core is None else {"core_id": core}, tuple(ids), 0, "")


@given(st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=12))
def test_items_are_linked_exactly_where_a_chain_of_shared_keys_leads_from_one_to_the_other(
    keys: list[list[int]],
) -> None:
    found = linked(keys)
    reach = np.array(
        [[a == b or bool(set(one) & set(other)) for b, other in enumerate(keys)] for a, one in enumerate(keys)]
    )
    reach = reach.reshape(len(keys), len(keys))
    for _ in keys:
        reach = reach @ reach
    assert reach.tolist() == [[one == other for other in found] for one in found]
    assert list(dict.fromkeys(found)) == list(range(len(set(found))))


def test_a_unit_is_a_core_or_equal_tokens_in_any_set_or_whatever_these_join() -> None:
    assert prompt_units([record("x", (1,)), record("y", (1,), name="b"), record("x", (2,))]) == [0, 0, 1]
    cores = [record("x", (1,), core="i"), record("y", (2,), core="i"), record("z", (3,), core="j")]
    assert prompt_units(cores) == [0, 0, 1]
    assert prompt_units([*cores, record("w", (3,)), record("v", (2,), name="b", core="j")]) == [0, 0, 1, 1, 0]
    # One core in two sets is two, and an empty one is none; what is unknown is not known to be equal.
    assert prompt_units([record("x", (1,), core="i"), record("y", (2,), name="b", core="i")]) == [0, 1]
    assert prompt_units([record("x", (1,), core=""), record("y", (2,), core="")]) == [0, 1]
    assert prompt_units([record(""), record(""), record("t"), record("t")]) == [0, 1, 2, 2]


def test_copies_of_all_prompts_change_no_interval_and_no_p(planted: Planted, tmp_path: Path) -> None:
    once = planted(units=9)
    thrice = with_copies(once, 3, tmp_path)
    assert len(units_of(thrice)) == len(units_of(once)) == 9
    bands = [plane_bands(session, 0, vectors=None, resamples=1000) for session in (once, thrice)]
    for band, copied in zip(bands[0].groups, bands[1].groups, strict=True):
        assert copied.units == band.units
        np.testing.assert_allclose(copied.covariance, band.covariance)
        np.testing.assert_allclose(copied.radius2, band.radius2)
        np.testing.assert_allclose(
            np.array(list(copied.counts.values())), 3 * np.array(list(band.counts.values())), atol=1e-9
        )
        assert copied.p_arithmetic == band.p_arithmetic
    pairs = [
        compare_groups(session, session, session.planes[0], [("+9", "-4")], (0.5,), resamples=1000)[0]
        for session in (once, thrice)
    ]
    assert pairs[0].p == pairs[1].p
    np.testing.assert_allclose(pairs[0].estimate.mean_band, pairs[1].estimate.mean_band)
    rows = [tables_in(pair_tables(session, {"permutations": 200}))[0].to_dict()["rows"] for session in (once, thrice)]
    for row, copied in zip(*rows, strict=True):
        assert row.get("partial_p") == copied.get("partial_p")


def test_twelve_copies_of_a_prompt_give_no_interval_and_no_p_and_it_is_said(planted: Planted, tmp_path: Path) -> None:
    session = with_copies(planted(units=1), 12, tmp_path)
    bands = plane_bands(session, 0, resamples=1000)
    assert (bands.groups, bands.dose) == ((), ())
    (pair,) = compare_groups(session, session, session.planes[0], [("+9", "-4")], (0.5,), resamples=1000)
    assert (pair.p, pair.q, pair.tested, pair.estimate.region, pair.estimate.share_bands) == (
        None,
        None,
        TOO_FEW,
        None,
        None,
    )
    for table in tables_in(pair_tables(session, {"permutations": 200})):
        for row in table.to_dict()["rows"]:
            assert all(row[name] is None for name in row if name.endswith(("_p", "_q")))
    plane = session.planes[0]
    said = session_warnings(session, plane, swept_groups(session, plane))
    assert any("there is no interval and no p" in line for line in said)
    assert any("12 of 12 prompts are the same as another" in line for line in said)


def test_what_an_earlier_version_stored_over_the_copies_is_not_shown(planted: Planted, tmp_path: Path) -> None:
    apart = planted(units=12)
    stored = {"planes": [plane_bands(apart, 0, resamples=1000).to_dict()]}
    assert stored_bands(apart.changed(bands=stored), 0) is not None
    same = tuple(dataclasses.replace(prompt, token_ids=(1,)) for prompt in apart.prompts)
    assert stored_bands(apart.changed(bands=stored, prompts=same), 0) is None


def test_a_prompt_that_two_groups_share_is_drawn_for_both_and_does_not_pair_them(planted: Planted) -> None:
    session = planted(units=10)
    prompts = list(session.prompts)
    # One of set a and one of set b feed the same tokens.
    prompts[1] = dataclasses.replace(prompts[1], token_ids=prompts[0].token_ids, occurrence=1)
    session = session.changed(prompts=tuple(prompts))
    sides = [Side(session, session.planes[0], group_choice(session, name)) for name in ("+9,set=a", "+9,set=b")]
    match = matched(*sides)
    assert not match.paired
    assert "1 unit whose prompts have the same tokens" in match.summary
    shared = set(match.units[0].tolist()) & set(match.units[1].tolist())
    assert len(shared) == 1
    assert len(set(match.units[0].tolist()) | set(match.units[1].tolist())) == len(match.stratum) == 9


WORDS = ("the door", "opened", "Opened", "slowly", "and the lamp", "fell", "  ", "!", "ŝlosilo", "鍵")


@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join), min_size=1, max_size=8))
def test_near_duplicates_are_the_texts_that_share_most_of_their_shingles(texts: list[str]) -> None:
    def shingles(text: str) -> set[str]:
        words = "".join(c if c.isalnum() else " " for c in text.casefold()).split()
        text = " ".join(words) or text
        return {text[at : at + SHINGLE] for at in range(len(text)) if at + SHINGLE <= len(text) or at == 0}

    pieces = [shingles(text) for text in texts]
    most = [
        max((len(a & b) / len(a | b) for j, b in enumerate(pieces) if j != i), default=0.0)
        for i, a in enumerate(pieces)
    ]
    found = dict(near_duplicates(tuple(texts)))
    assert set(found) == {i for i, share in enumerate(most) if share >= ALIKE}
    for one, other in found.items():
        share = len(pieces[one] & pieces[other]) / len(pieces[one] | pieces[other])
        assert share == pytest.approx(most[one])


def test_near_duplicates_are_named_where_prompts_are_checked_planned_and_read() -> None:
    texts = ("The door opened and somebody stood there.", "the door opened, and somebody stood there", "A lamp fell.")
    assert near_duplicates(texts) == ((0, 1), (1, 0))
    assert near_duplicates(texts, (0, 0, 1)) == ()
    # Of very many, those alone that are equal but for case and punctuation.
    many = (*texts[:2], *(f"prompt number {i * i} of them" for i in range(1100)))
    assert near_duplicates(many) == ((0, 1), (1, 0))
    prompts = tuple(Prompt(text, line=line) for line, text in enumerate(texts, 1))
    problems = alike_problems(PromptSet("s", prompts, Path("s.txt"), "plain"), [(1,), (2,), (1,)])
    assert [(problem.line, problem.what.partition(":")[0], problem.fatal) for problem in problems] == [
        (3, "the same tokens as on line 1", False),
        (1, "nearly the text of line 2", False),
        (2, "nearly the text of line 1", False),
    ]
    (said,) = prompt_warnings([record(text, (at,)) for at, text in enumerate(texts)], sampled=False)
    assert said.startswith("2 of 3 prompts are nearly another")
    assert prompt_warnings([record(texts[0], (1,)), record(texts[2], (2,))], sampled=True) == ()


def called(values: np.ndarray, unit: np.ndarray, level: float = 0.05) -> tuple[float, float]:
    """How often experiments [run, experiment] are called: by flips of units' signs, and by the p of units' mean."""
    means = unit_totals(values, unit, int(unit.max()) + 1).unit_means
    flips, effect = sign_flip_test(means[:, :, None], 1_000), mean_effect(means, resamples=1_000)
    return float((flips.p <= level).mean()), float((effect.p <= level).mean())


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("heavy", [False, True])
def test_prompts_repeated_at_random_keep_the_size_of_every_test_over_units(sampled: bool, heavy: bool) -> None:
    rng = np.random.default_rng(5)
    experiments, distinct = 2_000, 24
    times = rng.integers(1, 10, distinct)
    of_prompt = prompt_units(
        [record("x", (which,), name=str(at)) for at, which in enumerate(np.repeat(range(distinct), times))]
    )
    unit = np.array(of_prompt)
    assert len(set(of_prompt)) == distinct
    # Symmetric around 0: what flips test is true, and so is a mean of 0.
    drawn = rng.normal(size=(distinct, experiments))
    drawn = np.sign(drawn) * np.exp(np.abs(drawn)) if heavy else drawn
    values = drawn[unit] + (0.5 * rng.normal(size=(len(unit), experiments)) if sampled else 0.0)
    most = 0.05 + 3 * np.sqrt(0.05 * 0.95 / experiments)
    assert all(share <= most for share in called(values, unit))
    # Copies taken for units would be evidence out of nothing.
    assert all(share > 2 * most for share in called(values, np.arange(len(unit))))
    # A difference of one standard deviation is found as often as over the distinct prompts alone.
    shift = drawn.std()
    power = called(values + shift, unit)
    once = called(drawn + shift, np.arange(distinct))
    assert all(share >= alone - 0.15 for share, alone in zip(power, once, strict=True))
