"""Run every command that the README and the pages in docs/ show, in the order of each page.

    python tools/run_docs.py [PAGE...]          # all pages by default
    python tools/run_docs.py --parse            # run nothing: compare commands and options with the program's
    python tools/run_docs.py --cold [PAGE...]   # import nothing ahead, for pages that load no model

A page has a folder and a home of its own, so that it names no session which it did not make. In its fences:

sh, python   are run; python keeps its names from block to block.
text         right after one of these is what it prints: `...` on a line stands for any lines, and a number for all that
             round to it. Anywhere else it needs title="FILE".
title="FILE" on toml, text, csv and json writes that file first.
console, or python with title="Needs ..."
             is an exception, whose reason is the title. Its commands are parsed, and it is listed at the end. What
             needs the published vectors of GPT-2 is run where they are at hand.

Pages that begin with the same command share what it computed. Processes are forked from one that has the libraries.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import importlib
import io
import itertools
import os
import re
import resource
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = "srm-explorer"
LIBRARIES = (
    "torch",
    "matplotlib",
    "pandas",
    "srm_explorer.engine.execution.replay",
    "srm_explorer.engine.execution.run",
    "srm_explorer.engine.model.load",
    "srm_explorer.tui.cli.app",
    "srm_explorer.tui.cli.run",
    "srm_explorer.tui.cli.show",
)
RUN, SHOWN, FILES = ("sh", "python"), "text", ("toml", "text", "csv", "json")
KNOWN = (*RUN, *FILES, "console", "bibtex", "")
BEFORE = ("exec", "nice", "time")
"""What may stand before a command."""
DATA = "gpt2_prompt_directions.npz"
"""What was published of GPT-2: a block that needs it is run where it is at hand."""
PATIENCE = 300.0

_FENCE = re.compile(r"^(?P<indent> *)(?P<marks>`{3,})(?P<info>[^`\n]*)$")
_TITLE = re.compile(r'title="([^"]*)"')
_INLINE = re.compile(r"(?<!`)`((?:srm-explorer|make) [^`\n]+)`(?!`)")
_NUMBER = re.compile(r"[-−+]?(?:\d[\d,]*)?\.?\d+(?:e[-+]?\d+)?", re.IGNORECASE)


class DocsError(Exception):
    """A page that is wrong: its text says where and how."""


@dataclass
class Block:
    """A fenced block.

    Attributes:
        line: of its first fence, from 1.
        shown: what it says that it prints; None where it doesn't say.
    """

    page: Path
    line: int
    language: str
    title: str
    text: str
    shown: str | None = None

    @property
    def where(self) -> str:
        name = self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page
        return f"{name}:{self.line}"

    @property
    def is_exception(self) -> bool:
        return self.language == "console" or (self.language == "python" and self.title.startswith("Needs "))

    @property
    def is_file(self) -> bool:
        return self.language in FILES and bool(self.title)

    @property
    def needs_data(self) -> bool:
        return self.is_exception and DATA in self.title

    @property
    def may_run(self) -> bool:
        """Whether it is run here, or would be where the published vectors are."""
        return self.needs_data or (self.language in RUN and not self.is_exception)


@dataclass
class Page:
    """A page with its blocks, and where its commands are run."""

    path: Path
    blocks: list[Block] = field(default_factory=list[Block])

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT)) if self.path.is_relative_to(ROOT) else self.path.name

    @property
    def is_run(self) -> bool:
        """Whether any of its blocks is."""
        return any(block.may_run for block in self.blocks)

    @property
    def commands(self) -> int:
        """How many are run, or will be in Python."""
        return sum(block.text.count("\n") for block in self.blocks if block.may_run)

    @property
    def first(self) -> str | None:
        """The command it begins with, as it stands there, if it begins with a block of commands."""
        run = [block for block in self.blocks if block.is_file or (block.language in RUN and not block.is_exception)]
        return without_first(run[0].text)[0].strip() or None if run and run[0].language == "sh" else None


def pages_of(paths: Iterable[Path]) -> list[Page]:
    """Read pages; DocsError where a fence is not of the kinds above."""
    return [Page(path, list(blocks_of(path))) for path in paths]


def default_paths() -> list[Path]:
    """README, how to contribute, and all of docs/."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(path: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order, each with what it says that it prints."""
    last: Block | None = None
    for block, follows in fences(path):
        if block.language not in KNOWN:
            raise DocsError(
                f"{block.where}: a block of '{block.language}'; use one of {', '.join(filter(None, KNOWN))}"
            )
        if block.language == "console" and not block.title:
            raise DocsError(f'{block.where}: an exception without a reason; write ```console title="Needs ..."')
        if block.language == SHOWN and not block.title:
            if not follows or last is None or not last.may_run:
                raise DocsError(f"{block.where}: output of no command above it that is run; leave it out")
            last.shown = block.text
            continue
        if not block.language and re.search(rf"^\s*(\$ )?({PROGRAM}|make|pip|python) ", block.text, re.MULTILINE):
            raise DocsError(f"{block.where}: commands in a block without a language; write ```sh")
        last = block
        yield block


