"""Simulated experiments of 50 units in which the truth is known: what the statistics promise, they keep."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from srm_explorer.engine.stats.bands import difference_bands, share_bands, unit_counts
from srm_explorer.engine.stats.permutation import sign_flip_test
from srm_explorer.engine.stats.regions import JointRegion, joint_region
from srm_explorer.engine.stats.resampling import UnitTotals, unit_totals
from srm_explorer.engine.stats.spotlight import spotlight_sweep, unit_coordinates
from tests.conftest import TOOLS, load_module

pytestmark = pytest.mark.slow

EXPERIMENTS = 2000
UNITS = 50
RUNS = 11
STRATUM = np.repeat([0, 1], [20, 30])
OF_RUN = np.repeat(np.arange(UNITS), RUNS)
SET_MEANS = np.array([[0.06, 0.01], [0.02, -0.02]])
TRUTH = np.array([20, 30]) @ SET_MEANS / UNITS


def allowed(share: float, experiments: int = EXPERIMENTS) -> float:
    return 3 * float(np.sqrt(share * (1 - share) / experiments))


def holds(region: JointRegion, truth: np.ndarray) -> bool:
    off = truth - region.centre
    return bool(off @ np.linalg.solve(region.covariance, off) <= region.radius2)


def between(angle: float, ends: tuple[float, float] | None) -> bool:
    return ends is None or (angle - ends[0]) % 360 <= (ends[1] - ends[0]) % 360


def cosines(generator: np.random.Generator, skewed: bool) -> np.ndarray:
    """[run, 2]: units of two prompt sets that differ, eleven runs each that share their unit's own deviation."""
    own = generator.exponential(size=(UNITS, 2)) - 1 if skewed else generator.normal(size=(UNITS, 2))
    own = own @ np.array([[0.03, 0.01], [0.0, 0.02]])
    return SET_MEANS[STRATUM][OF_RUN] + own[OF_RUN] + 0.02 * generator.normal(size=(len(OF_RUN), 2))


@pytest.mark.parametrize("skewed", [False, True])
def test_regions_hold_the_truth_and_phases_the_angle_as_often_as_they_say(skewed: bool) -> None:
    generator = np.random.default_rng(20)
    angle = float(np.degrees(np.arctan2(TRUTH[1], TRUTH[0])))
    held = phases = determined = 0
    for index in range(EXPERIMENTS):
        totals = unit_totals(cosines(generator, skewed), OF_RUN, UNITS)
        region = joint_region(totals, STRATUM, resamples=300, seed=index)
        assert region is not None
        held += holds(region, TRUTH)
        phase = region.phase_deg
        phases += between(angle, phase)
        determined += phase is not None
    assert determined == EXPERIMENTS
    assert held / EXPERIMENTS == pytest.approx(0.95, abs=allowed(0.95))
    assert phases / EXPERIMENTS == pytest.approx(0.95, abs=allowed(0.95))


def test_a_paired_difference_is_held_and_mostly_undetermined_where_there_is_none() -> None:
    generator = np.random.default_rng(21)
    held = undetermined = 0
    experiments = 600
    for index in range(experiments):
        shared = 0.05 * generator.normal(size=(UNITS, 2))
        one = UnitTotals(RUNS * (shared + 0.01 * generator.normal(size=(UNITS, 2))), np.full(UNITS, float(RUNS)))
        other = UnitTotals(shared + 0.02 * generator.normal(size=(UNITS, 2)), np.ones(UNITS))
        region = joint_region(one, STRATUM, other, resamples=300, seed=index)
        assert region is not None
        held += holds(region, np.zeros(2))
        undetermined += region.phase_deg is None
    assert held == undetermined
    assert held / experiments == pytest.approx(0.95, abs=allowed(0.95, experiments))


