from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.stats.ensemble_reference import ensemble_reference


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def data(at: Path) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    vectors, basis = rng.normal(size=(50, 16)).astype(np.float32), rng.normal(size=(4, 16))
    vectors[4] = 0
    v = npz(at / "v.npz", **{f"prompt_{i}": row for i, row in enumerate(vectors)})
    return v, npz(at / "b.npz", **{f"k{i}": row for i, row in enumerate(basis)}), vectors, basis


@pytest.mark.parametrize("kind", ["perm", "comb"])
def test_csv_is_what_rotation_matrices_give(srm: Callable[..., Any], tmp_path: Path, kind: Any) -> None:
    v, b, vectors, basis = data(tmp_path)
    out = tmp_path / "f.csv"
    ended = srm("sweep", v, "--basis", b, "--ensemble", kind, "--thresholds", "0.5,0.1", "--angles", 100, "--csv", out)
    assert ended.status == 0
    assert "1 zero vector, counted in N: prompt_4" in ended.err
    with out.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["angle_deg", "fraction_0.5", "spread_0.5", "fraction_0.1", "spread_0.1"]
    fraction, spread = ensemble_reference(vectors, basis, kind, [0.5, 0.1], 100)
    assert [row[0] for row in rows] == [repr(k * 360.0 / 100) for k in range(100)]
    numbers = np.array([[float(cell) for cell in row[1:]] for row in rows])
    np.testing.assert_allclose(numbers, np.stack([fraction[0], spread[0], fraction[1], spread[1]], axis=1), atol=1e-12)


def test_a_table_is_a_basis_too_and_the_order_is_the_files(srm: Callable[..., Any], tmp_path: Path) -> None:
    v, b, _, basis = data(tmp_path)
    table = npz(tmp_path / "t.npz", anything=basis)
    turned = npz(tmp_path / "r.npz", **{f"k{i}": basis[i] for i in (3, 2, 1, 0)})
    one, two, other = (
        json.loads(srm("sweep", v, "--basis", path, "--ensemble", "comb", "--json").out) for path in (b, table, turned)
    )
    assert one["thresholds"] == two["thresholds"] != other["thresholds"]
    assert two["basis"]["vectors"][0] == "anything[0]"
    assert one["planes"] == 6


def test_pairs_on_one_line_are_named_and_nothing_is_nan(srm: Callable[..., Any], tmp_path: Path) -> None:
    v, _, _, _ = data(tmp_path)
    b = npz(tmp_path / "c.npz", x=np.ones(16), y=-2 * np.ones(16), z=np.arange(16.0))
    ended = srm("sweep", v, "--basis", b, "--ensemble", "perm", "--json")
    told = json.loads(ended.out)
    assert told["collinear"] == [["x", "y"], ["y", "x"]]
    assert told["planes"] == 4
    assert "2 pairs of basis vectors on one line span no plane, left out: x and y, y and x" in ended.err
    assert all(None not in level["fraction"] + level["spread"] for level in told["thresholds"])


BAD: dict[str, Callable[[Path], list[object]]] = {
    "the vectors have 16 entries, the basis vectors 3": lambda at: [npz(at / "w.npz", x=np.ones(3), y=np.arange(3.0))],
    "'y' has 4 entries where 'x' has 3": lambda at: [npz(at / "w.npz", x=np.ones(3), y=np.arange(4.0))],
    "needs at least two basis vectors, there is 1": lambda at: [npz(at / "w.npz", x=np.ones(16))],
    "it holds no vectors": lambda at: [npz(at / "w.npz", x=np.array("a"))],
    "basis vector 2 is zero": lambda at: [npz(at / "w.npz", x=np.ones(16), y=np.zeros(16))],
    "there is no such file": lambda at: [at / "missing.npz"],
    "no .npz, .npy or .safetensors file": lambda at: [at / "text.npz"],
    "threshold 2 is not a cosine": lambda at: [at / "b.npz", "--thresholds", 2],
    "0 is not a number of angles": lambda at: [at / "b.npz", "--angles", 0],
}


@pytest.mark.parametrize("told", BAD)
def test_bad_input_is_one_clear_line(srm: Callable[..., Any], tmp_path: Path, told: str) -> None:
    v, _, _, _ = data(tmp_path)
    (tmp_path / "text.npz").write_text("basis")
    ended = srm("sweep", v, "--ensemble", "comb", "--basis", *BAD[told](tmp_path))
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("srm-explorer: ")
    assert ended.err.count("\n") == 1
    assert told in ended.err


@pytest.mark.parametrize(
    "options",
    [
        ["--basis", "b.npz"],
        ["--ensemble", "perm"],
        ["--basis", "b.npz", "--ensemble", "pairs"],
        ["--basis", "b.npz", "--ensemble", "perm", "--a", 1],
        ["--a", 1],
        [],
    ],
)
def test_options_that_name_no_planes_are_wrong_usage(
    srm: Callable[..., Any], tmp_path: Path, options: list[object]
) -> None:
    v, _, _, _ = data(tmp_path)
    ended = srm("sweep", v, *options)
    assert (ended.status, ended.out) == (2, "")
