"""Where the parts of a model lie: whole on one device, over several GPUs, or with its blocks on the disk.

Whatever is outside of the blocks - embeddings, the last norm, the unembedding - lies on the first device, the home,
where tokens go in and logits come out. The blocks follow in their order, so that a pass changes devices once for each
of them. Accelerate's hooks on the modules bring activations to the device of a block, and weights from the disk for as
long as a module runs.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import accelerate.utils  # pyright: ignore[reportMissingTypeStubs]
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model.cache import keeps_keys_alone
from srm_explorer.engine.model.device import DTYPES, describe_device, free_bytes, gpu_memory, resolve_device, used_bytes
from srm_explorer.engine.model.hub import ModelFiles, find_model

_FILLED = 0.8
"""Share of a GPU's memory that weights may take, so that the rows of a batch have the rest."""

_accelerate: Any = accelerate.utils


@dataclass(frozen=True)
class Placement:
    """Where a model lies.

    Attributes:
        devices: that hold it, in the order its blocks go through them; the first is the home.
        on_disk: whether its blocks are read from the disk each time that they run.
        blocks: how many blocks each device holds; empty where there is one device.
    """

    devices: tuple[torch.device, ...]
    on_disk: bool = False
    blocks: tuple[int, ...] = ()

    @property
    def home(self) -> torch.device:
        """Where tokens go in and logits come out."""
        return self.devices[0]

    @property
    def is_split(self) -> bool:
        """Whether it is on several devices."""
        return len(self.devices) > 1

    @property
    def is_whole(self) -> bool:
        """Whether all of it is on one device."""
        return not self.is_split and not self.on_disk

    @property
    def name(self) -> str:
        """What `model.device` may say to have it so: "cuda:0", "cuda:0-3", "cpu+disk"."""
        if self.on_disk:
            return f"{self.home}+disk"
        return f"{self.home}-{self.devices[-1].index}" if self.is_split else str(self.home)

    def describe(self) -> str:
        """Name it so that on another machine of its kind it has the same name: "cuda x 2 (NVIDIA H200)"."""
        kinds = [describe_device(device) for device in self.devices]
        kind, _, what = kinds[0].partition(" ")
        if self.on_disk:
            return f"{kind}+disk {what}"
        if not self.is_split:
            return kinds[0]
        models = dict.fromkeys(kind.partition(" ")[2].strip("()") for kind in kinds)
        return f"{kind} x {len(kinds)} ({', '.join(models)})"

    def parts(self) -> dict[str, int]:
        """How many blocks lie on each device, by its name; empty where all are on one."""
        if self.on_disk:
            return {"disk": sum(self.blocks)}
        return {str(d): n for d, n in zip(self.devices, self.blocks, strict=True)} if self.is_split else {}

    def free_bytes(self, *, with_blocks: bool = False) -> int:
        """Estimate how many bytes can still be allocated, where each device takes all that the fullest can.

        Args:
            with_blocks: most of them are shared out as the blocks are, as keys and values: what all devices take.
        """
        free = [free_bytes(device) for device in self.devices]
        if not (with_blocks and self.is_split):
            return min(free)
        whole = sum(self.blocks)
        return min(size * whole // count for size, count in zip(free, self.blocks, strict=True) if count)

    def used_bytes(self) -> int | None:
        """Tell how many bytes are taken, as `device.used_bytes`, on all its devices."""
        used = [used_bytes(device) for device in self.devices]
        known = [taken for taken in used if taken is not None]
        return sum(known) if len(known) == len(used) else None


def placement_of(spec: ModelSpec, files: ModelFiles | None) -> Placement:
    """Choose the devices of a model; how many blocks lie on each is known once it is loaded.

    `auto` takes one GPU where the weights leave a fifth of it, else the fewest of the first ones that they do so on
    together; it never mixes GPUs with the processor or the disk, which TransformerLens does not take.

    Args:
        spec: device and precision.
        files: of the model; None, or files that do not say how large it is, where those are not here yet.

    Raises:
        ExplorerError: a device is not there, or the weights fit on all GPUs together no better.
    """
    if spec.device == "cpu+disk":
        return Placement((torch.device("cpu"),), on_disk=True)
    first = resolve_device(spec.device)
    start, dash, last = spec.device.partition(":")[2].partition("-")
    if dash:
        return Placement(tuple(torch.device("cuda", index) for index in range(int(start), int(last) + 1)))
    count = torch.cuda.device_count() if spec.device == "auto" and first.type == "cuda" else 1
    if count == 1:
        return Placement((first,))
    weights = None if files is None else files.weight_count()
    # All, where it is not known yet: who waits for them all has those it will be on.
    needed = count if weights is None else fewest(weights * DTYPES[spec.dtype].itemsize, gpu_memory(), spec.name)
    return Placement(tuple(torch.device("cuda", index) for index in range(needed)))


def fewest(needed: int, memory: Sequence[int], name: str) -> int:
    """Count the first GPUs that hold so many bytes of weights together and have room left for rows.

    Args:
        needed: bytes of the weights.
        memory: bytes of each GPU.
        name: of the model, for the refusal.

    Raises:
        ExplorerError: all together are not enough.
    """
    for count in range(1, len(memory) + 1):
        if needed <= _FILLED * sum(memory[:count]):
            return count
    raise ExplorerError(
        f"its weights take {needed / 1e9:,.1f} GB and the {len(memory)} GPUs here have {sum(memory) / 1e9:,.1f} GB",
        where=name,
        remedy="choose model.dtype bfloat16 or a smaller model; device cpu+disk is slow, and runs it",
    )


def device_key(spec: ModelSpec, base: Path) -> str:
    """Name the devices of a model for locks, the same for every process however it numbers its devices.

    Args:
        spec: device and precision; where those leave the number of GPUs open, which model.
        base: folder that a relative path of the model starts from.

    Returns:
        words of letters, digits and dashes, joined by "+" where there are several devices.

    Raises:
        ExplorerError: a device is not there.
    """
    files = None
    if spec.device == "auto" and torch.cuda.is_available() and torch.cuda.device_count() > 1:
        with suppress(ExplorerError):  # Loading says what is wrong with it.
            files = find_model(spec.name, spec.revision, base)
    placement = placement_of(spec, files)
    return "+".join(sorted({_key(device) for device in placement.devices}))


def _key(device: torch.device) -> str:
    if device.type != "cuda":
        return device.type
    library: Any = torch.cuda
    properties: Any = library.get_device_properties(device)
    return f"cuda-{getattr(properties, 'uuid', device.index)}"


def spread(outside: int, blocks: Sequence[int], room: Sequence[int]) -> list[int] | None:
    """Give every block a device so that the fullest device is as little filled as can be.

    Args:
        outside: bytes of what is outside of the blocks, on the first device.
        blocks: bytes of each block, in order.
        room: bytes that each device has.

    Returns:
        how many blocks go to each device, in order; None where they do not fit.
    """
    low, high, best = 0.0, 1.0, _filled(outside, blocks, [float(size) for size in room])
    for _ in range(40):
        share = (low + high) / 2
        tried = _filled(outside, blocks, [share * size for size in room])
        low, high, best = (share, high, best) if tried is None else (low, share, tried)
    return best


def _filled(outside: int, blocks: Sequence[int], room: Sequence[float]) -> list[int] | None:
    counts, at, taken = [0] * len(room), 0, float(outside)
    if taken > room[0]:
        return None
    for size in blocks:
        while taken + size > room[at]:
            at, taken = at + 1, 0.0
            if at == len(room):
                return None
        counts[at] += 1
        taken += size
    return counts


@dataclass(frozen=True)
class DeviceMap:
    """Which part of a model goes where, as transformers takes it.

    Attributes:
        placement: with the number of blocks on each device.
        parts: device or "disk" by the name of a module.
        folder: where weights lie that cannot be read from the model's own files as they are; they go as the model does.
    """

    placement: Placement
    parts: Mapping[str, int | str]
    folder: tempfile.TemporaryDirectory[str] | None = None

    def options(self) -> dict[str, Any]:
        """What `from_pretrained` is given."""
        return {"device_map": dict(self.parts), **({"offload_folder": self.folder.name} if self.folder else {})}

    def keep_for(self, model: nn.Module) -> None:
        """Take the folder away as the model goes."""
        if self.folder is not None:
            weakref.finalize(model, self.folder.cleanup)


def device_map(config: Any, placement: Placement, dtype: torch.dtype, room: Sequence[int], name: str) -> DeviceMap:
    """Lay a model out over several GPUs, or its blocks on the disk.

    Args:
        config: of the model, as transformers reads it; no weights are read.
        placement: the devices.
        dtype: precision of the weights.
        room: bytes that weights may take on each device.
        name: of the model, for the refusal.

    Raises:
        ExplorerError: it does not fit, or has no stack of blocks that can be laid out.
    """
    if placement.is_split and not keeps_keys_alone(config):
        what = "some of its layers keep the state of a recurrence, which TransformerLens keeps on one device"
        raise ExplorerError(what, where=name, remedy="choose one device")
    auto: Any = AutoModelForCausalLM
    with torch.device("meta"):
        empty: nn.Module = auto.from_config(config, dtype=dtype)
    layers = int(config.get_text_config().num_hidden_layers)
    named: dict[str, nn.Module] = dict(cast("Any", empty).named_modules())
    stack = next((at for at, part in named.items() if _is_stack(part, layers)), None)
    if stack is None:
        what = f"{type(empty).__name__} has no stack of {layers} blocks that could be laid out"
        raise ExplorerError(what, where=name, remedy="choose one device")
    blocks = list(named[stack].children())
    sizes = [_bytes(block) for block in blocks]
    if placement.on_disk:
        counts: list[int] | None = [layers]
    else:
        counts = spread(_bytes(empty) - sum(sizes), sizes, room)
    if counts is None:
        what = f"its weights take {_bytes(empty) / 1e9:,.1f} GB, more than is free on {placement.name}"
        raise ExplorerError(what, where=name, remedy="choose more GPUs, or model.dtype bfloat16")
    homes: list[int | str] = ["disk"] if placement.on_disk else [int(d.index) for d in placement.devices]
    home: int | str = "cpu" if placement.on_disk else homes[0]
    parts = dict.fromkeys(_around(empty, stack), home)
    targets = [target for target, count in zip(homes, counts, strict=True) for _ in range(count)]
    parts |= {f"{stack}.{index}": target for index, target in enumerate(targets)}
    folder = tempfile.TemporaryDirectory(prefix="srm-explorer-") if placement.on_disk else None
    return DeviceMap(Placement(placement.devices, placement.on_disk, tuple(counts)), parts, folder)


def _is_stack(part: nn.Module, layers: int) -> bool:
    return isinstance(part, nn.ModuleList) and len(part) == layers


def _bytes(module: nn.Module) -> int:
    """Bytes of a module's weights, shared ones once."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))


def _around(model: nn.Module, stack: str) -> list[str]:
    """Names of what a model has beside a stack in it: modules, and the weights of those that hold the stack."""
    names: list[str] = []
    inside = ""
    for step in stack.split("."):
        outer = model.get_submodule(inside)
        prefix = f"{inside}." if inside else ""
        own = (*outer.named_parameters(recurse=False), *outer.named_buffers(recurse=False), *outer.named_children())
        names += [f"{prefix}{name}" for name, _ in own if name != step]
        inside = f"{prefix}{step}"
    return names


def bring_home(blocks: Sequence[nn.Module], placement: Placement) -> None:
    """Have what the last block returns brought to the first device, where what follows it is.

    Accelerate would do so as the next module is called, and the bridge of a norm computes it without calling it.
    """

    def to_home(block: nn.Module, inputs: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return output.to(placement.home)
        return (output[0].to(placement.home), *output[1:])

    if placement.is_split:
        blocks[-1].register_forward_hook(to_home)


@contextmanager
def at_hand(*modules: nn.Module) -> Generator[None]:
    """Bring the weights of modules from the disk for as long as the block runs; those that are here just stay."""
    with ExitStack() as stack:
        for module in (inner for outer in modules for inner in outer.modules()):
            stack.enter_context(_accelerate.align_module_device(module))
        yield


def every_weight(model: nn.Module) -> Generator[tuple[str, Tensor]]:
    """Go through all weights and buffers that are saved with a model, by name in order, one at a time from the disk."""
    names: dict[str, Tensor] = model.state_dict()
    for name in sorted(names):
        tensor = names[name]
        if tensor.is_meta:
            module, _, own = name.rpartition(".")
            with at_hand(model.get_submodule(module)):
                yield name, getattr(model.get_submodule(module), own).detach()
        else:
            yield name, tensor.detach()
