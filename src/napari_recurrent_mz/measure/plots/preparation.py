"""What preparation found: the drift of a stack, the histogram of its EDF, a registration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.scans import check_image
from ...estimates.normalisation import EdfNormalisation
from ..preparation import Alignment, Registration
from . import FONT_SIZE, Draw, Ink, open_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS = 128
_LEAST_SPAN_DEG = 0.1
_LEAST = 0.7
_FILLED = 0.64  # of the height; the legend has the rest


def drift_figure(
    alignment: Alignment, z_um: npt.ArrayLike | None = None, pixel_um: float | None = None
) -> Draw:
    """The shift of every plane in y and x, and its rotation, if there is any, under it, over z.

    Parameters
    ----------
    alignment : Alignment
    z_um : array_like, shape (M,), optional
        Heights in micrometres; without them, plane numbers.
    pixel_um : float, optional
        Pixel size in micrometres; without it, shifts are in pixels.
    """
    turned = alignment.transform != "translation"
    heights = np.arange(len(alignment.matrices)) if z_um is None else np.asarray(z_um)
    shift = alignment.shift_px * (pixel_um or 1.0)

    def draw(figure: Figure, ink: Ink) -> None:
        shown: Any = figure.subplots(2 if turned else 1, 1, sharex=True, squeeze=False)
        axes = list(shown[:, 0])
        for i, name in enumerate(("y", "x")):
            axes[0].plot(heights, shift[:, i], "o-", ms=2.5, lw=1.2, color=ink.lines[i], label=name)
        axes[0].axhline(0, color=ink.faint, lw=0.6, zorder=0)
        axes[0].set_ylabel("shift (px)" if pixel_um is None else "shift (µm)")
        axes[0].legend(fontsize=FONT_SIZE, ncols=2, borderaxespad=0.2, handlelength=1.2)
        if turned:
            angle = alignment.rotation_deg
            axes[1].plot(heights, angle, "o-", ms=2.5, lw=1.2, color=ink.lines[2])
            axes[1].axhline(0, color=ink.faint, lw=0.6, zorder=0)
            middle, half = float(angle.max() + angle.min()) / 2, float(np.ptp(angle)) / 2
            half = 1.15 * max(half, _LEAST_SPAN_DEG / 2)
            axes[1].set_ylim(middle - half, middle + half)
            axes[1].set_ylabel("rotation (°)")
        axes[-1].set_xlabel("plane" if z_um is None else "z (µm)")
        for one in axes:
            open_axes(one)

    return draw


def edf_histogram_figure(
    edf: npt.ArrayLike, normalisation: EdfNormalisation, unit: str = ""
) -> Draw:
    """The histogram of an extended-depth-of-field image with what normalises its stack.

    Counts are on a logarithmic axis; lines mark the threshold, the mean of the background and the
    99th percentile of the foreground.

    Parameters
    ----------
    edf : array_like, shape (Y, X)
    normalisation : EdfNormalisation
        Measured on it.
    unit : str, optional
        Of the intensities.
    """
    counts, edges = np.histogram(check_image(edf, "The image"), bins=_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    lines = (
        ("background mean", normalisation.background, 0, "-"),
        ("triangle threshold", normalisation.threshold, 1, "--"),
        ("foreground P99", normalisation.p99, 2, "-"),
    )

    def draw(figure: Figure, ink: Ink) -> None:
        axes = figure.subplots()
        dark = centres <= normalisation.threshold
        for part, shade in ((dark, 0.35), (~dark, 0.75)):
            width = np.diff(edges)[part]
            axes.bar(centres[part], counts[part], width=width, color=ink.text, alpha=shade)
        for label, value, series, dashes in lines:
            axes.axvline(
                value, ymax=_FILLED + 0.04, color=ink.lines[series], lw=1.5, ls=dashes,
                label=f"{label} {value:.4g}",
            )  # fmt: skip
        top = _LEAST * (counts.max() / _LEAST) ** (1 / _FILLED)
        words = f"EDF intensity ({unit or 'units of the image'})"
        axes.set(yscale="log", ylim=(_LEAST, top), xlabel=words, ylabel="pixels")
        axes.legend(fontsize=FONT_SIZE, loc="upper right")
        open_axes(axes)

    return draw


def registration_figure(registration: Registration) -> Draw:
    """The correlation of a confocal with a wide-field stack over the axial shift.

    The shift that was chosen and the correlation before are marked.
    """

    def draw(figure: Figure, ink: Ink) -> None:
        axes = figure.subplots()
        axes.plot(
            registration.tried_um, registration.tried_correlation, "-", lw=1.2, color=ink.lines[0]
        )
        after = registration.correlation_after
        axes.axvline(
            registration.shift_z_um, color=ink.lines[1], lw=1.5, ls="--",
            label=f"registered: {after:.3f} at {registration.shift_z_um:+.2f} µm",
        )  # fmt: skip
        before = registration.correlation_before
        if not np.isnan(before):
            axes.plot(
                [0.0], [before], "s", ms=4, color=ink.lines[2], label=f"as they were: {before:.3f}"
            )
        axes.set(xlabel="axial shift of the confocal stack (µm)", ylabel="correlation")
        axes.legend(fontsize=FONT_SIZE, loc="lower center")
        open_axes(axes)

    return draw
