"""Prompts of Parquet files and of data sets that the `datasets` library has cached: tables without lines."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.io.arrow import read_batches
from srm_explorer.engine.prompts.formats import CHATS, prompts_of_value, texts_in, without_nested
from srm_explorer.engine.prompts.prompt_set import Format, Prompt, Source, check_file, shown

DATASET = "hf:"
"""What the name of a cached data set begins with: hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIGURATION:SPLIT."""

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})")


def read_arrow(source: Source) -> tuple[Format, list[Prompt]]:
    """Read a table's rows as records; lines are numbers of rows, from 1. Nothing is fetched, and nothing unpickled.

    Args:
        source: of a .parquet file, or of an .arrow file of the cache, whose other shards are read with it.

    Raises:
        ExplorerError: a file that is missing, broken or too large, or pyarrow is not there.
    """
    form: Format = "parquet" if source.path.suffix.lower() == ".parquet" else "dataset"
    prompts: list[Prompt] = []
    for path in _shards(source.path):
        check_file(path)
        for columns in read_batches(path, form):
            names = list(columns)
            wanted = CHATS if source.column is None else (source.column.partition(".")[0],)
            if source.prompt_field(names) is None and not set(wanted) & set(names):
                first = {name: values[0] for name, values in columns.items() if values}
                source.report_no_prompt(1, names, "column", texts_in(first))
                return form, []
            for values in zip(*columns.values(), strict=True):
                source.rows += 1
                prompts += prompts_of_value(source, source.rows, dict(zip(names, values, strict=True)), "a row")
    return form, without_nested(source, prompts)


def find_dataset(name: str) -> Path:
    """The first file of a data set in the cache of the `datasets` library.

    Args:
        name: hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIGURATION:SPLIT; what there is one of need not be named.

    Raises:
        ExplorerError: it is not cached, or has several splits or configurations and none is named.
    """
    dataset, *chosen = name.removeprefix(DATASET).split(":")
    split, configuration = (chosen or [None])[-1], chosen[0] if len(chosen) > 1 else None
    root = _cache()
    folder = root / dataset.replace("/", "___").lower()
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", dataset) or len(chosen) > 2 or not folder.is_dir():
        known = sorted(path.name.replace("___", "/") for path in root.glob("*") if path.is_dir())
        guess = did_you_mean(dataset.lower(), known) if known else "the cache is empty"
        raise ExplorerError(
            f"there is no cached data set {shown(name)} (hf:NAME[:CONFIGURATION]:SPLIT)",
            where=str(root),
            remedy=f"{guess}; or load it once while online: datasets.load_dataset({dataset!r})",
        )
    # NAME/CONFIGURATION/VERSION/HASH/NAME-SPLIT[-SHARD].arrow
    files = [path for path in sorted(folder.glob("*/*/*/*.arrow")) if not path.name.startswith(("cache-", "tmp"))]
    files = _only(name, files, "configuration", configuration, lambda path: path.parents[2].name)
    files = _only(name, files, "split", split, _split_of)
    newest = max((path.parent for path in files), key=lambda parent: parent.stat().st_mtime)
    return next(path for path in files if path.parent == newest)


def _only(name: str, files: list[Path], noun: str, chosen: str | None, key: Callable[[Path], str]) -> list[Path]:
    there = sorted({key(path) for path in files})
    if chosen is None and len(there) == 1:
        return files
    if chosen not in there:
        what = f"{shown(name)} has no {noun} {shown(chosen)}" if chosen else f"{shown(name)} names no {noun}"
        remedy = f"choose from {', '.join(there)}" if there else "load it again while online"
        raise ExplorerError(what, where="prompts.sets", remedy=remedy)
    return [path for path in files if key(path) == chosen]


def _split_of(path: Path) -> str:
    shard = _SHARD.fullmatch(path.stem)
    return (shard["stem"] if shard else path.stem).rpartition("-")[2]


def _cache() -> Path:
    """Where the `datasets` library keeps what it has loaded, found as it finds it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    home = Path(os.environ.get("HF_HOME") or cache / "huggingface")
    return Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets").expanduser()


def _shards(path: Path) -> list[Path]:
    shard = _SHARD.fullmatch(path.stem)
    if shard is None or path.suffix.lower() == ".parquet":
        return [path]
    count = int(shard["count"])
    return [path.with_name(f"{shard['stem']}-{number:05d}-of-{count:05d}{path.suffix}") for number in range(count)]
