"""`srm-explorer serve`: the full screen as a page of a browser."""

from __future__ import annotations

import asyncio
import os
import socket

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.tui.cli.output import flush, note, say

HOST = "127.0.0.1"


def serve_command(session: str | None, port: int) -> None:
    """Open a port of this machine, print its address, and serve the full screen there until ctrl+c.

    Args:
        session: to look at first.
        port: 0 for any that is free.

    Raises:
        ExplorerError: there is no such session, the port is another's, or the server is not installed.
    """
    try:
        # Not needed by any other command, and not installed by default.
        from srm_explorer.tui.web.server import ScreenServer
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in ("textual_serve", "aiohttp"):
            raise
        what = "pages are served by textual-serve, which is not installed"
        raise ExplorerError(what, remedy="pip install 'srm-explorer[web]'") from None
    arguments = ["open"]
    if session is not None:
        from srm_explorer.engine.session import load_session

        path = load_session(paths.session_path(session)).path
        arguments.append(os.fspath(path or session))
    with _bound(port) as listening:

        async def serving() -> None:
            server = ScreenServer(listening, arguments, "srm-explorer")
            number = listening.getsockname()[1]
            note(f"port {number} is open on {HOST}, for this machine alone and who has the address; ctrl+c closes it")
            if "SSH_CONNECTION" in os.environ:
                note(f"elsewhere: ssh -N -L {number}:{HOST}:{number} {socket.gethostname()}, then the same address")
            say(server.url)
            flush()
            await server.serve()

        asyncio.run(serving())
    note("the port is closed")


def _bound(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # So that it can be served again at once where it was served before.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except OSError as error:
        listening.close()
        what = f"port {port} cannot be opened: {(error.strerror or str(error)).lower()}"
        raise ExplorerError(what, remedy="choose another: --port 0 takes any that is free") from None
    return listening
