"""A prompt file as lines of text, and the problems found on the way."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import ExplorerError
from engine.prompts.prompt_set import Problem, Prompt

LARGEST_FILE = 256 * 2**20

# Split where editors do: not at U+2028, form feeds and the like, which str.splitlines() takes for line ends.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+\Z")
_UNUSABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_AS_UTF8 = "save the file as UTF-8"


@dataclass
class Source:
    """The lines of one file, and a list of problems that grows while they are read.

    Args:
        path: where they come from.
        lines: each with the line end it has.
    """

    path: Path
    lines: list[str] = field(default_factory=list[str])
    problems: list[Problem] = field(default_factory=list[Problem])

    def report(self, line: int, what: str, remedy: str, *, fatal: bool = False) -> None:
        """Add a problem; the line is counted from 1 and kept within the file."""
        self.problems.append(Problem(self.path, max(1, min(line, len(self.lines))), what, remedy, fatal))

    def stripped(self) -> list[tuple[int, str]]:
        """Each line with its number, without the whitespace around it."""
        return [(number, line.strip()) for number, line in enumerate(self.lines, 1)]

    def check_value(self, line: int, value: str) -> bool:
        """Report a character no tokenizer or terminal should meet; True where there is none."""
        found = _UNUSABLE.search(value)
        if found:
            self.report(line, f"the character {_code(found[0])} can't be part of a prompt", "remove it", fatal=True)
        return not found

    def check_prompts(self, prompts: list[Prompt]) -> None:
        """Report repeated texts, lost characters, and a file without a single prompt."""
        first: dict[str, int] = {}
        for prompt in prompts:
            if prompt.text in first:
                self.report(
                    prompt.line,
                    f"the same text as on line {first[prompt.text]}: {shown(prompt.text)}",
                    "it counts twice; take one out unless that is meant",
                )
            first.setdefault(prompt.text, prompt.line)
            if "\ufffd" in prompt.text:
                self.report(prompt.line, "U+FFFD stands where a character was lost", "write the character again")
        if not prompts and not any(problem.fatal for problem in self.problems):
            self.report(1, "the file holds no prompt", "write one prompt a line", fatal=True)


def read_source(path: Path) -> Source:
    """Read a file as UTF-8 text; undecodable bytes and control characters become problems.

    Raises:
        ExplorerError: the file is missing, a folder, too large or not readable.
    """
    return decode_source(path, bytes_of(path))


def shown(text: str, width: int = 48) -> str:
    """A text as an error message quotes it: short, on one line, nothing a terminal would obey."""
    visible = "".join(c if c.isprintable() else _code(c) for c in text[: width + 1])
    return f"`{visible}`" if len(visible) <= width else f"`{visible[: width - 1]}…`"


def bytes_of(path: Path) -> bytes:
    """The content of a prompt file; errors are those of `read_source`."""
    remedy = "give the path of a .txt, .csv, .tsv or .jsonl file"
    try:
        if path.is_dir():
            raise ExplorerError("a prompt set is a file, this is a folder", where=str(path), remedy=remedy)
        size = path.stat().st_size
        if not path.is_file():
            raise ExplorerError("this is no regular file", where=str(path), remedy="save the prompts to a file first")
        if size > LARGEST_FILE:
            raise ExplorerError(f"a prompt set of {size / 1e9:.1f} GB is too large", where=str(path), remedy=remedy)
        return path.read_bytes()
    except FileNotFoundError:
        raise ExplorerError("there is no such prompt file", where=str(path), remedy=remedy) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ExplorerError(f"the prompt file can't be read ({reason})", where=str(path), remedy=remedy) from None


def decode_source(path: Path, data: bytes) -> Source:
    """Take a file's content as UTF-8 text; undecodable bytes and control characters become problems."""
    source = Source(path)
    if data.startswith(_WIDE_MARKS):
        source.report(1, f"byte 1 (0x{data[0]:02x}) begins UTF-16 or UTF-32 text, not UTF-8", _AS_UTF8, fatal=True)
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
                place = len(line[: lost.start()].encode("utf-8", "surrogateescape")) + 1
                what = f"byte {place} of the line (0x{ord(lost[0]) - 0xDC00:02x}) is not UTF-8"
                source.report(number, what, _AS_UTF8, fatal=True)
        source.lines = [re.sub("[\udc80-\udcff]", "?", line) for line in source.lines]
    for number, line in enumerate(source.lines, 1):
        source.check_value(number, line)
    return source


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"
