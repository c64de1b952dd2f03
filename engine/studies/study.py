"""Studies by name, so that the screen, the command line and a notebook run the same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeAlias

from engine.errors import ExplorerError
from engine.figures.table import TableFigure
from engine.session import load_session
from engine.session.session import Session
from engine.spec.refusal import did_you_mean

Arguments: TypeAlias = Mapping[str, Any]
"""Plain data, as JSON holds it."""

Findings: TypeAlias = dict[str, Any]
"""Plain data, as JSON holds it; "tables" is a list of `TableFigure.to_dict`."""


@dataclass(frozen=True)
class Study:
    """One study.

    Attributes:
        name: "pairs".
        title: what it answers, a few words.
        home: module and function: "engine.studies.pairings:pairs_study"; it takes (session, arguments) and returns
            `Findings`.
        needs: "session" (its .json alone), "vectors" (the full vectors beside it), or "model" (run by the worker).
    """

    name: str
    title: str
    home: str
    needs: Literal["session", "vectors", "model"]

    def function(self) -> Callable[[Session, Arguments], Findings]:
        """Load what does the work."""
        module, _, name = self.home.partition(":")
        return getattr(import_module(module), name)


STUDIES: dict[str, Study] = {}
"""By name; extended below."""


def _add(*studies: Study) -> None:
    STUDIES.update({study.name: study for study in studies})


_add(
    Study("compare", "two groups compared", "engine.studies.compare:compare_study", "session"),
    Study("neuron", "neuron card", "engine.runner.neurons:neuron_study", "model"),
    Study("effects", "what it did to the texts", "engine.studies.effects:effects_study", "session"),
    Study("score", "scoring of the texts", "engine.runner.effects:score_study", "model"),
    Study("usage", "use of neurons", "engine.runner.neurons:usage_study", "model"),
    Study("controls", "the target among its controls", "engine.studies.controls:controls_study", "vectors"),
    Study("bands", "how sure a plane's curves are", "engine.studies.session_bands:bands_study", "session"),
    Study("pairs", "what rises and falls with a neuron", "engine.studies.pairs:pairs_study", "vectors"),
    Study("planes", "the session's planes", "engine.studies.planes:planes_study", "session"),
    Study("ensemble", "planes of all pairs of directions", "engine.studies.ensemble:ensemble_study", "vectors"),
    Study("directions", "weights of neurons", "engine.runner.direction_weights:directions_study", "model"),
    Study("weighted-pairs", "pairings and weights", "engine.runner.weighted_pairs:weighted_pairs_study", "model"),
    Study("finder", "planes in which groups differ", "engine.studies.finder:finder_study", "vectors"),
)


def run_study(name: str, path: Path, arguments: Arguments) -> Findings:
    """Run a study that needs no model on a saved session.

    Raises:
        ExplorerError: no such study or session, or what the study itself refuses.
    """
    if name not in STUDIES or STUDIES[name].needs == "model":
        raise ExplorerError(f"there is no study '{name}'", remedy=did_you_mean(name, list(STUDIES)))
    return STUDIES[name].function()(load_session(path), arguments)


def tables_in(findings: Findings) -> tuple[TableFigure, ...]:
    """The tables of what a study found."""
    return tuple(TableFigure.from_dict(table) for table in findings.get("tables", ()))


def findings_of(*tables: TableFigure, **further: Any) -> Findings:
    """What a study returns."""
    return {"tables": [table.to_dict() for table in tables], **further}
