"""A session from files that other programs wrote: captured vectors, tables of texts, and what is said of them."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError, SpecValueError
from srm_explorer.engine.experiment import UNKNOWN, Site
from srm_explorer.engine.experiment.values import shown
from srm_explorer.engine.io.arrays import PICKLES, Reduce, Skipped, pickled, read_arrays
from srm_explorer.engine.io.arrow import read_batches
from srm_explorer.engine.io.files import long_fields, parse_json, read_text, text_of_cell
from srm_explorer.engine.session.imported import session_from
from srm_explorer.engine.session.keys import BASELINE, condition_of, has_markers, key_cells
from srm_explorer.engine.session.session import IMPORTED, Session

Told: TypeAlias = Callable[[Path, int, int], None]
"""Told before each file is read: the file, its number from 1, and how many there are."""

ARRAYS = (".npz", ".npy", ".safetensors")
TABLES = {".csv": ",", ".tsv": "\t"}
PARQUET = ".parquet"
METADATA = "run_metadata*.json"
"""What the scripts that write vectors one at a time call the file that says how."""


@dataclass(frozen=True)
class Import:
    """What became of files.

    Attributes:
        session: not saved yet.
        files: those that were read.
        unread: a line for each file that could not be.
        skipped: arrays that were left out, "file: key", and why.
    """

    session: Session
    files: tuple[Path, ...]
    unread: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]


def import_session(
    files: Sequence[Path],
    *,
    name: str = IMPORTED,
    site: str | None = None,
    reduce: Reduce | None = None,
    interventions: Sequence[Mapping[str, Any]] = (),
    told: Told | None = None,
) -> Import:
    """Make one session of files of vectors, of continuations, or of both; nothing is unpickled.

    Vectors are in `.npz`, `.npy` and `.safetensors` files. An array [d] is a run, [n, d] are n, and the key says which:
    by markers, "core_id=7_type=plain_level=2_sweep=-20", or as `sweep` reads it, "prompt_3_sweep=20"; keys that are
    names of sites hold the same runs at those sites. Texts are rows of `.csv`, `.tsv` and `.parquet` files with columns
    as `session_from` has them. Where there are both, a row says the text of the vector of the same factors and
    condition. Several files are groups, by set, unless one holds what another is compared with.

    Args:
        files: files and folders; of a folder, the files of these kinds in it and below.
        name: of the session.
        site: where vectors without the name of a site were captured; None where nobody knows.
        reduce: what makes one vector of arrays [n, token, d]; without it they are left out.
        interventions: what was done, see `session_from`.
        told: hears of each file before it is read.

    Raises:
        ExplorerError: nothing that could be read; of a single file, why. Of several, those that could not are named in
            `unread`.
    """
    chosen = list(_expanded(files))
    try:
        sources = _Sources(str(Site.parse(site or UNKNOWN)), reduce)
    except SpecValueError as error:
        raise ExplorerError(error.what, where="the site", remedy=error.remedy) from None
    read: list[Path] = []
    unread: list[str] = []
    for number, path in enumerate(chosen, 1):
        if told is not None:
            told(path, number, len(chosen))
        try:
            sources.read(path)
        except ExplorerError as error:
            if len(chosen) == 1:
                raise
            unread.append(str(error))
        else:
            read.append(path)
    if not read:
        what = f"none of {len(chosen):,} files could be read; the first: {unread[0]}" if unread else "there is no file"
        raise ExplorerError(what, where=_listed(files), remedy=f"give {', '.join((*ARRAYS, *TABLES, PARQUET))} files")
    session = _session(sources, name, interventions)
    metadata = _metadata(read, unread)
    provenance: dict[str, Any] = dict(cast("Mapping[str, Any]", session.provenance[IMPORTED]))
    provenance["files"] = [path.name for path in read]
    if metadata:
        provenance["metadata"] = metadata
    return Import(
        session.changed(provenance={**session.provenance, IMPORTED: provenance}),
        tuple(read),
        tuple(unread),
        tuple(sources.skipped),
    )


def session_name(files: Sequence[Path]) -> str:
    """What a session of these files is called where nobody says: as the first of them."""
    name = re.sub(r"[^\w.-]+", "-", paths.absolute(paths.expanded(files[0])).stem).strip("-.")
    return name or IMPORTED


def _listed(files: Sequence[Path]) -> str:
    return str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more" if files else "files"


def _expanded(files: Sequence[Path]) -> Iterator[Path]:
    """The files, and those of folders by name; pickles among them too, which are then refused by name."""
    for path in files:
        path = paths.expanded(path)
        if not path.is_dir():
            yield path
            continue
        kinds = (*ARRAYS, *TABLES, PARQUET, *PICKLES)
        for inner in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in inner.relative_to(path).parts)
            if inner.suffix.lower() in kinds and not hidden and not inner.is_dir():
                yield inner


def _metadata(files: Sequence[Path], unread: list[str]) -> dict[str, Any]:
    """By name of the file, what lies beside the files and says how they were made."""
    metadata: dict[str, Any] = {}
    for folder in dict.fromkeys(path.parent for path in files):
        for path in sorted(folder.glob(METADATA)):
            try:
                metadata[path.name if path.name not in metadata else str(path)] = parse_json(read_text(path), str(path))
            except ExplorerError as error:
                unread.append(str(error))
    return metadata


@dataclass(frozen=True)
class _Run:
    """What the key of a vector says: the factors and all that `session_from` reads, its file, and the key itself."""

    file: int
    key: str
    cells: Mapping[str, str]

    @property
    def prompt(self) -> tuple[tuple[str, str], ...]:
        """What tells its prompt from the others of its file."""
        return tuple(sorted((name, cell) for name, cell in self.cells.items() if name not in ("sweep", "sample")))

    @property
    def condition(self) -> str:
        cell = self.cells.get("sweep", BASELINE)
        return f"{cell}#{self.cells.get('sample', '')}"


@dataclass
class _Sources:
    """What was read so far.

    Attributes:
        site: where vectors were captured whose key names no site.
        runs: of each vector.
        vectors: [run][d] by site, None where a run has none there.
        rows: of tables, each with the number of its file.
        files: those that were read.
    """

    site: str
    reduce: Reduce | None
    runs: list[_Run] = field(default_factory=list["_Run"])
    vectors: dict[str, list[NDArray[Any] | None]] = field(default_factory=dict[str, "list[NDArray[Any] | None]"])
    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list[tuple[int, dict[str, Any]]])
    files: list[Path] = field(default_factory=list[Path])
    skipped: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    width: int | None = None

    def read(self, path: Path) -> None:
        """Read one file whole, or nothing of it."""
        suffix = path.suffix.lower()
        if suffix in TABLES or suffix == PARQUET:
            rows = list(_parquet(path) if suffix == PARQUET else _table(path, TABLES[suffix]))
            if not rows:
                raise ExplorerError("the table has no row", where=str(path), remedy="give a row a run")
            self.rows += [(len(self.files), row) for row in rows]
        elif suffix in PICKLES:
            raise pickled(path)
        else:
            self._read_arrays(path)
        self.files.append(path)

    def _read_arrays(self, path: Path) -> None:
        arrays: dict[str, tuple[bool, list[NDArray[Any]]]] = {}
        skipped: list[tuple[str, str]] = []
        for part in read_arrays(path, reduce=self.reduce):
            if isinstance(part, Skipped):
                skipped.append((f"{path.name}: {part.key}", part.why))
            else:
                arrays.setdefault(part.key, (part.is_table, []))[1].append(part.rows)
        if not arrays:
            why = f"'{skipped[0][0]}' is {skipped[0][1]}" if skipped else "it holds no array"
            raise ExplorerError(f"no vector: {why}", where=str(path), remedy="save arrays [d] or [n, d] of numbers")
        if all(is_table and _is_site(key) for key, (is_table, _) in arrays.items()):
            self._add_sites(path, {key: _joined(blocks) for key, (_, blocks) in arrays.items()})
        else:
            self._add_keys(path, arrays, skipped)
        self.skipped += skipped

    def _add_sites(self, path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Arrays of the same runs at several sites."""
        counts = {key: len(array) for key, array in arrays.items()}
        if len(set(counts.values())) > 1:
            few, many = (choose(counts, key=counts.__getitem__) for choose in (min, max))
            what = f"{shown(few)} holds {counts[few]:,} runs, {shown(many)} {counts[many]:,}"
            raise ExplorerError(what, where=str(path), remedy="save the same runs at every site")
        count = next(iter(counts.values()))
        before = len(self.runs)
        self.runs += [_Run(len(self.files), f"[{row}]", {}) for row in range(count)]
        for key, array in arrays.items():
            self._append(key, before, list(array))

    def _add_keys(
        self,
        path: Path,
        arrays: Mapping[str, tuple[bool, list[NDArray[Any]]]],
        skipped: list[tuple[str, str]],
    ) -> None:
        """Arrays that are runs of one site, by what their keys say; those of another width are left out."""
        width = self.width
        runs: list[_Run] = []
        vectors: list[NDArray[Any]] = []
        several = sum(is_table for is_table, _ in arrays.values()) > 1
        of_file = key_cells(path.stem) if has_markers(path.stem) else {}
        for key, (is_table, blocks) in arrays.items():
            rows = _joined(blocks)
            width = width or rows.shape[1]
            if rows.shape[1] != width:
                skipped.append((f"{path.name}: {key}", f"{rows.shape[1]} entries where the first has {width}"))
                continue
            if not is_table:
                runs.append(_Run(len(self.files), key, key_cells(key, of_file=of_file, alone=len(arrays) == 1)))
            else:
                of_array = {"set": key} if several and not has_markers(key) else {}
                cells = [{**key_cells(key, row, of_file=of_file), **of_array} for row in range(len(rows))]
                runs += [_Run(len(self.files), f"{key}[{row}]", own) for row, own in enumerate(cells)]
            vectors += list(rows)
        if not vectors:
            what = f"its vectors have {next(iter(arrays.values()))[1][0].shape[1]} entries, those before {self.width}"
            raise ExplorerError(what, where=str(path), remedy="import it by itself")
        self.width = width
        before = len(self.runs)
        self.runs += runs
        self._append(self.site, before, vectors)

    def _append(self, site: str, before: int, vectors: Sequence[NDArray[Any]]) -> None:
        column = self.vectors.setdefault(site, [])
        column += [None] * (before - len(column))
        column += vectors

    def matrices(self) -> dict[str, NDArray[Any]]:
        """[run, d] by site, NaN where a run has no vector there; what was read is let go."""
        matrices: dict[str, NDArray[Any]] = {}
        for site in list(self.vectors):
            column = self.vectors.pop(site)
            column += [None] * (len(self.runs) - len(column))
            there = next(vector for vector in column if vector is not None)
            if any(vector is not None and len(vector) != len(there) for vector in column):
                remedy = "import files of one width"
                raise ExplorerError(f"the vectors of {site} have several widths", where=site, remedy=remedy)
            kind = np.result_type(*{vector.dtype for vector in column if vector is not None})
            if None in {None if vector is None else True for vector in column}:
                missing = np.full(len(there), np.nan, np.result_type(kind, np.float32))
                matrices[site] = np.stack([missing if vector is None else vector for vector in column])
            else:
                matrices[site] = np.stack(cast("list[NDArray[Any]]", column), dtype=kind)
        return matrices


