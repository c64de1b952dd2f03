from __future__ import annotations

import csv
import io
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.launch.start import outcome_line
from srm_explorer.engine.launch.watch import Watch, stoppable
from srm_explorer.engine.runs import Outcome
from srm_explorer.engine.runs.journal import JournalWriter
from srm_explorer.engine.runs.journal_records import RunStart
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.session import Session, load_session
from srm_explorer.engine.session.standing import Standing

SITE, RESIDUAL = "blocks.1.mlp.hook_post", "blocks.1.hook_resid_post"
CLAMP = {"site": SITE, "neurons": [3], "op": "clamp", "values": [-3, 20]}

KEYS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "values": (
        {"interventions": [{**CLAMP, "values": [-3, 0, 0.5, 20]}]},
        ["", "_sweep=-3", "_sweep=0", "_sweep=0.5", "_sweep=20"],
    ),
    "no strength": ({"interventions": [{"site": SITE, "neurons": [3], "op": "zero"}]}, ["", "_sweep=zero"]),
    "two alike": (
        {"interventions": [CLAMP, {**CLAMP, "neurons": [4]}]},
        ["", "_sweep=-3", "_sweep=20"],
    ),
    "two that differ": (
        {"interventions": [CLAMP, {**CLAMP, "neurons": [4], "values": [1, 2]}]},
        ["", "_sweep=-3, +1", "_sweep=+20, +2"],
    ),
    "a background": (
        {"interventions": [CLAMP, {"site": SITE, "neurons": [4], "op": "clamp", "values": [1], "background": True}]},
        ["", "_sweep=reference", "_sweep=-3", "_sweep=20"],
    ),
    "samples": (
        {"interventions": [CLAMP], "samples": 2},
        [f"{value}_sample={k}" for value in ("", "_sweep=-3", "_sweep=20") for k in (0, 1)],
    ),
    "nothing": ({"interventions": []}, [""]),
}


@pytest.mark.parametrize("kind", KEYS)
def test_an_exported_vector_says_its_prompt_and_condition(
    srm: Callable[..., Any], save: Callable[..., Session], tmp_path: Path, kind: str
) -> None:
    told, names = KEYS[kind]
    session = save(prompts=3, **told)
    assert srm("sessions", "export", "storm", "--npz", tmp_path / "v.npz").status == 0
    with np.load(tmp_path / "v.npz") as loaded:
        assert list(loaded) == [f"prompt_{i}{name}" for i in range(3) for name in names]
        np.testing.assert_array_equal(np.stack([loaded[key] for key in loaded]), session.vectors()[SITE])


@pytest.mark.parametrize("told", [{}, {"samples": 3}, {"reduce": "tokens"}, {"finished": 7}, {"zero_run": 2}])
def test_a_sweep_of_exported_vectors_counts_as_the_session_does(
    srm: Callable[..., Any], save: Callable[..., Session], tmp_path: Path, told: dict[str, Any]
) -> None:
    save(prompts=6, **told)
    out = tmp_path / "v.npz"
    assert srm("sessions", "export", "storm", "--npz", out).status == 0
    swept = json.loads(srm("sweep", out, "--a", 3, "--b", 5, "--json").out)
    shown = json.loads(srm("show", "storm", "--json").out)["planes"][0]["groups"]
    assert set(swept["groups"]) == set(shown) == {"baseline", "clamped"}
    for name, group in shown.items():
        assert [one["counts"] for one in swept["groups"][name]["thresholds"]] == [
            one["counts"] for one in group["thresholds"]
        ]
        np.testing.assert_allclose(swept["groups"][name]["mean_similarity"], group["mean_similarity"], atol=1e-12)


def test_another_captured_site_can_be_exported_and_no_other(
    srm: Callable[..., Any], save: Callable[..., Session], tmp_path: Path
) -> None:
    session = save()
    assert srm("sessions", "export", "storm", "--npz", tmp_path / "v.npz", "--site", RESIDUAL).status == 0
    with np.load(tmp_path / "v.npz") as loaded:
        np.testing.assert_array_equal(loaded["prompt_0"], session.vectors()[RESIDUAL][0])
    ended = srm("sessions", "export", "storm", "--npz", tmp_path / "w.npz", "--site", "blocks.1.hook_resid_pre")
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert f"did you mean '{RESIDUAL}'" in ended.err
    assert not (tmp_path / "w.npz").exists()


