"""The rows of a session: its prompts, its runs, and the coordinates of the runs in a plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.session.fields import (
    DamagedError,
    as_float,
    take,
    take_choice,
    take_float_or_none,
    take_floats,
    take_ints,
    take_table,
    take_texts,
)

Finish: TypeAlias = Literal["length", "eos", "none"]
"""Why a run's text ends: the asked length, an end-of-text, or nothing was generated at all."""


@dataclass(frozen=True)
class PromptRecord:
    """A prompt as it was fed.

    Attributes:
        set: name of the prompt set it came from.
        text: the prompt.
        factors: its factors by name.
        token_ids: what the model was fed, a BOS included where there was one.
        occurrence: how many earlier prompts of the session have the same token ids.
        sha256: of the token ids; with `occurrence` it keys the sampling noise.
    """

    set: str
    text: str
    factors: Mapping[str, str]
    token_ids: tuple[int, ...]
    occurrence: int
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `json_line`."""
        return {
            "set": self.set,
            "text": self.text,
            "factors": dict(self.factors),
            "token_ids": list(self.token_ids),
            "occurrence": self.occurrence,
            "sha256": self.sha256,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; DamagedError names the field that is not."""
        return cls(
            set=take(data, "set", str),
            text=take(data, "text", str),
            factors=take_texts(data, "factors"),
            token_ids=take_ints(data, "token_ids"),
            occurrence=take(data, "occurrence", int),
            sha256=take(data, "sha256", str),
        )


@dataclass(frozen=True)
class RunRecord:
    """One prompt under one condition.

    Attributes:
        index: its place among all runs that were planned.
        prompt: index of its prompt in the session.
        condition: index of its condition.
        sample: which of the sampled continuations, from 0.
        token_ids: what was generated.
        text: the same as text.
        prompt_tokens: how many tokens the prompt has.
        finish: why the text ends.
        min_margin: smallest difference between the two largest logits over the generated steps; None where none was.
        metrics: further numbers by name.
    """

    index: int
    prompt: int
    condition: int
    sample: int
    token_ids: tuple[int, ...]
    text: str
    prompt_tokens: int
    finish: Finish
    min_margin: float | None
    metrics: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `json_line`."""
        return {
            "index": self.index,
            "prompt": self.prompt,
            "condition": self.condition,
            "sample": self.sample,
            "token_ids": list(self.token_ids),
            "text": self.text,
            "prompt_tokens": self.prompt_tokens,
            "finish": self.finish,
            "min_margin": self.min_margin,
            "metrics": dict(self.metrics),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; DamagedError names the field that is not."""
        return cls(
            index=take(data, "index", int),
            prompt=take(data, "prompt", int),
            condition=take(data, "condition", int),
            sample=take(data, "sample", int),
            token_ids=take_ints(data, "token_ids"),
            text=take(data, "text", str),
            prompt_tokens=take(data, "prompt_tokens", int),
            finish=take_choice(data, "finish", _FINISHES),
            min_margin=take_float_or_none(data, "min_margin"),
            metrics={name: as_float(value, f"metrics.{name}") for name, value in take_table(data, "metrics").items()},
        )


@dataclass(frozen=True)
class PlaneRecord:
    """Where every run lies in a plane: all that a spotlight sweep needs.

    Attributes:
        site: the site whose space the plane lies in.
        a: coordinate at 0 degrees.
        b: coordinate at 90 degrees.
        x: [run] coordinate along `a`, raw units, runs in the session's order.
        y: [run] coordinate along `b`.
        norm: [run] length of the whole vector.
    """

    site: str
    a: int
    b: int
    x: tuple[float, ...]
    y: tuple[float, ...]
    norm: tuple[float, ...]

    @classmethod
    def of(cls, site: str, a: int, b: int, xy: NDArray[np.floating[Any]], norm: NDArray[np.floating[Any]]) -> Self:
        """Take the coordinates [run, 2] and norms [run] that an analysis computed."""
        x, y = np.asarray(xy, dtype=np.float64).T
        lengths = np.asarray(norm, dtype=np.float64)
        return cls(site, a, b, tuple(x.tolist()), tuple(y.tolist()), tuple(lengths.tolist()))

    @property
    def xy(self) -> NDArray[np.float64]:
        """[run, 2] both coordinates."""
        return np.array([self.x, self.y], dtype=np.float64).T

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `json_line`."""
        return {"site": self.site, "a": self.a, "b": self.b, "x": self.x, "y": self.y, "norm": self.norm}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; DamagedError names the field that is not."""
        record = cls(
            site=take(data, "site", str),
            a=take(data, "a", int),
            b=take(data, "b", int),
            x=take_floats(data, "x"),
            y=take_floats(data, "y"),
            norm=take_floats(data, "norm"),
        )
        if not len(record.x) == len(record.y) == len(record.norm):
            raise DamagedError("x, y and norm differ in length")
        return record


_FINISHES: tuple[Finish, ...] = ("length", "eos", "none")
