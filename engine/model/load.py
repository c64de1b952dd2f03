"""Loading a model by name or folder, with everything about it that a result depends on."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import logging
import os
import traceback
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from numpy.typing import NDArray
from safetensors import SafetensorError
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources.transformers import source as bridge_source
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils.quantization_config import Mxfp4Config

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError, SpecValueError, device_fault, first_line, is_out_of_memory
from srm_explorer.engine.experiment import SITE_KINDS, ModelShape, ModelSpec, Site
from srm_explorer.engine.model.blocks import Blocks
from srm_explorer.engine.model.device import DTYPES, free_bytes, resolve_device, set_tf32
from srm_explorer.engine.model.experts import Experts, Hook, Routed, experts_of, listening, unreached_experts
from srm_explorer.engine.model.hub import ModelFiles, fetch_model
from srm_explorer.engine.model.placement import (
    DeviceMap,
    Placement,
    at_hand,
    bring_home,
    device_map,
    every_weight,
    placement_of,
)
from srm_explorer.engine.model.tokenizer import Tokenizer

_REFUSALS = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    ImportError,
    StrictDataclassError,
)
"""What the libraries raise over a folder that is no model they know, or a config.json with nonsense in it."""


@dataclass
class LoadedModel:
    """A model that is ready to run.

    Args:
        name: as the experiment names it.
        bridge: the TransformerLens bridge; hooks on it are global to the model, so one run at a time.
        blocks: passes over parts of the model.
        tokenizer: the model's own.
        shape: sizes that an experiment is checked against.
        placement: where it runs.
        dtype: precision of weights and activations.
        weights_sha256: hash of every parameter, by name.
        source: folder or Hugging Face name it was loaded from.
        revision: of a Hugging Face name, the commit its files are of; None for a folder.
        is_demo: whether it is the bundled demo model, whose results must say so.
        pads: whether prompts of different lengths may share a batch; the self-test decides, and until then they do not.
        shares_blocks: whether rows with one history may share the blocks below the first edit; the self-test decides.
        experts: of the layers that are a mixture of experts whose neurons can be reached, by layer.
        static_steps: whether batches are decoded in static tensors, on CUDA as graphs; the self-test decides.
        kept_step: the tensors of the last batch that was, for the next of its shape (`engine.model.static`).
        kept_weakest: what its unembedding hardly reads, once that was asked for (`engine.model.vocabulary`).
        tf32: whether matrix products of float32 keep 10 bits of each factor's fraction.
        unused: weights of its files that it has no place for.
        unwrapped: token ids, and the logits [vocab] after them that the model gave before the bridge was put around
            it; None where it did not run.
    """

    name: str
    bridge: Any
    blocks: Blocks
    tokenizer: Tokenizer
    shape: ModelShape
    placement: Placement
    dtype: torch.dtype
    weights_sha256: str
    source: str
    revision: str | None = None
    is_demo: bool = False
    shares_blocks: bool = True
    experts: Mapping[int, Experts] = field(default_factory=dict[int, Experts])
    pads: bool = False
    static_steps: bool = False
    kept_step: object | None = field(default=None, repr=False, compare=False)
    kept_weakest: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    tf32: bool = False
    unused: tuple[str, ...] = ()
    unwrapped: tuple[tuple[int, ...], torch.Tensor] | None = field(default=None, repr=False, compare=False)

    @property
    def device(self) -> torch.device:
        """Where tokens go in, logits come out and hooks are called, wherever the blocks lie."""
        return self.placement.home

    @property
    def remarks(self) -> tuple[str, ...]:
        """What whoever reads its numbers should know of the files it was loaded from."""
        if not self.unused:
            return ()
        number = len(self.unused)
        many = f"{number:,} weights in the files" if number > 1 else "a weight in the files"
        have, them = ("have", f", {self.unused[0]} among them") if number > 1 else ("has", f" ({self.unused[0]})")
        return (
            f"{many} of {Path(self.name).name} {have} no place in {type(self.bridge.original_model).__name__}{them}: it"
            " computes without; check that config.json belongs to them",
        )

    @property
    def n_vocab(self) -> int:
        """Number of token ids the model has an embedding for."""
        return int(self.bridge.cfg.d_vocab)

    def check_sites(self, sites: Sequence[str]) -> None:
        """Refuse sites that this model does not have, and neurons where it has none.

        Raises:
            ExplorerError: names the first, and what the model has in that layer.
        """
        known: dict[str, object] = self.bridge.hook_dict
        for site in sites:
            if site not in known and not self._is_of_experts(site):
                layer = ".".join(site.split(".")[:2])
                there = [kind for kind in SITE_KINDS if f"{layer}.{kind}" in known]
                raise ExplorerError(
                    f"{self.name} has no site {site}",
                    remedy=f"choose {layer}. and one of {', '.join(there)}" if there else "choose another layer",
                )
            self.shape.check_neurons(site)

    def _is_of_experts(self, site: str) -> bool:
        """Whether a site lies in a mixture of experts, in a layer that the model has."""
        try:
            parsed = Site.parse(site)
        except SpecValueError:
            return False
        return parsed.is_mixture and parsed.layer < self.shape.n_layers

    @contextlib.contextmanager
    def hooks(self, hooks: Sequence[tuple[str, Hook]]) -> Generator[None]:
        """Call hooks at sites while the block runs, those of experts included.

        A hook takes what the site holds, and as `hook` the bridge's hook point, or at an expert's site which positions
        are sent to it (`Routed`); what it returns, if anything, stands there instead. Of a model on several devices,
        what a site holds is brought to the first before the hook is called, and what the hook returns to where the site
        is.
        """
        if self.placement.is_split:
            hooks = [(name, _at_home(self.device, hook)) for name, hook in hooks]
        own: list[tuple[Experts, int | None, Hook]] = []
        plain: list[tuple[str, Hook]] = []
        for name, hook in hooks:
            if name in self.bridge.hook_dict:
                plain.append((name, hook))
            else:
                site = Site.parse(name)
                own.append((self.experts[site.layer], site.expert, hook))
        with listening(own), self.bridge.hooks(fwd_hooks=plain):
            yield


def _at_home(home: torch.device, called: Hook) -> Hook:
    """Let a hook see, on one device, what a site holds on any."""

    def bring(activation: torch.Tensor, hook: object) -> torch.Tensor | None:
        routed = Routed(hook.mask.to(home)) if isinstance(hook, Routed) else hook
        returned = called(activation.to(home), hook=routed)
        return None if returned is None else returned.to(activation.device)

    return bring


def load_model(spec: ModelSpec, *, base: Path | None = None) -> LoadedModel:
    """Load the model an experiment names, without running any code that comes with it.

    Args:
        spec: name, folder or "demo"; device and dtype.
        base: folder that a relative path starts from; the working folder comes next.

    Raises:
        ExplorerError: not found, not supported, too large, weights that would have to be unpickled, or no such device.
    """
    dtype = DTYPES[spec.dtype]
    # Before anything is fetched: a device that is not there is said at once.
    device = resolve_device(spec.device)
    if device.type == "mps" and dtype == torch.float64:
        raise ExplorerError("mps has no float64", where="model.dtype", remedy="use float32, or device cpu")
    # Until it is loaded: what its parts compute is compared on the way.
    set_tf32(False)
    with _quiet():
        files = fetch_model(spec.name, spec.revision, base)
        folder, source = str(files.folder), files.source
        model, placement, unused = _load_weights(files, spec.name, dtype, placement_of(spec, files))
        n_vocab = getattr(model.config.get_text_config(decoder=True), "vocab_size", None)
        tokenizer = Tokenizer.load(folder, None, stop_ids=_stop_ids(model), n_vocab=n_vocab)
        digest = _weights_sha256(model)
        model = _place(model, placement, spec.name)
        unwrapped = _unwrapped(model, placement, spec.name, min(len(tokenizer.raw), n_vocab or len(tokenizer.raw)))
        bridge = _wrapped(model, files, tokenizer, placement, dtype, spec.name)
    # The router of layers on the disk, and what the experts are sent, are read where nothing is at hand.
    experts = {} if placement.on_disk else _experts(bridge)
    shape = _shape_of(bridge, model, spec.name, experts)
    bring_home(bridge.blocks, placement)
    blocks = Blocks(bridge.original_model, list(bridge.blocks), bridge.hook_dict)
    is_demo = Path(source) == paths.demo_model_folder()
    set_tf32(spec.tf32)
    return LoadedModel(
        name=spec.name,
        bridge=bridge,
        blocks=blocks,
        tokenizer=tokenizer,
        shape=shape,
        placement=placement,
        dtype=dtype,
        weights_sha256=digest,
        source=source,
        revision=files.commit,
        is_demo=is_demo,
        shares_blocks=blocks.keeps_keys_alone and not placement.on_disk,
        experts=experts,
        tf32=spec.tf32 and device.type == "cuda",
        unused=unused,
        unwrapped=unwrapped,
    )


def _what_failed(error: BaseException) -> str:
    """An error's first line; of a bare assertion, which says nothing, what it asserted."""
    if isinstance(error, AssertionError) and not str(error):
        asserted = traceback.extract_tb(error.__traceback__)[-1].line or "something else"
        return f"it expects {asserted.removeprefix('assert ')}"
    return first_line(error)


