"""What arithmetic predicts at a clamped site is what the model computes on the baseline's text."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.experiment.model_fit import is_centred
from srm_explorer.engine.runs.forecast import OWN_PREFIX, Forecast, forecast_inputs, own_readings
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session
from srm_explorer.engine.stats.planes import coordinates, neuron_plane

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel

MLP = "blocks.1.mlp.hook_post"
RESID = "blocks.1.hook_resid_post"
PROMPTS = ((5, 6, 7, 8, 9), (3,), (11, 12))
TOKENS = 4
EDIT_POSITIONS = ("all", "prompt", "last", "predicting", "generated")
OPERATIONS: dict[str, dict[str, Any]] = {
    "clamp": {"neurons": [3, 8], "values": [-4, 2.5]},
    "add": {"neurons": [3], "values": [-4, 2.5]},
    "scale": {"neurons": [3, 20], "values": [-2, 3]},
    "zero": {"neurons": [8]},
    "mean": {"neurons": [3, 20]},
    "steer": {"direction": "u.npz#u", "values": [3, -1]},
}


def experiment(
    interventions: Sequence[dict[str, Any]], sites: Sequence[str], capture: str, reduce: str, residual: str
) -> Experiment:
    return Experiment.from_dict(
        {
            "model": {"name": "demo"},
            "prompts": {"sets": ["texts"]},
            "interventions": [{"site": MLP, **one} for one in interventions],
            "generation": {"tokens": TOKENS, "stop_at_eos": False},
            "capture": {"sites": list(sites), "positions": capture, "reduce": reduce, "residual": residual},
            "planes": [{"site": site, "a": 3, "b": 8} for site in sites],
        }
    )


@dataclasses.dataclass
class Forced:
    """An experiment whose every run was fed its baseline's text: full vectors, and what was kept besides."""

    session: Session
    vectors: dict[str, np.ndarray]
    forecast: Forecast


def forced(model: LoadedModel, spec: Experiment, *, own: bool = True) -> Forced:
    from srm_explorer.engine.execution.w_out import effective_w_out_rows
    from srm_explorer.engine.model.capture import Capture
    from srm_explorer.engine.model.decoding import Generation, Row, decode
    from srm_explorer.engine.model.edits import Edit

    directions = {"u.npz#u": np.random.default_rng(5).normal(size=64)}
    directions["u.npz#u"] /= np.linalg.norm(directions["u.npz#u"])
    listed = conditions(spec)
    means = {one.neurons: tuple(0.1 * n for n in one.neurons) for one in spec.interventions}

    def raw(place: int, value: float) -> tuple[float, ...]:
        one = spec.interventions[place]
        if one.op == "zero":
            return ()
        return means[one.neurons] if one.op == "mean" else (value,) * max(len(one.neurons), 1)

    resolved = tuple(
        tuple(None if value is None else raw(place, value) for place, value in enumerate(c.values)) for c in listed
    )
    captures = {
        site: Capture(site, spec.capture.reduce, spec.capture.positions, is_centred(spec, site))
        for site in spec.capture.sites
    }
    reduce = "last" if spec.capture.reduce == "last" else "mean"
    for place, positions in own_readings(spec) if own else ():
        one = spec.interventions[place]
        captures[f"{OWN_PREFIX}{place}/{positions}"] = Capture(one.site, reduce, positions, columns=one.neurons)
    written = decode(model, [Row(prompt) for prompt in PROMPTS], Generation(TOKENS), [])
    texts = [row.tokens[: 2 + place] for place, row in enumerate(written.rows)]
    pairs = list(itertools.product(range(len(PROMPTS)), range(len(listed))))
    rows = [
        Row(
            PROMPTS[prompt],
            tuple(
                Edit(
                    one.site, one.op, one.positions, one.neurons, values, tuple(directions.get(one.direction or "", ()))
                )
                for one, values in zip(spec.interventions, resolved[condition], strict=True)
                if values is not None
            ),
            forced=texts[prompt],
        )
        for prompt, condition in pairs
    ]
    found = decode(model, rows, Generation(TOKENS), list(captures.values())).rows
    kept: dict[str, Any] = {}
    for number, (name, capture) in enumerate(captures.items()):
        arrays = [row.captured[number] for row in found]
        kept[name] = arrays if capture.reduce == "tokens" else np.stack(arrays)
    full = {
        site: np.stack([one.mean(axis=0) for one in kept[site]]) if spec.capture.reduce == "tokens" else kept[site]
        for site in spec.capture.sites
    }
    runs = tuple(
        RunRecord(i, p, c, 0, texts[p], "", len(PROMPTS[p]), "length", None, {}) for i, (p, c) in enumerate(pairs)
    )
    planes = [(site, neuron_plane(full[site].shape[1], 3, 8)) for site in spec.capture.sites]
    session = Session(
        name="forced",
        state="finished",
        spec=spec,
        conditions=listed,
        resolved=resolved,
        prompts=tuple(PromptRecord("texts", str(p), {}, ids, 0, "") for p, ids in enumerate(PROMPTS)),
        runs=runs,
        planes=tuple(PlaneRecord.of(site, 3, 8, *coordinates(full[site], plane)) for site, plane in planes),
    )
    forecast = Forecast(spec, forecast_inputs(spec, directions, effective_w_out_rows(model, spec)))
    forecast.take(runs, planes, kept)
    return Forced(session, full, forecast)


