"""What the Prepare dock says of what was found, in sentences."""

from __future__ import annotations

import numpy as np

from ...estimates.normalisation import EdfNormalisation
from ...measure.preparation import Alignment, Registration

Region = tuple[slice, slice]


def field_words(found: Alignment, region: Region, crop: bool) -> str:
    """Which part of the field all aligned planes show."""
    rows, columns = region
    height, width = rows.stop - rows.start, columns.stop - columns.start
    edges = "cropped to these." if crop else "beyond them, edges are mirrored."
    return (
        f"All planes show {height} × {width} of {found.shape[0]} × {found.shape[1]} pixels "
        f"(rows {rows.start} to {rows.stop - 1}, columns {columns.start} to {columns.stop - 1}); "
        f"{edges}"
    )


def correlation_words(found: Alignment, apart: bool) -> tuple[str, str]:
    """How alike the planes were and are, and the kind of the sentence; ``apart`` is a warning."""
    before, after = (
        float(np.nanmean(values)) for values in (found.correlation_before, found.correlation_after)
    )
    words = f"Mean correlation with the reference {before:.3f} before, {after:.3f} after."
    if apart:
        words += " The layers lie at different places: shifts are from pixel to pixel."
    return words, "warning" if apart or after < before else "done"


def normalisation_words(found: EdfNormalisation) -> str:
    """Shift and scale, and what they come from."""
    return (
        f"Shift {found.background:.6g} (background mean), scale "
        f"{found.p99 - found.background:.6g} (P99 less the shift); "
        f"{found.foreground_share:.1%} of the EDF is foreground."
    )


def registration_words(found: Registration) -> str:
    """The parameters of a registration, and what it covers."""
    y, x = found.shift_um
    planes = found.planes
    return (
        f"Shift z {found.shift_z_um:+.2f}, y {y:+.2f}, x {x:+.2f} µm; rotation "
        f"{found.rotation_deg:+.2f}°; magnification {found.magnification:.4f}. The confocal stack "
        f"covers planes {planes.start} to {planes.stop - 1} of {found.shape[0]}."
    )


def rise_words(found: Registration) -> tuple[str, str]:
    """Whether a registration raised the correlation, and the kind of the sentence."""
    before, after = found.correlation_before, found.correlation_after
    if np.isnan(before):
        return f"The stacks did not overlap before; they correlate by {after:.3f} now.", "done"
    if after <= before:
        return (
            f"The correlation did not rise ({before:.3f} to {after:.3f}): the stacks were "
            "registered already, or show different things.",
            "warning",
        )
    return f"The correlation rose from {before:.3f} to {after:.3f}.", "done"
