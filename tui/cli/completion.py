"""`completion`: what a shell may put in place of the word at its cursor; the shells' scripts call it at every tab.

The program is called as the shell would run it, with the variable `ASKED` set to the shell's name: bash gives its line
up to the cursor and what it breaks words at, the others give the words before the cursor and the one that is typed.
What may stand there comes back a line each, from zsh and fish with a tab and its meaning.
"""

from __future__ import annotations

import functools
import os
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import sessions_in
from srm_explorer.tui.cli.output import say
from srm_explorer.tui.settings import CHOICES, NAMES, THEMES

Shell = Literal["bash", "zsh", "fish"]

ASKED = "_SRM_EXPLORER_COMPLETE"

_BASH = """\
# For ~/.bashrc: eval "$(srm-explorer completion bash)"
_srm_explorer_complete() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <(_SRM_EXPLORER_COMPLETE=bash "${1/#\\~/$HOME}" "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/.,] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o default -F _srm_explorer_complete srm-explorer
"""
_ZSH = """\
#compdef srm-explorer
# For ~/.zshrc, after compinit: eval "$(srm-explorer completion zsh)"
_srm_explorer() {
    local line value typed=$PREFIX program=${(Q)words[1]}
    local -a before=("${(@Q)words[2,CURRENT-1]}") whole begun
    [[ -n $compstate[quote] ]] || typed=${(Q)PREFIX}
    for line in "${(@f)$(_SRM_EXPLORER_COMPLETE=zsh ${~program} "${before[@]}" "$typed" 2>/dev/null)}"; do
        value=${line%%$'\\t'*}
        [[ -n $value ]] || continue
        [[ $line == *$'\\t'?* ]] && line="${value//:/\\\\:}:${line#*$'\\t'}" || line=${value//:/\\\\:}
        [[ $value == *[=/.,] ]] && begun+=("$line") || whole+=("$line")
    done
    (( $#whole + $#begun )) || { _files; return }
    (( $#whole )) && _describe -t values value whole
    (( $#begun )) && _describe -t values value begun -S ''
}
if [[ $funcstack[1] == _srm_explorer ]]; then
    _srm_explorer "$@"
else
    compdef _srm_explorer srm-explorer
fi
"""
_FISH = """\
# For ~/.config/fish/completions/srm-explorer.fish: srm-explorer completion fish > that file
function __srm_explorer_complete
    set -l before (commandline -opc)
    set -l program (string replace -r '^~(?=/)' $HOME -- $before[1])
    set -e before[1]
    set -l values (_SRM_EXPLORER_COMPLETE=fish $program $before (commandline -ct) 2>/dev/null)
    if test (count $values) -gt 0
        string join \\n -- $values
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c srm-explorer -f -a '(__srm_explorer_complete)'
"""
_SCRIPTS: dict[str, str] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

