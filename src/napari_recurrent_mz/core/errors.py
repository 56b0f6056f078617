"""What a user is told when something they gave is wrong: one clear sentence."""

from __future__ import annotations

from collections.abc import Sequence


class InputError(ValueError):
    """A mistake in what the user gave, told in one clear sentence.

    Parameters
    ----------
    sentence : str
    kind : str, optional
        What programs know it by, where one may be answered: sentences are for people.
    """

    def __init__(self, sentence: str = "", kind: str = "") -> None:
        super().__init__(sentence)
        self.kind = kind


def listed(words: Sequence[str]) -> str:
    """Words as a sentence has them: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def counted(count: int, what: str) -> str:
    """A number of things in a sentence: ``1 scan``, ``2 scans``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
