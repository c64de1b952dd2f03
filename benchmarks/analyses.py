"""The numbers behind charts and tables beside loops that spell them out: sweep, resampled bands, pairs of neurons."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from measuring import Measured, Options, seconds
from references import spotlight_by_angles

from srm_explorer.engine.analyses.plane_finder import finder_study
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.session import PromptRecord, RunRecord, Session, save_session
from srm_explorer.engine.stats.bands import share_bands, unit_counts
from srm_explorer.engine.stats.comparison import paired_contrast
from srm_explorer.engine.stats.pairings import scan_pairs, separation_score
from srm_explorer.engine.stats.planes import coordinates, neuron_plane
from srm_explorer.engine.stats.regions import joint_region
from srm_explorer.engine.stats.resampling import bootstrap_weights, unit_totals
from srm_explorer.engine.stats.spotlight import spotlight_sweep, unit_coordinates

SITE = "blocks.11.mlp.hook_post"
SAMPLE = 2000
"""Pairs that the reference goes through."""
UNITS, THRESHOLDS, ANGLES = 50, (0.7, 0.5, 0.3, 0.1), 360
VALUES = np.array([-20, -10, -6, -3, -1, 0, 1, 3, 6, 10, 20.0])
STRATUM = np.repeat([0, 1], [20, 30])

Group = tuple[np.ndarray, np.ndarray]


def swept(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sweep the plane of neurons 373 and 2202: [angle] mean cosine, [threshold, angle] counts."""
    plane = neuron_plane(vectors.shape[1], 373, 2202)
    sweep = spotlight_sweep(unit_coordinates(*coordinates(vectors, plane)), THRESHOLDS)
    return sweep.mean, sweep.counts


def spotlight(options: Options) -> None:
    """2,050 vectors of 3,072, 360 angles, 4 thresholds; the loop goes through the whole space at every angle."""
    vectors = np.random.default_rng(0).normal(size=(2050, 3072))
    first, second = np.eye(3072)[373], np.eye(3072)[2202]
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(2 if options.quick else 3):
        ours.append(min(seconds(lambda: swept(vectors)) for _ in range(3)))
        theirs.append(seconds(lambda: spotlight_by_angles(vectors, first, second, THRESHOLDS)))
    mean, counts = swept(vectors)
    slow_mean, slow_counts = spotlight_by_angles(vectors, first, second, THRESHOLDS)
    equal = np.array_equal(counts, slow_counts) and np.allclose(mean, slow_mean, atol=1e-12)
    note = f"curves are {'equal' if equal else 'NOT equal'}"
    options.report.times("spotlight: sweep of 2,050 vectors against a loop over angles", ours, theirs, note)


def two_groups(seed: int) -> list[Group]:
    """50 baseline runs and 550 clamped ones: [run, 2] unit coordinates and the unit of each run."""
    generator = np.random.default_rng(seed)
    rest = generator.normal(14, 3, size=(UNITS, 1)) * np.exp(0.1 * generator.normal(size=(UNITS, len(VALUES))))
    clamped = np.stack([VALUES / np.hypot(VALUES, rest), 0.1 * generator.normal(size=rest.shape)], -1).reshape(-1, 2)
    baseline = generator.normal([0.01, -0.01], [0.02, 0.05], size=(UNITS, 2))
    return [(baseline, np.arange(UNITS)), (clamped, np.repeat(np.arange(UNITS), len(VALUES)))]


def vectorised(groups: list[Group], resamples: int) -> None:
    """Joint region and simultaneous count bands of every group."""
    for xy, of_run in groups:
        joint_region(unit_totals(xy, of_run, UNITS), STRATUM, resamples=resamples)
        share_bands(unit_counts(xy, of_run, UNITS, THRESHOLDS, ANGLES), STRATUM, len(THRESHOLDS), resamples=resamples)


def one_by_one(groups: list[Group], resamples: int) -> None:
    """The same curves of every resample, laid out run by run and swept angle by angle as arrays."""
    radians = np.deg2rad(np.arange(ANGLES))
    directions = np.stack([np.cos(radians), np.sin(radians)])
    for xy, of_run in groups:
        curves = []
        for weight in bootstrap_weights(STRATUM, resamples):
            runs = np.repeat(np.arange(len(xy)), weight[of_run].astype(int))
            cosine = xy[runs] @ directions
            counts = [np.count_nonzero(cosine > level + 1e-12, axis=0) / len(runs) for level in THRESHOLDS]
            curves.append(np.concatenate([xy[runs].mean(axis=0), *counts]))
        table = np.array(curves)
        spread = np.where(table.std(axis=0) > 0, table.std(axis=0), 1.0)
        np.quantile(np.abs((table - table.mean(axis=0)) / spread).max(axis=1), 0.95)


