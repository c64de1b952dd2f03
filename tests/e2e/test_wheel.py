"""What is installed, in environments of their own and a folder with modules called like ours, runs the demo."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
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
def installed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Install something in an environment of its own, the other packages borrowed from this one; its programs."""

    def install(*what: str | Path) -> Path:
        home = tmp_path_factory.mktemp("env")
        venv.create(home, with_pip=False)
        python = home / "bin" / "python"
        ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
        site = Path(subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip())
        # A folder named in a .pth file does not have its own .pth files read: this checkout's install stays out.
        borrowed = dict.fromkeys([sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"], *_borrowed()])
        command = ("--python", python, "install", "--no-deps", "--no-index", "--no-build-isolation", *what)
        if "--editable" in what:  # it is built where it is installed; a wheel of that version would count as there
            (site / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
            pip(*command)
        else:
            pip(*command)
            (site / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
        return home / "bin"

    return install


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
def test_the_demo_runs_outside_the_checkout(
    wheels: dict[str, Path], installed: Callable[..., Path], hostile: Path
) -> None:
    programs = installed(wheels["from the checkout"])
    where = run(programs / "python", "-P", "-c", "import srm_explorer; print(srm_explorer.__file__)", cwd=hostile)
    assert str(ROOT) not in where
    shown = run(programs / "srm-explorer", "demo", "--no-open", cwd=hostile)
    assert "demo model" in shown
    assert "270°" in shown
    assert list((hostile / "sessions").glob("demo-*.json"))


@pytest.mark.slow
def test_an_editable_install_imports_from_the_checkout(installed: Callable[..., Path], hostile: Path) -> None:
    programs = installed("--editable", ROOT)
    code = "import srm_explorer.engine.session as session; print(session.__file__)"
    where = run(programs / "python", "-P", "-c", code, cwd=hostile)
    assert Path(where.strip()).resolve().is_relative_to(ROOT.resolve() / "engine")
    assert "reasoning" in run(programs / "srm-explorer", "prompts", "list", cwd=hostile)
