"""Which neurons a survey clamps alike, one after the other, and how deep it looks."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeAlias, cast

from pydantic import BeforeValidator, Field, model_validator

from srm_explorer.engine.errors import ExplorerError, SpecValueError
from srm_explorer.engine.experiment.fields import SpecPart
from srm_explorer.engine.experiment.intervention import InterventionSpec
from srm_explorer.engine.experiment.site import ModelShape, Site
from srm_explorer.engine.experiment.values import shown

Depth: TypeAlias = Literal["forced", "free"]
"""`forced`: texts are scored under every neuron's clamp; `free`: texts are written under it."""

Scored: TypeAlias = Literal["generated", "prompts"]
"""`generated`: what the baseline writes; `prompts`: the prompts themselves, every token but the first."""

Cell: TypeAlias = tuple[int, int]
"""(layer, neuron)."""

SURVEYED_OPS = ("clamp", "add", "scale", "zero", "mean")
"""Operations that a survey can do to one neuron after the other."""

ALL = "all"
_TOP = re.compile(r"top\s*:\s*([1-9][0-9]{0,6})")
_RANGE = re.compile(r"([0-9]{1,7})\.\.([0-9]{1,7})(?:/([1-9][0-9]{0,6}))?")
_TIGHT = re.compile(r"\s*\.\.\s*|\s*/\s*|\s+(step)\s+")
_CELL = re.compile(r"([0-9]{1,6})\.([0-9]{1,7})")
_ONE = re.compile(r"[0-9]{1,7}")
_NEURONS = "write all, top:200, numbers and ranges as 0..99, 373, or layer.neuron as 11.373"
_LAYERS = "write all, or numbers and ranges as 0..11, 5"


@dataclass(frozen=True)
class Chosen:
    """Numbers that a text names.

    Attributes:
        everything: all there are.
        top: so many, by what the survey measures; 0 for none.
        numbers: those named by number, ascending, each once.
        cells: those named with their layer, ascending, each once.
    """

    everything: bool = False
    top: int = 0
    numbers: tuple[int, ...] = ()
    cells: tuple[Cell, ...] = ()

    @property
    def has_layers(self) -> bool:
        """Whether every neuron is named with its layer."""
        return bool(self.cells) and not self.numbers

    def __str__(self) -> str:
        if self.everything:
            return ALL
        if self.top:
            return f"top:{self.top}"
        return ", ".join([*_in_short(self.numbers), *(f"{layer}.{neuron}" for layer, neuron in self.cells)])


@functools.lru_cache(maxsize=32)  # a list of sessions reads the same few words of every one
def chosen(text: str) -> Chosen:
    """Read "all", "top:200", "0..99, 373" or "11.373, 10.5".

    Raises:
        SpecValueError: anything else.
    """
    words = text.strip().lower()
    if words == ALL:
        return Chosen(everything=True)
    if top := _TOP.fullmatch(words):
        return Chosen(top=int(top[1]))
    numbers: set[int] = set()
    cells: set[Cell] = set()
    for item in re.split(r"[,;\s]+", _TIGHT.sub(lambda match: "/" if match[1] else match[0].strip(), words)):
        part = item.strip()
        if match := _RANGE.fullmatch(part):
            first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
            if last < first:
                raise SpecValueError(f"{shown(part)} runs downwards", f"write {last}..{first}")
            numbers.update(range(first, last + 1, step))
        elif match := _CELL.fullmatch(part):
            cells.add((int(match[1]), int(match[2])))
        elif _ONE.fullmatch(part):
            numbers.add(int(part))
        elif part:
            raise SpecValueError(f"{shown(part)} is no neuron", _NEURONS)
    return Chosen(numbers=tuple(sorted(numbers)), cells=tuple(sorted(cells)))


def _in_short(numbers: Sequence[int]) -> list[str]:
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number])
    return [f"{span[0]}..{span[-1]}" if len(span) > 1 else str(span[0]) for span in spans]


def _canonical(value: object) -> str:
    """Equal choices are equal texts: numbers and lists of them are taken too."""
    if isinstance(value, bool) or not isinstance(value, str | int | list | tuple):
        raise SpecValueError(f"{shown(value)} names no neurons", _NEURONS)
    items = cast("Sequence[object]", value) if isinstance(value, list | tuple) else (value,)
    return str(chosen(", ".join(str(item) for item in items)))


def _layers(value: object) -> str:
    text = _canonical(value)
    picked = chosen(text)
    if picked.top or picked.cells:
        raise SpecValueError(f"{shown(text)} names no layers", _LAYERS)
    return text


def _then(value: object) -> str:
    try:
        text = _canonical(value)
        known = not text or bool(chosen(text).top)
    except SpecValueError:
        text, known = str(value), False
    if not known:
        raise SpecValueError(f"{shown(text)} does not say how many go on", "write top:50")
    return text


