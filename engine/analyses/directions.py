"""From a direction's text to the vector it means in one site's space, and to the plane of two of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Condition, Site, conditions
from srm_explorer.engine.experiment.conditions import conditions_of, prompts_of
from srm_explorer.engine.experiment.directions import (
    ANY,
    Component,
    FileVector,
    GroupMean,
    MeanDifference,
    NeuronWeights,
    RandomDirection,
    RunChoice,
    direction_of,
)
from srm_explorer.engine.experiment.model_fit import is_centred
from srm_explorer.engine.figures.captions import direction_caption
from srm_explorer.engine.io.vectors import Matrix, as_rows, direction_sha256, read_direction
from srm_explorer.engine.session import (
    DamagedError,
    Number,
    PlaneRecord,
    PromptRecord,
    RunRecord,
    Session,
    read_record,
    seen_prompts,
)
from srm_explorer.engine.stats.planes import Plane, neuron_plane, plane_from_vectors

DIRECTIONS = "directions"
"""The field of a session's provenance that holds vectors of files and weights by their text."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SiteRuns:
    """The runs of an experiment at one site, and what else directions may be made of.

    Attributes:
        vectors: [run, d] one a run, the mean over tokens where every token was kept.
        prompt: [run] index of its prompt.
        condition: [run] index of its condition.
        known: vectors of files and weights by their text, as they were read.
        centred: whether the captured vectors have their mean over coordinates taken out.
    """

    site: str
    vectors: NDArray[Any]
    prompt: NDArray[np.int64]
    condition: NDArray[np.int64]
    prompts: Sequence[tuple[str, Mapping[str, str]]]
    conditions: Sequence[Condition]
    known: Mapping[str, Vector]
    centred: bool

    @classmethod
    def of(
        cls,
        session: Session,
        site: str,
        vectors: Matrix | list[Matrix],
        known: Mapping[str, Vector] | None = None,
        *,
        runs: Sequence[RunRecord] | None = None,
        prompts: Sequence[PromptRecord] | None = None,
    ) -> SiteRuns:
        """The runs of a session.

        Args:
            site: captured.
            known: vectors beside those that the session holds.
            runs: those of `vectors`, where they are not all of the session's.
            prompts: where the session's are not there yet.
        """
        runs = session.runs if runs is None else runs
        prompts = session.prompts if prompts is None else prompts
        # No direction is made of what is kept for confirmation, nor of anything else while confirming; nor of texts
        # that the model did not choose.
        kept = seen_prompts(session.spec, [prompt.set for prompt in prompts])
        rows = np.array([row for row, run in enumerate(runs) if kept[run.prompt] and not run.is_broken], np.int64)
        return cls(
            site=site,
            vectors=as_rows(vectors, None if len(rows) == len(runs) else rows),
            prompt=np.array([run.prompt for run in runs], np.int64)[rows],
            condition=np.array([run.condition for run in runs], np.int64)[rows],
            prompts=[(prompt.set, prompt.factors) for prompt in prompts],
            conditions=session.conditions or conditions(session.spec),
            known={**known_directions(session.provenance), **(known or {})},
            centred=is_centred(session.spec, site),
        )

    def of_prompts(self, prompts: Sequence[int]) -> SiteRuns:
        """The runs of some prompts alone."""
        rows = np.isin(self.prompt, prompts)
        return replace(self, vectors=self.vectors[rows], prompt=self.prompt[rows], condition=self.condition[rows])

    @property
    def d(self) -> int:
        return int(self.vectors.shape[1])

    def rows(self, choice: RunChoice, default: str) -> NDArray[np.int64]:
        """Places of the runs that a choice means, those that are not finite left out.

        Raises:
            ExplorerError: it names no prompt or condition, or none of its runs is there.
        """
        if choice.is_open():
            raise ExplorerError(f"{choice} stands for several directions", remedy=f"name one level in place of {ANY}")
        of_condition = np.isin(self.condition, conditions_of(choice, self.conditions, default))
        of_prompt = np.isin(self.prompt, prompts_of(choice, self.prompts))
        rows = np.flatnonzero(of_condition & of_prompt)
        rows = rows[np.isfinite(self.vectors[rows]).all(axis=1)]
        if not len(rows):
            selection = str(choice) or default
            raise ExplorerError(f"no run of {selection} is there with finite numbers", remedy="choose other runs")
        return rows

    def mean(self, choice: RunChoice) -> Vector:
        """[d] mean of the vectors of some runs, raw units; of the baseline's where no condition is named."""
        return self.vectors[self.rows(choice, "baseline")].mean(axis=0, dtype=np.float64)


def direction_vector(along: int | str, runs: SiteRuns) -> Vector:
    """The vector [d] that a plane's field means, of any length.

    Raises:
        ExplorerError: it names runs, a vector or a neuron that are not there, or has another width.
    """
    match direction_of(along):
        case int(index):
            _check_range(index, runs)
            return np.eye(1, runs.d, index)[0]
        case GroupMean(choice):
            return runs.mean(choice)
        case MeanDifference(choice, others):
            return runs.mean(choice) - runs.mean(others)
        case Component(number, choice):
            # Needs scipy, which takes long to import and few planes ask for.
            from srm_explorer.engine.stats.planes import principal_components

            rows = runs.rows(choice, "all")
            return principal_components(runs.vectors[rows], number)[0][number - 1]
        case RandomDirection(seed):
            return np.random.default_rng(seed).standard_normal(runs.d)
        case NeuronWeights() as weights:
            return _weights(weights, runs)
        case FileVector() as vector:
            return _known(str(vector), runs, "add the plane where its file lies: srm-explorer planes SESSION --add")