_YES_NO = ("true", "false")
_PLACES = ("all", "prompt", "last", "predicting", "generated")
SET_KEYS: dict[str, tuple[str, ...]] = {
    "stats": (),
    "grid": _YES_NO,
    "model.name": (),
    "model.device": ("auto", "cpu", "cuda", "cuda:0-1", "mps", "cpu+disk"),
    "model.dtype": ("float32", "float64", "float16", "bfloat16"),
    "model.revision": (),
    "model.tf32": _YES_NO,
    "prompts.sets": (),
    "prompts.confirm": (),
    "prompts.where": (),
    "prompts.omit": (),
    "prompts.prepend_bos": ("auto", "once", "true", "false"),
    "prompts.limit": (),
    "prompts.text": (),
    "prompts.chat_template": _YES_NO,
    "prompts.system": (),
    "interventions.0.site": (),
    "interventions.0.neurons": (),
    "interventions.0.heads": (),
    "interventions.0.coordinates": (),
    "interventions.0.direction": (),
    "interventions.0.op": ("clamp", "add", "scale", "zero", "mean", "steer", "project_out", "patch"),
    "interventions.0.values": (),
    "interventions.0.unit": ("raw", "sigma", "quantile", "norm"),
    "interventions.0.from": (),
    "interventions.0.positions": _PLACES,
    "interventions.0.background": _YES_NO,
    "generation.tokens": (),
    "generation.mode": ("greedy", "sample"),
    "generation.temperature": (),
    "generation.top_k": (),
    "generation.top_p": (),
    "generation.samples": (),
    "generation.seed": (),
    "generation.stop_at_eos": _YES_NO,
    "capture.sites": (),
    "capture.reduce": ("mean", "tokens", "last"),
    "capture.positions": _PLACES,
    "capture.residual": ("auto", "raw", "centred"),
    "planes.0.site": (),
    "planes.0.a": (),
    "planes.0.b": (),
    "spotlight.angles": (),
    "spotlight.thresholds": (),
    "controls.neurons": (),
    "controls.seed": (),
    "controls.chosen": ("unknown", "before", "after"),
    "controls.candidates": (),
    "survey.neurons": (),
    "survey.layers": (),
    "survey.depth": ("forced", "free"),
    "survey.score": ("generated", "prompts"),
    "survey.then": (),
    "survey.vectors": (),
    "execution.executor": ("local", "ray"),
    "execution.actors": (),
    "execution.address": ("auto",),
    "execution.rows": (),
    "analysis.family": (),
    "analysis.tests": ("difference", "separation", "controls"),
    "analysis.groups": (),
    "analysis.planes": (),
}
"""Every key of an experiment, as `--set` names it, with the words it may hold; a test compares them with the models,
which take longer to load than a shell may wait."""


@dataclass
class Typed:
    """A command line up to the cursor.

    Attributes:
        words: what stands on it without a name.
        options: by the first name of an option, what it was given.
        word: what is typed of the word at the cursor.
    """

    words: list[str] = field(default_factory=list[str])
    options: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    word: str = ""


Values = Iterator[str]


def completion_command(shell: Shell) -> None:
    """Print the script that a shell reads to complete what is typed after `srm-explorer`."""
    say(_SCRIPTS[shell].rstrip("\n"))


def answer(shell: str, arguments: Sequence[str]) -> int:
    """Print what may stand at the cursor; nothing, and status 1, where that cannot be known.

    Args:
        shell: which one asks.
        arguments: from bash the line up to the cursor, and the characters that it breaks words at; from others the
            words after the program's name, the last of them the one at the cursor, as far as it is typed.
    """
    try:
        if shell == "bash":
            words, cut, quoted = _split(arguments[0], arguments[1])
            while words and re.match(r"[A-Za-z_]\w*=", words[0]):
                del words[0]
            found = completions(words[1:])
            lines = [quoted(value[cut:]) for value, _ in found]
        else:
            words = list(arguments)
            if shell == "fish":
                words[-1] = _split(words[-1], "")[0][0]
            lines = [f"{value}\t{meaning}" if meaning else value for value, meaning in completions(words)]
    except (ExplorerError, OSError, ValueError, IndexError):
        return 1
    say(*lines)
    return 0


