"""The ways in which a neuron can go together with others over the runs of a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.captured import Captured, edited, is_steered
from srm_explorer.engine.experiment import Experiment, Site
from srm_explorer.engine.experiment.model_fit import is_centred
from srm_explorer.engine.stats.pairings import Scale
from srm_explorer.engine.stats.permutation import Blocks

Floats: TypeAlias = NDArray[np.float64]
WayName: TypeAlias = Literal["within", "baseline", "pooled", "partial"]
FEWEST = 3
"""Runs below which nothing is correlated."""


@dataclass(frozen=True, eq=False)
class Way:
    """One way of comparing.

    Attributes:
        name: "within" a value, the mean over values; "baseline" alone; "pooled" over everything; "partial" on the
            prompt: over everything, the prompts' means removed.
        x: [run] the neuron.
        y: [run, partner] the partners: of the neuron's site, then of the residual stream, then its projection.
        usable: [partner] False where the experimenter moved the partner, so that a correlation would tell of that.
        labels: [run] what `pair` centres within.
        blocks: which units change places; None where the experimenter set the neuron, so that all units hold the same
            values and what is tested is their slopes.
        unit: [run] of the units that intervals are over.
        values: [label] what each label is, where they are scaled one by one.
    """

    name: WayName
    x: Floats
    y: Floats
    usable: NDArray[np.bool_]
    labels: NDArray[np.int64]
    scale: Scale
    blocks: Blocks | None
    unit: NDArray[np.int64]
    values: tuple[str, ...] = ()

    @property
    def inference(self) -> str:
        """What p rests on, in words."""
        return "signs of units' slopes flipped" if self.blocks is None else "units exchanged within prompt sets"


@dataclass(frozen=True, eq=False)
class Partners:
    """What a neuron is compared with.

    Attributes:
        residual: the residual stream's site; None without.
        rows: by neuron of the layer, its row of W_out as `residual` takes it, as far as they are known.
        adds_up: whether a neuron adds its row times its value to the stream, as far as is known.
    """

    caught: Captured
    site: str
    neuron: int
    residual: str | None
    rows: Mapping[int, Floats]
    adds_up: bool = True

    @property
    def n_site(self) -> int:
        """Coordinates of the neuron's site."""
        return self.caught.vectors[self.site].shape[1]

    @property
    def n_residual(self) -> int:
        """Coordinates of the residual stream; 0 without."""
        return 0 if self.residual is None else self.caught.vectors[self.residual].shape[1]

    @property
    def direction(self) -> Floats | None:
        """The neuron's row of W_out, of length 1, where the residual stream is that of its layer or later."""
        row = self.rows.get(self.neuron)
        if row is None or self.residual is None or not holds_writes(self.site, self.residual):
            return None
        length = float(np.sqrt(row @ row))
        return row / length if length > 0 else None

    def replaced(self) -> NDArray[np.bool_]:
        """[condition] where the experimenter set the neuron."""
        nowhere = np.zeros(len(self.caught.session.conditions), np.bool_)
        return edited(self.caught.session, self.site, replaced=True).get(self.neuron, nowhere)

    def written(self) -> tuple[int, ...]:
        """Neurons of the site whose writing the residual stream holds by construction: this one, and those changed."""
        if self.residual is None or not holds_writes(self.site, self.residual):
            return ()
        return tuple(sorted({self.neuron, *edited(self.caught.session, self.site)}))

    def mixed(self) -> str | None:
        """Why what the experimenter put into the residual stream cannot be told from the rest; None where it can."""
        if self.residual is None:
            return None
        session = self.caught.session
        if is_steered(session, self.residual) or (
            is_steered(session, self.site) and holds_writes(self.site, self.residual)
        ):
            return "the stream was moved along a direction by design"
        for edit in session.spec.interventions:
            if edit.site not in (self.site, self.residual) and holds_writes(edit.site, self.residual):
                return f"the stream holds what was done at {edit.site} by construction"
        if not self.adds_up and self.written():
            return "the stream holds what the neurons write by construction, and that is no sum of rows of W_out"
        if any(neuron not in self.rows for neuron in self.written()):
            return "the stream holds value × W_out by construction; `srm-explorer pairs SESSION --weights` subtracts it"
        return None


