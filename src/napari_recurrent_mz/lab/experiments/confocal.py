"""Figure 8: from wide-field scans to what a confocal microscope would see."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...core.arrays import AnyArray
from ...core.metrics import Normalisation, fitted, psnr, ssim
from ...core.scans import FloatArray
from ...measure.evaluation import CONFOCAL_METHODS, FULL_STACK
from ..shared import Goal
from .base import NOT_MEASURED, Experiment, Outcome, Pictures
from .figures import image, name_of, new_figure
from .lab import HeldOutStack, Lab, Row
from .stacks import STACKS, load, path_of

_DEPTH_UM = 9.0
_SCANS_UM = (2.8, 4.8, 6.8)
_REAL_PLANES = (12, 22, 32)
_PLUS = "recurrent-mz-plus"
_SHOWN = (FULL_STACK, "lmmse-plus", _PLUS, "confocal")


def _cases(lab: Lab) -> list[tuple[str, Callable[[], HeldOutStack], tuple[float, ...]]]:
    """Simulated worms and the real pair: what each is called, how to get it, its scans."""
    cases: list[tuple[str, Callable[[], HeldOutStack], tuple[float, ...]]] = [
        (
            f"simulated {number}",
            partial(lab.sample, "worm", number, depth_um=_DEPTH_UM, confocal=True),
            _SCANS_UM,
        )
        for number in range(lab.settings.samples)
    ]
    pair = [s for s in STACKS if s.file.startswith("nucleus")]
    if not all(path_of(lab, stack) for stack in pair):
        lab.note("The real nucleus, wide-field and confocal: not measured, it is not in the data.")
        return cases
    wide, narrow = (load(lab, stack, crop=lab.settings.real_size) for stack in pair)
    held = HeldOutStack(narrow.truth, wide.truth, wide.z_um, wide.optics, narrow.truth)
    return [*cases, ("real nucleus", lambda: held, tuple(wide.z_um[list(_REAL_PLANES)]))]


def _volume(lab: Lab, held: HeldOutStack, scans_um: tuple[float, ...], method: str) -> FloatArray:
    """The whole volume by a method, or as the wide-field microscope scanned it."""
    if method == FULL_STACK:
        return held.seen
    planes = dict(lab.rebuild(held, method, held.scans(scans_um), range(len(held.z_um))))
    return np.stack([planes[i] for i in range(len(held.z_um))])


def _measure(lab: Lab) -> Iterator[Row]:
    methods = [FULL_STACK, *lab.available(CONFOCAL_METHODS)]
    for case, get, scans_um in lab.track(_cases(lab)):
        held = get()
        assert held.confocal is not None  # every case has one
        truth = held.confocal
        scale = Normalisation.of_stack(truth)
        volumes: dict[str, AnyArray] = {"confocal": truth}
        for method in methods:
            volumes[method] = alike = fitted(_volume(lab, held, scans_um, method), truth)
            for index in held.between(held.z_um[0], held.z_um[-1], lab.settings.every_um / 2):
                pair = scale.apply(truth[index]), scale.apply(alike[index])
                z = round(float(held.z_um[index]), 4)
                yield {"case": case, "method": method, "z_um": z, "psnr": psnr(*pair),
                       "ssim": ssim(*pair)}  # fmt: skip
        for name, volume in volumes.items():
            for kind, axis in (("xz", 1), ("yz", 2)):
                lab.pictures[f"{case}/{name}/{kind}"] = volume.max(axis=axis)


def _outcomes(table: pd.DataFrame) -> Iterator[Outcome]:
    real = table.case.str.startswith("real")
    yield _line("simulated C. elegans", table[~real])
    yield _line("real nucleus pair", table[real])


def _line(what: str, table: pd.DataFrame) -> Outcome:
    means = table.groupby("method")[["psnr", "ssim"]].mean()
    words = "; ".join(f"{name_of(m)} {v.psnr:.2f} dB, {v.ssim:.3f}" for m, v in means.iterrows())
    margin, behind = math.nan, ""
    if _PLUS in means.index:
        ours, best = means.loc[_PLUS], means.drop(index=_PLUS).max()
        margin = float(ours.psnr - best.psnr)
        unit = {"psnr": "dB of PSNR", "ssim": "of SSIM"}
        behind = " and ".join(
            f"{best[m] - ours[m]:.2g} {unit[m]}" for m in unit if not ours[m] > best[m]
        )
    else:
        words = f"{NOT_MEASURED} ({words})" if words else NOT_MEASURED
    return Outcome(
        f"{what}, against the confocal stack: PSNR and SSIM",
        words,
        "very good match; sharper than the full wide-field stack (Fig. 8)",
        Goal(0, text="above the full wide-field stack and linear MMSE, PSNR and SSIM"),
        margin,
        f"by {behind}" if behind else "",
    )


def _draw(_: pd.DataFrame, pictures: Pictures) -> Figure:
    cases = [c for c in ("simulated 0", "real nucleus") if f"{c}/confocal/xz" in pictures]
    shown = [m for m in _SHOWN if f"{cases[0]}/{m}/xz" in pictures]
    figure = new_figure(7.2, 1.0 + 1.8 * len(cases))
    rows = figure.subfigures(len(cases), 1, squeeze=False)[:, 0]
    for part, case in zip(rows, cases, strict=True):
        part.suptitle(f"{case}: maximum projections, xz above, yz below", fontsize=8.5)
        axes = part.subplots(2, len(shown), squeeze=False)
        cells = product(enumerate(("xz", "yz")), enumerate(shown))
        for (row, kind), (column, method) in cells:
            pixels = pictures[f"{case}/{method}/{kind}"]
            image(axes[row, column], pixels[::-1], name_of(method) if row == 0 else "")
            axes[row, column].set_aspect("auto")
    return figure


CONFOCAL = Experiment(
    name="confocal",
    title="From wide-field scans to a confocal stack",
    figure="Figure 8",
    paper="Recurrent-MZ+ takes wide-field scans at 2.8, 4.8 and 6.8 µm to a stack from 0 to 9 µm "
    "that matches the confocal one, sharper than the wide-field stack of 46 images.",
    how="Simulated worms with their confocal counterpart (pinhole of one Airy unit), and the real "
    "nucleus that was imaged both ways (wide-field planes 12, 22 and 32). Intensities of the two "
    "microscopes have no common unit: each volume, the full wide-field stack included, is brought "
    "to the confocal's by the one gain and offset that fit it best.",
    measure=_measure,
    outcomes=_outcomes,
    draw=_draw,
)
