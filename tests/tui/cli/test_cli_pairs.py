from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srm_explorer.engine.session import Session

Srm = Callable[..., Any]
Save = Callable[..., Session]


def test_pairs_prints_co_activators_antagonists_and_the_residual_stream(srm: Srm, save: Save) -> None:
    save("storm", prompts=12)
    ended = srm("pairs", "storm", "--top", 4, "--permutations", 40)
    assert (ended.status, ended.err) == (0, "")
    for told in ("co-activators of n3 · L1 hook_post", "antagonists of n3", "n3 and the residual stream"):
        assert told in ended.out
    assert "n3 is set by design" in ended.out
    assert "has nothing to do with neuron i" in ended.out
    assert max(map(len, ended.out.split("n3 and")[0].splitlines()[:6])) <= 120
    # What the first table has told is not told again.
    assert ended.out.count("going together is no proof") == 1


def test_pairs_as_json_and_csv_hold_everything(srm: Srm, save: Save, tmp_path: Path) -> None:
    save("storm", prompts=12)
    file = tmp_path / "pairs.csv"
    ended = srm("pairs", "storm", "--neuron", 7, "--with", "site", "--permutations", 40, "--csv", file, "--json")
    assert ended.status == 0
    found = json.loads(ended.out)
    assert (found["session"], found["neuron"], found["site"]) == ("storm", 7, "blocks.1.mlp.hook_post")
    assert [table["name"] for table in found["tables"]] == ["co_activators", "antagonists"]
    assert sum(len(table["rows"]) for table in found["tables"]) == 23
    blocks = [list(csv.reader(block.splitlines())) for block in file.read_text().split("\n\n")]
    assert [row[0] for block in blocks for row in block[1:]] == [
        row["partner"] for table in found["tables"] for row in table["rows"]
    ]
    assert {"within_q", "baseline_rho_p", "pooled_r", "partial_q"} <= set(blocks[0][0])


def test_planes_are_found_and_say_how(srm: Srm, save: Save, tmp_path: Path) -> None:
    save("storm", prompts=12)
    file = tmp_path / "planes.csv"
    site = "blocks.1.mlp.hook_post"
    ended = srm("planes", "storm", "--find", "--all", "--site", site, "--groups", "baseline", "+20", "--csv", file)
    assert ended.status == 0
    assert "separation · all pairs · L1 hook_post" in ended.out
    assert "chosen on one half, tested on the other: 253 pairs scanned on 6 units" in ended.out
    assert "set by design, so in no plane: n3" in ended.out
    assert "fewer than 10 units" in ended.out
    assert len(file.read_text().splitlines()) == 101


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("pairs", "storm", "--neuron", 99), "neuron 99 is out of range"),
        (("pairs", "storm", "--site", "blocks.7.mlp.hook_post"), "did not capture"),
        (("pairs", "none"), "none"),
        (("planes", "storm", "--find", "--all", "--neuron", 3), "--neuron and --all ask for different planes"),
        (("planes", "storm", "--find", "--groups", "baseline", "+21"), "did you mean"),
        (("planes", "storm", "--find"), "cannot be split"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(srm: Srm, save: Save, arguments: tuple[Any, ...], told: str) -> None:
    save("storm", prompts=4)
    ended = srm(*arguments)
    assert ended.status == 1
    assert told in ended.err
    assert len(ended.err.splitlines()) == 1


def test_dose_prints_slopes_and_writes_a_row_a_unit(srm: Srm, save: Save, tmp_path: Path) -> None:
    save("storm", prompts=12)
    file = tmp_path / "dose.csv"
    ended = srm("dose", "storm", "--interest", 0.5, "--resamples", 200, "--csv", file)
    assert ended.status == 0
    for told in ("dose and response", "curves with a plateau", "slopes of units", "p equivalent", "detectable"):
        assert told in ended.out
    assert "unit,values,slope_a" in file.read_text(encoding="utf-8")
    found = json.loads(srm("dose", "storm", "--resamples", 200, "--json").out)
    assert [table["name"] for table in found["tables"]] == ["dose", "saturation", "dose_units"]
