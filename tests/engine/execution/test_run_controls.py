"""Controls go through the sweep as their targets do, chosen once by the baseline, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import conditions
from srm_explorer.engine.runs.controls import direction_hash, placebo
from srm_explorer.engine.runs.journal import JournalWriter
from srm_explorer.engine.session import Session, load_session
from srm_explorer.engine.session.controls import Controls, controls_of

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel

    from ..conftest import Lab

Check = Callable[..., None]
MLP = "blocks.1.mlp.hook_post"
RESID = "blocks.2.hook_resid_post"
CONTROLS = {"neurons": 3, "seed": 1}


class Killed(BaseException):
    """Stands for the end of the process: nothing of the program may catch it."""


def chosen(session: Session) -> Controls:
    found = controls_of(session)
    assert found is not None
    return found


def test_each_control_is_clamped_as_its_target_and_alone_gives_the_same(
    lab: Lab, as_if_alone: Check, clamp: dict[str, Any]
) -> None:
    session = lab.session(lab.experiment(clamp, controls=CONTROLS), rows=7)
    controls = chosen(session)
    (match,) = controls.matches
    assert len({*match.neurons, 3, 8}) == 5, "all different, none the target or the plane's partner"
    assert [one.control for one in session.conditions] == [None] * 3 + [1, 1, 2, 2, 3, 3]
    assert session.resolved[3:] == session.resolved[1:3] * 3
    vectors = session.vectors()[MLP]
    for place, run in enumerate(session.runs):
        number = session.conditions[run.condition].control
        if number is not None:
            assert vectors[place, match.neurons[number - 1]] == session.resolved[run.condition][0][0]  # pyright: ignore
    as_if_alone(session, every=5)


def test_the_targets_runs_are_the_same_with_and_without_controls(lab: Lab, clamp: dict[str, Any]) -> None:
    bare = lab.session(lab.experiment(clamp), "bare", rows=5)
    whole = lab.session(lab.experiment(clamp, controls=CONTROLS), "whole", rows=5)
    own = [place for place, run in enumerate(whole.runs) if whole.conditions[run.condition].kind != "control"]
    assert [whole.runs[place].token_ids for place in own] == [run.token_ids for run in bare.runs]
    for site, vectors in bare.vectors().items():
        # Batches of other rows: the products may differ in the last bit of a float64, and so the float32 that is kept.
        np.testing.assert_allclose(whole.vectors()[site][own], vectors, rtol=1e-6, atol=1e-6)


def test_what_is_matched_on_is_what_the_baselines_tokens_say(
    lab: Lab, tiny_gpt2: LoadedModel, clamp: dict[str, Any]
) -> None:
    from srm_explorer.engine.model.weights import w_out_rows

    session = lab.session(lab.experiment(clamp, controls=CONTROLS, capture={"reduce": "tokens"}), rows=4)
    baseline = [place for place, run in enumerate(session.runs) if run.condition == 0]
    tokens = np.concatenate([session.vectors()[MLP][place] for place in baseline])
    norms = np.linalg.norm(w_out_rows(tiny_gpt2, 1), axis=1)
    controls = chosen(session)
    assert controls.tokens == len(tokens)
    (match,) = controls.matches
    for neuron, traits in zip((match.target, *match.neurons), match.traits, strict=True):
        assert traits.mean == pytest.approx(tokens[:, neuron].mean(dtype=float), rel=1e-5, abs=1e-6)
        assert traits.std == pytest.approx(tokens[:, neuron].std(dtype=float), rel=1e-4, abs=1e-6)
        assert traits.norm == pytest.approx(norms[neuron], rel=1e-6)


def test_killed_between_any_two_lines_of_the_journal_the_controls_are_the_same(
    lab: Lab, clamp: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = lab.experiment({**clamp, "unit": "sigma", "values": [-2, 2]}, controls=CONTROLS)
    whole = lab.session(experiment, "whole", rows=13)
    append = JournalWriter._append
    for instant in (3, 4, 5):
        written = 0

        def killed(self: JournalWriter, event: Any, instant: int = instant) -> None:
            nonlocal written
            append(self, event)
            written += 1
            if written == instant:
                raise Killed

        monkeypatch.setattr(JournalWriter, "_append", killed)
        name = f"at-{instant}"
        try:
            lab.run(experiment, name, rows=13)
        except Killed:
            monkeypatch.setattr(JournalWriter, "_append", append)
            lab.run(experiment, name, rows=13)
        monkeypatch.setattr(JournalWriter, "_append", append)
        session = load_session(lab.path(name))
        assert session.provenance["controls"] == whole.provenance["controls"]
        assert session.resolved == whole.resolved
        assert session.runs == whole.runs
        for site, vectors in whole.vectors().items():
            assert np.array_equal(session.vectors()[site], vectors)


def test_a_session_with_controls_replays_bit_equal(lab: Lab, clamp: dict[str, Any]) -> None:
    from srm_explorer.engine.execution.replay import replay

    session = lab.session(lab.experiment(clamp, controls=CONTROLS), rows=6)
    found = replay(session, lab.folder / "out")
    assert found.bit_equal
    assert found.runs == len(session.runs) == 4 * (3 + 6)


def test_controls_that_are_not_those_of_the_experiment_are_not_replayed(lab: Lab, clamp: dict[str, Any]) -> None:
    from srm_explorer.engine.execution.replay import replay

    session = lab.session(lab.experiment(clamp, controls={"neurons": 2}))
    told = dict(session.provenance)
    kept = next(name for name, own in told.items() if isinstance(own, dict) and "matches" in own)
    (match,) = told[kept]["matches"]
    damages = {
        "controls are missing": {name: own for name, own in told.items() if name != kept},
        "controls do not stand for every neuron": {
            **told,
            kept: {**told[kept], "matches": [{**match, "target": match["target"] + 1}]},
        },
    }
    for message, provenance in damages.items():
        with pytest.raises(ExplorerError, match=message):
            replay(session.changed(provenance=provenance), lab.folder / "out")
    fewer = session.spec.model_copy(update={"controls": session.spec.controls.model_copy(update={"neurons": 1})})
    with pytest.raises(ExplorerError):
        replay(session.changed(spec=fewer), lab.folder / "out")


def test_several_neurons_and_crossed_interventions_have_controls_of_their_own_and_backgrounds_none(
    lab: Lab, as_if_alone: Check
) -> None:
    behind = {"site": "blocks.0.mlp.hook_post", "neurons": [7], "op": "zero", "background": True}
    one = {"site": MLP, "neurons": [3, 5], "op": "clamp", "values": [-2, 2]}
    two = {"site": "blocks.0.mlp.hook_post", "neurons": [5], "op": "scale", "values": [0, 3]}
    lab.prompts("The man opened the door", "Two")
    session = lab.session(lab.experiment(behind, one, two, grid=True, controls={"neurons": 2}))
    assert len(session.conditions) == 2 + 4 + 8
    matches = {(match.site, match.target): match.neurons for match in chosen(session).matches}
    assert set(matches) == {(MLP, 3), (MLP, 5), ("blocks.0.mlp.hook_post", 5)}
    assert len({*matches[MLP, 3], *matches[MLP, 5], 3, 5, 8}) == 7
    as_if_alone(session, every=3)


def test_mean_ablation_of_a_control_gives_its_own_mean(lab: Lab) -> None:
    session = lab.session(lab.experiment({"site": MLP, "neurons": [3], "op": "mean"}, controls=CONTROLS))
    (match,) = chosen(session).matches
    assert [row[0] for row in session.resolved[2:]] == [(traits.mean,) for traits in match.traits[1:]]


def test_controls_of_steering_are_random_directions_of_the_same_length(lab: Lab) -> None:
    save_file({"way": np.arange(1, 33, dtype=np.float32)}, lab.folder / "v.safetensors")
    steer = {"site": RESID, "direction": "v.safetensors#way", "op": "steer", "values": [-5, 8]}
    experiment = lab.experiment(
        steer,
        controls={"neurons": 2, "seed": 4},
        planes=[{"site": RESID, "a": 1, "b": 2}],
        capture={"residual": "raw"},
    )
    session = lab.session(experiment)
    directions = [placebo(4, 0, number, 32) for number in (1, 2)]
    assert chosen(session).placebos == {0: tuple(direction_hash(one) for one in directions)}
    vectors = session.vectors()[RESID]
    base = {run.prompt: place for place, run in enumerate(session.runs) if run.condition == 0}
    for place, run in enumerate(session.runs):
        condition = session.conditions[run.condition]
        if condition.control is not None and run.token_ids == session.runs[base[run.prompt]].token_ids:
            moved = vectors[place] - vectors[base[run.prompt]]
            expected = session.resolved[run.condition][0][0] * directions[condition.control - 1]  # pyright: ignore
            np.testing.assert_allclose(moved, expected, atol=1e-4)


def test_controls_survive_being_saved(lab: Lab, clamp: dict[str, Any]) -> None:
    session = lab.session(lab.experiment(clamp, controls=CONTROLS))
    read = load_session(lab.path())
    assert controls_of(read) == controls_of(session)
    assert read.conditions == conditions(read.spec)