def _wrapped(
    model: Any, files: ModelFiles, tokenizer: Tokenizer, placement: Placement, dtype: torch.dtype, name: str
) -> Any:
    """A model behind TransformerLens' bridge; ExplorerError for one that it cannot wrap, or that has other blocks."""
    try:
        with _text_alone():
            bridge: Any = TransformerBridge.boot_transformers(
                files.source, hf_model=model, tokenizer=copy.deepcopy(tokenizer.raw), device=placement.home, dtype=dtype
            )
    except _REFUSALS as error:
        if device_fault(error):
            raise
        is_known = "supported architecture" not in first_line(error)
        raise ExplorerError(
            f"TransformerLens {metadata.version('transformer-lens')} cannot wrap {files.architecture}"
            + (f": {_what_failed(error)}" if is_known else ", which it does not know"),
            where=name,
            remedy="choose a decoder-only model it supports",
        ) from error
    _drop_absent(bridge.original_model)
    if bridge.cfg.n_layers < 1 or "blocks.0.hook_resid_post" not in bridge.hook_dict:
        raise ExplorerError(
            f"{type(model).__name__} is no stack of blocks that add to one residual stream",
            where=name,
            remedy="choose a model of another family",
        )
    return bridge


@contextlib.contextmanager
def _text_alone() -> Generator[None]:
    """Keep a bridge from what reads a model's images and sounds.

    It would look for that on the hub, and where it cannot be loaded have pip install torchvision, unasked.
    """

    def nothing(*_: object) -> None:
        pass

    library: Any = bridge_source
    load_processor = library.load_modality_processor
    library.load_modality_processor = nothing
    try:
        yield
    finally:
        library.load_modality_processor = load_processor


