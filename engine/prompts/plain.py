"""Plain prompt files: one prompt a line."""

from __future__ import annotations

from engine.prompts.prompt_set import Prompt
from engine.prompts.source import Source


def parse_plain(source: Source) -> list[Prompt]:
    """Read one prompt a line; a line that starts with `#` is a comment.

    Whitespace around a prompt is removed, because a space nobody sees changes the tokens; CSV and JSONL keep it.
    """
    prompts: list[Prompt] = []
    for number, text in source.stripped():
        if not text:
            source.report(number, "the line is blank", "it is skipped")
        elif not text.startswith("#"):
            if source.lines[number - 1].rstrip("\r\n") != text:
                what = "whitespace around the prompt is removed"
                source.report(number, what, "to keep it, write the set as CSV or JSONL")
            prompts.append(Prompt(text, line=number))
    return prompts
