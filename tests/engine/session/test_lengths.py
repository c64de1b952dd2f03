"""Means over unlike numbers of tokens are not compared: what two texts have in common, and what a test makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from srm_explorer.engine.analyses.bands import plane_bands
from srm_explorer.engine.analyses.beyond_arithmetic import residual_p, residual_points
from srm_explorer.engine.analyses.compare import compare_groups, compare_study
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.figures.groups import points_of, session_warnings, swept_groups
from srm_explorer.engine.figures.session_overlays import overlays_from_session
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session, load_session, save_session
from srm_explorer.engine.session.lengths import (
    NOTHING,
    alike,
    alike_tokens,
    by_mark,
    common_tokens,
    length_note,
    marks_of,
    paired,
    paired_tokens,
)
from srm_explorer.engine.stats.permutation import sign_flip_test

SITE = "blocks.2.mlp.hook_post"
D = 12
CLAMPED = 6.0
END = 599


def experiment(values: Sequence[float] = (CLAMPED,), **changes: object) -> Experiment:
    return Experiment.from_dict(
        {
            "model": {"name": "gpt2"},
            "prompts": {"sets": ["a"]},
            "interventions": [{"site": SITE, "neurons": [0], "op": "clamp", "values": list(values)}],
            "capture": {"sites": [SITE]},
            "planes": [{"site": SITE, "a": 0, "b": 1}],
            **changes,
        }
    )


def a_run(index: int, prompt: int, condition: int, tokens: int, *, ended: bool = True) -> RunRecord:
    # Texts of equal prompts differ from their first token on; the last is an end-of-text where they ended.
    ids = (*(condition * 1000 + at for at in range(tokens - ended)), *((END,) if ended else ()))
    return RunRecord(index, prompt, condition, 0, ids, "", 3, "eos" if ended else "length", None, {})


def a_session(lengths: Sequence[Sequence[int]], spec: Experiment, longest: int = 50) -> Session:
    """Runs whose texts have these lengths, [prompt][condition]; they ended unless they are the longest."""
    listed = conditions(spec)
    runs = [
        a_run(prompt * len(listed) + condition, prompt, condition, tokens, ended=tokens < longest)
        for prompt, row in enumerate(lengths)
        for condition, tokens in enumerate(row)
    ]
    values: Sequence[object] = spec.interventions[0].values
    swept = [((float(str(value)),),) for value in values] * (1 + spec.controls.neurons)
    return Session(
        name="s",
        state="finished",
        spec=spec,
        conditions=listed,
        resolved=((None,), *swept),
        prompts=tuple(PromptRecord("a", f"p{n}", {}, (1, 2, n), 0, "") for n in range(len(lengths))),
        runs=tuple(runs),
    )


def test_an_end_of_text_is_no_token_in_common() -> None:
    whole, ended, other = a_run(0, 0, 0, 50, ended=False), a_run(1, 0, 1, 7), a_run(2, 0, 2, 7)
    assert common_tokens(whole, ended) == common_tokens(ended, whole) == 6
    assert common_tokens(ended, other) == 7, "both ended there: the means are over all that either wrote"
    assert common_tokens(whole, a_run(3, 0, 3, 9, ended=False)) == 9, "cut short, not ended"
    at_once = a_run(4, 0, 4, 1)
    assert common_tokens(whole, at_once) == common_tokens(at_once, ended) == NOTHING
    assert common_tokens(at_once, at_once) == 1


def test_means_are_kept_where_other_texts_of_the_prompt_stopped_and_nowhere_else() -> None:
    spec = experiment((1.0, 2.0), controls={"neurons": 1})
    #                     base  +1  +2  control's two
    session = a_session([[50, 7, 20, 30, 50], [50] * 5, [9, 9, 9, 9, 9], [1, 4, 50, 50, 2]], spec)
    marks = marks_of(session.spec, session.conditions, session.runs)
    assert marks[:5] == [(6, 19, 29), (6,), (6, 19), (29,), ()]
    assert marks[5:15] == [()] * 10
    assert marks[15:] == [(), (3,), (3,), (), ()], "controls meet the baseline alone, which ended at once"
    assert paired_tokens(session)[:5].tolist() == [50, 6, 19, 29, 50]
    assert paired_tokens(session)[15:].tolist() == [1, NOTHING, NOTHING, NOTHING, NOTHING]
    assert alike_tokens(session, np.array([0, 1, 2, 10, 11])).tolist() == [
        6,
        6,
        6,
        30,
        50,
        *[50] * 5,
        *[9] * 5,
        1,
        4,
        50,
        50,
        2,
    ]
    for changes in (
        {"capture": {"sites": [SITE], "reduce": "last"}},
        {"capture": {"sites": [SITE], "positions": "prompt"}},
    ):
        unlike = experiment((1.0, 2.0), controls={"neurons": 1}, **changes)
        assert not any(marks_of(unlike, session.conditions, session.runs)), "no mean depends on the length"


def drawn(rng: np.random.Generator, prompts: int, effect: float = 0.0) -> Session:
    """Baselines that are long and clamped runs that are short, their tokens alike but for the clamp.

    Tokens are skewed (exponential), their scale is each prompt's own, an end-of-text is unlike any other token, and one
    text in thirty ends at once. `effect` is added to neuron 1 at every clamped token.
    """
    lengths = np.stack([rng.integers(15, 51, prompts), rng.integers(2, 13, prompts)], axis=1)
    lengths[:, 1] = np.where(np.arange(prompts) % 30 == 7, 1, lengths[:, 1])
    session = a_session(lengths.tolist(), experiment())
    # [prompt, condition, d], as the runs are in their order.
    own, ended = lengths[..., None], (lengths < 50)[..., None]
    first = np.maximum(paired_tokens(session)[1::2], 0)[:, None, None]
    scale = np.exp(rng.normal(0, 0.5, prompts))[:, None, None]
    middle = rng.normal(0.4, 0.2, (prompts, 1, D)) + effect * np.array([0, 1])[:, None] * np.eye(1, D, 1)
    end = np.where((np.arange(D) > 0) & (np.arange(D) < 4), 3.0, 0.0)
    # Sums of exponentials are gammas: over the tokens in common, then over the rest of the text.
    shape = (prompts, 2, D)
    of_first = rng.gamma(np.broadcast_to(np.maximum(first, 1e-9), shape))
    of_text = of_first + rng.gamma(np.broadcast_to(np.maximum(own - ended - first, 1e-9), shape))
    start = (of_first / np.maximum(first, 1) - 1) * scale + middle
    whole = ((of_text - (own - ended)) * scale + (own - ended) * middle + ended * end) / own
    for vectors in (start, whole):
        vectors[:, 1, 0] = CLAMPED
    marks = marks_of(session.spec, session.conditions, session.runs)
    marked = start.reshape(-1, D)[[row for row, kept in enumerate(marks) for _ in kept]]
    shorter = by_mark(marks, marked[:, :2], np.linalg.norm(marked, axis=1))
    flat = whole.reshape(-1, D)
    return session.changed(
        planes=(PlaneRecord.of(SITE, 0, 1, flat[:, :2], np.linalg.norm(flat, axis=1), 90.0, shorter),)
    )


UNITS, EXPERIMENTS, FLIPS = 16, 1000, 399


def p_values(session: Session) -> np.ndarray:
    """[experiment] p beyond arithmetic of experiments of `UNITS` prompts each, tested as a session's groups are."""
    rest = residual_points(session, 0)
    assert rest is not None
    of_clamped = rest.reshape(-1, UNITS, 2, 2)[:, :, 1]
    tests = [sign_flip_test(units[np.isfinite(units).all(axis=1)], FLIPS, 1).p for units in of_clamped]
    return np.array(tests)


