"""A prompt set and what may be wrong with one."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from srm_explorer.engine.errors import ExplorerError, nearest

Format = Literal["plain", "grid", "csv", "jsonl", "json", "parquet", "dataset"]

Turns: TypeAlias = tuple[tuple[str, str], ...]
"""The messages of a conversation: (role, content) each."""


@dataclass(frozen=True)
class Prompt:
    """A text to be continued, with the factors it varies.

    Args:
        text: what the model reads, exactly; of a conversation its messages, as a person reads them.
        factors: name to level, both strings: ``{"core_id": "door", "type": "declarative", "level": "3"}``.
        line: where it begins in its file, from 1; 0 where there is no file. It doesn't count when prompts are compared.
        turns: the messages of a conversation, which the model's chat template renders; none of a plain text.
    """

    text: str
    factors: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    line: int = field(default=0, compare=False)
    turns: Turns = ()

    @property
    def content(self) -> str | Turns:
        """What a tokenizer makes ids of: the text, or the messages of a conversation."""
        return self.turns or self.text

    @property
    def unit(self) -> str:
        """What statistics resample: the `core_id` where there is one, else the text."""
        return self.factors.get("core_id") or self.text


@dataclass(frozen=True)
class Problem:
    """Something about one line of a prompt file; a fatal one keeps the set from being used."""

    path: Path
    line: int
    what: str
    remedy: str
    fatal: bool

    def __str__(self) -> str:
        return " ".join(f"{self.path}:{self.line}: {self.what}; {self.remedy}".split())


@dataclass(frozen=True)
class PromptSet:
    """Prompts in the order of their file, and every problem met while reading it."""

    name: str
    prompts: tuple[Prompt, ...]
    path: Path
    format: Format
    problems: tuple[Problem, ...] = ()

    @property
    def factor_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for prompt in self.prompts for name in prompt.factors))

    @property
    def sha256(self) -> str:
        """Hex digest of the texts and factors in order; comments, layout, format and name don't count."""
        content = [
            [prompt.text, sorted(prompt.factors.items()), *([prompt.turns] if prompt.turns else [])]
            for prompt in self.prompts
        ]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode("ascii")).hexdigest()

    def levels(self, factor: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(prompt.factors[factor] for prompt in self.prompts if factor in prompt.factors))

    def where(self, choice: Mapping[str, object]) -> PromptSet:
        """Keep the prompts whose every chosen factor has one of the chosen levels.

        Args:
            choice: factor to a level or a list of levels; levels are compared as strings, so 2 is "2".

        Raises:
            ExplorerError: a factor or level that this set doesn't have, or no prompt left.
        """
        if not choice:
            return self
        levels_by_factor = {factor: self._chosen_levels(factor, chosen) for factor, chosen in choice.items()}
        kept = tuple(
            p for p in self.prompts if all(p.factors.get(name) in levels for name, levels in levels_by_factor.items())
        )
        if not kept:
            chosen = " and ".join(f"{name} {' or '.join(sorted(levels))}" for name, levels in levels_by_factor.items())
            raise ExplorerError(
                f"no prompt of set {self.name!r} has {chosen}", where=str(self.path), remedy="choose fewer factors"
            )
        return replace(self, prompts=kept)

    def _chosen_levels(self, factor: str, chosen: object) -> set[str]:
        if factor not in self.factor_names:
            raise unknown(f"prompt set {self.name!r} has no factor", factor, self.factor_names, self.path)
        known = self.levels(factor)
        levels = [_as_level(level) for level in _as_list(chosen)]
        if not levels:
            raise ExplorerError(
                f"no level of factor {factor!r} is chosen",
                where=str(self.path),
                remedy=f"choose from: {', '.join(known)}; or leave the factor out",
            )
        for level in levels:
            if level not in known:
                raise unknown(f"factor {factor!r} has no level", level, known, self.path)
        return set(levels)


def prompts_longer_than(prompt_set: PromptSet, token_counts: Sequence[int], limit: int) -> list[Problem]:
    """Report the prompts of more than `limit` tokens, by [prompt] counts; ValueError unless there is one a prompt."""
    return [
        Problem(
            prompt_set.path,
            prompt.line,
            f"the prompt has {count:,} tokens and at most {limit:,} fit",
            "shorten it or take it out",
            fatal=True,
        )
        for prompt, count in zip(prompt_set.prompts, token_counts, strict=True)
        if count > limit
    ]


