"""Figure 4: scans at random spacing, and networks trained at other spacings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..shared import Goal
from .base import NOT_MEASURED, Experiment, Measured, Outcome
from .figures import COLOURS, axes_row, mark_scans, name_of
from .lab import WORM_SCANS_UM, Lab, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPACING_UM = 6.0
_SMALLEST_UM = 4.0
_DRAWS = 5


def random_heights(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Three heights from 3 µm up, adjacent ones 4 to 6 µm apart, as (3, 7.8, 13.6) in Fig. 4a."""
    gaps = rng.uniform(_SMALLEST_UM, _SPACING_UM, 2)
    return WORM_SCANS_UM[0] + np.concatenate([[0.0], np.cumsum(gaps)])


def _measure_spacing(lab: Lab) -> Measured:
    rows: list[Row] = []
    methods = lab.available(("recurrent-mz", "lmmse", "unet-3d"))
    draws = min(_DRAWS, lab.settings.draws)
    parts = [(n, d) for n in range(lab.settings.samples) for d in range(draws + 1)]
    for number, draw in lab.track(parts):
        held = lab.sample("worm", number)
        heights = random_heights(lab.rng(number, draw)) if draw else np.array(WORM_SCANS_UM)
        targets = held.between(WORM_SCANS_UM[0], WORM_SCANS_UM[-1], lab.settings.every_um)
        about = {"sample": number, "draw": draw, "spacing": "random" if draw else "uniform"}
        for method in methods:
            scored = lab.scored(held, method, held.scans(heights), targets, about)
            rows += [row | {"top_um": round(float(heights[-1]), 4)} for row in scored]
    return Measured(pd.DataFrame(rows))


def _common(table: pd.DataFrame) -> pd.DataFrame:
    """The planes between the outer scans of every draw, so that the same planes are compared."""
    return table[table.z_um < table.top_um.min()]


def _spacing_outcomes(table: pd.DataFrame) -> list[Outcome]:
    means = _common(table).groupby(["method", "spacing"]).psnr.mean().unstack()
    lines = []
    for method, mean in means.iterrows():
        less = float(mean["uniform"] - mean["random"])
        words = f"{mean['random']:.2f} dB at random, {mean['uniform']:.2f} dB at uniform spacing"
        ours = method == "recurrent-mz"
        lines.append(
            Outcome(
                f"scans at random against uniform spacing, {name_of(str(method))}",
                words,
                {"recurrent-mz": "close curves", "unet-3d": "fails (Fig. 4b)"}.get(str(method), ""),
                Goal(0.5, "dB", at_least=False, text="mean PSNR within 0.5 dB, or above")
                if ours
                else None,
                less if ours else math.nan,
            )
        )
    return lines


def _draw_spacing(measured: Measured) -> Figure:
    table = measured.table
    methods = list(table.method.unique())
    figure, row = axes_row(len(methods), sharey=True)
    for axes, method in zip(row, methods, strict=True):
        for spacing, style in (("uniform", "-"), ("random", ":")):
            some = table[(table.method == method) & (table.spacing == spacing)]
            mean = some[some.z_um < some.top_um].groupby("z_um").psnr.mean()
            axes.plot(mean.index, mean, style, color=COLOURS[method], label=spacing)
        mark_scans(axes, WORM_SCANS_UM)
        axes.set_title(name_of(method))
        axes.set_xlabel("z, µm (uniform scans dashed)")
        axes.legend()
    row[0].set_ylabel("PSNR, dB")
    return figure


RANDOM_SPACING = Experiment(
    name="spacing",
    title="Scans at random spacing",
    figure="Figures 4a, 4b and S4",
    paper="Trained with equidistant scans only, Recurrent-MZ gives very similar PSNR curves for "
    "scans at (3, 9, 15) µm and at random heights such as (3, 7.8, 13.6) µm; a 3-D U-Net fails.",
    how="Simulated worms; scans at 3, 9 and 15 µm against five draws each of scans 4 to 6 µm "
    "apart, judged on the same planes, all of them between the outer scans.",
    measure=_measure_spacing,
    outcomes=_spacing_outcomes,
    draw=_draw_spacing,
)


