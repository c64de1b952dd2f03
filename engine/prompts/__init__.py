"""Prompt sets: named lists of prompts, read from plain text, grids, tables, JSON and cached data sets."""

from __future__ import annotations

from srm_explorer.engine.prompts.arrow import DATASET
from srm_explorer.engine.prompts.library import (
    add_prompts,
    available_prompt_sets,
    choose,
    filter_captions,
    find_prompt_set,
    fitting,
    is_path,
    levels_wanted,
    load_prompt_set,
    name_of,
    read_prompt_set,
    set_name,
)
from srm_explorer.engine.prompts.prompt_set import (
    Problem,
    Prompt,
    PromptSet,
    Turns,
    alike_problems,
    prompts_longer_than,
)

__all__ = [
    "DATASET",
    "Problem",
    "Prompt",
    "PromptSet",
    "Turns",
    "add_prompts",
    "alike_problems",
    "available_prompt_sets",
    "choose",
    "filter_captions",
    "find_prompt_set",
    "fitting",
    "is_path",
    "levels_wanted",
    "load_prompt_set",
    "name_of",
    "prompts_longer_than",
    "read_prompt_set",
    "set_name",
]