def _joined(blocks: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _is_site(key: str) -> bool:
    """Whether a key names a place in a model, TransformerLens's or the path of a module, and no prompt."""
    if has_markers(key):
        return False
    try:
        Site.parse(key)
    except SpecValueError:
        return re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", key) is not None
    return True


_OWN = {"run", "prompt", "condition", "value", "sample", "finish", "min_margin"}
"""Columns that a table of ours has, and hardly one of another program's."""


def _table(path: Path, mark: str) -> Iterator[dict[str, Any]]:
    """The rows of a table with a heading, cells as they stand there; an empty one is an empty text."""
    lines = io.StringIO(read_text(path).removeprefix("\ufeff"), newline="")
    with long_fields():
        reader = csv.reader(lines, delimiter=mark, strict=True)
        try:
            heading = next(reader, list[str]())
            _check_heading(heading, path)
            begins = reader.line_num
            for cells in reader:
                if cells and len(cells) != len(heading):
                    what = f"{len(cells)} cells where the heading has {len(heading)}"
                    remedy = "put quotes around a text that holds the separator or a line break"
                    raise ExplorerError(what, where=f"{path}, line {begins + 1}", remedy=remedy)
                begins = reader.line_num
                if cells:
                    row = dict(zip(heading, cells, strict=True))
                    # A table of ours marks what a spreadsheet would take for a formula.
                    yield _row({name: text_of_cell(cell) for name, cell in row.items()} if row.keys() >= _OWN else row)
        except csv.Error as error:
            what = f"the table cannot be read: {error}"
            raise ExplorerError(what, where=f"{path}, line {reader.line_num}", remedy="mend its quotes") from None


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    for columns in read_batches(path, "parquet"):
        _check_heading(list(columns), path)
        for cells in zip(*columns.values(), strict=True):
            yield _row(dict(zip(columns, cells, strict=True)))


_SAYING = ("output", "text", "prompt", "prompt_text", "core_id")


def _check_heading(heading: Sequence[str], path: Path) -> None:
    doubled = [name for name, times in Counter(heading).items() if times > 1]
    if doubled:
        what = f"the column {shown(doubled[0])} stands there twice"
        raise ExplorerError(what, where=str(path), remedy="rename one of them")
    if not any(name in heading for name in _SAYING):
        what = f"no column is called output, text, prompt or core_id, but {', '.join(heading[:8])}"
        raise ExplorerError(
            what, where=str(path), remedy="name the columns core_id, type, level, sweep, prompt, output"
        )


def _row(cells: dict[str, Any]) -> dict[str, Any]:
    """A row by the names of `session_from`; lists and objects, which are no factors, are left out."""
    if cells.keys() >= _OWN:
        cells = _own_row(cells)
    for name in ("sweep", "condition"):
        if name in cells:
            cells[name] = condition_of("" if cells[name] is None else str(cells[name]))
    for name in ("value", "sample"):
        cell = cells.get(name)
        if isinstance(cell, str):
            cells[name] = None if not cell.strip() else int(cell) if cell.strip().isdecimal() else cell
    return {name: cell for name, cell in cells.items() if not isinstance(cell, list | dict)}


def _own_row(cells: Mapping[str, Any]) -> dict[str, Any]:
    """A row of an export of ours: its places in planes are computed again where there are vectors."""
    row = {name.removeprefix("factor_"): cell for name, cell in cells.items() if name.startswith("factor_")}
    row = {name: cell for name, cell in row.items() if cell not in ("", None)}
    row |= {"prompt_id": f"prompt_{cells['prompt']}"}
    row |= {name: cells[name] for name in ("set", "condition", "value", "sample")}
    row |= {name: cells[own] for name, own in (("prompt", "prompt_text"), ("output", "text")) if own in cells}
    if cells.get("control"):
        row["condition"], row["value"] = f"{cells['condition']} of control {cells['control']}", None
    return row


def _session(sources: _Sources, name: str, interventions: Sequence[Mapping[str, Any]]) -> Session:
    rows = [_in_set(row, set_) for (_, row), set_ in zip(sources.rows, _sets_of_rows(sources), strict=True)]
    if not sources.runs:
        return session_from(None, rows, name=name, interventions=interventions)
    swept = any("sweep" in run.cells for run in sources.runs)
    sampled = any("sample" in run.cells for run in sources.runs)
    sets = _sets(sources, [(run.file, run.prompt, run.condition) for run in sources.runs])
    runs: list[dict[str, Any]] = []
    for run, set_ in zip(sources.runs, sets, strict=True):
        cells: dict[str, Any] = {"id": run.key, **_in_set(run.cells, set_)}
        if swept:
            cells.setdefault("sweep", BASELINE)
        if sampled:
            sample = run.cells.get("sample", "0")
            cells["sample"] = int(sample) if sample.isdecimal() else sample
        runs.append(cells)
    vectors = sources.matrices()
    if rows:
        rest = _with_texts(runs, rows)
        missing = [np.full((len(rest), array.shape[1]), np.nan, array.dtype) for array in vectors.values()]
        runs += rest
        if rest:
            vectors = {
                site: np.concatenate([array, blank])
                for (site, array), blank in zip(vectors.items(), missing, strict=True)
            }
    return session_from(vectors, runs, name=name, interventions=interventions)


def _in_set(cells: Mapping[str, Any], set_: Mapping[str, str]) -> dict[str, Any]:
    return {**set_, **cells}


def _sets_of_rows(sources: _Sources) -> list[dict[str, str]]:
    said = ("output", "text", "sweep", "condition", "value", BASELINE, "sample")
    told: list[tuple[int, object, str]] = []
    for file, row in sources.rows:
        prompt = tuple(sorted((name, str(cell)) for name, cell in row.items() if name not in said))
        condition = next((row[name] for name in ("sweep", "condition", "value") if row.get(name) is not None), BASELINE)
        told.append((file, prompt, f"{condition}#{row.get('sample', '')}"))
    return _sets(sources, told)


def _sets(sources: _Sources, runs: Sequence[tuple[int, object, str]]) -> list[dict[str, str]]:
    """[run] the set or prompt that its file makes it one of; nothing where the file tells nothing.

    Files that share prompts under other conditions are one experiment in parts. Others are groups, each a set; where
    every file holds one run it is a prompt.
    """
    files = {file for file, _, _ in runs}
    first: dict[tuple[object, str], int] = {}
    clash = any(first.setdefault((prompt, condition), file) != file for file, prompt, condition in runs)
    prompts: dict[object, set[int]] = {}
    for file, prompt, _ in runs:
        prompts.setdefault(prompt, set()).add(file)
    shares = any(len(holders) > 1 for holders in prompts.values())
    if len(files) < 2 or (not clash and (shares or len(files) >= len(prompts))):
        return [{} for _ in runs]
    names = _file_names(sources.files)
    if len(files) == len(runs):
        return [{"prompt_id": names[file]} for file, _, _ in runs]
    return [{"set": names[file]} for file, _, _ in runs]


def _file_names(files: Sequence[Path]) -> list[str]:
    """A name a file, as short as tells them apart."""
    for parts in itertools.count(1):
        names = ["/".join(path.with_suffix("").parts[-parts:]) for path in files]
        if len(set(names)) == len(names):
            return names
        if parts > max(len(path.parts) for path in files):
            return [str(path) for path in files]
    raise AssertionError


def _with_texts(runs: Sequence[dict[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give runs the texts of the rows of their prompts and conditions; the rows that are of no run come back."""
    told = ("id", "set", "sweep", "sample")
    shared = sorted({name for run in runs for name in run} & {name for row in rows for name in row} - set(told))
    if not shared:
        what = f"no factor of the vectors' keys ({', '.join(sorted(set(runs[0]) - set(told))) or 'none'}) is a column"
        remedy = "import the table by itself, or name the keys core_id=..._type=..._level=..._sweep=..."
        raise ExplorerError(what, where="the table", remedy=remedy)
    of_key: dict[tuple[str, ...], int] = {}
    for number, row in enumerate(rows):
        if of_key.setdefault(_identity(row, shared), number) != number:
            what = f"two rows have {', '.join(shared)} and condition alike: {' · '.join(_identity(row, shared))}"
            raise ExplorerError(what, where="the table", remedy="import the table by itself")
    used: set[int] = set()
    for run in runs:
        number = of_key.get(_identity(run, shared))
        if number is None:
            what = f"no row is the text of the vector {shown(run['id'])}"
            raise ExplorerError(what, where="the table", remedy="import the table by itself")
        used.add(number)
        run.update({name: cell for name, cell in rows[number].items() if name not in ("sweep", "condition", *run)})
    return [
        {**row, "sweep": row.get("sweep", row.get("condition", BASELINE))}
        for number, row in enumerate(rows)
        if number not in used
    ]


def _identity(cells: Mapping[str, Any], names: Collection[str]) -> tuple[str, ...]:
    condition = str(cells.get("sweep", cells.get("condition", BASELINE))).strip()
    try:
        condition = repr(float(condition.replace("−", "-")))
    except ValueError:
        condition = condition.casefold()
    return (*(str(cells.get(name)) for name in names), condition, str(cells.get("sample") or 0))
