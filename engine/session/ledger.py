"""A session's ledger: every test that was computed on it, the family each is in, and q over a family that grows."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import append_whole, open_regular
from srm_explorer.engine.session.session import Session, now
from srm_explorer.engine.session.store import moved_to
from srm_explorer.engine.stats.permutation import benjamini_hochberg, benjamini_yekutieli

LONGEST_NAME = 80
"""Characters of a family's name."""

_MOST_BYTES = 1 << 28
"""Of a ledger that is read: a larger one is none of ours."""


LOOKED_AT, BESIDE = "looked_at", "beside"
"""Of a search: how many coordinates it was among, and the one that was in every pair. They tell no tests apart."""


def _key(test: str, of: Mapping[str, Any]) -> str:
    return f"{test} {json.dumps({k: v for k, v in of.items() if k not in (LOOKED_AT, BESIDE)}, sort_keys=True)}"


@dataclass(frozen=True, eq=False)
class ComputedTest:
    """A test, or many of one kind computed together.

    Attributes:
        test: what kind: "difference", "beyond arithmetic".
        of: what tells it from others of its kind, as plain data: plane, groups, values. Neither the seed nor the number
            of resamples belongs here: with others of these it is the same test.
        p: of its hypotheses, any shape; NaN where one was not tested.
    """

    test: str
    of: Mapping[str, Any]
    p: ArrayLike

    @property
    def key(self) -> str:
        return _key(self.test, self.of)


@dataclass(frozen=True)
class Entry:
    """A line of a ledger.

    Attributes:
        when: ISO 8601.
        runs: finished runs of the session at that time: with more of them, it is another test.
        p: each p, to six digits, with how many hypotheses have it, ascending: thousands of correlations are few p.
    """

    when: str
    family: str
    test: str
    of: Mapping[str, Any]
    runs: int
    p: tuple[tuple[float, int], ...]

    @property
    def tests(self) -> int:
        return sum(count for _, count in self.p)

    @property
    def key(self) -> str:
        """What is tested, whatever the family it is in."""
        return f"{self.runs} {_key(self.test, self.of)}"

    @property
    def values(self) -> NDArray[np.float64]:
        """[hypothesis] p."""
        return np.repeat([p for p, _ in self.p], [count for _, count in self.p]).astype(np.float64)

    def line(self, session: str) -> bytes:
        table = {
            "session": session,
            "when": self.when,
            "family": self.family,
            "test": self.test,
            "of": self.of,
            "runs": self.runs,
            "p": self.p,
        }
        return json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"


@dataclass(frozen=True, eq=False)
class Counted:
    """Tests with their q over all that the family holds so far.

    Attributes:
        q: one a test, in the shape of its p (Benjamini and Hochberg 1995).
        q_any: the same under any dependence (Benjamini and Yekutieli 2001).
        size: tests in the family, these among them.
        total: tests in all families of the session; what is in two families counts once.
        families: how many there are.
        problem: why this could not be written down; empty where it was.
    """

    family: str
    q: tuple[NDArray[np.float64], ...]
    q_any: tuple[NDArray[np.float64], ...]
    size: int
    total: int
    families: int
    problem: str = ""

    @property
    def caption(self) -> str:
        """What q is over, and what else was tested: "q of 3 tests in family differences; 41 in 2 families so far"."""
        of = f"q of {self.size:,} test{'' if self.size == 1 else 's'} in family {self.family}"
        families = f"{self.families} famil{'y' if self.families == 1 else 'ies'}"
        return f"{of}; {self.total:,} in {families} computed on this session so far"

    @property
    def lines(self) -> tuple[str, ...]:
        """The caption, and the problem where there is one."""
        return (self.caption, self.problem) if self.problem else (self.caption,)

    def to_dict(self) -> dict[str, Any]:
        """What q is over, as plain data."""
        return {
            "family": self.family,
            "tests": self.size,
            "tests_of_session": self.total,
            "families": self.families,
            "problem": self.problem,
        }


