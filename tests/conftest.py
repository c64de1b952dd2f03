"""What every test shares: small random models, and a machine of its own to write to."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib.util
import inspect
import itertools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.example import EXAMPLE

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel
    from tests.e2e.warm import WarmServer

# Read when the libraries are imported, so set before any of them is: no network, and an empty cache of models.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = str(Path(tempfile.gettempdir()) / "srm-explorer-tests-without-models")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# The matrices are small and the processes of the tests many: threads would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The tests start hundreds of processes: where nothing that is compiled may be kept, each compiles the program anew,
# and what collects the tests each of their files.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The size of the terminal that the tests are started in is not that of the terminals they start.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)

# The same examples every time, at any speed: a failure is of the change at hand.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")

# A background job of a shell, and nohup, leave signals ignored, which every process inherits that a test starts and
# interrupts; the program itself honours that wish, as a test of its own shows.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

STARTERS = ("subprocess", "pexpect", "pty")
"""Modules that start processes; a test that reaches one of them, or forks, is marked `process`."""

TOOLS = Path(__file__).resolve().parents[1] / "tools"
_homes = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that is a coroutine runs in an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and starts_processes(item):
            item.add_marker(pytest.mark.process)


def pytest_collection_finish() -> None:
    """What the tests import stays: looking through it for garbage again and again takes a quarter of their time."""
    gc.collect()
    gc.freeze()


def starts_processes(item: pytest.Function) -> bool:
    """Whether a test lies in e2e, or it or one of its fixtures starts a process, as far as its code shows."""
    if "e2e" in item.path.parts:
        return True
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    # The guard names what starts processes in order to refuse it.
    functions = {fixture[-1].func for fixture in fixtures} - {inspect.unwrap(no_process_unmarked)}
    return any(_starts(function) for function in (item.function, *functions))


@functools.cache
def _starts(function: Callable[..., Any]) -> bool:
    """Follow a function to the others of its module."""
    function = inspect.unwrap(function)
    waiting: list[tuple[CodeType, FunctionType]] = []
    if isinstance(function, FunctionType):
        waiting.append((function.__code__, function))
    known = {code for code, _ in waiting}
    while waiting:
        code, of = waiting.pop()
        values = [of.__globals__.get(name) for name in code.co_names]
        if "fork" in code.co_names or any(isinstance(v, ModuleType) and v.__name__ in STARTERS for v in values):
            return True
        near = [v for v in values if isinstance(v, FunctionType) and v.__module__ == of.__module__]
        inner = [(const, of) for const in code.co_consts if isinstance(const, CodeType)]
        following = [*((v.__code__, v) for v in near), *inner]
        waiting += [(code, of) for code, of in following if code not in known]
        known.update(code for code, _ in following)
    return False


@pytest.fixture(autouse=True)
def no_process_unmarked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests without the mark `process` start none: `make test-fast` leaves out those that do."""
    started: list[Any] = []

    def refuse(_: object, command: Any, *__: Any, **___: Any) -> None:
        started.append(command)
        raise OSError("a test that starts a process needs the mark `process`")

    if request.node.get_closest_marker("process") is None:
        monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
        monkeypatch.setattr(subprocess.Popen, "__del__", lambda _: None)
    yield
    assert not started, "a test that starts a process needs the mark `process`"


@pytest.fixture(autouse=True, scope="session")
def one_import_name() -> Iterator[None]:
    """In the end nothing was imported but under the name that is installed."""
    yield
    assert not {"engine", "tui"} & {name.partition(".")[0] for name in sys.modules}


@pytest.fixture(autouse=True)
def untested_example() -> None:
    """What other tests recorded of the session that ships, or of one that is saved nowhere, is forgotten."""
    # Not with this module: numpy is to be loaded after the environment is set.
    from srm_explorer.engine import paths
    from srm_explorer.engine.session import Ledger

    paths.ledger_file(EXAMPLE).unlink(missing_ok=True)
    Ledger.forget()


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Point everything the program writes at folders of this test alone; they need not exist.

    The settings say that the first hints were used up: what is in view is what a daily user sees.

    A worker that the test leaves behind is ended: it would hold half a gigabyte until its idle exit.
    """
    home = tmp_path_factory.getbasetemp() / f"home-{next(_homes)}"
    for name in ("DATA", "STATE", "CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    settings = home / "config" / "srm-explorer" / "settings.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("hints_left = 0\n")
    monkeypatch.setenv("SRM_EXPLORER_SESSIONS", str(home / "sessions"))
    monkeypatch.delenv("SRM_EXPLORER_PICTURES", raising=False)
    # Sockets and device locks: no worker of another test, or of the person at the keyboard, is met.
    temporary = tmp_path_factory.getbasetemp() / f"t{home.name.removeprefix('home-')}"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield home
    if any(temporary.glob("srm-explorer-*")):
        end_workers(temporary)


def end_workers(temporary: Path) -> None:
    """Kill the workers whose sockets are, or will be, below a folder for temporary files."""
    wanted = f"TMPDIR={temporary}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_worker = b"srm_explorer.engine.worker" in (process / "cmdline").read_bytes().split(b"\0")
            if is_worker and wanted in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)


@pytest.fixture(scope="session")
def warm_server() -> Iterator[WarmServer]:
    """Forks processes that have the libraries already."""
    from tests.e2e.warm import WarmServer

    server = WarmServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def random_models() -> ModuleType:
    """tools/make_random_model.py as a module."""
    return load_module(TOOLS / "make_random_model.py")


def load_module(path: Path) -> ModuleType:
    """A program that stands beside the package as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look themselves up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_gpt2_folder(random_models: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model like GPT-2 of 3 layers, 32 wide, 64 neurons, 600 token ids, 256 positions."""
    return _tiny(random_models, tmp_path_factory, "gpt2")


@pytest.fixture(scope="session")
def tiny_llama_folder(random_models: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gated model with grouped queries, like Llama, of the same sizes."""
    return _tiny(random_models, tmp_path_factory, "llama")


@pytest.fixture(scope="session")
def tiny_gpt2(tiny_gpt2_folder: Path) -> LoadedModel:
    """The model like GPT-2 in float64, so that no near-tie flips a token."""
    return _loaded(tiny_gpt2_folder)


@pytest.fixture(scope="session")
def tiny_llama(tiny_llama_folder: Path) -> LoadedModel:
    """The gated model in float64."""
    return _loaded(tiny_llama_folder)


def _tiny(random_models: ModuleType, tmp_path_factory: pytest.TempPathFactory, shape: str) -> Path:
    folder = tmp_path_factory.mktemp(f"tiny-{shape}")
    sizes = random_models.Sizes(shape, layers=3, d_model=32, d_mlp=64, heads=4, vocab=600, context=256)
    random_models.write_model(folder, sizes)
    return folder


def _loaded(folder: Path) -> LoadedModel:
    import torch

    from srm_explorer.engine.experiment import ModelSpec
    from srm_explorer.engine.model.load import load_model

    torch.set_num_threads(1)  # matrices this small only lose by being shared out
    model = load_model(ModelSpec(name=str(folder), device="cpu", dtype="float64"))
    model.pads = True  # as its self-test finds
    return model
