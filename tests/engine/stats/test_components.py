from __future__ import annotations

import numpy as np
import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.stats import planes
from srm_explorer.engine.stats.planes import principal_components


@pytest.mark.parametrize(("n", "d"), [(40, 12), (12, 40), (30, 30)])
def test_components_are_those_of_the_singular_value_decomposition(n: int, d: int) -> None:
    rng = np.random.default_rng(n)
    vectors = (rng.normal(size=(n, d)) * np.linspace(3, 0.5, d) + 50 * rng.normal(size=d)).astype(np.float32)
    found, shares = principal_components(vectors, 5)
    whole = vectors.astype(np.float64)
    _, singular, rows = np.linalg.svd(whole - whole.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(shares, (singular**2 / (singular**2).sum())[:5], rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(found * rows[:5], axis=1)), 1, atol=1e-9)
    np.testing.assert_allclose(found @ found.T, np.eye(5), atol=1e-9)


def test_the_sign_is_that_of_the_largest_entry_whichever_way_runs_are_ordered() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(25, 9)) * np.linspace(4, 1, 9)
    found, _ = principal_components(vectors, 4)
    assert (found[np.arange(4), np.abs(found).argmax(axis=1)] > 0).all()
    np.testing.assert_allclose(principal_components(vectors[::-1], 4)[0], found, atol=1e-9)
    np.testing.assert_allclose(principal_components(-vectors, 4)[0], found, atol=1e-9)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 7))
    whole, _ = principal_components(vectors, 3)
    monkeypatch.setattr(planes, "CHUNK_ELEMENTS", 50)
    np.testing.assert_allclose(principal_components(vectors, 3)[0], whole, atol=1e-12)


@pytest.mark.parametrize(("vectors", "rank"), [(np.ones((5, 9)), 0), (np.eye(4), 3), (np.ones((1, 9)), 0)])
def test_no_component_is_made_of_round_off(vectors: np.ndarray, rank: int) -> None:
    with pytest.raises(ExplorerError, match=rf"vary in {rank} directions only"):
        principal_components(vectors, rank + 1)
    line = np.outer(np.arange(6.0), np.ones(8)) + 3
    with pytest.raises(ExplorerError, match=r"vary in 1 directions only; choose pc1 to pc1"):
        principal_components(line, 2)
