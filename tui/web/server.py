"""The explorer in a browser on this machine: one address that nobody guesses, and a process of the screen a tab."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import html
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

import textual_serve
from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

PROGRAM = (sys.executable, "-P", "-c", "from srm_explorer.tui.cli import main; raise SystemExit(main())")
HOST = "127.0.0.1"
_HOSTS = (HOST, "localhost", "::1")
"""Names a browser may call this machine by; a name that another server gives its own page is none of them."""

_STATIC = Path(textual_serve.__file__).parent / "static"
_PAGE = Path(__file__).with_name("page.html")
_SEALED = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PATIENCE = 5.0
"""Seconds a screen is given to end by itself."""

_NOT_THE_PAGES = re.compile(r"^(TMUX.*|STY|SSH_.*|LC_TERMINAL.*|KITTY_.*|ITERM_.*|WEZTERM_.*|TEXTUAL.*|LINES)$")
"""Variables that tell of the terminal which the server was started in."""


class ScreenProcess(AppService):
    """A process of the full screen, seen through the websocket of one tab."""

    def __init__(self, arguments: Sequence[str], websocket: web.WebSocketResponse) -> None:
        super().__init__(
            "",
            write_bytes=self._send,
            write_str=websocket.send_str,
            close=self._close,
            download_manager=DownloadManager(),
        )
        self._arguments, self._websocket = arguments, websocket

    async def _send(self, painted: bytes) -> None:
        # What is painted for a page that is gone is still read, or the screen would wait for a reader and never end.
        with contextlib.suppress(ConnectionError):
            await self._websocket.send_bytes(painted)

    async def _close(self) -> None:
        await self._websocket.close()

    async def _open_app_process(self, width: int = 80, height: int = 24) -> asyncio.subprocess.Process:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        environment = screen_environment(os.environ, width, height)
        # Not in our job: ctrl+c is for the server, which asks each screen to end.
        self._process = await asyncio.create_subprocess_exec(
            *PROGRAM, *self._arguments, **pipes, env=environment, start_new_session=True
        )
        self._stdin = self._process.stdin
        return self._process

    async def run(self) -> None:
        """Pass on what the screen paints until it ends, and the tab with it."""
        await super().run()
        await self._close()

    async def stop(self) -> None:
        """End the process: asked first, then made to."""
        process, self._process = self._process, None
        if process is None or self._task is None:
            return
        await self.send_meta({"type": "quit"})
        ended = asyncio.create_task(process.wait())
        for end in (process.terminate, process.kill):
            await asyncio.wait({ended}, timeout=_PATIENCE)
            if ended.done():
                break
            end()
        await ended
        await self._task


def screen_environment(outer: Mapping[str, str], width: int, height: int) -> dict[str, str]:
    """The variables of a screen whose terminal is a page of so many columns and lines."""
    kept = {name: value for name, value in outer.items() if not _NOT_THE_PAGES.fullmatch(name)}
    return {
        **kept,
        "TERM": "xterm-256color",
        "TERM_PROGRAM": "textual",
        "COLORTERM": "truecolor",
        "TEXTUAL_COLOR_SYSTEM": "truecolor",
        "TEXTUAL_DRIVER": "srm_explorer.tui.web.driver:BrowserDriver",
        "COLUMNS": str(width),
        "ROWS": str(height),
    }


class ScreenServer:
    """Answers those who know its token, and nobody else.

    Everything lies below a path that begins with the token, so that no cookie is set (which every other server of this
    machine would be sent) and nothing has to be remembered but the address.

    Args:
        listening: a socket that is bound; 127.0.0.1 alone is meant.
        arguments: of the command that shows the screen.
        title: of the page.
    """

    def __init__(self, listening: socket.socket, arguments: Sequence[str], title: str) -> None:
        self._listening, self._arguments, self._title = listening, arguments, title
        self._token = secrets.token_urlsafe(32)
        self._screens: set[ScreenProcess] = set()
        self._ended = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._listening.getsockname()[1]}/{self._token}/"

    async def serve(self) -> None:
        """Answer until SIGINT, SIGTERM or SIGHUP; then end the screens, and return."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.end)
        # Addresses are in no log: they hold the token.
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=_PATIENCE)
        await runner.setup()
        await web.SockSite(runner, self._listening).start()
        try:
            await self._ended.wait()
        finally:
            await asyncio.gather(*(screen.stop() for screen in self._screens))
            await runner.cleanup()

    def end(self) -> None:
        """Have `serve` return."""
        self._ended.set()

    def application(self) -> web.Application:
        """What is answered: a page, its static files, and the websocket."""
        application = web.Application(middlewares=[self._guard])
        application.on_response_prepare.append(self._seal)
        application.add_routes(
            [
                web.get(f"/{self._token}/", self._page),
                web.get(f"/{self._token}/ws", self._screen),
                web.static(f"/{self._token}/static", _STATIC),
            ]
        )
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse who lacks the token, who came by another name of this machine, and pages of others.

        A page elsewhere can have its own name lead here (DNS rebinding); then the browser names that as the host. It
        can open a websocket to here; then the browser names that page as the origin.
        """
        token = [*request.path.split("/"), ""][1]
        if not hmac.compare_digest(token.encode("utf-8", "surrogateescape"), self._token.encode()):
            raise web.HTTPForbidden(text="403: open the whole address that `srm-explorer serve` has printed\n")
        if _host_name(request.host) not in _HOSTS or request.headers.get("Origin") not in (
            None,
            f"http://{request.host}",
        ):
            raise web.HTTPForbidden(text=f"403: the explorer is at http://{HOST} alone, and for its own page\n")
        return await handler(request)

    async def _seal(self, _: web.Request, response: web.StreamResponse) -> None:
        """Tell the browser to keep nothing, load nothing, and never tell where it came from."""
        for name, value in _SEALED.items():
            response.headers.setdefault(name, value)

    async def _page(self, request: web.Request) -> web.Response:
        size, nonce = request.query.get("fontsize", ""), secrets.token_urlsafe(16)
        page = Template(_PAGE.read_text("utf-8")).substitute(
            nonce=nonce,
            title=html.escape(self._title),
            websocket=f"ws://{request.host}/{self._token}/ws",
            font_size=size if re.fullmatch(r"[1-9][0-9]", size) else "16",
        )
        policy = [
            "default-src 'self'",
            f"script-src 'self' 'nonce-{nonce}'",
            f"connect-src 'self' ws://{request.host}",
            "img-src 'self' data:",
            # The terminal writes styles of its own.
            "style-src 'self' 'unsafe-inline'",
            "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ]
        return web.Response(text=page, content_type="text/html", headers={"Content-Security-Policy": "; ".join(policy)})

    async def _screen(self, request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(heartbeat=15)
        await websocket.prepare(request)
        screen = ScreenProcess(self._arguments, websocket)
        self._screens.add(screen)
        try:
            await screen.start(_cells(request, "width", 80), _cells(request, "height", 24))
            async for message in websocket:
                if message.type == WSMsgType.TEXT:
                    await _pass_on(message.json(), screen, websocket)
        finally:
            await screen.stop()
            self._screens.discard(screen)
        return websocket


async def _pass_on(envelope: object, screen: ScreenProcess, websocket: web.WebSocketResponse) -> None:
    """Give a screen what its page says: keys, a size, and whether it is looked at."""
    match envelope:
        case ["stdin", str(keys)]:
            await screen.send_bytes(keys.encode("utf-8", "surrogatepass"))
        case ["resize", {"width": int(width), "height": int(height)}]:
            await screen.set_terminal_size(width, height)
        case ["ping", answer]:
            await websocket.send_json(["pong", answer])
        case ["blur"]:
            await screen.blur()
        case ["focus"]:
            await screen.focus()
        case _:
            pass


def _cells(request: web.Request, name: str, default: int) -> int:
    told = request.query.get(name, "")
    return int(told) if re.fullmatch(r"[1-9][0-9]{0,2}", told) else default


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