def fences(path: Path) -> Iterator[tuple[Block, bool]]:
    """The fenced blocks of a page, and whether nothing stands between one and the one before."""
    block: Block | None = None
    indent, marks, lines, follows = "", "", list[str](), False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        matched = _FENCE.match(line)
        if block is None:
            if matched:
                language, _, info = matched["info"].strip().partition(" ")
                title = _TITLE.search(info)
                block = Block(path, number, language, title[1] if title else "", "")
                indent, marks, lines = matched["indent"], matched["marks"], []
            elif line.strip():
                follows = False
                if re.match(rf" {{4,}}(\$ )?({PROGRAM}|make) ", line):
                    raise DocsError(f"{path.name}:{number}: an indented command; put it between ```sh and ```")
        elif matched and matched["marks"] == marks and not matched["info"].strip():
            block.text = "\n".join(lines) + "\n"
            yield block, follows
            block, follows = None, True
        else:
            lines.append(line.removeprefix(indent))
    if block is not None:
        raise DocsError(f"{block.where}: the block has no end")


# Parsing


def commands_in(text: str) -> list[list[str]]:
    """The simple commands of shell text, each as words; comments and redirections are left out."""
    found: list[list[str]] = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        skip = False
        for word in lexer:
            if skip:
                skip = False
            elif set(word) <= set("|&;()"):
                found.append(words)
                words = []
            elif set(word) <= set("<>&"):
                skip = True
            else:
                words.append(word)
        found.append(words)
    return [words for words in found if words]


def check(words: Sequence[str]) -> str:
    """What is wrong with a command: an option or a command that the program does not have; empty if nothing is."""
    if words[0] == "make":
        targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return "".join(f"no such target: {word}" for word in words[1:2] if word not in targets)
    called = list(itertools.dropwhile(lambda word: "=" in word or word in BEFORE, words))
    if not called or called[0].rpartition("/")[2] != PROGRAM:
        return ""
    return check_arguments(called[1:])


@functools.cache
def commands_of_program() -> Any:
    """The program's own parser."""
    from srm_explorer.tui.cli.app import app

    return typer.main.get_command(app)


def check_arguments(arguments: Sequence[str]) -> str:
    """Parse arguments of the program with its own parser, calling nothing; alone it opens the screen."""
    if not arguments:
        return ""
    command = commands_of_program()
    context, path, rest = None, PROGRAM, list(arguments)
    with contextlib.redirect_stdout(io.StringIO()):
        while True:
            try:
                context = command.make_context(path, rest, parent=context)
                rest = [*context._protected_args, *context.args]
                if not hasattr(command, "commands") or not rest:
                    return ""
                name, command, rest = command.resolve_command(context, rest)
                path = name or path
            except typer.Exit:
                return ""
            except Exception as error:  # noqa: BLE001  (whatever the parser refuses is what we report)
                return str(getattr(error, "message", error)).partition("\n")[0] or type(error).__name__


def check_inline(text: str) -> str:
    """What is wrong with a command within a sentence, where values and dots may stand for something."""
    text = text.replace("[", " ").replace("]", " ")
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    if words[0] == "make":
        return check(words[:2])
    command = commands_of_program()
    takes_next = False
    for word in words[1:]:
        below = getattr(command, "commands", None)
        if word.startswith("-"):
            options = {option: p for p in command.params for option in (*p.opts, *p.secondary_opts)}
            name = word.partition("=")[0].split("|")[0].split("/")[0].rstrip(",;.")
            if name not in (*options, "-h", "--help") and name.strip("-"):
                return f"no such option: {name}"
            takes_next = name in options and not options[name].is_flag and "=" not in word
        elif takes_next:
            takes_next = False
        elif below is not None and word.strip(".…"):
            names = [name for name in word.split("|") if name.isidentifier() and name.islower()]
            if missing := [name for name in names if name not in below]:
                return f"no such command: {missing[0]}"
            if len(names) != 1:
                break
            command = below[names[0]]
    return ""


