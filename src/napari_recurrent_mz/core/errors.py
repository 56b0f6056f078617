"""What a user is told when something they gave is wrong, or memory ran out: one clear sentence."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


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


def size_in_words(size_bytes: float, more_digits: int = 0) -> str:
    """An amount of memory or of disk: ``12 MB``, ``3.4 GB``."""
    if size_bytes >= 999.5e6:
        return f"{size_bytes / 1e9:,.{1 + more_digits}f} GB"
    least = bool(size_bytes) * 0.1**more_digits
    return f"{max(size_bytes / 1e6, least):.{more_digits}f} MB"


def sizes_in_words(one: float, other: float) -> tuple[str, str]:
    """Two amounts that a sentence compares, with digits enough to tell one from the other."""
    pairs = ((size_in_words(one, more), size_in_words(other, more)) for more in range(9))
    return next((pair for pair in pairs if pair[0] != pair[1]), (size_in_words(one),) * 2)


class InputError(ValueError):
    """A mistake in what the user gave, told in one clear sentence.

    Parameters
    ----------
    sentence : str
    kind : str, optional
        What programs know it by, where one may be answered: sentences are for people. ``memory``
        is for a sentence of its own about memory that ran out.
    """

    def __init__(self, sentence: str = "", kind: str = "") -> None:
        super().__init__(sentence)
        self.kind = kind

    def __str__(self) -> str:
        """The sentence; or that memory ran out, where that is what it was raised from."""
        cause = self.__cause__
        if cause is None or self.kind == "memory" or not is_out_of_memory(cause):
            return super().__str__()
        return memory_sentence(cause)


def together(*steps: Callable[[], Any]) -> list[Any]:
    """What all steps give; of those that raise :class:`InputError`, every sentence in one."""
    given, errors = [], list[InputError]()
    for step in steps:
        try:
            given.append(step())
        except InputError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise InputError(" ".join(map(str, errors)))
    return given


def if_possible(step: Callable[P, T], *args: P.args, **more: P.kwargs) -> T | None:
    """What a step gives; None where it raises :class:`InputError`."""
    with suppress(InputError):
        return step(*args, **more)
    return None


def check_choice(what: str, given: str, choices: Iterable[str]) -> None:
    """Raise :class:`InputError` unless ``given`` is one of the choices."""
    if given not in choices:
        raise InputError(f"The {what} '{given}' is unknown: choose one of {', '.join(choices)}.")


def known_sentence(error: BaseException, *advice: str) -> str:
    """What to do about a wrong input, lack of memory or a file refused; else empty."""
    if isinstance(error, InputError):
        return str(error)
    if is_out_of_memory(error):
        return memory_sentence(error, *advice)
    if isinstance(error, OSError) and error.filename is not None:
        return (
            f"'{error.filename}' cannot be used ({error.strerror}): check its name and folder, and "
            "what you are permitted to do there."
        )
    if isinstance(error, OSError) and error.errno is not None:  # as of what is printed to a file
        return (
            f"Something could not be read or written ({error.strerror}): check the space on the "
            "disk, and that its drive is there."
        )
    return ""


def sentence_of(error: BaseException, *advice: str) -> str:
    """One sentence for a person: ours as it is, anything else with what is to be reported."""
    text = str(error).strip().splitlines()
    detail = f" ({text[0]})" if text else ""
    unexpected = f"This failed with an unexpected {type(error).__name__}{detail}{_place(error)}."
    return known_sentence(error, *advice) or unexpected


def _place(error: BaseException) -> str:
    """Where in this package an error came from, for those who read reports."""
    package = Path(__file__).parents[1]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if package in Path(f.filename).parents]
    if not ours:
        return ""
    last = ours[-1]
    where = Path(last.filename).relative_to(package).as_posix()
    return f": please report this sentence, with “{where}, line {last.lineno}”"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence has them: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def counted(count: int, what: str) -> str:
    """A number of things in a sentence: ``1 scan``, ``2 scans``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
