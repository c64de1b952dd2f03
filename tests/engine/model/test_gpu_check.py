"""The check for a GPU is rehearsed on the processor: who has a GPU for minutes should not be mending a script."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import TOOLS, load_module


@pytest.fixture(scope="module")
def gpu_check(random_models: ModuleType) -> Any:
    return load_module(TOOLS / "gpu_check.py")


def test_parts_find_nothing_wrong_and_a_rehearsal_reports_no_gpus_numbers(
    gpu_check: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = ["gpu_check.py", "--rehearse", "--part", "protocol", "--part", "survey", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert gpu_check.main() == 0
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
