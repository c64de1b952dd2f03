"""What the one object of `--json` holds, by what is printed: the fields that a program may count on."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NEURONS = (
    "neurons of a survey: `scored` of `to_score`, `written` under of `to_write`, all 0 before its plan is fixed;"
    " null of any other session"
)
_OUTCOME = {
    "session": "path of its file",
    "name": "of the session",
    "how": "`finished`, `interrupted`, or `shown` where it was finished before",
    "state": "of the session, `finished` or `interrupted`; null where nothing was saved",
    "runs": "finished runs; of a survey those of the baseline",
    "planned": "all runs; null where nothing was saved",
    "neurons": _NEURONS,
    "resumed": "finished runs that an earlier start left",
    "tokens": "that this start generated",
    "seconds": "that this start took",
    "is_demo": "whether the bundled model was used",
    "notes": "what was said on the way",
}
_PLAN = {
    "prompts": "how many",
    "runs": "those of controls left out",
    "control_runs": "runs of controls",
    "tokens": "to be generated, at most",
    "seconds": "on this machine; null where the pace is not known",
    "tokens_per_second": "the pace; null where it is not known",
    "warnings": "of the prompts and units",
}
_ENTRY = (
    "a record a session: `name`, `model`, `intervention`, `runs`, `planned`, `state`, `saved`, `size` (bytes), `path`,"
    " `neurons` (of a survey `scored` of `to_score`, `written` under of `to_write`, else null)"
)
_JOB = "a record a job: `job`, `session`, `state`, `progress`, `resumed`, `ahead`, `saved`, `told`, `fault`"


@dataclass(frozen=True)
class Printed:
    """An object that `--json` prints.

    Attributes:
        of: the commands that print it, with the options that matter.
        fields: what each holds.
        at_times: fields that are there only where they say something.
    """

    of: str
    fields: Mapping[str, str]
    at_times: Mapping[str, str]

    def text(self, data: Mapping[str, Any]) -> str:
        """The object as it is printed: numbers that are not finite become null, which JSON can hold."""
        return json.dumps(_jsonable(data), ensure_ascii=False, allow_nan=False)


def _printed(of: str, fields: Mapping[str, str], at_times: Mapping[str, str] | None = None) -> Printed:
    return Printed(of, fields, at_times or {})


_TABLES = {
    "tables": "a record each, as the command prints them: `name`, `title`, `rows` (by the columns' keys), `notes`"
}
_OF_TABLES = {
    "exploratory": "true where the session has a frozen analysis and this is none of it",
    "session": "its name",
    "model": "as it was named",
    "layer": "of the neuron",
    "neuron": "that it is about",
    "site": "that it is about",
    "plane": "number of the plane, or its title",
    "by": "what rows are by",
    "family": "the family its tests belong to",
    "other_family": "that of the second session",
    "families": "those of all sessions",
    "names": "of the sessions",
    "curves": "those that were compared, with their bands",
    "refused": "what could not be compared, and why",
    "scored": "whether this start scored the texts",
    "tokens": "that are told of",
    "over": "what tokens are taken over",
    "rule": "by which texts count as collapsed",
    "difference": "the logits that patching is told by",
    "interest": "the smallest change of interest",
    "chosen": "how the target was chosen",
    "candidates": "how many were looked at before",
    "looked_at": "how many were looked at",
    "confirm": "whether it is of the prompts that were kept",
    "analysis": "the frozen analysis",
    "sha256": "of the frozen analysis",
    "prompts": "how many it is of",
    "histogram": "of the neuron's activations",
    "depth": "of a survey, `forced` or `free`",
    "depths": "those that the survey has",
}

PRINTED: Mapping[str, Printed] = {
    "tables": _printed(
        "`effects`, `patching`, `pairs`, `dose`, `planes`, `controls`, `analysis`, `confirm`, `neuron`,"
        " `sessions diff`, `sessions ledger`; `survey` of a survey that was made",
        _TABLES,
        _OF_TABLES,
    ),
    "outcome": _printed("`run`; `survey --open`; each field also stands in the next", _OUTCOME),
    "survey": _printed(
        "`survey` of an experiment",
        {**_OUTCOME, **_TABLES},
        {name: _OF_TABLES[name] for name in ("depth", "depths", "exploratory")},
    ),
    "plan": _printed(
        "`run --plan`, `survey --open L.N --plan`",
        {
            **_PLAN,
            "units": "of which statistics are",
            "memory": "bytes; null where it is not known",
            "power": "of a test that would find the next",
            "alpha": "two-sided",
            "detectable_sd": "mean that is then found, in standard deviations of units; null with too few units",
            "units_needed": "by effect in standard deviations of units",
            "interest": "the smallest change of interest; null where none was named",
            "spread": "what the newest session of the same kind tells of units' spread; null where there is none",
        },
    ),
    "survey plan": _printed(
        "`survey --plan`",
        {
            **{name: text for name, text in _PLAN.items() if name != "control_runs"},
            "units": "of which statistics are",
            "neurons": "how many; 0 where that is known only of a model that was loaded here",
            "values": "each is given",
            "texts_scored": "how many",
            "tokens_scored": "how many",
            "memory": "bytes; null where it is not known",
            "disk": "bytes that its tables take",
        },
    ),
    "controls plan": _printed(
        "`controls --plan`",
        {**_PLAN, "controls": "neurons", "least_p": "the smallest p that so many allow; null without controls"},
    ),
    "show": _printed(
        "`show`",
        {
            "session": "its name",
            "path": "of its file",
            "state": "`finished`, `interrupted` or `running`",
            "saved": "when, ISO 8601",
            "model": "as it was named",
            "is_demo": "whether it is the bundled model",
            "interventions": "in words",
            "prompts": "how many",
            "kept_for_confirmation": "of those",
            "runs": "finished ones",
            "planned_runs": "all",
            "neurons": _NEURONS,
            "conditions": "their labels",
            "controls": "control neurons",
            "spec": "the experiment",
            "planes": "a record a plane: its groups, and of each the curves, bands and what arithmetic predicts",
        },
        {"exploratory": _OF_TABLES["exploratory"]},
    ),
    "sweep": _printed(
        "`sweep --a --b`",
        {
            "files": "that were read",
            "width": "entries of a vector",
            "a": "what lies at 0 degrees",
            "b": "what lies at 90 degrees",
            "vectors": "how many",
            "zero": "those of length 0",
            "nonfinite": "those that are left out",
            "skipped": "arrays that are no vectors: `key`, `why`",
            "angles_deg": "of the spotlight",
            "pooled": "the sweep of all: `n`, `a`, `b`, `amplitude`, `phase_deg`, `mean_similarity`, `thresholds`",
            "groups": "the same by group",
        },
    ),
    "ensemble": _printed(
        "`sweep --basis`",
        {
            "files": "that were read",
            "basis": "`file`, `vectors` (names), `ensemble`",
            "width": "entries of a vector",
            "planes": "how many",
            "collinear": "pairs that span none",
            "vectors": "how many",
            "n": "those that are counted",
            "zero": "those of length 0",
            "nonfinite": "those that are left out",
            "skipped": "arrays that are no vectors: `key`, `why`",
            "angles_deg": "of the spotlight",
            "thresholds": "a record each: `threshold`, `fraction` and `spread` at every angle",
        },
    ),
    "sessions": _printed("`sessions list`", {"folder": "of sessions", "sessions": _ENTRY, "unreadable": "a line each"}),
    "search": _printed(
        "`sessions search`", {"folder": "of sessions", "sessions": f"{_ENTRY}, `place` and `excerpt` of what was found"}
    ),
    "trash": _printed(
        "`sessions trash`",
        {"folder": "of the trash", "trash": "a record each: `name`, `trashed`, `from`, `size`, `files`, `path`"},
    ),
    "packed": _printed(
        "`sessions pack`, `sessions unpack`",
        {
            "session": "its name",
            "path": "what was written",
            "bytes": "of the packed file",
            "runs": "how many",
            "notes": "what was said on the way",
        },
    ),
    "imported": _printed(
        "`import`",
        {
            "session": "path of its file",
            "runs": "how many",
            "prompts": "how many",
            "conditions": "their labels",
            "sites": "and their widths",
            "files": "that were read",
            "not_imported": "files that were not",
            "notes": "what was said on the way",
            "left_out": "parts of files: `key`, `why`",
        },
    ),
    "replay": _printed(
        "`replay`",
        {
            "runs": "how many",
            "bit_equal": "null where tokens are equal and nothing was there to tell of vectors",
            "tokens_equal": "true or false",
            "compared_vectors": "whether they were there",
            "why_not": "empty where they were",
            "largest_difference": "by site",
            "deviations": "a record a run of which tokens differ",
            "survey": "`scored`, `written`, `bit_equal`, `why_not`, `differing`; null without one",
            "changed": "of the machine, since",
        },
    ),
    "prompt sets": _printed(
        "`prompts list`",
        {
            "prompt_sets": "a record a set, as `prompts check` has it",
            "unreadable": "a line each",
        },
    ),
    "prompt set": _printed(
        "`prompts check`",
        {
            "name": "of the set",
            "format": "of the file",
            "prompts": "how many",
            "factors": "and their levels",
            "path": "of the file",
            "problems": "a record each: `line`, `what`, `remedy`, `fatal`",
        },
        {"positions": "with `--positions`: `line`, `at`, `from`"},
    ),
    "worker": _printed(
        "`worker status`",
        {"alive": "whether there is one", "log": "its file", "others": "workers of other environments"},
        {
            "kind": "`state`",
            "pid": "its process",
            "build": "its version",
            "protocol": "number of what it speaks",
            "uptime": "seconds",
            "idle": "seconds since it was last asked for something",
            "idle_exit": "seconds after which it then ends",
            "draining": "whether it ends after its queue",
            "model": "that it has loaded",
            "device": "that this is on",
            "jobs": _JOB,
            "errand": "the study that it is at",
            "errand_progress": "how far that is",
            "environment": "what tells its environment from others",
        },
    ),
    "jobs": _printed("`worker queue`", {"alive": "whether there is a worker", "jobs": _JOB}),
    "pruned": _printed("`worker prune`", {"pruned": "the jobs"}),
    "restarted": _printed(
        "`worker restart`", {"alive": "true", "pid": "its process", "replaced": "that of the old one; null without"}
    ),
    "stopped": _printed("`worker stop`", {"alive": "whether it is still there", "told": "what is said of it"}),
    "log": _printed("`worker logs`", {"log": "the file", "lines": "its last ones"}),
    "settings": _printed(
        "`config`, `config show`",
        {
            "file": "of settings",
            "exists": "whether it is there",
            "settings": "a record each: `name`, `value`, `origin`, `default`, `variable`",
            "problems": "a line each",
        },
    ),
    "keys": _printed("`keys`", {"keys": "a record each: `keys`, `what`, `where`, `name`"}),
    "terms": _printed("`explain`", {"terms": "a record each: `words`, `section`, `meaning`"}),
    "doctor": _printed(
        "`doctor`", {"ok": "whether there is no problem", "findings": "a record each: `name`, `told`, `problem`"}
    ),
}
"""By the name that `say_json` is given."""


def _jsonable(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _jsonable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
