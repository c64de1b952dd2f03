"""`srm-explorer sessions export`: a session's runs as CSV, its vectors as .npz."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import paths
from engine.analysis.srm import unit_coordinates
from engine.errors import ExplorerError
from engine.files import write_atomic
from engine.npz import write_npz
from engine.session import PlaneRecord, RunRecord, Session, load_session
from engine.spec import format_number
from engine.spec.refusal import did_you_mean
from tui.cli.output import count, say, visible


def export_command(session: str, csv_file: Path | None, npz_file: Path | None, site: str | None) -> None:
    """Write a session's runs, its vectors, or both; a file that is there is replaced in one step."""
    opened = load_session(paths.session_path(session))
    if csv_file is not None:
        write_atomic(csv_file, runs_csv(opened).encode("utf-8", "backslashreplace"))
        say(f"{count(len(opened.runs), 'run')} written to {visible(str(csv_file))}")
    if npz_file is not None:
        chosen = _site(opened, site)
        write_npz(npz_file, run_vectors(opened, chosen))
        told = " (means over tokens)" if opened.spec.capture.reduce == "tokens" else ""
        say(f"{count(len(opened.runs), 'vector')} of {chosen} written to {visible(str(npz_file))}{told}")


def run_vectors(session: Session, site: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """One vector [d] a run with its key; where every token was kept, the mean over tokens that planes use.

    Raises:
        ExplorerError: the vectors were not kept, or their file is missing or altered.
    """
    vectors = session.vectors().get(site)
    if vectors is None:
        raise ExplorerError(f"its vectors hold no site {site}", where=session.name, remedy="choose another --site")
    keys = vector_keys(session)
    for key, own in zip(keys, vectors, strict=True):
        if isinstance(vectors, np.ndarray):
            yield key, own
        else:
            mean = own.mean(axis=0, dtype=np.float64) if len(own) else np.full(own.shape[1], np.nan)
            yield key, mean


def vector_keys(session: Session) -> list[str]:
    """A key a run: `prompt_<i>` for the baseline, `prompt_<i>_sweep=<value>` for a condition.

    The value is the number of the experiment file where one number tells the conditions apart, else the condition's
    label. Where there are several samples, `_sample=<k>` follows.
    """
    swept = [condition for condition in session.conditions if condition.kind == "sweep"]
    values = [condition.value for condition in swept]
    by_number = len(set(values)) == len(values) and not any(", " in condition.label for condition in swept)
    names: list[str] = []
    for condition in session.conditions:
        text = condition.label
        if condition.kind == "sweep" and by_number and condition.value is not None:
            text = format_number(condition.value)
        names.append("" if condition.kind == "baseline" else f"_sweep={text}")
    sampled = session.spec.generation.samples > 1
    return [
        f"prompt_{run.prompt}{names[run.condition]}" + (f"_sample={run.sample}" if sampled else "")
        for run in session.runs
    ]


def runs_csv(session: Session) -> str:
    """One row a run: prompt, condition, text, and where its vector lies in every plane of the session."""
    factors = list(dict.fromkeys(name for prompt in session.prompts for name in prompt.factors))
    header = [
        *("run", "prompt", "set", *(f"factor_{name}" for name in factors), "condition", "value", "sample"),
        *("prompt_text", "text", "tokens", "finish", "min_margin"),
    ]
    places = [_Place(session, plane) for plane in session.planes]
    header.extend(name for place in places for name in place.names)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    for row, run in enumerate(session.runs):
        cells = [*_run_cells(session, run, factors), *(cell for place in places for cell in place.cells(row))]
        writer.writerow(["" if cell is None else repr(cell) if isinstance(cell, float) else cell for cell in cells])
    return file.getvalue()


def _run_cells(session: Session, run: RunRecord, factors: Sequence[str]) -> list[object]:
    prompt, condition = session.prompts[run.prompt], session.conditions[run.condition]
    return [
        *(run.index, run.prompt, prompt.set, *(prompt.factors.get(name) for name in factors)),
        *(condition.label, condition.value, run.sample, prompt.text, run.text, len(run.token_ids)),
        *(run.finish, run.min_margin),
    ]


class _Place:
    """The columns of one plane."""

    def __init__(self, session: Session, plane: PlaneRecord) -> None:
        several = len({other.site for other in session.planes}) > 1
        prefix = f"{plane.site}_{plane.a}_{plane.b}" if several else f"{plane.a}_{plane.b}"
        self.names = [f"{prefix}_{name}" for name in ("x", "y", "norm", "cos_a", "cos_b")]
        self._plane = plane
        self._unit = unit_coordinates(plane.xy, plane.norm).xy.tolist()

    def cells(self, row: int) -> list[float]:
        """Raw coordinates and norm, and the cosines with the plane's two directions."""
        plane = self._plane
        return [plane.x[row], plane.y[row], plane.norm[row], *self._unit[row]]


def _site(session: Session, site: str | None) -> str:
    captured = session.spec.capture.sites
    if site is None:
        return captured[0]
    if site not in captured:
        raise ExplorerError(
            f"it did not capture the site {site}", where=session.name, remedy=did_you_mean(site, captured)
        )
    return site
