"""What a scoring of a session's texts would cost."""

from __future__ import annotations

from collections.abc import Sequence

from engine.session import Session


def cost_of(session: Session, texts: Sequence[str], *, given: bool = False, controls: bool = False) -> int:
    """Count the tokens that a scoring would feed, prompts included, texts that both sides share once.

    Args:
        session: whose runs.
        texts: which would be scored.
        given: whether a text is given besides; it is counted as long as a continuation.
        controls: whether runs of control neurons are scored too.
    """
    kinds = [condition.kind for condition in session.conditions]
    baseline = {(run.prompt, run.sample): run.token_ids for run in session.runs if run.condition == 0}
    total = 0
    for run in session.runs:
        if kinds[run.condition] == "control" and not controls:
            continue
        base = baseline.get((run.prompt, run.sample))
        rows = int("baseline" in texts and base is not None) + int(given)
        rows += 2 * int("condition" in texts and run.condition != 0 and run.token_ids != base)
        total += rows * (run.prompt_tokens + max(len(run.token_ids), len(base or ())))
    return total