@pytest.mark.parametrize("broken", ["missing", "altered"])
def test_without_its_vectors_a_session_exports_its_runs_only(
    srm: Callable[..., Any], save: Callable[..., Session], tmp_path: Path, broken: str
) -> None:
    vectors = save().vectors_path()
    if broken == "missing":
        vectors.unlink()
    else:
        vectors.write_bytes(vectors.read_bytes()[:-1] + b"\x01")
    (tmp_path / "v.npz").write_bytes(b"old")
    assert srm("sessions", "export", "storm", "--csv", tmp_path / "r.csv").status == 0
    ended = srm("sessions", "export", "storm", "--npz", tmp_path / "v.npz")
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert broken in ended.err
    assert (tmp_path / "v.npz").read_bytes() == b"old"


def test_runs_as_csv_hold_text_factors_and_places(
    srm: Callable[..., Any], save: Callable[..., Session], tmp_path: Path
) -> None:
    session = save(planes=[{"site": SITE, "a": 3, "b": 5}, {"site": RESIDUAL, "a": 0, "b": 1}], zero_run=1)
    assert srm("sessions", "export", "storm", "--csv", tmp_path / "r.csv").status == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text(), newline="")))
    assert len(rows) == len(session.runs)
    for place, (row, run) in enumerate(zip(rows, session.runs, strict=True)):
        assert row["text"] == run.text
        assert row["prompt_text"] == session.prompts[run.prompt].text
        assert row["factor_type"] == session.prompts[run.prompt].factors["type"]
        assert row["condition"] == session.conditions[run.condition].label
        value = session.conditions[run.condition].value
        assert row["value"] == ("" if value is None else repr(value))
        for plane in session.planes:
            name = f"{plane.site}_{plane.a}_{plane.b}"
            assert float(row[f"{name}_x"]) == plane.x[place]
            norm = float(row[f"{name}_norm"])
            assert norm == plane.norm[place]
            assert float(row[f"{name}_cos_b"]) == pytest.approx(plane.y[place] / norm if norm else 0)


def test_the_list_tells_of_every_session_also_of_broken_ones(
    srm: Callable[..., Any], save: Callable[..., Session]
) -> None:
    assert "`srm-explorer demo` makes one" in srm("sessions").out
    save("finished-one", model="demo")
    save("cut-short", finished=9)
    (paths.sessions_folder() / "broken.json").write_text('{"schema_version": 1, "runs": 3')
    (paths.sessions_folder() / "newer.json").write_text('{"schema_version": 99, "runs": []}')
    (paths.sessions_folder() / "not-ours.json").write_text("{}")
    ended = srm("sessions", "list")
    assert ended.status == 0
    rows = {line.split()[0]: line for line in ended.out.splitlines()}
    assert list(rows)[1:] == ["cut-short", "finished-one"]
    assert "demo model" in rows["finished-one"]
    assert "interrupted" in rows["cut-short"]
    assert "L1 hook_post · n3 · clamp −3, 0, .5, 20" in rows["cut-short"]
    assert ended.err.count("\n") == 2
    assert "broken.json" in ended.err
    assert "newer" in ended.err
    told = json.loads(srm("sessions", "--json").out)
    assert [(one["name"], one["runs"], one["planned"]) for one in told["sessions"]] == [
        ("cut-short", 9, 20),
        ("finished-one", 20, 20),
    ]
    assert len(told["unreadable"]) == 2


@pytest.mark.parametrize("elsewhere", [False, True])
def test_runs_that_are_not_saved_yet_are_listed(
    srm: Callable[..., Any], save: Callable[..., Session], tmp_path: Path, elsewhere: bool
) -> None:
    session = save("done")
    folder = (tmp_path if elsewhere else paths.sessions_folder()) / "begun.run"
    name = str(tmp_path / "begun") if elsewhere else "begun"
    vectors = {SITE: np.zeros((2, 24), np.float32)}
    start = RunStart(session.prompts, created=session.created)
    layout = Layout(18, 0, ((0, 1), tuple(range(2, 20))))
    with JournalWriter.create(folder, session.spec, layout=layout, extra=start) as journal:
        journal.append_batch(0, list(session.runs[:2]), vectors, receipt={})
        running = json.loads(srm("sessions", "--json").out)["sessions"]
        assert [(one["name"], one["state"]) for one in running] == [(name, "running"), ("done", "finished")]
    told = json.loads(srm("sessions", "--json").out)["sessions"]
    assert [(one["name"], one["state"], one["runs"], one["planned"]) for one in told] == [
        (name, "unfinished", 2, 20),
        ("done", "finished", 20, 20),
    ]
    assert "2 of 20" in srm("sessions").out


