"""The spotlight over all planes that group means, or other directions, of a session span in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.directions import SiteRuns, Vector, direction_vector
from srm_explorer.engine.analyses.registry import Findings, StudyArguments, findings_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.conditions import levels_of
from srm_explorer.engine.experiment.directions import direction_of, expanded, needs_runs
from srm_explorer.engine.figures.captions import direction_caption, site_caption
from srm_explorer.engine.figures.groups import run_groups
from srm_explorer.engine.figures.numbers import count_of, short, three_digits
from srm_explorer.engine.figures.table import CellValue, TableColumn, TableFigure, table_columns
from srm_explorer.engine.figures.warnings import NEAR_DEG
from srm_explorer.engine.io.vectors import Matrix, as_rows
from srm_explorer.engine.session import Session
from srm_explorer.engine.session.export import chosen_site
from srm_explorer.engine.stats.ensembles import (
    Ensemble,
    EnsembleSweep,
    PairKind,
    ensemble_cosines,
    ensemble_of,
    ensemble_sweep,
)
from srm_explorer.engine.stats.spotlight import MAX_ANGLES

ARGUMENTS = ("basis", "ensemble", "site", "by", "thresholds", "angles")

_COLUMNS = table_columns(
    "group::text; n_runs:runs:whole:3; threshold:cosine ≥; mean::percent:2; most::percent; "
    "most_spread:± over planes:percent:1; most_at_deg:at:degrees; least::percent; "
    "least_spread:± over planes:percent:1; least_at_deg:at:degrees"
)


def ensemble_study(session: Session, arguments: Mapping[str, Any]) -> Findings:
    """Sweep a session's runs through every plane of an ensemble.

    Args:
        arguments: `basis`, texts of directions, where `*` stands for each level of a factor: ["mean(type=*)"]; parted
            by ";" where they are one text. `ensemble`, "perm" or "comb". `site`, the first captured one by default.
            `by`, as charts group runs. `thresholds`, `angles`, those of the experiment by default.

    Returns:
        two tables: a row a group and threshold; and the curves, a row a group and angle.
    """
    settings = StudyArguments(arguments, ARGUMENTS, "ensemble")
    site = chosen_site(session, settings.text("site"))
    vectors = session.vectors([site])[site]
    return findings_of(*ensemble_tables(session, vectors, arguments))


def ensemble_tables(
    session: Session,
    vectors: Matrix | list[Matrix],
    arguments: Mapping[str, Any],
    weights: Mapping[str, Vector] | None = None,
) -> tuple[TableFigure, TableFigure]:
    """The two tables of `ensemble_study`.

    Args:
        weights: vectors of files and weights, by their text, beside those that the session holds.

    Raises:
        ExplorerError: a direction that means nothing there, fewer than two of them, or all on one line.
    """
    settings = StudyArguments(arguments, ARGUMENTS, "ensemble")
    site = chosen_site(session, settings.text("site"))
    runs = SiteRuns.of(session, site, vectors, weights)
    names = basis_names(session, _texts(arguments.get("basis")))
    basis = np.stack([direction_vector(name, runs) for name in names])
    kind = cast("PairKind", settings.choice("ensemble", ("perm", "comb")))
    ensemble = ensemble_of(basis, kind)
    levels = [_number(level) for level in settings.texts("thresholds")] or list(session.spec.spotlight.thresholds)
    angles = settings.whole("angles", session.spec.spotlight.angles, least=1)
    if angles > MAX_ANGLES:
        raise ExplorerError(f"{angles} is no number of angles", remedy=f"choose at most {MAX_ANGLES:,}")
    cosines, _ = ensemble_cosines(as_rows(vectors), ensemble)
    swept: dict[str, EnsembleSweep] = {}
    for label, group in run_groups(session, settings.texts("by")).items():
        group_cosines = cosines[group.runs]
        if np.isfinite(group_cosines).all(axis=1).any():
            swept[label] = ensemble_sweep(group_cosines, ensemble, levels, angles)
    if not swept:
        raise ExplorerError("no run has finite vectors", where=session.name, remedy="look at its warnings")
    title = f"{session.name} · {site_caption(site)} · {count_of(len(ensemble), 'plane')} of {len(names)} directions"
    notes = _notes(site, names, ensemble)
    return (
        TableFigure("ensemble", title, _COLUMNS, tuple(_rows(swept)), notes),
        TableFigure(
            "ensemble-curves", f"{title}, angle by angle", _curve_columns(levels), tuple(_curves(swept)), notes
        ),
    )


def basis_names(session: Session, texts: Sequence[str]) -> list[int | str]:
    """Every direction that texts stand for, each once: `*` is each level of a factor in turn.

    Raises:
        ExplorerError: a text that is no direction, a factor that is none, fewer than two directions.
    """
    levels = levels_of([(prompt.set, prompt.factors) for prompt in session.prompts], session.conditions)
    names: list[int | str] = []
    for text in texts:
        direction = direction_of(text)
        names += (
            [direction] if isinstance(direction, int) else [str(direction) for direction in expanded(direction, levels)]
        )
    names = list(dict.fromkeys(names))
    if len(names) < 2:
        raise ExplorerError(
            f"an ensemble needs at least two directions, there is {len(names) or 'none'}",
            remedy="name all levels of a factor, as mean(type=*), or several directions",
        )
    return names


def _rows(swept: Mapping[str, EnsembleSweep]) -> list[tuple[CellValue, ...]]:
    rows: list[tuple[CellValue, ...]] = []
    for label, sweep in swept.items():
        for level, fraction, spread in zip(sweep.thresholds, sweep.fraction, sweep.spread, strict=True):
            cells: list[CellValue] = [label, sweep.n, level, float(fraction.mean())]
            for at in (int(fraction.argmax()), int(fraction.argmin())):
                cells += [float(fraction[at]), float(spread[at]), float(sweep.angles_deg[at])]
            rows.append(tuple(cells))
    return rows


def _curve_columns(levels: Sequence[float]) -> tuple[TableColumn, ...]:
    pairs = [
        TableColumn(f"{name}_{level!r}", f"{name} {short(level)}", "percent")
        for level in levels
        for name in ("fraction", "spread")
    ]
    return (*table_columns("angle_deg:angle; group::text"), *pairs)


def _curves(swept: Mapping[str, EnsembleSweep]) -> list[tuple[CellValue, ...]]:
    rows: list[tuple[CellValue, ...]] = []
    for label, sweep in swept.items():
        pairs = np.stack([sweep.fraction, sweep.spread], axis=1).reshape(-1, len(sweep.angles_deg)).T
        rows += [(angle, label, *row) for angle, row in zip(sweep.angles_deg.tolist(), pairs.tolist(), strict=True)]
    return rows


def _notes(site: str, names: Sequence[int | str], ensemble: Ensemble) -> tuple[str, ...]:
    captions = [direction_caption(site, name) for name in names]
    kind = "ordered pairs" if ensemble.kind == "perm" else "pairs, each once"
    notes = [
        f"{kind} of {', '.join(captions[:8])}{' …' if len(captions) > 8 else ''}; share of runs with cosine ≥ t − 1e-12"
    ]
    if ensemble.skipped:
        pairs = [f"{captions[i]} and {captions[j]}" for i, j in ensemble.skipped[:4]]
        notes.append(f"{count_of(len(ensemble.skipped), 'pair')} on one line left out: {', '.join(pairs)}")
    angles: NDArray[np.float64] = np.degrees(np.arctan2(ensemble.sine, np.abs(ensemble.gram)))
    near = int(np.count_nonzero(angles < NEAR_DEG))
    if near:
        notes.append(
            f"{near} of {count_of(len(ensemble), 'plane')} span less than {NEAR_DEG:.0f}° (the least "
            f"{three_digits(float(angles.min()))}°): there 90° is what little the second adds to the first"
        )
    if any(needs_runs(name) for name in names):
        notes.append("directions made of these runs (means, components) separate them by construction: no finding")
    return tuple(notes)


def _texts(value: object) -> list[str]:
    """Directions hold commas, so that ";" parts them."""
    parts = cast("Sequence[object]", value) if isinstance(value, list | tuple) else str(value or "").split(";")
    return [str(part).strip() for part in parts if str(part).strip()]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ExplorerError(f"{text!r} is not a number", where="thresholds", remedy="write 0.7,0.5") from None
