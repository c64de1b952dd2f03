"""The wheel alone, in an environment without the checkout: it carries everything the demo needs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run(command, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command: the wheel in an environment of its own, the other packages borrowed from this one."""
    home = tmp_path_factory.mktemp("env")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    own = Path(subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout.strip())
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel],
        check=True,
    )
    # A folder named in a .pth file does not have its own .pth files read: the editable checkout stays out.
    borrowed = dict.fromkeys([sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]])
    (own / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return home / "bin" / "srm-explorer"


def test_it_carries_models_prompts_presets_and_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names >= {
        "srm_explorer/engine/demo/model.safetensors",
        "srm_explorer/engine/demo/tokenizer.json",
        "srm_explorer/engine/demo/MODEL_CARD.md",
        "srm_explorer/engine/presets/protocol.toml",
        "srm_explorer/engine/presets/quick.toml",
        "srm_explorer/engine/presets/demo.toml",
        "srm_explorer/shipped_prompts/reasoning.txt",
        "srm_explorer/shipped_prompts/watching.txt",
        "srm_explorer/shipped_prompts/certainty.txt",
        "srm_explorer/engine/py.typed",
        "srm_explorer/tui/py.typed",
    }
    assert not {name for name in names if name.startswith(("tests/", "tools/", "benchmarks/", "saved_sessions/"))}


@pytest.mark.slow
def test_the_demo_runs_outside_the_checkout(program: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_"))}
    environment |= {"HOME": str(tmp_path), "SRM_EXPLORER_SESSIONS": str(tmp_path / "sessions"), "HF_HUB_OFFLINE": "1"}
    home = program.parent / "python"
    where = subprocess.run(
        [home, "-c", "import srm_explorer; print(srm_explorer.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(ROOT) not in where.stdout
    done = subprocess.run(
        [program, "demo", "--no-open"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "demo model" in done.stdout
    assert "270°" in done.stdout
    assert list((tmp_path / "sessions").glob("demo-*.json"))
