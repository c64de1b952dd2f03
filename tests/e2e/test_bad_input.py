"""Bad input through the command line: one clear line on standard error, status 1 or 2, nothing changed on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from srm_explorer.tui.cli import main

if TYPE_CHECKING:
    from .conftest import Bench

Refused = Callable[..., str]


@pytest.fixture
def refused(bench: Bench, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Run a command line, in the folder of the experiment, that must be refused; returns the line it says."""
    torch.set_num_threads(1)
    monkeypatch.chdir(bench.folder)

    def run(*arguments: str) -> str:
        before = {path: path.read_bytes() for path in bench.folder.rglob("*") if path.is_file()}
        capfd.readouterr()
        status = main(list(arguments))
        out, err = capfd.readouterr()
        assert status in (1, 2), (status, out, err)
        assert out == ""
        (line,) = err.splitlines()
        after = {path: path.read_bytes() for path in bench.folder.rglob("*") if path.is_file()}
        assert {path: own for path, own in after.items() if path.name != "lock"} == before
        return line

    return run


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("interventions[0].neurons=64", ["neuron 64", "d_mlp = 64", "0 to 63"]),
        ("interventions[0].site=blocks.3.mlp.hook_post", ["layer 3", "3 layers", "0 to 2"]),
        ("interventions[0].site=blocks.1.mlp.hook_pots", ["hook_pots", "hook_post"]),
        ("capture.sites=['blocks.1.mlp.hook_post', 'blocks.9.hook_mlp_out']", ["layer 9", "capture.sites[1]"]),
        ("planes[0].b=64", ["neuron 64", "planes[0].b", "0 to 63"]),
        ("model.name=./nowhere", ["nowhere", "no such folder"]),
        ("model.device=cuda:9", ["cuda:9", "cpu"]),
        ("prompts.sets=nowhere.txt", ["nowhere.txt"]),
        ("prompts.sets=empty.txt", ["no prompt"]),
        ("prompts.sets=long.txt", ["long.txt:2", "exceed", "256"]),
        ("generation.tokens=256", ["generation.tokens", "256", "255"]),
        ("generation.tokns=3", ["--set generation.tokns=3", "tokens"]),
        ("generation.tokens=many", ["generation.tokens", "many"]),
        ("interventions[1].op=zero", ["interventions", "number 1"]),
        ("stats=nowhere", ["nowhere"]),
        ("no equals sign", ["--set generation.tokens=20"]),
    ],
)
def test_a_field_that_does_not_fit(bench: Bench, refused: Refused, field: str, said: list[str]) -> None:
    (bench.folder / "empty.txt").write_text("\n# nothing but this\n")
    (bench.folder / "long.txt").write_text(f"Short\n{'a long line ' * 40}\n")
    line = refused(*bench.command("a", "--set", field))
    assert [words for words in said if words not in line] == []
    assert not bench.run_folder("a").exists()
    assert not bench.session_path("a").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'[model]\nname = "demo', ["line 2"]),
        (b'[model]\nname = "demo"\ncolour = "red"\n', ["colour"]),
        (b"", ["model"]),
        (b"\xff\xfe", ["spec2.toml"]),
        (b'[model]\nname = "demo"\n[[model]]\n', ["line 3"]),
    ],
)
def test_a_file_that_is_no_experiment(bench: Bench, refused: Refused, content: bytes, said: list[str]) -> None:
    path = bench.folder / "spec2.toml"
    path.write_bytes(content)
    line = refused("run", str(path))
    assert [words for words in said if words not in line] == []


def test_a_file_or_preset_that_is_not_there(bench: Bench, refused: Refused) -> None:
    assert "nowhere.toml" in refused("run", str(bench.folder / "nowhere.toml"))
    assert "did you mean 'protocol'" in refused("run", "protocl")
    assert "directory" in refused("run", f"{bench.folder}/")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"not json",
        b'{"schema_version": 99}',
        b'{"schema_version": 1}',
        b'{"schema_version": "1"}',
        b"\x00" * 100,
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("command", ["run", "replay"])
def test_a_session_file_that_cannot_be_read_is_left_as_it_is(
    bench: Bench, refused: Refused, content: bytes, command: str
) -> None:
    path = bench.session_path("a")
    path.parent.mkdir()
    path.write_bytes(content)
    line = refused(*(bench.command("a") if command == "run" else ["replay", str(path)]))
    assert str(path) in line or path.name in line
    assert path.read_bytes() == content


def test_a_newer_session_says_that_it_is_newer(bench: Bench, refused: Refused) -> None:
    path = bench.session_path("a")
    path.parent.mkdir()
    path.write_text(json.dumps({"schema_version": 99}))
    assert "newer" in refused("replay", str(path))


def test_names_that_are_none(refused: Refused, bench: Bench) -> None:
    spec = str(bench.folder / "spec.toml")
    for name in ("", "..", "a\nb", "x" * 300, " "):
        refused("run", spec, "--session", name)
    assert "nothere" in refused("replay", "nothere")


def steer(bench: Bench, direction: str) -> list[str]:
    (bench.folder / "steer.toml").write_text(
        (bench.folder / "spec.toml")
        .read_text()
        .replace("neurons = [3]", f"direction = '{direction}'")
        .replace('op = "clamp"', 'op = "steer"')
    )
    return ["run", str(bench.folder / "steer.toml"), "--session", str(bench.session_path("a"))]


def test_directions_that_cannot_be_taken(bench: Bench, refused: Refused) -> None:
    save_file({"wide": np.ones(65, dtype=np.float32)}, bench.folder / "v.safetensors")
    assert "65 numbers, blocks.1.mlp.hook_post has 64" in refused(*steer(bench, "v.safetensors#wide"))
    assert "no vector 'narrow'" in refused(*steer(bench, "v.safetensors#narrow"))
    assert "w.safetensors" in refused(*steer(bench, "w.safetensors#wide"))
    (bench.folder / "p.safetensors").write_bytes(b"\x80\x04\x95")
    assert "p.safetensors" in refused(*steer(bench, "p.safetensors#wide"))


def test_a_folder_that_sessions_cannot_be_put_in(bench: Bench, refused: Refused) -> None:
    (bench.folder / "file").write_text("in the way")
    spec = str(bench.folder / "spec.toml")
    assert "cannot be written" in refused("run", spec, "--session", str(bench.folder / "file" / "a"))
    proc = Path("/proc/self")
    if proc.exists():
        assert "cannot be written" in refused("run", spec, "--session", str(proc / "deep" / "a"))
