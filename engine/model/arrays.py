"""Typed ways between torch, numpy and lists; torch's own leave types open."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor


def int_list(tensor: Tensor) -> list[int]:
    """Return a tensor of whole numbers with one axis as a list."""
    return cast("list[int]", cast("Any", tensor).tolist())


def bool_list(tensor: Tensor) -> list[bool]:
    """Return a tensor of truth values with one axis as a list."""
    return cast("list[bool]", cast("Any", tensor).tolist())


def tensor_of(array: np.ndarray, device: torch.device) -> Tensor:
    """Bring an array to a device, its type kept."""
    return cast("Any", torch).from_numpy(array).to(device)


def array_of(tensor: Tensor) -> np.ndarray:
    """Bring a tensor to numpy; half precision becomes float32, which numpy can work with."""
    wide = tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
    return wide.cpu().numpy()
