"""`srm-explorer effects` scores a session once, shows what is stored after that, and needs no model for the rest."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from srm_explorer.engine.launch.watch import Watch
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.session import Session, load_session

if TYPE_CHECKING:
    from .conftest import Ended

SPEC = """
[model]
name = "demo"
device = "cpu"
[prompts]
sets = ["texts.txt"]
[[interventions]]
site = "blocks.5.mlp.hook_post"
neurons = [3]
op = "clamp"
values = [-6, 6]
[generation]
tokens = 13
[capture]
sites = ["blocks.5.hook_resid_post"]
"""


def test_without_a_model_it_tells_of_the_texts_alone(save: Callable[..., Session], srm: Callable[..., Ended]) -> None:
    save("storm")
    ended = srm("effects", "storm", "--no-score")
    assert ended.status == 0
    assert "not scored yet: `srm-explorer effects storm --score`" in ended.out
    assert "harmed" in ended.out
    assert "rescued" in ended.out
    assert "KL" not in ended.out.partition("\n  ")[0]


def test_a_rule_alone_needs_no_model_and_its_csv_is_a_row_a_value(
    save: Callable[..., Session], srm: Callable[..., Ended], tmp_path: Path
) -> None:
    session = save("storm")
    for rule in ("published", "calibrated"):
        file = tmp_path / f"{rule}.csv"
        ended = srm("effects", "storm", "--rule", rule, "--csv", file)
        assert ended.status == 0
        assert f"Texts that collapse, by the {rule} rule" in ended.out
        assert "of texts with nothing changed it called collapsed" in ended.out
        rows = list(csv.DictReader(io.StringIO(file.read_text())))
        assert [row["value"] for row in rows] == [condition.label for condition in session.conditions]
        assert {"runs", "collapsed", "rescued", "harmed"} <= set(rows[0])
        assert (rows[0]["value"], rows[0]["rescued"], rows[0]["harmed"]) == ("baseline", "", "")
        assert sum(int(row["runs"]) for row in rows) == len(session.runs)
        told = json.loads(srm("effects", "storm", "--rule", rule, "--json").out)
        assert (told["rule"], told["tables"][0]["name"]) == (rule, "collapsed")
        assert [row["collapsed"] for row in told["tables"][0]["rows"]] == [int(row["collapsed"]) for row in rows]
    assert load_session(session.path).revision == session.revision
    planned = srm("effects", "storm", "--rule", "published", "--family", "planned").out
    assert "in family planned" in planned
    assert "rule" in srm("effects", "storm", "--rule", "strict").err
    assert srm("effects", "storm", "--rule", "published", "--tokens", " a").status == 2


def test_it_scores_once_and_then_shows_what_is_stored(
    tmp_path: Path, srm: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts.txt").write_text("The man opened the door\nTwo\nShe turned to see who it was\n")
    (tmp_path / "spec.toml").write_text(SPEC)
    file = tmp_path / "out.json"
    assert srm("run", tmp_path / "spec.toml", "--session", file).status == 0
    table, vectors = tmp_path / "e.csv", tmp_path / "v.npz"
    show = Watch.show

    def interrupted(watch: Watch, progress: Progress) -> None:
        show(watch, progress)
        if progress.runs_done and progress.stage == "running":
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Watch, "show", interrupted)
        stopped = srm("effects", file)
    assert stopped.status == 130
    assert re.search(r"scoring stopped after \d+ of 11: nothing of it is saved", stopped.err), stopped.err
    assert load_session(file).revision == 1
    first = srm("effects", file, "--csv", table, "--npz", vectors)
    assert first.status == 0, first.err
    assert "What acts directly" in first.out
    assert "written to" in first.err
    assert vectors.is_file()
    scored = load_session(file)
    assert scored.revision == 2
    again = srm("effects", file, "--json")
    assert load_session(file).revision == 2, "nothing was scored again"
    with monkeypatch.context() as patch:
        # The widest tables that there are, on the terminal that everybody has.
        patch.setattr("srm_explorer.tui.cli.tables.table_width", lambda: 80)
        shown = srm("effects", file).out
    assert "Units harmed and rescued" in shown
    assert max(map(cell_len, shown.splitlines())) <= 80
    told = json.loads(again.out)
    assert told["scored"]
    named = {one["name"]: one for one in told["tables"]}
    assert [row["value"] for row in named["effects"]["rows"]] == ["-6", "+6"]
    assert all(row["kl"] > 0 for row in named["effects"]["rows"])
    header, *rows = csv.reader(io.StringIO(table.read_text().split("\n\n")[0]))
    assert header[:2] == ["value", "units"]
    assert float(rows[0][header.index("kl")]) == named["effects"]["rows"][0]["kl"]

    of_tokens = srm("effects", file, "--tokens", " he, she", "--json")
    told = json.loads(of_tokens.out)
    assert (told["tokens"], told["over"]) == ([" he", " she"], "first")
    named = {one["name"]: one for one in told["tables"]}
    assert [row["difference"] for row in named["difference"]["rows"]] == ["' he' - ' she'"] * 2
    for row in named["direct"]["rows"]:
        assert row["direct"] + row["norm"] == pytest.approx(row["observed"], abs=1e-4), "it is the last layer"
    assert load_session(file).revision == 2
    split = srm("effects", file, "--tokens", " he, hippopotamus")
    assert (split.status, split.out) == (1, "")
    assert "' hippopotamus' is not one token of this model but" in split.err
    assert len(split.err.strip().splitlines()) == 1
    for mixed in (("--tokens", " he", "--score"), ("--over", "text")):
        assert srm("effects", file, *mixed).status == 2

    given = tmp_path / "given.txt"
    given.write_text(" and went away\n")
    assert srm("effects", file, "--text", given, "--json").status == 0
    assert load_session(file).effects["given"] == " and went away"


def test_what_cannot_be_scored_is_one_line(
    save: Callable[..., Session], srm: Callable[..., Ended], tmp_path: Path
) -> None:
    save("storm")
    (tmp_path / "empty.txt").write_text("\n")
    for arguments in (
        ["nothing"],
        ["storm", "--text", tmp_path / "none.txt"],
        ["storm", "--text", tmp_path / "empty.txt"],
    ):
        ended = srm("effects", *arguments)
        assert ended.status == 1
        assert len(ended.err.strip().splitlines()) == 1


def test_patching_is_printed_side_by_side(tmp_path: Path, srm: Callable[..., Ended]) -> None:
    (tmp_path / "texts.csv").write_text(
        "prompt,pair,answer\nAnna ran,a,she\nRobert ran,a,he\nThe man,b,he\nA girl,b,she\n"
    )
    patch = 'op = "patch"\nfrom = { prompt = "pair" }\npositions = "last"'
    spec = SPEC.replace('op = "clamp"\nvalues = [-6, 6]', patch).replace("texts.txt", "texts.csv")
    (tmp_path / "spec.toml").write_text(spec.replace("tokens = 13", "tokens = 1"))
    file = tmp_path / "out.json"
    assert srm("run", tmp_path / "spec.toml", "--session", file).status == 0
    told = json.loads(srm("patching", file, "--answer", "answer", "--csv", tmp_path / "p.csv", "--json").out)
    assert told["difference"] == "answer - the other's answer"
    patching, patched = told["tables"]
    assert [row["done"].partition(" (")[2] for row in patching["rows"]] == ["sufficiency)", "necessity)", "necessity)"]
    assert len(patched["rows"]) == 4
    assert (tmp_path / "p.csv").read_text().startswith("value,done,units")
    text = srm("patching", file, "--tokens", " she, he")
    assert text.out.startswith("Sufficiency and necessity: ' she' - ' he'")
    none = srm("patching", file)
    assert (none.status, none.err.count("\n")) == (1, 1)
    assert "no difference of logits is named" in none.err
