"""What arithmetic tells from sums is what editing every token's whole vector comes to."""

from __future__ import annotations

import numpy as np
import pytest

from srm_explorer.engine.stats.arithmetic import SegmentEdit, Span, edited_sums, moved_norm

RUNS, WIDTH = 6, 9
COLUMNS = np.array([1, 4, 6])
OPERATIONS = (
    ("clamp", [0, 1], (True, False)),
    ("steer", 0, (True, True)),
    ("add", [1], (False, True)),
    ("scale", [0, 2], (True, True)),
    ("steer", 1, (False, True)),
    ("zero", [1], (True, False)),
    ("mean", [2], (False, True)),
)
"""Each with its columns among the tracked ones, or its direction, and the segments that it edits."""


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("number", range(1, 1 + len(OPERATIONS)))
def test_sums_norms_and_shadows_are_those_of_vectors_edited_token_by_token(number: int, centred: bool) -> None:
    rng = np.random.default_rng(number)
    tokens = rng.integers(0, 4, size=(RUNS, 2))
    vectors = [[rng.normal(size=(n, WIDTH)) for n in own] for own in tokens]
    directions = rng.normal(size=(2, WIDTH))
    edits = []
    for op, of, segments in OPERATIONS[:number]:
        columns, direction = (np.array([], np.int64), of) if op == "steer" else (np.array(of), -1)
        values = rng.normal(size=(RUNS, max(1, len(columns))))
        edits.append(SegmentEdit(op, rng.random(RUNS) < 0.7, values, columns, direction, segments))
    unedited = np.array([[part.sum(axis=0) for part in own] for own in vectors])
    expected = np.zeros((RUNS, 2, WIDTH))
    for run, segment in np.ndindex(RUNS, 2):
        for vector in vectors[run][segment].copy():
            for edit in edits:
                if not (edit.present[run] and edit.segments[segment]):
                    continue
                at = COLUMNS[edit.columns]
                match edit.op:
                    case "clamp" | "mean":
                        vector[at] = edit.values[run]
                    case "add":
                        vector[at] += edit.values[run]
                    case "scale":
                        vector[at] *= edit.values[run]
                    case "zero":
                        vector[at] = 0.0
                    case "steer":
                        vector += edit.values[run, 0] * directions[edit.direction]
            expected[run, segment] += vector
    sums, moved = edited_sums(unedited[:, :, COLUMNS], tokens, edits, directions[:, COLUMNS])
    np.testing.assert_allclose(sums, expected[:, :, COLUMNS], atol=1e-12)
    before, after = unedited.sum(axis=1), expected.sum(axis=1)
    if centred:
        before, after = (whole - whole.mean(axis=1, keepdims=True) for whole in (before, after))
    span = Span.of(WIDTH, COLUMNS, directions, centred=centred)
    moves = np.concatenate([(sums - unedited[:, :, COLUMNS]).sum(axis=1), moved], axis=1)
    inside, outside = span.split(before)
    np.testing.assert_allclose((inside**2).sum(axis=1) + outside**2, (before**2).sum(axis=1))
    norms = moved_norm(inside + span.shadows(moves), outside)
    np.testing.assert_allclose(norms, np.linalg.norm(after, axis=1), atol=1e-12)
    plane = np.linalg.qr(rng.normal(size=(WIDTH, 2)))[0].T
    np.testing.assert_allclose(before @ plane.T + moves @ span.on(plane), after @ plane.T, atol=1e-12)
    seen = span.shadows(moves) @ span.basis_on(plane)
    np.testing.assert_allclose(seen, moves @ span.on(plane), atol=1e-12)