def assert_predicted(lab: Forced, site: str, *, known: bool = True, atol: float = 1e-9) -> None:
    place = list(lab.session.spec.capture.sites).index(site)
    planes = {one["plane"]: one for one in lab.forecast.predictions(lab.session)["arithmetic"]["planes"]}
    record = lab.session.planes[place]
    if not known:
        assert place not in planes or "x" not in planes[place]
        return
    for name in ("x", "y", "norm"):
        predicted = np.array(planes[place][name])
        scale = np.abs(np.array(record.norm)).max()
        np.testing.assert_allclose(predicted, np.array(getattr(record, name)), rtol=0, atol=atol * max(1, scale))


@pytest.mark.parametrize("capture", ["generated", "predicting", "prompt", "all"])
@pytest.mark.parametrize("op", list(OPERATIONS))
def test_at_the_clamped_site_forcing_the_baseline_text_is_arithmetic(
    op: str, capture: str, tiny_gpt2: LoadedModel, tiny_llama: LoadedModel
) -> None:
    for number, positions in enumerate(EDIT_POSITIONS):
        model = (tiny_gpt2, tiny_llama)[number % 2]
        reduce = ("mean", "tokens", "last")[(number + len(op) + len(capture)) % 3]
        one = {"op": op, "positions": positions, **OPERATIONS[op]}
        lab = forced(model, experiment([one], [MLP], capture, reduce, "raw"))
        assert_predicted(lab, MLP)


def test_several_interventions_at_one_site_apply_in_their_order(tiny_gpt2: LoadedModel) -> None:
    steer = {"op": "steer", "direction": "u.npz#u", "values": [2], "positions": "predicting", "background": True}
    scale = {"op": "scale", "neurons": [8, 3], "values": [-2, 0.5], "positions": "all"}
    clamp = {"op": "clamp", "neurons": [3], "values": [4, -4], "positions": "last"}
    add = {"op": "add", "neurons": [3, 40], "values": [1, 2], "positions": "generated"}
    for order in ([steer, scale, clamp, add], [clamp, add, scale, steer], [scale, add, steer, clamp]):
        for capture in ("all", "predicting"):
            assert_predicted(forced(tiny_gpt2, experiment(order, [MLP], capture, "mean", "raw")), MLP)


@pytest.mark.parametrize("residual", ["raw", "centred"])
@pytest.mark.parametrize("reduce", ["mean", "last"])
def test_what_neurons_write_into_their_layers_sum_is_arithmetic_too(
    reduce: str, residual: str, tiny_gpt2: LoadedModel, tiny_llama: LoadedModel
) -> None:
    sites = [RESID, "blocks.1.hook_mlp_out", MLP]
    for number, (op, positions, capture) in enumerate(
        [
            ("clamp", "all", "generated"),
            ("clamp", "generated", "all"),
            ("scale", "prompt", "predicting"),
            ("zero", "last", "prompt"),
            ("add", "predicting", "all"),
        ]
    ):
        # Only models whose norms centre may be captured centred; here nothing but the numbers is looked at.
        model = (tiny_gpt2, tiny_llama)[number % 2]
        one = {"op": op, "positions": positions, **OPERATIONS[op]}
        lab = forced(model, experiment([one], sites, capture, reduce, residual))
        for site in sites:
            assert_predicted(lab, site, atol=1e-6 if site != MLP else 1e-9)


@pytest.mark.parametrize("residual", ["raw", "centred"])
def test_coordinates_of_the_residual_stream_are_edited_before_it_is_centred(
    residual: str, tiny_gpt2: LoadedModel
) -> None:
    neuron = {"op": "clamp", "neurons": [5], "values": [3, -3]}
    both = {"site": RESID, "op": "scale", "neurons": [3, 9], "values": [2, -1], "positions": "predicting"}
    for capture in ("generated", "all"):
        lab = forced(tiny_gpt2, experiment([neuron, both], [RESID], capture, "mean", residual))
        assert_predicted(lab, RESID, atol=1e-6)


def test_what_comes_through_other_layers_is_not_predicted_and_what_comes_later_changes_nothing(
    tiny_gpt2: LoadedModel,
) -> None:
    one = {"op": "clamp", "neurons": [3], "values": [4, -4]}
    sites = [MLP, "blocks.2.mlp.hook_post", "blocks.0.mlp.hook_post", "blocks.2.hook_resid_post"]
    lab = forced(tiny_gpt2, experiment([one], sites, "generated", "mean", "raw"))
    assert_predicted(lab, MLP)
    assert_predicted(lab, "blocks.0.mlp.hook_post")
    assert_predicted(lab, "blocks.2.mlp.hook_post", known=False)
    assert_predicted(lab, "blocks.2.hook_resid_post", known=False)


def test_without_the_clamped_axes_is_the_vector_with_them_at_zero(tiny_gpt2: LoadedModel) -> None:
    one = {"op": "clamp", "neurons": [3, 40], "values": [4, -4]}
    lab = forced(tiny_gpt2, experiment([one], [MLP, RESID], "generated", "mean", "centred"))
    planes = lab.forecast.predictions(lab.session)["arithmetic"]["planes"]
    bare = lab.vectors[MLP].copy()
    bare[:, [3, 40]] = 0
    without = planes[0]["without"]
    np.testing.assert_allclose(without["norm"], np.linalg.norm(bare, axis=1), rtol=1e-9)
    assert not np.any(without["x"])
    assert without["y"] is None
    from srm_explorer.engine.model.weights import w_out_rows

    rows = w_out_rows(tiny_gpt2, 1)[[3, 40]].astype(np.float64)
    rows -= rows.mean(axis=1, keepdims=True)
    outside = lab.vectors[RESID] - lab.vectors[RESID] @ np.linalg.pinv(rows) @ rows
    np.testing.assert_allclose(planes[1]["without"]["norm"], np.linalg.norm(outside, axis=1), rtol=1e-6)
    np.testing.assert_allclose(planes[1]["without"]["x"], outside[:, 3], atol=1e-6)