def parse(page: Page) -> list[str]:
    """Everything that the parser has against the commands of a page, each with its place."""
    problems: list[str] = []
    for block in page.blocks:
        if block.language in ("sh", "console"):
            problems += [
                f"{block.where}: {shlex.join(words)}: {wrong}"
                for words in commands_in(block.text)
                if (wrong := check(words))
            ]
        elif block.language == "python":
            try:
                imported = [node for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.ImportFrom)]
            except SyntaxError as error:
                problems.append(f"{block.where}: {error}")
                continue
            for node in imported:
                if node.module == "srm_explorer":
                    public = importlib.import_module(node.module)
                    missing = [alias.name for alias in node.names if not hasattr(public, alias.name)]
                    problems += [f"{block.where}: srm_explorer has no {name}" for name in missing]
    fenced = False
    for number, line in enumerate(page.path.read_text(encoding="utf-8").splitlines(), 1):
        fenced ^= _FENCE.match(line) is not None
        for inline in () if fenced else _INLINE.findall(line):
            if wrong := check_inline(inline):
                problems.append(f"{page.path.name}:{number}: {inline}: {wrong}")
    return problems


# Running


def be(request: tuple[list[str], dict[str, str], str], descriptors: Sequence[int]) -> int:
    """Become the command that was asked for, the program or a file of Python; its exit status."""
    (called, *arguments), environment, folder = request
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    os.chdir(folder)
    from srm_explorer.tui.cli import main as program

    try:
        if Path(called).name == PROGRAM:
            status = program(arguments)
        else:
            sys.argv = arguments
            sys.path.insert(0, folder)
            runpy.run_path(arguments[0], run_name="__main__")
            status = 0
        sys.stdout.flush()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001  (a forked process must not return into its parent's code)
        traceback.print_exc()
        status = 1
    return status


def serve(listening: socket.socket) -> None:
    """Fork a command for every connection, and answer with its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listening.accept()
        if os.fork():
            connection.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sent, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        request = ast.literal_eval(sent.decode())
        process = os.fork()
        if not process:
            os._exit(be(request, descriptors))
        for descriptor in descriptors:
            os.close(descriptor)
        _, status, usage = os.wait4(process, 0)
        spend(usage)
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}".encode())
        os._exit(0)


def spend(usage: resource.struct_rusage) -> None:
    """Write down what a process took of a processor."""
    with (Path(os.environ["SRM_DOCS"]) / "spent").open("a") as file:
        file.write(f"{usage.ru_utime + usage.ru_stime:.3f}\n")


SHIM = """#!{python} -ISE
import os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect({socket!r})
socket.send_fds(connection, [repr((sys.argv, dict(os.environ), os.getcwd())).encode()], [0, 1, 2])
status = int(connection.recv(16) or b"70")
sys.exit(status if status >= 0 else 128 - status)
"""
"""What stands for the program, and for `python FILE`, on a page's PATH."""


class Workshop:
    """A folder with the program on a PATH, and homes for pages."""

    def __init__(self, folder: Path, libraries: Sequence[str] = LIBRARIES) -> None:
        self.folder = folder
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / "s"))
        self._listening.listen(64)
        (folder / "bin").mkdir()
        for name in (PROGRAM, "python"):
            shim = folder / "bin" / name
            shim.write_text(SHIM.format(python=sys.executable, socket=str(folder / "s")))
            shim.chmod(0o755)
        os.environ["SRM_DOCS"] = str(folder)
        for name in libraries:
            importlib.import_module(name)
        self.server = os.fork()
        if not self.server:
            serve(self._listening)

    def close(self) -> None:
        os.kill(self.server, signal.SIGKILL)
        os.waitpid(self.server, 0)

    def environment(self, home: Path) -> dict[str, str]:
        kept = ("LANG", "LC_ALL")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            # Locks of devices are in there: pages do not wait for each other, nor for whatever else is run.
            "TMPDIR": str(home),
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(home),
            "COLUMNS": "100",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "MPLBACKEND": "agg",
            "NO_COLOR": "1",
        }

    def begin(self, command: str) -> tuple[Path, str]:
        """Run the command that several pages begin with; what it left behind, and what it printed."""
        copy = Path(tempfile.mkdtemp(prefix="first-", dir=self.folder))
        self.make(copy)
        return copy, self.shell(command, copy)

    @staticmethod
    def make(folder: Path, copy: Path | None = None) -> None:
        """A page's folder and home, empty or as a first command left them."""
        if copy is not None:
            shutil.copytree(copy, folder, dirs_exist_ok=True)
        for name in ("home", "work"):
            (folder / name).mkdir(exist_ok=True, parents=True)

    def shell(self, text: str, folder: Path) -> str:
        """Run shell text; what it printed. DocsError where it fails."""
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", text],
            cwd=folder / "work",
            env=self.environment(folder / "home"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            raise DocsError(f"exit status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done.stdout


def run_page(page: Page, shop: Workshop, firsts: dict[str, tuple[Path, str]]) -> None:
    """Run a page in this process; DocsError at the first block that fails, or prints something else than is shown."""
    folder = Path(tempfile.mkdtemp(prefix="page-", dir=shop.folder))
    copy, printed = firsts.get(page.first or "", (None, ""))
    shop.make(folder, copy)
    work = folder / "work"
    os.chdir(work)
    os.environ.clear()
    os.environ.update(shop.environment(folder / "home"))
    tempfile.tempdir = None
    names: dict[str, Any] = {"__name__": "__main__"}
    has_data = False
    for block in page.blocks:
        if block.is_file:
            (work / block.title).parent.mkdir(parents=True, exist_ok=True)
            (work / block.title).write_text(block.text, encoding="utf-8")
            continue
        if block.needs_data and (file := published()) is not None:
            if not has_data:
                (work / DATA).symlink_to(file)
                has_data = True
        elif block.is_exception or block.language not in RUN:
            continue
        try:
            if block.language == "python":
                output = run_python(block, names)
            elif copy is not None:
                output, copy = printed + shop.shell(without_first(block.text)[1], folder), None
            else:
                output = shop.shell(block.text, folder)
            if block.shown is not None:
                compare(output, block.shown)
        except DocsError as error:
            raise DocsError(f"{block.where}: {error}") from None


def without_first(text: str) -> tuple[str, str]:
    """The first command of a block with its line, and what follows it."""
    lines = text.splitlines(keepends=True)
    for end in range(1, len(lines) + 1):
        if commands_in("".join(lines[:end])) and not lines[end - 1].rstrip().endswith("\\"):
            return "".join(lines[:end]), "".join(lines[end:])
    return text, ""


def run_python(block: Block, names: dict[str, Any]) -> str:
    """Run a block of Python in the page's names; what it printed."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(block.text, block.where, "exec"), names)
    except Exception:  # noqa: BLE001  (whatever a page raises is what we report)
        raise DocsError(f"{printed.getvalue()[-2000:]}\n{traceback.format_exc()}") from None
    return printed.getvalue()


def compare(output: str, shown: str) -> None:
    """Find the lines that are shown in an output, in a row; DocsError where they are not there."""
    got = [line.split() for line in output.splitlines() if line.strip()]
    parts: list[list[list[str]]] = [[]]
    for line in shown.splitlines():
        if line.strip() in ("...", "…"):
            parts.append([])
        elif line.strip():
            parts[-1].append(line.split())
    at = 0
    for part in parts:
        starts = range(at, len(got) - len(part) + 1)
        start = next((start for start in starts if all(map(alike, got[start:], part))), None)
        if start is None:
            what = "\n".join(" ".join(line) for line in part)
            raise DocsError(f"it does not print\n{what}\nbut\n{output[-4000:]}")
        at = start + len(part)


def alike(got: Sequence[str], shown: Sequence[str]) -> bool:
    """Whether two lines are the same words, numbers up to one unit of the last place that is shown."""
    return len(got) == len(shown) and all(map(alike_word, got, shown))


def alike_word(got: str, shown: str) -> bool:
    numbers, expected = _NUMBER.findall(got), _NUMBER.findall(shown)
    if got == shown:
        return True
    if _NUMBER.sub("#", got) != _NUMBER.sub("#", shown):
        return False
    return all(
        abs(_value(one) - _value(other)) <= 1.001 * 10.0 ** -len(other.partition(".")[2])
        for one, other in zip(numbers, expected, strict=True)
    )


def _value(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


@functools.cache
def published() -> Path | None:
    """The published vectors of GPT-2, where they are at hand; looked for before pages have an environment."""
    named = os.environ.get("SRM_EXPLORER_DATA")
    folders = [Path(named)] if named else [ROOT / "shared" / "data", ROOT.parent / "shared" / "data"]
    return next((folder / DATA for folder in folders if (folder / DATA).is_file()), None)


def in_processes(tasks: Sequence[tuple[str, Callable[[], None]]], at_once: int = 2) -> list[str]:
    """Do tasks in forked processes, some at a time; what went wrong, and how long each took on standard output."""
    waiting, running, failed = list(tasks), dict[int, tuple[str, float, Any]](), list[str]()
    while waiting or running:
        while waiting and len(running) < at_once:
            name, task = waiting.pop(0)
            told = tempfile.TemporaryFile("w+")  # noqa: SIM115
            sys.stdout.flush()
            process = os.fork()
            if not process:
                status = 0
                try:
                    task()
                except DocsError as error:
                    told.write(str(error))
                    status = 1
                except BaseException:  # noqa: BLE001
                    told.write(traceback.format_exc())
                    status = 1
                told.flush()
                os._exit(status)
            running[process] = (name, time.monotonic(), told)
        process, status, usage = os.wait3(0)
        spend(usage)
        if process not in running:
            continue
        name, began, told = running.pop(process)
        print(f"{'failed' if status else 'ok':6} {time.monotonic() - began:5.1f} s  {name}", flush=True)
        if status:
            told.seek(0)
            failed.append(told.read() or f"{name}: ended with {status}")
        told.close()
    return failed


def run_all(pages: Sequence[Page], libraries: Sequence[str] = LIBRARIES) -> list[str]:
    """Run pages, in processes that have libraries from the start; what went wrong."""
    # The longest first, so that no processor waits for one at the end.
    pages = sorted((page for page in pages if page.is_run), key=lambda page: -page.commands)
    os.environ["OMP_NUM_THREADS"] = "1"
    published()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="docs-") as made:
        shop = Workshop(Path(made), libraries)
        try:
            begins = [page.first for page in pages if page.first]
            firsts: dict[str, tuple[Path, str]] = {}
            for command in sorted({one for one in begins if begins.count(one) > 1}):
                began = time.monotonic()
                firsts[command] = shop.begin(command)
                print(f"ok     {time.monotonic() - began:5.1f} s  {command}", flush=True)
            failed = in_processes([(page.name, functools.partial(run_page, page, shop, firsts)) for page in pages])
            spent = sum(map(float, (shop.folder / "spent").read_text().split()))
            print(f"{len(pages)} pages in {time.monotonic() - start:.0f} s, {spent:.0f} s of a processor", flush=True)
            return failed
        except DocsError as error:
            return [str(error)]
        finally:
            shop.close()


def exceptions(pages: Iterable[Page]) -> list[str]:
    """Blocks that are parsed and not run, each with its reason and its commands."""
    told: list[str] = []
    for block in (block for page in pages for block in page.blocks if block.is_exception):
        if block.needs_data and published() is not None:
            continue
        if block.language == "python":
            commands = ["a block of Python"]
        else:
            commands = [shlex.join(words) for words in commands_in(block.text)]
        told.append(f"{block.where} ({block.title})")
        told += [f"    {command}" for command in commands]
    return told


def main(arguments: Sequence[str]) -> int:
    """Parse, and run; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", nargs="*", type=Path, help="all pages by default")
    parser.add_argument("--parse", action="store_true", help="run nothing: compare with what the program has")
    parser.add_argument("--cold", action="store_true", help="import nothing ahead, for pages that load no model")
    asked = parser.parse_args(arguments)
    try:
        pages = pages_of([page.resolve() for page in asked.page] or default_paths())
    except DocsError as error:
        print(error)
        return 1
    problems = [problem for page in pages for problem in parse(page)]
    if not problems and not asked.parse:
        problems = run_all(pages, () if asked.cold else LIBRARIES)
    listed = exceptions(pages)
    if listed:
        print("parsed, not run:", *listed, sep="\n")
    if problems:
        print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
