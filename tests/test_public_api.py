from __future__ import annotations

import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import srm_explorer
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io import files
from srm_explorer.tui.cli import main

ROOT = Path(__file__).resolve().parents[1]


def test_every_public_name_can_be_had() -> None:
    assert len(srm_explorer.__all__) > 60
    for name in srm_explorer.__all__:
        assert getattr(srm_explorer, name).__module__.startswith("srm_explorer.engine.")


def test_importing_the_package_loads_no_part_of_it() -> None:
    code = "import sys, srm_explorer; print([m for m in sys.modules if m.startswith('srm_explorer.') or m == 'numpy'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert srm_explorer.__version__ == project["version"]


def test_a_system_without_file_locks_is_told_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setitem(sys.modules, "fcntl", None)
        with pytest.raises(ExplorerError, match="WSL"):
            runpy.run_path(files.__file__)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sys, "platform", "win32")
        status = main(["doctor"])
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "WSL" in err
