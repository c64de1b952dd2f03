"""Controls as if each of them were the target: a session whose intervention is the control's."""

from __future__ import annotations

import dataclasses
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Condition, ControlsSpec, Experiment, Site, swept_as
from srm_explorer.engine.io.vectors import Matrix
from srm_explorer.engine.session import DamagedError, PlaneRecord, Session, baseline_of
from srm_explorer.engine.session.controls import Controls, controls_of
from srm_explorer.engine.session.lengths import marks_of, means_over, paired_tokens, shorter_means
from srm_explorer.engine.session.session import ShorterShadows

Captured = Mapping[str, Matrix | Sequence[Matrix]]
"""By site, rows in the order of a session's runs: [run, d], or a list of [token, d]."""


@dataclass(frozen=True, eq=False)
class Part:
    """What a session would be with one target alone, and where its runs are.

    Attributes:
        number: 0 for the experiment's own target, else the control's, from 1.
        session: baseline, reference and that target's runs, its conditions those of the sweep; nothing predicted and
            no bands.
        rows: [run] places of its runs among those of the whole session.
        edited: by site, the coordinates that its foreground interventions edit.
        shorter: by site, [mark, d] means over first tokens of every run of the whole session, where texts differ in
            length and these are kept.
        marks: [run of the whole session] those numbers of tokens.
        has_axis: [plane] whether every part can be given its own axis there, see `has_own_axis`.
    """

    number: int
    session: Session
    rows: NDArray[np.int64]
    edited: Mapping[str, tuple[int, ...]]
    shorter: Mapping[str, Sequence[Matrix]]
    marks: Sequence[tuple[int, ...]]
    has_axis: Sequence[bool]

    def paired(self, vectors: Captured, site: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """[run, d] vectors of its runs, and those of their baselines, over the tokens that both have; the last run's
        for one without a baseline.
        """
        kept = self.shorter.get(site)
        tokens = paired_tokens(self.session)
        return (
            means_over(vectors[site], kept, self.marks, self.rows, tokens),
            means_over(vectors[site], kept, self.marks, self.rows[baseline_of(self.session)], tokens),
        )


def parts_of(session: Session, vectors: Captured, *, complete: bool = False) -> tuple[Part, ...]:
    """Take a session with controls apart: its own target first, then every control.

    A control's planes are the target's with the control's own neuron in place of the target's, wherever that is one of
    the two directions; any other plane stays as it is.

    Args:
        session: with controls.
        vectors: full vectors of at least the sites of those planes.
        complete: keep only prompts and samples of which every planned run is there, so that all parts hold the same.

    Raises:
        ExplorerError: it has no controls, or none was chosen before it was interrupted; what it says of them is
            damaged; `complete` and no prompt has all of its runs.
    """
    controls = _controls(session)
    kept = _complete(session) if complete else session.seen
    if complete and not kept.any():
        raise ExplorerError(
            "no prompt has all runs of its controls yet", where=session.name, remedy="run the same command to go on"
        )
    repeats = swept_as(session.conditions)
    means = shorter_means(session, vectors)
    return tuple(
        _part(session, vectors, means, controls, number, kept, repeats) for number in range(controls.count + 1)
    )


def has_own_axis(session: Session, plane: PlaneRecord) -> bool:
    """Whether a control can be given its own axis in a plane: not where one is text that names the target's weights."""
    names = {
        f"{kind}({Site.parse(edit.site).layer}.{neuron})"
        for edit in session.spec.interventions
        for neuron in edit.neurons
        if not edit.background and Site.parse(edit.site).is_mlp
        for kind in ("w_out", "w_in")
    }
    return not names.intersection({str(plane.a), str(plane.b)})


def _controls(session: Session) -> Controls:
    try:
        controls = controls_of(session)
    except DamagedError as error:
        what = f"its controls are not what was saved: {error}"
        raise ExplorerError(what, where=session.name, remedy="restore it from a copy") from None
    if controls is not None:
        return controls
    if session.spec.controls.neurons:
        remedy = "run the same command to go on"
        raise ExplorerError("it was interrupted before its controls began", where=session.name, remedy=remedy)
    if session.is_imported:
        remedy = "clamp matched neurons too, in a run of this program"
        raise ExplorerError("it came from elsewhere, without controls", where=session.name, remedy=remedy)
    file = shlex.quote(str(session.path or f"{session.name}.json"))
    remedy = f"run it again with `srm-explorer run {file} --set controls.neurons=19 --session NAME`"
    raise ExplorerError("it has no controls", where=session.name, remedy=remedy)


def _complete(session: Session) -> NDArray[np.bool_]:
    pairs = [(run.prompt, run.sample) for run in session.runs]
    done = Counter(pair for pair, is_seen in zip(pairs, session.seen.tolist(), strict=True) if is_seen)
    return np.array([done[pair] == len(session.conditions) for pair in pairs], np.bool_)


def _part(
    session: Session,
    vectors: Captured,
    means: Mapping[str, Sequence[Matrix]],
    controls: Controls,
    number: int,
    kept: NDArray[np.bool_],
    repeats: Mapping[int, Condition],
) -> Part:
    index_in_part = {
        condition.index: condition.index
        for condition in session.conditions
        if condition.kind != "control" and (number == 0 or condition.kind != "sweep")
    }
    index_in_part |= {index: repeats[index].index for index in repeats if session.conditions[index].control == number}
    rows = np.array(
        [row for row, run in enumerate(session.runs) if kept[row] and run.condition in index_in_part], np.int64
    )
    chosen = [session.runs[int(row)] for row in rows]
    runs = tuple(dataclasses.replace(run, condition=index_in_part[run.condition]) for run in chosen)
    back = {after: before for before, after in index_in_part.items()}
    known = tuple(condition for condition in session.conditions if condition.kind != "control")
    resolved = (
        tuple(session.resolved[back.get(condition.index, condition.index)] for condition in known)
        if session.resolved
        else ()
    )
    spec, stands = _spec(session.spec, controls, number)
    edited: dict[str, tuple[int, ...]] = {}
    for edit in spec.interventions:
        if not edit.background and edit.neurons:
            edited[edit.site] = tuple(sorted({*edited.get(edit.site, ()), *edit.neurons}))
    marks = marks_of(session.spec, session.conditions, session.runs)
    part = session.changed(
        spec=spec,
        conditions=known,
        resolved=resolved,
        runs=runs,
        planes=tuple(_plane(plane, vectors, means, marks, rows, stands) for plane in session.planes),
        predictions={},
        bands={},
        effects={},
        sidecar=None,
    )
    # Of the whole session: a plane that names the target's weights names none of a control's.
    has_axis = tuple(has_own_axis(session, plane) for plane in session.planes)
    return Part(number, part, rows, edited, means, marks, has_axis)


def _spec(spec: Experiment, controls: Controls, number: int) -> tuple[Experiment, dict[tuple[str, int], int]]:
    """The experiment with a control's neurons, and which neuron stands for which."""
    stands = {
        (edit.site, neuron): controls.neuron(number, edit.site, neuron)
        for edit in spec.interventions
        for neuron in edit.neurons
        if number and not edit.background
    }
    interventions = tuple(
        edit
        if edit.background
        else edit.model_copy(update={"neurons": tuple(stands.get((edit.site, n), n) for n in edit.neurons)})
        for edit in spec.interventions
    )
    return spec.model_copy(update={"interventions": interventions, "controls": ControlsSpec()}), stands


def _plane(
    plane: PlaneRecord,
    vectors: Captured,
    means: Mapping[str, Sequence[Matrix]],
    marks: Sequence[tuple[int, ...]],
    rows: NDArray[np.int64],
    stands: Mapping[tuple[str, int], int],
) -> PlaneRecord:
    """A plane of the whole session, of some of its runs, with a control's own neurons for the target's."""
    sides: list[int | str] = []
    columns: list[NDArray[np.float64]] = []
    for side, along in ((plane.a, plane.x), (plane.b, plane.y)):
        neuron = stands.get((plane.site, side)) if isinstance(side, int) else None
        sides.append(side if neuron is None else neuron)
        whole = np.array(along, np.float64)[rows]
        columns.append(whole if neuron is None else _column(vectors[plane.site], rows, neuron))
    norm = np.array(plane.norm, np.float64)[rows]
    named: dict[str, int | str] = {"a": sides[0], "b": sides[1]}
    own = [stands.get((plane.site, side)) if isinstance(side, int) else None for side in (plane.a, plane.b)]
    shorter = _shorter(plane, means.get(plane.site), marks, rows, own)
    return dataclasses.replace(
        plane,
        x=tuple(columns[0].tolist()),
        y=tuple(columns[1].tolist()),
        norm=tuple(norm.tolist()),
        shorter=shorter,
        **named,  # pyright: ignore[reportArgumentType]
    )


def _shorter(
    plane: PlaneRecord,
    means: Sequence[Matrix] | None,
    marks: Sequence[tuple[int, ...]],
    rows: NDArray[np.int64],
    neurons: Sequence[int | None],
) -> ShorterShadows:
    """Where runs lie over their first tokens, with a control's neurons, as far as any, for the two directions."""
    if not plane.shorter or means is None:
        return ()
    places: list[int] = rows.tolist()
    shorter: list[tuple[tuple[int, float, float, float], ...]] = []
    for row in places:
        of_run: list[tuple[int, float, float, float]] = []
        for tokens, *xy, norm in plane.shorter[row]:
            mean = means[row][marks[row].index(tokens)]
            x, y = (value if neuron is None else float(mean[neuron]) for neuron, value in zip(neurons, xy, strict=True))
            of_run.append((tokens, x, y, norm))
        shorter.append(tuple(of_run))
    return tuple(shorter)


def _column(vectors: Matrix | Sequence[Matrix], rows: NDArray[np.int64], neuron: int) -> NDArray[np.float64]:
    if isinstance(vectors, np.ndarray):
        return vectors[rows, neuron].astype(np.float64)
    tokens = [vectors[int(row)][:, neuron] for row in rows]
    return np.array(
        [tokens_of_run.mean(dtype=np.float64) if len(tokens_of_run) else np.nan for tokens_of_run in tokens], np.float64
    )
