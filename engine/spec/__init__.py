"""What an experiment is, as frozen data: the TOML file, the form on the screen and the `spec` of a session."""

from engine.spec.conditions import Condition, conditions, swept_as
from engine.spec.controls import ControlsSpec, targets_of
from engine.spec.differences import differences
from engine.spec.experiment import Experiment
from engine.spec.intervention import InterventionSpec
from engine.spec.parts import (
    CaptureSpec,
    GenerationSpec,
    ModelSpec,
    PlaneSpec,
    PromptsSpec,
    SpotlightSpec,
)
from engine.spec.shape import ModelShape, check_against, misfits
from engine.spec.site import SITE_KINDS, Site
from engine.spec.source import SpecSource, available_presets, read_experiment
from engine.spec.values import format_number, parse_values

__all__ = [
    "SITE_KINDS",
    "CaptureSpec",
    "Condition",
    "ControlsSpec",
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
    "available_presets",
    "check_against",
    "conditions",
    "differences",
    "format_number",
    "misfits",
    "parse_values",
    "read_experiment",
    "swept_as",
    "targets_of",
]
