"""`srm-explorer report` and `script`: a session as a page to read, and as a program that repeats it."""

from __future__ import annotations

from pathlib import Path

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.io.files import write_atomic
from srm_explorer.engine.launch.watch import staged
from srm_explorer.engine.report.report import report_of
from srm_explorer.engine.report.script import script
from srm_explorer.engine.session import load_session
from srm_explorer.tui.cli.output import file_size, note, say, visible


def report_command(session: str, output: Path, texts: int) -> None:
    """Write a session as one HTML file; a file that is there is replaced in one step."""
    if output.suffix.lower() not in (".html", ".htm"):
        what = f"a report is HTML, and {visible(str(output))} is no .html file"
        raise ExplorerError(what, where="--output", remedy="name it .html; every browser prints it as PDF")
    with staged() as told:
        told("reading the session", 0)
        opened = load_session(paths.session_path(session))
        made = report_of(opened, texts=texts, told=told)
    content = made.content()
    write_atomic(output, content)
    for line in made.left_out:
        note(line)
    say(f"report written to {visible(str(output))} ({file_size(len(content))})")


def script_command(session: str, output: Path | None, controls: bool) -> None:
    """Write a program that repeats a session, or print it; a file that is there is replaced in one step."""
    text = script(load_session(paths.session_path(session)), controls=controls)
    if output is None:
        say(text.rstrip("\n"))
        return
    write_atomic(output, text.encode("utf-8", "backslashreplace"))
    say(f"script written to {visible(str(output))}; it needs transformer_lens and numpy alone")
