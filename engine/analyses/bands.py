"""The certainty of a plane's curves: regions, bands, what chance draws, and what is beyond arithmetic."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.beyond_arithmetic import beyond_fields, residual_p, residual_totals
from srm_explorer.engine.analyses.controls import control_nulls
from srm_explorer.engine.analyses.registry import Arguments, Findings, findings_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.arithmetic import SiteEdits
from srm_explorer.engine.figures.bands import DoseBand, GroupBand, NullBand, PlaneBands, stored_tests
from srm_explorer.engine.figures.captions import plane_captions
from srm_explorer.engine.figures.groups import CONDITION, points_of, run_groups
from srm_explorer.engine.io.vectors import Matrix, as_rows
from srm_explorer.engine.session import (
    ComputedTest,
    PlaneRecord,
    Session,
    Units,
    check_family,
    record_tests,
    units_of,
)
from srm_explorer.engine.stats.bands import share_bands, sup_t_band, unit_counts
from srm_explorer.engine.stats.groups import BASELINE, RunGroup
from srm_explorer.engine.stats.nulls import (
    PARTNERS,
    draw_partners,
    isotropic_planes,
    null_curves,
    partner_coordinates,
    plane_coordinates,
    second_moment_planes,
)
from srm_explorer.engine.stats.permutation import benjamini_hochberg, family_size
from srm_explorer.engine.stats.regions import REGION_RESAMPLES, joint_region
from srm_explorer.engine.stats.resampling import (
    FEWEST_RESAMPLES,
    LEVEL,
    MOST_WEIGHTS,
    RESAMPLES,
    UnitTotals,
    bootstrap_weights,
    merged_strata,
    resampled_means,
    unit_totals,
)
from srm_explorer.engine.stats.spotlight import UnitCoordinates

Floats = NDArray[np.float64]


def dose_bands(
    session: Session, plane: PlaneRecord, points: UnitCoordinates, units: Units, *, resamples: int, seed: int
) -> tuple[DoseBand, ...]:
    """Infer every panel of a plane's dose chart, each held by its band at all values at once.

    Amplitude and phase are read off the joint region of (A, B) of each value, and the largest share off its angle, at a
    level that Bonferroni makes of the whole chart's; norm, energy and activation have one critical value (sup-t).

    Returns:
        One a panel, for the largest share one a threshold; none where no value was swept, or over fewer than two units.
        Phases lie around the observed ones; NaN where they may be any.
    """
    swept = sorted(
        (condition.value, condition.label)
        for condition in session.conditions
        if condition.kind == "sweep" and condition.value is not None
    )
    groups = run_groups(session, (CONDITION,))
    labels = [label for _, label in swept if label in groups]
    used = np.unique(np.concatenate([units.of_run[groups[label].runs] for label in labels] or [np.empty(0, np.int64)]))
    if len(used) < 2:
        return ()
    index_of = np.full(len(units), -1)
    index_of[used] = np.arange(len(used))
    sample = _Sample(
        index_of[units.of_run], merged_strata(units.stratum[used]), resamples, seed, 1 - (1 - LEVEL) / len(labels)
    )
    runs = [groups[label].runs for label in labels]
    regions = [sample.region(points, rows) for rows in runs]
    columns = np.column_stack([np.where(points.finite, plane.norm, np.nan), (points.xy**2).sum(axis=1), plane.x])
    bands = [
        DoseBand("amplitude", tuple(labels), np.array([amplitude for amplitude, _ in regions]).T),
        DoseBand("phase", tuple(labels), np.array([phase for _, phase in regions]).T),
    ]
    bands += [
        DoseBand(name, tuple(labels), band)
        for name, band in zip(("norm", "energy", "mean"), sample.means(columns, runs), strict=True)
    ]
    spotlight = session.spec.spotlight
    shares = np.stack([sample.shares(points, rows, spotlight.thresholds, spotlight.angles) for rows in runs], axis=2)
    bands += [
        DoseBand("share", tuple(labels), band, float(level))
        for band, level in zip(shares, spotlight.thresholds, strict=True)
    ]
    return tuple(bands)


@dataclass(frozen=True, eq=False)
class _Sample:
    """The units of a dose chart and how they are resampled; `single` is the level of one value among all of them."""

    home: NDArray[np.int64]
    strata: NDArray[np.int64]
    resamples: int
    seed: int
    single: float

    def region(self, points: UnitCoordinates, runs: NDArray[np.int64]) -> tuple[list[float], list[float]]:
        """The ends of one value's amplitude and of its phase, which lie around the observed one; NaN where unknown."""
        totals = unit_totals(points.xy, self.home, len(self.strata), runs)
        resamples = min(self.resamples, REGION_RESAMPLES)
        region = joint_region(totals, self.strata, level=self.single, resamples=resamples, seed=self.seed)
        if region is None or region.is_point:
            return [np.nan] * 2, [np.nan] * 2
        ends = region.phase_deg
        if ends is None:
            return list(region.amplitude), [np.nan] * 2
        phase = float(np.degrees(np.arctan2(region.centre[1], region.centre[0]))) % 360.0
        return list(region.amplitude), [phase - (phase - ends[0]) % 360.0, phase + (ends[1] - phase) % 360.0]

    def means(self, columns: Floats, runs: Sequence[NDArray[np.int64]]) -> list[Floats]:
        """[2, value] bands of the mean of every column."""
        weights = bootstrap_weights(self.strata, self.resamples, self.seed)
        totals = [unit_totals(columns, self.home, len(self.strata), rows) for rows in runs]
        observed = np.array([total.mean for total in totals])
        drawn = np.stack([resampled_means(total, weights) for total in totals], axis=1)
        return [sup_t_band(observed[:, c], drawn[..., c], self.strata) for c in range(columns.shape[1])]

    def shares(
        self, points: UnitCoordinates, runs: NDArray[np.int64], thresholds: Sequence[float], angles: int
    ) -> Floats:
        """[threshold, 2] ends of the share at the angle where it is largest."""
        counts = unit_counts(points.xy[runs], self.home[runs], len(self.strata), thresholds, angles)
        ends = np.full((len(thresholds), 2), np.nan)
        if not counts.present.any():
            return ends
        best = counts.mean.reshape(-1, angles).argmax(axis=1) + np.arange(len(thresholds)) * angles
        totals = UnitTotals(counts.sums[:, best], counts.counts)
        band = share_bands(
            totals, self.strata, len(thresholds), level=self.single, resamples=self.resamples, seed=self.seed
        )
        return ends if band is None else band.T


