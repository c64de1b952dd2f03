"""Pictures of the app: what is on its screen as text and as kinds of cells, always the same for the same code."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
import string
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.registry import run_study
from srm_explorer.engine.experiment import ModelShape
from srm_explorer.engine.worker.protocol import Description
from srm_explorer.tui.app import ExplorerApp
from srm_explorer.tui.backend import study_runner
from srm_explorer.tui.backend.events import Described, RunsFound, Tokenized, WorkerSeen
from srm_explorer.tui.backend.link import WorkerLink
from srm_explorer.tui.backend.study_runner import StudyAnswer, StudyRunner
from srm_explorer.tui.explorer import controller, studies
from srm_explorer.tui.explorer.startup import LaunchOptions
from srm_explorer.tui.settings import Settings
from tests.waiting import PATIENCE, check_alive, works_beside

ROOT = Path(__file__).parents[2]
SAVED = "2025-06-0{}T12:00:00+00:00"
SIZES = {"160x48": (160, 48), "80x24": (80, 24)}
PLAIN = "."
_NAMES = string.ascii_letters + string.digits
_QUIET = 4

Scene = Callable[["Painter"], Awaitable[None]]


class StillLink(WorkerLink):
    """A link that starts nothing and knows the demo model by heart."""

    def open(self) -> None:
        self._tell(WorkerSeen("no worker", 0))
        self._tell(RunsFound(()))

    def describe(self, model: Mapping[str, Any], base: Path) -> None:
        sites = tuple(f"blocks.{layer}.{name}" for layer in range(6) for name in ("mlp.hook_post", "hook_resid_post"))
        self._tell(
            Described(
                model,
                Description(
                    shape=ModelShape("demo", n_layers=6, d_model=128, d_mlp=512, n_ctx=256), device="cpu",
                    is_demo=True, sites=sites, weight_bytes=6_800_000, kv_width=128, n_vocab=2048, free_bytes=4 << 30,
                ),
            )
        )  # fmt: skip

    def tokenize(self, model: Mapping[str, Any], base: Path, texts: Any, *feeding: Any, tag: Any, **named: Any) -> None:
        self._tell(Tokenized(tag, {text: tuple(text.split()) for text in texts}))


class StillStudies(StudyRunner):
    """Studies in this process, each one once: what they find is there before anything is painted."""

    def run(
        self, name: str, session: Path, arguments: Mapping[str, Any], then: Callable[[StudyAnswer], object]
    ) -> None:
        answer = _found(name, session, session.read_bytes(), json.dumps(arguments))
        self._background.deliver(functools.partial(then, answer))


_FINDINGS: dict[tuple[str, bytes, str], StudyAnswer] = {}


def _found(name: str, session: Path, content: bytes, arguments: str) -> StudyAnswer:
    key = (name, content, arguments)
    if key not in _FINDINGS:
        _FINDINGS[key] = run_study(name, session, json.loads(arguments))
    return _FINDINGS[key]


class Painter:
    """Drives the app and keeps a picture of it under each name."""

    def __init__(self, app: ExplorerApp, pilot: Pilot[Any]) -> None:
        self.app, self.pilot = app, pilot
        self.pictures: dict[str, str] = {}
        self.svgs: dict[str, str] = {}

    def text(self) -> str:
        """The characters on the screen, line by line."""
        return "\n".join("".join(segment.text for segment in line) for line in self._lines())

    async def until(self, holds: Callable[[], object] | str) -> None:
        """Wait until something holds, or a text is on the screen."""
        give_up = time.monotonic() + PATIENCE
        while not (holds in self.text() if isinstance(holds, str) else holds()):
            check_alive()
            assert time.monotonic() < give_up, f"{holds} did not come:\n{self.text()}"
            await self.pilot.pause(0.02)

    async def press(self, *keys: str, until: Callable[[], object] | str = "") -> None:
        """Press keys and wait until a text is on the screen."""
        await self.pilot.press(*keys)
        await self.pilot.pause()
        await self.until(until)

    async def take(self, name: str, *, svg: bool = False) -> None:
        """Keep what is on the screen once nothing moves any more."""
        self.pictures[name] = await self._settled()
        if svg:
            self.svgs[name] = self.app.export_screenshot(title="srm-explorer")

    async def _settled(self) -> str:
        last: list[list[Segment]] = []
        same = 0
        give_up = time.monotonic() + PATIENCE
        while same < _QUIET:
            assert time.monotonic() < give_up, f"it does not come to rest:\n{self.text()}"
            for kind in (Input, TextArea):
                for line in self.app.screen.query(kind):
                    line.cursor_blink = False
            await self.pilot.pause(0.04)
            await self.app.workers.wait_for_complete()
            while works_beside():
                await self.pilot.pause(0.01)
            await self.pilot.pause()
            now = self._lines()
            last, same = now, same + 1 if now == last else 0
        return grid(last)

    def _lines(self) -> list[list[Segment]]:
        width, height = self.app.size
        strips = self.app.screen._compositor.render_strips()
        return [list(strip.crop(0, width)) for strip in strips[:height]]


def grid(lines: list[list[Segment]]) -> str:
    """The text, then a letter for the kind of each cell, then what the letters mean.

    Kinds are named in the order in which they come, the most frequent one is a dot.
    """
    styled = [[(segment.text, _told(segment.style)) for segment in line] for line in lines]
    found: dict[str, int] = {}
    for line in styled:
        for text, kind in line:
            found[kind] = found.get(kind, 0) + len(text)
    most = max(found, key=lambda kind: found[kind])
    rest = [kind for kind in found if kind != most]
    assert len(rest) <= len(_NAMES), "more kinds of cells than letters"
    names = {most: PLAIN} | dict(zip(rest, _NAMES, strict=False))
    texts = ["".join(text for text, _ in line).rstrip() for line in styled]
    kinds = ["".join(names[kind] * len(text) for text, kind in line) for line in styled]
    legend = [f"{name} {kind}" for kind, name in names.items()]
    return "\n".join([*texts, "", *kinds, "", *legend, ""])


@functools.cache
def _told(style: Style | None) -> str:
    style = style or Style()
    parts = [_colour(style.color), "on", _colour(style.bgcolor)]
    for name in ("bold", "dim", "italic", "underline", "reverse", "strike"):
        if getattr(style, name):
            parts.append(name)
    return " ".join(parts)


def _colour(colour: Any) -> str:
    if colour is None or colour.is_default:
        return "default"
    return colour.get_truecolor().hex if colour.triplet is not None else colour.name


def stage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a working folder with stored sessions and nothing of this machine, and go there."""
    sessions = folder / "saved_sessions"
    sessions.mkdir()
    for at, (name, change) in enumerate(_SESSIONS.items(), 1):
        whole = json.loads((ROOT / "saved_sessions/example.json").read_bytes())
        whole |= {"name": name, "saved": SAVED.format(at), "created": SAVED.format(at)}
        change(whole)
        path = sessions / f"{name}.json"
        path.write_text(json.dumps(whole), encoding="utf-8")
        os.utime(path, (1_750_000_000 + at, 1_750_000_000 + at))
    beside = sessions / "example.safetensors"
    shutil.copyfile(ROOT / "saved_sessions/example.safetensors", beside)
    monkeypatch.chdir(folder)
    shutil.copytree(ROOT / "prompts", folder / "shipped")
    # Relative, so that no picture shows where files are.
    monkeypatch.setattr(paths, "sessions_folder", lambda: Path("saved_sessions"))
    monkeypatch.setattr(paths, "shipped_prompts", lambda: Path("shipped"))
    monkeypatch.setattr(paths, "trash_folder", lambda: Path("trash"))
    monkeypatch.setattr(controller, "WorkerLink", StillLink)
    for module in (study_runner, studies):
        monkeypatch.setattr(module, "StudyRunner", StillStudies)
    for name in ("NO_COLOR", "COLORTERM", "TMUX", "SSH_TTY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def paint(scene: Scene, size: str, start: LaunchOptions | None = None, settings: Settings | None = None) -> Painter:
    """Let a scene take its pictures of the app in the folder that was staged."""
    columns, rows = SIZES[size] if size in SIZES else [int(part) for part in size.split("x")]
    os.environ["COLUMNS"], os.environ["LINES"] = str(columns), str(rows)
    app = ExplorerApp(start, settings or Settings(hints_left=0))
    kept: list[Painter] = []

    async def go() -> None:
        async with app.run_test(size=(columns, rows), notifications=True) as pilot:
            painter = Painter(app, pilot)
            kept.append(painter)
            await painter.until(lambda: app.explorer.controller is not None)
            await scene(painter)

    asyncio.run(go())
    return kept[0]


def _with_notes(whole: dict[str, Any]) -> None:
    whole["notes"] = "# Storm\n\nHeld at +30σ the model *looks*.\n\n- compare with the other layer\n"


def _gentle(whole: dict[str, Any]) -> None:
    """The same prompts without the value that does most: another experiment, to be compared."""
    kept = [at for at, run in enumerate(whole["runs"]) if run["condition"] < 3]
    whole["spec"]["interventions"][0]["values"] = [-30, 0]
    whole["conditions"], whole["resolved"] = whole["conditions"][:3], whole["resolved"][:3]
    whole["runs"] = [whole["runs"][old] | {"index": new} for new, old in enumerate(kept)]
    for plane in whole["planes"]:
        plane |= {name: [plane[name][at] for at in kept] for name in ("x", "y", "norm")}
    whole |= {"vectors": None, "events": [], "layout": {}, "receipts": []}


_SESSIONS: dict[str, Callable[[dict[str, Any]], None]] = {"example": _with_notes, "gentle": _gentle}
