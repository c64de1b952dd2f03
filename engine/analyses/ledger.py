"""Study "ledger": the tests that were computed on a session, by family, with q over all that each family holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from srm_explorer.engine.analyses.registry import Arguments, Findings, StudyArguments, findings_of
from srm_explorer.engine.figures.numbers import count_of
from srm_explorer.engine.figures.table import CellValue, TableFigure, table_columns
from srm_explorer.engine.session import Entry, Ledger, Session
from srm_explorer.engine.stats.permutation import benjamini_hochberg, benjamini_yekutieli

_FAMILIES = table_columns("family::text; tests::whole; p:smallest p:p; q::p; q_any:q, any dependence:p:1; last::time:2")
_TESTS = table_columns(
    "family::text; test::text; of::text; tests::whole; runs::whole:2; p:smallest p:p; q::p; "
    "q_any:q, any dependence:p:1; when::time:3"
)
MOST_NAMED = 6
"""Of a list that are written out."""
_NOTES = (
    "q: Benjamini and Hochberg over all tests of the family so far, so it moves as the family grows; it holds for"
    " independent and positively dependent tests, the other for any (Benjamini and Yekutieli)",
    "a test that is computed again counts once; with more runs of the session it is another one",
)


def ledger_study(session: Session, arguments: Arguments) -> Findings:
    """List what was tested on a session.

    Returns:
        Tables "families", a row each, and "tests", a row a recorded test or group of tests computed together.
    """
    StudyArguments(arguments, (), "ledger")
    entries = Ledger(session).entries()
    families: list[tuple[CellValue, ...]] = []
    tests: list[tuple[CellValue, ...]] = []
    for family in dict.fromkeys(entry.family for entry in entries):
        members = [entry for entry in entries if entry.family == family]
        p = np.concatenate([entry.values for entry in members])
        q, q_any = benjamini_hochberg(p), benjamini_yekutieli(p)
        families.append((family, len(p), *_least(p, q, q_any), max(entry.when for entry in members)))
        ends = np.cumsum([entry.tests for entry in members]).tolist()
        for entry, last in zip(members, ends, strict=True):
            part = slice(last - entry.tests, last)
            least = _least(p[part], q[part], q_any[part])
            tests.append((family, entry.test, _of(entry), entry.tests, entry.runs, *least, entry.when))
    total = sum({entry.key: entry.tests for entry in entries}.values())
    title = f"{count_of(total, 'test')} computed on {session.name} so far"
    return findings_of(
        TableFigure("families", title, _FAMILIES, tuple(families), _NOTES),
        TableFigure("tests", "What was tested", _TESTS, tuple(tests)),
    )


def _least(*values: Any) -> tuple[float, ...]:
    return tuple(float(each.min()) for each in values)


def _of(entry: Entry) -> str:
    """What tells a test from others of its kind: "groups +20, baseline; plane blocks.2.mlp.hook_post, 7, 9"."""
    return "; ".join(f"{name} {_written(value)}" for name, value in sorted(entry.of.items()))


def _written(value: object) -> str:
    if isinstance(value, list | tuple) and len(cast("list[object]", value)) > MOST_NAMED:
        return f"{len(cast('list[object]', value)):,} of them"
    if isinstance(value, list | tuple):
        parts = [_written(part) for part in cast("list[object]", value)]
        return ", ".join(parts)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_written(part)}" for key, part in cast("Mapping[str, object]", value).items())
    return str(value)
