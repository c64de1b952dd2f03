"""Studies of neurons: how much each is used, the card of one, and what their weights are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine import paths
from srm_explorer.engine.analyses import neuron as tables
from srm_explorer.engine.analyses.neuron import usage_tables
from srm_explorer.engine.analyses.pairs import SETTINGS, chosen_neuron, pair_tables
from srm_explorer.engine.analyses.registry import Arguments, Findings, StudyArguments, findings_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.execution.w_out import Matrices, weights_of
from srm_explorer.engine.experiment import Site
from srm_explorer.engine.experiment.directions import NeuronWeights, direction_of
from srm_explorer.engine.experiment.fields import BOS_WORDS, bos_of
from srm_explorer.engine.figures import TableFigure, histogram_figure
from srm_explorer.engine.model import (
    Feeding,
    LayerWeights,
    LoadedModel,
    ReadText,
    WeightCard,
    check_layer,
    check_neuron,
    is_written,
    layer_weights,
    neuron_activations,
    neuron_usage,
    w_gate_columns,
    w_out_rows,
    weight_card,
    writing_rows,
)
from srm_explorer.engine.prompts import is_path, load_prompt_set
from srm_explorer.engine.runs.progress import Meter, Stopped
from srm_explorer.engine.session import Session

Kind = Literal["prompts", "generated"]
"""Positions that count: those of the prompts, or those of the continuations that the baseline wrote."""


@dataclass(frozen=True)
class Texts:
    """Texts to be read.

    Attributes:
        read: the texts, by token ids.
        sets: [text] the prompt set each came from.
        runs: [text] index of the baseline run it belongs to, among all planned ones; None where it belongs to none.
        caption: what they are, for a reader: "20 prompts of reasoning · 273 positions".
    """

    read: tuple[ReadText, ...]
    sets: tuple[str, ...]
    runs: tuple[int | None, ...]
    caption: str

    @property
    def positions(self) -> int:
        """Positions that count, over all texts."""
        return sum(text.counted for text in self.read)


def texts_for(
    model: LoadedModel,
    session: Session | None,
    sets: Sequence[str],
    kind: Kind = "prompts",
    *,
    skip: int = 0,
    feeding: Feeding | None = None,
    column: str | None = None,
) -> Texts:
    """Gather texts.

    Args:
        model: its tokenizer splits prompt sets; a session's prompts are taken as they were fed.
        session: whose prompts are read where no set, or its own sets, are named.
        sets: names or paths of prompt sets, relative to the working folder.
        kind: what is counted; continuations are those of the session's baseline runs.
        skip: positions at the beginning of each text that don't count, beside a BOS, which never does.
        feeding: how prompts of sets become ids, without a session; with one they are fed as its prompts were.
        column: of the sets, the column or key that holds the prompts; the session's by default.

    Raises:
        ExplorerError: no text, a prompt that has no tokens, an unknown set, or no baseline run to read.
    """
    if kind == "generated":
        return _generated(session, skip)
    texts: list[tuple[str, tuple[int, ...], int | None]] = []
    if session is not None and (not sets or list(sets) == list(session.spec.prompts.sets)):
        runs = {run.prompt: run.index for run in reversed(session.runs) if run.condition == 0}
        listed = [(index, prompt) for index, prompt in enumerate(session.prompts) if session.prompts_seen[index]]
        texts = [(prompt.set, prompt.token_ids, runs.get(index)) for index, prompt in listed]
    else:
        way = feeding or Feeding() if session is None else session.spec.prompts
        column = column if column is not None or session is None else session.spec.prompts.text
        for name in sets:
            loaded = load_prompt_set(name, folders=paths.prompt_folders(), base=paths.working_folder(), column=column)
            ids = [model.tokenizer.encode_prompt(prompt.content, way) for prompt in loaded.prompts]
            texts += [(loaded.name, tuple(row), None) for row in ids]
    bos_id = model.tokenizer.bos_id
    kept = [text for text in texts if text[1]]
    return _checked(
        tuple(ReadText(ids, skip + int(ids[0] == bos_id)) for _, ids, _ in kept),
        tuple(name for name, _, _ in kept),
        tuple(run for _, _, run in kept),
        f"prompts of {', '.join(dict.fromkeys(name for name, _, _ in kept))}",
        skip,
    )


def absolute_sets(names: Sequence[str], base: Path) -> list[str]:
    """Prompt sets with relative paths that lie beside an experiment written in full; others as they are."""
    return [str(paths.absolute(base / name)) if is_path(name) and (base / name).is_file() else name for name in names]


def _generated(session: Session | None, skip: int) -> Texts:
    if session is None:
        raise ExplorerError("only a session has written texts", remedy="name a session, or read prompts")
    seen = zip(session.runs, session.seen.tolist(), strict=True)
    runs = [run for run, is_seen in seen if is_seen and run.condition == 0 and run.token_ids]
    return _checked(
        tuple(
            ReadText((*session.prompts[run.prompt].token_ids, *run.token_ids), run.prompt_tokens + skip) for run in runs
        ),
        tuple(session.prompts[run.prompt].set for run in runs),
        tuple(run.index for run in runs),
        f"baseline continuations of session {session.name}",
        skip,
    )


def _checked(
    read: tuple[ReadText, ...], sets: tuple[str, ...], runs: tuple[int | None, ...], noun: str, skip: int
) -> Texts:
    positions = sum(text.counted for text in read)
    if not positions:
        what = f"there are no {noun.split(' of ')[0]} to read"
        raise ExplorerError(what, remedy="name a prompt set, or a session that has some, or skip fewer positions")
    without = f", the first {skip} of each left out" if skip else ""
    return Texts(read, sets, runs, f"{len(read):,} {noun} · {positions:,} positions{without}")


BEFORE, AFTER = 60, 24
"""Characters of a text that are shown before and after a token."""

_READING = ("prompts", "text", "skip", "prepend_bos", "text_column", "chat_template", "system")


def usage_study(session: Session | None, arguments: Arguments, model: LoadedModel, meter: Meter) -> Findings:
    """Rank neurons by how much they are used on texts.

    Args:
        session: whose texts are read where no prompt set is named; None for a model alone.
        arguments: "layer" (all by default), "prompts" (sets), "text" ("prompts", or "generated" by the session's
            baseline), "skip" (positions at the beginning that don't count, 0), "text_column" (of the sets),
            "prepend_bos" ("auto"), "chat_template" (False) and "system" (all three without a session), "top" (rows,
            10), "list" ("top", or "all" neurons), "seed" (of the positions that quantiles are taken from, where not all
            are kept).
        model: loaded.
        meter: told how far it is.

    Raises:
        ExplorerError: what is wrong with an argument, or no text to read.
    """
    settings = StudyArguments(arguments, ("layer", "top", "list", "seed", *_READING), "usage")
    layer, seed = settings.whole("layer"), settings.whole("seed", 0, least=0)
    if layer is not None:
        check_layer(model, layer)
    layers = list(model.shape.neuron_layers or (0,)) if layer is None else [layer]
    for index in layers:
        model.shape.check_neurons(f"blocks.{index}.mlp.hook_post")
    texts = _texts(settings, session, model)
    if texts is None:
        raise ExplorerError("there are no texts to read", remedy="name a prompt set, or a session")
    places = _Places(texts, model)
    figures = usage_tables(
        neuron_usage(model, texts.read, layers, seed=seed, on_pass=_passes(meter, texts)),
        gated=w_gate_columns(model, layers[0]) is not None,
        caption=texts.caption,
        seed=seed,
        top=settings.whole("top", 10, least=1),
        every=settings.choice("list", ("top", "all")) == "all",
        token_at=places.short,
        is_first=lambda number: places.find(number)[1] == 0,
    )
    return findings_of(*figures)


def neuron_study(session: Session | None, arguments: Arguments, model: LoadedModel, meter: Meter) -> Findings:
    """Make the card of a neuron: tables, and the histogram of its activations where texts are read.

    Args:
        session: whose texts are read where no prompt set is named, and whose values are marked; None for neither.
        arguments: "layer" and "neuron"; "neighbours" ("layer", or "model" for all layers); "top" (rows, 10);
            "prompts", "text", "skip", "text_column", "prepend_bos", "chat_template" and "system" as `usage_study` has
            them. With neither prompts nor a session the card holds what the weights say.
        model: loaded.
        meter: told how far it is.

    Returns:
        tables, and "histogram", as `HistogramFigure.to_dict`; null where nothing was read.

    Raises:
        ExplorerError: what is wrong with an argument, or the model's MLPs are not plain.
    """
    settings = StudyArguments(arguments, ("layer", "neuron", "neighbours", "top", *_READING), "neuron")
    layer, neuron = settings.whole("layer"), settings.whole("neuron")
    if layer is None or neuron is None:
        raise ExplorerError("a card is of one neuron", remedy="give its layer and its number")
    check_layer(model, layer)
    model.shape.check_neurons(f"blocks.{layer}.mlp.hook_post")
    check_neuron(model, layer, neuron)
    top = settings.whole("top", 10, least=1)
    wide = settings.choice("neighbours", ("layer", "model")) == "model"
    texts = _texts(settings, session, model)
    card = weight_card(model, layer, neuron, top=top, layers=model.shape.neuron_layers if wide else None)
    values = np.zeros(0)
    if texts is not None:
        values = neuron_activations(model, texts.read, layer, neuron, on_pass=_passes(meter, texts))
        if not np.isfinite(values).all():
            what = "some activations are not finite"
            raise ExplorerError(what, remedy="load the model with dtype float32, or name other prompts")
    name = f"neuron {neuron} of layer {layer}, {model.name}"
    weights = layer_weights(model, layer, np.array([neuron]))
    facts = [tables.Fact(f"norm of {norm.name}", norm.length, norm.share) for norm in card.norms]
    facts += tables.weight_facts(weights)
    facts += tables.activation_facts(values, gated=card.gated) if len(values) else ()
    figures = [
        tables.facts_table(f"Neuron {neuron} of layer {layer}", facts, [f"read on {texts.caption}"] if texts else [])
    ]
    figures += _weight_tables(card, model, (layer, neuron), top, wide=wide)
    if texts is None:
        return findings_of(*figures, layer=layer, neuron=neuron, histogram=None)
    places = _Places(texts, model)
    figures.append(_firing("fires", "Where it is most active", values, texts, places, top))
    if card.gated:
        figures.append(_firing("opposes", "Where it is most negative", values, texts, places, top, sign=-1))
    marks = tables.clamp_values(session, f"blocks.{layer}.mlp.hook_post", neuron) if session else ()
    if marks:
        figures.append(tables.clamp_table(values, marks))
    figure = histogram_figure(values, marks, title=f"{name} · {texts.caption}", value_label="activation")
    return findings_of(*figures, layer=layer, neuron=neuron, histogram=figure.to_dict())


def weights_study(session: Session | None, arguments: Arguments, model: LoadedModel, meter: Meter) -> Findings:
    """Rank neurons by what their weights say, without a text.

    Args:
        session: not asked anything; the model is known to be its own.
        arguments: "layer" (all by default), "top" (rows, 10), "list" ("top", or "all" neurons).
        model: loaded.
        meter: told how far it is.

    Raises:
        ExplorerError: what is wrong with an argument, or the model's MLPs are not plain.
    """
    settings = StudyArguments(arguments, ("layer", "top", "list"), "weights")
    layer = settings.whole("layer")
    if layer is not None:
        check_layer(model, layer)
    layers = list(model.shape.neuron_layers or (0,)) if layer is None else [layer]
    read: dict[int, LayerWeights] = {}
    for number, index in enumerate(layers):
        model.shape.check_neurons(f"blocks.{index}.mlp.hook_post")
        meter.begin_parts("running", number, len(layers))
        read[index] = layer_weights(model, index, on_step=meter.fly)
    figures = tables.weights_tables(
        read,
        width=model.shape.d_model,
        vocab=model.n_vocab,
        top=settings.whole("top", 10, least=1),
        every=settings.choice("list", ("top", "all")) == "all",
    )
    return findings_of(*figures)


def _weight_tables(
    card: WeightCard, model: LoadedModel, neuron: tuple[int, int], top: int, *, wide: bool
) -> list[TableFigure]:
    where = "of the model" if wide else "of its layer"
    is_last = neuron[0] == model.shape.n_layers - 1
    promoted, suppressed = tables.token_tables(
        card.logits, model.tokenizer.piece, top=top, is_last=is_last, is_normed=card.is_normed
    )
    alike = {"width": model.shape.d_model, "compared": card.compared}
    centred = "rows of W_out, centred over d_model as the norms that read them do" if model.shape.centres else ""
    read = "columns of W_in (`up`, which its gate multiplies)" if card.gated else ""
    writes = [(neighbour.layer, neighbour.neuron, neighbour.cosine) for neighbour in card.writes_alike]
    reads = [(neighbour.layer, neighbour.neuron, neighbour.cosine) for neighbour in card.reads_alike]
    return [
        promoted,
        suppressed,
        tables.neighbour_table(
            "writes", f"Neurons {where} that write alike (W_out)", neuron, writes, note=centred, **alike
        ),
        tables.neighbour_table("reads", f"Neurons {where} that read alike (W_in)", neuron, reads, note=read, **alike),
    ]


def _firing(
    name: str, title: str, values: NDArray[np.float64], texts: Texts, places: _Places, top: int, sign: int = 1
) -> TableFigure:
    """List where a neuron is most active; texts that are the same up to there are one row."""
    firings: dict[tuple[int, ...], tables.Firing] = {}
    times = Counter[tuple[int, ...]]()
    order = np.argsort(-sign * values, kind="stable")
    for number in order.tolist():
        text, position = places.find(number)
        key = texts.read[text].ids[: position + 1]
        times[key] += 1
        if key not in firings:
            if len(firings) == top:
                # Equal beginnings have equal activations, but for rounding, so the first that is new ends the list.
                break
            shown, token = places.context(text, position), places.token(text, position)
            firing = tables.Firing(float(values[number]), shown, token, position, texts.sets[text], 0, texts.runs[text])
            firings[key] = firing
    listed = [
        tables.Firing(firing.activation, firing.text, firing.token, firing.position, firing.set, times[key], firing.run)
        for key, firing in firings.items()
    ]
    first = sum(firing.position == 0 for firing in listed)
    notes = ["texts: how many are the same up to this token, and count as one row"]
    if 2 * first >= len(listed):
        notes.insert(0, "the first position attends to itself alone and is unlike all others: skip 1 to leave it out")
    return tables.firing_table(name, title, listed, notes)


class _Places:
    """From the number of a position, among all that count, to its text and its token."""

    def __init__(self, texts: Texts, model: LoadedModel) -> None:
        self._texts = texts
        self._tokenizer = model.tokenizer
        self._ends = np.cumsum([text.counted for text in texts.read])

    def find(self, number: int) -> tuple[int, int]:
        """Index of the text, and the absolute position."""
        text = int(np.searchsorted(self._ends, number, side="right"))
        read = self._texts.read[text]
        return text, int(number - (self._ends[text] - read.counted)) + read.first

    def token(self, text: int, position: int) -> str:
        """The token as text."""
        ids = self._texts.read[text].ids
        return self._tokenizer.shown(ids[:position], ids[position : position + 1])

    def short(self, number: int) -> str:
        """The token and its position: '" door" at 4'."""
        text, position = self.find(number)
        return f'"{self.token(text, position)}" at {position}'

    def context(self, text: int, position: int) -> str:
        """The text around a token, which is marked; the character, where it takes several tokens."""
        ids = self._texts.read[text].ids
        marked = self._tokenizer.character(ids, position)
        before = self._tokenizer.decode(ids[: marked.start])
        after = self._tokenizer.shown(ids[: marked.stop], ids[marked.stop :])
        before = f"…{before[-BEFORE:]}" if len(before) > BEFORE else before
        after = f"{after[:AFTER]}…" if len(after) > AFTER else after
        inside = self._tokenizer.shown(ids[: marked.start], ids[marked.start : marked.stop])
        return f"{before}«{inside}»{after}"


def _texts(settings: StudyArguments, session: Session | None, model: LoadedModel) -> Texts | None:
    sets, kind = settings.texts("prompts"), settings.choice("text", ("prompts", "generated"))
    if not sets and session is None:
        return None
    counted: Kind = "generated" if kind == "generated" else "prompts"
    bos, system = bos_of(settings.choice("prepend_bos", BOS_WORDS)), settings.text("system")
    feeding = Feeding(bos, settings.truth("chat_template") or system is not None, system)
    if session is not None and feeding != Feeding():
        what = "prompts are fed as those of the session were: its BOS, its chat template, its system message"
        raise ExplorerError(what, remedy="leave these out, or the session")
    skip, column = settings.whole("skip", 0, least=0), settings.text("text_column")
    return texts_for(model, session, sets, counted, skip=skip, feeding=feeding, column=column)


def _passes(meter: Meter, texts: Texts) -> Callable[[int, int], None]:
    meter.runs, meter.runs_done = len(texts.read), 0
    meter.steps = max(1, texts.positions // len(texts.read))
    meter.begin_batch(0)

    def on_pass(n_texts: int, positions: int) -> None:
        meter.end_pass(n_texts, positions)
        if meter.stop.level:
            raise Stopped

    return on_pass


def directions_study(session: Session | None, arguments: Arguments, model: LoadedModel, meter: Meter) -> Findings:
    """Read rows of W_out and columns of W_in.

    Args:
        session: not asked anything; the model is known to be its own.
        arguments: "directions": texts such as "w_out(11.373)".
        model: loaded.
        meter: not told anything; it takes a moment.

    Returns:
        "vectors": by text, [d_model] numbers.

    Raises:
        ExplorerError: a text that is no neuron's weights, or no such layer or neuron.
    """
    vectors: dict[str, list[float]] = {}
    matrices: Matrices = {}
    for text in StudyArguments(arguments, ("directions",), "directions").texts("directions"):
        direction = direction_of(text)
        if not isinstance(direction, NeuronWeights):
            raise ExplorerError(f"'{text}' is no neuron's weights", remedy="write w_out(layer.neuron)")
        vectors[str(direction)] = weights_of(model, direction, matrices).tolist()
    return findings_of(vectors=vectors)


def weighted_pairs_study(session: Session | None, arguments: Arguments, model: LoadedModel, meter: Meter) -> Findings:
    """Do what the study "pairs" does, with the cosines of the rows of W_out beside the correlations.

    Args:
        session: with its vectors.
        arguments: as `pairs_study`.
        model: the session's.
        meter: not told anything; the study takes seconds.

    Raises:
        ExplorerError: as `pairs_study`, and for a neuron that is no MLP's.
    """
    if session is None:
        raise ExplorerError("pairings are those of a session", remedy="name one")
    settings = StudyArguments(arguments, SETTINGS, "pairs")
    site, _ = chosen_neuron(session, settings.text("site"), settings.whole("neuron"))
    parsed = Site.parse(site)
    if not parsed.is_mlp:
        raise ExplorerError(f"{site} has no W_out", where=session.name, remedy="choose an MLP's site")
    layer = parsed.layer
    rows, stream = w_out_rows(model, layer), str(Site(layer, "hook_resid_post"))
    # No neuron of a layer adds its row alone where a norm follows.
    adds_up = is_written(model, stream, site, (0,), rows[:1])
    return pair_tables(session, arguments, writing_rows(model, layer), adds_up=adds_up)