def test_a_clamp_that_changes_lengths_alone_is_called_an_effect_as_often_as_it_should() -> None:
    session = drawn(np.random.default_rng(11), UNITS * EXPERIMENTS)
    older = session.changed(planes=tuple(dataclasses.replace(plane, shorter=()) for plane in session.planes))
    p, before = p_values(session), p_values(older)
    for level in (0.05, 0.01):
        error = 3 * np.sqrt(level * (1 - level) / EXPERIMENTS)
        assert abs((p <= level).mean() - level) <= error
        assert (before <= level).mean() > 3 * level + error, "over unlike lengths, lengths alone are an effect"


def test_an_effect_is_still_seen() -> None:
    session = drawn(np.random.default_rng(12), UNITS * 200, effect=0.8)
    assert (p_values(session) <= 0.05).mean() > 0.8


def test_what_a_test_made_of_lengths_is_said_where_its_p_is_read(tmp_path: Path) -> None:
    session = drawn(np.random.default_rng(3), 40)
    older = session.changed(planes=(dataclasses.replace(session.planes[0], shorter=()),))
    note = length_note(session, session.planes[0])
    at_once = sum(len(run.token_ids) == 1 for run in session.runs)
    assert at_once
    assert (note.differ, note.units, note.kept, note.empty) == (40, 40, True, at_once)
    for one, said in ((session, ", common length (40 of 40 units)"), (older, ", unlike lengths (40 of 40 units)")):
        bands = plane_bands(one, 0, resamples=200)
        groups = swept_groups(one, one.planes[0])
        legend = overlays_from_session(one, one.planes[0], groups, bands=bands).legend(groups)
        clamped = next(entry for entry in legend if entry.label == "clamped")
        (read,) = [detail for detail in clamped.details if detail.startswith("beyond arithmetic p")]
        assert read.endswith(said)
        assert any(detail.startswith("at the common length A") for detail in clamped.details) == (one is session)
        (warning,) = [line for line in session_warnings(one, one.planes[0], groups) if "differ in length" in line]
        assert ("no means over fewer tokens are kept" in warning) == (one is older)
        assert (f"leave out {at_once} run" in warning) == (one is session)
        (pair,) = compare_groups(one, one, one.planes[0], [("clamped", "baseline")], (0.5,), resamples=200)
        assert pair.p is not None
        assert pair.p == pytest.approx(residual_p(one, 0, flips=200)["clamped"], abs=0.15)
        findings = compare_study(one, {"groups": ["clamped", "baseline"], "resamples": 200})
        told = str(findings["tables"][0]["notes"])
        assert ("p is at the common length" in told) == (one is session)
        assert ("p is of means over unlike numbers of tokens" in told) == (one is older)
    saved = save_session(session.changed(revision=0), tmp_path / "s.json").session
    assert load_session(saved.path or tmp_path).planes == session.planes
    equal = a_session([[50, 50]] * 3, experiment())
    xy = np.ones((6, 2))
    plane = PlaneRecord.of(SITE, 0, 1, xy, np.full(6, 2.0))
    assert length_note(equal, plane).said == ""
    assert not paired(equal, plane).differs


