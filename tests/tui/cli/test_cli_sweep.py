from __future__ import annotations

import csv
import json
import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.stats.spotlight import spotlight_sweep, unit_coordinates
from srm_explorer.tui.cli.sweep import group_of

A, B = 2, 5


def direct_loop(vectors: np.ndarray, thresholds: Sequence[float], angles: int) -> tuple[list[float], list[list[int]]]:
    """Mean cosine, and a count a threshold, at every angle: in the full space, one vector after the other."""
    means, counts = [], []
    for k in range(angles):
        direction = np.zeros(vectors.shape[1])
        direction[A] = math.cos(math.radians(360 * k / angles))
        direction[B] = math.sin(math.radians(360 * k / angles))
        cosines = [0.0 if not v.any() else float(v @ direction / np.linalg.norm(v)) for v in vectors]
        means.append(sum(cosines) / len(cosines))
        counts.append([sum(cosine > level + 1e-12 for cosine in cosines) for level in thresholds])
    return means, counts


def read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


def sweep(srm: Callable[..., Any], *arguments: object, chart: str = "none") -> Any:
    return srm("sweep", *arguments, "--a", A, "--b", B, "--chart", chart)


@pytest.mark.parametrize(("angles", "thresholds"), [(360, "0.7,0.5,0.3,0.1"), (7, "-0.2,0,1,-1,.25")])
def test_csv_is_what_a_loop_over_angles_gives(
    srm: Callable[..., Any], tmp_path: Path, angles: int, thresholds: str
) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(60, 9))
    vectors[:6] = 0
    vectors[1:3, A] = 5  # exactly on the axis: cosine 1, and ties at 60 degrees
    vectors[3] = 0
    whole = vectors.astype(np.float32)
    np.savez(tmp_path / "one.npz", **{f"prompt_{i}": v for i, v in enumerate(whole[:20])})
    np.savez_compressed(tmp_path / "two.npz", **{"prompt_0_sweep=20": whole[20], "many": whole[21:]})
    out = tmp_path / "out.csv"
    out.write_text("old")
    ended = sweep(
        srm, tmp_path / "one.npz", tmp_path / "two.npz", "--csv", out, "--angles", angles, "--thresholds", thresholds
    )
    assert ended.status == 0
    levels = [float(text) for text in thresholds.split(",")]
    header, rows = read_csv(out)
    assert header == ["angle_deg", "mean_similarity", *(f"count_thresh_{level}" for level in levels)]
    means, counts = direct_loop(whole.astype(np.float64), levels, angles)
    assert [row[0] for row in rows] == [repr(360.0 * k / angles) for k in range(angles)]
    np.testing.assert_allclose([float(row[1]) for row in rows], means, atol=1e-6)
    assert [[int(cell) for cell in row[2:]] for row in rows] == counts