def holds_writes(site: str, residual: str) -> bool:
    """Whether a site of the residual stream holds what neurons of an MLP site write, added to the rest."""
    home, target = Site.parse(site), Site.parse(residual)
    if not home.is_mlp or not target.is_stream or target.kind == "hook_attn_out":
        return False
    if target.layer == home.layer:
        return target.kind in ("hook_mlp_out", "hook_resid_post")
    return target.layer > home.layer and target.kind != "hook_mlp_out"


def as_captured(row: Floats, experiment: Experiment, residual: str) -> Floats:
    """A row of W_out as the captured residual stream takes it: its mean removed where the capture is centred."""
    return row - row.mean() if is_centred(experiment, residual) else row


def ways_of(partners: Partners) -> tuple[Way, ...]:
    """Lay out every way that the session has runs for."""
    caught = partners.caught
    x = caught.vectors[partners.site][:, partners.neuron].astype(np.float64)
    y = _plain(partners)
    no_self = np.ones(y.shape[1], np.bool_)
    no_self[partners.neuron] = False
    ways: list[Way] = []
    unedited, measured = _unedited(partners, x)
    values = caught.kinds("sweep")
    values = values[measured[values]]
    if len(values) >= FEWEST:
        conditions, labels = np.unique(caught.condition[values], return_inverse=True)
        names = tuple(caught.session.conditions[int(condition)].label for condition in conditions)
        blocks = caught.units_exchanged(values)
        x_within = unedited[values]
        ways.append(
            Way(
                "within",
                x_within,
                y[values],
                no_self,
                labels.astype(np.int64),
                "each",
                blocks,
                caught.unit[values],
                names,
            )
        )
    base = caught.kinds("baseline")
    if len(base) >= FEWEST:
        labels = np.zeros(len(base), np.int64)
        blocks = caught.units_exchanged(base)
        ways.append(Way("baseline", x[base], y[base], no_self, labels, "whole", blocks, caught.unit[base]))
    if len(caught.kinds("sweep")) >= FEWEST:
        ways += _over_everything(partners, x, y, no_self)
    return tuple(ways)


def _over_everything(partners: Partners, x: Floats, y: Floats, no_self: NDArray[np.bool_]) -> list[Way]:
    caught = partners.caught
    usable, y = _moved_out(partners, y, no_self)
    every = np.arange(len(x))
    is_set = bool(edited(caught.session, partners.site).get(partners.neuron, np.zeros(1, np.bool_)).any())
    # Where the experimenter set the neuron, units hold the same values: exchanging them would compare like with like.
    # A unit's runs are not exchangeable either: texts repeat where the change is small, and stay from value to value.
    blocks = None if is_set else caught.units_exchanged(every)
    prompts = np.unique(caught.prompt, return_inverse=True)[1].astype(np.int64)
    return [
        Way("pooled", x, y, usable, np.zeros(len(x), np.int64), "whole", blocks, caught.unit),
        Way("partial", x, y, usable, prompts, "whole", blocks, caught.unit),
    ]


def _plain(partners: Partners) -> Floats:
    parts = [partners.caught.vectors[partners.site].astype(np.float64)]
    if partners.residual is not None:
        stream = partners.caught.vectors[partners.residual].astype(np.float64)
        direction = partners.direction
        parts += [stream] if direction is None else [stream, (stream @ direction)[:, None]]
    return np.concatenate(parts, axis=1)


def _unedited(partners: Partners, x: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """[run] the neuron itself, from the same prompt's baseline where it was set, and whether that is known."""
    caught = partners.caught
    was_set = partners.replaced()[caught.condition]
    base = caught.baseline()
    return np.where(was_set, x[base], x), ~was_set | (base >= 0)


def _moved_out(partners: Partners, y: Floats, no_self: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Floats]:
    """Which partners were not moved by the experimenter, and the partners without what is theirs by construction."""
    caught, d = partners.caught, partners.n_site
    usable, y = no_self.copy(), y.copy()
    usable[list(edited(caught.session, partners.site))] = False
    usable[:d] &= not is_steered(caught.session, partners.site)
    if partners.residual is None:
        return usable, y
    is_edited = edited(caught.session, partners.residual)
    usable[[d + column for column in is_edited]] = False
    stream = slice(d, d + partners.n_residual)
    if partners.mixed() is not None:
        usable[d:] = False
        return usable, y
    for neuron in partners.written():
        activation = caught.vectors[partners.site][:, neuron].astype(np.float64)
        y[:, stream] -= activation[:, None] * partners.rows[neuron]
    if partners.direction is not None:
        y[:, -1] = y[:, stream] @ partners.direction
        usable[-1] &= not is_edited
    return usable, y