# --- the spacing in use and in training ---------------------------------------------------

_SPACINGS_UM = (4.0, 6.0, 8.0)
_TRAINED = {f"spacing-{s:g}": s for s in _SPACINGS_UM}
_MIDDLE_UM = 9.0


def _measure_distances(lab: Lab) -> Measured:
    """The bundled network at three spacings, and networks trained at each at one spacing."""
    rows: list[Row] = []
    trained = lab.trained(list(_TRAINED), "Networks trained at Δz = 4, 6 and 8 µm alone")
    for number in lab.track(range(lab.settings.samples)):
        held = lab.sample("worm", number)
        for spacing in _SPACINGS_UM:
            scans = held.scans(_MIDDLE_UM + spacing * np.array([-1, 0, 1]))
            targets = held.between(scans[0].z_um, scans[-1].z_um, lab.settings.every_um)
            about = {"weights": "bundled", "sample": number, "spacing_um": spacing}
            for method in lab.available(("recurrent-mz", "lmmse")):
                rows += lab.scored(held, method, scans, targets, about)
        scans = held.scans(WORM_SCANS_UM)
        targets = held.between(WORM_SCANS_UM[0], WORM_SCANS_UM[-1], lab.settings.every_um)
        for name, model in trained.items():
            about = {"weights": name, "sample": number, "spacing_um": _SPACING_UM}
            rows += lab.scored(held, "recurrent-mz", scans, targets, about, model=model)
    return Measured(pd.DataFrame(rows))


def _distances_outcomes(table: pd.DataFrame) -> list[Outcome]:
    lines = []
    bundled = table[table.weights == "bundled"]
    means = bundled.groupby(["spacing_um", "method"]).psnr.mean().unstack()
    for spacing, mean in means.iterrows():
        gain = mean["recurrent-mz"] - mean["lmmse"]
        words = f"{mean['recurrent-mz']:.2f} dB, {gain:+.2f} dB over linear MMSE"
        lines.append(Outcome(f"bundled weights, M = 3, scans at Δz = {spacing:g} µm", words))
    for name, spacing in _TRAINED.items():
        psnr = table[table.weights == name].psnr
        words = f"{psnr.mean():.2f} ± {psnr.std():.2f} dB" if len(psnr) else NOT_MEASURED
        lines.append(
            Outcome(
                f"trained at Δz = {spacing:g} µm alone, tested at 6 µm: mean, spread over planes",
                words,
                "a smaller Δz in training: higher peak, wider spread",
            )
        )
    return lines


def _draw_distances(measured: Measured) -> Figure:
    table = measured.table
    figure, (left, right) = axes_row(2, sharey=True)
    bundled = table[(table.weights == "bundled") & (table.method == "recurrent-mz")]
    for axes, by, rows in (
        (left, "spacing_um", bundled),
        (right, "weights", table[(table.spacing_um == _SPACING_UM) & (table.method != "lmmse")]),
    ):
        for name, some in rows.groupby(by):
            mean = some.groupby("z_um").psnr.mean()
            axes.plot(mean.index, mean, label=f"Δz = {name:g} µm" if by == "spacing_um" else name)
        axes.set_xlabel("z, µm")
        axes.legend()
    left.set_ylabel("PSNR, dB")
    left.set_title("bundled weights, scans at Δz")
    right.set_title("scans at Δz = 6 µm, by weights")
    return figure


DISTANCES = Experiment(
    name="distance",
    title="The distance between scans, in use and in training",
    figure="Figures 4c and 4d",
    paper="Of networks trained at Δz = 4, 6 and 8 µm and tested at 6 µm, those trained at a "
    "smaller Δz have the better peak and the larger spread over the depth.",
    how="Simulated worms, M = 3: the bundled weights with scans 4, 6 and 8 µm apart, and the "
    "paper's three networks where such weights are given.",
    measure=_measure_distances,
    outcomes=_distances_outcomes,
    draw=_draw_distances,
)
