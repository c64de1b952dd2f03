"""What a session holds, for other programs: its runs as CSV, its vectors for .npz."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from csv import writer as csv_writer
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.experiment import Site, format_number, swept_as
from srm_explorer.engine.io.arrays import write_npz
from srm_explorer.engine.io.arrow import parquet_bytes
from srm_explorer.engine.io.files import CsvWriter, write_atomic
from srm_explorer.engine.io.vectors import token_mean
from srm_explorer.engine.session.keys import key_cells
from srm_explorer.engine.session.session import IMPORTED, PlaneRecord, Session
from srm_explorer.engine.stats.spotlight import unit_coordinates

KeyStyle: TypeAlias = Literal["number", "factors"]
"""How vectors are named: by the prompt's number, or by its factors."""


def export(
    session: Session,
    *,
    csv: Path | str | None = None,
    parquet: Path | str | None = None,
    npz: Path | str | None = None,
    site: str | None = None,
    keys: KeyStyle | None = None,
    controls: bool = False,
    survey: bool = False,
) -> int:
    """Write a session's runs, its vectors, or both, as `srm-explorer export` does; files that are there are replaced.

    Args:
        csv: file of the runs, a row each, parted by tabs where its name ends in .tsv; with keys "factors" the columns
            of scripts that write continuations, see `texts_csv`.
        parquet: the same as Parquet.
        npz: file of the vectors, one [d] a run; where every token was kept, the mean over tokens. What was said of
            those of an import is written beside them, see `metadata_beside`.
        site: whose vectors; the first that was captured by default.
        keys: "number" or "factors", see `vector_keys`; by default those that an import came with.
        controls: True to write the runs of controls too.
        survey: True to have the neurons of a survey, a row a layer, neuron and value, in place of the runs.

    Returns:
        how many runs, or rows of a survey, were written.

    Raises:
        ExplorerError: a file that cannot be written, vectors that were not kept, or pyarrow is not installed; with
            survey, something that is of runs alone.
    """
    mark = "\t" if csv is not None and Path(csv).suffix.lower() == ".tsv" else ","
    if survey:
        of_runs = {"npz": npz, "site": site, "keys": keys, "controls": controls or None}
        if beside := [name for name, value in of_runs.items() if value is not None]:
            what = f"{', '.join(beside)}: of runs, and the neurons of a survey are to be written"
            raise ExplorerError(what, where=session.name, remedy="write the runs in a call of their own")
        return _export_survey(session, csv, parquet, mark)
    if csv is not None:
        write = texts_csv if keys == "factors" else runs_csv
        write_atomic(paths.expanded(csv), write(session, controls=controls, mark=mark))
    if parquet is not None:
        write_atomic(paths.expanded(parquet), runs_parquet(session, controls=controls))
    if npz is not None:
        chosen = chosen_site(session, site)
        file = paths.expanded(npz)
        write_npz(file, run_vectors(session, chosen, controls=controls, style=keys))
        for beside, content in metadata_beside(session, file, chosen).items():
            write_atomic(beside, content)
    return exported(session, controls=controls)


def _export_survey(session: Session, csv: Path | str | None, parquet: Path | str | None, mark: str) -> int:
    # Analyses know sessions, and are loaded where one is asked for.
    home = import_module("srm_explorer.engine.analyses.survey")
    table = home.survey_table(session)
    if csv is not None:
        write_atomic(paths.expanded(csv), columns_csv(table, mark))
    if parquet is not None:
        write_atomic(paths.expanded(parquet), parquet_bytes(table, categories=lambda name: False))
    return len(table["neuron"])


