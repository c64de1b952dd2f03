"""Charts as pixels: as large as the room, on the screen's background, with their own hues."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.figures import polar_from_session, swept_groups
from srm_explorer.engine.session import load_session
from tests.example import EXAMPLE

pytest.importorskip("matplotlib", reason="the extra `pictures` is not installed")

from srm_explorer.tui.charts.still import _on_background, is_dark, still_of

# matplotlib looks for fonts with a program, once.
pytestmark = pytest.mark.process
DARK, LIGHT = (18, 18, 18), (250, 250, 250)


@pytest.fixture(scope="module")
def figure() -> Any:
    session = load_session(EXAMPLE)
    record = session.planes[0]
    return polar_from_session(session, record, swept_groups(session, record), "mean", 0.5)


@pytest.mark.parametrize("background", [DARK, LIGHT])
@pytest.mark.parametrize("size", [(700, 420), (420, 601)])
def test_a_still_fills_the_room_and_can_be_read_on_its_background(
    figure: Any, size: tuple[int, int], background: tuple[int, int, int]
) -> None:
    pixels = still_of(figure, *size, background, (30, 0.5))
    assert pixels is not None
    assert pixels.shape == (size[1], size[0], 3)
    for corner in (pixels[0, 0], pixels[-1, -1], pixels[0, -1]):
        np.testing.assert_array_equal(corner, background)
    light = pixels.mean(-1)
    # The ink, which is text and lines, is as far from the background as can be.
    assert abs((light.max() if is_dark(background) else light.min()) - background[0]) > 200
    inked = (np.abs(pixels.astype(int) - background).max(-1) > 30).any(0 if size[0] < size[1] else 1)
    assert inked.nonzero()[0][-1] - inked.nonzero()[0][0] > 0.8 * len(inked)


def test_the_spotlight_is_drawn_where_it_points(figure: Any) -> None:
    at_30, at_210, without = (still_of(figure, 600, 400, DARK, at) for at in ((30, 0.5), (210, 0.5), None))
    rays: list[Any] = []
    for pixels in (at_30, at_210):
        assert pixels is not None
        assert without is not None
        rays.append(np.argwhere((pixels != without).any(-1)).mean(0))
    (high, right), (low, left) = rays
    assert high < low
    assert left < right
    assert (right - left) / (low - high) == pytest.approx(1 / np.tan(np.radians(30)), rel=0.1)


def test_a_room_too_small_for_letters_has_no_still(figure: Any) -> None:
    assert still_of(figure, 100, 60, DARK) is None


def test_on_a_dark_background_hues_and_their_strength_stay_and_light_is_turned_round() -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (1, 200, 3)).astype(float)
    turned = _on_background(colours, (0, 0, 0))[0] / 255
    for before, after in zip(colours[0] / 255, turned, strict=True):
        (hue, light, _), (new_hue, new_light, _) = (colorsys.rgb_to_hls(*one) for one in (before, after))
        assert new_light == pytest.approx(1 - light, abs=0.01)
        assert np.ptp(after) == pytest.approx(np.ptp(before), abs=0.01)
        if np.ptp(before) > 0.2:
            assert min(abs(new_hue - hue), 1 - abs(new_hue - hue)) < 0.02
    white, black = np.full((1, 1, 3), 255.0), np.zeros((1, 1, 3))
    for background in (DARK, LIGHT, (0, 43, 54), (253, 246, 227)):
        np.testing.assert_array_equal(_on_background(white, background)[0, 0], background)
        assert _on_background(black, background)[0, 0].mean() == (255 if is_dark(background) else 0)