def test_thresholds_are_named_as_python_writes_them(srm: Callable[..., Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", v=np.ones(9))
    sweep(srm, tmp_path / "v.npz", "--csv", tmp_path / "o.csv", "--thresholds", "0.70,0.5,1")
    lines = (tmp_path / "o.csv").read_bytes().split(b"\n")
    assert lines[0] == b"angle_deg,mean_similarity,count_thresh_0.7,count_thresh_0.5,count_thresh_1.0"
    assert lines[1].startswith(b"0.0,0.3333333")
    assert len(lines) == 362


@pytest.mark.parametrize(
    ("key", "group"),
    [
        ("prompt_3", "baseline"),
        ("prompt_3_sweep=20", "clamped"),
        ("prompt_3_sweep=-3_sample=1", "clamped"),
        ("prompt_3_sample=1", "baseline"),
        ("core_id=door_type=declarative_level=3_sweep=0", "clamped"),
        ("core_id=door_type=declarative_level=3_sweep=baseline", "baseline"),
        ("prompt_0_sweep=None", "baseline"),
        ("prompt_0_sweep=reference", "reference"),
        ("prompt_0_sweep=baseline_sample=2", "baseline"),
    ],
)
def test_keys_tell_baseline_from_clamped(key: str, group: str) -> None:
    assert group_of(key) == group


def test_groups_stand_beside_the_pool_where_keys_tell_them(srm: Callable[..., Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(6, 9))
    keys = ["p_0", "p_0_sweep=-3", "p_0_sweep=20", "p_1_sweep=baseline", "p_1_sweep=-3", "p_1_sweep=20"]
    np.savez(tmp_path / "v.npz", **dict(zip(keys, vectors, strict=True)))
    told = json.loads(sweep(srm, tmp_path / "v.npz", "--json").out)
    for name, rows in (("baseline", [0, 3]), ("clamped", [1, 2, 4, 5])):
        xy, norm = vectors[rows][:, [A, B]], np.linalg.norm(vectors[rows], axis=1)
        expected = spotlight_sweep(unit_coordinates(xy, norm), (0.7, 0.5, 0.3, 0.1))
        group = told["groups"][name]
        assert group["n"] == len(rows)
        assert group["phase_deg"] == pytest.approx(expected.phase_deg)
        assert [level["counts"] for level in group["thresholds"]] == expected.counts.tolist()
    assert told["pooled"]["n"] == 6
    printed = sweep(srm, tmp_path / "v.npz").out
    assert printed.index("all vectors  N 6") < printed.index("baseline  N 2") < printed.index("clamped  N 4")
    np.savez(tmp_path / "plain.npz", v=vectors)
    assert json.loads(sweep(srm, tmp_path / "plain.npz", "--json").out)["groups"] == {}


def test_what_is_left_out_is_named_and_zero_vectors_count(srm: Callable[..., Any], tmp_path: Path) -> None:
    table = np.ones((4, 9))
    table[2, 0] = np.nan
    np.savez(
        tmp_path / "v.npz",
        good=np.ones(9, np.float16),
        many=table,
        none=np.zeros(9),
        whole=np.arange(9),
        narrow=np.ones(4),
        word=np.array("x"),
        inf=np.full(9, np.inf),
    )
    ended = sweep(srm, tmp_path / "v.npz", "--json")
    told = json.loads(ended.out)
    assert ended.status == 0
    assert told["zero"] == ["none"]
    assert told["nonfinite"] == ["many[2]", "inf"]
    assert [one["key"] for one in told["skipped"]] == ["v.npz: narrow", "v.npz: word"]
    assert (told["vectors"], told["pooled"]["n"]) == (8, 6)
    for named in (
        "v.npz: narrow: 4 entries where the first has 9",
        "v.npz: word",
        "counted in N: none",
        "many[2], inf",
    ):
        assert named in ended.err


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


BAD: dict[str, Callable[[Path], list[object]]] = {
    "no such file": lambda at: [at / "v.npz"],
    "this is a folder": lambda at: [at],
    "'v.npz: trap': holds pickled Python objects": lambda at: [npz(at / "v.npz", trap=np.array([{}, 1], dtype=object))],
    "'v.npz: z': holds complex numbers": lambda at: [npz(at / "v.npz", z=np.ones(9, complex))],
    "no .npz, .npy or .safetensors file": lambda at: [written(at / "v.npz", b"a,b")],
    "torch.load('v.npz'": lambda at: [written(at / "v.npz", pickle.dumps([1]))],
    "the file is empty": lambda at: [written(at / "v.npz", b"")],
    "damaged": lambda at: [written(at / "w.npz", npz(at / "v.npz", v=np.ones(900)).read_bytes()[:-700])],
    "no vector to sweep (all 2 arrays were skipped, 'v.npz: a': 0-dim": lambda at: [npz(at / "v.npz", a=1, b="x")],
    "no vector to sweep (no array)": lambda at: [npz(at / "v.npz")],
    "neuron 5 is out of range (width 4); choose 0 to 3": lambda at: [npz(at / "v.npz", v=np.ones(4))],
    "neuron -1 is out of range (width 9); choose 0 to 8": lambda at: [npz(at / "v.npz", v=np.ones(9)), "--a", -1],
    "two different neurons, got 5 twice": lambda at: [npz(at / "v.npz", v=np.ones(9)), "--a", 5],
    "none of the 2 vectors is finite, 'v[0]'": lambda at: [npz(at / "v.npz", v=np.full((2, 9), np.nan))],
    "threshold 1.5 is not a cosine": lambda at: [npz(at / "v.npz", v=np.ones(9)), "--thresholds", "1.5"],
    "a threshold stands twice": lambda at: [npz(at / "v.npz", v=np.ones(9)), "--thresholds", "0.5,.50"],
    "0 is not a number of angles": lambda at: [npz(at / "v.npz", v=np.ones(9)), "--angles", 0],
    "cannot be written": lambda at: [
        npz(at / "v.npz", v=np.ones(9)),
        "--csv",
        written(at / "plain", b"") / "o.csv",
    ],
}


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("told", BAD)
@pytest.mark.parametrize("as_json", [False, True])
def test_bad_input_is_one_clear_line(srm: Callable[..., Any], tmp_path: Path, told: str, as_json: bool) -> None:
    arguments = BAD[told](tmp_path)
    defaults = [] if "--a" in arguments else ["--a", A]
    ended = srm("sweep", *arguments, *defaults, "--b", B, *(["--json"] if as_json else []))
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("srm-explorer: ")
    assert ended.err.count("\n") == 1
    assert told in ended.err


def test_arrays_of_tokens_are_swept_by_choice(srm: Callable[..., Any], tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(5, 3, 9))
    np.savez(tmp_path / "v.npz", cube=array, trap=np.array([{}], dtype=object))
    np.savez(tmp_path / "mean.npz", cube=array.mean(axis=1))
    without = sweep(srm, tmp_path / "v.npz")
    assert without.status == 1
    assert "--reduce mean" in without.err
    ended = sweep(srm, tmp_path / "v.npz", "--reduce", "mean", "--json")
    told, expected = json.loads(ended.out), json.loads(sweep(srm, tmp_path / "mean.npz", "--json").out)
    assert told["pooled"] == expected["pooled"]
    assert "skipped v.npz: trap: holds pickled" in ended.err


def test_a_refused_file_leaves_the_old_csv(srm: Callable[..., Any], tmp_path: Path) -> None:
    out = written(tmp_path / "o.csv", b"old")
    path = npz(tmp_path / "v.npz", good=np.ones(3))
    assert sweep(srm, path, "--csv", out).status == 1
    assert out.read_bytes() == b"old"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_charts_on_a_pipe_keep_their_width_and_have_no_colour(
    srm: Callable[..., Any], tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = npz(
        tmp_path / "v.npz",
        **{f"k{i}_sweep={i}": v for i, v in enumerate(np.random.default_rng(1).normal(size=(40, 9)))},
    )
    plain = sweep(srm, path, "--width", width, "--height", 24, chart="both").out
    assert "\x1b" not in plain
    assert "\u2801" <= max(plain) <= "\u28ff"
    assert max(map(len, plain.splitlines())) <= width
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in sweep(srm, path, "--width", width, chart="polar").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in sweep(srm, path, "--width", width, chart="polar").out


def test_keys_cannot_command_the_terminal(srm: Callable[..., Any], tmp_path: Path) -> None:
    ended = sweep(srm, npz(tmp_path / "v.npz", v=np.ones(9), **{"\x1b]0;owned\x07": np.zeros(9)}), chart="both")
    assert ended.status == 0
    assert "owned" in ended.err
    assert "\x1b" not in ended.err + ended.out
    assert "\x07" not in ended.err + ended.out
