from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

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
