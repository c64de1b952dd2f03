"""A session from files that other programs wrote: captured vectors, tables of texts, and what is said of them."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from srm_explorer.engine.session.imported import Split, session_from
from srm_explorer.engine.session.keys import BASELINE, CLAMPED_SAID, Metadata, has_markers, key_cells
from srm_explorer.engine.session.session import IMPORTED, Session
from srm_explorer.engine.session.source_tables import MARKS, PARQUET, Table, is_table, read_table, with_texts


@dataclass(frozen=True)
class Progress:
    """How far an import is.

    Attributes:
        file: the one that is read, number `number` of `files`.
        vectors: read so far, of all files.
        texts: rows of tables, likewise.
    """

    file: Path
    number: int
    files: int
    vectors: int
    texts: int


Told: TypeAlias = Callable[[Progress], None]
"""Told before each file is read, and every `TELL_EVERY` vectors; what it raises, but an ExplorerError, ends it all."""

TELL_EVERY = 500

NAMED = 8
"""Arrays named in remarks; a file may have thousands."""

ARRAYS = (".npz", ".npy", ".safetensors")


@dataclass(frozen=True)
class Import:
    """What became of files.

    Attributes:
        session: not saved yet.
        files: those that were read.
        unread: a line for each file that could not be.
        skipped: arrays and columns that were left out, "file: key", and why.
        notes: lines about what was made of them that nobody told: samples, texts given by their order.
    """

    session: Session
    files: tuple[Path, ...]
    unread: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def remarks(self) -> list[str]:
        """All of that, a line each; of many arrays the first."""
        lines = [f"not imported: {line}" for line in self.unread] + list(self.notes)
        lines += [f"left out {key}: {why}" for key, why in self.skipped[:NAMED]]
        return lines + ([f"left out {len(self.skipped) - NAMED:,} more"] if len(self.skipped) > NAMED else [])

    def summary(self) -> str:
        """What there is now: "36 runs, 12 prompts, 3 conditions imported from 1 of 2 files"."""
        held = self.session
        counts = (len(held.runs), len(held.prompts), len(held.conditions))
        return imported_line(*counts, len(self.files), len(self.unread))


def imported_line(runs: int, prompts: int, conditions: int, files: int, unread: int) -> str:
    """What was made of so many files that were read, and so many that were not."""
    held = ((runs, "run"), (prompts, "prompt"), (conditions, "condition"))
    listed = ", ".join(f"{count:,} {noun}{'s' * (count != 1)}" for count, noun in held)
    return f"{listed} imported from {files:,} of {files + unread:,} file{'s' * (files + unread != 1)}"


def import_session(
    files: Sequence[Path],
    *,
    name: str = IMPORTED,
    site: str | None = None,
    reduce: Reduce | None = None,
    interventions: Sequence[Mapping[str, Any]] = (),
    split: Split | None = None,
    told: Told | None = None,
) -> Import:
    """Make one session of files of vectors, of continuations, or of both; nothing is unpickled.

    Vectors are in `.npz`, `.npy` and `.safetensors` files. An array [d] is a run, [n, d] are n, and the key says which:
    by markers, "core_id=7_type=plain_level=2_sweep=-20", or as `sweep` reads it, "prompt_3_sweep=20"; keys that are
    names of sites hold the same runs at those sites. Texts are rows of `.csv`, `.tsv` and `.parquet` files with columns
    as `session_from` has them; a column of lists of a `.parquet` file holds vectors. Where there are both, a row says
    the text of the vector of the same factors and condition, of vectors without keys the row of the same number.
    Several files are groups, by set, unless one holds what another is compared with. What `run_metadata*.json` beside
    the files says is kept: its `capture_hook` is the site, its `target_neuron` at its `intervention_hook` was clamped.

    Args:
        files: files and folders; of a folder, the files of these kinds in it and below.
        name: of the session.
        site: where vectors without the name of a site were captured; None where nobody knows.
        reduce: what makes one vector of arrays [n, token, d]; without it they are left out.
        interventions: what was done, see `session_from`; without any, what lies beside the files says it.
        split: parts texts into tokens, see `session_from`.
        told: hears how far it is.

    Raises:
        ExplorerError: nothing that could be read; of a single file, why. Of several, those that could not are named in
            `unread`.
    """
    chosen = list(_expanded(files))
    try:
        named = None if site is None else str(Site.parse(site))
    except SpecValueError as error:
        raise ExplorerError(error.what, where="the site", remedy=error.remedy) from None
    metadata = Metadata()
    sources = _Sources(reduce, among_others=len(chosen) > 1)
    said = {metadata.site(path) for path in chosen if not is_table(path)} if named is None else set[str]()
    # Where some files say a site and others none, nobody knows that it is the same.
    agreed = len(said) == 1 or UNKNOWN not in said
    unread: list[str] = []
    for number, path in enumerate(chosen, 1):
        if told is not None:
            sources.tell = _teller(told, sources, path, number, len(chosen))
            sources.tell()
        try:
            sources.site = named or (metadata.site(path, has_vectors=not is_table(path)) if agreed else UNKNOWN)
            sources.read(path)
        except ExplorerError as error:
            if len(chosen) == 1:
                raise
            unread.append(str(error))
    if not sources.files:
        what = f"none of {len(chosen):,} files could be read; the first: {unread[0]}" if unread else "there is no file"
        remedy = f"give {', '.join((*ARRAYS, *MARKS, PARQUET))} files"
        raise ExplorerError(what, where=_listed(files), remedy=remedy)
    said_clamped = None if interventions else metadata.clamped([path for path in chosen if not is_table(path)])
    if said_clamped is not None and _is_swept(sources):
        where, neuron, by = said_clamped
        interventions = clamped(where, neuron)
        sources.notes.append(f"neuron {neuron} of {where} was clamped: {by} says so ({', '.join(CLAMPED_SAID)})")
    session = _session(sources, name, interventions, split)
    provenance = dict(session.told(IMPORTED))
    provenance["files"] = [path.name for path in sources.files]
    if entries := metadata.of(sources.files):
        provenance["metadata"] = entries
    session = session.changed(provenance={**session.provenance, IMPORTED: provenance})
    files_read, skipped = tuple(sources.files), tuple(sources.skipped)
    return Import(
        session,
        files_read,
        (*unread, *metadata.unread),
        skipped,
        (*sources.notes, *(metadata.notes(agreed) if named is None else ())),
    )


def _teller(told: Told, sources: _Sources, file: Path, number: int, files: int) -> Callable[[], None]:
    return lambda: told(Progress(file, number, files, len(sources.runs) + sources.pending, len(sources.rows)))


def clamped(site: str | None, neuron: int | None) -> list[dict[str, Any]]:
    """The intervention of an import: that a neuron was clamped, nothing without one.

    Raises:
        ExplorerError: a neuron of no site.
    """
    if neuron is None:
        return []
    if site is None:
        raise ExplorerError("a neuron is one of a site", where="--neuron", remedy="give --site too")
    return [{"site": site, "neurons": [neuron], "op": "clamp"}]


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
        if not paths.is_folder(path):
            yield path
            continue
        kinds = (*ARRAYS, *MARKS, PARQUET, *PICKLES)
        for inner in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in inner.relative_to(path).parts)
            if inner.suffix.lower() in kinds and not hidden and not inner.is_dir():
                yield inner


@dataclass(frozen=True)
class _Run:
    """What the key of a vector says: the factors and all that `session_from` reads, its file, and the key itself."""

    file: int
    key: str
    cells: Mapping[str, Any]
    is_row: bool = False
    """Whether it is known by its number in an array alone."""

    @property
    def prompt(self) -> tuple[tuple[str, str], ...]:
        """What tells its prompt from the others of its file."""
        return _prompt_of(self.cells)

    @property
    def condition(self) -> str:
        return _condition_of(self.cells)


_NOT_OF_PROMPT = ("output", "text", "sweep", "condition", "value", BASELINE, "sample", "id")


def _prompt_of(cells: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, str(cell)) for name, cell in cells.items() if name not in _NOT_OF_PROMPT))


def _condition_of(cells: Mapping[str, Any]) -> str:
    cell = next((cells[name] for name in ("sweep", "condition", "value") if cells.get(name) is not None), BASELINE)
    return f"{cell}#{cells.get('sample', '')}"


@dataclass
class _Sources:
    """What was read so far.

    Attributes:
        site: where the vectors of the file that is read were captured, where their key names no site.
        runs: of each vector.
        vectors: [run][d] by site, None where a run has none there.
        rows: of tables without vectors, each with the number of its file, and its line there.
        files: those that were read.
        pending: vectors of the file that is read.
        among_others: whether there are several files.
    """

    reduce: Reduce | None
    site: str = UNKNOWN
    among_others: bool = False
    runs: list[_Run] = field(default_factory=list["_Run"])
    vectors: dict[str, list[NDArray[Any] | None]] = field(default_factory=dict[str, "list[NDArray[Any] | None]"])
    rows: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list[tuple[int, str, dict[str, Any]]])
    files: list[Path] = field(default_factory=list[Path])
    skipped: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    notes: list[str] = field(default_factory=list[str])
    width: dict[str, int] = field(default_factory=dict[str, int])
    pending: int = 0
    tell: Callable[[], None] = field(default=lambda: None)

    def read(self, path: Path) -> None:
        """Read one file whole, or nothing of it."""
        self.pending = 0
        if is_table(path):
            self._add_table(path, read_table(path))
        elif path.suffix.lower() in PICKLES:
            raise pickled(path)
        else:
            self._read_arrays(path)
        self.pending = 0
        self.files.append(path)

    def _add_table(self, path: Path, table: Table) -> None:
        self.skipped += [(f"{path.name}: {name}", why) for name, why in table.left_out.items()]
        if not table.vectors:
            rows = zip(table.lines, table.rows, strict=True)
            self.rows += [(len(self.files), f"{path}, {line}", row) for line, row in rows]
            return
        sites = {self.site if len(table.vectors) == 1 else f"{UNKNOWN}.{name}": name for name in table.vectors}
        sites = {name if _is_site(name) else site: name for site, name in sites.items()}
        before = len(self.runs)
        for line, row in zip(table.lines, table.rows, strict=True):
            self.runs.append(_Run(len(self.files), str(row.get("id", line)), row, not row))
        for site, name in sites.items():
            self._append(site, before, list(table.vectors[name]))

    def _read_arrays(self, path: Path) -> None:
        arrays: dict[str, tuple[bool, list[NDArray[Any]]]] = {}
        skipped: list[tuple[str, str]] = []
        for part in read_arrays(path, reduce=self.reduce):
            if isinstance(part, Skipped):
                skipped.append((f"{path.name}: {part.key}", part.why))
                continue
            # Flags are the numbers 0 and 1 to whoever takes their mean.
            rows = part.rows.astype(np.uint8) if part.rows.dtype.kind == "b" else part.rows
            arrays.setdefault(part.key, (part.is_table, []))[1].append(rows)
            self.pending += len(part.rows)
            if self.pending % TELL_EVERY == 0:
                self.tell()
        if not arrays:
            why = (
                f"{skipped[0][0].removeprefix(f'{path.name}: ')!r} {_verb(skipped[0][1])}" if skipped else "it is empty"
            )
            raise ExplorerError(f"no vector: {why}", where=str(path), remedy="save arrays [d] or [n, d] of numbers")
        if self.among_others and all(_BASIS.fullmatch(key) for key in arrays):
            what = f"it holds directions that span planes ({', '.join(arrays)}), and no runs"
            remedy = f"import it by itself, or make the plane: --add {path.name}#{next(iter(arrays))} ..."
            raise ExplorerError(what, where=str(path), remedy=remedy)
        if all(_is_site(key, is_table=is_table) for key, (is_table, _) in arrays.items()):
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
        self.runs += [_Run(len(self.files), f"[{row}]", {}, is_row=True) for row in range(count)]
        for key, array in arrays.items():
            self._append(key, before, list(array))

    def _add_keys(
        self,
        path: Path,
        arrays: Mapping[str, tuple[bool, list[NDArray[Any]]]],
        skipped: list[tuple[str, str]],
    ) -> None:
        """Arrays that are runs of one site, by what their keys say; those of another width are left out."""
        sizes: Counter[int] = Counter()
        for _, blocks in arrays.values():
            sizes[blocks[0].shape[1]] += sum(map(len, blocks))
        # What most of them have: labels and measures of the runs lie beside vectors in some files.
        width = self.width.get(self.site) or sizes.most_common(1)[0][0]
        if width not in sizes:
            what = f"its vectors have {sizes.most_common(1)[0][0]} entries, those before {width}"
            raise ExplorerError(what, where=str(path), remedy="import it by itself")
        runs: list[_Run] = []
        vectors: list[NDArray[Any]] = []
        several = sum(is_many for is_many, _ in arrays.values()) > 1
        of_file = key_cells(path.stem) if has_markers(path.stem) else {}
        for key, (is_many, blocks) in arrays.items():
            rows = _joined(blocks)
            if rows.shape[1] != width:
                skipped.append((f"{path.name}: {key}", f"{rows.shape[1]} entries where the others have {width}"))
                continue
            if not is_many:
                runs.append(_Run(len(self.files), key, key_cells(key, of_file=of_file, alone=len(arrays) == 1)))
            else:
                of_array = {"set": key} if several and not has_markers(key) else {}
                cells = [{**key_cells(key, row, of_file=of_file), **of_array} for row in range(len(rows))]
                is_row = not (of_array or of_file or has_markers(key))
                runs += [_Run(len(self.files), f"{key}[{row}]", own, is_row) for row, own in enumerate(cells)]
            vectors += list(rows)
        self.width[self.site] = width
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
            kinds = {vector.dtype for vector in column if vector is not None}
            # What it makes of one alone has the order of bytes of this machine.
            kind = kinds.pop() if len(kinds) == 1 else np.result_type(*kinds)
            if None in {None if vector is None else True for vector in column}:
                missing = np.full(len(there), np.nan, np.result_type(kind, np.float32))
                matrices[site] = np.stack([missing if vector is None else vector for vector in column])
            else:
                matrices[site] = np.stack(cast("list[NDArray[Any]]", column), dtype=kind)
        return matrices


def _joined(blocks: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _is_site(key: str, *, is_table: bool = True) -> bool:
    """Whether a key names a place in a model, TransformerLens's or, of a table, the path of a module; and no prompt."""
    if has_markers(key):
        return False
    try:
        Site.parse(key)
    except SpecValueError:
        return is_table and re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+|hook_\w+", key) is not None
    return True