@pytest.mark.parametrize("coordinates", [1, 2])
def test_sign_flips_find_nothing_where_nothing_is(coordinates: int) -> None:
    generator = np.random.default_rng(22)
    found = []
    for batch in range(20):
        # Symmetric and far from normal: what the test assumes is symmetry alone.
        differences = generator.standard_t(3, size=(UNITS, EXPERIMENTS // 20, coordinates))
        differences *= generator.exponential(size=(UNITS, 1, 1))
        found.append(sign_flip_test(differences, flips=999, seed=batch).p)
    p = np.concatenate(found)
    for level in (0.01, 0.05, 0.1):
        assert np.mean(p <= level) <= level + allowed(level)
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_sign_flips_find_what_was_planted() -> None:
    generator = np.random.default_rng(23)
    differences = generator.normal(size=(UNITS, 200, 2)) + np.array([0.6, 0.0])
    assert np.mean(sign_flip_test(differences, flips=999).p <= 0.05) > 0.9


LEVELS, ANGLES = (0.5, 0.1), 60


def clamped(generator: np.random.Generator, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Runs clamped to eleven values, whose other coordinate and rest belong to their unit."""
    value = np.array([-20, -10, -6, -3, -1, 0, 1, 3, 6, 10, 20.0])
    rest = generator.normal(14, 3, size=(units, 1)) * np.exp(0.1 * generator.normal(size=(units, RUNS)))
    y = generator.normal(0.02, 0.1, size=(units, 1)) + 0.05 * generator.normal(size=(units, RUNS))
    return np.stack([value / np.hypot(value, rest), y], -1).reshape(-1, 2), np.repeat(np.arange(units), RUNS)


def free(generator: np.random.Generator, units: int) -> tuple[np.ndarray, np.ndarray]:
    """One run a unit, none of them clamped."""
    return generator.normal([0.1, 0.05], 0.2, size=(units, 2)).clip(-0.7, 0.7), np.arange(units)


@pytest.mark.parametrize("kind", [clamped, free])
def test_bands_hold_whole_curves_at_least_as_often_as_they_say(kind: object) -> None:
    draw = clamped if kind is clamped else free
    generator = np.random.default_rng(24)
    many, _ = draw(generator, 30_000)
    sweep = spotlight_sweep(unit_coordinates(many, np.ones(len(many))), LEVELS, ANGLES)
    truth = sweep.fraction.ravel()
    # Three thousandths: what the truth itself was simulated with.
    experiments, whole, equal = 200, np.zeros(2), np.zeros(2)
    for index in range(experiments):
        totals = [unit_counts(*draw(generator, UNITS), UNITS, LEVELS, ANGLES) for _ in range(2)]
        band = share_bands(totals[0], STRATUM, 2, resamples=250, seed=index)
        nothing = difference_bands(totals[0], totals[1], STRATUM, 2, resamples=250, seed=index)
        assert band is not None
        assert nothing is not None
        whole += ((band[0] <= truth + 3e-3) & (truth - 3e-3 <= band[1])).reshape(2, -1).all(axis=1)
        equal += ((nothing[0] <= 0) & (nothing[1] >= 0)).reshape(2, -1).all(axis=1)
    assert (whole / experiments >= 0.95 - allowed(0.95, experiments)).all()
    assert (equal / experiments >= 0.95 - allowed(0.95, experiments)).all()


ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_module(TOOLS / "calibrate.py")


def test_the_table_has_a_line_for_every_quantity_that_is_measured(tool: ModuleType) -> None:
    lines = tool.written_in((ROOT / "docs" / "methods.md").read_text(encoding="utf-8"))
    cells = [tuple(cell.strip() for cell in line.split("|")[1:4]) for line in lines]
    assert cells == [(each.name, each.reference, each.null) for each in tool.QUANTITIES]
    assert len({(each.name, each.null) for each in tool.QUANTITIES}) == len(tool.QUANTITIES)


def test_what_leaves_its_limits_by_more_than_chance_is_a_problem(tool: ModuleType) -> None:
    assert tool.Measured(size=0.06, coverage=0.94, experiments=1000).problems == []
    assert len(tool.Measured(size=0.09, coverage=0.91, experiments=1000).problems) == 2
    assert tool.Measured(size=0.09, experiments=1000, most=0.08).problems == []
    # No number at all is none that was kept.
    assert tool.Measured(power=0.9, experiments=10).problems != []


def test_a_simulation_gives_the_same_numbers_again(tool: ModuleType) -> None:
    name = "sign flips, two coordinates jointly: p of symmetry"
    (quantity,) = (each for each in tool.QUANTITIES if each.name == name)
    assert tool.simulated(quantity, 200) == tool.simulated(quantity, 200)
