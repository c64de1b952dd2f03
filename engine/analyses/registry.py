"""Studies of a session by name: the screen, the command line and a notebook run the same ones.

Those that need the model besides are listed by `engine.model_analyses`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias, overload

from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.figures.captions import exploratory_line
from srm_explorer.engine.figures.table import TableFigure
from srm_explorer.engine.session import Session, load_session

Arguments: TypeAlias = Mapping[str, Any]
"""Plain data, as JSON holds it."""

Findings: TypeAlias = dict[str, Any]
"""Plain data, as JSON holds it; "tables" is a list of `TableFigure.to_dict`."""


@dataclass(frozen=True)
class Study:
    """One study.

    Attributes:
        home: module of this package and function, "pairs:pairs_study", loaded when it is asked for; it takes (session,
            arguments) and returns `Findings`.
    """

    name: str
    title: str
    home: str

    def function(self) -> Callable[[Session, Arguments], Findings]:
        module, _, name = self.home.partition(":")
        return getattr(import_module(f"{__package__}.{module}"), name)


NAMED_STUDIES = ("analysis", "confirm")
"""Those that are not exploratory: what was named before, and what is looked at on prompts that were kept for it."""

STUDIES = {
    study.name: study
    for study in (
        Study("compare", "two groups compared", "compare:compare_study"),
        Study("effects", "what it did to the texts", "effects:effects_study"),
        Study("collapse", "texts that collapse", "effects:collapse_study"),
        Study("controls", "the target among its controls", "controls:controls_study"),
        Study("dose", "how it follows the value", "dose:dose_study"),
        Study("bands", "how sure a plane's curves are", "bands:bands_study"),
        Study("pairs", "what rises and falls with a neuron", "pairs:pairs_study"),
        Study("planes", "the session's planes", "planes:planes_study"),
        Study("ensemble", "planes of all pairs of directions", "ensembles:ensemble_study"),
        Study("ledger", "the tests computed so far", "ledger:ledger_study"),
        Study("analysis", "the frozen analysis", "frozen:frozen_study"),
        Study("confirm", "confirmed on the prompts kept for that", "frozen:confirm_study"),
        Study("survey", "every neuron among all others", "survey:survey_study"),
        Study("finder", "planes in which groups differ", "plane_finder:finder_study"),
    )
}
"""By name."""


def run_study(name: str, path: Path, arguments: Arguments) -> Findings:
    """Run a study that needs no model on a saved session.

    Raises:
        ExplorerError: no such study or session, or what the study itself refuses.
    """
    if name not in STUDIES:
        raise ExplorerError(f"there is no study '{name}'", remedy=did_you_mean(name, list(STUDIES)))
    return study_session(name, load_session(path), arguments)


def study_session(name: str, session: Session, arguments: Arguments) -> Findings:
    """Run a study of `STUDIES` on a session at hand; errors are what the study itself refuses."""
    findings = STUDIES[name].function()(session, arguments)
    return findings if name in NAMED_STUDIES else marked(findings, session)


def marked(findings: Findings, session: Session) -> Findings:
    """Findings whose tables say that they are exploratory, where an analysis was frozen before the session's run."""
    line = exploratory_line(session)
    return {**findings, "tables": [table.noted(line).to_dict() for table in tables_in(findings)]} if line else findings


def tables_in(findings: Findings) -> tuple[TableFigure, ...]:
    """The tables of what a study found, numbers as they were computed."""
    return tuple(TableFigure.from_dict(table) for table in findings.get("tables", ()))


def findings_of(*tables: TableFigure, **further: Any) -> Findings:
    return {"tables": [table.to_dict() for table in tables], **further}


class StudyArguments:
    """What was given to a study.

    Raises:
        ExplorerError: a name that is none.
    """

    def __init__(self, arguments: Mapping[str, Any], known: Sequence[str], study: str) -> None:
        for name in arguments:
            if name not in known:
                raise ExplorerError(f"{study} has no setting '{name}'", remedy=did_you_mean(name, list(known)))
        self._arguments = arguments

    @overload
    def whole(self, name: str, default: int, *, least: int | None = None, most: int | None = None) -> int: ...
    @overload
    def whole(
        self, name: str, default: None = None, *, least: int | None = None, most: int | None = None
    ) -> int | None: ...
    def whole(
        self, name: str, default: int | None = None, *, least: int | None = None, most: int | None = None
    ) -> int | None:
        """A whole number, at least `least` and at most `most`."""
        value = self._arguments.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise ExplorerError(f"{name} is not a whole number: {value!r}", remedy=f"write {name}=20, say")
        if least is not None and value < least:
            raise ExplorerError(f"{name} is {value}", remedy=f"choose {least} or more")
        if most is not None and value > most:
            raise ExplorerError(f"{name} is {value}", remedy=f"choose {most:,} or fewer")
        return value

    def text(self, name: str) -> str | None:
        value = self._arguments.get(name)
        if value is None or isinstance(value, str):
            return value or None
        raise ExplorerError(f"{name} is not a text: {value!r}", remedy="give a name")

    def texts(self, name: str) -> list[str]:
        """Texts, as a list or parted by commas; empty where none was given."""
        value = self._arguments.get(name)
        if value is None:
            return []
        parts: Sequence[object] = value.split(",") if isinstance(value, str) else value if _is_list(value) else [value]
        return [str(part).strip() for part in parts]

    def truth(self, name: str) -> bool:
        """Whether something is so; not where nothing was given."""
        value = self._arguments.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise ExplorerError(f"{name} is not true or false: {value!r}", remedy=f"write {name}=true, say")

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """One of some words, the first where none was given."""
        value = self.word(name, choices)
        return choices[0] if value is None else value

    def word(self, name: str, choices: Sequence[str]) -> str | None:
        """One of some words, or None where none was given."""
        value = self._arguments.get(name)
        value = None if value == "" else value
        if value is not None and value not in choices:
            raise ExplorerError(f"{name} is {value!r}", remedy=did_you_mean(str(value), list(choices)))
        return None if value is None else str(value)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)