def completions(words: Sequence[str]) -> list[tuple[str, str]]:
    """What may stand in place of the last of some words, with its meaning where it has one.

    Args:
        words: those after the program's name, the last one at the cursor and perhaps empty.
    """
    command = _program()
    typed = Typed(word=words[-1])
    only_words = False
    waiting: list[Any] = []
    for word in words[:-1]:
        if waiting:
            typed.options.setdefault(waiting.pop().opts[0], []).append(word)
        elif word == "--" and not only_words:
            only_words = True
        elif word.startswith("-") and word != "-" and not only_words:
            name, equals, value = word.partition("=")
            option = _options(command).get(name)
            if option is not None:
                waiting = [] if equals or option.is_flag else [option] * option.nargs
                typed.options.setdefault(option.opts[0], []).extend([value] if equals else [])
        elif word in getattr(command, "commands", {}) and not typed.words:
            command, typed = command.commands[word], Typed(word=typed.word)
        else:
            typed.words.append(word)
    if waiting:
        return _fitting(_values(command, waiting[0], typed), typed.word)
    if typed.word.startswith("-") and not only_words:
        name, equals, value = typed.word.partition("=")
        option = _options(command).get(name)
        if equals and option is not None and not option.is_flag:
            typed.word = value
            return [(f"{name}={text}", told) for text, told in _fitting(_values(command, option, typed), value)]
        return _fitting(_option_names(command), typed.word)
    argument = _argument(command, len(typed.words))
    found = [
        (name, other.get_short_help_str(80))
        for name, other in getattr(command, "commands", {}).items()
        if not typed.words and not other.hidden
    ]
    if argument is not None:
        found += _values(command, argument, typed)
    return _fitting(found, typed.word) or _fitting(_option_names(command) if not typed.word else [], "")


@functools.cache
def _program() -> Any:
    # Who only wants the script does not wait for the commands.
    from typer.main import get_command

    from srm_explorer.tui.cli.app import app

    return get_command(app)


def _options(command: Any) -> dict[str, Any]:
    """A command's options by each of their names."""
    options = [param for param in command.params if param.param_type_name == "option"]
    return {name: option for option in options for name in (*option.opts, *option.secondary_opts)}


def _option_names(command: Any) -> list[tuple[str, str]]:
    names = [(name, option.help or "") for name, option in _options(command).items() if not option.hidden]
    return [*names, ("--help", "Show what it takes.")]


def _argument(command: Any, place: int) -> Any | None:
    """The argument that the word of a number stands for; the last one may take all that follow."""
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    if place < len(arguments):
        return arguments[place]
    return arguments[-1] if arguments and arguments[-1].nargs < 0 else None


def _values(command: Any, param: Any, typed: Typed) -> list[tuple[str, str]]:
    """What an argument or option of a command may be, by its type, or by what stands for it in the help."""
    kind = typing.get_type_hints(command.callback).get(param.name)
    if words := _literals(kind):
        return [(word, "") for word in words]
    if source := source_of(command.name, param, kind):
        return [(value, "") for value in source(typed)]
    return []


def source_of(command: str, param: Any, kind: object) -> Callable[[Typed], Values] | None:
    """What tells the values of a parameter that has no fixed ones; None where only its user can know them."""
    for name in (f"{command} {param.metavar}", param.metavar, *param.opts):
        if name in SOURCES:
            return SOURCES[name]
    return _files() if "Path" in str(kind) else None


def _literals(kind: object) -> tuple[str, ...]:
    if typing.get_origin(kind) is Literal:
        return tuple(str(word) for word in typing.get_args(kind))
    return next((words for part in typing.get_args(kind) if (words := _literals(part))), ())


def _fitting(found: Iterable[tuple[str, str]], word: str) -> list[tuple[str, str]]:
    """Those that begin with what is typed, each once; nothing that a shell would take for several lines."""
    fits = {value: told for value, told in found if value.startswith(word) and value.isprintable()}
    return [(value, " ".join(told.split())) for value, told in fits.items()]


def _files(*endings: str) -> Callable[[Typed], Values]:
    """Files of some endings, any by default, and folders; those of a home folder are left to the shell."""

    def listed(typed: Typed) -> Values:
        folder, slash, _ = typed.word.rpartition("/")
        if typed.word.startswith(("~", "$")):
            return
        for entry in sorted(Path(f"{folder}{slash}" or ".").iterdir()):
            if entry.is_dir():
                yield f"{folder}{slash}{entry.name}/"
            elif not endings or entry.name.endswith(endings):
                yield f"{folder}{slash}{entry.name}"

    return listed


def _sessions(typed: Typed) -> Values:
    if "/" in typed.word or typed.word.startswith("~"):
        yield from _files(".json")(typed)
        return
    yield from (path.name.removesuffix(".json") for path in sessions_in(paths.sessions_folder()))


