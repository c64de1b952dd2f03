"""What a CSV row and a JSON object share: which field is the prompt, and what a factor is called."""

from __future__ import annotations

from collections.abc import Iterable

from engine.prompts.prompt_set import Prompt
from engine.prompts.source import Source


def prompt_field(names: Iterable[str]) -> str | None:
    """The name, as spelled here, of the field that holds the prompt: `prompt`, else `text`, in any case."""
    spelled = {name.strip().lower(): name for name in reversed(list(names))}
    return spelled.get("prompt", spelled.get("text"))


def factor_name(name: str) -> str:
    """A field's name as a factor; `core_id` is known in any case, since statistics look for it."""
    return "core_id" if name.strip().lower() == "core_id" else name.strip()


def prompt_of(source: Source, line: int, text: str, factors: dict[str, str]) -> Prompt | None:
    """The prompt of one record, its text as written; None, with a report, where it is empty."""
    if not text.strip():
        source.report(line, "the prompt is empty", "it is skipped")
        return None
    if text != text.strip():
        source.report(
            line, "the prompt begins or ends with whitespace", "it is kept and changes the tokens: is it meant?"
        )
    return Prompt(text, factors, line)
