"""Everything a result depends on, written down while it is at hand."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.model import LoadedModel, SelfTest, describe_device, threads

_PACKAGES = ("torch", "transformers", "transformer-lens", "numpy", "srm-explorer")


def provenance_of(
    experiment: Experiment, model: LoadedModel, test: SelfTest, inputs: Mapping[str, str], base: Path
) -> dict[str, Any]:
    """Describe model, tokenizer, inputs and where they were, device, seed, versions and self-test, as plain JSON."""
    bos = experiment.prompts.prepend_bos
    return {
        "model": {
            "name": model.name,
            "source": "demo" if model.is_demo else model.source,
            "revision": model.revision,
            "weights_sha256": model.weights_sha256,
            "is_demo": model.is_demo,
            **{k: v for k, v in dataclasses.asdict(model.shape).items() if k != "name" and v != ()},
        },
        "tokenizer": {
            "sha256": model.tokenizer.sha256(),
            "prepend_bos": model.tokenizer.prepends_bos if bos == "auto" else bos,
        },
        "inputs": dict(inputs),
        "base": str(base),
        "device": describe_device(model.device),
        "dtype": experiment.model.dtype,
        "tf32": experiment.model.tf32,
        "threads": threads(),
        "seed": experiment.generation.seed,
        "versions": versions(),
        "self_test": dataclasses.asdict(test),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages a result depends on."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    # Read once: reading takes longer than the rest of a beginning, and what is imported stays what it was.
    numbers = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            numbers[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            numbers[package] = "not installed"
    return numbers
