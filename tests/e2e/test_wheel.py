"""What a wheel holds, and what an editable install imports; `make try-wheel` installs the wheel and runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
HOSTILE = "raise SystemExit('a module of the user is imported in place of ours')\n"
KINDS = ["from the checkout", "from the sdist"]


def pip(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True, timeout=PATIENCE)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel by what it was built from."""
    folder = tmp_path_factory.mktemp("wheels")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder], check=True, cwd=ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    built: dict[str, Path] = {}
    for kind, source in zip(KINDS, (ROOT, sdist), strict=True):
        pip("wheel", "--no-deps", "--no-build-isolation", "-w", folder / kind, source)
        (built[kind],) = (folder / kind).glob("*.whl")
    return built


@pytest.fixture(scope="session")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with this checkout in it, the other packages borrowed from this one."""
    home = tmp_path_factory.mktemp("env")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = Path(subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip())
    # A folder named in a .pth file does not have its own .pth files read: this checkout's install stays out.
    borrowed = dict.fromkeys([sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"], *_borrowed()])
    # First these, for it is built where it is installed.
    (site / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    pip("--python", python, "install", "--no-deps", "--no-index", "--no-build-isolation", "--editable", ROOT)
    return home / "bin"


def _borrowed() -> list[str]:
    """Where this environment itself has its packages from."""
    return [path for path in sys.path if path.endswith("-packages")]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text(HOSTILE)
    (tmp_path / "tui.py").write_text(HOSTILE)
    return tmp_path


def run(program: Path, *arguments: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_"))}
    environment |= {
        "HOME": str(cwd),
        "SRM_EXPLORER_SESSIONS": str(cwd / "sessions"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": ".",
    }
    done = subprocess.run(
        [program, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=2 * PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_both_are_the_same_byte_for_byte_with_models_prompts_presets_and_types(wheels: dict[str, Path]) -> None:
    files, again = ({one.filename: one.CRC for one in zipfile.ZipFile(wheels[kind]).infolist()} for kind in KINDS)
    assert files == again
    assert files.keys() >= {
        "srm_explorer/engine/demo/model.safetensors",
        "srm_explorer/engine/demo/tokenizer.json",
        "srm_explorer/engine/demo/MODEL_CARD.md",
        "srm_explorer/engine/figures/glossary.txt",
        "srm_explorer/engine/presets/protocol.toml",
        "srm_explorer/engine/presets/quick.toml",
        "srm_explorer/engine/presets/demo.toml",
        "srm_explorer/shipped_prompts/reasoning.txt",
        "srm_explorer/shipped_prompts/watching.txt",
        "srm_explorer/shipped_prompts/certainty.txt",
        "srm_explorer/engine/report/report.html.j2",
        "srm_explorer/engine/report/script.py.j2",
        "srm_explorer/tui/web/page.html",
        "srm_explorer/engine/py.typed",
        "srm_explorer/tui/py.typed",
    }
    assert {name.partition("/")[0].partition("-")[0] for name in files} == {"srm_explorer"}


@pytest.mark.slow
def test_an_editable_install_imports_from_the_checkout(editable: Path, hostile: Path) -> None:
    code = "import srm_explorer.engine.session as session; print(session.__file__)"
    where = run(editable / "python", "-P", "-c", code, cwd=hostile)
    assert Path(where.strip()).resolve().is_relative_to(ROOT.resolve() / "engine")
    assert "reasoning" in run(editable / "srm-explorer", "prompts", "list", cwd=hostile)
