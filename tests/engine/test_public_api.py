from __future__ import annotations

import subprocess
import sys

import engine


def test_every_name_is_where_the_package_says() -> None:
    for name in engine.__all__:
        assert getattr(engine, name).__module__.startswith(engine._HOMES[name].rpartition(".")[0])


def test_importing_the_package_loads_no_part_of_it() -> None:
    code = "import sys, engine; print([m for m in sys.modules if m.startswith('engine.') or m == 'numpy'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
