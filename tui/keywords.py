"""What the keys are about: the groups that help lists them in, other words for them, and where those of a screen act.

Everything goes by the ids of bindings, so that a key which is declared anywhere is listed and found at once; what has
no words here is found by its own.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Run", ("run.start", "run.cancel", "run.resume", "run.queue", "queue.prune", "worker.*")),
    ("Copy, save, write", ("copy", "*.copy", "*.export", "session.save", "notes.*", "intervention.write")),
    ("Sessions", ("session.*", "sessions.mark", "sessions.compare", "sessions.res*", "sessions.not*", "sessions.ren*")),
    ("Find and sort", ("*.search", "*.sort", "*.reverse", "runs.*", "survey.*")),
    (
        "Move",
        (
            *("pane.*", "table.*", "log.*", "results.tab_*", "compare.part*", "study.page*", "prompts.back"),
            *("prompts.open", "form.up", "form.down", "form.first", "form.last", "form.page*", "run.*"),
        ),
    ),
    ("Prompts", ("prompts.*",)),
    ("Experiment", ("intervention.*", "form.*", "spec.*", "presets.*")),
    ("Chart", ("results.*", "compare.*")),
    ("Studies", ("study.*",)),
    ("Program", ("help", "*.help", "help.*", "palette", "palette.*", "settings", "quit", "*.quit", "*.leave", "app.*")),
    ("Sessions", ("sessions.*", "trash.*", "import.*")),
    ("Answer", ("confirm.*", "ask.*", "choose.*")),
)
"""What the keys do, and patterns of their ids; the first group that fits has the key."""

_BEFORE = ("*.help", "*.leave", "palette.*")
"""Ids that belong to the program whatever else they are of."""

OTHER = "Else"


def group_of(name: str) -> str:
    """What a key does in general: the heading it stands under in the help."""
    if any(fnmatchcase(name, pattern) for pattern in _BEFORE):
        return "Program"
    return next((title for title, ids in GROUPS if any(fnmatchcase(name, pattern) for pattern in ids)), OTHER)


def group_titles() -> tuple[str, ...]:
    """The headings, each once, in the order of the help."""
    return tuple(dict.fromkeys((*(title for title, _ in GROUPS), OTHER)))


_FILE = "prompt file prompts file set list dataset path"
_TURN = "rotate angle spotlight theta degrees direction"
_LEVEL = "cutoff cosine threshold level above"
_EXPORT = "figure picture image plot svg png csv text export csv save figure data table file write"
_MOVE = "cursor arrow row scroll move"

WORDS: dict[str, str] = {
    "run.start": "start go execute generate launch submit experiment sweep",
    "run.cancel": "stop abort interrupt kill halt end",
    "run.resume": "continue interrupted unfinished crashed restart go on",
    "run.queue": "jobs waiting pending worker list",
    "worker.restart": "version update daemon process upgrade",
    "queue.*": "job waiting worker queue remove",
    "session.save": "copy keep name another save session",
    "session.open": "load history previous old results browse session list",
    "session.duplicate": "clone reuse again spec experiment of the session",
    "spec.undo": "undo revert mistake back edit ctrl+z history",
    "spec.redo": "redo again forward edit history",
    "pane.zoom": "maximise maximize full screen larger bigger enlarge",
    "pane.prompts": "prompts sets left pane go",
    "pane.form": "experiment form neuron layer values operation pane go edit",
    "pane.results": "chart figure plot results pane go",
    "pane.*": "focus switch other pane",
    "copy": "clipboard yank text",
    "*.copy": "clipboard yank text path",
    "*.export": _EXPORT,
    "settings": "options preferences configure theme colours colors dark light markers glyphs bell keys bindings remap",
    "palette": "command search find action",
    "help": "keys words glossary meaning explain shortcuts manual what is",
    "*.help": "keys words glossary meaning explain shortcuts manual what is",
    "quit": "exit close end leave bye",
    "*.quit": "exit close end leave",
    "*.leave": "close cancel back escape",
    "prompts.toggle": "tick check mark use select deselect prompt set",
    "prompts.all": "select all none every prompt",
    "prompts.search": "find filter text prompt",
    "prompts.factors": "filter by factor level type grouping subset",
    "prompts.first": "limit number how many prompts subset sample",
    "prompts.new": f"add write prompt type {_FILE}",
    "prompts.edit": f"change write editor {_FILE}",
    "prompts.open": f"look into show prompts {_FILE}",
    "prompts.open_file": f"load import read own {_FILE}",
    "prompts.new_set": f"create own {_FILE}",
    "prompts.*": "prompt set",
    "intervention.add": "another neuron clamp edit plane insert new intervention plane",
    "intervention.remove": "delete drop intervention plane",
    "intervention.next": "other second intervention plane",
    "intervention.previous": "other second intervention plane",
    "intervention.presets": "load open experiment file toml protocol demo quick preset spec",
    "intervention.write": "save export experiment file toml spec",
    "intervention.toml": "edit text editor toml spec experiment source",
    "form.edit": "change type value neuron layer number values field",
    "form.cycle": "switch option choice",
    "form.shut": "close list forget refused text",
    "form.*": f"form field {_MOVE}",
    "results.turn*": _TURN,
    "compare.back*": _TURN,
    "compare.on*": _TURN,
    "*.threshold*": _LEVEL,
    "results.view": "compass mean counts polar chart kind layer points vectors",
    "compare.view": "chart kind counts mean dose overlay",
    "results.grouping": "colour color by factor value pool split groups condition",
    "results.baseline": "untouched control hide show",
    "results.difference": "minus baseline subtract change",
    "results.sight": "expected prediction minus arithmetic axis out observed transform",
    "results.band": "interval confidence uncertainty chance null",
    "*.plane": "other plane directions axes second",
    "*.held_out": "held out split half confirm circular selection",
    "*.held-out": "held out split half confirm circular selection",
    "results.tab*": "tab polar thresholds dose runs effects planes neuron survey log",
    "runs.filter": "search find runs where lit changed value cosine prompt",
    "runs.sort": "order by column ascending",
    "runs.reverse": "order descending ascending sort",
    "runs.only-lit": "lit prompts under the spotlight above threshold",
    "runs.*lit*": "lit spotlight run prompt",
    "runs.all": "clear filter show all",
    "survey.filter": "search find neuron where layer value q p effect",
    "survey.sort": "order by column ascending rank",
    "survey.reverse": "order descending ascending sort",
    "survey.mark": "select tick check neuron",
    "survey.only-marked": "selected ticked neurons",
    "survey.chosen": "my neuron target special experiment",
    "survey.all": "clear filter show all",
    "study.page*": "topic analysis study other page",
    "study.work": "compute calculate analyse analyze start study run analysis",
    "study.settings": "options arguments groups neuron parameters of the study",
    "study.new_plane": "directions axes make define vector",
    "study.card": "neuron statistics tokens dashboard",
    "table.open": "show details look run session",
    "table.*": _MOVE,
    "log.*": f"log messages {_MOVE}",
    "run.next": "following run",
    "run.before": "previous run",
    "run.baseline": "untouched text compare diff",
    "run.token*": "activation token by token",
    "run.tokens*": "activation token by token",
    "run.neuron": "activation other coordinate",
    "run.*": _MOVE,
    "sessions.mark": "select tick session comparison",
    "sessions.compare": "difference two sessions overlay diff versus",
    "sessions.resume": "continue interrupted unfinished go on",
    "sessions.search": "find filter session name notes",
    "sessions.sort": "order by date name size",
    "sessions.notes": "comment write remark markdown",
    "sessions.rename": "name move call",
    "sessions.duplicate": "clone reuse spec experiment",
    "sessions.export": "csv npz save write pack zip archive share send report html pdf page script python",
    "sessions.unpack": "zip archive import receive shared packed",
    "sessions.trash": "delete remove throw away bin",
    "sessions.import": "load open files npz npy safetensors parquet csv tsv vectors texts other programs",
    "import.*": "load files vectors texts",
    "sessions.undelete": "trash restore undo bring back recover",
    "sessions.show-trash": "deleted restore recover bin",
    "trash.restore": "undelete undo recover",
    "trash.delete": "remove purge forever",
    "trash.empty": "remove purge forever all",
    "app.suspend": "shell background fg stop",
    "app.redraw": "refresh repaint clear garbled",
    "app.pictures": "image graphics kitty sixel iterm braille figure",
    "compare.part*": "chart numbers differences table",
    "compare.difference": "subtract minus groups sessions",
    "compare.groups*": "subtract pair conditions",
    "compare.swap": "exchange order first second",
    "notes.save": "keep write store",
    "notes.drop": "discard revert undo",
    "confirm.yes": "affirm ok accept",
    "confirm.no": "deny refuse keep",
}
"""Other words by which people look for a key, by patterns of its id; the words of every pattern that fits are its."""


def words_for(name: str) -> str:
    """Other words for what a key does."""
    return " ".join(words for pattern, words in WORDS.items() if fnmatchcase(name, pattern))


def likeness(query: str, name: str, words: str, more: str) -> float:
    """How well a query fits an action: each of its words must begin a word of the action, best one of its name; else 0.

    Args:
        query: what was typed.
        name: what the action is called.
        words: other words for it.
        more: all else that is said of it.
    """
    score = 0.0
    weighed = [(weight, part) for weight, text in ((3.0, name), (2.0, words), (1.0, more)) for part in _parts(text)]
    for word in _parts(query):
        fits = [weight + (0.5 if part == word else 0) for weight, part in weighed if part.startswith(word)]
        if not fits:
            return 0.0
        score += max(fits)
    return score + (5 if score and name.casefold().startswith(query.casefold().strip()) else 0)


def _parts(text: str) -> list[str]:
    plain = "".join(letter if letter.isalnum() or letter in "-+" else " " for letter in text.casefold())
    return [*plain.split(), *(part for word in plain.split() if "-" in word for part in word.split("-"))]


WAYS: dict[str, tuple[str, str]] = {
    "PromptsPane": ("in the prompts", "pane(1)"),
    "FormLines": ("in the experiment", "pane(2)"),
    "InterventionPane": ("in the experiment", "pane(2)"),
    "ResultsPane": ("in the results", "pane(3)"),
    "RunsTab": ("on the tab Runs", "tab('Runs')"),
    "StudyTab": ("on the tabs Effects, Planes, Neuron and Survey", "tab('Effects')"),
    "SurveyTab": ("on the tab Survey", "tab('Survey')"),
    "LogTab": ("on the tab Log", "tab('Log')"),
    "LineTable": ("in any table", ""),
    "SessionsScreen": ("in the sessions", "sessions"),
    "TrashScreen": ("in the trash: T in the sessions", "sessions"),
    "CompareScreen": ("in a comparison of sessions", "sessions"),
    "ImportScreen": ("in an import: i in the sessions", "sessions"),
    "FilesLine": ("in an import: i in the sessions", "sessions"),
    "NotesScreen": ("in the notes of a session", "sessions"),
    "RunView": ("in one run: enter on a run", "tab('Runs')"),
    "QueueScreen": ("in the queue", "queue"),
    "ExplorerScreen": ("in the explorer", ""),
}
"""Where the keys of a class act, and the explorer's action that leads there; all others are boxes."""
