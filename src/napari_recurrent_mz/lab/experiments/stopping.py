"""The paper's Discussion: when another scan no longer pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...core.metrics import EPSILON, relative_change
from ...estimates.planning import RULES
from ..shared import Goal
from .base import Experiment, Measured, Outcome
from .figures import axes_row
from .lab import HeldOutStack, Lab, Row
from .next_scan import background, contrast, relative_error, simulated, steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 14
_FEWEST = 3  # a session does not stop before
_WITHIN = 0.03
_THRESHOLDS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2)
_COUNTED = {
    "change": "the last change alone (the paper)",
    "ahead": "the expected next change alone",
    "both": "both",
}


def _measure(lab: Lab) -> Measured:
    rows: list[Row] = []
    for about, held in simulated(lab):
        rows += _sequence(held, about, lab.rng(0))
    return Measured(pd.DataFrame(rows))


def _sequence(held: HeldOutStack, about: Row, rng: np.random.Generator) -> list[Row]:
    """Error, change, and expected next change after every scan at the suggested height."""
    rows: list[Row] = []
    before = None
    for step in steps(held, RULES[0], _MOST, rng):
        dark = background(held, step.planes)
        row = about | {"scans": len(step.planes)}
        row["error"] = relative_error(held, step.volume, dark)
        row["ahead"] = step.next_change * contrast(step.volume, dark)
        if before is not None:
            row["change"] = relative_change(before - dark, step.volume - dark)
            rows.append(row)
        before = step.volume
    return rows


def stopped_at(table: pd.DataFrame, epsilon: float, counted: str) -> pd.DataFrame:
    """Where every sample stops when ``counted`` falls to ε.

    ``excess`` is the error above the best of the sample, in parts of the volume's norm, ``ratio``
    that over the best; ``stopped`` is False where the scans ran out first.
    """
    rows = []
    for _, sample in table.groupby(["sample", "number"], sort=False):
        late = sample[sample.scans >= _FEWEST]
        value = late[["change", "ahead"]].max(axis=1) if counted == "both" else late[counted]
        hit = late[value <= epsilon]
        end = hit.iloc[0] if len(hit) else late.iloc[-1]
        best = float(sample.error.min())
        rows.append(
            {"scans": int(end.scans), "excess": float(end.error) - best,
             "ratio": float(end.error) / best, "stopped": bool(len(hit))}
        )  # fmt: skip
    return pd.DataFrame(rows)


def _outcomes(table: pd.DataFrame) -> list[Outcome]:
    lines = []
    for epsilon in _THRESHOLDS:
        for counted, words in _COUNTED.items():
            found = stopped_at(table, epsilon, counted)
            within = 100 * float((found.excess <= _WITHIN).mean())
            default = epsilon == EPSILON and counted == "both"
            lines.append(
                Outcome(
                    f"ε = {100 * epsilon:g} %, {words}" + ", the default" * default,
                    f"{found.scans.mean():.1f} scans, {100 * found.excess.mean():.1f} points above "
                    f"the best error (at most {100 * found.excess.max():.0f}), {within:.0f} % of "
                    f"samples within 3 points",
                    "",
                    Goal(90, "%", text="9 of 10 samples within 3 points") if default else None,
                    within,
                )
            )
    return lines + [_forecast_line(table, name) for name in ("change", "ahead")]


def _forecast_line(table: pd.DataFrame, name: str) -> Outcome:
    """How well a number says what the next scan changes."""
    rows = table.sort_values(["sample", "number", "scans"])
    following = rows.groupby(["sample", "number"]).change.shift(-1)
    ratio = (following / rows[name])[rows.scans >= _FEWEST].dropna()
    low, middle, high = ratio.quantile([0.25, 0.5, 0.75])
    return Outcome(
        f"next change over {_COUNTED[name].partition(' alone')[0]}: median, middle half",
        f"{middle:.2f} ({low:.2f} to {high:.2f})",
    )


def _draw(measured: Measured) -> Figure:
    table = measured.table
    figure, (left, right) = axes_row(2)
    for _, sample in table.groupby(["sample", "number"]):
        left.plot(100 * sample.change, 100 * sample.error, color="0.8", linewidth=0.6)
    bins = pd.cut(np.log10(table.change.clip(lower=1e-3)), 12)
    middle = table.groupby(bins, observed=True)[["change", "error"]].median()
    left.plot(100 * middle.change, 100 * middle.error, "o-", color="#c1272d", label="median")
    left.axvline(100 * EPSILON, color="0.3", linestyle=":", label="ε")
    left.set(xscale="log", xlabel="change by the last scan, %", ylabel="error, % of the volume")
    left.legend()
    for counted, words in _COUNTED.items():
        found = [stopped_at(table, epsilon, counted) for epsilon in _THRESHOLDS]
        right.plot(
            [f.scans.mean() for f in found], [100 * f.excess.mean() for f in found], "o-",
            markersize=3, label=words,
        )  # fmt: skip
    right.set_xlabel("scans until it stops")
    right.set_ylabel("points above the best error")
    right.legend()
    return figure


STOPPING = Experiment(
    name="stopping",
    title="When another scan no longer pays",
    figure="Discussion",
    paper="Scanning can stop when ‖V_M − V_(M−1)‖_F falls below a threshold ε; the paper gives "
    "none.",
    how="Simulated samples of every kind, 12 µm deep, each also upside down: up to 14 scans, each "
    "at the suggested height, and linear MMSE after each. The error is that of the whole volume "
    "over its norm, the background taken off, and the change is counted in the same way; the best "
    "error is the lowest of the 14. Beside the paper's criterion: what the best next scan is "
    "expected to change, in closed form.",
    measure=_measure,
    outcomes=_outcomes,
    draw=_draw,
)
