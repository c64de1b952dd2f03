"""Two texts beside one another, cut where they are alike and where they differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

Kind = Literal["shared", "alike", "different"]
_WORD = re.compile(r"\s*\S+|\s+")
MOST_WORDS = 3000
"""Words beyond which what follows the first difference is not aligned: it would take seconds."""


@dataclass(frozen=True)
class Stretch:
    """A part of a continuation.

    Attributes:
        text: its words, with the blanks before them.
        kind: "shared" before the first difference; after it "alike" where the other has the same words, else
            "different".
    """

    text: str
    kind: Kind


def aligned(text: str, other: str, most: int = MOST_WORDS) -> tuple[list[Stretch], list[Stretch]]:
    """Cut two texts into stretches, by words; joined together again, each gives its text.

    Args:
        most: words beyond which what follows the first difference is one stretch.
    """
    a, b = _WORD.findall(text), _WORD.findall(other)
    same = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    left, right = [Stretch("".join(a[:same]), "shared")], [Stretch("".join(b[:same]), "shared")]
    a, b = a[same:], b[same:]
    if max(len(a), len(b)) > most:
        left.append(Stretch("".join(a), "different"))
        right.append(Stretch("".join(b), "different"))
    else:
        for tag, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
            kind: Kind = "alike" if tag == "equal" else "different"
            left.append(Stretch("".join(a[i:j]), kind))
            right.append(Stretch("".join(b[k:m]), kind))
    return [stretch for stretch in left if stretch.text], [stretch for stretch in right if stretch.text]
