"""Runs of two groups matched: prompt by prompt where they share any, else unit by unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.captured import head_width
from srm_explorer.engine.analyses.directions import SiteRuns, basis_of_record, known_directions
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.directions import FileVector, NeuronWeights, RandomDirection, direction_of
from srm_explorer.engine.experiment.model_fit import is_centred
from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.figures.captions import model_caption, plane_title, site_caption
from srm_explorer.engine.figures.groups import GroupChoice, points_of
from srm_explorer.engine.figures.numbers import count_of
from srm_explorer.engine.io.vectors import as_rows
from srm_explorer.engine.session import UNIT_FACTOR, Counted, PlaneRecord, RunRecord, Session, linked, unit_keys
from srm_explorer.engine.session.export import chosen_site
from srm_explorer.engine.stats.comparison import GroupDifference, Sample
from srm_explorer.engine.stats.planes import Plane, coordinates, neuron_plane
from srm_explorer.engine.stats.regions import JointRegion
from srm_explorer.engine.stats.spotlight import UnitCoordinates

ANGLES = 360
"""That a difference's curves are computed at."""
BEYOND_ARITHMETIC, BY_DESIGN, TOO_FEW = "beyond arithmetic", "set by design", "one unit"
"""What p is of where part of a difference was set; and that there is none where arithmetic cannot tell the rest."""


@dataclass(frozen=True, eq=False)
class Side:
    """One of two groups.

    Attributes:
        plane: where they lie, [run] of the session.
    """

    session: Session
    plane: PlaneRecord
    group: GroupChoice


def same_axes(first: Session, other: Session, plane: PlaneRecord) -> PlaneRecord:
    """The second session's runs in a plane of the first's.

    As it was saved with, where both name the same coordinates; else projected from its vectors.

    Raises:
        ExplorerError: another site or width, another convention, or the vectors that it takes are not there.
    """
    site = plane.site
    if first.path is not None and first.path == other.path and first.revision == other.revision:
        return plane
    if not any(record.site == site for record in other.planes) and site not in other.spec.capture.sites:
        captured = ", ".join(site_caption(captured_site) for captured_site in other.spec.capture.sites)
        raise ExplorerError(
            f"{first.name} was captured at {site_caption(site)}, {other.name} at {captured}",
            remedy="compare sessions that captured the same site",
        )
    widths = [_width(session, site) for session in (first, other)]
    if None not in widths and widths[0] != widths[1]:
        raise ExplorerError(
            f"{site_caption(site)} has {widths[0]} coordinates in {first.name}, {widths[1]} in {other.name}",
            remedy="compare sessions of one model",
        )
    if is_centred(first.spec, site) != is_centred(other.spec, site):
        raise ExplorerError(
            "one session has the mean over coordinates taken out of its residual stream, the other has not",
            where=f"{first.name} and {other.name}",
            remedy="capture both with the same capture.residual",
        )
    fixed = all(_is_fixed(first, other, along) for along in (plane.a, plane.b))
    axes = site, plane.a, plane.b
    stored = next((record for record in other.planes if fixed and record.key == axes), None)
    if stored is not None:
        return stored
    basis = _basis(first, plane)
    chosen_site(other, site)
    rows = as_rows(other.vectors((site,))[site])
    return PlaneRecord.of(site, plane.a, plane.b, *coordinates(rows, basis), plane.raw_angle_deg)


def other_models(first: Session, other: Session) -> str:
    """What to say where two sessions' models are not the same; empty where they are."""
    known = [session.told("model").get("weights_sha256") for session in (first, other)]
    if known[0] == known[1] and (known[0] is not None or first.spec.model.name == other.spec.model.name):
        return ""
    return (
        f"other models, {model_caption(first)} and {model_caption(other)}: the same index need not be the same neuron, "
        "unless one was trained further from the other"
    )


