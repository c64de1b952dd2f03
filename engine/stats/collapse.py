"""Whether a text collapsed: rules by name, and the net effect of an intervention on how many texts do."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.stats.permutation import FEWEST_UNITS
from srm_explorer.engine.stats.resampling import LEVEL, special, student_quantile
from srm_explorer.engine.stats.text import compression_ratio


@dataclass(frozen=True)
class FalseRate:
    """How many ordinary texts a rule calls collapsed: what was written with nothing changed.

    Attributes:
        of: which texts, in words.
    """

    collapsed: int
    texts: int
    of: str

    def __str__(self) -> str:
        return f"{self.collapsed} of {self.texts} ({self.of})"


BUNDLED = "the bundled model, the shipped prompts, greedy, 50 tokens"
REAL = "SmolLM2-135M-Instruct, likewise"


@dataclass(frozen=True)
class PublishedRule:
    """The rule of the published protocol, on the characters of the text without the white space around it.

    A text of n characters collapsed where n is below `fewest`, an empty one too; or its commonest character makes up
    `commonest` of it; or for a length k of 2 to `longest` with 2k <= n the commonest substring of k characters, its
    occurrences counted where they overlap too, occurs more than once and count k / n is `repeated` or more (which
    overlapping can take beyond 1); or fewer than `alphanumeric` of its characters are letters or digits and more than
    `symbols` are neither these nor white space. Letters, digits and white space are Unicode's.
    """

    name: ClassVar[str] = "published"
    false_rates: ClassVar[tuple[FalseRate, ...]] = (FalseRate(0, 190, BUNDLED), FalseRate(0, 190, REAL))
    fewest: int = 6
    commonest: float = 0.9
    longest: int = 7
    repeated: float = 0.7
    alphanumeric: float = 0.1
    symbols: float = 0.8

    def collapsed(self, text: str) -> bool:
        text = text.strip()
        n = len(text)
        if n < max(1, self.fewest):
            return True
        # A longer substring is no commoner than a shorter one that begins it: most lengths need no counting.
        most = max(Counter(text).values())
        if most / n >= self.commonest:
            return True
        for k in range(2, min(self.longest, n // 2) + 1):
            if most * k / n < self.repeated:
                continue
            most = max(Counter([text[at : at + k] for at in range(n - k + 1)]).values())
            if most > 1 and most * k / n >= self.repeated:
                return True
        return _is_symbols(text, self.alphanumeric, self.symbols)

    def described(self) -> str:
        return (
            f"published rule: fewer than {self.fewest} characters; or one character makes up"
            f" {_percent(self.commonest)}; or a substring of 2 to {self.longest} characters, counted where it overlaps"
            f" too, {_percent(self.repeated)}; or under {_percent(self.alphanumeric)} letters and digits and over"
            f" {_percent(self.symbols)} other signs"
        )


@dataclass(frozen=True)
class CalibratedRule:
    """One graded measure with a limit that ordinary texts seldom reach, whatever the language and the tokenizer.

    A text collapsed where its `compression_ratio`, the mean over its pieces of `piece` bytes, is `compression` or
    more: a phrase of up to some thirty characters over and over; or where it is nearly all symbols, as in the published
    rule. A text of fewer than `fewest` characters never did: it is too short to tell. The limit is a round number that
    fewer than one in twenty of the ordinary texts of either of two models reach, see `false_rates`.
    """

    name: ClassVar[str] = "calibrated"
    false_rates: ClassVar[tuple[FalseRate, ...]] = (FalseRate(4, 190, BUNDLED), FalseRate(5, 190, REAL))
    compression: float = 4.5
    piece: int = 200
    fewest: int = 60
    alphanumeric: float = 0.1
    symbols: float = 0.8

    def collapsed(self, text: str) -> bool:
        text = text.strip()
        if len(text) < max(1, self.fewest):
            return False
        return compression_ratio(text, self.piece) >= self.compression or _is_symbols(
            text, self.alphanumeric, self.symbols
        )

    def described(self) -> str:
        return (
            f"calibrated rule: a compression ratio of {self.compression:g} or more over pieces of {self.piece} bytes;"
            f" or under {_percent(self.alphanumeric)} letters and digits and over {_percent(self.symbols)} other signs;"
            f" texts under {self.fewest} characters never count"
        )


CollapseRule: TypeAlias = PublishedRule | CalibratedRule

RULES: dict[str, type[CollapseRule]] = {rule.name: rule for rule in (PublishedRule, CalibratedRule)}
"""By name; the first is used where none is named."""


def collapse_rule(named: object = None) -> CollapseRule:
    """The rule of a name, or of a table with its `name` and some of its parameters; the published one by default.

    Raises:
        ExplorerError: no such rule or parameter, or a parameter that is no number from 0.
    """
    table: dict[str, object] = {"name": named} if isinstance(named, str) else {}
    if isinstance(named, Mapping):
        table = dict(cast("Mapping[str, object]", named))
    elif named is not None and not table:
        raise ExplorerError(f"the collapse rule is {named!r}", remedy=f"name {' or '.join(RULES)}")
    name = table.pop("name", next(iter(RULES)))
    if not isinstance(name, str) or name not in RULES:
        raise ExplorerError(f"there is no collapse rule {name!r}", remedy=did_you_mean(str(name), list(RULES)))
    rule = RULES[name]()
    kinds: dict[str, type] = {field.name: type(getattr(rule, field.name)) for field in dataclasses.fields(rule)}
    for parameter, value in table.items():
        if parameter not in kinds:
            what = f"the {name} rule has no '{parameter}'"
            raise ExplorerError(what, remedy=did_you_mean(parameter, list(kinds)))
        whole = kinds[parameter] is int
        kind = int if whole else int | float
        if not isinstance(value, kind) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
            what = f"{parameter} of the {name} rule is no {'whole ' if whole else ''}number from 0"
            raise ExplorerError(what, remedy="write one")
    return dataclasses.replace(rule, **cast("dict[str, Any]", table))


def _is_symbols(text: str, alphanumeric: float, symbols: float) -> bool:
    known = sum(map(str.isalnum, text))
    if known / len(text) >= alphanumeric:
        return False
    # No character is both a letter, or digit, and white space.
    others = len(text) - known - sum(map(str.isspace, text))
    return others / len(text) > symbols


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


@dataclass(frozen=True)
class HealthMatrix:
    """Units by whether their texts collapsed without and with an intervention; the four sum to all of them.

    Attributes:
        healthy: in neither.
        harmed: with it only.
        rescued: without it only.
        collapsed: in both.
    """

    healthy: int
    harmed: int
    rescued: int
    collapsed: int

    @property
    def units(self) -> int:
        return self.healthy + self.harmed + self.rescued + self.collapsed

    @property
    def net(self) -> float:
        """The share of units that are rescued less the share that are harmed; NaN without a unit."""
        return (self.rescued - self.harmed) / self.units if self.units else math.nan

    @property
    def p(self) -> float:
        """Exact McNemar: two-sided p of "a unit that differs is rescued as often as harmed"; NaN for a single unit.

        Of the units that differ, the rescued are binomial with 1/2 (McNemar 1947, in its exact form); twice the rarer
        tail, 1 where none differs.
        """
        if self.units < FEWEST_UNITS:
            return math.nan
        differ = self.rescued + self.harmed
        return min(1.0, 2.0 * float(special.bdtr(min(self.rescued, self.harmed), differ, 0.5))) if differ else 1.0

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Where `net` may lie, of all units of the kind; NaN for a single unit.

        The adjusted Wald interval of a difference of paired shares, one unit added to the rescued and one to the harmed
        (Bonett and Price 2012; Fagerland, Lydersen and Laake 2014), so that it has a width where no unit differs; with
        Student's quantile of n - 1 degrees of freedom for the normal one, which covers 93 % of 20 units where none is
        harmed. It is approximate and the p exact: the two may part near 0.
        """
        n = self.units
        if n < FEWEST_UNITS:
            return math.nan, math.nan
        rescued, harmed = (self.rescued + 1) / (n + 2), (self.harmed + 1) / (n + 2)
        middle = rescued - harmed
        spread = float(student_quantile(0.5 + level / 2, n - 1)) * math.sqrt((rescued + harmed - middle**2) / (n + 2))
        return max(-1.0, middle - spread), min(1.0, middle + spread)


def health_matrix(
    baseline: Sequence[bool], condition: Sequence[bool], units: Sequence[int] | NDArray[np.integer[Any]]
) -> HealthMatrix:
    """Count the units whose texts an intervention harms, and those it rescues.

    A unit with several pairs of texts counts as collapsed where at least half of its texts on that side are, so that
    every unit stands in one place and what is inferred over units is exact.

    Args:
        baseline: [pair] whether the text without the intervention collapsed.
        condition: [pair] whether the one with it did.
        units: [pair] the unit each pair belongs to.
    """
    _, unit_of_pair = np.unique(np.asarray(units, np.int64), return_inverse=True)
    pairs = np.bincount(unit_of_pair)
    before, after = (
        2 * np.bincount(unit_of_pair, np.asarray(side, np.float64)) >= pairs for side in (baseline, condition)
    )
    return HealthMatrix(
        healthy=int((~before & ~after).sum()),
        harmed=int((~before & after).sum()),
        rescued=int((before & ~after).sum()),
        collapsed=int((before & after).sum()),
    )