def test_who_waits_is_told_at_once_for_what(save: Callable[..., Session], capsys: pytest.CaptureFixture[str]) -> None:
    session = save("done")
    start = RunStart(session.prompts, created=session.created)
    layout = Layout(20, 0, (tuple(range(20)),))
    with JournalWriter.create(paths.sessions_folder() / "storm.run", session.spec, layout=layout, extra=start) as run:
        run.progress(Progress("running", 5, 20, rate=7, seconds_left=65).to_dict())
        with Watch(quiet=False) as watch:
            for _ in range(3):
                watch.show(Progress("waiting", waits_for=os.getpid()))
            watch.show(Progress("loading"))
            watch.show(Progress("waiting", waits_for=0))
        with Watch(quiet=True) as watch:
            watch.show(Progress("waiting", waits_for=os.getpid()))
        surveying = Progress("survey", 20, 20, part=3, parts=11, neurons=Standing(40, 512)).to_dict()
        # By itself, since a run tells it a few times a second at most.
        (paths.sessions_folder() / "storm.run" / "progress.json").write_text(json.dumps(surveying), encoding="utf-8")
        with Watch(quiet=False) as watch:
            watch.show(Progress("waiting", waits_for=os.getpid()))
    assert capsys.readouterr().err.splitlines() == [
        f"srm-explorer: waiting for process {os.getpid()}, which runs storm (5 / 20 runs · 7 tok/s · 1:05 left)",
        "srm-explorer: waiting for another process, which has the model's device",
        f"srm-explorer: waiting for process {os.getpid()}, which runs storm (surveying: 40 of 512 neurons scored)",
    ]