def _is_fixed(first: Session, other: Session, along: int | str) -> bool:
    """Whether a direction's text means the same vector in both sessions."""
    direction = direction_of(along)
    if isinstance(direction, int | RandomDirection):
        return True
    if not isinstance(direction, FileVector | NeuronWeights):
        return False
    vector, other_vector = (known_directions(session.provenance).get(str(along)) for session in (first, other))
    return vector is not None and other_vector is not None and np.array_equal(vector, other_vector)


def _basis(session: Session, plane: PlaneRecord) -> Plane:
    if isinstance(plane.a, int) and isinstance(plane.b, int):
        width = _width(session, plane.site)
        if width is not None:
            return neuron_plane(width, plane.a, plane.b)
    try:
        read = session.vectors((plane.site,))
    except ExplorerError as error:
        what = f"the plane {plane_title(plane)} cannot be laid through the other session: {error.what}"
        raise ExplorerError(what, where=session.name, remedy=error.remedy) from None
    return basis_of_record(plane, SiteRuns.of(session, plane.site, read[plane.site]))


def _width(session: Session, site: str) -> int | None:
    """The site's width, from the vectors' list or what is told of the model; None where neither is known."""
    if site in session.widths:
        return int(session.widths[site])
    model = session.told("model")
    at = Site.parse(site)
    width = model.get(at.width_name)
    widths = model.get("mlp_widths")
    if at.is_mlp and isinstance(widths, list | tuple):
        width = dict(enumerate(cast("Sequence[object]", widths))).get(at.layer)
    elif at.is_heads:
        heads = model.get("n_heads")
        width = head_width(session, at.layer) * heads if isinstance(heads, int) else None
    experts: object = model.get("experts")
    if at.is_mixture and isinstance(experts, list | tuple):
        number, neurons = cast("Sequence[Sequence[object]]", experts)[at.layer]
        width = number if at.expert is None else neurons
    return width if isinstance(width, int) else None


Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MatchedRuns:
    """What of two groups is compared.

    Attributes:
        rows: indices of the runs of either that are used, in their sessions.
        units: [run] of either: its unit, in the numbering of both.
        stratum: [unit] prompt set, and the side where units are not shared.
        paired: whether they share units, and only these are used.
        summary: how much of either was matched, one line.
        changed: units with a text of the one group that the other has not under the same prompt: only these carry
            evidence of a difference; None where texts of different prompts are compared.
    """

    rows: tuple[Index, Index]
    units: tuple[Index, Index]
    stratum: Index
    paired: bool
    summary: str
    changed: int | None = None

    @property
    def uneven(self) -> bool:
        """Whether units have other shares of the runs in the one group than in the other."""
        runs = [np.bincount(units, minlength=len(self.stratum)) for units in self.units]
        return self.paired and not np.array_equal(runs[0] * runs[1].sum(), runs[1] * runs[0].sum())

    def samples(self, first: UnitCoordinates, other: UnitCoordinates) -> tuple[Sample, Sample]:
        return Sample(first.xy[self.rows[0]], self.units[0]), Sample(other.xy[self.rows[1]], self.units[1])


@dataclass(frozen=True, eq=False)
class ComparedPair:
    """One group minus another, with all that was inferred.

    Attributes:
        labels: of the group, and of the one that is subtracted.
        thresholds: that its shares were counted above.
        p: that units' (A, B) are symmetric around 0, signs flipped; None where nothing was tested.
        q: the same corrected over the family, see `counted`.
        tested: what p is of: "difference" or `BEYOND_ARITHMETIC`; or why there is none: `BY_DESIGN`, `TOO_FEW`, "not
            paired".
        region: of the mean of what was tested, with the p of its studentised bootstrap; None for too few units.
        counted: the family that q is over, as the first session's ledger has it.
        counted_other: as the second session's has it; None where they are one. q is the larger of both.
    """

    labels: tuple[str, str]
    sides: tuple[Side, Side]
    matched: MatchedRuns
    estimate: GroupDifference
    thresholds: tuple[float, ...]
    p: float | None
    q: float | None
    tested: str
    region: JointRegion | None = None
    counted: Counted | None = None
    counted_other: Counted | None = None

    @property
    def label(self) -> str:
        return f"{self.labels[0]} − {self.labels[1]}"

    @property
    def counted_lines(self) -> tuple[str, ...]:
        """What q is over, by session where there are two."""
        if self.counted_other is None:
            return () if self.counted is None else self.counted.lines
        families = zip(self.sides, (self.counted, self.counted_other), strict=True)
        return tuple(f"{side.session.name}: {line}" for side, known in families if known for line in known.lines)

    @property
    def p_mean(self) -> float | None:
        """That the mean of what was tested is 0; None where that cannot be told."""
        return None if self.region is None or np.isnan(self.region.p) else self.region.p


