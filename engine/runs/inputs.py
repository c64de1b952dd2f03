"""What an experiment reads besides itself: its prompt sets and its steering directions."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError, SpecValueError, did_you_mean
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.experiment.conditions import conditions_of, pairs_of, patched_from, prompts_of
from srm_explorer.engine.experiment.directions import FileVector, choices_of, direction_of
from srm_explorer.engine.figures.captions import pooled_caption, unseen_caption
from srm_explorer.engine.io.vectors import direction_sha256, read_direction
from srm_explorer.engine.prompts import Problem, Prompt, PromptSet, choose, fitting, load_prompt_set, set_name
from srm_explorer.engine.runs.survey import check_halves
from srm_explorer.engine.session import PromptRecord, prompt_warnings
from srm_explorer.engine.session.units import prompt_units
from srm_explorer.engine.stats.groups import BASELINE


@dataclass(frozen=True)
class ListedPrompt:
    """A prompt of the experiment's list, with the set it came from."""

    set: PromptSet
    prompt: Prompt

    @property
    def location(self) -> str:
        return f"{self.set.path}:{self.prompt.line}"


@dataclass(frozen=True)
class Inputs:
    """What was read for an experiment.

    Args:
        prompts: in the experiment's order, filtered and limited.
        directions: [d] unit vectors of files by the text that names them.
        problems: what is odd about the prompt files and does not stop a run.
        hashes: SHA-256 of the content of each file read, by the name in the experiment.
    """

    prompts: tuple[ListedPrompt, ...]
    directions: dict[str, np.ndarray]
    problems: tuple[Problem, ...]
    hashes: dict[str, str]

    def warnings(self, experiment: Experiment) -> tuple[str, ...]:
        """What is known before a model makes tokens: that no plane holds what is edited, prompts that are one unit."""
        of_prompts = prompt_warnings(_records(self.prompts), sampled=experiment.generation.mode == "sample")
        return (*filter(None, [unseen_caption(experiment)]), *of_prompts)

    @property
    def units(self) -> int:
        """How many units the prompts make, as far as that is known before a model has made tokens of them."""
        return len(set(prompt_units(_records(self.prompts))))

    @property
    def prompt_tokens(self) -> int:
        """About how many tokens a prompt has, at four characters a token, before a model has made any."""
        return max(2, round(sum(len(listed.prompt.text) for listed in self.prompts) / max(1, len(self.prompts)) / 4))


def _records(prompts: Sequence[ListedPrompt]) -> list[PromptRecord]:
    """Prompts as they are on record before a model has made tokens of them."""
    return [PromptRecord(listed.set.name, listed.prompt.text, listed.prompt.factors, (), 0, "") for listed in prompts]


def read_inputs(experiment: Experiment, base: Path) -> Inputs:
    """Read the prompts and directions an experiment names.

    Raises:
        ExplorerError: a file that is missing or broken, a factor nobody has, a number of no prompt, no prompt left, a
            direction of length 0, one unit alone where a survey needs halves.
    """
    folders = paths.prompt_folders()
    column = experiment.prompts.text
    whole = [load_prompt_set(name, folders=folders, base=base, column=column) for name in experiment.prompts.sets]
    hashes = {f"prompts {name}": loaded.sha256 for name, loaded in zip(experiment.prompts.sets, whole, strict=True)}
    by_name = dict(zip(experiment.prompts.sets, whole, strict=True))
    spec = experiment.prompts
    chosen = choose(by_name, where=spec.where, omit=spec.omit, limit=spec.limit)
    listed = tuple(
        ListedPrompt(by_name[name], by_name[name].prompts[number - 1])
        for name, numbers in chosen.items()
        for number in numbers
    )
    _check_confirm(experiment, listed)
    _check_analysis(experiment, listed)
    _check_choices(experiment, listed)
    _check_patches(experiment, listed)
    check_halves(experiment, _records(listed))
    directions: dict[str, np.ndarray] = {}
    for named in (*(edit.direction for edit in experiment.interventions), *_files_of_planes(experiment)):
        if named is not None and named not in directions:
            directions[named] = read_direction(named, base)
            hashes[f"direction {named}"] = direction_sha256(directions[named])
    emptied = [loaded for name, loaded in by_name.items() if not fitting(loaded, name, spec.where)]
    problems = (*(problem for loaded in whole for problem in loaded.problems), *map(_emptied, emptied))
    return Inputs(listed, directions, problems, hashes)


def _emptied(prompt_set: PromptSet) -> Problem:
    what = f"no prompt of {prompt_set.name} has the levels that `where` names, so none of it is run"
    return Problem(
        prompt_set.path, 1, what, "take the set out, or name levels by set, as in where.SET.FACTOR", fatal=False
    )