def _thrown(_: Typed) -> Values:
    yield from (path.name.removesuffix(".json") for path in paths.trash_folder().glob("*/*.json"))


def _to_throw(typed: Typed) -> Values:
    yield from _thrown(typed) if "--delete" in typed.options else _sessions(typed)


def _specs(typed: Typed) -> Values:
    yield from sorted(path.stem for path in paths.presets_folder().glob("*.toml"))
    yield from _files(".toml", ".json")(typed)


PROMPT_FILES = (".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
"""Endings of prompt sets; the folder that reads them, with which a test compares this, takes long to load."""


def _sets(_: Typed) -> Values:
    for folder in paths.prompt_folders():
        yield from (file.stem for file in sorted(folder.iterdir()) if file.suffix in PROMPT_FILES)


def _several(source: Callable[[Typed], Values]) -> Callable[[Typed], Values]:
    """Values of a list with commas: the last of them is typed."""

    def listed(typed: Typed) -> Values:
        before, comma, _ = typed.word.rpartition(",")
        yield from (f"{before}{comma}{value}" for value in source(typed) if value not in before.split(","))

    return listed


def _models(typed: Typed) -> Values:
    yield "demo"
    hub = os.environ.get("HF_HUB_CACHE") or os.environ.get("HF_HOME", "~/.cache/huggingface") + "/hub"
    for folder in sorted(Path(hub).expanduser().glob("models--*")):
        yield folder.name.removeprefix("models--").replace("--", "/")
    if "/" in typed.word:
        yield from (name for name in _files()(typed) if name.endswith("/"))


def _words(*words: str) -> Callable[[Typed], Values]:
    return lambda _: iter(words)


_SITES = re.compile(rb'^  "sites": \{(.*)\}$', re.MULTILINE)


def _sites(typed: Typed) -> Values:
    """Those a session's vectors were captured at, which stand in the first lines of its file."""
    if typed.words and (file := paths.session_path(typed.words[0])).is_file():
        with file.open("rb") as opened:
            listed = _SITES.search(opened.read(1 << 16))
        yield from re.findall(r'"([^"\\]+)":', listed[1].decode("utf-8") if listed else "")


def _set_keys(typed: Typed) -> Values:
    """Keys of an experiment, those of every intervention and plane that it has; after "=", what a key may hold."""
    key, equals, text = typed.word.partition("=")
    if not equals:
        for name in SET_KEYS:
            table, number, rest = name.partition(".0.")
            for at in _numbers(table, typed) if number else ("",):
                yield f"{table}.{at}.{rest}=" if number else f"{name}{'.' if name in _OPEN else '='}"
        return
    general = re.sub(r"\.\d+\.|\[\d+\]\.?", ".0.", key)
    source = _KEY_SOURCES.get(general, _words(*SET_KEYS.get(general, ())))
    yield from (f"{key}={value}" for value in source(Typed(word=text)))


def _terms(typed: Typed) -> Values:
    """Words of the glossary, without those that stand for others; what reads all of it takes long to load."""
    del typed
    text = (paths.engine_folder() / "figures" / "glossary.txt").read_text("utf-8")
    for line in text.replace("\n  ", " ").splitlines():
        words, is_term, _ = line.partition(" = ")
        yield from (word.strip() for word in words.split(" | ") if is_term and "*" not in word)


def _settings(typed: Typed) -> Values:
    name, equals, _ = typed.word.partition("=")
    if equals:
        yield from (f"{name}={value}" for value in CHOICES.get(name, ()))
    else:
        yield from (f"{setting}=" for setting in NAMES)


_OPEN = ("prompts.where", "prompts.omit")
"""Keys below which a name of the user's follows."""


def _numbers(table: str, typed: Typed) -> Iterable[int]:
    """The numbers that a list of tables has in the experiment that is typed, and the one that is typed."""
    numbers = {0}
    if named := re.match(rf"{table}\.(\d+)\.", typed.word):
        numbers = {int(named[1])}
    elif typed.words:
        import tomllib  # as above

        path = paths.presets_folder() / f"{typed.words[0]}.toml"
        path = path if path.is_file() else paths.expanded(typed.words[0])
        if path.is_file() and path.suffix == ".toml":
            numbers = set(range(len(tomllib.loads(path.read_text("utf-8")).get(table, [0]))))
    return sorted(numbers)


_KEY_SOURCES: dict[str, Callable[[Typed], Values]] = {
    "model.name": _models,
    "prompts.sets": _several(_sets),
    "prompts.confirm": _several(_sets),
    "analysis.tests": _several(_words(*SET_KEYS["analysis.tests"])),
    "stats": _sessions,
}
SOURCES: dict[str, Callable[[Typed], Values]] = {
    "SESSION": _sessions,
    "SESSION...": _sessions,
    "OTHER": _sessions,
    "restore SESSION": _thrown,
    "trash SESSION...": _to_throw,
    "FILE|PRESET": _specs,
    "SPEC.toml|PRESET": _specs,
    "SPEC.toml|PRESET|SESSION": lambda typed: iter((*_specs(typed), *_sessions(typed))),
    "all|0..99|FILE|top:N": lambda typed: iter(("all", "top:", *_files()(typed))),
    "0..11|all": _words("all"),
    "auto|HOST:PORT": _words("auto"),
    "top:N": _words("top:50"),
    "KEY=VALUE": _set_keys,
    "explain [WORD]...": _terms,
    "SETTING=VALUE": _settings,
    "THEME": _words(*THEMES),
    "--prompts": _files(),
    "check FILE": lambda typed: iter((*_sets(typed), *_files()(typed))),
    "SET,...": _several(_sets),
    "MODEL": _models,
    "MODEL|PATH": _models,
    "--model": _models,
    "--device": _words(*SET_KEYS["model.device"]),
    "--site": _sites,
    "SITE,...": _several(_sites),
    "baseline,condition": _several(_words("baseline", "condition")),
    "pooled|condition|FACTOR,...": _several(_words("pooled", "condition")),
}
"""Where values come from, by what stands for a parameter in the help, with its command's name where that differs."""
FREE = (
    *("NAME", "NAME|PATH", "TEXT", "WORD...", "[WORD]...", "JOB...", "X", "Y", "X Y", "A", "A B", "T,...", "FACTOR"),
    *("FACTOR=LEVEL", "CHOICE", "' yes, no'", "373,...", "L.N", "N|L.N", "LABEL"),
)
"""What stands in the help for what only its user can know; a test asks of every parameter which of these it is."""


_Quote = Callable[[str], str]


def _split(line: str, breaks: str) -> tuple[list[str], int, _Quote]:
    """The words of a line up to the cursor, without their quotes, though the last one may be open.

    Args:
        line: as typed.
        breaks: characters at which bash lets a word begin that it completes, unless they are quoted.

    Returns:
        the words, the last one at the cursor; how many characters of it stand before what is to be replaced; and what
        quotes a text to stand there.
    """
    words: list[str] = []
    word, quote, cut, is_begun, escaped = "", "", 0, False, False
    for character in line:
        if escaped:
            # In double quotes a backslash before anything else is itself.
            word += character if not quote or character in '"\\$`' else f"\\{character}"
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = is_begun = True
        elif character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote, cut, is_begun = character, len(word), True
        elif not quote and character.isspace():
            if is_begun:
                words.append(word)
            word, cut, is_begun = "", 0, False
        else:
            word, is_begun = word + character, True
            if not quote and character in breaks:
                cut = len(word)
    words.append(word)
    if quote == "'":
        return words, cut, lambda text: text.replace("'", "'\\''")
    if quote:
        return words, cut, lambda text: re.sub(r'(["\\$`])', r"\\\1", text)
    return words, cut, lambda text: re.sub(r"([^\w@%+=,./^-])", r"\\\1", text)
