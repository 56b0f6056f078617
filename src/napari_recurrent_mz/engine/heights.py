"""Whether heights and sizes make sense together: known from numbers, without pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.optics import WIDEST_GAP_DOF, Optics
from ..core.scans import IN_UM, InputError

_UNKNOWN_DOF = 20.0  # from the scans: farther than any gap that the network was trained for
_DOUBTED_DOF, _REFUSED_DOF = 100.0, 1000.0  # by so much are heights wrong rather than bold
_ONE_PLANE_DOF = 0.05
_COARSE = 8.0  # times the resolution: of a pixel that few would choose


def _unit_of(optics: Optics | None) -> tuple[float, str]:
    """What heights are judged by, in micrometres and in words: a µm where no optics are known."""
    return (1.0, "µm") if optics is None else (optics.depth_of_field_um, "depths of field")


def gap_notes(scan_z_um: Sequence[float], optics: Optics | None) -> list[str]:
    """A sentence on scans too far apart, or too near each other; raises where none can be meant."""
    z = np.sort(np.asarray(scan_z_um, np.float64))
    unit_um, unit = _unit_of(optics)
    gaps, span_um = np.diff(z), float(np.ptp(z))
    if not len(gaps):
        return []
    low = int(gaps.argmax())
    apart = gaps[low] / unit_um
    between = f"The scans at {z[low]:.4g} and {z[low + 1]:.4g} µm are {apart:,.0f} {unit} apart"
    if apart > _REFUSED_DOF:
        raise InputError(
            f"{between}, and nothing can be known between them: correct the heights, which are "
            f"{IN_UM}."
        )
    if optics is None:
        return []
    if span_um < _ONE_PLANE_DOF * unit_um:
        return [
            f"All scans lie within {span_um / unit_um:.1g} {unit} ({span_um:.2g} µm), and show "
            "the same plane: check the heights, which are in µm (not mm)."
        ]
    if apart <= WIDEST_GAP_DOF * (1 + 1e-6):
        return []
    if apart > _DOUBTED_DOF:
        return [f"{between}: check the heights, which are {IN_UM}."]
    return [
        f"{between}: fine detail midway between them is lost, even where the expected error is "
        f"small. With {optics.scans_without_gaps(span_um)} evenly spaced scans over the same "
        f"{span_um:.4g} µm, no gap would be above {WIDEST_GAP_DOF:.0f}."
    ]


def pixel_notes(optics: Optics | None) -> list[str]:
    """A sentence where the pixel size is rather the camera's than that in the sample."""
    if optics is None or optics.pixel_um < _COARSE * optics.resolution_um:
        return []
    return [
        f"The pixel size of {optics.pixel_um:g} µm is {optics.pixel_um / optics.resolution_um:.0f} "
        f"times what this objective resolves, {optics.resolution_um:.2g} µm: give that in the "
        "sample, the camera's divided by the magnification."
    ]


def reach_notes(
    scan_z_um: Sequence[float],
    ends_um: tuple[float, float],
    optics: Optics | None,
    what: str,
) -> list[str]:
    """A sentence when targets lie far beyond the scans; raises when nothing can be known of any."""
    z = np.sort(scan_z_um)
    (low, high), (lowest, highest) = (z[0], z[-1]), ends_um
    dof_um = 0.0 if optics is None else optics.depth_of_field_um
    unit_um, _ = _unit_of(optics)
    away = max(low - highest, lowest - high)
    if away > max(high - low, _UNKNOWN_DOF * dof_um):
        raise InputError(
            f"The {what} ({lowest:g} to {highest:g} µm) lies {away:.4g} µm away from the scans "
            f"({low:g} to {high:g} µm), where nothing can be known: choose heights on the scans' "
            "own scale."
        )
    beyond = max(low - lowest, highest - high)
    if what == "surface":  # no curve of expected errors says it
        is_near = beyond <= dof_um
    else:
        is_near = beyond <= 0.5 * max(float(np.diff(z).max()), 3 * dof_um)
    if is_near:
        return []
    reaches = (
        f"The {what} reaches {beyond:.1f} µm beyond the outer scans ({low:.4g} to {high:.4g} µm)"
    )
    if beyond > _REFUSED_DOF * unit_um:
        raise InputError(
            f"{reaches}, where nothing can be known: correct its heights, which are {IN_UM}."
        )
    if beyond > _DOUBTED_DOF * unit_um:
        return [f"{reaches}: check its heights, which are {IN_UM}."]
    return [f"{reaches}: little can be known there."]
