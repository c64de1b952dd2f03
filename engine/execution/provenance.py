"""Everything a result depends on: written down while it is at hand, and read again when a session runs anew."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, ModelSpec
from srm_explorer.engine.model import LoadedModel, SelfTest, threads
from srm_explorer.engine.session import Session
from srm_explorer.engine.session.codec import Text, Whole
from srm_explorer.engine.session.session import FROZEN


@dataclass(frozen=True)
class ModelOrigin:
    """The model that was run."""

    source: Text
    weights_sha256: Text


@dataclass(frozen=True)
class Provenance:
    """Where a run was made, read by `read_record`.

    Attributes:
        threads: of the processor, which decide how sums are split.
        inputs: hashes of what was read, by name.
        base: the folder that relative paths started from; empty where it was not noted.
        versions: of Python and the packages a result depends on.
    """

    model: ModelOrigin
    threads: Whole
    inputs: Mapping[Text, Text]
    base: Text = ""
    device: Text = ""
    versions: Mapping[Text, Text] = field(default_factory=dict[str, str])


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
            **({"remarks": list(model.remarks)} if model.remarks else {}),
            **{k: v for k, v in dataclasses.asdict(model.shape).items() if k != "name" and v not in ((), "")},
        },
        "tokenizer": {
            "sha256": model.tokenizer.sha256(),
            "prepend_bos": model.tokenizer.prepends_bos if bos == "auto" else bos,
        },
        "inputs": dict(inputs),
        "base": str(base),
        "device": model.placement.describe(),
        **({"blocks": parts} if (parts := model.placement.parts()) else {}),
        "dtype": experiment.model.dtype,
        "tf32": experiment.model.tf32,
        "threads": threads(),
        "seed": experiment.generation.seed,
        "versions": versions(),
        "self_test": dataclasses.asdict(test),
        **({FROZEN: experiment.analysis.sha256} if experiment.analysis.tests else {}),
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


def model_of(session: Session) -> tuple[ModelSpec, Path]:
    """Find the model a session was made with: as its experiment names it, else from where it was loaded then.

    Returns:
        the model, and the folder that a relative path of it starts from.
    """
    spec = session.spec.model
    if not spec.is_known:
        what = "its model is unknown, as it came from elsewhere"
        raise ExplorerError(what, where=session.name, remedy="choose what needs no model")
    base = Path(str(session.provenance.get("base") or (session.path or Path()).parent))
    source = Path(str(session.told("model").get("source", "")))
    if not (base / spec.name).is_dir() and source.is_absolute() and source.is_dir():
        spec = spec.model_copy(update={"name": str(source)})
    return spec, base


def check_same_model(session: Session, model: LoadedModel) -> None:
    """Refuse a model that is not the one a session was made with, by the hash of its weights.

    Raises:
        ExplorerError: the hashes differ.
    """
    recorded = session.told("model").get("weights_sha256")
    if recorded and recorded != model.weights_sha256:
        raise ExplorerError(
            f"{model.name} has not the weights that session {session.name} was made with",
            where=model.name,
            remedy=f"use the model with hash {str(recorded)[:12]}…",
        )
