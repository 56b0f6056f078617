"""Where the network runs: the device, its precision, memory and threads, and copies to it."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Event
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import psutil

from .errors import check_choice, counted, sizes_in_words
from .progress import check_stopped, stoppable
from .scans import FloatArray, InputError, ZGrid

if TYPE_CHECKING:
    import torch

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

CHOICES = ("auto", "cuda", "mps", "cpu")

GPU_MEMORY = "RECURRENT_MZ_GPU_MEMORY_GB"
"""Environment variable: the most memory of a GPU that is used, in GB."""

_SMALLEST_GB = 0.5
_PART_OF_MEMORY = 0.8  # of this computer's: the rest is for others
_given_gb: list[float] = []  # the last is in force


@contextmanager
def without_triton() -> Iterator[None]:
    """Let PyTorch load its compiler without Triton, whose LLVM beside Mesa's ends the process."""
    if "triton" in sys.modules or not _has_llvm():
        yield
        return
    # Mesa draws napari's canvas on Linux; nothing here uses Triton.
    sys.modules["triton"] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        yield
    finally:
        del sys.modules["triton"]


def _has_llvm() -> bool:
    """Whether an LLVM is loaded, as far as Linux tells."""
    try:
        return "/libLLVM" in Path("/proc/self/maps").read_text()
    except OSError:
        return False


@dataclass(frozen=True)
class Device:
    """A chosen device: ``kind`` is cuda, mps or cpu; ``name`` is what a person calls it."""

    kind: str
    name: str
    half: bool
    """Whether mixed precision pays here (CUDA, and CPUs with bfloat16 instructions)."""

    @property
    def torch(self) -> torch.device:
        """The device for torch."""
        import torch

        return torch.device(self.kind)


def choose_device(choice: str = "auto") -> Device:
    """The device for ``choice``: auto (the best there is), cuda, mps or cpu."""
    import torch

    check_choice("device", choice, CHOICES)
    cuda = torch.cuda.is_available()
    mps = torch.backends.mps.is_available()
    if choice == "auto":
        choice = "cuda" if cuda else "mps" if mps else "cpu"
    if choice == "cuda":
        if not cuda:
            raise InputError("No CUDA GPU was found: choose auto or cpu.")
        # Have torch refuse more than the limit, so that work goes on in smaller parts.
        limit = gpu_memory_limit()
        total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        share = 1.0 if limit is None else min(limit * 1e9 / total, 1.0)
        torch.cuda.set_per_process_memory_fraction(share)
        return Device("cuda", torch.cuda.get_device_name(), half=True)
    if choice == "mps":
        if not mps:
            raise InputError("No Apple GPU (MPS) was found: choose auto or cpu.")
        return Device("mps", "Apple GPU", half=False)
    has_bfloat16 = not cpu_flags().isdisjoint({"avx512_bf16", "amx_bf16"})
    return Device("cpu", cpu_name(), half=has_bfloat16)


def limit_gpu_memory(gigabytes: float | None) -> None:
    """Use so many GB of a CUDA GPU at most; for None, :data:`GPU_MEMORY` decides."""
    if gigabytes is not None:
        _check_limit(gigabytes)
    _given_gb[:] = [] if gigabytes is None else [gigabytes]


def gpu_memory_limit() -> float | None:
    """The limit in force in GB, also from the environment variable, or None."""
    if _given_gb:
        return _given_gb[-1]
    text = os.environ.get(GPU_MEMORY, "")
    if not text:
        return None
    try:
        gigabytes = float(text)
    except ValueError:
        raise InputError(
            f"{GPU_MEMORY} is '{text}': give a number of gigabytes, for instance 4."
        ) from None
    _check_limit(gigabytes)
    return gigabytes


def free_gpu_bytes() -> int:
    """Memory of the CUDA GPU that may be taken, in bytes: what is free there, and in the limit."""
    import torch

    free, limit = int(torch.cuda.mem_get_info()[0]), gpu_memory_limit()
    if limit is None:
        return free
    return max(min(free, int(limit * 1e9) - torch.cuda.memory_allocated()), 0)


def _check_limit(gigabytes: float) -> None:
    if not _SMALLEST_GB <= gigabytes < math.inf:
        raise InputError(
            f"{gigabytes:g} GB of GPU memory are too little: give at least {_SMALLEST_GB:g}."
        )


@lru_cache(maxsize=1)
def cpu_name() -> str:
    """Name of the CPU, with the number of cores in use."""
    model = _cpu_info("model name").partition(":")[2].strip()
    name = model or platform.processor() or platform.machine()
    name = re.sub(r"\((R|TM)\)|\b(CPU|Processor)\b|@.*", "", name)  # a list has little room
    return f"{' '.join(name.split())}, {counted(available_cores(), 'core')}"


def memory_bytes() -> int:
    """Main memory of this computer, in bytes."""
    return int(psutil.virtual_memory().total)


