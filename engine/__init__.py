"""srm-explorer without a screen: what a notebook needs, each name loaded when it is first asked for.

from engine import read_experiment, run_experiment, session_path

experiment, source = read_experiment("quick", overrides=["model.name=gpt2"])
outcome = run_experiment(experiment, source.base, session_path("first"))
vectors = outcome.session.vectors()["blocks.11.mlp.hook_post"]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.analysis.bands import share_bands, unit_counts
    from engine.analysis.bca import bca_interval
    from engine.analysis.binomial import binomial_interval
    from engine.analysis.blocks import matched_blocks
    from engine.analysis.comparison import group_difference
    from engine.analysis.ellipse import joint_region
    from engine.analysis.ensemble import ensemble_cosines, ensemble_of, ensemble_sweep
    from engine.analysis.groups import group_runs
    from engine.analysis.matching import match_neurons, placebo_direction, rank_p
    from engine.analysis.multiplicity import benjamini_hochberg
    from engine.analysis.nulls import null_curves, partner_coordinates
    from engine.analysis.pairings import pair
    from engine.analysis.permutation import sign_flip_test
    from engine.analysis.planes import coordinates, neuron_plane, plane_from_vectors
    from engine.analysis.resampling import bootstrap_weights, unit_totals
    from engine.analysis.srm import spotlight_sweep, sweep_groups, unit_coordinates
    from engine.analysis.text_effects import CollapseRule, text_metrics
    from engine.errors import ExplorerError
    from engine.figures.arithmetic import arithmetic_points, without_clamped_axis
    from engine.figures.certainty import beside_of, stored_bands
    from engine.model.card import neuron_activations, weight_card
    from engine.model.forcing import GivenText, score_texts
    from engine.model.load import load_model
    from engine.model.usage import neuron_usage
    from engine.model.walk import ReadText
    from engine.model.weights import final_logits, unembedding, w_in_columns, w_out_rows
    from engine.paths import session_path
    from engine.prompts import load_prompt_set, read_prompt_set
    from engine.runner.effects import score_effects
    from engine.runner.replay import replay
    from engine.runner.run import run_experiment
    from engine.runner.studies import run_model_study
    from engine.session import Session, load_session, save_session
    from engine.spec import Experiment, read_experiment
    from engine.studies.compare import compare_groups, curves_table_of
    from engine.studies.controlled import parts_of
    from engine.studies.controls import control_nulls, controls_study
    from engine.studies.effects import effects_study
    from engine.studies.finder import finder_study
    from engine.studies.pairs import pair_tables
    from engine.studies.planes import basis_of, plane_of, with_plane
    from engine.studies.session_bands import session_bands
    from engine.studies.study import tables_in

_HOMES = {
    "share_bands": "engine.analysis.bands",
    "unit_counts": "engine.analysis.bands",
    "bca_interval": "engine.analysis.bca",
    "binomial_interval": "engine.analysis.binomial",
    "group_difference": "engine.analysis.comparison",
    "joint_region": "engine.analysis.ellipse",
    "matched_blocks": "engine.analysis.blocks",
    "ensemble_cosines": "engine.analysis.ensemble",
    "ensemble_of": "engine.analysis.ensemble",
    "ensemble_sweep": "engine.analysis.ensemble",
    "group_runs": "engine.analysis.groups",
    "match_neurons": "engine.analysis.matching",
    "placebo_direction": "engine.analysis.matching",
    "rank_p": "engine.analysis.matching",
    "benjamini_hochberg": "engine.analysis.multiplicity",
    "null_curves": "engine.analysis.nulls",
    "partner_coordinates": "engine.analysis.nulls",
    "pair": "engine.analysis.pairings",
    "sign_flip_test": "engine.analysis.permutation",
    "coordinates": "engine.analysis.planes",
    "neuron_plane": "engine.analysis.planes",
    "plane_from_vectors": "engine.analysis.planes",
    "bootstrap_weights": "engine.analysis.resampling",
    "unit_totals": "engine.analysis.resampling",
    "spotlight_sweep": "engine.analysis.srm",
    "sweep_groups": "engine.analysis.srm",
    "unit_coordinates": "engine.analysis.srm",
    "CollapseRule": "engine.analysis.text_effects",
    "text_metrics": "engine.analysis.text_effects",
    "beside_of": "engine.figures.certainty",
    "stored_bands": "engine.figures.certainty",
    "ExplorerError": "engine.errors",
    "arithmetic_points": "engine.figures.arithmetic",
    "without_clamped_axis": "engine.figures.arithmetic",
    "neuron_activations": "engine.model.card",
    "weight_card": "engine.model.card",
    "GivenText": "engine.model.forcing",
    "score_texts": "engine.model.forcing",
    "load_model": "engine.model.load",
    "neuron_usage": "engine.model.usage",
    "ReadText": "engine.model.walk",
    "final_logits": "engine.model.weights",
    "unembedding": "engine.model.weights",
    "w_in_columns": "engine.model.weights",
    "w_out_rows": "engine.model.weights",
    "session_path": "engine.paths",
    "load_prompt_set": "engine.prompts",
    "read_prompt_set": "engine.prompts",
    "score_effects": "engine.runner.effects",
    "replay": "engine.runner.replay",
    "run_experiment": "engine.runner.run",
    "run_model_study": "engine.runner.studies",
    "Session": "engine.session",
    "load_session": "engine.session",
    "save_session": "engine.session",
    "Experiment": "engine.spec",
    "read_experiment": "engine.spec",
    "compare_groups": "engine.studies.compare",
    "curves_table_of": "engine.studies.compare",
    "parts_of": "engine.studies.controlled",
    "control_nulls": "engine.studies.controls",
    "controls_study": "engine.studies.controls",
    "effects_study": "engine.studies.effects",
    "finder_study": "engine.studies.finder",
    "pair_tables": "engine.studies.pairs",
    "session_bands": "engine.studies.session_bands",
    "tables_in": "engine.studies.study",
    "basis_of": "engine.studies.planes",
    "plane_of": "engine.studies.planes",
    "with_plane": "engine.studies.planes",
}

__all__ = [  # noqa: RUF022  (sorted as _HOMES is: by the folder a name comes from)
    "share_bands",
    "unit_counts",
    "bca_interval",
    "binomial_interval",
    "group_difference",
    "joint_region",
    "matched_blocks",
    "ensemble_cosines",
    "ensemble_of",
    "ensemble_sweep",
    "group_runs",
    "match_neurons",
    "placebo_direction",
    "rank_p",
    "benjamini_hochberg",
    "null_curves",
    "partner_coordinates",
    "pair",
    "sign_flip_test",
    "coordinates",
    "neuron_plane",
    "plane_from_vectors",
    "bootstrap_weights",
    "unit_totals",
    "spotlight_sweep",
    "sweep_groups",
    "unit_coordinates",
    "CollapseRule",
    "text_metrics",
    "beside_of",
    "stored_bands",
    "ExplorerError",
    "arithmetic_points",
    "without_clamped_axis",
    "neuron_activations",
    "weight_card",
    "GivenText",
    "score_texts",
    "load_model",
    "neuron_usage",
    "ReadText",
    "final_logits",
    "unembedding",
    "w_in_columns",
    "w_out_rows",
    "session_path",
    "load_prompt_set",
    "read_prompt_set",
    "score_effects",
    "replay",
    "run_experiment",
    "run_model_study",
    "Session",
    "load_session",
    "save_session",
    "Experiment",
    "read_experiment",
    "compare_groups",
    "curves_table_of",
    "parts_of",
    "control_nulls",
    "controls_study",
    "effects_study",
    "finder_study",
    "pair_tables",
    "session_bands",
    "tables_in",
    "basis_of",
    "plane_of",
    "with_plane",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
