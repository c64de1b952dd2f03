"""What a part of the program may load, seen in a fresh interpreter: import-linter misses what a package's own
`__init__` re-exports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

HEAVY = {"torch", "transformers", "transformer_lens", "tokenizers"}
LIGHT = [
    "engine",
    "srm_explorer.engine.experiment",
    "srm_explorer.engine.prompts",
    "srm_explorer.engine.session",
    "srm_explorer.engine.stats.spotlight",
    "srm_explorer.engine.stats.planes",
    "srm_explorer.engine.stats.groups",
    "srm_explorer.engine.figures.groups",
    "srm_explorer.engine.figures.polar",
    "srm_explorer.engine.figures.thresholds",
    "srm_explorer.engine.figures.dose",
    "srm_explorer.engine.runs.plan",
    "srm_explorer.engine.runs.inputs",
    "srm_explorer.engine.runs.units",
    "srm_explorer.engine.runs.journal",
    "srm_explorer.engine.runs.collect",
    "srm_explorer.engine.runs.resume",
    "srm_explorer.engine.runs.progress",
    "srm_explorer.engine.runs.resume",
    "srm_explorer.engine.worker.client",
    "srm_explorer.engine.worker.client",
    "srm_explorer.engine.worker.server",
    "srm_explorer.engine.worker",
    "srm_explorer.engine.runs.live",
    "srm_explorer.tui.backend.backend",
    "srm_explorer.tui.cli",
    "srm_explorer.tui.cli.app",
    "srm_explorer.tui.cli.worker",
    "srm_explorer.tui.cli.show",
    "srm_explorer.tui.cli.sweep",
    "srm_explorer.tui.cli.run",
    "srm_explorer.tui.cli.analyses",
    "srm_explorer.tui.cli.sessions",
    "srm_explorer.tui.cli.demo",
    "srm_explorer.tui.cli.neuron",
    "srm_explorer.tui.charts.histogram",
    "srm_explorer.tui.charts.polar",
    "srm_explorer.tui.charts.thresholds",
    "srm_explorer.tui.charts.dose",
    "srm_explorer.tui.app",
    "srm_explorer.tui.explorer.controller",
    "srm_explorer.tui.backend.backend",
    "srm_explorer.tui.compare.screen",
    "srm_explorer.tui.explorer.screen",
    "srm_explorer.tui.results.run_screen",
    "srm_explorer.tui.sessions.screen",
    "srm_explorer.tui.results.state",
    "srm_explorer.tui.results.pane",
]


FIRST_FRAME = """
import json, os, sys
from srm_explorer.tui.app import ExplorerApp

seen = {}

def loaded():
    return sorted({name.split(".")[0] for name in sys.modules})

class Watched(ExplorerApp):
    def _display(self, screen, renderable):
        super()._display(screen, renderable)
        if renderable is not None and screen is self.explorer:
            seen.setdefault("at the first frame", loaded())

    def on_explorer_screen_loaded(self):
        self.set_timer(0.5, self.action_leave)

Watched().run()
seen["at the end"] = loaded()
open(os.environ["SEEN"], "w").write(json.dumps(seen))
"""


def loaded_by(module: str) -> set[str]:
    code = f"import json, sys, {module}; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", LIGHT)
def test_what_needs_no_model_never_loads_torch(module: str) -> None:
    assert not loaded_by(module) & HEAVY


def test_the_engine_loads_no_screen() -> None:
    parts = ("experiment", "session", "figures.groups", "execution.run")
    loaded = loaded_by(", ".join(f"srm_explorer.engine.{part}" for part in parts))
    assert not loaded & {"tui", "textual", "plotext", "typer"}
    assert loaded >= HEAVY


def test_the_entry_point_loads_nothing_before_it_is_asked() -> None:
    assert not loaded_by("srm_explorer.tui.cli") & {"numpy", "pydantic", "textual", "plotext", "typer", "rich"}


def test_the_way_to_the_full_screen_loads_nothing_before_it_is_seen() -> None:
    assert not loaded_by("srm_explorer.tui.cli.screen") & {"numpy", "pydantic", "plotext", "typer", "rich"}


def test_the_link_loads_no_screen() -> None:
    assert not loaded_by("srm_explorer.tui.backend.backend") & {"textual", "plotext", "typer", "rich"}


def test_the_full_screen_loads_nothing_but_textual_before_it_is_seen() -> None:
    loaded = loaded_by("srm_explorer.tui.app")
    assert "textual" in loaded
    assert not loaded & {"numpy", "scipy", "pydantic", "plotext", "typer", "safetensors"}


def test_the_first_frame_is_painted_before_any_library_but_textual_is_loaded(tmp_path: Path) -> None:
    with pexpect.spawn(
        sys.executable,
        ["-c", FIRST_FRAME],
        dimensions=(48, 160),
        env={**os.environ, "TERM": "xterm-256color", "SEEN": str(tmp_path / "seen.json")},
        timeout=60,
    ) as screen:
        painted = screen.read()
    seen = json.loads((tmp_path / "seen.json").read_text())
    for part in ("1 Prompts", "2 Intervention", "3 Results"):
        assert part.encode() in painted
    assert not set(seen["at the first frame"]) & (HEAVY | {"numpy", "pydantic", "plotext", "typer"})
    assert set(seen["at the end"]) >= {"numpy", "pydantic"}
    assert not set(seen["at the end"]) & HEAVY
