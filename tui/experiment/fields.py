"""The fields of an experiment that a form shows: in which order, under which names, and how they are typed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from srm_explorer.engine.experiment import SITE_KINDS
from srm_explorer.engine.experiment.experiment import UNITS, Operation, Positions
from srm_explorer.engine.runs.batch_memory import ITEM_BYTES
from srm_explorer.tui.experiment.data import Data, value_at
from srm_explorer.tui.experiment.parsing import (
    answer_text,
    cosines_forms,
    direction_forms,
    is_none,
    number_text,
    numbers_forms,
    numbers_text,
    optional_text,
    parse_answer,
    parse_direction_text,
    parse_number,
    parse_numbers,
    parse_optional_number,
    parse_optional_whole,
    parse_optional_word,
    parse_sites,
    parse_whole,
    parse_word,
    short_kind,
    site_text,
    sites_text,
)

Forms = Callable[[Any], tuple[str, ...]]


@dataclass(frozen=True)
class Field:
    """One field: where it stands, what it is called, and how its value is read from a text and written as one.

    Attributes:
        key: its place in the data, "generation.tokens"; a site is two fields, ".layer" and ".kind".
        label: its name on the screen; `short` where room is short.
        read: the value that a typed text means; raises SpecValueError.
        write: the text that is edited.
        forms: how the value is shown, from the longest way to the shortest; its text where there is none.
        choices: texts to choose from, each with how it is shown.
        typed, beside, hint: as `FormRow` has them.
    """

    key: str
    label: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]
    short: str = ""
    forms: Forms | None = None
    choices: tuple[tuple[str, str], ...] = ()
    typed: bool = True
    beside: bool = False
    hint: str = ""


def plain(choices: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Choices that are shown as they are written."""
    return tuple((choice, choice) for choice in choices)


def choice(key: str, label: str, choices: Iterable[str], hint: str, *, short: str = "", beside: bool = False) -> Field:
    """A field that is only chosen."""
    return Field(key, label, parse_word, str, short, None, plain(choices), False, beside, hint)


def answer(key: str, label: str, hint: str, *, short: str = "", beside: bool = False) -> Field:
    """A field that is yes or no."""
    return Field(key, label, parse_answer, answer_text, short, None, plain(("no", "yes")), False, beside, hint)


def whole(key: str, label: str, hint: str, *, short: str = "", beside: bool = False) -> Field:
    """A field that holds one whole number."""
    return Field(key, label, parse_whole, number_text, short, beside=beside, hint=hint)


def direction(key: str, label: str, site: str, *, short: str = "", beside: bool = False) -> Field:
    """A field that holds a direction of a site: a coordinate's number, or text."""
    return Field(
        key,
        label,
        parse_direction_text,
        str,
        short=short,
        forms=lambda value: direction_forms(site, value),
        beside=beside,
        hint="a number, mean(type=x), difference(at=swept | type=x), pc1, random(0), w_out(11.373), v.npz#key",
    )


def numbers(key: str, label: str, hint: str, short: str = "", forms: Forms | None = None) -> Field:
    """A field that holds a list of numbers."""
    return Field(key, label, parse_numbers, _list_text, short, forms, hint=hint)


def _list_text(value: Any) -> str:
    return numbers_text(value) if isinstance(value, list | tuple) else str(value)


def fields_of(data: Data, intervention: int, plane: int, kinds: Sequence[str]) -> dict[str, list[Field]]:
    """The fields by section, for the intervention and the plane in view.

    Args:
        data: as `spec_data.normal` gives it.
        intervention, plane: number of the one in view, -1 for none.
        kinds: of sites that the model has at the intervention's layer.
    """
    return {
        "model": _model(),
        "interventions": [
            *(_intervention(data, intervention, kinds) if intervention >= 0 else _stats(data)),
            *_controls(data),
        ],
        "generation": _generation(data),
        "capture": _capture(),
        "planes": _plane(data, plane) if plane >= 0 else [],
        "spotlight": [
            numbers(
                "spotlight.thresholds", "thresholds", "cosines above which a vector is lit", "thresh", cosines_forms
            ),
            whole("spotlight.angles", "angles", "equally spaced angles of the spotlight, from 0"),
        ],
    }


def _model() -> list[Field]:
    devices = ("auto", "cpu", "cuda", "mps")
    return [
        Field("model.name", "model", parse_word, str, hint="a Hugging Face name, a folder, or demo"),
        Field("model.device", "device", parse_word, str, choices=plain(devices), hint="auto, cpu, cuda, cuda:1, mps"),
        choice("model.dtype", "dtype", ITEM_BYTES, "precision of weights and activations", beside=True),
        Field(
            "model.revision",
            "revision",
            parse_optional_word,
            optional_text,
            short="rev",
            forms=lambda value: (str(value),) if value else ("newest",),
            hint="branch, tag or commit of a Hugging Face name; empty: the newest",
        ),
        answer("model.tf32", "tf32", "on CUDA, faster and less exact matrix products", beside=True),
    ]