def alike_problems(prompt_set: PromptSet, token_ids: Sequence[Sequence[int]] | None = None) -> list[Problem]:
    """Report the prompts that are nearly another one's text, and other texts with the same tokens; neither is fatal.

    Args:
        token_ids: [prompt] as a model is fed them; None where none is asked.
    """
    # Here, since prompts are listed before the first frame, without numpy.
    from srm_explorer.engine.stats.text import near_duplicates

    prompts = prompt_set.prompts
    problems: list[Problem] = []
    lines: dict[tuple[int, ...], Prompt] = {}
    for prompt, ids in zip(prompts, token_ids or (), strict=False):
        first = lines.setdefault(tuple(ids), prompt)
        if first.content != prompt.content:
            what = f"the same tokens as on line {first.line}: {shown(prompt.text)}"
            remedy = "they are one unit, which counts twice in means; take one out unless that is meant"
            problems.append(Problem(prompt_set.path, prompt.line, what, remedy, fatal=False))
    same = {prompt.content: at for at, prompt in reversed(list(enumerate(prompts)))}
    cores = {core: at for at, prompt in reversed(list(enumerate(prompts))) if (core := prompt.factors.get("core_id"))}
    units = tuple(cores.get(prompt.factors.get("core_id", ""), same[prompt.content]) for prompt in prompts)
    for at, other in near_duplicates(tuple(prompt.text for prompt in prompts), units):
        what = f"nearly the text of line {prompts[other].line}: {shown(prompts[at].text)}"
        remedy = "they count as two units and hardly are; give them one core_id, or take one out"
        problems.append(Problem(prompt_set.path, prompts[at].line, what, remedy, fatal=False))
    return problems


def unknown(what: str, name: str, known: Sequence[str], where: object) -> ExplorerError:
    """The error for a name that is none of those known, with the nearest of them."""
    guess = nearest(name, known)
    remedy = f"choose from: {', '.join(known)}" if known else "this set has no factors: leave `where` out"
    return ExplorerError(
        f"{what} {name!r}", where=str(where), remedy=f"did you mean {guess!r}? {remedy}" if guess else remedy
    )


def _as_list(chosen: object) -> Iterable[object]:
    return chosen if isinstance(chosen, Iterable) and not isinstance(chosen, str) else [chosen]  # pyright: ignore[reportUnknownVariableType]


def _as_level(value: object) -> str:
    # JSON and TOML write truth in lower case; so do the levels read from files.
    return str(value).lower() if isinstance(value, bool) else str(value)


LARGEST_FILE = 256 * 2**20

# Split where editors do: not at U+2028, form feeds and the like, which str.splitlines() takes for line ends.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+\Z")
_UNUSABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_PACKED = {
    b"\x1f\x8b": "gzip file",
    b"PK\x03\x04": "zip file",
    b"BZh": "bzip2 file",
    b"\xfd7zXZ": "xz file",
    b"\x28\xb5\x2f\xfd": "zstd file",
}
"""What files begin with that hold others, spreadsheets among them."""
_UNPACKED = "unpack it, or save a spreadsheet as CSV, and give the file"
_AS_UTF8 = "save the file as UTF-8"
_INVISIBLE = re.compile(
    "[\r\xa0\xad\u034f\u061c\u115f\u1160\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3164\ufe00-\ufe0e\ufeff\uffa0"
    "\U000e0000-\U000e0fff]"
)
"""What nobody sees, or takes for a common space: no-break and narrow spaces, joiners, marks of direction. The selector
that makes an emoji of the character before it, U+FE0F, is seen."""


_KNOWN_ROLES = ("system", "user", "assistant", "tool")


