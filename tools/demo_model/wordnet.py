"""WordNet's glosses, examples and common words, read from Debian's `wordnet-base`."""

from __future__ import annotations

import itertools
import random
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PARTS = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}
REMEDY = (
    "run `apt-get download wordnet-base && dpkg-deb -x wordnet-base_*.deb FOLDER` and pass FOLDER/usr/share/wordnet"
)


@dataclass(frozen=True)
class Entry:
    """One synset: its first word, part of speech, definition and example sentences."""

    word: str
    part: str
    definition: str
    examples: tuple[str, ...]

    def text(self) -> str:
        """Write the entry as one line."""
        examples = " ".join(_finished(example) for example in self.examples)
        return f"{self.word} ({self.part}): {self.definition}. {examples}".strip()


def _finished(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text[-1:] in ".?!" else f"{text}."


def fetch(scratch: Path) -> Path:
    """Download and unpack the package into a scratch folder.

    Returns:
        The folder that holds data.noun and its siblings.

    Raises:
        SystemExit: the package could not be fetched; the text says how to do it by hand.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SystemExit(f"WordNet is not here and this system has no apt-get; on Debian {REMEDY}")
    if not list(scratch.glob("wordnet-base_*.deb")):
        subprocess.run(["apt-get", "download", "wordnet-base"], cwd=scratch, check=False)
    packages = sorted(scratch.glob("wordnet-base_*.deb"))
    if not packages:
        raise SystemExit(f"apt-get could not download wordnet-base; {REMEDY}")
    subprocess.run(["dpkg-deb", "-x", str(packages[-1]), str(scratch)], check=True)
    return scratch / "usr" / "share" / "wordnet"


def licence(folder: Path) -> str:
    """Read the licence from the numbered lines that every database file begins with."""
    with (folder / "data.noun").open(encoding="utf-8") as lines:
        numbered = [line[4:].strip() for line in itertools.takewhile(lambda line: line.startswith("  "), lines)]
    return "\n".join(numbered).strip()


def paragraphs(folder: Path, rng: random.Random) -> list[str]:
    """Join one to six neighbouring entries to a document; neighbours in WordNet's files are related in meaning."""
    found, rest = [], [entry.text() for entry in entries(folder)]
    while rest:
        count = rng.randint(1, 6)
        found.append("\n".join(rest[:count]))
        rest = rest[count:]
    return found


def entries(folder: Path) -> list[Entry]:
    """Read every synset, in file order, once per distinct definition."""
    found: dict[str, Entry] = {}
    for suffix, part in PARTS.items():
        path = folder / f"data.{suffix}"
        if not path.is_file():
            raise SystemExit(f"{path} is not there; {REMEDY}")
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("  ") or " | " not in line:
                continue
            data, gloss = line.split(" | ", 1)
            # An adjective's word may carry a syntactic marker: "afloat(p)".
            word = re.sub(r"\(\w+\)$", "", data.split()[4]).replace("_", " ")
            examples = tuple(text.strip() for text in re.findall(r'"([^"]+)"', gloss) if len(text.split()) > 1)
            definition = re.split(r'[;:,]?\s*"', gloss.strip(), maxsplit=1)[0].strip(" ;:.")
            if definition:
                found.setdefault(definition, Entry(word, part, definition, examples))
    return list(found.values())


def common_artifacts(folder: Path, at_least: int = 4) -> list[str]:
    """List the words for made things whose first sense was tagged at least so often in WordNet's texts."""
    words: set[str] = set()
    for line in (folder / "cntlist.rev").read_text(encoding="utf-8").splitlines():
        key, sense, count = line.split()
        word, address = key.split("%")
        # In a sense key, "1:06:" is a noun of the lexical file noun.artifact.
        is_artifact = address.startswith("1:06:") and sense == "1"
        if is_artifact and int(count) >= at_least and re.fullmatch(r"[a-z]{3,12}", word):
            words.add(word)
    return sorted(words)