def _shape_of(bridge: Any, model: Any, name: str, experts: Mapping[int, Experts]) -> ModelShape:
    config = bridge.cfg
    widths = tuple(_neurons(bridge, layer) for layer in range(config.n_layers))
    counts = Counter(width for width in widths if width)
    d_mlp = counts.most_common(1)[0][0] if counts else int(config.d_mlp)
    heads = tuple(_head_width(bridge, layer) for layer in range(config.n_layers))
    return ModelShape(
        name=name,
        n_layers=config.n_layers,
        d_model=config.d_model,
        d_mlp=d_mlp,
        n_ctx=min(config.n_ctx, _alike_positions(model.config) or config.n_ctx),
        centres=not config.uses_rms_norm and config.normalization_type in ("LN", "LNPre"),
        mlp_widths=() if set(widths) == {d_mlp} else widths,
        n_heads=config.n_heads if any(heads) else 0,
        head_widths=heads if any(heads) else (),
        experts=tuple(_size(experts.get(layer)) for layer in range(config.n_layers)) if experts else (),
        unreached_experts="" if experts else unreached_experts(bridge.blocks),
    )


def probe_ids(vocabulary: int, count: int) -> tuple[int, ...]:
    """Token ids, far from one another, that tests feed a model."""
    return tuple((7919 * (place + 1)) % vocabulary for place in range(count))


_PROBED = 7


def _unwrapped(
    model: Any, placement: Placement, name: str, vocabulary: int
) -> tuple[tuple[int, ...], torch.Tensor] | None:
    """What the model says by itself: the bridge changes it in place, and computes attention by its own code."""
    ids = probe_ids(vocabulary, _PROBED)
    try:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids], device=placement.home), use_cache=False).logits[0, -1]
        return ids, logits.float().cpu()
    except _REFUSALS as error:
        if is_out_of_memory(error):
            raise _too_large(placement, name) from error
        return None  # reordered attention of GPT-2 in float64, for one, which runs as it is wrapped


def _alike_positions(config: Any) -> int | None:
    """How many positions a text may have before another turning of all of them begins, by the longest row of a batch.

    It is so in longrope (Phi-3.5, Phi-4-mini): a row would feel its neighbours, and its keys in the cache be of both.
    """
    said: Any = getattr(config.get_text_config(decoder=True), "rope_parameters", None) or {}
    by_layer: list[Any] = [said, *said.values()]
    told: list[dict[str, Any]] = [one for one in by_layer if isinstance(one, dict)]
    limits: list[Any] = [one.get(_ALIKE) for one in told if one.get("rope_type") == "longrope"]
    return min((limit for limit in limits if isinstance(limit, int)), default=None)


