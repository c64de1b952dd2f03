"""Exported texts come back as they were, with columns for what tells them apart."""

from __future__ import annotations

import csv
import dataclasses
import io

import pytest

from srm_explorer.engine.session import Session, load_session
from srm_explorer.engine.session.export import texts_csv
from tests.example import EXAMPLE


def columns(session: Session) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(texts_csv(session).decode(), newline="")))


@pytest.mark.parametrize("having", [(), (0,), (0, 1, 2), None])
def test_prompts_are_numbered_where_not_every_one_has_a_core(having: tuple[int, ...] | None) -> None:
    session = load_session(EXAMPLE)
    cored = range(len(session.prompts)) if having is None else having
    prompts = tuple(
        dataclasses.replace(prompt, factors={"core_id": f"c{at}"} if at in cored else {})
        for at, prompt in enumerate(session.prompts)
    )
    rows = columns(session.changed(prompts=prompts))
    assert len(rows) == len(session.runs)
    for row, run in zip(rows, session.runs, strict=True):
        assert row.get("prompt_id") == (None if having is None else f"prompt_{run.prompt}")
        assert row.get("core_id", "") == (f"c{run.prompt}" if run.prompt in cored else "")
        assert (row["prompt"], row["output"]) == (prompts[run.prompt].text, run.text)
