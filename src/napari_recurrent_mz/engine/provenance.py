"""How a volume was made: a record that travels with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.device import Device
from ..core.optics import Optics
from ..core.scans import Scan, ZGrid
from ..networks.weights import Model
from .check import OwnSampleCheck
from .recipe import Recipe


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
    scans, grid, optics, method, model
        As in :class:`~.Recipe`.
    device, seconds, check
        As in :meth:`~napari_recurrent_mz.engine.recipe.Recipe.provenance`.

    Returns
    -------
    dict
    """
    return Recipe(scans, grid, optics, method, model).provenance(device, seconds, check)