@dataclass
class Source:
    """The lines of one file, each with its line end, and a list of problems that grows while they are read.

    Attributes:
        column: name of the column or key that holds the prompts, `prompt.text` for the key of an object within;
            None: `prompt`, else `text`.
        inside: what stands before a key to name it from the top of a file of JSON: "train.".
        nested: factors that are left out because a value of theirs is a list or an object, to the lines of those.
        rows: of a table that has no lines.
    """

    path: Path
    lines: list[str] = field(default_factory=list[str])
    problems: list[Problem] = field(default_factory=list[Problem])
    column: str | None = None
    inside: str = ""
    nested: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    rows: int = 0

    def report(self, line: int, what: str, remedy: str, *, fatal: bool = False) -> None:
        """Add a problem; the line is counted from 1 and kept within the file."""
        last = max(1, len(self.lines), self.rows)
        self.problems.append(Problem(self.path, max(1, min(line, last)), what, remedy, fatal))

    def prompt_field(self, names: Iterable[str]) -> str | None:
        """The name, as spelled here, of the field that holds the prompt: the column asked for, else as it is found."""
        if self.column is None:
            return prompt_field(names)
        spelled = {name.strip().lower(): name for name in reversed(list(names))}
        return spelled.get(self.column.strip().lower())

    def report_no_prompt(self, line: int, names: Sequence[str], noun: str, texts: Mapping[str, str]) -> None:
        """Report that no field holds a prompt, and how to name the one that does.

        Args:
            line: where the fields are named.
            names: of all fields.
            noun: what a field is called there.
            texts: what some fields hold, by name: of these the likeliest is proposed.
        """
        missing = "`prompt` or `text`" if self.column is None else shown(self.column)
        there = shown(", ".join(names), 80) if names else "none"
        what = f"no {noun} {missing}; there {'are' if len(names) != 1 else 'is'} {there}"
        guess = likely(texts) or next((name for name in names if name.strip()), "question")
        self.report(line, what, self.naming(guess), fatal=True)

    def naming(self, field: str) -> str:
        """The remedy that names a field as the one with the prompts."""
        named = shown(self.inside + field, 80)[1:-1]
        return f'name the one that holds the prompts: prompts.text = "{named}" (`prompts check --text-column`)'

    def stripped(self) -> list[tuple[int, str]]:
        """Each line with its number, without the whitespace around it."""
        return [(number, line.strip()) for number, line in enumerate(self.lines, 1)]

    def check_value(self, line: int, value: str) -> bool:
        """Report a character no tokenizer or terminal should meet; True where there is none."""
        match = _UNUSABLE.search(value)
        if match:
            self.report(line, f"the character {_code(match[0])} can't be part of a prompt", "remove it", fatal=True)
        return not match

    def check_prompts(self, prompts: list[Prompt]) -> None:
        """Report repeated texts, invisible and lost characters, templates, and a file without a single prompt."""
        first: dict[str | Turns, int] = {}
        for prompt in prompts:
            if prompt.content in first:
                self.report(
                    prompt.line,
                    f"the same text as on line {first[prompt.content]}: {shown(prompt.text)}",
                    "they are one unit, which counts twice in means; take one out unless that is meant",
                )
            first.setdefault(prompt.content, prompt.line)
            if hidden := dict.fromkeys(_INVISIBLE.findall(prompt.text)):
                named = [unicodedata.name(c, "carriage return").lower() for c in hidden]
                names = ", ".join(f"{_code(c)} {name}" for c, name in list(zip(hidden, named, strict=True))[:4])
                more = f" and {len(hidden) - 4} more" if len(hidden) > 4 else ""
                self.report(
                    prompt.line,
                    f"characters that nobody sees: {names}{more}",
                    "they change the tokens: are they meant?",
                )
            if "\ufffd" in prompt.text:
                self.report(prompt.line, "U+FFFD stands where a character was lost", "write the character again")
        roles = {role: prompt.line for prompt in reversed(prompts) for role, _ in prompt.turns}
        for role, line in roles.items():
            if role not in _KNOWN_ROLES:
                what = f"the role {shown(role)} is none of {', '.join(_KNOWN_ROLES)}"
                self.report(line, what, "it is fed as it stands: rename it unless the model's template knows it")
        if templates := [prompt for prompt in prompts if "{}" in prompt.text]:
            self.report(
                templates[0].line,
                f"{{}} in {len(templates)} of {len(prompts)} prompts: {shown(templates[0].text)}",
                "a template is fed as it stands: write what belongs there, unless the braces are meant",
            )
        if not prompts and not any(problem.fatal for problem in self.problems):
            self.report(1, "the file holds no prompt", "write one prompt a line", fatal=True)


def shown(text: str, width: int = 48) -> str:
    """A text as an error message quotes it: short, on one line, nothing a terminal would obey."""
    visible = "".join(c if c.isprintable() else _code(c) for c in text[: width + 1])
    return f"`{visible}`" if len(visible) <= width else f"`{visible[: width - 1]}…`"


def bytes_of(path: Path) -> bytes:
    """The content of a prompt file; errors are those of `check_file`."""
    check_file(path)
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


_FILES = "give the path of a .txt, .csv, .tsv, .json, .jsonl, .parquet or .arrow file"


