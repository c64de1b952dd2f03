from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.model.capture import Capture
from engine.model.decode import Generation, Row, RowResult, decode
from engine.model.edits import Edit
from engine.model.load import LoadedModel
from engine.model.reference import run_alone
from engine.spec.intervention import Operation, Positions
from engine.spec.site import SITE_KINDS

SameRow = Callable[[RowResult, RowResult], None]
Prompts = list[tuple[int, ...]]

LAYERS = (0, 1, 2)
POSITIONS: tuple[Positions, ...] = get_args(Positions)
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
NEURONS = (3, 17)
VALUES = {"clamp": (4.0, -3.0), "mean": (0.5, -1.0), "add": (3.0, -6.0), "scale": (4.0, -2.0)}


def an_edit(site: str, op: Operation, positions: Positions, strength: float = 1.0) -> Edit:
    if op == "steer":
        width = 64 if site.endswith("hook_post") else 32
        direction = np.random.default_rng(width).normal(size=width)
        return Edit(site, op, positions, (), (8.0 * strength,), tuple(direction / np.linalg.norm(direction)))
    return Edit(site, op, positions, NEURONS, tuple(strength * v for v in VALUES.get(op, ())))


def check(
    model: LoadedModel, rows: Sequence[Row], captures: list[Capture], same_row: SameRow, tokens: int = 3
) -> list[RowResult]:
    """Decode with and without sharing, compare both with the rows run alone, and return what came."""
    generation = Generation(tokens)
    together = decode(model, rows, generation, captures, share=True).rows
    plain = decode(model, rows, generation, captures, share=False).rows
    for row, shared, single in zip(rows, together, plain, strict=True):
        alone = run_alone(model, row, generation, captures)
        same_row(shared, alone)
        same_row(single, alone)
    return together


SETTINGS = list(itertools.product(SITE_KINDS, LAYERS, POSITIONS))


@pytest.mark.parametrize(("place", "setting"), enumerate(SETTINGS), ids=lambda v: "-".join(map(str, v)) if isinstance(v, tuple) else "")
def test_a_row_of_a_batch_is_the_row_alone(
    tiny: LoadedModel, prompts: Prompts, same_row: SameRow, place: int, setting: tuple[str, int, Positions]
) -> None:
    kind, layer, positions = setting
    site = f"blocks.{layer}.{kind}"
    first, second = OPERATIONS[place % 6], OPERATIONS[(place // 6 + place + 1) % 6]
    rows = [
        Row(prompt, edits)
        for prompt in prompts[1:]
        for edits in ((), (an_edit(site, first, positions),), (an_edit(site, second, positions, 2.0),))
    ]
    elsewhere = f"blocks.{2 - layer}.hook_resid_post"
    captured: Positions = ("generated", "predicting", "prompt", "all")[place % 4]
    captures = [Capture(site, "mean", captured), Capture(elsewhere, ("mean", "last", "tokens")[place % 3], captured)]
    check(tiny, rows, captures, same_row)
