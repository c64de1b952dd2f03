"""Which texts a study of neurons reads: prompt sets, a session's prompts, or what its baseline wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine import paths
from engine.errors import ExplorerError
from engine.model.load import LoadedModel
from engine.model.walk import ReadText
from engine.prompts import is_path, load_prompt_set
from engine.session import Session

Kind = Literal["prompts", "generated"]
"""Positions that count: those of the prompts, or those of the continuations that the baseline wrote."""


@dataclass(frozen=True)
class Texts:
    """Texts to be read.

    Attributes:
        read: the texts, by token ids.
        sets: [text] the prompt set each came from.
        runs: [text] index of the baseline run it belongs to, among all planned ones; None where it belongs to none.
        caption: what they are, for a reader: "20 prompts of reasoning · 273 positions".
    """

    read: tuple[ReadText, ...]
    sets: tuple[str, ...]
    runs: tuple[int | None, ...]
    caption: str

    @property
    def positions(self) -> int:
        """Positions that count, over all texts."""
        return sum(text.counted for text in self.read)


def texts_for(
    model: LoadedModel,
    session: Session | None,
    sets: Sequence[str],
    kind: Kind = "prompts",
    *,
    skip: int = 0,
    prepend_bos: bool | Literal["auto"] = "auto",
) -> Texts:
    """Gather texts.

    Args:
        model: its tokenizer splits prompt sets; a session's prompts are taken as they were fed.
        session: whose prompts are read where no set, or its own sets, are named.
        sets: names or paths of prompt sets, relative to the working folder.
        kind: what is counted; continuations are those of the session's baseline runs.
        skip: positions at the beginning of each text that don't count, beside a BOS, which never does.
        prepend_bos: for prompt sets, without a session.

    Raises:
        ExplorerError: no text, a prompt that has no tokens, an unknown set, or no baseline run to read.
    """
    if kind == "generated":
        return _generated(session, skip)
    found: list[tuple[str, tuple[int, ...], int | None]] = []
    if session is not None and (not sets or list(sets) == list(session.spec.prompts.sets)):
        runs = {run.prompt: run.index for run in reversed(session.runs) if run.condition == 0}
        found = [(one.set, one.token_ids, runs.get(place)) for place, one in enumerate(session.prompts)]
    else:
        wanted = prepend_bos if session is None else session.spec.prompts.prepend_bos
        for name in sets:
            loaded = load_prompt_set(name, folders=paths.prompt_folders(), base=Path.cwd())
            found += [(loaded.name, tuple(model.tokenizer.encode(one.text, wanted)), None) for one in loaded.prompts]
    bos: object = model.tokenizer.raw.bos_token_id
    kept = [one for one in found if one[1]]
    return _checked(
        tuple(ReadText(ids, skip + int(ids[0] == bos)) for _, ids, _ in kept),
        tuple(name for name, _, _ in kept),
        tuple(run for _, _, run in kept),
        f"prompts of {', '.join(dict.fromkeys(name for name, _, _ in kept))}",
        skip,
    )


def absolute_sets(names: Sequence[str], base: Path) -> list[str]:
    """Prompt sets with relative paths that lie beside an experiment written in full; others as they are."""
    return [str((base / name).absolute()) if is_path(name) and (base / name).is_file() else name for name in names]


def _generated(session: Session | None, skip: int) -> Texts:
    if session is None:
        raise ExplorerError("only a session has written texts", remedy="name a session, or read prompts")
    runs = [run for run in session.runs if run.condition == 0 and run.token_ids]
    return _checked(
        tuple(
            ReadText((*session.prompts[run.prompt].token_ids, *run.token_ids), run.prompt_tokens + skip) for run in runs
        ),
        tuple(session.prompts[run.prompt].set for run in runs),
        tuple(run.index for run in runs),
        f"baseline continuations of session {session.name}",
        skip,
    )


def _checked(
    read: tuple[ReadText, ...], sets: tuple[str, ...], runs: tuple[int | None, ...], noun: str, skip: int
) -> Texts:
    positions = sum(text.counted for text in read)
    if not positions:
        what = f"there are no {noun.split(' of ')[0]} to read"
        raise ExplorerError(what, remedy="name a prompt set, or a session that has some, or skip fewer positions")
    without = f", the first {skip} of each left out" if skip else ""
    return Texts(read, sets, runs, f"{len(read):,} {noun} · {positions:,} positions{without}")
