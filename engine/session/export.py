"""What a session holds, for other programs: its runs as CSV, its vectors for .npz."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.experiment import format_number, swept_as
from srm_explorer.engine.io.files import CsvWriter
from srm_explorer.engine.io.vectors import token_mean
from srm_explorer.engine.session.session import PlaneRecord, RunRecord, Session
from srm_explorer.engine.stats.spotlight import unit_coordinates


def run_vectors(session: Session, site: str, *, controls: bool = False) -> Iterator[tuple[str, NDArray[Any]]]:
    """One vector [d] a run with its key; where every token was kept, the mean over tokens that planes use.

    Args:
        controls: True to have the runs of controls too.

    Raises:
        ExplorerError: the vectors were not kept, or their file is missing or altered.
    """
    vectors = session.vectors().get(site)
    if vectors is None:
        raise ExplorerError(f"its vectors hold no site {site}", where=session.name, remedy="choose another --site")
    keys = vector_keys(session)
    for key, vector, is_shown in zip(keys, vectors, _shown(session, controls), strict=True):
        if not is_shown:
            continue
        if isinstance(vectors, np.ndarray):
            yield key, vector
        else:
            yield key, token_mean(vector)


def vector_keys(session: Session) -> list[str]:
    """A key a run: `prompt_<i>` for the baseline, `prompt_<i>_sweep=<value>` for a condition.

    That of a control is `prompt_<i>_control<j>_sweep=<value>`, j from 1. The value is the number of the experiment file
    where one number tells the conditions apart, else the condition's label. Where there are several samples,
    `_sample=<k>` follows.
    """
    swept = [condition for condition in session.conditions if condition.kind == "sweep"]
    values = [condition.value for condition in swept]
    by_number = len(set(values)) == len(values) and not any(", " in condition.label for condition in swept)
    names: list[str] = []
    repeats = swept_as(session.conditions)
    for condition in session.conditions:
        repeated = repeats.get(condition.index, condition)
        text = repeated.label
        if repeated.kind == "sweep" and by_number and repeated.value is not None:
            text = format_number(repeated.value)
        control = "" if condition.control is None else f"_control{condition.control}"
        names.append("" if condition.kind == "baseline" else f"{control}_sweep={text}")
    sampled = session.spec.generation.samples > 1
    return [
        f"prompt_{run.prompt}{names[run.condition]}" + (f"_sample={run.sample}" if sampled else "")
        for run in session.runs
    ]


def runs_csv(session: Session, *, controls: bool = False) -> str:
    """One row a run: prompt, condition, text, and where its vector lies in every plane of the session.

    Args:
        controls: True to have the runs of controls too, and a column that tells which they belong to. They lie in the
            planes of the session, not in those of their own neurons.
    """
    factors = list(dict.fromkeys(name for prompt in session.prompts for name in prompt.factors))
    header = [
        *("run", "prompt", "set", *(f"factor_{name}" for name in factors), "condition", "value", "sample"),
        *(("control",) if controls else ()),
        *(("kept_for_confirmation",) if session.kept_back else ()),
        *("prompt_text", "text", "tokens", "finish", "min_margin"),
    ]
    places = [_Place(session, plane) for plane in session.planes]
    header.extend(name for place in places for name in place.names)
    file = io.StringIO()
    writer = CsvWriter(file)
    writer.writerow(header)
    shown = _shown(session, controls)
    for row, run in enumerate(session.runs):
        if not shown[row]:
            continue
        cells = [*_run_cells(session, run, factors, controls), *(cell for place in places for cell in place.cells(row))]
        writer.writerow(["" if cell is None else repr(cell) if isinstance(cell, float) else cell for cell in cells])
    return file.getvalue()


def exported(session: Session, *, controls: bool = False) -> int:
    """How many runs an export holds."""
    return sum(_shown(session, controls))


def _shown(session: Session, controls: bool) -> list[bool]:
    """[run] whether it is exported: runs of controls look like their target's to whoever sorts by value."""
    return [controls or session.conditions[run.condition].control is None for run in session.runs]


def _run_cells(session: Session, run: RunRecord, factors: Sequence[str], controls: bool) -> list[object]:
    prompt, condition = session.prompts[run.prompt], session.conditions[run.condition]
    return [
        *(run.index, run.prompt, prompt.set, *(prompt.factors.get(name) for name in factors)),
        *(condition.label, condition.value, run.sample, *((condition.control,) if controls else ())),
        *((int(session.prompts_seen[run.prompt] == session.confirms),) if session.kept_back else ()),
        None if session.is_unknown("prompts") else prompt.text,
        None if session.is_unknown("texts") else run.text,
        None if session.is_unknown("tokens") else len(run.token_ids),
        *(run.finish, run.min_margin),
    ]


class _Place:
    """The columns of one plane."""

    def __init__(self, session: Session, plane: PlaneRecord) -> None:
        several = len({other.site for other in session.planes}) > 1
        prefix = f"{plane.site}_{plane.a}_{plane.b}" if several else f"{plane.a}_{plane.b}"
        prefix += "" if plane.held_out is None else f"_held_out_{plane.held_out.seed}"
        self.names = [f"{prefix}_{name}" for name in ("x", "y", "norm", "cos_a", "cos_b")]
        self._plane = plane
        self._unit = unit_coordinates(plane.xy, plane.norm).xy.tolist()

    def cells(self, row: int) -> list[float] | list[None]:
        """Raw coordinates and norm, and the cosines with the plane's two directions; none where a run is held out."""
        plane = self._plane
        if plane.held_out is not None and math.isnan(plane.x[row]):
            return [None] * len(self.names)
        return [plane.x[row], plane.y[row], plane.norm[row], *self._unit[row]]


def chosen_site(session: Session, site: str | None) -> str:
    """The site that was asked for, the first captured one by default; ExplorerError where it was not captured."""
    captured = session.spec.capture.sites
    if not captured:
        remedy = "give it the vectors of its runs too"
        raise ExplorerError("this session holds texts alone, no vectors", where=session.name, remedy=remedy)
    if site is None:
        return captured[0]
    if site not in captured:
        raise ExplorerError(
            f"it did not capture the site {site}", where=session.name, remedy=did_you_mean(site, captured)
        )
    return site
