"""A session from arrays and texts that came from elsewhere: what they do not say stays unknown."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine.errors import ExplorerError, SpecValueError
from srm_explorer.engine.experiment import UNKNOWN, Condition, Experiment, Site, format_number
from srm_explorer.engine.experiment.values import shown
from srm_explorer.engine.io.arrays import Reduce
from srm_explorer.engine.io.vectors import Matrix
from srm_explorer.engine.session.keys import BASELINE
from srm_explorer.engine.session.session import (
    IMPORTED,
    PromptRecord,
    Resolved,
    RunRecord,
    Session,
    Unknown,
)
from srm_explorer.engine.session.units import UNIT_FACTOR
from srm_explorer.engine.stats.text import first_divergence

Runs: TypeAlias = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
"""A mapping a run, or a column a name; also a pandas frame."""


@dataclass(frozen=True)
class Split:
    """What parts a text into tokens.

    Attributes:
        name: of the tokenizer.
        ids: of a text's tokens, without any that begin or end it.
    """

    name: str
    ids: Callable[[str], Sequence[int]]


RESERVED = ("reference", "control", "intervened", "all")
"""What groups of runs are called, and no condition of another program's may be."""

_TEXTS = ("output", "text")
_CONDITIONS = ("condition", "sweep")
_COLUMNS = (*_TEXTS, *_CONDITIONS, "value", BASELINE, "prompt", "prompt_id", "set", "sample", "id", "factors")


def session_from(
    vectors: Mapping[str, ArrayLike] | ArrayLike | None,
    runs: Runs,
    *,
    name: str = IMPORTED,
    interventions: Sequence[Mapping[str, Any]] = (),
    reduce: Reduce | None = None,
    split: Split | None = None,
) -> Session:
    """Make a session of vectors and texts that another program captured; it is not saved yet.

    Nothing is guessed: the model, the tokens and, without a name, the site are unknown. Of runs that say nothing of a
    condition all count as the baseline.

    Args:
        vectors: [run, width] by site, or one array of an unknown site; None for texts alone; also tensors, and what
            `run_with_cache` gives. They are kept as float32, as float64 where that alone holds their numbers. A site
            that has no name of TransformerLens is called "unknown.NAME".
        runs: of each, as far as known: `prompt`, its text; `prompt_id`, where texts do not tell prompts apart; `set`;
            `condition` (or `sweep`), "baseline", a number or a name; `value`, the number; `baseline`, whether it is;
            `output` (or `text`), the continuation, which may be empty; `sample`; `id`. Whatever else stands there, and
            what `factors` holds, are factors of the prompt: `core_id` names the unit.
        interventions: what was done, as an experiment file has it, but for the values, which the runs tell:
            {"site": "blocks.11.mlp.hook_post", "neurons": [373], "op": "clamp"}.
        reduce: what makes [run, width] of arrays [run, token, width], whose tokens all count: "mean", or the "last".
        split: parts texts into tokens, by which repetitions are counted and the first change is told; else by words.
            Which tokens were generated stays unknown.

    Returns:
        a session whose vectors are held in memory, until `save_session` writes them.

    Raises:
        ExplorerError: no run, arrays and runs that do not fit, or a column that makes no sense.
    """
    columns = _columns(runs)
    count = len(next(iter(columns.values()), ()))
    if not count:
        raise ExplorerError("there is no run", where="runs", remedy="give a mapping a run, or a list a column")
    held, kinds, inexact = _held(vectors, count, reduce)
    prompts, of_run = _prompts(columns, count)
    conditions, condition_of = _conditions(columns, count)
    samples = _samples(columns, of_run, condition_of)
    spec = _experiment(held, interventions, conditions, max(samples) + 1)
    conditions = tuple(_present(condition, spec) for condition in conditions)
    texts = _texts(columns, count)
    unknown: dict[Unknown, bool] = {
        "model": True,
        "tokens": True,
        "conditions": len(conditions) == 1 and not any(name in columns for name in (*_CONDITIONS, "value", BASELINE)),
        "interventions": not spec.interventions and len(conditions) > 1,
        "prompts": "prompt" not in columns,
        "sites": any(Site.parse(site).is_unknown for site in held),
        "texts": texts is None,
    }
    imported: dict[str, Any] = {"unknown": [what for what, is_unknown in unknown.items() if is_unknown]}
    if inexact:
        imported["rounded"] = list(inexact)
    if kinds:
        imported["kinds"] = dict(kinds)
    pieces = _pieces(split, texts)
    if split is not None and pieces:
        imported |= {"tokenizer": split.name, "pieces": [list(ids) for ids in pieces]}
    if "id" in columns:
        imported["ids"] = [None if cell is None else _text(cell) for cell in columns["id"]]
    changes = _first_changes(pieces, list(zip(of_run, samples, strict=True)), condition_of)
    return Session(
        name=name,
        state="finished",
        spec=spec,
        conditions=conditions,
        resolved=_resolved(spec, conditions),
        prompts=prompts,
        runs=tuple(
            RunRecord(
                index=row,
                prompt=of_run[row],
                condition=condition_of[row],
                sample=samples[row],
                token_ids=(),
                text="" if texts is None else texts[row],
                prompt_tokens=0,
                finish="unknown",
                min_margin=None,
                metrics=changes[row],
            )
            for row in range(count)
        ),
        provenance={IMPORTED: imported},
        held=held or None,
    )


