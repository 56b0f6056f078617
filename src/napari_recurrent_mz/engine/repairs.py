"""Faults of scans that can be repaired: hot pixels, uneven light, a shift to the side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..core.optics import Optics
from ..core.scans import FloatArray, Scan, listed, named
from ..estimates.agreement import lateral_shifts, shifted_back
from ..estimates.faults import is_fine, uneven_light, without_hot_pixels


@dataclass(frozen=True, eq=False)
class RepairedScan:
    """Pixels in place of those of a scan, and what was done to them."""

    pixels: FloatArray
    words: str  # after the scan's name
    step: dict[str, Any]


def without_hot(scans: Sequence[Scan], optics: Optics) -> dict[int, RepairedScan]:
    """The scans that have hot pixels, by number, without them."""
    repairs = {}
    for number, scan in enumerate(scans):
        pixels, count = without_hot_pixels(scan.pixels, optics)
        if count:
            step = {"task": "hot pixels", "replaced": count}
            repairs[number] = RepairedScan(pixels, "hot pixels replaced", step)
    return repairs


def with_even_light(scans: Sequence[Scan], optics: Optics | None) -> dict[int, RepairedScan]:
    """The scans whose light differs from the others', by number, with theirs."""
    uneven = uneven_light(scans, optics)
    if uneven is None:
        return {}
    return {
        number: RepairedScan(
            uneven.evened(scan.pixels, number),
            "light evened out",
            {"task": "even light", "gain": float(uneven.gains[number]), "offset": uneven.offset},
        )
        for number, scan in enumerate(scans)
        if uneven.gains[number] != 1
    }


def in_line(scans: Sequence[Scan], optics: Optics) -> dict[int, RepairedScan]:
    """The scans that lie to the side of the others, by number, shifted back."""
    return {
        number: RepairedScan(
            shifted_back(scans[number].pixels, shift_px),
            "shifted back",
            {"task": "shift", "pixels": (-shift_px).tolist()},
        )
        for number, shift_px in enumerate(lateral_shifts(scans, optics))
        if shift_px.any()
    }


REPAIRS: tuple[Callable[[Sequence[Scan], Any], dict[int, RepairedScan]], ...] = (
    without_hot,
    with_even_light,
    in_line,
)
"""In the order of the notes on faults, and in that they are to be made."""


def unasked(optics: Optics | None) -> list[int]:
    """The repairs, by number, that need no person: in coarse pixels what looks hot may be light."""
    if optics is None:
        return [REPAIRS.index(with_even_light)]
    return [
        kind for kind, repair in enumerate(REPAIRS) if repair is not without_hot or is_fine(optics)
    ]


_WITHOUT_OPTICS = (
    "Only the light of the scans was looked at: hot pixels and shifts to the side are found with "
    "NA, wavelength, immersion index and pixel size, which are not all known."
)


def repaired(scans: Sequence[Scan], optics: Optics | None) -> tuple[list[Scan], list[str]]:
    """The scans without faults that can be repaired, and a sentence on it if there were any."""
    # What was done stands in what the scans say of how they were acquired, and so in every record.
    # Without optics, only the light can be evened out; a sentence says so.
    mended, done = list(scans), dict[int, list[RepairedScan]]()
    for kind in unasked(optics):
        for number, new in REPAIRS[kind](mended, optics).items():
            of_scan = done.setdefault(number, [])
            of_scan.append(new)
            acquired = {**scans[number].acquired, "repaired": [one.step for one in of_scan]}
            mended[number] = replace(mended[number], image=new.pixels, acquired=acquired)
    unseen = [] if optics is not None else [_WITHOUT_OPTICS]
    if not done:
        return mended, unseen
    each = [
        f"{named(scans[number])} ({', '.join(repair.words for repair in repairs)})"
        for number, repairs in sorted(done.items())
    ]
    return mended, [f"Repaired: {listed(each)}.", *unseen]