def test_two_groups_are_compared_over_what_all_their_runs_have() -> None:
    session = a_session([[50, 7, 20]], experiment((1.0, 2.0)))
    marks = marks_of(session.spec, session.conditions, session.runs)
    vectors = {(row, mark): np.array([row, mark, 100.0]) for row, own in enumerate(marks) for mark in own}
    table = np.array([vectors[row, mark] for row, own in enumerate(marks) for mark in own])
    shorter = by_mark(marks, table[:, :2], table[:, 2])
    plane = PlaneRecord.of(SITE, 0, 1, np.full((3, 2), -1.0), np.full(3, 50.0), 90.0, shorter)
    both = alike(session, plane, np.array([1, 2]))
    np.testing.assert_array_equal(both.xy, [[-1, -1], [1, 6], [2, 6]])
    np.testing.assert_array_equal(alike(session, plane, np.array([0, 2])).xy, [[0, 19], [-1, -1], [2, 19]])
    lacking = dataclasses.replace(plane, shorter=(plane.shorter[0], plane.shorter[1], ()))
    np.testing.assert_array_equal(alike(session, lacking, np.array([1, 2])).xy, np.full((3, 2), -1.0))
    pairs = paired(session, plane)
    np.testing.assert_array_equal(pairs.runs.xy, [[-1, -1], [1, 6], [2, 19]])
    np.testing.assert_array_equal(pairs.baselines.xy, [[-1, -1], [0, 6], [0, 19]])
    at_once = PlaneRecord.of(SITE, 0, 1, np.ones((2, 2)), np.full(2, 3.0), 90.0, ((), ()))
    assert points_of(paired(a_session([[50, 1]], experiment()), at_once).runs).finite.tolist() == [True, False]
