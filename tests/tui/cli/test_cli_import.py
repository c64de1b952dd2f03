from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.analyses import effects_study, tables_in
from srm_explorer.engine.model import load_tokenizer
from srm_explorer.engine.session import load_session
from srm_explorer.tui.cli import main

from .conftest import Ended

Command = Callable[..., Ended]


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """What a script that saves a vector a run has left, one file of it cut short."""
    folder = tmp_path / "captures"
    folder.mkdir()
    rows = np.random.default_rng(1).normal(size=(36, 8)).astype(np.float32)
    keys = [f"core_id=c_{i // 3}_type=a_b_sweep={('baseline', -20, 20)[i % 3]}" for i in range(36)]
    np.savez(folder / "one.npz", **dict(zip(keys, rows, strict=True)))
    (folder / "two.npz").write_bytes((folder / "one.npz").read_bytes()[:500])
    return folder


def test_an_import_takes_a_plane_without_a_site_and_draws_the_counts_of_a_sweep(captures: Path, srm: Command) -> None:
    done = srm("import", captures, "--session", "theirs")
    assert done.status == 1, "not all of it was imported"
    assert done.err.count("\n") == 1
    assert "two.npz" in done.err
    assert "36 runs, 12 prompts, 3 conditions imported from 1 of 2 files" in done.out
    assert srm("planes", "theirs", "--add", "2", "5").status == 0
    shown = json.loads(srm("show", "theirs", "--json").out)
    swept = json.loads(srm("sweep", captures / "one.npz", "--a", "2", "--b", "5", "--json").out)
    groups = shown["planes"][0]["groups"]
    for name, group in (("baseline", "baseline"), ("clamped", "intervened")):
        for theirs, ours in zip(swept["groups"][name]["thresholds"], groups[group]["thresholds"], strict=True):
            assert (theirs["threshold"], theirs["counts"]) == (ours["threshold"], ours["counts"])
    assert srm("pairs", "theirs", "--neuron", "2").status == 0
    told = srm("import", captures, "--session", "again", "--json")
    assert (told.status, len(json.loads(told.out)["not_imported"])) == (1, 1)
    (captures / "two.npz").unlink()
    assert srm("import", captures, "--session", "whole").status == 0


