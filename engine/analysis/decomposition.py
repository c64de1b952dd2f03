"""What an intervention does to a captured vector by itself, and what it does through the text that it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

PARTS = ("total", "direct", "through", "text_first", "after_text")
"""Names of the parts, as `decompose` explains them."""


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The parts of one run's change at one site.

    Attributes:
        parts: [d] by name, of `PARTS`; those that were not measured are left out.
    """

    parts: Mapping[str, Vector]

    def norm(self, part: str) -> float | None:
        """The length of a part; None where it was not measured."""
        with np.errstate(all="ignore"):
            return float(np.linalg.norm(self.parts[part])) if part in self.parts else None

    def share(self, part: str) -> float | None:
        """How much of the total lies in a part: its projection on the total over the total's length.

        The shares of `direct` and `through` sum to 1, as do those of `text_first` and `after_text`; one may be negative
        or above 1. None where it was not measured or the total is 0.
        """
        if part not in self.parts or "total" not in self.parts:
            return None
        total = self.parts["total"]
        # Numbers that are not finite are data here, and stay so.
        with np.errstate(all="ignore"):
            length = float(total @ total)
            return float(self.parts[part] @ total) / length if length > 0 else None

    def cosine(self, one: str, other: str) -> float | None:
        """The cosine of two parts; None where one was not measured or is 0."""
        lengths = self.norm(one), self.norm(other)
        if not lengths[0] or not lengths[1]:
            return None
        with np.errstate(all="ignore"):
            return float(self.parts[one] @ self.parts[other]) / (lengths[0] * lengths[1])


def decompose(
    untouched_on_baseline: Vector | None,
    edited_on_baseline: Vector | None,
    untouched_on_own: Vector | None,
    edited_on_own: Vector | None,
) -> Decomposition:
    """Split the change of a vector from the baseline's run to a condition's run, in both orders.

    total = direct + through, with direct = edited - untouched on the baseline's text, and through = the condition's
    text - the baseline's text, both edited. The other order: total = text_first + after_text, with text_first = the
    condition's text - the baseline's text, both untouched, and after_text = edited - untouched on the condition's text.
    What the two orders differ by is the interaction of edit and text. (The direct and indirect effects of Pearl 2001,
    with the text as the mediator.)

    Args:
        untouched_on_baseline: [d] the baseline's run.
        edited_on_baseline: the edited model, forced on the baseline's text.
        untouched_on_own: the untouched model, forced on the condition's text.
        edited_on_own: the condition's run.
    """
    pairs = {
        "total": (edited_on_own, untouched_on_baseline),
        "direct": (edited_on_baseline, untouched_on_baseline),
        "through": (edited_on_own, edited_on_baseline),
        "text_first": (untouched_on_own, untouched_on_baseline),
        "after_text": (edited_on_own, untouched_on_own),
    }
    with np.errstate(all="ignore"):
        return Decomposition(
            {name: to - start for name, (to, start) in pairs.items() if to is not None and start is not None}
        )
