"""Memory: how every library says that it ran out, and the words for a person."""

from __future__ import annotations

import errno


class NotEnoughMemoryError(MemoryError):
    """Memory ran out, and the error says in one sentence what to do."""


_WORDS = (
    "out of memory",  # CUDA and Apple
    "can't allocate memory",  # PyTorch on a CPU
    "cannot allocate memory",
    "not enough memory",
    "failed to allocate",
    "bad_alloc",
    "could not create a memory",  # oneDNN
    "could not create a primitive",  # which is code in memory
    "alloc_failed",  # cuFFT, cuDNN, cuBLAS
    "failed to map segment",  # of a library that is loaded
    "can't start new thread",  # which has no room for its stack
    "error return without exception set",  # Python, of a library that found none
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, says that memory ran out."""
    name = type(error).__name__  # of libraries that are not loaded here
    if isinstance(error, MemoryError) or name == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    if (
        isinstance(error, RuntimeError | ImportError | OSError | SystemError)
        or name == "SafetensorError"
    ):
        return any(words in str(error).lower() for words in _WORDS)
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def memory_sentence(
    error: BaseException, advice: str = "use fewer planes, crop the scans or close other programs"
) -> str:
    """What to do about it, unless the error says that itself."""
    if isinstance(error, NotEnoughMemoryError):
        return str(error)
    return f"There is not enough memory: {advice}."


def size_in_words(size_bytes: float) -> str:
    """An amount of memory or of disk: ``12 MB``, ``3.4 GB``."""
    if size_bytes >= 999.5e6:
        return f"{size_bytes / 1e9:,.1f} GB"
    return f"{max(size_bytes / 1e6, bool(size_bytes)):.0f} MB"
