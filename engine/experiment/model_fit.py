"""What must be known of a concrete model to say whether an experiment fits it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from srm_explorer.engine.errors import ExplorerError, SpecValueError
from srm_explorer.engine.experiment.conditions import conditions, conditions_of, patched_from
from srm_explorer.engine.experiment.directions import Component, Direction, NeuronWeights, choices_of, direction_of
from srm_explorer.engine.experiment.experiment import Experiment, taken_neurons, targets_of
from srm_explorer.engine.experiment.intervention import InterventionSpec
from srm_explorer.engine.experiment.positions import Positions, TokenChoice
from srm_explorer.engine.experiment.site import ROUTER, SITE_KINDS, ModelShape, Site


def check_against(experiment: Experiment, shape: ModelShape) -> None:
    """Refuse an experiment that reaches beyond a model.

    Raises:
        ExplorerError: a layer, neuron, plane or length out of range, with the range; or a centred residual stream on a
            model whose norms do not centre it.
    """
    for misfit in misfits(experiment, shape):
        raise misfit


def misfits(experiment: Experiment, shape: ModelShape) -> Iterator[ExplorerError]:
    """Tell every field of an experiment that reaches beyond a model, as `check_against` refuses the first of them."""
    for index, intervention in enumerate(experiment.interventions):
        field = f"interventions[{index}]"
        yield from _site(intervention.site, f"{field}.site", shape)
        for at, neuron in enumerate(intervention.neurons):
            yield from _coordinate(intervention.site, neuron, f"{field}.neurons[{at}]", shape)
        width = shape.head_width(Site.parse(intervention.site).layer) if intervention.heads else 0
        for name, count in (("heads", shape.n_heads), ("coordinates", width)):
            for at, number in enumerate(getattr(intervention, name) if width else ()):
                if number >= count:
                    yield ExplorerError(
                        f"{name.removesuffix('s')} {number} is out of range for this model ({count} {name})",
                        where=f"{field}.{name}[{at}]",
                        remedy=f"choose 0 to {count - 1}",
                    )
    for index, name in enumerate(experiment.capture.sites):
        yield from _site(name, f"capture.sites[{index}]", shape)
    for index, plane in enumerate(experiment.planes):
        site = experiment.plane_site(plane)
        for key, along in (("a", plane.a), ("b", plane.b)):
            yield from _direction(site, direction_of(along), f"planes[{index}].{key}", shape)
    yield from missing_conditions(experiment)
    yield from _controls(experiment, shape)
    yield from _survey(experiment, shape)
    if experiment.generation.tokens >= shape.n_ctx:
        yield ExplorerError(
            f"{experiment.generation.tokens} tokens leave no room for a prompt in this model's context ({shape.n_ctx})",
            where="generation.tokens",
            remedy=f"choose at most {shape.n_ctx - 1}",
        )
    if experiment.capture.residual == "centred" and not shape.centres:
        yield ExplorerError(
            f"{shape.name} does not centre its residual stream (its norms are no LayerNorm)",
            where="capture.residual",
            remedy="choose 'raw'",
        )


def _survey(experiment: Experiment, shape: ModelShape) -> Iterator[ExplorerError]:
    if not experiment.survey:
        return
    try:
        cells = experiment.survey.cells(experiment.interventions[0], shape)
    except ExplorerError as error:
        yield error
        return
    if not cells:
        yield ExplorerError("no neuron is surveyed", where="survey.neurons", remedy="choose other neurons or layers")


def missing_conditions(experiment: Experiment) -> Iterator[ExplorerError]:
    """Tell the planes and patches that are of conditions which an experiment has not, or no longer: other values."""
    for index, plane in enumerate(experiment.planes):
        for key, along in (("a", plane.a), ("b", plane.b)):
            for choice in choices_of(direction_of(along)):
                try:
                    conditions_of(choice, conditions(experiment), "baseline")
                except SpecValueError as error:
                    yield ExplorerError(error.what, where=f"planes[{index}].{key}", remedy=error.remedy)
    for index, edit in enumerate(experiment.interventions):
        if edit.source is not None:
            try:
                patched_from(experiment, index)
            except SpecValueError as error:
                yield ExplorerError(error.what, where=f"interventions[{index}].from", remedy=error.remedy)


def _controls(experiment: Experiment, shape: ModelShape) -> Iterator[ExplorerError]:
    """Each target of a site needs other neurons for its controls, none of which is used twice."""
    sites = [site for site, _ in targets_of(experiment.interventions)]
    count = experiment.controls.neurons
    for site in dict.fromkeys(sites if count else ()):
        free = shape.width(Site.parse(site)) - len(taken_neurons(experiment, site))
        if sites.count(site) * count > free:
            yield ExplorerError(
                f"{count} controls for each of {sites.count(site)} neurons of {site}, and only {free} others to choose",
                where="controls.neurons",
                remedy=f"choose at most {free // sites.count(site)}",
            )


def _site(name: str, where: str, shape: ModelShape) -> Iterator[ExplorerError]:
    site = Site.parse(name)
    layer = site.layer
    if site.is_unknown:
        what = f"'{name}' is no place in a model"
        yield ExplorerError(what, where=where, remedy="name one, as blocks.0.mlp.hook_post")
        return
    if layer >= shape.n_layers:
        yield ExplorerError(
            f"layer {layer} is out of range for this model ({shape.n_layers} layers)",
            where=where,
            remedy=f"choose 0 to {shape.n_layers - 1}",
        )
    try:
        shape.check_neurons(name, where)
    except ExplorerError as error:
        yield error


def _direction(site: str, along: int | Direction, where: str, shape: ModelShape) -> Iterator[ExplorerError]:
    """A coordinate's number, a neuron of a layer, or a component that the model has not."""
    match along:
        case int():
            yield from _coordinate(site, along, where, shape)
        case NeuronWeights():
            home = f"blocks.{along.layer}.mlp.hook_post"
            yield from _site(home, where, shape)
            yield from _coordinate(home, along.neuron, where, shape)
        case Component() if along.number > (width := shape.width(Site.parse(site))):
            yield ExplorerError(
                f"{site} has {width} principal components at most", where=where, remedy=f"choose pc1 to pc{width}"
            )
        case _:
            pass


