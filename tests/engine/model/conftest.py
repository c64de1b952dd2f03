"""Prompts of different lengths, and what it means for two results of a row to be equal."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.conftest import TOOLS, load_module

if TYPE_CHECKING:
    from srm_explorer.engine.model.decoding import RowResult
    from srm_explorer.engine.model.load import LoadedModel

Prompts = list[tuple[int, ...]]
SameRow = Callable[["RowResult", "RowResult"], None]


@pytest.fixture(params=["gpt2", "llama"])
def tiny(request: pytest.FixtureRequest) -> LoadedModel:
    """Both tiny models in turn."""
    return request.getfixturevalue(f"tiny_{request.param}")


@pytest.fixture(scope="session")
def family_tool() -> ModuleType:
    """tools/check_families.py, which makes tiny models of every family."""
    return load_module(TOOLS / "check_families.py")


@pytest.fixture(scope="session")
def prompts(tiny_gpt2: LoadedModel) -> Prompts:
    """Three prompts of 1, 8 and 23 tokens; both tiny models have the same tokenizer."""
    texts = ("T", "The man opened", "If all of them are late, then nobody")
    return [tuple(tiny_gpt2.tokenizer.encode(text, prepend_bos=False)) for text in texts]


@pytest.fixture(scope="session")
def same_row() -> SameRow:
    """Compare two results of one row: token for token, and number for number beyond what rounding explains.

    Parts of a Llama-like model compute in float32 whatever its weights are, hence 1e-5.
    """

    def compare(one: RowResult, other: RowResult) -> None:
        assert one.tokens == other.tokens
        assert one.finish == other.finish
        assert (one.margin is None) == (other.margin is None)
        if one.margin is not None and other.margin is not None:
            assert one.margin == pytest.approx(other.margin, abs=1e-5)
        assert len(one.captured) == len(other.captured)
        for left, right in zip(one.captured, other.captured, strict=True):
            np.testing.assert_allclose(left, right, atol=1e-5, rtol=1e-5)

    return compare
