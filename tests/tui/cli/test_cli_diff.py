from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import srm_explorer
from srm_explorer.engine.session import load_session, save_session
from srm_explorer.tui.cli import main
from tests.example import EXAMPLE as FILE

EXAMPLE = str(FILE)


def told(capsys: Any, *words: str) -> str:
    assert main(["sessions", "diff", *words]) == 0
    return capsys.readouterr().out


def test_groups_that_begin_with_a_minus_can_be_named(capsys: Any, tmp_path: Path) -> None:
    out = told(capsys, EXAMPLE, "--groups", "-30", "+30", "--csv", str(tmp_path / "curves.csv"), "--resamples", "300")
    assert "-30σ − +30σ" in out
    assert "8 of 8 prompts" in out
    rows = list(csv.DictReader((tmp_path / "curves.csv").open()))
    assert len(rows) == 360
    assert float(rows[0]["share_0.7"]) == -1.0
    assert float(rows[0]["share_0.7_low"]) <= -1.0 <= float(rows[0]["share_0.7_high"])


def test_json_holds_the_tables_and_the_curves(capsys: Any) -> None:
    found = json.loads(told(capsys, EXAMPLE, "--json", "--resamples", "300"))
    assert [table["name"] for table in found["tables"]] == ["difference", "gaps"]
    assert found["curves"][0]["label"] == "clamped − baseline"
    assert len(found["curves"][0]["mean_band"][0]) == 360


def test_what_cannot_be_compared_is_one_line(capsys: Any) -> None:
    for words, reason in (
        ((EXAMPLE, "--plane", "7"), "there is no plane 7"),
        ((EXAMPLE, "--groups", "+1", "-30"), "no run of a condition '+1'"),
        ((EXAMPLE, "--a-group", "baseline"), "are the same runs"),
        ((EXAMPLE,) * 9, "choose two to 8"),
        ((EXAMPLE,) * 3 + ("--groups", "+30", "baseline"), "groups and halves are compared of two sessions"),
    ):
        assert main(["sessions", "diff", *words]) == 1
        assert reason in capsys.readouterr().err


def test_more_resamples_than_can_be_waited_for_are_refused(capsys: Any) -> None:
    assert main(["sessions", "diff", EXAMPLE, "--resamples", "1000000000"]) == 2
    assert "100000" in capsys.readouterr().err


@pytest.mark.parametrize("groups", [("clamped", "baseline"), ("+30", "baseline")])
def test_the_same_command_prints_the_same(capsys: Any, groups: tuple[str, str]) -> None:
    words = (EXAMPLE, "--groups", *groups, "--resamples", "200", "--seed", "4")
    assert told(capsys, *words) == told(capsys, *words)


def test_calls_belong_to_one_family_until_another_is_named(capsys: Any) -> None:
    def call(*words: str) -> Any:
        assert main([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    groups = [("+30", "baseline"), ("-30", "baseline"), ("+30", "-30")]
    differences = [call("sessions", "diff", EXAMPLE, "--groups", *both, "--resamples", "300") for both in groups]
    assert [found["family"]["tests"] for found in differences] == [1, 2, 3]
    alone = call("sessions", "diff", EXAMPLE, "--groups", "+30", "0", "--family", "planned", "--resamples", "300")
    assert (alone["family"]["tests"], alone["family"]["tests_of_session"]) == (1, 4)
    shown = [call("show", EXAMPLE, "--plane", "1", "--by", by) for by in ("pooled", "pooled", "set")]
    sizes = [found["planes"][0]["bands"]["family"] for found in shown]
    assert sizes[0] == sizes[1] < sizes[2]
    ledger = call("sessions", "ledger", EXAMPLE)
    families = {row["family"]: row["tests"] for row in ledger["tables"][0]["rows"]}
    assert families == {"differences": 3, "planned": 1, "beyond arithmetic": sizes[2]}
    assert f"{sum(families.values())} tests computed on example" in ledger["tables"][0]["title"]


@pytest.fixture
def others(tmp_path: Path) -> list[str]:
    """The example, and two sessions in planes of other neurons."""
    example = load_session(FILE)
    files = [EXAMPLE]
    for at in (1, 2):
        planes = tuple(dataclasses.replace(plane, a=plane.a + at, b=plane.b + at) for plane in example.planes)
        made = example.changed(name=f"other{at}", revision=0, created=f"made {at}", sidecar=None, planes=planes)
        files.append(str(save_session(made, tmp_path / f"other{at}.json").path))
    return files


def test_several_sessions_are_printed_with_their_chart_and_written(
    capsys: Any, others: list[str], tmp_path: Path
) -> None:
    out = told(capsys, *others, "--resamples", "300", "--chart", "dose", "--csv", str(tmp_path / "tables.csv"))
    assert "amplitude A" in out
    assert "not scored: srm-explorer" in out
    assert "Each session less example" in out
    assert "planes differ" in out
    rows = list(csv.reader((tmp_path / "tables.csv").open()))
    assert [row[0] for row in rows[1:4]] == ["example", "other1", "other2"]
    found = json.loads(told(capsys, *others, "--resamples", "300", "--json"))
    assert found == json.loads(json.dumps({**compared(others), "tables": found["tables"]}))
    assert [row["session"] for row in found["tables"][0]["rows"]] == found["names"] == ["example", "other1", "other2"]


def compared(files: list[str]) -> dict[str, Any]:
    """What a notebook gets of the same sessions, without its tables."""
    found = srm_explorer.compare_sessions([load_session(Path(file)) for file in files], resamples=300)
    return {key: value for key, value in found.items() if key != "tables"}


def test_two_sessions_in_other_planes_are_no_error_and_what_is_refused_is_told(capsys: Any, others: list[str]) -> None:
    assert main(["sessions", "diff", *others[:2], "--resamples", "300", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = [table["name"] for table in found["tables"]]
    assert names[-4:] == ["sessions", "against", "values", "spec"]
    assert found["names"] == ["example", "other1"]
    assert main(["sessions", "diff", *others[:2], "--groups", "+30", "+30"]) == 1