def check_file(path: Path) -> None:
    """Refuse what is no file that could be read.

    Raises:
        ExplorerError: the file is missing, a folder, too large or not readable.
    """
    remedy = _FILES
    try:
        if path.is_dir():
            # A data set that was saved to disk, whose other shards are read with the first.
            saved = next((one for one in sorted(path.glob("**/*.arrow"))), None)
            remedy = f"give the path of a file in it: {saved}" if saved is not None else remedy
            raise ExplorerError("a prompt set is a file, this is a folder", where=str(path), remedy=remedy)
        size = path.stat().st_size
        if not path.is_file():
            raise ExplorerError("this is no regular file", where=str(path), remedy="save the prompts to a file first")
        if size > LARGEST_FILE:
            raise ExplorerError(f"a prompt set of {size / 1e9:.1f} GB is too large", where=str(path), remedy=remedy)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError | ValueError) -> ExplorerError:
    if isinstance(error, FileNotFoundError):
        return ExplorerError("there is no such prompt file", where=str(path), remedy=_FILES)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ExplorerError(f"the prompt file can't be read ({reason})", where=str(path), remedy=_FILES)


def decode_source(path: Path, data: bytes) -> Source:
    """Take a file's content as UTF-8 text; undecodable bytes and control characters become problems."""
    source = Source(path)
    if packed := next((kind for mark, kind in _PACKED.items() if data.startswith(mark)), None):
        source.report(1, f"this is a {packed}, not text", f"{_UNPACKED} with the prompts", fatal=True)
        return source
    if data[257:262] == b"ustar":
        source.report(1, "this is a tar file, not text", f"{_UNPACKED} with the prompts", fatal=True)
        return source
    if data.startswith(_WIDE_MARKS):
        source.report(1, f"byte 1 (0x{data[0]:02x}) begins UTF-16 or UTF-32 text, not UTF-8", _AS_UTF8, fatal=True)
        return source
    if _is_wide(data):
        source.report(1, "this looks like UTF-16 text, not UTF-8", _AS_UTF8, fatal=True)
        return source
    try:
        source.lines = _LINE.findall(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        if b"\0" in data:
            what = f"byte {error.start + 1} (0x{data[error.start]:02x}): this is a binary file, not text"
            source.report(1, what, "give a file of UTF-8 text", fatal=True)
            return source
        source.lines = _LINE.findall(data.decode("utf-8-sig", errors="surrogateescape"))
        for number, line in enumerate(source.lines, 1):
            if lost := re.search("[\udc80-\udcff]", line):
                column = len(line[: lost.start()].encode("utf-8", "surrogateescape")) + 1
                what = f"byte {column} of the line (0x{ord(lost[0]) - 0xDC00:02x}) is not UTF-8"
                source.report(number, what, _AS_UTF8, fatal=True)
        source.lines = [re.sub("[\udc80-\udcff]", "?", line) for line in source.lines]
    for number, line in enumerate(source.lines, 1):
        source.check_value(number, line)
    return source


def _is_wide(data: bytes) -> bool:
    """Whether there are zeros at every other byte, and there alone, as UTF-16 of common letters has, without a mark."""
    even, odd = data[:1_000:2], data[1:1_000:2]
    return min(even.count(0), odd.count(0)) == 0 and max(even.count(0), odd.count(0)) * 2 > len(even)


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"


def prompt_field(names: Iterable[str]) -> str | None:
    """The name, as spelled here, of the field that holds the prompt: `prompt`, else `text`, in any case."""
    spelled = {name.strip().lower(): name for name in reversed(list(names))}
    return spelled.get("prompt", spelled.get("text"))


def words(text: str) -> int:
    """How much a text looks like a prompt: 2 as a sentence, 1 as words, 0 as one word."""
    count = len(text.split())
    return (count >= 5) + (count >= 2)


def likely(texts: Mapping[str, str]) -> str | None:
    """The field that looks most like prompts: the first whose text is a sentence, has words, is there; None of none."""
    return max(texts, key=lambda name: words(texts[name]), default=None)


def factor_name(name: str) -> str:
    """A field's name as a factor; `core_id` is known in any case, since statistics look for it."""
    return "core_id" if name.strip().lower() == "core_id" else name.strip()


def turns_text(turns: Turns) -> str:
    """A conversation as a person reads it: a single message of the user as it is, else each with its role."""
    if len(turns) == 1 and turns[0][0] == "user":
        return turns[0][1]
    return "\n".join(f"{role}: {content}" for role, content in turns)


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
