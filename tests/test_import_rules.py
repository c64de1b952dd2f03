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
    "tui.cli.neuron",
    "tui.charts.histogram",
    "tui.charts.polar",
    "tui.charts.thresholds",
    "tui.charts.dose",
    "tui.app",
    "tui.desk.desk",
    "tui.link.link",
    "tui.screens.compare",
    "tui.screens.explorer",
    "tui.screens.run_view",
    "tui.screens.sessions",
    "tui.state.results",
    "tui.widgets.results_pane",
]


FIRST_FRAME = """
import json, os, sys
from tui.app import ExplorerApp

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
    loaded = loaded_by("engine.spec, engine.session, engine.figures.session, engine.runner.run")
    assert not loaded & {"tui", "textual", "plotext", "typer"}
    assert loaded >= HEAVY


def test_the_entry_point_loads_nothing_before_it_is_asked() -> None:
    assert not loaded_by("tui.cli") & {"numpy", "pydantic", "textual", "plotext", "typer", "rich"}


def test_the_link_loads_no_screen() -> None:
    assert not loaded_by("tui.link.link") & {"textual", "plotext", "typer", "rich"}


def test_the_full_screen_loads_nothing_but_textual_before_it_is_seen() -> None:
    loaded = loaded_by("tui.app")
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
