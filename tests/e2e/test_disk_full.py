"""A disk that is full: one line, what was saved stays whole, and the run goes on once there is space."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.session import load_session

from .conftest import RUNS, assert_same_results

if TYPE_CHECKING:
    from .conftest import Bench

pytestmark = pytest.mark.slow
SHORT = ("--set", "generation.tokens=6")


def test_a_limit_on_the_size_of_files_stops_a_batch_or_a_save_and_nothing_else(bench: Bench) -> None:
    (whole,) = bench.drive(bench.job("whole", *SHORT))
    assert whole.status == 0, whole.stderr
    undisturbed = bench.session("whole")
    sizes = [bench.session_path("whole").with_suffix(end).stat().st_size for end in (".json", ".safetensors")]
    for name, limit in (("in-a-batch", 12_000), ("in-the-save", max(sizes) - 1_000)):
        failed, again = bench.drive(bench.job(name, *SHORT, largest_file=limit), bench.job(name, *SHORT))
        assert failed.status == 1, failed
        (line,) = failed.stderr.splitlines()
        assert "cannot be written" in line
        assert "save to another" in line
        assert again.status == 0, again.stderr
        assert_same_results(bench.session(name), undisturbed)
        if name == "in-the-save":
            assert f"resuming {name}: {RUNS} of {RUNS} runs are finished" in again.stderr


def test_an_interrupted_session_stays_whole_when_the_rest_cannot_be_saved(bench: Bench) -> None:
    part, whole = bench.drive(
        bench.job("a", signals=[["running", "SIGINT"]]),
        bench.job("whole"),
    )
    assert (part.status, whole.status) == (130, 0)
    old = bench.session_path("a").read_bytes()
    limit = bench.session_path("whole").stat().st_size - 1_000
    (failed,) = bench.drive(bench.job("a", largest_file=limit))
    assert failed.status == 1, failed
    assert bench.session_path("a").read_bytes() == old
    assert len(failed.stderr.splitlines()) == 2, "that it goes on, and what went wrong"
    assert bench.session("a").state == "interrupted"
    (again,) = bench.drive(bench.job("a"))
    assert again.status == 0, again.stderr
    assert_same_results(bench.session("a"), bench.session("whole"))


def test_a_full_disk_keeps_the_session_that_is_there(bench: Bench, small_disk: Path) -> None:
    target = str(small_disk / "a")
    spec = str(bench.folder / "spec.toml")
    job = {"argv": ["run", spec, "--session", target], "folder": str(small_disk / "a.run")}
    (part,) = bench.drive({**job, "signals": [["running", "SIGINT"]]})
    assert part.status == 130, part.stderr
    old = (small_disk / "a.json").read_bytes()
    ballast = small_disk / "ballast"
    fill(ballast)
    (failed,) = bench.drive(job)
    assert failed.status == 1, failed
    assert "Traceback" not in failed.stderr
    assert "free some space" in failed.stderr.splitlines()[-1]
    assert (small_disk / "a.json").read_bytes() == old
    ballast.unlink()
    again, whole = bench.drive(job, bench.job("whole"))
    assert (again.status, whole.status) == (0, 0), again.stderr
    assert_same_results(load_session(small_disk / "a.json"), bench.session("whole"))


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