def _files_of_planes(experiment: Experiment) -> list[str]:
    named = [along for plane in experiment.planes for along in (plane.a, plane.b)]
    return [str(along) for along in named if isinstance(direction_of(along), FileVector)]


def _check_analysis(experiment: Experiment, listed: Sequence[ListedPrompt]) -> None:
    """Refuse a frozen analysis of groups that the experiment will not have."""
    known = [condition.label for condition in conditions(experiment) if condition.kind != "control"]
    known = list(dict.fromkeys([*known, BASELINE, pooled_caption(experiment)]))
    factors: dict[str, set[str]] = {"set": {one.set.name for one in listed}}
    for one in listed:
        for name, level in one.prompt.factors.items():
            factors.setdefault(name, set()).add(level)
    for text in (name for pair in experiment.analysis.pairs for name in pair):
        for part in (word.strip() for word in re.split(r"[·,]", text) if word.strip() and text not in known):
            factor, equals, level = (word.strip() for word in part.partition("="))
            problem, choices = "", known
            if equals and factor not in factors:
                problem, choices = f"no prompt has a factor '{factor}'", list(factors)
            elif equals and level not in factors[factor]:
                problem, choices = f"no prompt has {factor} = '{level}'", sorted(factors[factor])
            elif not equals and part not in known:
                problem = f"there is no condition '{part}'"
            if problem:
                raise ExplorerError(problem, where="analysis.groups", remedy=did_you_mean(part, choices))


def _check_confirm(experiment: Experiment, listed: Sequence[ListedPrompt]) -> None:
    """Refuse to keep a prompt for confirmation that is looked at elsewhere, or none at all."""
    confirm = experiment.prompts.confirm
    if not confirm:
        return
    names = {set_name(name) for name in confirm}
    for name in experiment.prompts.sets:
        if name not in confirm and set_name(name) in names:
            what = f"{name} has the name of a set that is kept, {set_name(name)}, and is not kept"
            raise ExplorerError(what, where="prompts.confirm", remedy="name one of the files differently")
    looked_at = {one.prompt.content: one for one in listed if one.set.name not in names}
    kept = [one for one in listed if one.set.name in names]
    for side, name in ((kept, "is left to confirm on"), (looked_at, "is left to look at")):
        if not side:
            raise ExplorerError(
                f"no prompt {name}", where="prompts.confirm", remedy="choose other sets, or a higher limit"
            )
    for one in kept:
        if one.prompt.content in looked_at:
            other = looked_at[one.prompt.content]
            what = f"a prompt that is kept for confirmation is in {other.location} too"
            raise ExplorerError(what, where=one.location, remedy="take it out of one of them: prompts.omit")


def _check_patches(experiment: Experiment, listed: Sequence[ListedPrompt]) -> None:
    """Refuse patches from conditions or paired prompts that the experiment has not."""
    prompts = [(one.set.name, one.prompt.factors) for one in listed]
    for number, edit in enumerate(experiment.interventions):
        if edit.source is not None:
            try:
                patched_from(experiment, number)
                if edit.source.prompt:
                    pairs_of(edit.source.prompt, prompts)
            except SpecValueError as error:
                raise ExplorerError(error.what, where=f"interventions[{number}].from", remedy=error.remedy) from None


def _check_choices(experiment: Experiment, listed: Sequence[ListedPrompt]) -> None:
    """Refuse planes through means of prompts or conditions that the experiment has not."""
    prompts = [(entry.set.name, entry.prompt.factors) for entry in listed]
    for index, plane in enumerate(experiment.planes):
        for key, along in (("a", plane.a), ("b", plane.b)):
            for choice in choices_of(direction_of(along)):
                try:
                    prompts_of(choice, prompts)
                    conditions_of(choice, conditions(experiment), "baseline")
                except SpecValueError as error:
                    raise ExplorerError(error.what, where=f"planes[{index}].{key}", remedy=error.remedy) from None


def prompt_records(
    prompts: Sequence[ListedPrompt], token_ids: Sequence[Sequence[int]], texts: Sequence[str]
) -> tuple[PromptRecord, ...]:
    """Put prompts on record with their token ids and the texts that those are, rendered ones as they were rendered.

    Equal ids are told apart by their occurrence.
    """
    seen: Counter[str] = Counter()
    records: list[PromptRecord] = []
    for listed, ids, text in zip(prompts, token_ids, texts, strict=True):
        digest = hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()
        records.append(
            PromptRecord(
                set=listed.set.name,
                text=text,
                factors=dict(listed.prompt.factors),
                token_ids=tuple(ids),
                occurrence=seen[digest],
                sha256=digest,
            )
        )
        seen[digest] += 1
    return tuple(records)
