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
from srm_explorer.engine.analyses.planes import with_plane
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.groups import swept_groups
from srm_explorer.engine.figures.table import PlaneChoice
from srm_explorer.engine.io.arrays import write_npz
from srm_explorer.engine.io.files import long_fields
from srm_explorer.engine.session import Session, load_session, save_session, units_of
from srm_explorer.engine.session.export import export, run_vectors, runs_csv, runs_parquet
from srm_explorer.engine.session.imported import session_from
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
    kind = np.dtype(data.draw(st.sampled_from(["<f4", ">f4", "<f2", "<f8", "<i2"])))
    bits = data.draw(st.binary(min_size=8 * len(keys), max_size=8 * len(keys)))
    rows = np.frombuffer(bits, kind if kind.itemsize < 8 else "<f4").reshape(len(keys), -1)
    if kind.itemsize == 8:
        with np.errstate(invalid="ignore"):
            rows = rows.astype(kind) / 3
    write_npz(folder / "in.npz", zip(keys, rows, strict=True))
    session = saved(import_session([folder / "in.npz"]).session, folder)
    write_npz(folder / "out.npz", run_vectors(session, "unknown"))
    again = import_session([folder / "out.npz"]).session
    with np.load(folder / "out.npz") as out:
        assert list(out) == keys
        for key, row in zip(keys, rows, strict=True):
            assert np.array_equal(out[key], row, equal_nan=kind.kind == "f")
            if kind.itemsize > 2 and kind.kind == "f":
                assert (out[key].dtype, out[key].tobytes()) == (kind, row.tobytes())
    assert (again.prompts, again.runs, again.conditions) == (session.prompts, session.runs, session.conditions)
    assert {name: again.provenance["imported"].get(name) for name in ("ids", "kinds", "unknown")} == {
        name: session.provenance["imported"].get(name) for name in ("ids", "kinds", "unknown")
    }


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


hostile = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["", "=1", "'", '"', "a\r\nb\rc\nd\te", "\x00\x1b", "x" * 200_000]
)


