"""Networks that had the same training: as many steps, on the same examples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..shared import Goal
from .base import NOT_MEASURED, Experiment, Measured, Outcome
from .figures import axes_row, bars
from .lab import WORM_SCANS_UM, Lab, Row
from .worm import in_pairs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_TRAINED = {
    "equal-recurrent-mz": ("recurrent-mz", "Recurrent-MZ on linear MMSE"),
    "equal-paper": ("recurrent-mz", "Recurrent-MZ, the paper's form"),
    "equal-deep-z": ("deep-z", "Deep-Z"),
    "equal-unet-3d": ("unet-3d", "3-D U-Net"),
}
_KINDS = ("worm", "beads", "nuclei")
_WHY = "Networks trained for as many steps on the same examples"


def _measure(lab: Lab) -> Measured:
    import pandas as pd

    models = lab.trained(list(_TRAINED), _WHY)
    names = [*models, "lmmse"]
    parts = [(k, n, m) for k in _KINDS for n in range(lab.settings.samples) for m in names]
    rows: list[Row] = []
    for kind, number, name in lab.track(parts):
        held = lab.sample(kind, number)
        method = _TRAINED[name][0] if name in _TRAINED else name
        targets = held.between(WORM_SCANS_UM[0], WORM_SCANS_UM[-1], lab.settings.every_um)
        pairs = method != "unet-3d"
        groups = in_pairs(held, targets) if pairs else [(WORM_SCANS_UM, targets)]
        for heights, some in groups:
            about = {"trained": name, "kind": kind, "sample": number}
            rows += lab.scored(held, method, held.scans(heights), some, about,
                               model=models.get(name))  # fmt: skip
    return Measured(pd.DataFrame(rows))


def _means(table: pd.DataFrame) -> pd.DataFrame:
    """Mean PSNR by network and kind of sample."""
    means: pd.DataFrame = table.groupby(["trained", "kind"]).psnr.mean().unstack()
    return means


def _outcomes(table: pd.DataFrame) -> list[Outcome]:
    means = _means(table)
    lines = [_gain_over_deep_z(means, name) for name in ("equal-recurrent-mz", "equal-paper")]
    for name in [*_TRAINED, "lmmse"]:
        if name in means.index:
            words = ", ".join(f"{kind} {means.loc[name, kind]:.2f} dB" for kind in _KINDS)
            lines.append(Outcome(f"{_title(name)}: PSNR", words))
    return lines


def _gain_over_deep_z(means: pd.DataFrame, name: str) -> Outcome:
    what = f"simulated C. elegans, Δz = 6 µm, M = 2, {_title(name)}: gain over Deep-Z"
    paper, goal = "1.88 dB at z = 11.4 µm", Goal(2, "dB")
    if not {name, "equal-deep-z"} <= set(means.index):
        return Outcome(what, NOT_MEASURED, paper)
    gain = float(means.loc[name, "worm"] - means.loc["equal-deep-z", "worm"])
    return Outcome(what, f"{gain:+.2f} dB over all planes", paper, goal, gain)


def _title(name: str) -> str:
    return _TRAINED[name][1] if name in _TRAINED else "Linear MMSE (no training)"


def _draw(measured: Measured) -> Figure:
    means = _means(measured.table)
    order = [name for name in [*_TRAINED, "lmmse"] if name in means.index]
    figure, row = axes_row(len(_KINDS), sharey=True)
    low = math.floor(float(np.nanmin(means.to_numpy()))) - 1
    for axes, kind in zip(row, _KINDS, strict=True):
        bars(axes, means.loc[order, kind].rename(index=_title), unit="PSNR, dB")
        axes.set_xlim(left=max(low, 0))
        axes.set_title(kind)
    return figure


BUDGET = Experiment(
    name="budget",
    title="The same training for every network",
    figure="Figure 2, with equal training",
    paper="All networks are trained on the same data; Recurrent-MZ with M = 2 reaches 1.88 dB more "
    "than Deep-Z.",
    how="Simulated worms, beads and nuclei, scans at 3, 9 and 15 µm, each plane from its two "
    "nearest scans (Deep-Z: the nearest; 3-D U-Net: all three), by small networks that saw the "
    "same examples in the same number of steps, fewer than the bundled wide-field weights had "
    "(*Training* has the commands).",
    measure=_measure,
    outcomes=_outcomes,
    draw=_draw,
)
"""The experiment."""