def metadata_beside(session: Session, npz: Path, site: str) -> dict[Path, bytes]:
    """What is written beside the vectors of an import: `run_metadata*.json` files as they came with it.

    Where none came and the site is known, one that says it, as `capture_hook`. Files that are there already are left.
    """
    if not session.is_imported:
        return {}
    said: object = session.told(IMPORTED).get("metadata")
    entries = dict(cast("Mapping[str, Any]", said)) if isinstance(said, Mapping) else {}
    if not entries and not Site.parse(site).is_unknown:
        entries = {
            f"run_metadata_{npz.stem}.json": {"capture_hook": site, "activation_dimension": session.widths[site]}
        }
    files: dict[Path, bytes] = {}
    for number, (name, entry) in enumerate(entries.items(), 1):
        # Of several files of one name the whole path was kept.
        plain = Path(name).name if "/" not in name else f"{Path(name).stem}_{number}.json"
        if re.fullmatch(r"run_metadata[^/]*\.json", plain) and not (file := npz.parent / plain).exists():
            files[file] = (json.dumps(entry, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
    return files


def run_vectors(
    session: Session, site: str, *, controls: bool = False, style: KeyStyle | None = None
) -> Iterator[tuple[str, NDArray[Any]]]:
    """One vector [d] a run with its key; where every token was kept, the mean over tokens that planes use.

    Args:
        controls: True to have the runs of controls too.
        style: of the keys, see `vector_keys`.

    Raises:
        ExplorerError: the vectors were not kept, or their file is missing or altered.
    """
    if site not in session.widths:
        raise ExplorerError(f"its vectors hold no site {site}", where=session.name, remedy="choose another --site")
    keys = vector_keys(session, style)
    kind = _kind_of_import(session, site)
    for key, vector, is_shown in zip(keys, session.stream(site), _shown(session, controls), strict=True):
        if is_shown:
            mean = vector if vector.ndim == 1 else token_mean(vector)
            yield key, mean if kind is None else mean.astype(kind)


def vector_keys(session: Session, style: KeyStyle | None = None) -> list[str]:
    """A key a run: `prompt_<i>` for the baseline, `prompt_<i>_sweep=<value>` for a condition.

    That of a control is `prompt_<i>_control<j>_sweep=<value>`, j from 1. The value is the number of the experiment file
    where one number tells the conditions apart, else the condition's label. Where there are several samples,
    `_sample=<k>` follows.

    Args:
        style: "factors" for `core_id=<..>_type=<..>_level=<..>_sweep=<value|baseline>`, with whatever other factors
            there are; None for the keys that vectors came with, as far as those are known and tell them apart.

    Raises:
        ExplorerError: factors do not tell prompts apart, or a factor could be read as several.
    """
    if style is None and (keys := _keys_of_import(session)):
        return keys
    endings = condition_keys(session, style)
    sampled = session.spec.generation.samples > 1
    prompts = _factor_keys(session) if style == "factors" else [f"prompt_{i}" for i in range(len(session.prompts))]
    return [
        f"{prompts[run.prompt]}{endings[run.condition]}" + (f"_sample={run.sample}" if sampled else "")
        for run in session.runs
    ]


def condition_keys(session: Session, style: KeyStyle | None = None) -> list[str]:
    """[condition] what follows the prompt in a key, see `vector_keys`: "" or "_sweep=20"."""
    keys: list[str] = []
    for condition, value in zip(session.conditions, _values(session), strict=True):
        control = "" if condition.control is None else f"_control{condition.control}"
        swept = f"_sweep={value}" if condition.kind != "baseline" or style == "factors" else ""
        keys.append(f"{control}{swept}")
    return keys


def _kind_of_import(session: Session, site: str) -> np.dtype[Any] | None:
    """The type that vectors came in, which holds each of their numbers; None where it is how they are kept."""
    kinds: object = session.told(IMPORTED).get("kinds")
    kind: object = cast("Mapping[str, Any]", kinds).get(site) if isinstance(kinds, Mapping) else None
    return np.dtype(kind) if isinstance(kind, str) and re.fullmatch(r"[<>|]?[fiu][1248]", kind) else None


def _keys_of_import(session: Session) -> list[str]:
    """The keys that vectors came with; none where some have none, or two the same."""
    listed: object = session.told(IMPORTED).get("ids")
    keys = cast("list[object]", listed) if isinstance(listed, list) else []
    if len(keys) != len(session.runs) or len(set(keys)) < len(keys) or not all(isinstance(key, str) for key in keys):
        return []
    return [str(key) for key in keys]


def _values(session: Session) -> list[str]:
    """[condition] what a key says of it."""
    swept = [condition for condition in session.conditions if condition.kind == "sweep"]
    numbers = [condition.value for condition in swept]
    by_number = len(set(numbers)) == len(numbers) and not any(", " in condition.label for condition in swept)
    repeats = swept_as(session.conditions)
    values: list[str] = []
    for condition in session.conditions:
        repeated = repeats.get(condition.index, condition)
        is_number = repeated.kind == "sweep" and by_number and repeated.value is not None
        number = repeated.value if is_number else None
        values.append(repeated.label if number is None else format_number(number))
    return values


_MARKERS = ("core_id", "type", "level")
"""Factors that come first in a key, in this order."""


def _factor_keys(session: Session) -> list[str]:
    """[prompt] its factors as markers; where none is called core_id, its number before them."""
    keys: list[str] = []
    known: dict[str, int] = {}
    for number, prompt in enumerate(session.prompts):
        names = [name for name in _MARKERS if name in prompt.factors]
        names += [name for name in prompt.factors if name not in _MARKERS]
        start = [] if "core_id" in prompt.factors else [f"prompt_{number}"]
        key = "_".join([*start, *(f"{name}={prompt.factors[name]}" for name in names)])
        told = key_cells(f"{key}_sweep=0")
        told.pop("sweep")
        if told != {**prompt.factors, **({"prompt_id": start[0]} if start else {})}:
            what = f"the factors of prompt {number} could be read as others in the key '{key}'"
            raise ExplorerError(what, where=session.name, remedy="use --keys number")
        if known.setdefault(key, number) != number:
            what = f"prompts {known[key]} and {number} have the same factors, '{key}'"
            raise ExplorerError(what, where=session.name, remedy="use --keys number")
        keys.append(key)
    return keys


def run_table(session: Session, *, controls: bool = False) -> dict[str, list[Any]]:
    """A column a name, a cell a run: prompt, condition, text, and where its vector lies in every plane of the session.

    What nobody knows of runs that came from elsewhere has no column.

    Args:
        controls: True to have the runs of controls too, and a column that tells which they belong to. They lie in the
            planes of the session, not in those of their own neurons.
    """
    shown = _shown(session, controls)
    runs = [run for run, is_shown in zip(session.runs, shown, strict=True) if is_shown]
    prompts = [session.prompts[run.prompt] for run in runs]
    conditions = [session.conditions[run.condition] for run in runs]
    factors = dict.fromkeys(name for prompt in session.prompts for name in prompt.factors)
    table: dict[str, list[Any]] = {
        "run": [run.index for run in runs],
        "prompt": [run.prompt for run in runs],
        "set": [prompt.set for prompt in prompts],
        **{f"factor_{name}": [prompt.factors.get(name) for prompt in prompts] for name in factors},
        "condition": [condition.label for condition in conditions],
        "value": [condition.value for condition in conditions],
        "sample": [run.sample for run in runs],
    }
    if controls:
        table["control"] = [condition.control for condition in conditions]
    if session.kept_back:
        kept = [int(seen == session.confirms) for seen in session.prompts_seen]
        table["kept_for_confirmation"] = [kept[run.prompt] for run in runs]
    if not session.is_unknown("prompts"):
        table["prompt_text"] = [prompt.text for prompt in prompts]
    if not session.is_unknown("texts"):
        table["text"] = [run.text for run in runs]
    table["tokens"] = [None if session.is_unknown("tokens") else len(run.token_ids) for run in runs]
    table["finish"] = [run.finish for run in runs]
    table["min_margin"] = [run.min_margin for run in runs]
    rows = [row for row, is_shown in enumerate(shown) if is_shown]
    for plane in session.planes:
        table |= _places(session, plane, rows)
    return table


def texts_csv(session: Session, *, controls: bool = False, mark: str = ",") -> bytes:
    """The texts as scripts write them: core_id, type, level and whatever other factors, sweep, prompt, output.

    Cells are the texts as they are, so that they come back whole; a spreadsheet may take some for formulas. Sets,
    samples, and the numbers of prompts that no core_id names have columns where there are any.

    Raises:
        ExplorerError: the texts are unknown.
    """
    if session.is_unknown("texts"):
        remedy = "leave --keys out to have its runs"
        raise ExplorerError("what its runs wrote is unknown", where=session.name, remedy=remedy)
    factors = dict.fromkeys(name for prompt in session.prompts for name in prompt.factors)
    names = [name for name in _MARKERS if name in factors] + [name for name in factors if name not in _MARKERS]
    columns: dict[str, list[str]] = {}
    values, prompts = _values(session), session.prompts
    runs = [run for run, is_shown in zip(session.runs, _shown(session, controls), strict=True) if is_shown]
    if len({prompt.set for prompt in prompts}) > 1:
        columns["set"] = [prompts[run.prompt].set for run in runs]
    if not all("core_id" in prompt.factors for prompt in prompts):
        columns["prompt_id"] = [f"prompt_{run.prompt}" for run in runs]
    columns |= {name: [prompts[run.prompt].factors.get(name, "") for run in runs] for name in names}
    columns["sweep"] = [values[run.condition] for run in runs]
    if session.spec.generation.samples > 1:
        columns["sample"] = [str(run.sample) for run in runs]
    if not session.is_unknown("prompts"):
        columns["prompt"] = [prompts[run.prompt].text for run in runs]
    columns["output"] = [run.text for run in runs]
    file = io.StringIO()
    writer = csv_writer(file, delimiter=mark, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return file.getvalue().encode("utf-8", "backslashreplace")


def runs_csv(session: Session, *, controls: bool = False, mark: str = ",") -> bytes:
    """What `run_table` has, as CSV."""
    return columns_csv(run_table(session, controls=controls), mark)


def columns_csv(table: Mapping[str, Sequence[Any]], mark: str = ",") -> bytes:
    """Columns of one length as CSV: one heading, and a line a row; numbers as they were computed."""
    file = io.StringIO()
    writer = CsvWriter(file, mark)
    writer.writerow(list(table))
    for cells in zip(*table.values(), strict=True):
        writer.writerow(["" if cell is None else repr(cell) if isinstance(cell, float) else cell for cell in cells])
    return file.getvalue().encode("utf-8", "backslashreplace")


def runs_parquet(session: Session, *, controls: bool = False) -> bytes:
    """What `run_table` has, as a Parquet file: texts as they are, sets, conditions and factors as categories.

    Raises:
        ExplorerError: pyarrow is not installed.
    """
    return parquet_bytes(run_table(session, controls=controls), categories=is_category)


def is_category(name: str) -> bool:
    """Whether a column of `run_table` has few values that come again and again."""
    return name in ("set", "condition", "finish") or name.startswith("factor_")


def exported(session: Session, *, controls: bool = False) -> int:
    """How many runs an export holds."""
    return sum(_shown(session, controls))


def _shown(session: Session, controls: bool) -> list[bool]:
    """[run] whether it is exported: runs of controls look like their target's to whoever sorts by value."""
    return [controls or session.conditions[run.condition].control is None for run in session.runs]


def _places(session: Session, plane: PlaneRecord, rows: Sequence[int]) -> dict[str, list[float | None]]:
    """Raw coordinates and norm, and the cosines with the plane's two directions; none where a run is held out."""
    several = len({other.site for other in session.planes}) > 1
    prefix = f"{plane.site}_{plane.a}_{plane.b}" if several else f"{plane.a}_{plane.b}"
    prefix += "" if plane.held_out is None else f"_held_out_{plane.held_out.seed}"
    unit = unit_coordinates(plane.xy, plane.norm).xy
    columns = (plane.x, plane.y, plane.norm, unit[:, 0].tolist(), unit[:, 1].tolist())
    left_out = [plane.held_out is not None and math.isnan(plane.x[row]) for row in rows]
    return {
        f"{prefix}_{name}": [None if out else column[row] for row, out in zip(rows, left_out, strict=True)]
        for name, column in zip(("x", "y", "norm", "cos_a", "cos_b"), columns, strict=True)
    }


def chosen_site(session: Session, site: str | None) -> str:
    """The site that was asked for, the first captured one by default; ExplorerError where it was not captured."""
    captured = session.spec.capture.sites
    if not captured:
        remedy = "give it the vectors of its runs too"
        raise ExplorerError("this session holds texts alone, no vectors", where=session.name, remedy=remedy)
    if site is None:
        return captured[0]
    if site not in captured:
        raise ExplorerError(
            f"it did not capture the site {site}", where=session.name, remedy=did_you_mean(site, captured)
        )
    return site
