"""`srm-explorer survey`, and surveys in what other commands write."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import srm_explorer
from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.session import Session
from srm_explorer.engine.stats.survey import rank_family
from tests.surveyed import begun, surveyed

ENDED = Callable[..., Any]


@pytest.fixture
def many() -> Session:
    """A survey of 40 neurons, of which it went on with 5."""
    return surveyed(paths.session_path("many"), planted={(1, 7): 6.0, (1, 20): 30.0}, then=5)


def listed(srm: ENDED) -> tuple[str, dict[str, Any]]:
    """What the list of sessions says of the only one, and what `--json` does."""
    (session,) = json.loads(srm("sessions", "--json").out)["sessions"]
    return srm("sessions").out.splitlines()[1], session


def test_how_far_a_survey_is_is_told_in_neurons(srm: ENDED, tmp_path: Path) -> None:
    path = paths.session_path("many")
    session = surveyed(path, done=10)
    line, told = listed(srm)
    assert "10 of 40 neurons  interrupted" in line
    assert told["neurons"] == {"scored": 10, "to_score": 40, "written": 0, "to_write": 0}
    assert "interrupted: 12 of 12 runs of the baseline, 10 of 40 neurons scored" in srm("show", "many").out
    packed = srm("sessions", "pack", "many", "-o", tmp_path / "many.srm.zip")
    assert "12 of 12 runs of the baseline, 10 of 40 neurons scored are finished and in it" in packed.err
    assert "goes on with" not in srm("sessions").err, "its run folder is gone"
    with begun(session, parts=2):
        assert "20 of 40 neurons  running" in listed(srm)[0], "what is not saved yet is kept too"
    assert "20 of 40 neurons  interrupted" in listed(srm)[0]
    for file in path.parent.glob("many.*"):
        if file.is_file():
            file.unlink()
    assert "20 of 40 neurons  unfinished" in listed(srm)[0]
    assert "goes on with the command that began it" in srm("sessions").err


def test_a_survey_without_its_tables_is_listed_by_its_neurons_too(srm: ENDED, many: Session) -> None:
    paths.session_path("many").with_suffix(".safetensors").unlink()
    line, told = listed(srm)
    assert "  40 neurons  finished" in line
    assert told["neurons"] == {"scored": 40, "to_score": 40, "written": 5, "to_write": 5}


def test_a_survey_is_told_the_named_neuron_first(srm: ENDED, many: Session) -> None:
    assert listed(srm)[0].startswith("many  40 neurons  finished")
    ended = srm("survey", "many")
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "L1 n7 among the others"
    assert "… and 20 more rows; --csv FILE writes all" in lines
    assert any("KL, nats a token of 40 neurons" in line for line in lines)
    told = json.loads(srm("survey", "many", "--json", "--neuron", "1.20", "--measure", "flips").out)
    assert (told["session"], told["depth"], told["depths"]) == ("many", "forced", ["forced", "free"])
    first, written, named, tokens = told["tables"]
    assert first["rows"][0]["neuron"] == 20
    assert len(written["rows"]) == 5
    assert named["title"].startswith("L1 n20")
    assert tokens["rows"][0] == {"value": "-4", "promoted": "' door'", "demoted": r"'\u202e'"}
    assert lines.index("Tokens that L1 n7 promotes and demotes") < lines.index(
        next(line for line in lines if "40 neurons" in line)
    )
    free = srm("survey", "many", "--depth", "free", "--chart", "none", "--top", 1).out
    assert "texts written" in free
    assert "scored" not in free
    # Only the experiment's own neuron is one that it names.
    unlike = srm("survey", "many", "--depth", "free", "--neuron", "3", "--chart", "none").out
    assert "L1 n3 is none of those that the survey went on with" in unlike
    # A measure of written texts alone tells the depth.
    written = json.loads(srm("survey", "many", "--json", "--measure", "changed").out)
    assert (written["depth"], len(written["tables"][0]["rows"])) == ("free", 5)


def test_its_csv_has_one_heading_and_a_row_a_layer_neuron_and_value(srm: ENDED, many: Session, tmp_path: Path) -> None:
    file, same, tabs = tmp_path / "s.csv", tmp_path / "t.csv", tmp_path / "s.tsv"
    ended = srm("survey", "many", "--csv", file, "--chart", "none")
    assert ended.err == f"srm-explorer: a row a layer, neuron and value written to {file}\n"
    rows = list(csv.DictReader(file.open()))
    assert [(row["layer"], row["neuron"], row["value"]) for row in rows] == [
        ("1", str(neuron), value) for neuron in range(40) for value in ("-4.0", "8.0")
    ]
    assert srm("export", "many", "--survey", "--csv", same).out == f"80 rows of the survey written to {same}\n"
    assert same.read_bytes() == file.read_bytes()
    assert srm("survey", "many", "--csv", tabs, "--chart", "none").status == 0
    assert tabs.read_bytes().splitlines()[0] == file.read_bytes().splitlines()[0].replace(b",", b"\t")


def test_neurons_are_ranked_once_for_the_tables_and_the_csv(
    srm: ENDED, many: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked: list[Any] = []

    def counting(effects: Any) -> Any:
        ranked.append(effects)
        return rank_family(effects)

    monkeypatch.setattr("srm_explorer.engine.analyses.surveyed.rank_family", counting)
    for further in ((), ("--texts", "all")):
        asked = ("survey", "many", "--chart", "none", *further)
        assert srm(*asked).status == 0
        alone = len(ranked)
        assert srm(*asked, "--csv", tmp_path / "s.csv").status == 0
        assert len(ranked) == 2 * alone > 0
        ranked.clear()


def test_a_notebook_and_parquet_have_the_same_rows(srm: ENDED, many: Session, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    frame = many.frame("survey")
    assert srm("export", "many", "--survey", "--parquet", tmp_path / "s.parquet").status == 0
    table = parquet.read_table(tmp_path / "s.parquet").to_pydict()
    assert list(table) == list(frame.columns)
    np.testing.assert_array_equal(table["forced_kl"], frame["forced_kl"])
    assert frame["free_rank"].notna().sum() == 10
    assert srm_explorer.export(many, csv=tmp_path / "n.csv", survey=True) == 80
    with pytest.raises(ExplorerError, match="npz, controls: of runs"):
        srm_explorer.export(many, npz=tmp_path / "n.npz", controls=True, survey=True)
    found = srm_explorer.study("survey", many, depth="free")
    assert found.frame(0)["neuron"].tolist()[:2] in ([7, 20], [20, 7])


@pytest.mark.process  # matplotlib may ask the system for its fonts
@pytest.mark.parametrize("chart", ["map", "distribution"])
def test_its_charts_are_figures(srm: ENDED, many: Session, tmp_path: Path, chart: str) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "f.svg"
    ended = srm("survey", "many", "--chart", chart, "--figure", file)
    assert (ended.status, ended.err) == (0, f"srm-explorer: the {chart} of many written to {file}\n")
    assert ">n7" in file.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["many", "--value", "9"], "there is no value '9'; choose one of -4, +8"),
        (["many", "--neuron", "99"], "neuron 1.99 was not surveyed"),
        (["many", "--neuron", "a b"], "names no neuron; write 373"),
        (["many", "--depth", "free", "--measure", "kl"], "measure is 'kl'; choose one of changed, change"),
        (["many", "--open", "1.99"], "neuron 1.99 was not surveyed"),
        (["many", "--open", "1..3"], "'1..3' names no neuron; write 373"),
        (["demo"], "no neurons are named to survey; give --neurons all"),
        (["demo", "--neurons", "5..2"], "--neurons: '5..2' runs downwards; write 2..5"),
        (["demo", "--neurons", "top:0"], "--neurons: 'top:0' is no neuron"),
        (["demo", "--neurons", "none.csv"], "none.csv: there is no such file"),
        (["demo", "--then", "top:5"], "--then: no neurons are surveyed"),
        (["demo", "--neurons", "all", "--then", "5"], "--then: '5' does not say how many go on; write top:50"),
        (["demo", "--neurons", "all", "--then", "top:0"], "--then: 'top:0' does not say how many go on; write top:50"),
        (
            ["demo", "--neurons", "all", "--then", "top:5", "--set", "prompts.limit=1", "--plan"],
            "survey.then: neurons are chosen on half of the prompts and written under on the others, and there is one",
        ),
        (["demo", "--neurons", "4.20", "--layers", "3"], "every neuron is named with its layer already; leave it out"),
        (["demo", "--neurons", "all", "--layers", "top:3"], "--layers: 'top:3' names no layers"),
        (["demo", "--neurons", "all", "--set", "controls.neurons=3"], "every neuron of a survey is the control"),
        (["nosuch", "--neurons", "all"], "there is no preset 'nosuch'"),
    ],
)
def test_what_cannot_be_is_one_line_with_a_remedy(srm: ENDED, many: Session, arguments: list[str], said: str) -> None:
    ended = srm("survey", *arguments)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
    assert said in ended.err
    assert "; " in ended.err


def test_what_a_survey_has_of_its_own_is_left_out_where_a_neuron_of_it_is_opened(srm: ENDED, many: Session) -> None:
    ended = srm("survey", "many", "--open", "1.7", "--layers", "1", "--set", "generation.tokens=3")
    assert ended.status == 2
    assert "leave out --layers, --set" in ended.err


def test_a_neuron_of_a_survey_is_opened_under_any_name(srm: ENDED, many: Session) -> None:
    plan = srm("survey", "many", "--open", "1.7", "--session", "mine", "--plan")
    assert plan.status == 0, plan.err
    paths.session_path("mine").write_text("{}")
    # It is refused as what it is: no session of this neuron, and nothing of it is lost.
    assert "mine" in srm("survey", "many", "--open", "1.7", "--session", "mine").err


def test_its_cost_is_told_and_nothing_runs(srm: ENDED, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("some.txt").write_text("3\n20\n488\n", encoding="utf-8")
    asked = ("--neurons", "some.txt", "--then", "top:2", "--set", "model.name=gpt2", "--layers", "3..5", "--plan")
    plan = json.loads(srm("survey", "demo", *asked, "--json").out)
    prompts, values = plan["prompts"], 7
    assert (plan["neurons"], plan["values"]) == (9, values)
    assert plan["texts_scored"] == 9 * values * prompts
    assert plan["runs"] == prompts + 2 * values * prompts // 2
    assert plan["tokens"] == plan["runs"] * 50
    assert 0 < plan["disk"] < 1e6
    line = srm("survey", "demo", *asked).out
    assert line.startswith("9 neurons × 7 values · 3,150 texts scored · 400 runs · 20,000 tokens")
    assert " on disk" in line
    assert not list(paths.sessions_folder().glob("*"))