NullKind: TypeAlias = Literal["partners", "isotropic", "second moment"]
NULL_KINDS: tuple[NullKind, ...] = ("partners", "isotropic", "second moment")


def null_bands(
    session: Session,
    plane: PlaneRecord,
    groups: Mapping[str, RunGroup],
    vectors: Matrix | Sequence[Matrix],
    kinds: Sequence[NullKind] = ("partners",),
    *,
    basis: Floats | None = None,
    seed: int = 0,
) -> tuple[NullBand, ...]:
    """Draw planes by chance and see what curves the groups' runs draw in them.

    Args:
        vectors: full vectors of the plane's site, [run, d], or a [token, d] array a run.
        basis: [2, d] of the plane, where one of its directions is no coordinate.
    """
    whole = as_rows(vectors, dtype=np.float32)
    if plane.held_out is not None:
        # Chance is drawn of the runs that are shown.
        made = np.isin([run.prompt for run in session.runs], plane.held_out.prompts)
        whole = np.where(made[:, None], np.float32(np.nan), whole)
    spotlight = session.spec.spotlight
    bands: list[NullBand] = []
    for kind in kinds:
        # Runs that are not finite are left out of every curve.
        with np.errstate(over="ignore", invalid="ignore"):
            norm = np.sqrt(np.einsum("ij,ij->i", whole, whole, dtype=np.float64))
            drawn = _drawn(session, plane, kind, whole, norm, basis, PARTNERS, seed)
        if drawn is None:
            continue
        xy, legend = drawn
        for label, group in groups.items():
            curves = null_curves(xy[:, group.runs], spotlight.thresholds, spotlight.angles)
            bands.append(NullBand(kind, legend, label, curves.planes, curves.mean, curves.counts))
    return tuple(bands)


