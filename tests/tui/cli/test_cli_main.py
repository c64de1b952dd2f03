from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine import paths
from srm_explorer.tui.cli.doctor import version_findings
from tests.waiting import PATIENCE, until

HEAVY = ("torch", "transformers", "transformer_lens", "numpy", "scipy", "textual", "plotext", "rich")

REMEDY = "`hf download gpt2` while online, or point model.name at a folder"
COMMANDS = (
    "demo",
    "open",
    "serve",
    "run",
    "survey",
    "sweep",
    "show",
    "sessions",
    "replay",
    "prompts",
    "neuron",
    "worker",
    "doctor",
)


def loaded_by(*arguments: str) -> set[str]:
    program = (
        "import sys\nfrom srm_explorer.tui.cli import main\n"
        f"main({list(arguments)!r})\n"
        "sys.stderr.write('LOADED ' + ' '.join(sys.modules))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    return set(told.stderr.partition("LOADED ")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["sweep", "--help"], ["sessions", "export", "-h"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert "typer" in (modules := loaded_by(*arguments))
    assert not modules.intersection(HEAVY)


def test_the_way_to_the_full_screen_bypasses_the_command_parser() -> None:
    assert not loaded_by().intersection((*HEAVY, "typer"))


def test_help_names_every_command_and_cuts_none_of_their_summaries(srm: Callable[..., Any]) -> None:
    ended = srm("--help")
    assert ended.status == 0
    listed = ended.out.partition("Commands:")[2]
    for command in COMMANDS:
        assert f"\n  {command} " in listed
    assert "..." not in listed


@pytest.mark.parametrize(
    "arguments",
    [
        ["shwo"],
        ["show"],
        ["show", "x", "--chart", "pie"],
        ["sweep", "v.npz", "--a", "1"],
        ["sweep", "v.npz", "--a", "x", "--b", "2"],
        ["sweep", "v.npz", "--a", "1", "--b", "2", "--thresholds", "0.5,,x"],
        ["sweep", "v.npz", "--a", "1", "--b", "2", "--thresholds", "nan"],
        ["sessions", "export", "x"],
        ["sessions", "export", "x", "--csv", "f", "--site", "s"],
        ["prompts", "check"],
        ["worker", "dance"],
        ["run"],
    ],
)
def test_wrong_usage_is_status_2(srm: Callable[..., Any], arguments: list[str]) -> None:
    ended = srm(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err


def test_a_defect_of_the_program_shows_its_trace(srm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srm_explorer.tui.cli.prompts.list_command", lambda as_json: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        srm("prompts", "list")


def test_a_gpu_that_fails_is_one_line(srm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable\nCompile with DSA")

    monkeypatch.setattr("srm_explorer.engine.execution.run.preflight", fail)
    ended = srm("run", "demo", "--session", "x")
    assert ended.status == 1
    assert ended.err == (
        "srm-explorer: the GPU: CUDA error: all CUDA-capable devices are busy or unavailable; see nvidia-smi and"
        " `srm-explorer doctor`; what is finished is kept, and the same command goes on\n"
    )


def test_a_reader_that_left_is_no_noise(srm_process: Callable[..., subprocess.Popen[str]]) -> None:
    read, write = os.pipe()
    os.close(read)
    process = srm_process("prompts", "list", stdout=write)
    os.close(write)
    assert process.communicate(timeout=PATIENCE)[1] == ""
    assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", [["prompts", "list", "--json"], ["--version"]])
def test_output_that_cannot_be_written_is_one_line(
    srm_process: Callable[..., subprocess.Popen[str]], command: list[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        process = srm_process(*command, stdout=full)
        told = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 1
        assert told.count("\n") == 1
        assert "no space left" in told
        nowhere = srm_process(*command, stdout=full, stderr=full)
        assert nowhere.wait(PATIENCE) == 1


def holds_open(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            if descriptor.readlink() == path:
                return True
    return False


def test_an_interruption_is_status_130_without_a_trace(
    srm_process: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    # A file of 64 GB of nothing takes minutes to read: the interruption meets the program at work.
    large = tmp_path / "v.npy"
    with large.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 25, 512)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + (1 << 25) * 512 * 4)
    process = srm_process("sweep", large, "--a", 0, "--b", 1, stdout=subprocess.PIPE)
    until(lambda: process.poll() is not None or holds_open(process.pid, large), "the program at work")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


def test_a_terminal_without_unicode_gets_stand_ins(srm_process: Callable[..., subprocess.Popen[str]]) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    process = srm_process("doctor", stdout=subprocess.PIPE, env=environment)
    out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err
    assert "no unicode" in out


@pytest.mark.process
def test_the_machine_is_told_in_one_json_object(srm: Callable[..., Any]) -> None:
    ended = srm("doctor", "--json")
    told = json.loads(ended.out)
    assert ended.status == (0 if told["ok"] else 1)
    names = [finding["name"] for finding in told["findings"]]
    assert {"python", "torch", "device", "gpt2", "terminal", "sessions", "worker", "socket", "runs", "logout"} <= set(
        names
    )
    assert gpt2_told(srm) == "not cached: " + REMEDY


@pytest.mark.process
def test_a_sessions_folder_that_cannot_be_made_is_a_problem(
    srm: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SRM_EXPLORER_SESSIONS", str(tmp_path / "file" / "sessions"))
    ended = srm("doctor")
    assert ended.status == 1
    assert ended.err.count("\n") == 1
    assert "is a file" in ended.err


def test_versions_that_were_never_tried_together_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert version_findings() == []
    for name, version in (("transformers", "5.24.0"), ("plotext", "6.3.1")):
        home = tmp_path / f"{name}-{version}.dist-info"
        home.mkdir()
        (home / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(tmp_path)
    (finding,) = version_findings()
    assert finding.problem
    assert "transformers 5.24.0, tried with" in finding.text
    assert "<5.24" in finding.text
    assert "plotext" not in finding.text


@pytest.mark.process
def test_a_model_in_the_cache_is_told_with_what_it_lacks(
    srm: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--gpt2" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert gpt2_told(srm) == "cached without weights (.safetensors), tokenizer: " + REMEDY
    (snapshot / "model.safetensors").write_text("")
    (snapshot / "tokenizer.json").write_text("")
    assert gpt2_told(srm) == "cached"


def gpt2_told(srm: Callable[..., Any]) -> str:
    findings = json.loads(srm("doctor", "--json").out)["findings"]
    return next(finding["told"] for finding in findings if finding["name"] == "gpt2")


@pytest.mark.parametrize(
    "arguments", [["sessions", "list"], ["prompts", "list"], ["show", "./x"], ["run", "./x.toml"], ["sweep", "--help"]]
)
def test_a_working_folder_that_is_gone_is_one_line(
    srm: Callable[..., Any], arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SRM_EXPLORER_SESSIONS")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    ended = srm(*arguments)
    if "--help" in arguments:
        assert ended.status == 0
    else:
        assert ended.status == 1
        assert ended.err == "srm-explorer: the working folder is gone; start from another folder\n"


def test_a_pipe_among_the_sessions_and_as_a_spec_holds_nothing_up(srm: Callable[..., Any], tmp_path: Path) -> None:
    folder = paths.sessions_folder()
    folder.mkdir(parents=True)
    os.mkfifo(folder / "x.json")
    os.mkfifo(tmp_path / "spec.toml")
    assert srm("sessions", "list").status == 0
    for arguments in (["show", "x"], ["run", tmp_path / "spec.toml"], ["run", "/dev/zero"]):
        ended = srm(*arguments)
        assert ended.status == 1
        assert "not a regular file" in ended.err


LONG = "y" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "demo", "--session", f"{LONG}/a"],
        ["run", LONG],
        ["import", LONG],
        ["prompts", "check", LONG],
        ["sessions", "trash", f"{LONG}/a"],
        ["survey", "demo", "--neurons", LONG],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_name_that_no_file_can_have_is_one_line(srm: Callable[..., Any], arguments: list[str]) -> None:
    ended = srm(*arguments)
    assert (ended.status, ended.err.count("\n")) == (1, 1)


def test_a_closed_output_is_one_line() -> None:
    program = "import sys; from srm_explorer.tui.cli import main; sys.exit(main())"
    command = f'"{sys.executable}" -c "{program}" prompts list >&- <&-'
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("srm-explorer: standard output is closed")
    assert ended.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="what is taken is read from /proc")
def test_too_little_memory_for_the_libraries_is_one_line(tmp_path: Path) -> None:
    program = (
        "import resource, sys\nfrom srm_explorer.tui.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_AS, (600_000_000, resource.RLIM_INFINITY))\n"
        f"sys.exit(main(['run', 'quick', '--session', {str(tmp_path / 's')!r}]))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    (line,) = [line for line in told.stderr.splitlines() if "memory" in line]
    assert "raise the limit" in line
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    assert not list(tmp_path.iterdir())
