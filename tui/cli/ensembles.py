"""`srm-explorer sweep --basis`: the spotlight in every plane that pairs of basis vectors span."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import three_digits
from srm_explorer.engine.io.arrays import LARGEST_WHOLE, Block, Reduce, Skipped, read_arrays
from srm_explorer.engine.io.files import CsvWriter, write_atomic
from srm_explorer.engine.stats.ensembles import (
    Ensemble,
    EnsembleSweep,
    PairKind,
    ensemble_cosines,
    ensemble_of,
    ensemble_sweep,
)
from srm_explorer.tui.cli.output import bold, colour_wanted, count, note, say, say_json, table, table_width, visible
from srm_explorer.tui.cli.sweep import Span, label_in

MOST_BASIS = 4096
"""Basis vectors, whose pairs are counted in the square of that."""
NAMED = 8
"""Names listed in one message."""
_KINDS: dict[PairKind, str] = {"perm": "ordered pairs", "comb": "pairs"}


@dataclass(frozen=True, eq=False)
class _Basis:
    """The basis vectors of a file, what each is called, and what was left out."""

    vectors: NDArray[np.float64]
    names: Sequence[str]
    skipped: Sequence[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class _Points:
    """Cosines [vector, direction] of all vectors, where they come from, and which are zero."""

    cosines: NDArray[np.float64]
    spans: Sequence[Span]
    starts: Sequence[int]
    zero: Sequence[int]
    skipped: Sequence[tuple[str, str]]

    def labels(self, vectors: Sequence[int]) -> list[str]:
        """What to call vectors: millions have no names until they are told."""
        return [label_in(self.spans, self.starts, vector) for vector in vectors]


def ensemble_command(
    files: Sequence[Path],
    basis_file: Path,
    kind: PairKind,
    thresholds: Sequence[float],
    angles: int,
    csv_file: Path | None,
    as_json: bool,
    reduce: Reduce | None = None,
) -> None:
    """Sweep the vectors of the files through every plane of the basis; mean and standard deviation over planes."""
    if len(set(thresholds)) < len(thresholds):
        raise ExplorerError("a threshold stands twice", where="--thresholds", remedy="give each one once")
    basis = _basis_in(basis_file)
    try:
        ensemble = ensemble_of(basis.vectors, kind)
    except ExplorerError as error:
        raise ExplorerError(error.what, where=str(basis_file), remedy=error.remedy) from None
    points = _points_in(files, ensemble, reduce)
    swept = ensemble_sweep(points.cosines, ensemble, thresholds, angles)
    if csv_file is not None:
        write_atomic(csv_file, ensemble_csv(swept).encode("utf-8", "backslashreplace"))
    _report(basis, ensemble, points, swept)
    if as_json:
        say_json(_as_json(files, basis_file, basis, ensemble, points, swept), "ensemble")
        return
    title = f"{count(swept.n_planes, 'plane')} of {len(basis.names)} basis vectors ({_KINDS[kind]})"
    say(f"{bold(title, colour=colour_wanted())}  N {swept.n:,}", *_lines(swept))
    if csv_file is not None:
        say("", f"{count(angles, 'angle')} written to {visible(str(csv_file))}")


def ensemble_csv(swept: EnsembleSweep) -> str:
    """As CSV: `angle_deg`, then `fraction_<T>` and `spread_<T>` for every threshold, numbers as Python writes them."""
    file = io.StringIO()
    writer = CsvWriter(file)
    header = [f"{name}_{level!r}" for level in swept.thresholds for name in ("fraction", "spread")]
    writer.writerow(["angle_deg", *header])
    pairs = np.stack([swept.fraction, swept.spread], axis=1).reshape(-1, len(swept.angles_deg))
    for angle, row in zip(swept.angles_deg.tolist(), pairs.T.tolist(), strict=True):
        writer.writerow([repr(angle), *(repr(value) for value in row)])
    return file.getvalue()


def _basis_in(path: Path) -> _Basis:
    rows: list[NDArray[np.float64]] = []
    names: list[str] = []
    skipped: list[tuple[str, str]] = []
    for part in read_arrays(path):
        if isinstance(part, Skipped):
            skipped.append((f"{path.name}: {part.key}", part.why))
            continue
        if rows and part.rows.shape[1] != rows[0].shape[1]:
            raise ExplorerError(
                f"'{part.key}' has {part.rows.shape[1]} entries where '{names[0]}' has {rows[0].shape[1]}",
                where=str(path),
                remedy="give basis vectors of one width",
            )
        rows.append(part.rows.astype(np.float64))
        names += [part.label(row) for row in range(len(part.rows))]
        if len(names) > MOST_BASIS:
            what = f"more than {MOST_BASIS:,} basis vectors have too many pairs"
            raise ExplorerError(what, where=str(path), remedy="choose some of them")
    if not rows:
        raise ExplorerError("it holds no vectors", where=str(path), remedy="save one a key, or a table [k, d]")
    return _Basis(np.concatenate(rows), names, skipped)


def _points_in(files: Sequence[Path], ensemble: Ensemble, reduce: Reduce | None) -> _Points:
    cosines: list[NDArray[np.float64]] = []
    spans: list[Span] = []
    starts: list[int] = []
    zero: list[int] = []
    vectors = 0
    skipped: list[tuple[str, str]] = []
    odd: list[int] = []
    for path, part in _parts(files, reduce):
        if isinstance(part, Skipped):
            skipped.append((f"{path.name}: {part.key}", part.why))
            continue
        width = part.rows.shape[1]
        if width != ensemble.d:
            odd.append(width)
            if part.first == 0:
                skipped.append((f"{path.name}: {part.key}", f"{width} entries where the basis has {ensemble.d}"))
            continue
        rows, none = ensemble_cosines(part.rows, ensemble)
        cosines.append(rows)
        zero += [vectors + row for row in np.flatnonzero(none).tolist()]
        spans.append(Span(path.name, part.key, part.first, part.is_table))
        starts.append(vectors)
        vectors += len(rows)
        if (size := vectors * rows.shape[1] * rows.itemsize) > LARGEST_WHOLE:
            what = f"{vectors:,} vectors and more, by {rows.shape[1]} directions, take {size / 1e9:.1f} GB and more"
            raise ExplorerError(what, where=str(path), remedy="sweep fewer vectors, or a smaller basis, at a time")
    if not cosines and odd:
        raise ExplorerError(
            f"the vectors have {odd[0]} entries, the basis vectors {ensemble.d}",
            where=str(files[0]),
            remedy="take both from the same site",
        )
    if not cosines:
        why = f"'{skipped[0][0]}': {skipped[0][1]}" if skipped else "no array"
        raise ExplorerError(
            f"there is no vector to sweep ({why})", where=str(files[0]), remedy="save arrays [d] or [n, d] of numbers"
        )
    return _Points(np.concatenate(cosines), spans, starts, zero, skipped)


def _parts(files: Sequence[Path], reduce: Reduce | None) -> Iterator[tuple[Path, Block | Skipped]]:
    for path in files:
        for part in read_arrays(path, reduce=reduce):
            yield path, part


def _report(basis: _Basis, ensemble: Ensemble, points: _Points, swept: EnsembleSweep) -> None:
    skipped = [*basis.skipped, *points.skipped]
    for key, why in skipped[:NAMED]:
        note(f"skipped {key}: {why}")
    if len(skipped) > NAMED:
        note(f"skipped {len(skipped) - NAMED:,} arrays more")
    if ensemble.skipped:
        pairs = [f"{basis.names[i]} and {basis.names[j]}" for i, j in ensemble.skipped]
        note(f"{count(len(pairs), 'pair')} of basis vectors on one line span no plane, left out: {_some(pairs)}")
    if points.zero:
        note(f"{count(len(points.zero), 'zero vector')}, counted in N: {_some(points.labels(points.zero))}")
    if swept.nonfinite:
        named = points.labels(swept.nonfinite)
        note(f"{count(len(named), 'vector')} with NaN or infinite entries, left out: {_some(named)}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")


def _lines(swept: EnsembleSweep) -> list[str]:
    rows: list[list[str]] = []
    for level, fraction, spread in zip(swept.thresholds, swept.fraction, swept.spread, strict=True):
        most, least = int(np.argmax(fraction)), int(np.argmin(fraction))
        cells = [f"{level:g}", three_digits(float(fraction.mean()))]
        for at in (most, least):
            angle = f"{swept.angles_deg[at]:g}°"
            cells += [f"{three_digits(float(fraction[at]))} ± {three_digits(float(spread[at]))}", angle]
        rows.append(cells)
    header = ["cosine ≥", "mean", "most ± sd over planes", "at", "least", "at"]
    return table(header, rows, right=range(6), width=table_width())


def _as_json(
    files: Sequence[Path], basis_file: Path, basis: _Basis, ensemble: Ensemble, points: _Points, swept: EnsembleSweep
) -> dict[str, object]:
    return {
        "files": [str(path) for path in files],
        "basis": {"file": str(basis_file), "vectors": list(basis.names), "ensemble": ensemble.kind},
        "width": ensemble.d,
        "planes": swept.n_planes,
        "collinear": [[basis.names[i], basis.names[j]] for i, j in ensemble.skipped],
        "vectors": len(points.cosines),
        "n": swept.n,
        "zero": points.labels(points.zero),
        "nonfinite": points.labels(swept.nonfinite),
        "skipped": [{"key": key, "why": why} for key, why in (*basis.skipped, *points.skipped)],
        "angles_deg": swept.angles_deg.tolist(),
        "thresholds": [
            {"threshold": level, "fraction": fraction.tolist(), "spread": spread.tolist()}
            for level, fraction, spread in zip(swept.thresholds, swept.fraction, swept.spread, strict=True)
        ],
    }