@settings(max_examples=30)
@given(
    rows=st.lists(
        st.tuples(names, names, st.integers(1, 5), st.sampled_from(["baseline", "-20", "named"]), hostile, hostile),
        min_size=1, max_size=5, unique_by=lambda row: row[:4],
    ),
    ending=st.sampled_from(["csv", "tsv"]),
)  # fmt: skip
def test_texts_go_out_in_the_columns_they_came_in(
    rows: list[tuple[Any, ...]], ending: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("columns")
    write_table(folder / f"in.{ending}", [tuple(map(str, row)) for row in rows])
    session = saved(import_session([folder / f"in.{ending}"]).session, folder)
    export(session, csv=folder / f"out.{ending}", keys="factors")
    mark = "\t" if ending == "tsv" else ","
    with (folder / f"out.{ending}").open(newline="", encoding="utf-8") as file, long_fields():
        heading, *cells = csv.reader(file, delimiter=mark)
    assert tuple(heading) == COLUMNS
    assert cells == [list(map(str, row)) for row in rows]
    again = import_session([folder / f"out.{ending}"]).session
    assert (again.prompts, again.runs, again.conditions) == (session.prompts, session.runs, session.conditions)


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
    np.savez(tmp_path / "one.npz", **{"blocks.1.mlp.hook_post": post[0], "blocks.1.hook_resid_post": stream[0]})
    one = import_session([tmp_path / "one.npz"]).session.vectors()
    assert {site: held.tobytes() for site, held in one.items()} == {
        "blocks.1.mlp.hook_post": post[0].tobytes(), "blocks.1.hook_resid_post": stream[0].tobytes(),
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
        ("t.csv", b"", r"t\.csv: the file is empty"),
        ("t.csv", b"core_id,value,output\n1,2,a\n1,x,b\n", r"t\.csv, line 3: its value is no finite number"),
        ("t.tsv", b"core_id\tsweep\toutput\n1\tcontrol\ta\n", r"t\.tsv, line 2: 'control' is what groups of runs"),
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
    effects = session.frame("effects")
    assert list(effects["value"]) == ["baseline", "-20", "+0.5"]
    assert (str(effects["runs"].dtype), str(effects["changed"].dtype)) == ("Int64", "float64")
    with pytest.raises(ExplorerError, match="it has no plane"):
        session.frame("curves")
    with pytest.raises(ExplorerError, match="curves"):
        session.frame("curve")  # pyright: ignore[reportArgumentType]


def test_metadata_of_a_folder_beside_says_the_site(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for folder in ("vectors", "metadata"):
        (run / folder).mkdir(parents=True)
    np.savez(run / "vectors" / "v.npz", prompt_0=vectors(1)[0], __metadata__=np.array({"a": 1}, dtype=object))
    said = {"model_name": "gpt2", "capture_hook": "blocks.11.mlp.hook_post", "sweep_values_parsed": [None, -20]}
    (run / "metadata" / "run_metadata_x.json").write_text(json.dumps(said))
    for chosen in (run, run / "vectors" / "v.npz"):
        done = import_session([chosen])
        assert done.session.spec.capture.sites == ("blocks.11.mlp.hook_post",)
        assert done.session.provenance["imported"]["metadata"] == {"run_metadata_x.json": said}
        assert any("run_metadata_x.json says so" in note for note in done.notes)
        assert [key for key, _ in done.skipped] == ["v.npz: __metadata__"]
    np.savez(tmp_path / "w.npz", **{"prompt_0_sweep=3": vectors(1)[0]})
    both = import_session([tmp_path])
    assert both.session.spec.capture.sites == ("unknown",)
    assert any("of other files nothing does" in note for note in both.notes)
    named = import_session([run], site="blocks.2.mlp.hook_post")
    assert named.session.spec.capture.sites == ("blocks.2.mlp.hook_post",)


def test_metadata_beside_the_vectors_says_what_was_clamped_where_the_keys_tell_the_values(tmp_path: Path) -> None:
    said = {"capture_hook": "blocks.1.mlp.hook_post", "intervention_hook": "blocks.1.mlp.hook_post", "target_neuron": 3}
    (tmp_path / "run_metadata_x.json").write_text(json.dumps(said))
    np.savez(tmp_path / "v.npz", **{f"core_id=a_sweep={sweep}": vectors(1)[0] for sweep in ("baseline", -2.5, 20)})
    done = import_session([tmp_path])
    (edit,) = done.session.spec.interventions
    assert (str(edit.site), edit.neurons, edit.op, edit.values) == ("blocks.1.mlp.hook_post", (3,), "clamp", (-2.5, 20))
    assert any("neuron 3 of blocks.1.mlp.hook_post was clamped: run_metadata_x.json says so" in it for it in done.notes)
    given = [{"site": "blocks.1.mlp.hook_post", "neurons": [4], "op": "clamp"}]
    assert import_session([tmp_path], interventions=given).session.spec.interventions[0].neurons == (4,)
    np.savez(tmp_path / "v.npz", **{"core_id=a_sweep=baseline": vectors(1)[0], "core_id=a_sweep=loud": vectors(1)[0]})
    assert import_session([tmp_path]).session.spec.interventions == (), "no number is told for a condition"
    (tmp_path / "run_metadata_y.json").write_text(json.dumps({**said, "target_neuron": 4}))
    np.savez(tmp_path / "v.npz", **{f"core_id=a_sweep={sweep}": vectors(1)[0] for sweep in ("baseline", 20)})
    assert import_session([tmp_path]).session.spec.interventions == (), "two files tell of two neurons"


def test_what_is_known_of_vectors_goes_out_beside_them(tmp_path: Path) -> None:
    there, out, further = (tmp_path / name for name in ("there", "out", "further"))
    for folder in (there, out, further):
        folder.mkdir()
    np.savez(there / "v.npz", prompt_0=vectors(1)[0])
    said = {"capture_hook": "blocks.1.mlp.hook_post", "note": "é\n", "values": [None, 1.5]}
    (there / "run_metadata_a.json").write_text(json.dumps(said))
    session = saved(import_session([there]).session, tmp_path)
    for folder in (out, out):
        export(session, npz=folder / "v.npz")
    again = import_session([out]).session
    assert again.provenance["imported"] == session.provenance["imported"]
    assert again.spec.capture == session.spec.capture
    told = import_session([there / "v.npz"], site="blocks.2.mlp.hook_post").session
    plain = told.changed(provenance={"imported": {**told.provenance["imported"], "metadata": {}}})
    export(plain, npz=further / "w.npz")
    assert import_session([further]).session.spec.capture.sites == ("blocks.2.mlp.hook_post",)


def test_a_matrix_without_keys_takes_the_texts_in_their_order(tmp_path: Path) -> None:
    rows = vectors(6)
    np.save(tmp_path / "v.npy", rows)
    texts = [(str(i // 2), ("baseline", "20")[i % 2], f"p{i // 2}", f"o{i}") for i in range(6)]
    write_table(tmp_path / "t.csv", texts, ("core_id", "sweep", "prompt", "output"))
    done = import_session([tmp_path])
    assert [run.text for run in done.session.runs] == [text[3] for text in texts]
    assert (len(done.session.prompts), done.session.vectors()["unknown"].tobytes()) == (3, rows.tobytes())
    assert any("the first row is that of the first vector" in note for note in done.notes)
    write_table(tmp_path / "t.csv", texts[1:], ("core_id", "sweep", "prompt", "output"))
    with pytest.raises(ExplorerError, match=r"t\.csv: it has 5 rows for 6 vectors"):
        import_session([tmp_path])


def test_a_parquet_file_holds_vectors_in_lists_or_a_column_a_coordinate(tmp_path: Path) -> None:
    import pyarrow as pa  # the library takes a while, and few tests need it
    import pyarrow.parquet as pq

    rows = vectors(4, 9)
    cells = {"core_id": [1, 1, 2, 2], "sweep": ["baseline", "20"] * 2, "output": ["a", "", "b", "c"]}
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), 9)
    for column in (pa.array(list(map(list, rows)), pa.list_(pa.float32())), fixed):
        pq.write_table(pa.table({**cells, "blocks.1.mlp.hook_post": column}), tmp_path / "v.parquet")
        session = import_session([tmp_path / "v.parquet"]).session
        assert session.vectors()["blocks.1.mlp.hook_post"].tobytes() == rows.tobytes()
        assert [run.text for run in session.runs] == cells["output"]
        assert [prompt.factors for prompt in session.prompts] == [{"core_id": "1"}, {"core_id": "2"}]
    lists = [list(rows[0]), None, list(rows[2]), list(rows[3])]
    pq.write_table(pa.table({"key": [f"prompt_{i}" for i in range(4)], "v": pa.array(lists)}), tmp_path / "v.parquet")
    held = import_session([tmp_path / "v.parquet"]).session.vectors()["unknown"]
    assert np.isnan(held[1]).all()
    assert np.array_equal(held[[0, 2, 3]], rows[[0, 2, 3]])
    spread = {f"{i}": rows[:, i] for i in range(9)}
    pq.write_table(pa.table({"prompt": list("abcd"), **spread}), tmp_path / "v.parquet")
    session = import_session([tmp_path / "v.parquet"]).session
    assert session.vectors()["unknown"].tobytes() == rows.tobytes()
    assert [prompt.text for prompt in session.prompts] == list("abcd")


def test_headings_of_other_programs_are_understood(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(
        '\ufeff;Core_ID; type ;SWEEP;output\r\n0;7;a;baseline;x\r\n1;7;a;20;"y;\r\nz"\r\n'.encode()
    )
    done = import_session([tmp_path / "t.csv"])
    assert [prompt.factors for prompt in done.session.prompts] == [{"core_id": "7", "type": "a"}]
    assert [run.text for run in done.session.runs] == ["x", "y;\r\nz"]
    assert done.skipped == (("t.csv: column 1", "has no name, as the index of a frame has none"),)


def test_runs_that_nothing_tells_apart_are_samples_and_said_to_be(tmp_path: Path) -> None:
    rows = vectors(2)
    np.savez(tmp_path / "v.npz", **{"prompt_0_sweep=-10": rows[0], "prompt_0_sweep=-10.0": rows[1]})
    done = import_session([tmp_path / "v.npz"])
    assert [run.sample for run in done.session.runs] == [0, 1]
    assert ["v.npz: prompt_0_sweep=-10.0" in note for note in done.notes] == [True]


def test_a_cache_of_every_hook_is_one_vector_a_prompt_and_site(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shapes = {"hook_embed": (2, 3, 4), "blocks.0.hook_resid_pre": (2, 3, 4), "blocks.0.mlp.hook_post": (2, 3, 9)}
    cache = {key: random.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    np.savez(tmp_path / "c.npz", **cache, **{"blocks.0.attn.hook_pattern": np.zeros((2, 1, 3, 3), np.float32)})
    done = import_session([tmp_path / "c.npz"], reduce="last")
    held = {site.removeprefix("unknown."): rows.tobytes() for site, rows in done.session.vectors().items()}
    assert held == {key: array[:, -1].tobytes() for key, array in cache.items()}
    assert [key for key, _ in done.skipped] == ["c.npz: blocks.0.attn.hook_pattern"]


def test_a_number_that_is_too_large_is_refused_with_its_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", prompt_0=np.ones(3), prompt_1=np.array([1, 1e300, 1]))
    with pytest.raises(ExplorerError, match=r"v\.npz: prompt_1: some number is beyond float32"):
        import_session([tmp_path / "v.npz"])
    np.savez(tmp_path / "flags.npz", prompt_0=np.array([True, False]))
    assert import_session([tmp_path / "flags.npz"]).session.vectors()["unknown"].tolist() == [[1, 0]]


def test_directions_of_planes_beside_captures_are_no_runs(tmp_path: Path) -> None:
    np.savez(tmp_path / "basis_x.npz", basis_1=vectors(1)[0], basis_2=vectors(1)[0])
    np.savez(tmp_path / "v.npz", prompt_0=vectors(1)[0])
    done = import_session([tmp_path])
    assert ([path.name for path in done.files], len(done.session.runs)) == (["v.npz"], 1)
    assert "directions that span planes" in done.unread[0]
    assert len(import_session([tmp_path / "basis_x.npz"]).session.runs) == 2


def test_labels_beside_a_matrix_are_no_vectors(tmp_path: Path) -> None:
    rows = vectors(5, 8)
    np.savez(tmp_path / "v.npz", a_label=np.arange(5), vectors=rows)
    done = import_session([tmp_path / "v.npz"])
    assert done.session.vectors()["unknown"].tobytes() == rows.tobytes()
    assert [key for key, _ in done.skipped] == ["v.npz: a_label"]


def test_an_import_tells_how_far_it_is_and_stops_where_it_is_told_to(tmp_path: Path) -> None:
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", **{f"prompt_{i}": row for i, row in enumerate(vectors(600, 2))})
    seen: list[tuple[str, int, int, int]] = []
    import_session([tmp_path], told=lambda at: seen.append((at.file.name, at.number, at.files, at.vectors)))
    assert seen == [("a.npz", 1, 2, 0), ("a.npz", 1, 2, 500), ("b.npz", 2, 2, 600), ("b.npz", 2, 2, 1100)]

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_session([tmp_path], told=stop)


def counts_of_a_published_sweep(
    vectors: dict[str, np.ndarray], begins: str, holds: str | None, a: int, b: int
) -> dict[float, list[int]]:
    """What scripts of numpy alone do: keys by how they begin and what they hold, a loop over degrees, cosines above."""
    rows = np.array(
        [row for key, row in vectors.items() if key.startswith(begins) and ((holds or "=") in key) == bool(holds)]
    )
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    first, second = np.eye(rows.shape[1])[[a, b]]
    counts: dict[float, list[int]] = {threshold: [] for threshold in (0.7, 0.5, 0.3, 0.1)}
    for degree in np.linspace(0, 360, 360, endpoint=False):
        angle = np.radians(degree)
        similarities = rows @ (np.cos(angle) * first + np.sin(angle) * second)
        for threshold, listed in counts.items():
            listed.append(int(np.sum(similarities > threshold)))
    return counts


@pytest.mark.parametrize("style", [None, "factors"])
def test_a_published_sweep_reads_our_vectors_and_counts_the_same(tmp_path: Path, style: str | None) -> None:
    random = np.random.default_rng(5)
    rows = random.normal(size=(40, 6)) * np.array([3, 1, 1, 2, 1, 1])
    factors = [{"core_id": f"07_x_{i // 4}", "type": "a_b", "level": "2"} for i in range(40)]
    runs = [{**cells, "sweep": ("baseline", -10, 0, 10)[i % 4]} for i, cells in enumerate(factors)]
    session = session_from(rows.astype(np.float32), runs)
    session = with_plane(session, session.vectors()["unknown"], PlaneChoice("unknown", 0, 3))
    write_npz(tmp_path / "ours.npz", run_vectors(session, "unknown", style=style))  # pyright: ignore[reportArgumentType]
    with np.load(tmp_path / "ours.npz") as archive:
        theirs = {key: archive[key] for key in archive.files}
    begins = "core_id=" if style else "prompt_"
    for label, holds in (
        ("baseline", "_sweep=baseline" if style else None),
        ("intervened", None),
        ("-10", "_sweep=-10"),
    ):
        if label == "intervened":
            chosen = {key: row for key, row in theirs.items() if "sweep=" in key and "baseline" not in key}
            counted = counts_of_a_published_sweep(chosen, begins, "sweep=", 0, 3)
        else:
            counted = counts_of_a_published_sweep(theirs, begins, holds, 0, 3)
        grouping = ("condition",) if label == "-10" else ()
        groups = {group.label: group.sweep for group in swept_groups(session, session.planes[0], grouping)}
        sweep = groups[label]
        for threshold, ours in zip(sweep.thresholds, sweep.counts.tolist(), strict=True):
            assert counted[threshold] == ours
