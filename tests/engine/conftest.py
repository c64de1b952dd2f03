"""A place to run small experiments in, and what it means for a session to be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings

from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.experiment.positions import resolve_positions
from srm_explorer.engine.experiment.site import head_coordinates
from srm_explorer.engine.session.controls import controls_of

if TYPE_CHECKING:
    from srm_explorer.engine.model import WarmModel
    from srm_explorer.engine.model.load import LoadedModel
    from srm_explorer.engine.runs.resume import Outcome
    from srm_explorer.engine.session import Session

# A machine that others use too takes its time now and then.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

TEXTS = ("The man opened the door", "Two", "If all of them are late, then nobody", "She turned to see")
MLP = "blocks.1.mlp.hook_post"


@dataclass(frozen=True)
class Lab:
    """A folder with a prompt set, and experiments on a tiny model in it."""

    folder: Path
    model: Path
    warm: WarmModel

    def prompts(self, *texts: str, name: str = "texts") -> None:
        (self.folder / f"{name}.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")

    def experiment(self, *interventions: Mapping[str, Any], **changes: Any) -> Experiment:
        """An experiment on every prompt of texts.txt; keys of `changes` are tables or single top-level fields."""
        data: dict[str, Any] = {
            "model": {"name": str(self.model), "device": "cpu", "dtype": "float64"},
            "prompts": {"sets": ["texts.txt"], "prepend_bos": False},
            "interventions": [dict(one) for one in interventions],
            "generation": {"tokens": 5},
            "capture": {"sites": [MLP, "blocks.2.hook_resid_post"]},
            "planes": [{"site": MLP, "a": 3, "b": 8}],
        }
        for name, value in changes.items():
            data[name] = {**data.get(name, {}), **value} if isinstance(value, dict) else value
        return Experiment.from_dict(data)

    def path(self, name: str = "a") -> Path:
        return self.folder / "out" / f"{name}.json"

    def run(self, experiment: Experiment, name: str = "a", **options: Any) -> Outcome:
        from srm_explorer.engine.execution.run import run_experiment

        try:
            return run_experiment(experiment, self.folder, self.path(name), **{"warm": self.warm, **options})
        finally:
            self.warm.unload()

    def session(self, experiment: Experiment, name: str = "a", **options: Any) -> Session:
        """Run, and return the session as it was finished."""
        outcome = self.run(experiment, name, **options)
        assert outcome.status == "finished"
        assert outcome.session is not None
        return outcome.session


@pytest.fixture(scope="session")
def kept_model() -> WarmModel:
    """Keeps its model, loaded and tested, from test to test, as a worker does; each test has locks of its own."""
    from srm_explorer.engine.model import WarmModel

    class Kept(WarmModel):
        def unload(self) -> None:
            if self.model_lock is not None:
                self.model_lock.release()
                self.model_lock = None

    return Kept()


@pytest.fixture
def lab(tmp_path: Path, tiny_gpt2_folder: Path, kept_model: WarmModel) -> Lab:
    import torch

    torch.set_num_threads(1)  # matrices this small only lose by being shared out
    lab = Lab(tmp_path, tiny_gpt2_folder, kept_model)
    lab.prompts(*TEXTS)
    return lab


@pytest.fixture
def clamp() -> dict[str, Any]:
    return {"site": MLP, "neurons": [3], "op": "clamp", "values": [-4, 4]}


@pytest.fixture(scope="session")
def as_if_alone(tiny_gpt2: LoadedModel) -> Callable[..., None]:
    """Run some runs of a session one at a time, by the plain way, and compare."""
    from srm_explorer.engine.model.capture import Capture
    from srm_explorer.engine.model.decoding import Generation, Row
    from srm_explorer.engine.model.edits import Edit
    from srm_explorer.engine.model.sampling import NoiseKey, Sampling
    from srm_explorer.engine.model.selftest import run_alone

    def check(session: Session, directions: Mapping[str, np.ndarray] | None = None, every: int = 1) -> None:
        spec = session.spec
        written = spec.generation
        sampling = Sampling(
            greedy=written.mode == "greedy",
            temperature=written.temperature,
            top_k=written.top_k or 0,
            top_p=1.0 if written.top_p is None else written.top_p,
        )
        generation = Generation(written.tokens, sampling, tiny_gpt2.tokenizer.stop_ids)
        vectors = session.vectors()
        assert len(session.runs) == len(session.prompts) * written.samples * len(conditions(spec))
        for place, run in list(enumerate(session.runs))[::every]:
            prompt = session.prompts[run.prompt]
            assert list(prompt.token_ids) == tiny_gpt2.tokenizer.encode(prompt.text, prepend_bos=False)
            number = session.conditions[run.condition].control
            chosen = controls_of(session)
            edits = tuple(
                Edit(
                    one.site,
                    one.op,
                    resolve_positions(one.positions, [tiny_gpt2.tokenizer.decode([i]) for i in prompt.token_ids]),
                    head_coordinates(one.heads, one.coordinates, tiny_gpt2.shape.head_width(0))
                    or tuple(
                        neuron
                        if number is None or chosen is None or one.background
                        else chosen.neuron(number, one.site, neuron)
                        for neuron in one.neurons
                    ),
                    values * (len(one.coordinates) or 8) * len(one.heads) if one.heads and len(values) == 1 else values,
                    () if one.direction is None else tuple((directions or {})[one.direction].tolist()),
                )
                for one, values in zip(spec.interventions, session.resolved[run.condition], strict=True)
                if values is not None
            )
            noise = NoiseKey(written.seed, prompt.sha256, prompt.occurrence, run.sample)
            captured = resolve_positions(
                spec.capture.positions, [tiny_gpt2.tokenizer.decode([i]) for i in prompt.token_ids]
            )
            where = captured if isinstance(captured, str) else {prompt.token_ids: captured}
            captures = [
                Capture(site, spec.capture.reduce, where, "resid" in site and is_centred(spec))
                for site in spec.capture.sites
            ]
            row = Row(prompt.token_ids, edits, None if sampling.greedy else noise)
            alone = run_alone(tiny_gpt2, row, generation, captures)
            assert run.token_ids == alone.tokens
            assert run.finish == alone.finish
            assert run.text == tiny_gpt2.tokenizer.decode(alone.tokens)
            for site, expected in zip(spec.capture.sites, alone.captured, strict=True):
                np.testing.assert_allclose(vectors[site][place], expected, atol=2e-5, rtol=2e-5)

    return check


def is_centred(spec: Experiment) -> bool:
    return spec.capture.residual == "centred"
