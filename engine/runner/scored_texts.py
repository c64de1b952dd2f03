"""From a session's runs to the texts that are scored, and the edits that each is scored under."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.model.forcing import GivenText
from engine.runner.rows import RowMaker
from engine.session import RunRecord, Session
from engine.session.controls import controls_of
from engine.session.effect_records import TextName


@dataclass(frozen=True)
class ScoredText:
    """A text to be scored, and the runs it is about.

    Args:
        name: which text it is.
        text: what is fed.
        owner: the run whose text it is; for a given text, and for a baseline's, the baseline's.
        runs: [setting] the run each setting belongs to.
    """

    name: TextName
    text: GivenText
    owner: RunRecord | None
    runs: tuple[RunRecord, ...]


def texts_of(
    session: Session, maker: RowMaker, names: Sequence[TextName], given: Sequence[int], *, controls: bool = False
) -> list[ScoredText]:
    """Lay out what is to be scored.

    A run whose text is its baseline's is scored on it once.

    Args:
        session: whose runs.
        maker: turns a run's number into its edits.
        names: which texts.
        given: token ids of the given text.
        controls: whether runs of control neurons are scored too.
    """
    kinds, chosen = [condition.kind for condition in session.conditions], controls_of(session)
    families: dict[tuple[int, int], list[RunRecord]] = {}
    for run in session.runs:
        if controls or kinds[run.condition] != "control":
            families.setdefault((run.prompt, run.sample), []).append(run)
    found: list[ScoredText] = []
    seen: set[int] = set()
    for (prompt, _), runs in families.items():
        ids = session.prompts[prompt].token_ids
        base = next((run for run in runs if run.condition == 0), None)
        others = tuple(run for run in runs if run.condition != 0)
        edits = {run.index: maker.row(run.index, session.resolved, chosen).edits for run in others}
        settings = tuple(edits[run.index] for run in others)
        if base is not None and base.token_ids and "baseline" in names:
            found.append(ScoredText("baseline", GivenText(ids, base.token_ids, settings), base, others))
        if "condition" in names:
            own = [run for run in others if run.token_ids and not (base and run.token_ids == base.token_ids)]
            if base is not None and "baseline" not in names:
                own = [run for run in others if run.token_ids]
            found += [
                ScoredText("condition", GivenText(ids, run.token_ids, (edits[run.index],)), run, (run,)) for run in own
            ]
        if "given" in names and given and prompt not in seen:
            found.append(ScoredText("given", GivenText(ids, tuple(given), settings), base, others))
            seen.add(prompt)
    return found