def _drawn(
    session: Session,
    plane: PlaneRecord,
    kind: NullKind,
    vectors: Matrix,
    norm: Floats,
    basis: Floats | None,
    planes: int,
    seed: int,
) -> tuple[Floats, str] | None:
    """[plane, run, 2] coordinates in planes of one kind, and the legend; None where there is nothing to draw from."""
    width = vectors.shape[1]
    if kind == "isotropic":
        return plane_coordinates(vectors, norm, isotropic_planes(width, planes, seed)), (
            f"95 % of {planes} isotropic random planes"
        )
    if kind == "second moment":
        baseline = vectors[(session.kinds == BASELINE) & np.isfinite(norm) & session.seen]
        if len(baseline) < 2:
            return None
        drawn = second_moment_planes(baseline, planes, seed)
        return plane_coordinates(vectors, norm, drawn), f"95 % of {planes} planes of the baseline's second moment"
    side = _kept_side(session, plane)
    along = (plane.a, plane.b)[side]
    direction = np.zeros(width)
    if basis is not None:
        direction = basis[side]
    elif isinstance(along, int) and along < width:
        direction[along] = 1.0
    else:
        return None
    edited = SiteEdits.of(session.spec, plane.site).columns.tolist()
    excluded = [direction for direction in (plane.a, plane.b, *edited) if isinstance(direction, int)]
    partners = draw_partners(width, excluded, planes, seed)
    if not len(partners):
        return None
    length = np.where(norm > 0, norm, 1.0)
    kept = plane.xy[:, side] / length
    xy = partner_coordinates(vectors, norm, kept, direction, partners)
    name = plane_captions(plane)[side]
    pair = f"({name}, random)" if side == 0 else f"(random, {name})"
    all_of = "all " if len(partners) < planes else ""
    return xy if side == 0 else xy[:, :, ::-1], f"95 % of {all_of}{len(partners)} {pair} planes"


def _kept_side(session: Session, plane: PlaneRecord) -> int:
    """The side whose direction stays: the first, unless the second alone was intervened on."""
    edited = SiteEdits.of(session.spec, plane.site).columns.tolist()
    return int(plane.a not in edited and plane.b in edited)


Captured: TypeAlias = Mapping[str, Matrix | list[Matrix]]
"""By site, rows in the order of a session's runs: [run, d], or a list of [token, d]."""


