"""Sentences from templates with slots."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence


def listed(text: str) -> list[str]:
    """Split alternatives written as one text, at bars if it has any, else at spaces."""
    return text.split("|") if "|" in text else text.split()


SLOT = re.compile(r"\{(a )?(\w+)\}")
ONES = listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
TENS = listed("zero ten twenty thirty forty fifty sixty seventy eighty ninety")
ORDINALS = listed(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth twenty-first twenty-second twenty-third "
    "twenty-fourth twenty-fifth twenty-sixth twenty-seventh twenty-eighth"
)


def article(noun: str) -> str:
    """Put the right indefinite article before a noun phrase."""
    silent_or_vowel = re.match(r"(?:[aeio]|u(?!ni|s[aeiu]|t[ei])|hour|honest|heir)", noun)
    return f"{'an' if silent_or_vowel else 'a'} {noun}"


def number(value: int) -> str:
    """Spell a whole number below one thousand."""
    if value < 20:
        return ONES[value]
    if value < 100:
        return TENS[value // 10] + (f"-{ONES[value % 10]}" if value % 10 else "")
    rest = f" and {number(value % 100)}" if value % 100 else ""
    return f"{ONES[value // 100]} hundred{rest}"


def sentence(text: str) -> str:
    """Begin each sentence of a text with a capital and collapse its spaces."""
    text = " ".join(text.split())
    return re.sub(r"(^\"?|[.?!] \"?|[.]\" \")([a-z])", lambda found: found[1] + found[2].upper(), text)


class Grammar:
    """Rules that replace `{slot}` by one of its alternatives, and `{a slot}` with an article before it."""

    def __init__(self, rules: Mapping[str, Sequence[str]]) -> None:
        self.rules = rules

    def write(self, template: str, bound: Mapping[str, str], rng: random.Random) -> str:
        """Fill a template's slots, those in `bound` as given and the others by choice, until none is left."""
        while found := SLOT.search(template):
            words = bound[found[2]] if found[2] in bound else rng.choice(self.rules[found[2]])
            if found[1]:
                # The article depends on the first word, so slots inside are filled before it is chosen.
                words = article(self.write(words, bound, rng)) if "{" in words else article(words)
            template = template[: found.start()] + words + template[found.end() :]
        return sentence(template)