@dataclass(frozen=True, eq=False)
class _Runs:
    """The finite runs of a side, and what each is across sessions: its prompt, its core or prompt, its unit."""

    rows: Index
    prompts: list[str]
    cores: list[str]
    units: list[int]
    settings: list[str]
    sets: list[str]
    texts: list[tuple[int, ...]]


def matched(side: Side, other: Side) -> MatchedRuns:
    """Match two groups' runs: by prompt where they share any, else by unit, else not at all.

    Groups of the same conditions of two sessions are matched value by value too. A run without a counterpart is left
    out; where nothing is shared, all runs are used and either group is resampled by itself.
    """
    units = _shared_units(side.session, other.session)
    first, second = _runs_of(side, units[0]), _runs_of(other, units[1])
    if set(first.prompts) & set(second.prompts):
        how, idents = "prompt", (first.prompts, second.prompts)
    elif set(first.cores) & set(second.cores):
        how, idents = "unit", (first.cores, second.cores)
    else:
        return _apart(first, second)
    keys = idents
    if side.group.conditions == other.group.conditions and side.session is not other.session:
        by_value = (_joined(idents[0], first.settings), _joined(idents[1], second.settings))
        keys = by_value if set(by_value[0]) & set(by_value[1]) else idents
    shared = set(keys[0]) & set(keys[1])
    kept = [np.flatnonzero([key in shared for key in side_keys]) for side_keys in keys]
    # A prompt belongs to the first session's set, whatever the second one's says.
    set_of = dict(zip(first.units, first.sets, strict=True))
    of_run = [[runs.units[row] for row in rows.tolist()] for runs, rows in zip((first, second), kept, strict=True)]
    order = {key: at for at, key in enumerate(dict.fromkeys(of_run[0]))}
    sets = list(dict.fromkeys(set_of[key] for key in order))
    known = all(any(side.texts) for side in (first, second))
    counts = "; ".join(_matched_summary(how, side_keys, rows) for side_keys, rows in zip(idents, kept, strict=True))
    return MatchedRuns(
        rows=(first.rows[kept[0]], second.rows[kept[1]]),
        units=(_numbers(of_run[0], order), _numbers(of_run[1], order)),
        stratum=np.array([sets.index(set_of[key]) for key in order], np.int64),
        paired=True,
        summary=f"paired by {how}: {counts}",
        changed=len(_changed((first, second), keys, kept, of_run[0] + of_run[1]))
        if how == "prompt" and known
        else None,
    )


def _changed(
    sides: tuple[_Runs, _Runs], keys: tuple[list[str], list[str]], kept: Sequence[Index], units: Sequence[int]
) -> set[int]:
    """The units with texts under some key that one side alone has; `units` of the kept runs of both."""
    texts: list[dict[str, set[tuple[int, ...]]]] = [{}, {}]
    unit_of: dict[str, int] = {}
    unit = iter(units)
    for at, side in enumerate(sides):
        for row in kept[at]:
            key = keys[at][int(row)]
            texts[at].setdefault(key, set()).add(side.texts[int(row)])
            unit_of[key] = next(unit)
    return {unit_of[key] for key in texts[0] if texts[0][key] != texts[1].get(key)}