def test_a_table_of_texts_tells_what_collapsed_without_a_model(tmp_path: Path, srm: Command) -> None:
    with (tmp_path / "texts.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["core_id", "type", "level", "sweep", "prompt", "output"])
        for core in range(4):
            writer.writerow([core, "plain", 1, "baseline", f"prompt {core}", "It rained\tall day.\nThen it stopped."])
            writer.writerow([core, "plain", 1, 20, f"prompt {core}", "" if core else "no no no no no no no no no"])
    assert srm("import", tmp_path / "texts.tsv").status == 0
    assert srm("effects", "texts", "--rule", "published", "--csv", tmp_path / "e.csv").status == 0
    with (tmp_path / "e.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["value"], row["runs"], row["collapsed"]) for row in rows[:2]] == [
        ("baseline", "4", "0"),
        ("+20", "4", "4"),
    ]
    assert srm("import", tmp_path / "texts.tsv", "--session", "again").status == 0
    told = srm("sessions", "diff", "texts", "again").out
    assert "texts alone, no vectors" in told
    assert "planes texts --add" not in told, "no plane can be laid through texts"


def test_a_file_is_written_also_where_nobody_reads_what_is_printed(
    tmp_path: Path, srm: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ["prompt,sweep,output", *(f"p{n},{value},text" for n in range(6) for value in ("baseline", 2))]
    (tmp_path / "texts.csv").write_text("\n".join(rows))
    assert srm("import", tmp_path / "texts.csv").status == 0
    read, write = os.pipe()
    os.close(read)
    with (
        contextlib.suppress(BrokenPipeError),
        os.fdopen(write, "w", buffering=1) as closed,
        monkeypatch.context() as elsewhere,
    ):
        elsewhere.setattr(sys, "stdout", closed)
        main(["effects", "texts", "--rule", "published", "--csv", str(tmp_path / "e.csv")])
    assert (tmp_path / "e.csv").exists()


@pytest.mark.parametrize("tokenizer", ["demo", None])
def test_a_tokenizer_parts_texts_whose_tokens_nobody_kept(tmp_path: Path, srm: Command, tokenizer: str | None) -> None:
    rows = [
        ("1", "baseline", "the man and the dog"),
        ("1", "20", "the man and a cat"),
        ("2", "baseline", "the"),
        ("2", "20", ""),
    ]
    with (tmp_path / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["core_id", "sweep", "output"], *rows])
    assert srm("import", tmp_path / "texts.csv", *(["--tokenizer", tokenizer] if tokenizer else [])).status == 0
    session = load_session(paths.session_path("texts"))
    tables = {table.name: table for table in tables_in(effects_study(session, {}))}
    values = dict(zip([row[0] for row in tables["effects"].rows], tables["effects"].rows, strict=True))
    keys = [column.key for column in tables["effects"].columns]
    first = values["+20"][keys.index("first_change_from_1")]
    if tokenizer is None:
        assert first is None
        return
    split = load_tokenizer(tokenizer)
    pieces = [split.encode(row[2], prepend_bos=False) for row in rows]
    assert [list(ids) for ids in session.pieces] == pieces
    expected = [
        next(at for at in range(99) if pieces[i][at : at + 1] != pieces[i + 1][at : at + 1]) + 1 for i in (0, 2)
    ]
    assert first == sum(expected) / 2
    assert "those into which demo parts the texts" in " ".join(tables["effects"].notes)
    assert session.is_unknown("tokens")


def test_an_import_goes_out_with_the_keys_it_came_with(captures: Path, tmp_path: Path, srm: Command) -> None:
    told = json.loads(srm("import", captures / "one.npz", "--json").out)
    assert (told["session"], told["runs"], told["sites"]) == (str(paths.session_path("one")), 36, {"unknown": 8})
    assert srm("export", "one", "--npz", tmp_path / "out.npz").status == 0
    with np.load(captures / "one.npz") as theirs, np.load(tmp_path / "out.npz") as ours:
        assert list(theirs) == list(ours)
        assert all(theirs[key].tobytes() == ours[key].tobytes() for key in theirs)


def test_the_same_rows_go_to_csv_parquet_and_a_frame(captures: Path, tmp_path: Path, srm: Command) -> None:
    assert srm("import", captures / "one.npz").status == 0
    assert srm("planes", "one", "--add", "2", "5").status == 0
    assert srm("export", "one", "--csv", tmp_path / "r.csv", "--parquet", tmp_path / "r.parquet").status == 0
    frame = load_session(paths.session_path("one")).frame()
    with (tmp_path / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for column in ("factor_core_id", "condition", "2_5_x", "2_5_cos_b"):
        assert [type(cell)(row[column]) for row, cell in zip(rows, frame[column], strict=True)] == list(frame[column])
    import pyarrow.parquet  # the library takes a while, and this test alone needs it

    table = pyarrow.parquet.read_table(tmp_path / "r.parquet")
    assert table.column("2_5_cos_b").to_pylist() == list(frame["2_5_cos_b"])
    assert table.column("condition").to_pylist() == list(frame["condition"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--neuron", "3"], "--neuron: a neuron is one of a site; give --site too"),
        (["--site", "blocks.1.mlp.hook_pst"], "hook_post"),
    ],
)
def test_what_is_told_wrongly_is_refused(captures: Path, srm: Command, arguments: list[str], says: str) -> None:
    done = srm("import", captures / "one.npz", *arguments)
    assert done.status == 1
    assert re.search(re.escape(says), done.err)
    assert done.err.count("\n") == 1
