"""The linear MMSE preview of a volume, beside the network."""

from __future__ import annotations

from collections.abc import Iterator

from ...estimates.lmmse import LinearEstimate
from ..shared import Goal, timed
from .base import Bench, Row, Times, in_words
from .plane import measured
from .scene import OPTICS, REACH_UM, heights, noise_scans

_SECONDS = Goal(4.0, "s", at_least=False)
_FASTER = Goal(40.0, "×")


def measure(bench: Bench) -> Iterator[Row]:
    """The first preview, from nothing: the tables, the transforms, every plane."""
    sizes = bench.sizes
    scans = noise_scans(sizes.scans, sizes.pixels)

    def preview() -> None:
        estimate = LinearEstimate(scans, OPTICS, reach_um=REACH_UM, device=bench.device.torch)
        for z in heights(sizes.planes):
            estimate.plane(z)

    first = timed(preview)
    again = Times(tuple(timed(preview) for _ in range(sizes.repeats)))
    bench.note("the network beside it")
    plane = measured(bench)
    whole = {name: sizes.planes * Times(plane[name]).median for name in ("plain", "chosen")}
    yield Row(
        "preview",
        f"linear MMSE, {sizes.planes} × {sizes.pixels} × {sizes.pixels}, M = {sizes.scans}, "
        f"from nothing ({bench.device.kind.upper()})",
        first,
        ratio=whole["plain"] / first,
        against=f"{sizes.planes} planes of the plain network: {in_words(whole['plain'], 's')}",
        goal=None if bench.on_gpu else _SECONDS,  # goals of a CPU
        ratio_goal=None if bench.on_gpu else _FASTER,
        words=f"once more: {again.words}; {whole['chosen'] / first:.3g} × the network as chosen",
    )