def _coordinate(site_name: str, index: int, where: str, shape: ModelShape) -> Iterator[ExplorerError]:
    site = Site.parse(site_name)
    width = shape.width(site)
    # A layer without neurons is refused by its site.
    if index >= width > 0:
        noun = "neuron" if site.has_neurons else "coordinate"
        differs = site.is_mixture or (site.is_mlp and shape.mlp_widths)
        whose = f"layer {site.layer} of this model" if differs else "this model"
        yield ExplorerError(
            f"{noun} {index} is out of range for {whose} ({site.width_name} = {width})",
            where=where,
            remedy=f"choose 0 to {width - 1}",
        )


Segments: TypeAlias = tuple[bool, bool, bool]
"""Which stretches of a row: the prompt before its last token, that token, the generated tokens."""

Propagation: TypeAlias = Literal["none", "own", "written", "through"]
"""What an intervention does at a site: nothing; it edits the site itself; the site sums what its neurons write; or it
comes there through other layers, which no arithmetic on the site's vectors can tell."""

Apartness: TypeAlias = Literal["no", "here", "elsewhere"]
"""Whether a plane holds nothing that is edited: no, or not known; yes, though neurons of the same layer, or coordinates
of the same site, are edited; yes, and neurons of other layers alone are edited."""

_ORDER = (
    "hook_resid_pre",
    "attn.hook_z",
    "hook_attn_out",
    "hook_resid_mid",
    ROUTER,
    "mlp.hook_post",
    "hook_mlp_out",
    "hook_resid_post",
)
_COVERED: dict[str, Segments] = {
    "all": (True, True, True),
    "prompt": (True, True, False),
    "last": (False, True, False),
    "predicting": (False, True, True),
    "generated": (False, False, True),
}
_KEEPS_OWN = ("add", "steer")


def covered(positions: Positions | tuple[int, ...] | TokenChoice) -> Segments:
    """The stretches of a row that a choice of positions meets: a word's are covered whole, others perhaps in part."""
    if isinstance(positions, str):
        return _COVERED[positions]
    return True, True, isinstance(positions, TokenChoice) and positions.after


def is_predictable(experiment: Experiment, site: str, intervention: InterventionSpec) -> bool:
    """Whether what it does to what is captured at a site is an affine function of sums over whole stretches of a row.

    Of captured positions by number or token nothing is known but their mean: it is enough where all of them are edited
    alike, or none, and what was there is read off the captured vector.
    """
    if not isinstance(experiment.capture.positions, str):
        reads_own = propagation_of(intervention.site, site) != "own" or is_centred(experiment, site)
        if (reads_own and intervention.op not in _KEEPS_OWN) or not _edits_alike(experiment, intervention):
            return False
    along = intervention.op == "project_out" and intervention.direction is not None
    if along or intervention.op == "patch" or intervention.heads or not isinstance(intervention.positions, str):
        return False
    # Which positions an expert sees is the router's choice.
    return Site.parse(intervention.site).expert is None


def _edits_alike(experiment: Experiment, intervention: InterventionSpec) -> bool:
    """Whether an intervention by a word meets all captured positions, or none."""
    pairs = zip(captured_segments(experiment), covered(intervention.positions), strict=True)
    return len({edited for captured, edited in pairs if captured}) <= 1


