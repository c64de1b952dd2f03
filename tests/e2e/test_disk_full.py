"""A disk that is full: one line, what was saved stays whole, and the run goes on once there is space."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from srm_explorer.engine.session import load_session

from .conftest import RUNS, assert_same_results

if TYPE_CHECKING:
    from .conftest import Bench

pytestmark = pytest.mark.slow


def test_files_that_may_not_grow_stop_a_batch_or_a_save_and_nothing_else(bench: Bench) -> None:
    (whole,) = bench.drive(bench.job("whole"))
    assert whole.status == 0, whole.stderr
    undisturbed = bench.session("whole")
    document, vectors = (bench.session_path("whole").with_suffix(end) for end in (".json", ".safetensors"))
    in_the_save = max(file.stat().st_size for file in (document, vectors)) - 1_000
    part, *done = bench.drive(
        bench.job("again", in_second=["SIGINT"], keep=str(bench.session_path("again"))),
        bench.job("again", largest_file=in_the_save, keep=str(bench.session_path("again"))),
        bench.job("again"),
        bench.job("first", largest_file=in_the_save),
        bench.job("first"),
        bench.job("batch", largest_file=12_000),
        bench.job("batch"),
    )
    assert part.status == 130, part.stderr
    assert '"interrupted"' in part.kept
    assert done[0].kept == part.kept, "the session that was there stays as it was"
    for name, failed, finished in zip(("again", "first", "batch"), done[0::2], done[1::2], strict=True):
        assert failed.status == 1, (name, failed)
        *before, line = failed.stderr.splitlines()
        assert ["resuming" in one for one in before] == [True] * (name == "again")
        assert "cannot be written" in line
        assert "save to another" in line
        assert finished.status == 0, finished.stderr
        assert_same_results(bench.session(name), undisturbed)
    assert f"resuming first: {RUNS} of {RUNS} runs are finished" in done[3].stderr


def test_a_full_disk_keeps_the_session_that_is_there(bench: Bench, small_disk: Path) -> None:
    spec, target, ballast = bench.folder / "spec.toml", small_disk / "a.json", str(small_disk / "ballast")
    job = {"argv": ["run", str(spec), "--session", str(target)], "folder": str(small_disk / "a.run")}
    part, failed, again, whole = bench.drive(
        {**job, "in_second": ["SIGINT"], "keep": str(target)},
        {**job, "fill": ballast, "keep": str(target)},
        {**job, "free": ballast},
        bench.job("whole"),
    )
    assert (part.status, failed.status, again.status, whole.status) == (130, 1, 0, 0), (failed, again)
    assert "Traceback" not in failed.stderr
    assert "free some space" in failed.stderr.splitlines()[-1]
    assert '"interrupted"' in part.kept
    assert failed.kept == part.kept
    assert_same_results(load_session(target), bench.session("whole"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