def _vectors(value: object) -> str:
    text = _canonical(value)
    if chosen(text).top or chosen(text).everything:
        what = "full vectors are kept of neurons that are named"
        raise SpecValueError(what, "write numbers as 373, or layer.neuron as 11.373")
    return text


class SurveySpec(SpecPart):
    """Many neurons, each changed as the experiment's one intervention says, in its place; no neurons: no survey.

    `neurons` are taken of every layer of `layers`; those written with a layer, as 11.373, of that one. `top:200` takes
    those of each layer that, over the baseline, write most: the standard deviation of the neuron times the length of
    its row of W_out, times the gain of a norm that follows it; of an expert's neurons, the standard deviation alone.
    """

    neurons: Annotated[str, BeforeValidator(_canonical, json_schema_input_type=str | int | list[int | str])] = Field(
        default="", description="all, top:200, 0..99, 373, or with their layer 11.373; none: no survey"
    )
    layers: Annotated[str, BeforeValidator(_layers, json_schema_input_type=str | int | list[int])] = Field(
        default="", description="all, or 0..11, 5; none: that of the intervention"
    )
    depth: Depth = Field(default="forced", description="forced: texts are scored; free: texts are written")
    score: Scored = Field(
        default="generated", description="generated: what the baseline writes is scored; prompts: the prompts are"
    )
    then: Annotated[str, BeforeValidator(_then)] = Field(
        default="", description="top:50: write texts under those that moved most, on the other half of the prompts"
    )
    vectors: Annotated[str, BeforeValidator(_vectors, json_schema_input_type=str | int | list[int | str])] = Field(
        default="", description="neurons of which full vectors are kept, where texts are written: 373, or 11.373"
    )

    def __bool__(self) -> bool:
        return bool(self.neurons)

    @property
    def goes_on(self) -> int:
        """With how many neurons it goes on from forced to free; 0 where it does not."""
        return chosen(self.then).top

    @property
    def writes(self) -> bool:
        """Whether texts are written, of all of its neurons or of those that it goes on with."""
        return self.depth == "free" or bool(self.then)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.neurons:
            for name in ("layers", "then", "vectors", "score"):
                if getattr(self, name) not in ("", "generated"):
                    raise SpecValueError("no neurons are surveyed", "write neurons = 'all', or remove it", name)
        if self.score == "prompts" and self.depth == "free":
            remedy = "leave it out, or set depth = 'forced'"
            raise SpecValueError("texts are written after the prompts, and nothing is scored", remedy, "score")
        if self.then and self.depth == "free":
            remedy = "leave it out, or set depth = 'forced'"
            raise SpecValueError("texts are written under every neuron already", remedy, "then")
        if self.vectors and not self.writes:
            remedy = "set depth = 'free', or then = 'top:50', or remove it"
            raise SpecValueError("full vectors are kept of written texts alone", remedy, "vectors")
        return self

    def layers_of(self, template: InterventionSpec, n_layers: int) -> tuple[int, ...]:
        """The layers that neurons without one are taken of, ascending."""
        picked = chosen(self.layers)
        if picked.everything:
            return tuple(range(n_layers))
        return picked.numbers or (Site.parse(template.site).layer,)

    def cells(self, template: InterventionSpec, shape: ModelShape) -> tuple[Cell, ...]:
        """The neurons it clamps, by layer and neuron, ascending; for those of `top:N` the first N stand.

        Args:
            template: the experiment's intervention.
            shape: of the model; a layer without such neurons is left out where all layers are asked for.

        Raises:
            ExplorerError: a layer or a neuron that the model has not.
        """
        picked = chosen(self.neurons)
        found = {
            cell for layer in self._having(template, shape) for cell in self._of_layer(picked, layer, template, shape)
        }
        for layer, neuron in picked.cells:
            _check_cell(layer, neuron, template, shape, "survey.neurons")
            found.add((layer, neuron))
        return tuple(sorted(found))

    def kept_cells(self, cells: Sequence[Cell]) -> tuple[Cell, ...]:
        """Those of some cells of which full vectors are kept."""
        picked = chosen(self.vectors)
        return tuple(cell for cell in cells if cell in picked.cells or cell[1] in picked.numbers)

    def _having(self, template: InterventionSpec, shape: ModelShape) -> list[int]:
        if chosen(self.neurons).has_layers:
            return []
        layers = self.layers_of(template, shape.n_layers)
        if chosen(self.layers).everything:
            return [layer for layer in layers if shape.width(_at(template, layer))]
        for layer in layers:
            _check_cell(layer, 0, template, shape, "survey.layers")
        return list(layers)

    def _of_layer(self, picked: Chosen, layer: int, template: InterventionSpec, shape: ModelShape) -> list[Cell]:
        width = shape.width(_at(template, layer))
        if picked.everything:
            return [(layer, neuron) for neuron in range(width)]
        if picked.top:
            return [(layer, neuron) for neuron in range(min(picked.top, width))]
        for neuron in picked.numbers:
            _check_cell(layer, neuron, template, shape, "survey.neurons")
        return [(layer, neuron) for neuron in picked.numbers]


