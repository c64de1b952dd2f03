from __future__ import annotations

import json
import subprocess
import sys

SCREENS = ("sessions", "compare", "notes", "session_deeds", "compare_export")


def test_the_screens_load_nothing_heavy_before_they_are_shown() -> None:
    modules = ", ".join(f"tui.screens.{name}" for name in SCREENS)
    code = f"import json, sys, {modules}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {"numpy", "pydantic", "plotext", "typer", "torch", "engine.session", "engine.spec"}


def test_reading_and_comparing_sessions_never_loads_torch() -> None:
    code = "import sys, tui.state.session_list, tui.state.session_preview, tui.state.compare_state, engine.runner.shelf"
    code += "; import engine.session.export; print('torch' in sys.modules or 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
