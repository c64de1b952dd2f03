from __future__ import annotations

import csv
import io
import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.analyses import collapse_study, tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.arrays import write_npz
from srm_explorer.engine.session import Session, load_session, save_session, units_of
from srm_explorer.engine.session.export import run_vectors, runs_csv, runs_parquet
from srm_explorer.engine.session.keys import key_cells
from srm_explorer.engine.session.source_files import import_session

LEVELS = ("baseline", "-20", "0.5")
COLUMNS = ("core_id", "type", "level", "sweep", "prompt", "output")


def saved(session: Session, folder: Path) -> Session:
    return load_session(save_session(session, folder / f"{session.name}.json").path)


def vectors(count: int, width: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def grid() -> list[tuple[str, str, str, str]]:
    return list(itertools.product(("a_b_7", "c"), ("plain", "odd_level"), ("1", "2"), LEVELS))


def marked(core: str, kind: str, level: str, sweep: str) -> str:
    return f"core_id={core}_type={kind}_level={level}_sweep={sweep}"


def write_table(path: Path, rows: list[tuple[str, ...]], columns: tuple[str, ...] = COLUMNS) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerows([columns, *rows])


def test_markers_part_a_key_whose_values_hold_underscores(tmp_path: Path) -> None:
    rows = vectors(len(grid()))
    np.savez(tmp_path / "v.npz", **{marked(*cells): row for cells, row in zip(grid(), rows, strict=True)})
    (tmp_path / "run_metadata_3.json").write_text(json.dumps({"model": "gpt2", "layer": 11}))
    session = saved(import_session([tmp_path / "v.npz"]).session, tmp_path)
    assert [
        (*session.prompts[run.prompt].factors.values(), session.conditions[run.condition].label) for run in session.runs
    ] == [(core, kind, level, sweep.replace("0.5", "+0.5")) for core, kind, level, sweep in grid()]
    assert session.vectors()["unknown"].tobytes() == rows.tobytes()
    assert len(units_of(session)) == 2
    assert session.provenance["imported"]["metadata"] == {"run_metadata_3.json": {"model": "gpt2", "layer": 11}}
    for unknown in ("model", "tokens", "texts", "prompts", "sites"):
        assert session.is_unknown(unknown)


def test_numbered_keys_are_prompts_and_their_conditions(tmp_path: Path) -> None:
    keys = ["prompt_0", "prompt_1", "prompt_0_sweep=20", "prompt_1_sweep=20", "prompt_1_sweep=none_sample=1"]
    np.savez(tmp_path / "v.npz", **dict(zip(keys, vectors(5), strict=True)))
    session = import_session([tmp_path / "v.npz"]).session
    labels = [condition.label for condition in session.conditions]
    assert [(run.prompt, labels[run.condition], run.sample) for run in session.runs] == [
        (0, "baseline", 0), (1, "baseline", 0), (0, "+20", 0), (1, "+20", 0), (1, "baseline", 1),
    ]  # fmt: skip


words = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)
plain = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=30) | st.sampled_from(
    ["", "=1", "'=1", "\n"]
)
names = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="="), min_size=1, max_size=12)


