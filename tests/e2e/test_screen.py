"""The full screen as its users meet it: the installed command in a terminal, its keys, and what kills it."""

from __future__ import annotations

import csv
import math
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from srm_explorer.engine.session import load_session
from tests.waiting import PATIENCE, until

from .conftest import PROMPTS, RUNS, Hold, assert_same_results, end_workers, environment, worker_pids
from .terminal import COMMAND, Terminal
from .warm import WORKER, WarmProcess

if TYPE_CHECKING:
    from srm_explorer.engine.session import Session

    from .conftest import Bench

pytestmark = pytest.mark.slow

READOUT = r"spotlight θ (\d+)°\s+> (-?[.\d]+)\s+lit (\d+) of (\d+) \(baseline (\d+) of (\d+)\)"
LONG_VALUES = tuple(range(-9, 10, 2))
LONG_RUNS = PROMPTS * (len(LONG_VALUES) + 1)
"""Several batches, in the middle of which the tests hold them."""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the workers of these tests have their socket; none is left behind."""
    folder = tmp_path_factory.getbasetemp() / "s"
    folder.mkdir(exist_ok=True)
    yield folder
    end_workers(folder)


@pytest.fixture
def warm_worker(bench: Bench, office: Path, own_folders: Path) -> None:
    """Have a worker whose runs can be held."""
    environ = {**environment(), "TMPDIR": str(office)}
    for pid in {*worker_pids(office)} - bench.server.workers(str(office)):
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: pid not in worker_pids(office), "the end of the worker that a screen started")
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    worker = WarmProcess(
        bench.server, WORKER, [], env=environ, cwd="/", stdout=pipe, stderr=null, start_new_session=True
    )
    assert worker.stdout
    assert worker.stdout.readline() in (b"ready\n", b"taken\n")


@pytest.fixture
def terminal(bench: Bench, office: Path, own_folders: Path) -> Iterator[Callable[..., Terminal]]:
    """Start the installed command in a terminal; all are killed at the end of the test, the worker stays."""
    started: list[Terminal] = []
    env = {**environment(), "TMPDIR": str(office), "SRM_EXPLORER_SESSIONS": str(bench.folder / "out")}
    env.pop("NO_COLOR", None)

    def start(*argv: str, size: tuple[int, int] = (160, 48), shell: bool = False) -> Terminal:
        command = ["bash", "--norc", "--noprofile", "-i"] if shell else [COMMAND, *argv]
        one = Terminal(command, {**env, "PS1": "ready> "}, bench.folder, size)
        started.append(one)
        return one

    yield start
    for one in started:
        with one:
            pass


def lengthen(bench: Bench) -> None:
    spec = bench.folder / "spec.toml"
    spec.write_text(spec.read_text().replace("values = [-4, 0, 4]", f"values = {list(LONG_VALUES)}"))


def lit(session: Session, theta: int, threshold: float) -> tuple[int, int]:
    """Runs under the spotlight, clamped and baseline, counted one by one."""
    (plane,) = session.planes
    counts = [0, 0]
    for run, x, y, norm in zip(session.runs, plane.x, plane.y, plane.norm, strict=True):
        cosine = (x * math.cos(math.radians(theta)) + y * math.sin(math.radians(theta))) / norm if norm else 0.0
        counts[run.condition == 0] += cosine > threshold + 1e-12
    return counts[0], counts[1]


def is_counted(text: str, session: Session, theta: int) -> bool:
    """Whether the readout stands at an angle with the counts of its threshold, which may be drawn a moment later."""
    shown = re.search(READOUT, text)
    if shown is None or int(shown[1]) != theta:
        return False
    clamped, baseline = lit(session, theta, float(shown[2]))
    return [int(number) for number in shown.groups()[2:]] == [clamped, RUNS * 3 // 4, baseline, RUNS // 4]


def check_readout(screen: Terminal, session: Session, theta: int) -> None:
    until(lambda: is_counted(screen.text, session, theta), lambda: f"the counts at {theta}° on\n{screen.text}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Bench], Session]:
    """The same experiment run once in one go, by the command line."""
    known: dict[str, Session] = {}

    def run(bench: Bench) -> Session:
        spec = (bench.folder / "spec.toml").read_text()
        if spec not in known:
            path = tmp_path_factory.mktemp("undisturbed") / "whole.json"
            command = [*bench.command("whole")[:2], "--session", str(path)]
            (done,) = bench.drive({"argv": command, "folder": str(path.with_suffix(".run"))})
            assert done.status == 0, done.stderr
            known[spec] = load_session(path)
        return known[spec]

    return run


def saved(bench: Bench) -> Session:
    """The only session of the screen's own name, once it is saved whole."""

    def finished() -> Session | None:
        paths = [path for path in (bench.folder / "out").glob("spec-*.json") if not path.with_suffix(".run").exists()]
        session = load_session(paths[0]) if paths else None
        return session if session and session.state == "finished" else None

    session = until(finished, lambda: f"the session among {sorted((bench.folder / 'out').iterdir())}")
    assert session
    return session