def plane_through(a: int | str, b: int | str, runs: SiteRuns) -> Plane:
    """Span the plane of two directions: 0 degrees on the first, 90 on what the second adds to it.

    Raises:
        ExplorerError: as `direction_vector`; a direction that is zero, or both on one line.
    """
    if a == b:
        what = f"a plane needs two different directions, both are {direction_caption(runs.site, a)}"
        raise ExplorerError(what, remedy="choose another")
    if isinstance(a, int) and isinstance(b, int):
        for index in (a, b):
            _check_range(index, runs)
        return neuron_plane(runs.d, a, b)
    first, second = (direction_vector(along, runs) for along in (a, b))
    return plane_from_vectors(first, second, direction_caption(runs.site, a), direction_caption(runs.site, b))


def basis_of_record(plane: PlaneRecord, runs: SiteRuns) -> Plane:
    """Span a plane of a session anew, of the runs it was made of; errors as `plane_through`.

    Args:
        runs: all runs of the session at its site.
    """
    made = runs if plane.held_out is None else runs.of_prompts(plane.held_out.prompts)
    return plane_through(plane.a, plane.b, made)


def known_directions(provenance: Mapping[str, Any]) -> dict[str, Vector]:
    """Vectors of files and weights that a session or a journal holds, by their text; those that are damaged are not."""
    stored: object = provenance.get(DIRECTIONS)
    vectors: dict[str, Vector] = {}
    for text, numbers in cast("Mapping[str, object]", stored).items() if isinstance(stored, dict) else ():
        try:
            vectors[text] = np.array(read_record(tuple[Number, ...], numbers, text), np.float64)
        except DamagedError:
            continue
    return vectors


def direction_of_run(session: Session, text: str, base: Path) -> Vector:
    """[d] the unit vector of a file that a session's interventions went along: as it holds it, else from the file.

    Args:
        text: as the intervention names it.
        base: the folder that a relative path starts from.

    Raises:
        ExplorerError: it is in neither, or the file holds another one now.
    """
    recorded = session.told("inputs").get(f"direction {text}")
    held = known_directions(session.provenance).get(text)
    if held is not None and direction_sha256(held) == recorded:
        return held
    vector = read_direction(text, base)
    if direction_sha256(vector) != recorded:
        what = "the direction is not the one the session was made with"
        raise ExplorerError(what, where=text, remedy="put the file back as it was")
    return vector


def missing_weights(session: Session, site: str, directions: Iterable[int | str]) -> list[str]:
    """Which directions of a plane are weights of neurons that a session does not hold, by their text.

    Args:
        site: the plane's; only the residual stream has such directions.

    Raises:
        ExplorerError: a text that is no direction, or a layer that the session's model has not got.
    """
    if not Site.parse(site).is_stream:
        return []
    known = known_directions(session.provenance)
    layers: object = session.told("model").get("n_layers")
    missing: list[str] = []
    for direction in map(direction_of, directions):
        if not isinstance(direction, NeuronWeights) or str(direction) in known:
            continue
        if isinstance(layers, int) and direction.layer >= layers:
            what = f"layer {direction.layer} is out of range for this model ({layers} layers)"
            raise ExplorerError(what, where=str(direction), remedy=f"choose 0 to {layers - 1}")
        missing.append(str(direction))
    return missing


def weights_in(findings: Mapping[str, Any]) -> dict[str, Vector]:
    """The vectors that the study "directions" found, by their text."""
    return {text: np.array(numbers, np.float64) for text, numbers in findings["vectors"].items()}


def file_vectors(directions: Iterable[int | str], base: Path) -> dict[str, Vector]:
    """Vectors of files that directions name, by their text; errors as `read_direction`.

    Args:
        directions: as a plane's fields have them.
    """
    named = [direction_of(along) for along in directions]
    return {
        str(direction): read_direction(str(direction), base) for direction in named if isinstance(direction, FileVector)
    }


def _check_range(index: int, runs: SiteRuns) -> None:
    if not 0 <= index < runs.d:
        what = f"{direction_caption(runs.site, index)} is out of range for {runs.site} (width {runs.d})"
        raise ExplorerError(what, remedy=f"choose 0 to {runs.d - 1}")


def _weights(weights: NeuronWeights, runs: SiteRuns) -> Vector:
    if not Site.parse(runs.site).is_stream:
        among = "the neurons" if Site.parse(runs.site).is_mlp else "the coordinates"
        raise ExplorerError(
            f"{weights} lies in the residual stream, not among {among} of {runs.site}",
            remedy="name the neuron by its number, or a site of the residual stream",
        )
    vector = _known(str(weights), runs, "its model has it: srm-explorer planes SESSION --add loads it")
    return vector - vector.mean() if runs.centred else vector


def _known(text: str, runs: SiteRuns, remedy: str) -> Vector:
    vector = runs.known.get(text)
    if vector is None:
        raise ExplorerError(f"the session does not hold the vector {text}", remedy=remedy)
    if vector.shape != (runs.d,):
        what = f"{text} has {vector.size} numbers, {runs.site} has {runs.d}"
        raise ExplorerError(what, remedy="choose a direction of that site's space")
    return vector