def _pieces(split: Split | None, texts: Sequence[str] | None) -> list[tuple[int, ...]]:
    if split is None:
        return []
    if texts is None:
        remedy = "give the continuations too, as `output`"
        raise ExplorerError("there is no text for the tokenizer", where=split.name, remedy=remedy)
    return [tuple(split.ids(text)) for text in texts]


def _first_changes(
    pieces: Sequence[Sequence[int]], pairs: Sequence[tuple[int, int]], conditions: Sequence[int]
) -> list[dict[str, float]]:
    """[run] the first token that is not its baseline's, as a metric; nothing where texts are in no pieces."""
    baselines = {pair: ids for pair, ids, at in zip(pairs, pieces, conditions, strict=False) if at == 0}
    changes: list[dict[str, float]] = []
    for row, pair in enumerate(pairs):
        base = baselines.get(pair)
        first = None if base is None else first_divergence(pieces[row], base)
        changes.append({} if first is None else {"first_change": float(first)})
    return changes


def _columns(runs: Runs) -> dict[str, list[Any]]:
    """By name, a cell a run, None where it says nothing; factors beside the others."""
    table = cast("object", runs)
    if not isinstance(table, Mapping | Sequence) and hasattr(table, "to_dict"):
        table = cast("Any", table).to_dict("list")
    columns: dict[str, list[Any]] = {}
    if isinstance(table, Mapping):
        columns = {_text(name): list(column) for name, column in cast("Mapping[Any, Sequence[Any]]", table).items()}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            few, many = (pick(lengths, key=lengths.__getitem__) for pick in (min, max))
            what = f"column {shown(few)} has {lengths[few]} cells, {shown(many)} has {lengths[many]}"
            raise ExplorerError(what, where="runs", remedy="give every column a cell a run")
    elif isinstance(table, Sequence) and not isinstance(table, str | bytes):
        rows = cast("Sequence[object]", table)
        for row, cells in enumerate(rows):
            if not isinstance(cells, Mapping):
                raise ExplorerError("a run is no mapping", where=f"runs[{row}]", remedy="write {'prompt': ..., ...}")
            for name, cell in cast("Mapping[Any, Any]", cells).items():
                text = _text(name)
                if text not in columns:
                    columns[text] = [None] * len(rows)
                columns[text][row] = cell
        # Runs of which nothing is told are runs all the same.
        columns.setdefault("factors", [None] * len(rows))
    else:
        raise ExplorerError("these are no runs", where="runs", remedy="give a list of mappings, or a list a column")
    return {name: [_plain(cell) for cell in column] for name, column in columns.items()}


