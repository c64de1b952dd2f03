"""The model of a session, loaded where a command needs its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ExplorerError
from engine.session import Session

if TYPE_CHECKING:
    from engine.model.load import LoadedModel


def model_of(session: Session) -> LoadedModel:
    """Load the model that a session was made with.

    Raises:
        ExplorerError: it is not there, or its weights are others by now.
    """
    from engine.model.load import load_model

    told = session.provenance.get("model")
    recorded = told if isinstance(told, dict) else {}
    spec = session.spec.model
    source = recorded.get("source")
    if spec.name != "demo" and isinstance(source, str) and Path(source).is_dir():
        spec = spec.model_copy(update={"name": source})
    base = session.provenance.get("base")
    model = load_model(spec, base=Path(base) if isinstance(base, str) else Path.cwd())
    before = recorded.get("weights_sha256")
    if before is not None and before != model.weights_sha256:
        raise ExplorerError(
            f"the model {spec.name} is not the one of this session: its weights differ",
            where=session.name,
            remedy="put the model back as it was",
        )
    return model
