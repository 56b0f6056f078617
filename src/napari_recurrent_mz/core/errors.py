"""What a user is told when something they gave is wrong: one clear sentence."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from .memory import is_out_of_memory, memory_sentence


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
