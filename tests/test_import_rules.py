"""What a part of the program may load, seen in a fresh interpreter: import-linter misses what a package's own
`__init__` re-exports."""

from __future__ import annotations

import ast
import functools
import graphlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "transformer_lens", "tokenizers"}
LIGHT_COMMANDS = ("", ".app", ".worker", ".show", ".sweep", ".run", ".demo", ".neuron", ".analyses", ".sessions")
TOP = {"engine", "tui"}


FIRST_FRAME = """
import json, os, sys
from srm_explorer.tui.app import ExplorerApp

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


@functools.cache
def light_modules() -> list[str]:
    """What may not reach torch, by the contract for import-linter, and the commands that need no model."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (one for one in linter["contracts"] if "never reaches torch" in one["name"])
    with_model = {line.partition(" -> ")[0] for line in contract["ignore_imports"]}
    modules: list[str] = []
    for source in contract["source_modules"]:
        path = ROOT.joinpath(*source.split(".")[1:])
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        assert files[0].exists(), source
        names = [".".join(("srm_explorer", *file.relative_to(ROOT).with_suffix("").parts)) for file in files]
        modules += [name.removesuffix(".__init__") for name in names]
    modules += [f"srm_explorer.tui.cli{command}" for command in LIGHT_COMMANDS]
    return [module for module in modules if module not in with_model or module.endswith(".__main__")]


