"""What an experiment reads besides itself: in order, filtered, hashed, and refused in one line."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import floats, integers, sampled_from, sets
from safetensors.numpy import save_file

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.runs.inputs import direction_sha256, prompt_records, read_direction, read_inputs

MLP = "blocks.0.mlp.hook_post"
GRID = """>> CORE_ID: door
>> PROPOSITION: Someone stands at the door.
[LEVEL 1]
plain: Somebody is there.
grand: Lo, somebody is there.
[LEVEL 2]
plain: Somebody stands there.
grand: Lo, somebody stands there.
"""


def experiment(named: list[str], direction: str | None = None, **prompts: Any) -> Experiment:
    steer = {"site": MLP, "direction": direction, "op": "steer", "values": [1]}
    return Experiment.from_dict(
        {
            "model": {"name": "demo"},
            "prompts": {"sets": named, **prompts},
            "interventions": [steer] if direction else [],
            "capture": {"sites": [MLP]},
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.txt").write_text("First\nSecond\n")
    (tmp_path / "two.txt").write_text("Third\n")
    (tmp_path / "grid.txt").write_text(GRID)
    return tmp_path


def texts(folder: Path, named: list[str], **prompts: Any) -> list[str]:
    return [listed.prompt.text for listed in read_inputs(experiment(named, **prompts), folder).prompts]


def test_prompts_come_in_the_experiments_order(folder: Path) -> None:
    assert texts(folder, ["two.txt", "one.txt"]) == ["Third", "First", "Second"]
    assert texts(folder, ["one.txt", "two.txt"], limit=2) == ["First", "Second"]


def test_a_filter_keeps_the_prompts_with_one_of_the_levels(folder: Path) -> None:
    assert texts(folder, ["grid.txt"], where={"type": ["grand"]}) == [
        "Lo, somebody is there.",
        "Lo, somebody stands there.",
    ]
    assert texts(folder, ["grid.txt"], where={"type": ["plain"], "level": ["2"]}) == ["Somebody stands there."]


def test_a_set_without_the_factor_has_no_prompt_with_the_level(folder: Path) -> None:
    assert texts(folder, ["one.txt", "grid.txt"], where={"type": ["plain"], "level": ["1"]}) == ["Somebody is there."]


def test_prompts_are_left_out_by_their_number_in_the_file(folder: Path) -> None:
    assert texts(folder, ["grid.txt", "one.txt"], omit={"grid.txt": [1, 4], "one.txt": 2}) == [
        "Lo, somebody is there.",
        "Somebody stands there.",
        "First",
    ]
    assert texts(folder, ["grid.txt"], omit={"grid.txt": [3]}, where={"type": ["plain"]}) == ["Somebody is there."]
    assert texts(folder, ["one.txt", "two.txt"], omit={"one.txt": [1]}, limit=2) == ["Second", "Third"]
    assert texts(folder, ["one.txt", "two.txt"], omit={"one.txt": [1, 2]}) == ["Third"]


@pytest.mark.parametrize(
    ("omit", "told"),
    [
        ({"one.txt": [3]}, "one.txt has no prompt 3, it has 2; choose from 1 to 2"),
        ({"one.txt": [1, 2]}, "every prompt is left out"),
    ],
)
def test_what_cannot_be_left_out_is_named(folder: Path, omit: dict[str, list[int]], told: str) -> None:
    with pytest.raises(ExplorerError, match=told) as refused:
        read_inputs(experiment(["one.txt"], omit=omit), folder)
    assert "prompts.omit" in str(refused.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(sets(integers(1, 4), max_size=4), sets(sampled_from(["plain", "grand"])), integers(1, 6))
def test_what_is_chosen_is_what_fits_less_what_is_left_out(
    folder: Path, out: set[int], kinds: set[str], limit: int
) -> None:
    whole = texts(folder, ["grid.txt"])
    expected = [
        text
        for number, text in enumerate(whole, 1)
        if number not in out and (not kinds or ("grand" if text.startswith("Lo") else "plain") in kinds)
    ]
    expected = [*expected, *([] if kinds else ["First", "Second"])][:limit]
    wanted = {"omit": {"grid.txt": sorted(out)} if out else {}, "where": {"type": sorted(kinds)} if kinds else {}}
    if expected:
        assert texts(folder, ["grid.txt", "one.txt"], limit=limit, **wanted) == expected
    else:
        with pytest.raises(ExplorerError, match="left out"):
            texts(folder, ["grid.txt", "one.txt"], limit=limit, **wanted)


def test_a_level_may_be_missing_from_one_of_the_sets(folder: Path) -> None:
    (folder / "more.csv").write_text("prompt,type\nA third,odd\nA fourth,plain\n")
    assert texts(folder, ["more.csv", "grid.txt"], where={"type": ["odd"]}) == ["A third"]
    with pytest.raises(ExplorerError, match="did you mean 'odd'"):
        texts(folder, ["more.csv", "grid.txt"], where={"type": ["od"]})


def test_levels_of_one_set_are_wanted_of_it_alone_and_one_that_is_left_empty_is_told_of(folder: Path) -> None:
    (folder / "more.csv").write_text("prompt,type\nA third,odd\nA fourth,plain\n")
    named = ["grid.txt", "one.txt", "more.csv"]
    whole = texts(folder, named)
    kept = texts(folder, named, where={"more.csv": {"type": ["odd"]}})
    assert kept == [text for text in whole if text != "A fourth"]
    assert texts(folder, named, where={"type": ["plain"], "grid.txt": {"type": ["grand", "plain"]}}) == texts(
        folder, named, where={"type": ["plain"]}
    )
    for where, told in (({"type": ["plain"]}, ["one"]), ({"grid.txt": {"type": ["plain"]}}, [])):
        problems = read_inputs(experiment(named, where=where), folder).problems
        assert [problem.path.stem for problem in problems if "none of it is run" in problem.what] == told
    with pytest.raises(ExplorerError, match="did you mean 'odd'") as refused:
        texts(folder, named, where={"more.csv": {"type": ["od"]}})
    assert refused.value.where == "prompts.where.more.csv.type"


@pytest.mark.parametrize(
    ("named", "where", "told"),
    [
        (["grid.txt"], {"tpye": ["plain"]}, "tpye"),
        (["one.txt"], {"type": ["plain"]}, "no factors"),
        (["nowhere.txt"], {}, "nowhere.txt"),
    ],
)
def test_what_cannot_be_chosen_is_named(folder: Path, named: list[str], where: dict[str, list[str]], told: str) -> None:
    with pytest.raises(ExplorerError, match=told) as refused:
        read_inputs(experiment(named, where=where), folder)
    assert "\n" not in str(refused.value)


def test_hashes_change_with_the_content_of_a_file_and_with_nothing_else(folder: Path) -> None:
    before = read_inputs(experiment(["one.txt", "two.txt"]), folder).hashes
    (folder / "one.txt").touch()
    assert read_inputs(experiment(["one.txt", "two.txt"]), folder).hashes == before
    (folder / "one.txt").write_text("First\nSecond!\n")
    after = read_inputs(experiment(["one.txt", "two.txt"]), folder).hashes
    assert {name for name in before if before[name] != after[name]} == {"prompts one.txt"}


def test_an_error_can_name_the_line_of_a_prompt(folder: Path) -> None:
    listed = read_inputs(experiment(["one.txt"]), folder).prompts
    assert [one.location for one in listed] == [f"{folder / 'one.txt'}:1", f"{folder / 'one.txt'}:2"]


def test_prompts_with_the_same_ids_are_told_apart_by_their_occurrence(folder: Path) -> None:
    listed = read_inputs(experiment(["one.txt", "two.txt"]), folder).prompts
    records = prompt_records(listed, [[5, 6], [7], [5, 6]], ["a", "b", "a"])
    assert [record.occurrence for record in records] == [0, 0, 1]
    assert records[0].sha256 == records[2].sha256 != records[1].sha256
    assert [record.set for record in records] == ["one", "one", "two"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(arrays(np.float32, integers(1, 20), elements=floats(-1e6, 1e6, width=32)))
def test_a_direction_has_length_1_and_the_way_of_the_vector(tmp_path: Path, vector: np.ndarray) -> None:
    save_file({"way": vector, "row": vector[None]}, tmp_path / "v.safetensors")
    length = np.linalg.norm(vector.astype(np.float64))
    if length == 0:
        with pytest.raises(ExplorerError, match="not a direction"):
            read_direction("v.safetensors#way", tmp_path)
        return
    direction = read_direction("v.safetensors#way", tmp_path)
    assert np.linalg.norm(direction) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(direction * length, vector.astype(np.float64), rtol=1e-9)
    assert direction_sha256(read_direction("v.safetensors#row", tmp_path)) == direction_sha256(direction)


@pytest.mark.parametrize("size", [1e-310, 1e300])
def test_a_direction_may_be_given_in_any_size(tmp_path: Path, size: float) -> None:
    save_file({"way": np.array([3.0, 4.0]) * size}, tmp_path / "v.safetensors")
    np.testing.assert_allclose(read_direction("v.safetensors#way", tmp_path), [0.6, 0.8], rtol=1e-9)


@pytest.mark.parametrize(
    "vector",
    [
        np.array([1, np.nan], dtype=np.float32),
        np.array([1, np.inf], dtype=np.float32),
        np.ones((2, 2), dtype=np.float32),
        np.zeros(0, dtype=np.float32),
        np.array(3.0, dtype=np.float32),
    ],
)
def test_what_is_no_direction_is_refused(tmp_path: Path, vector: np.ndarray) -> None:
    save_file({"way": vector}, tmp_path / "v.safetensors")
    with pytest.raises(ExplorerError, match="not a direction"):
        read_direction("v.safetensors#way", tmp_path)


def test_a_direction_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    save_file({"way": np.ones(3, dtype=np.float32)}, tmp_path / "v.safetensors")
    with pytest.raises(ExplorerError, match=r"no vector 'path'.*choose one of way"):
        read_direction("v.safetensors#path", tmp_path)
    with pytest.raises(ExplorerError, match="no such file"):
        read_direction("w.safetensors#way", tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"PK\x03\x04", b"\xff" * 64])
def test_a_file_of_another_kind_is_not_opened_as_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.safetensors").write_bytes(content)
    with pytest.raises(ExplorerError, match=r"no \.npz, \.npy or|empty|never loaded|damaged") as refused:
        read_direction("v.safetensors#way", tmp_path)
    assert "\n" not in str(refused.value)


def test_a_direction_counts_among_the_hashed_inputs(folder: Path) -> None:
    save_file({"way": np.array([3, 4], dtype=np.float32)}, folder / "v.safetensors")
    found = read_inputs(experiment(["one.txt"], direction="v.safetensors#way"), folder)
    np.testing.assert_allclose(found.directions["v.safetensors#way"], [0.6, 0.8])
    assert (
        found.hashes["direction v.safetensors#way"]
        == hashlib.sha256(found.directions["v.safetensors#way"].tobytes()).hexdigest()
    )