def resampling(options: Options) -> None:
    """Joint regions and simultaneous bands of 10,000 resamples; the loop lays out every resample."""
    groups, resamples, plain = two_groups(0), 10_000, 100
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(2 if options.quick else 3):
        ours.append(seconds(lambda: vectorised(groups, resamples)))
        theirs.append(seconds(lambda: one_by_one(groups, plain)) * resamples / plain)
    note = f"two groups, 600 runs of {UNITS} units, {ANGLES} angles, {len(THRESHOLDS)} thresholds; the loop scaled up"
    options.report.times("resampling: 10,000 times, against a loop over resamples", ours, theirs, note)


def slow_gain(differences: np.ndarray, a: int, b: int) -> float:
    """Rao's F of the coordinate that adds less, from the differences of one pair."""
    own = differences[:, [a, b]]
    n = len(own)
    mean = own.mean(axis=0)
    t2 = n * mean @ np.linalg.solve(np.cov(own.T), mean)
    better = float((n * mean**2 / own.var(axis=0, ddof=1)).max())
    return float((n - 2) * (t2 - better) / (n - 1 + better))


def protocol(prompts: int, width: int) -> tuple[Session, np.ndarray]:
    """A session of the protocol's size with random vectors."""
    values = [-20, -10, -6, -3, -1, 0, 1, 3, 6, 10, 20]
    experiment = Experiment.from_dict(
        {
            "model": {"name": "gpt2"},
            "prompts": {"sets": ["reasoning"]},
            "interventions": [{"site": SITE, "neurons": [0], "op": "clamp", "values": values}],
            "capture": {"sites": [SITE]},
        }
    )
    listed = conditions(experiment)
    grid = [(prompt, condition) for prompt in range(prompts) for condition in range(len(listed))]
    session = Session(
        name="wide",
        state="finished",
        spec=experiment,
        conditions=listed,
        resolved=tuple(tuple(None if v is None else (v,) for v in one.values) for one in listed),
        prompts=tuple(PromptRecord("reasoning", f"p{i}", {}, (i,), 0, f"{i:064x}") for i in range(prompts)),
        runs=tuple(
            RunRecord(i, prompt, condition, 0, (1,), "", 3, "length", None, {})
            for i, (prompt, condition) in enumerate(grid)
        ),
    )
    return session, np.random.default_rng(1).normal(size=(len(grid), width)).astype(np.float32)


def pairs(options: Options) -> None:
    """Every pair of 3,072 neurons for 600 vectors; the loop goes through a sample of them and must find the same."""
    neurons, vectors = 3072, 600
    rng = np.random.default_rng(0)
    differences = rng.normal(size=(vectors, neurons)) + 0.1 * rng.normal(size=neurons)
    count = neurons * (neurons - 1) // 2
    sample = np.sort(rng.permuted(np.tile(np.arange(neurons), (SAMPLE, 1)), axis=1)[:, :2], axis=1)
    contrast = paired_contrast(differences)
    score = separation_score(contrast)
    slow: list[float] = []

    def scan() -> None:
        own = paired_contrast(differences)
        scan_pairs(own.residual, separation_score(own), 100, np.arange(neurons))

    def one_by_one_pairs() -> None:
        slow[:] = [slow_gain(differences, int(a), int(b)) for a, b in sample]

    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(2 if options.quick else 3):
        ours.append(seconds(scan))
        theirs.append(seconds(one_by_one_pairs) * count / SAMPLE)
    rho = contrast.residual.T @ contrast.residual
    found = np.array([score(rho[[[a]], [[b]]], np.array([a]), np.array([b]))[0, 0] for a, b in sample])
    off = float(np.max(np.abs(found - slow) / np.maximum(1e-9, np.abs(slow))))
    note = f"{count:,} pairs, {SAMPLE:,} of them by the loop, scaled; they differ by at most {off:.1e} of themselves"
    options.report.times("plane finder: every pair of neurons, against one by one", ours, theirs, note)
    with tempfile.TemporaryDirectory() as folder:
        session, kept = protocol(50, neurons)
        saved = save_session(session, Path(folder) / "wide.json", vectors={SITE: kept}).session
        took = seconds(lambda: tables_in(finder_study(saved, {"among": "all", "site": SITE})))
    options.report.add(Measured("plane finder: the whole study", took, note=f"on {len(session.runs)} runs"))
