"""Controls are near their target, random among the near, and give rank p-values that hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists
from scipy.stats import median_abs_deviation

from srm_explorer.engine.stats.matching import (
    POOL,
    Traits,
    match_neurons,
    null_band,
    placebo_direction,
    pooled_moments,
    rank_p,
)


def crowd(neurons: int, seed: int = 0) -> Traits:
    draw = np.random.default_rng(seed)
    return Traits(draw.normal(size=neurons), draw.lognormal(size=neurons), draw.lognormal(0, 0.2, size=neurons))


def test_planted_twins_are_found_among_thousands() -> None:
    traits = crowd(3000)
    twins = [17, 900, 2999, 41]
    for array in (traits.mean, traits.std, traits.norm):
        array[twins] = 6.0 + 1e-6 * np.arange(4)
    (found,) = match_neurons(traits, [17], 1, [], (0,))
    assert found.neurons[0] in twins
    assert found.distances[0] < 1e-3


@given(integers(1, 12), integers(0, 2**40), integers(1, 3))
def test_controls_are_near_distinct_and_never_taken(count: int, seed: int, targets: int) -> None:
    traits, chosen, taken = crowd(300), list(range(5, 5 + targets)), [200, 201]
    places = traits.standardised()
    found = match_neurons(traits, chosen, count, taken, (seed,))
    everyone = np.concatenate([one.neurons for one in found])
    assert len(set(everyone.tolist()) | {*chosen, *taken}) == targets * count + targets + 2
    for target, one in zip(chosen, found, strict=True):
        distances = np.linalg.norm(places - places[target], axis=1)
        np.testing.assert_allclose(one.distances, distances[one.neurons])
        # At most the targets, the two that are taken and what other targets took are passed over.
        assert one.distances.max() <= np.sort(distances)[POOL * count + targets * (count + 1) + 2]


def test_every_one_of_the_nearest_is_drawn_and_no_other() -> None:
    traits = crowd(200)
    columns = (traits.mean, np.log(traits.std), np.log(traits.norm))
    places = np.stack([(one - np.median(one)) / median_abs_deviation(one, scale="normal") for one in columns], axis=1)
    nearest = np.argsort(np.linalg.norm(places - places[8], axis=1))[1 : 1 + POOL * 2]
    drawn = [match_neurons(traits, [8], 2, [], (seed,))[0].neurons.tolist() for seed in range(60)]
    assert np.unique(drawn).tolist() == np.sort(nearest).tolist()


def test_the_same_seed_chooses_the_same_and_another_one_others() -> None:
    first, again, other = (match_neurons(crowd(500), [3], 10, [], (seed,))[0].neurons for seed in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert set(first.tolist()) != set(other.tolist())


def test_neurons_that_are_not_finite_are_no_controls_and_dead_ones_may_be() -> None:
    traits = crowd(40)
    traits.mean[:20] = np.nan
    traits.std[20:25] = 0.0
    (found,) = match_neurons(traits, [30], 19, [], (0,))
    assert set(found.neurons.tolist()) == set(range(20, 40)) - {30}
    assert np.isfinite(found.distances).all()
    with pytest.raises(ValueError, match="no finite mean"):
        match_neurons(traits, [3], 2, [], (0,))
    with pytest.raises(ValueError, match="19 neurons are left for 20"):
        match_neurons(traits, [30], 20, [], (0,))


@given(lists(lists(floats(-1e3, 1e3), max_size=6), min_size=1, max_size=5))
def test_pooled_moments_are_those_of_all_tokens_together(runs: list[list[float]]) -> None:
    mean = np.array([[np.mean(run) if run else 0.0] for run in runs])
    variance = np.array([[np.var(run) if run else 0.0] for run in runs])
    whole = [token for run in runs for token in run]
    found, std = pooled_moments(mean, variance, [len(run) for run in runs])
    if not whole:
        assert np.isnan(found).all()
        return
    np.testing.assert_allclose(found, np.mean(whole), atol=1e-9)
    np.testing.assert_allclose(std, np.std(whole), atol=1e-6)


@given(floats(-5, 5), lists(floats(-5, 5), min_size=1, max_size=50))
def test_the_rank_p_counts_and_is_never_below_its_least(target: float, controls: list[float]) -> None:
    p = rank_p(target, controls)
    assert 1 / (len(controls) + 1) <= p <= 1
    slack = 1e-12 * max(1.0, abs(target))
    assert p == (1 + sum(one >= target - slack for one in controls)) / (len(controls) + 1)


def test_the_rank_p_of_an_exchangeable_target_is_uniform() -> None:
    """Over 2,000 simulated layers of captures: traits decide the effect, and the target is any neuron."""
    k, experiments = 19, 2000
    draw = np.random.default_rng(7)
    p = np.empty(experiments)
    for number in range(experiments):
        traits = crowd(150, seed=number)
        effect = traits.norm * np.exp(0.3 * traits.mean) * draw.lognormal(size=150)
        target = int(draw.integers(150))
        (found,) = match_neurons(traits, [target], k, [], (number,))
        p[number] = rank_p(effect[target], effect[found.neurons])
    for rank in range(1, k + 2):
        level = rank / (k + 1)
        allowed = level + 3 * np.sqrt(level * (1 - level) / experiments)
        assert np.mean(p <= level + 1e-9) <= allowed
    # Not only no smaller than uniform: as often in each of the 20 places, by chi-square (19 degrees of freedom).
    counts = np.bincount(np.rint(p * (k + 1)).astype(int), minlength=k + 2)[1:]
    assert ((counts - experiments / 20) ** 2 / (experiments / 20)).sum() < 43.8, "p = .001"


@pytest.mark.parametrize("kind", ["skewed", "shared", "ties"])
@pytest.mark.parametrize(("m", "k"), [(1, 19), (3, 57), (12, 99)])
def test_the_p_of_the_best_of_m_candidates_holds_and_is_exact_without_ties(m: int, k: int, kind: str) -> None:
    """2,000 times m candidates and k controls that are exchangeable; the target is the best of the candidates."""
    experiments = 2000
    draw = np.random.default_rng(m)
    values = draw.lognormal(0, 1.5, size=(experiments, m + k))
    if kind == "shared":
        values *= draw.lognormal(0, 1.0, size=(experiments, 1))  # all of an experiment hang together
    elif kind == "ties":
        values = np.floor(values)  # as many texts that are not changed at all
    best, controls = values[:, :m].max(axis=1), values[:, m:]
    p = np.array([rank_p(one, others, m) for one, others in zip(best, controls, strict=True)])
    blind = np.array([rank_p(one, others) for one, others in zip(best, controls, strict=True)])
    for above in range(6):
        # The only values that p can have: below the next one, it is reached exactly as often as it says.
        level = rank_p(0.0, np.where(np.arange(k) < above, 1.0, -1.0), m)
        margin = 3 * np.sqrt(level * (1 - level) / experiments)
        assert np.mean(p <= level + 1e-9) <= level + margin
        if kind != "ties":
            assert np.mean(p <= level + 1e-9) >= level - margin
        if m > 1 and above < 3 and kind != "ties":
            taken = (above + 1) / (k + 1)
            assert np.mean(blind <= taken + 1e-9) > taken + 3 * np.sqrt(taken * (1 - taken) / experiments)


def test_a_true_effect_of_the_best_of_twelve_is_still_seen() -> None:
    draw = np.random.default_rng(5)
    values = draw.normal(size=(1000, 12 + 239))
    values[:, 0] += 4.0
    best = values[:, :12].max(axis=1)
    p = [rank_p(one, others, 12) for one, others in zip(best, values[:, 12:], strict=True)]
    assert rank_p(9.0, np.zeros(239), 12) < 0.05
    # The best of 251 normal values lies at about 2.8: a shift of 4 passes it mostly.
    assert np.mean(np.array(p) <= 0.05) > 0.85


@given(integers(1, 40), integers(1, 40), integers(0, 40))
def test_the_p_of_the_best_grows_with_the_candidates_and_is_one_where_all_controls_are_above(
    m: int, k: int, above: int
) -> None:
    controls = np.where(np.arange(k) < above, 1.0, -1.0)
    assert rank_p(0.0, controls) <= rank_p(0.0, controls, m) <= rank_p(0.0, controls, m + 1) <= 1.0
    assert rank_p(0.0, np.ones(k), m) == 1.0
    assert rank_p(0.0, controls, m) <= m * rank_p(0.0, controls) + 1e-12, "no more than Bonferroni's"


def test_a_further_curve_leaves_the_band_of_39_at_a_point_in_at_most_one_of_twenty() -> None:
    draw = np.random.default_rng(3)
    curves = draw.normal(size=(4000, 40))
    outside = [not low <= row[39] <= high for row in curves for low, high in [null_band(row[:39, None])[0][:, 0]]]
    assert np.mean(outside) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)


@pytest.mark.parametrize(("k", "middle", "dropped"), [(2, False, 0), (38, False, 0), (39, True, 0), (79, True, 1)])
def test_the_band_is_the_range_until_the_middle_is_narrower(k: int, middle: bool, dropped: int) -> None:
    curves = np.random.default_rng(0).permutation(np.arange(float(k)))[:, None] + np.zeros((1, 3))
    band, is_middle = null_band(curves)
    assert is_middle == middle
    assert band[0].tolist() == [dropped] * 3
    assert band[1].tolist() == [k - 1 - dropped] * 3


def test_placebo_directions_have_length_one_and_no_preferred_way() -> None:
    directions = np.array([placebo_direction((5, 0, number), 33) for number in range(2000)])
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    assert np.abs(directions.mean(axis=0)).max() < 5 * np.sqrt(1 / 33 / 2000)
    np.testing.assert_allclose(directions.T @ directions / 2000, np.eye(33) / 33, atol=0.006)
    assert placebo_direction((5, 0, 3), 33).tolist() == directions[3].tolist()
