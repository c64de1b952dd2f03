"""Bands of a whole session: several planes and groupings as one analysis, saved with it or asked for later."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from engine.analysis.multiplicity import benjamini_hochberg, family_size
from engine.analysis.resampling import RESAMPLES
from engine.errors import ExplorerError
from engine.figures.bands import PlaneBands
from engine.figures.session import CONDITION, run_groups
from engine.figures.units import units_of
from engine.session import Session
from engine.studies.bands import Captured, beyond_p, plane_bands
from engine.studies.chance import NULL_KINDS, NullKind
from engine.studies.study import Arguments, Findings, findings_of

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
) -> tuple[PlaneBands, ...]:
    """Compute the bands of planes under groupings; q-values correct over all planes of the session under all of these.

    Args:
        session: with at least one run.
        vectors: by site; without those of a plane's site chance is left out.
        groupings: each as `swept_groups` takes it.
        planes: whose bands are computed; all by default.
        resamples: of the bootstrap; by default 10,000, and 2,000 by condition.
        seed: of all that is drawn.
        nulls: the kinds of planes drawn by chance; by default all of them pooled, else random partners alone.

    Raises:
        ExplorerError: no run is finished, or the prompts have no such factor.
    """
    pairs = [(by, index) for by in groupings for index in range(len(session.planes))]
    chosen = range(len(session.planes)) if planes is None else list(planes)
    return _computed(session, vectors, pairs, [pair for pair in pairs if pair[1] in chosen], resamples, seed, nulls)


def with_bands(session: Session, vectors: Captured, *, seed: int = 0) -> Session:
    """A session with the bands of its default groupings, so that it redraws without its vectors.

    All planes come first pooled, then by condition, while they keep the file small; others are computed on demand.

    Args:
        session: its runs finished or not.
        vectors: by site, rows in the order of its runs.
        seed: of all that is drawn.
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
        own.size if isinstance(own, np.ndarray) else sum(one.size for one in own) for own in vectors.values()
    )
    known = vectors if elements <= MOST_ELEMENTS else None
    found = _computed(session, known, pairs, chosen, None, seed, None)
    return session.changed(bands={"planes": [bands.to_dict() for bands in found]})


def bands_study(session: Session, arguments: Arguments) -> Findings:
    """Compute the bands of one plane under one grouping.

    Arguments: "plane" (0), "by" (nothing), "resamples", "seed" (0), "nulls" (as `session_bands`). Findings: "bands"
    holds `PlaneBands.to_dict`, "told" what could not be computed and why.

    Raises:
        ExplorerError: an argument names what is not there.
    """
    plane = int(arguments.get("plane", 0))
    if not 0 <= plane < len(session.planes):
        raise ExplorerError(f"there is no plane {plane}", where=session.name, remedy="choose another")
    vectors: Captured | None = None
    told: list[str] = []
    try:
        vectors = session.vectors()
    except ExplorerError as error:
        told.append(f"without what chance draws: {error}")
    (found,) = session_bands(
        session,
        vectors,
        [tuple(str(name) for name in arguments.get("by", ()))],
        planes=[plane],
        resamples=arguments.get("resamples"),
        seed=int(arguments.get("seed", 0)),
        nulls=arguments.get("nulls"),
    )
    return findings_of(bands=found.to_dict(), told=told)


def _computed(
    session: Session,
    vectors: Captured | None,
    family: Sequence[tuple[Sequence[str], int]],
    chosen: Sequence[tuple[Sequence[str], int]],
    resamples: int | None,
    seed: int,
    nulls: Sequence[NullKind] | None,
) -> tuple[PlaneBands, ...]:
    """Bands of the chosen pairs, corrected over the whole family."""
    found: list[PlaneBands] = []
    rest: list[float] = []
    for by, index in family:
        number = resamples or (BY_CONDITION_RESAMPLES if CONDITION in by else RESAMPLES)
        if (by, index) in chosen:
            kinds = nulls or (NULL_KINDS if not by else NULL_KINDS[:1])
            found.append(plane_bands(session, index, by, vectors, resamples=number, seed=seed, nulls=kinds))
        else:
            rest += beyond_p(session, index, by, flips=number, seed=seed).values()
    own = [np.nan if one.p_arithmetic is None else one.p_arithmetic for each in found for one in each.groups]
    p = np.array([*own, *rest], np.float64)
    q = iter(benjamini_hochberg(p).tolist())
    size = family_size(p)
    return tuple(
        dataclasses.replace(
            each,
            family=size,
            groups=tuple(
                dataclasses.replace(one, q_arithmetic=None if np.isnan(value) else value)
                for one, value in zip(each.groups, q, strict=False)
            ),
        )
        for each in found
    )
