"""The scans of a session, in the order in which they came."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...core.scans import SAME_HEIGHT_UM, InputError, Scan

_APART_UM = 2 * SAME_HEIGHT_UM  # two scans that are kept at one height are told apart by this


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
