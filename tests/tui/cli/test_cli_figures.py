"""`--figure` on the commands that show a chart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.example import EXAMPLE

# matplotlib asks for the fonts of the system once.
pytestmark = pytest.mark.process

COMMANDS = (
    ("show", EXAMPLE),
    ("effects", EXAMPLE, "--no-score"),
    ("effects", EXAMPLE, "--rule", "published"),
    ("effects", EXAMPLE, "--tokens", " a, b"),
    ("patching", EXAMPLE, "--tokens", " a, b"),
    ("dose", EXAMPLE),
    ("controls", EXAMPLE),
    ("planes", EXAMPLE, "--find"),
    ("sessions", "diff", EXAMPLE),
    ("neuron", "demo", "4", "488"),
    ("sweep", "vectors.npz", "--a", "0", "--b", "1"),
)


@pytest.fixture
def vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("vectors.npz", **{f"prompt_{at}": rng.normal(size=4) for at in range(9)})


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(word for word in command if word != EXAMPLE))
def test_a_file_that_is_none_is_refused_in_one_line_before_anything_is_done(
    srm: Callable[..., Any], command: tuple[Any, ...], tmp_path: Path
) -> None:
    before = {*tmp_path.iterdir()}
    for file, says in (("a.docx", ".pdf, .svg, .png"), (tmp_path / "vectors.npz" / "a.pdf", "vectors.npz")):
        done = srm(*command, "--figure", file, "--column", "double")
        assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
        assert says in done.err
    assert {*tmp_path.iterdir()} == before


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("command", [COMMANDS[5], COMMANDS[10]], ids=["dose", "sweep"])
def test_the_chart_is_written_beside_what_is_printed(srm: Callable[..., Any], command: tuple[Any, ...]) -> None:
    plain = srm(*command)
    done = srm(*command, "--figure", "a.svg", "--column", "double")
    assert done.status == plain.status == 0
    assert "a.svg" in done.err
    assert done.out == plain.out
    assert 'width="504pt"' in Path("a.svg").read_text(encoding="utf-8")
    as_json = srm(*command, "--figure", "b.svg", "--column", "double", "--json")
    assert json.loads(as_json.out)
    assert "b.svg" not in as_json.err
    assert Path("b.svg").read_bytes() == Path("a.svg").read_bytes()


def test_a_difference_of_two_groups_is_drawn_as_it_is_named(
    srm: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    groups = ("--groups", "clamped", "baseline", "--resamples", "100")
    done = srm("sessions", "diff", EXAMPLE, *groups, "--figure", "a.svg", "--chart", "mean", "--json")
    assert done.status == 0, done.err
    assert "mean cosine: clamped − baseline" in Path("a.svg").read_text(encoding="utf-8")
