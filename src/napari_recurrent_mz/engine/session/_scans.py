"""The scans of a session in the order in which they came, and the checks before one is taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...core.optics import Optics
from ...core.scans import (
    ONE_CHANNEL,
    SAME_HEIGHT_UM,
    FloatArray,
    InputError,
    Scan,
    ScanStack,
    ZGrid,
    in_words,
    named,
    same_height,
)
from ...estimates.normalisation import noise_of, normalisation
from ...estimates.planning import percent
from ...estimates.saturation import SATURATED, saturated_part
from ...networks.inputs import Scale
from ...networks.weights import Model
from ..check import kind_notes, light_notes, range_warnings

ON_DUPLICATE = ("replace", "average", "keep")
"""Choices for a scan at a height where there is one."""

TAKEN, DOUBTFUL = "height taken", "doubtful scan"
"""The kinds of error that somebody can answer: as :data:`ON_DUPLICATE`, or by accepting."""

_APART_UM = 2 * SAME_HEIGHT_UM  # two scans that are kept at one height are told apart by this
_REVISES = 0.2  # of the intensity scale: a scan that would change it by more is reported
_BEYOND_DOF = 2.0  # light from just outside the grid still says something of its ends
_BLOCK = 8
_FEWEST_BLOCKS = 64
_NO_STRUCTURE = 1.3  # times the noise that is left in means over blocks


class ScanList:
    """The scans, and how many images each is the mean of."""

    def __init__(self) -> None:
        self.scans: list[Scan] = []
        self.images: list[int] = []

    def append(self, scan: Scan, images: int = 1) -> None:
        """Put a scan at the end."""
        self.scans.append(scan)
        self.images.append(images)

    def take(
        self, scan: Scan, place: int | None, choice: str | None
    ) -> tuple[str, Scan | None, Scan]:
        """Put a scan in, by ``choice`` where ``place`` is one at its height; event, old and new."""
        if place is None or choice == "keep":
            while any(abs(scan.z_um - other.z_um) < _APART_UM / 2 for other in self.scans):
                scan = replace(scan, z_um=scan.z_um + _APART_UM)
            self.append(scan)
            return "added", None, scan
        old, images, event = self.scans[place], 1, "replaced"
        if choice == "average":
            images, event = self.images[place] + 1, "averaged"
            mean = old.pixels + (scan.pixels - old.pixels) / np.float32(images)
            scan = replace(old, image=mean, name=old.name or scan.name)
        self.scans[place], self.images[place] = scan, images
        return event, old, scan

    def remove(self, which: int | Scan) -> Scan:
        """Take a scan away, by number (from the end below 0) or itself."""
        count = len(self.scans)
        if isinstance(which, Scan):
            which = next((i for i, scan in enumerate(self.scans) if scan is which), count)
        if not -count <= which < count:
            raise InputError(f"There is no such scan to remove: the session has {count}.")
        self.images.pop(which)
        return self.scans.pop(which)

    def as_dicts(self) -> list[dict[str, Any]]:
        """What a record says of every scan, and its number of images."""
        return [
            scan.as_dict() | {"images": images}
            for scan, images in zip(self.scans, self.images, strict=True)
        ]


def check_fits(
    scan: Scan, scans: Sequence[Scan], grid: ZGrid, optics: Optics, pixel_um: float | None
) -> None:
    """Raise unless a new scan, with its pixel size if known, belongs to these ``scans``."""
    label, faults = called(scan), []
    if pixel_um is not None and abs(pixel_um / optics.pixel_um - 1) > 0.01:
        faults.append(
            f"{label} has pixels of {pixel_um:g} µm but the session {optics.pixel_um:g} µm: "
            "all scans must be taken with the same objective and binning."
        )
    if scans and scan.pixels.shape != scans[0].pixels.shape:
        (y, x), (rows, columns) = scan.pixels.shape, scans[0].pixels.shape
        faults.append(
            f"{label} is {y} × {x} pixels but the session's scans are {rows} × {columns}: "
            "all scans must show the same field at the same size."
        )
    beyond = max(grid.start_um - scan.z_um, scan.z_um - grid.stop_um)
    if beyond > _BEYOND_DOF * optics.depth_of_field_um:
        faults.append(
            f"{label} is at z = {scan.z_um:g} µm, outside the grid of {grid.start_um:g} to "
            f"{grid.stop_um:g} µm: correct its height, or start a session whose grid reaches it."
        )
    if faults:
        raise InputError(" ".join(faults))


def check_exposed(scan: Scan) -> None:
    """Raise :class:`InputError` when a frame is saturated or holds nothing but noise."""
    label = called(scan)
    part = saturated_part(scan.pixels)
    if part > SATURATED:
        raise InputError(
            f"{label} is saturated: {100 * part:.2g} % of its pixels are at the camera's limit; "
            "expose shorter and take it again, or accept it as it is.",
            DOUBTFUL,
        )
    if is_empty(scan.pixels):
        raise InputError(
            f"{label} holds nothing but noise: check lamp, shutter and height and take it again, "
            "or accept it as it is.",
            DOUBTFUL,
        )


def check_new(scan: Scan, scans: Sequence[Scan]) -> None:
    """Raise :class:`InputError` when a scan is of another channel, or is one of the scans again."""
    for other in scans:
        for name, words in ONE_CHANNEL.items():
            ours, theirs = (in_words(one.acquired.get(name)) for one in (scan, other))
            if ours and theirs and ours != theirs:
                raise InputError(
                    f"The {words} is {ours} in {called(scan)} but {theirs} in {called(other)}: a "
                    "session is of one channel, so leave it out, or accept it as it is.",
                    DOUBTFUL,
                )
        is_elsewhere = not same_height(scan.z_um, other.z_um)
        if is_elsewhere and np.array_equal(scan.pixels, other.pixels):
            raise InputError(
                f"{called(scan)} has the very pixels of {named(other)}, but z = {scan.z_um:g} and "
                f"{other.z_um:g} µm: if that height is wrong, remove the scan there, or leave this "
                "one out, or accept it as it is.",
                DOUBTFUL,
            )


def is_empty(pixels: FloatArray) -> bool:
    """Whether means over blocks of 8 × 8 pixels vary no more than their noise does."""
    rows, columns = (n // _BLOCK for n in pixels.shape)
    if rows * columns < _FEWEST_BLOCKS:
        return False
    blocks = pixels[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    spread = float(blocks.mean(axis=(1, 3), dtype=np.float64).std())
    return spread < _NO_STRUCTURE * noise_of(pixels) / _BLOCK


def duplicate(scan: Scan, scans: Sequence[Scan], choice: str | None) -> int | None:
    """The number of the scan at the same height, if any; raises unless ``choice`` fits then."""
    if choice is not None and choice not in ON_DUPLICATE:
        raise InputError(
            f"'{choice}' cannot be done with a second scan at one height: choose "
            f"{', '.join(ON_DUPLICATE[:-1])} or {ON_DUPLICATE[-1]}."
        )
    number = next((i for i, s in enumerate(scans) if same_height(s.z_um, scan.z_um)), None)
    if number is not None and choice is None:
        raise InputError(
            f"There is a scan at z = {scan.z_um:g} µm already ({called(scans[number])}): choose to "
            f"replace it, average the two, or keep both.",
            TAKEN,
        )
    return number


def called(scan: Scan) -> str:
    """Name of a scan in a sentence."""
    return f"'{scan.name}'" if scan.name else f"The scan at {scan.z_um:g} µm"


def advice(
    scan: Scan,
    scans: Sequence[Scan],
    stack: ScanStack,
    scale: Scale | None,
    optics: Optics,
    model: Model | None,
) -> Iterator[tuple[str, str]]:
    """Sentences on a scan that is now among the ``scans``, each with its kind."""
    for sentence in light_notes(scans, optics, scan):
        yield sentence, "warning"
    if scale is not None:
        now, used = normalisation(stack.images), scale.normalisation
        moved = max(abs(now.scale - used.scale), abs(now.shift - used.shift)) / used.scale
        if moved > _REVISES:
            yield (
                f"{called(scan)} would revise the intensity scale of the first scans by "
                f"{percent(moved)}: it is kept, so that volumes can be compared; renormalise to "
                "revise it.",
                "warning",
            )
    if model is not None and len(stack.z_um) > 1:
        once = kind_notes(model) if len(stack.z_um) == 2 else []
        for sentence in (*once, *range_warnings(stack.z_um.tolist(), optics, model)):
            yield sentence, "warning"
