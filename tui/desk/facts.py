"""What the top line tells, from the draft, the session in view and the model's shape."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.figures.captions import DEMO, coordinate_caption, site_caption
from engine.session import Session
from engine.spec import Site
from tui.widgets.header_line import Facts

if TYPE_CHECKING:
    from engine.runner.wire import Description

_DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


def facts_of(
    data: dict[str, Any], shape: Description | None, session: Session | None, path: Path | None, worker: str
) -> Facts:
    """Gather the facts.

    Args:
        data: the draft's experiment.
        shape: of its model; None where it is not known.
        session: in view; None where nothing of it is there yet.
        path: its file; None for no session.
        worker: words for how it is.
    """
    mark = ""
    if path is not None and (session is None or session.path is None):
        mark = "unsaved"
    elif session is not None and session.spec.to_dict() != data:
        mark = "edited"
    return Facts(_model_facts(data, shape), path.stem if path is not None else "", mark, worker)


def _model_facts(data: dict[str, Any], shape: Description | None) -> tuple[str, ...]:
    model = data["model"]
    facts = ["demo model" if model["name"] == DEMO else Path(model["name"]).name]
    sites: list[str] = data["capture"]["sites"]
    site = next((one["site"] for one in data["interventions"]), sites[0])
    width = f" ({Site.parse(site).width(shape):,})" if shape is not None else ""  # pyright: ignore[reportArgumentType]
    facts.append(site_caption(site) + width)
    if data["planes"]:
        plane = data["planes"][0]
        at = plane["site"] or sites[0]
        facts.append(f"{coordinate_caption(at, plane['a'])} × {coordinate_caption(at, plane['b'])}")
    facts.append(str(shape.device if shape is not None else model["device"]))
    dtype: str = model["dtype"]
    facts.append(_DTYPES.get(dtype, dtype))
    return tuple(facts)