def test_what_needs_no_model_never_loads_torch() -> None:
    code = (
        "import importlib, json, sys\n"
        "loads = {}\n"
        "for name in sys.argv[1:]:\n"
        "    before = set(sys.modules)\n"
        "    importlib.import_module(name)\n"
        "    loads[name] = sorted({new.split('.')[0] for new in set(sys.modules) - before})\n"
        "print(json.dumps(loads))\n"
    )
    command = [sys.executable, "-c", code, *light_modules()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    loads = json.loads(done.stdout)
    assert len(loads) > 150
    assert {name: heavy for name, new in loads.items() if (heavy := HEAVY.intersection(new))} == {}


def test_keys_are_found_where_no_extra_is_installed() -> None:
    code = (
        "import sys\n"
        "for name in ('aiohttp', 'matplotlib', 'pandas', 'PIL', 'pyarrow', 'textual_serve'):\n"
        "    sys.modules[name] = None\n"
        "from srm_explorer.tui.keys import known_ids\n"
        "print(len(known_ids()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_the_entry_point_loads_nothing_before_it_is_asked() -> None:
    assert not loaded_by("srm_explorer.tui.cli") & {"numpy", "pydantic", "textual", "plotext", "typer", "rich"}


def test_the_way_to_the_full_screen_loads_nothing_before_it_is_seen() -> None:
    assert not loaded_by("srm_explorer.tui.cli.screen") & {"numpy", "pydantic", "plotext", "typer", "rich"}


def test_the_link_loads_no_screen() -> None:
    assert not loaded_by("srm_explorer.tui.backend.link") & {"textual", "plotext", "typer", "rich"}


def test_the_full_screen_loads_nothing_but_textual_before_it_is_seen() -> None:
    loaded = loaded_by("srm_explorer.tui.app")
    assert "textual" in loaded
    assert not loaded & {"numpy", "scipy", "pydantic", "plotext", "typer", "safetensors"}


def test_the_first_frame_is_painted_before_any_library_but_textual_is_loaded(tmp_path: Path) -> None:
    with pexpect.spawn(
        sys.executable,
        ["-c", FIRST_FRAME],
        dimensions=(48, 160),
        env={**os.environ, "TERM": "xterm-256color", "SEEN": str(tmp_path / "seen.json")},
        timeout=PATIENCE,
    ) as screen:
        painted = screen.read()
    seen = json.loads((tmp_path / "seen.json").read_text())
    for part in ("1 Prompts", "2 Intervention", "3 Results"):
        assert part.encode() in painted
    assert not set(seen["at the first frame"]) & (HEAVY | {"numpy", "pydantic", "plotext", "typer"})
    assert set(seen["at the end"]) >= {"numpy", "pydantic"}
    assert not set(seen["at the end"]) & (HEAVY | {"matplotlib"})


def sources() -> dict[str, ast.Module]:
    """Every module of the project, parsed, by its name; a package is its `__init__`."""
    modules: dict[str, ast.Module] = {}
    for file in (file for folder in TOP for file in (ROOT / folder).rglob("*.py")):
        name = ".".join(("srm_explorer", *file.relative_to(ROOT).with_suffix("").parts))
        modules[name.removesuffix(".__init__")] = ast.parse(file.read_text())
    return modules


def imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """What is imported anywhere in a module, also in functions and for types only: modules and names of theirs."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def lazily_handed_on(package: str) -> Iterator[tuple[str, str]]:
    """What the stub of a package hands on: homes, and names there."""
    stub = ROOT.joinpath(*package.split(".")[1:], "__init__.pyi")
    for node in ast.parse(stub.read_text()).body if stub.exists() else ():
        if isinstance(node, ast.ImportFrom) and node.level:
            yield from ((f"{package}.{node.module}", alias.name) for alias in node.names)


def test_no_file_imports_itself_by_way_of_others() -> None:
    modules = sources()
    packages = {name for name in modules if any(other.startswith(f"{name}.") for other in modules)}
    handed_on = {(name, what): home for name in packages for home, what in imports(modules[name]) if home in modules}
    handed_on |= {(name, what): home for name in packages for home, what in lazily_handed_on(name)}

    def home(module: str, name: str) -> str:
        """Where something is defined that may be imported from its package."""
        while (module, name) in handed_on and f"{module}.{name}" not in modules:
            module = handed_on[module, name]
        return f"{module}.{name}" if f"{module}.{name}" in modules else module

    files = modules.keys() - packages
    graph = {name: {home(*one) for one in imports(modules[name])} & files - {name} for name in files}
    assert sum(map(len, graph.values())) > len(files)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


HOSTILE = "raise SystemExit('a module of the user is imported in place of ours')\n"
AT_EXIT = """
import atexit, os, sys
def note():
    with open(os.environ["SEEN"], "a") as file:
        file.write(" ".join(sorted({name.split(".")[0] for name in sys.modules})) + "\\n")
atexit.register(note)
"""


@pytest.mark.parametrize(
    "command",
    [
        [str(Path(sys.executable).with_name("srm-explorer")), "show", "example.json"],
        [sys.executable, "-P", "-m", "srm_explorer.engine.worker", "--idle", "0"],
        [sys.executable, "-P", "-m", "srm_explorer.engine.launch.study", "effects", "example.json", "{}"],
    ],
    ids=["program", "worker", "analyses"],
)
def test_folders_of_the_user_that_are_called_like_ours_are_never_imported(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text(HOSTILE)
    (tmp_path / "tui.py").write_text(HOSTILE)
    (tmp_path / "sitecustomize.py").write_text(AT_EXIT)
    for file in (ROOT / "saved_sessions").glob("example.[js]*"):
        shutil.copy(file, tmp_path)
    short = tempfile.mkdtemp(prefix="srm-", dir="/tmp")  # a socket's path has at most 100 bytes
    environment = {**os.environ, "PYTHONPATH": ".", "SEEN": str(tmp_path / "seen"), "TMPDIR": short}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    shutil.rmtree(short, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    (modules,) = (tmp_path / "seen").read_text().splitlines()
    loaded = set(modules.split())
    assert "srm_explorer" in loaded
    assert not loaded & TOP
    if "-m" in command:
        # Nor does the engine load the screen.
        assert not loaded & {"textual", "plotext", "typer"}
    assert (loaded >= HEAVY) == ("srm_explorer.engine.worker" in command)
