"""`srm-explorer prompts`: the prompt sets that can be named, and what is wrong with a file of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.errors import SpecValueError
from srm_explorer.engine.experiment.fields import Bos, bos_of
from srm_explorer.engine.experiment.positions import (
    RowPositions,
    TokenChoice,
    find_positions,
    positions_caption,
    read_positions,
)
from srm_explorer.engine.prompts import (
    Problem,
    Prompt,
    PromptSet,
    alike_problems,
    available_prompt_sets,
    find_prompt_set,
    prompts_longer_than,
    read_prompt_set,
)
from srm_explorer.tui.cli.output import count, note, say, say_json, table, table_width, visible


def list_command(as_json: bool) -> None:
    sets: list[PromptSet] = []
    unreadable: list[str] = []
    for _, path in available_prompt_sets(paths.prompt_folders()):
        try:
            sets.append(read_prompt_set(path))
        except ExplorerError as error:
            unreadable.append(str(error))
    if as_json:
        say_json({"prompt_sets": [_set_json(prompts) for prompts in sets], "unreadable": unreadable}, "prompt sets")
        return
    rows = [
        (s.name, s.format, str(len(s.prompts)), str(len(s.problems)), ", ".join(s.factor_names), _path(s)) for s in sets
    ]
    if rows:
        say(
            *table(
                ("name", "format", "prompts", "problems", "factors", "path"), rows, right=(2, 3), width=table_width()
            )
        )
    elif not unreadable:
        say("there is no prompt set here: write one prompt a line into prompts/NAME.txt")
    for line in unreadable:
        note(line)


def check_command(
    file: str,
    model: str | None,
    tokens: int,
    as_json: bool,
    column: str | None = None,
    chat_template: bool = False,
    system: str | None = None,
    positions: str | None = None,
    prepend_bos: str = "auto",
) -> int:
    """Print every problem of a prompt file; 1 if one of them keeps the file from being used, else 0.

    With a model, prompts that leave no room for the tokens to be generated are problems too, and so is what its
    tokenizer or its chat template makes of the prompts against expectation. A choice of positions is printed as what
    it is in each prompt; not to be in one is a problem.
    """
    if (chat_template or system) and model is None:
        what = "a chat template is the model's own, and none is named"
        raise ExplorerError(what, where="--chat-template", remedy="name one with --model")
    choice = _choice(positions, model)
    prompt_set = read_prompt_set(_file(file), column)
    problems = list(prompt_set.problems)
    resolved: list[tuple[Prompt, RowPositions, str]] = []
    ids: list[list[int]] | None = None
    if model is not None:
        is_rendered = chat_template or system is not None
        of_model, pieces, ids = _of_model(prompt_set, model, tokens, bos_of(prepend_bos), is_rendered, system)
        problems += of_model
        if choice is not None:
            resolved, absent = _resolved(prompt_set, choice, pieces)
            problems += absent
    # What is refused has no ids by which it could be the same as another.
    problems += alike_problems(prompt_set, ids if ids is not None and all(ids) else None)
    problems.sort(key=lambda problem: problem.line)
    fatal = sum(problem.fatal for problem in problems)
    if as_json:
        report = {**_set_json(prompt_set), "problems": [_problem_json(problem) for problem in problems]}
        if choice is not None:
            report["positions"] = [
                {"line": prompt.line, "at": list(at.at), "from": at.start} for prompt, at, _ in resolved
            ]
        say_json(report, "prompt set")
    else:
        say(*(visible(f"{prompt_set.path}:{prompt.line}: {caption}") for prompt, _, caption in resolved))
        say(*(visible(f"{problem}" + ("" if problem.fatal else " (warning)")) for problem in problems))
        factors = f" · factors {', '.join(prompt_set.factor_names)}" if prompt_set.factor_names else ""
        content = f"{prompt_set.format} · {count(len(prompt_set.prompts), 'prompt')}{factors}"
        say(visible(f"{prompt_set.path}: {content} · {count(len(problems), 'problem')}"))
    if fatal:
        note(f"{prompt_set.path}: {count(fatal, 'problem')} must be solved before the set can be used")
    return 1 if fatal else 0


def _resolved(
    prompt_set: PromptSet, choice: tuple[int, ...] | TokenChoice, pieces: Sequence[Sequence[str]]
) -> tuple[list[tuple[Prompt, RowPositions, str]], list[Problem]]:
    """Each prompt with the positions of a choice and their caption, and a problem for each that has none."""
    resolved: list[tuple[Prompt, RowPositions, str]] = []
    absent: list[Problem] = []
    for prompt, of_prompt in zip(prompt_set.prompts, pieces, strict=True):
        try:
            at = find_positions(choice, of_prompt)
        except SpecValueError as error:
            absent.append(Problem(prompt_set.path, prompt.line, error.what, error.remedy or "", fatal=True))
        else:
            resolved.append((prompt, at, positions_caption(at, of_prompt)))
    return resolved, absent


def _choice(positions: str | None, model: str | None) -> tuple[int, ...] | TokenChoice | None:
    """The choice of positions that is typed."""
    if positions is None:
        return None
    if model is None:
        what = "positions are found among the tokens of a model, and none is named"
        raise ExplorerError(what, where="--positions", remedy="name one with --model")
    try:
        choice = read_positions(positions)
    except SpecValueError as error:
        raise ExplorerError(error.what, where="--positions", remedy=error.remedy) from None
    if isinstance(choice, str):
        remedy = "choose numbers or a token: '3, -1', 'token \" door\"', 'after \" door\"'"
        raise ExplorerError(f"{choice!r} means the same in every prompt", where="--positions", remedy=remedy)
    return choice


def _file(name: str) -> Path:
    if name.startswith("hf:"):
        return find_prompt_set(name, folders=(), base=Path())
    path = paths.expanded(name) if name.startswith("~/") else Path(name)
    if path.exists() or "/" in name or path.suffix:
        return path
    return dict(available_prompt_sets(paths.prompt_folders())).get(name, path)


def _of_model(
    prompt_set: PromptSet, model: str, tokens: int, prepend_bos: Bos, chat_template: bool, system: str | None
) -> tuple[list[Problem], list[list[str]], list[list[int]]]:
    """What is wrong with prompts for a model, the text of each of their tokens, and the tokens."""
    from srm_explorer.engine.experiment import ModelSpec
    from srm_explorer.engine.model import Feeding, load_model

    loaded = load_model(ModelSpec(name=model, device="cpu"))
    room = loaded.shape.n_ctx - tokens
    if room < 1:
        what = f"{tokens} tokens leave no room for a prompt in this model's context ({loaded.shape.n_ctx})"
        raise ExplorerError(what, where="--tokens", remedy=f"choose at most {loaded.shape.n_ctx - 1}")
    feeding = Feeding(prepend_bos, chat_template, system)
    contents = [prompt.content for prompt in prompt_set.prompts]
    ids: list[list[int]] = []
    refused: list[Problem] = []
    for prompt in prompt_set.prompts:
        try:
            ids.append(loaded.tokenizer.encode_prompt(prompt.content, feeding))
        except ExplorerError as error:
            if error.where:
                raise  # of a setting, and so of all prompts alike
            ids.append([])
            refused.append(Problem(prompt_set.path, prompt.line, error.what, error.remedy or "", fatal=True))
    first = prompt_set.prompts[0].line if contents else 1
    remarks = [
        Problem(prompt_set.path, first, remark, "as a run feeds it", fatal=False)
        for remark in loaded.tokenizer.remarks(contents, feeding)
    ]
    problems = [*remarks, *refused, *prompts_longer_than(prompt_set, [len(row) for row in ids], room)]
    return problems, [loaded.tokenizer.pieces(row) for row in ids], ids


def _path(prompt_set: PromptSet) -> str:
    try:
        return str(prompt_set.path.relative_to(paths.working_folder()))
    except ValueError:
        return str(prompt_set.path)


def _set_json(prompt_set: PromptSet) -> dict[str, Any]:
    return {
        "name": prompt_set.name,
        "format": prompt_set.format,
        "prompts": len(prompt_set.prompts),
        "factors": {name: list(prompt_set.levels(name)) for name in prompt_set.factor_names},
        "path": str(prompt_set.path),
        "problems": [_problem_json(problem) for problem in prompt_set.problems],
    }


def _problem_json(problem: Problem) -> dict[str, Any]:
    return {"line": problem.line, "what": problem.what, "remedy": problem.remedy, "fatal": problem.fatal}