def test_who_asks_to_stop_is_told_what_is_finished_first(capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("running", "survey", "lengths"):
        with Watch(quiet=False) as watch, stoppable(watch, ends=False) as stop:
            watch.show(Progress(stage))
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        assert stop.level == 2
    assert capsys.readouterr().err.splitlines() == [
        f"srm-explorer: {said}"
        for piece in ("batch", "part", "part")
        for said in (f"finishing the {piece}, then saving; once more stops now", "stopping")
    ]


def test_an_interrupted_run_is_told_with_what_is_left_of_it(save: Callable[..., Session]) -> None:
    told = [
        outcome_line(Outcome(session, paths.session_path("storm"), "interrupted"), 1, 1)
        for session in (save("storm", finished=7), replace(save("storm"), state="interrupted"))
    ]
    assert told == [
        "storm is interrupted: 7 of 20 runs are saved; the same command goes on",
        "storm is interrupted: all 20 runs are saved, their means at common lengths not yet all;"
        " the same command goes on",
    ]


def test_a_session_whose_run_goes_on_is_running_and_never_also_interrupted(
    srm: Callable[..., Any], save: Callable[..., Session]
) -> None:
    session = save("storm", finished=7)
    assert "interrupted: 7 of 20 runs" in srm("show", "storm").out
    start = RunStart(session.prompts, created=session.created)
    layout = Layout(20, 0, (tuple(range(20)),))
    with JournalWriter.create(paths.sessions_folder() / "storm.run", session.spec, layout=layout, extra=start):
        for told in (srm("sessions"), srm("sessions", "--json"), srm("show", "storm"), srm("show", "storm", "--json")):
            assert told.status == 0
            assert "running" in told.out
            assert "interrupted" not in told.out
            assert "resume" not in told.out
    assert "interrupted" in srm("sessions").out


def test_sessions_are_renamed_thrown_away_listed_and_brought_back(
    srm: Callable[..., Any], save: Callable[..., Session]
) -> None:
    vectors = save().vectors()[SITE]
    path = paths.session_path("storm")
    assert srm("sessions", "rename", "storm", "calm").out == "storm is now calm\n"
    ended = srm("sessions", "trash", "calm")
    assert ended.out == "calm is in the trash: `srm-explorer sessions restore calm` brings it back\n"
    listed = srm("sessions", "trash").out.splitlines()
    assert listed[0].split() == ["name", "thrown", "away", "size", "from"]
    assert listed[1].split()[0] == "calm"
    (entry,) = json.loads(srm("sessions", "trash", "--json").out)["trash"]
    assert (entry["name"], entry["from"]) == ("calm", str(path.parent))
    save("calm")
    ended = srm("sessions", "restore")
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert "the name 'calm' is taken by calm.json" in ended.err
    assert "--as NAME" in ended.err
    assert srm("sessions", "restore", "calm", "--as", "storm").out == f"storm is back in {path.parent}\n"
    np.testing.assert_array_equal(load_session(path).vectors()[SITE], vectors)
    ended = srm("sessions", "restore", "calm")
    assert "nothing of that name is in the trash; the trash is empty" in ended.err
    ended = srm("sessions", "rename", "storm", "calm")
    assert "the name 'calm' is taken by calm.json; choose another name" in ended.err
    ended = srm("sessions", "trash", "nothing")
    assert (ended.status, ended.err.count("\n")) == (1, 1)


def test_a_search_finds_notes_prompts_and_texts_and_says_where(
    srm: Callable[..., Any], save: Callable[..., Session]
) -> None:
    save()
    save("calm", prompts=2)
    srm("sessions", "notes", "calm", "the Lighthouse at dusk")
    assert "notes: the lighthouse at dusk" in srm("sessions", "search", "lighthouse", "DUSK").out
    found = json.loads(srm("sessions", "search", "rains,", "--json").out)["sessions"]
    assert {one["name"]: one["place"] for one in found} == {"storm": "prompts", "calm": "prompts"}
    found = json.loads(srm("sessions", "search", '"7",', "--json").out)["sessions"]
    assert {one["name"]: one["place"] for one in found} == {"storm": "texts", "calm": "texts"}
    assert srm("sessions", "search", "nowhere").out == "none of 2 sessions has nowhere\n"


def test_nothing_is_deleted_for_good_unasked(srm: Callable[..., Any], save: Callable[..., Session]) -> None:
    for name in ("storm", "calm"):
        save(name)
    srm("sessions", "trash", "storm")
    # As after a kill between the two: the one that is there already keeps the other from nothing.
    again = srm("sessions", "trash", "storm", "calm")
    assert again.status == 1
    assert again.out.startswith("calm is in the trash")
    assert again.err.count("\n") == 1
    assert "storm" in again.err
    for names in (["storm"], []):
        ended = srm("sessions", "trash", "--delete", *names)
        assert "nothing is deleted for good unasked" in ended.err
        assert "add --yes" in ended.err
    assert srm("sessions", "trash", "--delete", "storm", "--yes").out == "storm deleted for good\n"
    assert [entry["name"] for entry in json.loads(srm("sessions", "trash", "--json").out)["trash"]] == ["calm"]
    assert srm("sessions", "restore").status == 0


def test_notes_are_printed_and_written(
    srm: Callable[..., Any], save: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    save()
    assert srm("sessions", "notes", "storm").out == ""
    assert srm("sessions", "notes", "storm", "seen twice").out == "notes saved in storm\n"
    srm("sessions", "notes", "storm", "--add", "and again")
    assert srm("sessions", "notes", "storm").out == "seen twice\n\nand again\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    refused = srm("sessions", "notes", "storm", "-")
    assert (refused.status, "nothing came on standard input" in refused.err) == (1, True)
    assert load_session(paths.session_path("storm")).notes == "seen twice\n\nand again"
    srm("sessions", "notes", "storm", "")
    assert load_session(paths.session_path("storm")).notes == ""


def test_a_session_goes_into_one_file_and_comes_out_of_it(
    srm: Callable[..., Any], save: Callable[..., Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = save(finished=7)
    monkeypatch.chdir(tmp_path)
    ended = srm("sessions", "pack", "storm")
    assert (ended.status, ended.out) == (
        0,
        f"storm: 7 runs packed into {tmp_path}/storm.srm.zip ({ended.out.split('(')[1]}",
    )
    assert ended.err == "srm-explorer: storm: 7 of 20 runs are finished and in it\n"
    assert srm("sessions", "pack", "storm").out == ended.out, "once more: it is there"
    assert srm("sessions", "unpack", "storm.srm.zip").status == 0, "so is this"
    assert srm("sessions", "notes", "storm", "mine").status == 0
    ended = srm("sessions", "unpack", "storm.srm.zip")
    assert ended.status == 1
    assert ended.err.endswith("the name 'storm' is taken by storm.json; give it another with --session NAME\n")
    ended = srm("sessions", "unpack", "storm.srm.zip", "--session", "out/my copy", "--json")
    told = json.loads(ended.out)
    assert told["path"] == str(tmp_path / "out" / "my copy.json")
    assert (told["session"], told["runs"], told["bytes"]) == ("my copy", 7, (tmp_path / "storm.srm.zip").stat().st_size)
    assert load_session(Path(told["path"])).runs == session.runs
    assert srm("sessions", "pack", "nothing").status == srm("sessions", "unpack", "nothing").status == 1
