"""Cost of one more scan when the network remembers the ones before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...core.scans import Scan
from ...engine.tiles import NetworkPlanes
from ...networks.inputs import Scale
from ...networks.memory import Memory
from ..shared import Goal
from .base import Experiment, Measured, Outcome
from .figures import axes_row
from .lab import WORM_OPTICS, Lab, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COUNTS = (2, 3, 4, 5, 6)
_SPACING_UM = 2.0
_HEIGHTS_UM = (1.0, 3.0, 5.0)  # the first is not counted: it pays for the start
_ALLOWED = 1.25


def _measure(lab: Lab) -> Measured:
    if not lab.available(["recurrent-mz"]):
        return Measured(pd.DataFrame())
    size = lab.settings.bench_size
    scans = lab.noise(_COUNTS[-1], _SPACING_UM)
    scale = Scale.of(np.stack([scan.pixels for scan in scans[:2]]))
    memories = {z: Memory(lab.device.torch) for z in _HEIGHTS_UM}
    rows: list[Row] = []
    for count in lab.track((1, *_COUNTS)):
        planes = _planes(lab, scans[:count], scale)
        remembered = _seconds(lab, planes, memories)
        if count > 1:
            about = {"scans": count, "pixels": size, "device": lab.device.kind}
            anew = _seconds(lab, planes, dict.fromkeys(_HEIGHTS_UM))
            rows.append(about | {"kept": remembered, "anew": anew})
    return Measured(pd.DataFrame(rows))


def _planes(lab: Lab, scans: list[Scan], scale: Scale) -> NetworkPlanes:
    model = lab.model("recurrent-mz")
    assert model is not None  # or the experiment ends before
    reach = (0.0, _SPACING_UM * (_COUNTS[-1] - 1))
    planes = NetworkPlanes(
        scans, WORM_OPTICS, model, lab.device, reach_um=reach, on_message=lab.note, scale=scale
    )
    _ = planes.inputs  # what is prepared once for all planes is not counted
    return planes


def _seconds(
    lab: Lab, planes: NetworkPlanes, memories: dict[float, Memory] | dict[float, None]
) -> float:
    """Mean seconds of a plane; on a CPU those that the process had, whatever else ran."""
    clock = time.process_time if lab.device.kind == "cpu" else time.perf_counter
    taken = []
    for z_um, memory in memories.items():
        started = clock()
        planes.plane(z_um, memory)
        taken.append(clock() - started)
    return float(np.mean(taken[1:]))


def _outcomes(table: pd.DataFrame) -> list[Outcome]:
    lines = [
        Outcome(
            f"scan number {row.scans}, one plane of {row.pixels} × {row.pixels} pixels",
            f"{row.kept:.2f} s when the state was kept, {row.anew:.2f} s when all scans enter "
            f"again ({row.device})",
        )
        for row in table.itertuples(index=False)
    ]
    last = table[table.scans > 2].kept
    growth = float(last.iloc[-1] / last.iloc[0])
    whole = Outcome(
        f"cost of scan {table.scans.iloc[-1]} over that of scan 3, the state kept",
        f"{growth:.2f}",
        "",
        Goal(_ALLOWED, at_least=False, text="the same whatever M is, within a quarter"),
        growth,
    )
    return [whole, *lines]


def _draw(measured: Measured) -> Figure:
    table = measured.table
    figure, (axes,) = axes_row(1, height=2.4, width=4.5)
    axes.plot(table.scans, table.anew, "o-", color="0.5", label="all scans enter again")
    axes.plot(table.scans, table.kept, "o-", color="#c1272d", label="the state was kept")
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
    "estimate's transforms, the non-negative object) is not counted; on a CPU, the time is that "
    "of the process.",
    measure=_measure,
    outcomes=_outcomes,
    draw=_draw,
)