def _intervention(data: Data, index: int, kinds: Sequence[str]) -> list[Field]:
    at = f"interventions[{index}]"
    op = value_at(data, f"{at}.op")
    units = UNITS.get(op, ("raw",)) if isinstance(op, str) else ("raw",)
    there = [kind for kind in SITE_KINDS if kind in kinds]
    fields = [
        Field(f"{at}.layer", "layer", parse_word, str, hint="captures and planes of the same layer move along"),
        Field(
            f"{at}.kind",
            "site",
            parse_word,
            str,
            forms=lambda value: (short_kind(str(value)),),
            choices=tuple((kind, short_kind(kind)) for kind in there),
            typed=False,
            beside=True,
            hint="what is changed at that layer",
        ),
    ]
    if op == "steer":
        hint = "a vector of a file beside the experiment: vectors.safetensors#name"
        fields.append(
            Field(f"{at}.direction", "direction", parse_optional_word, optional_text, short="along", hint=hint)
        )
    else:
        fields.append(numbers(f"{at}.neurons", "neuron", "one, or several: 373, 2202"))
    fields.append(choice(f"{at}.op", "operation", get_args(Operation), "what is done to it", short="op"))
    if op not in ("zero", "mean"):
        hint = "raw, or measured on the baseline's generated tokens"
        fields.append(choice(f"{at}.unit", "unit", units, hint, beside=True))
        fields.append(numbers(f"{at}.values", "values", "-20..20/5, or -20, -10, 0", forms=numbers_forms))
    where = "positions that are changed; pads never count"
    background = "present in every clamped condition, and in a reference of its own"
    fields.append(answer(f"{at}.background", "background", background, short="bg"))
    fields.append(choice(f"{at}.positions", "positions", get_args(Positions), where, short="where", beside=True))
    if len(data["interventions"]) > 1 or data.get("grid"):
        grid = (("no", "together"), ("yes", "crossed"))
        hint = "values of several interventions: first with first, or each with each"
        fields.append(
            Field("grid", "values vary", parse_answer, answer_text, short="vary", choices=grid, typed=False, hint=hint)
        )
    return [*fields, *_stats(data)]


def _generation(data: Data) -> list[Field]:
    fields = [
        whole("generation.tokens", "tokens", "how many are written; 0: a plain forward over the prompt"),
        choice("generation.mode", "mode", ("greedy", "sample"), "the likeliest token, or one drawn", beside=True),
    ]
    stop = Field(
        "generation.stop_at_eos",
        "at eos",
        parse_answer,
        answer_text,
        short="eos",
        choices=(("yes", "stop"), ("no", "go on")),
        typed=False,
        hint="whether a written end-of-text ends the run",
    )
    if value_at(data, "generation.mode") != "sample":
        return [*fields, stop]
    top_k = Field(
        "generation.top_k",
        "top k",
        parse_optional_whole,
        number_text,
        beside=True,
        hint="the likeliest only; none: all",
    )
    top_p = Field("generation.top_p", "top p", parse_optional_number, number_text, hint="up to 1; none: all")
    return [
        *fields,
        Field("generation.temperature", "temperature", parse_number, number_text, short="temp", hint="above 0"),
        top_k,
        top_p,
        whole("generation.seed", "seed", "the same for every condition", beside=True),
        whole("generation.samples", "samples", "continuations of each prompt under each condition", short="sample"),
        Field(**{**vars(stop), "beside": True}),
    ]


def _capture() -> list[Field]:
    sites = "L11 hook_post, resid_post, or full names"
    return [
        Field("capture.sites", "capture", parse_sites, _sites_text, short="sites", hint=sites),
        choice("capture.reduce", "reduce", ("mean", "tokens", "last"), "what a run keeps of its positions"),
        choice(
            "capture.positions",
            "positions",
            ("generated", "predicting", "prompt", "all"),
            "positions that are kept",
            short="where",
            beside=True,
        ),
        choice(
            "capture.residual", "residual", ("raw", "centred"), "centred: less its mean over d_model", short="resid"
        ),
    ]


def _plane(data: Data, index: int) -> list[Field]:
    at = f"planes[{index}]"
    captured = [str(site) for site in data["capture"]["sites"]] if isinstance(data["capture"]["sites"], list) else []
    only = site_text(captured[0]) if len(captured) == 1 else "not said"
    choices = tuple((site, site_text(site)) for site in captured)
    site = str(value_at(data, f"{at}.site") or (captured[0] if captured else ""))
    if value_at(data, f"{at}.site") is None:
        choices = (("", only), *choices)
    return [
        direction(f"{at}.a", "0° at", site, short="0° at"),
        direction(f"{at}.b", "90° at", site, short="90°", beside=True),
        Field(
            f"{at}.site",
            "in site",
            parse_optional_word,
            optional_text,
            short="in",
            forms=lambda value: (site_text(value) if value else only,),
            choices=choices,
            typed=False,
            hint="the captured site whose coordinates these are",
        ),
    ]


def _controls(data: Data) -> list[Field]:
    """How many controls go through the sweep beside the target, where there is one; their seed where there are any."""
    count = value_at(data, "controls.neurons")
    if not data["interventions"] and count == 0:
        return []
    steers = any(one["op"] == "steer" for one in data["interventions"])
    noun = "random directions" if steers else "matched neurons"
    fields = [
        Field(
            "controls.neurons",
            "controls",
            lambda text: 0 if is_none(text) else parse_whole(text),
            lambda value: "none" if value == 0 else number_text(value),
            short="ctrl",
            forms=lambda value: ("none",) if value == 0 else (f"{value} {noun}", str(value)),
            hint=f"{noun}, each through the whole sweep; k give p of at least 1/(k+1): 19 for .05",
        )
    ]
    if count != 0:
        fields.append(whole("controls.seed", "drawn by", "seed of their choice", short="seed", beside=True))
    return fields


def _stats(data: Data) -> list[Field]:
    """Where units are measured, where there are any."""
    relative = any(one["op"] == "mean" or one["unit"] != "raw" for one in data["interventions"])
    if not relative and data.get("stats") is None:
        return []
    return [
        Field(
            "stats",
            "stats from",
            parse_optional_word,
            optional_text,
            short="stats",
            forms=lambda value: (str(value),) if value else ("this run's own baseline", "own baseline"),
            hint="a session whose baseline gives sigma, quantiles and means; empty: this run's own",
        )
    ]


def _sites_text(value: Any) -> str:
    return sites_text([str(one) for one in value]) if isinstance(value, list | tuple) else str(value)