def map_torch() -> None:
    """Load PyTorch's libraries without Python's lock, which its import holds for half a second."""
    # An import holds the lock throughout, and no window answers; a foreign function releases it.
    spec = None if "torch" in sys.modules else importlib.util.find_spec("torch")
    if spec is None or spec.origin is None or sys.platform not in ("linux", "darwin"):
        return
    ending = "so" if sys.platform == "linux" else "dylib"
    library = Path(spec.origin).with_name("lib") / f"libtorch.{ending}"
    load = getattr(ctypes.CDLL(None), "dlopen", None)
    if load is not None and library.exists():
        load.restype, load.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
        load(os.fsencode(library), os.RTLD_LAZY)


def give_back_memory() -> None:
    """Hand pages that glibc keeps, though they are free, back to the system."""
    # After many large images that can be half a gigabyte; other C libraries do without.
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def available_cores() -> int:
    """Number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=1)
def cpu_flags() -> frozenset[str]:
    """Instruction sets of the CPU by Linux's names, such as ``avx512_bf16``; empty elsewhere."""
    return frozenset(_cpu_info("flags").split())


def _cpu_info(key: str) -> str:
    """The first line of Linux's description of the CPU that starts so, or nothing."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next((line for line in lines if line.startswith(key)), "")
    except OSError:
        return ""


def check_memory(grid: ZGrid, shape: tuple[int, ...]) -> None:
    """Refuse a volume (``grid``, scans of (Y, X)) that this computer's memory cannot hold."""
    check_room_in_memory(
        4 * len(grid) * math.prod(shape),
        f"The volume of {len(grid):,} planes needs",
        "use a larger step, a smaller range or a crop",
    )


def check_room_in_memory(needed: float, what_needs: str, remedy: str) -> None:
    """Refuse what needs more bytes than this computer's memory has for one thing."""
    most = _PART_OF_MEMORY * memory_bytes()
    if needed > most:
        needs, has = sizes_in_words(needed, most)
        raise InputError(
            f"{what_needs} {needs} but this computer has {has} of memory for it: {remedy}."
        )


def one_core_each(count: int | None = None) -> ThreadPoolExecutor:
    """A pool of threads with one core each, which do not wait for each other at every operation."""
    import torch

    # Threads that share each operation wait for the slowest of them, which beside other work is
    # several times slower than one operation a thread.
    before = torch.get_num_threads()
    count = count or before
    ready = Barrier(count + 1)

    def begin() -> None:
        torch.get_num_threads()  # the first call in a thread takes the number that is set for all
        torch.set_num_threads(1)
        with suppress(BrokenBarrierError):
            ready.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix="one core", initializer=begin)
    try:
        for _ in range(count):
            pool.submit(int)  # any task: it starts a thread
    except RuntimeError:  # there is no room for it: those that wait for it go on
        ready.abort()
        pool.shutdown()
        raise
    ready.wait()
    torch.set_num_threads(before)  # the number for new threads outside of the pool
    return pool


def on_one_core(function: Callable[[], _Result]) -> _Result:
    """The result of a function whose own operations take one core."""
    given_up = Event()  # by Ctrl-C, which comes to the thread that waits
    with stoppable(given_up.is_set), one_core_each(1) as pool:
        try:
            return pool.submit(copy_context().run, function).result()
        finally:
            given_up.set()


class Cores:
    """All cores of a computer, each with operations of its own; on other devices, one by one."""

    def __init__(self, on_cpu: bool) -> None:
        import torch

        self.count = torch.get_num_threads() if on_cpu else 1
        self._pool = one_core_each() if self.count > 1 else None

    def __enter__(self) -> Cores:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def each(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item]
    ) -> Iterator[_Result]:
        """Results of a function for each item, in their order."""
        results = map(function, items) if self._pool is None else self._spread(function, items)
        for result in results:
            check_stopped()  # a large image has seconds of items
            yield result

    def alone(self, function: Callable[[], _Result]) -> _Result:
        """The result of a function whose own operations take one core, beside those of `each`."""
        return function() if self._pool is None else on_one_core(function)

    def _spread(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item]
    ) -> Iterator[_Result]:
        """The same by all cores; what has not begun when nobody asks any more is left."""
        import torch

        assert self._pool is not None
        mode = torch.is_inference_mode_enabled()  # each thread has a mode of its own

        def apply(item: _Item) -> _Result:
            with torch.inference_mode(mode):
                return function(item)

        return self._pool.map(apply, items)


def uploaded(values: npt.ArrayLike, device: torch.device | None) -> torch.Tensor:
    """Copy numbers to a device, float32, without waiting for a GPU to finish what it was given."""
    import torch

    # A blocking copy would first let the GPU finish all that is queued on it.
    tensor = torch.from_numpy(np.array(values, dtype=np.float32))
    return tensor.to(device, non_blocking=device is not None and device.type == "cuda")


def start_download(planes: torch.Tensor) -> Callable[[], FloatArray]:
    """Start to copy planes while a GPU goes on; the function returned waits for them."""
    import torch

    if planes.device.type != "cuda":
        return lambda: planes.cpu().numpy()
    try:
        copy = torch.empty(planes.shape, dtype=planes.dtype, pin_memory=True)
    except RuntimeError:  # page-locked memory is not there on every system
        return lambda: planes.cpu().numpy()
    copy.copy_(planes, non_blocking=True)
    # To wait for this event, not for the whole device, lets the planes after these go on.
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record()

    def wait() -> FloatArray:
        done.synchronize()
        return copy.numpy()

    return wait
