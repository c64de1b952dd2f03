"""The check for a GPU is rehearsed on the processor: who has a GPU for minutes should not be mending a script."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.conftest import TOOLS, load_module


@pytest.fixture(scope="module")
def gpu_check(random_models: ModuleType) -> Any:
    return load_module(TOOLS / "gpu_check.py")


def run(gpu_check: Any, monkeypatch: pytest.MonkeyPatch, out: Path, *parts: str) -> int:
    named = [word for part in parts for word in ("--part", part)]
    where = ["--out", str(out), "--model", str(out / "model")]
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--rehearse", *named, *where])
    return gpu_check.main()


def test_parts_find_nothing_wrong_and_a_rehearsal_reports_no_gpus_numbers(
    gpu_check: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(gpu_check, monkeypatch, tmp_path, "protocol") == 0
    assert run(gpu_check, monkeypatch, tmp_path, "survey") == 0
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert report["about"]["rehearsal"] is True
    assert report["rows"] == []
    named = {row["name"] for part in report["parts"].values() for row in part["rows"]}
    assert named == {
        "GPU: 2,050 runs x 50 tokens of GPT-2 Small, fp32 with TF32",
        "GPU: against one run at a time (i), 16 runs scaled",
        "GPU: free survey of a layer, 15 million tokens",
    }
    assert report["parts"]["protocol"]["numbers"]["texts that are the same one at a time"] == "2 of 2"


@pytest.mark.process
def test_what_dies_or_breaks_off_is_in_the_report_and_the_rest_goes_on(
    gpu_check: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deadly = tmp_path / "deadly.py"
    deadly.write_text("import os, sys; os._exit(7 if 'protocol' in sys.argv else 1)")
    monkeypatch.setattr(gpu_check, "__file__", str(deadly))
    found = gpu_check.Findings()
    machine = gpu_check.Machine(tmp_path / "model", rehearse=True)
    gpu_check.written(tmp_path, gpu_check.about(machine), {"step": {"seconds": 1, "wrong": [], **vars(found)}})
    assert run(gpu_check, monkeypatch, tmp_path, "survey", "protocol", "actors") == 1
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert {name: part["wrong"] for name, part in parts.items()} == {
        "step": [],
        "protocol": ["protocol: its process ended with status 7"],
    }
    looked: list[str] = []

    def look(machine: Any, found: Any, name: str) -> None:
        looked.append(name)
        if name == "float64":
            raise RuntimeError("CUDA error: an illegal instruction")

    gpu_check.in_each(machine, found, ("float64", "float32"), look)
    assert looked == ["float64", "float32"]
    assert found.wrong == ["float64 broke off: RuntimeError: CUDA error: an illegal instruction"]


def test_what_is_no_number_agrees_with_nothing(gpu_check: Any) -> None:
    row = gpu_check.RowResult((1,), "length", None, (np.array([np.nan, 1.0]),))
    assert np.isnan(gpu_check.compared([row], [row])["relative difference"])