_BASIS = re.compile(r"basis_(1|2|vectors)")
"""What scripts that sweep a spotlight call the directions of their planes, in files beside those of the runs."""


def _verb(why: str) -> str:
    """Why an array is left out, as what it is or does: "is 3-dimensional", "holds complex numbers"."""
    return why if why.startswith("holds") else f"is {why}"


def _session(sources: _Sources, name: str, interventions: Sequence[Mapping[str, Any]], split: Split | None) -> Session:
    rows = [
        ({**set_, **row}, where)
        for (_, where, row), set_ in zip(
            sources.rows,
            _sets(sources, [(f, _prompt_of(row), _condition_of(row)) for f, _, row in sources.rows]),
            strict=True,
        )
    ]
    runs, wheres = _runs(sources)
    matrices = sources.matrices()
    if runs and rows:
        in_order = all(run.is_row for run in sources.runs)
        rest = with_texts(runs, rows, in_order=in_order)
        if in_order and not rest and "prompt_id" not in runs[0]:
            sources.notes.append(
                "texts and vectors have no key in common: the first row is that of the first vector, and so on"
            )
        runs += [row for row, _ in rest]
        wheres += [where for _, where in rest]
        if rest:
            for site, array in matrices.items():
                missing = np.full((len(rest), array.shape[1]), np.nan, np.result_type(array.dtype, np.float32))
                matrices[site] = np.concatenate([array, missing])
    elif rows:
        runs, wheres = [row for row, _ in rows], [where for _, where in rows]
    try:
        session = session_from(matrices or None, runs, name=name, interventions=interventions, split=split)
    except ExplorerError as error:
        number = re.fullmatch(r"(?:runs|vectors\[.*\])\[(\d+)\]", error.where or "")
        if number is None:
            raise
        raise ExplorerError(error.what, where=wheres[int(number[1])], remedy=error.remedy) from None
    rounded = session.told(IMPORTED).get("rounded", ())
    sources.notes += [f"numbers of {site} are rounded: float64 does not hold them" for site in rounded]
    sources.notes += _samples_note(session, runs, wheres)
    return session


