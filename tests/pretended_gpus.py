"""GPUs that are not there, for a machine that has none: what a GPU would refuse is refused, and the numbers are right.

A tensor on `cuda:N` is a shell whose numbers lie in a tensor of the processor. Every operation goes through here: it
fails where its tensors lie on several devices, counts what makes the host wait for a device, and takes the memory that
a device of that size would have. Work that is captured as a graph is not done then, but whenever the graph is replayed,
on the tensors that were captured; what a graph has left in its own memory is no number after a replay. What is copied
to the host without waiting is there when the device was waited for, and not before.

Not pretended: time, rounding of a GPU's own, kernels, two streams that run into one another, and an index that is out
of range.
"""

from __future__ import annotations

import ctypes
import threading
import uuid
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from accelerate.utils import environment
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_ATEN = torch.ops.aten
_CPU = torch.device("cpu")
_WAITS = frozenset(
    {
        "_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "bincount", "repeat_interleave",
        "_unique", "_unique2", "unique_dim", "unique_consecutive", "count_nonzero",
    }
)  # fmt: skip
"""Operations whose result, or its shape, the host has to know before it can go on."""
_ANYWHERE = frozenset({"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"})
"""Operations that bring indices from the processor to the device by themselves, for which they wait."""
_ADVICE = "CUDA error: operation not permitted when stream is capturing"


class OnGpu(Tensor):
    """A tensor that lies on a pretended GPU; `held` has its numbers."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device) -> OnGpu:
        shell = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=device,
            requires_grad=held.requires_grad,
        )
        shell.held = held.detach()
        return shell

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return Gpus.there()._run(func, args, kwargs or {})

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def untyped_storage(self) -> Any:
        return self.held.untyped_storage()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first")

    def __repr__(self, **_: Any) -> str:
        return f"OnGpu({self.held!r}, {self.device})"

    def __format__(self, form: str) -> str:
        return format(self.item() if self.ndim == 0 else repr(self), form)

    def __deepcopy__(self, memo: Any) -> OnGpu:
        return memo.setdefault(id(self), self.clone())


class _Graph:
    """What `torch.cuda.graph` captures into."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._taken: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self._undone: list[tuple[Tensor, Tensor]] = []

    def capture_begin(self, *_: Any, **__: Any) -> None:
        gpus = Gpus.there()
        assert gpus.capturing is None, "one capture at a time"
        gpus.capturing = self

    def capture_end(self) -> None:
        Gpus.there().capturing = None
        for place, before in reversed(self._undone):
            place.copy_(before)
        self._undone.clear()

    def note(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Do an operation, remember it, and how to undo it."""
        for place in _written(func, args, kwargs):
            self._undone.append((place, place.clone()))
        result = func(*args, **kwargs)
        known = {_storage(leaf) for leaf in _tensors((args, kwargs))}
        made = [leaf for leaf in _tensors(result) if _storage(leaf) not in known]
        if made or _written(func, args, kwargs):
            self._taken.append((func, args, kwargs, made))
        return result

    def replay(self) -> None:
        gpus = Gpus.there()
        gpus.replays += 1
        with torch.inference_mode():
            for func, args, kwargs, made in self._taken:
                known = {_storage(leaf) for leaf in _tensors((args, kwargs))}
                result = func(*args, **kwargs)
                again = [leaf for leaf in _tensors(result) if _storage(leaf) not in known]
                for place, new in zip(made, again, strict=True):
                    place.copy_(new)
            for _, _, _, made in self._taken:
                for place in made:
                    place.fill_(torch.nan if place.is_floating_point() else True)

    def reset(self) -> None:
        self._taken.clear()

    def pool(self) -> tuple[int, int]:
        return (0, 1)


class _Stream:
    def __init__(self, device: Any = None, **_: Any) -> None:
        self.device = torch.device("cuda", 0) if device is None else torch.device(device)

    def wait_stream(self, other: _Stream) -> None: ...
    def wait_event(self, event: _Event) -> None: ...
    def record_event(self, event: _Event | None = None) -> _Event:
        return event or _Event()

    def synchronize(self) -> None:
        Gpus.there().wait()


class _Event:
    def __init__(self, *_: Any, **__: Any) -> None: ...
    def record(self, stream: _Stream | None = None) -> None: ...
    def wait(self, stream: _Stream | None = None) -> None: ...
    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        Gpus.there().wait()


class Gpus:
    """Pretended GPUs.

    Args:
        count: how many there are.
        memory: bytes that each has.

    Attributes:
        waits: operations that made the host wait, by name, in their order.
        replays: of graphs.
        capturing: what is being captured into.
        most: bytes that tensors took at once on each.
    """

    _there: ClassVar[list[Gpus]] = []

    def __init__(self, count: int = 1, memory: int = 2**33) -> None:
        self.count, self.memory = count, memory
        self.waits: list[str] = []
        self.replays = 0
        self.capturing: _Graph | None = None
        self.taken = [0] * count
        self.most = [0] * count
        self.sync_debug = 0
        self.streams = [[_Stream(torch.device("cuda", index))] for index in range(count)]
        self.current = 0
        self._pinned: set[int] = set()
        self._late: list[tuple[Tensor, Tensor]] = []
        self._known: set[int] = set()

    @staticmethod
    def there() -> Gpus:
        """The ones that are there."""
        return Gpus._there[-1]

    def wait(self) -> None:
        """Have the device finish: what was copied to the host without waiting is there now."""
        for place, numbers in self._late:
            place.copy_(numbers)
        self._late.clear()

    def _waited(self, what: str) -> None:
        if self.capturing is not None:
            raise RuntimeError(f"{_ADVICE}: {what}")
        if self.sync_debug == 2:
            raise RuntimeError(f"called a synchronizing CUDA operation: {what}")
        self.waits.append(what)
        self.wait()

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        given = _tensors((args, kwargs))
        on_gpu = [leaf for leaf in given if isinstance(leaf, OnGpu)]
        named = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.device)]
        asked = self._device(named[0]) if named else None
        is_pinned = bool(kwargs.get("pin_memory"))
        if not on_gpu and (asked is None or asked.type != "cuda") and not is_pinned:
            if func.overloadpacket in (_ATEN._pin_memory, _ATEN.pin_memory):
                return self._pin(args[0].clone())
            if func.overloadpacket is _ATEN.is_pinned:
                return _storage(args[0]) in self._pinned
            return func(*args, **kwargs)
        with _Operations():
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        name = func.overloadpacket._qualified_op_name.partition("::")[2]
        if is_pinned:
            return self._pin(func(*args, **{**kwargs, "pin_memory": False}))
        if name == "_to_copy":
            return self._moved(func, args, kwargs, asked)
        if name == "copy_":
            return self._copied(func, args, kwargs)
        if name == "record_stream":
            return None
        if name == "is_pinned":
            return False
        device = self._common(name, on_gpu, given) if on_gpu else asked
        if asked is not None and asked != device and "like" not in name and not name.startswith("new_"):
            raise RuntimeError(f"{name} from {device} to {asked}")
        if asked is not None:
            device, kwargs = asked, {**kwargs, "device": _CPU}
        self._look(name, args)
        if device.type == "cpu":
            return func(*tree_map(_held, args), **tree_map(_held, kwargs))
        return self._done(func, args, kwargs, device)

    def _done(self, func: Any, args: Any, kwargs: Any, device: torch.device) -> Any:
        """Have the numbers computed, and say where they lie."""
        shells = {id(leaf.held): leaf for leaf in _tensors((args, kwargs)) if isinstance(leaf, OnGpu)}
        lasting = {_storage(shell.held) for shell in shells.values() if not shell.is_inference()}
        inner, named = tree_map(_held, args), tree_map(_held, kwargs)
        if func.overloadpacket is _ATEN.histc:
            # Of whole numbers a processor has none.
            inner = (inner[0].float(), *inner[1:])
        result = self.capturing.note(func, inner, named) if self.capturing else func(*inner, **named)

        def told(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            shell = shells.get(id(leaf))
            if shell is not None:
                assert shell.shape == leaf.shape, f"{func} changes the shape of a tensor in its place"
                return shell
            self._take(leaf, device)
            # A view of a tensor that is known outside of inference mode is known there too.
            is_known = _storage(leaf) in lasting
            with torch.inference_mode(torch.is_inference_mode_enabled() and not is_known):
                return OnGpu(leaf, device)

        return tree_map(told, result)

    def _moved(self, func: Any, args: Any, kwargs: Any, asked: torch.device | None) -> Any:
        source = args[0]
        target = source.device if asked is None else asked
        if source.device != target and "cpu" in (source.device.type, target.type):
            # To new memory of the host it is pinned, and not waited for.
            if kwargs.get("non_blocking") and target.type == "cpu":
                here = self._pin(torch.empty(source.shape, dtype=kwargs.get("dtype") or source.dtype))
                return self._copied(_ATEN.copy_.default, (here, source, True), {})
            if not (kwargs.get("non_blocking") and _storage(source) in self._pinned):
                self._waited(f"a copy from {source.device} to {target}")
        kwargs = {name: value for name, value in kwargs.items() if name not in ("device", "non_blocking", "pin_memory")}
        if target.type == "cpu":
            return func(_held(source), **kwargs)
        return self._done(func, (source,), kwargs, target)

    def _copied(self, func: Any, args: Any, kwargs: Any) -> Any:
        place, source = args[:2]
        eager = bool(args[2] if len(args) > 2 else kwargs.get("non_blocking"))
        if isinstance(place, OnGpu) and (isinstance(source, OnGpu) or not source.ndim):
            return self._done(func, (place, source), {}, place.device)
        if isinstance(place, OnGpu):
            if not (eager and _storage(source) in self._pinned):
                self._waited(f"a copy from {source.device} to {place.device}")
            return self._done(func, (place, source.clone()), {}, place.device)
        if eager and _storage(place) in self._pinned:
            if self.capturing:
                raise RuntimeError(_ADVICE)
            place.fill_(torch.nan if place.is_floating_point() else -99)
            self._late.append((place, source.held.clone()))
            return place
        self._waited(f"a copy from {source.device} to {place.device}")
        return func(place, source.held)

    def _common(self, name: str, on_gpu: list[OnGpu], given: list[Tensor]) -> torch.device:
        devices = {leaf.device for leaf in on_gpu if leaf.ndim} or {leaf.device for leaf in on_gpu}
        # A number may lie anywhere.
        elsewhere = [leaf for leaf in given if not isinstance(leaf, OnGpu) and leaf.ndim]
        if elsewhere and name in _ANYWHERE and len(devices) == 1:
            self._waited(f"indices of {name} from the processor")
        elif elsewhere or len(devices) > 1:
            found = ", ".join(sorted({*map(str, devices), *(str(leaf.device) for leaf in elsewhere)}))
            raise RuntimeError(f"Expected all tensors to be on the same device: {name} of {found}")
        return next(iter(devices))

    def _look(self, name: str, args: Any) -> None:
        """Wait where an operation does."""
        masks = name in _ANYWHERE and any(
            isinstance(leaf, Tensor) and leaf.dtype in (torch.bool, torch.uint8) for leaf in args[1] or ()
        )
        if name in _WAITS or masks:
            self._waited(name)

    def _take(self, made: Tensor, device: torch.device) -> None:
        storage = made.untyped_storage()
        at = storage._cdata
        if at in self._known:
            return
        bytes_, index = storage.nbytes(), device.index
        if self.taken[index] + bytes_ > self.memory:
            raise torch.cuda.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {bytes_} bytes. GPU {index}")
        self._known.add(at)
        self.taken[index] += bytes_
        self.most[index] = max(self.most[index], self.taken[index])
        weakref.finalize(storage, self._gone, at, index, bytes_)

    def _gone(self, at: int, index: int, bytes_: int) -> None:
        self._known.discard(at)
        self.taken[index] -= bytes_

    def _pin(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self._pinned.add(storage._cdata)
        weakref.finalize(storage, self._pinned.discard, storage._cdata)
        return tensor

    def _device(self, device: torch.device) -> torch.device:
        if device.type != "cuda":
            return device
        index = self.current if device.index is None else device.index
        if index >= self.count:
            raise RuntimeError("CUDA error: invalid device ordinal")
        return torch.device("cuda", index)

    def index(self, device: Any = None) -> int:
        """The number of a device, the current one where none is named."""
        if device is None or isinstance(device, int):
            return self.current if device is None or device < 0 else device
        return self._device(torch.device(device)).index


class _Operations(TorchDispatchMode):
    """Brings every operation to the GPUs that are there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return Gpus.there()._run(func, args, kwargs or {})


class _Current(TorchFunctionMode):
    """Names the current device wherever `cuda` is named without a number: torch would ask the driver."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.device:
            return func("cuda", args[0]) if args and isinstance(args[0], int) else func(*args, **kwargs)
        if getattr(func, "__name__", "") == "to" and len(args) > 1 and type(args[1]) is int:
            args = (args[0], torch.device("cuda", args[1]), *args[2:])
        if type(kwargs.get("device")) is int:
            kwargs = {**kwargs, "device": torch.device("cuda", kwargs["device"])}
        return func(*map(_with_index, args), **{name: _with_index(value) for name, value in kwargs.items()})


def _with_index(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value
    is_bare = value == "cuda" if isinstance(value, str) else isinstance(value, torch.device) and value.type == "cuda"
    return Gpus.there()._device(torch.device(value)) if is_bare else value


def _held(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, OnGpu) else leaf


def _tensors(tree: Any) -> list[Any]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that an operation writes to."""
    places: list[Any] = []
    for at, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            places.append(args[at] if at < len(args) else kwargs.get(argument.name))
    return _tensors(places)


@contextmanager
def pretended_gpus(count: int = 1, memory: int = 2**33) -> Generator[Gpus]:
    """Have so many GPUs while the block runs, each with so many bytes of memory."""
    gpus = Gpus(count, memory)
    Gpus._there.append(gpus)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _library(gpus).items():
            patch.setattr(torch.cuda, name, value)
        patch.setattr(torch.version, "cuda", "pretended")
        # It would ask a program of the driver.
        patch.setattr(environment, "get_gpu_info", lambda: (["Pretended"] * count, count))
        patch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)
        before = torch._C._only_lift_cpu_tensors()
        # What `torch.tensor` makes for a device is brought there by an operation of its own.
        torch._C._set_only_lift_cpu_tensors(True)
        swapped = torch.__future__.get_swap_module_params_on_conversion()
        # What a module moves is a tensor of another class.
        torch.__future__.set_swap_module_params_on_conversion(True)
        plain_run = threading.Thread.run

        def run(thread: threading.Thread) -> None:
            # What operations are brought to is each thread's own.
            with torch.no_grad(), _Current(), _Operations():
                plain_run(thread)

        patch.setattr(threading.Thread, "run", run)
        try:
            with torch.no_grad(), _guarded(), _Current(), _Operations():
                yield gpus
        finally:
            torch.__future__.set_swap_module_params_on_conversion(swapped)
            torch._C._set_only_lift_cpu_tensors(before)
            Gpus._there.pop()


@contextmanager
def _guarded() -> Generator[None]:
    """Have torch do nothing where it would ask the driver which device is the current one, as on its device `meta`."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    cuda, meta = 1, 14
    guards = (ctypes.c_void_p * (meta + 1)).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    before, guards[cuda] = guards[cuda], guards[meta]
    try:
        yield
    finally:
        guards[cuda] = before


def _library(gpus: Gpus) -> dict[str, Any]:
    """What `torch.cuda` offers."""

    @contextmanager
    def device(of: Any) -> Iterator[None]:
        before, gpus.current = gpus.current, gpus.index(of)
        try:
            yield
        finally:
            gpus.current = before

    @contextmanager
    def stream(on: _Stream | None) -> Iterator[None]:
        streams = gpus.streams[gpus.current if on is None else on.device.index or 0]
        streams.append(on or streams[-1])
        try:
            yield
        finally:
            streams.pop()

    def properties(of: Any = None) -> Any:
        index = gpus.index(of)
        return SimpleNamespace(
            name="Pretended", total_memory=gpus.memory, uuid=uuid.UUID(int=index), major=9, minor=0,
            multi_processor_count=1,
        )  # fmt: skip

    def set_debug(mode: Any) -> None:
        gpus.sync_debug = {"default": 0, "warn": 1, "error": 2}.get(mode, mode)

    def fraction(part: float, of: Any = None) -> None: ...
    def nothing(*_: Any, **__: Any) -> None: ...
    def told(answer: Any) -> Callable[..., Any]:
        return lambda *_, **__: answer

    def synchronize(*_: Any) -> None:
        gpus._waited("synchronize")

    def set_device(of: Any) -> None:
        gpus.current = gpus.index(of)

    return {
        "_lazy_init": nothing,
        "is_initialized": told(True),
        "is_available": told(True),
        "device_count": told(gpus.count),
        "current_device": lambda: gpus.current,
        "set_device": set_device,
        "device": device,
        "get_device_properties": properties,
        "get_device_name": lambda of=None: f"Pretended {gpus.index(of)}",
        "get_device_capability": told((9, 0)),
        "is_bf16_supported": told(True),
        "mem_get_info": lambda of=None: (gpus.memory - gpus.taken[gpus.index(of)], gpus.memory),
        "memory_allocated": lambda of=None: gpus.taken[gpus.index(of)],
        "memory_reserved": lambda of=None: gpus.taken[gpus.index(of)],
        "max_memory_allocated": lambda of=None: gpus.most[gpus.index(of)],
        "max_memory_reserved": lambda of=None: gpus.most[gpus.index(of)],
        "reset_peak_memory_stats": nothing,
        "set_per_process_memory_fraction": fraction,
        "get_per_process_memory_fraction": told(1.0),
        "synchronize": synchronize,
        "empty_cache": nothing,
        "Stream": _Stream,
        "Event": _Event,
        "CUDAGraph": _Graph,
        "graph_pool_handle": told((0, 1)),
        "current_stream": lambda of=None: gpus.streams[gpus.index(of)][-1],
        "default_stream": lambda of=None: gpus.streams[gpus.index(of)][0],
        "stream": stream,
        "is_current_stream_capturing": lambda: gpus.capturing is not None,
        "get_sync_debug_mode": lambda: gpus.sync_debug,
        "set_sync_debug_mode": set_debug,
    }