def plane_bands(
    session: Session,
    plane_index: int,
    by: Sequence[str] = (),
    vectors: Captured | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    nulls: Sequence[NullKind] = ("partners",),
) -> PlaneBands:
    """Compute how sure a plane's curves are, and what chance draws beside them.

    Units are resampled within prompt sets; (A, B) of every group is inferred jointly; counts have simultaneous bands;
    observed minus arithmetic is tested by flipping the signs of whole units. Its p-values are not corrected here: see
    `session_bands`.

    Args:
        session: with at least one run.
        vectors: full vectors by site; without those of the plane's site chance is left out.
        resamples: of the bootstrap; fewer where units are too many for memory, as the result tells.
        nulls: the kinds of planes drawn by chance; controls are beside them where the session has any.

    Raises:
        ExplorerError: no run is finished, or the prompts have no such factor.
    """
    plane = session.planes[plane_index]
    groups = run_groups(session, by)
    units = units_of(session)
    resamples = max(FEWEST_RESAMPLES, min(resamples, MOST_WEIGHTS // max(1, len(units))))
    points = points_of(plane)
    tested = residual_totals(session, plane_index, groups, units)
    bands: list[GroupBand] = []
    for label, group in groups.items():
        band = _group_band(session, points, units, label, group, tested.get(label), resamples, seed)
        if band is not None:
            bands.append(band)
    chance: tuple[NullBand, ...] = ()
    site_vectors = None if vectors is None else vectors.get(plane.site)
    if vectors is not None and site_vectors is not None:
        basis = _basis(session, plane_index, site_vectors)
        chance = null_bands(session, plane, groups, site_vectors, nulls, basis=basis, seed=seed)
        chance += control_nulls(session, plane_index, by, vectors)
    dose = (
        dose_bands(session, plane, points, units, resamples=resamples, seed=seed) if tuple(by) == (CONDITION,) else ()
    )
    return PlaneBands(plane_index, tuple(by), LEVEL, resamples, seed, 0, tuple(bands), chance, dose)


def _group_band(
    session: Session,
    points: UnitCoordinates,
    units: Units,
    label: str,
    group: RunGroup,
    residual: UnitTotals | None,
    resamples: int,
    seed: int,
) -> GroupBand | None:
    totals = unit_totals(points.xy, units.of_run, len(units), group.runs)
    region = joint_region(totals, units.stratum, resamples=min(resamples, REGION_RESAMPLES), seed=seed)
    if region is None or region.is_point:
        return None
    spotlight = session.spec.spotlight
    levels = spotlight.thresholds
    counts = unit_counts(points.xy[group.runs], units.of_run[group.runs], len(units), levels, spotlight.angles)
    shares = share_bands(counts, units.stratum, len(levels), resamples=resamples, seed=seed)
    runs = counts.counts.sum()
    split = () if shares is None else np.split(shares * runs, len(levels), axis=1)
    return GroupBand(
        label=label,
        units=region.units,
        centre=(float(region.centre[0]), float(region.centre[1])),
        covariance=region.covariance,
        radius2=region.radius2,
        phase_deg=region.phase_deg,
        amplitude=region.amplitude,
        counts={float(level): band for level, band in zip(levels, split, strict=False)},
        **({} if residual is None else beyond_fields(session, group, residual, units, resamples, seed)),
    )


def _basis(session: Session, plane_index: int, vectors: Matrix | list[Matrix]) -> Floats | None:
    """[2, d] of a plane one of whose directions is no coordinate; None for other planes, and where it is not known."""
    plane = session.planes[plane_index]
    if isinstance(plane.a, int) and isinstance(plane.b, int):
        return None
    from srm_explorer.engine.analyses.directions import SiteRuns, basis_of_record

    try:
        return basis_of_record(plane, SiteRuns.of(session, plane.site, vectors)).basis
    except ExplorerError:
        return None


FAMILY = "beyond arithmetic"
"""That the tests of observed minus arithmetic are in where nobody names another."""

DEFAULT_GROUPINGS: tuple[tuple[str, ...], ...] = ((), (CONDITION,))

BY_CONDITION_RESAMPLES = 2_000
"""Of a grouping by condition, whose groups are many and whose bands are looked at one at a time."""

MOST_UNITS = 20_000
"""Beyond which bands are not computed when a run is saved, only when they are asked for."""

MOST_NUMBERS = 800_000
"""In the bands that a session is saved with: some 4 MB."""

MOST_ELEMENTS = 100_000_000
"""Numbers in the vectors of a run that is saved, beyond which chance is computed only when it is asked for."""


def session_bands(
    session: Session,
    vectors: Captured | None = None,
    groupings: Sequence[Sequence[str]] = DEFAULT_GROUPINGS,
    *,
    planes: Iterable[int] | None = None,
    resamples: int | None = None,
    seed: int = 0,
    nulls: Sequence[NullKind] | None = None,
    family: str = FAMILY,
) -> tuple[PlaneBands, ...]:
    """Compute the bands of planes under groupings.

    The tests of all planes of the session under all of these go into its ledger; q is over what the family then holds.

    Args:
        session: with at least one run.
        vectors: by site; without those of a plane's site chance is left out.
        groupings: each as `swept_groups` takes it.
        planes: whose bands are computed; all by default.
        resamples: of the bootstrap; by default 10,000, and 2,000 by condition.
        nulls: the kinds of planes drawn by chance; by default all of them pooled, else random partners alone.
        family: that the tests belong to.

    Raises:
        ExplorerError: no run is finished, or the prompts have no such factor.
    """
    check_family(family)
    pairs = [(by, index) for by in groupings for index in range(len(session.planes))]
    chosen = range(len(session.planes)) if planes is None else list(planes)
    wanted = [pair for pair in pairs if pair[1] in chosen]
    computed, rest = _computed(session, vectors, pairs, wanted, resamples, seed, nulls)
    # All of them first: every q is over all that this made.
    record_tests(session, [*rest, *(test for bands in computed for test in _tests_of(session, bands))], family)
    return tuple(counted_bands(session, bands, family) for bands in computed)


def counted_bands(session: Session, bands: PlaneBands, family: str = FAMILY) -> PlaneBands:
    """Bands as somebody looks at them: their tests, and those the session was saved with, go into its ledger.

    What was computed when a run was saved is one analysis, whichever of its planes is looked at, and counts from the
    first look on.
    """
    shown = _tests_of(session, bands)
    stored = [_tested(*test) for test in stored_tests(session)]
    keys = {test.key for test in shown}
    counted = record_tests(session, [*shown, *(test for test in stored if test.key not in keys)], family)
    groups = tuple(
        dataclasses.replace(band, q_arithmetic=None if np.isnan(q) else float(q))
        for band, q in zip(bands.groups, counted.q, strict=False)
    )
    words = "; ".join(counted.lines)
    return dataclasses.replace(bands, groups=groups, family=counted.size, total=counted.total, counted=words)


def _tests_of(session: Session, bands: PlaneBands) -> list[ComputedTest]:
    plane = session.planes[bands.plane]
    return [_tested(plane, bands.by, band.label, band.p_arithmetic) for band in bands.groups]


def _tested(plane: PlaneRecord, by: Sequence[str], label: str, p: float | None) -> ComputedTest:
    of = {"plane": list(plane.key), "by": list(by), "group": label}
    return ComputedTest("beyond arithmetic", of, np.nan if p is None else p)


def with_bands(session: Session, vectors: Captured) -> Session:
    """A session with the bands of its default groupings, so that it redraws without its vectors.

    All planes come first pooled, then by condition, while they keep the file small; others are computed on demand.
    """
    if not session.runs or not session.planes or len(units_of(session)) > MOST_UNITS:
        return session
    pairs = [(by, index) for by in DEFAULT_GROUPINGS for index in range(len(session.planes))]
    spotlight = session.spec.spotlight
    chosen: list[tuple[Sequence[str], int]] = []
    room = MOST_NUMBERS
    for by, index in pairs:
        room -= len(run_groups(session, by)) * spotlight.angles * (4 * len(spotlight.thresholds) + 2)
        if room >= 0:
            chosen.append((by, index))
    elements = sum(
        matrix.size if isinstance(matrix, np.ndarray) else sum(tokens.size for tokens in matrix)
        for matrix in vectors.values()
    )
    known = vectors if elements <= MOST_ELEMENTS else None
    results, _ = _computed(session, known, pairs, chosen, None, 0, None)
    return session.changed(bands={"planes": [bands.to_dict() for bands in results]})


def bands_study(session: Session, arguments: Arguments) -> Findings:
    """Compute the bands of one plane under one grouping.

    Arguments: "plane" (0), "by" (nothing), "resamples", "seed" (0), "nulls", "family" (as `session_bands`), "chance"
    (True; False does without it, and so without reading the vectors). Findings: "bands" holds `PlaneBands.to_dict`,
    "told" what was not computed and why.

    Raises:
        ExplorerError: an argument names what is not there.
    """
    plane = int(arguments.get("plane", 0))
    if not 0 <= plane < len(session.planes):
        raise ExplorerError(f"there is no plane {plane}", where=session.name, remedy="choose another")
    vectors: Captured | None = None
    notes: list[str] = []
    if arguments.get("chance", True):
        try:
            vectors = session.vectors([session.planes[plane].site])
        except ExplorerError as error:
            notes.append(f"without what chance draws: {error}")
    else:
        notes.append("without what chance draws: it was not asked for")
    (bands,) = session_bands(
        session,
        vectors,
        [tuple(str(name) for name in arguments.get("by", ()))],
        planes=[plane],
        resamples=arguments.get("resamples"),
        seed=int(arguments.get("seed", 0)),
        nulls=arguments.get("nulls"),
        family=arguments.get("family") or FAMILY,
    )
    return findings_of(bands=bands.to_dict(), told=notes)


def _computed(
    session: Session,
    vectors: Captured | None,
    family: Sequence[tuple[Sequence[str], int]],
    chosen: Sequence[tuple[Sequence[str], int]],
    resamples: int | None,
    seed: int,
    nulls: Sequence[NullKind] | None,
) -> tuple[tuple[PlaneBands, ...], list[ComputedTest]]:
    """Bands of the chosen pairs, corrected over the whole family, and the tests of the others."""
    computed: list[PlaneBands] = []
    rest: list[ComputedTest] = []
    for by, index in family:
        number = resamples or (BY_CONDITION_RESAMPLES if CONDITION in by else RESAMPLES)
        if (by, index) in chosen:
            kinds = nulls or (NULL_KINDS if not by else NULL_KINDS[:1])
            computed.append(plane_bands(session, index, by, vectors, resamples=number, seed=seed, nulls=kinds))
        else:
            others = residual_p(session, index, by, flips=number, seed=seed)
            rest += [_tested(session.planes[index], by, label, p) for label, p in others.items()]
    p_values = [
        np.nan if group.p_arithmetic is None else group.p_arithmetic for each in computed for group in each.groups
    ]
    p = np.array([*p_values, *(test.p for test in rest)], np.float64)
    q = iter(benjamini_hochberg(p).tolist())
    size = family_size(p)
    corrected = tuple(
        dataclasses.replace(
            each,
            family=size,
            groups=tuple(
                dataclasses.replace(group, q_arithmetic=None if np.isnan(value) else value)
                for group, value in zip(each.groups, q, strict=False)
            ),
        )
        for each in computed
    )
    return corrected, rest