def _plain(cell: object) -> Any:
    """A cell without numpy, None for what a frame puts where there is nothing."""
    if isinstance(cell, np.generic):
        cell = cast("object", cell.item())
    is_missing = type(cell).__name__ in ("NAType", "NaTType") or (isinstance(cell, float) and math.isnan(cell))
    return None if is_missing else cell


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return str(cell).lower()
    return format_number(cell) if isinstance(cell, int | float) else str(cell)


def _held(
    vectors: Mapping[str, ArrayLike] | ArrayLike | None, count: int, reduce: Reduce | None
) -> tuple[dict[str, Matrix], dict[str, str], list[str]]:
    """By site, the vectors as float32 or float64; the type they came in where that is another; and the sites of which
    some number is neither."""
    if vectors is None:
        return {}, {}, []
    # A cache of TransformerLens is no mapping, and has the items of one; so has a frame, which is one array.
    by_site = isinstance(vectors, Mapping) or (hasattr(vectors, "items") and not hasattr(vectors, "to_numpy"))
    named: dict[Any, ArrayLike] = (
        dict(cast("Any", vectors).items()) if by_site else {UNKNOWN: cast("ArrayLike", vectors)}
    )
    held: dict[str, Matrix] = {}
    kinds: dict[str, str] = {}
    inexact: list[str] = []
    for key, given in named.items():
        site, where = _site(key), f"vectors[{shown(key)}]"
        array = _array(given)
        if array.ndim == 3 and reduce is not None and array.dtype.kind in "fiu" and array.size:
            array = array[:, -1] if reduce == "last" else array.mean(axis=1, dtype=np.float64).astype(np.float32)
        if array.dtype.kind not in "fiu" or array.ndim != 2 or not array.size:
            what = f"{array.dtype.name} {list(array.shape)} is no array of numbers [run, width]"
            remedy = "give a row a run: the mean over its tokens"
            if array.ndim == 3:
                remedy += ', or say reduce="mean" or "last" where all its tokens count'
            raise ExplorerError(what, where=where, remedy=remedy)
        if len(array) != count:
            what = f"{len(array)} vectors for {count} runs"
            raise ExplorerError(what, where=where, remedy="give a row a run, NaN where one has no vector")
        with np.errstate(over="ignore"):
            kept: Matrix = array.astype(np.float32)
        if array.dtype != np.float32:
            beyond = np.flatnonzero((np.isinf(kept) & np.isfinite(array)).any(axis=1))
            if beyond.size:
                at = f"{where}[{beyond[0]}]"
                raise ExplorerError("some number is beyond float32", where=at, remedy="scale the vectors")
            if not _equal(kept, array):
                kept = cast("Matrix", array.astype(np.float64))
                inexact += [] if _equal(kept, array) else [site]
            if site not in inexact and array.dtype.str != kept.dtype.str:
                kinds[site] = array.dtype.str
        if site in held:
            raise ExplorerError(f"two arrays are called {site}", where=where, remedy="rename one of them")
        kept.setflags(write=False)
        held[site] = kept
    return held, kinds, inexact


