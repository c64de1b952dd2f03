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
from engine.spec import direction_text
from engine.spec.refusal import RefusalError

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
        a: what lies at 0 degrees: a coordinate's number, or a direction's text as experiment files have it.
        b: what lies at 90 degrees, as far as the first leaves it free.
        x: [run] coordinate along the first direction, raw units, runs in the session's order.
        y: [run] coordinate along the second, made orthogonal to the first.
        norm: [run] length of the whole vector.
        raw_angle_deg: degrees between the two directions before they were made orthogonal.
    """

    site: str
    a: int | str
    b: int | str
    x: tuple[float, ...]
    y: tuple[float, ...]
    norm: tuple[float, ...]
    raw_angle_deg: float = 90.0

    @classmethod
    def of(
        cls,
        site: str,
        a: int | str,
        b: int | str,
        xy: NDArray[np.floating[Any]],
        norm: NDArray[np.floating[Any]],
        raw_angle_deg: float = 90.0,
    ) -> Self:
        """Take the coordinates [run, 2] and norms [run] that an analysis computed."""
        x, y = np.asarray(xy, dtype=np.float64).T
        lengths = np.asarray(norm, dtype=np.float64)
        return cls(site, a, b, tuple(x.tolist()), tuple(y.tolist()), tuple(lengths.tolist()), raw_angle_deg)

    @property
    def xy(self) -> NDArray[np.float64]:
        """[run, 2] both coordinates."""
        return np.array([self.x, self.y], dtype=np.float64).T

    @property
    def coordinates(self) -> tuple[int, ...]:
        """Numbers of the coordinates that its directions are; none for a direction that is text."""
        return tuple(along for along in (self.a, self.b) if isinstance(along, int))

    @property
    def key(self) -> tuple[str, int | str, int | str]:
        """What tells it from the other planes of a session: its site and directions."""
        return self.site, self.a, self.b

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `json_line`."""
        data = {"site": self.site, "a": self.a, "b": self.b, "x": self.x, "y": self.y, "norm": self.norm}
        return {**data, "raw_angle_deg": self.raw_angle_deg}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; DamagedError names the field that is not."""
        record = cls(
            site=take(data, "site", str),
            a=_along(data, "a"),
            b=_along(data, "b"),
            x=take_floats(data, "x"),
            y=take_floats(data, "y"),
            norm=take_floats(data, "norm"),
            raw_angle_deg=as_float(data.get("raw_angle_deg", 90.0), "raw_angle_deg"),
        )
        if not len(record.x) == len(record.y) == len(record.norm):
            raise DamagedError("x, y and norm differ in length")
        return record


def _along(data: Mapping[str, Any], key: str) -> int | str:
    value = take(data, key, object)
    if isinstance(value, bool) or not isinstance(value, int | str) or (isinstance(value, int) and value < 0):
        raise DamagedError(f"{key} is no whole number from 0, and no direction")
    if isinstance(value, int):
        return value
    try:
        # A session may come from someone else: no text of it commands a terminal.
        return direction_text.canonical(value if value.isprintable() else "")
    except RefusalError:
        raise DamagedError(f"{key} is no direction") from None


_FINISHES: tuple[Finish, ...] = ("length", "eos", "none")
