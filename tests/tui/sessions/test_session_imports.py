from __future__ import annotations

import json
import subprocess
import sys

SCREENS = ("sessions.screen", "compare.screen", "sessions.notes", "sessions.actions", "sessions.table")


def test_the_screens_load_nothing_heavy_before_they_are_shown() -> None:
    modules = ", ".join(f"srm_explorer.tui.{name}" for name in SCREENS)
    code = f"import json, sys, {modules}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {
        "numpy",
        "pydantic",
        "plotext",
        "typer",
        "torch",
        "srm_explorer.engine.session",
        "srm_explorer.engine.experiment",
    }


def test_reading_and_comparing_sessions_never_loads_torch() -> None:
    parts = ("tui.sessions.list_model", "tui.sessions.preview_text", "tui.compare.state", "engine.runs.manage")
    code = "import sys; " + "; ".join(f"import srm_explorer.{part}" for part in (*parts, "engine.session.export"))
    code += "; print('torch' in sys.modules or 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