@settings(max_examples=40)
@given(data=st.data())
def test_vectors_come_and_go_bit_for_bit_under_their_own_keys(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("keys")
    keys = data.draw(st.lists(names | names.map(lambda name: f"{name}_sweep=-3"), min_size=1, max_size=6, unique=True))
    kind = data.draw(st.sampled_from([np.float32, np.float16, np.int16]))
    bits = data.draw(st.binary(min_size=8 * len(keys), max_size=8 * len(keys)))
    rows = np.frombuffer(bits, kind).reshape(len(keys), -1)
    write_npz(folder / "in.npz", zip(keys, rows, strict=True))
    session = saved(import_session([folder / "in.npz"]).session, folder)
    write_npz(folder / "out.npz", run_vectors(session, "unknown"))
    again = import_session([folder / "out.npz"]).session
    with np.load(folder / "out.npz") as out:
        assert list(out) == keys
        for key, row in zip(keys, rows, strict=True):
            assert np.array_equal(out[key], row.astype(np.float32), equal_nan=True)
            if kind is np.float32:
                assert out[key].tobytes() == row.tobytes()
    assert (again.prompts, again.runs, again.conditions) == (session.prompts, session.runs, session.conditions)


def told(session: Session) -> list[tuple[Any, ...]]:
    """What is known of each run, whatever its prompt's number."""
    return [
        (
            session.prompts[run.prompt].set, session.prompts[run.prompt].text, session.prompts[run.prompt].factors,
            session.conditions[run.condition].label, session.conditions[run.condition].value, run.sample, run.text,
        )
        for run in session.runs
    ]  # fmt: skip


@settings(max_examples=40)
@given(
    rows=st.lists(
        st.tuples(names, names, st.sampled_from(["baseline", "-20", "3.5", "named"]), plain, plain),
        min_size=1, max_size=6, unique_by=lambda row: row[:3],
    )
)  # fmt: skip
def test_texts_come_and_go_as_csv_and_parquet(
    rows: list[tuple[str, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("texts")
    write_table(folder / "in.tsv", rows, ("core_id", "type", "sweep", "prompt", "output"))
    session = import_session([folder / "in.tsv"]).session
    assert [run.text for run in session.runs] == [row[4] for row in rows]
    (folder / "out.csv").write_bytes(runs_csv(session))
    (folder / "out.parquet").write_bytes(runs_parquet(session))
    for name in ("out.csv", "out.parquet"):
        assert told(import_session([folder / name]).session) == told(session)


@given(text=words)
@settings(max_examples=40)
def test_parquet_keeps_what_a_spreadsheet_must_not_see(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("parquet")
    np.save(folder / "v.npy", vectors(1))
    write_table(folder / "t.csv", [("c", "p", text.replace("\r", ""))], ("core_id", "prompt", "output"))
    session = import_session([folder / "t.csv"]).session
    (folder / "out.parquet").write_bytes(runs_parquet(session))
    assert told(import_session([folder / "out.parquet"]).session) == told(session)


def test_quotes_line_breaks_tabs_and_nothing_are_texts(tmp_path: Path) -> None:
    texts = ['He said "hi"\tand\nleft\r\n', "", "the the the the the the " * 20]
    write_table(
        tmp_path / "t.tsv", [("7", "plain", "1", sweep, "p", t) for sweep, t in zip(LEVELS, texts, strict=True)]
    )
    session = saved(import_session([tmp_path / "t.tsv"]).session, tmp_path)
    assert [run.text for run in session.runs] == texts
    assert not session.is_unknown("texts")
    collapsed = tables_in(collapse_study(session, {"rule": "published"}))[0]
    assert [row[:3] for row in collapsed.rows] == [("baseline", 1, 0), ("-20", 1, 1), ("+0.5", 1, 1)]


def test_a_table_beside_vectors_tells_their_texts(tmp_path: Path) -> None:
    rows = vectors(len(grid()))
    order = list(reversed(grid()))
    np.savez(tmp_path / "v.npz", **{marked(*cells): row for cells, row in zip(grid(), rows, strict=True)})
    write_table(tmp_path / "t.tsv", [(*cells, f"prompt {cells[0]}", f"out {cells}") for cells in order])
    session = import_session([tmp_path]).session
    assert [run.text for run in session.runs] == [f"out {cells}" for cells in grid()]
    assert session.vectors()["unknown"].tobytes() == rows.tobytes()
    write_table(tmp_path / "t.tsv", [(*cells, "p", "o") for cells in order[1:]])
    with pytest.raises(ExplorerError, match="no row is the text of the vector"):
        import_session([tmp_path])


def test_files_are_groups_unless_they_are_parts_of_one_experiment(tmp_path: Path) -> None:
    for name in ("reading", "watching"):
        np.savez(tmp_path / f"{name}.npz", prompt_0=vectors(1)[0], prompt_1=vectors(1)[0])
    assert [prompt.set for prompt in import_session([tmp_path]).session.prompts] == [
        "reading", "reading", "watching", "watching",
    ]  # fmt: skip
    parts = tmp_path / "parts"
    parts.mkdir()
    np.savez(parts / "nothing.npz", prompt_0=vectors(1)[0], prompt_1=vectors(1)[0])
    np.savez(parts / "clamped.npz", **{f"prompt_{i}_sweep=20": vectors(1)[0] for i in range(2)})
    session = import_session([parts]).session
    assert (len(session.prompts), len(session.runs)) == (2, 4)
    several = tmp_path / "each"
    several.mkdir()
    for number in range(3):
        np.savez(several / f"core_id=c_{number}_type=a_sweep=20.npz", vector=vectors(1)[0])
    assert [prompt.factors for prompt in import_session([several]).session.prompts] == [
        {"core_id": f"c_{number}", "type": "a"} for number in range(3)
    ]


def test_arrays_by_site_are_the_same_runs_at_several_places(tmp_path: Path) -> None:
    post, stream = vectors(3, 8), vectors(3, 5)
    np.savez(tmp_path / "v.npz", **{"blocks.1.mlp.hook_post": post, "blocks.1.hook_resid_post": stream})
    session = import_session([tmp_path / "v.npz"]).session
    assert {site: held.tobytes() for site, held in session.vectors().items()} == {
        "blocks.1.mlp.hook_post": post.tobytes(), "blocks.1.hook_resid_post": stream.tobytes(),
    }  # fmt: skip
    tokens = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)
    np.savez(tmp_path / "t.npz", **{"transformer.h.11.mlp.act": tokens})
    with pytest.raises(ExplorerError, match="--reduce mean"):
        import_session([tmp_path / "t.npz"])
    last = import_session([tmp_path / "t.npz"], reduce="last").session
    assert last.vectors()["unknown.transformer.h.11.mlp.act"].tobytes() == tokens[:, -1].tobytes()


def test_a_site_and_a_neuron_that_are_told_are_no_guess(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", **{key: vectors(1)[0] for key in ("prompt_0", "prompt_0_sweep=3")})
    site = "blocks.1.mlp.hook_post"
    edit = {"site": site, "neurons": [2], "op": "clamp"}
    session = import_session([tmp_path / "v.npz"], site=site, interventions=[edit]).session
    assert (session.spec.capture.sites, session.spec.interventions[0].neurons) == ((site,), (2,))
    assert session.resolved == ((None,), ((3.0,),))


def test_broken_files_of_a_folder_are_named_and_the_others_imported(tmp_path: Path) -> None:
    for number in range(8):
        np.savez(tmp_path / f"f{number}.npz", **{f"prompt_{number}": vectors(1)[0]})
    (tmp_path / "f1.npz").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "f2.npz").write_bytes(b"")
    whole = (tmp_path / "f3.npz").read_bytes()
    (tmp_path / "f3.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "f9.pt").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "notes.txt").write_text("not ours")
    done = import_session([tmp_path])
    assert [path.stem for path in done.files] == ["f0", "f4", "f5", "f6", "f7"]
    assert len(done.unread) == 4
    for name, line in zip(("f1", "f2", "f3", "f9"), done.unread, strict=True):
        assert name in line
        assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", b"core_id,output\n1,a\n2\n", r"t\.csv, line 3: 1 cells where the heading has 2"),
        ("t.csv", b"core_id,output\n1,\"a\n", r"t\.csv, line \d: the table cannot be read"),
        ("t.csv", b"x,y\n1,2\n", r"no column is called output, text, prompt or core_id, but x, y"),
        ("t.csv", b"output,output\n1,2\n", r"the column '?output'? stands there twice"),
        ("t.csv", b"output\n\xff\n", r"t\.csv, line 2: byte 0xff is not UTF-8"),
        ("t.csv", b"core_id,output\n", r"the table has no row"),
        ("t.parquet", b"PAR1 no more", r"t\.parquet: the table can't be read"),
        ("t.npy", b"\x93NUMPY\x01\x00", r"t\.npy: 't' is damaged"),
        ("t.safetensors", b"\x40\0\0\0\0\0\0\0{\"a\":1}", r"t\.safetensors: .*damaged"),
        ("t.pt", b"\x80\x02}q\x00.", r"t\.pt: this is a pickle"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_one_line_with_its_place(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExplorerError, match=says) as refused:
        import_session([tmp_path / name])
    assert "\n" not in str(refused.value)


def test_keys_of_factors_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = vectors(len(grid()))
    np.savez(tmp_path / "v.npz", **{marked(*cells): row for cells, row in zip(grid(), rows, strict=True)})
    session = import_session([tmp_path / "v.npz"]).session
    keys = [key for key, _ in run_vectors(session, "unknown", style="factors")]
    assert keys == [marked(*cells) for cells in grid()]
    assert [key for key, _ in run_vectors(session, "unknown", style="number")][:2] == ["prompt_0", "prompt_0_sweep=-20"]
    np.savez(tmp_path / "w.npz", **{"core_id=a_type=b=c_sweep=1": rows[0], "core_id=a_type=b_sweep=1": rows[1]})
    odd = import_session([tmp_path / "w.npz"]).session
    assert [key_cells(key)["type"] for key, _ in run_vectors(odd, "unknown", style="factors")] == ["b=c", "b"]


def test_a_frame_has_every_run_once(tmp_path: Path) -> None:
    rows = vectors(len(grid()))
    np.savez(tmp_path / "v.npz", **{marked(*cells): row for cells, row in zip(grid(), rows, strict=True)})
    write_table(tmp_path / "t.tsv", [(*cells, "p", "" if i else "a") for i, cells in enumerate(grid())])
    session = import_session([tmp_path]).session
    frame = session.frame()
    assert list(frame["text"]) == [run.text for run in session.runs]
    assert {name: str(frame[name].dtype) for name in ("factor_core_id", "condition", "value", "tokens")} == {
        "factor_core_id": "category", "condition": "category", "value": "float64", "tokens": "Int64",
    }  # fmt: skip
    lines = csv.DictReader(io.StringIO(runs_csv(session).decode(), newline=""))
    assert [line["factor_type"] for line in lines] == list(frame["factor_type"])
    assert list(session.frame("effects")["value"]) == ["baseline", "-20", "+0.5"]
    with pytest.raises(ExplorerError, match="it has no plane"):
        session.frame("curves")
    with pytest.raises(ExplorerError, match="curves"):
        session.frame("curve")  # pyright: ignore[reportArgumentType]
