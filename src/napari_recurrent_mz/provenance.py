"""How a volume was made: a record that travels with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from .check import OwnSampleCheck
from .device import Device
from .methods import image_made, method_of
from .optics import Optics
from .scans import SAME_PLANE_UM, Scan, ZGrid
from .weights import Model


def provenance(
    scans: Sequence[Scan],
    grid: ZGrid,
    *,
    optics: Optics | None,
    method: str,
    model: Model | None,
    device: Device | str,
    seconds: float,
    check: OwnSampleCheck | None = None,
) -> dict[str, Any]:
    """How a volume was made, JSON-able, to travel with it.

    Parameters
    ----------
    scans, grid, optics, method
        As given to :func:`iter_planes`.
    model : Model or None
        The network's; None where the method has none.
    device : Device or str
    seconds : float
        How long it took.
    check : OwnSampleCheck, optional
        With the method auto: what was found, and which method was used.

    Returns
    -------
    dict
    """
    from . import __version__

    used = check.chosen if check else method
    confocal = image_made(used, model) == "confocal"
    kept = () if confocal else scans
    measured = [
        i for i, z in enumerate(grid.z_um) if any(abs(s.z_um - z) < SAME_PLANE_UM for s in kept)
    ]
    uses_network = method_of(used).needs_model
    return {
        "software": f"napari-recurrent-mz {__version__}",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "method": method,
        **({"image": "confocal-like, inferred from wide-field scans"} if confocal else {}),
        **({"used": used, "check": check.as_dict()} if check else {}),
        "model": {"name": model.name, "sha256": model.sha256} if model and uses_network else None,
        "scans": [{"name": scan.name, "z_um": scan.z_um} for scan in scans],
        "grid": {
            "start_um": grid.start_um, "stop_um": grid.stop_um, "step_um": grid.step_um,
            "planes": len(grid),
        },
        "measured_planes": measured,
        "inferred_planes": len(grid) - len(measured),
        "optics": optics.as_dict() if optics else None,
        "device": device if isinstance(device, str) else device.name,
        "seconds": round(seconds, 3),
    }  # fmt: skip
