"""What a part of the program may load, seen in a fresh interpreter: import-linter misses what a package's own
`__init__` re-exports."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "transformer_lens", "tokenizers"}
LIGHT = [
    "engine",
    "engine.spec",
    "engine.prompts",
    "engine.session",
    "engine.analysis.srm",
    "engine.analysis.planes",
    "engine.analysis.groups",
    "engine.figures.session",
    "engine.figures.polar",
    "engine.figures.thresholds",
    "engine.figures.dose",
    "engine.runner.plan",
    "engine.runner.inputs",
    "engine.runner.units",
    "engine.runner.journal",
    "engine.runner.collect",
    "engine.runner.life",
    "engine.runner.progress",
    "engine.runner.outcome",
    "engine.runner.client",
    "engine.runner.starting",
    "engine.runner.service",
    "engine.runner.worker",
    "engine.runner.live",
    "tui.link.link",
    "tui.cli",
    "tui.cli.app",
    "tui.cli.worker",
    "tui.cli.show",
    "tui.cli.sweep",
    "tui.cli.run",
    "tui.cli.demo",
    "tui.charts.polar",
    "tui.charts.thresholds",
    "tui.charts.dose",
]


def loaded_by(module: str) -> set[str]:
    code = f"import json, sys, {module}; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", LIGHT)
def test_what_needs_no_model_never_loads_torch(module: str) -> None:
    assert not loaded_by(module) & HEAVY


def test_the_engine_loads_no_screen() -> None:
    loaded = loaded_by("engine.spec, engine.session, engine.figures.session, engine.runner.run")
    assert not loaded & {"tui", "textual", "plotext", "typer"}
    assert loaded >= HEAVY


def test_the_entry_point_loads_nothing_before_it_is_asked() -> None:
    assert not loaded_by("tui.cli") & {"numpy", "pydantic", "textual", "plotext", "typer", "rich"}


def test_the_link_loads_no_screen() -> None:
    assert not loaded_by("tui.link.link") & {"textual", "plotext", "typer", "rich"}
