"""A part of the field: rows and columns of the scans."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import InputError


@dataclass(frozen=True)
class Region:
    """Rows and columns from a first one to a last one, in pixels; the stops are excluded."""

    rows: tuple[int, int]
    columns: tuple[int, int]

    @classmethod
    def parsed(cls, text: str, shape: tuple[int, int], name: str) -> Region:
        """The region that ``ROWS,COLUMNS`` means in an image of a shape, such as ``0:512,256:``."""
        match = re.fullmatch(r"\s*(\d*):(\d*)\s*,\s*(\d*):(\d*)\s*", text)
        if match is None:
            raise InputError(
                f"The region '{text}' is not START:STOP,START:STOP (rows, columns) in pixels, for "
                "instance 0:512,256:512."
            )
        first, stop, left, right = (int(part) if part else None for part in match.groups())
        y, x = shape
        region = cls(
            (first or 0, y if stop is None else stop), (left or 0, x if right is None else right)
        )
        region.check_within(shape, name, f"'{text}'")
        return region

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Region | None:
        """The region in the record of a volume, if any; earlier versions wrote it as text."""
        found = record.get("region")
        if not found:
            return None
        if isinstance(found, str):
            sides = [part.split(":") for part in found.split(",")]
        else:
            sides = [found["rows"], found["columns"]]
        (top, bottom), (left, right) = (map(int, side) for side in sides)
        return cls((top, bottom), (left, right))

    def check_within(self, shape: tuple[int, int], name: str, words: str = "") -> None:
        """Refuse a region that is empty or reaches beyond an image."""
        for (start, stop), length in zip((self.rows, self.columns), shape, strict=True):
            if not 0 <= start < stop <= length:
                y, x = shape
                raise InputError(
                    f"The region {words or self} is not inside '{name}' of {y} × {x} pixels: give "
                    "START:STOP,START:STOP (rows, columns) within it."
                )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns that it has."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    def of(self, pixels: Any) -> Any:
        """The region of pixels (…, Y, X)."""
        return pixels[..., slice(*self.rows), slice(*self.columns)]

    def widened(self, margin: int, shape: tuple[int, int]) -> Region:
        """The region with a margin, as far as there are pixels."""
        (top, bottom), (left, right) = self.rows, self.columns
        y, x = shape
        return Region(
            (max(top - margin, 0), min(bottom + margin, y)),
            (max(left - margin, 0), min(right + margin, x)),
        )

    def within(self, other: Region) -> Region:
        """Where it lies in a larger region."""
        (top, bottom), (left, right) = self.rows, self.columns
        y, x = other.rows[0], other.columns[0]
        return Region((top - y, bottom - y), (left - x, right - x))

    def place_um(
        self, pixel_um: float, origin_um: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[float, float]:
        """Where its first pixel is (y, x), beside that of the whole image, in micrometres."""
        y_um, x_um = origin_um
        return y_um + self.rows[0] * pixel_um, x_um + self.columns[0] * pixel_um

    def __str__(self) -> str:
        return f"{self.rows[0]}:{self.rows[1]},{self.columns[0]}:{self.columns[1]}"
