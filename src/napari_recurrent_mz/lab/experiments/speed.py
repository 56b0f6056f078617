"""How long a plane takes, and one more scan where the network remembers those before."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...core.scans import ZGrid
from ...engine.inference import iter_planes
from ..benchmarks.base import Bench, Sizes
from ..benchmarks.growth import added_and_rebuilt
from ..benchmarks.scene import noise_scans
from ..shared import Goal, timed
from .base import NOT_MEASURED, Experiment, Outcome, Pictures
from .figures import RED, axes_row, bars, name_of
from .lab import WORM_OPTICS, Lab, Row

_METHODS = "recurrent-mz deep-z unet-3d lmmse".split()
_PAPER_SECONDS = {
    ("recurrent-mz", 2): "0.18 s",
    ("recurrent-mz", 3): "0.28 s; 0.15 s optimised",
    ("deep-z", 3): "0.12 s",
    ("unet-3d", 3): "0.2 s",
}


def _measure_speed(lab: Lab) -> Iterator[Row]:
    """Seconds for one more plane, the scans prepared and one plane made."""
    counts = {m: (2, 3) if m == "recurrent-mz" else (3,) for m in lab.available(_METHODS)}
    for method, count in lab.track((m, c) for m, some in counts.items() for c in some):
        planes = iter_planes(
            noise_scans(count, lab.settings.bench_size),
            ZGrid(1.0, 4.0, 1.0),
            optics=WORM_OPTICS,
            model=lab.model(method),
            method=method,
            device=lab.settings.device,
        )
        next(planes)
        yield {"method": method, "scans": count, "pixels": lab.settings.bench_size,
               "device": lab.device.kind, "seconds": timed(partial(next, planes))}  # fmt: skip


def _outcomes_speed(table: pd.DataFrame) -> Iterator[Outcome]:
    timed = {(r.method, r.scans): r for r in table.itertuples(index=False)}
    for method, count in dict.fromkeys([*_PAPER_SECONDS, *timed]):
        row = timed.get((method, count))
        size = 1024 if row is None else row.pixels
        yield Outcome(
            f"{name_of(method)}, one plane of {size} × {size} pixels, M = {count}",
            NOT_MEASURED if row is None else f"{row.seconds:.2f} s on {row.device}",
            _PAPER_SECONDS.get((method, count), ""),
        )


def _draw_speed(table: pd.DataFrame, _: Pictures) -> Figure:
    figure, (axes,) = axes_row(1, 7.2, 1.9)
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
    measure=_measure_speed,
    outcomes=_outcomes_speed,
    draw=_draw_speed,
)


_COUNTS = (2, 3, 4, 5, 6)
_ALLOWED = 1.25


def _measure_one_more_scan(lab: Lab) -> Iterator[Row]:
    if not lab.available(["recurrent-mz"]):
        return
    lab.network_model()  # for the record
    size, weights = lab.settings.bench_size, lab.settings.weights.get("recurrent-mz")
    sizes = Sizes(pixels=size, planes=1, repeats=3)
    bench = Bench(lab.device, weights, sizes, lab.note)
    for count in lab.track(_COUNTS):
        times = added_and_rebuilt(bench, count)
        yield {"scans": count, "pixels": size, "device": lab.device.kind,
               "kept": times["added"].median, "anew": times["rebuilt"].median}  # fmt: skip


def _outcomes_one_more_scan(table: pd.DataFrame) -> Iterator[Outcome]:
    last = table[table.scans > 2].kept
    growth = float(last.iloc[-1] / last.iloc[0])
    yield Outcome(
        f"cost of scan {table.scans.iloc[-1]} over that of scan 3, the state kept",
        f"{growth:.2f}",
        "",
        Goal(_ALLOWED, at_least=False, text="the same whatever M is, within a quarter"),
        growth,
    )
    for row in table.itertuples(index=False):
        yield Outcome(
            f"scan number {row.scans}, one plane of {row.pixels} × {row.pixels} pixels",
            f"{row.kept:.2f} s when the state was kept, {row.anew:.2f} s when all scans enter "
            f"again ({row.device})",
        )


def _draw_one_more_scan(table: pd.DataFrame, _: Pictures) -> Figure:
    figure, (axes,) = axes_row(1, 4.5, 2.4)
    axes.plot(table.scans, table.anew, "o-", color="0.5", label="all scans enter again")
    axes.plot(table.scans, table.kept, "o-", color=RED, label="the state was kept")
    axes.set(xlabel="scans", ylabel="seconds a plane", xticks=list(table.scans))
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


ONE_MORE_SCAN = Experiment(
    name="one-more-scan",
    title="What one more scan costs",
    figure="beyond the paper",
    paper="The paper reconstructs anew from all scans.",
    how="One plane by the network after each further scan, with the state kept from the scans "
    "before and with all scans entering again. What is prepared once for all planes (the linear "
    "estimate's transforms, the non-negative object) is not counted; the two take turns, and the "
    "median of three is taken.",
    measure=_measure_one_more_scan,
    outcomes=_outcomes_one_more_scan,
    draw=_draw_one_more_scan,
)
