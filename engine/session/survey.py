"""What a survey found, as tables: neurons by values by texts, beside the session in its file of vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.session.codec import DamagedError
from srm_explorer.engine.session.standing import Standing

SURVEY = "survey/"
"""Begins the names, among saved vectors, of a survey's tables."""

BROKEN = -2
"""Stands for where a text parts from the baseline's, where its logits were NaN: it is none of the model's."""

SKETCH = 16
"""Numbers of a sketch."""

MOST_CHARACTERS = 80
"""Of the text of a token; of a longer one its beginning is kept."""

_FORCED, _FREE, _FULL = f"{SURVEY}forced/", f"{SURVEY}free/", f"{SURVEY}free/vectors/"

Floats = NDArray[np.float32]
Wholes = NDArray[np.int32]


def sketch_directions(width: int) -> NDArray[np.float32]:
    """[width, 16] what a change of a site's mean vector is multiplied with to give its sketch.

    Normal numbers of a fixed seed over the root of 16, so that lengths and distances of sketches are those of the
    changes on average (Johnson and Lindenstrauss, 1984), at whatever site, in whatever session.
    """
    drawn = np.random.Generator(np.random.PCG64(20)).standard_normal((width, SKETCH))
    return (drawn / np.sqrt(SKETCH)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ForcedScores:
    """How texts, the baseline's or the prompts themselves, fare under every neuron's clamp; of finished cells alone.

    Attributes:
        cells: [k] places of the finished cells in the plan, ascending.
        kl: [k, value, text] mean over the text's tokens of KL(untouched || clamped), nats a token.
        logp: [k, value, text] mean change of the log-probability of the token that is there, nats a token.
        flips: [k, value, text] share of tokens of which another token became the most probable.
        change: [site, k, value, text] length of the change of the mean captured vector over the untouched one's length,
            sites as `capture.sites` has them; 0 where nothing of the neuron arrives.
        promoted: [k, value, n] token ids whose log-probability, summed over all tokens of the texts that are not kept
            back and that nothing was chosen on, rose the most, the first the farthest; -1 where fewer did.
        demoted: [k, value, n] those that fell the most.
        token_texts: by token id, what those in both lists say, each alone; without those that were scored before texts
            were kept.
    """

    cells: Wholes
    kl: Floats
    logp: Floats
    flips: Floats
    change: Floats
    promoted: Wholes
    demoted: Wholes
    token_texts: Mapping[int, str] = field(default_factory=dict[int, str])


@dataclass(frozen=True, eq=False)
class FreeRuns:
    """What was written under every neuron's clamp; of the cells that are finished alone.

    Attributes:
        cells: [k] places of the finished cells in the plan, ascending.
        texts: [m] places of the texts they ran on among those of the plan: all, or the other half.
        tokens: [k, value, m] how many were written.
        parted: [k, value, m] the first token that differs from the baseline's, from 0; -1 where none does,
            `BROKEN` where the logits of a token were NaN.
        text_hash: [k, value, m] of the token ids: equal texts have equal ones.
        change: [site, k, value, m] length of the change of the mean captured vector over the baseline's length.
        norm: [site, k, value, m] length of the mean captured vector.
        x, y: [plane, k, value, m] its coordinates, planes as `session.planes` has them.
        sketch: [site, k, value, m, 16] the change of the mean captured vector times `sketch_directions`.
        kept: [c] places in the plan of the finished cells of which full vectors are kept.
        vectors: by captured site, [c, value, m, d] mean captured vectors of those.
    """

    cells: Wholes
    texts: Wholes
    tokens: Wholes
    parted: Wholes
    text_hash: NDArray[np.uint64]
    change: Floats
    norm: Floats
    x: Floats
    y: Floats
    sketch: Floats
    kept: Wholes = field(default_factory=lambda: np.zeros(0, np.int32))
    vectors: Mapping[str, Floats] = field(default_factory=dict[str, Floats])


@dataclass(frozen=True, eq=False)
class SurveyTables:
    """A survey: its plan, and what is finished of it. A cell is one neuron of one layer.

    Values are those of `survey_settings(session.spec)`, in that order, which has their labels.

    Attributes:
        layer: [cell] ascending.
        neuron: [cell] ascending in each layer.
        values: [cell, value] raw ones that the neuron is given: clamped to, added, or its factor; 0 for `zero`.
        mean: [cell] of the neuron over the tokens that are scored, else generated; NaN where nothing was measured.
        std: [cell] its standard deviation there (ddof 0).
        prompt: [text] place of the prompt of a text: the texts are the baseline's, or prompts, in the session's order.
        sample: [text] which of the prompt's continuations it is.
        chose: [text] whether those that the survey went on with were chosen on it; all False where it did not.
        forced: what scoring found; None before, or where texts are written at once.
        free: what was written; None before, or where none is to be.
        planned_forced: how many cells are to be scored.
        planned_free: how many are to be written under; of a survey that is to go on, 0 until they are chosen.
    """

    layer: Wholes
    neuron: Wholes
    values: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    prompt: Wholes
    sample: Wholes
    chose: NDArray[np.bool_]
    forced: ForcedScores | None = None
    free: FreeRuns | None = None
    planned_forced: int = 0
    planned_free: int = 0

    @property
    def n_cells(self) -> int:
        return len(self.layer)

    @property
    def finished(self) -> tuple[int, int]:
        """How many cells are scored, and written under."""
        return 0 if self.forced is None else len(self.forced.cells), 0 if self.free is None else len(self.free.cells)

    @property
    def standing(self) -> Standing:
        """How far it is."""
        scored, written = self.finished
        return Standing(scored, self.planned_forced, written, self.planned_free)

    def place(self, layer: int, neuron: int) -> int:
        """Where a cell stands in the plan; -1 where it does not."""
        found = np.flatnonzero((self.layer == layer) & (self.neuron == neuron))
        return int(found[0]) if len(found) else -1

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Every table by the name it is saved under."""
        planned = np.array([self.planned_forced, self.planned_free], np.int32)
        arrays: dict[str, NDArray[Any]] = {f"{SURVEY}planned": planned, f"{SURVEY}chose": self.chose.astype(np.int32)}
        arrays |= {f"{SURVEY}{name}": getattr(self, name) for name in PLAN_TABLES}
        for prefix, part, names in ((_FORCED, self.forced, _FORCED_NAMES), (_FREE, self.free, _FREE_NAMES)):
            if part is not None:
                arrays |= {f"{prefix}{name}": getattr(part, name) for name in names}
        if self.forced is not None:
            arrays |= text_arrays(self.forced.token_texts, _FORCED)
        if self.free is not None:
            arrays |= {f"{_FULL}{site}": vectors for site, vectors in self.free.vectors.items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self | None:
        """Read what `to_arrays` made; None where there is no survey.

        Raises:
            DamagedError: a table is missing, or of another shape.
        """
        if not any(name.startswith(SURVEY) for name in arrays):
            return None
        try:
            plan = {name: arrays[f"{SURVEY}{name}"] for name in PLAN_TABLES}
            forced = free = None
            if f"{_FORCED}cells" in arrays:
                texts = texts_in(arrays, _FORCED)
                forced = ForcedScores(**_named(arrays, _FORCED, _FORCED_NAMES), token_texts=texts)
            if f"{_FREE}cells" in arrays:
                vectors = {name.removeprefix(_FULL): array for name, array in arrays.items() if name.startswith(_FULL)}
                free = FreeRuns(**_named(arrays, _FREE, _FREE_NAMES), vectors=vectors)
            planned = arrays[f"{SURVEY}planned"]
            chose = arrays[f"{SURVEY}chose"].astype(np.bool_)
            tables = cls(
                **plan,
                chose=chose,
                forced=forced,
                free=free,
                planned_forced=int(planned[0]),
                planned_free=int(planned[1]),
            )
        except (KeyError, IndexError) as error:
            raise DamagedError(f"the survey lacks {error}") from None
        except ValueError as error:
            raise DamagedError(f"the survey's tokens are no texts: {error}") from None
        tables._check()
        return tables

    def _check(self) -> None:
        cells, values = self.values.shape if self.values.ndim == 2 else (-1, -1)
        own = {self.layer.shape, self.neuron.shape, self.mean.shape, self.std.shape}
        of_texts = {self.prompt.shape, self.sample.shape, self.chose.shape}
        if own != {(cells,)} or of_texts != {(len(self.prompt),)}:
            raise DamagedError("the survey's plan has tables of other shapes than it should")
        for part in (self.forced, self.free):
            if part is None:
                continue
            texts, axes = (
                (len(self.prompt), FORCED_AXES) if isinstance(part, ForcedScores) else (len(part.texts), FREE_AXES)
            )
            shape = (len(part.cells), values, texts)
            # How many tokens are in a list is no matter of the plan.
            told = {name: shape[:2] if name in _LISTS else shape for name in axes}
            if any(getattr(part, name).shape[axis:][: len(told[name])] != told[name] for name, axis in axes.items()):
                raise DamagedError("the survey has tables of other shapes than its plan")
            if len(part.cells) and not 0 <= part.cells.min() <= part.cells.max() < cells:
                raise DamagedError("the survey has cells that are not in its plan")


PLAN_TABLES = ("layer", "neuron", "values", "mean", "std", "prompt", "sample")
"""Names of the plan's tables, which are what they are saved as."""
FORCED_AXES = {"kl": 0, "logp": 0, "flips": 0, "change": 1, "promoted": 0, "demoted": 0}
FREE_AXES = {"tokens": 0, "parted": 0, "text_hash": 0, "change": 1, "norm": 1, "x": 1, "y": 1, "sketch": 1}
"""By name of a table with every finished cell, the axis of the cells."""
_LISTS = ("promoted", "demoted")
_FORCED_NAMES = ("cells", *FORCED_AXES)
_FREE_NAMES = ("cells", "texts", *FREE_AXES, "kept")


def _named(arrays: Mapping[str, NDArray[Any]], prefix: str, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: arrays[f"{prefix}{name}"] for name in names}


def text_arrays(texts: Mapping[int, str], prefix: str) -> dict[str, NDArray[np.int32]]:
    """Texts of token ids as whole numbers, which lie beside other tables: `texts_in` reads them.

    Returns:
        "token_ids", ascending; "token_ends", where the text of each ends among "token_characters", all code points.
    """
    ids = sorted(texts)
    ends = np.cumsum([len(texts[token]) for token in ids], dtype=np.int32)
    characters = np.array([ord(character) for token in ids for character in texts[token]], np.int32)
    named = {"token_ids": np.array(ids, np.int32), "token_ends": ends, "token_characters": characters}
    return {f"{prefix}{name}": array for name, array in named.items()}


def texts_in(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[int, str]:
    """Texts by token id, of `text_arrays`; none where no texts were kept.

    Raises:
        KeyError: a part of them is missing.
        ValueError: they are no texts.
    """
    if f"{prefix}token_ids" not in arrays:
        return {}
    ids, ends, characters = (
        arrays[f"{prefix}{name}"].tolist() for name in ("token_ids", "token_ends", "token_characters")
    )
    whole = "".join(map(chr, characters))
    return {token: whole[start:end] for token, start, end in zip(ids, [0, *ends][:-1], ends, strict=True)}
