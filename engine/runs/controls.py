"""Choosing the controls of a run once its baseline is there, and what they make of an intervention."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Condition, Experiment, InterventionSpec
from srm_explorer.engine.experiment.experiment import taken_neurons, targets_of
from srm_explorer.engine.runs.journal_reader import PARTIAL, JournalReader
from srm_explorer.engine.runs.journal_records import ControlsChosen
from srm_explorer.engine.session import DamagedError, Resolved
from srm_explorer.engine.session.controls import ControlMatch, Controls, controls_in
from srm_explorer.engine.stats.matching import Traits, match_neurons, placebo_direction, pooled_moments

MOMENTS = f"{PARTIAL}moments/"
"""Names, among a batch's vectors, mean and variance of all neurons of a site, of its baseline runs alone."""


def measured_sites(experiment: Experiment) -> tuple[str, ...]:
    """The sites whose neurons must be measured, so that controls can be matched; none without controls."""
    if not experiment.controls.neurons:
        return ()
    return tuple(dict.fromkeys(site for site, _ in targets_of(experiment.interventions)))


def chosen_in(journal: JournalReader) -> Controls | None:
    """The controls that were frozen in a journal; None before they are chosen.

    Raises:
        ExplorerError: what stands there is not what was written.
    """
    events = journal.events_of(ControlsChosen)
    try:
        return controls_in(events[0].chosen) if events else None
    except DamagedError as error:
        what = f"its controls are damaged: {error}"
        raise ExplorerError(what, where=str(journal.folder), remedy="start again with --restart") from None


def choose_controls(
    journal: JournalReader, widths: Callable[[str], int], norms: Callable[[str], NDArray[np.floating]]
) -> Controls:
    """Choose the controls of an experiment whose baseline runs are all in a journal.

    The same journal gives the same controls. Neurons are matched on mean and standard deviation over the generated
    tokens of the baseline, and on the length of their row of W_out; directions are random.

    Args:
        journal: read to its end.
        norms: [neuron] lengths of the rows of W_out behind a hook_post site.

    Raises:
        ExplorerError: nothing was measured of a target, or too few neurons can be matched.
    """
    experiment = journal.experiment
    spec = experiment.controls
    runs = {run.index: len(run.token_ids) for run in journal.runs if run.condition == 0 and not run.is_broken}
    matches: list[ControlMatch] = []
    for number, site in enumerate(measured_sites(experiment)):
        traits = _traits(journal, site, runs, norms(site))
        targets = [neuron for at, neuron in targets_of(experiment.interventions) if at == site]
        try:
            nearest = match_neurons(traits, targets, spec.neurons, taken_neurons(experiment, site), (spec.seed, number))
        except ValueError as error:
            raise ExplorerError(
                f"controls cannot be matched at {site}: {error}",
                where="controls.neurons",
                remedy="choose fewer, or 0, and begin again with --restart",
            ) from None
        for target, matched in zip(targets, nearest, strict=True):
            everyone = [target, *matched.neurons.tolist()]
            columns = (tuple(column[everyone].tolist()) for column in (traits.mean, traits.std, traits.norm))
            matches.append(ControlMatch(site, target, tuple(everyone[1:]), tuple(matched.distances.tolist()), *columns))
    placebos = {
        index: tuple(
            direction_hash(placebo(spec.seed, index, number, widths(intervention.site)))
            for number in range(1, spec.neurons + 1)
        )
        for index, intervention in enumerate(experiment.interventions)
        if intervention.direction is not None and not intervention.background
    }
    return Controls(spec.neurons, spec.seed, sum(runs.values()), tuple(matches), placebos)


def placebo(seed: int, index: int, number: int, width: int) -> NDArray[np.float64]:
    """The random unit direction that stands for the one of intervention `index` in control `number`, [width]."""
    return placebo_direction((seed, index, number), width)


def direction_hash(direction: NDArray[np.float64]) -> str:
    """Hash a direction by its numbers to seven digits: the last ones depend on the machine's logarithm."""
    digits = " ".join(f"{value:.6e}" for value in direction.tolist())
    return hashlib.sha256(digits.encode("ascii")).hexdigest()


def neurons_under(intervention: InterventionSpec, number: int | None, controls: Controls | None) -> tuple[int, ...]:
    """The neurons an intervention edits in a control; its own where it is no control, or in the background."""
    if number is None or intervention.background or not intervention.neurons:
        return intervention.neurons
    assert controls is not None, "controls are chosen before the first of them runs"
    return tuple(controls.neuron(number, intervention.site, neuron) for neuron in intervention.neurons)


def with_own_means(
    resolved: Resolved, experiment: Experiment, known: Sequence[Condition], controls: Controls | None
) -> Resolved:
    """Give mean ablation of a control the control's own mean; every other raw value is the target's.

    Clamped alike means clamped to the same raw values: they are what the experiment did, and matched neurons have
    nearly the same mean and sigma, so that they are nearly the same in those units too. Mean ablation alone has no
    value of its own: it means "as the neuron is on average".
    """
    if controls is None or not any(edit.op == "mean" and not edit.background for edit in experiment.interventions):
        return resolved
    means = {
        (m.site, neuron): mean for m in controls.matches for neuron, mean in zip(m.neurons, m.mean[1:], strict=True)
    }
    rows = list(resolved)
    for condition in known:
        if condition.control is None:
            continue
        row = list(rows[condition.index])
        for index, intervention in enumerate(experiment.interventions):
            if intervention.op == "mean" and not intervention.background:
                neurons = neurons_under(intervention, condition.control, controls)
                row[index] = tuple(means[intervention.site, neuron] for neuron in neurons)
        rows[condition.index] = tuple(row)
    return tuple(rows)


def _traits(journal: JournalReader, site: str, tokens: dict[int, int], norms: NDArray[np.floating]) -> Traits:
    rows: list[NDArray[np.float32]] = []
    counts: list[int] = []
    for batch in journal.in_order:
        if not any(run.index in tokens for run in batch.runs):
            continue
        batch_moments = journal.batch_vectors(batch)[f"{MOMENTS}{site}"]
        for run, moments in zip(batch.runs, batch_moments, strict=True):
            if run.index in tokens:
                rows.append(moments)
                counts.append(tokens[run.index])
    both = np.stack(rows).astype(np.float64)
    mean, std = pooled_moments(both[:, 0], both[:, 1], counts)
    return Traits(mean, std, np.asarray(norms, np.float64))
