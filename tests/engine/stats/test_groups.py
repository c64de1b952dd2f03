from __future__ import annotations

import numpy as np
import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.stats.groups import group_runs

CONDITIONS = ["baseline", "-20", "+20", "baseline", "-20", "+20", "reference"]
PROMPTS = [0, 0, 0, 1, 1, 1, 1]
KIND = ["plain", "plain", "plain", None, None, None, None]


def runs_of(groups: dict, label: str) -> list[int]:
    return groups[label].runs.tolist()


def test_baseline_each_value_and_all_values_come_out_of_one_call() -> None:
    groups = group_runs(CONDITIONS, PROMPTS)
    assert list(groups) == ["baseline", "reference", "clamped", "-20", "+20"]
    assert runs_of(groups, "baseline") == [0, 3]
    assert runs_of(groups, "clamped") == [1, 2, 4, 5]
    assert runs_of(groups, "-20") == [1, 4]
    assert (groups["clamped"].n_prompts, groups["reference"].n_prompts) == (2, 1)
    assert [group.role for group in groups.values()] == ["baseline", "reference", "pooled", "value", "value"]


def test_levels_split_every_condition_without_losing_a_run() -> None:
    groups = group_runs(CONDITIONS, PROMPTS, {"kind": KIND})
    assert runs_of(groups, "clamped · kind=plain") == [1, 2]
    assert runs_of(groups, "clamped · kind=(none)") == [4, 5]
    assert "reference · kind=plain" not in groups
    whole = group_runs(CONDITIONS, PROMPTS)
    for role in ("baseline", "reference", "pooled", "value"):
        split = np.concatenate([group.runs for group in groups.values() if group.role == role])
        together = np.concatenate([group.runs for group in whole.values() if group.role == role])
        assert sorted(split.tolist()) == sorted(together.tolist())


def test_factors_alone_partition_the_runs() -> None:
    groups = group_runs(CONDITIONS, PROMPTS, {"kind": KIND, "side": list("lrlrlrl")}, by_condition=False)
    assert sorted(np.concatenate([group.runs for group in groups.values()]).tolist()) == list(range(7))
    assert dict(groups["kind=plain · side=l"].levels) == {"kind": "plain", "side": "l"}
    assert list(group_runs(CONDITIONS, by_condition=False)) == ["all"]


def test_labels_that_would_be_confused_are_refused() -> None:
    with pytest.raises(ExplorerError, match="clamped"):
        group_runs(["baseline", "clamped"], [0, 0])
    assert "steered" in group_runs(["baseline", "clamped"], [0, 0], pooled="steered")


def test_columns_of_another_length_are_refused() -> None:
    with pytest.raises(ExplorerError, match="kind"):
        group_runs(CONDITIONS, PROMPTS, {"kind": ["plain"]})
    with pytest.raises(ExplorerError, match="prompts"):
        group_runs(CONDITIONS, [0])