def _is_swept(sources: _Sources) -> bool:
    """Whether keys tell a number for every condition that is not the baseline, and there is one."""
    told = {str(run.cells.get("sweep", BASELINE)) for run in sources.runs} - {BASELINE}
    return bool(told) and all(_NUMBER.fullmatch(cell) for cell in told)


_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?")


def _runs(sources: _Sources) -> tuple[list[dict[str, Any]], list[str]]:
    """[run] what is told of each vector, and where it stands."""
    swept = any("sweep" in run.cells for run in sources.runs)
    sampled = any("sample" in run.cells for run in sources.runs)
    sets = _sets(sources, [(run.file, run.prompt, run.condition) for run in sources.runs])
    runs: list[dict[str, Any]] = []
    for run, set_ in zip(sources.runs, sets, strict=True):
        cells: dict[str, Any] = {"id": run.key, **set_, **run.cells}
        if swept:
            cells.setdefault("sweep", BASELINE)
        if sampled:
            sample = run.cells.get("sample", "0")
            cells["sample"] = int(sample) if isinstance(sample, str) and sample.isdecimal() else sample
        runs.append(cells)
    return runs, [f"{sources.files[run.file]}: {run.key}" for run in sources.runs]


def _samples_note(session: Session, runs: Sequence[Mapping[str, Any]], wheres: Sequence[str]) -> list[str]:
    """That runs are taken for samples, which nothing says, since they are of one prompt under one condition."""
    again = [run.index for run in session.runs if run.sample and "sample" not in runs[run.index]]
    if not again:
        return []
    are = (
        "1 run is taken for a further sample"
        if len(again) == 1
        else f"{len(again):,} runs are taken for further samples"
    )
    return [f"{are}, as prompt and condition are those of another: {wheres[again[0]]}"]


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
    """A name a file, as short as tells them apart: folders alone where the files in them are called alike."""
    stems = {path.stem for path in files}
    for parts in itertools.count(1):
        names = ["/".join(path.with_suffix("").parts[-parts:]) for path in files]
        if len(set(names)) == len(names):
            return (
                [name.removesuffix(f"/{path.stem}") for name, path in zip(names, files, strict=True)]
                if len(stems) == 1
                else names
            )
        if parts > max(len(path.parts) for path in files):
            return [str(path) for path in files]
    raise AssertionError
