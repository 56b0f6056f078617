"""Memory that runs out in a child process: at an allocation that is chosen, or at a real limit."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

TORCH, NUMPY, LIMIT = "torch", "numpy", "limit"
_SAID_BY_TORCH = (
    "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 4194304 bytes. Error code 12 (Cannot allocate memory)"
)
_SET_HANDLER = 304  # in NumPy's table of C functions


class FailingTorch(TorchDispatchMode):
    """Counts the tensors that PyTorch makes in this thread; one of them finds no memory."""

    def __init__(self, at: int | None) -> None:
        super().__init__()
        self.count, self._at = 0, at

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if not (func.is_view or func._schema.is_mutable) and any(map(_takes_memory, _each(made))):
            self.count += 1
            if self.count == self._at:
                raise RuntimeError(_SAID_BY_TORCH)
        return made


def _each(made: Any) -> tuple[Any, ...]:
    return tuple(made) if isinstance(made, tuple | list) else (made,)


def _takes_memory(made: Any) -> bool:
    return isinstance(made, torch.Tensor) and not made.is_meta and made.nbytes > 0


_MALLOC = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
_CALLOC = *_MALLOC, ctypes.c_size_t


class _Handler(ctypes.Structure):
    """``PyDataMem_Handler`` of NumPy's C interface."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("ctx", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )


class FailingNumpy:
    """Counts the arrays that NumPy allocates in this thread; one of them finds no memory."""

    def __init__(self, at: int | None) -> None:
        self.count, self._at = 0, at

    def __enter__(self) -> FailingNumpy:
        pointer, new = ctypes.pythonapi.PyCapsule_GetPointer, ctypes.pythonapi.PyCapsule_New
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        new.restype = ctypes.py_object
        new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        capsule = vars(importlib.import_module("numpy._core._multiarray_umath"))["_ARRAY_API"]
        table = ctypes.cast(pointer(capsule, None), ctypes.POINTER(ctypes.c_void_p))
        set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[_SET_HANDLER])
        get_handler = ctypes.PYFUNCTYPE(ctypes.py_object)(table[_SET_HANDLER + 1])
        self._usual, self._set_handler = get_handler(), set_handler
        usual = _Handler.from_address(pointer(self._usual, b"mem_handler"))
        # They keep Python's lock, as NumPy does.
        malloc = ctypes.PYFUNCTYPE(*_MALLOC)(usual.malloc)
        calloc = ctypes.PYFUNCTYPE(*_CALLOC)(usual.calloc)
        ours = (
            ctypes.CFUNCTYPE(*_MALLOC)(lambda *given: self._next() and malloc(*given)),
            ctypes.CFUNCTYPE(*_CALLOC)(lambda *given: self._next() and calloc(*given)),
        )
        pointers = [ctypes.cast(function, ctypes.c_void_p) for function in ours]
        handler = _Handler(b"failing", 1, usual.ctx, *pointers, usual.realloc, usual.free)
        capsule = new(ctypes.addressof(handler), b"mem_handler", None)
        set_handler(capsule)
        self._kept = ours, handler, capsule
        return self

    def __exit__(self, *_: object) -> None:
        """The process ends with it."""

    def _next(self) -> bool | None:
        self.count += 1
        if self.count != self._at:
            return True
        self._set_handler(self._usual)  # while an error is on its way, Python must not be called
        return None


@dataclass(frozen=True)
class Ended:
    """How a command in a child process ended: its status (None if it was killed), what it said."""

    status: int | None
    told: str
    counts: dict[str, int]  # of tensors and arrays, where memory lasted
    seconds: float


def run_out(
    work: Callable[[], int], where: str = "", at: int | None = None, patience_s: float = 120.0
) -> Ended:
    """Do some work in a fork of this process, whose memory runs out; ``at`` says when.

    ``at`` is the number of a tensor of PyTorch or an array of NumPy, or bytes above what this
    process takes; None lets memory last, and counts.
    """
    with tempfile.TemporaryDirectory() as folder:
        told, counted = Path(folder) / "told", Path(folder) / "counted"
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            status = 70
            try:
                output = os.open(told, os.O_CREAT | os.O_WRONLY)
                os.dup2(output, 1)
                os.dup2(output, 2)
                signal.alarm(int(patience_s))
                status = _without_memory(work, where, at, counted)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _, code = os.waitpid(child, 0)
        status = os.WEXITSTATUS(code) if os.WIFEXITED(code) else None
        text = told.read_text(errors="replace") if told.exists() else ""
        counts = json.loads(counted.read_text()) if counted.exists() else {}
        return Ended(status, text, counts, time.monotonic() - began)


def _without_memory(work: Callable[[], int], where: str, at: int | None, counted: Path) -> int:
    if where == LIMIT:
        with open("/proc/self/statm") as sizes:  # noqa: PTH123
            now = int(sizes.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (at or 0), now + (at or 0)))
        return work()
    if where == TORCH:
        with FailingTorch(at):
            return work()
    if where == NUMPY:
        with FailingNumpy(at):
            return work()
    with FailingTorch(None) as operations, FailingNumpy(None) as arrays:
        status = work()
    counted.write_text(json.dumps({TORCH: operations.count, NUMPY: arrays.count}))
    return status
