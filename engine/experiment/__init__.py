"""What an experiment is, as frozen data: the TOML file, the form on the screen and the `spec` of a session."""

from __future__ import annotations

from srm_explorer.engine.experiment.conditions import Condition, conditions, differences, survey_settings, swept_as
from srm_explorer.engine.experiment.experiment import (
    CaptureSpec,
    ControlsSpec,
    ExecutionSpec,
    Experiment,
    GenerationSpec,
    ModelSpec,
    PlaneSpec,
    PromptsSpec,
    SpotlightSpec,
    targets_of,
)
from srm_explorer.engine.experiment.intervention import InterventionSpec
from srm_explorer.engine.experiment.load import SpecSource, available_presets, read_experiment
from srm_explorer.engine.experiment.model_fit import check_against, misfits
from srm_explorer.engine.experiment.site import SITE_KINDS, UNKNOWN, ModelShape, Site
from srm_explorer.engine.experiment.survey import SurveySpec
from srm_explorer.engine.experiment.values import format_number, parse_values

__all__ = [
    "SITE_KINDS",
    "UNKNOWN",
    "CaptureSpec",
    "Condition",
    "ControlsSpec",
    "ExecutionSpec",
    "Experiment",
    "GenerationSpec",
    "InterventionSpec",
    "ModelShape",
    "ModelSpec",
    "PlaneSpec",
    "PromptsSpec",
    "Site",
    "SpecSource",
    "SpotlightSpec",
    "SurveySpec",
    "available_presets",
    "check_against",
    "conditions",
    "differences",
    "format_number",
    "misfits",
    "parse_values",
    "read_experiment",
    "survey_settings",
    "swept_as",
    "targets_of",
]