def _equal(kept: NDArray[Any], array: NDArray[Any]) -> bool:
    """Whether every number came through."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array_equal(kept.astype(array.dtype), array, equal_nan=array.dtype.kind == "f")


def _array(given: object) -> NDArray[Any]:
    """An array, or a tensor wherever it lies and whatever its type, as numpy has it; empty where it is neither."""
    if hasattr(given, "detach"):
        tensor = cast("Any", given).detach()
        # numpy knows no bfloat16, of which float32 holds every number.
        given = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).cpu().numpy()
    try:
        return np.asarray(given)
    except ValueError:
        return np.empty(0, np.object_)


def _site(key: object) -> str:
    try:
        return str(Site.parse(str(key)))
    except SpecValueError:
        pass
    try:
        return str(Site.parse(f"{UNKNOWN}.{key}" if key != "" else ""))
    except SpecValueError:
        what = f"{shown(key)} is no name of a site"
        raise ExplorerError(what, where="vectors", remedy="use letters and digits, or give the array alone") from None


def _prompts(columns: Mapping[str, list[Any]], count: int) -> tuple[tuple[PromptRecord, ...], list[int]]:
    """The prompts in order of appearance, and [run] which of them each is of.

    Runs are of one prompt where set, text, number and factors are the same; of prompts whose text is unknown, where
    `prompt_id` or `core_id` says so.
    """
    named = [name for name in columns if name not in _COLUMNS]
    places: dict[Hashable, int] = {}
    prompts: list[PromptRecord] = []
    texts: dict[str, int] = {}
    of_run: list[int] = []
    for row in range(count):
        cells = {name: column[row] for name, column in columns.items()}
        further: object = cells.get("factors") or {}
        if not isinstance(further, Mapping):
            raise ExplorerError("factors are no mapping", where=f"runs[{row}]", remedy="write {'type': 'plain'}")
        levels = {**{name: cells[name] for name in named}, **cast("Mapping[Any, Any]", further)}
        factors = {_text(name): _text(_plain(level)) for name, level in levels.items() if _plain(level) is not None}
        text, prompt_id = cells.get("prompt"), cells.get("prompt_id")
        of_set = UNKNOWN if cells.get("set") is None else _text(cells["set"])
        told = text is not None or prompt_id is not None or UNIT_FACTOR in factors
        key = (of_set, None if text is None else _text(text), None if prompt_id is None else _text(prompt_id))
        place = places.setdefault((key, tuple(sorted(factors.items())), None if told else row), len(places))
        of_run.append(place)
        if place == len(prompts):
            written = "" if text is None else _text(text)
            prompts.append(PromptRecord(of_set, written, factors, (), texts.get(written, 0), ""))
            texts[written] = texts.get(written, 0) + 1
    return tuple(prompts), of_run


@dataclass
class _Sweep:
    """The conditions met so far, and the value of each."""

    values: dict[str, float | None] = field(default_factory=dict[str, "float | None"])

    def add(self, label: str, value: float | None, where: str) -> str:
        known = self.values.setdefault(label, value)
        if known != value:
            what = f"condition {shown(label)} has the values {known} and {value}"
            raise ExplorerError(what, where=where, remedy="call two conditions by two names")
        return label


def _conditions(columns: Mapping[str, list[Any]], count: int) -> tuple[tuple[Condition, ...], list[int]]:
    """The baseline, then the others by value, those without one after them; and [run] the index of each."""
    sweep = _Sweep()
    labels = [_condition_of(columns, row, sweep) for row in range(count)]
    values = sweep.values
    listed = sorted((label for label in values if values[label] is not None), key=lambda label: values[label] or 0.0)
    listed += [label for label in values if values[label] is None]
    index_of = {BASELINE: 0, **{label: index for index, label in enumerate(listed, 1)}}
    conditions = (
        Condition(0, "baseline", (), BASELINE, None),
        *(Condition(index_of[label], "sweep", (), label, values[label]) for label in listed),
    )
    return conditions, [index_of[label] for label in labels]


def _condition_of(columns: Mapping[str, list[Any]], row: int, sweep: _Sweep) -> str:
    where = f"runs[{row}]"
    given = next((columns[name][row] for name in _CONDITIONS if name in columns), None)
    value, is_baseline = (columns[name][row] if name in columns else None for name in ("value", BASELINE))
    text = None if given is None else _text(given).strip()
    if value is None and text:
        value = _number(text)
        text = text if value is None else None
    elif value is not None and (value := _number(_text(value))) is None:
        raise ExplorerError("its value is no finite number", where=where, remedy="write a number, or nothing")
    if text == "":
        raise ExplorerError("its condition has no name", where=where, remedy="write 'baseline', a number or a name")
    if (text or "").casefold() == BASELINE or is_baseline in (True, 1):
        if (text or BASELINE).casefold() != BASELINE:
            what = f"it is the baseline and the condition {shown(text)}"
            raise ExplorerError(what, where=where, remedy="say one of them")
        return BASELINE
    if text is None and value is None:
        asked = [name for name in (*_CONDITIONS, "value", BASELINE) if name in columns]
        if asked and not (asked == [BASELINE] and is_baseline is None):
            what = f"it says neither the baseline nor a condition in {', '.join(asked)}"
            raise ExplorerError(what, where=where, remedy="write 'baseline', a number or a name as its condition")
        return BASELINE
    if text in RESERVED:
        remedy = "call it by another name"
        raise ExplorerError(f"{shown(text)} is what groups of runs are called", where=where, remedy=remedy)
    if text is None:
        number = cast("float", value)
        text = f"+{format_number(number)}" if number > 0 else format_number(number)
    return sweep.add(text, value, where)


def _number(text: str) -> float | None:
    try:
        value = float(text.replace("−", "-"))
    except ValueError:
        return None
    return value + 0.0 if math.isfinite(value) else None


def _samples(columns: Mapping[str, list[Any]], prompts: Sequence[int], conditions: Sequence[int]) -> list[int]:
    """[run] which of the runs of one prompt under one condition it is: as the runs say, else in order of appearance."""
    told = columns.get("sample")
    met: dict[tuple[int, int], set[int]] = {}
    samples: list[int] = []
    for row, key in enumerate(zip(prompts, conditions, strict=True)):
        before = met.setdefault(key, set())
        sample = len(before) if told is None else told[row]
        if isinstance(sample, bool) or not isinstance(sample, int) or sample < 0 or sample in before:
            what = f"sample {shown(sample)} is no number from 0, or stands there twice"
            raise ExplorerError(what, where=f"runs[{row}]", remedy="number the runs of one prompt and condition")
        before.add(sample)
        samples.append(sample)
    return samples


def _texts(columns: Mapping[str, list[Any]], count: int) -> list[str] | None:
    """[run] the continuations; None where they are unknown."""
    named = [name for name in _TEXTS if name in columns]
    if not named:
        return None
    texts = columns[named[0]]
    missing = [row for row in range(count) if texts[row] is None]
    if len(missing) == count:
        return None
    if missing:
        what = f"it has no {named[0]}, and others have"
        raise ExplorerError(what, where=f"runs[{missing[0]}]", remedy="write '' where the text is empty")
    return [_text(text) for text in texts]


def _experiment(
    held: Mapping[str, Matrix],
    interventions: Sequence[Mapping[str, Any]],
    conditions: Sequence[Condition],
    samples: int,
) -> Experiment:
    """What is known of the experiment; the rest is at its defaults and shown nowhere."""
    tables = [dict(table) for table in interventions]
    swept = [condition.value for condition in conditions[1:]]
    for number, table in enumerate(tables):
        if "values" in table or table.get("op") in ("zero", "mean", "project_out", "patch"):
            continue
        if None in swept or not swept:
            what = "the runs tell no number for every condition"
            raise ExplorerError(what, where=f"interventions[{number}]", remedy="give them values, or leave it out")
        table["values"] = swept
    data = {
        "model": {"name": UNKNOWN},
        "prompts": {"sets": [UNKNOWN]},
        "interventions": tables,
        "generation": {"mode": "sample", "samples": samples} if samples > 1 else {},
        "capture": {"sites": list(held)},
    }
    return Experiment.from_dict(data, where="session_from")


def _present(condition: Condition, spec: Experiment) -> Condition:
    """A condition with what it says of every intervention: nothing in the baseline, else its value."""
    if condition.kind == "baseline":
        values: tuple[float | None, ...] = (None,) * len(spec.interventions)
    else:
        values = tuple(
            (edit.values[0] if edit.background else condition.value) if edit.takes_values else 0.0
            for edit in spec.interventions
        )
    return Condition(condition.index, condition.kind, values, condition.label, condition.value)


def _resolved(spec: Experiment, conditions: Sequence[Condition]) -> Resolved:
    """The raw values; none where nothing tells what sigma or a quantile was."""
    edits = spec.interventions
    if not edits or any(edit.unit != "raw" or edit.op == "mean" for edit in edits):
        return ()
    return tuple(
        tuple(
            None if value is None else (value,) * (len(edit.neurons) if edit.neurons else 1)
            for edit, value in zip(edits, condition.values, strict=True)
        )
        for condition in conditions
    )
