"""Bands in a session file are the bands that were computed, and what is damaged is no band."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.figures.bands import DoseBand, GroupBand, NullBand, PlaneBands, decode_band, encode_band
from srm_explorer.engine.session.codec import json_line

RNG = np.random.default_rng(1)


def some_bands() -> PlaneBands:
    curve = RNG.normal(size=(2, 360))
    group = GroupBand(
        label="clamped",
        units=50,
        centre=(0.25, -0.5),
        covariance=np.array([[1e-4, 1e-6], [1e-6, 2e-4]]),
        radius2=6.3,
        phase_deg=(350.0, 12.5),
        amplitude=(0.1, 0.9),
        counts={0.5: np.floor(100 * np.abs(curve)), 0.1: curve},
        p_arithmetic=0.25,
        q_arithmetic=None,
        p_mean=0.5,
        beyond=(0.02, 0.0, 0.0625),
        changed=(12, 50),
    )
    null = NullBand("partners", "95 % of 200 (n7, random) planes", "clamped", 200, curve, {0.5: curve})
    dose = DoseBand("share", ("-1", "+1"), np.array([[0.0, np.nan], [1.0, np.nan]]), 0.5)
    return PlaneBands(1, ("condition",), 0.95, 10_000, 3, 12, (group,), (null,), (dose,))


def test_bands_survive_a_file_to_four_digits() -> None:
    bands = some_bands()
    again = PlaneBands.from_dict(json.loads(json_line(bands.to_dict())))
    assert (again.plane, again.by, again.family, again.seed) == (1, ("condition",), 12, 3)
    (was,), (now,) = bands.groups, again.groups
    assert (now.label, now.units, now.phase_deg, now.p_arithmetic, now.q_arithmetic) == (
        "clamped",
        50,
        (350.0, 12.5),
        0.25,
        None,
    )
    assert (now.p_mean, now.beyond, now.changed) == (0.5, (0.02, 0.0, 0.0625), (12, 50))
    np.testing.assert_array_equal(now.covariance, was.covariance)
    for level, band in was.counts.items():
        np.testing.assert_allclose(now.counts[level], band, rtol=6e-4)
    np.testing.assert_allclose(again.nulls[0].mean, bands.nulls[0].mean, rtol=6e-4)
    np.testing.assert_array_equal(again.dose[0].band, bands.dose[0].band)
    assert again.dose[0].threshold == 0.5


def test_bands_of_older_sessions_do_not_tell_of_the_mean() -> None:
    table = some_bands().to_dict()
    for name in ("p_mean", "beyond", "changed"):
        del table["groups"][0][name]
    (now,) = PlaneBands.from_dict(table).groups
    assert (now.p_arithmetic, now.p_mean, now.beyond, now.changed) == (0.25, None, None, None)


@given(st.integers(1, 400), st.sampled_from([0.0, 1.0, np.nan, np.inf, 550.0, -1.25e-7]))
def test_any_band_survives(points: int, special: float) -> None:
    band = np.stack([np.linspace(-1, 1, points), np.full(points, special)])
    written = json.loads(json_line(encode_band(band)))
    np.testing.assert_allclose(decode_band(written), band, rtol=6e-4)


@pytest.mark.parametrize(
    "broken", ["", "AAAA", "not base64!", [[1, 2]], [[1], [2, 3]], 7, None, {"a": 1}, [["x"], [1]]]
)
def test_what_is_no_band_is_refused(broken: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        decode_band(broken)
    data = copy.deepcopy(some_bands().to_dict())
    data["nulls"][0]["mean"] = broken
    with pytest.raises((KeyError, TypeError, ValueError)):
        PlaneBands.from_dict(data)


def test_the_band_of_the_mean_is_the_region_seen_along_every_direction() -> None:
    group = some_bands().groups[0]
    low, high = group.mean_band(8)
    root = np.linalg.cholesky(group.covariance)
    turns = np.linspace(0, 2 * np.pi, 20_001)
    edge = np.array(group.centre)[:, None] + np.sqrt(group.radius2) * root @ np.stack([np.cos(turns), np.sin(turns)])
    for index, angle in enumerate(np.arange(8) * np.pi / 4):
        along = edge[0] * np.cos(angle) + edge[1] * np.sin(angle)
        np.testing.assert_allclose([low[index], high[index]], [along.min(), along.max()], atol=1e-8)


@pytest.mark.parametrize(
    ("key", "broken"),
    [
        ("amplitude", [0.1]),
        ("phase_deg", []),
        ("centre", [0.25]),
        ("counts", [[1.0], [2.0]]),
        ("counts", {"0.5": [[], []]}),
        ("phase_deg", ["nan", "nan"]),
        ("radius2", 10**400),
        ("units", float("inf")),
    ],
)
def test_a_damaged_group_is_refused_as_damaged(key: str, broken: Any) -> None:
    data = copy.deepcopy(some_bands().to_dict())
    data["groups"][0][key] = broken
    with pytest.raises((KeyError, TypeError, ValueError)):
        PlaneBands.from_dict(data)


def test_a_dose_band_has_as_many_points_as_labels() -> None:
    data = copy.deepcopy(some_bands().to_dict())
    data["dose"][0]["labels"] = ["-1"]
    with pytest.raises(ValueError, match="dose"):
        PlaneBands.from_dict(data)