class Ledger:
    """The tests computed on a session, in a file beside it to which every process only appends.

    A line is an entry. What is torn (a process was killed, a disk was full) or was computed on another session of the
    same name is passed over. Where the file cannot be written, entries last as long as the process.
    """

    _unwritten: dict[str, list[Entry]] = {}  # noqa: RUF012  (of this process, by session)

    def __init__(self, session: Session) -> None:
        self._session = session.created
        self._runs = len(session.runs)
        path = session.path
        if path is not None and not path.exists():
            # Renamed since it was opened: its tests belong under the name it has now.
            path = moved_to(path, session.created, session.saved) or path
        self.path = None if path is None else paths.ledger_file(path)

    def entries(self, holding: str = "") -> list[Entry]:
        """What is recorded, in order of first appearance; the same test of a family counts once, with its last p.

        Args:
            holding: only lines with this word are read, which is faster.
        """
        kept: dict[tuple[str, str], Entry] = {}
        for entry in (*self._read(holding.encode()), *self._unwritten.get(self._session, ())):
            kept[entry.family, entry.key] = entry
        return list(kept.values())

    def record(self, tests: Sequence[ComputedTest], family: str) -> Counted:
        """Write down tests that were computed, and correct them over all that their family holds.

        Raises:
            ExplorerError: the family has no name, or one that is no plain text of up to 80 characters.
        """
        check_family(family)
        when = now()
        new = [Entry(when, family, test.test, dict(test.of), self._runs, _counted(test.p)) for test in tests]
        new = [entry for entry in new if entry.p]
        kept = {(entry.family, entry.key): entry for entry in self.entries()}
        known = {at: (entry.p, entry.of) for at, entry in kept.items()}
        missing = [entry for entry in new if known.get((family, entry.key)) != (entry.p, dict(entry.of))]
        problem = self._append(missing) if missing else ""
        entries = [*(kept | {(family, entry.key): entry for entry in new}).values()]
        own = {entry.key for entry in new}
        rest = [entry.values for entry in entries if entry.family == family and entry.key not in own]
        arrays = [np.asarray(test.p, np.float64) for test in tests]
        whole = np.concatenate([*(array.ravel() for array in arrays), *rest, np.empty(0)])
        q, q_any = benjamini_hochberg(whole), benjamini_yekutieli(whole)
        total = sum(tests for tests in {entry.key: entry.tests for entry in entries}.values())
        families = len({entry.family for entry in entries})
        size = int(np.count_nonzero(~np.isnan(whole)))
        return Counted(family, _split(q, arrays), _split(q_any, arrays), size, total, families, problem)

    @classmethod
    def forget(cls) -> None:
        """Drop the entries that could not be written."""
        cls._unwritten.clear()

    def _read(self, holding: bytes) -> Iterator[Entry]:
        if self.path is None:
            return
        try:
            with open_regular(self.path) as file:
                content = file.read(_MOST_BYTES)
        except OSError:
            return
        for line in content.splitlines():
            entry = _entry(line, self._session) if holding in line else None
            if entry is not None:
                yield entry

    def _append(self, entries: Iterable[Entry]) -> str:
        """Write entries at the end of the file; why it could not be done, empty where it was."""
        entries = list(entries)
        problem = "this session is not saved: its tests are counted as long as this process lives"
        if self.path is not None:
            try:
                append_whole(self.path, b"".join(entry.line(self._session) for entry in entries))
                return ""
            except ExplorerError as error:
                problem = f"the tests are counted in this process alone: {error.where} {error.what}"
        self._unwritten.setdefault(self._session, []).extend(entries)
        return problem


def chosen_on(session: Session, site: str, a: int | str, b: int | str) -> tuple[int, ...]:
    """The units on which a pair of coordinates was chosen among many, by the last search that found it; none else."""
    for entry in reversed(Ledger(session).entries("chosen_on")):
        planes, units = entry.of.get("planes"), entry.of.get("chosen_on")
        if entry.of.get("site") == site and isinstance(planes, list) and isinstance(units, list):
            pairs = cast("list[object]", planes)
            if [a, b] in pairs or [b, a] in pairs:
                return tuple(unit for unit in cast("list[object]", units) if isinstance(unit, int))
    return ()


def looked_at(session: Session, site: str, neuron: int) -> int:
    """Among how many neurons of a site one was looked at, by the largest search that the ledger knows; 1 without any.

    The finder's pairs, another neuron's partners in `pairs`, the neurons whose partners were asked for, and what was
    said of earlier ranks among controls. A search of the neuron's own partners did not choose it.
    """
    most, asked = 1, {neuron}
    for entry in Ledger(session).entries():
        of, best = entry.of, entry.of.get("best of")
        if entry.test == "rank among controls" and isinstance(best, int):
            most = max(most, best)
        if of.get("site") != site:
            continue
        if isinstance(of.get("neuron"), int):
            asked.add(of["neuron"])
            if of["neuron"] != neuron and of.get("with") == site:
                most = max(most, entry.tests)
        elif isinstance(of.get("planes"), list):
            listed = cast("list[object]", of["planes"])
            pairs = [cast("list[int]", pair) for pair in listed if isinstance(pair, list)]
            # Of a ledger that doesn't say, those of the planes that were tested.
            own = of[BESIDE] == neuron if BESIDE in of else all(neuron in pair for pair in pairs)
            among: object = of.get(LOOKED_AT, len({each for pair in pairs for each in pair}))
            most = max(most, among) if isinstance(among, int) and not own else most
    return max(most, len(asked))


def record_tests(session: Session, tests: Sequence[ComputedTest], family: str) -> Counted:
    """Write tests that were computed on a session into its ledger; q over all that their family holds so far.

    See `Ledger.record`.
    """
    return Ledger(session).record(tests, family)


def check_family(name: str) -> str:
    """A family's name as it was given.

    Raises:
        ExplorerError: it is none.
    """
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        what = "the family has no name" if not name.strip() else f"the name of a family is {name[:LONGEST_NAME]!r}"
        raise ExplorerError(what, remedy=f"use letters, digits and spaces, {LONGEST_NAME} at most")
    return name


def _counted(p: ArrayLike) -> tuple[tuple[float, int], ...]:
    values = np.asarray(p, np.float64).ravel()
    rounded = [float(f"{value:.6g}") for value in values[~np.isnan(values)].tolist()]
    return tuple(sorted(Counter(rounded).items()))


def _split(values: NDArray[np.float64], arrays: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], ...]:
    ends = np.cumsum([array.size for array in arrays])
    parts = np.split(values, ends)[: len(arrays)]
    return tuple(part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True))


def _entry(line: bytes, session: str) -> Entry | None:
    """A line as an entry; None where it is torn, or of another session."""
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
        table = cast("dict[str, Any]", json.loads(line))
        p = tuple((float(value), int(count)) for value, count in table["p"])
        texts = (str(table["when"]), check_family(str(table["family"])), str(table["test"]))
        is_whole = all(math.isfinite(value) and 0 <= value <= 1 and count > 0 for value, count in p)
        if table["session"] == session and is_whole and isinstance(table["of"], dict):
            return Entry(*texts, cast("dict[str, Any]", table["of"]), int(table["runs"]), p)
    return None
