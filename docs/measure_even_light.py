"""How often a scan with 20 % less light is named, and how often another one or a good stack is.

Planes of fully sampled wide-field stacks (TIFF files, given by name) are scans, 3 to 20 planes
apart; first none is dimmed, then the first one, then one in the middle::

    python docs/measure_even_light.py ../shared/data/*widefield.ome.tif
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np

from napari_recurrent_mz.estimates.even_light import uneven_scan
from napari_recurrent_mz.io import read_image

_APART = (3, 5, 8, 12, 16, 20)
_GAIN = 0.8


def measure(stack: np.ndarray) -> Counter[str]:
    """How many scans were dimmed, named, and named wrongly; and good stacks that were accused."""
    dark, counts = float(np.quantile(stack, 0.001)), Counter[str]()
    for apart in _APART:
        for count in (3, 4, 5):
            for first in range(0, len(stack) - (count - 1) * apart, apart):
                planes = first + apart * np.arange(count)
                z_um = planes.astype(float)  # only their ratios count
                counts["good"] += 1
                counts["accused"] += uneven_scan(list(stack[planes]), z_um) is not None
                for dimmed in (0, count // 2):
                    scans = list(stack[planes])
                    scans[dimmed] = dark + _GAIN * (scans[dimmed] - dark)
                    found = uneven_scan(scans, z_um)
                    counts["dimmed"] += 1
                    counts["named"] += found is not None and found.index == dimmed
                    counts["other"] += found is not None and found.index != dimmed
    return counts


def main() -> None:
    print("| stack | good sets of scans | accused | one dimmed | it is named | another is named |")
    print("|---|---|---|---|---|---|")
    for name in sys.argv[1:]:
        counts = measure(np.asarray(read_image(name).data, np.float32))
        kinds = ("good", "accused", "dimmed", "named", "other")
        print(f"| {Path(name).name} | " + " | ".join(str(counts[kind]) for kind in kinds) + " |")


if __name__ == "__main__":
    main()