_ALIKE = "original_max_position_embeddings"


def _experts(bridge: Any) -> dict[int, Experts]:
    """Find the experts of every layer, if listening to them changes nothing of what the first of them compute."""
    layers = {layer: experts for layer, block in enumerate(bridge.blocks) if (experts := experts_of(block)) is not None}
    return layers if layers and next(iter(layers.values())).agrees() else {}


def _size(experts: Experts | None) -> tuple[int, int]:
    return (0, 0) if experts is None else (experts.number, experts.width)


def _drop_absent(model: Any) -> None:
    """Take out what the bridge put where a model has, and asks for, None: Granite 4 H has no rotary angles."""
    parts = [(module, name, part) for module in model.modules() for name, part in module.named_children()]
    for module, name, part in parts:
        if getattr(part, "original_component", part) is None:
            module.register_module(name, None)


def _neurons(bridge: Any, layer: int) -> int:
    """Count the neurons that `mlp.hook_post` of a layer holds; 0 where it holds none.

    It holds neurons where it is what the MLP's last matrix reads. In a mixture of experts the bridge lets that name
    stand for the output of the block, and what its config says of widths is a guess.
    """
    hook = bridge.hook_dict.get(f"blocks.{layer}.mlp.hook_post")
    mlp: Any = getattr(bridge.blocks[layer], "mlp", None)
    last = [getattr(mlp, name, None) for name in ("out", "dense_out")]
    if hook is None or not any(getattr(one, "hook_in", None) is hook for one in last):
        return 0
    try:
        with at_hand(mlp):
            weight: torch.Tensor = mlp.W_out
    except (AttributeError, RuntimeError, ValueError):
        return 0
    return int(weight.shape[0]) if weight.ndim == 2 and weight.shape[1] == bridge.cfg.d_model else 0


def _head_width(bridge: Any, layer: int) -> int:
    """Count the coordinates of one attention head in `attn.hook_z`; 0 where that is not what the output matrix reads.

    What the config says is not asked: heads of latent attention give another number than they compare.
    """
    output: Any = getattr(getattr(bridge.blocks[layer], "attn", None), "o", None)
    hook = bridge.hook_dict.get(f"blocks.{layer}.attn.hook_z")
    weight = getattr(getattr(output, "original_component", None), "weight", None)
    if hook is None or getattr(output, "hook_in", None) is not hook or not isinstance(weight, torch.Tensor):
        return 0
    d_model, n_heads = bridge.cfg.d_model, bridge.cfg.n_heads
    if weight.ndim != 2 or d_model not in weight.shape or weight.numel() % (d_model * n_heads):
        return 0
    return int(weight.numel() // (d_model * n_heads))


def _load_weights(
    files: ModelFiles, name: str, dtype: torch.dtype, placement: Placement
) -> tuple[Any, Placement, tuple[str, ...]]:
    """Read the weights: to the processor where the model is to be whole on one device, else each to where it lies.

    Returns:
        the model, where it lies, and the weights of the files that it has no place for.
    """
    auto: Any = AutoModelForCausalLM
    folder = str(files.folder)
    laid_out: DeviceMap | None = None
    plain: dict[str, Any] = {"quantization_config": Mxfp4Config(dequantize=True)} if files.packing == "mxfp4" else {}
    try:
        if not placement.is_whole:
            of_files: Any = AutoConfig
            config: Any = of_files.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            room = [free_bytes(device) for device in placement.devices]
            laid_out = device_map(config, placement, dtype, room, name)
        model, report = auto.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="eager",
            local_files_only=True,
            output_loading_info=True,
            # Told below, by name; the library tells it in a report that nobody sees.
            ignore_mismatched_sizes=True,
            **plain,
            **(laid_out.options() if laid_out else {}),
        )
    except SafetensorError as error:
        raise ExplorerError(
            f"its weights cannot be read: {first_line(error)}", where=name, remedy="copy or save the model again"
        ) from error
    except OSError as error:
        raise ExplorerError(first_line(error), where=folder, remedy="it is incomplete; save the model again") from error
    except MemoryError:
        raise _too_large(placement, name) from None
    except _REFUSALS as error:
        if is_out_of_memory(error):
            raise _too_large(placement, name) from error
        if device_fault(error):
            raise
        is_other = "Unrecognized configuration class" in first_line(error)
        raise ExplorerError(
            f"{files.architecture} is no causal language model that transformers knows"
            if is_other
            else f"{files.architecture} cannot be loaded: {first_line(error)}",
            where=name,
            remedy="choose a causal language model that needs no code of its own",
        ) from error
    _check_sizes(report["mismatched_keys"], name)
    _check_complete(model, report["missing_keys"], name)
    _check_plain(report["unexpected_keys"], name)
    unused = _unused(model, report["unexpected_keys"])
    if files.packing:
        # transformers before 5.23 leaves what it unpacked in bfloat16.
        for parameter in model.parameters():
            parameter.data = parameter.data.to(dtype)
    if dtype == torch.float64:
        # The grouped product that experts are otherwise computed by has no float64.
        model.config._experts_implementation = "eager"
    if laid_out is None:
        return model, placement, unused
    laid_out.keep_for(model)
    return model, laid_out.placement, unused