def captured_segments(experiment: Experiment) -> Segments:
    """The stretches of a row whose activations reach a captured vector; perhaps, where positions are no word."""
    before, last, generated = covered(experiment.capture.positions)
    generated = generated and experiment.generation.tokens > 0
    if experiment.capture.reduce == "last" and isinstance(experiment.capture.positions, str):
        return False, last and not generated, generated
    return before, last, generated


def propagation_of(edited: str, captured: str) -> Propagation:
    """What an intervention at one site does at another, tokens unchanged; sites by their TransformerLens names."""
    source, target = Site.parse(edited), Site.parse(captured)
    if source == target:
        return "own"
    if source.is_unknown or target.is_unknown:
        return "through"
    # What stands beside it, as another expert of the layer, is not reached either.
    if _place(target) <= _place(source):
        return "none"
    if source.layer == target.layer and source.is_mlp and target.kind in ("hook_mlp_out", "hook_resid_post"):
        return "written"
    return "through"


def _place(site: Site) -> tuple[int, int]:
    return site.layer, _ORDER.index("mlp.hook_post" if site.has_neurons else site.kind)


def apart_from(experiment: Experiment, site: str, a: int | str, b: int | str) -> Apartness:
    """Whether nothing that an experiment edits lies in a plane of a site, as far as its directions' names tell.

    A neuron lies in a plane that is named after it: by its number, or by its row of W_out or column of W_in. Nothing
    edited lies in planes that it comes to before the edit, nor among neurons, or heads, where something else is edited.
    Coordinates of the residual stream are told apart at the edited site alone: what arrives there from elsewhere, and
    what is steered along, has a share in all of them. Of vectors, means, components and random directions nothing is
    said there.

    Args:
        experiment: without interventions nothing is said.
        site: the plane's, by its TransformerLens name.
        a, b: the plane's directions, as experiment files have them.
    """
    edits = experiment.interventions
    met = [_meeting(edit, site, direction_of(along)) for along in (a, b) for edit in edits]
    if not met or not set(met) <= {"here", "elsewhere"}:
        return "no"
    return "here" if "here" in met else "elsewhere"


def apart_from_all(experiment: Experiment) -> Apartness:
    """Whether nothing that an experiment edits lies in any of its planes; "no" without planes; as `apart_from`."""
    met = {apart_from(experiment, experiment.plane_site(plane), plane.a, plane.b) for plane in experiment.planes}
    return "no" if not met or "no" in met else "here" if "here" in met else "elsewhere"


def is_centred(experiment: Experiment, site: str) -> bool:
    """Whether a site's captured vectors have their mean over coordinates taken out."""
    return experiment.capture.residual == "centred" and Site.parse(site).is_stream


def needs_own(experiment: Experiment, site: str, intervention: InterventionSpec) -> bool:
    """Whether predicting a site takes the edited coordinates by segment, which its captured vectors do not tell.

    They do where nothing is lost of what was there (`add`, `steer`), and at an uncentred edited site where the captured
    positions are all edited, or none.
    """
    if not is_predictable(experiment, site, intervention):
        return False
    if intervention.op in _KEEPS_OWN or propagation_of(intervention.site, site) not in ("own", "written"):
        return False
    if propagation_of(intervention.site, site) == "written" or is_centred(experiment, site):
        return True
    return not _edits_alike(experiment, intervention)


def _meeting(
    intervention: InterventionSpec, site: str, along: int | Direction
) -> Literal["in", "here", "elsewhere", "unknown"]:
    """Where a direction of a site lies beside what an intervention edits: it is that, or is apart from it."""
    edited, target = Site.parse(intervention.site), Site.parse(site)
    if edited.is_unknown or target.is_unknown:
        return "unknown"
    if propagation_of(intervention.site, site) == "none" and _place(target) < _place(edited):
        return "elsewhere"
    if isinstance(along, NeuronWeights):
        target, number = Site(along.layer, "mlp.hook_post"), along.neuron
        if not edited.has_neurons:
            return "unknown"
    elif isinstance(along, int):
        number = along
    else:
        return "unknown"
    if (edited.has_neurons, edited.is_heads) != (target.has_neurons, target.is_heads):
        return "elsewhere" if target.has_neurons or target.is_heads else "unknown"
    if edited == target:
        # Of heads the numbers are not known here, and a direction has a share in all of them.
        return "unknown" if not intervention.neurons else "in" if number in intervention.neurons else "here"
    if not target.has_neurons:
        return "elsewhere" if target.is_heads else "unknown"
    return "here" if edited.layer == target.layer and intervention.neurons else "elsewhere"


assert set(_ORDER) == {*SITE_KINDS, ROUTER}