def begun(screen: Terminal) -> None:
    """Start the long experiment and wait until some of its runs, and not all, are there."""
    screen.wait_for("50 / 50")
    screen.press("r")
    screen.wait_for(rf"[1-9]\d* / {LONG_RUNS} runs")


def finished(screen: Terminal, runs: int = LONG_RUNS) -> None:
    screen.wait_for(rf"lit \d+ of {runs - PROMPTS} \(baseline \d+ of {PROMPTS}\)")
    screen.wait_until_gone(rf"/ {runs} runs")


def test_run_turn_read_save_quit_reopen(bench: Bench, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("open", "--spec", "spec.toml")
    screen.wait_for("50 / 50")
    screen.press("r")
    finished(screen, RUNS)
    session = saved(bench)
    screen.press("3", "right", "right", "shift+right")
    check_readout(screen, session, 12)
    screen.press("left", "t")
    check_readout(screen, session, 11)
    screen.press("s")
    screen.wait_for("copy of the session as")
    screen.press("ctrl+u", "kept", "enter")
    screen.wait_for("session kept")
    shown = screen.wait_for(READOUT).group(0)
    screen.press("q")
    assert screen.wait_for_end() == 0
    assert screen.left_in_order()
    assert_same_results(bench.session("kept"), session)
    again = terminal("open", "kept", size=(80, 24))
    assert again.wait_for(r"lit \d+").group(0) in shown


def test_screens_that_are_gone_change_nothing(
    bench: Bench,
    warm_worker: None,
    hold: Hold,
    terminal: Callable[..., Terminal],
    undisturbed: Callable[[Bench], Session],
) -> None:
    lengthen(bench)
    screen = terminal("open", "--spec", "spec.toml")
    begun(screen)
    for how in (signal.SIGKILL, signal.SIGHUP, signal.SIGTERM):
        screen.send_signal(how)
        assert screen.wait_for_end() == (-how if how == signal.SIGKILL else 128 + how)
        assert how == signal.SIGKILL or screen.left_in_order()
        screen = terminal()
        screen.wait_for(rf"\d+ / {LONG_RUNS} runs")
    hold.end()
    finished(screen)
    assert_same_results(saved(bench), undisturbed(bench))


@pytest.mark.parametrize("heed", ["trap - HUP", "trap '' HUP"])
def test_a_terminal_that_is_closed_ends_the_screen_as_a_hangup(bench: Bench, office: Path, heed: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(bench.folder)
        env = {**environment(), "TMPDIR": str(office), "TERM": "xterm-256color"}
        os.execvpe("sh", ["sh", "-c", f"{heed}; exec {COMMAND} open"], env)
    termios.tcsetwinsize(terminal, (24, 80))
    shown = b""
    while b"Prompts" not in shown:
        shown += os.read(terminal, 65536)
    os.close(terminal)
    ended: list[int] = []

    def has_ended() -> bool:
        found, status = os.waitpid(pid, os.WNOHANG)
        ended.append(status)
        return bool(found)

    try:
        until(has_ended, "the end")
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        raise
    assert os.waitstatus_to_exitcode(ended[-1]) == 128 + signal.SIGHUP


def test_a_killed_worker_is_told_and_its_run_goes_on(
    bench: Bench,
    warm_worker: None,
    hold: Hold,
    terminal: Callable[..., Terminal],
    undisturbed: Callable[[Bench], Session],
    office: Path,
) -> None:
    lengthen(bench)
    screen = terminal("open", "--spec", "spec.toml")
    begun(screen)
    (pid,) = worker_pids(office)
    os.kill(pid, signal.SIGKILL)
    screen.wait_for(r"(?i)worker .*r resumes")
    hold.end()
    screen.press("r")
    finished(screen)
    assert_same_results(saved(bench), undisturbed(bench))


def test_two_screens_and_a_command_line_share_one_worker_and_lose_nothing(
    bench: Bench,
    warm_worker: None,
    hold: Hold,
    terminal: Callable[..., Terminal],
    undisturbed: Callable[[Bench], Session],
    office: Path,
) -> None:
    lengthen(bench)
    screens = [terminal("open", "--spec", "spec.toml") for _ in range(2)]
    begun(screens[0])
    screens[1].wait_for("50 / 50")
    screens[1].press("r")
    screens[1].wait_for(rf"[1-9]\d* / {LONG_RUNS} runs")
    line = subprocess.Popen(
        [COMMAND, *bench.command("line", "--set", "interventions.0.values=[2]")],
        env={**environment(), "TMPDIR": str(office)},
        stderr=subprocess.PIPE,
        text=True,
    )
    hold.end()
    _, err = line.communicate(timeout=PATIENCE)
    assert line.returncode == 0, err
    for screen in screens:
        finished(screen)
    assert len(worker_pids(office)) == 1
    assert_same_results(saved(bench), undisturbed(bench))
    assert len(bench.session("line").runs) == 2 * PROMPTS


def state_of(pid: int) -> str:
    """R, S, T and so on, as the system has it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def rows_marked(text: str) -> list[str]:
    return [line for line in text.splitlines() if "▸" in line]


def test_what_was_typed_outlives_the_screen(bench: Bench, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("open", "--spec", "spec.toml")
    screen.wait_for("50 / 50")
    screen.press("2")
    while "▸values" not in screen.text:
        # What else changes meanwhile, such as the state of the worker, is no answer to the key.
        before = rows_marked(screen.text)
        screen.press("down")
        give_up = time.monotonic() + 10
        while rows_marked(screen.text) == before and time.monotonic() < give_up:
            time.sleep(0.02)
    screen.press("enter", "ctrl+u", "-7,0,7")
    screen.wait_for(r"values +-7,0,7")
    drafts = Path(os.environ["XDG_STATE_HOME"]) / "srm-explorer" / "drafts"
    until(lambda: any("-7,0,7" in file.read_text() for file in drafts.glob("*.json")), "the draft")
    screen.send_signal(signal.SIGKILL)
    screen.wait_for_end()
    again = terminal()
    again.wait_for(r"-7,? ?0,? ?7")


UNASKED = [
    "\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\",
    "\x1bP>|term 1.0\x1b\\",
    "\x1bP1$r q\x1b\\",
    "\x1b[57:93;3u",
    "\x1b[97;1:3u",
    "\x1b[1;1:3A",
    "\x1b[1079::97;5u",
    "\x1b[?62;4;22c",
    "\x1b[10;20R",
    "\x1b[?997;1n",
    "\x1b[48;24;80;480;640t",
    f"\x1b]52;c;{'cnFyMXVy' * 2000}\x07",
    "\x1b[?64;1;2;6;9;15;16;17;18;21;22;28;29;42;52c",
]
"""What terminals send late or unasked: of colours, names, settings, keys, sizes, and of what they can."""


def test_replies_are_no_keys_and_what_keys_write_is(bench: Bench, terminal: Callable[..., Terminal]) -> None:
    (done,) = bench.drive(bench.job("a", "--set", "generation.tokens=4"))
    assert done.status == 0
    screen = terminal("open", str(bench.session_path("a")))
    screen.wait_for(READOUT)
    screen.press("3")
    before = screen.wait_for(READOUT)[0]
    for reply in UNASKED:
        screen.press(reply)
    for reply in UNASKED[:6]:
        # In two parts, the second later than the rest of a key would come.
        screen.press(reply[:4])
        time.sleep(0.15)
        screen.press(reply[4:])
    screen.send_bytes(b"\x9d11;rgb:q\x9c\xff\xe9\x901$r q\x9c\x9b97;1:3u")
    # AltGr where the text of a key is told: to the next tab, and back by keys that need none.
    screen.press("\x1b[57;3;93u")
    screen.wait_for(r"\[Thresh")
    screen.press("<")
    screen.wait_for(r"\[Polar\]")
    assert screen.wait_for(READOUT)[0] == before
    assert not [*(bench.folder / "out").glob("a-*")], "no run was started"
    assert not [*(bench.folder / "out").glob("spec-*")], "no run was started"
    screen.press("2", "\x1b[200~-5\n\N{MINUS SIGN}1\n\n0\n4\x1b[201~")
    screen.wait_for("4 values")
    screen.press("enter", "u")
    screen.wait_for("undone: values")
    screen.press("\x1b[113;;113u")
    assert screen.wait_for_end() == 0
    assert screen.left_in_order()


CONTINUED_LATE = """
import os, signal
from textual.drivers.linux_driver import LinuxDriver
from srm_explorer.tui.cli import main

def close(driver, close=LinuxDriver.close):
    close(driver)
    if driver._app.leaving:
        os.kill(os.getpid(), signal.SIGCONT)

LinuxDriver.close = close
raise SystemExit(main([]))
"""


def test_a_screen_that_is_continued_while_it_ends_ends(own_folders: Path, tmp_path: Path, office: Path) -> None:
    env = {**environment(), "TMPDIR": str(office)}
    # A shell that hangs up sends this signal too, and it comes whenever it does.
    with Terminal([sys.executable, "-P", "-c", CONTINUED_LATE], env, tmp_path) as screen:
        screen.wait_for("No runs to show yet")
        screen.send_signal(signal.SIGHUP)
        assert screen.wait_for_end() == 128 + signal.SIGHUP


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_shell_has_the_terminal_while_the_screen_is_suspended_and_the_run_goes_on(
    bench: Bench, warm_worker: None, hold: Hold, terminal: Callable[..., Terminal]
) -> None:
    lengthen(bench)
    shell = terminal(shell=True)
    shell.wait_for("ready>")
    shell.press(f"{COMMAND} open --spec spec.toml\r")
    begun(shell)
    shell.wait_for("worker warm")
    shell.wait_for(r"lit \d+ of \d+")

    def left_panes() -> list[str]:
        # On their right the chart goes on to be drawn.
        return [line[:36] for line in shell.lines[1:30]]

    before = left_panes()
    for key in ("\x1a", "\x1b[122;5u"):
        shell.press(key)
        shell.wait_for(r"Stopped")
        assert shell.left_in_order()
        shell.press("stty -a | tr ';' '\\n' | grep -ow -e icanon -e echo -e isig | sort | tr '\\n' '-'; echo whole\r")
        shell.wait_for("echo-icanon-isig-whole")
        shell.press("bg\r")
        shell.wait_for(r"open --spec spec.toml &")
        shell.press("clear\r", "fg\r")
        shell.wait_for(rf"/ {LONG_RUNS} runs")
        until(lambda: not shell.left_in_order(), "the screen")
        until(lambda: left_panes() == before, lambda: f"the screen as it was:\n{shell.text}")
        until(lambda: all(shell.lines[:-3]) and "ready>" not in shell.text, lambda: f"the whole screen:\n{shell.text}")
    # Stopped by others, and continued behind the shell, whose keys it reads not: it waits for `fg`.
    group = shell.foreground_group
    for typed in ("", "echo\r"):
        os.killpg(group, signal.SIGSTOP)
        shell.wait_for("Stopped")
        os.killpg(group, signal.SIGCONT)
        shell.press(typed)
        until(lambda: state_of(group) == "T", "the stop")
        shell.press("clear\r", "fg\r")
        until(lambda: shell.foreground_group == group and not shell.waits_for_lines, "a terminal of keys")
        until(lambda: left_panes() == before, lambda: f"the screen as it was:\n{shell.text}")
    shell.press("ctrl+z")
    shell.wait_for("Stopped")
    hold.end()
    saved(bench)
    shell.press("fg\r")
    finished(shell)
    shell.press("q")
    until(shell.left_in_order, lambda: f"the shell:\n{shell.text}")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_inside_tmux(bench: Bench, office: Path, own_folders: Path) -> None:
    (done,) = bench.drive(bench.job("a", "--set", "generation.tokens=4"))
    assert done.status == 0
    session = bench.session("a")
    env = {**environment(), "TMPDIR": str(office), "TERM": "screen-256color"}
    tmux = ["tmux", "-L", f"t{os.getpid()}", "-f", "/dev/null"]

    def capture() -> str:
        return subprocess.run([*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True, env=env).stdout

    def wait(pattern: str) -> str:
        text = ""

        def shows() -> object:
            nonlocal text
            text = capture()
            return re.search(pattern, text)

        until(shows, lambda: f"{pattern} on\n{text}")
        return text

    command = f"{COMMAND} open {bench.session_path('a')}"
    subprocess.run([*tmux, "new-session", "-d", "-x", "160", "-y", "48", command], check=True, env=env)
    try:
        wait(READOUT)
        subprocess.run([*tmux, "send-keys", "3", "Right", "Right"], check=True, env=env)
        until(lambda: is_counted(capture(), session, 2), lambda: f"the counts at 2° on\n{capture()}")
        subprocess.run([*tmux, "resize-window", "-x", "80", "-y", "24"], check=True, env=env)
        wait("θ 2°")
        told = subprocess.run([*tmux, "display", "-p", "#{pane_pid}"], check=True, env=env, capture_output=True)
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, env=env)
    until(lambda: not Path(f"/proc/{int(told.stdout)}").exists(), "the end of the screen, whose terminal is gone,")


PASTE = "\x1b[200~{}\x1b[201~"


def test_a_second_experiment_takes_thirty_keys(bench: Bench, terminal: Callable[..., Terminal]) -> None:
    """Another layer and neuron, values pasted, run, read, compared, exported, renamed, and there at the next start."""
    (done,) = bench.drive(bench.job("first"))
    assert done.status == 0, done.stderr
    screen = terminal("open", "first", size=(120, 36))
    pressed: list[str] = []

    def press(*keys: str) -> None:
        pressed.extend(keys)
        screen.press(*keys)

    screen.wait_for(r"n3 × n8 · L1 hook_post")
    press("2", "enter", "0", "enter", "down", "enter", "7", "enter")
    screen.wait_for(r"edited L0 hook_post · clamp n7 · n7 × n8")
    press("down", "down", "enter", PASTE.format("-2\n0\n2.5\n"), "enter")
    screen.wait_for(r"values +-2 0 2\.5")
    press("r")
    screen.wait_for(r"first-\w+ is finished")
    screen.wait_for(r"n7 × n8 · L0 hook_post")
    threshold, count = screen.wait_for(r"spotlight θ 0°\s+> (-?[.\d]+)\s+lit (\d+) of 150").groups()
    (path,) = (bench.folder / "out").glob("first-*.json")
    run = load_session(path)
    assert lit(run, 0, float(threshold))[0] == int(count) > 0
    (plane,) = run.planes
    cosines = {
        (run.prompts[one.prompt].text, run.conditions[one.condition].label): x / norm
        for one, x, norm in zip(run.runs, plane.x, plane.norm, strict=True)
    }

    def listed() -> bool:
        rows = re.findall(r"● +(The man opened \d+ doors) +(\S+) +(-?\.\d+)", screen.text)
        return bool(rows) and all(abs(cosines.get(row[:2], 9.0) - float(row[2])) < 0.006 for row in rows)

    until(listed, lambda: f"the runs with their cosines on\n{screen.text}")
    assert {edit.neurons for edit in run.spec.interventions} == {(7,)}
    assert {condition.value for condition in run.conditions} == {None, -2, 0, 2.5}
    press("o")
    screen.wait_for(rf"▸ +{path.stem}")
    press("m", "j", "m", "c")
    screen.wait_for("each session is drawn in its own")
    compared = screen.wait_for(rf"{path.stem}: L0 hook_post · n7 · clamp −2, 0, 2.5; n7 × n8 · L0 hook_post").string
    for name, amplitude in ((path.stem, r"\.\d+"), ("first", r"\.\d+")):
        assert re.search(rf"[●▲] {name} +{amplitude} \(", compared)
    press("esc")
    screen.wait_for(r"▸☑ +first ")
    press("k", "x", "c")
    screen.wait_for(r"\.csv")
    press("enter")
    screen.wait_for("200 runs written to")
    press("R", "b", "enter")
    screen.wait_for(r"▸☑? +b ")
    press("esc")
    screen.wait_for("session b")
    press("q")
    assert screen.wait_for_end() == 0
    assert len(pressed) <= 30
    with next(bench.folder.rglob("first-*.csv")).open(newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == 200
    again = terminal(size=(80, 24))
    again.wait_for("n7 × n8 · L0 hook_post")
    again.wait_for(r"\bb\b")
