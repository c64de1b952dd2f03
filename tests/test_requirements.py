"""The versions that are asked for, and those that the tests run with."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def asked_for() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return {(one := Requirement(text)).name: one for text in found}


def test_what_the_tests_run_with_is_within_what_is_asked_for() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    for name, one in asked_for().items():
        assert pinned[name] in one.specifier, name


@pytest.mark.parametrize(("name", "version"), [("transformers", "5.24.0"), ("transformer-lens", "4.4.0")])
def test_versions_that_leave_the_cache_empty_or_were_never_tried_are_not_installed(name: str, version: str) -> None:
    assert version not in asked_for()[name].specifier
