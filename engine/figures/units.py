"""What statistics resample: a session's units, and the prompt sets they are stratified by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.session import Session

UNIT_FACTOR = "core_id"


@dataclass(frozen=True, eq=False)
class Units:
    """The independent pieces of a session; everything else is nested in them.

    Attributes:
        names: [unit] `core_id` where prompts have one, else the prompt's text.
        of_run: [run] index of the unit each run belongs to.
        stratum: [unit] index of the prompt set it belongs to.
    """

    names: tuple[str, ...]
    of_run: NDArray[np.int64]
    stratum: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)


def units_of(session: Session) -> Units:
    """Find the units of a session's runs: a prompt's `core_id` within its set, else the prompt itself."""
    keys: dict[tuple[str, str, int], int] = {}
    sets: dict[str, int] = {}
    of_prompt: list[int] = []
    for index, prompt in enumerate(session.prompts):
        core = prompt.factors.get(UNIT_FACTOR)
        key = (prompt.set, prompt.text, index) if core is None else (prompt.set, core, -1)
        sets.setdefault(prompt.set, len(sets))
        of_prompt.append(keys.setdefault(key, len(keys)))
    return Units(
        names=tuple(name for _, name, _ in keys),
        of_run=np.array([of_prompt[run.prompt] for run in session.runs], np.int64),
        stratum=np.array([sets[name] for name, _, _ in keys], np.int64),
    )
