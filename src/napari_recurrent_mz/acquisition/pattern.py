"""File names with a height in them, read by a pattern that a user can edit."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from itertools import pairwise

from ..core.scans import InputError

_UNIT_UM = {"nm": 1e-3, "um": 1.0, "mm": 1e3}
_PIECE = re.compile(r"\*+|\?|\{[^{}]*\}?|\}|[^*?{}]+")
# All digits or none: a number is never cut short to make the rest of the pattern fit.
_NUMBER = r"(?P<sign>[-−+])?+(?P<number>\d++(?:[.,p]\d++)?+)"
_UNIT_BEHIND = re.compile(r"[ _]?(nm|um|mm)(?![a-z])")
_UNIT_AHEAD = re.compile(r"^[ _]?(nm|um|mm)(?![a-z])", re.IGNORECASE)
_HEIGHT_LETTER = re.compile(r"(?:(?<![a-z])z|[ _=-])*$", re.IGNORECASE)
_ENDING = re.compile(r"(\.ome)?\.(tiff?|zarr)$", re.IGNORECASE)
_FIELDS = {"{z}": None} | {f"{{z:{unit}}}": unit for unit in _UNIT_UM}


@dataclass(frozen=True)
class NamePattern:
    """Which files are scans, and where in their names the height stands.

    The language is that of a shell with one addition, the height:

    - ``{z}`` is a number: with or without a sign, with a decimal point, a decimal comma, or
      a ``p`` in its place (``3``, ``-2.5``, ``+2,5``, ``3p5``);
    - its unit is what follows it in the pattern, ``um`` (or ``µm``), ``nm`` or ``mm``, and
      µm when nothing of that kind does; ``{z:nm}`` says it where names do not;
    - ``*`` is anything, as little of it as fits, and ``?`` is one character;
    - all else stands for itself, in small or capital letters.

    A pattern without a height only chooses files.

    Parameters
    ----------
    text : str
        For instance ``*_z{z}um*.tif``.

    Raises
    ------
    InputError
        If it is empty, names a folder, has another field or more than one height.

    Examples
    --------
    >>> NamePattern("*_z{z}um*.tif").height_um("cell_z-2,5um_GFP.tif")
    -2.5
    """

    text: str
    _expression: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _unit_um: float = field(init=False, repr=False, compare=False, default=1.0)

    def __post_init__(self) -> None:
        pieces = _PIECE.findall(_plain(_checked(self.text)))
        fields = [i for i, piece in enumerate(pieces) if piece.startswith(("{", "}"))]
        for i in fields:
            if pieces[i] not in _FIELDS:
                raise InputError(
                    f"The pattern '{self.text}' has '{pieces[i]}', which says nothing: write {{z}} "
                    "for the height, * for anything and ? for one character."
                )
        if len(fields) > 1:
            raise InputError(
                f"The pattern '{self.text}' has {len(fields)} heights: write {{z}} once, and * for "
                "the others."
            )
        expression = re.compile(
            "".join(_as_expression(piece, before) for before, piece in pairwise(["", *pieces])),
            re.IGNORECASE | re.DOTALL,
        )
        object.__setattr__(self, "_expression", expression)
        if fields:
            unit = _unit(pieces[fields[0]], "".join(pieces[fields[0] + 1 :]))
            object.__setattr__(self, "_unit_um", _UNIT_UM[unit])

    @property
    def has_height(self) -> bool:
        """Whether it reads heights, beside choosing files."""
        return "number" in self._expression.groupindex

    def matches(self, name: str) -> bool:
        """Whether a file of this name is meant."""
        return self._expression.fullmatch(_plain(name)) is not None

    def _height_in(self, plain: str) -> re.Match[str] | None:
        return self._expression.fullmatch(plain) if self.has_height else None

    def height_um(self, name: str) -> float | None:
        """The height that a file name states.

        Parameters
        ----------
        name : str
            File name with its ending, without its folder.

        Returns
        -------
        float or None
            In micrometres; None when the name does not match, or the pattern has no height.
        """
        match = self._height_in(_plain(name))
        if match is None:
            return None
        value = float(re.sub("[,pP]", ".", match["number"])) * self._unit_um
        return round(-value if match["sign"] in ("-", "−") else value, 9)

    def rest(self, name: str) -> str | None:
        """What a file name says beside its height: the same for all heights of one position.

        Parameters
        ----------
        name : str
            File name with its ending, without its folder.

        Returns
        -------
        str or None
            Without the ending, the height, its unit and the letter z before it; None when the
            name does not match, or the pattern has no height.

        Examples
        --------
        >>> NamePattern("*_z{z}um*.tif").rest("B02_z-2,5um_GFP.tif")
        'B02_GFP'
        """
        plain = _plain(name)
        match = self._height_in(plain)
        if match is None:
            return None
        start = match.start("sign") if match["sign"] else match.start("number")
        before = _HEIGHT_LETTER.sub("", plain[:start])
        behind = _ENDING.sub("", plain[match.end("number") :])
        return (before + _UNIT_AHEAD.sub("", behind)).strip(" _-.") or "volume"


def _checked(text: str) -> str:
    if not text.strip():
        raise InputError("The pattern for file names is empty: write for instance *_z{z}um*.tif.")
    if "/" in text or "\\" in text:
        raise InputError(
            f"The pattern '{text}' names a folder: give the name of files only, for instance "
            "*_z{z}um*.tif, and choose the folder beside it."
        )
    return text.strip()


def _plain(text: str) -> str:
    """One spelling for names: macOS takes letters apart, and there are two micro signs."""
    return unicodedata.normalize("NFKC", text).replace("μ", "u")


def _as_expression(piece: str, before: str) -> str:
    if piece.startswith("*"):
        return ".*?"
    if piece == "?":
        return "."
    if piece in _FIELDS:  # what * took must not end inside a number
        return (r"(?<!\d)" if before.startswith("*") else "") + _NUMBER
    return re.escape(piece)


def _unit(height: str, behind: str) -> str:
    """The unit of a height: in its field, else in what follows it, else µm."""
    if (stated := _FIELDS[height]) is not None:
        return stated
    match = _UNIT_BEHIND.match(behind.lower())
    return match[1] if match else "um"
