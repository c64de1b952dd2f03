"""The model that a session was made with: where it is, and whether the one at hand is it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model import LoadedModel
from srm_explorer.engine.session import Session


def model_of(session: Session) -> tuple[ModelSpec, Path]:
    """Find the model a session was made with: as its experiment names it, else from where it was loaded then.

    Returns:
        the model, and the folder that a relative path of it starts from.
    """
    spec, recorded = session.spec.model, session.provenance
    base = Path(str(recorded.get("base") or (session.path or Path()).parent))
    source = Path(str(_recorded_model(session).get("source", "")))
    if not (base / spec.name).is_dir() and source.is_absolute() and source.is_dir():
        spec = spec.model_copy(update={"name": str(source)})
    return spec, base


def check_same_model(session: Session, model: LoadedModel) -> None:
    """Refuse a model that is not the one a session was made with, by the hash of its weights.

    Raises:
        ExplorerError: the hashes differ.
    """
    recorded = _recorded_model(session).get("weights_sha256")
    if recorded and recorded != model.weights_sha256:
        raise ExplorerError(
            f"{model.name} has not the weights that session {session.name} was made with",
            where=model.name,
            remedy=f"use the model with hash {str(recorded)[:12]}…",
        )


def _recorded_model(session: Session) -> Mapping[str, Any]:
    known: object = session.provenance.get("model")
    return cast("Mapping[str, Any]", known) if isinstance(known, Mapping) else {}