def site_of(template: InterventionSpec, layer: int) -> str:
    """The site of a neuron of a layer: that of the template, in another layer."""
    return str(_at(template, layer))


def for_cell(template: InterventionSpec, cell: Cell) -> InterventionSpec:
    """The template with its neuron and layer replaced."""
    layer, neuron = cell
    return template.model_copy(update={"site": site_of(template, layer), "neurons": (neuron,)})


def _at(template: InterventionSpec, layer: int) -> Site:
    return Site(layer, Site.parse(template.site).kind)


def _check_cell(layer: int, neuron: int, template: InterventionSpec, shape: ModelShape, where: str) -> None:
    if layer >= shape.n_layers:
        what = f"layer {layer} is out of range for this model ({shape.n_layers} layers)"
        raise ExplorerError(what, where=where, remedy=f"choose 0 to {shape.n_layers - 1}")
    site = _at(template, layer)
    shape.check_neurons(str(site), where)
    width = shape.width(site)
    if neuron >= width:
        what = f"neuron {neuron} is out of range for layer {layer} of this model ({site.width_name} = {width})"
        raise ExplorerError(what, where=where, remedy=f"choose 0 to {width - 1}")


def check_survey(
    survey: SurveySpec, interventions: Sequence[InterventionSpec], tokens: int, controls: int, stats: str | None
) -> None:
    """Refuse a survey whose experiment is no template for one.

    Raises:
        SpecValueError: not one intervention on one neuron, or something that means nothing beside many.
    """
    if not survey:
        return
    if len(interventions) != 1:
        what = f"a survey changes each neuron as one intervention says, and there are {len(interventions)}"
        raise SpecValueError(what, "keep one [[interventions]] table, or remove [survey]", "survey.neurons")
    template = interventions[0]
    if not Site.parse(template.site).has_neurons or template.direction is not None:
        what = "a direction" if template.direction is not None else template.site
        raise SpecValueError(
            f"a survey goes through neurons, and the intervention changes {what}",
            "choose a neuron of blocks.L.mlp.hook_post, or remove [survey]",
            "interventions[0].site" if template.direction is None else "interventions[0].direction",
        )
    if template.op not in SURVEYED_OPS:
        what = f"{template.op} is nothing that is done to one neuron after the other"
        raise SpecValueError(what, f"choose {', '.join(SURVEYED_OPS)}, or remove [survey]", "interventions[0].op")
    if len(template.neurons) != 1:
        what = f"a survey changes one neuron at a time, and the intervention {len(template.neurons)} together"
        raise SpecValueError(what, "name one, or remove [survey]", "interventions[0].neurons")
    if template.background:
        raise SpecValueError(
            "a survey has no background", "set background = false, or remove [survey]", "interventions[0].background"
        )
    if stats is not None:
        what = "a survey measures each of its neurons on its own baseline"
        raise SpecValueError(what, "remove stats, or [survey]", "stats")
    if controls:
        what = "every neuron of a survey is the control of every other"
        raise SpecValueError(what, "set controls.neurons = 0, or remove [survey]", "controls.neurons")
    if not tokens and (survey.score == "generated" or survey.writes):
        does = "scores" if not survey.writes else "writes"
        remedy = "set generation.tokens = 50, or survey.score = 'prompts'" if not survey.writes else "set it to 50"
        raise SpecValueError(f"a survey {does} generated tokens, and there are none", remedy, "generation.tokens")


def check_scored_prompts(
    survey: SurveySpec, interventions: Sequence[InterventionSpec], samples: int, captured: object
) -> None:
    """Refuse a survey that scores prompts and asks for what prompts alone do not have.

    Args:
        samples: continuations of each prompt.
        captured: positions that are captured.

    Raises:
        SpecValueError: a position behind the prompt, or texts that would be scored more than once.
    """
    if not survey or survey.score != "prompts":
        return
    what = "the prompts are scored, in which no position is generated"
    if captured == "generated":
        raise SpecValueError(what, "choose prompt or all", "capture.positions")
    if interventions[0].positions == "generated":
        raise SpecValueError(what, "choose prompt or all", "interventions[0].positions")
    if samples > 1:
        what = "the prompts are scored, and each is there once, however many continuations it has"
        raise SpecValueError(what, "set generation.samples = 1", "generation.samples")
