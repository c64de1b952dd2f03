"""`srm-explorer serve`: nothing for who lacks the token, and the explorer for who has it, in a real browser."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.tui.cli.conftest import Ended
from tests.waiting import PATIENCE, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# The page keeps its terminal to itself: whoever assigns one to anything tells the test of it.
FIND_TERMINAL = """
Object.defineProperty(Object.prototype, "terminal", {configurable: true, set(made) {
  window.shown = made;
  Object.defineProperty(this, "terminal", {value: made, writable: true, configurable: true, enumerable: true});
}})
"""
READ_TERMINAL = """() => {
  if (!window.shown) return "";
  const lines = [], buffer = window.shown.buffer.active;
  for (let y = 0; y < window.shown.rows; y++)
    lines.push(buffer.getLine(buffer.viewportY + y).translateToString(true, 0, window.shown.cols));
  return lines.join("\\n");
}"""


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Any, str]]:
    """A client, and the address of a server whose screens are never started."""
    web = pytest.importorskip("aiohttp", reason="the extra `web` is not installed")
    pytest.importorskip("textual_serve", reason="the extra `web` is not installed")
    from srm_explorer.tui.web.server import ScreenServer

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = ScreenServer(listening, ["--version"], "a <title>")
        serving = asyncio.create_task(server.serve())
        async with web.ClientSession() as client:
            yield client, server.url
        server.end()
        await serving


async def test_nothing_is_told_without_the_token_whatever_is_asked_for() -> None:
    async with served() as (client, url):
        root, token = url.rstrip("/").rsplit("/", 1)
        assert len(token) >= 40
        for wrong in ("", token[:-1], f"{token}x", token.swapcase(), "%00", "é"):
            for rest in ("", "/", "/ws", "/static/js/textual.js", "/download/1", f"/{token}/"):
                async with client.get(f"{root}/{wrong}{rest}") as answer:
                    assert answer.status == 403, (wrong, rest)
                    assert token not in await answer.text()
                    assert token not in str(answer.headers)
        for query in (f"?token={token}", f"#{token}"):
            async with client.get(f"{root}/{query}") as answer:
                assert answer.status == 403
        with pytest.raises(Exception, match="403"):
            await client.ws_connect(f"{root}/ws")


async def test_a_page_of_another_site_is_refused_even_with_the_token() -> None:
    async with served() as (client, url):
        host = url.split("/")[2]
        for name, value in (("Host", "evil.example"), ("Host", f"127.0.0.1.evil.example:{host.split(':')[1]}")):
            async with client.get(url, headers={name: value}) as answer:
                assert answer.status == 403
        for origin in ("http://evil.example", "null", f"https://{host}", "http://127.0.0.1:1"):
            with pytest.raises(Exception, match="403"):
                await client.ws_connect(f"{url}ws", headers={"Origin": origin})


async def test_the_page_loads_nothing_from_elsewhere_and_tells_nobody_where_it_is() -> None:
    async with served() as (client, url):
        async with client.get(url) as answer:
            page = await answer.text()
            assert answer.status == 200
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Cache-Control"] == "no-store"
            policy = answer.headers["Content-Security-Policy"]
        assert "a &lt;title&gt;" in page
        host = url.split("/")[2]
        names = re.findall(r"(?:src|href|data-session-websocket-url)=\"([^\"]*)\"|url\(\"([^\"]*)\"\)", page)
        linked = [one or other for one, other in names if one or other]
        outside = [link for link in linked if not link.startswith(("static/", "data:", f"ws://{host}/"))]
        assert not outside
        assert not re.findall(r"https?://(?!" + re.escape(host) + ")", policy)
        for link in linked:
            if link.startswith("static/"):
                async with client.get(url + link) as answer:
                    assert answer.status == 200, link
        async with client.get(f"{url}download/1") as answer:
            assert answer.status == 404


def test_a_port_that_is_taken_is_one_line(srm: Callable[..., Ended]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = srm("serve", "--port", taken.getsockname()[1])
    assert ended.status == 1
    assert ended.err.count("\n") == 1
    assert "--port 0" in ended.err
    assert not ended.out


def test_without_the_extra_one_line_says_how_to_have_it(
    srm: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "srm_explorer.tui.web.server", raising=False)
    monkeypatch.setitem(sys.modules, "textual_serve", None)
    ended = srm("serve", "--port", 0)
    assert ended.status == 1
    assert ended.err.count("\n") == 1
    assert "pip install 'srm-explorer[web]'" in ended.err


def test_a_session_that_is_not_there_opens_no_port(srm: Callable[..., Ended]) -> None:
    ended = srm("serve", "nosuch", "--port", 0)
    assert ended.status == 1
    assert "nosuch" in ended.err
    assert "port" not in ended.err


def test_a_screen_is_told_nothing_of_the_terminal_that_the_server_has() -> None:
    pytest.importorskip("textual_serve", reason="the extra `web` is not installed")
    from srm_explorer.tui.web.server import screen_environment

    outer = {"HOME": "/h", "TMUX": "1", "STY": "1", "SSH_CONNECTION": "1", "KITTY_WINDOW_ID": "1", "TERM": "screen"}
    inner = screen_environment(outer, 100, 30)
    assert inner["HOME"] == "/h"
    assert inner["TERM"] == "xterm-256color"
    assert not {"TMUX", "STY", "SSH_CONNECTION", "KITTY_WINDOW_ID"} & inner.keys()
    assert (inner["COLUMNS"], inner["ROWS"]) == ("100", "30")


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium, or the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    pytest.importorskip("textual_serve", reason="the extra `web` is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


def test_a_browser_shows_the_explorer_and_its_keys_turn_the_spotlight(
    srm_process: Callable[..., subprocess.Popen[str]], save: Callable[..., Any]
) -> None:
    save("storm")
    with browser() as chromium:
        server = srm_process("serve", "storm", "--port", "0", stdout=subprocess.PIPE)
        assert server.stdout is not None
        assert server.stderr is not None
        url = server.stdout.readline().strip()
        token = url.rstrip("/").rsplit("/", 1)[1]
        assert "is open on 127.0.0.1" in server.stderr.readline()
        asked: list[str] = []
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(FIND_TERMINAL)
        page.on("request", lambda request: asked.append(request.url))
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(url)

        def shown() -> str:
            page.wait_for_timeout(50)
            return page.evaluate(READ_TERMINAL)

        until(lambda: "spotlight θ 0°" in shown(), shown)
        until(lambda: re.search("[\u2801-\u28ff]", shown()), shown)
        # The terminal has the keys without a click.
        page.keyboard.press("ArrowLeft")
        until(lambda: "spotlight θ 0°" not in shown() and "spotlight θ" in shown(), shown)
        page.keyboard.press("Control+z")
        until(lambda: "no shell" in shown(), shown)
        page.keyboard.press("Comma")
        until(lambda: "a page has no editor" in shown(), shown)
        page.set_viewport_size({"width": 800, "height": 600})
        until(lambda: len(shown().splitlines()) < 32 and "[Polar]" in shown() and "q quit" in shown(), shown)
        assert all(one.startswith((url, "data:")) for one in asked), asked

        # Another tab, that knows the port and not the token.
        other = chromium.new_page()
        assert other.goto(url.replace(token, "")).status == 403
        assert "storm" not in other.content()
        opened = other.evaluate(
            "url => new Promise(done => {const s = new WebSocket(url); s.onopen = () => done(true);"
            " s.onerror = () => done(false)})",
            f"ws://{url.split('/')[2]}/ws",
        )
        assert opened is False

        assert not problems
        # A screen is running: it ends with the server.
        screens = children(server.pid)
        assert screens
        server.send_signal(signal.SIGINT)
        _, told = server.communicate(timeout=PATIENCE)
        assert server.returncode == 0
        until(lambda: page.get_by_text("The explorer has ended").is_visible(), shown)
        assert token not in told
        assert not [pid for pid in screens if is_running(pid)]


def children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


def is_running(pid: int) -> bool:
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip() not in ("", "Z")


def test_the_command_refuses_a_port_that_is_none(srm: Callable[..., Ended]) -> None:
    for port in ("-1", "65536", "http"):
        assert srm("serve", "--port", port).status == 2
