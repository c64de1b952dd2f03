from __future__ import annotations

import subprocess
import sys

import srm_explorer


def test_every_public_name_can_be_had() -> None:
    assert len(srm_explorer.__all__) > 60
    for name in srm_explorer.__all__:
        assert getattr(srm_explorer, name).__module__.startswith("srm_explorer.engine.")


def test_importing_the_package_loads_no_part_of_it() -> None:
    code = "import sys, srm_explorer; print([m for m in sys.modules if m.startswith('srm_explorer.') or m == 'numpy'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
