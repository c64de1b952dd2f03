"""What a neuron did at every captured token of a run, and at the same places of its baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import ExplorerError
from engine.figures.captions import coordinate_caption, site_caption
from engine.session import Session
from engine.vectors import read_columns


@dataclass(frozen=True)
class Coordinate:
    """One coordinate of a captured site."""

    site: str
    index: int

    @property
    def caption(self) -> str:
        """How it is called: "n373 · L11 hook_post"."""
        return f"{coordinate_caption(self.site, self.index)} · {site_caption(self.site)}"


@dataclass(frozen=True)
class Fed:
    """A token as it was fed.

    Attributes:
        place: among the prompt's tokens, or among the generated ones, from 1.
        generated: whether the model wrote it.
        token_id: what was fed.
    """

    place: int
    generated: bool
    token_id: int

    @property
    def caption(self) -> str:
        """How it is called: "token 7", "prompt token 3"."""
        return f"{'' if self.generated else 'prompt '}token {self.place}"


@dataclass(frozen=True, eq=False)
class TokenSeries:
    """The activation of a coordinate along a run.

    Attributes:
        coordinate: whose.
        fed: [token] the tokens it was captured at.
        values: [token] the activation when that token was fed.
        baseline: the baseline's tokens and values at the same places; empty for a baseline, or where it is missing.
    """

    coordinate: Coordinate
    fed: tuple[Fed, ...]
    values: NDArray[np.float64]
    baseline_fed: tuple[Fed, ...]
    baseline: NDArray[np.float64]


def coordinates_of(session: Session) -> tuple[Coordinate, ...]:
    """The coordinates worth showing token by token: those intervened on, then those of the planes.

    Raises:
        ExplorerError: the session kept no tokens, with the remedy.
    """
    if session.spec.capture.reduce != "tokens":
        what = "the activations were kept as one vector a run"
        raise ExplorerError(what, remedy="set capture to tokens and run again to see every token")
    if session.sidecar is None:
        what = "the session was saved without its vectors"
        raise ExplorerError(what, remedy="run it again under another name to have them")
    widths = session.sidecar.sites
    named = [(one.site, neuron) for one in session.spec.interventions for neuron in one.neurons]
    named += [(plane.site, index) for plane in session.planes for index in plane.coordinates]
    known = [Coordinate(site, index) for site, index in dict.fromkeys(named) if index < widths.get(site, 0)]
    if not known:
        raise ExplorerError("no neuron of the experiment was captured", remedy="capture the site it lies at")
    return tuple(known)


def series_of(session: Session, vectors: Path, row: int, other: int | None, coordinate: Coordinate) -> TokenSeries:
    """Read a run's activations, and its baseline's.

    Args:
        session: the run's.
        vectors: the file that `Session.vectors_path` found and checked.
        row: the run's place in the session.
        other: the baseline's; None for none.
        coordinate: one of `coordinates_of`.

    Raises:
        ExplorerError: the file is missing or damaged.
    """
    fed, values = _read(session, vectors, row, coordinate)
    if other is None or other == row:
        return TokenSeries(coordinate, fed, values, (), np.empty(0))
    return TokenSeries(coordinate, fed, values, *_read(session, vectors, other, coordinate))


def fed_tokens(session: Session, row: int) -> tuple[Fed, ...]:
    """The tokens of a run that its capture covers, in the order they were fed."""
    run = session.runs[row]
    prompt = [Fed(at + 1, False, token) for at, token in enumerate(session.prompts[run.prompt].token_ids)]
    written = [Fed(at + 1, True, token) for at, token in enumerate(run.token_ids)]
    match session.spec.capture.positions:
        case "generated":
            return tuple(written)
        case "predicting":
            return (*prompt[-1:], *written)
        case "prompt":
            return tuple(prompt)
        case "all":
            return (*prompt, *written)


def _read(
    session: Session, vectors: Path, row: int, coordinate: Coordinate
) -> tuple[tuple[Fed, ...], NDArray[np.float64]]:
    values = read_columns(vectors, coordinate.site, row, [coordinate.index])[:, 0].astype(np.float64)
    fed = fed_tokens(session, row)
    if len(fed) != len(values):
        what = f"run {session.runs[row].index} has {len(fed)} captured tokens, its vectors {len(values)}"
        raise ExplorerError(what, where=str(vectors), remedy="restore the file from a copy")
    return fed, values
