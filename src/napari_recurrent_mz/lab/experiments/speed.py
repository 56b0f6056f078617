"""How long a plane takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...core.scans import ZGrid
from ...engine.inference import iter_planes
from ..shared import timed
from .base import NOT_MEASURED, Experiment, Measured, Outcome
from .figures import axes_row, bars, name_of
from .lab import WORM_OPTICS, Lab, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_METHODS = "recurrent-mz deep-z unet-3d lmmse".split()
_SPACING_UM = 6.0
_PAPER_SECONDS = {
    ("recurrent-mz", 2): "0.18 s",
    ("recurrent-mz", 3): "0.28 s; 0.15 s optimised",
    ("deep-z", 3): "0.12 s",
    ("unet-3d", 3): "0.2 s",
}


def _measure(lab: Lab) -> Measured:
    rows: list[Row] = []
    counts = {m: (2, 3) if m == "recurrent-mz" else (3,) for m in lab.available(_METHODS)}
    for method, count in lab.track((m, c) for m, some in counts.items() for c in some):
        seconds = _seconds(lab, method, count)
        rows.append(
            {"method": method, "scans": count, "pixels": lab.settings.bench_size,
             "device": lab.device.kind, "seconds": seconds}
        )  # fmt: skip
    return Measured(pd.DataFrame(rows))


def _seconds(lab: Lab, method: str, count: int) -> float:
    """Seconds for one more plane, the scans prepared and one plane made."""
    planes = iter_planes(
        lab.noise(count, _SPACING_UM),
        ZGrid(1.0, 4.0, 1.0),
        optics=WORM_OPTICS,
        model=lab.model(method),
        method=method,
        device=lab.settings.device,
    )
    next(planes)
    return timed(lambda: next(planes))


def _outcomes(table: pd.DataFrame) -> list[Outcome]:
    timed = {(r.method, r.scans): r for r in table.itertuples(index=False)}
    lines = []
    for method, count in dict.fromkeys([*_PAPER_SECONDS, *timed]):
        row = timed.get((method, count))
        size = 1024 if row is None else row.pixels
        lines.append(
            Outcome(
                f"{name_of(method)}, one plane of {size} × {size} pixels, M = {count}",
                NOT_MEASURED if row is None else f"{row.seconds:.2f} s on {row.device}",
                _PAPER_SECONDS.get((method, count), ""),
            )
        )
    return lines


def _draw(measured: Measured) -> Figure:
    table = measured.table
    figure, (axes,) = axes_row(1, height=1.9)
    names = [f"{name_of(r.method)}, M = {r.scans}" for r in table.itertuples(index=False)]
    bars(axes, pd.Series(np.asarray(table.seconds), names), unit="seconds a plane")
    return figure


SPEED = Experiment(
    name="speed",
    title="Time for a plane",
    figure="text (Results, Methods)",
    paper="On an NVIDIA RTX 2080 Ti, 1024 × 1024 pixels: Recurrent-MZ 0.18 s (M = 2) and 0.28 s "
    "(M = 3), optimised 0.15 s and 3.42 s for 101 planes; Deep-Z 0.12 s; 3-D U-Net 0.2 s.",
    how="One plane once the scans are prepared; `recurrent-mz bench` times more.",
    measure=_measure,
    outcomes=_outcomes,
    draw=_draw,
)
