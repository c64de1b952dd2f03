"""Documents of the demo model: WordNet entries and generated paragraphs, split by document."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from demo_model import wordnet
from demo_model.framing import framed
from demo_model.grammar import listed
from demo_model.reasoning import reasoning
from demo_model.vocabulary import WORDS
from demo_model.watching import scene, story

SHARES = {"watching": 0.5, "framing": 0.18, "reasoning": 0.32}
# Mass nouns, plurals and drastic words that read badly as one everyday thing.
UNWANTED = frozenset(
    listed(
        "ammunition ammo architecture art artillery attire armor arms bedding beads brakes brothel clothes clothing "
        "closeup colors cosmetics drugstore drygoods equipment etcetera furnishings furniture goods headquarters "
        "jewelry luggage merchandise shoes trousers weaponry works scissors stairs pants premises quarters glasses "
        "gallows rubber plumbing traffic transport shelf knife drug gun bomb bomber steps dice railroad tubing textile "
        "grenade rifle pistol revolver missile musket bayonet sword opium pill weapon firearm machinery stereo sonar "
        "radar output silk tobacco soap mulch music painting realism loading release recording housing works"
    )
)


@dataclass(frozen=True)
class Corpus:
    """Documents by split ("train", "tune" for the trigram's weights, "heldout") and part ("wordnet", "generated")."""

    train: dict[str, list[str]]
    tune: dict[str, list[str]]
    heldout: dict[str, list[str]]


def generated(folder: Path, count: int, seed: int) -> list[str]:
    """Write distinct paragraphs about looking, reasoning and certainty."""
    rng = random.Random(seed)
    words = WORDS | {"artifact": [noun for noun in wordnet.common_artifacts(folder) if noun not in UNWANTED]}
    found: dict[str, None] = {}
    while len(found) < count:
        theme = rng.choices(list(SHARES), list(SHARES.values()))[0]
        if theme == "watching":
            text = story(rng) if rng.random() < 0.85 else scene(rng)
        else:
            text = framed(rng) if theme == "framing" else reasoning(rng, words)
        found.setdefault(text)
    return list(found)


def build(folder: Path, generated_count: int, seed: int, each: int = 800) -> Corpus:
    """Read, generate, deduplicate, shuffle and split.

    Args:
        folder: WordNet's database files.
        generated_count: paragraphs to generate.
        seed: of generation and shuffling.
        each: held-out documents per part; a third as many tune the trigram.
    """
    parts = {
        "wordnet": wordnet.paragraphs(folder, random.Random(seed)),
        "generated": generated(folder, generated_count, seed),
    }
    corpus = Corpus({}, {}, {})
    for name, documents in parts.items():
        random.Random(seed).shuffle(documents)
        corpus.heldout[name] = documents[:each]
        corpus.tune[name] = documents[each : each + each // 3]
        corpus.train[name] = documents[each + each // 3 :]
    return corpus