def _apart(first: _Runs, second: _Runs) -> MatchedRuns:
    # A unit of both, such as a prompt with the same tokens in either group, is drawn for both at once.
    sides = [dict.fromkeys(runs.units, side) for side, runs in enumerate((first, second))]
    home = {unit: 2 if unit in sides[0] and unit in sides[1] else side for at in sides for unit, side in at.items()}
    set_of = {unit: name for runs in (second, first) for unit, name in zip(runs.units, runs.sets, strict=True)}
    order = {unit: at for at, unit in enumerate(home)}
    names = list(dict.fromkeys((home[unit], set_of[unit]) for unit in order))
    shared = sum(side == 2 for side in home.values())
    but = f" but {count_of(shared, 'unit')} whose prompts have the same tokens" if shared else ""
    return MatchedRuns(
        rows=(first.rows, second.rows),
        units=(_numbers(first.units, order), _numbers(second.units, order)),
        stratum=np.array([names.index((home[unit], set_of[unit])) for unit in order], np.int64),
        paired=False,
        summary=f"no prompt or unit in common{but}: either group is resampled by itself",
    )


def _shared_units(first: Session, other: Session) -> tuple[list[int], list[int]]:
    """[prompt] of either session the unit it belongs to, in one numbering: joined by prompt, by core and by tokens."""
    keys = [_across(session, side) for side, session in enumerate((first, other))]
    units = linked([*keys[0], *keys[1]])
    return units[: len(keys[0])], units[len(keys[0]) :]


def _across(session: Session, side: int) -> list[tuple[Hashable, ...]]:
    """[prompt] what makes it one unit with others: tokens and places are a session's own, texts and cores are not."""
    keys: list[tuple[Hashable, ...]] = []
    for index, (prompt, named) in enumerate(zip(session.prompts, _prompt_keys(session), strict=True)):
        member, *alike = unit_keys(prompt, index)
        keys.append((named, *([member] if prompt.factors.get(UNIT_FACTOR) else []), *((side, ids) for ids in alike)))
    return keys


def _runs_of(side: Side, units: Sequence[int]) -> _Runs:
    session = side.session
    rows = side.group.runs[points_of(side.plane).finite[side.group.runs]]
    prompts = _prompt_keys(session)
    cores = [prompt.factors.get(UNIT_FACTOR) for prompt in session.prompts]
    runs: list[RunRecord] = [session.runs[int(row)] for row in rows]
    return _Runs(
        rows=rows,
        prompts=[prompts[run.prompt] for run in runs],
        cores=[
            f"{UNIT_FACTOR}\0{session.prompts[run.prompt].set}\0{cores[run.prompt]}"
            if cores[run.prompt]
            else prompts[run.prompt]
            for run in runs
        ],
        units=[units[run.prompt] for run in runs],
        settings=[f"{session.conditions[run.condition].label}\0{run.sample}" for run in runs],
        sets=[session.prompts[run.prompt].set for run in runs],
        texts=[run.token_ids for run in runs],
    )


def _prompt_keys(session: Session) -> list[str]:
    """What a prompt is, across sessions: its text, and how many before it have the same."""
    seen: Counter[str] = Counter()
    keys: list[str] = []
    for prompt in session.prompts:
        keys.append(f"{seen[prompt.text]}\0{prompt.text}")
        seen[prompt.text] += 1
    return keys


def _joined(idents: Sequence[str], settings: Sequence[str]) -> list[str]:
    return [f"{ident}\0{setting}" for ident, setting in zip(idents, settings, strict=True)]


def _numbers(keys: Sequence[int], order: dict[int, int]) -> Index:
    return np.array([order[key] for key in keys], np.int64)


def _matched_summary(how: str, idents: Sequence[str], kept: Index) -> str:
    matched_keys = {idents[row] for row in kept.tolist()}
    return f"{len(matched_keys)} of {count_of(len(set(idents)), how)}, {len(kept)} of {count_of(len(idents), 'run')}"
