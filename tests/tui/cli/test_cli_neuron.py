"""The command `neuron`: a card, or how much all are used, as text, CSV and JSON; what is wrong in one line."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.example import EXAMPLE


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "texts.txt").write_text("The man opened the door\nIf all of them are late, then\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_card_is_printed_with_its_histogram(srm: Callable[..., Any], tiny_gpt2_folder: Path, texts: Path) -> None:
    ended = srm("neuron", tiny_gpt2_folder, 1, 3, "--prompts", "texts.txt", "--top", 2, "--csv", "card.csv")
    assert ended.status == 0
    lines = ended.out.split("\n")
    assert lines[0] == "Neuron 3 of layer 1"
    assert any("positions a bin (log scale)" in line for line in lines)
    for title in ("Tokens it promotes", "Neurons of its layer that write alike", "Where it is most active"):
        assert sum(line.startswith(title) for line in lines) == 1
    assert max(map(len, lines[:16])) <= 80
    blocks = (texts / "card.csv").read_text().strip().split("\n\n")
    assert [block.split(",")[0] for block in blocks[:4]] == ["fact", "token", "token", "layer"]


def test_json_is_one_object_with_tables_and_histogram(
    srm: Callable[..., Any], tiny_gpt2_folder: Path, texts: Path
) -> None:
    ended = srm("neuron", tiny_gpt2_folder, 2, 7, "--prompts", "none", "--all-layers", "--json")
    found = json.loads(ended.out)
    assert (found["layer"], found["neuron"], found["histogram"]) == (2, 7, None)
    writes = next(one for one in found["tables"] if one["name"] == "writes")
    assert len({row["layer"] for row in writes["rows"]}) > 1


def test_weights_of_all_neurons_are_ranked_without_a_text(
    srm: Callable[..., Any], tiny_gpt2_folder: Path, texts: Path
) -> None:
    ended = srm("neuron", tiny_gpt2_folder, "--weights", "--top", 2, "--csv", "all.csv", "--json")
    assert ended.status == 0, ended.err
    found = json.loads(ended.out)
    assert [len(one["rows"]) for one in found["tables"]] == [2] * 4
    rows = list(csv.DictReader((texts / "all.csv").read_text().splitlines()))
    assert len(rows) == 3 * 64
    largest = max(rows, key=lambda row: float(row["std"]))
    (spread,) = (one for one in found["tables"] if one["name"] == "spread")
    assert [spread["rows"][0][key] for key in ("layer", "neuron")] == [int(largest["layer"]), int(largest["neuron"])]
    for wrong in ((1, 3, "--weights"), (1, "--weights", "--prompts", "texts.txt")):
        ended = srm("neuron", tiny_gpt2_folder, *wrong)
        assert (ended.status, ended.out) == (2, "")


def test_prompts_are_read_and_fed_as_prompts_check_does(
    srm: Callable[..., Any], tiny_gpt2_folder: Path, texts: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(tiny_gpt2_folder, tmp_path / "chat"))
    (model / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }}: {{ m.content }};{% endfor %}A:")
    (texts / "p.csv").write_text("question,prompt\nWho opened it?,no\n")
    (texts / "same.txt").write_text("system: Brief.;user: Who opened it?;A:\n")

    def card(prompts: str, *options: object) -> list[Any]:
        ended = srm("neuron", model, 1, 3, "--prompts", prompts, "--json", *options)
        assert ended.status == 0, ended.err
        return json.loads(ended.out)["histogram"]["counts"]

    by_hand = card("same.txt", "--prepend-bos", "false")
    rendered = card("p.csv", "--text-column", "question", "--chat-template", "--system", "Brief.")
    assert rendered == by_hand
    assert card("p.csv", "--text-column", "question") != by_hand
    wrong = srm("neuron", tiny_gpt2_folder, 1, 3, "--prompts", "p.csv", "--chat-template")
    assert (wrong.status, wrong.err.count("\n")) == (1, 1)
    assert "no chat template" in wrong.err
    beside = srm("neuron", "demo", 1, 3, "--session", EXAMPLE, "--prepend-bos", "true")
    assert (beside.status, beside.err.count("\n")) == (1, 1)
    assert "fed as those of the session were" in beside.err


def test_use_of_a_layer_and_of_all_of_them(srm: Callable[..., Any], tiny_llama_folder: Path, texts: Path) -> None:
    ended = srm("neuron", tiny_llama_folder, "--prompts", "texts.txt", "--top", 1, "--csv", "all.csv")
    assert ended.status == 0
    assert ended.out.startswith("Use of neurons, layer by layer")
    rows = list(csv.DictReader((texts / "all.csv").open()))
    assert [(int(row["layer"]), int(row["neuron"])) for row in rows] == [(i, n) for i in range(3) for n in range(64)]
    one = srm("neuron", tiny_llama_folder, 1, "--prompts", "texts.txt", "--top", 3, "--json")
    tables = {table["name"]: table for table in json.loads(one.out)["tables"]}
    assert list(tables) == ["rarest", "quietest", "loudest", "flattest"]
    assert {row["layer"] for row in tables["loudest"]["rows"]} == {1}
    # The CSV's numbers are those of the ranking.
    loudest = max((row for row in rows if row["layer"] == "1"), key=lambda row: float(row["rms"]))
    assert tables["loudest"]["rows"][0]["neuron"] == int(loudest["neuron"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["3", "0"], "layer 3 is out of range for this model (3 layers); choose 0 to 2"),
        (["1", "64"], "neuron 64 is out of range for this model (d_mlp = 64); choose 0 to 63"),
        (["1", "--prompts", "nowhere"], "there is no prompt set 'nowhere'"),
        (["1", "--prompts", "none"], "name a prompt set"),
        (["1", "2", "--session", "nowhere"], "nowhere"),
        (["1", "2", "--device", "tpu"], "is not a device"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_remedy(
    srm: Callable[..., Any], tiny_gpt2_folder: Path, texts: Path, arguments: list[str], told: str
) -> None:
    ended = srm("neuron", tiny_gpt2_folder, *arguments)
    assert (ended.status, ended.out) == (1, "")
    assert told in ended.err
    assert ended.err.count("\n") == 1
    assert "; " in ended.err