_OTHER_SENSES = ("vision_", "visual", "image_", "audio_", "multi_modal_", "mm_")
"""Begin the names of what models read images and sounds with."""


def _unused(model: Any, unexpected: Iterable[str]) -> tuple[str, ...]:
    """Name weights that a model computes without, as biases of which its config does not speak.

    What older versions kept beside the weights, as the mask that is called `attn.bias`, is none, nor is what a model
    reads images or sounds with, of which the part that reads text is run alone.
    """
    holders = {name for name, module in model.named_modules() if next(module.children(), None) is not None}
    weights: list[str] = []
    for name in unexpected:
        owner, _, kind = name.rpartition(".")
        is_mask = {owner, f"{model.base_model_prefix}.{owner}"} & holders
        is_of_others = any(part.startswith(_OTHER_SENSES) for part in owner.split("."))
        if kind in ("weight", "bias") and not is_mask and not is_of_others:
            weights.append(name)
    return tuple(sorted(weights))


def _check_sizes(unlike: Iterable[tuple[str, Sequence[int], Sequence[int]]], name: str) -> None:
    """Refuse weights that have another shape than config.json gives them, which were made up."""
    first = min(unlike, default=None)
    if first is not None:
        weight, held, said = first[0], *(" × ".join(map(str, shape)) for shape in first[1:])
        raise ExplorerError(
            f"{weight} is {held} in the files, and {said} by config.json",
            where=name,
            remedy="save the whole model again, or check that config.json belongs to it",
        )


def _check_plain(unexpected: Iterable[str], name: str) -> None:
    """Refuse codes that were read as numbers: beside them lies what they are to be multiplied with."""
    scales = [one for one in unexpected if one.rpartition(".")[2].startswith(("weight_", "input_scale", "SCB"))]
    if scales:
        raise ExplorerError(
            f"its weights are quantised and config.json does not say so: {min(scales)} is to be multiplied with them",
            where=name,
            remedy="use the model it was made from, in float32, bfloat16 or float16",
        )


def _check_complete(model: Any, missing: Iterable[str], name: str) -> None:
    """Refuse what would run and mean nothing: weights that were made up, attention that sees the future."""
    parameters = {parameter for parameter, _ in model.named_parameters()}
    made_up = sorted(parameters.intersection(missing))
    if made_up:
        raise ExplorerError(
            f"{len(made_up)} of its weights are not in the file, {made_up[0]} among them",
            where=name,
            remedy="save the whole model again, or check that config.json belongs to it",
        )
    causal = {getattr(module, "is_causal", None) for module in model.modules()}
    if False in causal and True not in causal:
        raise ExplorerError(
            "it is no causal language model: a token sees those after it",
            where=name,
            remedy="choose a decoder-only model",
        )


def _place(model: Any, placement: Placement, name: str) -> Any:
    try:
        # What is laid out lies where it is to be, and knows the way of its activations.
        return (model.to(placement.home) if placement.is_whole else model).eval()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise _too_large(placement, name) from error


def _too_large(placement: Placement, name: str) -> ExplorerError:
    spread = "more GPUs, cuda:0-3" if placement.home.type == "cuda" else "cpu+disk, which is slow"
    return ExplorerError(
        f"not enough memory on {placement.name} to load it",
        where=name,
        remedy=f"choose a smaller model or dtype, or device {spread}",
    )


def _stop_ids(model: Any) -> frozenset[int]:
    ids: set[int] = set()
    for config in (model.config, getattr(model, "generation_config", None)):
        eos = getattr(config, "eos_token_id", None)
        ids.update([eos] if isinstance(eos, int) else eos or [])
    return frozenset(ids)


def _weights_sha256(model: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in every_weight(model):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        flat = tensor.cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(flat.numpy().data)
    return digest.hexdigest()


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Keep the libraries' progress bars and notices off a screen that is ours."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield
