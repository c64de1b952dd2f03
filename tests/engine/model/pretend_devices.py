"""GPUs that are not there: every tensor says which it lies on, and to mix two of them is the error that it would be.

What lies where is noted on the tensors as Python hands them on; the numbers stay those of the processor. So a model
that is spread over several GPUs runs, and what forgets to bring a tensor along fails, on a machine without any.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

_NOTE = "_pretended"
_CPU = torch.device("cpu")
_QUIET = ("numpy", "tolist", "item", "__bool__", "__int__", "__float__", "__index__")
"""What takes a tensor to the processor by itself, or may not be asked of one on a GPU (`numpy`)."""


def device_of(tensor: torch.Tensor) -> torch.device:
    return getattr(tensor, _NOTE, _CPU)


class PretendDevices(TorchFunctionMode):
    """While it is entered, `cuda:N` are devices."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if name == "__get__" and getattr(func, "__self__", None) is torch.Tensor.device:
            return device_of(args[0])
        if name == "__get__" and getattr(func, "__self__", None) is torch.Tensor.is_cuda:
            return device_of(args[0]).type == "cuda"
        if name in ("to", "cpu", "type_as") and given:
            return self._moved(func, name, args, kwargs)
        if name == "numpy" and device_of(given[0]).type == "cuda":
            raise TypeError("can't convert a cuda tensor to numpy")
        target = _CPU
        if "device" in kwargs and kwargs["device"] is not None:
            target = torch.device(kwargs.pop("device"))
        elif given:
            target = _common(name, given)
        result = func(*args, **kwargs)
        if name in _QUIET or name.startswith("__set"):
            return result
        return tree_map(lambda leaf: _noted(leaf, target), result)

    def _moved(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        tensor = args[0]
        if name == "cpu":
            return _noted(tensor.detach() if tensor.requires_grad else tensor.view_as(tensor), _CPU)
        rest: list[Any] = []
        target = device_of(tensor)
        other = kwargs.pop("device", None)
        for arg in (*args[1:], other):
            if isinstance(arg, torch.Tensor):
                target = device_of(arg)
                rest.append(arg.dtype)
            elif isinstance(arg, (str, torch.device, int)) and not isinstance(arg, bool):
                target = torch.device("cuda", arg) if isinstance(arg, int) else torch.device(arg)
            elif arg is not None:
                rest.append(arg)
        kwargs.pop("non_blocking", None)
        result = func(tensor, *rest, **kwargs) if rest or kwargs else tensor
        if result is tensor and target != device_of(tensor):
            result = tensor.view_as(tensor)
        return _noted(result, target)


def _common(name: str, tensors: list[torch.Tensor]) -> torch.device:
    devices = {device_of(tensor) for tensor in tensors if tensor.ndim}
    on_gpu = {device for device in devices if device.type == "cuda"}
    # Indices may lie on the processor, whatever they choose from.
    mixes = len(devices) > 1 and not (name in ("__getitem__", "__setitem__") and len(on_gpu) == 1)
    if mixes:
        raise RuntimeError(f"Expected all tensors to be on the same device: {name} of {sorted(map(str, devices))}")
    return next(iter(on_gpu or devices), device_of(tensors[0]) if tensors else _CPU)


def _noted(leaf: Any, device: torch.device) -> Any:
    if isinstance(leaf, torch.Tensor):
        setattr(leaf, _NOTE, device)
    return leaf


def put(module: nn.Module, device: torch.device) -> None:
    """Say of every weight of a module that it lies on a device."""
    for tensor in _tensors(module):
        setattr(tensor, _NOTE, device)


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()
