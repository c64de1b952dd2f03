from __future__ import annotations

import inspect
import pydoc
import re
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


def test_every_public_name_says_what_it_is_with_shapes_and_errors() -> None:
    wanting: list[str] = []
    for name in srm_explorer.__all__:
        home = getattr(srm_explorer, name)
        meaning = vars(home).get("__doc__") if inspect.isclass(home) else home.__doc__
        # What `dataclass` makes up is the signature.
        if not meaning or meaning.startswith(f"{name}("):
            wanting.append(f"{name} says nothing")
            continue
        if inspect.isclass(home):
            continue
        has_arrays = any(word in str(inspect.signature(home)) for word in ("NDArray", "Matrix", "ArrayLike", "Float["))
        if has_arrays and not re.search(r"\[|shape|as `", meaning):
            wanting.append(f"{name} says no shape")
        if "raise ExplorerError" in inspect.getsource(home) and "rror" not in meaning:
            wanting.append(f"{name} says no error")
    assert wanting == []


def test_a_notebook_completes_and_explains_every_public_name() -> None:
    assert dir(srm_explorer) == sorted(srm_explorer.__all__)
    told = pydoc.plaintext.document(srm_explorer)
    assert [name for name in srm_explorer.__all__ if f"{name}(" not in told and f"class {name}" not in told] == []


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
