"""Where a model runs, in which precision, and how much memory is left there: all of torch that others need."""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from srm_explorer.engine.errors import ExplorerError

DTYPES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}


def resolve_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda`, `cuda:1` or `mps` into a device that exists; of several, `cuda:0-3`, the first.

    Raises:
        ExplorerError: the device is not there.
    """
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    if name.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        first, _, last = name.partition(":")[2].partition("-")
        index = int(first or 0)
        if int(last or index) >= count:
            lacking = f"cuda:{last}" if last else name
            remedy = f"choose cuda:0 to cuda:{count - 1}" if count else "set model.device to cpu or auto"
            raise ExplorerError(f"there is no device {lacking} here", where="model.device", remedy=remedy)
        return torch.device("cuda", index)
    if name == "mps" and not has_mps:
        raise ExplorerError("there is no device mps here", where="model.device", remedy="set it to cpu or auto")
    return torch.device(name.removesuffix("+disk"))


def refuse_autocast() -> None:
    """Refuse to compute within `torch.autocast`, of whoever calls from a notebook: in another precision than is told.

    Raises:
        ExplorerError: it is on for a processor or a GPU.
    """
    if any(torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")):
        raise ExplorerError(
            "torch.autocast is on: the model would compute in another precision",
            where="model.dtype",
            remedy="call it outside of autocast, with model.dtype = 'bfloat16' or 'float16' where that is meant",
        )


def set_tf32(allowed: bool) -> None:
    """Allow or forbid 19-bit matrix products on CUDA; forbidden, float32 means float32, on a processor always."""
    # Somebody's "medium" is bfloat16 on processors that have it.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


@contextmanager
def settings_given_back() -> Generator[None]:
    """Give back, as the block ends, how exact products were before it and on how many threads: both are the process's.

    Whoever calls from a notebook may have set the first by torch's older names or by its newer ones, which it refuses
    to tell by the older.
    """
    threads = torch.get_num_threads()
    backends: Any = torch.backends
    places: list[Any] = [getattr(backend, "matmul", None) for backend in (backends.cuda, backends.mkldnn)]
    newer = [place for place in (*places, backends.cudnn) if hasattr(place, "fp32_precision")]
    products, convolutions = _told(torch.get_float32_matmul_precision), _told(lambda: backends.cudnn.allow_tf32)
    precisions = [place.fp32_precision for place in newer]
    allowed = None if newer else backends.cuda.matmul.allow_tf32
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if products is not None:
            torch.set_float32_matmul_precision(products)
        if convolutions is not None:
            backends.cudnn.allow_tf32 = convolutions
        if allowed is not None:
            backends.cuda.matmul.allow_tf32 = allowed
        for place, precision in zip(newer, precisions, strict=True):
            if place.fp32_precision != precision:
                place.fp32_precision = precision


def _told(ask: Callable[[], Any]) -> Any:
    """What torch tells; None where it was set by newer names."""
    try:
        return ask()
    except RuntimeError:
        return None


@contextmanager
def exact_products() -> Generator[None]:
    """Have float32 mean float32 while the block runs: where two ways are compared, rounding would hide what differs."""
    allowed = bool(torch.backends.cuda.matmul.allow_tf32)
    set_tf32(False)
    try:
        yield
    finally:
        set_tf32(allowed)


def free_bytes(device: torch.device) -> int:
    """Estimate how many bytes can still be allocated on a device, control groups respected."""
    if device.type == "cuda":
        cuda: Any = torch.cuda
        held = cuda.memory_reserved(device)
        # Where others compute on it too; older versions of torch keep to the part, and do not tell it.
        told = getattr(cuda, "get_per_process_memory_fraction", None)
        part = told(device) if told is not None else 1.0
        left = int(part * cuda.get_device_properties(device).total_memory) - held
        # What torch holds and no tensor takes is there for the next one.
        return max(0, min(cuda.mem_get_info(device)[0], left)) + held - cuda.memory_allocated(device)
    available = _meminfo_available()
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        for folder in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")):
            left = _read_int(folder / limit)
            spent = _read_int(folder / used)
            if left is not None and spent is not None:
                available = min(available, max(left - spent, 0))
    return available


def share_gpus(part: float) -> None:
    """Have this process take no more than a part, 0 to 1, of each GPU's memory: others compute there too."""
    library: Any = torch.cuda
    for index in range(library.device_count()):
        library.set_per_process_memory_fraction(part, index)


def gpu_memory() -> list[int]:
    """Bytes of memory of each GPU, whoever uses it."""
    library: Any = torch.cuda
    return [int(library.get_device_properties(index).total_memory) for index in range(torch.cuda.device_count())]


def used_bytes(device: torch.device) -> int | None:
    """Tell how many bytes this process's tensors took at their most on CUDA, elsewhere what the process takes now.

    None where the system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def release_memory() -> None:
    """Collect what nobody refers to any more, and give CUDA's unused memory back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def threads() -> int:
    """Tell how many threads of the processor torch computes with, which decides how sums are split."""
    return torch.get_num_threads()


def set_threads(count: int) -> None:
    """Have torch compute with so many threads of the processor."""
    torch.set_num_threads(count)


def describe_device(device: torch.device) -> str:
    """Name a device so that another machine of its kind has the same name."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "mps":
        return "mps"
    return f"cpu ({_processor()})"


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class Backends:
    """What torch can compute on here.

    Attributes:
        version: of torch.
        cuda: version of CUDA that torch was built for; None where it was built without.
        mps: whether Apple's GPU can be used.
        gpus: names of the CUDA devices, in their order.
        memory: bytes that each of them has.
        auto: the device that `auto` stands for.
    """

    version: str
    cuda: str | None
    mps: bool
    gpus: tuple[str, ...]
    memory: tuple[int, ...]
    auto: torch.device


def backends() -> Backends:
    """Ask torch what there is."""
    return Backends(
        version=str(torch.__version__),
        cuda=torch.version.cuda,
        mps=torch.backends.mps.is_available(),
        gpus=tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())),
        memory=tuple(gpu_memory()),
        auto=resolve_device("auto"),
    )


def _meminfo_available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _read_int(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


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


def precise(tensor: Tensor) -> Tensor:
    """Return it in float64, or in float32 where the device has no more."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()
